//! Generates from a seed a stream of events like those the engine appends: imports first, then
//! builds, tags, rebuilds, repositories and decisions. The kinds come as often as in the recording
//! ([`super::mix`]).
//!
//! The generator also updates its [`Model`], so that the meaning of the stream is known without
//! folding it.

use std::collections::VecDeque;

use ::koschei::event::*;
use ::koschei::log::Attachment;
use ::koschei::model::koji::{BuildState, TaskState};
use ::koschei::model::*;

use super::mix;
use super::model::*;
use super::random::Random;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub seed: u64,
    /// Least number of events. The last action is completed.
    pub events: u64,
    /// Packages of each of the six collections.
    pub packages: usize,
}

impl Size {
    /// Returns a size with the ratio of packages to events of the full benchmark: 24,000 for 5
    /// million.
    pub fn of(events: u64, seed: u64) -> Self {
        let packages = usize::try_from(events * 24_000 / 5_000_000).unwrap_or(usize::MAX);
        Self { seed, events, packages: packages.clamp(60, 24_000) }
    }
}

/// Tags of both hubs. The last tag of a hub inherits from the one before it.
const TAGS: [(&str, &[&str]); 2] = [("primary", &["f96", "f97", "f98", "f99"]), ("second", &["e9", "e10"])];
/// Most rebuilds that run at a time, over all collections. Fewer than the policy allows, so that
/// there is something to decide.
const TASKS: usize = 25;
/// Number of different attachment contents. `verify` reads each.
const ATTACHMENTS: usize = 64;
/// Number of binary packages that buildroots change by.
const BINARIES: usize = 20_000;
const PERSONS: usize = 200;
const START: i64 = 1_795_164_000_000_000;

#[derive(Clone, Copy)]
struct Task {
    id: i64,
    collection: usize,
    package: usize,
    version: u32,
    repo: Option<i64>,
    created: i64,
    open: bool,
}

/// The stream. Iterate over it, then read the model.
pub struct Generator {
    pub model: Model,
    pub counts: [u64; mix::RECORDING.len()],
    size: Size,
    random: Random,
    out: VecDeque<NewEvent>,
    setup: Setup,
    seq: u64,
    now: i64,
    versions: Vec<Vec<u32>>,
    tasks: Vec<Task>,
    touched: Vec<(usize, usize)>,
    broken: Vec<Vec<(usize, usize)>>,
    attachments: Vec<Attachment>,
    persons: Vec<PersonId>,
    next: Numbers,
}

struct Numbers {
    build: i64,
    task: i64,
    repo: i64,
    koji_event: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Setup {
    Policy,
    Collection(usize),
    Package(usize, usize),
    Repo(usize),
    Done,
}

#[derive(Clone, Copy)]
enum Action {
    Task,
    Build,
    Tag,
    List,
    Untag,
    Repo,
    Tick,
}

impl Iterator for Generator {
    type Item = NewEvent;

    fn next(&mut self) -> Option<NewEvent> {
        while self.out.is_empty() {
            if self.setup == Setup::Done && self.seq >= self.size.events {
                return None;
            }
            self.now += 50_000 + i64::try_from(self.random.below(400_000)).unwrap_or(0);
            self.act();
        }
        self.out.pop_front()
    }
}

impl Generator {
    pub fn new(size: Size) -> Self {
        let mut random = Random::new(size.seed);
        let persons = (0..PERSONS).map(|_| PersonId::new(format!("p-{:016x}", random.next()))).collect();
        let attachments = (0..ATTACHMENTS)
            .map(|_| Attachment::new((0..250).flat_map(|_| random.next().to_le_bytes()).collect()))
            .collect();
        let names: Vec<Name> = (0..size.packages).map(|i| source_name(i).into()).collect();
        let mut model = Model::default();
        for (hub, tags) in TAGS {
            let number = model.hubs.len();
            let mut tag_models = Vec::new();
            for name in tags {
                for name in [(*name).to_owned(), format!("{name}-candidate")] {
                    let (blocked, builds) = (vec![None; size.packages], vec![Vec::new(); size.packages]);
                    tag_models.push(TagModel { name: name.into(), blocked, builds });
                }
                let own = tag_models.len() - 2;
                let chain = if *name == "e10" { vec![own, own - 2] } else { vec![own] };
                let noarch = |i: usize| i % 3 == 1;
                model.collections.push(CollectionModel {
                    name: format!("{name}-build").into(),
                    hub: number,
                    chain,
                    candidate: own + 1,
                    target: (*name).into(),
                    build_tag: format!("{name}-build").into(),
                    newest_repo: None,
                    group_ok: [None; 2],
                    announced: BuildrootState::Unknown,
                    packages: (0..size.packages)
                        .map(|i| PackageModel { noarch: noarch(i), ..Default::default() })
                        .collect(),
                });
            }
            let (name, packages) = (Hub::new(hub), names.clone());
            model.hubs.push(HubModel { name, packages, tags: tag_models, builds: Default::default() });
        }
        Self {
            counts: [0; mix::RECORDING.len()],
            broken: vec![Vec::new(); model.collections.len()],
            versions: vec![vec![0; size.packages]; model.hubs.len()],
            model,
            size,
            random,
            out: VecDeque::new(),
            setup: Setup::Policy,
            seq: 0,
            now: START,
            tasks: Vec::new(),
            touched: Vec::new(),
            attachments,
            persons,
            next: Numbers { build: 100_000, task: 5_000_000, repo: 20_000, koji_event: 90_000_000 },
        }
    }

