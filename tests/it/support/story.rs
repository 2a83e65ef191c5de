//! Tests as stories: messages arrive at given times, and the test checks states, plans, events and
//! commands.
//!
//! A [`World`] is the real writer on a real SQLite log. Only its resolver is scripted: a repository
//! holds what the test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use koschei::buildroot::installed::{Buildroot, BuildrootPackage};
use koschei::buildroot::repo_resolver::{CannotResolve, RepoLayout, RepoResolver, Unit};
use koschei::buildroot::verdicts::{FORMAT, SourceResult, SourceVerdict, UnitVerdicts};
use koschei::decide::load::ArchLoads;
use koschei::decide::{Hold, Policy, Why};
use koschei::event::{
    BuildrootRecorded, ChildTask, CollectionCreated, CollectionSettings, Envelope, Event, PackagePrioritySet,
    PackageSkipResolutionSet, PackageTracked, PackageUntracked, PriorityKind, RebuildRequested, RebuildSubmitted,
    Source, TaskChanged, TaskFault,
};
use koschei::fold::{Package, State};
use koschei::intake::recording;
use koschei::log::{AnyLog, Attachment, Commit, EventLog, Incoming, Options, PAGE_MAX, Received, SqliteLog};
use koschei::message::Context;
use koschei::model::koji::TaskState;
use koschei::model::{Evr, Hub, Name, Nevra, Nvr, PackageState, RebuildId, RepoId, TaskId, Timestamp};
use koschei::resolve::Mode;
use koschei::telemetry::Metrics;
use koschei::writer::{HubAccess, Settings, Writer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2026-11-20T00:00:00Z, the beginning of every story.
pub(crate) const DAY: i64 = 1_795_132_800;
/// One hour in seconds.
pub(crate) const HOUR: i64 = 3600;

/// A source package in a scripted repository.
#[derive(Clone)]
pub(crate) struct Src {
    nvr: Nvr,
    noarch: bool,
    verdict: Script,
}

#[derive(Clone)]
enum Script {
    Ok(Vec<(String, u8)>),
    Broken(String),
    Excluded,
    Unknown,
}

/// A source that resolves. The closure is a list of words like `zlib-0:1-1.x86_64/1`; the last
/// number is the distance.
pub(crate) fn ok(nvr: &str, closure: &str) -> Src {
    let word = |w: &str| match w.rsplit_once('/') {
        Some((nevra, distance)) => (nevra.to_owned(), distance.parse().unwrap()),
        None => (w.to_owned(), 0),
    };
    source(nvr, Script::Ok(closure.split_whitespace().map(word).collect()))
}

/// A source that does not resolve. Several problems are separated by `|`.
pub(crate) fn broken(nvr: &str, problem: &str) -> Src {
    source(nvr, Script::Broken(problem.to_owned()))
}

/// A source that is not for this architecture.
pub(crate) fn excluded(nvr: &str) -> Src {
    source(nvr, Script::Excluded)
}

/// A source with unknown build requirements.
pub(crate) fn unknown(nvr: &str) -> Src {
    source(nvr, Script::Unknown)
}

fn source(nvr: &str, verdict: Script) -> Src {
    Src { nvr: Nvr::parse(nvr).unwrap(), noarch: false, verdict }
}

impl Src {
    pub(crate) fn noarch(mut self) -> Self {
        self.noarch = true;
        self
    }
}

#[derive(Clone, Default)]
struct FakeRepo {
    create_event: Option<i64>,
    /// Per architecture: the problem of the build group, and the sources.
    arches: BTreeMap<Name, (Option<String>, Vec<Src>)>,
    lost: bool,
}

#[derive(Clone, Default)]
struct Scripted {
    repos: BTreeMap<(String, i64), FakeRepo>,
    observations: Vec<Event>,
    solver: String,
}

/// A resolver that returns what the test has scripted.
#[derive(Clone, Default)]
pub(crate) struct FakeEyes(Arc<Mutex<Scripted>>);

impl RepoResolver for FakeEyes {
    fn observations(&self) -> Vec<Event> {
        self.0.lock().unwrap().observations.clone()
    }

    fn repo(&self, _: &Hub, tag: &str, repo: RepoId) -> RepoLayout {
        match self.0.lock().unwrap().repos.get(&(tag.to_owned(), repo.0)) {
            Some(r) if !r.lost => {
                RepoLayout { create_event: r.create_event, arches: Some(r.arches.keys().cloned().collect()) }
            }
            _ => RepoLayout::default(),
        }
    }

    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        let script = self.0.lock().unwrap();
        let lost = || CannotResolve(format!("repository {} of {} is gone", unit.repo, unit.tag));
        let repo = script.repos.get(&(unit.tag.to_owned(), unit.repo.0)).filter(|r| !r.lost).ok_or_else(lost)?;
        let (group, sources) = repo.arches.get(unit.arch).ok_or_else(lost)?;
        let mut table: Vec<String> = Vec::new();
        for s in sources {
            if let Script::Ok(closure) = &s.verdict {
                table.extend(closure.iter().map(|(n, _)| n.clone()));
            }
        }
        table.sort();
        table.dedup();
        let verdict = |s: &Src| match &s.verdict {
            Script::Ok(closure) => {
                let mut pairs: Vec<(u32, u8)> = closure
                    .iter()
                    .map(|(n, d)| (u32::try_from(table.binary_search(n).unwrap()).unwrap(), *d))
                    .collect();
                pairs.sort_unstable();
                let (closure, distances) = pairs.into_iter().unzip();
                SourceVerdict::Ok { closure, distances, erased: Vec::new() }
            }
            Script::Broken(p) => SourceVerdict::Unresolved { problems: p.split('|').map(str::to_owned).collect() },
            Script::Excluded => SourceVerdict::Excluded { reason: "is not in ExclusiveArch".to_owned() },
            Script::Unknown => SourceVerdict::Unknown,
        };
        let result = |s: &Src| {
            let source = format!("{}-{}", s.nvr.version, s.nvr.release).into();
            (
                s.nvr.name.clone(),
                SourceResult { source, noarch: s.noarch, in_repo: Default::default(), verdict: verdict(s) },
            )
        };
        Ok(UnitVerdicts {
            of_packages: None,
            solvers: Default::default(),
            format: FORMAT,
            repo: unit.repo,
            arch: unit.arch.into(),
            mode: "two".into(),
            solver: format!("scripted {}", script.solver),
            inputs: format!("{}/{}/{}", unit.tag, unit.repo, unit.arch),
            group_problems: group.iter().cloned().collect(),
            group: Vec::new(),
            sources: match group {
                None => sources.iter().filter(|s| unit.own.tracked().has(&s.nvr.name)).map(result).collect(),
                Some(_) => BTreeMap::new(),
            },
            packages: table,
        })
    }
}

