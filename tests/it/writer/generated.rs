//! A small random Koji hub that generates message streams for the property tests. The same seed
//! gives the same stream. It also keeps the content of each repository for the resolver
//! [`Glimpse`].

use std::collections::BTreeMap;
use std::sync::Arc;

use koschei::buildroot::repo_resolver::{CannotResolve, RepoLayout, Unit};
use koschei::buildroot::verdicts::{FORMAT, SourceResult, SourceVerdict, UnitVerdicts};
use koschei::buildroot::{RepoResolver, verdicts};
use koschei::event::Event;
use koschei::model::{Hub, RepoId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::feed::SERVICE_USER;
use crate::writer::model_of_actions::View;

const PACKAGES: [&str; 14] =
    ["bash", "bison", "curl", "expat", "gawk", "gcc", "glibc", "grep", "gzip", "m4", "make", "rpm", "sqlite", "zlib"];
const TAGS: [&str; 3] = ["f99", "f99-candidate", "f98"];
const BUILD_TAGS: [&str; 2] = ["f99-build", "f98-build"];

/// A message and its source.
#[derive(Clone, Debug)]
pub struct Message {
    /// The object it is about. Messages of one source stay in order.
    pub source: String,
    /// As in a recording.
    pub line: String,
}

/// Sources in a repository: `version-release` by package.
type Content = BTreeMap<String, String>;

/// Messages, the content of their repositories, and the final state of the hub.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// In the order they were sent.
    pub messages: Vec<Message>,
    /// Content of each repository of each hub.
    pub contents: BTreeMap<(String, i64), Content>,
    /// The hub at the end.
    pub end: View,
}

impl Stream {
    /// Returns the lines of the corresponding recording.
    pub fn lines(&self) -> Vec<String> {
        self.messages.iter().map(|m| m.line.clone()).collect()
    }

    /// Returns a resolver for its repositories.
    pub fn resolver(&self) -> Glimpse {
        Glimpse(Arc::new(self.contents.clone()))
    }
}

#[derive(Clone, Debug)]
struct Build {
    id: i64,
    nvr: (String, String, String),
    complete: bool,
}

impl Build {
    fn nvr(&self) -> String {
        format!("{}-{}-{}", self.nvr.0, self.nvr.1, self.nvr.2)
    }
}

struct Sim {
    rng: StdRng,
    hub: String,
    now: f64,
    next: i64,
    sent: u64,
    builds: Vec<Build>,
    tagged: BTreeMap<(String, String), Vec<Build>>,
    /// Steps that wait: real builds, scratch builds, repositories.
    waiting: Vec<Step>,
    stream: Stream,
}

enum Step {
    Build { build: Build, task: i64, tag: String },
    Scratch { task: i64, nvr: (String, String, String), repo: Option<i64>, phase: u8, owner: &'static str },
    Repo { id: i64, tag: String },
}

/// Generates about `count` messages of the hub instance `hub`.
pub fn stream(seed: u64, hub: &str, count: usize) -> Stream {
    let mut sim = Sim {
        rng: StdRng::seed_from_u64(seed),
        hub: hub.to_owned(),
        now: 1_795_000_000.0,
        next: 1,
        sent: 0,
        builds: Vec::new(),
        tagged: BTreeMap::new(),
        waiting: Vec::new(),
        stream: Stream::default(),
    };
    while sim.stream.messages.len() < count {
        sim.step();
    }
    sim.stream.end.tags = sim
        .tagged
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(key, list)| (key.clone(), list.iter().map(Build::nvr).collect()))
        .collect();
    sim.stream
}

impl Sim {
    fn id(&mut self) -> i64 {
        self.next += self.rng.random_range(1..4);
        self.next
    }

