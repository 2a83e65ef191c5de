//! Converts payloads of old versions to the newest one, a version at a time, as pure functions on
//! JSON.
//!
//! Nothing is ever written in an old version, and nothing stored is rewritten. The conversion
//! happens at every read.

use serde_json::Value;

use super::error::DecodeError;

/// Adds `waits`: in version 1, a package waited after infrastructure faults and after no other
/// outcome.
fn rebuild_finished(mut payload: Value) -> Value {
    if payload["outcome"] == "infrastructure_fault" {
        payload["waits"] = true.into();
    }
    payload
}

/// Converts a payload to the next version. Returns `None` if this kind never had such a version.
fn step(name: &str, from: u16, payload: Value) -> Option<Value> {
    match (name, from) {
        // Version 2 added `create_event` and `arches`, both optional. Their absence means "not
        // looked up", which was always so in version 1.
        ("repo_ready", 1) => Some(payload),
        // Version 2 added `gone`, absent for a tag that exists. A reader that ignores it would keep
        // the tag's builds for ever.
        ("tag_observed", 1) => Some(payload),
        // Version 2 added faults and the steps' architectures, all optional. A reader that ignores
        // them judges tasks differently.
        ("task_changed", 1) => Some(payload),
        // Version 3 added the telling lines of logs, optional. A reader that ignores them ranks
        // suspects differently.
        ("task_changed", 2) => Some(payload),
        // Version 2 added `builds_on`, absent for a collection that builds on its own hub. A reader
        // that ignores it would submit to the wrong hub.
        ("collection_created" | "collection_edited", 1) => Some(payload),
        // Version 2 added `rebuild` and made `task_id` optional.
        ("rebuild_cancel_requested", 1) => Some(payload),
        ("rebuild_finished", 1) => Some(rebuild_finished(payload)),
        _ => None,
    }
}

/// Reads `payload`, written in version `from`, and converts it to version `to`.
///
/// # Errors
/// Returns [`DecodeError::UnknownKind`] if `from` is newer than `to` or was never written, or if
/// the payload is not JSON.
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
