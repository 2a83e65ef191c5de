//! What all live sources of messages have in common.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::amqp::AmqpError;
use super::jetstream::{AckHandle, JetStreamError, JetStreamSource};
use crate::message::entry::Entry;
use crate::model::{Class, Classified};

/// Messages that come once they are there, and again until they are acknowledged.
///
/// Whoever drives a source commits what a message holds first and acknowledges it then. Messages may come in any order
/// and more than once; their ids tell.
pub trait MessageSource: Send + Sync {
    /// Permission to acknowledge one message. Dropped unused, the message comes again.
    type Ack: Send + fmt::Debug;

    /// Kind of source: its name in the inbox and in metrics.
    const NAME: &'static str;

    /// The next messages, at most `max`. Waits up to `wait` for the first one; none after that time is an empty list.
    ///
    /// # Errors
    /// [`SourceError`]: unavailable when what holds the messages does not answer; asking again later is right.
    fn fetch(
        &self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<(Entry, Self::Ack)>, SourceError>> + Send;

    /// Acknowledges messages whose content is committed.
    ///
    /// # Errors
    /// [`SourceError`]; some messages may then come again.
    fn ack_all(&self, acks: Vec<Self::Ack>) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// How many messages wait that nobody was given yet.
    ///
    /// # Errors
    /// [`SourceError`].
    fn waiting(&self) -> impl Future<Output = Result<u64, SourceError>> + Send;
}

/// Why a source gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// NATS.
    #[error(transparent)]
    JetStream(#[from] JetStreamError),
    /// RabbitMQ.
    #[error(transparent)]
    Amqp(#[from] AmqpError),
}

impl Classified for SourceError {
    fn class(&self) -> Class {
        match self {
            Self::JetStream(error) => error.class(),
            Self::Amqp(error) => error.class(),
        }
    }
}

impl MessageSource for JetStreamSource {
    type Ack = AckHandle;
    const NAME: &'static str = "jetstream";

    async fn fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AckHandle)>, SourceError> {
        Ok(Self::fetch(self, max, wait).await?)
    }

    async fn ack_all(&self, acks: Vec<AckHandle>) -> Result<(), SourceError> {
        Ok(Self::ack_all(self, acks).await?)
    }

    async fn waiting(&self) -> Result<u64, SourceError> {
        Ok(self.backlog().await?.waiting)
    }
}
