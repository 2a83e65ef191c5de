//! The log's events on a real JetStream: each once, in order, whatever ends when.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt as _;
use koschei::bus::jetstream::{Connection, Server, subject};
use koschei::event::cloudevents;
use koschei::intake::publishing::EventPublisher;
use koschei::log::{AnyLog, Commit, EventLog, Options};
use koschei::model::{Class, Classified};
use koschei::telemetry::Metrics;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::feed::scale;
use crate::live::{Live, PATIENCE, REBUILD_ALL};
use crate::log_place::{at, chain, event, read_all};
use crate::nats_server::NatsServer;
use crate::recorded;
use crate::serve::first::small;

const STREAM: &str = "KOSCHEI_EVENTS";
const PREFIX: &str = "koschei.events";

async fn publisher(log: &AnyLog, server: &NatsServer, metrics: &Metrics, stop: &CancellationToken) -> EventPublisher {
    EventPublisher {
        log: log.clone(),
        log_id: log.info().await.unwrap().log_id,
        server: Server { url: server.url(), ..Server::default() },
        stream: STREAM.to_owned(),
        subject: PREFIX.to_owned(),
        from_start: true,
        metrics: metrics.clone(),
        stop: stop.clone(),
    }
}

async fn recorded_log(dir: &Path) -> AnyLog {
    koschei::log::open(recorded::copy(dir).to_str().unwrap(), &Options::default()).await.unwrap()
}

/// Number of messages in the stream. None: there is no stream yet.
async fn published(server: &NatsServer) -> Option<u64> {
    let stream = server.jetstream().await.get_stream(STREAM).await.ok()?;
    Some(stream.cached_info().state.messages)
}

