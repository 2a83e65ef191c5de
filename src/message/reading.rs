//! Reads what a message claims, as facts. This is a pure function from bytes to events.
//!
//! Messages are routed by the end of their topic ([`super::topics`]). Its beginning is configured
//! by the publisher, and the schema header says `base.message` whenever a body does not validate.
//! [`super::koji_message`] reads the bodies.
//!
//! A message is only a hint. This module has no hub to ask, so it assumes that the message is
//! right, and [`Context::source`] in every fact says so. Names of people go only to the `persons`
//! argument, which returns ids for them.

use serde_json::Value;

use super::entry::{Wire, time};
use super::fields::{Fields, Reason};
use super::topics::Topic;
use crate::event::{Event, FactId, MessageTimeReplaced, NewEvent, Source};
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

/// Reads what a message claims. Any bytes give a result, never a panic. Cost: one parse of the
/// text.
///
/// `persons` returns the id for a Koji user name, always the same for the same name. It is not
/// called for the service user, who is not a person.
pub fn interpret(
    message: Incoming<'_>,
    context: &Context,
    persons: &mut dyn FnMut(&str) -> PersonId,
) -> Interpretation {
    let wire: Wire<Value> = match Wire::parse(message.raw) {
        Ok(wire) => wire,
        Err(reason) => return Interpretation::Rejected(reason),
    };
    let Some(key) = wire.topic() else { return Interpretation::Rejected("no topic".to_owned()) };
    let Some(topic) = Topic::of(key) else {
        let koji = key.split('.').any(|word| word == "buildsys");
        return Interpretation::Ignored(if koji { "a Koji topic nothing depends on" } else { "not a Koji topic" });
    };
    let Some(body) = wire.body.as_object().map(Fields) else {
        return Interpretation::Rejected("body is not an object".to_owned());
    };
    let hub = match body.optional_name("instance") {
        Some(instance) => Hub::new(instance),
        None => context.default_hub.clone(),
    };
    let tolerance = i64::from(context.clock_tolerance_secs) * 1_000_000;
    let mut reading = Reading { body, hub, context, persons, sent_at: message.sent_at, tolerance, doubted: None };
    match (topic.read)(&mut reading) {
        Ok(ReadOutcome::Nothing(why)) => Interpretation::Ignored(why),
        Ok(ReadOutcome::Fact(event, time)) => {
            let said = wire.sent_at().or_else(|| wire.seen_at());
            let near = said.filter(|said| (-tolerance..=tolerance).contains(&said.since(message.sent_at)));
            let doubted = said.filter(|_| near.is_none()).or(reading.doubted);
            let id = |what: &str| FactId::of(&format!("{}/message/{}/{what}", reading.hub, message.id));
            let fact = |event, occurred_at, source, what| NewEvent {
                event,
                occurred_at,
                source,
                fact: Some(id(what)),
                koji_event: None,
                causation: None,
                correlation: None,
            };
            // A message that no hub can confirm is not read from a hub.
            let source = match context.source {
                Source::Hub if !topic.is_hint => Source::Bus,
                source => source,
            };
            let mut facts = vec![fact(*event, time.or(near).unwrap_or(message.sent_at), source, "0")];
            if let Some(said) = doubted {
                let event = MessageTimeReplaced { message: message.id.to_owned(), said, taken: message.sent_at };
                facts.push(fact(event.into(), message.sent_at, Source::Engine, "time"));
            }
            Interpretation::Facts(facts)
        }
        Err(Reason(reason)) => Interpretation::Rejected(reason),
    }
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
