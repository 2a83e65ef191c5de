//! Reads the commands of one hub from the outbox.

use crate::decide::command::{CancelCommand, Command, RebuildCommand};
use crate::log::{AnyLog, EventLog, LogError};
use crate::model::Hub;

/// Commands of one hub that wait in the outbox, oldest first.
#[derive(Debug)]
pub struct WaitingCommands {
    /// Rebuilds to submit.
    pub rebuilds: Vec<RebuildCommand>,
    /// Tasks to cancel.
    pub cancels: Vec<CancelCommand>,
    /// Whether these are all. The outbox may have more, for this hub or others, than were read.
    pub complete: bool,
}

impl WaitingCommands {
    /// Reads the first `limit` commands of the outbox and keeps those of a hub. A command that cannot
    /// be read is marked as sent and logged as an error, because nobody else can read it either.
    ///
    /// # Errors
    /// Fails if the log cannot be read or marked.
    pub async fn read(log: &AnyLog, hub: &Hub, limit: usize) -> Result<Self, LogError> {
        let pending = log.pending_commands(limit).await?;
        let mut waiting = Self { rebuilds: Vec::new(), cancels: Vec::new(), complete: pending.len() < limit };
        for command in pending {
            match Command::read(&command.kind, &command.payload) {
                Ok(Some(Command::Rebuild(command))) if command.hub == *hub => waiting.rebuilds.push(*command),
                Ok(Some(Command::Cancel(command))) if command.hub == *hub => waiting.cancels.push(command),
                Ok(_) => {}
                Err(e) => {
                    tracing::error!(
                        command = %command.id,
                        error = %crate::model::causes::with_causes(&e),
                        "a command in the outbox cannot be read and is ignored"
                    );
                    log.mark_sent(&[command.id]).await?;
                }
            }
        }
        Ok(waiting)
    }
}
