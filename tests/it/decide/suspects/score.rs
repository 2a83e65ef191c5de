//! Scores a ranking against the truth, as `check.py` does for suspects of failed builds.

use std::collections::{BTreeMap, BTreeSet};

use super::truth::World;
use koschei::decide::suspects::Ranked;
use koschei::decide::suspects::{Build, Evidence};

/// The groups by the number of packages that a culprit breaks: 1, 2 and 3, 4 to 9, 10 and more.
pub const SIZES: usize = 4;

/// Sums over worlds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Failed builds of updates, by size: right first, right in the first three, all.
    pub by: [[u32; 3]; SIZES],
    /// Failed builds without an update behind them that give one more than 500.
    pub accused: u32,
    /// All failed builds.
    pub failures: u32,
    /// The sum of the squared differences between shares and truth, in millionths, over all ranked builds.
    pub brier: u64,
    /// The ranked builds.
    pub ranked: u32,
}

impl Score {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        for (a, b) in self.by.iter_mut().flatten().zip(other.by.iter().flatten()) {
            *a += b;
        }
        self.accused += other.accused;
        self.failures += other.failures;
        self.brier += other.brier;
        self.ranked += other.ranked;
    }

    /// A share of the failed builds whose culprit has one of the `sizes`, in percent. `what`: 0 first, 1 first three.
    pub fn percent(&self, sizes: std::ops::Range<usize>, what: usize) -> f64 {
        let sum = |k: usize| f64::from(self.by[sizes.clone()].iter().map(|b| b[k]).sum::<u32>());
        100.0 * sum(what) / sum(2).max(1.0)
    }

    /// The wrongly accused per 1,000 failed builds.
    pub fn wrong(&self) -> f64 {
        1000.0 * f64::from(self.accused) / f64::from(self.failures).max(1.0)
    }

    /// The mean squared difference between shares and truth.
    pub fn mean_brier(&self) -> f64 {
        self.brier as f64 / 1e6 / f64::from(self.ranked).max(1.0)
    }

    /// One line.
    pub fn line(&self) -> String {
        let by: Vec<String> = (0..SIZES).map(|k| format!("{:.1}", self.percent(k..k + 1, 0))).collect();
        format!(
            "many first {:.1} | all first {:.1}, three {:.1} | wrong {:.1} | by size {} | brier {:.4} | {} failures",
            self.percent(2..SIZES, 0),
            self.percent(0..SIZES, 0),
            self.percent(0..SIZES, 1),
            self.wrong(),
            by.join(" "),
            self.mean_brier(),
            self.failures
        )
    }
}

/// The group of a size.
fn group(size: u32) -> usize {
    match size {
        0 | 1 => 0,
        2 | 3 => 1,
        4..=9 => 2,
        _ => 3,
    }
}

/// Scores one world.
pub fn score(world: &World, ranked: &[Ranked]) -> Score {
    let mut score = Score { failures: world.failures, ..Score::default() };
    let empty = Ranked { build: 0, suspects: Vec::new(), none: koschei::decide::suspects::Nobody::default() };
    for (number, build) in world.evidence.builds.iter().enumerate().filter(|(_, b)| !b.passed) {
        let found = ranked.binary_search_by_key(&number, |r| r.build as usize);
        debug_assert!(!build.passed);
        let r = found.map_or(&empty, |at| &ranked[at]);
        let truth = &world.truth[number];
        let named: Vec<(u32, u32)> = r.suspects.iter().map(|s| (s.share, s.update)).collect();
        score.ranked += 1;
        let mut brier = 0_i64;
        for (share, update) in &named {
            let is = if same(&world.evidence, &truth.culprits, *update) { 1000 } else { 0 };
            brier += (i64::from(*share) - is).pow(2);
        }
        let none = i64::from(r.none.own + r.none.chance) - if truth.culprits.is_empty() { 1000 } else { 0 };
        score.brier += (brier + none * none).unsigned_abs();
        let top = named.first().map_or(0, |n| n.0);
        if !truth.culprits.is_empty() {
            let hit = |n: &(u32, u32)| same(&world.evidence, &truth.culprits, n.1);
            let by = &mut score.by[group(truth.size)];
            by[0] += u32::from(!named.is_empty() && named.iter().filter(|n| n.0 == top).all(hit));
            by[1] += u32::from(named.iter().take(3).any(hit));
            by[2] += 1;
        } else if !truth.run && top > 500 {
            score.accused += 1;
        }
    }
    score
}

