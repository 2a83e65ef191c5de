//! What breaks packages, and what an update broke.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Time;
use super::collections;
use super::cursor::{List, OfCollectionQuery, place};
use super::operation::{Nothing, Operation, Seen, Shows, Topic};
use crate::decide::causes::{CauseKind, OpenCause, Updated};
use crate::event::CausesFound;
use crate::model::{Name, Nvr, Seq, Timestamp};
use crate::web::effects::effect;
use crate::web::refusal::{Refusal, short};
use crate::web::view::View;

/// An event, and when it was recorded.
#[derive(Serialize, JsonSchema)]
pub(super) struct At {
    seq: u64,
    time: Time,
}

impl At {
    fn of(seq: Option<Seq>, time: Option<Timestamp>) -> Option<Self> {
        Some(Self { seq: seq?.get(), time: time?.into() })
    }
}

/// A package that a cause breaks.
#[derive(Serialize, JsonSchema)]
struct BrokenPackage {
    package: Name,
    /// How sure that is, in thousandths.
    share: u32,
    /// Since when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<At>,
}

/// A cause that breaks packages.
#[derive(Serialize, JsonSchema)]
pub(super) struct CauseView {
    id: String,
    kind: CauseKind,
    collection: Name,
    /// The new source package, or what is gone.
    known_by: String,
    update: Updated,
    /// Other updates that nothing tells apart from it.
    together: Vec<String>,
    /// The repository that brought it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_id: Option<i64>,
    /// What it is, in one sentence. Empty for failed builds.
    what: String,
    /// Since when it is known to break a package that it breaks now.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<At>,
    /// Whether it breaks the buildroot, and so all packages of the collection.
    everything: bool,
    /// The packages it breaks, by name.
    packages: Vec<BrokenPackage>,
}

impl From<&OpenCause> for CauseView {
    fn from(c: &OpenCause) -> Self {
        let is_group = |name: &str| name == CausesFound::GROUP;
        let package = |p: &crate::decide::causes::BrokenNow| BrokenPackage {
            package: p.name.clone(),
            share: p.share,
            since: At::of(p.since, p.since_time),
        };
        Self {
            id: c.id.clone(),
            kind: c.kind,
            collection: c.collection.clone(),
            known_by: c.known_by.clone(),
            update: c.update.clone(),
            together: c.together.clone(),
            repo_id: c.repo.map(|r| r.0),
            what: c.what.clone(),
            since: At::of(c.since, c.since_time),
            everything: c.packages.iter().any(|p| is_group(&p.name)),
            packages: c.packages.iter().filter(|p| !is_group(&p.name)).map(package).collect(),
        }
    }
}

/// Finds an open cause.
///
/// # Errors
/// Refuses a name that no open cause has.
pub(super) fn find<'a>(view: &'a View, id: &str) -> Result<&'a OpenCause, Refusal> {
    view.causes().iter().find(|c| c.id == id).ok_or_else(|| {
        Refusal::not_found(format!(
            "no cause `{}` breaks anything at this moment; if it is over, ask `as_of` when it was not",
            short(id)
        ))
    })
}

pub(super) struct Causes;

impl Operation for Causes {
    const ID: &'static str = "listCauses";
    const ADDRESS: &'static str = "/api/v2/causes";
    const TOPIC: Topic = Topic::Causes;
    const SUMMARY: &'static str = "What breaks packages";
    const ABOUT: &'static str = "The updates that break packages, those with most packages first, and everything else \
        that does: a group that does not install, a target that is gone.";
    type Path = Nothing;
    type Query = OfCollectionQuery;
    type Answer<'a> = List<CauseView>;
}

