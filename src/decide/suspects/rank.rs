//! The ranking: for each failed build its suspects with shares, and the numbers behind them.

use std::collections::BTreeMap;

use super::facts::{Counts, Facts};
use super::index::{Failing, Index, narrow};
use super::input::Evidence;
use super::model::Model;
use super::search::Search;
use super::shares::{Shares, Sharing};
use super::text;

/// Which failed builds are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those after the last good build of their package.
    SinceGood,
    /// All.
    All,
}

/// How often the search begins anew with what the texts say.
const TEXT_ROUNDS: usize = 2;

/// One suspect of a failed build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The update, by its number.
    pub update: u32,
    /// Updates that no evidence tells apart from it.
    pub together: Vec<u32>,
    /// The share of the failed build, in thousandths.
    pub share: u32,
    /// The numbers behind it.
    pub facts: Facts,
}

/// The shares of a failed build that no update has, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nobody {
    /// The package itself: its own source, time, the network.
    pub own: u32,
    /// Chance.
    pub chance: u32,
}

/// A failed build and its suspects. All shares sum to 1000.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// The build, as a place in [`Evidence::builds`].
    pub build: u32,
    /// The suspects, surest first.
    pub suspects: Vec<Suspect>,
    /// What no update has.
    pub none: Nobody,
}

/// Ranks the suspects of failed builds, in the order of the builds.
///
/// The result depends on nothing but the arguments, and is the same on every machine.
pub fn rank(evidence: &Evidence, model: &Model, which: Which) -> Vec<Ranked> {
    let index = Index::new(evidence, model);
    let mut search = Search::new(evidence, &index, model);
    search.run();
    let texts = text::texts(evidence, &index);
    if texts.iter().any(|t| !t.is_empty()) {
        search.know_texts(texts);
        for _ in 0..TEXT_ROUNDS {
            search.read_texts();
            search.run();
        }
    }
    let mut counts = Counts::new(evidence, &index);
    let classes = classes(evidence);
    let mut victims = vec![0_u32; index.supposed.len()];
    for member in &search.members {
        let broken = search.active(*member).iter().filter(|e| search.broken(**e) > 0.5);
        victims[*member as usize] = narrow(broken.count());
    }
    let mut sharing = Sharing::new(&mut search);
    let mut out = Vec::new();
    for (number, package) in index.packages.iter().enumerate() {
        let wanted = wanted(package, which);
        if wanted.is_empty() {
            continue;
        }
        for (build, shares) in wanted.iter().zip(sharing.of(number, &wanted)) {
            out.push(ranked(evidence, &index, &mut counts, &classes, &victims, package, *build, &shares));
        }
    }
    out.sort_by_key(|r| r.build);
    out
}

/// The failed builds that are ranked, as bits.
fn wanted(package: &Failing, which: Which) -> Vec<usize> {
    let history = &package.history;
    let passed = !history.failed & if history.count >= 64 { u64::MAX } else { (1 << history.count) - 1 };
    let first = match which {
        Which::All => 0,
        Which::SinceGood => 64 - passed.leading_zeros() as usize,
    };
    (first..history.count).filter(|b| history.failed >> b & 1 == 1).collect()
}

/// The updates that came with the same repository into the same buildroots.
fn classes(evidence: &Evidence) -> BTreeMap<(u32, u64), Vec<u32>> {
    let mut out: BTreeMap<(u32, u64), Vec<u32>> = BTreeMap::new();
    for update in &evidence.updates {
        if let Some(class) = update.buildroots {
            out.entry((update.repo, class)).or_default().push(update.id);
        }
    }
    out
}

/// One suspect before rounding.
#[derive(Debug, Clone, Copy)]
struct Rough {
    share: f64,
    /// The share of the update that names it.
    lead: f64,
    entry: u32,
    update: u32,
    /// The packages that the model holds it responsible for.
    broken: u32,
}

/// Shares below this are not looked at, apart from the largest ones.
const SLIGHT: f64 = 2e-4;
/// How many of the largest shares are looked at anyway.
const LARGEST: usize = 12;

