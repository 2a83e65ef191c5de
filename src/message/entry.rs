//! Reads the envelope of a message. It is the same for every source: a JSON object with `id`,
//! `topic`, `sent-at`, `seen_at`, `headers` and `body`. This is the form of the recordings. A bus
//! adapter converts its messages to this form.
//!
//! Only what intake needs is read here: identity, routing and times. [`super::reading`] reads
//! the body. Everything except the topic may be missing or have a wrong type.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::model::Timestamp;

/// Maximum length of a message, in bytes. The largest observed message of Koji has 5 KB. A build
/// with a few hundred subtasks has 200 KB.
pub const MAX_MESSAGE: usize = 8 << 20;

/// Number of bytes kept of a message beyond [`MAX_MESSAGE`], to show what it was.
pub const KEPT_OF_OVERLONG: usize = 1024;

/// Topic in the inbox for anything that is not a message.
pub const UNREADABLE: &str = "unreadable";

/// Maximum length of a message id, in bytes. AMQP allows 255.
const MAX_ID: usize = 255;

/// Maximum length of a topic, in bytes. AMQP allows 255.
const MAX_TOPIC: usize = 255;

/// Prefix of ids that we make for messages without one. Ids of publishers are UUIDs.
const DERIVED_ID: &str = "line:";

/// A message as it arrived, and what is needed to store and route it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The publisher's message id. If there is none: `line:` and a digest of the bytes, so that a
    /// repeated line is still recognized as a duplicate.
    pub id: String,
    /// Routing key, including the prefix.
    pub topic: String,
    /// When the publisher sent the message, by its clock, in whole seconds.
    pub sent_at: Option<Timestamp>,
    /// When the recorder received the message, by its clock.
    pub seen_at: Option<Timestamp>,
    /// The JSON text, without the line end.
    pub raw: Vec<u8>,
    /// Line in the recording, counted from 1. On a stream, the stream's sequence number.
    pub line: u64,
}

/// Something that is not a message. It is parked and not dropped, because a newer version may
/// understand it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// `line:` and a digest of all bytes, so that the same bytes are parked only once.
    pub id: String,
    /// Line in the recording, counted from 1. On a stream, the stream's sequence number.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
    /// The bytes, without the line end. Only the first [`KEPT_OF_OVERLONG`] if they are too long.
    pub raw: Vec<u8>,
    /// The full length in bytes.
    pub length: u64,
}

/// What a message says about its times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MessageTimes {
    /// When the recorder received the message, by the recorder's clock.
    pub seen: Option<Timestamp>,
    /// When the publisher sent the message, by the publisher's clock.
    pub sent: Option<Timestamp>,
}

impl MessageTimes {
    /// Reads the times from the text of a message. Returns no times if it is not a message. Cost:
    /// one pass over the bytes.
    pub fn of(raw: &[u8]) -> Self {
        let wire = Wire::<IgnoredAny>::parse(raw).ok();
        wire.map_or_else(Self::default, |w| Self { seen: w.seen_at(), sent: w.sent_at() })
    }
}

impl Message {
    /// Returns what the message says about its times.
    pub const fn said(&self) -> MessageTimes {
        MessageTimes { seen: self.seen_at, sent: self.sent_at }
    }
}

/// One item from a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A message.
    Message(Message),
    /// Anything else.
    Unreadable(Unreadable),
}

/// The envelope. `B` is what is wanted of the body. Every field accepts any JSON value, so that a
/// wrong type in one field does not lose the others.
#[derive(Deserialize)]
pub(crate) struct Wire<B> {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    topic: Value,
    #[serde(default, rename = "sent-at")]
    sent_at: Value,
    #[serde(default)]
    seen_at: Value,
    #[serde(default)]
    headers: Value,
    #[serde(default)]
    pub(crate) body: B,
}

impl<'a, B: Deserialize<'a> + Default> Wire<B> {
    /// Parses the envelope. The error says what is wrong. Arrays are refused, because Serde would
    /// accept one with the members in order.
    pub(crate) fn parse(raw: &'a [u8]) -> Result<Self, String> {
        if raw.trim_ascii_start().first() != Some(&b'{') {
            return Err("not a JSON object with a message".to_owned());
        }
        serde_json::from_slice(raw).map_err(|error| format!("not a JSON object with a message: {error}"))
    }
}

impl<B> Wire<B> {
    /// Returns the routing key.
    pub(crate) fn topic(&self) -> Option<&str> {
        self.topic.as_str().filter(|t| !t.is_empty() && t.len() <= MAX_TOPIC)
    }

    /// Returns the publisher's time. Looks among the headers, too, where AMQP has it.
    pub(crate) fn sent_at(&self) -> Option<Timestamp> {
        time(&self.sent_at).or_else(|| time(self.headers.get("sent-at")?))
    }

