//! What goes to Fedora Messaging.

use serde_json::{Value, json};

use super::examples;
use super::parts::{Message, Parts, capitalised};
use crate::announce::{TOPICS, koschei_messages, richer, schema};

/// Name of the server.
pub(super) const SERVER: &str = "fedoraMessaging";

/// Says when the message of a topic is sent: topic, title, text.
const WHEN: [(&str, &str, &str); 10] = [
    (
        koschei_messages::PACKAGE,
        "State of a package, as the original Koschei said it",
        "Sent when a package has had another state for `hold_back_secs`. Its class is in the Python package \
         `koschei-messages`.",
    ),
    (
        koschei_messages::COLLECTION,
        "State of a buildroot, as the original Koschei said it",
        "Sent when the buildroot of a collection has had another state for `hold_back_secs`. Its class is in the \
         Python package `koschei-messages`.",
    ),
    (
        richer::CAUSE_OPENED,
        "A cause was found",
        "Sent when an update, or something that vanished, is found to break several packages, and they stay broken for \
         `hold_back_secs`.",
    ),
    (richer::CAUSE_GREW, "A cause breaks more packages", "Sent when a cause that was told breaks many more packages."),
    (richer::CAUSE_CLOSED, "A cause is over", "Sent when a cause that was told breaks nothing any more."),
    (
        richer::PACKAGE_CHANGED,
        "State of a package",
        "Sent when a package has had another state for `hold_back_secs`, unless a message about a cause names \
         the package.",
    ),
    (
        richer::BUILDROOT_CHANGED,
        "State of a buildroot",
        "Sent when the buildroot of a collection has had another state for `hold_back_secs`.",
    ),
    (richer::REBUILD_DECIDED, "A rebuild was decided", "Sent when Koschei decided to rebuild a package."),
    (richer::REBUILD_SUBMITTED, "A rebuild became a task", "Sent when a rebuild became a task of a hub."),
    (
        richer::REBUILD_ENDED,
        "A rebuild ended",
        "Sent when a rebuild ended, or when it is certain that it never begins.",
    ),
];

/// Describes a channel for each topic.
pub(super) fn describe(parts: &mut Parts) {
    let schemas = schema::of_topics().into_iter().chain(koschei_messages::schemas());
    for (topic, schema) in schemas {
        parts.schema(topic, schema);
    }
    parts.schemas.insert(HEADERS.to_owned(), headers());
    let examples = examples::announced();
    for topic in TOPICS {
        let (_, title, when) = WHEN.iter().find(|(of, ..)| *of == topic).expect("every topic has a text");
        let said = examples.iter().filter(|example| example.topic == topic);
        let said: Vec<(Value, Value)> = said.map(|said| (json(&said.headers), json(&said.body))).collect();
        let message = Message { name: topic.to_owned(), object: message(topic, (title, when), &said) };
        let about = json!({
            "title": title,
            "address": format!("{{prefix}}.{topic}"),
            "description": "The address is the routing key. With an empty prefix it has no dot at its beginning.",
            "servers": [{ "$ref": format!("#/servers/{SERVER}") }],
            "parameters": { "prefix": {
                "description": "`topic_prefix` of the configuration.",
                "default": "org.fedoraproject.prod",
                "examples": ["org.fedoraproject.prod", "org.fedoraproject.stg"],
            } },
            "bindings": { "amqp": {
                "is": "routingKey",
                // The exchange belongs to the broker. Its administrator made it.
                "exchange": { "name": "amq.topic", "type": "topic", "durable": true, "autoDelete": false },
                "bindingVersion": "0.3.0",
            } },
        });
        let operation = json!({
            "title": title,
            "description": when,
            "bindings": { "amqp": { "deliveryMode": 2, "mandatory": true, "bindingVersion": "0.3.0" } },
        });
        parts.sends(&channel(topic), about, operation, vec![message]);
    }
}

/// Returns the name of a topic's channel: `koschei.cause.opened.v1` gives `causeOpenedV1`.
fn channel(topic: &str) -> String {
    let mut words = topic.split('.').skip(1);
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &capitalised(word))
}

/// Returns a topic's message, given its title and when it is sent, and examples: headers and body.
fn message(topic: &str, (title, when): (&str, &str), said: &[(Value, Value)]) -> Value {
    let (headers, _) = said.first().expect("every topic has an example");
    // Every message of a topic has these headers with the same values.
    let same = ["fedora_messaging_schema", "fedora_messaging_schema_package", "fedora_messaging_severity"];
    let same = same.into_iter().map(|name| (name.to_owned(), json!({ "const": headers[name] })));
    let same: serde_json::Map<String, Value> = same.collect();
    let examples = said.iter().map(|(headers, body)| json!({ "headers": headers, "payload": body }));
    json!({
        "name": topic,
        "title": title,
        "summary": when,
        "description": format!(
            "{when} It is stored with its event and sent until the broker has confirmed it, each time with the same \
             `message_id`: drop a message whose id you know."
        ),
        "headers": {
            "type": "object",
            "allOf": [{ "$ref": format!("#/components/schemas/{HEADERS}") }],
            "properties": same,
        },
        "payload": { "$ref": format!("#/components/schemas/{topic}") },
        "bindings": { "amqp": { "contentEncoding": "utf-8", "bindingVersion": "0.3.0" } },
        "examples": examples.collect::<Value>(),
    })
}

/// Name of the schema of all headers.
const HEADERS: &str = "FedoraMessagingHeaders";

/// Returns the schema of the headers. The envelope is that of `fedora-messaging` 3.9.
fn headers() -> Value {
    json!({
        "title": HEADERS,
        "description": "Headers that the library `fedora-messaging` reads.",
        "type": "object",
        "properties": {
            "fedora_messaging_schema": {
                "description": "Name of the message's class among the entry points. It is the topic.",
                "type": "string",
            },
            "fedora_messaging_schema_package": {
                "description": "The Python package that has the class.",
                "type": "string",
            },
            "fedora_messaging_severity": {
                "description": "10: debug, 20: info, 30: warning.",
                "type": "integer",
                "enum": [10, 20, 30],
            },
            "priority": { "description": "Always 0.", "type": "integer", "const": 0 },
            "sent-at": {
                "description": "Time at which the event was recorded, in UTC, in whole seconds.",
                "type": "string",
                "format": "date-time",
            },
        },
        "patternProperties": {
            "^fedora_messaging_rpm_": { "description": "The message is about this package.", "const": true },
            "^fedora_messaging_user_": { "description": "This user owns a package of it.", "const": true },
        },
        "required": [
            "fedora_messaging_schema",
            "fedora_messaging_schema_package",
            "fedora_messaging_severity",
            "priority",
            "sent-at",
        ],
    })
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("a message is JSON")
}