    /// Returns the attachments that events name by digest. Append them with the first commit.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Returns the counts by kind so far.
    pub fn mix(&self) -> impl Iterator<Item = (&'static str, u64)> {
        mix::RECORDING.iter().map(|r| r.0).zip(self.counts)
    }

    // ---- saying things ----

    fn say(&mut self, event: Event, source: Source, fact: Option<FactId>, cause: Option<u64>) -> u64 {
        self.seq += 1;
        let kind = mix::index(event.kind().name).expect("only kinds of the recording are generated");
        self.counts[kind] += 1;
        let koji_event = match &event {
            Event::RepoReady(r) => r.create_event,
            _ => None,
        };
        let cause = cause.and_then(Seq::new);
        let occurred_at = Timestamp(self.now);
        self.out.push_back(NewEvent {
            event,
            occurred_at,
            source,
            fact,
            koji_event,
            causation: cause,
            correlation: cause,
        });
        self.seq
    }

    fn fact(&mut self, hub: usize, event: impl Into<Event>) -> u64 {
        let hub = &self.model.hubs[hub].name;
        let id = FactId::of(&format!("{hub}/message/{:016x}{:016x}/0", self.random.next(), self.random.next()));
        self.say(event.into(), Source::Recording, Some(id), None)
    }

    fn conclude(&mut self, event: impl Into<Event>, cause: u64) -> u64 {
        self.say(event.into(), Source::Engine, None, Some(cause))
    }

    /// Announces which of the touched packages have changed their state.
    fn announce(&mut self, cause: u64) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for (c, p) in touched.drain(..) {
            let new = self.model.state(c, p);
            let old = self.model.collections[c].packages[p].announced;
            if old == Some(new) {
                continue;
            }
            self.model.collections[c].packages[p].announced = Some(new);
            let collection = self.model.collections[c].name.clone();
            let reason = self.reason(c, p, new);
            let event = PackageStateChanged { collection, package: self.name(c, p), old, new, reason };
            self.conclude(event, cause);
        }
        self.touched = touched;
    }

    fn reason(&self, c: usize, p: usize, state: PackageState) -> String {
        let package = &self.model.collections[c].packages[p];
        match state {
            PackageState::Blocked => "blocked in Koji's package list".to_owned(),
            PackageState::Unresolved => {
                "on x86_64: nothing provides what is needed by its build requirements".to_owned()
            }
            PackageState::Ok | PackageState::Failing => match package.results.last() {
                Some(r) if r.real => format!("build {} ({}) succeeded", r.number, source(r.version)),
                Some(r) => format!("rebuild {} of {}: the build task succeeded", r.number, source(r.version)),
                None => String::new(),
            },
            _ => "imported or never built here".to_owned(),
        }
    }

    fn name(&self, c: usize, p: usize) -> Name {
        self.model.hubs[self.model.collections[c].hub].packages[p].clone()
    }

    fn hub_name(&self, hub: usize) -> Hub {
        self.model.hubs[hub].name.clone()
    }

    fn person(&mut self) -> Option<PersonId> {
        let i = self.random.skewed(PERSONS);
        Some(self.persons[i].clone())
    }

    /// Returns a random package. Some come much more often than others, spread over the whole
    /// range.
    fn package(&mut self) -> usize {
        let n = self.size.packages;
        (self.random.skewed(n) * 7919) % n
    }

    fn collection(&mut self) -> usize {
        let n = self.model.collections.len();
        self.random.below(n)
    }

    // ---- steering ----

    /// Returns how many events of a kind are missing to make it as frequent as in the recording.
    fn lag(&self, kind: &str) -> i64 {
        let i = mix::index(kind).expect("a kind of the recording");
        let due = u128::from(mix::RECORDING[i].1) * u128::from(self.seq) / u128::from(mix::total());
        i64::try_from(due).unwrap_or(i64::MAX) - i64::try_from(self.counts[i]).unwrap_or(i64::MAX)
    }

