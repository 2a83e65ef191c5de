//! Where messages come from and commands go.
//!
//! Sources hand out [`Message`]s: a message is a hint with an identity, the bytes it arrived as, and nothing
//! interpreted. [`recording`] reads them from JSON lines, [`jetstream`] from a stream of NATS, [`amqp`] from a queue of
//! RabbitMQ, configured by hand or with the file Fedora Messaging has ([`fedora_messaging`]); the live ones are
//! [`MessageSource`]s. [`sink`] is where commands leave.
//!
//! [`Message`]: crate::message::Message
//!
//! Nothing here writes to the inbox or decides anything; whoever drives a source commits first and acknowledges then.

pub mod amqp;
pub mod fedora_messaging;
mod foreign;
pub mod jetstream;
pub mod reading;
pub mod recording;
pub mod sink;
pub mod source;

pub use amqp::{AmqpAck, AmqpError, AmqpSettings, AmqpSource};
pub use fedora_messaging::{FedoraMessaging, FedoraMessagingError};
pub use jetstream::{AckHandle, Connection, JetStreamError, JetStreamSource, Login, Server, SourceSettings};
pub use reading::Reading;
pub use recording::{Progress, Recording, RecordingError};
pub use sink::{CommandSink, OutgoingCommand, Sent, SinkError};
pub use source::{MessageSource, SourceError};
