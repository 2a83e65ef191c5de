//! The writer: the only part of the program that appends to the log.
//!
//! [`turn`] handles each message completely and commits the result at once: the message's facts,
//! the events that follow from them, the decisions taken at that point, and the commands.
//!
//! The other modules do one part each:
//!
//! - [`consequences`] derives the events that follow from facts.
//! - `resolving` and `measuring` derive the events that follow from a repository.
//! - [`tracking`] says for which packages a repository is resolved, `own_sources` with which
//!   sources.
//! - `adopting` takes the configuration into the log.
//! - [`submission`] records the result of a command.
//! - [`hearing`] handles what operators say.
//! - [`pauses`] says which submissions are stopped.
//! - `open` opens the writer on a log.

mod adopting;
pub(crate) mod ahead;
pub mod consequences;
mod content;
mod decided;
pub mod hearing;
mod measuring;
mod open;
mod overrides;
mod own_sources;
pub mod pauses;
pub mod persons;
mod policies;
pub mod resolving;
pub mod settings;
pub mod submission;
pub mod tracking;
pub mod turn;

pub use consequences::HubAccess;
pub use settings::Settings;
pub use turn::Writer;

/// Name of the writer's loop in the metrics. Without this loop nothing is appended.
pub const HEART: &str = "brain";
/// Time after which a loop that completed no round counts as stalled.
pub(crate) const LOOP_STALE: std::time::Duration = std::time::Duration::from_secs(300);

impl From<crate::log::Counts> for crate::telemetry::QueueLengths {
    fn from(counts: crate::log::Counts) -> Self {
        Self { messages: counts.inbox_pending, parked: counts.inbox_parked, commands: counts.outbox_pending }
    }
}
