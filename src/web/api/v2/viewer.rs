//! `/api/v2`: the description of the API as a page. It asks no other address and has no scripts.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::openapi::{parameters, written};
use super::operation::{Described, Topic};
use super::{OPERATIONS, VERSION};
use crate::web::Site;
use crate::web::parts::{self, AsOf};
use crate::web::reply::{Asked, Content, reply};

pub(in crate::web) async fn show(State(site): State<Site>, mut asked: Asked) -> Response<Body> {
    asked.json = false;
    reply(&site, &asked, async {
        asked.only(&[])?;
        let status = site.follower.status();
        let as_of = AsOf { seq: status.seq, at: status.recorded_at };
        let document: Value = serde_json::from_str(written()).unwrap_or_default();
        Ok((as_of, Content::Html { title: "API".to_owned(), body: body(&document) }))
    })
    .await
}

fn body(document: &Value) -> Markup {
    let types = document["components"]["schemas"].as_object();
    html! {
        h1 { "API" }
        p.lead {
            "Version " (VERSION) ". For programs: " a href="/api/v2/openapi.json" { "/api/v2/openapi.json" }
            " (OpenAPI 3.1)."
        }
        @let about = document["info"]["description"].as_str().unwrap_or_default();
        @for paragraph in about.split("\n\n") { p { (prose(paragraph)) } }
        @for topic in Topic::ALL {
            h2 { (topic.as_str()) }
            @for o in OPERATIONS.iter().filter(|o| o.topic == topic) { (operation(o, document)) }
        }
        h2 { "Problems" }
        p { "A request without an answer gets a problem by RFC 9457. Its type is one of these:" }
        dl {
            dt #bad-request { "bad-request" } dd { "The request is not understood; it says what is valid." }
            dt #forbidden { "forbidden" } dd { "You may not do that; it says who may." }
            dt #not-found { "not-found" } dd { "The thing does not exist." }
            dt #unavailable { "unavailable" }
            dd { "There is no answer now; the header Retry-After says when to ask again." }
            dt #broken { "broken" } dd { "A fault of the service; its journal has the details." }
        }
        h2 { "Types" }
        @for (name, schema) in types.into_iter().flatten() { (type_of(name, schema)) }
    }
}

fn operation(o: &Described, document: &Value) -> Markup {
    let responses = &document["paths"][o.address]["get"]["responses"]["200"]["content"];
    html! {
        h3 id=(o.id) { code { "GET " (o.address) } }
        p { strong { (o.summary) "." } " " (prose(o.about)) }
        p { small { "Permitted to: " (o.permission.as_str()) "." } }
        @let all = parameters(o);
        @if !all.is_empty() { div.scroll { table {
            (parts::column_heads(&[("", "Parameter"), ("", "Type"), ("", "What it is")]))
            tbody { @for p in &all { tr {
                th scope="row" { code { (p["name"].as_str().unwrap_or_default()) } }
                td { (kind(&p["schema"])) @if p["in"] == "path" { ", in the address" } }
                td.why { (prose(p["description"].as_str().unwrap_or_default())) (limits(&p["schema"])) }
            } } }
        } } }
        p { "Answers " @for (at, (media, content)) in responses.as_object().into_iter().flatten().enumerate() {
            @if at > 0 { ", or as " }
            @if at == 0 { (kind(last(&content["schema"]))) " as " }
            code { (media) }
        } "." }
    }
}

/// Shows what stands between backticks as code.
fn prose(text: &str) -> Markup {
    html! { @for (at, piece) in text.split('`').enumerate() {
        @if at % 2 == 1 { code { (piece) } } @else { (piece) }
    } }
}

/// Returns the type of an answer apart from its moment.
fn last(schema: &Value) -> &Value {
    schema["allOf"].as_array().and_then(|all| all.last()).unwrap_or(schema)
}

fn type_of(name: &str, schema: &Value) -> Markup {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let members = schema["properties"].as_object();
    html! {
        h3 id={ "type-" (name) } { (name) }
        @if let Some(text) = schema["description"].as_str() { p { (prose(text)) } }
        @if let Some(members) = members { div.scroll { table {
            (parts::column_heads(&[("", "Member"), ("", "Type"), ("", "What it is")]))
            tbody { @for (member, of) in members { tr {
                th scope="row" { code { (member) } }
                td { (kind(of)) @if !required.contains(&member.as_str()) { ", or absent" } }
                td.why { (prose(of["description"].as_str().unwrap_or_default())) }
            } } }
        } } } @else { p { (kind(schema)) (limits(schema)) } }
    }
}

/// Names a type, with a link if it is described on the page.
fn kind(schema: &Value) -> Markup {
    let of_many = |all: &[Value]| {
        html! { @for (at, one) in all.iter().enumerate() {
            @if at > 0 { " or " } (kind(one))
        } }
    };
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return html! { a href={ "#type-" (name) } { (name) } };
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(all) = schema[key].as_array() {
            return of_many(all);
        }
    }
    if let Some(constant) = schema.get("const") {
        return html! { code { (constant) } };
    }
    match &schema["type"] {
        Value::String(word) if word == "array" => html! { "list of " (kind(&schema["items"])) },
        Value::String(word) if word == "object" && schema["additionalProperties"].is_object() => {
            html! { "table of " (kind(&schema["additionalProperties"])) }
        }
        Value::String(word) => html! { (word) },
        Value::Array(words) => {
            html! { (words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")) }
        }
        _ => html! { "any" },
    }
}

/// Says what values are valid, if not all are.
fn limits(schema: &Value) -> Markup {
    let words = |values: &Value| {
        let all: Vec<String> = values.as_array().into_iter().flatten().map(Value::to_string).collect();
        all.join(", ").replace('"', "")
    };
    html! {
        @if schema["enum"].is_array() { " One of: " (words(&schema["enum"])) "." }
        @if let (Some(least), Some(most)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            " From " (least) " to " (most) "."
        }
        @if schema["examples"].is_array() { " For example: " (words(&schema["examples"])) "." }
    }
}
