//! Lifts payloads of old versions to the newest one, a version at a time, as pure functions on JSON.
//!
//! Nothing is ever written in an old version, and nothing stored is rewritten: the lift happens at every read.

use serde_json::Value;

use super::kinds::DecodeError;

/// In version 1 only infrastructure faults made a package wait: it goes on to wait after those and no other.
fn rebuild_finished(mut payload: Value) -> Value {
    if payload["outcome"] == "infrastructure_fault" {
        payload["waits"] = true.into();
    }
    payload
}

/// Lifts one version up; `None` when this kind never had such a version.
fn step(name: &str, from: u16, payload: Value) -> Option<Value> {
    match (name, from) {
        // Version 2 added `create_event` and `arches`, both optional: "not looked at" is what version 1 meant.
        ("repo_ready", 1) => Some(payload),
        // Version 2 added `gone`, absent for a tag that is there: a reader that passes over it would keep its builds
        // for ever.
        ("tag_observed", 1) => Some(payload),
        // Version 2 added faults and the steps' architectures, all optional: a reader that passes over them judges
        // otherwise.
        ("task_changed", 1) => Some(payload),
        // Version 2 added `builds_on`, absent for one that builds on its own hub: a reader that passes over it would
        // submit to the wrong hub.
        ("collection_created" | "collection_edited", 1) => Some(payload),
        // Version 2 added `rebuild` and made `task_id` optional.
        ("rebuild_cancel_requested", 1) => Some(payload),
        ("rebuild_finished", 1) => Some(rebuild_finished(payload)),
        _ => None,
    }
}

/// Reads `payload`, written in version `from`, as version `to`.
///
/// # Errors
/// [`DecodeError::UnknownKind`] when `from` is newer than `to` or was never written.
pub(super) fn lift(name: &str, from: u16, to: u16, payload: &str) -> Result<Value, DecodeError> {
    let unknown = || DecodeError::UnknownKind { name: name.to_owned(), version: from };
    if from == 0 || from > to {
        return Err(unknown());
    }
    let mut value: Value = serde_json::from_str(payload).map_err(|_| unknown())?;
    for version in from..to {
        value = step(name, version, value).ok_or_else(unknown)?;
    }
    Ok(value)
}
