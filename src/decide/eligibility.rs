//! Decides whether a package may be rebuilt now, and gives every reason why not.
//!
//! The reasons follow Koschei 2.4 (`models.py`: the "ineligible for scheduling" list). Three things
//! differ on purpose:
//!
//! - A reason is never stored, so it goes away as soon as its cause does (D6, D7).
//! - Points from builds are derived from the builds themselves (D15, D16).
//! - A source package tagged after the last resolution waits for the next one, so that only
//!   resolved packages are submitted (D17).

use smol_str::SmolStr;

use super::arches::build_arches;
use super::hold::Hold;
use super::policy::Policy;
use super::priority::{ChangeCounts, Points, Priority, PriorityInputs, TimeScale, priority, priority_on};
use super::{refusal, retry};
use crate::event::{RebuildInputs, RebuildNotSubmitted};
use crate::fold::{Collection, Declined, Package, State};
use crate::model::arch::ArchOverride;
use crate::model::{BuildrootState, Outcome, Timestamp};

/// Reason for closing a request while the policy is `passive`.
pub const PASSIVE: &str = RebuildNotSubmitted::PASSIVE;

/// Returns the points that follow from a package's builds: the package started to fail, or was
/// never built here.
///
/// Koschei gives `newly_added` to packages whose last build cannot be resolved, to get a build to
/// compare with. Here the first resolution serves for the comparison. The points go to packages
/// without any result, such as imported ones.
pub fn build_points(package: &Package, policy: &Policy) -> i64 {
    let mut outcomes = package.complete().filter_map(|e| e.outcome);
    match outcomes.next() {
        None => policy.newly_added,
        Some(last) if retry::started_to_fail(last, outcomes) => policy.failed_build_priority,
        Some(Outcome::Ok | _) => 0,
    }
}

/// Collects the values that a package's priority depends on.
pub fn priority_inputs(collection: &Collection, package: &Package, policy: &Policy) -> PriorityInputs {
    let [one, two, three, four, far] = package.distances.map(u32::from);
    PriorityInputs {
        static_points: package.static_points.into(),
        manual_points: package.manual_points.into(),
        coefficient_thousandths: collection.settings.coefficient,
        changes: ChangeCounts { near: [one, two, three, four], far },
        build_points: build_points(package, policy),
        last_build_started: package.base().map(|e| e.at),
    }
}

/// Returns a package's priority, or `None` if no build of it is known.
pub fn priority_of(collection: &Collection, package: &Package, now: Timestamp, policy: &Policy) -> Option<Priority> {
    priority(&priority_inputs(collection, package, policy), now, policy)
}

/// Returns the values, besides time, that a decision to rebuild depends on.
pub fn inputs(package: &Package, policy: &Policy) -> RebuildInputs {
    RebuildInputs {
        source: source(package).cloned().unwrap_or_default(),
        base: package.base().map(|e| e.order.get()),
        changes: package.changes_digest,
        points: (package.static_points.into(), package.manual_points.into(), build_points(package, policy)),
        arch_override: package.arch_override.as_deref().map(ToString::to_string),
    }
}

/// Checks whether `known` equals [`inputs`] without building that value. It runs often, because
/// most packages were declined at some time.
fn are_inputs(known: &RebuildInputs, package: &Package, policy: &Policy) -> bool {
    let RebuildInputs { source: known_source, base, changes, points, arch_override } = known;
    *known_source == source(package).map_or("", SmolStr::as_str)
        && *base == package.base().map(|e| e.order.get())
        && *changes == package.changes_digest
        && *points == (package.static_points.into(), package.manual_points.into(), build_points(package, policy))
        && is_override(arch_override.as_deref(), package)
}

/// Checks whether a text means the package's override. The same override may be written in several
/// ways.
fn is_override(known: Option<&str>, package: &Package) -> bool {
    match (known, package.arch_override.as_deref()) {
        (None, None) => true,
        (Some(text), Some(over)) => text.parse::<ArchOverride>().is_ok_and(|known| known == *over),
        _ => false,
    }
}

/// Returns `version-release` of the source package that a rebuild would take.
pub fn source(package: &Package) -> Option<&SmolStr> {
    package.latest.as_ref().map(|l| &l.source)
}

/// Calls `hold` with every reason that lies in the package or its collection, most fundamental
/// first. Returns the package's priority. `scale` must be that of `policy`. Cost: O(architectures)
/// and one logarithm.
pub fn examine(
    (collection_name, collection): (&str, &Collection),
    (name, package): (&str, &Package),
    buildroot: BuildrootState,
    now: Timestamp,
    (policy, scale): (&Policy, TimeScale),
    mut hold: impl FnMut(Hold),
) -> Option<Priority> {
    if package.blocked {
        hold(Hold::Blocked);
    }
    if !package.is_tracked(collection.settings.track_all) {
        hold(Hold::Untracked);
    }
    let source = source(package);
    if source.is_none() {
        hold(Hold::NoSource);
    }
    if package.running > 0 {
        hold(Hold::Running);
    }
    if package.open_rebuild.is_some() {
        hold(Hold::RebuildOpen { since: package.open_since.unwrap_or(Timestamp::EPOCH) });
    }
    if let Some(held) = package.held.as_deref().filter(|held| held.until > now) {
        hold(Hold::HeldByOperator { until: held.until, because: held.reason.clone() });
    }
    of_collection(collection, buildroot, &mut hold);
    resolution(collection, package, source, &mut hold);
    if let Some(last) = package.last_trouble() {
        let at = retry::retry_at(last, collection_name, name, package.faults.into(), policy);
        if at > now {
            hold(Hold::RetryLater { after: last.0, at });
        }
    }
    let priority = priority_on(scale, &priority_inputs(collection, package, policy), now, policy);
    let threshold = Points::whole(policy.build_threshold);
    match &priority {
        // Without any build there is no priority to compare. The package needs a first build, which
        // brings points.
        Some(p) if p.current < threshold => hold(Hold::BelowThreshold { missing: threshold.0 - p.current.0 }),
        _ => {
            if let Some(declined) = package.declined.as_ref().filter(|d| stands(d, package, policy)) {
                hold(Hold::Declined { because: declined.reason.clone() });
            }
        }
    }
    priority
}

