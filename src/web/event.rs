//! `/event/SEQ`: an event as it is stored, what caused it and what it caused; and tables of events for other pages.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::params::EventQuery;
use super::reply::{AsOf, Asked, Content, Refusal, reply};
use super::{Site, links, params, parts};
use crate::event::{Record, cloudevents};
use crate::log::{EventLog, trail};
use crate::model::Seq;
use crate::model::counted::and_more;
use crate::view::event::describe;
use crate::view::text::one_line;

/// Causes followed.
const CAUSES_MAX: usize = 32;
/// Events after one that are looked through for what it caused before one has to ask for more: nearly all of it follows
/// soon.
const FOLLOWED_WITHIN: u64 = 20_000;
/// Events read at a time for that.
const FOLLOWED_PAGE: usize = 1_000;
/// Consequences on one page.
const FOLLOWED_SHOWN: usize = 200;
/// Longest payload that comes with the page, bytes of what is stored; a longer one comes when it is asked for.
const PAYLOAD_BYTES: usize = 8 << 10;
/// Longest value in a row, characters.
const CELL: usize = 400;
/// Items of a list in a row.
const ITEMS: usize = 8;
/// Causes described in a table of events; further ones are linked only.
const DESCRIBED: usize = 10;
/// Longest description in a table, characters.
const DESCRIPTION: usize = 200;

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

/// What an event caused.
struct Followed {
    /// Oldest first.
    events: Vec<Record>,
    /// Looked for after this one only.
    after: Option<Seq>,
    /// Looked for up to this one; `None`: to the end of the log.
    up_to: Option<Seq>,
}

/// The events whose cause an event is. Looks through the log from it on, as far as a page may.
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

/// The causes of an event, nearest first.
async fn causes(site: &Site, record: &Record) -> Result<Vec<Record>, Refusal> {
    let mut causes: Vec<Record> = Vec::new();
    let mut next = record.causation;
    while let Some(seq) = next.filter(|_| causes.len() < CAUSES_MAX) {
        let Some(cause) = trail::event(&site.log, seq).await? else { break };
        // Causes are older; anything else would be a circle.
        next = cause.causation.filter(|c| *c < cause.seq);
        causes.push(cause);
    }
    Ok(causes)
}

