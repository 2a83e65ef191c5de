//! NATS JetStream: a source of Koji messages and a sink for commands.
//!
//! JetStream is transport, not truth: its acknowledgements precede the disk, so it may lose what it holds, and it may deliver
//! again what was acknowledged. Both are survived elsewhere (reconciliation, message ids in the inbox). This module promises
//! only that nothing is acknowledged before the caller says so.
//!
//! A message of the stream holds the same JSON object as a line of a recording.
//!
//! Servers before 2.10 drop settings they do not know without an error, and creating a consumer over an existing one
//! overwrites it. So what exists is only looked at, what is made is read back, and either must be what was wanted.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::{Acker, PublishMessage};
use async_nats::jetstream::stream::{self, StorageType, Stream};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectOptions, connection::State};
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::message::{Entry, MAX_MESSAGE};
use crate::model::{Class, Classified};

/// Most messages of one fetch; with what NATS allows a message to have by default (1 MiB), 256 MiB.
pub const MAX_BATCH: usize = 256;

/// Longest pause between attempts to connect or to fetch.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// First pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long one request to the server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server remembers ids of commands to drop doubles, in streams made here.
const DUPLICATE_WINDOW: Duration = Duration::from_hours(24);

/// How long messages stay in streams made here. What is older was taken in long ago, or reconciliation has found it.
const KEPT: Duration = Duration::from_hours(14 * 24);

/// How to reach the server.
#[derive(Clone)]
pub struct Server {
    /// Addresses separated by commas, such as `nats://nats.example.org:4222`, or `tls://user:password@host`. User and
    /// password never appear in errors.
    pub url: String,
    /// File with the certificates to trust (PEM), besides those of the system.
    pub root_certificates: Option<PathBuf>,
    /// Files with our certificate and its key (PEM), where the server wants one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl Server {
    /// The addresses without user and password.
    fn shown(&self) -> String {
        let bare = |address: &str| match (address.split_once("://"), address.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            (_, None) => address.to_owned(),
        };
        self.url.split(',').map(|address| bare(address.trim())).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.shown()).finish_non_exhaustive()
    }
}

/// Where messages come from.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Stream; made when it does not exist.
    pub stream: String,
    /// Subject, possibly with wildcards, of the messages in it.
    pub subject: String,
    /// Name of the durable consumer, which remembers what was acknowledged; made when it does not exist.
    pub consumer: String,
    /// After how long a message that was not acknowledged comes again.
    pub ack_wait: Duration,
}

/// What went wrong with NATS.
#[derive(Debug, thiserror::Error)]
pub enum JetStreamError {
    /// The server cannot be reached or does not answer.
    #[error("{doing} at {url}")]
    Unavailable {
        /// What was being done.
        doing: String,
        /// The server.
        url: String,
        /// What the client says.
        #[source]
        source: async_nats::Error,
    },
    /// Something of that name exists and is something else.
    #[error(
        "use {what}: its {field} is {found}, and should be {expected}; use another name, or delete it if nobody else needs it"
    )]
    Mismatch {
        /// Stream or consumer, with its name.
        what: String,
        /// The setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A command is larger than the server takes.
    #[error("publish command {id}: {size} bytes are more than the server takes ({limit})")]
    TooLarge {
        /// The command.
        id: String,
        /// Its size.
        size: usize,
        /// The server's limit (`max_payload`).
        limit: usize,
    },
}

impl Classified for JetStreamError {
    fn class(&self) -> Class {
        match self {
            Self::Unavailable { .. } => Class::Unavailable,
            Self::Mismatch { .. } | Self::TooLarge { .. } => Class::Rejected,
        }
    }
}

