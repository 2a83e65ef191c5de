//! `/event/SEQ`: an event as it is stored, what caused it and what it caused; and tables of events for other pages.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::reply::{AsOf, Asked, Content, Refusal, reply};
use super::{Site, links, params, parts, trail};
use crate::cli::history::describe;
use crate::cli::render::one_line;
use crate::event::{Record, cloudevents};
use crate::log::EventLog;
use crate::model::Seq;

/// Causes followed.
const CAUSES_MAX: usize = 32;
/// Events after one that are looked through for what it caused: those of the same commit follow at once.
const CONSEQUENCES_WITHIN: usize = 500;
/// Consequences shown.
const CONSEQUENCES_SHOWN: usize = 50;
/// Longest payload shown whole, bytes of what is stored; longer ones are cut, and to be had as JSON.
const PAYLOAD_BYTES: usize = 256 << 10;
/// Causes described in a table of events; further ones are linked only.
const DESCRIBED: usize = 10;
/// Longest description in a table, characters.
const DESCRIPTION: usize = 200;

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
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
        let after = site.log.read(Some(seq), CONSEQUENCES_WITHIN).await.map_err(crate::engine::EngineError::from)?;
        let caused: Vec<&Record> = after.iter().filter(|r| r.causation == Some(seq)).collect();
        Ok((as_of, Content::Html { title: format!("Event {seq}"), body: body(&record, &causes, &caused) }))
    })
    .await
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

fn body(r: &Record, causes: &[Record], caused: &[&Record]) -> Markup {
    html! {
        h1 { "Event " (r.seq) }
        p.lead { (words(r, DESCRIPTION)) }
        @if let Some((href, text)) = about(r) { p { a href=(href) { (text) } } }
        dl {
            dt { "Kind" } dd { (r.kind) ", version " (r.version) }
            dt { "About" } dd { (parts::text(&r.subject)) }
            dt { "Happened" } dd { (r.occurred_at) }
            dt { "Recorded" } dd { (r.recorded_at) }
            dt { "Known from" } dd { (r.source) }
            @if let Some(event) = r.koji_event { dt { "Koji event" } dd { (event) } }
            @if let Some(fact) = r.fact { dt { "Identity" } dd { code { (fact) } } }
            @if let Some(seq) = r.correlation { dt { "First cause" } dd { (parts::event(seq)) } }
            dt { "Hash" } dd { code { (r.hash) } }
        }
        h2 { "Why" }
        @if causes.is_empty() { p { "It has no cause in the log." } }
        @else { ol { @for cause in causes { li { (parts::event(cause.seq)) " " (words(cause, DESCRIPTION)) } } } }
        h2 { "What followed from it" }
        @if caused.is_empty() { p { "Nothing among the next " (CONSEQUENCES_WITHIN) " events." } }
        @else {
            ul { @for c in caused.iter().take(CONSEQUENCES_SHOWN) { li { (parts::event(c.seq)) " " (words(c, DESCRIPTION)) } } }
            @if caused.len() > CONSEQUENCES_SHOWN { p { "And " (caused.len() - CONSEQUENCES_SHOWN) " more." } }
        }
        h2 { "Content" }
        pre { (payload(&r.payload)) }
        p { a href=(links::with_query(&links::event(r.seq), &[("json", "1")])) { "As a CloudEvent" } }
        nav.pager aria-label="Events" {
            @if let Some(before) = Seq::new(r.seq.get() - 1) { a href=(links::event(before)) rel="prev" { "Event " (before) } }
            a href=(links::event(r.seq.next())) rel="next" { "Event " (r.seq.next()) }
        }
    }
}

/// The payload for people; cut where it is very long.
fn payload(text: &str) -> String {
    if text.len() > PAYLOAD_BYTES {
        let mut end = PAYLOAD_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let left = text.len() - end;
        return format!("{}… ({left} bytes more)", text.get(..end).unwrap_or_default());
    }
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

/// A table of events, newest first, each with its cause. More than `shown` records mean that there are older ones; `older` gives their
/// address.
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
                thead { tr { th scope="col" { "Event" } th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Because of" } } }
                tbody { @for r in rows { tr {
                    td { (parts::event(r.seq)) }
                    td { (parts::time(r.occurred_at)) }
                    td.why { (known.get(&r.seq).map(String::as_str).unwrap_or_default()) }
                    td.why { @if let Some(cause) = r.causation { (parts::event(cause)) " " (causes.get(&cause).map(String::as_str).unwrap_or_default()) } }
                } } }
            } }
            @if let (true, Some(last)) = (records.len() > shown, rows.last()) {
                nav.pager aria-label="Events" { a href={ (older(&last.seq.to_string())) "#trail" } rel="next" { "Older events" } }
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
    fn a_long_payload_is_cut_between_characters() {
        let text = "é".repeat(PAYLOAD_BYTES);
        let shown = payload(&text);
        assert!(shown.ends_with("bytes more)") && shown.len() < text.len());
        assert_eq!(payload("{\"a\":1}"), "{\n  \"a\": 1\n}");
    }
}