/// Returns the settings of a story's collection. For `f99`, it is built from `f99-build`.
pub(crate) fn settings(name: &str) -> CollectionSettings {
    CollectionSettings {
        display_name: name.to_owned(),
        hub: Hub::new("primary"),
        target: name.into(),
        build_tag: format!("{name}-build").into(),
        dest_tag: name.into(),
        build_group: "build".into(),
        coefficient: 1000,
        arches: Vec::new(),
        track_all: true,
        max_builds: None,
        found: false,
        builds_on: None,
    }
}

/// The writer, its log, and the scripted resolver.
pub(crate) struct World {
    rt: tokio::runtime::Runtime,
    dir: TempDir,
    pub(crate) log: SqliteLog,
    writer: Writer,
    resolver: FakeEyes,
    settings: Settings,
    now: i64,
    messages: u64,
    builds: BTreeMap<String, i64>,
    requests_seen: usize,
    hub_access: HubAccess,
    /// Time zone of the clock that stamps messages, in hours east of Greenwich.
    pub(crate) zone: i8,
}

impl World {
    /// Makes a world with one collection, `f99`, that tracks everything, and the default policy.
    pub(crate) fn new() -> Self {
        Self::with(Policy::default(), &[("f99", settings("f99"))])
    }

    /// Makes a world with this policy and these collections.
    pub(crate) fn with(policy: Policy, collections: &[(&str, CollectionSettings)]) -> Self {
        Self::seeing(policy, collections, Vec::new())
    }

