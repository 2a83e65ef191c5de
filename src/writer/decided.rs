//! Whose task a task is: the rebuild that a task's `custom_user_metadata` names, where that is one of this log.

use super::turn::Writer;
use crate::event::{CommandId, Event, RebuildRequested, Record, TaskChanged};
use crate::log::{EventLog, LogError};
use crate::model::{RebuildId, Seq};

impl Writer {
    /// The rebuild a task became of. `None` where its metadata names none that this log decided: another log's, one of
    /// a past the log went back behind (a backup was restored), or one whose source or target the task does not have.
    ///
    /// # Errors
    /// Unavailable when the log cannot be read.
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

/// Whether a task builds what was asked for, where it was asked for.
fn is_of(task: &TaskChanged, asked: &RebuildRequested) -> bool {
    task.hub == asked.hub
        && task.package == asked.nvr.name
        && task.nvr.as_ref().is_none_or(|nvr| *nvr == asked.nvr)
        && task.target.as_ref().is_none_or(|target| *target == asked.target)
}
