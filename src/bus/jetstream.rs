//! NATS JetStream: a source of Koji messages and of results, and a sink for commands and for events.
//!
//! JetStream is transport, not truth. It acknowledges before data is on disk, so it may lose
//! messages. It may also deliver messages again that were acknowledged. Other parts handle both:
//! reconciliation, and the message ids in the inbox. This module promises only that nothing is
//! acknowledged before the caller says so.
//!
//! A message in the stream holds the same JSON object as a line of a recording.
//!
//! Servers before 2.10 silently drop settings they do not know. Creating a consumer over an
//! existing one overwrites it. So this module only checks what exists, and reads back what it
//! makes. Either must match the wanted settings.

mod commands;
mod events;
mod login;
mod queue;
mod source;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, StorageType, Stream};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions};
use tokio::sync::watch;

pub use self::commands::CommandStream;
pub use self::events::{EventStream, OutgoingEvent, subject};
pub use self::login::{Login, Server};
pub use self::queue::{QueueSettings, WorkQueue};
pub use self::source::{AckHandle, Backlog, JetStreamSource, SourceSettings};
use crate::base::backoff;
use crate::message::entry::MAX_MESSAGE;
use crate::model::{Class, Classified};

/// Most messages of one fetch. NATS allows 1 MiB a message by default, so a fetch has at most 256
/// MiB.
pub const MAX_BATCH: usize = 256;

/// Longest pause between attempts to connect or to fetch.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// First pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Timeout of one request to the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Least time for which the server must remember command ids to drop duplicates. If we cannot note
/// a delivery, we send the command again when we are back, and that takes less than a day. The
/// server's own default is two minutes.
const DUPLICATE_WINDOW: Duration = Duration::from_hours(24);

/// How long messages stay in streams made here. Older messages were taken in long ago, or
/// reconciliation has found what they said.
const KEPT: Duration = Duration::from_hours(14 * 24);

/// Error of NATS.
#[derive(Debug, thiserror::Error)]
pub enum JetStreamError {
    /// The server cannot be reached or does not answer.
    #[error("{doing} at {url}")]
    Unavailable {
        /// The operation that failed.
        doing: String,
        /// Address of the server.
        url: String,
        /// The client's error.
        #[source]
        source: async_nats::Error,
    },
    /// A stream or consumer of that name exists with other settings.
    #[error(
        "use {what}: its {field} is {found}, but must be {expected}; use another name, or delete it if nothing else \
            uses it"
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
    /// A login is invalid or refused.
    #[error("log in to NATS at {url}: {why}")]
    Login {
        /// Address of the server.
        url: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A file with a login cannot be read.
    #[error("read login {}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// A stream for commands forgets their ids too soon.
    #[error(
        "publish commands to stream {stream}: it forgets their ids after {found:?}, so a command that is sent again \
            after an outage would be in it twice; make it remember ids for a day: `nats stream edit {stream} \
            --dupe-window=24h` (its messages must be kept as long)"
    )]
    Window {
        /// The stream.
        stream: String,
        /// Its `duplicate_window`.
        found: Duration,
    },
    /// Somebody deleted the consumer, alone or with its stream. It is made again in a moment.
    #[error(
        "take messages from consumer {consumer} of stream {stream}: the consumer or its stream was deleted; it is \
            created again"
    )]
    Gone {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
    /// A command is larger than the server accepts.
    #[error("publish command {id}: its {size} bytes are more than the server accepts ({limit})")]
    TooLarge {
        /// Id of the command.
        id: String,
        /// Its size in bytes.
        size: usize,
        /// The server's limit (`max_payload`).
        limit: usize,
    },
}

impl Classified for JetStreamError {
    fn class(&self) -> Class {
        match self {
            Self::Unavailable { .. } | Self::Gone { .. } => Class::Unavailable,
            Self::Mismatch { .. }
            | Self::Login { .. }
            | Self::Secret { .. }
            | Self::Window { .. }
            | Self::TooLarge { .. } => Class::Rejected,
        }
    }
}

