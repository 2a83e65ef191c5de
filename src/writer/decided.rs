//! Finds the rebuild that a task belongs to. The task's `custom_user_metadata` names it; the
//! rebuild must be one of this log.

use super::Writer;
use crate::event::{CommandId, Event, RebuildRequested, TaskChanged};
use crate::log::LogError;
use crate::model::RebuildId;

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
        let requested = match self.decision(&id).await? {
            Some(Event::RebuildRequested(requested)) => Some(requested),
            _ => None,
        };
        Ok(requested.filter(|r| is_of(task, r)).map(|_| RebuildId(id.seq.get())))
    }
}

/// Checks whether a task builds the requested source for the requested target.
fn is_of(task: &TaskChanged, asked: &RebuildRequested) -> bool {
    task.hub == asked.hub
        && task.package == asked.nvr.name
        && task.nvr.as_ref().is_none_or(|nvr| *nvr == asked.nvr)
        && task.target.as_ref().is_none_or(|target| *target == asked.target)
}
