//! Dense tables of the evidence: which update was in which build of which package that failed.

use super::history::{BUILDS, History};
use super::input::{DISTANCES, Evidence};
use super::model::Model;

/// A supposition: an update is bad, and a later update of the same source repairs it, or none does.
#[derive(Debug, Clone)]
pub(super) struct Supposed {
    /// The source, as a place in [`Index::chains`].
    pub chain: u32,
    /// The bad update, as a place in its chain.
    pub from: u32,
    /// The repair, as a place in the chain. The length of the chain: none.
    pub to: u32,
    /// Packages without a failed build that passed with the update, by distance class: of an unchanged source,
    /// and with a new source of their own.
    pub passed: [[u32; DISTANCES]; 2],
    /// The entries of packages, as places in [`Index::entries`].
    pub entries: Vec<u32>,
}

/// One supposition and one package that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// The package, as a place in [`Index::packages`].
    pub package: u32,
    /// The supposition.
    pub supposed: u32,
    /// The builds of the package that had the update, while not repaired.
    pub reached: u64,
    /// The place of `reached` in [`Failing::reached`].
    pub set: u16,
    /// The distance class.
    pub class: u8,
}

/// A package with a failed build.
#[derive(Debug, Clone, Default)]
pub(super) struct Failing {
    /// Its number.
    pub number: u32,
    /// Its newest builds, as places in [`Evidence::builds`].
    pub builds: Vec<u32>,
    /// Their results.
    pub history: History,
    /// The repository of the last good build before each build; `None`: no good build is known.
    pub good: Vec<Option<u32>>,
    /// The different sets of builds that its entries reach.
    pub reached: Vec<u64>,
    /// Its entries: a range of [`Index::entries`].
    pub entries: (u32, u32),
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The updates of each source in the order of their repositories, as places in [`Evidence::updates`].
    pub chains: Vec<Vec<u32>>,
    /// The chain and the place in it of each update.
    pub chain_of: Vec<(u32, u32)>,
    /// The packages with a failed build.
    pub packages: Vec<Failing>,
    /// The suppositions worth a thought: each reaches a failed build.
    pub supposed: Vec<Supposed>,
    /// The entries, sorted by package.
    pub entries: Vec<Entry>,
}

/// The most later updates of a source that are tried as the repair of one.
const REPAIRS: usize = 6;
/// No supposition.
const NONE: u32 = u32::MAX;

/// The suppositions of one chain, in a triangle of the bad update and its repair.
struct Triangle {
    base: Vec<u32>,
}

impl Triangle {
    /// The place of a supposition; `None`: it is not tried.
    fn place(&self, chain: u32, length: usize, from: usize, to: usize) -> Option<usize> {
        let slot = if to >= length { REPAIRS } else { to - from - 1 };
        (to >= length || slot < REPAIRS).then(|| self.base[chain as usize] as usize + from * (REPAIRS + 1) + slot)
    }
}

impl Index {
    /// Reads the evidence once. Cost: linear in it, and for packages that failed their builds times their changes.
    pub(super) fn new(evidence: &Evidence, model: &Model) -> Self {
        let mut index = Self::default();
        index.chain(evidence);
        let mut base = Vec::with_capacity(index.chains.len() + 1);
        let mut total = 0_u32;
        for chain in &index.chains {
            base.push(total);
            total += narrow(chain.len() * (REPAIRS + 1));
        }
        let triangle = Triangle { base };
        let mut supposed = vec![NONE; total as usize];
        let passing = index.gather(evidence);
        let mut passed = vec![[[0_u32; DISTANCES]; 2]; total as usize];
        index.enter(evidence, &triangle, &mut supposed, &mut passed);
        if !model.ignore_passes {
            index.count(evidence, &passing, &triangle, &mut passed);
        }
        for (place, number) in supposed.iter().enumerate() {
            if *number != NONE {
                index.supposed[*number as usize].passed = passed[place];
            }
        }
        index
    }

    /// Sorts the updates into chains.
    fn chain(&mut self, evidence: &Evidence) {
        let mut order: Vec<u32> = (0..narrow(evidence.updates.len())).collect();
        order.sort_by_key(|u| {
            let update = &evidence.updates[*u as usize];
            (update.source, update.repo, update.id)
        });
        self.chain_of = vec![(0, 0); order.len()];
        let mut source = None;
        for u in order {
            let of = evidence.updates[u as usize].source;
            if source != Some(of) {
                source = Some(of);
                self.chains.push(Vec::new());
            }
            let number = narrow(self.chains.len() - 1);
            if let Some(chain) = self.chains.last_mut() {
                self.chain_of[u as usize] = (number, narrow(chain.len()));
                chain.push(u);
            }
        }
    }

