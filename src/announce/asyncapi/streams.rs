//! What goes to NATS JetStream: events of the log, and commands.

use std::collections::BTreeMap;

use schemars::Schema;
use serde_json::{Value, json};

use super::examples;
use super::parts::{Message, Parts};
use crate::decide::command;
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

/// Describes the commands that `follow` writes into a stream.
pub(super) fn describe_commands(parts: &mut Parts) {
    let messages = command::schemas().into_iter().map(|(file, text)| {
        let name = file.trim_end_matches(".schema.json").to_owned();
        let schema = read(&text);
        let what = schema.get("description").cloned().unwrap_or_default();
        let payload = parts.schema(&name, schema);
        let (title, example) = match name.as_str() {
            "command.rebuild.v1" => ("Rebuild a package", serde_json::to_value(examples::rebuild())),
            _ => ("Cancel a task", serde_json::to_value(examples::cancel())),
        };
        let example = example.expect("commands are JSON");
        let object = json!({
            "name": name,
            "title": title,
            "summary": what,
            "headers": {
                "type": "object",
                "properties": { "Nats-Msg-Id": {
                    "description": "The command's `id`. Carry out each id once.",
                    "type": "string",
                } },
                "required": ["Nats-Msg-Id"],
            },
            "payload": payload,
            "examples": [{ "headers": { "Nats-Msg-Id": example["id"] }, "payload": example }],
        });
        Message { name, object }
    });
    let messages: Vec<Message> = messages.collect();
    let about = json!({
        "title": "Commands",
        "address": "{subject}",
        "description": "Commands for executors, from `koschei follow`, which calls no hub. The stream is \
            `--commands-stream`. It remembers ids for a day at least.",
        "servers": [{ "$ref": format!("#/servers/{SERVER}") }],
        "parameters": { "subject": {
            "description": "`--commands-subject`.",
            "examples": ["koschei.commands"],
        } },
    });
    let operation = json!({
        "title": "Publish commands",
        "description": "Sends each command until the stream has it, each time with the same id.",
    });
    parts.sends("commands", about, operation, messages);
}

fn read(text: &str) -> Schema {
    serde_json::from_str(text).expect("our schemas are JSON Schemas")
}