impl Shows for Causes {
    fn answer<'a>(seen: &Seen<'a>, _: Nothing, query: OfCollectionQuery) -> Result<List<CauseView>, Refusal> {
        let only = query.collection.as_deref().map(|name| collections::find(seen.view, name)).transpose()?;
        let limit = query.limit.get()?;
        let after = query.cursor.as_deref().map(place::<(usize, String)>).transpose()?;
        let wanted = |c: &&OpenCause| only.is_none_or(|(name, _)| c.collection == *name);
        let mut found: Vec<&OpenCause> = seen.view.causes().iter().filter(wanted).collect();
        let by = |c: &OpenCause| (std::cmp::Reverse(c.packages.len()), c.id.clone());
        found.sort_by_cached_key(|c| by(c));
        let matching = found.len();
        let after = after.map(|(packages, id)| (std::cmp::Reverse(packages), id));
        let rest = found.into_iter().filter(|c| after.as_ref().is_none_or(|after| by(c) > *after));
        Ok(List::cut(rest, (limit, matching), |last| (last.packages.len(), last.id.clone()), CauseView::from))
    }
}

/// A cause's name in an address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CausePath {
    /// The `id` of the cause.
    #[schemars(regex(pattern = "^[0-9a-f]{10}$"), example = &"18cb3e88a7")]
    id: String,
}

pub(super) struct OneCause;

impl Operation for OneCause {
    const ID: &'static str = "getCause";
    const ADDRESS: &'static str = "/api/v2/causes/{id}";
    const TOPIC: Topic = Topic::Causes;
    const SUMMARY: &'static str = "A cause";
    const ABOUT: &'static str = "An update that breaks packages at that moment.";
    type Path = CausePath;
    type Query = Nothing;
    type Answer<'a> = CauseView;
}

impl Shows for OneCause {
    fn answer<'a>(seen: &Seen<'a>, path: CausePath, _: Nothing) -> Result<CauseView, Refusal> {
        Ok(find(seen.view, &path.id)?.into())
    }
}

/// An update's name in an address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct UpdatePath {
    /// The source package as `name-version-release`.
    #[schemars(example = &"libfoo-2.0-1.fc43")]
    nvr: String,
}

/// What an update did in a collection.
#[derive(Serialize, JsonSchema)]
pub(super) struct EffectView {
    collection: Name,
    /// The repositories that brought it.
    repo_ids: Vec<i64>,
    /// Packages whose last build with it failed, with it for the first time, after a good one without it.
    failed: Vec<Name>,
    /// Number of packages that passed with it.
    passed: usize,
    /// The open causes that are this update, or that nothing tells apart from it.
    causes: Vec<CauseView>,
}

pub(super) struct Update;

impl Operation for Update {
    const ID: &'static str = "getUpdate";
    const ADDRESS: &'static str = "/api/v2/updates/{nvr}";
    const TOPIC: Topic = Topic::Causes;
    const SUMMARY: &'static str = "What an update broke";
    const ABOUT: &'static str = "One item for each collection that got the update.";
    type Path = UpdatePath;
    type Query = Nothing;
    type Answer<'a> = List<EffectView>;
}

impl Shows for Update {
    fn answer<'a>(seen: &Seen<'a>, path: UpdatePath, _: Nothing) -> Result<List<EffectView>, Refusal> {
        let Some(nvr) = Nvr::parse(&path.nvr) else {
            let what = format!("`{}` is no name-version-release of a source package", short(&path.nvr));
            return Err(Refusal::BadRequest(what));
        };
        let found = seen.view.state.collections.iter().filter_map(|c| effect(seen.view, c, &path.nvr, &nvr));
        let items: Vec<EffectView> = found
            .map(|e| EffectView {
                collection: e.collection.clone(),
                repo_ids: e.repos.iter().map(|r| r.0).collect(),
                failed: e.failed.into_iter().cloned().collect(),
                passed: e.passed,
                causes: e.causes.into_iter().map(CauseView::from).collect(),
            })
            .collect();
        match items.is_empty() {
            true => Err(Refusal::not_found(format!(
                "no repository that is remembered brought {} into buildroots",
                short(&path.nvr)
            ))),
            false => Ok(List::whole(items)),
        }
    }
}
