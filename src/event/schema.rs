//! JSON Schemas of all stored kinds, generated from the types. The files in `schemas/` are diffed against this in a
//! test.

use std::collections::BTreeMap;

use super::kinds::{self, Kind};

/// File name (`KIND.vN.schema.json`) and content of the schema of every kind's newest version.
pub fn all() -> BTreeMap<String, String> {
    kinds::schemas().into_iter().map(|(kind, schema)| (file_name(kind), render(kind, &schema))).collect()
}

/// The file a kind's schema stands in.
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
