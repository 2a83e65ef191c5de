//! A message, in the envelope of `fedora-messaging` 3.9.
//!
//! Source: `Message._build_properties` of `fedora-messaging` (headers).

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::Timestamp;

/// A message to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Topic, without the prefix.
    pub topic: &'static str,
    /// Headers: a JSON object of texts, whole numbers, and true.
    pub headers: String,
    /// Body, as JSON.
    pub body: String,
}

/// What all messages of one class have in common.
pub(super) struct Class {
    /// The topic. Also the name of the class among the entry points.
    pub(super) topic: &'static str,
    /// The Python distribution that has the class, in the spelling of `fedora-messaging`.
    pub(super) package: &'static str,
    /// The class's severity.
    pub(super) severity: u8,
}

/// Severity of what only programs want to hear.
pub(super) const DEBUG: u8 = 10;
/// Severity of news.
pub(super) const INFO: u8 = 20;
/// Severity of what somebody may have to repair.
pub(super) const WARNING: u8 = 30;

/// Makes a message about packages, said at `at`.
pub(super) fn message<'a>(
    class: &Class,
    body: &impl Serialize,
    packages: impl IntoIterator<Item = &'a str>,
    at: Timestamp,
) -> Announced {
    let mut headers = Map::new();
    headers.insert("fedora_messaging_schema".to_owned(), class.topic.into());
    headers.insert("fedora_messaging_schema_package".to_owned(), class.package.into());
    headers.insert("fedora_messaging_severity".to_owned(), class.severity.into());
    headers.insert("priority".to_owned(), 0.into());
    headers.insert("sent-at".to_owned(), sent_at(at).into());
    for package in packages {
        headers.insert(format!("fedora_messaging_rpm_{package}"), true.into());
    }
    Announced {
        topic: class.topic,
        headers: Value::Object(headers).to_string(),
        body: serde_json::to_string(body).expect("a body holds only what JSON can say"),
    }
}

/// Returns a time as Python's `isoformat` writes one in UTC with whole seconds.
fn sent_at(at: Timestamp) -> String {
    let seconds = Timestamp::from_secs(at.micros().div_euclid(1_000_000)).to_string();
    format!("{}+00:00", seconds.trim_end_matches('Z'))
}
