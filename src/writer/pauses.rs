//! What must not go out: asked right before a hub is called, and before a command is delivered.
//!
//! The plan decides nothing about what is paused; this is about what was decided before. A cancellation is no rebuild,
//! and goes out: whoever stops submissions because something went wrong wants to stop what runs as well.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::event::{Event, findings, hub_facts, observations};
use crate::fold::State;
use crate::log::{EventLog, LogError, OutboxCommand, PAGE_MAX};
use crate::model::{Hub, Name};
use crate::operator;

/// Submissions that somebody stopped.
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
    /// As the log has them.
    pub fn of(state: &State) -> Self {
        let paused = state.collections.iter().filter(|(_, c)| c.paused.is_some());
        Self { all: state.paused.is_some(), collections: paused.map(|(name, _)| name.clone()).collect() }
    }

    /// As the log has them, and as operators said since, where nobody has taken that yet.
    ///
    /// # Errors
    /// Those of reading the log.
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
                | Event::PackageTracked(_)
                | Event::PackageUntracked(_)
                | Event::PackagePrioritySet(_)
                | Event::PackageArchOverrideSet(_)
                | Event::PackageSkipResolutionSet(_)
                | Event::MessageDismissed(_)
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

    /// Whether nothing of a collection may be submitted.
    pub fn hold(&self, collection: &Name) -> bool {
        self.all || self.collections.contains(collection)
    }

    /// Whether a command may not leave. One whose collection cannot be read is held only where all are.
    pub fn hold_command(&self, command: &OutboxCommand) -> bool {
        let of = || serde_json::from_str::<OfCollection>(&command.payload).ok();
        command.kind == "rebuild" && (self.all || of().is_some_and(|of| self.hold(&of.collection)))
    }
}

/// What must not go out to a hub.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Submissions.
    pub submissions: Pauses,
    /// Build tags for which no repository is to be asked for: submissions of all their collections are stopped.
    pub tags: BTreeSet<Name>,
}

impl Held {
    /// As the log has it.
    pub fn of(state: &State, hub: &Hub) -> Self {
        let submissions = Pauses::of(state);
        let on_hub = || state.collections.iter().filter(|(_, c)| c.settings.hub == *hub);
        let free: BTreeSet<&Name> =
            on_hub().filter(|(name, _)| !submissions.hold(name)).map(|(_, c)| &c.settings.build_tag).collect();
        let tags = on_hub().map(|(_, c)| &c.settings.build_tag).filter(|tag| !free.contains(tag)).cloned().collect();
        Self { submissions, tags }
    }
}