    /// Returns the recorder's time.
    pub(crate) fn seen_at(&self) -> Option<Timestamp> {
        time(&self.seen_at)
    }
}

/// Reads a time in any form that Koji and the recordings use: ISO 8601 text, Koji's text, or
/// seconds since 1970 as a number or as text.
pub(crate) fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(n) => Timestamp::from_secs_f64(n.as_f64()?),
        Value::String(s) => s.parse().ok().or_else(|| Timestamp::from_secs_f64(s.trim().parse().ok()?)),
        _ => None,
    }
}

/// Returns an id for bytes that have none.
pub(crate) fn derived_id(digest: &blake3::Hash) -> String {
    let mut id = String::with_capacity(DERIVED_ID.len() + 32);
    id.push_str(DERIVED_ID);
    id.push_str(&hex::encode(&digest.as_bytes()[..16]));
    id
}

impl Entry {
    /// Reads the envelope of one message. `line` is only stored. Cost: one pass over the bytes.
    pub fn parse(raw: Vec<u8>, line: u64) -> Self {
        if raw.len() > MAX_MESSAGE {
            return Self::overlong(&raw, line, raw.len() as u64, &blake3::hash(&raw));
        }
        let wire: Wire<IgnoredAny> = match Wire::parse(&raw) {
            Ok(wire) => wire,
            Err(reason) => return Self::unreadable(raw, line, reason),
        };
        let Some(topic) = wire.topic() else {
            let reason = "no topic: expected a member `topic` with the routing key".to_owned();
            return Self::unreadable(raw, line, reason);
        };
        let id = match wire.id.as_str() {
            Some(id) if !id.is_empty() && id.len() <= MAX_ID => id.to_owned(),
            _ => derived_id(&blake3::hash(&raw)),
        };
        let (topic, sent_at, seen_at) = (topic.to_owned(), wire.sent_at(), wire.seen_at());
        Self::Message(Message { id, topic, sent_at, seen_at, raw, line })
    }

    /// Returns the entry for a message beyond [`MAX_MESSAGE`]. Needs at least the beginning of the
    /// message.
    pub(crate) fn overlong(beginning: &[u8], line: u64, length: u64, digest: &blake3::Hash) -> Self {
        Self::Unreadable(Unreadable {
            id: derived_id(digest),
            line,
            reason: format!("{length} bytes long, more than the {MAX_MESSAGE} a message may have"),
            raw: beginning.iter().copied().take(KEPT_OF_OVERLONG).collect(),
            length,
        })
    }

    fn unreadable(raw: Vec<u8>, line: u64, reason: String) -> Self {
        let (id, length) = (derived_id(&blake3::hash(&raw)), raw.len() as u64);
        Self::Unreadable(Unreadable { id, line, reason, raw, length })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn message(text: &str) -> Message {
        match Entry::parse(text.as_bytes().to_vec(), 7) {
            Entry::Message(m) => m,
            Entry::Unreadable(u) => panic!("{}", u.reason),
        }
    }

    #[test]
    fn envelope_is_read_leniently() {
        let m = message(
            r#"{"id":"a","topic":"x.buildsys.tag","headers":{"sent-at":"2026-11-20T08:44:11+00:00"},"seen_at":1.5}"#,
        );
        assert_eq!((m.id.as_str(), m.topic.as_str(), m.line), ("a", "x.buildsys.tag", 7));
        assert_eq!(m.sent_at, Some(Timestamp::from_secs(1_795_164_251)));
        assert_eq!(m.seen_at, Some(Timestamp(1_500_000)));
        let m = message(r#"{"id":5,"topic":"t","headers":[],"sent-at":{},"seen_at":"soon"}"#);
        assert_eq!((m.sent_at, m.seen_at), (None, None));
    }

    #[test]
    fn equal_lines_without_id_are_doubles() {
        let a = message(r#"{"topic":"t","body":1}"#);
        assert!(a.id.starts_with(DERIVED_ID), "{}", a.id);
        assert_eq!(a.id, message(r#"{"topic":"t","body":1}"#).id);
        assert_ne!(a.id, message(r#"{"topic":"t","body":2}"#).id);
    }

    #[rstest]
    #[case::not_json("hello", "not a JSON object")]
    #[case::cut(r#"{"topic":"t","bo"#, "not a JSON object")]
    #[case::array("[1]", "not a JSON object")]
    #[case::no_topic(r#"{"id":"a"}"#, "no topic")]
    #[case::topic_is_a_number(r#"{"id":"a","topic":3}"#, "no topic")]
    fn others_are_reported_with_their_bytes(#[case] text: &str, #[case] reason: &str) {
        let Entry::Unreadable(u) = Entry::parse(text.as_bytes().to_vec(), 3) else { panic!("{text} was accepted") };
        assert!(u.reason.starts_with(reason), "{}", u.reason);
        assert_eq!((u.raw.as_slice(), u.line), (text.as_bytes(), 3));
    }
}