    fn act(&mut self) {
        match self.setup {
            Setup::Done => {}
            setup => return self.set_up(setup),
        }
        let lags = [
            (Action::Task, self.lag("task_changed")),
            (Action::Build, self.lag("build_changed")),
            (Action::Tag, self.lag("build_tagged")),
            (Action::List, self.lag("package_list_changed")),
            (Action::Untag, self.lag("build_untagged")),
            (Action::Repo, self.lag("repo_ready")),
            (Action::Tick, self.lag("tick")),
        ];
        let all: i64 = lags.iter().map(|l| l.1.max(0)).sum();
        let mut draw = i64::try_from(self.random.below(usize::try_from(all).unwrap_or(0).max(1))).unwrap_or(0);
        let mut action = Action::Task;
        for (candidate, lag) in lags {
            draw -= lag.max(0);
            if draw < 0 {
                action = candidate;
                break;
            }
        }
        match action {
            Action::Task => self.task(),
            Action::Build => self.build(),
            Action::Tag => self.retag(),
            Action::List => self.list(),
            Action::Untag => self.untag(),
            Action::Repo => {
                let collection = self.collection();
                self.repo(collection);
            }
            Action::Tick => {
                let cause = self.say(Tick { now: Timestamp(self.now) }.into(), Source::Engine, None, None);
                self.evaluate(Trigger::Tick, cause);
            }
        }
    }

    // ---- the beginning ----

    fn set_up(&mut self, setup: Setup) {
        self.setup = match setup {
            Setup::Policy => {
                let policy = ::koschei::decide::Policy::default();
                let (digest, program) = (policy.digest(), "koschei 0.1.0".to_owned());
                let policy = serde_json::to_value(policy).expect("a policy is JSON");
                self.say(PolicyAdopted { digest, policy, program }.into(), Source::Operator, None, None);
                Setup::Collection(0)
            }
            Setup::Collection(c) => {
                self.create(c);
                if c + 1 < self.model.collections.len() { Setup::Collection(c + 1) } else { Setup::Package(0, 0) }
            }
            Setup::Package(c, p) => {
                self.import(c, p);
                match (p + 1 < self.size.packages, c + 1 < self.model.collections.len()) {
                    (true, _) => Setup::Package(c, p + 1),
                    (false, true) => Setup::Package(c + 1, 0),
                    (false, false) => Setup::Repo(0),
                }
            }
            Setup::Repo(c) => {
                self.first_repo(c);
                if c + 1 < self.model.collections.len() { Setup::Repo(c + 1) } else { Setup::Done }
            }
            Setup::Done => Setup::Done,
        };
    }

    fn create(&mut self, c: usize) {
        let m = &self.model.collections[c];
        let (hub, name) = (m.hub, m.name.clone());
        let tags: Vec<Name> = m.chain.iter().map(|t| self.model.hubs[hub].tags[*t].name.clone()).collect();
        let settings = CollectionSettings {
            display_name: name.to_string(),
            hub: self.hub_name(hub),
            target: m.target.clone(),
            build_tag: m.build_tag.clone(),
            dest_tag: tags[0].clone(),
            build_group: "build".into(),
            coefficient: 1000,
            arches: Vec::new(),
            track_all: true,
            max_builds: None,
            found: true,
            builds_on: None,
        };
        let observed = |tag: &Name, parent: &Name| TagObserved {
            hub: settings.hub.clone(),
            tag: tag.clone(),
            tag_id: None,
            arches: Some(ARCHES.map(Name::from).to_vec()),
            inheritance: Some(vec![Inheritance {
                tag: parent.clone(),
                priority: 0,
                max_depth: None,
                intransitive: false,
                no_config: false,
            }]),
            groups: None,
            external_repos: Some(Vec::new()),
            gone: false,
        };
        let build_tag = observed(&settings.build_tag, &tags[0]);
        let dest_tag = tags.get(1).map(|parent| observed(&tags[0], parent));
        let target = TargetObserved {
            hub: settings.hub.clone(),
            target: settings.target.clone(),
            build_tag: Some(settings.build_tag.clone()),
            dest_tag: Some(tags[0].clone()),
        };
        self.fact(hub, target);
        self.fact(hub, build_tag);
        if let Some(dest_tag) = dest_tag {
            self.fact(hub, dest_tag);
        }
        self.say(CollectionCreated { collection: name, settings }.into(), Source::Engine, None, None);
    }

    /// Imports a package, listed in two tags, with one build. Two thirds of the packages of an
    /// inheriting tag have no build of their own. Two thirds of the builds were imported.
    fn import(&mut self, c: usize, p: usize) {
        let m = &self.model.collections[c];
        let (hub, own, candidate, inherits) = (m.hub, m.chain[0], m.candidate, m.chain.len() > 1);
        for tag in [own, candidate] {
            self.list_change(hub, tag, p, PackageListAction::Add, Some(false));
        }
        if !inherits || p.is_multiple_of(3) {
            let built = p % 3 == 2;
            let (build, version) = self.new_build(hub, p, built, BuildState::Complete);
            self.build_changed(hub, build, None, built);
            let cause = self.tag(hub, own, p, build, version);
            self.announce(cause);
        } else {
            self.touched.push((c, p));
            self.announce(self.seq);
        }
    }

