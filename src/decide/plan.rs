//! Chooses the packages to rebuild now.
//!
//! Candidates of all collections are taken by priority. Three things limit them: the overall limit,
//! the limit of each collection, and the load of the architectures a package needs. A package that
//! waits for its architecture or collection does not hold up the packages behind it. One evaluation
//! may choose several packages. (Koschei submits one every three seconds and stops at the first
//! that must wait, D26.)
//!
//! Collections share fairly. Each collection with something due is owed an equal part of the
//! overall limit. Collections below their part come first, whatever the priorities of the others
//! are. Slots that a collection does not use go to the most urgent package of all. So a new
//! collection, in which every package is due at once, does not stop the others for weeks. (Koschei
//! goes by priority alone.)

mod room;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use super::eligibility::examine;
use super::hold::Hold;
use super::load::ArchLoads;
use super::policy::Policy;
use super::priority::{Points, Priority, TimeScale};
use crate::event::{Chosen, PriorityParts};
use crate::fold::State;
use crate::model::{Name, Timestamp};
use room::{Reach, Room};

/// Number of packages from which several threads share the work.
const SHARED_FROM: usize = 20_000;
/// Most threads for that work. More threads would only wait for memory.
const THREADS_MAX: usize = 4;

/// A package chosen for a rebuild.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// Index of the package's collection.
    pub collection: usize,
    /// Index of the package in the collection.
    pub package: usize,
    /// The package's priority.
    pub priority: Priority,
}

/// What the rules choose in one state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// Number of packages examined.
    pub considered: u32,
    /// Number of packages held back, by their first reason.
    pub held: BTreeMap<String, u32>,
    /// Packages to rebuild, in the order of their turns. Within one collection, the most urgent
    /// comes first.
    pub chosen: Vec<Choice>,
}

impl Plan {
    /// Returns the chosen packages as an evaluation records them.
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

/// Returns the names of a collection and a package. The indexes must be of this very state.
pub fn names(state: &State, collection: usize, package: usize) -> (Name, Name) {
    let (name, c) = state.collections.get_index(collection).expect("indexes are of this state");
    let (package, _) = c.packages.get_index(package).expect("indexes are of this state");
    (name.clone(), package.clone())
}

/// Converts a priority to the form that events record.
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

/// A package that is due. The greatest is the most urgent. Ties are broken by name, so that the
/// same state always gives the same plan.
#[derive(Clone)]
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

/// Packages that are due, by collection.
#[derive(Clone)]
struct Waiting<'a>(Vec<BinaryHeap<Ranked<'a>>>);

impl<'a> Waiting<'a> {
    fn new(state: &'a State, due: Vec<Choice>) -> Self {
        let mut lists: Vec<Vec<Ranked<'a>>> = state.collections.iter().map(|_| Vec::new()).collect();
        for choice in due {
            lists[choice.collection].push(Ranked::new(state, choice));
        }
        Self(lists.into_iter().map(BinaryHeap::from).collect())
    }

    /// Counts the collections with something due. `also` counts as one of them.
    fn hungry(&self, also: Option<usize>) -> usize {
        self.0.iter().enumerate().filter(|(c, list)| !list.is_empty() || Some(*c) == also).count()
    }

    /// Returns the most urgent package among the collections that `may` admits.
    fn best(&self, may: impl Fn(usize) -> bool) -> Option<&Ranked<'a>> {
        self.0.iter().enumerate().filter(|(c, _)| may(*c)).filter_map(|(_, list)| list.peek()).max()
    }

    /// Returns whose turn is next: the most urgent package among the collections that are owed
    /// something, or else the most urgent of all. `mine`, if given, competes with the waiting
    /// packages.
    fn next(&self, room: &Room<'_>, mine: Option<&Ranked<'a>>) -> Option<Turn> {
        let turn = |best: Option<&Ranked<'a>>, mine: Option<&Ranked<'a>>| match (best, mine) {
            (Some(other), Some(mine)) if other > mine => Some(Turn::Other(other.choice.collection)),
            (_, Some(_)) => Some(Turn::Mine),
            (other, None) => other.map(|o| Turn::Other(o.choice.collection)),
        };
        let owed = mine.filter(|m| room.is_owed(m.choice.collection));
        turn(self.best(|c| room.is_owed(c)), owed).or_else(|| turn(self.best(|_| true), mine))
    }
}

