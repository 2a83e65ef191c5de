//! `/event/SEQ`: an event as it is stored, its causes and its consequences.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::Response;
use maud::{Markup, html};

use crate::event::{Record, cloudevents};
use crate::log::{EventLog, trail};
use crate::model::Seq;
use crate::model::counted::and_more;
use crate::view::text::one_line;
use crate::web::params::EventQuery;
use crate::web::parts::AsOf;
use crate::web::refusal::Refusal;
use crate::web::reply::{Asked, Content, reply};
use crate::web::{Site, events, links, params, parts};

/// Largest number of causes that are followed.
const CAUSES_MAX: usize = 32;
/// Number of later events that are searched for consequences before a reader has to ask for more.
/// Nearly all consequences follow soon.
const FOLLOWED_WITHIN: u64 = 20_000;
/// Number of events that are read at a time for that.
const FOLLOWED_PAGE: usize = 1_000;
/// Largest number of consequences on one page.
const FOLLOWED_SHOWN: usize = 200;
/// Longest payload that is part of the page, in stored bytes. A longer payload is shown on request.
const PAYLOAD_BYTES: usize = 8 << 10;
/// Longest value in a row, in characters.
const CELL: usize = 400;
/// Largest number of items of a list in a row.
const ITEMS: usize = 8;
pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&["after", "content"])?;
        let query = query?.0;
        let (further, whole) = (query.after()?, query.content()?);
        let seq = params::sequence(&path?.0)?;
        let status = site.follower.status();
        let as_of = AsOf { seq: status.seq, at: status.recorded_at };
        let Some(record) = trail::event(&site.log, seq).await? else {
            let end = status.head.map_or(0, Seq::get);
            return Err(Refusal::not_found(format!("there is no event {seq}; the log ends at {end}")));
        };
        if asked.json {
            return Ok((as_of, Content::Json(cloudevents::to_json(&record))));
        }
        let causes = causes(&site, &record).await?;
        let followed = followed(&site, seq, further.filter(|f| *f > seq)).await?;
        Ok((as_of, Content::Html { title: format!("Event {seq}"), body: body(&record, &causes, &followed, whole) }))
    })
    .await
}

/// The consequences of an event.
struct Followed {
    /// Oldest first.
    events: Vec<Record>,
    /// Only later events than this one were searched.
    after: Option<Seq>,
    /// The search ended at this event. `None` means at the end of the log.
    up_to: Option<Seq>,
}

/// Returns the events that an event caused. Searches the log after it, within the limit of a page.
async fn followed(site: &Site, seq: Seq, after: Option<Seq>) -> Result<Followed, Refusal> {
    let mut found = Followed { events: Vec::new(), after, up_to: None };
    let mut at = after.unwrap_or(seq);
    let end = at.get().saturating_add(FOLLOWED_WITHIN);
    loop {
        let page = site.log.read(Some(at), FOLLOWED_PAGE).await.map_err(crate::log::LogError::from)?;
        let Some(last) = page.last().map(|r| r.seq) else { return Ok(found) };
        for record in page.into_iter().filter(|r| r.causation == Some(seq)) {
            if found.events.len() == FOLLOWED_SHOWN {
                found.up_to = found.events.last().map(|r| r.seq);
                return Ok(found);
            }
            found.events.push(record);
        }
        at = last;
        if at.get() >= end {
            found.up_to = Some(at);
            return Ok(found);
        }
    }
}

/// Returns the causes of an event, nearest first.
async fn causes(site: &Site, record: &Record) -> Result<Vec<Record>, Refusal> {
    let mut causes: Vec<Record> = Vec::new();
    let mut next = record.causation;
    while let Some(seq) = next.filter(|_| causes.len() < CAUSES_MAX) {
        let Some(cause) = trail::event(&site.log, seq).await? else { break };
        // A cause is always older; anything else would be a circle.
        next = cause.causation.filter(|c| *c < cause.seq);
        causes.push(cause);
    }
    Ok(causes)
}