    /// The first resolution lists every package.
    fn first_repo(&mut self, c: usize) {
        let (hub, repo) = self.begin_repo(c, true);
        for (a, arch) in ARCHES.into_iter().enumerate() {
            let (collection, hub_name) = (self.model.collections[c].name.clone(), self.hub_name(hub));
            let (repo_id, arch_name, count) = (RepoId(repo.0), Name::from(arch), 180);
            self.conclude(BuildrootResolved { collection, hub: hub_name, repo_id, arch: arch_name, count }, repo.1);
            self.model.collections[c].group_ok[a] = Some(true);
            let packages: Vec<usize> = (0..self.size.packages).collect();
            self.resolved(c, a, repo, &packages, (0, 0), 0);
        }
        let collection = self.model.collections[c].name.clone();
        let (old, new) = (BuildrootState::Unknown, BuildrootState::Ok);
        self.conclude(CollectionStateChanged { collection, old, new, repo_id: RepoId(repo.0) }, repo.1);
        self.model.collections[c].announced = new;
        self.announce(repo.1);
        self.evaluate(Trigger::RepoResolved, repo.1);
    }

    // ---- builds and tags ----

    fn new_build(&mut self, hub: usize, package: usize, here: bool, state: BuildState) -> (i64, u32) {
        self.versions[hub][package] += 1;
        self.next.build += 1;
        let version = self.versions[hub][package];
        self.model.hubs[hub].builds.insert(self.next.build, BuildModel { package, version, state, here });
        (self.next.build, version)
    }

    fn build_changed(&mut self, hub: usize, build: i64, old: Option<BuildState>, here: bool) -> u64 {
        let b = self.model.hubs[hub].builds[&build];
        let (version, release) = version_release(b.version);
        let done = b.state != BuildState::Building;
        let event = BuildChanged {
            hub: self.hub_name(hub),
            build_id: BuildId(build),
            name: self.model.hubs[hub].packages[b.package].clone(),
            epoch: None,
            version,
            release,
            old,
            state: b.state,
            task_id: here.then_some(TaskId(build * 40)),
            created_at: Some(Timestamp(self.now - 95_414_946)),
            completed_at: done.then_some(Timestamp(self.now - 1_215)),
            by: self.person(),
        };
        self.fact(hub, event)
    }

    fn tag(&mut self, hub: usize, tag: usize, package: usize, build: i64, version: u32) -> u64 {
        let (version, release) = version_release(version);
        let event = BuildTagged {
            hub: self.hub_name(hub),
            tag: self.model.hubs[hub].tags[tag].name.clone(),
            tag_id: Some(TagId(i64::try_from(tag).unwrap_or(0) + 1)),
            build_id: BuildId(build),
            name: self.model.hubs[hub].packages[package].clone(),
            version,
            release,
            by: self.person(),
        };
        let seq = self.fact(hub, event);
        self.model.tag(hub, tag, package, build, seq);
        self.touch(hub, tag, package);
        seq
    }

    fn touch(&mut self, hub: usize, tag: usize, package: usize) {
        let following = self.model.collections.iter().enumerate();
        let following = following.filter(|(_, c)| c.hub == hub && c.chain.contains(&tag));
        self.touched.extend(following.map(|(c, _)| (c, package)));
    }

    /// A packager's build: begun, ended, tagged. Some fail.
    fn build(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let m = &self.model.collections[c];
        let (hub, own) = (m.hub, m.chain[0]);
        let begun = self.random.happens(300);
        let (build, version) =
            self.new_build(hub, p, true, if begun { BuildState::Building } else { BuildState::Complete });
        self.build_changed(hub, build, None, true);
        if begun {
            let end = if self.random.happens(250) { BuildState::Failed } else { BuildState::Complete };
            self.model.hubs[hub].builds.get_mut(&build).expect("just made").state = end;
            self.now += 1_500_000;
            self.build_changed(hub, build, Some(BuildState::Building), true);
            if end == BuildState::Failed {
                return;
            }
        }
        let cause = self.tag(hub, own, p, build, version);
        self.announce(cause);
    }

    /// Tags the latest build for candidates too, or once more in its own tag.
    fn retag(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let Some(latest) = self.model.latest(c, p) else { return };
        let m = &self.model.collections[c];
        let (hub, tag) = (m.hub, if self.random.happens(700) { m.candidate } else { m.chain[0] });
        let version = self.model.hubs[hub].builds[&latest.build].version;
        let cause = self.tag(hub, tag, p, latest.build, version);
        self.announce(cause);
    }

