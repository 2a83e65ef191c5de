//! The shares of suspects in the failed builds of one package, given the set of bad updates.

use super::history::{Behind, HITS};
use super::index::{Index, narrow};
use super::maths::exp;
use super::search::{Case, Search};

/// Shares smaller than this are not looked at closely.
const SLIGHT: f64 = 0.001;
/// Alternatives whose logarithm of the odds is so much below the best do not count.
const FAR_BELOW: f64 = 9.0;
/// Rivals with at least so much of the weight of the best are its equals.
const EQUAL: f64 = 0.8;

/// What could stand in a member's place, for one package.
#[derive(Debug, Clone, Default)]
struct Slot {
    package: u32,
    member: u32,
    /// Entries with their weight, the member's own among them.
    rivals: Vec<(u32, f64)>,
    /// The probability that no update is in the place.
    none: f64,
}

/// The shares of one failed build, not rounded.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares {
    /// By entry of the package.
    pub entries: Vec<(u32, f64)>,
    /// The package itself.
    pub own: f64,
    /// Chance.
    pub chance: f64,
}

/// Computes shares.
pub(super) struct Sharing<'a, 's> {
    search: &'s mut Search<'a>,
    slots: Vec<Slot>,
}

impl<'a, 's> Sharing<'a, 's> {
    /// Finds what could stand in each member's place.
    pub(super) fn new(search: &'s mut Search<'a>) -> Self {
        let mut slots = Vec::new();
        for member in search.members.clone() {
            search.in_place_of(member, |search, rivals| {
                let index = search.index;
                let best = rivals.first().map_or(0.0, |r| r.score);
                let size = |score: f64| exp(score - best);
                let mut total = exp(-best.clamp(-700.0, 700.0));
                let none = total;
                let mut weight: Vec<(u32, f64)> = Vec::new();
                for rival in rivals {
                    if rival.score > best - FAR_BELOW || rival.supposed == member {
                        weight.push((rival.supposed, size(rival.score)));
                        total += size(rival.score);
                    }
                }
                weight.sort_by_key(|w| w.0);
                for entry in search.active(member) {
                    if search.broken(*entry) < SLIGHT {
                        continue;
                    }
                    let package = index.entries[*entry as usize].package;
                    let (from, to) = index.packages[package as usize].entries;
                    let mut slot = Slot { package, member, rivals: Vec::new(), none: none / total };
                    for e in from..to {
                        let supposed = index.entries[e as usize].supposed;
                        if let Ok(at) = weight.binary_search_by_key(&supposed, |w| w.0) {
                            slot.rivals.push((e, weight[at].1 * search.broken(e)));
                        }
                    }
                    slots.push(slot);
                }
            });
        }
        slots.sort_by_key(|s| (s.package, s.member));
        Self { search, slots }
    }

