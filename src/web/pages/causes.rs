//! `/causes`: the updates that break packages now.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::Response;
use maud::{Markup, html};

use crate::decide::causes::{BrokenNow, CauseKind, OpenCause, Updated};
use crate::event::CausesFound;
use crate::model::Timestamp;
use crate::model::counted::and_more;
use crate::model::nearest::did_you_mean;
use crate::web::params::CausesQuery;
use crate::web::parts::AsOf;
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{Site, links, parts};

/// Largest number of causes on the list. Each breaks at least one package.
const CAUSES_MAX: usize = 1_000;
/// Number of names before `and N more`.
const NAMES: usize = 6;
/// What counts as lately, in seconds: since yesterday.
const LATELY: i64 = 24 * 3600;

pub(super) async fn list(
    State(site): State<Site>,
    asked: Asked,
    query: Result<Query<CausesQuery>, QueryRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&["collection"])?;
        let collection = query?.0.collection;
        let json = asked.json;
        site.look_as_of(&asked, move |view| {
            if let Some(wanted) = collection.as_deref().filter(|c| !view.state.collections.contains_key(*c)) {
                let known = view.state.collections.keys().map(crate::model::Name::as_str);
                let hint = did_you_mean(wanted, known);
                return Err(Refusal::not_found(format!("there is no collection `{}`{hint}", short(wanted))));
            }
            let wanted = |c: &&OpenCause| collection.as_deref().is_none_or(|wanted| wanted == c.collection);
            let found: Vec<&OpenCause> = view.causes().iter().filter(wanted).take(CAUSES_MAX).collect();
            let content = match json {
                true => Content::json(&found),
                false => Content::Html { title: "Causes".to_owned(), body: all(view, found) },
            };
            Ok((AsOf::of(view), content))
        })
        .await
    })
    .await
}

fn all(view: &View, found: Vec<&OpenCause>) -> Markup {
    html! {
        h1 { "What breaks packages" }
        (table(view.state.recorded_at, found, usize::MAX))
        p { "An update is listed while a package is broken by it. " code { "koschei causes --all" } " also lists \
            those that are over, from the log." }
    }
}

/// Shows causes in a table: those that broke packages lately first, each group by its number of
/// packages.
pub(super) fn table(now: Timestamp, mut found: Vec<&OpenCause>, limit: usize) -> Markup {
    let lately = |c: &OpenCause| c.packages.iter().filter(|p| is_new(p, now)).count();
    found.sort_by_cached_key(|c| std::cmp::Reverse((lately(c), c.packages.len(), c.since)));
    let more = found.len().saturating_sub(limit);
    html! {
        @if found.is_empty() { p { "No update is known to break anything now." } }
        @else { div.scroll { table {
            (parts::column_heads(&[
                ("update", "Update"), ("", "Breaks"), ("n", "Packages"), ("n", "Last day"), ("minor", "Since"),
                ("minor", "Collection"), ("n minor", "Repository"),
            ]))
            tbody { @for c in found.iter().take(limit) { tr {
                th.update scope="row" { (head(c)) }
                td.why { (kind(c.kind)) span.minor { (names(c)) } }
                td.n { @if is_everything(c) { "all" } @else { (c.packages.len()) } }
                td.n { @match lately(c) { 0 => "", n => { b { (n) } } } }
                td.minor { @if let Some(at) = c.since_time { (parts::time(at)) } }
                td.minor { (c.collection) }
                td.n.minor { @if let Some(repo) = c.repo { (repo) } }
            } } }
        } } }
        @if more > 0 { p { "And " (more) " more: " a href="/causes" { "all causes" } "." } }
    }
}

fn is_new(p: &BrokenNow, now: Timestamp) -> bool {
    p.since_time.is_some_and(|at| now < at.plus_secs(LATELY))
}

/// Checks whether a cause breaks the buildroot, and so all packages.
fn is_everything(c: &OpenCause) -> bool {
    c.packages.iter().any(|p| p.name.as_str() == CausesFound::GROUP)
}

/// Shows the update, or what is gone, with a link to the page of the cause.
fn head(c: &OpenCause) -> Markup {
    html! {
        a href=(links::cause(&c.id)) { (parts::text(&c.known_by)) }
        @for other in &c.together { " or " (parts::text(other)) }
        @if let (Some(_), Some(was)) = (&c.update.source, &c.update.was) { br; small { "was " (parts::text(was)) } }
    }
}

/// Shows an update with a link to its page.
pub(super) fn updated(u: &Updated) -> Markup {
    html! {
        @match (&u.source, &u.was) {
            (Some(source), was) => {
                a href=(links::update(source)) { (parts::text(source)) }
                @if let Some(was) = was { br; small { "was " (parts::text(was)) } }
            }
            (None, Some(was)) => { (parts::text(was)) ", which is gone" }
            (None, None) => "no update",
        }
    }
}

fn kind(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Resolution => "dependencies",
        CauseKind::Build => "builds",
        CauseKind::Group => "the buildroot",
        CauseKind::Target => "the target",
    }
}

fn names(c: &OpenCause) -> Markup {
    let shown = c.packages.iter().filter(|p| p.name.as_str() != CausesFound::GROUP).take(NAMES);
    html! {
        @for (at, p) in shown.enumerate() {
            @if at > 0 { ", " } @else { " of " }
            a href=(links::package(&c.collection, &p.name)) { (p.name) }
        }
        (and_more(c.packages.len(), NAMES))
    }
}
