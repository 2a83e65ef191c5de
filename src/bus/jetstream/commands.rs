//! A subject of NATS that takes commands.

use async_nats::jetstream::message::PublishMessage;

use super::{Connection, DUPLICATE_WINDOW, JetStreamError};
use crate::message::entry::MAX_MESSAGE;

/// A subject that takes commands.
#[derive(Debug)]
pub struct CommandStream {
    connection: Connection,
    stream: String,
    subject: String,
}

impl Connection {
    /// A sink for commands: `subject` in `stream`, which is made when it does not exist.
    ///
    /// # Errors
    /// [`JetStreamError`]: rejected when a stream of that name exists and does not take the subject, or forgets the ids
    /// of commands too soon.
    pub async fn commands(&self, stream: &str, subject: &str) -> Result<CommandStream, JetStreamError> {
        let commands =
            CommandStream { connection: self.clone(), stream: stream.to_owned(), subject: subject.to_owned() };
        commands.look().await?;
        Ok(commands)
    }
}

impl CommandStream {
    /// Sees to it that the stream is there and fit, before commands are sent: somebody may have deleted or changed it.
    /// One that is gone is made again, and that is said.
    ///
    /// # Errors
    /// As [`Connection::commands`].
    pub async fn ready(&self) -> Result<(), JetStreamError> {
        if self.look().await? {
            tracing::warn!(stream = %self.stream, "the stream of commands was gone and is made again; what was in it \
                is not");
        }
        Ok(())
    }

    /// Whether the stream had to be made.
    async fn look(&self) -> Result<bool, JetStreamError> {
        let (stream, made) = self.connection.stream(&self.stream, &self.subject).await?;
        let found = stream.cached_info().config.duplicate_window;
        if found < DUPLICATE_WINDOW {
            return Err(JetStreamError::Window { stream: self.stream.clone(), found });
        }
        Ok(made)
    }

    /// Publishes a command and waits until the stream has it. `false`: the stream had it already (within its window
    /// for doubles, a day at least), and keeps one.
    ///
    /// # Errors
    /// [`JetStreamError`]: unavailable when the server does not answer (whether it has the command is then open;
    /// sending it again is safe), rejected when the command is too large.
    pub async fn publish(&self, id: &str, json: &str) -> Result<bool, JetStreamError> {
        let limit = self.connection.client.max_payload().min(MAX_MESSAGE);
        if json.len() > limit {
            return Err(JetStreamError::TooLarge { id: id.to_owned(), size: json.len(), limit });
        }
        let failed = |e: async_nats::Error| self.connection.unavailable(format!("publish command {id}"), e);
        let message =
            PublishMessage::build().payload(json.to_owned().into()).message_id(id).expected_stream(&self.stream);
        let sent = self.connection.context.send_publish(self.subject.clone(), message).await;
        let acknowledged = sent.map_err(|e| failed(e.into()))?.await.map_err(|e| failed(e.into()))?;
        Ok(!acknowledged.duplicate)
    }
}
