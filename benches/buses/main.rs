//! `cargo bench --bench buses`: measures how fast announcements go to RabbitMQ with confirms, and
//! events to NATS JetStream, beside the same messages sent by the client libraries alone.
//! `BENCHMARKS.md` explains the numbers.
//!
//! The servers are the distribution's own, started here. What arrived is counted there.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a benchmark fails by panicking, counts in floating point, measures time and shares modules with tests"
)]

#[path = "../../tests/hub/mod.rs"]
mod hub;
#[path = "../koschei/measure.rs"]
mod measure;
#[path = "../../tests/it/support/nats_server.rs"]
mod nats_server;
mod peers;
#[path = "../../tests/it/support/rabbitmq_server.rs"]
mod rabbitmq_server;
#[path = "../../tests/it/support/servers.rs"]
mod servers;

use std::time::Duration;

use clap::Parser;
use koschei::announce::koschei_messages;
use koschei::bus::{AmqpSettings, PublishSettings, Publisher, Server};
use koschei::event::{CollectionSettings, Event, NewEvent, PackageStateChanged, Record, Source};
use koschei::intake::announcing::Announcer;
use koschei::intake::publishing::EventPublisher;
use koschei::log::{Announcement, Announcements, AnyLog, Commit, EventLog, Head, Options};
use koschei::model::{PackageState, Seq, Timestamp};
use koschei::telemetry::Metrics;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use measure::{Cost, Meter};
use nats_server::NatsServer;
use rabbitmq_server::RabbitServer;

/// Events of one commit.
const COMMIT: u64 = 10_000;
const STREAM: &str = "KOSCHEI_EVENTS";

