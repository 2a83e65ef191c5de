//! Builds requests for rebuilds, and says whether a requested rebuild still waits.

use super::arches::build_arches;
use super::eligibility::inputs;
use super::plan::names;
use super::{Policy, refusal};
use crate::event::{PriorityParts, RebuildRequested};
use crate::fold::{Collection, Standing, State};
use crate::model::koji::RepoState;
use crate::model::{Hub, Nvr, RebuildId, RepoId, Timestamp};

/// Reason for closing a request when there is no hub to submit to.
pub const NO_HUB: &str = "no hub";
/// Reason for closing a request that somebody cancelled before it was submitted.
pub const CANCELLED: &str = "cancelled";

/// Returns the request for a chosen package, given by collection and package index. Returns `None`
/// if the package has no source package.
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
        // The building hub may not have this repository, or may use its number for another one.
        repo_id: resolved_in(c)
            .filter(|repo| !c.settings.builds_elsewhere() && is_usable(state, hub, *repo))
            .filter(|_| refusal::may_bind(state, hub, now, policy)),
        arches: if noarch { Vec::new() } else { arches },
        priority,
        inputs: inputs(p, policy),
        task_priority: policy.task_priority.into(),
    })
}

/// Returns the repository in which all architectures of a collection were resolved. Returns `None`
/// if they differ, because a build can be bound to only one repository.
fn resolved_in(c: &Collection) -> Option<RepoId> {
    let mut repos = c.arches.values().filter_map(|a| a.repo_id);
    let first = repos.next()?;
    repos.all(|r| r == first).then_some(first)
}

/// Checks whether a build bound to a repository would find it. If the repository is deleted, Koji
/// fails the task (`Bad repo`), so the build is better left unbound.
fn is_usable(state: &State, hub: &Hub, repo: RepoId) -> bool {
    let known = state.hubs.get(hub).and_then(|h| h.repos.get(&repo));
    known.is_none_or(|r| !matches!(r.state, RepoState::Deleted | RepoState::Problem))
}

/// Says whether a decided rebuild still waits to become a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// The rebuild is closed, or the log has a task of it.
    No,
    /// The rebuild waits, but must not be submitted at present.
    Paused,
    /// The rebuild waits and may be submitted.
    Yes {
        /// The rebuild may be bound to a repository as decided: the hub has not refused that since.
        bound: bool,
    },
}

/// Returns what the log says about a decided rebuild. An executor asks right before it calls the
/// hub.
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
