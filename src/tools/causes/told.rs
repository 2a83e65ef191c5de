//! Reads the log, and keeps what the causes follow from.

use std::collections::BTreeMap;

use super::spells::{At, Spells};
use crate::decide::causes::what_is_gone;
use crate::event::{Envelope, Event, hub_facts, package_settings, words};
use crate::fold::{State, UpdateHistory};
use crate::log::{EventLog, LogError, folding};
use crate::model::{Name, Seq};

/// What the log tells of one collection.
#[derive(Clone, Debug)]
pub(super) struct Collected {
    pub(super) history: UpdateHistory,
    pub(super) spells: Spells,
}

/// What the log tells about causes.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub(super) collections: BTreeMap<Name, Collected>,
    /// The last event after which targets and tags were not looked at yet.
    moved: Option<At>,
}

/// Reads the log up to `until`, or to its end. Also returns the state there. Cost: that of folding
/// it.
///
/// # Errors
/// Fails like [`folding::from_start`].
pub async fn read(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut (dyn FnMut(Seq) + Send),
) -> Result<(Told, State), LogError> {
    let mut told = Told::default();
    let state = folding::fold(log, until, progress, &mut |state, e| told.see(state, e)).await?;
    told.targets(&state);
    Ok((told, state))
}

impl Told {
    /// Takes up an event, and the state before it.
    fn see(&mut self, state: &State, e: &Envelope) {
        self.targets(state);
        match &e.event {
            Event::UpdatesArrived(u) => self.of(&u.collection).history.arrived(u),
            Event::BuildCompared(b) => {
                let began = state.began(b, e.seq);
                self.of(&b.collection).history.compared(b, began, (e.seq, e.recorded_at));
            }
            Event::RepoResolved(r) => {
                let of = self.of(&r.collection);
                of.history.resolved(r.repo_id);
                of.spells.resolved(r, e);
            }
            Event::CausesFound(c) => self.of(&c.collection).spells.found(c, e),
            Event::BuildrootResolved(b) => self.of(&b.collection).spells.group_back(&b.arch, e),
            Event::TargetObserved(_) | Event::TagObserved(_) | words!() => self.moved = Some((e.seq, e.recorded_at)),
            Event::Reconciled(_)
            | Event::PolicyAdopted(_)
            | Event::Tick(_)
            | Event::RepoNotResolved(_)
            | Event::ResolutionExamined(_)
            | Event::BuildrootBroken(_)
            | Event::DependenciesMeasured(_)
            | Event::SuspectsRanked(_)
            | Event::PredictionCompared(_)
            | Event::EvaluationMade(_)
            | Event::RebuildRequested(_)
            | Event::RebuildSubmitted(_)
            | Event::RebuildRefused(_)
            | Event::RebuildNotSubmitted(_)
            | Event::RebuildFinished(_)
            | Event::RebuildDoubted(_)
            | Event::PolicyRefused(_)
            | Event::PolicyAllowed(_)
            | Event::PackageStateChanged(_)
            | Event::PackageReasonChanged(_)
            | Event::CollectionStateChanged(_)
            | Event::MessageRetried(_)
            | Event::MessageTimeReplaced(_)
            | hub_facts!()
            | package_settings!() => {}
        }
    }

    /// Takes up which targets and tags are gone in a state, if an event before it may have changed that.
    fn targets(&mut self, state: &State) {
        let Some(at) = self.moved.take() else { return };
        for (name, c) in &state.collections {
            self.of(name).spells.gone(&what_is_gone(c), at);
        }
    }

    fn of(&mut self, collection: &Name) -> &mut Collected {
        let none = || Collected { history: UpdateHistory::unbounded(), spells: Spells::default() };
        self.collections.entry(collection.clone()).or_insert_with(none)
    }
}