    fn send(&mut self, topic: &str, source: String, mut body: Value) {
        self.now += self.rng.random_range(0.01..60.0);
        if self.rng.random_bool(0.03) {
            self.now += self.rng.random_range(3_600.0..90_000.0);
        }
        self.sent += 1;
        body["instance"] = json!(self.hub);
        let line = json!({
            "topic": format!("org.fedoraproject.lab.buildsys.{topic}"),
            "id": format!("{}-{}", self.hub, self.sent),
            "seen_at": self.now,
            "body": body,
        });
        let source = format!("{}/{source}", self.hub);
        self.stream.messages.push(Message { source, line: line.to_string() });
    }

    fn step(&mut self) {
        let due = !self.waiting.is_empty() && self.rng.random_bool(0.45);
        if due {
            let at = self.rng.random_range(0..self.waiting.len());
            let step = self.waiting.swap_remove(at);
            return self.go_on(step);
        }
        match self.rng.random_range(0..100) {
            0..25 => self.import(),
            25..35 => self.real_build(),
            35..45 => self.untag(),
            45..52 => self.tag_again(),
            52..62 => self.package_list(),
            62..82 => self.scratch(),
            _ => self.repo(),
        }
    }

    fn package(&mut self) -> String {
        (*PACKAGES.choose(&mut self.rng).unwrap()).to_owned()
    }

    fn tag_name(&mut self) -> String {
        (*TAGS.choose(&mut self.rng).unwrap()).to_owned()
    }

    fn new_build(&mut self) -> Build {
        let (name, id) = (self.package(), self.id());
        // Versions go down now and then: the latest build is the one tagged last.
        let version = format!("{}.{id}", self.rng.random_range(1..4));
        Build { id, nvr: (name, version, format!("{}.fc99", self.rng.random_range(1..3))), complete: false }
    }

    fn build_message(&mut self, b: &Build, old: Option<u8>, new: u8, task: Option<i64>) {
        let body = json!({
            "attribute": "state", "old": old, "new": new, "build_id": b.id, "task_id": task, "owner": "alice",
            "name": b.nvr.0, "version": b.nvr.1, "release": b.nvr.2, "epoch": null,
        });
        self.send("build.state.change", format!("build/{}", b.id), body);
        let state = ["BUILDING", "COMPLETE", "DELETED", "FAILED", "CANCELED"][usize::from(new)];
        self.stream.end.builds.insert(b.nvr(), state.to_owned());
    }

    fn tag_message(&mut self, topic: &str, tag: &str, b: &Build) {
        let body = json!({
            "tag": tag, "build_id": b.id, "name": b.nvr.0, "version": b.nvr.1, "release": b.nvr.2, "user": "bob",
            "owner": "alice",
        });
        self.send(topic, format!("tag/{tag}/{}", b.nvr.0), body);
    }

    fn tag(&mut self, tag: &str, b: &Build) {
        self.tag_message("tag", tag, b);
        let list = self.tagged.entry((tag.to_owned(), b.nvr.0.clone())).or_default();
        list.retain(|x| x.id != b.id);
        list.push(b.clone());
    }

    fn import(&mut self) {
        let build = Build { complete: true, ..self.new_build() };
        let tag = self.tag_name();
        self.build_message(&build, None, 1, None);
        self.tag(&tag, &build);
        self.builds.push(build);
    }

    fn real_build(&mut self) {
        let again =
            self.builds.iter().filter(|b| !b.complete).cloned().collect::<Vec<_>>().choose(&mut self.rng).cloned();
        let (build, old) = match again {
            Some(b) if self.rng.random_bool(0.5) => (b, Some(3)),
            _ => (self.new_build(), None),
        };
        self.builds.retain(|b| b.id != build.id);
        let (task, tag) = (self.id(), self.tag_name());
        self.build_message(&build, old, 0, Some(task));
        self.waiting.push(Step::Build { build, task, tag });
    }

    fn any_tagged(&mut self) -> Option<(String, Build)> {
        let all: Vec<(String, Build)> =
            self.tagged.iter().flat_map(|((t, _), list)| list.iter().map(|b| (t.clone(), b.clone()))).collect();
        all.choose(&mut self.rng).cloned()
    }