    /// Untags the latest build if there is another one behind it.
    fn untag(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let m = &self.model.collections[c];
        let (hub, tag) = (m.hub, if self.random.happens(500) { m.candidate } else { m.chain[0] });
        let builds = &self.model.hubs[hub].tags[tag].builds[p];
        let Some(last) = builds.last().copied().filter(|_| builds.len() > 1) else { return };
        let (version, release) = version_release(self.model.hubs[hub].builds[&last.build].version);
        let event = BuildUntagged {
            hub: self.hub_name(hub),
            tag: self.model.hubs[hub].tags[tag].name.clone(),
            tag_id: Some(TagId(i64::try_from(tag).unwrap_or(0) + 1)),
            build_id: BuildId(last.build),
            name: self.model.hubs[hub].packages[p].clone(),
            version,
            release,
            by: self.person(),
        };
        let cause = self.fact(hub, event);
        self.model.untag(hub, tag, p, last.build);
        self.touch(hub, tag, p);
        self.announce(cause);
    }

    fn list_change(
        &mut self,
        hub: usize,
        tag: usize,
        p: usize,
        action: PackageListAction,
        blocked: Option<bool>,
    ) -> u64 {
        let event = PackageListChanged {
            hub: self.hub_name(hub),
            tag: self.model.hubs[hub].tags[tag].name.clone(),
            package: self.model.hubs[hub].packages[p].clone(),
            action,
            blocked,
            by: self.person(),
        };
        self.model.hubs[hub].tags[tag].blocked[p] = blocked;
        self.touch(hub, tag, p);
        self.fact(hub, event)
    }

    fn list(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let m = &self.model.collections[c];
        let (hub, tag) = (m.hub, if self.random.happens(300) { m.candidate } else { m.chain[0] });
        let now = self.model.hubs[hub].tags[tag].blocked[p].unwrap_or(false);
        let cause = if now {
            self.list_change(hub, tag, p, PackageListAction::Unblock, Some(false))
        } else if self.random.happens(30) {
            self.list_change(hub, tag, p, PackageListAction::Block, Some(true))
        } else {
            self.list_change(hub, tag, p, PackageListAction::Update, Some(false))
        };
        self.announce(cause);
    }

    // ---- rebuilds ----

    /// Makes a rebuild, or advances one that runs.
    fn task(&mut self) {
        let running = self.tasks.len();
        if running == 0 || (running < TASKS && self.random.happens(340)) {
            return self.begin_task();
        }
        let at = self.random.below(running);
        if !self.tasks[at].open {
            self.tasks[at].open = true;
            let task = self.tasks[at];
            self.task_changed(&task, TaskState::Open);
            return;
        }
        let task = self.tasks.swap_remove(at);
        self.end_task(task);
    }

    fn begin_task(&mut self) {
        let (collection, package) = (self.collection(), self.package());
        let Some(version) = self.model.latest_version(collection, package) else { return };
        if self.tasks.iter().any(|t| (t.collection, t.package) == (collection, package)) {
            return;
        }
        self.next.task += 4;
        let repo = self.model.collections[collection].newest_repo;
        let task = Task { id: self.next.task, collection, package, version, repo, created: self.now, open: false };
        let order = self.task_changed(&task, TaskState::Assigned);
        self.model.collections[collection].packages[package].add(ResultModel {
            order,
            version,
            number: task.id,
            real: false,
            outcome: None,
            running: true,
            withdrawn: false,
        });
        self.tasks.push(task);
    }

    fn task_changed(&mut self, task: &Task, state: TaskState) -> u64 {
        let hub = self.model.collections[task.collection].hub;
        let package = self.name(task.collection, task.package);
        let (version, release) = version_release(task.version);
        let child = |n: i64, method: &str, label: &str, state| ChildTask {
            task_id: TaskId(task.id + n),
            method: method.into(),
            label: label.into(),
            state,
            arch: None,
            fault: None,
        };
        let srpm = child(1, "rebuildSRPM", "srpm", TaskState::Closed);
        let children = match state {
            TaskState::Closed | TaskState::Failed => vec![srpm, child(2, "buildArch", "x86_64", state)],
            _ => Vec::new(),
        };
        let noarch = self.model.collections[task.collection].packages[task.package].noarch;
        let event = TaskChanged {
            hub: self.hub_name(hub),
            task_id: TaskId(task.id),
            state,
            nvr: Some(Nvr { name: package.clone(), version, release }),
            package,
            target: Some(self.model.collections[task.collection].target.clone()),
            repo_id: task.repo.map(RepoId),
            arches: if noarch { Vec::new() } else { vec!["x86_64".into()] },
            decision: None,
            created_at: Some(Timestamp(task.created)),
            started_at: (state != TaskState::Assigned).then_some(Timestamp(task.created + 2_000_000)),
            finished_at: state.is_final().then_some(Timestamp(self.now)),
            children,
            fault: None,
        };
        self.fact(hub, event)
    }

