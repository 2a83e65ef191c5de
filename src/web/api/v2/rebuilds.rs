//! What runs, what is due, and what broke or was repaired lately.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Time;
use super::collections::find;
use super::cursor::{List, OfCollectionQuery, place};
use super::operation::{Nothing, Operation, Seen, Shows, Topic};
use super::package::ReasonView;
use crate::decide::plan::names;
use crate::decide::priority::Points;
use crate::model::{Hub, Name, PackageState};
use crate::web::refusal::Refusal;
use crate::web::running;

/// Of which collection.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfCollection {
    /// Only of this collection.
    #[serde(default)]
    collection: Option<String>,
}

/// A rebuild that runs, or is decided.
#[derive(Serialize, JsonSchema)]
pub(super) struct RunningView {
    collection: Name,
    package: Name,
    /// The hub on which it runs.
    hub: Hub,
    /// Its task. Absent if it is decided and has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<i64>,
    /// When the task was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    /// The task's page on the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

pub(super) struct Running;

impl Operation for Running {
    const ID: &'static str = "listRunning";
    const ADDRESS: &'static str = "/api/v2/rebuilds/running";
    const TOPIC: Topic = Topic::Rebuilds;
    const SUMMARY: &'static str = "Rebuilds that run";
    const ABOUT: &'static str = "Oldest first; those that are decided and have no task yet are last.";
    type Path = Nothing;
    type Query = OfCollection;
    type Answer<'a> = List<RunningView>;
}

impl Shows for Running {
    fn answer<'a>(seen: &Seen<'a>, _: Nothing, query: OfCollection) -> Result<List<RunningView>, Refusal> {
        let only = query.collection.as_deref().map(|name| find(seen.view, name)).transpose()?;
        let one = |r: running::Running| RunningView {
            link: r.task.and_then(|task| seen.koji.task(&r.hub, task)),
            task_id: r.task.map(|t| t.0),
            since: r.since.map(Time::from),
            collection: r.collection,
            package: r.package,
            hub: r.hub,
        };
        Ok(List::whole(running::all(seen.view, only.map(|(name, _)| name.as_str())).into_iter().map(one).collect()))
    }
}

/// A package that is due.
#[derive(Serialize, JsonSchema)]
pub(super) struct DueView {
    collection: Name,
    package: Name,
    /// Its priority, in thousandths of a point.
    priority: i64,
    /// Whether an evaluation now would choose it.
    chosen: bool,
    /// Why it has to wait. Empty if it is chosen.
    held_by: Vec<ReasonView>,
    /// The architectures of the rebuild.
    arches: Vec<Name>,
}

pub(super) struct Queue;

impl Operation for Queue {
    const ID: &'static str = "listQueue";
    const ADDRESS: &'static str = "/api/v2/rebuilds/queue";
    const TOPIC: Topic = Topic::Rebuilds;
    const SUMMARY: &'static str = "Packages that are due";
    const ABOUT: &'static str = "Highest priority first. A package that is due is rebuilt when limits and load allow \
        it; each says what it waits for.";
    type Path = Nothing;
    type Query = OfCollectionQuery;
    type Answer<'a> = List<DueView>;
}

impl Shows for Queue {
    fn answer<'a>(seen: &Seen<'a>, _: Nothing, query: OfCollectionQuery) -> Result<List<DueView>, Refusal> {
        let (view, limit) = (seen.view, query.limit.get()?);
        let (state, queue) = (&view.state, view.queue());
        let only = query.collection.as_deref().map(|name| find(view, name)).transpose()?;
        let only = only.and_then(|(name, _)| state.collections.get_index_of(name));
        let after = query.cursor.as_deref().map(place::<(i64, Name, Name)>).transpose()?;
        let collections = (0..state.collections.len()).filter(|c| only.is_none_or(|only| only == *c));
        // Indexes stand for names until it is known what is shown.
        let due = collections.flat_map(|c| queue.due(state, c).map(move |(package, points)| (points, c, package)));
        let mut found: Vec<(Points, Name, Name)> = due
            .map(|(points, c, package)| {
                let (collection, package) = names(state, c, package);
                (points, package, collection)
            })
            .collect();
        found.sort_by(|a, b| (b.0, &a.1, &a.2).cmp(&(a.0, &b.1, &b.2)));
        let matching = found.len();
        let is_after = |(points, package, collection): &(Points, Name, Name)| {
            after.as_ref().is_none_or(|(p, name, of)| (-points.0, package, collection) > (-p, name, of))
        };
        let rest = found.into_iter().filter(is_after);
        let item = |(points, package, collection): (Points, Name, Name)| {
            let why = queue.why(state, &collection, &package).expect("what is due is in the state");
            DueView {
                priority: points.0,
                chosen: why.chosen,
                held_by: why.deciding.iter().map(ReasonView::from).collect(),
                arches: why.arches,
                collection,
                package,
            }
        };
        let last =
            |(points, package, collection): &(Points, Name, Name)| (points.0, package.clone(), collection.clone());
        Ok(List::cut(rest, (limit, matching), last, item))
    }
}

/// A package that broke or was repaired.
#[derive(Serialize, JsonSchema)]
pub(super) struct ChangeView {
    /// The event.
    seq: u64,
    /// When it happened.
    time: Time,
    collection: Name,
    package: Name,
    /// Its state before. Absent if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<PackageState>,
    /// Its state since.
    new: PackageState,
}

pub(super) struct Changes;

impl Operation for Changes {
    const ID: &'static str = "listChanges";
    const ADDRESS: &'static str = "/api/v2/changes";
    const TOPIC: Topic = Topic::Packages;
    const SUMMARY: &'static str = "What broke or was repaired lately";
    const ABOUT: &'static str = "The last 200 changes of states that are a breakage or a repair, newest first. The \
        events have all of them.";
    type Path = Nothing;
    type Query = OfCollection;
    type Answer<'a> = List<ChangeView>;
}

impl Shows for Changes {
    fn answer<'a>(seen: &Seen<'a>, _: Nothing, query: OfCollection) -> Result<List<ChangeView>, Refusal> {
        let only = query.collection.as_deref().map(|name| find(seen.view, name)).transpose()?;
        let all = seen.view.changes.iter().filter(|c| only.is_none_or(|(name, _)| c.what.collection == *name));
        let one = |c: &crate::web::view::Change| ChangeView {
            seq: c.seq.get(),
            time: c.at.into(),
            collection: c.what.collection.clone(),
            package: c.what.package.clone(),
            old: c.what.old,
            new: c.what.new,
        };
        Ok(List::whole(all.map(one).collect()))
    }
}
