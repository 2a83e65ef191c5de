//! Finds a cause that breaks nothing any more in the log.

use crate::decide::causes::{OpenCause, said};
use crate::event::kinds::collection_subject;
use crate::log::{EventLog, LogError, trail};
use crate::model::{Name, Seq};

/// Letters and digits of a name.
const ID: usize = 10;

/// Looks for a cause in the newest events of collections ([`trail::EVENTS_MAX`] each) up to `until`.
/// Returns it with all packages that these events say it broke, by name, each since the first one.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(super) async fn find(
    log: &impl EventLog,
    collections: &[Name],
    id: &str,
    until: Option<Seq>,
) -> Result<Option<OpenCause>, LogError> {
    if id.len() != ID || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    for collection in collections {
        let subject = collection_subject(collection, None);
        let wanted = |kind: &str| matches!(kind, "causes_found" | "suspects_ranked");
        let records = trail::newest_of(log, &subject, until.map(Seq::next), &wanted, usize::MAX).await?;
        let mut found: Option<OpenCause> = None;
        for e in records.iter().filter_map(|record| record.decode().ok()) {
            let named = said(&e.event, (e.seq, e.recorded_at)).into_iter().find(|cause| cause.id == id);
            found = match (found, named) {
                (Some(newer), Some(older)) => Some(joined(newer, older)),
                (found, named) => found.or(named),
            };
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Joins what two events say. Shares are those of the newer one.
fn joined(mut newer: OpenCause, older: OpenCause) -> OpenCause {
    for package in older.packages {
        match newer.packages.iter_mut().find(|p| p.name == package.name) {
            Some(known) => (known.since, known.since_time) = (package.since, package.since_time),
            None => newer.packages.push(package),
        }
    }
    newer.packages.sort();
    OpenCause { since: older.since, since_time: older.since_time, ..newer }
}
