//! Turns a message of the broker into the form of a recorded line.
//!
//! The body keeps its text. A body that is not JSON does not fit into such a line, so the message
//! is set aside unchanged.

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::guard::Cut;
use crate::message::entry::{Entry, MAX_MESSAGE, Message, Unreadable, derived_id, time};

/// Deepest table in the headers that is kept. Anything deeper becomes null.
const DEPTH_MAX: usize = 16;

/// A line of a recording.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    exchange: &'a str,
    redelivered: bool,
    id: &'a str,
    #[serde(rename = "sent-at", skip_serializing_if = "Value::is_null")]
    sent_at: Value,
    headers: Map<String, Value>,
    properties: Map<String, Value>,
    body: &'a RawValue,
}

/// Reads a message. `number` is only carried along. `cut` says that the body was longer than what
/// is here. Cost: one pass over the body.
///
/// A message without an id gets one made of its topic, time and body. Fields that change when the
/// broker delivers it again are not used.
pub(super) fn entry(delivery: &Delivery, number: u64, cut: Option<Cut>) -> Entry {
    let topic = delivery.routing_key.as_str();
    let headers = delivery.properties.headers().as_ref().map(|h| object(h, 0)).unwrap_or_default();
    let sent_at = match (headers.get("sent-at"), delivery.properties.timestamp()) {
        (Some(text), _) => text.clone(),
        (None, Some(seconds)) => Value::from(*seconds),
        (None, None) => Value::Null,
    };
    let digest = || {
        let mut hasher = blake3::Hasher::new();
        for part in [topic.as_bytes(), sent_at.to_string().as_bytes()] {
            hasher.update(part).update(&[0]);
        }
        let body = cut.map_or_else(|| blake3::hash(&delivery.data), |cut| cut.digest);
        hasher.update(body.as_bytes()).finalize()
    };
    let unreadable = |reason: String| {
        let (raw, length) = (delivery.data.clone(), delivery.data.len() as u64);
        Entry::Unreadable(Unreadable { id: derived_id(&digest()), line: number, reason, raw, length })
    };
    let length = cut.map_or(delivery.data.len() as u64, |cut| cut.length);
    if length > MAX_MESSAGE as u64 {
        return Entry::overlong(&delivery.data, number, length, &digest());
    }
    if topic.is_empty() {
        return unreadable("no routing key, so nothing says what it is about".to_owned());
    }
    let encoding = || delivery.properties.content_encoding().as_ref().map_or("none", |e| e.as_str());
    let text = match std::str::from_utf8(&delivery.data) {
        Ok(text) => text,
        Err(e) => {
            return unreadable(format!(
                "topic {topic}: the body is not UTF-8 ({e}); its encoding is said to be {}",
                encoding()
            ));
        }
    };
    let body: &RawValue = match serde_json::from_str(text) {
        Ok(body) => body,
        Err(e) => return unreadable(format!("topic {topic}: the body is not JSON: {e}")),
    };
    let id = match delivery.properties.message_id().as_ref().map(|id| id.as_str()) {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => derived_id(&digest()),
    };
    let line = Line {
        topic,
        exchange: delivery.exchange.as_str(),
        redelivered: delivery.redelivered,
        id: &id,
        sent_at: sent_at.clone(),
        properties: properties(delivery),
        headers,
        body,
    };
    let mut raw = match serde_json::to_vec(&line) {
        Ok(raw) => raw,
        Err(e) => return unreadable(format!("topic {topic}: cannot be written as a line: {e}")),
    };
    // JSON allows line ends only between tokens, never inside strings, so each one can become a
    // space.
    for byte in &mut raw {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    if raw.len() > MAX_MESSAGE {
        return Entry::overlong(&raw, number, raw.len() as u64, &digest());
    }
    let sent_at = time(&line.sent_at);
    Entry::Message(Message { id, topic: topic.to_owned(), sent_at, seen_at: None, raw, line: number })
}

/// Returns the properties that are set, by their AMQP names. The id and the headers have fields of
/// their own.
fn properties(delivery: &Delivery) -> Map<String, Value> {
    let p = &delivery.properties;
    let texts = [
        ("content_type", p.content_type()),
        ("content_encoding", p.content_encoding()),
        ("correlation_id", p.correlation_id()),
        ("reply_to", p.reply_to()),
        ("expiration", p.expiration()),
        ("type", p.kind()),
        ("user_id", p.user_id()),
        ("app_id", p.app_id()),
        ("cluster_id", p.cluster_id()),
    ];
    let numbers = [
        ("delivery_mode", p.delivery_mode().map(u64::from)),
        ("priority", p.priority().map(u64::from)),
        ("timestamp", *p.timestamp()),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text.as_ref()?.as_str()))));
    let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, Value::from(number?))));
    texts.chain(numbers).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn object(from: &FieldTable, depth: usize) -> Map<String, Value> {
    from.into_iter().map(|(key, value)| (key.as_str().to_owned(), json(value, depth))).collect()
}

