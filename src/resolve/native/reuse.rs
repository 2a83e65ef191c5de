//! Decides whether the answer to a question about an earlier repository still holds.
//!
//! A search that ended without handing over read only what its [`Trace`](super::trace::Trace) names.
//! If none of that differs, a search in the new repository takes the same decisions in the same
//! order, so it has the same answer. `docs/decisions/051` has the proof. In short:
//!
//! 1. The rules of every package that was decided for are the same.
//! 2. What the policy reads of every candidate that it compared is the same.
//! 3. No package that was decided for, or is in the base, wishes for a compared candidate that it
//!    did not wish for before, or the other way round.
//! 4. No set that is new, or that other packages require now, has run empty.
//! 5. and 6. A package may have become possible or impossible, because its requirements or the
//!    packages that exclude it changed. None of these was *read*.
//!
//! Packages that changed places with others count as changed.

use rustc_hash::FxHashMap;

use super::base::Base;
use super::graph::Graph;
use super::sets::SetId;
use super::signature::{Key, Known, Signatures, is_open};
use super::{Node, index32};
use crate::resolve::sig::Sig;

/// Most packages that are looked at to find out whether one was read.
const LOOKED_MAX: usize = 200;

/// Why a question is solved although one with the same words was answered before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Again {
    /// It was not asked before.
    Unknown,
    /// The build group, the mode or an option changed.
    Base,
    /// Other packages match its BuildRequires.
    Candidates,
    /// libsolv decided it.
    Handover,
    /// The requirements of an installed package changed.
    Rules,
    /// What the choice among candidates depends on changed.
    Traits,
    /// A candidate is recommended or suggested by other packages.
    Wishes,
    /// A requirement whose packages are all excluded is new.
    Empty,
    /// A package that could matter became possible or impossible.
    Excluded,
}

impl Again {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Base,
        Self::Candidates,
        Self::Handover,
        Self::Rules,
        Self::Traits,
        Self::Wishes,
        Self::Empty,
        Self::Excluded,
    ];

    /// Returns the reason as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Base => "base",
            Self::Candidates => "candidates",
            Self::Handover => "handover",
            Self::Rules => "rules",
            Self::Traits => "traits",
            Self::Wishes => "wishes",
            Self::Empty => "empty",
            Self::Excluded => "excluded",
        }
    }
}

/// A trace, by keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::resolve) struct Read<'e> {
    pub(in crate::resolve) there: &'e [Key],
    pub(in crate::resolve) against: &'e [Key],
    pub(in crate::resolve) emptied: &'e [Key],
    pub(in crate::resolve) compared: &'e [Key],
}

/// What an earlier trace must not have read, one bit per reason.
mod bit {
    /// Its rules changed, or it is gone, or it changed places with others.
    pub(super) const RULES: u8 = 1;
    /// The policy reads something else of it.
    pub(super) const TRAITS: u8 = 2;
    /// Other packages exclude it.
    pub(super) const CONFLICTS: u8 = 4;
    /// It wishes for other packages.
    pub(super) const WISHES: u8 = 8;
    /// A package of the base wishes for it now or did before, but not both.
    pub(super) const WISHED_BY_BASE: u8 = 16;
    /// It is the first member of a changed set.
    pub(super) const SET: u8 = 32;
}

/// What changed between two repositories.
pub(in crate::resolve) struct Changes<'g> {
    graph: &'g Graph,
    base: Option<&'g Base>,
    keys: &'g [Key],
    /// The node of each key in the new repository; 0 if the package is not there or cannot be
    /// installed.
    alive: Vec<Node>,
    /// By key, see [`bit`].
    bits: Vec<u8>,
    /// For packages with [`bit::CONFLICTS`], the packages of the new repository that exclude it now
    /// or did before, but not both.
    conflicts: FxHashMap<Key, Vec<Node>>,
    /// The same for all packages of the base together.
    conflicts_of_base: Vec<Node>,
    /// For packages with [`bit::WISHES`], the packages it wishes for now or did before, but not
    /// both, ascending.
    wishes: FxHashMap<Key, Vec<Key>>,
    /// For packages with [`bit::SET`], the changed sets of which it is the first member.
    sets: FxHashMap<Key, Vec<SetId>>,
    /// Whether the base is another one.
    base_changed: bool,
    /// For each node, whether distances through it may have changed.
    near: Vec<bool>,
}