    /// Like [`World::with`], with observations of tags and targets from the beginning.
    pub(crate) fn seeing(policy: Policy, collections: &[(&str, CollectionSettings)], observations: Vec<Event>) -> Self {
        let created = |(name, s): &(&str, CollectionSettings)| {
            CollectionCreated { collection: Name::from(*name), settings: s.clone() }.into()
        };
        let settings = Settings {
            check_percent: 0,
            build_conflicts: true,
            resolve_options: koschei::model::PerCollection::default(),
            policy,
            context: Context {
                clock_tolerance_secs: koschei::message::CLOCK_TOLERANCE_SECS,
                service_user: "koschei".to_owned(),
                default_hub: Hub::new("primary"),
                source: Source::Recording,
            },
            mode: Mode::Two,
            find_collections: collections.is_empty(),
            wanted: collections.iter().map(created).collect(),
            hubs: std::collections::BTreeSet::new(),
            always_bound: std::collections::BTreeSet::new(),
            build_opts: koschei::model::PerCollection::default(),
        };
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let resolver = FakeEyes::default();
        resolver.0.lock().unwrap().observations = observations;
        let (log, writer) = rt.block_on(awake(&dir, &settings, &resolver));
        let mut world = Self {
            rt,
            dir,
            log,
            writer,
            resolver,
            settings,
            now: DAY,
            messages: 0,
            builds: BTreeMap::new(),
            requests_seen: 0,
            hub_access: HubAccess::default(),
            zone: 0,
        };
        world.pass(0);
        world
    }

    /// Kills the writer and opens another on the same log. It handles what waited in the inbox.
    pub(crate) fn restart(&mut self) {
        self.rt.block_on(self.log.close());
        let (log, writer) = self.rt.block_on(awake(&self.dir, &self.settings, &self.resolver));
        (self.log, self.writer) = (log, writer);
        *self.writer.hub_access() = self.hub_access.clone();
        self.rt.block_on(async { recording::drain(&mut self.writer, 100, &Default::default()).await }).unwrap();
    }

    /// Restarts with another policy.
    pub(crate) fn adopt(&mut self, policy: Policy) {
        self.settings.policy = policy;
        self.restart();
    }

    /// Restarts with an observation.
    pub(crate) fn observe(&mut self, event: impl Into<Event>) {
        self.resolver.0.lock().unwrap().observations.push(event.into());
        self.restart();
        self.pass(0);
        self.resolver.0.lock().unwrap().observations.clear();
    }

