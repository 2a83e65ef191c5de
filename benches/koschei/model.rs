//! The meaning of the generator's stream, computed without the fold, and its comparison with a
//! folded state.
//!
//! The model is written from the definitions, with plain vectors by number. It shares only names
//! with `koschei::fold`. The definitions are:
//!
//! - The latest build is the last tagged one in the nearest tag that has a build.
//! - The state is blocked, else unresolved, else the last result of the newest source, else the
//!   last result of one that is still tagged. Nothing is forgotten.
//! - A change counts once per name, with its smallest distance.

use std::collections::BTreeMap;

use ::koschei::fold::State;
use ::koschei::model::koji::BuildState;
use ::koschei::model::{BuildId, BuildrootState, Hub, Name, Outcome, PackageState, RepoId};

/// Most differences that are spelled out.
const DIFFERENCES_SHOWN: usize = 20;
/// The architectures of every collection.
pub const ARCHES: [&str; 2] = ["aarch64", "x86_64"];

/// A build in a tag: its number and the event that tagged it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tagged {
    pub build: i64,
    pub order: u64,
}

/// A tag. Vectors are indexed by package number.
pub struct TagModel {
    pub name: Name,
    pub blocked: Vec<Option<bool>>,
    pub builds: Vec<Vec<Tagged>>,
}

/// A real build.
#[derive(Clone, Copy, Debug)]
pub struct BuildModel {
    pub package: usize,
    pub version: u32,
    pub state: BuildState,
    /// Whether this hub built it.
    pub here: bool,
}

/// A hub.
pub struct HubModel {
    pub name: Hub,
    pub packages: Vec<Name>,
    pub tags: Vec<TagModel>,
    pub builds: BTreeMap<i64, BuildModel>,
}

/// One result of a package.
#[derive(Clone, Copy, Debug)]
pub struct ResultModel {
    pub order: u64,
    pub version: u32,
    /// Build or task number.
    pub number: i64,
    pub real: bool,
    pub outcome: Option<Outcome>,
    pub running: bool,
    pub withdrawn: bool,
}

/// A verdict. `ok` is `None` if the package is not for this architecture. A change is the number of
/// the name and the distance.
#[derive(Clone, Default, Debug)]
pub struct VerdictModel {
    pub ok: Option<bool>,
    pub changes: Vec<(u32, u8)>,
}

/// A package in a collection.
#[derive(Clone, Default)]
pub struct PackageModel {
    pub results: Vec<ResultModel>,
    pub verdicts: [Option<VerdictModel>; 2],
    pub noarch: bool,
    pub announced: Option<PackageState>,
    pub latest: Option<i64>,
}

/// A collection.
pub struct CollectionModel {
    pub name: Name,
    pub hub: usize,
    /// Tags by number, nearest first.
    pub chain: Vec<usize>,
    pub candidate: usize,
    pub target: Name,
    pub build_tag: Name,
    pub newest_repo: Option<i64>,
    pub group_ok: [Option<bool>; 2],
    pub announced: BuildrootState,
    pub packages: Vec<PackageModel>,
}

/// All hubs and collections.
#[derive(Default)]
pub struct Model {
    pub hubs: Vec<HubModel>,
    pub collections: Vec<CollectionModel>,
}

impl Model {
    /// Puts a build at the end of its package's list in a tag.
    pub fn tag(&mut self, hub: usize, tag: usize, package: usize, build: i64, order: u64) {
        let list = &mut self.hubs[hub].tags[tag].builds[package];
        list.retain(|t| t.build != build);
        list.push(Tagged { build, order });
        self.look_again(hub, tag, package);
    }

    /// Removes a build from a tag.
    pub fn untag(&mut self, hub: usize, tag: usize, package: usize, build: i64) {
        self.hubs[hub].tags[tag].builds[package].retain(|t| t.build != build);
        self.look_again(hub, tag, package);
    }

    /// Returns the last tagged build in the nearest tag that has one.
    pub fn latest(&self, collection: usize, package: usize) -> Option<Tagged> {
        let c = &self.collections[collection];
        c.chain.iter().find_map(|t| self.hubs[c.hub].tags[*t].builds[package].last().copied())
    }

    /// Returns the version of the source that a rebuild would use.
    pub fn latest_version(&self, collection: usize, package: usize) -> Option<u32> {
        let latest = self.latest(collection, package)?;
        Some(self.hubs[self.collections[collection].hub].builds[&latest.build].version)
    }

