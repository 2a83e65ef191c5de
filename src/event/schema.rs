//! Generates the JSON Schemas of all stored kinds from the types. A test compares the files in
//! `schemas/` with them.

use std::collections::BTreeMap;

use super::kinds::{self, Kind};

/// Returns the schema of every kind's newest version, by file name (`KIND.vN.schema.json`).
pub fn all() -> BTreeMap<String, String> {
    kinds::schemas().into_iter().map(|(kind, schema)| (file_name(kind), render(kind, &schema))).collect()
}

/// Returns the name of the file with a kind's schema.
pub fn file_name(kind: Kind) -> String {
    format!("{kind}.schema.json")
}

fn render(kind: Kind, schema: &schemars::Schema) -> String {
    let mut value = schema.clone();
    value.insert("$id".to_owned(), format!("https://koschei.fedoraproject.org/schemas/{}", file_name(kind)).into());
    let mut text = serde_json::to_string_pretty(&value).expect("schemas are JSON");
    text.push('\n');
    text
}
