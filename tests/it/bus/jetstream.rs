//! JetStream as a source of messages and as a sink for commands, against a real server.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull};
use koschei::bus::jetstream::{
    AckHandle, Backlog, Connection, JetStreamError, JetStreamSource, Server, SourceSettings,
};
use koschei::bus::{CommandSink, OutgoingCommand, Recording, Sent};
use koschei::message::Entry;
use koschei::model::{Class, Classified};

use crate::nats_server::NatsServer;

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji/events.jsonl");

/// More time than any machine needs. Only a failing test waits this long.
const LONG: Duration = Duration::from_secs(300);

async fn connect(server: &NatsServer) -> Connection {
    let server = Server { url: server.url(), ..Server::default() };
    Connection::open(&server).await.unwrap()
}

fn settings() -> SourceSettings {
    SourceSettings {
        stream: "KOJI".to_owned(),
        subject: "koji.>".to_owned(),
        consumer: "koschei".to_owned(),
        ack_wait: Duration::from_secs(1),
    }
}

/// Returns the first lines of the recording, and one line that is not a message.
fn lines(count: usize) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Recording::open(Path::new(EVENTS))
        .unwrap()
        .take(count - 1)
        .map(|entry| match entry.unwrap() {
            Entry::Message(message) => message.raw,
            Entry::Unreadable(line) => panic!("{}", line.reason),
        })
        .collect();
    lines.push(b"not a message".to_vec());
    lines
}

async fn publish(server: &NatsServer, lines: &[Vec<u8>]) {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    for line in lines {
        context.publish("koji.buildsys", line.clone().into()).await.unwrap().await.unwrap();
    }
}

fn sequence(entry: &Entry) -> u64 {
    match entry {
        Entry::Message(message) => message.line,
        Entry::Unreadable(line) => line.line,
    }
}

/// Fetches until the messages with these numbers in the stream have come.
async fn fetch_all(source: &JetStreamSource, numbers: std::ops::RangeInclusive<u64>) -> Vec<(Entry, AckHandle)> {
    let mut missing: BTreeSet<u64> = numbers.collect();
    let mut all = Vec::new();
    while !missing.is_empty() {
        let batch = source.fetch(100, LONG).await.unwrap();
        assert!(!batch.is_empty(), "{missing:?} did not come");
        for (entry, _) in &batch {
            missing.remove(&sequence(entry));
        }
        all.extend(batch);
    }
    all
}

/// Waits until the server has processed the acknowledgements. That happens a little after they
/// arrive.
async fn wait_until_done(source: &JetStreamSource) {
    let done = Backlog { waiting: 0, unacknowledged: 0 };
    let asking = async { while source.backlog().await.unwrap() != done {} };
    assert!(tokio::time::timeout(LONG, asking).await.is_ok(), "{:?} stays", source.backlog().await);
}

#[tokio::test]
async fn messages_come_again_until_they_are_acknowledged() {
    let server = NatsServer::start().await;
    let connection = connect(&server).await;
    let source = connection.source(&settings()).await.unwrap();
    assert!(source.fetch(10, Duration::ZERO).await.unwrap().is_empty());
    let lines = lines(7);
    publish(&server, &lines).await;

    let first = fetch_all(&source, 1..=7).await;
    // If this takes longer than the acknowledgement timeout, some messages come twice.
    for (entry, _) in &first {
        let line = &lines[usize::try_from(sequence(entry)).unwrap() - 1];
        assert_eq!(*entry, Entry::parse(line.clone(), sequence(entry)), "the same as from a recording");
    }
    assert!(first.iter().any(|(entry, _)| sequence(entry) == 7 && matches!(entry, Entry::Unreadable(_))));
    // A crash before the commit: nothing was acknowledged.
    drop((first, source));

    let source = connection.source(&settings()).await.unwrap();
    let again = fetch_all(&source, 1..=7).await;
    source.ack_all(again.into_iter().map(|(_, ack)| ack)).await.unwrap();
    wait_until_done(&source).await;
    drop(source);

    let source = connection.source(&settings()).await.unwrap();
    assert_eq!(source.backlog().await.unwrap(), Backlog { waiting: 0, unacknowledged: 0 });
    publish(&server, &lines[..1]).await;
    let next = fetch_all(&source, 8..=8).await;
    assert!(next.iter().all(|(entry, _)| sequence(entry) == 8), "acknowledged messages do not come again: {next:?}");
}

