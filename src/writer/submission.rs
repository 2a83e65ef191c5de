//! Records the result of a command on its hub, and the load of the builders there.

use super::Writer;
use crate::decide::load::ArchLoads;
use crate::event::{Event, FactId, NewEvent, RebuildNotSubmitted, RebuildRefused, RebuildSubmitted, Source};
use crate::log::LogError;
use crate::model::{Hub, RebuildId, Seq, TaskId, Timestamp};

/// Result of a rebuild command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Submission {
    /// The hub made a task.
    Submitted {
        /// The submitted rebuild.
        rebuild: RebuildId,
        /// The hub.
        hub: Hub,
        /// The task the hub made.
        task_id: TaskId,
    },
    /// The hub refused the command and made no task.
    Refused {
        /// The refused rebuild.
        rebuild: RebuildId,
        /// The hub's error text.
        reason: String,
    },
    /// The command was not sent to the hub.
    NotSubmitted {
        /// The rebuild that was not submitted.
        rebuild: RebuildId,
        /// Why it was not submitted.
        reason: String,
    },
}

impl Writer {
    /// Appends the result of a command. A repeated result is appended once.
    ///
    /// # Errors
    /// Fails like [`Writer::message`].
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
        // After a crash the same result may be reported twice. It is appended once.
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

    /// Stores the load of a hub's builders for the next decisions about rebuilds on that hub.
    pub fn load(&mut self, hub: &Hub, loads: ArchLoads) {
        self.loads.insert(hub.clone(), loads);
    }
}