/// A connection. Cheap to clone; reconnects by itself, for ever, with growing pauses.
#[derive(Clone)]
pub struct Connection {
    url: String,
    client: Client,
    context: jetstream::Context,
    /// Changes whenever the connection is lost: what was asked then will not be answered any more.
    losses: watch::Receiver<u64>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The pause before attempt `attempt`, counted from 1: doubling, bounded, and up to half of it left to chance, so that not
/// all clients of a restarted server come at once.
fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let full = FIRST_PAUSE.saturating_mul(1 << doublings).min(MAX_PAUSE);
    full.mul_f64(rand::random_range(0.5..=1.0))
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`JetStreamError::Unavailable`] when no server answers, or none lets us in.
    pub async fn open(server: &Server) -> Result<Self, JetStreamError> {
        let (lost, losses) = watch::channel(0);
        let mut options = ConnectOptions::new()
            .event_callback(move |event| {
                if matches!(event, async_nats::Event::Disconnected) {
                    lost.send_modify(|count| *count += 1);
                }
                std::future::ready(())
            })
            .name("koschei")
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| if attempt == 0 { Duration::ZERO } else { pause(attempt) });
        if let Some(path) = &server.root_certificates {
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &server.client_certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let addresses: Vec<&str> = server.url.split(',').map(str::trim).collect();
        let connected = options.connect(addresses).await;
        let url = server.shown();
        let client = connected.map_err(|e| unavailable("connect to NATS", &url, e))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(REQUEST_TIMEOUT);
        Ok(Self { url, client, context, losses })
    }

    fn unavailable(&self, doing: impl Into<String>, source: impl Into<async_nats::Error>) -> JetStreamError {
        unavailable(doing, &self.url, source)
    }

    /// The stream, made when it does not exist. One that exists is used as it is, as long as it takes the subject.
    async fn stream(&self, name: &str, subject: &str) -> Result<Stream, JetStreamError> {
        let doing = || format!("look up stream {name}");
        let what = || format!("stream {name}");
        let stream = match self.context.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) if is_missing(&error.kind()) => {
                let wanted = stream::Config {
                    name: name.to_owned(),
                    subjects: vec![subject.to_owned()],
                    storage: StorageType::File,
                    duplicate_window: DUPLICATE_WINDOW,
                    max_age: KEPT,
                    max_message_size: i32::try_from(MAX_MESSAGE).unwrap_or(i32::MAX),
                    ..stream::Config::default()
                };
                let made = self.context.create_stream(wanted.clone()).await;
                made.map_err(|e| self.unavailable(format!("make stream {name}"), e))?;
                let stream = self.context.get_stream(name).await.map_err(|e| self.unavailable(doing(), e))?;
                let settings = |c: &stream::Config| {
                    let (storage, size) = (c.storage, c.max_message_size);
                    format!("{storage:?} for {:?}, doubles {:?}, {size} bytes", c.max_age, c.duplicate_window)
                };
                let (found, expected) = (settings(&stream.cached_info().config), settings(&wanted));
                if found != expected {
                    return Err(mismatch(what(), "storage", found, &expected));
                }
                stream
            }
            Err(error) => return Err(self.unavailable(doing(), error)),
        };
        let config = &stream.cached_info().config;
        if !config.subjects.iter().any(|pattern| covers(pattern, subject)) && config.sources.is_none() {
            return Err(mismatch(what(), "subjects", config.subjects.join(" "), subject));
        }
        if config.no_ack {
            return Err(mismatch(what(), "no_ack", "true", "false"));
        }
        Ok(stream)
    }

    /// A source of messages.
    ///
    /// # Errors
    /// [`JetStreamError`]: rejected when a stream or consumer of that name exists and is something else.
    pub async fn source(&self, settings: &SourceSettings) -> Result<JetStreamSource, JetStreamError> {
        let stream = self.stream(&settings.stream, &settings.subject).await?;
        let wanted = pull::Config {
            durable_name: Some(settings.consumer.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: settings.ack_wait,
            filter_subject: settings.subject.clone(),
            // For ever: what cannot be understood is parked by us, not dropped by the server.
            max_deliver: -1,
            max_ack_pending: i64::try_from(4 * MAX_BATCH).unwrap_or(i64::MAX),
            ..pull::Config::default()
        };
        let what = format!("consumer {}", settings.consumer);
        let doing = || format!("look up {what}");
        match stream.consumer_info(&settings.consumer).await {
            Ok(_) => (),
            Err(error) if error.kind() == jetstream::context::ConsumerInfoErrorKind::NotFound => {
                let made = stream.create_consumer(wanted.clone()).await;
                made.map_err(|e| self.unavailable(format!("make {what}"), e))?;
            }
            Err(error) => return Err(self.unavailable(doing(), error)),
        }
        let consumer: PullConsumer =
            stream.get_consumer(&settings.consumer).await.map_err(|e| self.unavailable(doing(), e))?;
        let found = &consumer.cached_info().config;
        let pairs = [
            ("acknowledgement", format!("{:?}", found.ack_policy), format!("{:?}", wanted.ack_policy)),
            ("subject", found.filter_subject.clone(), wanted.filter_subject.clone()),
            ("number of deliveries", found.max_deliver.to_string(), wanted.max_deliver.to_string()),
            ("time to acknowledge", format!("{:?}", found.ack_wait), format!("{:?}", wanted.ack_wait)),
            ("headers_only", found.headers_only.to_string(), "false".to_owned()),
        ];
        for (field, found, expected) in pairs {
            // A server may leave out a filter that is the whole subject of its stream.
            let whole =
                field == "subject" && found.is_empty() && stream.cached_info().config.subjects == [expected.clone()];
            if found != expected && !whole {
                return Err(mismatch(what, field, found, &expected));
            }
        }
        Ok(JetStreamSource { connection: self.clone(), consumer })
    }

    /// A sink for commands: `subject` in `stream`, which is made when it does not exist.
    ///
    /// # Errors
    /// [`JetStreamError`]: rejected when a stream of that name exists and does not take the subject.
    pub async fn commands(&self, stream: &str, subject: &str) -> Result<CommandStream, JetStreamError> {
        self.stream(stream, subject).await?;
        let (stream, subject) = (stream.to_owned(), subject.to_owned());
        Ok(CommandStream { connection: self.clone(), stream, subject })
    }
}