    fn look_again(&mut self, hub: usize, tag: usize, package: usize) {
        for c in 0..self.collections.len() {
            if self.collections[c].hub == hub && self.collections[c].chain.contains(&tag) {
                self.look_at(c, package);
            }
        }
    }

    fn look_at(&mut self, collection: usize, package: usize) {
        let latest = self.latest(collection, package);
        let c = &mut self.collections[collection];
        let hub = &self.hubs[c.hub];
        let p = &mut c.packages[package];
        if let Some(l) = latest.filter(|l| p.latest != Some(l.build)) {
            let build = hub.builds[&l.build];
            let built = build.here && build.state == BuildState::Complete;
            p.add(ResultModel {
                order: l.order,
                version: build.version,
                number: l.build,
                real: true,
                outcome: built.then_some(Outcome::Ok),
                running: false,
                withdrawn: false,
            });
        }
        p.latest = latest.map(|l| l.build);
        let tagged = |b: i64| c.chain.iter().any(|t| hub.tags[*t].builds[package].iter().any(|x| x.build == b));
        for i in 0..p.results.len() {
            let version = p.results[i].version;
            let mut of_source = p.results.iter().filter(|r| r.real && r.version == version).peekable();
            let withdrawn = of_source.peek().is_some() && !of_source.any(|r| tagged(r.number));
            p.results[i].withdrawn = if p.results[i].real { !tagged(p.results[i].number) } else { withdrawn };
        }
    }

    /// Checks whether the nearest package list that has the package blocks it.
    pub fn blocked(&self, collection: usize, package: usize) -> bool {
        let c = &self.collections[collection];
        c.chain.iter().find_map(|t| self.hubs[c.hub].tags[*t].blocked[package]).unwrap_or(false)
    }

    /// Returns the state that is shown.
    pub fn state(&self, collection: usize, package: usize) -> PackageState {
        let p = &self.collections[collection].packages[package];
        if self.blocked(collection, package) {
            return PackageState::Blocked;
        }
        if p.resolved() == Some(false) {
            return PackageState::Unresolved;
        }
        // Results of the newest source come first, its rebuilds before its own build.
        let newest = self.latest_version(collection, package);
        let last = |of: &dyn Fn(&ResultModel) -> bool| {
            p.results.iter().rev().filter(|r| !r.withdrawn && of(r)).find_map(|r| r.outcome.filter(|o| o.is_complete()))
        };
        let of_newest = |r: &ResultModel| Some(r.version) == newest;
        match last(&|r| of_newest(r) && !r.real).or_else(|| last(&of_newest)).or_else(|| last(&|_| true)) {
            Some(Outcome::Ok) => PackageState::Ok,
            Some(_) => PackageState::Failing,
            None => PackageState::Unknown,
        }
    }

    /// Compares with a folded state. Returns how many things were compared, and the first
    /// differences.
    pub fn check(&self, state: &State) -> (u64, Vec<String>) {
        let mut check = Check { compared: 0, differ: Vec::new() };
        for hub in &self.hubs {
            check.hub(hub, state);
        }
        let mut running = 0;
        for (index, c) in self.collections.iter().enumerate() {
            running += self.collection(index, c, state, &mut check);
        }
        check.same(|| "rebuilds running".to_owned(), &running, &state.running());
        check.same(|| "collections".to_owned(), &self.collections.len(), &state.collections.len());
        check.same(|| "events that made no sense".to_owned(), &BTreeMap::new(), &state.anomalies);
        (check.compared, check.differ)
    }

    fn collection(&self, index: usize, c: &CollectionModel, state: &State, check: &mut Check) -> u32 {
        let Some(found) = state.collections.get(&c.name) else {
            check.differ.push(format!("collection {} is missing", c.name));
            return 0;
        };
        let hub = &self.hubs[c.hub];
        let mut running = 0;
        for (i, p) in c.packages.iter().enumerate() {
            let name = &hub.packages[i];
            let what = |field: &str| format!("{field} of {name} in {}", c.name);
            let Some(f) = found.packages.get(name) else {
                check.differ.push(what("everything"));
                continue;
            };
            let runs = u16::try_from(p.results.iter().filter(|r| r.running).count()).unwrap_or(u16::MAX);
            running += u32::from(runs);
            let latest = self.latest(index, i).map(|l| BuildId(l.build));
            check.same(|| what("blocked"), &self.blocked(index, i), &f.blocked);
            check.same(|| what("latest build"), &latest, &f.latest.as_ref().map(|l| l.build));
            check.same(|| what("resolved"), &p.resolved(), &f.resolved);
            check.same(|| what("state"), &self.state(index, i), &f.state(found.settings.track_all));
            check.same(|| what("announced state"), &p.announced, &f.announced_state());
            check.same(|| what("dependency changes"), &p.distances(), &f.distances);
            check.same(|| what("running rebuilds"), &runs, &f.running);
        }
        check.same(|| format!("packages of {}", c.name), &c.packages.len(), &found.packages.len());
        check.same(|| format!("running rebuilds of {}", c.name), &running, &found.running);
        check.same(|| format!("newest repo of {}", c.name), &c.newest_repo.map(RepoId), &found.newest_repo);
        check.same(|| format!("buildroot of {}", c.name), &c.buildroot(), &found.buildroot());
        check.same(|| format!("announced buildroot of {}", c.name), &c.announced, &found.announced);
        running
    }
}

