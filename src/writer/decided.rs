//! Finds the rebuild that a task belongs to. The task's `custom_user_metadata` names it; the
//! rebuild must be one of this log.

use super::Writer;
use crate::event::{CommandId, Event, RebuildRequested, Record, TaskChanged};
use crate::log::{EventLog, LogError};
use crate::model::{RebuildId, Seq};

impl Writer {
    /// Returns the rebuild a task was submitted for.
    ///
    /// `None` if the task's metadata names no rebuild that this log decided. That is so in three
    /// cases: the rebuild belongs to another log; a restored backup has dropped it from this log;
    /// or the task's source or target differs from the rebuild's.
    ///
    /// # Errors
    /// Fails if the log cannot be read; the error is unavailable.
    pub(crate) async fn decided(&self, task: &TaskChanged) -> Result<Option<RebuildId>, LogError> {
        let Some(id) = task.decision.as_deref().and_then(CommandId::parse) else { return Ok(None) };
        if id.log != self.log_id() {
            return Ok(None);
        }
        let requested = match self.commit.records.iter().find(|r| r.seq == id.seq) {
            Some(waiting) => requested(waiting, &id),
            None => {
                let page = self.log.read(Seq::new(id.seq.get() - 1), 1).await?;
                page.first().and_then(|record| requested(record, &id))
            }
        };
        Ok(requested.filter(|r| is_of(task, r)).map(|_| RebuildId(id.seq.get())))
    }
}

fn requested(record: &Record, id: &CommandId) -> Option<RebuildRequested> {
    if (record.seq, record.hash) != (id.seq, id.hash) {
        return None;
    }
    match record.decode().ok()?.event {
        Event::RebuildRequested(requested) => Some(requested),
        _ => None,
    }
}

/// Checks whether a task builds the requested source for the requested target.
fn is_of(task: &TaskChanged, asked: &RebuildRequested) -> bool {
    task.hub == asked.hub
        && task.package == asked.nvr.name
        && task.nvr.as_ref().is_none_or(|nvr| *nvr == asked.nvr)
        && task.target.as_ref().is_none_or(|target| *target == asked.target)
}