    fn untag(&mut self) {
        let Some((tag, build)) = self.any_tagged() else { return };
        self.tag_message("untag", &tag, &build);
        self.tagged.get_mut(&(tag, build.nvr.0)).unwrap().retain(|b| b.id != build.id);
    }

    fn tag_again(&mut self) {
        let Some((tag, build)) = self.any_tagged() else { return };
        let tag = if self.rng.random_bool(0.5) { tag } else { self.tag_name() };
        self.tag(&tag, &build);
    }

    fn package_list(&mut self) {
        let (tag, package) = (self.tag_name(), self.package());
        let action = *["add", "update", "block", "unblock", "remove"].choose(&mut self.rng).unwrap();
        let block = if action == "add" || action == "update" { json!(self.rng.random_bool(0.1)) } else { Value::Null };
        let key = (tag.clone(), package.clone());
        if action == "block" || block == json!(true) {
            self.stream.end.blocked.insert(key);
        } else {
            self.stream.end.blocked.remove(&key);
        }
        let body = json!({ "tag": tag, "package": package, "action": action, "block": block, "owner": null });
        self.send("package.list.change", format!("tag/{tag}/{package}"), body);
    }

    fn scratch(&mut self) {
        let Some((_, build)) = self.any_tagged() else { return };
        let (task, owner) = (self.id(), if self.rng.random_bool(0.85) { SERVICE_USER } else { "carol" });
        let repos: Vec<i64> = self.stream.contents.keys().map(|(_, id)| *id).collect();
        let repo = repos.choose(&mut self.rng).copied().filter(|_| self.rng.random_bool(0.7));
        self.waiting.push(Step::Scratch { task, nvr: build.nvr, repo, phase: 0, owner });
    }

    fn repo(&mut self) {
        let (id, tag) = (self.id(), *BUILD_TAGS.choose(&mut self.rng).unwrap());
        let dest = tag.strip_suffix("-build").unwrap();
        let latest = |((t, p), list): (&(String, String), &Vec<Build>)| {
            let b = list.last().filter(|_| t == dest)?;
            Some((p.clone(), format!("{}-{}", b.nvr.1, b.nvr.2)))
        };
        let content = self.tagged.iter().filter_map(latest).collect();
        self.stream.contents.insert((self.hub.clone(), id), content);
        let body = json!({ "tag": tag, "tag_id": 3, "repo_id": id });
        self.send("repo.init", format!("repo/{tag}/{id}"), body);
        self.waiting.push(Step::Repo { id, tag: tag.to_owned() });
    }

    fn go_on(&mut self, step: Step) {
        match step {
            Step::Build { mut build, task, tag } => {
                let state = *[1, 1, 1, 3, 4].choose(&mut self.rng).unwrap();
                self.build_message(&build, Some(0), state, Some(task));
                build.complete = state == 1;
                if build.complete {
                    self.tag(&tag, &build);
                }
                self.builds.push(build);
            }
            Step::Repo { id, tag } => {
                let body = json!({ "tag": tag, "tag_id": 3, "repo_id": id });
                self.send("repo.done", format!("repo/{tag}/{id}"), body);
            }
            Step::Scratch { task, nvr, repo, phase, owner } => {
                const STATES: [&str; 3] = ["FREE", "ASSIGNED", "OPEN"];
                let end = *["CLOSED", "CLOSED", "FAILED", "FAILED", "CANCELED", "FREE"].choose(&mut self.rng).unwrap();
                let (old, new) = match phase {
                    2 => ("OPEN", end),
                    p => (STATES[usize::from(p)], STATES[usize::from(p) + 1]),
                };
                self.task_message(task, &nvr, repo, owner, old, new);
                let phase = if new == "FREE" { 0 } else { phase + 1 };
                if phase < 3 {
                    self.waiting.push(Step::Scratch { task, nvr, repo, phase, owner });
                }
            }
        }
    }

