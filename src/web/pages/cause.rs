//! `/cause/ID`: an update that breaks packages, or did.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Response;
use maud::{Markup, html};
use serde::Serialize;

use super::causes::updated;
use super::over::find;
use crate::decide::causes::{CauseKind, FailedBuild, OpenCause};
use crate::event::CausesFound;
use crate::log::trail;
use crate::view::text::percent;
use crate::web::parts::AsOf;
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{Site, links, parts};

/// Largest number of packages on the page.
const PACKAGES_MAX: usize = 5_000;

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&[])?;
        let (id, json) = (path?.0, asked.json);
        let wanted = id.clone();
        let (as_of, found) = site
            .look_as_of(&asked, move |view| {
                let found = view.causes().iter().find(|c| c.id == wanted);
                let found = found.map(|found| content(view, found, json, false));
                let found = found.ok_or_else(|| view.state.collections.keys().cloned().collect::<Vec<_>>());
                Ok((AsOf::of(view), found))
            })
            .await?;
        let collections = match found {
            Ok(content) => return Ok((as_of, content)),
            Err(collections) => collections,
        };
        let found = find(&site.log, &collections, &id, as_of.seq).await?.ok_or_else(|| {
            let what = format!(
                "the newest {} events of each collection name no cause `{}`; `koschei cause` reads the whole log",
                trail::EVENTS_MAX,
                short(&id)
            );
            Refusal::NotFound(what, vec![("What breaks packages now".to_owned(), "/causes".to_owned())])
        })?;
        let content = site.look_as_of(&asked, move |view| Ok(content(view, &found, json, true))).await?;
        Ok((as_of, content))
    })
    .await
}

/// A cause, and whether it is over.
#[derive(Serialize)]
struct CauseAnswer<'a> {
    #[serde(flatten)]
    cause: &'a OpenCause,
    state: &'static str,
}

fn content(view: &View, cause: &OpenCause, json: bool, is_over: bool) -> Content {
    match json {
        true => Content::json(&CauseAnswer { cause, state: if is_over { "over" } else { "open" } }),
        false => Content::Html { title: cause.known_by.clone(), body: body(view, cause, is_over) },
    }
}

/// Says what a cause is.
fn about(c: &OpenCause) -> Markup {
    html! {
        // It begins with the name of a package, which is written as it is.
        @if !c.what.is_empty() { p { (parts::text(&c.what)) "." } }
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
    }
}

fn body(view: &View, c: &OpenCause, is_over: bool) -> Markup {
    let state = |name: &str| {
        let of = view.state.collections.get(&c.collection)?;
        Some(of.packages.get(name)?.state(of.settings.track_all))
    };
    let of = view.state.collections.get_key_value(&c.collection).filter(|_| c.kind == CauseKind::Build && !is_over);
    let failed = of.map(|(name, of)| view.failed(name, of)).unwrap_or_default();
    let packages = || c.packages.iter().filter(|p| p.name.as_str() != CausesFound::GROUP);
    html! {
        h1 { (parts::text(&c.known_by)) }
        p.lead {
            @match c.kind {
                _ if is_over => "It is over: it breaks nothing any more.",
                CauseKind::Resolution => "It makes dependencies not installable.",
                CauseKind::Build => "It is held to make builds fail.",
                CauseKind::Group => "It makes the buildroot not installable, so nothing can be built.",
                CauseKind::Target => "Nothing can be built.",
            }
        }
        (about(c))
        @if packages().next().is_some() {
            h2 { "Packages it " @if is_over { "broke" } @else { "breaks" } " (" (packages().count()) ")" }
            div.scroll { table {
                (parts::column_heads(&[
                    ("", "Package"), ("", if is_over { "State now" } else { "State" }), ("n", "Share"),
                    ("minor", "Since"), ("minor", "Event"), ("", if is_over { "" } else { "Because" }),
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
        p {
            code { "koschei cause " (c.id) }
            @if is_over { " also says until when, from the whole log." }
            @else { " also shows the packages that it does not break any more, from the log." }
        }
    }
}

/// Returns what speaks for the update in the newest failed build of a package.
fn because(failed: &[FailedBuild], c: &OpenCause, package: &str) -> String {
    let newest = failed.iter().rfind(|f| f.package == package);
    let suspect = newest.and_then(|f| f.suspects.iter().find(|s| (&s.update, s.repo) == (&c.update, c.repo)));
    suspect.map_or_else(String::new, |s| s.evidence.join("; "))
}
