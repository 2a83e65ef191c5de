//! Receives messages and sends commands.
//!
//! A source hands out [`Message`]s. A message is a hint: an identity and the bytes it arrived as,
//! with nothing interpreted.
//!
//! - [`recording`] reads messages from JSON lines.
//! - [`jetstream`] reads them from a NATS stream.
//! - [`amqp`] reads them from a RabbitMQ queue. The queue is configured by hand or through Fedora
//!   Messaging's file ([`fedora_messaging`]).
//!
//! The live sources implement [`MessageSource`]. [`sink`] sends commands.
//!
//! [`Message`]: crate::message::Message
//!
//! Nothing here writes to the inbox or decides anything. The caller of a source commits first and
//! acknowledges afterwards.

pub mod amqp;
pub mod fedora_messaging;
mod foreign;
pub mod jetstream;
pub mod recording;
pub mod sink;
pub mod source;

pub use amqp::{AmqpAck, AmqpError, AmqpSettings, AmqpSource, Outgoing, PublishSettings, Publisher, Taken};
pub use fedora_messaging::{FedoraMessaging, FedoraMessagingError};
pub use jetstream::{
    AckHandle, Connection, JetStreamError, JetStreamSource, Login, QueueSettings, Server, SourceSettings, WorkQueue,
};
pub use recording::reading::Reading;
pub use recording::{Progress, Recording, RecordingError};
pub use sink::{CommandSink, OutgoingCommand, Sent, SinkError};
pub use source::{MessageSource, ResultSource, SourceError};
