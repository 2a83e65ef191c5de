//! Reads what happened to a subject, newest first.
//!
//! The log can only be read forwards. Starting from its end, this module reads ranges that grow
//! until they contain enough events. The cost is that of the events shown and a few look-ups, even
//! if the history is long.

use std::collections::VecDeque;

use super::{EventLog, LogError, Subjects};
use crate::event::Record;
use crate::model::Seq;

/// Most causes followed from one event.
const CAUSES_MAX: usize = 8;
/// Number of events in the first range.
const STRETCH: u64 = 4_096;
/// Factor by which each range is longer than the one before.
const GROWTH: u64 = 8;
/// Number of events read at once within a range.
const READ: usize = 500;

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
    newest_that(log, subject, before, limit, &|_| true).await
}

/// Returns the last event of a kind about exactly `subject` before `before` (absent: to the end).
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(crate) async fn last_of(
    log: &impl EventLog,
    subject: &str,
    kind: &str,
    before: Option<Seq>,
) -> Result<Option<Record>, LogError> {
    Ok(newest_that(log, subject, before, 1, &|r| r.kind == kind).await?.pop())
}

/// Returns the last events of some kinds about exactly `subject`, newest first, at most `limit`.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(crate) async fn newest_of(
    log: &impl EventLog,
    subject: &str,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    limit: usize,
) -> Result<Vec<Record>, LogError> {
    newest_that(log, subject, None, limit, &|r| wanted(&r.kind)).await
}

async fn newest_that(
    log: &impl EventLog,
    subject: &str,
    before: Option<Seq>,
    limit: usize,
    wanted: &(dyn Fn(&Record) -> bool + Sync),
) -> Result<Vec<Record>, LogError> {
    let mut high = match before {
        Some(before) => before.get(),
        None => log.head().await?.seq.map_or(1, |s| s.get() + 1),
    };
    let mut stretch = STRETCH;
    let mut found = Vec::new();
    while high > 1 && found.len() < limit {
        let low = high.saturating_sub(stretch).max(1);
        let last = last_between(log, subject, (low, high), limit - found.len(), wanted).await?;
        found.extend(last.into_iter().rev());
        high = low;
        stretch = stretch.saturating_mul(GROWTH);
    }
    Ok(found)
}

/// Returns the last `limit` wanted events from `low` on and before `high`, oldest first.
async fn last_between(
    log: &impl EventLog,
    subject: &str,
    (low, high): (u64, u64),
    limit: usize,
    wanted: &(dyn Fn(&Record) -> bool + Sync),
) -> Result<VecDeque<Record>, LogError> {
    let mut last = VecDeque::new();
    let mut after = Seq::new(low - 1);
    loop {
        let page = log.read_subject(Subjects::Exactly(subject), after, READ).await?;
        let whole = page.len() == READ;
        after = page.last().map(|r| r.seq);
        for record in page {
            if record.seq.get() >= high {
                return Ok(last);
            }
            if !wanted(&record) {
                continue;
            }
            last.push_back(record);
            if last.len() > limit {
                last.pop_front();
            }
        }
        if !whole {
            return Ok(last);
        }
    }
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
    let mut found = Vec::new();
    for record in newest(log, subject, until.map(Seq::next), limit).await? {
        let mut causes = Vec::new();
        let mut cause = record.causation;
        while let Some(seq) = cause.filter(|_| causes.len() < CAUSES_MAX) {
            causes.push(seq);
            cause = event(log, seq).await?.and_then(|r| r.causation);
        }
        found.push((record, causes));
    }
    Ok(found)
}