impl<'g> Changes<'g> {
    pub(super) fn between(
        old: &Signatures,
        new: &Signatures,
        graph: &'g Graph,
        base: Option<&'g Base>,
        keys: &'g [Key],
    ) -> Self {
        let all = old.packages.len().max(new.packages.len());
        let mut changes = Self {
            graph,
            base,
            keys,
            alive: vec![0; all],
            bits: vec![0; all],
            conflicts: FxHashMap::default(),
            conflicts_of_base: Vec::new(),
            wishes: FxHashMap::default(),
            sets: FxHashMap::default(),
            base_changed: old.base != new.base,
            near: Vec::new(),
        };
        for key in 0..index32(all) {
            changes.package(key, old, new);
        }
        changes.moved(old);
        changes.base_changed |= new.base.iter().any(|&key| changes.bits[key as usize] & bit::RULES != 0);
        for &key in &new.base {
            changes.conflicts_of_base.extend(changes.conflicts.get(&key).into_iter().flatten());
            for &wished in changes.wishes.get(&key).into_iter().flatten() {
                changes.bits[wished as usize] |= bit::WISHED_BY_BASE;
            }
        }
        changes.conflicts_of_base.sort_unstable();
        changes.conflicts_of_base.dedup();
        changes.changed_sets(old, new);
        changes.spread_steps(old, new);
        changes
    }

    fn package(&mut self, key: Key, old: &Signatures, new: &Signatures) {
        let (before, now) = (old.get(key), new.get(key));
        let at = key as usize;
        if !before.alive || !now.alive {
            self.bits[at] = bit::RULES | bit::TRAITS;
        }
        if !now.alive {
            return;
        }
        self.alive[at] = now.node;
        if !before.alive {
            // Such a package stands in no trace, but its conflicts with packages that do are found
            // with those. Packages of the base are not in traces.
            return;
        }
        if before.rules != now.rules {
            self.bits[at] |= bit::RULES;
        }
        if before.traits != now.traits {
            self.bits[at] |= bit::TRAITS;
        }
        if before.conflicts != now.conflicts {
            let differ = symmetric_difference(&old.conflicts_of(before), &new.conflicts_of(now));
            let differ: Vec<Node> = differ.into_iter().map(|key| new.get(key)).filter(|k| k.alive).map(node).collect();
            self.bits[at] |= bit::CONFLICTS;
            self.conflicts.insert(key, differ);
        }
        if before.wishes != now.wishes {
            let differ = symmetric_difference(&old.wishes_of(before), &new.wishes_of(now));
            let mut differ: Vec<Key> = differ.into_iter().map(|wish| index32((wish / 2) as usize)).collect();
            differ.dedup();
            self.bits[at] |= bit::WISHES;
            self.wishes.insert(key, differ);
        }
    }

    /// Marks the packages that changed places: all that are not in a longest list of packages with
    /// the same order in both repositories.
    fn moved(&mut self, old: &Signatures) {
        let both: Vec<(Node, Key)> = (2..index32(self.keys.len()))
            .filter(|&p| self.alive[self.keys[p as usize] as usize] == p)
            .map(|p| (old.get(self.keys[p as usize]), self.keys[p as usize]))
            .filter(|(before, _)| before.alive)
            .map(|(before, key)| (before.node, key))
            .collect();
        let places: Vec<Node> = both.iter().map(|(place, _)| *place).collect();
        for (stays, (_, key)) in longest_ascending(&places).into_iter().zip(both) {
            if !stays {
                self.bits[key as usize] |= bit::RULES | bit::TRAITS;
            }
        }
    }

    fn changed_sets(&mut self, old: &Signatures, new: &Signatures) {
        for set in 0..index32(self.graph.live.len()) {
            let Some(sig) = new.set_sigs.get(set as usize).filter(|sig| **sig != Sig::default()) else { continue };
            if !is_open(set, self.base) || old.sets.get(sig) == new.sets.get(sig) {
                continue;
            }
            if let Some(&first) = self.graph.live.row(set).first() {
                let key = self.keys[first as usize];
                self.bits[key as usize] |= bit::SET;
                self.sets.entry(key).or_default().push(set);
            }
        }
    }

