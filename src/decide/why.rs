//! Why a package is rebuilt, or is not.

use serde::Serialize;

use super::arches::build_arches;
use super::eligibility::{Hold, examine, priority_inputs};
use super::load::ArchLoads;
use super::plan::{Choice, crowded_out, parts};
use super::policy::Policy;
use super::priority::{Points, PriorityInputs, TimeScale, due_at};
use crate::event::PriorityParts;
use crate::fold::State;
use crate::model::{Name, PackageState, Timestamp};

/// The answer for one package in one collection.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Why {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Its state.
    pub state: PackageState,
    /// Whether an evaluation now would choose it.
    pub chosen: bool,
    /// What decides. If it is chosen: nothing holds it and its priority reaches the threshold, so this is empty. If
    /// not: exactly these would have to change for it to be chosen, and each of them must (a package without any build
    /// counts as due with its first).
    pub deciding: Vec<Hold>,
    /// Its priority; absent when no build of it is known.
    pub priority: Option<PriorityParts>,
    /// Points it needs, in thousandths.
    pub threshold: i64,
    /// When time alone will make it due, nothing else changing; absent: not in a hundred years, or something else holds
    /// it.
    pub due_at: Option<Timestamp>,
    /// Architectures a rebuild would use.
    pub arches: Vec<Name>,
}

/// Says which condition decides about a package; `None` when the collection or package is not known.
/// Cost: that of a few whole plans, since others may take the room.
pub fn why(
    state: &State,
    collection: &str,
    package: &str,
    now: Timestamp,
    policy: &Policy,
    load: Option<&ArchLoads>,
) -> Option<Why> {
    let (ci, cname, c) = state.collections.get_full(collection)?;
    let (pi, pname, p) = c.packages.get_full(package)?;
    let mut deciding = Vec::new();
    let rules = (policy, TimeScale::of(policy));
    let priority = examine((cname, c), (pname, p), c.buildroot(), now, rules, |hold| deciding.push(hold));
    let waits_for_time = matches!(deciding[..], [Hold::BelowThreshold { .. }]);
    // Looked at as if it were just due: what holds it for itself is one thing, whether there would be room another.
    // Without any build it ranks as with a first one, imported now.
    let first = PriorityInputs { last_build_started: Some(now), ..priority_inputs(c, p, policy) };
    let mut due =
        priority.or_else(|| super::priority::priority(&first, now, policy)).expect("a build gives a priority");
    due.current = due.current.max(Points::whole(policy.build_threshold));
    let mine = Choice { collection: ci, package: pi, priority: due };
    let arches_known = !deciding.iter().any(|h| matches!(h, Hold::NoArch | Hold::NotResolvedYet));
    deciding.extend(crowded_out(state, now, policy, load, &mine, arches_known));
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
