//! A work queue of commands, for executors that are not ours.
//!
//! Each command has a subject of its own, `PREFIX.HUB.ID`, so the stream itself says which commands
//! it has: those that wait, and those that an executor took and has not acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, RetentionPolicy, StorageType, Stream};
use futures_util::TryStreamExt as _;

use super::commands::COMMAND;
use super::events::token;
use super::{Connection, DUPLICATE_WINDOW, JetStreamError, SourceSettings, mismatch};
use crate::message::entry::MAX_MESSAGE;

/// How long an executor may have a command before another one gets it, unless it says that it is
/// still at work.
const TAKEN_FOR: Duration = Duration::from_secs(30);
/// Most subjects that are read of a stream. The queue has fewer commands than may run.
const SUBJECTS_MAX: usize = 100_000;

/// Where a hub's commands go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueSettings {
    /// Name of the stream. It is made if it does not exist.
    pub stream: String,
    /// What the subjects of commands begin with.
    pub subject: String,
    /// The hub.
    pub hub: String,
}

impl QueueSettings {
    /// Returns the name of the consumer from which executors take commands.
    pub fn consumer(&self) -> String {
        // NATS 2.9 delivers nothing to a consumer with `%` in its name.
        format!("executor-{}", token(&self.hub).replace('%', "="))
    }

    /// Returns the subjects of this hub's commands, with `end` as the last word.
    fn subjects(&self, end: &str) -> String {
        format!("{}.{}.{end}", self.subject, token(&self.hub))
    }

    /// Checks whether a stream is a queue from which commands can be taken out.
    fn fits(&self, stream: &Stream) -> Result<(), JetStreamError> {
        let config = &stream.cached_info().config;
        let what = || format!("stream {}", self.stream);
        if config.retention != RetentionPolicy::WorkQueue {
            return Err(mismatch(what(), "retention", format!("{:?}", config.retention), "WorkQueue"));
        }
        if config.deny_delete {
            return Err(mismatch(what(), "permission to delete", "denied", "allowed"));
        }
        Ok(())
    }
}

/// The queue of one hub's commands.
#[derive(Debug)]
pub struct WorkQueue {
    connection: Connection,
    settings: QueueSettings,
    stream: Stream,
}

impl Connection {
    /// Returns the queue of a hub, and whether its stream had to be made. Makes the consumer, too, if it
    /// does not exist.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is rejected if a stream or consumer of that name exists with
    /// other settings.
    pub async fn work_queue(&self, settings: &QueueSettings) -> Result<(WorkQueue, bool), JetStreamError> {
        let wanted = stream::Config {
            name: settings.stream.clone(),
            subjects: vec![format!("{}.>", settings.subject)],
            storage: StorageType::File,
            retention: RetentionPolicy::WorkQueue,
            duplicate_window: DUPLICATE_WINDOW,
            max_message_size: i32::try_from(MAX_MESSAGE).unwrap_or(i32::MAX),
            ..stream::Config::default()
        };
        let (stream, made) = self.stream_like(wanted, &settings.subjects(">")).await?;
        settings.fits(&stream)?;
        let consumer = SourceSettings {
            stream: settings.stream.clone(),
            subject: settings.subjects(">"),
            consumer: settings.consumer(),
            ack_wait: TAKEN_FOR,
        };
        self.consumer_of(&stream, &consumer).await?;
        Ok((WorkQueue { connection: self.clone(), settings: settings.clone(), stream }, made))
    }

    /// Checks whether the stream of a queue exists.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is rejected if a stream of that name has other settings.
    pub async fn has_work_queue(&self, settings: &QueueSettings) -> Result<bool, JetStreamError> {
        let Some(stream) = self.existing(&settings.stream, &settings.subjects(">")).await? else { return Ok(false) };
        settings.fits(&stream)?;
        Ok(true)
    }
}

impl WorkQueue {
    /// Returns the ids of the commands that the queue has, as [`WorkQueue::put`] got them.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]: unavailable, or rejected if the stream has too many messages to be
    /// a queue of commands.
    pub async fn held(&self) -> Result<BTreeSet<String>, JetStreamError> {
        let all = self.settings.subjects(">");
        let doing = || format!("read which commands stream {} has", self.settings.stream);
        let mut subjects = self.stream.info_with_subjects(&all).await.map_err(|e| self.unavailable(doing(), e))?;
        let (mut held, start) = (BTreeSet::new(), all.trim_end_matches('>').to_owned());
        while let Some((subject, _)) = subjects.try_next().await.map_err(|e| self.unavailable(doing(), e))? {
            held.insert(subject.strip_prefix(&start).unwrap_or_default().to_owned());
            if held.len() > SUBJECTS_MAX {
                let found = format!("those of more than {SUBJECTS_MAX} commands");
                return Err(mismatch(format!("stream {}", self.settings.stream), "subjects", found, &all));
            }
        }
        Ok(held)
    }

    /// Puts a command into the queue, unless the queue has it. Returns whether it had to.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is unavailable if the server does not answer: the queue may then
    /// have the command, and putting it there again is safe. It is rejected if the command is too
    /// large.
    pub async fn put(&self, id: &str, json: String) -> Result<bool, JetStreamError> {
        let limit = self.connection.client.max_payload().min(MAX_MESSAGE);
        if json.len() > limit {
            return Err(JetStreamError::TooLarge { id: id.to_owned(), size: json.len(), limit });
        }
        let failed = |e: async_nats::Error| self.unavailable(format!("put command {id} into the queue"), e);
        // The server refuses a second message on the subject while it has the first.
        let message = PublishMessage::build()
            .payload(json.into())
            .header(COMMAND, id)
            .expected_stream(&self.settings.stream)
            .expected_last_subject_sequence(0);
        let sent = self.connection.context.send_publish(self.settings.subjects(id), message).await;
        match sent.map_err(|e| failed(e.into()))?.await {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(e) => Err(failed(e.into())),
        }
    }

    /// Takes a command out of the queue. An executor that has it goes on.
    ///
    /// # Errors
    /// Returns [`JetStreamError::Unavailable`] if the server does not answer.
    pub async fn take_out(&self, id: &str) -> Result<(), JetStreamError> {
        let doing = || format!("take command {id} out of the queue");
        // Purging a subject would be one request, but after that NATS 2.9 delivers nothing to consumers
        // that waits behind it.
        let Some(sequence) = self.sequence(id).await? else { return Ok(()) };
        match self.stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            // An executor may have acknowledged it meanwhile.
            Err(_) if self.sequence(id).await?.is_none() => Ok(()),
            Err(e) => Err(self.unavailable(doing(), e)),
        }
    }

    /// Returns the number in the stream of a command's message.
    async fn sequence(&self, id: &str) -> Result<Option<u64>, JetStreamError> {
        match self.stream.get_last_raw_message_by_subject(&self.settings.subjects(id)).await {
            Ok(message) => Ok(Some(message.sequence)),
            Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(e) => Err(self.unavailable(format!("look for command {id} in the queue"), e)),
        }
    }

    fn unavailable(&self, doing: String, source: impl Into<async_nats::Error>) -> JetStreamError {
        self.connection.unavailable(doing, source)
    }
}
