//! Tests as stories: messages arrive at given times, and the test checks states, plans, events and
//! commands.
//!
//! A [`World`] is the real writer on a real SQLite log. Only its resolver is scripted: a repository
//! holds what the test says.

mod hub;
mod looking;
mod scripted;

use std::collections::BTreeMap;

use koschei::decide::Policy;
use koschei::event::{CollectionCreated, CollectionSettings, Event, Source};
use koschei::intake::recording;
use koschei::log::{AnyLog, EventLog, Incoming, Options, Received, SqliteLog};
use koschei::message::Context;
use koschei::model::{Hub, Name, Nvr, Timestamp};
use koschei::resolve::Mode;
use koschei::telemetry::Metrics;
use koschei::writer::{HubAccess, Settings, Writer};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use scripted::{FakeEyes, Src, broken, excluded, ok, unknown};

/// 2026-11-20T00:00:00Z, the beginning of every story.
pub(crate) const DAY: i64 = 1_795_132_800;
/// One hour in seconds.
pub(crate) const HOUR: i64 = 3600;

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

    /// Makes a world whose writer decides before libsolv says everything, as with a hub.
    pub(crate) fn examining() -> Self {
        Self::examining_with(&[("f99", settings("f99"))])
    }

    /// Like [`World::examining`], with these collections.
    pub(crate) fn examining_with(collections: &[(&str, CollectionSettings)]) -> Self {
        let mut world = Self::with(Policy::default(), collections);
        world.settings.context.source = Source::Hub;
        world.restart();
        world
    }

    /// Lets the writer examine everything. Returns how many steps it took.
    pub(crate) fn examine(&mut self) -> usize {
        self.examine_steps(usize::MAX)
    }

    /// Sets whether libsolv still works on what it was asked.
    pub(crate) fn libsolv_works(&self, works: bool) {
        self.resolver.0.lock().unwrap().libsolv_works = works;
    }

    /// Returns the units that were asked for at once since the last call: collection and architecture.
    pub(crate) fn asked(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.resolver.0.lock().unwrap().asked)
    }

    /// Lets the writer examine at most this many parts.
    pub(crate) fn examine_steps(&mut self, most: usize) -> usize {
        let mut steps = 0;
        while steps < most && self.writer.has_unexamined() {
            let now = self.now();
            self.rt.block_on(async {
                self.writer.examine(now).await.unwrap();
                self.writer.flush().await.unwrap();
            });
            steps += 1;
        }
        steps
    }

    /// Like [`World::with`], with observations of tags and targets from the beginning.
    pub(crate) fn seeing(policy: Policy, collections: &[(&str, CollectionSettings)], observations: Vec<Event>) -> Self {
        let created = |(name, s): &(&str, CollectionSettings)| {
            CollectionCreated { collection: Name::from(*name), settings: s.clone() }.into()
        };
        let settings = Settings {
            outside: std::collections::BTreeSet::new(),
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
            groups: Vec::new(),
            wanted: collections.iter().map(created).collect(),
            hubs: std::collections::BTreeSet::new(),
            always_bound: std::collections::BTreeSet::new(),
            spacing: koschei::fold::spacing::Spacing::default(),
            build_opts: koschei::model::PerCollection::default(),
            telling: None,
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
}

async fn awake(dir: &TempDir, settings: &Settings, resolver: &FakeEyes) -> (SqliteLog, Writer) {
    let path = dir.path().join("koschei.db");
    let options = Options { sync_every_commit: false, ..Options::default() };
    let log = SqliteLog::open(path.to_str().unwrap(), &options).await.unwrap();
    let writer =
        Writer::open(&AnyLog::Sqlite(log.clone()), settings.clone(), resolver.clone(), Metrics::new()).await.unwrap();
    (log, writer)
}
