//! Reads messages through a durable consumer of a stream.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{self, AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{Connection, JetStreamError, MAX_BATCH, REQUEST_TIMEOUT, mismatch, pause};
use crate::message::entry::Entry;

/// Number of checks that must find another client at our consumer before we report it.
const OTHERS_NOTICED: u32 = 3;
/// Largest random delay of a check. It keeps the checks of several followers from staying in step.
const OUT_OF_STEP: Duration = Duration::from_millis(200);
/// Time after which a missing consumer is made again.
const MADE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Settings of a JetStream source.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Name of the stream. It is made if it does not exist.
    pub stream: String,
    /// Subject of the messages in it, possibly with wildcards.
    pub subject: String,
    /// Name of the durable consumer. It remembers what was acknowledged, and is made if it does not
    /// exist.
    pub consumer: String,
    /// Time after which a message that was not acknowledged comes again.
    pub ack_wait: Duration,
}

impl Connection {
    /// Returns a source of messages.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is rejected if a stream or consumer of that name exists with
    /// other settings.
    pub async fn source(&self, settings: &SourceSettings) -> Result<JetStreamSource, JetStreamError> {
        let (consumer, _) = self.consumer(settings).await?;
        Ok(JetStreamSource {
            connection: self.clone(),
            settings: settings.clone(),
            consumer: RwLock::new(consumer),
            gone: Mutex::default(),
            others: AtomicU32::new(0),
        })
    }

    /// Returns the consumer, and whether it or its stream had to be made.
    async fn consumer(&self, settings: &SourceSettings) -> Result<(PullConsumer, bool), JetStreamError> {
        let (stream, made) = self.stream(&settings.stream, &settings.subject).await?;
        let (consumer, too) = self.consumer_of(&stream, settings).await?;
        Ok((consumer, made || too))
    }

    /// Returns a consumer of a stream, and whether it had to be made.
    pub(super) async fn consumer_of(
        &self,
        stream: &Stream,
        settings: &SourceSettings,
    ) -> Result<(PullConsumer, bool), JetStreamError> {
        let mut is_new = false;
        let wanted = wanted(settings);
        let doing = || format!("look up consumer {}", settings.consumer);
        match stream.consumer_info(&settings.consumer).await {
            Ok(_) => (),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
                is_new = true;
                let made = stream.create_consumer(wanted.clone()).await;
                made.map_err(|e| self.unavailable(format!("create consumer {}", settings.consumer), e))?;
            }
            Err(error) => return Err(self.unavailable(doing(), error)),
        }
        let consumer: PullConsumer =
            stream.get_consumer(&settings.consumer).await.map_err(|e| self.unavailable(doing(), e))?;
        check(&consumer.cached_info().config, settings, &stream.cached_info().config.subjects)?;
        Ok((consumer, is_new))
    }
}

fn wanted(settings: &SourceSettings) -> pull::Config {
    pull::Config {
        durable_name: Some(settings.consumer.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        filter_subject: settings.subject.clone(),
        // No limit: we park what we cannot understand, and the server must not drop it.
        max_deliver: -1,
        max_ack_pending: i64::try_from(4 * MAX_BATCH).unwrap_or(i64::MAX),
        ..pull::Config::default()
    }
}

/// Checks whether a consumer has the wanted settings. `subjects` are those of its stream.
fn check(found: &consumer::Config, settings: &SourceSettings, subjects: &[String]) -> Result<(), JetStreamError> {
    let wanted = wanted(settings);
    let pairs = [
        ("acknowledgement", format!("{:?}", found.ack_policy), format!("{:?}", wanted.ack_policy)),
        ("subject", found.filter_subject.clone(), wanted.filter_subject.clone()),
        ("number of deliveries", found.max_deliver.to_string(), wanted.max_deliver.to_string()),
        ("time to acknowledge", format!("{:?}", found.ack_wait), format!("{:?}", wanted.ack_wait)),
        ("headers_only", found.headers_only.to_string(), "false".to_owned()),
    ];
    for (field, found, expected) in pairs {
        // A server may leave out a filter that equals the stream's only subject.
        let whole = field == "subject" && found.is_empty() && subjects == [expected.clone()];
        if found != expected && !whole {
            return Err(mismatch(format!("consumer {}", settings.consumer), field, found, &expected));
        }
    }
    Ok(())
}

/// A durable consumer of messages.
///
/// If somebody deletes the consumer, alone or with its stream, it is made again. Messages that are
/// still in the stream then come again, and their ids show it.
pub struct JetStreamSource {
    connection: Connection,
    settings: SourceSettings,
    consumer: RwLock<PullConsumer>,
    /// Time since when the consumer is missing.
    gone: Mutex<Option<Instant>>,
    /// Number of checks that found another client waiting for its messages.
    others: AtomicU32,
}

impl fmt::Debug for JetStreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamSource").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Permission to acknowledge one message. Use it after the message's content is committed. If it is
/// dropped unused, the message comes again after the acknowledgement timeout.
pub struct AckHandle(Acker);

impl fmt::Debug for AckHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckHandle")
    }
}