async fn until(server: &NatsServer, what: &str, so: impl Fn(u64) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !published(server).await.is_some_and(&so) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

/// Takes every message of the stream, with its subject and the id that the server drops doubles by.
async fn heard(server: &NatsServer, count: usize) -> Vec<(String, String, String)> {
    let stream = server.jetstream().await.get_stream(STREAM).await.unwrap();
    let config =
        pull::Config { ack_policy: AckPolicy::None, deliver_policy: DeliverPolicy::All, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut all = Vec::new();
    while all.len() < count {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.unwrap().unwrap().unwrap();
        let headers = message.headers.clone().unwrap();
        let header = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(header("content-type"), "application/cloudevents+json");
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        let sequence: u64 = header("Koschei-Sequence").parse().unwrap();
        assert_eq!(sequence, u64::try_from(all.len()).unwrap() + 1);
        all.push((message.subject.to_string(), header("Nats-Msg-Id"), text));
    }
    all
}

/// Checks that the stream has exactly the log.
async fn has_the_log(server: &NatsServer, log: &AnyLog) {
    let records = read_all(log, 1000).await;
    assert_eq!(published(server).await, Some(records.len() as u64));
    for (record, (at, id, text)) in records.iter().zip(heard(server, records.len()).await) {
        assert_eq!(cloudevents::from_json(&text).unwrap(), *record);
        assert_eq!(
            (at, id),
            (format!("{PREFIX}.{}", subject(&record.kind, &record.subject)), cloudevents::id_of(record))
        );
    }
}

/// The publisher is killed again and again, and the server stopped. Each event is there once.
#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_there_once_whatever_ends_when() {
    let dir = tempfile::tempdir().unwrap();
    let log = recorded_log(dir.path()).await;
    let total = u64::try_from(read_all(&log, 1000).await.len()).unwrap();
    for seed in 0..scale(2, 20) {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut server = NatsServer::start().await;
        let metrics = Metrics::new();
        for round in 0.. {
            let stop = CancellationToken::new();
            let task = tokio::spawn(publisher(&log, &server, &metrics, &stop).await.run());
            let goal = (published(&server).await.unwrap_or(0) + rng.random_range(1..400)).min(total);
            until(&server, "some more are there", |messages| messages >= goal).await;
            if round == 1 {
                server.stop();
                server.restart().await;
                until(&server, "the server is back", |messages| messages >= goal).await;
            }
            if goal == total {
                stop.cancel();
                task.await.unwrap();
                break;
            }
            task.abort();
            drop(task.await);
        }
        has_the_log(&server, &log).await;
    }
    log.close().await;
}

#[tokio::test]
async fn a_stream_of_another_log_is_refused_and_an_old_server_named() {
    let server = NatsServer::start().await;
    let connection = Connection::open(&Server { url: server.url(), ..Server::default() }).await.unwrap();
    let said = connection.unreliable().unwrap();
    assert!(said.contains("older than 2.12") && said.contains("the log has all events"), "{said}");
    let mut stream = connection.events(STREAM, PREFIX, "one").await.unwrap();
    assert_eq!(stream.through(), None);
    let event = koschei::bus::jetstream::OutgoingEvent {
        seq: 41,
        id: "id".to_owned(),
        subject: "tick._._".to_owned(),
        json: "{}".to_owned(),
    };
    stream.publish(std::slice::from_ref(&event)).await.unwrap();
    assert_eq!(connection.events(STREAM, PREFIX, "one").await.unwrap().through(), Some(41));
    let refused = connection.events(STREAM, PREFIX, "two").await.unwrap_err();
    assert_eq!(refused.class(), Class::Rejected);
    assert!(refused.to_string().contains("its log is one, but must be two"), "{refused}");
    // Somebody else publishes there: the next event is refused, and then the stream.
    server.jetstream().await.publish(format!("{PREFIX}.x"), "{}".into()).await.unwrap().await.unwrap();
    let next = koschei::bus::jetstream::OutgoingEvent { seq: 42, id: "next".to_owned(), ..event };
    let refused = stream.publish(std::slice::from_ref(&next)).await.unwrap_err();
    assert!(refused.class() == Class::Unavailable && refused.to_string().contains("publish event 42"), "{refused}");
    let refused = connection.events(STREAM, PREFIX, "one").await.unwrap_err();
    assert!(refused.to_string().contains("a publisher that names no log"), "{refused}");
}

/// An event that the server does not take whole comes without its data.
#[tokio::test]
async fn a_large_event_comes_without_its_data() {
    let server = NatsServer::start_with("max_payload: 8192", async_nats::ConnectOptions::new()).await;
    let dir = tempfile::tempdir().unwrap();
    let log = recorded_log(dir.path()).await;
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let task = tokio::spawn(publisher(&log, &server, &metrics, &stop).await.run());
    let records = read_all(&log, 1000).await;
    let total = records.len() as u64;
    until(&server, "all are there", |messages| messages == total).await;
    stop.cancel();
    task.await.unwrap();
    let heard = heard(&server, records.len()).await;
    let short = records.iter().zip(&heard).filter(|(record, (.., text))| *text != cloudevents::to_json(record));
    let short: Vec<&String> = short.map(|(_, (.., text))| text).collect();
    assert!(!short.is_empty() && short.iter().all(|text| text.contains("\"data\":null")), "{}", short.len());
    let counted = format!("koschei_events_shortened_total {}\n", short.len());
    assert!(metrics.render().contains(&counted), "{counted}");
    log.close().await;
}

/// What is appended while the server cannot be reached is published, too, although the stream begins
/// with the present.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_first_connection_is_not_lost() {
    let mut server = NatsServer::start().await;
    server.stop();
    let dir = tempfile::tempdir().unwrap();
    let log = recorded_log(dir.path()).await;
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let publisher = EventPublisher { from_start: false, ..publisher(&log, &server, &metrics, &stop).await };
    let task = tokio::spawn(publisher.run());
    let tried = || metrics.render().contains("koschei_events_behind 0\n");
    let waited = tokio::time::timeout(PATIENCE, async {
        while !tried() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "the server was never tried");
    let head = log.head().await.unwrap();
    let more = chain(head, at(2_000_000_000), (1..=3).map(event));
    log.append(head.seq, &Commit { records: more.clone(), ..Commit::default() }).await.unwrap();
    server.restart().await;
    until(&server, "the new events are there", |messages| messages == 3).await;
    stop.cancel();
    task.await.unwrap();
    let stream = server.jetstream().await.get_stream(STREAM).await.unwrap();
    let first = stream.get_raw_message(1).await.unwrap();
    assert_eq!(cloudevents::from_json(std::str::from_utf8(&first.payload).unwrap()).unwrap(), more[0]);
    log.close().await;
}

/// The service publishes what it appends, while it works.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_publishes_its_log() {
    let server = NatsServer::start().await;
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[jetstream]\nurl = '{}'\nfrom_start = true\n{REBUILD_ALL}", server.url());
    live.start();
    live.wait("the repository is resolved", |s| s.collections.values().any(|c| c.resolved_at.is_some())).await;
    live.stop();
    live.start();
    let log = live.log().await;
    let head = log.head().await.unwrap().seq.unwrap().get();
    until(&server, "what there was is there, and something new", |messages| messages > head).await;
    live.stop();
    let said = live.said();
    assert!(said.contains("older than 2.12"), "{said}");
    let (records, count) = (read_all(&log, 1000).await, published(&server).await.unwrap());
    let count = usize::try_from(count).unwrap();
    assert!(count <= records.len());
    for (record, (.., text)) in records.iter().zip(heard(&server, count).await) {
        assert_eq!(cloudevents::from_json(&text).unwrap(), *record);
    }
    log.close().await;
}
