//! `/api/v1`: the interface of the original Koschei, for programs that use it. It stays as it is.
//!
//! Names, shapes and the meaning of parameters are the original's, also where we would choose
//! others: unknown parameters are ignored, all packages come at once, and times have no zone (they
//! are UTC).

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State as Extracted};
use axum::http::Response;
use serde::Serialize;

use crate::fold::evidence::{Evidence, EvidenceKind};
use crate::fold::{Collection, Package, State};
use crate::model::{PackageState, Timestamp};
use crate::web::Site;
use crate::web::parts::AsOf;
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;

/// A package of a collection.
#[derive(Serialize)]
struct PackageV1<'a> {
    name: &'a str,
    collection: &'a str,
    state: PackageState,
    last_complete_build: Option<BuildV1>,
}

/// A finished build, scratch or real.
#[derive(Serialize)]
struct BuildV1 {
    /// The `build` task. The original always has one; we know none of an imported build.
    task_id: Option<i64>,
    /// When the task was made. Not known of a packager's build.
    time_started: Option<String>,
    time_finished: Option<String>,
    epoch: Option<u32>,
    version: String,
    release: String,
}

/// A package whose states differ in two collections.
#[derive(Serialize)]
struct Differing<'a> {
    name: &'a str,
    state: BTreeMap<&'a str, PackageState>,
}

/// What is asked of `/api/v1/packages`.
struct Wanted {
    /// Empty: all.
    names: Vec<String>,
    /// Empty: all.
    collections: Vec<String>,
}

impl Wanted {
    fn of(parameters: Vec<(String, String)>) -> Self {
        let (mut names, mut collections) = (Vec::new(), Vec::new());
        for (name, value) in parameters {
            match name.as_str() {
                "name" => names.push(value),
                "collection" => collections.push(value),
                _ => {}
            }
        }
        Self { names, collections }
    }
}

/// `GET /api/v1/packages`: all packages, by name, also those that are untracked or blocked.
pub(in crate::web) async fn packages(
    Extracted(site): Extracted<Site>,
    mut asked: Asked,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response<Body> {
    asked.json = true;
    reply(&site, &asked, async {
        let wanted = Wanted::of(query?.0);
        site.look(move |view| Ok((AsOf::of(view), Content::json(&listed(view, &wanted)?)))).await
    })
    .await
}

fn listed<'a>(view: &'a View, wanted: &Wanted) -> Result<Vec<PackageV1<'a>>, Refusal> {
    let state = &view.state;
    // The original looks up the first value, which may be a list, for every page. Then it compares
    // each value as a whole, so a list fits nothing.
    for name in wanted.collections.first().into_iter().flat_map(|first| first.split(',')) {
        collection(state, name)?;
    }
    let fits = |list: &[String], name: &str| list.is_empty() || list.iter().any(|wanted| wanted == name);
    let all = view.listing().by_name(state).flatten();
    let found =
        all.filter(|(((name, _), (package, _)), _)| fits(&wanted.collections, name) && fits(&wanted.names, package));
    let told = found.map(|(((name, c), (package, p)), is)| PackageV1 {
        name: package,
        collection: name,
        state: is,
        last_complete_build: p.complete().next().and_then(|e| build(state, c, p, e)),
    });
    Ok(told.collect())
}

/// `GET /api/v1/collections/diff/A/B`: packages that are in both and have different states.
pub(in crate::web) async fn diff(
    Extracted(site): Extracted<Site>,
    mut asked: Asked,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response<Body> {
    asked.json = true;
    reply(&site, &asked, async {
        let Path((one, other)) = path?;
        site.look(move |view| Ok((AsOf::of(view), Content::json(&differing(view, &one, &other)?)))).await
    })
    .await
}

fn differing<'a>(view: &'a View, one: &'a str, other: &'a str) -> Result<Vec<Differing<'a>>, Refusal> {
    collection(&view.state, one)?;
    collection(&view.state, other)?;
    let told = view.listing().by_name(&view.state).filter_map(|same| {
        let mut found = Differing { name: "", state: BTreeMap::new() };
        for (((collection, _), (package, _)), is) in same.filter(|(((c, _), _), _)| **c == one || **c == other) {
            found.name = package;
            found.state.insert(collection, is);
        }
        let mut states = found.state.values();
        (states.next()? != states.next()?).then_some(found)
    });
    Ok(told.collect())
}

fn collection<'a>(state: &'a State, name: &str) -> Result<&'a Collection, Refusal> {
    state.collections.get(name).ok_or_else(|| Refusal::not_found(format!("there is no collection `{}`", short(name))))
}

/// Describes a finished build. `None` if its source is not known.
fn build(state: &State, c: &Collection, p: &Package, e: &Evidence) -> Option<BuildV1> {
    let hub = state.hubs.get(e.hub(&c.settings.hub))?;
    let own = state.hubs.get(&c.settings.hub)?;
    let (version, release) = e.source.rsplit_once('-')?;
    let tagged = p.latest.as_ref().filter(|latest| latest.source == e.source).map(|latest| latest.build);
    let (task_id, time_started, time_finished, of) = match e.kind {
        EvidenceKind::Scratch(task) => {
            let known = hub.tasks.get(&task);
            (Some(task.0), known.map(|t| t.created_at), known.and_then(|t| t.finished_at), tagged)
        }
        EvidenceKind::Real(id) => {
            let known = own.builds.get(&id);
            (known.and_then(|b| b.task_id).map(|t| t.0), None, known.and_then(|b| b.completed_at), Some(id))
        }
    };
    Some(BuildV1 {
        task_id,
        time_started: time_started.map(naive),
        time_finished: time_finished.map(naive),
        epoch: of.and_then(|id| own.builds.get(&id)).and_then(|b| b.epoch),
        version: version.to_owned(),
        release: release.to_owned(),
    })
}

/// Writes a time as the original does: in UTC, without saying so.
fn naive(at: Timestamp) -> String {
    at.to_string().trim_end_matches('Z').to_owned()
}