impl CollectionModel {
    /// A buildroot that is broken on one architecture is broken.
    pub fn buildroot(&self) -> BuildrootState {
        if self.group_ok.contains(&Some(false)) {
            BuildrootState::Unresolved
        } else if self.group_ok.contains(&Some(true)) {
            BuildrootState::Ok
        } else {
            BuildrootState::Unknown
        }
    }
}

impl PackageModel {
    /// Inserts a result at its place. It replaces an older one with the same number.
    pub fn add(&mut self, new: ResultModel) {
        self.results.retain(|r| (r.real, r.number) != (new.real, new.number));
        let at = self.results.iter().position(|r| r.order >= new.order).unwrap_or(self.results.len());
        self.results.insert(at, new);
    }

    /// Checks whether the package resolves on all its architectures. A noarch package needs one.
    pub fn resolved(&self) -> Option<bool> {
        let oks: Vec<bool> = self.verdicts.iter().flatten().filter_map(|v| v.ok).collect();
        if oks.is_empty() {
            return None;
        }
        Some(if self.noarch { oks.contains(&true) } else { !oks.contains(&false) })
    }

    /// Returns the numbers of changes at distance 1, 2, 3, 4 and beyond.
    pub fn distances(&self) -> [u16; 5] {
        let mut nearest: BTreeMap<u32, u8> = BTreeMap::new();
        for (name, distance) in self.verdicts.iter().flatten().filter(|v| v.ok.is_some()).flat_map(|v| &v.changes) {
            let slot = if (1..=4).contains(distance) { *distance - 1 } else { 4 };
            nearest.entry(*name).and_modify(|old| *old = slot.min(*old)).or_insert(slot);
        }
        let mut counts = [0; 5];
        for slot in nearest.values() {
            counts[usize::from(*slot)] += 1;
        }
        counts
    }
}

struct Check {
    compared: u64,
    differ: Vec<String>,
}

impl Check {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: impl FnOnce() -> String, expected: &T, found: &T) {
        self.compared += 1;
        if expected != found && self.differ.len() < DIFFERENCES_SHOWN {
            self.differ.push(format!("{}: {found:?}, should be {expected:?}", what()));
        }
    }

    fn hub(&mut self, hub: &HubModel, state: &State) {
        let Some(found) = state.hubs.get(&hub.name) else {
            self.differ.push(format!("hub {} is missing", hub.name));
            return;
        };
        self.same(|| format!("builds of {}", hub.name), &hub.builds.len(), &found.builds.len());
        for (id, b) in &hub.builds {
            let state = found.builds.get(&BuildId(*id)).map(|f| (f.nvr.name.clone(), f.state));
            let expected = Some((hub.packages[b.package].clone(), Some(b.state)));
            self.same(|| format!("build {id} of {}", hub.name), &expected, &state);
        }
        for tag in &hub.tags {
            let there = found.tags.get(&tag.name);
            let mut known = 0;
            for (i, name) in hub.packages.iter().enumerate() {
                let f = there.and_then(|t| t.packages.get(name));
                let builds: Vec<BuildId> = tag.builds[i].iter().map(|b| BuildId(b.build)).collect();
                let found: Vec<BuildId> = f.iter().flat_map(|f| &f.builds).map(|b| b.build).collect();
                known += usize::from(f.is_some());
                self.same(
                    || format!("list entry of {name} in {}", tag.name),
                    &tag.blocked[i],
                    &f.and_then(|f| f.blocked()),
                );
                self.same(|| format!("builds of {name} in {}", tag.name), &builds, &found);
            }
            let all = there.map_or(0, |t| t.packages.len());
            self.same(|| format!("packages in {}", tag.name), &known, &all);
        }
    }
}
