//! Who is rebuilt now.
//!
//! Candidates of all collections are taken by priority, within the overall limit, each collection's limit and the load of the
//! architectures a package needs. A package that must wait for its architecture or collection does not hold up those behind
//! it, and one evaluation may choose several (Koschei submits one every three seconds and stops at the first that must wait, D26).

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

use super::eligibility::{Hold, build_arches, examine};
use super::load::{ArchLoads, overloaded_arches};
use super::policy::Policy;
use super::priority::{Points, Priority};
use crate::event::{Chosen, PriorityParts};
use crate::fold::State;
use crate::model::{Name, Timestamp};

/// A package that shall be rebuilt.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// Its collection, by index.
    pub collection: usize,
    /// The package, by index in the collection.
    pub package: usize,
    /// Its priority.
    pub priority: Priority,
}

/// What the rules say about a state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// Packages looked at.
    pub considered: u32,
    /// How many were held back, by their first reason.
    pub held: BTreeMap<String, u32>,
    /// Whom to rebuild, most urgent first.
    pub chosen: Vec<Choice>,
}

impl Plan {
    /// The chosen ones as an evaluation records them.
    pub fn chosen_names(&self, state: &State) -> Vec<Chosen> {
        self.chosen
            .iter()
            .map(|c| {
                let (collection, package) = names(state, c.collection, c.package);
                Chosen { collection, package, priority: parts(&c.priority) }
            })
            .collect()
    }
}

/// The names behind indexes of this very state.
pub fn names(state: &State, collection: usize, package: usize) -> (Name, Name) {
    let (name, c) = state.collections.get_index(collection).expect("indexes are of this state");
    let (package, _) = c.packages.get_index(package).expect("indexes are of this state");
    (name.clone(), package.clone())
}

/// A priority as events record it.
pub fn parts(p: &Priority) -> PriorityParts {
    PriorityParts {
        r#static: p.static_points.0,
        manual: p.manual_points.0,
        build: p.build_points.0,
        dependency: p.dependency_points.0,
        time: p.time_points.0,
        current: p.current.0,
    }
}

/// Room for rebuilds while choosing.
struct Room<'a> {
    policy: &'a Policy,
    load: Option<&'a ArchLoads>,
    overall: u32,
    per_collection: Vec<u32>,
    chosen: u32,
}

impl Room<'_> {
    fn refuse(&self, state: &State, c: &Choice) -> Option<Hold> {
        if self.chosen >= self.policy.max_requests_per_evaluation {
            return Some(Hold::EvaluationLimit);
        }
        if self.overall == 0 {
            return Some(Hold::OverallLimit);
        }
        if self.per_collection[c.collection] == 0 {
            return Some(Hold::CollectionLimit);
        }
        let loads = self.load?;
        let collection = &state.collections[c.collection];
        let (arches, noarch) = build_arches(collection, &collection.packages[c.package]);
        overloaded_arches(loads, &arches, noarch, self.policy.load_threshold).map(|arches| Hold::Load { arches })
    }

    fn take(&mut self, c: &Choice) {
        self.chosen += 1;
        self.overall -= 1;
        self.per_collection[c.collection] -= 1;
    }
}

/// A package that is due; the greatest is the most urgent. Ties go by name, so that the same state always gives the same plan.
struct Ranked<'a> {
    current: Points,
    names: Reverse<(&'a str, &'a str)>,
    choice: Choice,
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.current, self.names).cmp(&(other.current, other.names))
    }
}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked<'_> {}

impl<'a> Ranked<'a> {
    fn new(state: &'a State, choice: Choice) -> Self {
        let (collection, c) = state.collections.get_index(choice.collection).expect("indexes are of this state");
        let (package, _) = c.packages.get_index(choice.package).expect("indexes are of this state");
        Self { current: choice.priority.current, names: Reverse((collection, package)), choice }
    }
}

/// Applies the rules. `load` is absent where no hub tells it: then it limits nothing.
/// Cost: O(packages) plus O(chosen or refused one by one · log due).
pub fn plan(state: &State, now: Timestamp, policy: &Policy, load: Option<&ArchLoads>) -> Plan {
    let mut held = [0_u32; Hold::COUNT];
    let mut considered = 0;
    let mut due: Vec<Choice> = Vec::new();
    for (ci, (cname, collection)) in state.collections.iter().enumerate() {
        let buildroot = collection.buildroot();
        for (pi, (pname, package)) in collection.packages.iter().enumerate() {
            considered += 1;
            let mut first: Option<usize> = None;
            let priority = examine((cname, collection), (pname, package), buildroot, now, policy, |hold| {
                first.get_or_insert(hold.index());
            });
            match (first, priority) {
                (Some(reason), _) => held[reason] += 1,
                (None, Some(priority)) => due.push(Choice { collection: ci, package: pi, priority }),
                // Without any known build there is no priority; the threshold then counts from nothing.
                (None, None) => held[Hold::NoSource.index()] += 1,
            }
        }
    }
    let mut waiting: BinaryHeap<Ranked<'_>> = due.into_iter().map(|choice| Ranked::new(state, choice)).collect();
    let mut room = room(state, policy, load);
    let mut chosen = Vec::new();
    while let Some(Ranked { choice, .. }) = waiting.pop() {
        match room.refuse(state, &choice) {
            Some(hold) => {
                held[hold.index()] += 1;
                if matches!(hold, Hold::EvaluationLimit | Hold::OverallLimit) {
                    // Whoever comes later meets the same limit; their order does not matter any more.
                    held[hold.index()] += u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                    break;
                }
            }
            None => {
                room.take(&choice);
                chosen.push(choice);
            }
        }
    }
    let held = Hold::KEYS.iter().zip(held).filter(|(_, n)| *n > 0).map(|(k, n)| ((*k).to_owned(), n)).collect();
    Plan { considered, held, chosen }
}

fn room<'a>(state: &State, policy: &'a Policy, load: Option<&'a ArchLoads>) -> Room<'a> {
    let per_collection = state
        .collections
        .values()
        .map(|c| {
            let limit = c.settings.max_builds.or(policy.max_builds_per_collection).unwrap_or(u32::MAX);
            limit.saturating_sub(c.running)
        })
        .collect();
    Room { policy, load, overall: policy.max_builds.saturating_sub(state.running()), per_collection, chosen: 0 }
}

/// Why a package that is due by itself is not chosen: the reason that lies in the others. `None` when it is chosen.
pub(super) fn crowded_out(
    state: &State,
    now: Timestamp,
    policy: &Policy,
    load: Option<&ArchLoads>,
    (collection, package): (usize, usize),
) -> Option<Hold> {
    let whole = plan(state, now, policy, load);
    if whole.chosen.iter().any(|c| c.collection == collection && c.package == package) {
        return None;
    }
    // Everything that was chosen had its turn before, or would not have changed the outcome: load looks only at the package
    // itself, limits only count.
    let mut room = room(state, policy, load);
    let me = &state.collections[collection].packages[package];
    let priority = super::eligibility::priority_of(&state.collections[collection], me, now, policy)?;
    let mine = Choice { collection, package, priority };
    let key = |c: &Choice| (Reverse(c.priority.current), names(state, c.collection, c.package));
    for choice in whole.chosen.iter().filter(|c| key(c) < key(&mine)) {
        room.take(choice);
    }
    room.refuse(state, &mine)
}