    fn end_task(&mut self, task: Task) {
        let (state, outcome, reason) = match self.random.below(74) {
            0..58 => (TaskState::Closed, Outcome::Ok, "the build task succeeded"),
            58..67 => {
                (TaskState::Failed, Outcome::GenuineFailure, "buildArch (x86_64) failed, and its fault is not known")
            }
            67..71 => (TaskState::Canceled, Outcome::Cancelled, "cancelled in Koji"),
            _ => (TaskState::Failed, Outcome::InfrastructureFault, "no step of it began"),
        };
        let cause = self.task_changed(&task, state);
        let c = &mut self.model.collections[task.collection];
        if let Some(r) = c.packages[task.package].results.iter_mut().find(|r| !r.real && r.number == task.id) {
            r.running = false;
            r.outcome = Some(outcome);
        }
        let (collection, hub) = (c.name.clone(), self.hub_name(self.model.collections[task.collection].hub));
        let package = self.name(task.collection, task.package);
        let (task_id, reason) = (TaskId(task.id), reason.to_owned());
        self.conclude(
            RebuildFinished {
                // The model knows no other waits.
                waits: outcome == Outcome::InfrastructureFault,
                ..RebuildFinished::untold((hub, task_id), (collection, package), None, outcome, reason)
            },
            cause,
        );
        self.measure(&task, outcome, cause);
        self.touched.push((task.collection, task.package));
        self.announce(cause);
    }

    /// Measures changes from a result: none, or few.
    fn measure(&mut self, task: &Task, outcome: Outcome, cause: u64) {
        let Some(repo_id) = self.model.collections[task.collection].newest_repo.map(RepoId) else { return };
        if !outcome.is_complete() {
            return;
        }
        for (a, arch) in ARCHES.into_iter().enumerate() {
            let package = &self.model.collections[task.collection].packages[task.package];
            if package.verdicts[a].as_ref().is_none_or(|v| v.ok != Some(true)) {
                continue;
            }
            let number = if self.random.happens(30) { 1 + self.random.below(19) } else { 0 };
            let (moves, changes) = self.moves(number, arch);
            let (collection, name) =
                (self.model.collections[task.collection].name.clone(), self.name(task.collection, task.package));
            let event = DependenciesMeasured {
                collection,
                package: name,
                hub: self.hub_name(self.model.collections[task.collection].hub),
                arch: arch.into(),
                base: task.repo.map(RepoId),
                truth: false,
                repo_id,
                moves,
                distances: changes.iter().map(|c| c.1).collect(),
            };
            self.conclude(event, cause);
            let verdict = &mut self.model.collections[task.collection].packages[task.package].verdicts[a];
            verdict.as_mut().expect("looked at above").changes = changes;
        }
    }

    /// Returns differences between two buildroots, each of another binary package, and their form
    /// in the model.
    fn moves(&mut self, number: usize, arch: &str) -> (Vec<DependencyMove>, Vec<(u32, u8)>) {
        let first = self.random.below(BINARIES);
        let mut moves = Vec::with_capacity(number);
        let mut changes = Vec::with_capacity(number);
        for i in 0..number {
            let name = (first + i * 7) % BINARIES;
            let version = u32::try_from(self.seq / 5_000 % 5_000).unwrap_or(0);
            moves.push(DependencyMove {
                name: binary_name(name).into(),
                arch: arch.into(),
                old: Some(source(version).into()),
                new: (!self.random.happens(20)).then(|| source(version + 1).into()),
            });
            let distance = u8::try_from(self.random.skewed(6)).unwrap_or(0);
            changes.push((u32::try_from(name).unwrap_or(0), distance));
        }
        (moves, changes)
    }

    // ---- repositories and decisions ----

    /// Makes a repository that begins and becomes ready. Returns hub, number and the event that
    /// reports it ready.
    fn begin_repo(&mut self, c: usize, looked_at: bool) -> (usize, (i64, u64)) {
        self.next.repo += 1;
        self.next.koji_event += 17;
        let hub = self.model.collections[c].hub;
        let (repo_id, hub_name) = (RepoId(self.next.repo), self.hub_name(hub));
        let (tag, tag_id) = (self.model.collections[c].build_tag.clone(), Some(TagId(3)));
        self.fact(hub, RepoInitialised { hub: hub_name.clone(), repo_id, tag: tag.clone(), tag_id });
        self.now += 3_000_000;
        let ready = RepoReady {
            hub: hub_name,
            repo_id,
            tag,
            tag_id,
            create_event: looked_at.then_some(self.next.koji_event),
            arches: looked_at.then(|| ARCHES.map(Name::from).to_vec()),
        };
        let cause = self.fact(hub, ready);
        self.model.collections[c].newest_repo = Some(repo_id.0);
        (hub, (repo_id.0, cause))
    }

