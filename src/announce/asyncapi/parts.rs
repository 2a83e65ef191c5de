//! The growing parts of the document: channels, operations, messages and schemas, by name.

use schemars::Schema;
use schemars::transform::{RecursiveTransform, RemoveRefSiblings, ReplacePrefixItems, Transform};
use serde_json::{Map, Value, json};

/// What was described so far.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) channels: Map<String, Value>,
    pub(super) operations: Map<String, Value>,
    pub(super) messages: Map<String, Value>,
    pub(super) schemas: Map<String, Value>,
}

/// A message of a channel.
pub(super) struct Message {
    /// Its name, which no other message has.
    pub(super) name: String,
    /// What it is, as an AsyncAPI message object.
    pub(super) object: Value,
}

impl Parts {
    /// Adds a schema under a name, and each definition inside it under the definition's own name.
    /// Returns a reference to the schema.
    ///
    /// Our schemas are of the draft 2020-12. AsyncAPI's own dialect is that of draft 07, which
    /// ignores what stands beside a `$ref` and writes tuples differently.
    pub(super) fn schema(&mut self, name: &str, mut schema: Schema) -> Value {
        RemoveRefSiblings::default().transform(&mut schema);
        ReplacePrefixItems::default().transform(&mut schema);
        RecursiveTransform(lead_to_components).transform(&mut schema);
        // Both say where and how to resolve references, and that is different here.
        schema.remove("$id");
        schema.remove("$schema");
        if let Some(Value::Object(definitions)) = schema.remove("$defs") {
            for (name, definition) in definitions {
                self.put(name, definition);
            }
        }
        self.put(name.to_owned(), schema.to_value());
        json!({ "$ref": address(name) })
    }

    fn put(&mut self, name: String, schema: Value) {
        let known = self.schemas.get(&name).is_none_or(|known| *known == schema);
        assert!(known, "two types are named {name}: rename one, so that references say which is meant");
        self.schemas.insert(name, schema);
    }

    /// Adds a channel, its messages, and the operation that sends them, named `send` and the name of
    /// the channel.
    pub(super) fn sends(&mut self, channel: &str, about: Value, operation: Value, messages: Vec<Message>) {
        self.add("send", channel, about, operation, messages);
    }

    /// Like [`Parts::sends`], for messages that the service receives.
    pub(super) fn receives(&mut self, channel: &str, about: Value, operation: Value, messages: Vec<Message>) {
        self.add("receive", channel, about, operation, messages);
    }

    fn add(&mut self, action: &str, channel: &str, mut about: Value, mut operation: Value, messages: Vec<Message>) {
        let mut refs = Map::new();
        let mut sent = Vec::new();
        for Message { name, object } in messages {
            refs.insert(name.clone(), json!({ "$ref": format!("#/components/messages/{name}") }));
            sent.push(json!({ "$ref": format!("#/channels/{channel}/messages/{name}") }));
            self.messages.insert(name, object);
        }
        about["messages"] = refs.into();
        operation["action"] = action.into();
        operation["channel"] = json!({ "$ref": format!("#/channels/{channel}") });
        operation["messages"] = sent.into();
        self.channels.insert(channel.to_owned(), about);
        self.operations.insert(format!("{action}{}", capitalised(channel)), operation);
    }
}

fn address(schema: &str) -> String {
    format!("#/components/schemas/{schema}")
}

fn lead_to_components(schema: &mut Schema) {
    if let Some(Value::String(reference)) = schema.get_mut("$ref")
        && let Some(name) = reference.strip_prefix("#/$defs/")
    {
        *reference = address(name);
    }
}

/// Returns a word with its first letter in upper case.
pub(super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(value: Value) -> Schema {
        value.try_into().unwrap()
    }

    #[test]
    fn definitions_stay_resolvable() {
        let mut parts = Parts::default();
        let one = json!({
            "$id": "https://example.org/one", "$schema": "https://json-schema.org/draft/2020-12/schema",
            "properties": { "a": { "$ref": "#/$defs/A", "description": "an A" } },
            "$defs": { "A": { "type": "array", "prefixItems": [{ "$ref": "#/$defs/B" }] }, "B": { "type": "null" } },
        });
        assert_eq!(parts.schema("one.v1", schema(one)), json!({ "$ref": "#/components/schemas/one.v1" }));
        let wanted = json!({
            "A": { "type": "array", "items": [{ "$ref": "#/components/schemas/B" }] },
            "B": { "type": "null" },
            "one.v1": {
                "properties": { "a": { "allOf": [{ "$ref": "#/components/schemas/A" }], "description": "an A" } },
            },
        });
        assert_eq!(Value::Object(parts.schemas), wanted);
    }

    #[test]
    #[should_panic(expected = "two types are named B")]
    fn a_name_means_one_type() {
        let mut parts = Parts::default();
        parts.schema("one", schema(json!({ "$defs": { "B": { "type": "null" } } })));
        parts.schema("two", schema(json!({ "$defs": { "B": { "type": "string" } } })));
    }
}