    /// The shares in the failed builds of a package, whose bits are in `wanted`.
    pub(super) fn of(&mut self, package: usize, wanted: &[usize]) -> Vec<Shares> {
        let index: &Index = self.search.index;
        let history = index.packages[package].history;
        let model = self.search.model.clone();
        let (from, to) = index.packages[package].entries;
        let mut cases: Vec<(Case, f64)> = Vec::new();
        let mut sum = 0.0;
        let base = self.search.cases(package, None);
        for case in &base {
            let likelihood = self.mean(package, case.reached) * case.odds;
            sum += likelihood;
            cases.push((case.clone(), likelihood));
        }
        let members = self.search.members_of(package).to_vec();
        let mut slight: Vec<(u32, f64)> = Vec::new();
        let mut close: Vec<u32> = Vec::new();
        let mut others = 0.0;
        for entry in from..to {
            if members.contains(&entry) || self.search.is_member(index.entries[entry as usize].supposed) {
                continue;
            }
            let weight = self.search.weight(entry);
            others += weight;
            slight.push((entry, weight));
        }
        slight.retain(|(entry, weight)| {
            let is_close = *weight > SLIGHT * (1.0 + others);
            if is_close {
                close.push(*entry);
            }
            !is_close
        });
        for entry in close {
            let odds = self.search.prior(entry) * self.search.text[entry as usize];
            for case in &base {
                let reached = case.reached | index.entries[entry as usize].reached;
                let mut entries = case.entries.clone();
                entries.push(entry);
                let odds = case.odds * odds;
                let likelihood = self.mean(package, reached) * odds;
                cases.push((Case { reached, odds, entries }, likelihood));
            }
        }
        let total: f64 = cases.iter().map(|c| c.1).sum::<f64>() + slight.iter().map(|s| s.1).sum::<f64>() * sum;
        cases.retain(|c| c.1 > SLIGHT * total);
        let mut out = Vec::new();
        for build in wanted {
            let mut mass: Vec<f64> = vec![0.0; (to - from) as usize];
            let mut none = Behind::default();
            for (case, weight) in &cases {
                let behind = history.behind(&model, case.reached, *build);
                none.own += weight * behind.own;
                none.chance += weight * behind.chance;
                let reach = |e: &&u32| index.entries[**e as usize].reached >> build & 1 == 1;
                let count = f64::from(narrow(case.entries.iter().filter(reach).count()).max(1));
                for entry in case.entries.iter().filter(reach) {
                    mass[(*entry - from) as usize] += weight * behind.update / count;
                }
            }
            let alone = history.behind(&model, 0, *build);
            for (entry, weight) in &slight {
                if index.entries[*entry as usize].reached >> build & 1 == 1 {
                    mass[(*entry - from) as usize] += weight * sum;
                }
            }
            for member in &members {
                self.spread(package, *member, *build, from, &mut mass, &mut none, alone);
            }
            let total = mass.iter().sum::<f64>() + none.own + none.chance;
            let total = if total > 0.0 { total } else { 1.0 };
            let entries = (from..to)
                .zip(&mass)
                .filter(|(e, _)| index.entries[*e as usize].reached >> build & 1 == 1)
                .map(|(e, m)| (e, m / total))
                .collect();
            out.push(Shares { entries, own: none.own / total, chance: none.chance / total });
        }
        out
    }

    /// Spreads the mass of a member over what could stand in its place.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one division")]
    fn spread(
        &self,
        package: usize,
        member: u32,
        build: usize,
        from: u32,
        mass: &mut [f64],
        none: &mut Behind,
        alone: Behind,
    ) {
        let index = self.search.index;
        let key = (narrow(package), index.entries[member as usize].supposed);
        let Ok(slot) = self.slots.binary_search_by_key(&key, |s| (s.package, s.member)) else { return };
        let slot = &self.slots[slot];
        let own = mass[(member - from) as usize];
        let reach = |e: u32| index.entries[e as usize].reached >> build & 1 == 1;
        let sum: f64 = slot.rivals.iter().filter(|r| reach(r.0)).map(|r| r.1).sum();
        if own <= 0.0 || sum <= 0.0 {
            return;
        }
        // Which of equals is the member is chance. What the others have besides it is divided with it.
        let mut pool = own;
        let most = slot.rivals.iter().filter(|r| reach(r.0)).map(|r| r.1).fold(0.0, f64::max);
        let equal = |r: &&(u32, f64)| r.0 != member && reach(r.0) && r.1 > EQUAL * most;
        for (entry, _) in slot.rivals.iter().filter(equal) {
            pool += std::mem::take(&mut mass[(*entry - from) as usize]);
        }
        mass[(member - from) as usize] = 0.0;
        let rest = own * slot.none;
        none.own += rest * alone.own;
        none.chance += rest * alone.chance;
        for (entry, weight) in slot.rivals.iter().filter(|r| reach(r.0)) {
            mass[(*entry - from) as usize] += (pool - rest) * weight / sum;
        }
    }

    /// The likelihood of a package's results, over the levels.
    fn mean(&mut self, package: usize, reached: u64) -> f64 {
        let both = self.search.likelihood(package, reached);
        (0..HITS).map(|h| self.search.model.hit[h].1 * both[h]).sum()
    }
}