    fn repo(&mut self, c: usize) {
        let resolves = self.lag("repo_resolved") > 0;
        let (hub, repo) = self.begin_repo(c, resolves);
        if !resolves {
            let (collection, hub) = (self.model.collections[c].name.clone(), self.hub_name(hub));
            let reason = format!("the archive has no repository {} of {collection}", repo.0);
            self.conclude(RepoNotResolved { collection, hub, repo_id: RepoId(repo.0), arch: None, reason }, repo.1);
            return;
        }
        let pair = self.random.below(mix::RESOLUTIONS.len() / 2) * 2;
        let (listed, ..) = mix::RESOLUTIONS[pair];
        let mut packages: Vec<usize> = Vec::with_capacity(listed);
        while packages.len() < listed.min(self.size.packages) {
            let p = self.package();
            if !packages.contains(&p) {
                packages.push(p);
            }
        }
        for a in 0..ARCHES.len() {
            let (_, moves, changes) = mix::RESOLUTIONS[pair + a];
            let turns = usize::try_from((self.lag("package_state_changed") / 2).clamp(0, 8)).unwrap_or(0);
            self.resolved(c, a, repo, &packages, (moves, changes), turns);
        }
        self.announce(repo.1);
        self.evaluate(Trigger::RepoResolved, repo.1);
    }

    /// Makes one resolution: `turns` packages stop or begin to resolve, the others get their
    /// changes.
    fn resolved(
        &mut self,
        c: usize,
        a: usize,
        repo: (i64, u64),
        packages: &[usize],
        (moves, changes): (usize, usize),
        turns: usize,
    ) {
        let arch = ARCHES[a];
        let (table, known) = self.moves(moves, arch);
        let mut listed: Vec<(usize, VerdictModel)> = Vec::with_capacity(packages.len());
        for (n, p) in packages.iter().copied().enumerate() {
            let was = self.model.collections[c].packages[p].verdicts[a].as_ref().map_or(Some(true), |v| v.ok);
            // Every fiftieth package is not for the first architecture.
            let ok = if a == 0 && p % 50 == 7 { None } else { was.map(|ok| ok != (n < turns)) };
            let mut changed = Vec::new();
            if ok == Some(true) && !known.is_empty() {
                let first = self.random.below(known.len());
                changed.extend((0..changes.min(known.len())).map(|i| known[(first + i) % known.len()]));
            }
            listed.push((p, VerdictModel { ok, changes: changed }));
        }
        // About as many packages that broke earlier heal.
        for _ in 0..(3 * turns).min(self.broken[c].len()) {
            let at = self.random.below(self.broken[c].len());
            let (p, arch_broken) = self.broken[c][at];
            if arch_broken == a && !packages.contains(&p) {
                self.broken[c].swap_remove(at);
                if !listed.iter().any(|l| l.0 == p) {
                    listed.push((p, VerdictModel { ok: Some(true), changes: Vec::new() }));
                }
            }
        }
        let entries = listed.iter().map(|(p, v)| self.entry(c, *p, v, &known, repo.0)).collect();
        let broken = u32::try_from(self.broken[c].len()).unwrap_or(u32::MAX);
        let event = RepoResolved {
            solver_mismatches: Vec::new(),
            collection: self.model.collections[c].name.clone(),
            hub: self.hub_name(self.model.collections[c].hub),
            repo_id: RepoId(repo.0),
            arch: arch.into(),
            of_packages: None,
            tracked: None,
            mode: "two".into(),
            weak_deps: false,
            module_hotfixes: false,
            solver: "libsolv 0.7.23".to_owned(),
            inputs: format!(
                "{:016x}{:016x}{:016x}{:016x}",
                self.random.next(),
                self.random.next(),
                self.random.next(),
                self.random.next()
            ),
            attachment: self.attachments[usize::try_from(repo.0).unwrap_or(0) % ATTACHMENTS].digest.clone(),
            resolved: u32::try_from(self.size.packages).unwrap_or(u32::MAX).saturating_sub(broken),
            unresolved: broken,
            excluded: 0,
            unknown: 0,
            moves: table,
            packages: entries,
            gone: Vec::new(),
        };
        self.conclude(event, repo.1);
        for (p, verdict) in listed {
            if verdict.ok == Some(false) {
                self.broken[c].push((p, a));
            }
            self.model.collections[c].packages[p].verdicts[a] = Some(verdict);
            self.touched.push((c, p));
        }
    }

    fn entry(&self, c: usize, p: usize, v: &VerdictModel, known: &[(u32, u8)], repo: i64) -> PackageResolved {
        let place = |name: u32| known.iter().position(|k| k.0 == name).and_then(|i| u32::try_from(i).ok());
        PackageResolved {
            package: self.name(c, p),
            source: self.model.latest_version(c, p).map(source).unwrap_or_default().into(),
            buildroot_has: None,
            noarch: self.model.collections[c].packages[p].noarch,
            ok: v.ok,
            problem: (v.ok == Some(false)).then(|| {
                format!("nothing provides pkgconfig({}) >= 2 needed by its build requirements", binary_name(p))
            }),
            changes: v.changes.iter().filter_map(|(name, distance)| Some((place(*name)?, *distance))).collect(),
            base: (!v.changes.is_empty()).then_some(RepoId(repo - 3)),
            truth: false,
        }
    }