enum Turn {
    /// The most urgent waiting package of this collection.
    Other(usize),
    Mine,
}

/// Applies the rules. If `load` is absent because no hub reports it, load limits nothing. Cost:
/// O(packages), plus O(log due) for each package chosen or refused one by one.
pub fn plan(state: &State, now: Timestamp, policy: &Policy, load: Option<&ArchLoads>) -> Plan {
    let mut held = [0_u32; Hold::COUNT];
    let (considered, due) = due(state, now, policy, None, &mut held);
    let mut waiting = Waiting::new(state, due);
    let mut room = Room::new((state, now), policy, load, waiting.hungry(None), None);
    let mut chosen = Vec::new();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    while let Some(Turn::Other(collection)) = waiting.next(&room, None) {
        let Some(Ranked { choice, .. }) = waiting.0[collection].pop() else { break };
        let Some(hold) = room.refuse(state, &choice) else {
            room.take(&choice);
            chosen.push(choice);
            continue;
        };
        held[hold.index()] += 1;
        // Later candidates meet the same limit, so their order no longer matters.
        match Reach::of(&hold) {
            Reach::All => {
                held[hold.index()] += count(waiting.0.iter().map(BinaryHeap::len).sum());
                break;
            }
            Reach::Collection => {
                held[hold.index()] += count(waiting.0[collection].len());
                waiting.0[collection].clear();
            }
            Reach::One => {}
        }
    }
    let held = Hold::keys().iter().zip(held).filter(|(_, n)| *n > 0).map(|(k, n)| ((*k).to_owned(), n)).collect();
    Plan { considered, held, chosen }
}

