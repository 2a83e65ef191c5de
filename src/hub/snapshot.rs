//! What was read from a hub, before it is compared with what we know.
//!
//! An [`Observation`] is the result of one look at some objects. It says what *is*. What *changed*
//! follows from the state at the moment of appending it ([`super::diff`]).

use std::collections::BTreeSet;

use super::interest::HubObject;
pub use super::objects::{BuildSeen, ListedSeen, RepoSeen, Seen, TagSeen, TaggedSeen, TaskSeen};
use crate::model::{Hub, Timestamp};

/// Why we looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookReason {
    /// A message hinted at the object.
    Hint,
    /// We compare everything, or what changed since the last poll.
    Reconciliation,
}

/// The result of one look. Reading began after Koji event `event`. Observations are handed on in
/// the order of reading.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Hub instance.
    pub hub: Hub,
    /// The hub's last event before reading began. The content is at least as new.
    pub event: i64,
    /// Why we looked.
    pub why: LookReason,
    /// The time of the look.
    pub at: Timestamp,
    /// The hub's last event a minute before the look, if it was asked for. Messages about later
    /// events may still be on their way.
    pub settled: Option<i64>,
    /// Objects that changed after the event `settled`.
    pub fresh: BTreeSet<HubObject>,
    /// The objects seen.
    pub seen: Vec<Seen>,
    /// Everything of our tags up to `event` is in here or was handed on before. A reconciliation
    /// mark may be set.
    pub complete: bool,
}
