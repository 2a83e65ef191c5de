//! The interface of all live message sources.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::amqp::{AmqpAck, AmqpError, AmqpSource};
use super::jetstream::{AckHandle, JetStreamError, JetStreamSource};
use crate::message::entry::Entry;
use crate::message::result::RESULT_SOURCE;
use crate::model::{Class, Classified};

/// A source that delivers messages as they come, and again until they are acknowledged.
///
/// The caller first commits a message's content and then acknowledges the message. Messages may
/// come in any order and more than once. Their ids show repetitions.
pub trait MessageSource: Send + Sync {
    /// Permission to acknowledge one message. If it is dropped unused, the message comes again.
    type Ack: Send + fmt::Debug;

    /// Name of this kind of source in the inbox and in metrics.
    const NAME: &'static str;

    /// Returns the next messages, at most `max`. Waits up to `wait` for the first one. The list is
    /// empty if none came.
    ///
    /// # Errors
    /// Returns [`SourceError`]. It is unavailable if the server does not answer; the caller should
    /// try again later.
    fn fetch(
        &self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<(Entry, Self::Ack)>, SourceError>> + Send;

    /// Acknowledges messages whose content is committed.
    ///
    /// # Errors
    /// Returns [`SourceError`] if that fails. Some messages may then come again.
    fn ack_all(&self, acks: Vec<Self::Ack>) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Returns how many messages wait that no consumer was given yet.
    ///
    /// # Errors
    /// Returns [`SourceError`] if the server does not answer.
    fn waiting(&self) -> impl Future<Output = Result<u64, SourceError>> + Send;
}

/// Error of a live source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Error of NATS.
    #[error(transparent)]
    JetStream(#[from] JetStreamError),
    /// Error of RabbitMQ.
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

/// The stream of results of outside executors. Its messages have a source of their own in the inbox,
/// because results that come any other way are not believed.
#[derive(Debug)]
pub struct ResultSource(pub JetStreamSource);

impl MessageSource for ResultSource {
    type Ack = AckHandle;
    const NAME: &'static str = RESULT_SOURCE;

    async fn fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AckHandle)>, SourceError> {
        Ok(self.0.fetch(max, wait).await?)
    }

    async fn ack_all(&self, acks: Vec<AckHandle>) -> Result<(), SourceError> {
        Ok(self.0.ack_all(acks).await?)
    }

    async fn waiting(&self) -> Result<u64, SourceError> {
        Ok(self.0.backlog().await?.waiting)
    }
}

impl MessageSource for AmqpSource {
    type Ack = AmqpAck;
    const NAME: &'static str = "amqp";

    async fn fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AmqpAck)>, SourceError> {
        Ok(Self::fetch(self, max, wait).await?)
    }

    async fn ack_all(&self, acks: Vec<AmqpAck>) -> Result<(), SourceError> {
        Ok(Self::ack_all(self, acks).await?)
    }

    async fn waiting(&self) -> Result<u64, SourceError> {
        Ok(self.backlog().await?.into())
    }
}
