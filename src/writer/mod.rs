//! The one appender.
//!
//! [`turn`] handles a message completely: its facts, what follows from them, the decisions taken at that point and the
//! commands, in one commit. [`consequences`] is what follows; `resolving` and `measuring` what follows from a
//! repository, [`tracking`] for which packages, `own_sources` from which sources. `adopting` takes in what is
//! configured, [`submission`] what became of a command, [`hearing`] what an operator says;
//! [`pauses`] says what must not go out. `open` begins.

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

/// The loop without which nothing is appended, as metrics name it.
pub const HEART: &str = "brain";
/// A loop that did not go round for so long stands still.
pub(crate) const LOOP_STALE: std::time::Duration = std::time::Duration::from_secs(300);

impl From<crate::log::Counts> for crate::telemetry::Waiting {
    fn from(counts: crate::log::Counts) -> Self {
        Self { messages: counts.inbox_pending, parked: counts.inbox_parked, commands: counts.outbox_pending }
    }
}
