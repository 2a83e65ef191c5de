//! Handles builds that a hub's policy does not allow.
//!
//! Koji 1.35 checks its policies when the task runs (`assertPolicy` in kojid's `BuildTask`):
//!
//! - `build_from_repo_id` for builds bound to a repository. By default only administrators may make
//!   them.
//! - `build_rpm` for every build. By default everybody may build.
//! - `build_from_srpm` on some hubs, also for scratch builds.
//!
//! The task fails with fault 1004, `policy violation (NAME)`, followed by the rule's reason if it
//! has one (`check_policy` in Koji's hub).
//!
//! A rebuild does not need to be bound to a repository, but it does need the other permissions. If
//! a hub refuses `build_from_repo_id`, rebuilds on that hub are no longer bound. If it refuses any
//! other policy, the collection stops. In both cases, one rebuild tries again after the policy's
//! `refused_retry_secs`.

use super::policy::Policy;
use crate::fold::{Collection, Refusal, State};
use crate::model::{Hub, Timestamp};

/// Name of Koji's policy that says who may bind a build to a repository.
pub const BUILD_FROM_REPO_ID: &str = "build_from_repo_id";
/// Longest accepted name of a hub's policy, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Returns the hub's policy that a fault text names. Returns `None` if the fault is of another
/// kind.
pub fn policy_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("policy violation (")?;
    let (name, _) = rest.split_once(')')?;
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(word)).then_some(name)
}

/// Returns the time from which the refused action may be tried again. Returns `None` while a
/// rebuild is trying it.
pub fn next_try(state: &State, refusal: &Refusal, policy: &Policy) -> Option<Timestamp> {
    let tries = refusal.trial.is_some_and(|id| state.rebuilds.contains_key(&id));
    let wait = i64::try_from(policy.refused_retry_secs).unwrap_or(i64::MAX);
    (!tries).then(|| refusal.tried_at.plus_secs(wait))
}

/// Returns whether a rebuild decided now may be bound to a repository: the hub has not refused
/// that, or it is time to try again.
pub fn may_bind(state: &State, hub: &Hub, now: Timestamp, policy: &Policy) -> bool {
    let refusal = state.hubs.get(hub).and_then(|h| h.unbound.as_ref());
    refusal.is_none_or(|r| next_try(state, r, policy).is_some_and(|at| at <= now))
}

/// Says in words what the hub's administrators have to allow.
pub fn remedy(policy: &str) -> String {
    format!(
        "ask the administrators of the hub for `{policy} = user NAME :: allow` before its other lines in [policy]; \
            NAME is Koschei's user"
    )
}

/// Says in words that a collection's rebuilds are not bound to repositories because the hub refuses
/// it. Returns `None` if the hub does not refuse it.
pub fn unbound(state: &State, collection: &Collection, policy: &Policy) -> Option<String> {
    let hub = collection.settings.building_hub();
    if collection.settings.builds_elsewhere() {
        // Rebuilds on another hub are never bound.
        return None;
    }
    let refusal = state.hubs.get(hub)?.unbound.as_ref()?;
    let next = match next_try(state, refusal, policy) {
        Some(at) => format!("tried again from {at} on"),
        None => "it is being tried again".to_owned(),
    };
    Some(format!(
        "rebuilds on {hub} are not bound to the repository they were resolved in: its policy {} refuses it since {} \
         (task {}: {}); {next}. To have it: {}",
        refusal.policy,
        refusal.since,
        refusal.task_id,
        refusal.words,
        remedy(&refusal.policy)
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("policy violation (build_from_repo_id)", Some("build_from_repo_id"))]
    #[case::koji_135("policy violation (build_rpm): Only admin can do this via default policy", Some("build_rpm"))]
    #[case::client("ActionNotAllowed: policy violation (build_from_srpm)", Some("build_from_srpm"))]
    #[case::verbose("policy violation (vm): no [rule: all :: deny no]", Some("vm"))]
    #[case::other("Action not allowed", None)]
    #[case::open("policy violation (build_rpm", None)]
    #[case::empty("policy violation ()", None)]
    #[case::no_name("policy violation (a b)", None)]
    fn policies_are_named(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(policy_of(text), expected);
    }
}