fn unavailable(doing: impl Into<String>, url: &str, source: impl Into<async_nats::Error>) -> JetStreamError {
    JetStreamError::Unavailable { doing: doing.into(), url: url.to_owned(), source: source.into() }
}

fn mismatch(what: String, field: &'static str, found: impl Into<String>, expected: &str) -> JetStreamError {
    JetStreamError::Mismatch { what, field, found: found.into(), expected: expected.to_owned() }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Whether everything that matches `subject` matches `pattern`: `*` stands for one word, a last `>` for one or more.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    for expected in pattern.split('.') {
        match (expected, words.next()) {
            (">", Some(_)) => return true,
            (_, None) | ("*", Some(">")) => return false,
            ("*", Some(_)) => (),
            (expected, Some(word)) if expected == word => (),
            _ => return false,
        }
    }
    words.next().is_none()
}

/// A durable consumer of messages.
pub struct JetStreamSource {
    connection: Connection,
    consumer: PullConsumer,
}

impl fmt::Debug for JetStreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamSource").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Permission to acknowledge one message; to be used once what it holds is committed. Dropped unused, the message comes
/// again after the time to acknowledge.
pub struct AckHandle(Acker);

impl fmt::Debug for AckHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckHandle")
    }
}

/// What a consumer has not done yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backlog {
    /// Messages that were never delivered.
    pub waiting: u64,
    /// Messages that were delivered and not acknowledged.
    pub unacknowledged: u64,
}

