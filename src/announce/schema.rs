//! Generates the JSON Schemas of our own messages from their types. The Python package
//! `koschei-messages-ng` has the same files; a test compares them.

use std::collections::BTreeMap;

use schemars::{Schema, schema_for};

use super::richer::{self, BuildrootBody, CauseBody, PackageBody};
use super::richer::{RebuildDecidedBody, RebuildEndedBody, RebuildSubmittedBody};

/// Returns the schema of each topic's body.
pub fn of_topics() -> Vec<(&'static str, Schema)> {
    let cause = || schema_for!(CauseBody);
    vec![
        (richer::CAUSE_OPENED, cause()),
        (richer::CAUSE_GREW, cause()),
        (richer::CAUSE_CLOSED, cause()),
        (richer::PACKAGE_CHANGED, schema_for!(PackageBody)),
        (richer::BUILDROOT_CHANGED, schema_for!(BuildrootBody)),
        (richer::REBUILD_DECIDED, schema_for!(RebuildDecidedBody)),
        (richer::REBUILD_SUBMITTED, schema_for!(RebuildSubmittedBody)),
        (richer::REBUILD_ENDED, schema_for!(RebuildEndedBody)),
    ]
}

/// Returns the schema of each topic's body as text, by file name (`TOPIC.schema.json`).
pub fn all() -> BTreeMap<String, String> {
    of_topics().into_iter().map(|(topic, schema)| (format!("{topic}.schema.json"), render(topic, schema))).collect()
}

fn render(topic: &str, mut schema: Schema) -> String {
    let id = format!("https://koschei.fedoraproject.org/schemas/{topic}.schema.json");
    schema.insert("$id".to_owned(), id.into());
    let mut text = serde_json::to_string_pretty(&schema).expect("schemas are JSON");
    text.push('\n');
    text
}