    /// Distances follow the requirements of packages that are at most two steps away from a match.
    /// Finds all packages from which so many steps lead to one with other requirements.
    fn spread_steps(&mut self, old: &Signatures, new: &Signatures) {
        let graph = self.graph;
        let changed = |&key: &Key| {
            let (before, now) = (old.get(key), new.get(key));
            before.node == 0 || before.steps != now.steps
        };
        self.near = self.keys.iter().enumerate().map(|(p, key)| p >= 2 && changed(key)).collect();
        if !self.near.contains(&true) {
            return;
        }
        for _ in 0..2 {
            let sets: Vec<bool> = (0..index32(graph.members.len()))
                .map(|set| graph.members.row(set).iter().any(|&m| self.near[m as usize]))
                .collect();
            for p in 2..index32(graph.nodes()) {
                self.near[p as usize] |= graph.steps.row(p).iter().any(|&set| sets[set as usize]);
            }
        }
    }

    /// Checks whether the build group's packages or their rules changed. Then no answer holds.
    pub(in crate::resolve) fn of_base(&self) -> bool {
        self.base_changed
    }

    /// Checks whether the distances of an answer may have changed although its packages did not.
    /// `matches` are all packages that match its BuildRequires.
    pub(super) fn moves_distances(&self, mut matches: impl Iterator<Item = Node>) -> bool {
        matches.any(|p| self.near[p as usize])
    }

    /// Makes a checker for this thread.
    pub(in crate::resolve) fn checker(&self) -> Checker<'_, 'g> {
        Checker {
            changes: self,
            there: vec![0; self.bits.len()],
            against: vec![0; self.bits.len()],
            looked: vec![0; self.keys.len()],
            round: 0,
        }
    }
}

/// Checks answers one after the other.
pub(in crate::resolve) struct Checker<'c, 'g> {
    changes: &'c Changes<'g>,
    /// By key, the round in which the trace had it.
    there: Vec<u32>,
    against: Vec<u32>,
    /// By node, the round in which it was looked at.
    looked: Vec<u32>,
    round: u32,
}

impl Checker<'_, '_> {
    /// Checks whether an answer with this trace still holds, if base and candidates are the same.
    /// `named` are the packages that its jobs name. Cost: the length of the trace, mostly.
    pub(super) fn check<'n>(&mut self, read: &Read<'_>, named: impl Iterator<Item = &'n Node>) -> Result<(), Again> {
        let changes = self.changes;
        let any = |keys: &[Key]| keys.iter().fold(0, |bits, &key| bits | changes.bits[key as usize]);
        let (there, against, compared) = (any(read.there), any(read.against), any(read.compared));
        if there & bit::RULES != 0 {
            return Err(Again::Rules);
        }
        if compared & bit::TRAITS != 0 {
            return Err(Again::Traits);
        }
        if compared & bit::WISHED_BY_BASE != 0 || there & bit::WISHES != 0 && self.wishes_differ(read) {
            return Err(Again::Wishes);
        }
        let freed = any(read.emptied) & bit::RULES != 0;
        let excluded = there & bit::CONFLICTS != 0 || !changes.conflicts_of_base.is_empty();
        if against & bit::SET == 0 && !freed && !excluded {
            return Ok(());
        }
        self.mark(read);
        if against & bit::SET != 0 && self.runs_empty(read) {
            return Err(Again::Empty);
        }
        let mut suspects: Vec<Node> = changes.conflicts_of_base.clone();
        for key in read.emptied.iter().filter(|key| changes.bits[**key as usize] & bit::RULES != 0) {
            suspects.push(changes.alive[*key as usize]);
        }
        for key in read.there.iter().filter(|key| changes.bits[**key as usize] & bit::CONFLICTS != 0) {
            suspects.extend(&changes.conflicts[key]);
        }
        suspects.retain(|&p| p != 0 && std::mem::replace(&mut self.looked[p as usize], self.round) != self.round);
        if !suspects.is_empty() && self.was_read(suspects, named) {
            return Err(Again::Excluded);
        }
        Ok(())
    }

    fn mark(&mut self, read: &Read<'_>) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.there.fill(0);
            self.against.fill(0);
            self.looked.fill(0);
            self.round = 1;
        }
        read.there.iter().for_each(|&key| self.there[key as usize] = self.round);
        read.against.iter().for_each(|&key| self.against[key as usize] = self.round);
    }

    fn wishes_differ(&self, read: &Read<'_>) -> bool {
        let of = |key: &Key| self.changes.wishes.get(key).into_iter().flatten();
        let mut differ: Vec<Key> = read.there.iter().flat_map(of).copied().collect();
        differ.sort_unstable();
        read.compared.iter().any(|key| differ.binary_search(key).is_ok())
    }

    fn runs_empty(&self, read: &Read<'_>) -> bool {
        let changes = self.changes;
        let sets = read.against.iter().filter_map(|key| changes.sets.get(key)).flatten();
        let against = |p: &Node| self.against[changes.keys[*p as usize] as usize] == self.round;
        sets.into_iter().any(|&set| changes.graph.live.row(set).iter().all(against))
    }

    /// Checks whether the search could have noticed that one of these packages, or of those that
    /// become possible or impossible with them, is excluded or not.
    fn was_read<'n>(&mut self, mut suspects: Vec<Node>, named: impl Iterator<Item = &'n Node>) -> bool {
        let changes = self.changes;
        let graph = changes.graph;
        let named: Vec<Node> = named.copied().collect();
        let there = |this: &Self, p: Node| {
            this.there[changes.keys[p as usize] as usize] == this.round
                || changes.base.is_some_and(|b| b.is_base[p as usize])
        };
        let mut at = 0;
        while let Some(&p) = suspects.get(at) {
            at += 1;
            let in_clause = !graph.positive_in.row(p).is_empty() || !graph.negative_in.row(p).is_empty();
            if in_clause || there(self, p) || named.contains(&p) || at > LOOKED_MAX {
                return true;
            }
            for &set in graph.sets_of.row(p).iter().filter(|set| is_open(**set, changes.base)) {
                let requirers = graph.requirers.row(set);
                if requirers.iter().any(|&r| there(self, r)) {
                    return true;
                }
                let gone = |m: &Node| {
                    self.against[changes.keys[*m as usize] as usize] == self.round
                        || self.looked[*m as usize] == self.round
                };
                if graph.live.row(set).iter().all(gone) {
                    for &r in requirers {
                        if std::mem::replace(&mut self.looked[r as usize], self.round) != self.round {
                            suspects.push(r);
                        }
                    }
                }
            }
        }
        false
    }
}

