//! What became of a command on its hub, and how busy the builders there are.

use super::turn::Writer;
use crate::decide::load::ArchLoads;
use crate::event::{Event, FactId, NewEvent, RebuildNotSubmitted, RebuildRefused, RebuildSubmitted, Source};
use crate::log::LogError;
use crate::model::{Hub, RebuildId, Seq, TaskId, Timestamp};

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Submission {
    /// The hub has the task.
    Submitted {
        /// Which rebuild.
        rebuild: RebuildId,
        /// On which hub.
        hub: Hub,
        /// The task it became.
        task_id: TaskId,
    },
    /// The hub refused it; no task was made.
    Refused {
        /// Which rebuild.
        rebuild: RebuildId,
        /// The hub's words.
        reason: String,
    },
    /// It was not offered.
    NotSubmitted {
        /// Which rebuild.
        rebuild: RebuildId,
        /// Why.
        reason: String,
    },
}

impl Writer {
    /// Appends what became of a command. Said twice, it is appended once.
    ///
    /// # Errors
    /// As [`Writer::message`].
    pub async fn submission(&mut self, what: Submission, now: Timestamp) -> Result<(), LogError> {
        self.move_clock(now);
        self.begin();
        self.tick().await?;
        let rebuild = match &what {
            Submission::Submitted { rebuild, .. }
            | Submission::Refused { rebuild, .. }
            | Submission::NotSubmitted { rebuild, .. } => *rebuild,
        };
        let Some(open) = self.state().rebuilds.get(&rebuild) else { return Ok(()) };
        let (collection, package) = (open.collection.clone(), open.package.clone());
        let event: Event = match what {
            Submission::Submitted { hub, task_id, .. } => {
                RebuildSubmitted { rebuild, collection, package, hub, task_id }.into()
            }
            Submission::Refused { reason, .. } => RebuildRefused { rebuild, collection, package, reason }.into(),
            Submission::NotSubmitted { reason, .. } => {
                RebuildNotSubmitted { rebuild, collection, package, reason }.into()
            }
        };
        // Heard of twice after a crash, it is said once.
        let fact = FactId::of(&format!("submission/{}/{}", rebuild, event.payload()));
        if self.has_fact(&fact).await? {
            return Ok(());
        }
        let cause = Seq::new(rebuild.0);
        let fact = NewEvent {
            event,
            occurred_at: now,
            source: Source::Engine,
            fact: Some(fact),
            koji_event: None,
            causation: cause,
            correlation: cause,
        };
        self.fact(fact).await
    }

    /// Takes over how busy the builders of a hub are, for the next decisions about what is built there.
    pub fn load(&mut self, hub: &Hub, loads: ArchLoads) {
        self.loads.insert(hub.clone(), loads);
    }
}
