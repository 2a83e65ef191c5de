//! Takes in what outside executors say about commands.

use super::Writer;
use super::submission::Submission;
use crate::event::{CommandId, Event, Record};
use crate::fold::Standing;
use crate::log::{Disposition, EventLog, LogError, Position, Settled};
use crate::message::{Became, CommandResult};
use crate::model::{Hub, RebuildId, Seq, TaskId, Timestamp};

/// What is to be done about a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResultOf {
    /// Nothing more.
    Settled,
    /// The hub must be asked about this task. The message waits for that.
    Look(Hub, TaskId),
    /// The command with this id is carried out. It has to be marked as sent once the message is
    /// settled.
    Sent(String),
}

impl Writer {
    /// Handles the result of a command, and settles its message unless a hub must be asked first.
    ///
    /// A result counts only for a command of this log, for a hub whose commands go to outside
    /// executors, and only while the command waits. What makes no sense is parked.
    ///
    /// # Errors
    /// Fails like [`Writer::message`].
    pub async fn result(&mut self, position: Position, raw: &[u8], now: Timestamp) -> Result<ResultOf, LogError> {
        let (disposition, then) = match CommandResult::read(raw) {
            Ok(result) => self.judged(result, now).await?,
            Err(reason) => (Disposition::Parked { reason }, ResultOf::Settled),
        };
        if !matches!(then, ResultOf::Look(..)) {
            self.metrics.settled(crate::message::RESULT_TOPIC, disposition.label());
            self.commit.settled.push(Settled { position, disposition });
        }
        Ok(then)
    }

    async fn judged(&mut self, result: CommandResult, now: Timestamp) -> Result<(Disposition, ResultOf), LogError> {
        let parked = |reason: String| Ok((Disposition::Parked { reason }, ResultOf::Settled));
        let id = match CommandId::parse(&result.command).filter(|id| id.log == self.log_id()) {
            Some(id) => id,
            None => return parked(format!("`{}` is no command of this log", result.command)),
        };
        let Some(decision) = self.decision(&id).await? else {
            return parked(format!(
                "`{}` is no command of this log, or of a part that a restore dropped",
                result.command
            ));
        };
        let hub = match &decision {
            Event::RebuildRequested(requested) => &requested.hub,
            Event::RebuildCancelRequested(cancel) => &cancel.hub,
            other => return parked(format!("event {} is `{}`, from which no command follows", id.seq, other.kind())),
        };
        if !self.settings.outside.contains(hub) {
            return parked(format!("no outside executor is configured for hub `{hub}`"));
        }
        let ignored = |reason: &str| Ok((Disposition::Ignored { reason: reason.to_owned() }, ResultOf::Settled));
        match (decision, result.became) {
            (Event::RebuildRequested(requested), Became::Submitted { task_id }) => {
                Ok((Disposition::Done, ResultOf::Look(requested.hub, task_id)))
            }
            (Event::RebuildRequested(_), Became::Refused { reason }) => {
                let rebuild = RebuildId(id.seq.get());
                match self.state().standing(rebuild) {
                    Standing::Open | Standing::Paused => {
                        self.submission(Submission::Refused { rebuild, reason }, now).await?;
                        Ok((Disposition::Done, ResultOf::Settled))
                    }
                    Standing::Closed => ignored("the rebuild was closed before"),
                    Standing::Submitted(..) => ignored("the rebuild has a task"),
                }
            }
            (Event::RebuildRequested(_), Became::Done) => {
                parked("a rebuild ends as `submitted` or `refused`, not as `done`".to_owned())
            }
            (_, Became::Submitted { .. }) => {
                parked("a cancellation ends as `done` or `refused`, not as `submitted`".to_owned())
            }
            (_, became) => {
                if let Became::Refused { reason } = became {
                    let command = &result.command;
                    tracing::warn!(%command, %reason, "an executor says that a task cannot be cancelled");
                }
                Ok((Disposition::Done, ResultOf::Sent(result.command)))
            }
        }
    }

    /// Returns the event from which a command of this log followed. `None`: this log has no such
    /// event.
    ///
    /// # Errors
    /// Fails if the log cannot be read; the error is unavailable.
    pub(crate) async fn decision(&self, id: &CommandId) -> Result<Option<Event>, LogError> {
        let decided = |record: &Record| (record.seq, record.hash) == (id.seq, id.hash);
        let found = match self.commit.records.iter().find(|r| r.seq == id.seq) {
            Some(waiting) => Some(waiting.clone()),
            None => self.log.read(Seq::new(id.seq.get() - 1), 1).await?.into_iter().next(),
        };
        Ok(found.filter(decided).and_then(|record| Some(record.decode().ok()?.event)))
    }
}