    /// Lists the builds of packages with a failed one, and returns the builds of all others by package.
    fn gather(&mut self, evidence: &Evidence) -> Vec<u32> {
        let mut order: Vec<u32> = (0..narrow(evidence.builds.len())).collect();
        order.sort_by_key(|b| (evidence.builds[*b as usize].package, *b));
        let mut passing = Vec::new();
        for group in order.chunk_by(|a, b| evidence.builds[*a as usize].package == evidence.builds[*b as usize].package)
        {
            if group.iter().all(|b| evidence.builds[*b as usize].passed) {
                passing.extend_from_slice(group);
                continue;
            }
            let number = group.first().map_or(0, |b| evidence.builds[*b as usize].package);
            self.packages.push(Failing { number, builds: group.to_vec(), ..Failing::default() });
        }
        passing
    }

    /// Finds for each package that failed which supposition reaches which of its builds.
    fn enter(
        &mut self,
        evidence: &Evidence,
        triangle: &Triangle,
        supposed: &mut [u32],
        passed: &mut [[[u32; DISTANCES]; 2]],
    ) {
        let mut packages = std::mem::take(&mut self.packages);
        for (number, package) in packages.iter_mut().enumerate() {
            let begin = narrow(self.entries.len());
            let rows = self.rows(evidence, package);
            for row in rows {
                let length = self.chains[row.chain as usize].len();
                let highest = row.states.iter().copied().max().unwrap_or(0);
                for from in row.before..highest {
                    let last = (from as usize + REPAIRS).min(length.saturating_sub(1));
                    for to in (from as usize + 1..=last).chain([length]) {
                        let Some(place) = triangle.place(row.chain, length, from as usize, to) else { continue };
                        let reached = row.reached(from, narrow(to));
                        if reached == 0 {
                            continue;
                        }
                        if reached & package.history.failed == 0 {
                            let own = reached & !row.own == 0;
                            passed[place][usize::from(own)][usize::from(row.class)] += 1;
                            continue;
                        }
                        if supposed[place] == NONE {
                            supposed[place] = narrow(self.supposed.len());
                            let (chain, to) = (row.chain, narrow(to));
                            let empty = [[0; DISTANCES]; 2];
                            self.supposed.push(Supposed { chain, from, to, passed: empty, entries: Vec::new() });
                        }
                        let place = supposed[place];
                        self.supposed[place as usize].entries.push(narrow(self.entries.len()));
                        let package = narrow(number);
                        self.entries.push(Entry { package, supposed: place, reached, set: 0, class: row.class });
                    }
                }
            }
            package.entries = (begin, narrow(self.entries.len()));
            let own = &mut self.entries[begin as usize..];
            package.reached = own.iter().map(|e| e.reached).collect();
            package.reached.sort_unstable();
            package.reached.dedup();
            for entry in own {
                let set = package.reached.binary_search(&entry.reached).unwrap_or(0);
                entry.set = u16::try_from(set).unwrap_or(u16::MAX);
            }
        }
        self.packages = packages;
    }

