//! What a request for a rebuild consists of, and whether one still waits.

use super::arches::build_arches;
use super::eligibility::inputs;
use super::plan::names;
use super::{Policy, refusal};
use crate::event::{PriorityParts, RebuildRequested};
use crate::fold::{Collection, Standing, State};
use crate::model::koji::RepoState;
use crate::model::{Hub, Nvr, RebuildId, RepoId, Timestamp};

/// Why a rebuild is not offered to a hub when there is none.
pub const NO_HUB: &str = "no hub";
/// Why a rebuild is not submitted that somebody cancelled before it was.
pub const CANCELLED: &str = "cancelled";

/// The request for a chosen package, by collection and package index; `None` without a source package.
pub fn request_of(
    state: &State,
    (collection, package): (usize, usize),
    priority: PriorityParts,
    now: Timestamp,
    policy: &Policy,
) -> Option<RebuildRequested> {
    let (cname, pname) = names(state, collection, package);
    let c = &state.collections[collection];
    let p = &c.packages[package];
    let (version, release) = p.latest.as_ref()?.source.rsplit_once('-')?;
    let (arches, noarch) = build_arches(c, p);
    let (hub, target) = c.settings.building();
    Some(RebuildRequested {
        collection: cname,
        hub: hub.clone(),
        nvr: Nvr { name: pname, version: version.into(), release: release.into() },
        target: target.clone(),
        // Another hub does not know it, or knows another repository by its number.
        repo_id: resolved_in(c)
            .filter(|repo| !c.settings.builds_elsewhere() && is_usable(state, hub, *repo))
            .filter(|_| refusal::may_bind(state, hub, now, policy)),
        arches: if noarch { Vec::new() } else { arches },
        priority,
        inputs: inputs(p, policy),
        task_priority: policy.task_priority.into(),
    })
}

/// The repository a collection was resolved in on all its architectures; `None` when they differ, for then no single
/// one can be bound.
fn resolved_in(c: &Collection) -> Option<RepoId> {
    let mut repos = c.arches.values().filter_map(|a| a.repo_id);
    let first = repos.next()?;
    repos.all(|r| r == first).then_some(first)
}

/// Whether a build bound to a repository would find it: one that is deleted makes the task fail (Koji: `Bad repo`), so
/// that the build had better take what there is.
fn is_usable(state: &State, hub: &Hub, repo: RepoId) -> bool {
    let known = state.hubs.get(hub).and_then(|h| h.repos.get(&repo));
    known.is_none_or(|r| !matches!(r.state, RepoState::Deleted | RepoState::Problem))
}

/// Whether a decided rebuild still waits to become a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// Somebody closed it, or a task of it is in the log.
    No,
    /// It does, and may not be submitted for the time being.
    Paused,
    /// It does, and may be submitted.
    Yes {
        /// It may be bound to a repository, as it was decided: the hub has not refused that since.
        bound: bool,
    },
}

/// What the log says of a decided rebuild. Whoever submits asks right before the hub is called.
pub fn waits(state: &State, rebuild: RebuildId) -> Waits {
    match state.standing(rebuild) {
        Standing::Closed | Standing::Submitted(..) => return Waits::No,
        Standing::Paused => return Waits::Paused,
        Standing::Open => {}
    }
    let hub = state.rebuilds.get(&rebuild).and_then(|open| state.collections.get(&open.collection));
    let hub = hub.map(|c| c.settings.building_hub());
    let unbound = hub.and_then(|hub| state.hubs.get(hub)).and_then(|h| h.unbound.as_ref());
    Waits::Yes { bound: unbound.is_none_or(|r| r.trial == Some(rebuild)) }
}
