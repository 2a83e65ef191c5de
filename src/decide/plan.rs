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

mod queue;
mod room;

use std::collections::BTreeMap;

use super::eligibility::priority_of;
use super::hold::Hold;
use super::load::ArchLoads;
use super::policy::Policy;
use super::priority::{Points, Priority};
use crate::event::{Chosen, PriorityParts};
use crate::fold::State;
use crate::model::{Name, Timestamp};
pub use queue::Queue;
use queue::{Ranked, Turn, Turns};
use room::{Reach, Room};

/// Indexes of a collection and of a package in it.
type Place = (usize, usize);

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

/// Applies the rules. If `load` is absent because no hub reports it, load limits nothing. Cost:
/// O(packages), plus O(log due) for each package chosen or refused one by one.
pub fn plan(state: &State, now: Timestamp, policy: &Policy, load: Option<&ArchLoads>) -> Plan {
    let queue = Queue::of(state, now, policy, load);
    let mut held = queue.held;
    let mut turns = Turns::new(state, &queue, None);
    let mut room = Room::new((state, now), policy, turns.hungry(), None);
    let mut chosen = Vec::new();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    while let Some(Turn::Other(collection)) = turns.next(&room, None) {
        let Some(due) = turns.pop(collection) else { break };
        let place = (collection, due.package as usize);
        let Some(hold) = room.limit(collection).or_else(|| turns.overload(place)) else {
            room.take(collection);
            let c = &state.collections[collection];
            let priority = priority_of(c, &c.packages[place.1], now, policy).expect("what is due has a priority");
            chosen.push(Choice { collection, package: place.1, priority });
            continue;
        };
        held[hold.index()] += 1;
        // Later candidates meet the same limit, so their order no longer matters.
        match Reach::of(&hold) {
            Reach::All => {
                held[hold.index()] += count((0..state.collections.len()).map(|c| turns.left(c)).sum());
                break;
            }
            Reach::Collection => {
                held[hold.index()] += count(turns.left(collection));
                turns.close(collection);
            }
            Reach::One => {}
        }
    }
    let held = Hold::keys().iter().zip(held).filter(|(_, n)| *n > 0).map(|(k, n)| ((*k).to_owned(), n)).collect();
    Plan { considered: queue.considered, held, chosen }
}

/// Returns the limits that keep a package from being chosen once it is due with a priority of
/// `current`. Lifting all of them lets the package through, and each of them must be lifted. Empty
/// if the package is chosen. Load is ignored if the package's architectures are not known. Cost: a
/// few times the number of packages that have their turn before, and at most that many rebuilds
/// fit.
pub(super) fn crowded_out(
    state: &State,
    queue: &Queue,
    (collection, package): Place,
    current: Points,
    arches_known: bool,
) -> Vec<Hold> {
    let me = &state.collections[collection].packages[package];
    let own = u32::from(me.running) + u32::from(me.open_rebuild.is_some());
    let turns = Turns::new(state, queue, Some((collection, package)));
    let room = Room::new((state, queue.now), &queue.policy, turns.hungry(), Some((collection, own)));
    let mine = Ranked::new(state, (collection, package), current);
    let refused = |lifted: &[Hold]| {
        // A lifted limit lets other packages through first. They may use up what the next limit
        // leaves.
        let mut room = room.clone();
        lifted.iter().for_each(|l| room.lift(l, collection));
        let room = at_my_turn(room, turns.clone(), &mine);
        let by_load = || if room.by_load && arches_known { turns.overload((collection, package)) } else { None };
        room.limit(collection).or_else(by_load)
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
fn at_my_turn(mut room: Room, mut turns: Turns<'_>, mine: &Ranked<'_>) -> Room {
    let others = turns.all_left();
    while !room.is_settled(mine.collection, others)
        && let Some(Turn::Other(collection)) = turns.next(&room, Some(mine))
    {
        let Some(due) = turns.pop(collection) else { break };
        match room.limit(collection).as_ref().map(Reach::of) {
            None if room.by_load && turns.is_overloaded(collection, due) => {}
            None => room.take(collection),
            // Nothing more can be taken.
            Some(Reach::All) => break,
            Some(Reach::Collection) => turns.close(collection),
            Some(Reach::One) => {}
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::queue::{Found, SHARED_FROM, due_among};
    use super::*;
    use crate::event::CollectionSettings;
    use crate::fold::{ArchResolution, ArchVerdict, Collection, Evidence, EvidenceKind, Latest, Package};
    use crate::model::{BuildId, Outcome, Seq};

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
            built_in: None,
            compared: false,
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
            explained: None,
            good: None,
            causes: Vec::new(),
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
                target: name.clone(),
                build_tag: name.clone(),
                dest_tag: name.clone(),
                ..CollectionSettings::f99()
            });
            let resolution = ArchResolution {
                repo_id: None,
                attachment: None,
                content: None,
                tracked: None,
                group_ok: Some(true),
                group_repo: None,
                problems: Vec::new(),
                explained: None,
                causes: Vec::new(),
                group_good: None,
                examined: false,
                corrected: Vec::new(),
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
        let whole = due_among(&state, now, &policy, 0..71);
        assert!(whole.due[0].len() > 10 && whole.held.iter().filter(|n| **n > 0).count() > 1, "{whole:?}");
        assert!(whole.due[3].iter().any(|(_, package)| *package == 29), "the last one, too");
        for share in [1, 7, 40, 41, 70, 100] {
            let mut all = Found::none(&state);
            (0..71).step_by(share).for_each(|from| all.add(due_among(&state, now, &policy, from..from + share)));
            assert_eq!(all, whole, "{share} at a time");
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
        let shared = Queue::of(&state, now, &policy, None);
        let alone = due_among(&state, now, &policy, 0..SHARED_FROM + 3);
        assert_eq!((shared.considered as usize, shared.held), (SHARED_FROM + 3, alone.held));
        // Far more are due than are sorted at first.
        let mut expected: Vec<(usize, Ranked<'_>)> = Vec::new();
        for (c, due) in alone.due.iter().enumerate() {
            expected
                .extend(due.iter().map(|(current, p)| (*p as usize, Ranked::new(&state, (c, *p as usize), *current))));
        }
        expected.sort_by(|a, b| a.1.collection.cmp(&b.1.collection).then_with(|| b.1.cmp(&a.1)));
        let mut turns = Turns::new(&state, &shared, None);
        let mut taken = Vec::new();
        for c in 0..2 {
            taken.extend(std::iter::from_fn(|| turns.pop(c)).map(|due| (c, due.package as usize)));
        }
        assert_eq!(taken, expected.iter().map(|(p, ranked)| (ranked.collection, *p)).collect::<Vec<_>>());
    }
}