    /// Makes an evaluation and its requests. Without a hub, each request is closed at once.
    fn evaluate(&mut self, trigger: Trigger, cause: u64) {
        let chosen = usize::try_from(self.lag("rebuild_requested").clamp(0, 40)).unwrap_or(0);
        let mut picked: Vec<(usize, usize, PriorityParts)> = Vec::with_capacity(chosen);
        for _ in 0..chosen {
            let (c, p) = (self.collection(), self.package());
            if self.model.latest(c, p).is_some() && !picked.iter().any(|x| (x.0, x.1) == (c, p)) {
                let dependency = i64::try_from(self.random.below(600_000)).unwrap_or(0);
                let build = if self.random.happens(700) { 3_000_000 } else { 0 };
                let current = build + dependency - 30_000;
                picked.push((c, p, PriorityParts { build, dependency, time: -30_000, current, ..Default::default() }));
            }
        }
        let held = [("below_threshold", 120_000), ("declined", 9_000), ("no_source", 11), ("unresolved", 431)];
        let event = EvaluationMade {
            saw: self.seq,
            now: Timestamp(self.now),
            trigger,
            policy: "64ebd8334dc550b0cf49963c116095b70538f96992107fa222f71b04eb2d700f".to_owned(),
            program: "koschei 0.1.0".to_owned(),
            load: None,
            running: u32::try_from(self.tasks.len()).unwrap_or(u32::MAX),
            considered: u32::try_from(self.size.packages * self.model.collections.len()).unwrap_or(u32::MAX),
            held: held.map(|(k, n)| (k.to_owned(), n)).into(),
            chosen: picked
                .iter()
                .map(|(c, p, priority)| Chosen {
                    collection: self.model.collections[*c].name.clone(),
                    package: self.name(*c, *p),
                    priority: *priority,
                })
                .collect(),
        };
        let evaluation = self.conclude(event, cause);
        for (c, p, priority) in picked {
            self.request(c, p, priority, evaluation);
        }
    }

    fn request(&mut self, c: usize, p: usize, priority: PriorityParts, evaluation: u64) {
        let Some(number) = self.model.latest_version(c, p) else { return };
        let (version, release) = version_release(number);
        let (collection, package) = (self.model.collections[c].name.clone(), self.name(c, p));
        let base = self.model.collections[c].packages[p].results.last().map(|r| r.order);
        let inputs = RebuildInputs {
            source: source(number).into(),
            base,
            changes: format!("{:016x}", self.random.next()),
            points: (0, 0, 3000),
            arch_override: None,
        };
        let requested = RebuildRequested {
            collection: collection.clone(),
            hub: self.hub_name(self.model.collections[c].hub),
            nvr: Nvr { name: package.clone(), version, release },
            target: self.model.collections[c].target.clone(),
            repo_id: self.model.collections[c].newest_repo.map(RepoId),
            arches: if self.model.collections[c].packages[p].noarch {
                Vec::new()
            } else {
                ARCHES.map(Name::from).to_vec()
            },
            priority,
            inputs,
            task_priority: 30,
        };
        let rebuild = self.conclude(requested, evaluation);
        let closed =
            RebuildNotSubmitted { rebuild: RebuildId(rebuild), collection, package, reason: "no hub".to_owned() };
        self.conclude(closed, rebuild);
    }
}

/// Returns a version and release. Every number gives another pair.
fn version_release(n: u32) -> (Name, Name) {
    (format!("{}.{}.{}", 1 + n / 40, n / 4 % 10, 3).into(), format!("{}.fc99", 1 + n % 4).into())
}

/// Returns version and release joined.
fn source(n: u32) -> String {
    let (version, release) = version_release(n);
    format!("{version}-{release}")
}

fn syllables(mut n: usize) -> String {
    const ONSETS: [&str; 15] = ["b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"];
    const VOWELS: [&str; 5] = ["a", "e", "i", "o", "u"];
    let mut text = String::new();
    for _ in 0..3 {
        text.push_str(ONSETS[n % 15]);
        text.push_str(VOWELS[n / 15 % 5]);
        n /= 75;
    }
    text
}

/// Returns the name of a source package: 6 to 16 bytes, some with the prefix of a language. Each
/// number gives another name.
fn source_name(n: usize) -> String {
    const PREFIXES: [&str; 8] = ["", "", "lib", "python-", "perl-", "rust-", "", "golang-x-"];
    format!("{}{}", PREFIXES[n % 8], syllables(n))
}

/// Returns the name of a binary package.
fn binary_name(n: usize) -> String {
    const SUFFIXES: [&str; 4] = ["", "-libs", "-devel", "-common"];
    format!("{}{}", syllables(n / 4 + 1000), SUFFIXES[n % 4])
}