    /// Runs a future on the story's own runtime.
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.rt.block_on(what)
    }

    // ---- time ----

    /// Returns the current time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.now)
    }

    /// Goes to a time on the first day.
    pub(crate) fn at(&mut self, hour: i64, minute: i64) {
        let to = DAY + hour * HOUR + minute * 60;
        assert!(to >= self.now, "time goes forward");
        self.now = to;
    }

    /// Lets time pass. Sends an irrelevant message then, so that the writer ticks.
    pub(crate) fn pass(&mut self, secs: i64) {
        self.now += secs;
        self.send("rpm.sign", json!({}));
    }

    // ---- messages ----

    /// Sends a message now. Returns `false` if it was set aside.
    pub(crate) fn send(&mut self, topic: &str, body: Value) -> bool {
        let message = self.message(topic, body);
        self.rt.block_on(async {
            let received = self.log.receive(std::slice::from_ref(&message)).await.unwrap();
            let Received::Stored { position } = received[0] else { panic!("a new message") };
            let understood = self.writer.message(position, &message, None).await.unwrap();
            self.writer.flush().await.unwrap();
            understood
        })
    }

    /// Puts a message into the inbox. The writer handles it and dies before it can commit.
    pub(crate) fn send_and_crash(&mut self, topic: &str, body: Value) {
        let message = self.message(topic, body);
        self.rt.block_on(async {
            let received = self.log.receive(std::slice::from_ref(&message)).await.unwrap();
            let Received::Stored { position } = received[0] else { panic!("a new message") };
            self.writer.message(position, &message, None).await.unwrap();
        });
        self.restart();
    }

    fn message(&mut self, topic: &str, body: Value) -> Incoming {
        self.messages += 1;
        let id = format!("m{}", self.messages);
        let topic = format!("org.example.buildsys.{topic}");
        let message = json!({
            "id": id, "topic": topic, "sent-at": self.stamp(), "seen_at": self.now, "headers": {}, "body": body,
        });
        Incoming {
            id,
            source: "story".to_owned(),
            topic,
            received_at: self.now(),
            body: serde_json::to_vec(&message).unwrap(),
        }
    }

    /// Returns the current time as a clock in the zone writes it.
    fn stamp(&self) -> String {
        let now = jiff::Timestamp::from_second(self.now).unwrap();
        now.display_with_offset(jiff::tz::Offset::constant(self.zone)).to_string()
    }

    fn build_id(&mut self, nvr: &str) -> i64 {
        let next = 1000 + self.builds.len() as i64;
        *self.builds.entry(nvr.to_owned()).or_insert(next)
    }

    /// A real build on the hub succeeds now. It is not tagged yet.
    pub(crate) fn built(&mut self, nvr: &str) {
        self.build_state(nvr, 1);
    }

    /// A real build gets a state (Koji's number) now.
    pub(crate) fn build_state(&mut self, nvr: &str, state: i64) {
        let (id, n) = (self.build_id(nvr), Nvr::parse(nvr).unwrap());
        self.send(
            "build.state.change",
            json!({"attribute": "state", "instance": "primary", "build_id": id, "name": n.name, "version": n.version,
                "release": n.release, "epoch": null, "old": 0, "new": state, "task_id": 500_000 + id,
                "owner": "packager"}),
        );
    }

    /// A build gets another name under the same number. No message says so yet.
    pub(crate) fn called(&mut self, old: &str, new: &str) {
        let id = self.build_id(old);
        self.builds.insert(new.to_owned(), id);
    }

    /// A draft is promoted, and a message says so.
    pub(crate) fn promoted(&mut self, draft: &str, nvr: &str) {
        self.called(draft, nvr);
        let (id, d, n) = (self.build_id(nvr), Nvr::parse(draft).unwrap(), Nvr::parse(nvr).unwrap());
        self.send(
            "build.promote",
            json!({"instance": "primary", "draft_release": d.release, "target_release": n.release, "user": "packager",
                "build": {"id": id, "name": n.name, "version": n.version, "release": d.release}}),
        );
    }

    /// A build is tagged now.
    pub(crate) fn tag(&mut self, tag: &str, nvr: &str) {
        self.tagging("tag", tag, nvr);
    }

    /// A build is untagged now.
    pub(crate) fn untag(&mut self, tag: &str, nvr: &str) {
        self.tagging("untag", tag, nvr);
    }

    fn tagging(&mut self, topic: &str, tag: &str, nvr: &str) {
        let (id, n) = (self.build_id(nvr), Nvr::parse(nvr).unwrap());
        self.send(
            topic,
            json!({"instance": "primary", "tag": tag, "tag_id": 1, "build_id": id, "name": n.name, "version": n.version,
                "release": n.release, "user": "packager", "owner": "packager"}),
        );
    }

    /// A packager's build succeeds and is tagged now.
    pub(crate) fn real(&mut self, tag: &str, nvr: &str) {
        self.built(nvr);
        self.tag(tag, nvr);
    }

    /// A tag's package list changes.
    pub(crate) fn list(&mut self, tag: &str, package: &str, action: &str) {
        self.send(
            "package.list.change",
            json!({"instance": "primary", "tag": tag, "package": package, "action": action, "owner": "packager"}),
        );
    }

    /// A scratch build task of ours gets a state. `repo` is the repository it is bound to.
    pub(crate) fn task(&mut self, id: i64, nvr: &str, state: &str, repo: Option<i64>) {
        self.task_with(id, nvr, state, json!({"repo": repo}));
    }

    /// Like [`World::task`], with more fields: `repo`, `children` (method, label, state number),
    /// `no_end`, `target`, `owner`.
    pub(crate) fn task_with(&mut self, id: i64, nvr: &str, state: &str, more: Value) {
        let ended = matches!(state, "CLOSED" | "FAILED" | "CANCELED") && more.get("no_end").is_none();
        let children: Vec<Value> = more["children"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(i, c)| json!({"id": id * 100 + i as i64, "method": c[0], "label": c[1], "state": c[2]}))
            .collect();
        let target = more.get("target").cloned().unwrap_or_else(|| "f99".into());
        let mut options = json!({"scratch": true});
        if let Some(repo) = more["repo"].as_i64() {
            options["repo_id"] = repo.into();
        }
        let srpm = format!("{nvr}.src.rpm");
        self.send(
            "task.state.change",
            json!({"attribute": "state", "instance": "primary", "id": id, "old": "FREE", "new": state,
                "owner": more.get("owner").cloned().unwrap_or_else(|| "koschei".into()), "method": "build",
                "srpm": srpm, "info": {"request": [srpm, target, options], "children": children,
                    "completion_time": if ended { self.stamp().into() } else { Value::Null }}}),
        );
    }

    /// A rebuild of ours runs from beginning to end, now.
    pub(crate) fn rebuild(&mut self, id: i64, nvr: &str, end: &str, repo: i64) {
        self.task(id, nvr, "OPEN", Some(repo));
        let state = if end == "FAILED" { 5 } else { 2 };
        self.task_with(id, nvr, end, json!({"repo": repo, "children": [["buildArch", "x86_64", state]]}));
    }

    // ---- repositories ----

    /// Scripts what a repository holds on an architecture. Its Koji event is its number times ten.
    pub(crate) fn holds(&mut self, tag: &str, repo: i64, arch: &str, sources: &[Src]) {
        self.arch(tag, repo, arch, None, sources);
    }

    /// Scripts a repository whose build group does not install.
    pub(crate) fn no_group(&mut self, tag: &str, repo: i64, arch: &str, problem: &str) {
        self.arch(tag, repo, arch, Some(problem), &[]);
    }

    fn arch(&mut self, tag: &str, repo: i64, arch: &str, group: Option<&str>, sources: &[Src]) {
        let mut script = self.resolver.0.lock().unwrap();
        let r = script.repos.entry((tag.to_owned(), repo)).or_default();
        r.create_event.get_or_insert(repo * 10);
        r.arches.insert(arch.into(), (group.map(str::to_owned), sources.to_vec()));
    }

    /// Removes the repository's files.
    pub(crate) fn lose(&mut self, tag: &str, repo: i64) {
        self.resolver.0.lock().unwrap().repos.entry((tag.to_owned(), repo)).or_default().lost = true;
    }

    /// Installs another version of the solver.
    pub(crate) fn solver(&mut self, version: &str) {
        self.resolver.0.lock().unwrap().solver = version.to_owned();
    }

    /// The repository becomes ready now.
    pub(crate) fn done(&mut self, tag: &str, repo: i64) {
        self.send("repo.done", json!({"instance": "primary", "repo_id": repo, "tag": tag, "tag_id": 1}));
    }

    /// A repository of `f99-build` that holds `sources` on `x86_64` becomes ready now.
    pub(crate) fn repo(&mut self, repo: i64, sources: &[Src]) {
        self.holds("f99-build", repo, "x86_64", sources);
        self.done("f99-build", repo);
    }

    // ---- a hub to submit to ----

    /// Makes rebuilds be submitted from now on.
    pub(crate) fn submits(&mut self) {
        self.hub_access.submits = true;
        *self.writer.hub_access() = self.hub_access.clone();
    }

    /// Sets the load of the builders, in thousandths.
    pub(crate) fn load(&mut self, loads: &[(&str, u32)]) {
        self.hub_access.load = Some(ArchLoads(loads.iter().map(|&(a, n)| (a.into(), n)).collect()));
        *self.writer.hub_access() = self.hub_access.clone();
    }

    /// A hub reports the load of its builders.
    pub(crate) fn load_on(&mut self, hub: &str, loads: &[(&str, u32)]) {
        self.writer.load(&Hub::new(hub), ArchLoads(loads.iter().map(|&(a, n)| (a.into(), n)).collect()));
    }

    /// Returns the open request of a package.
    pub(crate) fn open(&self, package: &str) -> RebuildId {
        self.package(package).open_rebuild.unwrap_or_else(|| panic!("{package} has no open request"))
    }

    /// The hub accepts a request as task `task`.
    pub(crate) fn submitted(&mut self, rebuild: RebuildId, package: &str, task: i64) {
        self.operator(RebuildSubmitted {
            rebuild,
            collection: "f99".into(),
            package: package.into(),
            hub: Hub::new("primary"),
            task_id: TaskId(task),
        });
    }

    /// We look up a task of ours on the hub: its state, the rebuild it carries, and how its steps
    /// failed (label and text).
    pub(crate) fn looked(&mut self, task: i64, nvr: &str, state: TaskState, decision: Option<RebuildId>) {
        self.looked_with(task, nvr, state, decision, &[]);
    }

    pub(crate) fn looked_with(
        &mut self,
        task: i64,
        nvr: &str,
        state: TaskState,
        decision: Option<RebuildId>,
        failed: &[(&str, i64, &str)],
    ) {
        let step = |(label, code, text): &(&str, i64, &str)| {
            let method = if *label == "srpm" { "rebuildSRPM" } else { "buildArch" };
            (method.to_owned(), (*label).to_owned(), (!text.is_empty()).then(|| TaskFault::new(*code, text)))
        };
        let steps: Vec<_> = failed.iter().map(step).collect();
        let own = steps.iter().find_map(|s| s.2.clone());
        self.ended(task, nvr, state, decision, steps, own);
    }

    /// We look up a task of ours on the hub: its steps (method, label, and the failure if it
    /// failed) and its own fault.
    pub(crate) fn ended(
        &mut self,
        task: i64,
        nvr: &str,
        state: TaskState,
        decision: Option<RebuildId>,
        steps: Vec<(String, String, Option<TaskFault>)>,
        own: Option<TaskFault>,
    ) {
        let step = |(n, (method, label, fault)): (usize, (String, String, Option<TaskFault>))| ChildTask {
            task_id: TaskId(task * 100 + i64::try_from(n).unwrap()),
            method: method.into(),
            label: label.into(),
            state: if fault.is_none() { TaskState::Closed } else { TaskState::Failed },
            arch: None,
            fault,
        };
        let nvr = Nvr::parse(nvr).unwrap();
        let changed = TaskChanged {
            hub: Hub::new("primary"),
            task_id: TaskId(task),
            state,
            package: nvr.name.clone(),
            nvr: Some(nvr),
            target: Some("f99".into()),
            repo_id: Some(RepoId(1)),
            arches: Vec::new(),
            decision: decision.map(|d| d.to_string()),
            created_at: Some(self.now()),
            started_at: None,
            finished_at: None,
            fault: own,
            children: steps.into_iter().enumerate().map(step).collect(),
        };
        self.operator(changed);
    }

    /// We look up on the hub what was installed for a build, by its task. A `+` marks what the
    /// second step installed.
    pub(crate) fn buildroot(&mut self, task: i64, nvr: &str, arch: &str, repo: i64, list: &str, complete: bool) {
        self.buildroot_on("primary", task, nvr, arch, repo, list, complete);
    }

    #[allow(clippy::too_many_arguments, reason = "what the event has")]
    pub(crate) fn buildroot_on(
        &mut self,
        hub: &str,
        task: i64,
        nvr: &str,
        arch: &str,
        repo: i64,
        list: &str,
        complete: bool,
    ) {
        let package = |word: &str| {
            let (word, added) = word.strip_prefix('+').map_or((word, false), |w| (w, true));
            let (rest, arch) = word.rsplit_once('.').unwrap();
            let nvr = Nvr::parse(rest).unwrap();
            let (epoch, version) = nvr.version.split_once(':').unwrap();
            let evr =
                Evr { epoch: Some(epoch.parse().unwrap()), version: version.into(), release: nvr.release.clone() };
            BuildrootPackage { nevra: Nevra { name: nvr.name.clone(), evr, arch: arch.into() }, added, external: None }
        };
        let buildroot = Buildroot::new(list.split_whitespace().map(package).collect()).unwrap();
        let attachment = Attachment::new(buildroot.to_bytes());
        let recorded = BuildrootRecorded {
            hub: Hub::new(hub),
            task_id: TaskId(task),
            nvr: Nvr::parse(nvr).unwrap(),
            arch: arch.into(),
            repo_id: Some(RepoId(repo)),
            attachment: attachment.digest.clone(),
            count: u32::try_from(buildroot.packages().len()).unwrap(),
            complete,
        };
        self.rt.block_on(async {
            let commit = Commit { attachments: vec![attachment], ..Commit::default() };
            let head = self.log.head().await.unwrap();
            self.log.append(head.seq, &commit).await.unwrap();
        });
        self.operator(recorded);
    }

    /// Returns the task of a real build in a story.
    pub(crate) fn task_of_build(&mut self, nvr: &str) -> i64 {
        500_000 + self.build_id(nvr)
    }

    // ---- operators ----

    /// Does what an operator does.
    pub(crate) fn operator(&mut self, event: impl Into<Event>) {
        let now = self.now();
        self.rt.block_on(async {
            self.writer.operator(event.into(), now).await.unwrap();
            self.writer.flush().await.unwrap();
        });
    }

    pub(crate) fn track(&mut self, package: &str, on: bool) {
        let (collection, package) = ("f99".into(), package.into());
        match on {
            true => self.operator(PackageTracked { collection, package, by: None }),
            false => self.operator(PackageUntracked { collection, package, by: None }),
        }
    }

    pub(crate) fn points(&mut self, package: &str, kind: PriorityKind, points: i32) {
        let (collection, package) = ("f99".into(), package.into());
        self.operator(PackagePrioritySet { collection, package, kind, points, by: None });
    }

    pub(crate) fn skip_resolution(&mut self, package: &str, skip: bool) {
        let (collection, package) = ("f99".into(), package.into());
        self.operator(PackageSkipResolutionSet { collection, package, skip, by: None });
    }

    // ---- looking ----

    pub(crate) fn state(&self) -> &State {
        self.writer.state()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.settings.policy
    }

    pub(crate) fn package(&self, name: &str) -> &Package {
        self.state().package("f99", name).unwrap()
    }

    pub(crate) fn is(&self, name: &str) -> PackageState {
        self.is_in("f99", name)
    }

    pub(crate) fn is_in(&self, collection: &str, name: &str) -> PackageState {
        let c = &self.state().collections[collection];
        let p = &c.packages[name];
        let state = p.state(c.settings.track_all);
        assert_eq!(p.announced, Some(state), "{name}: every change of state is in the log");
        state
    }

    pub(crate) fn why(&self, name: &str) -> Why {
        self.why_in("f99", name)
    }

    pub(crate) fn why_in(&self, collection: &str, name: &str) -> Why {
        koschei::decide::why(self.state(), collection, name, self.now(), self.policy(), None).unwrap()
    }

    /// Returns the keys of what holds a package back now. If empty, the package would be chosen.
    pub(crate) fn held(&self, name: &str) -> Vec<&'static str> {
        self.why(name).deciding.iter().map(Hold::key).collect()
    }

    /// Returns the current priority, in thousandths.
    pub(crate) fn priority(&self, name: &str) -> Option<i64> {
        self.why(name).priority.map(|p| p.current)
    }

    /// Returns the current dependency points, in thousandths.
    pub(crate) fn dependency_points(&self, name: &str) -> i64 {
        self.why(name).priority.unwrap().dependency
    }

    /// Returns the packages that the rules would choose now, most urgent first.
    pub(crate) fn plan(&self, load: Option<&[(&str, u32)]>) -> Vec<String> {
        let loads = load.map(|l| ArchLoads(l.iter().map(|&(a, n)| (a.into(), n)).collect()));
        let plan = koschei::decide::plan(self.state(), self.now(), self.policy(), loads.as_ref());
        plan.chosen_names(self.state()).into_iter().map(|c| c.package.to_string()).collect()
    }

    /// Returns a package's dependency changes, sorted: `name old>new /distance`.
    pub(crate) fn changes(&self, name: &str) -> Vec<String> {
        let c = &self.state().collections["f99"];
        let mut rows: Vec<String> = c.packages[name]
            .verdicts
            .iter()
            .flat_map(|v| v.changes.iter())
            .map(|(index, distance)| {
                let m = c.moves.get_index(*index as usize).unwrap();
                let side = |s: &Option<smol_str::SmolStr>| s.as_ref().map_or("-".to_owned(), ToString::to_string);
                format!("{} {}>{} /{distance}", m.name, side(&m.old), side(&m.new))
            })
            .collect();
        rows.sort();
        rows
    }

    /// Returns the whole log.
    pub(crate) fn events(&self) -> Vec<Envelope> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|e: &Envelope| e.seq);
            let page = self.rt.block_on(self.log.read(after, PAGE_MAX)).unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.iter().map(|r| r.decode().unwrap()));
        }
    }

    /// Returns what `pick` selects from all events.
    pub(crate) fn all<T>(&self, mut pick: impl FnMut(Event) -> Option<T>) -> Vec<T> {
        self.events().into_iter().filter_map(|e| pick(e.event)).collect()
    }

    /// Returns a package's changes of state: `old>new`, `-` for none.
    pub(crate) fn states(&self, name: &str) -> Vec<String> {
        self.all(|e| match e {
            Event::PackageStateChanged(c) if c.package == name => {
                Some(format!("{}>{}", c.old.map_or("-", |o| o.as_str()), c.new))
            }
            _ => None,
        })
    }

    /// Returns the reasons that changed while the package's state stayed the same.
    pub(crate) fn reasons(&self, name: &str) -> Vec<String> {
        self.all(|e| match e {
            Event::PackageReasonChanged(c) if c.package == name => Some(c.reason),
            _ => None,
        })
    }

    /// Returns why a package is in its state, as it is shown.
    pub(crate) fn reason(&self, name: &str) -> String {
        let (c, p) = (&self.state().collections["f99"], self.package(name));
        koschei::decide::state_reason::state_reason(c, p, p.state(c.settings.track_all), |_, _| None)
    }

    /// Returns the outcomes of a package's rebuilds, in order.
    pub(crate) fn outcomes(&self, name: &str) -> Vec<String> {
        self.all(|e| match e {
            Event::RebuildFinished(f) if f.package == name => Some(f.outcome.to_string()),
            _ => None,
        })
    }

    /// Returns the rebuilds requested since the last call.
    pub(crate) fn requests(&mut self) -> Vec<RebuildRequested> {
        let all = self.all(|e| match e {
            Event::RebuildRequested(r) => Some(r),
            _ => None,
        });
        let new = all[self.requests_seen..].to_vec();
        self.requests_seen = all.len();
        new
    }

    /// Returns the packages of the rebuilds requested since the last call, in order.
    pub(crate) fn requested(&mut self) -> Vec<String> {
        self.requests().into_iter().map(|r| r.nvr.name.to_string()).collect()
    }

    /// Returns the commands in the outbox.
    pub(crate) fn commands(&self) -> Vec<Value> {
        let pending = self.rt.block_on(self.log.pending_commands(PAGE_MAX)).unwrap();
        pending.iter().map(|c| serde_json::from_str(&c.payload).unwrap()).collect()
    }

    /// Returns the outcome of a task, as long as the state keeps the task.
    pub(crate) fn task_outcome(&self, id: i64) -> Option<koschei::model::Outcome> {
        self.state().hubs[&Hub::new("primary")].tasks.get(&TaskId(id))?.outcome
    }

    /// Audits the log.
    pub(crate) fn audit(&self) -> koschei::tools::audit::Audit {
        self.rt.block_on(koschei::tools::audit::audit(&self.log, &mut |_| {})).unwrap()
    }

    /// Returns the command id of a decided rebuild.
    pub(crate) fn command_of(&self, rebuild: RebuildId) -> String {
        let record = self.rt.block_on(self.log.read(koschei::model::Seq::new(rebuild.0 - 1), 1)).unwrap().remove(0);
        let log = self.rt.block_on(self.log.info()).unwrap().log_id;
        koschei::event::CommandId { log, seq: record.seq, hash: record.hash }.to_string()
    }

    /// Audits the log: every decision must follow from it.
    pub(crate) fn audited(&self) {
        assert_eq!(self.audit().findings, Vec::new());
    }

    /// Like [`World::audited`], and no event in the log may be contradictory.
    pub(crate) fn sound(&self) {
        self.audited();
        assert!(self.state().anomalies.is_empty(), "{:?}", self.state().anomalies);
    }
}

async fn awake(dir: &TempDir, settings: &Settings, resolver: &FakeEyes) -> (SqliteLog, Writer) {
    let path = dir.path().join("koschei.db");
    let options = Options { sync_every_commit: false, ..Options::default() };
    let log = SqliteLog::open(path.to_str().unwrap(), &options).await.unwrap();
    let writer =
        Writer::open(&AnyLog::Sqlite(log.clone()), settings.clone(), resolver.clone(), Metrics::new()).await.unwrap();
    (log, writer)
}
