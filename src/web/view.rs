//! What pages are made from: a state, and what they derive from it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustc_hash::FxHashMap;

use super::orders::Listing;
use super::params::Order;
use crate::decide::causes::{Elsewhere, FailedBuild, OpenCause, SaidByCollection, open_causes};
use crate::decide::{Policy, Queue};
use crate::event::{Envelope, Event, PackageStateChanged};
use crate::fold::{Collection, Mark, State};
use crate::model::{Name, PackageState, Seq, Timestamp};
use crate::view::answer;
use crate::view::broken::since_good;
use crate::view::package::STATES;

/// Number of breakages and repairs that are kept, newest first.
pub(super) const CHANGES_KEPT: usize = 200;

/// A package that broke or was repaired.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) what: PackageStateChanged,
}

/// What pages are made from: a state, and what belongs to it.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) state: State,
    /// The rules in force in that state.
    pub(super) policy: Policy,
    /// The packages that broke or were repaired last, newest first.
    pub(super) changes: VecDeque<Change>,
    /// What pages derived from this very state. The next event takes it away.
    derived: Derived,
    /// The failed builds of each collection, judged, and what they were judged by.
    judged: Mutex<Judged>,
    /// The listing of an earlier state.
    earlier: Mutex<Option<Listing>>,
    #[cfg(test)]
    pub(super) made: Made,
}

/// What was judged last.
#[derive(Debug, Default)]
struct Judged {
    /// The failed builds of each collection, and the marks of the histories that they follow from.
    failed: FxHashMap<Name, (Vec<Mark>, Arc<Vec<FailedBuild>>)>,
    /// What collections say of each other's updates.
    said: SaidByCollection,
}

/// What many pages need of one state. The first one makes a part, and others wait for it.
#[derive(Debug, Default)]
struct Derived {
    queue: OnceLock<Queue>,
    causes: OnceLock<Vec<OpenCause>>,
    listing: OnceLock<Listing>,
}

/// Counts how often parts were made.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) queues: std::sync::atomic::AtomicU32,
    pub(super) listings: std::sync::atomic::AtomicU32,
    pub(super) causes: std::sync::atomic::AtomicU32,
    /// Collections whose failed builds were judged.
    pub(super) judged: std::sync::atomic::AtomicU32,
}

impl View {
    /// Makes the view of a state.
    pub(super) fn of(state: State) -> Self {
        Self { policy: Policy::in_force(&state), state, ..Self::default() }
    }

    /// Folds one event.
    pub(super) fn apply(&mut self, e: &Envelope) {
        let derived = std::mem::take(&mut self.derived);
        if let Some(listing) = derived.listing.into_inner() {
            *self.earlier.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(listing);
        }
        self.state.apply(e);
        match &e.event {
            Event::PolicyAdopted(_) => self.policy = Policy::in_force(&self.state),
            Event::PackageStateChanged(what) => self.changed(e, what),
            _ => {}
        }
    }

    /// Returns what is due in this state, made once for all pages.
    pub(super) fn queue(&self) -> &Queue {
        self.derived.queue.get_or_init(|| {
            #[cfg(test)]
            self.made.queues.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            answer::queue(&self.state, self.state.recorded_at, &self.policy)
        })
    }

    /// Returns the open causes of this state, made once for all pages.
    pub(super) fn causes(&self) -> &[OpenCause] {
        self.derived.causes.get_or_init(|| {
            #[cfg(test)]
            self.made.causes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            open_causes(&self.state)
        })
    }

    /// Returns the failed builds of a collection since the last good ones, with their suspects. They
    /// are judged anew only after another build or repository, of any collection.
    pub(super) fn failed(&self, name: &Name, c: &Collection) -> Arc<Vec<FailedBuild>> {
        let mark: Vec<Mark> = self.state.collections.values().map(|c| c.history.mark()).collect();
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, failed)) = judged.failed.get(name).filter(|(of, _)| *of == mark) {
            return failed.clone();
        }
        #[cfg(test)]
        self.made.judged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let elsewhere = Elsewhere::in_state(name, &self.state, &mut judged.said);
        let failed = Arc::new(since_good(name, &c.history, &elsewhere));
        judged.failed.insert(name.clone(), (mark, failed.clone()));
        failed
    }

    /// Returns the lists of this state's packages, made once for all pages.
    pub(super) fn listing(&self) -> &Listing {
        self.derived.listing.get_or_init(|| {
            #[cfg(test)]
            self.made.listings.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner).take();
            Listing::of(&self.state, earlier)
        })
    }

    /// See [`Listing::counts`].
    pub(super) fn counts(&self, collection: &str) -> [usize; STATES.len()] {
        self.listing().counts(&self.state, collection)
    }

    /// Returns all packages in an order, as indexes of the listing's places.
    pub(super) fn order(&self, order: Order) -> &[u32] {
        self.listing().order(&self.state, &self.policy, order)
    }

    /// Returns where, in an order, the places begin that come after a key, a package and a collection.
    pub(super) fn after(&self, order: Order, last: (i64, &str, &str)) -> usize {
        self.listing().after((&self.state, &self.policy), order, last)
    }

    /// Notes that a package broke or was repaired.
    pub(super) fn changed(&mut self, e: &Envelope, what: &PackageStateChanged) {
        // New and untracked packages are not news: whole distributions come and go like that.
        let broken = |state| matches!(state, PackageState::Failing | PackageState::Unresolved);
        if !broken(what.new) && !what.old.is_some_and(broken) {
            return;
        }
        self.changes.push_front(Change { seq: e.seq, at: e.occurred_at, what: what.clone() });
        self.changes.truncate(CHANGES_KEPT);
    }
}
