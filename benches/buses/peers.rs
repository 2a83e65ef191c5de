//! The client libraries alone: what a program without a log would do with the same messages.

use async_nats::jetstream::{self, stream};
use koschei::event::cloudevents;
use koschei::log::{Announcement, AnyLog, EventLog};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

use crate::nats_server::NatsServer;
use crate::rabbitmq_server::RabbitServer;

const AT_ONCE: usize = 200;
const WAVE: usize = 256;
const BARE: &str = "BARE";

async fn channel(rabbit: &RabbitServer) -> Channel {
    let connection = Connection::connect(&rabbit.url(), ConnectionProperties::default()).await.unwrap();
    connection.create_channel().await.unwrap()
}

/// Makes an exchange, and a durable queue that takes all of it.
pub async fn queue(rabbit: &RabbitServer, exchange: &str, queue: &str) {
    let channel = channel(rabbit).await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
    channel.exchange_declare(exchange.into(), kind, options, none.clone()).await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, none.clone()).await.unwrap();
    let bound = channel.queue_bind(queue.into(), exchange.into(), "#".into(), QueueBindOptions::default(), none);
    bound.await.unwrap();
}

/// Empties a queue, and returns how many messages it had.
pub async fn emptied(rabbit: &RabbitServer, queue: &str) -> u64 {
    channel(rabbit).await.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap().into()
}

/// Publishes messages as persistent and mandatory, and waits for all confirms of a wave before the
/// next.
pub async fn confirmed(rabbit: &RabbitServer, exchange: &str, all: &[Announcement]) {
    let channel = channel(rabbit).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for wave in all.chunks(AT_ONCE) {
        let mut sent = Vec::with_capacity(wave.len());
        for a in wave {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(a.id.as_str().into());
            let key = format!("org.example.{}", a.topic);
            let sending =
                channel.basic_publish(exchange.into(), key.as_str().into(), options, a.body.as_bytes(), properties);
            sent.push(sending.await.unwrap());
        }
        for confirm in sent {
            assert!(confirm.await.unwrap().is_ack());
        }
    }
}

/// Returns all events of a log as CloudEvents.
pub async fn texts(log: &AnyLog) -> Vec<String> {
    let (mut texts, mut after) = (Vec::new(), None);
    loop {
        let page = log.read(after, 5_000).await.unwrap();
        let Some(last) = page.last() else { return texts };
        after = Some(last.seq);
        texts.extend(page.iter().map(cloudevents::to_json));
    }
}

/// Publishes messages, and waits for all acknowledgements of a wave before the next.
pub async fn acknowledged(nats: &NatsServer, texts: Vec<String>) {
    let context: jetstream::Context = nats.jetstream().await;
    let config = stream::Config { name: BARE.to_owned(), subjects: vec!["bare.>".to_owned()], ..Default::default() };
    context.create_stream(config).await.unwrap();
    for wave in texts.chunks(WAVE) {
        let mut sent = Vec::with_capacity(wave.len());
        for text in wave {
            sent.push(context.publish("bare.event", text.clone().into()).await.unwrap());
        }
        for acknowledged in sent {
            acknowledged.await.unwrap();
        }
    }
    context.delete_stream(BARE).await.unwrap();
}
