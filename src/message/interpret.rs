//! Turns a message into facts. This is a pure function from bytes to events.
//!
//! The end of a message's topic selects its reader ([`super::topics`]). The publisher configures
//! the beginning of the topic.

use serde_json::Value;

use super::entry::Wire;
use super::fields::{Fields, Reason};
use super::reading::{Context, Incoming, Interpretation, ReadOutcome, Reading};
use super::topics::Topic;
use crate::event::{FactId, MessageTimeReplaced, NewEvent, Source};
use crate::model::{Hub, PersonId};

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