fn body(r: &Record, causes: &[Record], followed: &Followed, whole: bool) -> Markup {
    html! {
        h1 { "Event " (r.seq) }
        p.lead { (words(r, DESCRIPTION)) }
        @if let Some((href, text)) = about(r) { p { a href=(href) { (text) } } }
        (table(r))
        h2 { "Why" }
        @if causes.is_empty() { p { "It has no cause in the log." } }
        @else { ol { @for cause in causes { li { (parts::event(cause.seq)) " " (words(cause, DESCRIPTION)) } } } }
        h2 #followed { "What followed from it" }
        @if let Some(after) = followed.after { p { "After event " (after) ":" } }
        @if followed.events.is_empty() { p { @match followed.up_to {
            Some(up_to) => { "Nothing up to event " (up_to) "." }
            None => "Nothing.",
        } } }
        @else { ul { @for c in &followed.events { li { (parts::event(c.seq)) " " (words(c, DESCRIPTION)) } } } }
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

/// What the event says and what is known of it, a row each.
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

/// A value in a row: scalars whole, of lists and tables the beginning and how many there are. `None`: there is none.
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

/// The payload for people; as it stands where it is no JSON.
fn payload(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| text.to_owned())
}

/// What is said of a resolution, without the thousands of packages its event can name.
#[derive(Deserialize)]
struct Resolution {
    collection: String,
    repo_id: i64,
    arch: String,
    resolved: u32,
    unresolved: u32,
    #[serde(default)]
    packages: Vec<IgnoredAny>,
}

/// An event in a few words; its kind, if this program cannot read it.
fn words(r: &Record, max: usize) -> String {
    if r.kind == "repo_resolved"
        && let Ok(e) = serde_json::from_str::<Resolution>(&r.payload)
    {
        let news = e.packages.len();
        let text = format!(
            "{} {} on {}: {} resolve, {} do not, {news} news",
            e.collection, e.repo_id, e.arch, e.resolved, e.unresolved
        );
        return one_line(&text, max);
    }
    r.decode().map_or_else(|_| r.kind.clone(), |e| one_line(&describe(&e.event), max))
}

/// An event and what it says, in a few words; `None` when it cannot be read now.
pub(super) async fn described(site: &Site, seq: Seq) -> Option<(Seq, String)> {
    let record = trail::event(&site.log, seq).await.ok().flatten()?;
    Some((seq, words(&record, DESCRIPTION)))
}

/// The page about what the event is about.
fn about(r: &Record) -> Option<(String, String)> {
    let rest = r.subject.strip_prefix("collection/")?;
    Some(match rest.split_once('/') {
        Some((collection, package)) => (links::package(collection, package), format!("{package} in {collection}")),
        None => (links::collection(rest), rest.to_owned()),
    })
}

/// The last events about several subjects together, newest first.
pub(super) async fn newest(
    site: &Site,
    subjects: &[&str],
    before: Option<Seq>,
    limit: usize,
) -> Result<Vec<Record>, Refusal> {
    let mut all = Vec::new();
    for subject in subjects {
        all.extend(trail::newest(&site.log, subject, before, limit).await?);
    }
    all.sort_by_key(|r| std::cmp::Reverse(r.seq));
    all.truncate(limit);
    Ok(all)
}

/// A table of events, newest first, each with its cause. More than `shown` records mean that there are older ones;
/// `older` gives their address.
pub(super) async fn trail(site: &Site, records: &[Record], shown: usize, older: impl Fn(&str) -> String) -> Markup {
    let rows = &records[..records.len().min(shown)];
    let known: BTreeMap<Seq, String> = rows.iter().map(|r| (r.seq, words(r, DESCRIPTION))).collect();
    let mut causes: BTreeMap<Seq, String> = BTreeMap::new();
    for cause in rows.iter().filter(|r| tells_more(r)).filter_map(|r| r.causation) {
        if causes.contains_key(&cause) || causes.len() == DESCRIBED {
            continue;
        }
        let described = match known.get(&cause) {
            Some(words) => words.clone(),
            // Without the words the link is still there.
            None => {
                trail::event(&site.log, cause).await.ok().flatten().map_or_else(String::new, |r| words(&r, DESCRIPTION))
            }
        };
        causes.insert(cause, described);
    }
    html! {
        @if rows.is_empty() { p { "No event is about it." } }
        @else {
            div.scroll { table {
                (parts::column_heads(&[("", "Event"), ("", "When"), ("", "What"), ("", "Because of")]))
                tbody { @for r in rows { tr {
                    td { (parts::event(r.seq)) }
                    td { (parts::time(r.occurred_at)) }
                    td.why { (known.get(&r.seq).map(String::as_str).unwrap_or_default()) }
                    td.why { @if let Some(cause) = r.causation {
                        (parts::event(cause)) " " (causes.get(&cause).map(String::as_str).unwrap_or_default())
                    } }
                } } }
            } }
            @if let (true, Some(last)) = (records.len() > shown, rows.last()) {
                nav.pager aria-label="Events" {
                    a href={ (older(&last.seq.to_string())) "#trail" } rel="next" { "Older events" }
                }
            }
        }
    }
}

/// Whether one wants to read at once what caused it.
fn tells_more(r: &Record) -> bool {
    ["package_state_changed", "package_reason_changed", "collection_state_changed", "rebuild_finished"]
        .contains(&r.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChainHash, Event, NewEvent, RepoResolved, Source};
    use crate::model::{Hub, RepoId, Timestamp};

    /// Said without reading the whole event, a resolution is called what it is called everywhere else.
    #[test]
    fn a_resolution_is_described_as_elsewhere() {
        let event: Event = RepoResolved {
            collection: "f99".into(),
            hub: Hub::new("primary"),
            repo_id: RepoId(7),
            arch: "x86_64".into(),
            of_packages: None,
            tracked: None,
            mode: "two".into(),
            solver: String::new(),
            inputs: String::new(),
            weak_deps: false,
            module_hotfixes: false,
            attachment: String::new(),
            resolved: 3,
            unresolved: 1,
            excluded: 0,
            unknown: 0,
            moves: Vec::new(),
            packages: Vec::new(),
            gone: Vec::new(),
            solver_mismatches: Vec::new(),
        }
        .into();
        let new = NewEvent {
            event: event.clone(),
            occurred_at: Timestamp::EPOCH,
            source: Source::Engine,
            fact: None,
            koji_event: None,
            causation: None,
            correlation: None,
        };
        let record = Record::new(Seq::FIRST, Timestamp::EPOCH, &new, ChainHash::GENESIS);
        assert_eq!(words(&record, DESCRIPTION), describe(&event));
    }

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
