//! The limits that a choice leaves room under.

use smol_str::SmolStr;

use super::Place;
use crate::decide::arches::build_arches;
use crate::decide::eligibility::refused;
use crate::decide::hold::{Hold, own_reasons};
use crate::decide::load::{Loads, NOBODY, overloaded_arches};
use crate::decide::policy::Policy;
use crate::fold::{Collection, State};
use crate::model::{Name, Timestamp};

/// The room left for rebuilds while choosing.
#[derive(Clone)]
pub(super) struct Room {
    /// Whether load limits anything.
    pub(super) by_load: bool,
    paused: Option<SmolStr>,
    requests: u32,
    overall: u32,
    /// Requests that the hourly limit leaves, and that limit.
    hour: Option<(u32, u32)>,
    /// Slots owed to each collection with something due.
    share: u32,
    collections: Vec<CollectionRoom>,
}

#[derive(Clone)]
pub(super) struct CollectionRoom {
    running: u32,
    left: u32,
    paused: Option<SmolStr>,
    /// The hold of a collection that a policy of the hub stops, and how many rebuilds may test that
    /// policy again.
    refused: Option<(Hold, u32)>,
}

impl Room {
    /// Computes the room for `hungry` collections with something due. `own` gives back the slots of
    /// one package, so that it is examined as if it held none.
    pub(super) fn new(
        (state, now): (&State, Timestamp),
        policy: &Policy,
        hungry: usize,
        own: Option<(usize, u32)>,
    ) -> Self {
        let freed = |index: usize| own.filter(|(c, _)| *c == index).map_or(0, |(_, n)| n);
        let of_collection = |(index, c): (usize, &Collection)| {
            let limit = c.settings.max_builds.or(policy.max_builds_per_collection).unwrap_or(u32::MAX);
            let running = c.running.saturating_sub(freed(index));
            let refused = refused(state, c, policy).map(|hold| {
                let due = matches!(&hold, Hold::PolicyRefused { next: Some(at), .. } if *at <= now);
                (hold, u32::from(due))
            });
            CollectionRoom { running, left: limit.saturating_sub(running), paused: c.paused.clone(), refused }
        };
        let running = state.running().saturating_sub(own.map_or(0, |(_, n)| n));
        let hour = |limit: u32| (limit.saturating_sub(state.requests_of_last_hour(now)), limit);
        Room {
            by_load: true,
            paused: state.paused.clone(),
            requests: policy.max_requests_per_evaluation,
            overall: policy.max_builds.saturating_sub(running),
            hour: policy.max_submissions_per_hour.map(hour),
            share: policy.max_builds.div_ceil(u32::try_from(hungry.max(1)).unwrap_or(u32::MAX)),
            collections: state.collections.values().enumerate().map(of_collection).collect(),
        }
    }

    /// Returns whether a collection has not yet received its fair share.
    pub(super) fn is_owed(&self, collection: usize) -> bool {
        self.collections[collection].running < self.share
    }

    /// Returns the limit that a further package of a collection meets, apart from load.
    pub(super) fn limit(&self, collection: usize) -> Option<Hold> {
        if self.requests == 0 {
            return Some(Hold::EvaluationLimit);
        }
        if let Some(because) = &self.paused {
            return Some(Hold::Paused { because: because.clone() });
        }
        if self.overall == 0 {
            return Some(Hold::OverallLimit);
        }
        if let Some((0, limit)) = self.hour {
            return Some(Hold::HourlyLimit { limit });
        }
        let room = &self.collections[collection];
        if let Some(because) = &room.paused {
            return Some(Hold::CollectionPaused { because: because.clone() });
        }
        if let Some((hold, 0)) = &room.refused {
            return Some(hold.clone());
        }
        (room.left == 0).then_some(Hold::CollectionLimit)
    }

    /// Checks whether [`Self::limit`] of a collection stays as it is, even if `others` more packages
    /// are taken.
    pub(super) fn is_settled(&self, collection: usize, others: usize) -> bool {
        let enough = |n: u32| n as usize > others;
        let room = &self.collections[collection];
        self.requests == 0
            || enough(self.requests)
                && (self.paused.is_some()
                    || enough(self.overall)
                        && self.hour.is_none_or(|(left, _)| enough(left))
                        && (room.paused.is_some()
                            || room.refused.as_ref().is_none_or(|(_, tries)| *tries == 0 || enough(*tries))
                                && (room.left == 0 || enough(room.left))))
    }

    pub(super) fn take(&mut self, collection: usize) {
        self.requests -= 1;
        self.overall -= 1;
        self.hour = self.hour.map(|(left, limit)| (left - 1, limit));
        let room = &mut self.collections[collection];
        room.left -= 1;
        if let Some((_, tries)) = &mut room.refused {
            *tries -= 1;
        }
        room.running += 1;
    }

    /// Makes room as if the limit behind `hold` did not exist.
    pub(super) fn lift(&mut self, hold: &Hold, collection: usize) {
        match hold {
            Hold::EvaluationLimit => self.requests = u32::MAX,
            Hold::Paused { .. } => self.paused = None,
            Hold::OverallLimit => (self.overall, self.share) = (u32::MAX, u32::MAX),
            Hold::HourlyLimit { .. } => self.hour = None,
            Hold::CollectionPaused { .. } => self.collections[collection].paused = None,
            Hold::PolicyRefused { .. } => self.collections[collection].refused = None,
            Hold::CollectionLimit => self.collections[collection].left = u32::MAX,
            Hold::Load { .. } => self.by_load = false,
            own_reasons!() => {}
        }
    }
}

/// Returns the load that holds a package, if it does. Cost: O(architectures).
pub(super) fn overload(state: &State, loads: &Loads<'_>, threshold: u32, (collection, package): Place) -> Option<Hold> {
    let collection = &state.collections[collection];
    let loads = loads.of(collection.settings.building_hub())?;
    let (mut arches, noarch) = build_arches(collection, &collection.packages[package]);
    if noarch || arches.is_empty() {
        // A noarch package may go to any architecture of the collection. A package never resolved
        // goes to all of them, so its limits are those of all known architectures.
        let allowed = |a: &&Name| collection.allowed().has(a);
        arches = collection.arches.keys().filter(allowed).cloned().collect();
        if arches.is_empty() {
            arches.extend(loads.0.keys().filter(allowed).cloned());
        }
    }
    overloaded_arches(loads, &arches, noarch, threshold).map(|arches| {
        let nobody = arches.iter().filter(|a| loads.of(a) >= NOBODY).cloned().collect();
        Hold::Load { arches, nobody }
    })
}

/// Says which further candidates a limit holds, once it has held one.
pub(super) enum Reach {
    /// All candidates.
    All,
    /// All candidates of the same collection.
    Collection,
    /// Possibly only this candidate.
    One,
}

impl Reach {
    pub(super) const fn of(hold: &Hold) -> Self {
        match hold {
            Hold::EvaluationLimit | Hold::Paused { .. } | Hold::OverallLimit | Hold::HourlyLimit { .. } => Self::All,
            Hold::CollectionPaused { .. } | Hold::PolicyRefused { .. } | Hold::CollectionLimit => Self::Collection,
            Hold::Load { .. } | own_reasons!() => Self::One,
        }
    }
}