/// Measures how fast announcements and events leave.
#[derive(Parser, Debug)]
#[command(after_help = "Example:\n  cargo bench --bench buses -- --messages 100000 --json > buses.json")]
struct Args {
    /// Announcements that wait, and events
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    messages: u64,
    /// Packages that the announcements are about. Those about one package leave one after the other
    #[arg(long, value_name = "N", default_value_t = 24_000)]
    packages: u64,
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Log in PostgreSQL instead of SQLite
    #[arg(long)]
    postgres: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A row of the result.
#[derive(Serialize)]
struct Row {
    what: String,
    messages: u64,
    per_second: f64,
    cost: Cost,
}

fn at(n: u64) -> Timestamp {
    Timestamp::from_secs(1_795_164_000 + i64::try_from(n / 100).unwrap())
}

/// A package failed, or is back.
fn changed(n: u64, packages: u64) -> PackageStateChanged {
    let states = [PackageState::Failing, PackageState::Ok];
    let (old, new) = if (n / packages).is_multiple_of(2) { (states[1], states[0]) } else { (states[0], states[1]) };
    let package = format!("package-{}", n % packages).into();
    PackageStateChanged { collection: "f99".into(), package, old: Some(old), new, reason: "build failed".to_owned() }
}

fn announcement(seq: Seq, e: &PackageStateChanged, settings: &CollectionSettings) -> Announcement {
    let said = koschei_messages::package(e, settings, at(seq.get()), None).unwrap();
    Announcement {
        id: format!("00000000-0000-8000-8000-{seq:012}"),
        seq,
        subject: Event::from(e.clone()).subject(),
        made_at: at(seq.get()),
        topic: said.topic.to_owned(),
        headers: said.headers,
        body: said.body,
        people: Vec::new(),
    }
}

/// Fills a log with events, each with its announcement.
async fn fill(log: &AnyLog, args: &Args) -> Vec<Announcement> {
    let settings: CollectionSettings = serde_json::from_value(json!({
        "display_name": "Fedora 99", "hub": "primary", "target": "f99", "build_tag": "f99-build", "dest_tag": "f99",
        "build_group": "build", "coefficient": 1000,
    }))
    .unwrap();
    let (mut all, mut head): (Vec<Announcement>, Head) = (Vec::new(), log.head().await.unwrap());
    for begin in (0..args.messages).step_by(usize::try_from(COMMIT).unwrap()) {
        let (mut records, mut announcements) = (Vec::new(), Vec::new());
        let (mut seq, mut hash) = (head.seq, head.hash);
        for n in begin..(begin + COMMIT).min(args.messages) {
            let e = changed(n, args.packages);
            let new = NewEvent {
                event: e.clone().into(),
                occurred_at: at(n),
                source: Source::Engine,
                fact: None,
                koji_event: None,
                causation: None,
                correlation: None,
            };
            let record = Record::new(Seq::after(seq), at(n), &new, hash);
            (seq, hash) = (Some(record.seq), record.hash);
            announcements.push(announcement(record.seq, &e, &settings));
            records.push(record);
        }
        all.extend(announcements.iter().cloned());
        head = log.append(head.seq, &Commit { records, announcements, ..Commit::default() }).await.unwrap();
    }
    all
}

async fn row<T>(what: &str, messages: u64, work: impl Future<Output = T>) -> Row {
    let meter = Meter::start();
    work.await;
    let cost = meter.cost();
    Row { what: what.to_owned(), messages, per_second: messages as f64 / cost.wall_secs, cost }
}

/// Sends all waiting announcements as `serve` does after an outage.
async fn announce(log: &AnyLog, settings: PublishSettings) {
    let stop = CancellationToken::new();
    let announcer = Announcer {
        log: log.clone(),
        publisher: Publisher::new(settings).unwrap(),
        waits_for_queue: false,
        rung: watch::channel(0).1,
        metrics: Metrics::new(),
        stop: stop.clone(),
    };
    let task = tokio::spawn(announcer.run());
    while log.announcement_counts().await.unwrap().waiting > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    task.await.unwrap();
}

/// Publishes all events as `serve` does to an empty stream with `from_start`.
async fn publish(log: &AnyLog, nats: &NatsServer, messages: u64) {
    let stop = CancellationToken::new();
    let publisher = EventPublisher {
        log: log.clone(),
        log_id: log.info().await.unwrap().log_id,
        server: Server { url: nats.url(), ..Server::default() },
        stream: STREAM.to_owned(),
        subject: "koschei.events".to_owned(),
        from_start: true,
        metrics: Metrics::new(),
        stop: stop.clone(),
    };
    let task = tokio::spawn(publisher.run());
    let context = nats.jetstream().await;
    loop {
        let there = match context.get_stream(STREAM).await {
            Ok(stream) => stream.cached_info().state.messages,
            Err(_) => 0,
        };
        if there >= messages {
            assert_eq!(there, messages);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    task.await.unwrap();
    context.delete_stream(STREAM).await.unwrap();
}

async fn measure(args: &Args) -> Vec<Row> {
    let dir = tempfile::tempdir().unwrap();
    let (rabbit, nats) = (RabbitServer::start().await, NatsServer::start().await);
    let mut rows = Vec::new();
    for round in 0..args.rounds {
        let url = match args.postgres {
            true => servers::postgres_database().await,
            false => dir.path().join(format!("{round}.db")).to_str().unwrap().to_owned(),
        };
        let log = koschei::log::open(&url, &Options::default()).await.unwrap();
        let all = fill(&log, args).await;
        let (exchange, queue) = (format!("out-{round}"), format!("told-{round}"));
        let n = args.messages;
        peers::queue(&rabbit, &exchange, &queue).await;
        let settings = PublishSettings {
            amqp: AmqpSettings::new(&rabbit.url(), ""),
            exchange: exchange.clone(),
            topic_prefix: "org.example".to_owned(),
        };
        rows.push(row("announcements", n, announce(&log, settings)).await);
        assert_eq!(peers::emptied(&rabbit, &queue).await, n, "the broker has each once");
        let bare = peers::confirmed(&rabbit, &exchange, &all);
        rows.push(row("the same messages by lapin alone, 200 at a time", n, bare).await);
        assert_eq!(peers::emptied(&rabbit, &queue).await, n);
        rows.push(row("events", n, publish(&log, &nats, n)).await);
        let texts = peers::texts(&log).await;
        rows.push(
            row("the same messages by async-nats alone, 256 at a time", n, peers::acknowledged(&nats, texts)).await,
        );
        log.close().await;
    }
    rows
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = runtime.block_on(measure(&args));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).unwrap());
        return;
    }
    println!("{} messages each, {} packages, {} rounds", args.messages, args.packages, args.rounds);
    for row in rows {
        let Cost { wall_secs, cpu_secs } = row.cost;
        println!("{:>9.0} /s  {wall_secs:>7.2} s  {cpu_secs:>7.2} s of CPU here  {}", row.per_second, row.what);
    }
}