#[tokio::test]
async fn a_fetch_is_bounded_and_waits_for_the_first_message() {
    let server = NatsServer::start().await;
    let source = connect(&server).await.source(&settings()).await.unwrap();
    let lines = lines(5);
    let (fetched, ()) = tokio::join!(source.fetch(2, LONG), publish(&server, &lines));
    let fetched = fetched.unwrap();
    assert!((1..=2).contains(&fetched.len()), "{fetched:?}");
    assert_eq!(sequence(&fetched[0].0), 1);
}

#[tokio::test]
async fn a_command_stands_once_in_the_stream() {
    let server = NatsServer::start().await;
    let connection = connect(&server).await;
    let stream = || async { connection.commands("COMMANDS", "koschei.commands").await.unwrap() };
    let command = |id: &str| OutgoingCommand { id: id.to_owned(), json: format!("{{\"id\":\"{id}\"}}") };
    let mut sink = CommandSink::Stream(Box::new(stream().await));
    assert_eq!(sink.send(&[command("a"), command("b")]).await.unwrap(), Sent { new: 2, repeated: 0 });
    // After a crash everything is sent again.
    let mut sink = CommandSink::Stream(Box::new(stream().await));
    assert_eq!(sink.send(&[command("a"), command("b"), command("c")]).await.unwrap(), Sent { new: 1, repeated: 2 });

    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let stream = context.get_stream("COMMANDS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 3);
    let first = stream.get_raw_message(1).await.unwrap();
    assert_eq!((first.subject.as_str(), first.payload.as_ref()), ("koschei.commands", br#"{"id":"a"}"#.as_slice()));

    let large = OutgoingCommand { id: "l".to_owned(), json: format!("\"{}\"", "x".repeat(2 << 20)) };
    assert_eq!(sink.send(&[large]).await.unwrap_err().class(), Class::Rejected);
}

#[tokio::test]
async fn a_restart_of_the_server_is_survived() {
    let mut server = NatsServer::start().await;
    let connection = connect(&server).await;
    let source = connection.source(&settings()).await.unwrap();
    let commands = connection.commands("COMMANDS", "koschei.commands").await.unwrap();
    publish(&server, &lines(5)).await;
    assert!(commands.publish("a", "{}").await.unwrap());
    let first = fetch_all(&source, 1..=5).await;
    let three = first.into_iter().filter(|(entry, _)| sequence(entry) <= 3);
    source.ack_all(three.map(|(_, ack)| ack)).await.unwrap();
    server.stop();

    // Wait until the end of the connection is noticed.
    let error = loop {
        match source.fetch(10, Duration::from_millis(200)).await {
            Ok(fetched) => assert!(fetched.is_empty(), "{fetched:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.class(), Class::Unavailable);
    server.restart().await;

    let rest = fetch_all(&source, 4..=5).await;
    source.ack_all(rest.into_iter().map(|(_, ack)| ack)).await.unwrap();
    wait_until_done(&source).await;
    assert!(!commands.publish("a", "{}").await.unwrap(), "the stream remembers commands over a restart");
}

#[tokio::test]
async fn what_belongs_to_others_is_not_touched() {
    let server = NatsServer::start().await;
    let connection = connect(&server).await;
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = jetstream::stream::Config {
        name: "KOJI".to_owned(),
        subjects: vec!["koji.>".to_owned()],
        ..jetstream::stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let other = pull::Config {
        durable_name: Some("koschei".to_owned()),
        filter_subject: "koji.other".to_owned(),
        max_deliver: 3,
        ..pull::Config::default()
    };
    stream.create_consumer(other).await.unwrap();

    let error = connection.source(&settings()).await.unwrap_err();
    assert!(matches!(error, JetStreamError::Mismatch { .. }), "{error}");
    let left = stream.consumer_info("koschei").await.unwrap();
    assert_eq!((left.config.filter_subject.as_str(), left.config.max_deliver), ("koji.other", 3));

    let error = connection.commands("KOJI", "koschei.commands").await.unwrap_err();
    assert!(matches!(&error, JetStreamError::Mismatch { field: "subjects", .. }), "{error}");
    assert_eq!(error.class(), Class::Rejected);
}
