//! `follow` while a service it needs is away: it waits, logs that, is not ready meanwhile, and
//! loses nothing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use koschei::buildroot::NoResolver;
use koschei::config::Config;
use koschei::event::Source;
use koschei::hub::to_writer::ToWriter;
use koschei::model::Timestamp;
use koschei::service::serve::Service;
use koschei::telemetry::Metrics;
use koschei::telemetry::probe::Readiness;
use koschei::writer::HEART;
use lapin::options::QueueBindOptions;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::follow::get;
use crate::live::PATIENCE;
use crate::nats_server::NatsServer;
use crate::rabbitmq_server::{RabbitServer, unique};
use crate::serve::behaviours::postgres;
use crate::servers;

const EVENTS: &str = include_str!("../../data/koji/events.jsonl");

/// A `follow` that serves metrics. Its output is kept.
pub(crate) struct Running {
    child: Child,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command
            .arg("follow")
            .args(args)
            .args(["--listen", "127.0.0.1:0"])
            .env("KOSCHEI_LOG", "info")
            .env("NO_COLOR", "1");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().strip_suffix("/metrics");
        let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self { child, address, said }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        get(&self.address, path)
    }

    /// Waits until `what` holds. Fails the test if the process ends before.
    pub(crate) async fn until(&mut self, why: &str, mut what: impl FnMut(&Self) -> bool) {
        let waiting = tokio::time::timeout(PATIENCE, async {
            while !what(self) {
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("it ended with {status} before {why}:\n{}", self.said());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waiting.await.is_ok(), "never: {why}\n{}", self.said());
    }

    pub(crate) async fn ready(&mut self) {
        self.until("it is ready", |r| r.get("/ready").contains("200 OK")).await;
    }

    pub(crate) async fn says(&mut self, what: &str) {
        self.until(what, |r| r.said().contains(what)).await;
    }

    /// Waits until the process ends by itself. Returns its exit status.
    pub(crate) async fn ends(&mut self) -> Option<i32> {
        let waiting = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waiting.await.unwrap_or_else(|_| panic!("it does not end:\n{}", self.said()))
    }

    /// Returns the number of settled messages.
    pub(crate) fn settled(&self) -> usize {
        let text = self.get("/metrics");
        let lines = text.lines().filter(|line| line.starts_with("koschei_inbox_settled_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    }

    /// Ends the process like systemd.
    pub(crate) fn terminate(mut self) {
        let killed = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().unwrap();
        assert!(killed.success());
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) async fn stream(server: &NatsServer) -> jetstream::Context {
    let context = server.jetstream().await;
    let config =
        jetstream::stream::Config { name: "KOJI".into(), subjects: vec!["koji.>".into()], ..Default::default() };
    context.create_stream(config).await.unwrap();
    context
}

pub(crate) async fn publish(context: &jetstream::Context, lines: impl Iterator<Item = &'static str>) {
    for line in lines {
        context.publish("koji.buildsys", line.to_owned().into()).await.unwrap().await.unwrap();
    }
}

/// A database server goes away in the middle and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_postgres_is_waited_for() {
    let database = servers::start_postgres(&servers::postgres_bin(), "-c fsync=off");
    let db = format!("postgres://koschei@localhost/postgres?host={}", database.dir.display());
    let server = NatsServer::start().await;
    let context = stream(&server).await;
    publish(&context, EVENTS.lines().take(50)).await;
    let url = server.url();
    let mut follow = Running::start(&["--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--db", &db]);
    follow.until("the first messages are handled", |f| f.settled() == 50).await;
    follow.ready().await;

    postgres(&database, "stop -m immediate");
    publish(&context, EVENTS.lines().skip(50).take(50)).await;
    follow.says("the database does not answer").await;
    follow.until("it is not ready", |f| f.get("/ready").contains("503")).await;
    assert!(follow.get("/ready").contains("waiting for the database"), "{}", follow.get("/ready"));
    assert!(follow.get("/alive").contains("200 OK"));
    let again = follow.said().matches("does not answer").count();
    postgres(&database, "start");
    follow.says("the database answers again").await;
    follow.until("all messages are handled", |f| f.settled() >= 100).await;
    follow.ready().await;
    assert!(again <= 3, "each trouble is said once:\n{}", follow.said());
    follow.terminate();

    let log = koschei::log::open(&db, &koschei::log::Options::default()).await.unwrap();
    let counts = koschei::log::EventLog::counts(&log).await.unwrap();
    assert_eq!((counts.inbox_total, counts.inbox_pending), (100, 0));
    koschei::log::EventLog::close(&log).await;
}

/// The broker's operator makes the queue, and makes it again after a while. That while is longer
/// than refusals count as passing.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_gone_for_a_while_is_waited_for() {
    let server = RabbitServer::shared().await;
    let publisher = server.publisher_in("/koji").await;
    let (queue, exchange) = (unique("made"), unique("exchange"));
    publisher.exchange(&exchange).await;
    let make = async || {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let (queue, exchange) = (queue.as_str(), exchange.as_str());
        publisher.channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
        let (key, none) = ("#", QueueBindOptions::default());
        publisher
            .channel
            .queue_bind(queue.into(), exchange.into(), key.into(), none, FieldTable::default())
            .await
            .unwrap();
    };
    make().await;
    let dir = tempfile::tempdir().unwrap();
    let (file, db) = (dir.path().join("config.toml"), dir.path().join("x.db"));
    let url = server.url_for("guest:guest", "/koji");
    let text = format!(
        "amqp_url = \"{url}\"\npassive_declares = true\n[queues.{queue}]\ndurable = true\nauto_delete = \
            false\nexclusive = false\narguments = {{}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut follow = Running::start(&["--fedora-messaging", file.to_str().unwrap(), "--db", db.to_str().unwrap()]);
    follow.ready().await;
    publisher.line(&exchange, EVENTS.lines().next().unwrap()).await;
    follow.until("the first is handled", |f| f.settled() == 1).await;

    publisher.delete_queue(&queue).await;
    // So many refusals count as final when a service starts.
    follow.says("the source of messages answers with an error").await;
    assert!(follow.said().contains("create the queue"), "{}", follow.said());
    assert!(follow.get("/ready").contains("503") && follow.get("/alive").contains("200 OK"));
    make().await;
    publisher.line(&exchange, EVENTS.lines().nth(1).unwrap()).await;
    follow.until("the second is handled", |f| f.settled() == 2).await;
    follow.ready().await;
    follow.terminate();
}

/// Two logs share one queue: each gets half of the messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_queue_is_noticed() {
    let server = RabbitServer::shared().await;
    let dir = tempfile::tempdir().unwrap();
    let (url, queue, exchange) = (server.url(), unique("queue"), unique("exchange"));
    server.publisher().await.exchange(&exchange).await;
    let start = |name: &str| {
        let db = dir.path().join(name);
        let args = ["--amqp", &url, "--queue", &queue, "--exchange", &exchange, "--db", db.to_str().unwrap()];
        Running::start(&args)
    };
    let mut one = start("one.db");
    one.ready().await;
    let mut two = start("two.db");
    two.says("another consumer takes messages from our queue").await;
}

/// systemd kills a service that shows no sign of life for five minutes. An outage of the database
/// may last longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_brain_that_waits_for_its_database_is_alive() {
    let database = servers::start_postgres(&servers::postgres_bin(), "-c fsync=off");
    let db = format!("postgres://koschei@localhost/postgres?host={}", database.dir.display());
    let log = koschei::log::open(&db, &koschei::log::Options::default()).await.unwrap();
    let (metrics, readiness, stop) = (Metrics::new(), Readiness::default(), CancellationToken::new());
    let (_to_brain, inputs) = ToWriter::channel();
    let (_bell, inbox) = watch::channel(0);
    let (outbox, _rung) = watch::channel(0);
    let service = Service {
        log,
        settings: Config::default().settings(Source::Hub),
        resolver: Box::new(|| std::sync::Arc::new(NoResolver)),
        hubs: HashMap::new(),
        inputs,
        inbox,
        outbox,
        announcements: None,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        stop: stop.clone(),
    };
    let caught_up = readiness.clone();
    let runtime = tokio::runtime::Handle::current();
    let running = tokio::task::spawn_blocking(move || runtime.block_on(service.run(move || caught_up.ready())));
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let waiting = tokio::time::timeout(PATIENCE, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waiting.await.is_ok(), "never: {what}");
    };
    until("it is ready", &|| readiness.is_ready()).await;
    postgres(&database, "stop -m immediate");
    until("it waits", &|| !readiness.is_ready()).await;
    let went_round = || {
        let text = metrics.render();
        let line = text.lines().find_map(|l| l.strip_prefix("koschei_loop_last_seconds{loop=\"brain\"} "));
        line.unwrap().parse::<i64>().unwrap()
    };
    // By its last round the loop would count as stalled now. Only its retries keep it alive.
    let last = went_round();
    let late = Timestamp::from_secs(last + 301);
    until("it shows that it lives", &|| !metrics.loop_is_stale(HEART, late)).await;
    assert_eq!(went_round(), last, "monitoring sees that it does not go round");
    postgres(&database, "start");
    until("it is ready again", &|| readiness.is_ready()).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}
