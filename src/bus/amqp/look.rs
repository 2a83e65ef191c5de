//! Checks a broker without taking messages, to tell an operator whether the settings will work.

use lapin::ErrorKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Connection, ExchangeKind};
use tokio::time::timeout;

use super::connect::connect;
use super::error::{AmqpError, Doing};
use super::publish::PublishSettings;
use super::settings::{AmqpSettings, Plan};

/// What we found at a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerSeen {
    /// Address of the broker, without user and password.
    pub url: String,
    /// Our queue. `None` if it does not exist yet or the broker would name it.
    pub queue: Option<QueueSeen>,
}

/// A queue that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueSeen {
    /// Name of the queue.
    pub name: String,
    /// Number of messages that wait in it.
    pub messages: u32,
    /// Number of its consumers.
    pub consumers: u32,
}

/// Connects, logs in, and checks queue and exchanges. A queue that exists is bound as configured;
/// each start does that anyway. A missing queue is not made.
///
/// # Errors
/// Fails like [`super::AmqpSource::open`].
pub async fn look(settings: &AmqpSettings) -> Result<BrokerSeen, AmqpError> {
    let plan = settings.plan()?;
    let (connection, relay) = connect(settings, &plan).await?;
    let looked = timeout(settings.timeout, seen(settings, &plan, &connection)).await;
    // Closes the connection whatever the result is.
    if let Err(e) = connection.close(200, "OK".into()).await {
        tracing::debug!(error = %crate::model::causes::with_causes(&e), "the connection was not closed properly");
    }
    drop(relay);
    looked.unwrap_or_else(|elapsed| {
        Err(AmqpError::unavailable(Doing::Running("look at the queue"), &plan.shown, elapsed))
    })
}

/// Connects, logs in, and checks that the exchange to publish to exists. Returns the broker's address
/// without user and password. Whether we may publish shows only when we do.
///
/// # Errors
/// Fails like [`super::Publisher::publish`].
pub async fn look_at_exchange(settings: &PublishSettings) -> Result<String, AmqpError> {
    let plan = settings.amqp.plan()?;
    let doing = Doing::Publishing { exchange: &settings.exchange };
    let failed = |e| AmqpError::of(doing, &plan.shown, e);
    let (connection, relay) = connect(&settings.amqp, &plan).await?;
    let looking = async {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let (name, arguments) = (settings.exchange.as_str().into(), FieldTable::default());
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.exchange_declare(name, ExchangeKind::Topic, options, arguments).await.map_err(failed)
    };
    let looked = timeout(settings.amqp.timeout, looking).await;
    drop(connection);
    drop(relay);
    looked
        .unwrap_or_else(|elapsed| Err(AmqpError::unavailable(doing, &plan.shown, elapsed)))
        .map(|()| plan.shown.clone())
}

async fn seen(settings: &AmqpSettings, plan: &Plan, connection: &Connection) -> Result<BrokerSeen, AmqpError> {
    let url = plan.shown.as_str();
    // A refused request ends its channel, so each check gets a channel of its own.
    let channel =
        async || connection.create_channel().await.map_err(|e| AmqpError::of(Doing::Running("open a channel"), url, e));
    let mut queue = None;
    let first = channel().await?;
    if !settings.queue.name.is_empty() {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match first.queue_declare(plan.queue.clone(), options, FieldTable::default()).await {
            Ok(there) => {
                let (messages, consumers) = (there.message_count(), there.consumer_count());
                queue = Some(QueueSeen { name: settings.queue.name.clone(), messages, consumers });
            }
            Err(e) if is_not_found(&e) && !settings.queue.passive => {}
            Err(e) => {
                return Err(AmqpError::of(Doing::Declaring { queue: &settings.queue.name, passive: true }, url, e));
            }
        }
    }
    for (exchange, key) in &plan.bindings {
        let (name, channel) = (settings.queue.name.as_str(), channel().await?);
        let doing = Doing::Binding { queue: name, exchange: exchange.as_str(), key: key.as_str() };
        let done = if queue.is_some() {
            let options = QueueBindOptions::default();
            channel.queue_bind(plan.queue.clone(), exchange.clone(), key.clone(), options, FieldTable::default()).await
        } else {
            let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            channel.exchange_declare(exchange.clone(), ExchangeKind::Topic, options, FieldTable::default()).await
        };
        done.map_err(|e| AmqpError::of(doing, url, e))?;
    }
    Ok(BrokerSeen { url: plan.shown.clone(), queue })
}

fn is_not_found(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return false };
    matches!(protocol.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}
