//! Publishes the events of a log into a stream, in their order and without a gap.
//!
//! The stream itself says how far it is: its last message names the event. Each message says which
//! message it expects before it, so the server refuses one that would leave a gap or come twice.

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;

use super::{Connection, JetStreamError, mismatch};

/// Header with the id of the log.
const LOG: &str = "Koschei-Log";
/// Header with the event's place in the log.
const SEQUENCE: &str = "Koschei-Sequence";
/// Content type of a CloudEvent as JSON (NATS protocol binding for CloudEvents, structured mode).
const CLOUD_EVENT: &str = "application/cloudevents+json";
/// First version of the server for which we know that it keeps what it has acknowledged through a
/// crash of the machine, if `sync_interval: always` is set.
const RELIABLE: (u64, u64) = (2, 12);

/// An event to publish.
#[derive(Clone, Debug)]
pub struct OutgoingEvent {
    /// The event's place in the log.
    pub seq: u64,
    /// Id, always the same.
    pub id: String,
    /// The kind, the collection or hub, and the object, as [`subject`] writes them.
    pub subject: String,
    /// The event as a CloudEvent.
    pub json: String,
}

/// A stream that takes the events of one log.
#[derive(Debug)]
pub struct EventStream {
    connection: Connection,
    stream: String,
    prefix: String,
    log: String,
    /// Number of the last message in the stream.
    last: u64,
    /// The last event that it has.
    through: Option<u64>,
}

/// Returns the end of an event's subject: `KIND.PLACE.NAME`. `about` is the subject of the event in
/// the log: `collection/f99/curl`, `primary/tag/f99`, `engine`. What is missing is `_`.
pub fn subject(kind: &str, about: &str) -> String {
    let mut parts = about.splitn(3, '/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let (place, name) = match (first, second, third) {
        ("collection", Some(collection), name) => (collection, name),
        ("group", Some(group), None) if kind.starts_with("group_") => ("_", Some(group)),
        (hub, Some(_), name) => (hub, name),
        _ => ("_", None),
    };
    format!("{kind}.{}.{}", token(place), token(name.unwrap_or("_")))
}

/// Writes a text as one word of a subject. What NATS does not allow in a word, and `%`, is written as
/// `%` and two hexadecimal digits for each byte.
pub(super) fn token(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '.' | '*' | '>' | '%') || c.is_whitespace() || c.is_control() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                write!(out, "%{byte:02X}").expect("writing to a string");
            }
        } else {
            out.push(c);
        }
    }
    if out.is_empty() { "_".to_owned() } else { out }
}

impl Connection {
    /// Returns a stream for the events of a log, with subjects below `prefix`. Makes it if it does
    /// not exist.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is rejected if the stream does not take the subjects, or has
    /// the events of another log.
    pub async fn events(&self, stream: &str, prefix: &str, log: &str) -> Result<EventStream, JetStreamError> {
        let (name, all) = (stream.to_owned(), format!("{prefix}.>"));
        let (found, _) = self.stream(stream, &all).await?;
        let last = found.cached_info().state.last_sequence;
        let doing = || format!("read the last event of stream {name}");
        let through = match found.get_last_raw_message_by_subject(&all).await {
            Ok(message) => {
                let header = |key: &str| message.headers.get(key).map(|value| value.as_str().to_owned());
                let of = header(LOG).unwrap_or_else(|| "a publisher that names no log".to_owned());
                if of != log {
                    return Err(mismatch(format!("stream {name}"), "log", of, log));
                }
                header(SEQUENCE).and_then(|seq| seq.parse().ok())
            }
            Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => None,
            Err(e) => return Err(self.unavailable(doing(), e)),
        };
        let (connection, log) = (self.clone(), log.to_owned());
        Ok(EventStream { connection, stream: name, prefix: prefix.to_owned(), log, last, through })
    }

    /// Returns what one cannot rely on with this version of the server. `None`: nothing is known.
    pub fn unreliable(&self) -> Option<String> {
        let version = self.client.server_info().version;
        let mut numbers = version.split('.').map_while(|part| part.parse::<u64>().ok());
        let found = (numbers.next()?, numbers.next()?);
        (found < RELIABLE).then(|| {
            format!(
                "NATS server {version} is older than {}.{}: it may lose messages that it acknowledged if its machine \
                 crashes, and drops settings that it does not know; the log has all events",
                RELIABLE.0, RELIABLE.1
            )
        })
    }
}

impl EventStream {
    /// Returns the last event that the stream has.
    pub fn through(&self) -> Option<u64> {
        self.through
    }

    /// Returns the most bytes that one event may have.
    pub fn limit(&self) -> usize {
        self.connection.client.max_payload()
    }

    /// Publishes events, which follow those that the stream has, and waits until it has all of
    /// them.
    ///
    /// # Errors
    /// Returns [`JetStreamError`], unavailable. The stream may then have some of them. Look with
    /// [`Connection::events`] which, before you send more.
    pub async fn publish(&mut self, events: &[OutgoingEvent]) -> Result<(), JetStreamError> {
        let mut sent = Vec::with_capacity(events.len());
        let failed = |of: &Self, event: &OutgoingEvent, e: async_nats::Error| {
            of.connection.unavailable(format!("publish event {} to stream {}", event.seq, of.stream), e)
        };
        for (event, before) in events.iter().zip(self.last..) {
            let mut headers = HeaderMap::new();
            headers.insert(LOG, self.log.as_str());
            headers.insert(SEQUENCE, event.seq.to_string().as_str());
            headers.insert("content-type", CLOUD_EVENT);
            let message = PublishMessage::build()
                .payload(event.json.clone().into())
                .headers(headers)
                .message_id(&event.id)
                .expected_stream(&self.stream)
                .expected_last_sequence(before);
            let subject = format!("{}.{}", self.prefix, event.subject);
            let acknowledged = self.connection.context.send_publish(subject, message).await;
            sent.push(acknowledged.map_err(|e| failed(self, event, e.into()))?);
        }
        for (event, acknowledged) in events.iter().zip(sent) {
            let acknowledged = acknowledged.await.map_err(|e| failed(self, event, e.into()))?;
            (self.last, self.through) = (acknowledged.sequence, Some(event.seq));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("package_state_changed", "collection/f99/curl", "package_state_changed.f99.curl")]
    #[case("collection_edited", "collection/f99", "collection_edited.f99._")]
    #[case("build_tagged", "primary/package/python3.9", "build_tagged.primary.python3%2E9")]
    #[case("reconciled", "primary/reconciliation", "reconciled.primary._")]
    #[case("group_changed", "group/python", "group_changed._.python")]
    #[case("reconciled", "group/reconciliation", "reconciled.group._")]
    #[case("tick", "engine", "tick._._")]
    #[case("tag_observed", "primary/tag/a b>*%", "tag_observed.primary.a%20b%3E%2A%25")]
    #[case("x", "collection/f99/a/b", "x.f99.a/b")]
    #[case("x", "primary/tag/", "x.primary._")]
    fn subjects_have_three_words(#[case] kind: &str, #[case] about: &str, #[case] written: &str) {
        assert_eq!(subject(kind, about), written);
    }
}
