//! What reading a message needs and gives. A module for each publisher reads the bodies.
//!
//! A message is only a hint. This module has no hub to ask, so it assumes that the message is
//! right, and [`Context::source`] in every fact says so. Names of people go only to the `persons`
//! argument, which returns ids for them.

use serde_json::Value;

use super::entry::time;
use super::fields::Fields;
use crate::event::{Event, NewEvent, Source};
use crate::model::{Hub, PersonId, Timestamp};

/// What interpretation needs to know about the installation.
#[derive(Clone, Debug)]
pub struct Context {
    /// Koji user whose scratch builds are ours.
    pub service_user: String,
    /// Hub instance for messages that name none.
    pub default_hub: Hub,
    /// The source that facts name: [`Source::Recording`] or [`Source::Bus`], or [`Source::Hub`]
    /// where a message is only a hint.
    pub source: Source,
    /// Maximum difference, in seconds, between the publisher's time and [`Incoming::sent_at`].
    pub clock_tolerance_secs: u32,
}

/// Default of [`Context::clock_tolerance_secs`]. Clocks of build machines are right, but a message
/// may wait in a queue.
pub const CLOCK_TOLERANCE_SECS: u32 = 3_600;

/// A stored message.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Id of the message, as in [`super::Message::id`].
    pub id: &'a str,
    /// JSON text of the message.
    pub raw: &'a [u8],
    /// When the message was sent, as far as we know ([`super::times`]). Times in the message count
    /// only if they are close to this.
    pub sent_at: Timestamp,
}

/// The result of reading a message.
#[derive(Clone, PartialEq, Debug)]
pub enum Interpretation {
    /// Facts without a cause. The appender adds it.
    Facts(Vec<NewEvent>),
    /// The message is of no interest. The text says why.
    Ignored(&'static str),
    /// The message cannot be understood. It must be parked with this reason.
    Rejected(String),
}

/// Result of one reader: at most one fact, and when it happened, if the body says so.
pub(super) enum ReadOutcome {
    Fact(Box<Event>, Option<Timestamp>),
    Nothing(&'static str),
}

/// A message that is being read.
pub(super) struct Reading<'a, 'p> {
    pub(super) body: Fields<'a>,
    pub(super) hub: Hub,
    pub(super) context: &'a Context,
    pub(super) persons: &'p mut dyn FnMut(&str) -> PersonId,
    pub(super) sent_at: Timestamp,
    /// [`Context::clock_tolerance_secs`] in microseconds.
    pub(super) tolerance: i64,
    /// The first impossible time in the body.
    pub(super) doubted: Option<Timestamp>,
}

impl Reading<'_, '_> {
    pub(super) fn person(&mut self, key: &str) -> Option<PersonId> {
        let name = self.body.optional_name(key)?;
        (name != self.context.service_user).then(|| (self.persons)(&name))
    }

    /// Returns a time from the body. Returns `None` if it is later than the message, because a
    /// message cannot report the future.
    pub(super) fn moment(&mut self, value: Option<&Value>) -> Option<Timestamp> {
        let said = time(value?)?;
        if said.since(self.sent_at) <= self.tolerance {
            return Some(said);
        }
        self.doubted.get_or_insert(said);
        None
    }
}
