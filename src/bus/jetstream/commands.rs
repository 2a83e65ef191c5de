//! Publishes commands on a NATS subject.

use async_nats::jetstream::message::PublishMessage;

use super::{Connection, DUPLICATE_WINDOW, JetStreamError};
use crate::message::entry::MAX_MESSAGE;

/// Header with the id of a command.
pub(super) const COMMAND: &str = "Koschei-Command";

/// A NATS subject that takes commands.
#[derive(Debug)]
pub struct CommandStream {
    connection: Connection,
    stream: String,
    subject: String,
}

impl Connection {
    /// Returns a sink for commands: `subject` in `stream`. Makes the stream if it does not exist.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is rejected if a stream of that name exists and does not take
    /// the subject, or forgets command ids too soon.
    pub async fn commands(&self, stream: &str, subject: &str) -> Result<CommandStream, JetStreamError> {
        let commands =
            CommandStream { connection: self.clone(), stream: stream.to_owned(), subject: subject.to_owned() };
        commands.look().await?;
        Ok(commands)
    }
}

impl CommandStream {
    /// Checks the stream before commands are sent, because somebody may have deleted or changed it.
    /// A missing stream is made again, with a warning.
    ///
    /// # Errors
    /// Fails like [`Connection::commands`].
    pub async fn ready(&self) -> Result<(), JetStreamError> {
        if self.look().await? {
            tracing::warn!(stream = %self.stream, "the stream of commands was deleted and is created again; its \
                commands are lost");
        }
        Ok(())
    }

    /// Checks the stream. Returns whether it had to be made.
    async fn look(&self) -> Result<bool, JetStreamError> {
        let (stream, made) = self.connection.stream(&self.stream, &self.subject).await?;
        let found = stream.cached_info().config.duplicate_window;
        if found < DUPLICATE_WINDOW {
            return Err(JetStreamError::Window { stream: self.stream.clone(), found });
        }
        Ok(made)
    }

    /// Publishes a command and waits until the stream has it. Returns `false` if the stream already
    /// had it and keeps only one. The stream recognises duplicates within its window, which is a
    /// day at least.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is unavailable if the server does not answer: the stream may
    /// then have the command, and sending it again is safe. It is rejected if the command is too
    /// large.
    pub async fn publish(&self, id: &str, json: &str) -> Result<bool, JetStreamError> {
        let limit = self.connection.client.max_payload().min(MAX_MESSAGE);
        if json.len() > limit {
            return Err(JetStreamError::TooLarge { id: id.to_owned(), size: json.len(), limit });
        }
        let failed = |e: async_nats::Error| self.connection.unavailable(format!("publish command {id}"), e);
        let message = PublishMessage::build()
            .payload(json.to_owned().into())
            .message_id(id)
            .expected_stream(&self.stream)
            .header(COMMAND, id);
        let sent = self.connection.context.send_publish(self.subject.clone(), message).await;
        let acknowledged = sent.map_err(|e| failed(e.into()))?.await.map_err(|e| failed(e.into()))?;
        Ok(!acknowledged.duplicate)
    }
}
