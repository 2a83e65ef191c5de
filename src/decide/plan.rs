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
use super::priority::{Points, Priority, TimeScale};
use crate::event::{Chosen, PriorityParts};
use crate::fold::arch::collection_allows;
use crate::fold::{Collection, State};
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
    load: Option<&'a ArchLoads>,
    load_threshold: u32,
    requests: u32,
    overall: u32,
    per_collection: Vec<u32>,
}

impl<'a> Room<'a> {
    /// The room there is. `own` slots of a package that is looked at as if it held none are given back.
    fn new(state: &State, policy: &Policy, load: Option<&'a ArchLoads>, own: Option<(usize, u32)>) -> Self {
        let freed = |index: usize| own.filter(|(c, _)| *c == index).map_or(0, |(_, n)| n);
        let left = |(index, c): (usize, &Collection)| {
            let limit = c.settings.max_builds.or(policy.max_builds_per_collection).unwrap_or(u32::MAX);
            limit.saturating_sub(c.running.saturating_sub(freed(index)))
        };
        let running = state.running().saturating_sub(own.map_or(0, |(_, n)| n));
        Room {
            load,
            load_threshold: policy.load_threshold,
            requests: policy.max_requests_per_evaluation,
            overall: policy.max_builds.saturating_sub(running),
            per_collection: state.collections.values().enumerate().map(left).collect(),
        }
    }

    fn refuse(&self, state: &State, c: &Choice) -> Option<Hold> {
        if self.requests == 0 {
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
        let (mut arches, noarch) = build_arches(collection, &collection.packages[c.package]);
        if arches.is_empty() && !noarch {
            // Never resolved, so nothing limits it: it goes to every architecture.
            arches.extend(loads.0.keys().filter(|a| collection_allows(&collection.settings.arches, a)).cloned());
        }
        overloaded_arches(loads, &arches, noarch, self.load_threshold).map(|arches| Hold::Load { arches })
    }

    fn take(&mut self, c: &Choice) {
        self.requests -= 1;
        self.overall -= 1;
        self.per_collection[c.collection] -= 1;
    }

    /// Makes room as if the limit behind `hold` were not there.
    fn lift(&mut self, hold: &Hold, collection: usize) {
        match hold {
            Hold::EvaluationLimit => self.requests = u32::MAX,
            Hold::OverallLimit => self.overall = u32::MAX,
            Hold::CollectionLimit => self.per_collection[collection] = u32::MAX,
            _ => self.load = None,
        }
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
    let (considered, due) = due(state, now, policy, None, &mut held);
    let mut waiting: BinaryHeap<Ranked<'_>> = due.into_iter().map(|choice| Ranked::new(state, choice)).collect();
    let mut room = Room::new(state, policy, load, None);
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

/// How many packages there are, and those nothing in themselves or their collection holds back, in no order. What holds
/// the whole collection `sound` is passed over.
fn due(
    state: &State,
    now: Timestamp,
    policy: &Policy,
    sound: Option<usize>,
    held: &mut [u32; Hold::COUNT],
) -> (u32, Vec<Choice>) {
    let scale = TimeScale::of(policy);
    let mut considered = 0;
    let mut due: Vec<Choice> = Vec::new();
    for (ci, (cname, collection)) in state.collections.iter().enumerate() {
        let buildroot = collection.buildroot();
        for (pi, (pname, package)) in collection.packages.iter().enumerate() {
            considered += 1;
            let mut first: Option<usize> = None;
            let priority = examine((cname, collection), (pname, package), buildroot, now, (policy, scale), |hold| {
                if !(sound == Some(ci) && hold.holds_collection()) {
                    first.get_or_insert(hold.index());
                }
            });
            match (first, priority) {
                (Some(reason), _) => held[reason] += 1,
                (None, Some(priority)) => due.push(Choice { collection: ci, package: pi, priority }),
                // Without any known build there is no priority, so nothing to rank it by.
                (None, None) => held[Hold::NoSource.index()] += 1,
            }
        }
    }
    (considered, due)
}

/// What candidates are ordered by. Ties go by name, so that the same state always gives the same plan.
fn rank(state: &State, c: &Choice) -> (Reverse<Points>, (Name, Name)) {
    (Reverse(c.priority.current), names(state, c.collection, c.package))
}

/// The limits that keep a package from being chosen once it is due, at `mine.priority`: lifting all of them lets it through,
/// and each of them must be lifted. Empty: it is chosen. Load says nothing while its architectures are not known.
/// Cost: that of at most five plans.
pub(super) fn crowded_out(
    state: &State,
    now: Timestamp,
    policy: &Policy,
    load: Option<&ArchLoads>,
    mine: &Choice,
    arches_known: bool,
) -> Vec<Hold> {
    let me = &state.collections[mine.collection].packages[mine.package];
    let own = u32::from(me.running) + u32::from(me.open_rebuild.is_some());
    // What holds the whole collection would let its other packages go, too.
    let (_, mut ahead) = due(state, now, policy, Some(mine.collection), &mut [0; Hold::COUNT]);
    ahead
        .retain(|c| (c.collection, c.package) != (mine.collection, mine.package) && rank(state, c) < rank(state, mine));
    ahead.sort_by_cached_key(|c| rank(state, c));
    let mut limits: Vec<Hold> = Vec::new();
    loop {
        // A lifted limit lets others through first, who may use up what the next limit leaves.
        let mut room = Room::new(state, policy, load, Some((mine.collection, own)));
        limits.iter().for_each(|l| room.lift(l, mine.collection));
        for choice in &ahead {
            if room.refuse(state, choice).is_none() {
                room.take(choice);
            }
        }
        room.load = room.load.filter(|_| arches_known);
        match room.refuse(state, mine) {
            None => return limits,
            Some(limit) => limits.push(limit),
        }
    }
}