fn node(known: Known) -> Node {
    known.node
}

/// Returns what is in one of two ascending lists only.
fn symmetric_difference<T: Ord + Copy>(a: &[T], b: &[T]) -> Vec<T> {
    let only = |one: &[T], other: &[T]| -> Vec<T> {
        one.iter().copied().filter(|item| other.binary_search(item).is_err()).collect()
    };
    let mut found = only(a, b);
    found.extend(only(b, a));
    found.sort_unstable();
    found
}

/// Marks a longest ascending part of a list of different numbers. Cost: O(n log n), O(n) if all
/// ascend.
fn longest_ascending(list: &[u32]) -> Vec<bool> {
    if list.is_sorted() {
        return vec![true; list.len()];
    }
    // For each length, the place of the lowest number that ends an ascending part of that length.
    let mut ends: Vec<u32> = Vec::new();
    let mut before: Vec<Option<u32>> = Vec::with_capacity(list.len());
    for (place, number) in list.iter().enumerate() {
        let length = ends.partition_point(|&end| list[end as usize] < *number);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(index32(place));
        } else {
            ends[length] = index32(place);
        }
    }
    let mut marks = vec![false; list.len()];
    let mut at = ends.last().copied();
    while let Some(place) = at {
        marks[place as usize] = true;
        at = before[place as usize];
    }
    marks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The marked part ascends, and no part that ascends is longer.
        #[test]
        fn the_longest_part_is_marked(seed in prop::collection::vec(0u32..1000, 0..9)) {
            let mut list = seed;
            list.dedup();
            list.sort_unstable_by_key(|n| n.wrapping_mul(2_654_435_761));
            list.dedup();
            let part: Vec<u32> =
                longest_ascending(&list).into_iter().zip(&list).filter(|(m, _)| *m).map(|(_, n)| *n).collect();
            prop_assert!(part.is_sorted());
            let subsets = 0..1_u32 << list.len();
            let longest = subsets.filter_map(|bits| {
                let chosen: Vec<u32> = (0..list.len()).filter(|i| bits >> i & 1 == 1).map(|i| list[i]).collect();
                chosen.is_sorted().then_some(chosen.len())
            });
            prop_assert_eq!(part.len(), longest.max().unwrap());
        }
    }
}
