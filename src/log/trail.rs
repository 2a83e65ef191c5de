//! What happened to something, newest first.
//!
//! The log is read forward. From its end backward one looks at stretches that grow until enough is found, so that the
//! cost is that of what is shown and a few look-ups, not that of a long history.

use std::collections::VecDeque;

use super::{EventLog, LogError, Subjects};
use crate::event::Record;
use crate::model::Seq;

/// Causes followed from one event.
const CAUSES_MAX: usize = 8;
/// Events of the log the first stretch covers.
const STRETCH: u64 = 4_096;
/// How much longer each stretch is than the one before.
const GROWTH: u64 = 8;
/// Events read at a time within a stretch.
const READ: usize = 500;

/// The last events about exactly `subject` before `before` (absent: to the end), newest first, at most `limit`.
///
/// # Errors
/// Those of reading the log.
pub(crate) async fn newest(
    log: &impl EventLog,
    subject: &str,
    before: Option<Seq>,
    limit: usize,
) -> Result<Vec<Record>, LogError> {
    newest_that(log, subject, before, limit, &|_| true).await
}

/// The last event of a kind about exactly `subject` before `before` (absent: to the end).
///
/// # Errors
/// Those of reading the log.
pub(crate) async fn last_of(
    log: &impl EventLog,
    subject: &str,
    kind: &str,
    before: Option<Seq>,
) -> Result<Option<Record>, LogError> {
    Ok(newest_that(log, subject, before, 1, &|r| r.kind == kind).await?.pop())
}

/// The last events of some kinds about exactly `subject`, newest first, at most `limit`.
///
/// # Errors
/// Those of reading the log.
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

/// The last `limit` events that are wanted from `low` on and before `high`, oldest first.
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

/// One event; `None` beyond the end of the log.
///
/// # Errors
/// Those of reading the log.
pub(crate) async fn event(log: &impl EventLog, seq: Seq) -> Result<Option<Record>, LogError> {
    Ok(log.read(Seq::new(seq.get() - 1), 1).await?.into_iter().next())
}

/// An event, and the sequences of its causes, nearest first.
pub(crate) type WithCauses = (Record, Vec<Seq>);

/// The last events about exactly `subject` up to `until` (absent: to the end), newest first, at most `limit`, each with
/// at most [`CAUSES_MAX`] causes.
///
/// # Errors
/// Those of reading the log.
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
