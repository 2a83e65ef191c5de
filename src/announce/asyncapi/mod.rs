//! Describes everything that the service puts on message buses, and the results that it takes from
//! them, as an AsyncAPI 3.0 document made from the types of the messages. The file
//! `schemas/asyncapi.json` is this document; a test compares them.
//!
//! The document says `send` for what the service sends, because it describes the service and not its
//! receivers.

mod examples;
mod executors;
mod parts;
mod streams;
mod topics;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use self::parts::Parts;

/// Version of the document. It changes with what subscribers see, not with each release.
const VERSION: &str = "1.0.0";

/// The members in the order in which a person reads them. Below them, names are sorted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    asyncapi: &'static str,
    id: &'static str,
    info: Value,
    default_content_type: &'static str,
    servers: Value,
    channels: Value,
    operations: Value,
    components: Value,
}

/// Returns the document. `stored` are payloads of events, as examples, by kind and version
/// (`tick.v1`). A kind that has none there gets a message without an example.
pub fn document(stored: &BTreeMap<String, String>) -> String {
    let mut parts = Parts::default();
    topics::describe(&mut parts);
    streams::describe_events(&mut parts, stored);
    executors::describe_commands(&mut parts);
    executors::describe_results(&mut parts);
    let document = Document {
        asyncapi: "3.0.0",
        id: "urn:org:fedoraproject:koschei",
        info: info(),
        default_content_type: "application/json",
        servers: servers(),
        channels: parts.channels.into(),
        operations: parts.operations.into(),
        components: json!({
            "messages": parts.messages,
            "schemas": parts.schemas,
            "securitySchemes": {
                "certificate": { "type": "X509", "description": "A client certificate, over TLS." },
                "password": { "type": "userPassword", "description": "A user and a password." },
            },
        }),
    };
    let mut text = serde_json::to_string_pretty(&document).expect("it is made of JSON values");
    text.push('\n');
    text
}

fn info() -> Value {
    json!({
        "title": "Koschei",
        "version": VERSION,
        "description": "What Koschei puts on message buses. Koschei watches a Koji hub and says which update broke \
            which package.\n\nOn Fedora Messaging, people and services hear of changes. On NATS JetStream, programs \
            get every event of the log, and executors get commands and say what became of \
            them.",
        "license": { "name": "MIT OR Apache-2.0" },
        "tags": [{ "name": "fedora" }, { "name": "koji" }, { "name": "koschei" }],
    })
}

fn servers() -> Value {
    let security = json!([
        { "$ref": "#/components/securitySchemes/certificate" },
        { "$ref": "#/components/securitySchemes/password" },
    ]);
    json!({
        (topics::SERVER): {
            "title": "Fedora Messaging",
            "description": "The broker of `[announce]` or `[bus]`. Each site has its own.",
            "host": "{broker}",
            "pathname": "/{vhost}",
            "protocol": "amqps",
            "protocolVersion": "0.9.1",
            "security": security,
            "variables": {
                "broker": {
                    "description": "Name of the broker, and its port if it is not the usual one.",
                    "default": "rabbitmq.fedoraproject.org",
                    "examples": ["rabbitmq.fedoraproject.org", "localhost:5671"],
                },
                "vhost": {
                    "description": "Virtual host, encoded as in an address.",
                    "default": "%2Fpubsub",
                    "examples": ["%2Fpubsub", "%2F"],
                },
            },
        },
        (streams::SERVER): {
            "title": "NATS JetStream",
            "description": "A NATS server with JetStream. Each site has its own.",
            "host": "{server}",
            "protocol": "nats",
            "security": security,
            "variables": {
                "server": {
                    "description": "Name and port of the server.",
                    "default": "localhost:4222",
                    "examples": ["localhost:4222"],
                },
            },
        },
    })
}
