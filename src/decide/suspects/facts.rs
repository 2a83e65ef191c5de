//! The numbers behind a suspect, which sentences are made of.

use super::history::History;
use super::index::{Failing, Index, Supposed, narrow};
use super::input::{Evidence, SeenElsewhere};

/// What was seen of one suspect of one failed build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// The repository that the update came with.
    pub repo: u32,
    /// The packages that began to fail between that repository and the one before: after a good build in an earlier
    /// repository, the first failed one was in this or a later one.
    pub began: u32,
    /// Those of them that had the update in the buildroot of that failed build for the first time.
    pub began_with: u32,
    /// The packages that passed in that repository or a later one.
    pub passed: u32,
    /// Those of them that passed with the update, before its repair, for the first time.
    pub passed_with: u32,
    /// The packages that the model holds this update responsible for.
    pub broken: u32,
    /// The distance of the update from the package: 1 to 4; 5: farther, or none.
    pub distance: u8,
    /// The failed builds of this package with the update.
    pub failed_here: u32,
    /// The good builds of this package with the update, before its repair.
    pub passed_here: u32,
    /// The update that most likely repaired it.
    pub repaired_by: Option<u32>,
    /// Other packages that failed with the update and ended in the same line as this build.
    pub same_text: u32,
    /// What was seen of the update in other collections.
    pub elsewhere: SeenElsewhere,
}

/// Counts that all suspects share.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// How many runs of failures may have begun with each repository: after a good build in an earlier one.
    runs: Vec<u32>,
    /// The newest repository in which each package passed, sorted.
    passed: Vec<u32>,
    /// For each supposition that was asked for: the runs that began with it, and the packages that passed with it.
    with: Vec<Option<(u32, u32)>>,
}

impl Counts {
    /// Counts once. Cost: linear in the builds.
    pub(super) fn new(evidence: &Evidence, index: &Index) -> Self {
        let mut newest: std::collections::BTreeMap<u32, u32> = std::collections::BTreeMap::new();
        for build in evidence.builds.iter().filter(|b| b.passed) {
            let at = newest.entry(build.package).or_default();
            *at = build.repo.max(*at);
        }
        let mut passed: Vec<u32> = newest.into_values().collect();
        passed.sort_unstable();
        let last = evidence.builds.iter().map(|b| b.repo as usize + 1).max().unwrap_or(0);
        let mut runs = vec![0_i64; last + 1];
        for package in &index.packages {
            for bit in begins(&package.history) {
                let build = &evidence.builds[package.builds[bit] as usize];
                // Differences first: one more after the good build, one less after the failed one.
                let (good, failed) = (package.good[bit].unwrap_or(0) as usize, build.repo as usize);
                if good < failed && failed < last {
                    runs[good + 1] += 1;
                    runs[failed + 1] -= 1;
                }
            }
        }
        let with = vec![None; index.supposed.len()];
        let mut sum = 0;
        let runs = runs.iter().map(|n| {
            sum += n;
            u32::try_from(sum).unwrap_or(0)
        });
        Self { runs: runs.collect(), passed, with }
    }

    /// The facts of one entry.
    pub(super) fn facts(
        &mut self,
        evidence: &Evidence,
        index: &Index,
        package: &Failing,
        entry: u32,
        build: u32,
        broken: u32,
    ) -> Facts {
        let e = &index.entries[entry as usize];
        let supposed = &index.supposed[e.supposed as usize];
        let chain = &index.chains[supposed.chain as usize];
        let update = &evidence.updates[chain[supposed.from as usize] as usize];
        let repo = update.repo;
        let mut facts = Facts { repo, distance: e.class + 1, broken, ..Facts::default() };
        facts.began = self.runs.get(repo as usize).copied().unwrap_or(0);
        facts.passed = narrow(self.passed.len() - self.passed.partition_point(|r| *r < repo));
        (facts.began_with, facts.passed_with) =
            *self.with[e.supposed as usize].get_or_insert_with(|| with(evidence, index, supposed));
        facts.elsewhere = evidence.elsewhere.get(&update.id).copied().unwrap_or_default();
        let text = evidence.builds[build as usize].text;
        if text.is_some() {
            for other in &supposed.entries {
                let o = &index.entries[*other as usize];
                let p = &index.packages[o.package as usize];
                let same = |n: usize| o.reached >> n & 1 == 1 && evidence.builds[p.builds[n] as usize].text == text;
                facts.same_text += u32::from(o.package != e.package && (0..p.builds.len()).any(same));
            }
        }
        facts.failed_here = (e.reached & package.history.failed).count_ones();
        facts.passed_here = (e.reached & !package.history.failed).count_ones();
        facts.repaired_by = chain.get(supposed.to as usize).map(|u| evidence.updates[*u as usize].id);
        facts
    }
}

/// The runs that began with a supposition, and the packages that passed with it.
fn with(evidence: &Evidence, index: &Index, supposed: &Supposed) -> (u32, u32) {
    let chain = &index.chains[supposed.chain as usize];
    let repo = evidence.updates[chain[supposed.from as usize] as usize].repo;
    let (mut began, mut passed) = (0, supposed.passed.iter().flatten().sum());
    for entry in &supposed.entries {
        let e = &index.entries[*entry as usize];
        let p = &index.packages[e.package as usize];
        // A run began with the update if its first failed build has it and the good build before has not.
        let first = p.history.failed & !(p.history.failed << 1) & e.reached;
        let with = first != 0 && begins(&p.history).any(|b| e.reached >> b & 1 == 1 && p.good[b].unwrap_or(0) < repo);
        began += u32::from(with);
        passed += u32::from(e.reached & !p.history.failed != 0);
    }
    (began, passed)
}

/// The first failed builds of the runs of a package.
fn begins(history: &History) -> impl Iterator<Item = usize> {
    let first = history.failed & !(history.failed << 1);
    (0..history.count).filter(move |b| first >> b & 1 == 1)
}