    /// The state of each changed source in each build of a package.
    fn rows(&self, evidence: &Evidence, package: &mut Failing) -> Vec<Row> {
        let (mut good, mut good_repo): (Vec<u32>, Option<u32>) = (Vec::new(), None);
        let skip = package.builds.len().saturating_sub(BUILDS);
        let mut rows: Vec<Row> = Vec::new();
        for build in &package.builds {
            for change in &evidence.builds[*build as usize].changes {
                let Some(place) = evidence.place(change.update) else { continue };
                // What changed in the package itself is no suspect.
                if evidence.updates[place].source == package.number {
                    continue;
                }
                rows.push(Row::new(self.chain_of[place].0, change.class()));
            }
        }
        rows.sort_by_key(|r| (r.chain, r.class));
        rows.dedup_by_key(|r| r.chain);
        good.resize(rows.len(), 0);
        let mut was: Option<(bool, bool, u32)> = None;
        for (n, number) in package.builds.iter().enumerate() {
            let build = &evidence.builds[*number as usize];
            let mut now = good.clone();
            if good_repo.is_none() && build.passed && build.changes.is_empty() {
                for (state, row) in now.iter_mut().zip(&rows) {
                    let chain = &self.chains[row.chain as usize];
                    *state = narrow(chain.partition_point(|u| evidence.updates[*u as usize].repo <= build.repo));
                }
            }
            for change in &build.changes {
                let Some(place) = evidence.place(change.update) else { continue };
                let (chain, at) = self.chain_of[place];
                if let Ok(row) = rows.binary_search_by_key(&chain, |r| r.chain) {
                    now[row] = at + 1;
                }
            }
            let changed = match was {
                None => build.own_changed,
                Some((true, _, _)) => build.own_changed,
                Some((false, true, repo)) if build.own_changed => {
                    self.own_between(evidence, build.package, repo, build.repo)
                }
                Some((false, own, _)) => own != build.own_changed,
            };
            if n == skip {
                for (row, state) in rows.iter_mut().zip(&good) {
                    row.before = *state;
                }
                if good_repo.is_none() && build.passed && build.changes.is_empty() {
                    for (row, state) in rows.iter_mut().zip(&now) {
                        row.before = *state;
                    }
                }
            }
            if n >= skip {
                let bit = 1_u64 << (n - skip);
                package.history.count = n - skip + 1;
                package.history.failed |= if build.passed { 0 } else { bit };
                package.history.changed |= if changed { bit } else { 0 };
                package.good.push(good_repo);
                for (row, state) in rows.iter_mut().zip(&now) {
                    row.states.push(*state);
                    row.own |= if build.own_changed { bit } else { 0 };
                }
            }
            if build.passed {
                good = now;
                good_repo = Some(good_repo.map_or(build.repo, |r: u32| r.max(build.repo)));
            }
            was = Some((build.passed, build.own_changed, build.repo));
        }
        package.builds.drain(..skip);
        rows
    }

    /// Whether an update of the package's own source came after one repository and not after another.
    fn own_between(&self, evidence: &Evidence, package: u32, after: u32, until: u32) -> bool {
        let at = |c: &Vec<u32>| c.first().map_or(0, |u| evidence.updates[*u as usize].source);
        let Ok(chain) = self.chains.binary_search_by_key(&package, at) else { return false };
        self.chains[chain].iter().any(|u| {
            let repo = evidence.updates[*u as usize].repo;
            after < repo && repo <= until
        })
    }

    /// Counts the packages that never failed and passed with each supposition.
    fn count(&self, evidence: &Evidence, passing: &[u32], triangle: &Triangle, passed: &mut [[[u32; DISTANCES]; 2]]) {
        let mut counted = vec![[[0_u32; DISTANCES]; 2]; passed.len()];
        // For each chain: the package that was looked at last, and the first update that it has not passed with.
        let mut next: Vec<(u32, u32)> = vec![(NONE, 0); self.chains.len()];
        for number in passing {
            let build = &evidence.builds[*number as usize];
            for change in &build.changes {
                let Some(place) = evidence.place(change.update) else { continue };
                let (chain, at) = self.chain_of[place];
                let seen = &mut next[chain as usize];
                if seen.0 != build.package {
                    *seen = (build.package, 0);
                }
                // This is the first pass with the update or a later one: it speaks for each of them.
                for from in seen.1..=at {
                    let slot = ((at - from) as usize).min(REPAIRS);
                    let place = triangle.base[chain as usize] as usize + from as usize * (REPAIRS + 1) + slot;
                    counted[place][usize::from(build.own_changed)][change.class()] += 1;
                }
                seen.1 = seen.1.max(at + 1);
            }
        }
        // A repair ends what passes speak for: those before it count, and without one all.
        for (sums, first) in passed.chunks_exact_mut(REPAIRS + 1).zip(counted.chunks_exact(REPAIRS + 1)) {
            let mut sum = [[0; DISTANCES]; 2];
            for (total, count) in sums.iter_mut().zip(first) {
                for own in 0..2 {
                    for class in 0..DISTANCES {
                        sum[own][class] += count[own][class];
                        total[own][class] += sum[own][class];
                    }
                }
            }
        }
    }
}

/// The states of one source in the builds of one package: 0 before its first update.
struct Row {
    chain: u32,
    class: u8,
    before: u32,
    states: Vec<u32>,
    own: u64,
}

impl Row {
    fn new(chain: u32, class: usize) -> Self {
        Self { chain, class: u8::try_from(class).unwrap_or(0), before: 0, states: Vec::new(), own: 0 }
    }

    /// The builds with a state in which the update is there and not repaired.
    fn reached(&self, from: u32, to: u32) -> u64 {
        let inside = |s: &u32| from < *s && *s <= to;
        self.states.iter().enumerate().filter(|(_, s)| inside(s)).fold(0, |set, (n, _)| set | 1 << n)
    }
}

/// A place as a number. The tables hold fewer than 2^32 rows.
pub(super) fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
