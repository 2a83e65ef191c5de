//! Publishes messages, each until the broker confirms it.
//!
//! Messages are persistent and mandatory: the broker confirms one when every queue that takes it
//! has it on disk, and says so if no queue takes it. A confirm that got lost with its connection
//! means nothing, so the caller sends such a message again, with the same id.
//!
//! The connection is made when there is something to send, and made again after any trouble.

use std::fmt;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ErrorKind, PublisherConfirm};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::connect;
use super::error::{AmqpError, Doing};
use super::relay::Relay;
use super::settings::{AmqpSettings, Plan, bad, short};
use crate::announce::TOPICS;
use crate::message::entry::MAX_MESSAGE;

/// AMQP's delivery mode of messages that outlive a restart of the broker.
const PERSISTENT: u8 = 2;

/// How to publish.
#[derive(Clone, Debug)]
pub struct PublishSettings {
    /// The broker. Queue, bindings and prefetch are not used.
    pub amqp: AmqpSettings,
    /// Name of the exchange. It must exist.
    pub exchange: String,
    /// What comes before the topics, with a dot between them. May be empty.
    pub topic_prefix: String,
}

impl PublishSettings {
    /// Checks everything that can be checked without a broker.
    ///
    /// # Errors
    /// Returns [`AmqpError::Settings`], which names the setting and says what it should be.
    pub fn check(&self) -> Result<(), AmqpError> {
        self.amqp.check()?;
        short("exchange", &self.exchange)?;
        if self.topic_prefix.starts_with('.') || self.topic_prefix.ends_with('.') {
            return Err(bad("topic_prefix", "the dots between it and the topic are added; write none at its ends"));
        }
        TOPICS.iter().try_for_each(|topic| short("topic_prefix", &self.routing_key(topic)).map(drop))
    }

    fn routing_key(&self, topic: &str) -> String {
        if self.topic_prefix.is_empty() { topic.to_owned() } else { format!("{}.{topic}", self.topic_prefix) }
    }
}

/// A message on its way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Id. It is the same if the message is sent again.
    pub id: String,
    /// Topic, without the prefix.
    pub topic: String,
    /// Headers: a JSON object of texts, whole numbers, and true or false.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Every queue that takes it has it.
    Confirmed,
    /// The broker has it, and no queue takes it.
    Unroutable,
    /// A queue does not take it now, such as a full one.
    Refused,
    /// No broker will take it, for this reason.
    Unsendable(String),
}

/// What became of some messages.
#[derive(Debug)]
pub struct Outcome {
    /// For each message, what became of it. `None` if that is not known: send it again.
    pub taken: Vec<Option<Taken>>,
    /// Why that is not known of some.
    pub error: Option<AmqpError>,
}

/// Publishes to an exchange.
pub struct Publisher {
    settings: PublishSettings,
    plan: Plan,
    session: Option<PublishSession>,
}

struct PublishSession {
    _connection: Connection,
    channel: Channel,
    relay: Relay,
}