/// Converts a value to JSON. Bytes that are not UTF-8 are decoded lossily. Numbers that JSON cannot
/// hold become null.
fn json(from: &AMQPValue, depth: usize) -> Value {
    match from {
        AMQPValue::Boolean(truth) => Value::from(*truth),
        AMQPValue::ShortShortInt(n) => Value::from(*n),
        AMQPValue::ShortShortUInt(n) => Value::from(*n),
        AMQPValue::ShortInt(n) => Value::from(*n),
        AMQPValue::ShortUInt(n) => Value::from(*n),
        AMQPValue::LongInt(n) => Value::from(*n),
        AMQPValue::LongUInt(n) => Value::from(*n),
        AMQPValue::LongLongInt(n) => Value::from(*n),
        AMQPValue::Timestamp(n) => Value::from(*n),
        AMQPValue::Float(n) => Number::from_f64(f64::from(*n)).map_or(Value::Null, Value::Number),
        AMQPValue::Double(n) => Number::from_f64(*n).map_or(Value::Null, Value::Number),
        AMQPValue::DecimalValue(d) => {
            let number = f64::from(d.value) / 10_f64.powi(i32::from(d.scale));
            Number::from_f64(number).map_or(Value::Null, Value::Number)
        }
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => Value::from(text.to_string()),
        AMQPValue::ByteArray(bytes) => Value::from(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth >= DEPTH_MAX => Value::Null,
        AMQPValue::FieldArray(list) => list.as_slice().iter().map(|value| json(value, depth + 1)).collect(),
        AMQPValue::FieldTable(inner) => Value::Object(object(inner, depth + 1)),
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use rstest::rstest;

    use super::*;
    use crate::model::Timestamp;

    fn delivery(topic: &str, body: &[u8]) -> Delivery {
        Delivery::mock(1, "amq.topic".into(), topic.into(), false, body.to_vec())
    }

    fn message(delivery: &Delivery) -> Message {
        match entry(delivery, 3, None) {
            Entry::Message(message) => message,
            Entry::Unreadable(u) => panic!("{}", u.reason),
        }
    }

    fn reason(delivery: &Delivery) -> String {
        match entry(delivery, 3, None) {
            Entry::Message(message) => panic!("{message:?} was accepted"),
            Entry::Unreadable(u) => u.reason,
        }
    }

    #[test]
    fn a_line_is_what_a_recording_has_and_reads_the_same() {
        let mut headers = FieldTable::default();
        headers.insert("sent-at".into(), AMQPValue::LongString("2026-11-20T08:44:11+00:00".into()));
        headers.insert("severity".into(), AMQPValue::LongInt(20));
        headers.insert("rpm".into(), AMQPValue::Boolean(true));
        let mut delivery = delivery("x.buildsys.tag", b"{\n \"tag\" : \"f99\",\r\n\t\"n\": 1.0000000000000000001}");
        delivery.redelivered = true;
        delivery.properties = BasicProperties::default()
            .with_message_id("id".into())
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_priority(1);
        let message = message(&delivery);
        let text = std::str::from_utf8(&message.raw).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"topic":"x.buildsys.tag","exchange":"amq.topic","redelivered":true,"id":"id","#,
                r#""sent-at":"2026-11-20T08:44:11+00:00","#,
                r#""headers":{"rpm":true,"sent-at":"2026-11-20T08:44:11+00:00","severity":20},"#,
                r#""properties":{"content_type":"application/json","delivery_mode":2,"priority":1},"#,
                "\"body\":{  \"tag\" : \"f99\",  \t\"n\": 1.0000000000000000001}}"
            )
        );
        assert_eq!(message.sent_at, Some(Timestamp::from_secs(1_795_164_251)));
        assert_eq!(Entry::parse(message.raw.clone(), 3), Entry::Message(message));
    }

    #[test]
    fn without_an_id_the_content_is_one() {
        let first = delivery("t", b"{}");
        let mut again = delivery("t", b"{}");
        again.redelivered = true;
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongInt(1));
        again.properties = again.properties.with_headers(headers).with_message_id("".into());
        let id = message(&first).id;
        assert!(id.starts_with("line:"), "{id}");
        assert_eq!(id, message(&again).id);
        assert_ne!(id, message(&delivery("u", b"{}")).id);
        assert_ne!(id, message(&delivery("t", b"[]")).id);
        let mut later = delivery("t", b"{}");
        later.properties = later.properties.with_timestamp(5);
        assert_ne!(id, message(&later).id);
        assert_eq!(message(&later).sent_at, Some(Timestamp::from_secs(5)));
    }

    #[rstest]
    #[case(b"\xff{}", "topic t: the body is not UTF-8")]
    #[case(b"", "topic t: the body is not JSON")]
    #[case(b"hello", "topic t: the body is not JSON")]
    #[case(b"{} {}", "topic t: the body is not JSON")]
    fn others_are_set_aside_as_they_are(#[case] body: &[u8], #[case] expected: &str) {
        let reason = reason(&delivery("t", body));
        assert!(reason.starts_with(expected), "{reason}");
        let Entry::Unreadable(u) = entry(&delivery("t", body), 3, None) else { panic!() };
        assert_eq!((u.raw.as_slice(), u.line), (body, 3));
    }

    #[test]
    fn bounds_hold() {
        assert!(reason(&delivery("", b"{}")).contains("no routing key"));
        let long = format!("\"{}\"", "x".repeat(MAX_MESSAGE));
        let Entry::Unreadable(u) = entry(&delivery("t", long.as_bytes()), 3, None) else { panic!() };
        assert_eq!((u.raw.len(), u.length), (crate::message::entry::KEPT_OF_OVERLONG, long.len() as u64));
        let whole = blake3::hash(long.as_bytes());
        let cut = Some(Cut { length: long.len() as u64, digest: whole });
        assert_eq!(entry(&delivery("t", &long.as_bytes()[..1024]), 3, cut), Entry::Unreadable(u), "cut before or now");
        // The body alone fits, but not together with the rest of the line.
        let long = format!("\"{}\"", "x".repeat(MAX_MESSAGE - 10));
        assert!(matches!(entry(&delivery("t", long.as_bytes()), 3, None), Entry::Unreadable(_)));
        let mut deep = AMQPValue::Boolean(true);
        for _ in 0..40 {
            deep = AMQPValue::FieldArray(vec![deep].into());
        }
        let mut headers = FieldTable::default();
        headers.insert("deep".into(), deep);
        let mut delivery = delivery("t", &[b"[".repeat(100_000), b"]".repeat(100_000)].concat());
        delivery.properties = delivery.properties.with_headers(headers);
        message(&delivery);
    }
}