/// A connection to NATS. Cheap to clone. Reconnects by itself, for ever, with growing pauses.
#[derive(Clone)]
pub struct Connection {
    url: String,
    client: Client,
    context: jetstream::Context,
    /// Changes whenever the connection is lost. Requests sent before that will not be answered any
    /// more.
    losses: watch::Receiver<u64>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Returns the pause before attempt `attempt`, counted from 1.
fn pause(attempt: usize) -> Duration {
    backoff::after(u32::try_from(attempt).unwrap_or(u32::MAX), FIRST_PAUSE, MAX_PAUSE)
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is unavailable if no server answers. It is rejected if no
    /// server accepts the login, or the login is invalid.
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
        let connected = server.log_in(options).await?.connect(server.bare()).await;
        let url = server.shown();
        let client = connected.map_err(|e| match e.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                let why = "the server refuses the login: check user and password, token or credentials, in the \
                    address or by --nats-user, --nats-token-file, --nats-credentials";
                JetStreamError::Login { url: url.clone(), why: why.to_owned() }
            }
            _ => unavailable("connect to NATS", &url, e),
        })?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(REQUEST_TIMEOUT);
        Ok(Self { url, client, context, losses })
    }

    /// Returns the connection that is kept. Connects if there is none, and says then what one cannot
    /// rely on with this version of the server.
    ///
    /// # Errors
    /// Fails like [`Connection::open`].
    pub async fn kept(kept: &mut Option<Self>, server: &Server) -> Result<Self, JetStreamError> {
        if let Some(connection) = kept {
            return Ok(connection.clone());
        }
        let connection = Self::open(server).await?;
        if let Some(why) = connection.unreliable() {
            tracing::warn!("{why}");
        }
        Ok(kept.insert(connection).clone())
    }

    fn unavailable(&self, doing: impl Into<String>, source: impl Into<async_nats::Error>) -> JetStreamError {
        unavailable(doing, &self.url, source)
    }

    /// Returns the stream, and whether it had to be made. An existing stream is used as it is if it
    /// takes the subject.
    async fn stream(&self, name: &str, subject: &str) -> Result<(Stream, bool), JetStreamError> {
        let wanted = stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            storage: StorageType::File,
            duplicate_window: DUPLICATE_WINDOW,
            max_age: KEPT,
            max_message_size: i32::try_from(MAX_MESSAGE).unwrap_or(i32::MAX),
            ..stream::Config::default()
        };
        self.stream_like(wanted, subject).await
    }

    /// Returns the stream of that name, and whether it had to be made. A stream that is made has all
    /// wanted settings. One that exists is used as it is if it takes the subject.
    async fn stream_like(&self, wanted: stream::Config, subject: &str) -> Result<(Stream, bool), JetStreamError> {
        let name = wanted.name.as_str();
        if let Some(stream) = self.existing(name, subject).await? {
            return Ok((stream, false));
        }
        let made = self.context.create_stream(wanted.clone()).await;
        made.map_err(|e| self.unavailable(format!("create stream {name}"), e))?;
        let made = self.existing(name, subject).await?;
        let stream =
            made.ok_or_else(|| self.unavailable(format!("look up stream {name}"), "it was deleted at once"))?;
        let settings = |c: &stream::Config| {
            let (storage, size, kept) = (c.storage, c.max_message_size, c.retention);
            let (age, window) = (c.max_age, c.duplicate_window);
            format!("{storage:?} by {kept:?} for {age:?}, doubles {window:?}, {size} bytes")
        };
        let (found, expected) = (settings(&stream.cached_info().config), settings(&wanted));
        if found != expected {
            return Err(mismatch(format!("stream {name}"), "storage", found, &expected));
        }
        Ok((stream, true))
    }

    /// Checks whether a stream exists.
    ///
    /// # Errors
    /// Returns [`JetStreamError`]. It is rejected if the stream does not take the subject.
    pub async fn has_stream(&self, name: &str, subject: &str) -> Result<bool, JetStreamError> {
        Ok(self.existing(name, subject).await?.is_some())
    }

    /// Returns the stream, if it exists and takes the subject.
    async fn existing(&self, name: &str, subject: &str) -> Result<Option<Stream>, JetStreamError> {
        let stream = match self.context.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) if is_missing(&error.kind()) => return Ok(None),
            Err(error) => return Err(self.unavailable(format!("look up stream {name}"), error)),
        };
        let what = || format!("stream {name}");
        let config = &stream.cached_info().config;
        if !config.subjects.iter().any(|pattern| covers(pattern, subject)) && config.sources.is_none() {
            return Err(mismatch(what(), "subjects", config.subjects.join(" "), subject));
        }
        if config.no_ack {
            return Err(mismatch(what(), "no_ack", "true", "false"));
        }
        Ok(Some(stream))
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

/// Checks whether everything that matches `subject` also matches `pattern`. `*` stands for one
/// word, a last `>` for one or more.
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
}
