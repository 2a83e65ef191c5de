//! Reads what happened to a subject, newest first. The cost is that of the events shown and a few
//! look-ups, even if the history is long.

use rustc_hash::FxHashMap;

use super::{EventLog, LogError};
use crate::event::Record;
use crate::model::Seq;

/// Most causes followed from one event.
const CAUSES_MAX: usize = 8;
/// Number of events read at first if only some kinds are wanted. It doubles up to [`READ_MAX`].
const READ: usize = 32;
/// Most events read at once.
const READ_MAX: usize = 512;
/// Most events of a subject that are read for those of some kinds.
pub(crate) const EVENTS_MAX: usize = 4_096;

/// Returns the last events about exactly `subject` before `before` (absent: to the end), newest
/// first, at most `limit`.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(crate) async fn newest(
    log: &impl EventLog,
    subject: &str,
    before: Option<Seq>,
    limit: usize,
) -> Result<Vec<Record>, LogError> {
    Ok(log.last_of_subject(subject, before, limit).await?)
}

/// Returns those of some kinds among the newest [`EVENTS_MAX`] events about exactly `subject` before
/// `before` (absent: to the end), newest first, at most `limit`.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(crate) async fn newest_of(
    log: &impl EventLog,
    subject: &str,
    mut before: Option<Seq>,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    limit: usize,
) -> Result<Vec<Record>, LogError> {
    let (mut seen, mut read) = (0, READ);
    let mut found = Vec::new();
    while found.len() < limit && seen < EVENTS_MAX {
        let asked = read.min(EVENTS_MAX - seen);
        let page = log.last_of_subject(subject, before, asked).await?;
        seen += page.len();
        let whole = page.len() == asked;
        before = page.last().map(|r| r.seq);
        let left = limit - found.len();
        found.extend(page.into_iter().filter(|r| wanted(&r.kind)).take(left));
        if !whole {
            break;
        }
        read = (2 * read).min(READ_MAX);
    }
    Ok(found)
}

/// Returns one event, or `None` beyond the end of the log.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(crate) async fn event(log: &impl EventLog, seq: Seq) -> Result<Option<Record>, LogError> {
    Ok(log.read(Seq::new(seq.get() - 1), 1).await?.into_iter().next())
}

/// An event, and the sequences of its causes, nearest first.
pub(crate) type WithCauses = (Record, Vec<Seq>);

/// Returns the last events about exactly `subject` up to `until` (absent: to the end), newest
/// first, at most `limit`, each with at most [`CAUSES_MAX`] causes.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(crate) async fn newest_with_causes(
    log: &impl EventLog,
    subject: &str,
    until: Option<Seq>,
    limit: usize,
) -> Result<Vec<WithCauses>, LogError> {
    let records = newest(log, subject, until.map(Seq::next), limit).await?;
    // Events of one subject often have the same causes, or cause one another.
    let mut known: FxHashMap<Seq, Option<Seq>> = records.iter().map(|r| (r.seq, r.causation)).collect();
    let mut found = Vec::new();
    for record in records {
        let mut causes = Vec::new();
        let mut cause = record.causation;
        while let Some(seq) = cause.filter(|_| causes.len() < CAUSES_MAX) {
            causes.push(seq);
            cause = match known.get(&seq) {
                Some(cause) => *cause,
                None => *known.entry(seq).or_insert(event(log, seq).await?.and_then(|r| r.causation)),
            };
        }
        found.push((record, causes));
    }
    Ok(found)
}
