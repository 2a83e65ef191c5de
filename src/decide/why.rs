//! Explains why a package is rebuilt or is not.

use serde::Serialize;

use super::arches::build_arches;
use super::eligibility::{examine, priority_inputs};
use super::hold::Hold;
use super::load::ArchLoads;
use super::plan::{Queue, crowded_out, parts};
use super::policy::Policy;
use super::priority::{Points, PriorityInputs, TimeScale, due_at};
use crate::event::PriorityParts;
use crate::fold::State;
use crate::model::{Name, PackageState, Timestamp};

/// The explanation for one package in one collection.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Why {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The package's state.
    pub state: PackageState,
    /// Whether an evaluation now would choose the package.
    pub chosen: bool,
    /// The conditions that decide. Empty if the package is chosen: nothing holds it and its
    /// priority reaches the threshold. Otherwise the package would be chosen if all of these
    /// conditions changed, and each of them must change. A package without any build is treated as
    /// due with its first build.
    pub deciding: Vec<Hold>,
    /// The package's priority. Absent if no build of it is known.
    pub priority: Option<PriorityParts>,
    /// Priority needed for a rebuild, in thousandths of a point.
    pub threshold: i64,
    /// Time at which the package becomes due by waiting alone, if nothing else changes. Absent if
    /// that takes more than a hundred years, or if another condition holds the package.
    pub due_at: Option<Timestamp>,
    /// Architectures that a rebuild would use.
    pub arches: Vec<Name>,
}

/// Finds the conditions that decide about a package. Returns `None` if the collection or package is
/// not known. Costs as much as a plan, because other packages may use up the limits first. For
/// several packages of one state, make one [`Queue`] and ask [`Queue::why`].
pub fn why(
    state: &State,
    collection: &str,
    package: &str,
    now: Timestamp,
    policy: &Policy,
    load: Option<&ArchLoads>,
) -> Option<Why> {
    Queue::of(state, now, policy, load).why(state, collection, package)
}

impl Queue {
    /// Finds the conditions that decide about a package, at the time and under the policy of this
    /// queue. `state` must be the one it was made of. Returns `None` if the collection or package is
    /// not known. Cost: a few times the number of rebuilds that fit.
    pub fn why(&self, state: &State, collection: &str, package: &str) -> Option<Why> {
        let (now, policy) = (self.now, &self.policy);
        let (ci, cname, c) = state.collections.get_full(collection)?;
        let (pi, pname, p) = c.packages.get_full(package)?;
        let mut deciding = Vec::new();
        let rules = (policy, TimeScale::of(policy));
        let priority = examine((cname, c), (pname, p), c.buildroot(), now, rules, |hold| deciding.push(hold));
        let waits_for_time = matches!(deciding[..], [Hold::BelowThreshold { .. }]);
        // Raise the priority to the threshold, so that the limits are checked separately from the
        // package's own holds. A package without any build ranks as if its first build had been
        // imported now.
        let first = PriorityInputs { last_build_started: Some(now), ..priority_inputs(c, p, policy) };
        let due =
            priority.or_else(|| super::priority::priority(&first, now, policy)).expect("a build gives a priority");
        let current = due.current.max(Points::whole(policy.build_threshold));
        let arches_known = !deciding.iter().any(|h| matches!(h, Hold::NoArch | Hold::NotResolvedYet));
        deciding.extend(crowded_out(state, self, (ci, pi), current, arches_known));
        Some(Why {
            collection: cname.clone(),
            package: pname.clone(),
            state: p.state(c.settings.track_all),
            chosen: deciding.is_empty(),
            due_at: waits_for_time.then(|| due_at(&priority_inputs(c, p, policy), policy)).flatten(),
            deciding,
            priority: priority.as_ref().map(parts),
            threshold: policy.build_threshold.saturating_mul(1000),
            arches: build_arches(c, p).0,
        })
    }
}
