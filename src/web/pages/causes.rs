//! `/causes`: the updates that break packages now. `/cause/ID`: one of them.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::Response;
use maud::{Markup, html};

use crate::decide::causes::{BrokenNow, CauseKind, FailedBuild, OpenCause, Updated};
use crate::event::CausesFound;
use crate::model::Timestamp;
use crate::model::counted::and_more;
use crate::model::nearest::did_you_mean;
use crate::view::text::percent;
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
/// Largest number of packages on the page of a cause.
const PACKAGES_MAX: usize = 5_000;
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
        site.look(move |view| {
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

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&[])?;
        let (id, json) = (path?.0, asked.json);
        site.look(move |view| {
            let found = view.causes().iter().find(|c| c.id == id);
            let found = found.ok_or_else(|| {
                let what = format!(
                    "no open cause has the name `{}`; `koschei cause {}` tells from the log if it is over",
                    short(&id),
                    short(&id)
                );
                Refusal::NotFound(what, vec![("What breaks packages now".to_owned(), "/causes".to_owned())])
            })?;
            let content = match json {
                true => Content::json(found),
                false => Content::Html { title: found.known_by.clone(), body: one(view, found) },
            };
            Ok((AsOf::of(view), content))
        })
        .await
    })
    .await
}

fn one(view: &View, c: &OpenCause) -> Markup {
    let state = |name: &str| {
        let of = view.state.collections.get(&c.collection)?;
        Some(of.packages.get(name)?.state(of.settings.track_all))
    };
    let of = view.state.collections.get_key_value(&c.collection).filter(|_| c.kind == CauseKind::Build);
    let failed = of.map(|(name, of)| view.failed(name, of)).unwrap_or_default();
    let packages = || c.packages.iter().filter(|p| p.name.as_str() != CausesFound::GROUP);
    html! {
        h1 { (parts::text(&c.known_by)) }
        p.lead {
            @match c.kind {
                CauseKind::Resolution => "It makes dependencies not installable.",
                CauseKind::Build => "It is held to make builds fail.",
                CauseKind::Group => "It makes the buildroot not installable, so nothing can be built.",
                CauseKind::Target => "Nothing can be built.",
            }
        }
        @if !c.what.is_empty() { p { (parts::text(&crate::view::text::capitalised(&c.what))) "." } }
        dl {
            dt { "Collection" } dd { a href=(links::collection(&c.collection)) { (c.collection) } }
            @if c.update.source.is_some() || c.update.was.is_some() { dt { "Update" } dd { (updated(&c.update)) } }
            @if !c.together.is_empty() {
                dt { "Or" }
                dd {
                    @for (at, other) in c.together.iter().enumerate() {
                        @if at > 0 { ", " }
                        a href=(links::update(other)) { (parts::text(other)) }
                    }
                    ": they came with it into the same buildroots, and nothing tells them apart"
                }
            }
            @if let Some(repo) = c.repo { dt { "Came with repository" } dd { (repo) } }
            @if let Some((seq, at)) = c.since.zip(c.since_time) {
                dt { "Known since" } dd { (parts::time(at)) " (" (parts::event(seq)) ")" }
            }
        }
        @if packages().next().is_some() {
            h2 { "Packages it breaks (" (packages().count()) ")" }
            div.scroll { table {
                (parts::column_heads(&[
                    ("", "Package"), ("", "State"), ("n", "Share"), ("minor", "Since"), ("minor", "Event"),
                    ("", "Because"),
                ]))
                tbody { @for p in packages().take(PACKAGES_MAX) { tr {
                    th scope="row" { a href=(links::package(&c.collection, &p.name)) { (p.name) } }
                    td { @if let Some(state) = state(&p.name) { (parts::state(state)) } }
                    td.n { (percent(p.share)) }
                    td.minor { @if let Some(at) = p.since_time { (parts::time(at)) } }
                    td.minor { @if let Some(seq) = p.since { (parts::event(seq)) } }
                    td.why { (parts::text(&because(&failed, c, &p.name))) }
                } } }
            } }
        }
        p { code { "koschei cause " (c.id) } " also shows the packages that it does not break any more, from the log." }
    }
}

/// Returns what speaks for the update in the newest failed build of a package.
fn because(failed: &[FailedBuild], c: &OpenCause, package: &str) -> String {
    let newest = failed.iter().rfind(|f| f.package == package);
    let suspect = newest.and_then(|f| f.suspects.iter().find(|s| (&s.update, s.repo) == (&c.update, c.repo)));
    suspect.map_or_else(String::new, |s| s.evidence.join("; "))
}
