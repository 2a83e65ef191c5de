//! Says which submissions are stopped. The program checks this right before it calls a hub or
//! delivers a command.
//!
//! The plan does not choose paused packages. This module is for rebuilds decided before the pause.
//! A cancellation is not a submission and always goes out: an operator who stops submissions
//! because something went wrong wants to stop running tasks as well.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::event::{Event, findings, hub_facts, observations, package_settings};
use crate::fold::State;
use crate::log::{EventLog, LogError, OutboxCommand, PAGE_MAX};
use crate::model::{Hub, Name};
use crate::operator;

/// Submissions that an operator stopped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pauses {
    all: bool,
    collections: BTreeSet<Name>,
}

#[derive(Deserialize)]
struct OfCollection {
    collection: Name,
}

impl Pauses {
    /// Returns the pauses that the log has.
    pub fn of(state: &State) -> Self {
        let paused = state.collections.iter().filter(|(_, c)| c.paused.is_some());
        Self { all: state.paused.is_some(), collections: paused.map(|(name, _)| name.clone()).collect() }
    }

    /// Returns the pauses that the log has, plus the operators' words in the inbox that the writer
    /// has not handled yet.
    ///
    /// # Errors
    /// Fails if the log cannot be read.
    pub async fn said(log: &impl EventLog, state: &State) -> Result<Self, LogError> {
        let mut pauses = Self::of(state);
        let (words, _) = log.pending_of(operator::SOURCE, None, PAGE_MAX).await?;
        for word in words.iter().filter_map(|p| operator::read(&p.message.body).ok()) {
            match word.event {
                Event::SubmissionsPaused(e) => pauses.set(e.collection, true),
                Event::SubmissionsResumed(e) => pauses.set(e.collection, false),
                Event::RebuildCancelRequested(_)
                | Event::CollectionCreated(_)
                | Event::CollectionEdited(_)
                | package_settings!()
                | Event::MessageDismissed(_)
                | Event::GroupMade(_)
                | Event::GroupChanged(_)
                | Event::GroupDeleted(_)
                | hub_facts!()
                | observations!()
                | findings!() => {}
            }
        }
        Ok(pauses)
    }

    fn set(&mut self, collection: Option<Name>, paused: bool) {
        match (collection, paused) {
            (None, paused) => self.all = paused,
            (Some(name), true) => drop(self.collections.insert(name)),
            (Some(name), false) => drop(self.collections.remove(&name)),
        }
    }

    /// Checks whether submissions of a collection are stopped.
    pub fn hold(&self, collection: &Name) -> bool {
        self.all || self.collections.contains(collection)
    }

    /// Checks whether a command must not leave. If its collection cannot be read, it is held only
    /// while all submissions are stopped.
    pub fn hold_command(&self, command: &OutboxCommand) -> bool {
        let of = || serde_json::from_str::<OfCollection>(&command.payload).ok();
        command.kind == "rebuild" && (self.all || of().is_some_and(|of| self.hold(&of.collection)))
    }
}

/// What must not go out to a hub.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Stopped submissions.
    pub submissions: Pauses,
    /// Build tags for which we request no repository, because submissions of all their collections
    /// are stopped.
    pub tags: BTreeSet<Name>,
}

impl Held {
    /// Returns what the log holds back for a hub.
    pub fn of(state: &State, hub: &Hub) -> Self {
        let submissions = Pauses::of(state);
        let on_hub = || state.collections.iter().filter(|(_, c)| c.settings.hub == *hub);
        let free: BTreeSet<&Name> =
            on_hub().filter(|(name, _)| !submissions.hold(name)).map(|(_, c)| &c.settings.build_tag).collect();
        let tags = on_hub().map(|(_, c)| &c.settings.build_tag).filter(|tag| !free.contains(tag)).cloned().collect();
        Self { submissions, tags }
    }
}
