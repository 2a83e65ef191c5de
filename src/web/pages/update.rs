//! `/update/NVR`: what an update broke, over all collections.

use axum::body::Body;
use axum::extract::State;
use axum::extract::{Path, rejection::PathRejection};
use axum::http::Response;
use maud::{Markup, html};

use super::causes;
use crate::model::Nvr;
use crate::model::counted::and_more;
use crate::web::effects::{Effect, effect};
use crate::web::parts::AsOf;
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{Site, links, parts};

/// Largest number of packages that are named.
const NAMES: usize = 200;

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&[])?;
        let (nvr, json) = (path?.0, asked.json);
        site.look_as_of(&asked, move |view| {
            let Some(parsed) = Nvr::parse(&nvr) else {
                let what = format!("`{}` is no name-version-release of a source package", short(&nvr));
                return Err(Refusal::BadRequest(what));
            };
            let found = view.state.collections.iter().filter_map(|c| effect(view, c, &nvr, &parsed));
            let found: Vec<Effect<'_>> = found.collect();
            if found.is_empty() {
                let what = format!("no repository that is remembered brought {} into buildroots", short(&nvr));
                let near = vec![("What breaks packages now".to_owned(), "/causes".to_owned())];
                return Err(Refusal::NotFound(what, near));
            }
            let content = match json {
                true => Content::json(&found),
                false => Content::Html { title: nvr.clone(), body: body(view, &nvr, &found) },
            };
            Ok((AsOf::of(view), content))
        })
        .await
    })
    .await
}

fn body(view: &View, nvr: &str, found: &[Effect<'_>]) -> Markup {
    html! {
        h1 { "What " (parts::text(nvr)) " broke" }
        @for e in found {
            h2 { "In " a href=(links::collection(e.collection)) { (e.collection) } }
            @if !e.repos.is_empty() {
                p { "It came into buildroots with repository "
                    (e.repos.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")) "." }
            }
            @if !e.causes.is_empty() { (causes::table(view.state.recorded_at, e.causes.clone(), usize::MAX)) }
            @else { p { "Nothing is known to be broken by it now." } }
            @if e.passed + e.failed.len() > 0 {
                p { "Of the packages that had it in a buildroot for the first time since their last good build, "
                    (e.passed) " passed last time and " (e.failed.len()) " failed. A failure may have another cause." }
            }
            @if !e.failed.is_empty() {
                p {
                    "Failed: "
                    @for (at, name) in e.failed.iter().take(NAMES).enumerate() {
                        @if at > 0 { ", " }
                        a href=(links::package(e.collection, name)) { (name) }
                    }
                    (and_more(e.failed.len(), NAMES))
                }
            }
        }
    }
}
