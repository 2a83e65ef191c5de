//! `/update/NVR`: what an update broke, over all collections.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::extract::{Path, rejection::PathRejection};
use axum::http::Response;
use maud::{Markup, html};
use serde::Serialize;

use super::causes;
use crate::decide::causes::OpenCause;
use crate::fold::{Collection, ComparedBuild};
use crate::model::counted::and_more;
use crate::model::{Name, Nvr, RepoId, Seq};
use crate::web::parts::AsOf;
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{Site, links, parts};

/// Largest number of packages that are named.
const NAMES: usize = 200;

/// What happened to packages whose buildroots got an update.
#[derive(Debug, Serialize)]
pub(in crate::web) struct Effect<'a> {
    pub(in crate::web) collection: &'a Name,
    /// The repositories that brought it.
    pub(in crate::web) repos: Vec<RepoId>,
    /// Packages whose last build with it failed, with it for the first time, after a good one
    /// without it.
    pub(in crate::web) failed: Vec<&'a Name>,
    /// The number of packages that passed with it.
    pub(in crate::web) passed: usize,
    /// The open causes that are this update, or that nothing tells apart from it.
    pub(in crate::web) causes: Vec<&'a OpenCause>,
}

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

/// Returns what the update did in one collection. `None` if no repository brought it there.
pub(in crate::web) fn effect<'a>(
    view: &'a View,
    (name, c): (&'a Name, &'a Collection),
    nvr: &str,
    of: &Nvr,
) -> Option<Effect<'a>> {
    let version = format!("{}-{}", of.version, of.release);
    let came = c.history.arrivals.iter().filter(|a| a.source == of.name && a.new == version);
    let repos: Vec<RepoId> = came.map(|a| a.repo).collect();
    let is = |c: &&OpenCause| c.update.source.as_deref() == Some(nvr) || c.together.iter().any(|t| t == nvr);
    let causes: Vec<&OpenCause> = view.causes().iter().filter(|c| c.collection == *name).filter(is).collect();
    if repos.is_empty() && causes.is_empty() {
        return None;
    }
    let has = |b: &ComparedBuild| {
        b.changes.iter().any(|(at, _)| {
            let differing = c.history.differing.get_index(*at as usize);
            differing.is_some_and(|d| d.source == of.name && d.new.as_deref() == Some(version.as_str()))
        })
    };
    let mut ended: BTreeMap<&Name, (Seq, bool)> = BTreeMap::new();
    for build in c.history.builds.iter().filter(|b| has(b)) {
        let last = ended.entry(&build.package).or_insert((build.began, build.passed));
        if build.began >= last.0 {
            *last = (build.began, build.passed);
        }
    }
    let passed = ended.values().filter(|(_, passed)| *passed).count();
    let failed = ended.into_iter().filter(|(_, (_, passed))| !passed).map(|(name, _)| name).collect();
    Some(Effect { collection: name, repos, failed, passed, causes })
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