/// Checks whether a rebuild that was turned down would be turned down again. That is so if its
/// inputs and the rule that turned it down are unchanged. A rebuild whose command was not exported
/// was not turned down.
fn stands(declined: &Declined, package: &Package, policy: &Policy) -> bool {
    declined.reason != RebuildNotSubmitted::NOT_EXPORTED
        && (declined.reason != PASSIVE || policy.passive)
        && are_inputs(&declined.inputs, package, policy)
}

/// Returns the reasons that stop a whole collection, whatever its packages are, for display with
/// the collection. Empty if nothing stops it.
pub fn stopped(state: &State, collection: &Collection, policy: &Policy) -> Vec<Hold> {
    let mut holds = Vec::new();
    if let Some(because) = state.paused.clone() {
        holds.push(Hold::Paused { because });
    }
    if let Some(because) = collection.paused.clone() {
        holds.push(Hold::CollectionPaused { because });
    }
    holds.extend(refused(state, collection, policy));
    of_collection(collection, collection.buildroot(), &mut |hold| holds.push(hold));
    holds
}

/// Checks whether a reason holds every package of the collection. Pauses and refusals are not among
/// them: the plan handles those.
pub(super) fn stops(collection: &Collection) -> bool {
    let mut any = false;
    of_collection(collection, collection.buildroot(), &mut |_| any = true);
    any
}

/// Returns the hold of a collection that a policy of the hub stops. It is returned even if one
/// rebuild may try now.
pub(super) fn refused(state: &State, collection: &Collection, policy: &Policy) -> Option<Hold> {
    collection.refused.as_ref().map(|r| Hold::PolicyRefused {
        policy: r.policy.clone(),
        task_id: r.task_id,
        words: r.words.clone(),
        next: refusal::next_try(state, r, policy),
    })
}

/// Reports the reasons that hold every package of a collection. Pauses by hand are not among them:
/// the plan handles those.
fn of_collection(collection: &Collection, buildroot: BuildrootState, hold: &mut impl FnMut(Hold)) {
    if collection.target_gone {
        hold(Hold::TargetGone);
    }
    if !collection.tags_gone.is_empty() {
        hold(Hold::TagGone { tags: collection.tags_gone.clone() });
    }
    // Without tag architectures, architectures that no builder supports would count.
    let gone = collection.target_gone || !collection.tags_gone.is_empty();
    let unknown = collection.settings.builds_elsewhere() && collection.tag_arches.is_empty() && !gone;
    match buildroot {
        _ if unknown => hold(Hold::BuildrootUnknown),
        BuildrootState::Ok => {}
        BuildrootState::Unknown => hold(Hold::BuildrootUnknown),
        BuildrootState::Unresolved => hold(Hold::BuildrootBroken),
    }
}

fn resolution(collection: &Collection, package: &Package, source: Option<&SmolStr>, hold: &mut impl FnMut(Hold)) {
    let mut looked_at = false;
    let mut usable = false;
    let mut current = true;
    for v in package.verdicts_in_use(collection.allowed()) {
        looked_at = true;
        usable |= v.ok.is_some();
        current &= source.is_none_or(|s| *s == v.source);
    }
    if package.verdicts.is_empty() {
        if !package.skip_resolution {
            hold(Hold::NotResolvedYet);
        } else if package.arch_override.is_some()
            && !collection.arches.is_empty()
            && build_arches(collection, package).0.is_empty()
        {
            hold(Hold::NoArch);
        }
    } else if !looked_at || !usable {
        hold(Hold::NoArch);
    } else if !package.skip_resolution {
        if package.resolved == Some(false) {
            hold(Hold::Unresolved);
        }
        if !current {
            hold(Hold::NewerSourceNotResolved);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// [`are_inputs`] agrees with comparing against [`inputs`], both for equal inputs and for
        /// inputs that differ in one field.
        #[test]
        fn inputs_are_compared_whole(digest: u64, points: i32, source in "[0-9]-[0-9]", arches: bool, other in 0..6) {
            let policy = Policy::default();
            let build = crate::model::BuildId(1);
            let latest = crate::fold::Latest { build, source: source.into(), at: Timestamp::EPOCH };
            let package = Package {
                latest: Some(latest),
                changes_digest: digest,
                static_points: points,
                arch_override: arches.then(|| Box::new("x86_64".parse().unwrap())),
                ..Package::default()
            };
            let same = inputs(&package, &policy);
            prop_assert!(are_inputs(&same, &package, &policy));
            let mut known = same.clone();
            match other {
                0 => known.source = "other".into(),
                1 => known.base = Some(7),
                2 => known.changes ^= 1 << 60,
                3 => known.changes ^= 1,
                4 => known.points.1 += 1,
                _ => known.arch_override = Some("^s390x".to_owned()),
            }
            prop_assert!(!are_inputs(&known, &package, &policy));
        }
    }
}