    fn task_message(
        &mut self,
        id: i64,
        nvr: &(String, String, String),
        repo: Option<i64>,
        owner: &str,
        old: &str,
        new: &str,
    ) {
        let srpm = format!("{}-{}-{}.src.rpm", nvr.0, nvr.1, nvr.2);
        let failed = new == "FAILED" && self.rng.random_bool(0.7);
        let children = if new == "OPEN" || new == "ASSIGNED" || new == "FREE" {
            json!([])
        } else {
            let state = if failed { 5 } else { 2 };
            json!([{ "id": id + 1_000_000, "method": "buildArch", "label": "x86_64", "state": state }])
        };
        let mut options = json!({ "scratch": true });
        if let Some(repo) = repo {
            options["repo_id"] = json!(repo);
        }
        let body = json!({
            "id": id, "method": "build", "owner": owner, "srpm": srpm, "attribute": "state", "old": old, "new": new,
            "info": {
                "id": id, "method": "build", "create_time": (self.now - 5.0).floor(), "request": [srpm, "f99", options],
                "children": children,
            },
        });
        self.send("task.state.change", format!("task/{id}"), body);
    }
}

/// A resolver of generated repositories. Its result depends only on the repository's content and
/// id, so it is always the same. Some repositories have no content, and in some the build group
/// does not install.
#[derive(Clone, Debug, Default)]
pub struct Glimpse(Arc<BTreeMap<(String, i64), Content>>);

impl Glimpse {
    /// Makes a resolver for several hubs.
    pub fn on(streams: &[&Stream]) -> Self {
        Self(Arc::new(streams.iter().flat_map(|s| s.contents.clone()).collect()))
    }
}

impl RepoResolver for Glimpse {
    fn observations(&self) -> Vec<Event> {
        Vec::new()
    }

    fn repo(&self, hub: &Hub, _: &str, repo: RepoId) -> RepoLayout {
        if repo.0 % 9 == 0 || !self.0.contains_key(&(hub.to_string(), repo.0)) {
            return RepoLayout::default();
        }
        RepoLayout { create_event: Some(repo.0 * 10), arches: Some(vec!["x86_64".into(), "aarch64".into()]) }
    }

    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        let none = || CannotResolve("not kept".to_owned());
        let content =
            self.0.get(&(unit.hub.to_string(), unit.repo.0)).filter(|_| unit.repo.0 % 9 != 0).ok_or_else(none)?;
        let group_ok = unit.repo.0 % 14 != 0;
        let mut packages: Vec<String> =
            (0..8).map(|k| format!("dep{k}-0:{}-1.fc99.{}", unit.repo.0 / (k * 5 + 3), unit.arch)).collect();
        packages.sort();
        let verdict = |name: &str| {
            let hash = blake3::hash(name.as_bytes()).as_bytes()[0];
            if (i64::from(hash) + unit.repo.0) % 11 == 0 {
                return SourceVerdict::Unresolved { problems: vec![format!("nothing provides dep{}", hash % 8)] };
            }
            let closure: Vec<u32> = (0..8).filter(|k| (u32::from(hash) >> k) & 1 == 0).collect();
            let distances = closure.iter().map(|k| u8::try_from(k % 5).unwrap()).collect();
            SourceVerdict::Ok { closure: closure.into(), distances, erased: Vec::new() }
        };
        let sources = content.iter().filter(|_| group_ok).map(|(name, source)| {
            let in_repo = Default::default();
            let result =
                SourceResult { source: source.as_str().into(), noarch: false, in_repo, verdict: verdict(name) };
            (name.as_str().into(), result)
        });
        Ok(UnitVerdicts {
            of_packages: None,
            solvers: Default::default(),
            format: FORMAT,
            repo: unit.repo,
            arch: unit.arch.into(),
            mode: "two".into(),
            solver: "glimpse".to_owned(),
            inputs: unit.repo.to_string(),
            group_problems: verdicts::bounded(&if group_ok { vec![] } else { vec!["no shell".to_owned()] }),
            group: vec![0],
            packages,
            built_from: Vec::new(),
            sources: sources.collect(),
        })
    }
}