/// Adds up the shares of entries. An update has one for each possible repair; updates that cannot be told apart are
/// one suspect, which the likeliest of them names. The likeliest supposition names the repair.
fn together(evidence: &Evidence, index: &Index, victims: &[u32], shares: &[(u32, f64)]) -> Vec<Rough> {
    let mut shares = shares.to_vec();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut rows: Vec<(u64, u32, u32, Rough)> = Vec::new();
    for (_, (entry, share)) in shares.iter().enumerate().take_while(|(n, s)| *n < LARGEST || s.1 >= SLIGHT) {
        let supposed = &index.supposed[index.entries[*entry as usize].supposed as usize];
        let update = index.chains[supposed.chain as usize][supposed.from as usize];
        if let Some(row) = rows.iter_mut().find(|r| r.3.update == update) {
            row.3.share += share;
            row.3.lead += share;
            row.3.broken = row.3.broken.max(victims[index.entries[*entry as usize].supposed as usize]);
            continue;
        }
        let of = &evidence.updates[update as usize];
        let unknown = if of.buildroots.is_none() { update + 1 } else { 0 };
        let broken = victims[index.entries[*entry as usize].supposed as usize];
        let rough = Rough { share: *share, lead: *share, entry: *entry, update, broken };
        rows.push((of.buildroots.unwrap_or(0), of.repo, unknown, rough));
    }
    rows.sort_by(|a, b| {
        (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)).then(b.3.lead.total_cmp(&a.3.lead)).then(a.3.update.cmp(&b.3.update))
    });
    let mut out: Vec<Rough> = Vec::new();
    for group in rows.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2)) {
        // Of those that are about as likely, the nearest names the suspect, and the first of the nearest.
        let enough = group[0].3.lead * 0.8;
        let near = |r: &Rough| (index.entries[r.entry as usize].class, r.update);
        let named = group.iter().map(|r| r.3).filter(|r| r.lead >= enough).min_by_key(near);
        let mut first = named.unwrap_or(group[0].3);
        first.share = group.iter().map(|r| r.3.share).sum();
        first.broken = group.iter().map(|r| r.3.broken).max().unwrap_or(0);
        out.push(first);
    }
    let near = |r: &Rough| index.entries[r.entry as usize].class;
    out.sort_by(|a, b| b.share.total_cmp(&a.share).then(near(a).cmp(&near(b))).then(a.update.cmp(&b.update)));
    out
}

#[expect(clippy::too_many_arguments, reason = "they are what one suspect follows from")]
fn ranked(
    evidence: &Evidence,
    index: &Index,
    counts: &mut Counts,
    classes: &BTreeMap<(u32, u64), Vec<u32>>,
    victims: &[u32],
    package: &Failing,
    build: usize,
    shares: &Shares,
) -> Ranked {
    let rough = together(evidence, index, victims, &shares.entries);
    let mut parts: Vec<f64> = rough.iter().map(|r| r.share).collect();
    parts.push(shares.own);
    // What was too small for a look goes to chance.
    let rest = 1.0 - parts.iter().sum::<f64>();
    parts.push(if rest > shares.chance { rest } else { shares.chance });
    let mut round = thousandths(&parts);
    apart(&mut round);
    let none = Nobody { own: round[rough.len()], chance: round[rough.len() + 1] };
    let number = package.builds[build];
    let suspects = rough
        .iter()
        .zip(round)
        .enumerate()
        .filter(|(at, (_, share))| *share > 0 || *at < 3)
        .map(|(_, (rough, share))| {
            let update = &evidence.updates[rough.update as usize];
            let mut together =
                update.buildroots.and_then(|c| classes.get(&(update.repo, c))).cloned().unwrap_or_default();
            together.retain(|id| *id != update.id);
            let facts = counts.facts(evidence, index, package, rough.entry, number, rough.broken);
            Suspect { update: update.id, together, share, facts }
        })
        .collect();
    Ranked { build: number, suspects, none }
}

/// Rounds parts of 1 to thousandths that sum to 1000: the largest remainders are rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part is between 0 and 1")]
fn thousandths(parts: &[f64]) -> Vec<u32> {
    let mut out: Vec<u32> = parts.iter().map(|p| (p.clamp(0.0, 1.0) * 1000.0) as u32).collect();
    let mut left = 1000_u32.saturating_sub(out.iter().sum());
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let rest = |n: usize| parts[n] * 1000.0 - f64::from(out[n]);
    order.sort_by(|a, b| rest(*b).total_cmp(&rest(*a)).then(a.cmp(b)));
    for n in order.iter().cycle().take(parts.len() * 2) {
        if left == 0 {
            break;
        }
        out[*n] += 1;
        left -= 1;
    }
    if let Some(last) = out.last_mut() {
        *last += left;
    }
    out
}

/// Keeps the first suspect above the second, so that the order that was found is in the shares.
fn apart(round: &mut [u32]) {
    let suspects = round.len() - 2;
    if suspects < 2 || round[0] != round[1] {
        return;
    }
    // The last of those that are even gives, so that the order stays.
    let giver = if round[1] > 0 {
        round[..suspects].iter().rposition(|n| *n == round[1])
    } else {
        (suspects..round.len()).max_by_key(|n| round[*n])
    };
    if let Some(giver) = giver
        && round[giver] > 0
    {
        round[giver] -= 1;
        round[0] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_a_thousand_and_the_first_is_apart() {
        for parts in
            [vec![0.25, 0.25, 0.25, 0.25], vec![0.0, 0.0, 0.4, 0.6], vec![1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]]
        {
            let mut round = thousandths(&parts);
            apart(&mut round);
            assert_eq!(round.iter().sum::<u32>(), 1000, "{parts:?}");
            assert!(round[0] > round[1], "{parts:?}: {round:?}");
        }
    }
}
