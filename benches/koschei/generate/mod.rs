//! Generates from a seed a stream of events like those the engine appends: imports first, then
//! builds, tags, rebuilds, repositories and decisions. The kinds come as often as in the recording
//! ([`super::mix`]).
//!
//! The generator also updates its [`Model`], so that the meaning of the stream is known without
//! folding it.

mod beginning;
mod builds;
mod rebuilds;
mod repositories;
mod updates;

use std::collections::VecDeque;

use ::koschei::event::*;
use ::koschei::log::Attachment;
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