/// A broker's refusal of a message that is too large for it.
struct TooLarge(String);

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("url", &self.plan.shown).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes a publisher. Does not connect.
    ///
    /// # Errors
    /// Fails like [`PublishSettings::check`].
    pub fn new(settings: PublishSettings) -> Result<Self, AmqpError> {
        settings.check()?;
        let plan = settings.amqp.plan()?;
        Ok(Self { settings, plan, session: None })
    }

    /// Publishes messages in their order, and waits until the broker has said of each what became
    /// of it. Connects first if there is no connection.
    ///
    /// If the order matters between some of them, do not give them to one call: the broker may
    /// refuse one and take the next.
    pub async fn publish(&mut self, messages: &[Outgoing]) -> Outcome {
        let mut taken = vec![None; messages.len()];
        let all: Vec<usize> = (0..messages.len()).collect();
        let mut error = self.wave(messages, &all, &mut taken).await;
        if matches!(error, Some(Err(TooLarge(_)))) {
            // The broker hung up at one of them and does not say at which. Sent alone, it shows.
            error = None;
            for n in all {
                if taken[n].is_some() {
                    continue;
                }
                match self.wave(messages, &[n], &mut taken).await {
                    Some(Err(TooLarge(why))) => taken[n] = Some(Taken::Unsendable(why)),
                    Some(Ok(other)) => return Outcome { taken, error: Some(other) },
                    None => {}
                }
            }
        }
        Outcome { taken, error: error.and_then(Result::ok) }
    }

    /// Publishes those of the messages that `which` names, and notes what became of them. Returns
    /// why that is not known of all.
    async fn wave(
        &mut self,
        messages: &[Outgoing],
        which: &[usize],
        taken: &mut [Option<Taken>],
    ) -> Option<Result<AmqpError, TooLarge>> {
        // A connection that ended while nothing was sent is no trouble.
        let session = match self.session.take().filter(|session| session.channel.status().connected()) {
            Some(session) => session,
            None => match PublishSession::open(&self.settings.amqp, &self.plan).await {
                Ok(session) => session,
                Err(error) => return Some(Ok(error)),
            },
        };
        let doing = Doing::Publishing { exchange: &self.settings.exchange };
        let silent = |elapsed| Some(Ok(AmqpError::unavailable(doing, &self.plan.shown, elapsed)));
        let deadline = Instant::now() + self.settings.amqp.timeout;
        let (mut confirms, mut errors) = (Vec::with_capacity(which.len()), Vec::new());
        for &n in which {
            match timeout_at(deadline, self.settings.send(&session.channel, &messages[n])).await {
                Ok(Ok(Ok(confirm))) => confirms.push((n, confirm)),
                Ok(Ok(Err(why))) => taken[n] = Some(Taken::Unsendable(why)),
                Ok(Err(error)) => {
                    errors.push(error);
                    break;
                }
                Err(elapsed) => return silent(elapsed),
            }
        }
        for (n, confirm) in confirms {
            match timeout_at(deadline, confirm).await {
                Ok(Ok(confirmation)) => taken[n] = of_broker(confirmation),
                Ok(Err(error)) => errors.push(error),
                Err(elapsed) => return silent(elapsed),
            }
        }
        if errors.is_empty() {
            self.session = Some(session);
            return None;
        }
        // What the broker said is said with one of them. The others only say that the channel is closed.
        let said = errors.iter().position(|e| matches!(e.kind(), ErrorKind::ProtocolError(_)));
        let error = errors.swap_remove(said.unwrap_or(0));
        Some(match too_large(&error) {
            Some(why) => Err(TooLarge(why)),
            None => Ok(AmqpError::of(doing, &self.plan.shown, session.relay.why().map_or(error, Into::into))),
        })
    }
}

impl PublishSession {
    async fn open(settings: &AmqpSettings, plan: &Plan) -> Result<Self, AmqpError> {
        const OPEN: &str = "open a channel for publishing";
        let (connection, relay) = connect(settings, plan).await?;
        let opening = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        match timeout(settings.timeout, opening).await {
            Ok(Ok(channel)) => Ok(Self { _connection: connection, channel, relay }),
            Ok(Err(error)) => Err(AmqpError::of(Doing::Running(OPEN), &plan.shown, error)),
            Err(elapsed) => Err(AmqpError::unavailable(Doing::Running(OPEN), &plan.shown, elapsed)),
        }
    }
}

impl PublishSettings {
    /// Hands a message to the client. The inner error says why no broker would take it.
    async fn send(
        &self,
        channel: &Channel,
        message: &Outgoing,
    ) -> Result<Result<PublisherConfirm, String>, lapin::Error> {
        let made = self.made(message);
        let (key, properties) = match made {
            Ok(made) => made,
            Err(why) => return Ok(Err(why)),
        };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = ShortString::from(self.exchange.as_str());
        channel.basic_publish(exchange, key, options, message.body.as_bytes(), properties).await.map(Ok)
    }

