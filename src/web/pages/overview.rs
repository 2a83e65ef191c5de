//! `/`: collections, what broke or was repaired lately, what runs.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use maud::{Markup, html};

use super::causes;
use crate::fold::Collection;
use crate::model::{Name, PackageState};
use crate::view::package::{STATES, rank};
use crate::web::api::status;
use crate::web::parts::AsOf;
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::{Change, View};
use crate::web::{KojiLinks, Site, links, parts, running};

/// Largest number of state changes that are shown.
const CHANGES: usize = 25;
/// Largest number of causes that are shown.
const CAUSES: usize = 12;
/// Largest number of kinds of oddities that are shown.
const ANOMALIES: usize = 20;

pub(super) async fn show(State(site): State<Site>, asked: Asked) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&[])?;
        if asked.json {
            return site.look_as_of(&asked, |view| Ok((AsOf::of(view), status::collections(view)))).await;
        }
        let koji = site.koji.clone();
        let (as_of, body) = site.look_as_of(&asked, move |view| Ok((AsOf::of(view), body(view, &koji)))).await?;
        Ok((as_of, Content::Html { title: "Overview".to_owned(), body }))
    })
    .await
}

fn body(view: &View, koji: &KojiLinks) -> Markup {
    let (count, table) = running::table(view, None, koji);
    html! {
        h1 { "Overview" }
        @if let Some(because) = &view.state.paused {
            p.notice { "Nothing is submitted: all submissions are paused, because: " (parts::text(because)) }
        }
        @if view.policy.passive {
            p.notice { "Nothing is submitted: the service is passive. It decides rebuilds, and closes them at once." }
        }
        (collections(view, koji))
        h2 { "What breaks packages" }
        (causes::table(view.state.recorded_at, view.causes().iter().collect(), CAUSES))
        h2 { "Broken or repaired lately" }
        (changes(view.changes.iter().take(CHANGES)))
        h2 { "Running rebuilds (" (count) ")" }
        (table)
        @if view.state.hubs.values().any(|h| h.reconciled_through.is_some()) {
            h2 { "Hubs" }
            div.scroll { table {
                (parts::column_heads(&[("", "Hub"), ("n", "Compared with the log up to Koji event")]))
                tbody { @for (name, hub) in &view.state.hubs { tr {
                    th scope="row" { (name) }
                    td.n { @match hub.reconciled_through { Some(event) => (event), None => "not yet" } }
                } } }
            } }
        }
        @if !view.state.anomalies.is_empty() {
            h2 { "Oddities" }
            p { "Events that did not fit the known state. They were counted and otherwise ignored:" }
            ul { @for (what, n) in view.state.anomalies.iter().take(ANOMALIES) { li { (what) ": " (n) } } }
        }
    }
}

fn collections(view: &View, koji: &KojiLinks) -> Markup {
    if view.state.collections.is_empty() {
        return html! { p { "There is no collection yet." } };
    }
    html! {
        div.scroll { table {
            caption.hidden { "Collections" }
            thead { tr {
                th scope="col" { "Collection" } th scope="col" { "Buildroot" }
                @for state in STATES { th.n.minor[!needs_looking(state)] scope="col" { (parts::state(state)) } }
                th.n.minor scope="col" { "Newest repo" }
                th.n.minor scope="col" { "Resolved" }
                th.n.minor scope="col" { "Running" }
            } }
            tbody { @for (name, c) in &view.state.collections { (row(view, (name, c), koji)) } }
        } }
    }
}

fn row(view: &View, (name, c): (&Name, &Collection), koji: &KojiLinks) -> Markup {
    let counts = view.counts(name);
    let limit = c.settings.max_builds.map_or_else(String::new, |max| format!(" of {max}"));
    let mut resolved: Vec<i64> = c.arches.values().filter_map(|a| Some(a.repo_id?.0)).collect();
    resolved.sort_unstable();
    resolved.dedup();
    html! {
        tr {
            th scope="row" {
                a href=(links::collection(name)) { (name) }
                @if c.settings.display_name != name.as_str() { br; small { (parts::text(&c.settings.display_name)) } }
            }
            td {
                (parts::buildroot(c.buildroot()))
                @if c.target_gone { br; small.warn { "target gone" } }
                @if !c.tags_gone.is_empty() { br; small.warn { "tags gone" } }
                @if c.paused.is_some() { br; small.warn { "paused" } }
            }
            @for state in STATES { td.n.minor[!needs_looking(state)] {
                @match counts[rank(state)] {
                    0 => "0",
                    n => a href=(links::with_query("/packages", &[("collection", name), ("state", state.as_str())])) {
                        (n)
                    },
                }
            } }
            td.n.minor { @match c.newest_repo {
                Some(repo) => (parts::maybe_link(koji.repo(&c.settings.hub, repo), repo)),
                None => "none",
            } }
            td.n.minor {
                @match resolved[..] {
                    [] => "none",
                    _ => (resolved.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
                }
                @if c.stale.is_some() { br; small.warn { "stale" } }
            }
            td.n.minor { (c.running) (limit) }
        }
    }
}

/// Checks whether a state gets a column on a narrow screen.
fn needs_looking(state: PackageState) -> bool {
    matches!(state, PackageState::Failing | PackageState::Unresolved)
}

fn changes<'a>(changes: impl Iterator<Item = &'a Change>) -> Markup {
    let mut changes = changes.peekable();
    html! {
        @if changes.peek().is_none() { p { "Nothing yet." } }
        @else { div.scroll { table {
            (parts::column_heads(&[
                ("minor", "When"), ("", "Package"), ("minor", "Collection"), ("", "State"), ("", "Why"),
                ("minor", "Event"),
            ]))
            tbody { @for c in changes { tr {
                td.minor { (parts::time(c.at)) }
                th scope="row" { a href=(links::package(&c.what.collection, &c.what.package)) { (c.what.package) } }
                td.minor { (c.what.collection) }
                td { (moved(c.what.old, c.what.new)) }
                td.why { (parts::text(&crate::view::text::one_line(&c.what.reason, 240))) }
                td.minor { (parts::event(c.seq)) }
            } } }
        } } }
    }
}

/// Shows a change from one state to another.
fn moved(old: Option<PackageState>, new: PackageState) -> Markup {
    html! { @if let Some(old) = old { (parts::state(old)) " → " } (parts::state(new)) }
}