/// Whether an update is a culprit, or cannot be told apart from one.
pub fn same(evidence: &Evidence, culprits: &[u32], update: u32) -> bool {
    let Some(named) = evidence.place(update).map(|p| &evidence.updates[p]) else { return false };
    culprits.iter().any(|c| {
        let culprit = evidence.place(*c).map(|p| &evidence.updates[p]);
        *c == update
            || culprit
                .is_some_and(|c| c.repo == named.repo && c.buildroots.is_some() && c.buildroots == named.buildroots)
    })
}

/// What Koschei does: the nearest change first, the newest of those.
pub fn nearest_first(evidence: &Evidence) -> Vec<Ranked> {
    let mut out = Vec::new();
    for (number, build) in evidence.builds.iter().enumerate().filter(|(_, b)| !b.passed) {
        let mut changes: Vec<(usize, std::cmp::Reverse<u32>, u32)> = build
            .changes
            .iter()
            .filter_map(|c| {
                Some((c.class(), std::cmp::Reverse(evidence.updates[evidence.place(c.update)?].repo), c.update))
            })
            .collect();
        changes.sort_unstable();
        let alone = changes.len() == 1 || changes.len() > 1 && changes[0].0 < changes[1].0;
        let share = |at: usize| if at == 0 { if alone { 600 } else { 400 } } else { u32::from(at == 1) * 300 + 1 };
        let suspects = changes
            .iter()
            .take(3)
            .enumerate()
            .map(|(at, c)| koschei::decide::suspects::Suspect {
                update: c.2,
                together: Vec::new(),
                share: share(at),
                facts: koschei::decide::suspects::Facts::default(),
            })
            .collect();
        let build = u32::try_from(number).unwrap_or(u32::MAX);
        out.push(Ranked { build, suspects, none: koschei::decide::suspects::Nobody::default() });
    }
    out
}

/// The evidence as it was when the first `builds` were finished.
pub fn until(evidence: &Evidence, builds: usize) -> Evidence {
    let kept: Vec<Build> = evidence.builds.iter().take(builds).cloned().collect();
    let repo = kept.iter().map(|b| b.repo).max().unwrap_or(0);
    let updates = evidence.updates.iter().filter(|u| u.repo <= repo).cloned().collect();
    Evidence { updates, builds: kept, elsewhere: evidence.elsewhere.clone() }
}

/// How a culprit stands when it has broken so many packages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct After {
    /// It is first in the newest failed build.
    pub first: u32,
    /// It has more than 500 there.
    pub sure: u32,
    /// All culprits that broke so many.
    pub all: u32,
}

/// How the culprits of a world stand after the given numbers of broken packages, as the ranking saw it then.
pub fn after(world: &World, packages: &[u32], rank: impl Fn(&Evidence) -> Vec<Ranked>) -> Vec<After> {
    let mut out = vec![After::default(); packages.len()];
    let mut broken: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (number, truth) in world.truth.iter().enumerate() {
        for culprit in &truth.culprits {
            let seen = broken.entry(*culprit).or_default();
            if !seen.insert(world.evidence.builds[number].package) {
                continue;
            }
            for (at, _) in packages.iter().enumerate().filter(|p| *p.1 as usize == seen.len()) {
                let ranked = rank(&until(&world.evidence, number + 1));
                let found = ranked.iter().find(|r| r.build as usize == number);
                let first = found.and_then(|r| r.suspects.first());
                let right = first.filter(|s| same(&world.evidence, &truth.culprits, s.update));
                out[at].first += u32::from(right.is_some());
                out[at].sure += u32::from(right.is_some_and(|s| s.share > 500));
                out[at].all += 1;
            }
        }
    }
    out
}