fn body(r: &Record, causes: &[Record], followed: &Followed, whole: bool) -> Markup {
    html! {
        h1 { "Event " (r.seq) }
        p.lead { (events::words(r)) }
        @if let Some((href, text)) = about(r) { p { a href=(href) { (text) } } }
        (table(r))
        h2 { "Why" }
        @if causes.is_empty() { p { "It has no cause in the log." } }
        @else { ol { @for cause in causes { li { (parts::event(cause.seq)) " " (events::words(cause)) } } } }
        h2 #followed { "What followed from it" }
        @if let Some(after) = followed.after { p { "After event " (after) ":" } }
        @if followed.events.is_empty() { p { @match followed.up_to {
            Some(up_to) => { "Nothing up to event " (up_to) "." }
            None => "Nothing.",
        } } }
        @else { ul { @for c in &followed.events { li { (parts::event(c.seq)) " " (events::words(c)) } } } }
        @if let Some(up_to) = followed.up_to {
            p {
                a href={ (links::with_query(&links::event(r.seq), &[("after", &up_to.to_string())])) "#followed" } {
                    "What followed after event " (up_to)
                }
            }
        }
        h2 #content { "Content" }
        @if whole || r.payload.len() <= PAYLOAD_BYTES {
            details open[whole] {
                summary { "As it is stored, " (r.payload.len()) " bytes" } pre { (payload(&r.payload)) }
            }
        } @else {
            p {
                a href={ (links::with_query(&links::event(r.seq), &[("content", "all")])) "#content" } {
                    "As it is stored, " (r.payload.len()) " bytes"
                }
            }
        }
        p { a href=(links::with_query(&links::event(r.seq), &[("json", "1")])) { "As a CloudEvent" } }
        nav.pager aria-label="Events" {
            @if let Some(before) = Seq::new(r.seq.get() - 1) {
                a href=(links::event(before)) rel="prev" { "Event " (before) }
            }
            a href=(links::event(r.seq.next())) rel="next" { "Event " (r.seq.next()) }
        }
    }
}

/// Makes a table of the values of an event, one row each.
fn table(r: &Record) -> Markup {
    let content = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&r.payload).unwrap_or_default();
    html! { table.facts {
        caption.hidden { "What the event says" }
        tbody {
            tr { th scope="row" { "Kind" } td { (r.kind) ", version " (r.version) } }
            tr { th scope="row" { "About" } td { (parts::text(&r.subject)) } }
            tr { th scope="row" { "Happened" } td { (r.occurred_at) } }
            tr { th scope="row" { "Recorded" } td { (r.recorded_at) } }
            tr { th scope="row" { "Known from" } td { (r.source) } }
            @if let Some(event) = r.koji_event { tr { th scope="row" { "Koji event" } td { (event) } } }
            @for (name, value) in &content { @if let Some(value) = cell(value) {
                tr { th scope="row" { (parts::text(&name.replace('_', " "))) } td { (parts::text(&value)) } }
            } }
            @if let Some(seq) = r.correlation { tr { th scope="row" { "First cause" } td { (parts::event(seq)) } } }
            @if let Some(fact) = r.fact { tr { th scope="row" { "Identity" } td { code { (fact) } } } }
            tr { th scope="row" { "Hash" } td { code { (r.hash) } } }
        }
    } }
}

/// Formats a value for a row. Scalars are shown whole. Of lists and tables, the first items and
/// their number are shown. Returns `None` for a missing value.
fn cell(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    let flat = |v: &Value| match v {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(match value {
        Value::Null => return None,
        Value::String(text) => one_line(text, CELL),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let shown: Vec<String> = items.iter().take(ITEMS).map(flat).collect();
            one_line(&shown.join(", "), CELL) + &and_more(items.len(), ITEMS)
        }
        Value::Object(members) => {
            let shown: Vec<String> = members.iter().take(ITEMS).map(|(n, v)| format!("{n}: {}", flat(v))).collect();
            one_line(&shown.join(", "), CELL) + &and_more(members.len(), ITEMS)
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(n) => n.to_string(),
    })
}

/// Formats the payload for people. A payload that is not JSON stays as it is.
fn payload(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| text.to_owned())
}

/// Returns the page about the subject of the event.
fn about(r: &Record) -> Option<(String, String)> {
    let rest = r.subject.strip_prefix("collection/")?;
    Some(match rest.split_once('/') {
        Some((collection, package)) => (links::package(collection, package), format!("{package} in {collection}")),
        None => (links::collection(rest), rest.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn values_are_one_line_and_say_what_is_left_out() {
        let cell = |text: &str| cell(&serde_json::from_str(text).unwrap());
        assert_eq!(cell("null"), None);
        assert_eq!(cell("\"a\\nb\"").unwrap(), "a b");
        assert_eq!(cell("[]").unwrap(), "none");
        assert_eq!(cell("[1,2,3,4,5,6,7,8,9,10]").unwrap(), "1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
        assert_eq!(cell("{\"name\":\"curl\"}").unwrap(), "name: curl");
        assert_eq!(payload("{\"a\":1}"), "{\n  \"a\": 1\n}");
    }
}
