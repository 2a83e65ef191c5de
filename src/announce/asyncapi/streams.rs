//! The log's events on NATS JetStream.

use std::collections::BTreeMap;

use schemars::Schema;
use serde_json::{Value, json};

use super::examples;
use super::parts::{Message, Parts};
use crate::event::{KINDS, Kind, cloudevents, schema};

/// Name of the server.
pub(super) const SERVER: &str = "natsJetStream";

const CLOUD_EVENT: &str = "CloudEvent";
const CLOUD_EVENTS_JSON: &str = "application/cloudevents+json";

/// Describes the stream of all events. `stored` are payloads, by kind and version.
pub(super) fn describe_events(parts: &mut Parts, stored: &BTreeMap<String, String>) {
    let envelope = parts.schema(CLOUD_EVENT, cloudevents::schema());
    let texts = schema::all();
    let messages = KINDS.iter().map(|kind| {
        let schema = read(&texts[&schema::file_name(*kind)]);
        let what = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        let data = parts.schema(&kind.to_string(), schema);
        let example = stored.get(&kind.to_string()).map(|payload| examples::cloud_event(*kind, payload));
        Message { name: kind.to_string(), object: event(*kind, &what, [&envelope, &data], example) }
    });
    let messages: Vec<Message> = messages.collect();
    let about = json!({
        "title": "Events of the log",
        "address": "koschei.events.{kind}.{place}.{name}",
        "description": "Every event of the log, in its order and once, in the stream `KOSCHEI_EVENTS` (`events_stream` \
            and `events_subject` of `[jetstream]`). In `place` and `name`, the characters `.`, `*`, `>`, `%`, white \
            space and control characters are written as `%2E` and so on.",
        "servers": [{ "$ref": format!("#/servers/{SERVER}") }],
        "parameters": {
            "kind": {
                "description": "Kind of the event, without its version.",
                "enum": KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>(),
            },
            "place": {
                "description": "The collection or the hub that it is about. `_` if it is about neither.",
                "examples": ["f99", "primary", "_"],
            },
            "name": {
                "description": "The package or other object that it is about. `_` if it is about none.",
                "examples": ["bash", "python3%2E13", "_"],
            },
        },
    });
    let operation = json!({
        "title": "Publish events",
        "description": "Sends each event once it is stored. The stream says which event it had last, so none is \
            missing and none comes twice.",
    });
    parts.sends("events", about, operation, messages);
}

fn event(kind: Kind, what: &str, [envelope, data]: [&Value; 2], example: Option<(Value, Value)>) -> Value {
    let mut paragraphs = what.split("\n\n").map(|lines| lines.replace('\n', " "));
    let summary = paragraphs.next();
    let mut message = json!({
        "name": kind.to_string(),
        "title": kind.name,
        "summary": summary,
        "contentType": CLOUD_EVENTS_JSON,
        "headers": {
            "type": "object",
            "properties": {
                "Nats-Msg-Id": {
                    "description": "The CloudEvent's `id`. The stream keeps each id once.",
                    "type": "string",
                },
                "content-type": { "description": "The whole event is in the payload.", "const": CLOUD_EVENTS_JSON },
                "Koschei-Log": { "description": "Id of the log.", "type": "string" },
                "Koschei-Sequence": { "description": "Number of the event in the log.", "type": "string" },
            },
            "required": ["Nats-Msg-Id", "content-type", "Koschei-Log", "Koschei-Sequence"],
        },
        "payload": {
            "type": "object",
            "allOf": [envelope],
            "properties": {
                "type": { "const": cloudevents::type_of(kind.name, kind.version) },
                "data": {
                    "description": "`null` if the event is larger than the server allows. The log has it.",
                    "anyOf": [data, { "type": "null" }],
                },
            },
        },
    });
    if paragraphs.next().is_some() {
        message["description"] = what.into();
    }
    if let Some((id, event)) = example {
        let headers = json!({
            "Nats-Msg-Id": id,
            "content-type": CLOUD_EVENTS_JSON,
            "Koschei-Log": "0123456789abcdef0123456789abcdef",
            "Koschei-Sequence": "1",
        });
        message["examples"] = json!([{ "headers": headers, "payload": event }]);
    }
    message
}

pub(super) fn read(text: &str) -> Schema {
    serde_json::from_str(text).expect("our schemas are JSON Schemas")
}