/// What a consumer has not finished yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backlog {
    /// Messages that were never delivered.
    pub waiting: u64,
    /// Messages that were delivered and not acknowledged.
    pub unacknowledged: u64,
}

impl JetStreamSource {
    fn consumer(&self) -> PullConsumer {
        self.consumer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the next messages, oldest first: at most `max` and at most [`MAX_BATCH`].
    ///
    /// Waits up to `wait` for the first message. The list is empty if none came. While the server
    /// is away, tries again with growing pauses within the same time.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is unavailable if the server was away for all of `wait`, or
    /// the consumer is missing for now. It is rejected if the consumer has other settings now.
    pub async fn fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AckHandle)>, JetStreamError> {
        let deadline = Instant::now() + wait;
        let mut attempt = 0;
        loop {
            attempt += 1;
            if self.gone().is_some() {
                self.look().await?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut losses = self.connection.losses.clone();
            losses.mark_unchanged();
            let error = tokio::select! {
                fetched = self.try_fetch(max.clamp(1, MAX_BATCH), left) => match fetched {
                    Ok(messages) if !messages.is_empty() || wait.is_zero() => return Ok(messages),
                    // If nobody answers a request, the server does not say so. The consumer must be
                    // checked.
                    Ok(_) => match self.look().await {
                        Ok(()) => return Ok(Vec::new()),
                        Err(error) => error,
                    },
                    Err(error) => match self.look().await {
                        Err(other) => other,
                        Ok(()) => self.connection.unavailable("fetch messages", error),
                    },
                },
                _ = losses.changed() => self.connection.unavailable("fetch messages", "the connection was lost"),
            };
            if !matches!(error, JetStreamError::Unavailable { .. }) {
                return Err(error);
            }
            let pause = pause(attempt);
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Checks that the consumer exists unchanged, and that nobody else takes its messages.
    async fn look(&self) -> Result<(), JetStreamError> {
        let SourceSettings { stream, consumer, .. } = &self.settings;
        let doing = || format!("look up consumer {consumer}");
        if self.connection.client.connection_state() != State::Connected {
            return Err(self.connection.unavailable(doing(), "not connected"));
        }
        // Two followers that wait in step would see each other only rarely.
        tokio::time::sleep(rand::random_range(Duration::ZERO..OUT_OF_STEP)).await;
        match self.consumer().get_info().await {
            Ok(info) => {
                // If the server leaves out the filter, the stream has only this subject. That was
                // checked when the source was opened.
                check(&info.config, &self.settings, std::slice::from_ref(&self.settings.subject))?;
                *self.gone() = None;
                self.notice(info.num_waiting);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound) => {
                let since = *self.gone().get_or_insert_with(Instant::now);
                // If the stream's deletion is still running, it also deletes what is made in its
                // place.
                if since.elapsed() < MADE_AGAIN_AFTER {
                    return Err(JetStreamError::Gone { stream: stream.clone(), consumer: consumer.clone() });
                }
                let (made, _) = self.connection.consumer(&self.settings).await?;
                *self.consumer.write().unwrap_or_else(PoisonError::into_inner) = made;
                *self.gone() = None;
                tracing::warn!(%stream, %consumer, "the consumer of messages is created again; messages published \
                    meanwhile may be lost, and messages in the stream come again");
                Ok(())
            }
            Err(e) => Err(self.connection.unavailable(doing(), e)),
        }
    }

    /// Returns the time since when the consumer is missing.
    fn gone(&self) -> MutexGuard<'_, Option<Instant>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports another client that waits for messages, because it gets some of ours. Our own
    /// requests have ended at this point; a request of an earlier process of ours may not have.
    fn notice(&self, waiting: usize) {
        if waiting > 0 && self.others.fetch_add(1, Ordering::Relaxed) + 1 == OTHERS_NOTICED {
            let SourceSettings { stream, consumer, .. } = &self.settings;
            tracing::error!(%stream, %consumer, waiting, "another process takes messages of our consumer, and each \
                message reaches only one process; give every log a --consumer of its own");
        }
    }

    async fn try_fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AckHandle)>, async_nats::Error> {
        // A request made now would reach the server only after this call has given up on it.
        if self.connection.client.connection_state() != State::Connected {
            return Err("not connected".into());
        }
        let consumer = self.consumer();
        let at_hand = consumer.fetch().max_messages(max).messages().await?;
        let mut found = collect(at_hand, REQUEST_TIMEOUT).await?;
        if found.is_empty() && !wait.is_zero() {
            // No message is there. Wait for one, then take those that came with it.
            let first = consumer.batch().max_messages(1).expires(wait).messages().await?;
            found = collect(first, wait + REQUEST_TIMEOUT).await?;
            if !found.is_empty() && max > 1 {
                let more = consumer.fetch().max_messages(max - 1).messages().await?;
                // The messages already here matter more than an error. If the error persists, the
                // next fetch sees it.
                found.extend(collect(more, REQUEST_TIMEOUT).await.unwrap_or_default());
            }
        }
        Ok(found)
    }

    /// Returns what the server holds for us. Used for metrics.
    ///
    /// # Errors
    /// Returns [`JetStreamError::Unavailable`] if the server does not answer.
    pub async fn backlog(&self) -> Result<Backlog, JetStreamError> {
        let info = self.consumer().get_info().await;
        let info = info.map_err(|e| self.connection.unavailable("look up the consumer", e))?;
        Ok(Backlog { waiting: info.num_pending, unacknowledged: info.num_ack_pending as u64 })
    }

    /// Acknowledges messages whose content is committed, and waits until the server has the
    /// acknowledgements.
    ///
    /// # Errors
    /// Returns [`JetStreamError::Unavailable`] if that fails. Some messages then come again, and
    /// their ids show it.
    pub async fn ack_all(&self, handles: impl IntoIterator<Item = AckHandle>) -> Result<(), JetStreamError> {
        let failed = |source: async_nats::Error| self.connection.unavailable("acknowledge messages", source);
        for AckHandle(acker) in handles {
            acker.ack().await.map_err(failed)?;
        }
        let flushed = tokio::time::timeout(REQUEST_TIMEOUT, self.connection.client.flush()).await;
        flushed.map_err(|e| failed(e.into()))?.map_err(|e| failed(e.into()))
    }
}

/// Collects the messages of one request. The server announces the end of a request, but it may go
/// away before that. So each message, and the end, must come within `patience`.
async fn collect(mut batch: pull::Batch, patience: Duration) -> Result<Vec<(Entry, AckHandle)>, async_nats::Error> {
    let mut found = Vec::new();
    loop {
        match tokio::time::timeout(patience, batch.next()).await {
            Ok(Some(Ok(message))) => {
                let sequence = message.info().map_err(|e| e.to_string())?.stream_sequence;
                let (message, acker) = message.split();
                found.push((Entry::parse(message.payload.to_vec(), sequence), AckHandle(acker)));
            }
            Ok(None) => return Ok(found),
            Ok(Some(Err(_))) | Err(_) if !found.is_empty() => return Ok(found),
            Ok(Some(Err(error))) => return Err(error),
            Err(elapsed) => return Err(elapsed.into()),
        }
    }
}