    fn made(&self, message: &Outgoing) -> Result<(ShortString, BasicProperties), String> {
        if message.body.len() > MAX_MESSAGE {
            return Err(format!("its body has {} bytes, at most {MAX_MESSAGE} are sent", message.body.len()));
        }
        let text = |what: &str, text: &str| ShortString::try_new(text).map_err(|_| format!("its {what} is too long"));
        let mut headers = FieldTable::default();
        let read: serde_json::Map<String, Value> =
            serde_json::from_str(&message.headers).map_err(|e| format!("its headers are not a JSON object: {e}"))?;
        for (name, value) in read {
            let value = match &value {
                Value::Bool(truth) => AMQPValue::Boolean(*truth),
                Value::String(text) => AMQPValue::LongString(text.as_str().into()),
                // Python's client writes small numbers so.
                Value::Number(n) => match n.as_i64().map(|n| (n, i32::try_from(n))) {
                    Some((_, Ok(small))) => AMQPValue::LongInt(small),
                    Some((large, Err(_))) => AMQPValue::LongLongInt(large),
                    None => return Err(format!("its header {name} is no whole number")),
                },
                _ => return Err(format!("its header {name} is neither a text nor a number nor true or false")),
            };
            headers.insert(text("header's name", &name)?, value);
        }
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(text("id", &message.id)?)
            .with_headers(headers);
        Ok((text("topic", &self.routing_key(&message.topic))?, properties))
    }
}

/// Returns what the broker said of a message. `None` if it said nothing.
fn of_broker(confirmation: Confirmation) -> Option<Taken> {
    match confirmation {
        Confirmation::Ack(None) => Some(Taken::Confirmed),
        Confirmation::Ack(Some(_)) => Some(Taken::Unroutable),
        Confirmation::Nack(_) => Some(Taken::Refused),
        Confirmation::NotRequested => None,
    }
}

/// Returns the broker's words if it hung up because a message is too large for it.
fn too_large(error: &lapin::Error) -> Option<String> {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
    let said = protocol.get_message().to_string();
    let is = matches!(protocol.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED));
    (is && said.contains("larger than")).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(exchange: &str, topic_prefix: &str) -> PublishSettings {
        let (exchange, topic_prefix) = (exchange.to_owned(), topic_prefix.to_owned());
        PublishSettings { amqp: AmqpSettings::new("amqp://", ""), exchange, topic_prefix }
    }

    #[test]
    fn settings_are_checked() {
        let said = |exchange: &str, prefix: &str| settings(exchange, prefix).check().unwrap_err().to_string();
        settings("amq.topic", "").check().unwrap();
        settings("amq.topic", "org.fedoraproject.prod").check().unwrap();
        assert!(said(&"x".repeat(256), "").contains("exchange: 256 bytes long"));
        for prefix in ["org.", ".org"] {
            assert!(said("e", prefix).contains("topic_prefix: the dots"), "{prefix}");
        }
        // The longest topic has 31 bytes.
        settings("e", &"x".repeat(223)).check().unwrap();
        assert!(said("e", &"x".repeat(224)).contains("topic_prefix: 256 bytes long"));
    }

    #[test]
    fn what_no_broker_would_take_is_known() {
        let with = |headers: &str| Outgoing {
            id: "i".to_owned(),
            topic: TOPICS[0].to_owned(),
            headers: headers.to_owned(),
            body: "{}".to_owned(),
        };
        let made = |message: &Outgoing| settings("e", "p").made(message);
        let (key, properties) = made(&with(r#"{"a":true,"b":20,"c":"text","d":5000000000}"#)).unwrap();
        assert_eq!(key.as_str(), "p.koschei.package.state.change");
        let headers = properties.headers().clone().unwrap();
        let of = |name: &str| headers.inner()[name].clone();
        assert_eq!((of("a"), of("b")), (AMQPValue::Boolean(true), AMQPValue::LongInt(20)));
        assert_eq!((of("c"), of("d")), (AMQPValue::LongString("text".into()), AMQPValue::LongLongInt(5_000_000_000)));
        let long = format!("{{\"fedora_messaging_rpm_{}\":true}}", "x".repeat(255));
        for (headers, says) in
            [("x", "JSON object"), (r#"{"a":null}"#, "neither"), (r#"{"a":1.5}"#, "whole"), (&long, "too long")]
        {
            let why = made(&with(headers)).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        let large = Outgoing { body: "x".repeat(MAX_MESSAGE + 1), ..with("{}") };
        assert!(made(&large).unwrap_err().contains("bytes"));
    }
}
