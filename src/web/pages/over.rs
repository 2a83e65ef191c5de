//! Finds a cause that breaks nothing any more in the log.

use crate::decide::causes::{OpenCause, said};
use crate::event::kinds::collection_subject;
use crate::log::{EventLog, LogError, trail};
use crate::model::{Name, Seq};

/// Most events of a collection that are read, newest first.
pub(super) const EVENTS_MAX: usize = 4_096;
/// Number of events that are read at a time.
const READ: usize = 512;
/// Letters and digits of a name.
const ID: usize = 10;

/// Looks for a cause in the newest events of collections up to `until`. Returns it with all packages
/// that these events say it broke, by name, each since the first one.
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
        let (mut found, mut before, mut read): (Option<OpenCause>, _, _) = (None, until.map(Seq::next), 0);
        while read < EVENTS_MAX {
            let records = trail::newest(log, &subject, before, READ).await?;
            for record in records.iter().filter(|r| matches!(r.kind.as_str(), "causes_found" | "suspects_ranked")) {
                let Ok(e) = record.decode() else { continue };
                let named = said(&e.event, (e.seq, e.recorded_at)).into_iter().find(|cause| cause.id == id);
                found = match (found, named) {
                    (Some(newer), Some(older)) => Some(joined(newer, older)),
                    (found, named) => found.or(named),
                };
            }
            before = records.last().map(|r| r.seq);
            read += READ;
            if records.len() < READ {
                break;
            }
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