/// Counts the packages and collects those that neither their own state nor their collection holds
/// back, in no particular order. For the collection `sound`, reasons that hold the whole collection
/// are ignored. Several threads share the work if there are many packages.
fn due(
    state: &State,
    now: Timestamp,
    policy: &Policy,
    sound: Option<usize>,
    held: &mut [u32; Hold::COUNT],
) -> (u32, Vec<Choice>) {
    let all: usize = state.collections.values().map(|c| c.packages.len()).sum();
    let threads = match all {
        few if few < SHARED_FROM => 1,
        _ => std::thread::available_parallelism().map_or(1, Into::into).min(THREADS_MAX),
    };
    let share = all.div_ceil(threads).max(1);
    let part = |n: usize| due_among(state, now, policy, sound, n * share..(n + 1) * share);
    let mut due = Vec::new();
    let mut add = |(part, of_part): (Vec<Choice>, [u32; Hold::COUNT])| {
        due.extend(part);
        held.iter_mut().zip(of_part).for_each(|(sum, n)| *sum += n);
    };
    std::thread::scope(|scope| {
        let begin = |n| (n, std::thread::Builder::new().spawn_scoped(scope, move || part(n)));
        let others: Vec<_> = (1..threads).map(begin).collect();
        add(part(0));
        for (n, other) in others {
            // If no thread can be started, this thread does the part itself.
            let of_other = other.map_or_else(|_| Ok(part(n)), std::thread::ScopedJoinHandle::join);
            add(of_other.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    (u32::try_from(all).unwrap_or(u32::MAX), due)
}

/// Computes [`due`] for the packages at these places, counted through all collections.
fn due_among(
    state: &State,
    now: Timestamp,
    policy: &Policy,
    sound: Option<usize>,
    places: Range<usize>,
) -> (Vec<Choice>, [u32; Hold::COUNT]) {
    let scale = TimeScale::of(policy);
    let (mut due, mut held) = (Vec::new(), [0; Hold::COUNT]);
    let mut before = 0;
    for (ci, (cname, collection)) in state.collections.iter().enumerate() {
        let count = collection.packages.len();
        let inside = |place: usize| place.saturating_sub(before).min(count);
        let (from, to) = (inside(places.start), inside(places.end));
        before += count;
        let Some(packages) = collection.packages.get_range(from..to) else { continue };
        let buildroot = collection.buildroot();
        for (pi, (pname, package)) in (from..).zip(packages) {
            let mut first: Option<usize> = None;
            let priority = examine((cname, collection), (pname, package), buildroot, now, (policy, scale), |hold| {
                if !(sound == Some(ci) && hold.holds_collection()) {
                    first.get_or_insert(hold.index());
                }
            });
            match (first, priority) {
                (Some(reason), _) => held[reason] += 1,
                (None, Some(priority)) => due.push(Choice { collection: ci, package: pi, priority }),
                // Without any known build there is no priority to rank the package by.
                (None, None) => held[Hold::NoSource.index()] += 1,
            }
        }
    }
    (due, held)
}

/// Returns the limits that keep a package from being chosen once it is due with `mine.priority`.
/// Lifting all of them lets the package through, and each of them must be lifted. Empty if the
/// package is chosen. Load is ignored if the package's architectures are not known. Costs about ten
/// plans.
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
    // If the collection as a whole were no longer held, its other packages would compete, too.
    let (_, mut others) = due(state, now, policy, Some(mine.collection), &mut [0; Hold::COUNT]);
    others.retain(|c| (c.collection, c.package) != (mine.collection, mine.package));
    let waiting = Waiting::new(state, others);
    let hungry = waiting.hungry(Some(mine.collection));
    let room = Room::new((state, now), policy, load, hungry, Some((mine.collection, own)));
    let ranked = Ranked::new(state, mine.clone());
    let refused = |lifted: &[Hold]| {
        // A lifted limit lets other packages through first. They may use up what the next limit
        // leaves.
        let mut room = room.clone();
        lifted.iter().for_each(|l| room.lift(l, mine.collection));
        let mut room = at_my_turn(state, room, waiting.clone(), &ranked);
        room.load = room.load.filter(|_| arches_known);
        room.refuse(state, mine)
    };
    let mut limits: Vec<Hold> = Vec::new();
    while let Some(limit) = refused(&limits) {
        limits.push(limit);
    }
    // Lifting one limit may change whose turn it is, so an earlier limit may no longer matter.
    let mut at = 0;
    while at < limits.len() {
        let mut rest = limits.clone();
        rest.remove(at);
        if refused(&rest).is_none() {
            limits = rest;
        } else {
            at += 1;
        }
    }
    limits
}

/// Returns the room left when the turn of `mine` comes.
fn at_my_turn<'a>(state: &'a State, mut room: Room<'a>, mut waiting: Waiting<'a>, mine: &Ranked<'a>) -> Room<'a> {
    while let Some(Turn::Other(collection)) = waiting.next(&room, Some(mine)) {
        let Some(Ranked { choice, .. }) = waiting.0[collection].pop() else { break };
        match room.refuse(state, &choice).as_ref().map(Reach::of) {
            None => room.take(&choice),
            // Nothing more can be taken.
            Some(Reach::All) => break,
            Some(Reach::Collection) => waiting.0[collection].clear(),
            Some(Reach::One) => {}
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CollectionSettings;
    use crate::fold::{ArchResolution, ArchVerdict, Collection, Evidence, EvidenceKind, Latest, Package};
    use crate::model::{BuildId, Hub, Outcome, Seq};

    /// Makes a package. Every third is untracked, and every fifth is blocked.
    fn package(n: i64) -> Package {
        let build = BuildId(n);
        let evidence = Evidence {
            kind: EvidenceKind::Real(build),
            source: "1-1".into(),
            former: Vec::new(),
            order: Seq::FIRST,
            at: Timestamp::EPOCH,
            repo: None,
            assumed: false,
            outcome: Some(Outcome::Ok),
            running: false,
            withdrawn: false,
            event: None,
            timed: true,
            hub: None,
        };
        let verdict = ArchVerdict {
            arch: "x86_64".into(),
            source: "1-1".into(),
            buildroot_has: None,
            noarch: false,
            ok: Some(true),
            problem: None,
            changes: Box::default(),
            base: None,
            truth: false,
        };
        Package {
            tracked: Some(n % 3 != 0),
            blocked: n % 5 == 0,
            static_points: 1000,
            resolved: Some(true),
            latest: Some(Latest { build, source: "1-1".into(), at: Timestamp::EPOCH }),
            evidence: vec![evidence],
            verdicts: vec![verdict],
            ..Package::default()
        }
    }

    fn state(sizes: &[i64]) -> State {
        let mut state = State::default();
        for (c, size) in sizes.iter().enumerate() {
            let name = Name::from(format!("c{c}"));
            let mut collection = Collection::new(CollectionSettings {
                display_name: name.to_string(),
                hub: Hub::new("primary"),
                target: name.clone(),
                build_tag: name.clone(),
                dest_tag: name.clone(),
                build_group: "build".into(),
                coefficient: 1000,
                arches: Vec::new(),
                track_all: true,
                max_builds: None,
                found: false,
                builds_on: None,
            });
            let resolution = ArchResolution {
                repo_id: None,
                attachment: None,
                tracked: None,
                group_ok: Some(true),
                group_repo: None,
                problems: Vec::new(),
                of_packages: None,
            };
            collection.arches.insert("x86_64".into(), resolution);
            collection.packages = (0..*size).map(|n| (Name::from(format!("p{n}")), package(n))).collect();
            state.collections.insert(name, collection);
        }
        state
    }

    /// The same packages are due, whether or not threads share the work.
    #[test]
    fn shares_add_up() {
        let (state, now, policy) = (state(&[40, 0, 1, 30]), Timestamp::EPOCH.plus_secs(86_400), Policy::default());
        let (whole, held) = due_among(&state, now, &policy, None, 0..71);
        assert!(whole.len() > 20 && held.iter().filter(|n| **n > 0).count() > 1, "{} {held:?}", whole.len());
        assert!(whole.iter().any(|c| (c.collection, c.package) == (3, 29)), "the last one, too");
        for share in [1, 7, 40, 41, 70, 100] {
            let (mut all, mut sum) = (Vec::new(), [0; Hold::COUNT]);
            for from in (0..71).step_by(share) {
                let (part, of_part) = due_among(&state, now, &policy, None, from..from + share);
                all.extend(part);
                sum.iter_mut().zip(of_part).for_each(|(sum, n)| *sum += n);
            }
            assert_eq!((&all, sum), (&whole, held), "{share} at a time");
        }
    }

    /// One rebuild tests a collection that a policy of the hub stops, once it is time to try again.
    /// Other collections are not held.
    #[test]
    fn one_rebuild_tries_a_collection_that_was_refused() {
        let (mut state, now, policy) = (state(&[40, 40]), Timestamp::EPOCH.plus_secs(86_400), Policy::default());
        let chosen = |state: &State, now| {
            let plan = plan(state, now, &policy, None);
            let of = |collection| plan.chosen.iter().filter(|c| c.collection == collection).count();
            (of(0), of(1))
        };
        let (first, second) = chosen(&state, now);
        assert!(first > 2 && second > 2);
        state.collections[0].refused = Some(crate::fold::Refusal {
            policy: "build_rpm".into(),
            since: now,
            tried_at: now,
            task_id: crate::model::TaskId(7),
            words: "no".into(),
            trial: None,
        });
        assert_eq!(chosen(&state, now).0, 0);
        let (trying, others) = chosen(&state, now.plus_secs(i64::try_from(policy.refused_retry_secs).unwrap()));
        assert_eq!(trying, 1);
        assert!(others >= second);
    }

    #[test]
    fn many_are_shared() {
        let state = state(&[i64::try_from(SHARED_FROM).unwrap(), 3]);
        let (now, policy) = (Timestamp::EPOCH.plus_secs(86_400), Policy::default());
        let mut held = [0; Hold::COUNT];
        let (considered, mut shared) = due(&state, now, &policy, None, &mut held);
        let (mut alone, held_alone) = due_among(&state, now, &policy, None, 0..SHARED_FROM + 3);
        for list in [&mut shared, &mut alone] {
            list.sort_by_key(|c| (c.collection, c.package));
        }
        assert_eq!((considered as usize, held), (SHARED_FROM + 3, held_alone));
        assert_eq!(shared, alone);
    }
}
