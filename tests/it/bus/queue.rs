//! The work queue of commands on a real NATS server, without the rest of the service.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream;
use futures_util::StreamExt as _;
use koschei::bus::{Connection, JetStreamError, QueueSettings, Server};
use koschei::decide::command::BindRepo;
use koschei::decide::request::Waits;
use koschei::hub::to_writer::{Input, Reply, ToWriter};
use koschei::intake::queueing::Queueing;
use koschei::log::{AnyLog, Commit, EventLog, Options, OutboxCommand};
use koschei::model::{Class, Classified, Hub};
use koschei::telemetry::Metrics;
use koschei::writer::pauses::Held;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::live::PATIENCE;
use crate::log_place::{at, chain, event};
use crate::nats_server::NatsServer;

fn settings(stream: &str, hub: &str) -> QueueSettings {
    QueueSettings { stream: stream.to_owned(), subject: "koschei.commands".to_owned(), hub: hub.to_owned() }
}

async fn connection(nats: &NatsServer) -> Connection {
    Connection::open(&Server { url: nats.url(), ..Server::default() }).await.unwrap()
}

async fn next(consumer: &PullConsumer) -> Message {
    let mut messages = consumer.batch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
    messages.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_command_is_in_the_queue_once_until_it_is_acknowledged() {
    let nats = NatsServer::start().await;
    let connection = connection(&nats).await;
    assert!(!connection.has_work_queue(&settings("Q", "a.b")).await.unwrap());
    let (queue, made) = connection.work_queue(&settings("Q", "a.b")).await.unwrap();
    let (other, made_again) = connection.work_queue(&settings("Q", "c")).await.unwrap();
    assert!(made && !made_again && connection.has_work_queue(&settings("Q", "a.b")).await.unwrap());
    assert!(queue.put("l:1:x", "1".to_owned()).await.unwrap());
    assert!(!queue.put("l:1:x", "2".to_owned()).await.unwrap(), "it is there");
    assert!(queue.put("l:2:x", "3".to_owned()).await.unwrap());
    assert!(other.put("l:1:x", "4".to_owned()).await.unwrap(), "hubs are apart");
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(queue.held().await.unwrap(), ids(&["l:1:x", "l:2:x"]));
    queue.take_out("l:2:x").await.unwrap();
    queue.take_out("l:9:x").await.unwrap();
    assert_eq!(queue.held().await.unwrap(), ids(&["l:1:x"]));
    assert_eq!(other.held().await.unwrap(), ids(&["l:1:x"]));
    let stream = nats.jetstream().await.get_stream("Q").await.unwrap();
    let consumer: PullConsumer = stream.get_consumer(&settings("Q", "a.b").consumer()).await.unwrap();
    let message = next(&consumer).await;
    assert_eq!(&message.payload[..], b"1");
    assert_eq!(queue.held().await.unwrap(), ids(&["l:1:x"]), "it is being worked on");
    message.double_ack().await.unwrap();
    assert_eq!(queue.held().await.unwrap(), ids(&[]));
    assert!(queue.put("l:1:x", "5".to_owned()).await.unwrap(), "and it can come again");
    let large = queue.put("l:3:x", "x".repeat(2 << 20)).await.unwrap_err();
    assert!(matches!(large, JetStreamError::TooLarge { .. }) && large.class() == Class::Rejected, "{large}");
}

#[tokio::test]
async fn what_is_no_queue_is_refused() {
    let nats = NatsServer::start().await;
    let (context, connection) = (nats.jetstream().await, connection(&nats).await);
    let subjects = |of: &str| vec![format!("{of}.>")];
    let work = stream::RetentionPolicy::WorkQueue;
    let like =
        |name: &str, of: &str| stream::Config { name: name.to_owned(), subjects: subjects(of), ..Default::default() };
    let streams = [
        (stream::Config { retention: work, ..like("SUBJECTS", "other") }, "its subjects is other.>"),
        (like("KEEPS", "a"), "its retention is Limits, but must be WorkQueue"),
        (
            stream::Config { retention: work, deny_delete: true, ..like("DENIES", "b") },
            "its permission to delete is denied",
        ),
        (stream::Config { retention: work, no_ack: true, ..like("SILENT", "c") }, "its no_ack is true"),
    ];
    for (config, said) in streams {
        let subject = match config.subjects[0].trim_end_matches(".>") {
            "other" => "koschei.commands",
            of => of,
        };
        let queue = QueueSettings { subject: subject.to_owned(), ..settings(&config.name, "primary") };
        context.create_stream(config).await.unwrap();
        for refused in [connection.has_work_queue(&queue).await.err(), connection.work_queue(&queue).await.err()] {
            let refused = refused.unwrap();
            assert!(refused.class() == Class::Rejected && refused.to_string().contains(said), "{refused}");
        }
    }
    // A consumer that would drop commands.
    let queue = settings("GOOD", "primary");
    let stream =
        context.create_stream(stream::Config { retention: work, ..like("GOOD", "koschei.commands") }).await.unwrap();
    let forgets = pull::Config {
        durable_name: Some(queue.consumer()),
        filter_subject: "koschei.commands.primary.>".to_owned(),
        max_deliver: 3,
        ..pull::Config::default()
    };
    stream.create_consumer(forgets).await.unwrap();
    let refused = connection.work_queue(&queue).await.err().unwrap();
    assert!(refused.to_string().contains("number of deliveries is 3, but must be -1"), "{refused}");
}

/// Puts a rebuild into the log's outbox.
async fn decide(log: &AnyLog, n: u64, source: &str) -> String {
    let head = log.head().await.unwrap();
    let records = chain(head, at(1), [event(n)]);
    let id = format!("l:{n}:x");
    let command = json!({
        "id": id, "command": "rebuild", "version": 1, "collection": "f99", "package": "curl", "nvr": "curl-1-1",
        "hub": "primary", "source": source, "target": "f99", "repo_id": 7, "task_priority": 30,
        "priority": koschei::event::PriorityParts::default(), "decided_at": at(1), "cause": { "sequence": n },
    });
    let seq = records.last().unwrap().seq;
    let commands =
        vec![OutboxCommand { id: id.clone(), seq, kind: "rebuild".to_owned(), payload: command.to_string() }];
    log.append(head.seq, &Commit { records, commands, ..Commit::default() }).await.unwrap();
    id
}

/// An executor that acknowledges a command without a result loses nothing: it comes again. What the
/// writer says counts: what is closed leaves outbox and queue, and what may not be bound is not.
#[tokio::test]
async fn a_command_without_an_outcome_comes_again() {
    let (nats, dir) =
        (NatsServer::start_with("max_payload: 4096", ConnectOptions::new()).await, tempfile::tempdir().unwrap());
    let log = koschei::log::open(dir.path().join("log.db").to_str().unwrap(), &Options::default()).await.unwrap();
    // This one is too large for the server, and holds up nobody.
    decide(&log, 1, &"x".repeat(5_000)).await;
    let second = decide(&log, 2, "../curl.src.rpm").await;
    let (writer, mut asked) = ToWriter::channel();
    let says = Arc::new(Mutex::new(Waits::Yes { bound: false }));
    let answer = Arc::clone(&says);
    tokio::spawn(async move {
        while let Some((input, reply)) = asked.recv().await {
            let Input::AreWaiting(rebuilds) = input else { panic!("{input:?}") };
            let answers = vec![*answer.lock().unwrap(); rebuilds.len()];
            drop(reply.send(Reply::Waiting(answers)));
        }
    });
    let (bell, outbox) = watch::channel(0);
    let (_holding, held) = watch::channel(Held::default());
    let stop = CancellationToken::new();
    let queueing = Queueing {
        hub: Hub::new("primary"),
        log: log.clone(),
        writer,
        server: Server { url: nats.url(), ..Server::default() },
        queue: settings("KOSCHEI_COMMANDS", "primary"),
        bind: BindRepo::Auto,
        again_after: Duration::ZERO,
        outbox,
        held,
        metrics: Metrics::new(),
        stop: stop.clone(),
    };
    let task = tokio::spawn(queueing.run());
    let stream = loop {
        if let Ok(stream) = nats.jetstream().await.get_stream("KOSCHEI_COMMANDS").await
            && stream.consumer_info("executor-primary").await.is_ok()
        {
            break stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let consumer: PullConsumer = stream.get_consumer("executor-primary").await.unwrap();
    for _ in 0..2 {
        let message = next(&consumer).await;
        let command: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!((command["id"].as_str(), command.get("repo_id")), (Some(second.as_str()), None));
        message.double_ack().await.unwrap();
    }
    *says.lock().unwrap() = Waits::No;
    bell.send_modify(|n| *n += 1);
    let gone = tokio::time::timeout(PATIENCE, async {
        while log.counts().await.unwrap().outbox_pending > 0 || stream.get_info().await.unwrap().state.messages > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(gone.await.is_ok(), "the outbox has {:?}", log.counts().await.unwrap());
    stop.cancel();
    task.await.unwrap();
    log.close().await;
}