impl JetStreamSource {
    /// The next messages, oldest first, at most `max` and [`MAX_BATCH`]. Waits up to `wait` for the first one; none after
    /// that time is an empty list. While the server is away it tries again, with growing pauses, as long as `wait` allows.
    ///
    /// # Errors
    /// [`JetStreamError::Unavailable`] when the server was away for all of `wait`.
    pub async fn fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AckHandle)>, JetStreamError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let mut losses = self.connection.losses.clone();
            losses.mark_unchanged();
            let error = tokio::select! {
                fetched = self.try_fetch(max.clamp(1, MAX_BATCH), left) => match fetched {
                    Ok(messages) => return Ok(messages),
                    Err(error) => error,
                },
                _ = losses.changed() => "the connection was lost".into(),
            };
            let pause = pause(attempt);
            if tokio::time::Instant::now() + pause >= deadline {
                return Err(self.connection.unavailable("fetch messages", error));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AckHandle)>, async_nats::Error> {
        // A request made now would only reach the server after this call has given up on it.
        if self.connection.client.connection_state() != State::Connected {
            return Err("not connected".into());
        }
        let at_hand = self.consumer.fetch().max_messages(max).messages().await?;
        let mut found = collect(at_hand, REQUEST_TIMEOUT).await?;
        if found.is_empty() && !wait.is_zero() {
            // Nothing there: wait for one, then take what came with it.
            let first = self.consumer.batch().max_messages(1).expires(wait).messages().await?;
            found = collect(first, wait + REQUEST_TIMEOUT).await?;
            if !found.is_empty() && max > 1 {
                let more = self.consumer.fetch().max_messages(max - 1).messages().await?;
                // What is at hand is worth more than an error, which will be seen next time.
                found.extend(collect(more, REQUEST_TIMEOUT).await.unwrap_or_default());
            }
        }
        Ok(found)
    }

    /// What the server holds for us, for metrics.
    ///
    /// # Errors
    /// [`JetStreamError::Unavailable`].
    pub async fn backlog(&self) -> Result<Backlog, JetStreamError> {
        let info = self.consumer.get_info().await;
        let info = info.map_err(|e| self.connection.unavailable("look up the consumer", e))?;
        Ok(Backlog { waiting: info.num_pending, unacknowledged: info.num_ack_pending as u64 })
    }

    /// Acknowledges messages whose content is committed, and waits until the server has the acknowledgements.
    ///
    /// # Errors
    /// [`JetStreamError::Unavailable`]; some messages will then come again, which their ids show.
    pub async fn ack_all(&self, handles: impl IntoIterator<Item = AckHandle>) -> Result<(), JetStreamError> {
        let failed = |source: async_nats::Error| self.connection.unavailable("acknowledge messages", source);
        for AckHandle(acker) in handles {
            acker.ack().await.map_err(failed)?;
        }
        let flushed = tokio::time::timeout(REQUEST_TIMEOUT, self.connection.client.flush()).await;
        flushed.map_err(|e| failed(e.into()))?.map_err(|e| failed(e.into()))
    }
}

/// A subject that takes commands.
#[derive(Debug)]
pub struct CommandStream {
    connection: Connection,
    stream: String,
    subject: String,
}

impl CommandStream {
    /// Publishes a command and waits until the stream has it. `false`: the stream had it already (within its window
    /// for doubles, a day in streams made here), and keeps one.
    ///
    /// # Errors
    /// [`JetStreamError`]: unavailable when the server does not answer (whether it has the command is then open; sending it
    /// again is safe), rejected when the command is too large.
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

/// The messages of one request. Its end is announced by the server, which may go away before it does: so each message, and
/// the end, are waited for no longer than `patience`.
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("koji.>", "koji.>", true)]
    #[case("koji.>", "koji.buildsys.tag", true)]
    #[case(">", "koji", true)]
    #[case("koji.*", "koji.tag", true)]
    #[case("koji.*", "koji.>", false)]
    #[case("koji.>", "koji", false)]
    #[case("koji", "koji.tag", false)]
    #[case("other.>", "koji.tag", false)]
    fn subjects_are_compared_word_by_word(#[case] pattern: &str, #[case] subject: &str, #[case] covered: bool) {
        assert_eq!(covers(pattern, subject), covered);
    }

    #[rstest]
    #[case("nats://a:4222", "nats://a:4222")]
    #[case("nats://me:secret@a:4222, tls://me:sec@ret@b", "nats://a:4222,tls://b")]
    #[case("me:secret@a", "a")]
    fn passwords_are_not_shown(#[case] url: &str, #[case] shown: &str) {
        let server = Server { url: url.to_owned(), root_certificates: None, client_certificate: None };
        assert_eq!(server.shown(), shown);
        assert!(!format!("{server:?}").contains("sec"));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        for attempt in 0..100 {
            assert!(pause(attempt) <= MAX_PAUSE);
            assert!(pause(attempt) >= FIRST_PAUSE / 2);
        }
        assert!(pause(50) >= MAX_PAUSE / 2);
    }
}
