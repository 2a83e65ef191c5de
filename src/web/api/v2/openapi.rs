//! Describes the API as an OpenAPI 3.1 document, made from the operations and the types of their
//! answers. The file `schemas/openapi.json` is this document; a test compares them.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{Moment, PROBLEM, Problem};
use super::operation::{AsOfQuery, Described, Topic};
use super::{OPERATIONS, VERSION};

/// The members in the order in which a person reads them. Below them, names are sorted.
#[derive(Serialize)]
struct Document {
    openapi: &'static str,
    info: Value,
    servers: Value,
    tags: Value,
    security: Value,
    paths: Map<String, Value>,
    components: Value,
}

/// Returns the document, made once.
pub(super) fn written() -> &'static str {
    static WRITTEN: LazyLock<String> = LazyLock::new(document);
    &WRITTEN
}

/// Makes the document.
pub(in crate::web) fn document() -> String {
    let mut types = types();
    let moment = types.subschema_for::<Moment>();
    types.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        paths.insert(operation.address.to_owned(), json!({ "get": described(operation, &moment, &mut types) }));
    }
    let document = Document {
        openapi: "3.1.0",
        info: json!({
            "title": "Koschei",
            "version": VERSION,
            "description": "What Koschei knows of packages: which do not build, since when, and which update broke \
                them.\n\nEvery answer about a state says as of which event it is. It is the present one, unless \
                `as_of` says another. An `ETag` names an answer without its moment: send it back as \
                `If-None-Match`, and the same answer is not sent again.",
            "license": { "name": "MIT OR Apache-2.0" },
        }),
        servers: json!([{ "url": "/", "description": "This service." }]),
        tags: Topic::ALL.iter().map(|topic| json!({ "name": topic.as_str() })).collect(),
        security: json!([]),
        paths,
        components: json!({ "responses": responses(), "schemas": types.take_definitions(true) }),
    };
    let mut text = serde_json::to_string_pretty(&document).expect("it is made of JSON values");
    text.push('\n');
    text
}

/// Makes the generator for the types of answers.
fn types() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.into_generator()
}

/// Makes the generator for parameters. Each is described where it stands.
fn inline() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.into_generator()
}

fn described(o: &Described, moment: &Schema, types: &mut SchemaGenerator) -> Value {
    let answer = (o.answer)(types);
    let mut content = Map::new();
    match o.kinds {
        [] => {
            let at = json!({ "properties": { "as_of": moment }, "required": ["as_of"], "type": "object" });
            let whole = json!({ "allOf": [at, answer] });
            content.insert("application/json".to_owned(), json!({ "schema": whole }));
        }
        kinds => content.extend(kinds.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": answer })))),
    }
    let parameters = parameters(o);
    let mut answers = Map::new();
    answers.insert("200".to_owned(), json!({ "description": "The answer.", "content": content }));
    if o.kinds.is_empty() {
        answers.insert("304".to_owned(), response("NotModified"));
    }
    answers.insert("400".to_owned(), response("BadRequest"));
    if o.address.contains('{') || parameters.iter().any(|p| p["name"] == "collection" || p["name"] == "group") {
        answers.insert("404".to_owned(), response("NotFound"));
    }
    answers.insert("503".to_owned(), response("Unavailable"));
    json!({
        "operationId": o.id,
        "summary": o.summary,
        "description": o.about,
        "tags": [o.topic.as_str()],
        "parameters": parameters,
        "responses": answers,
        "x-permission": o.permission.as_str(),
    })
}

fn response(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

fn responses() -> Value {
    let problem = |description: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        json!({ "description": description, "content": { PROBLEM: { "schema": schema } } })
    };
    json!({
        "NotModified": { "description": "The answer is the one that `If-None-Match` names." },
        "BadRequest": problem("The request is not understood. The problem says what is valid."),
        "NotFound": problem("The thing does not exist."),
        "Unavailable": problem("There is no answer now, or too many ask. `Retry-After` says when to ask again."),
    })
}

/// Returns the parameters of an operation.
pub(super) fn parameters(o: &Described) -> Vec<Value> {
    let mut all = members(&(o.path)(&mut inline()), "path");
    all.extend(members(&(o.query)(&mut inline()), "query"));
    if o.as_of {
        all.extend(members(&inline().root_schema_for::<AsOfQuery>(), "query"));
    }
    all
}

/// Makes parameters of the members of a type.
fn members(of: &Schema, place: &str) -> Vec<Value> {
    let required: Vec<&str> =
        of.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = of.get("properties").and_then(Value::as_object);
    let one = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|members| members.remove("description"));
        // A parameter is left out, and never null.
        if let Some(kind) = schema.get_mut("type")
            && let Some(first) = kind.get(0)
        {
            *kind = first.clone();
        }
        schema.as_object_mut().map(|members| members.remove("default"));
        json!({
            "name": name,
            "in": place,
            "required": required.contains(&name.as_str()),
            "description": description.unwrap_or_default(),
            "schema": schema,
        })
    };
    properties.into_iter().flatten().map(one).collect()
}
