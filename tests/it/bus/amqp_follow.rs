//! The whole way from RabbitMQ into the log, and the verb for it. Messages are acknowledged after
//! the inbox commit. Nothing is lost and nothing comes twice, whichever part ends when.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use koschei::base::clock;
use koschei::buildroot::NoResolver;
use koschei::bus::amqp::{AmqpSettings, AmqpSource, Binding};
use koschei::config::Config;
use koschei::event::Source;
use koschei::intake::IntakeError;
use koschei::intake::recording::Ingested;
use koschei::intake::stream::{self, Following};
use koschei::log::{AnyLog, EventLog, Incoming, Options};
use koschei::message::Entry;
use koschei::model::Timestamp;
use koschei::telemetry::Metrics;
use koschei::telemetry::probe::Readiness;
use lapin::BasicProperties;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use crate::bus::amqp::{LONG, exchange, fetch, place};
use crate::bus::follow::get;
use crate::rabbitmq_server::{Publisher, RabbitServer, unique};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");
const EVENTS: &str = include_str!("../../data/koji/events.jsonl");

/// Returns the number of lines whose topics we bind.
fn bound() -> usize {
    EVENTS.lines().filter(|line| !line.contains("buildsys.rpm.sign\"")).count()
}

async fn open(path: &Path) -> AnyLog {
    let options = Options { busy_timeout: Duration::from_millis(10), ..Options::default() };
    koschei::log::open(path.to_str().unwrap(), &options).await.unwrap()
}

/// Follows until nothing waits. Returns the counts and the metrics.
async fn follow(log: &AnyLog, settings: &AmqpSettings) -> Result<(Ingested, String), IntakeError> {
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    let metrics = Metrics::new();
    let done = Box::pin(follower(log, &source, &metrics, &Readiness::default()).run()).await?;
    Ok((done, metrics.render()))
}

fn follower<'a>(
    log: &'a AnyLog,
    source: &'a AmqpSource,
    metrics: &Metrics,
    readiness: &Readiness,
) -> stream::Follower<'a, AmqpSource> {
    stream::Follower {
        log,
        settings: Config::default().settings(Source::Bus),
        resolver: std::sync::Arc::new(NoResolver),
        source,
        sink: None,
        how: Following { batch: 100, until_idle: true },
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        stop: CancellationToken::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_it_is_in_the_inbox_and_nothing_is_taken_twice() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.db");
    let log = open(&path).await;
    drop(AmqpSource::open(settings.clone()).await.unwrap());
    let lines: Vec<&str> = EVENTS.lines().take(20).collect();
    for line in &lines {
        publisher.line(exchange(&settings), line).await;
    }

    // The database is locked longer than anybody waits for a lock. The messages stay with the
    // broker, and follow waits.
    let mut locker = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut locker).await.unwrap();
    {
        let source = AmqpSource::open(settings.clone()).await.unwrap();
        let (metrics, readiness) = (Metrics::new(), Readiness::default());
        readiness.ready();
        let mut following = Box::pin(follower(&log, &source, &metrics, &readiness).run());
        while readiness.is_ready() {
            let ended = tokio::time::timeout(Duration::from_millis(20), &mut following).await;
            assert!(ended.is_err(), "it ended: {ended:?}");
        }
    }
    sqlx::query("ROLLBACK").execute(&mut locker).await.unwrap();
    assert_eq!(log.counts().await.unwrap().inbox_total, 0);

    // Killed between the commit and the acknowledgement.
    let source = AmqpSource::open(settings.clone()).await.unwrap();
    let fetched = fetch(&source, lines.len()).await;
    let committed: Vec<Incoming> = fetched.iter().take(12).map(|(entry, _)| incoming(entry)).collect();
    log.receive(&committed).await.unwrap();
    drop((fetched, source));
    assert_eq!(publisher.left(&settings.queue.name, 20).await, 20);

    let (done, metrics) = follow(&log, &settings).await.unwrap();
    assert_eq!((done.read, done.duplicates, done.parked), (20, 12, 0), "{done:?}");
    let counted = |result| format!("koschei_intake_messages_total{{result=\"{result}\",source=\"amqp\"}} ");
    assert!(metrics.contains(&format!("{}12\n", counted("duplicate"))), "{metrics}");
    assert!(metrics.contains(&format!("{}8\n", counted("stored"))), "{metrics}");
    assert_eq!(log.counts().await.unwrap().inbox_total, 20);
    let (done, _) = follow(&log, &settings).await.unwrap();
    assert_eq!((done.read, done.handled), (0, 0), "all are acknowledged: {done:?}");
}

fn incoming(entry: &Entry) -> Incoming {
    let Entry::Message(message) = entry else { panic!("{entry:?}") };
    Incoming {
        id: message.id.clone(),
        source: "amqp".to_owned(),
        topic: message.topic.clone(),
        received_at: Timestamp::from_secs(1_795_164_300),
        body: message.raw.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_parked_once_and_acknowledged() {
    let server = RabbitServer::shared().await;
    let (publisher, mut settings) = place(server).await;
    let to = exchange(&settings).to_owned();
    settings.bindings.push(Binding { exchange: to.clone(), routing_keys: vec!["#".into()] });
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir.path().join("log.db")).await;
    drop(AmqpSource::open(settings.clone()).await.unwrap());
    assert_eq!(publisher.left(&settings.queue.name, 0).await, 0);
    let none = BasicProperties::default;
    publisher.publish(&to, "x.buildsys.tag", none(), b"hello").await;
    publisher.publish(&to, "x.buildsys.tag", none(), b"hello").await;
    publisher.publish(&to, "x.buildsys.tag", none(), &vec![b' '; 9 << 20]).await;
    publisher.publish(&to, "org.example.compose.done", none(), b"{\"anything\": 1}").await;
    publisher.publish(&to, "x.buildsys.tag", none(), b"{\"nothing\": 1}").await;
    let (done, _) = follow(&log, &settings).await.unwrap();
    assert_eq!((done.read, done.duplicates, done.parked), (5, 1, 3), "{done:?}");
    let parked = log.parked(None, 10).await.unwrap();
    let reasons: Vec<&str> = parked.iter().map(|p| p.reason.as_str()).collect();
    assert!(reasons[0].contains("topic x.buildsys.tag: the body is not JSON"), "{reasons:?}");
    assert!(reasons[1].contains("9437184 bytes long"), "{reasons:?}");
    assert!(reasons[2].contains("`tag` is missing"), "{reasons:?}");
    assert_eq!(follow(&log, &settings).await.unwrap().0.read, 0);
}

fn koschei() -> Command {
    Command::new(env!("CARGO_BIN_EXE_koschei"))
}

/// Runs the program to its end. Returns standard output and error output.
fn output(args: &[&str]) -> (String, String) {
    let out = koschei().args(args).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{args:?}: {said}");
    (String::from_utf8(out.stdout).unwrap(), said)
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&output(args).0).unwrap()
}

/// Returns the digest of the recording's facts, fed from the file.
fn recorded_facts(dir: &Path) -> Value {
    let db = dir.join("file.db");
    let report = json(&[
        "ingest",
        "--from",
        &format!("{DATA}/events.jsonl"),
        "--archive",
        DATA,
        "--db",
        db.to_str().unwrap(),
        "--json",
    ]);
    report["facts_digest"].clone()
}

/// Asserts that a log holds the recording: each message once, all facts, and one command for each
/// decision.
fn holds_the_recording(db: &str, dir: &Path, commands: Option<&Path>) {
    assert_eq!(json(&["replay", "--db", db, "--json"])["facts_digest"], recorded_facts(dir));
    let stats = json(&["log", "stats", "--db", db, "--json"]);
    assert_eq!(stats["inbox_total"], bound(), "each message stands in the inbox once");
    assert_eq!(stats["inbox_pending"], 0);
    if let Some(commands) = commands {
        let lines = std::fs::read_to_string(commands).unwrap();
        let decided = stats["kinds"]["rebuild_requested.v1"]["events"].as_u64().unwrap();
        assert_eq!(lines.lines().count() as u64, decided);
        assert!(decided > 0);
    }
}

async fn publish_recording(publisher: &Publisher, exchange: &str, lines: &[&str]) {
    for line in lines {
        publisher.line(exchange, line).await;
    }
}

/// A follower that serves metrics.
struct Follower {
    child: Child,
    address: String,
}

impl Follower {
    fn start(args: &[&str]) -> Self {
        let mut child = koschei().args(args).args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().strip_suffix("/metrics").unwrap().to_owned();
        // Read on, so that its further output does not fill the pipe.
        std::thread::spawn(move || for _ in stderr.lines() {});
        Self { child, address }
    }

    /// Waits until this many messages were settled, in any way.
    fn wait_for(&self, settled: usize) {
        let began = clock::Stopwatch::start();
        loop {
            let text = get(&self.address, "/metrics");
            let lines = text.lines().filter(|line| line.starts_with("koschei_inbox_settled_total"));
            let sum: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            if sum >= settled as f64 {
                return;
            }
            assert!(began.elapsed() < LONG, "{sum} of {settled} messages were handled:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the process like systemd, and waits for its end.
    fn terminate(mut self) {
        let killed = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().unwrap();
        assert!(killed.success());
        assert!(self.child.wait().unwrap().success());
    }
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gives_the_facts_of_the_recording() {
    let server = RabbitServer::shared().await;
    let (publisher, settings) = place(server).await;
    drop(AmqpSource::open(settings.clone()).await.unwrap());
    publish_recording(&publisher, exchange(&settings), &EVENTS.lines().collect::<Vec<_>>()).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, commands, url) = (path(dir.path(), "live.db"), path(dir.path(), "commands.jsonl"), server.url());
    let (queue, exchange) = (&settings.queue.name, exchange(&settings));
    let args: &[&str] = &[
        "follow",
        "--amqp",
        &url,
        "--queue",
        queue,
        "--exchange",
        exchange,
        "--archive",
        DATA,
        "--db",
        &db,
        "--commands",
        &commands,
        "--until-idle",
        "--batch",
        "50",
    ];
    // Killed in the middle: when the first batch is in the log, or a little later.
    let follower = Follower::start(args);
    follower.wait_for(1);
    follower.kill();
    publisher.left(queue, 0).await;
    // Twice more: the rest is taken in, and nothing comes twice.
    output(args);
    output(args);
    holds_the_recording(&db, dir.path(), Some(Path::new(&commands)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_in_the_middle_loses_nothing_and_doubles_nothing() {
    let server = RabbitServer::restartable().await;
    let (publisher, settings) = place(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, url) = (path(dir.path(), "live.db"), server.url());
    let (queue, exchange) = (&settings.queue.name, exchange(&settings));
    let follower = Follower::start(&[
        "follow",
        "--amqp",
        &url,
        "--queue",
        queue,
        "--exchange",
        exchange,
        "--archive",
        DATA,
        "--db",
        &db,
        "--batch",
        "20",
    ]);
    // A message published before there is a queue is lost.
    while !get(&follower.address, "/ready").contains("200 OK") {
        std::thread::sleep(Duration::from_millis(20));
    }
    // A killed broker may permanently forget a binding made just before. (Seen: all messages of one
    // topic were lost, even after the follower had bound its queue again.) A broker that ends
    // cleanly keeps its bindings on disk.
    drop(publisher);
    server.stop();
    server.restart().await;
    let publisher = server.publisher().await;
    publisher.taker(queue).await;
    let lines: Vec<&str> = EVENTS.lines().collect();
    publish_recording(&publisher, exchange, &lines[..300]).await;
    follower.wait_for(20);
    drop(publisher);
    server.kill();
    server.restart().await;
    let publisher = server.publisher().await;
    publisher.taker(queue).await;
    publish_recording(&publisher, exchange, &lines[300..]).await;
    follower.wait_for(bound());
    follower.terminate();
    holds_the_recording(&db, dir.path(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_fedora_messaging_is_enough() {
    let server = RabbitServer::shared().await;
    let dir = tempfile::tempdir().unwrap();
    let queue = unique("queue");
    let (certificate, key) = server.client("koschei");
    let file = format!(
        "amqp_url = \"{}\"
         surprise = true
         [tls]
         ca_cert = \"{}\"
         certfile = \"{}\"
         keyfile = \"{}\"
         [queues.{queue}]
         durable = true
         auto_delete = false
         exclusive = false
         arguments = {{}}
         [qos]
         prefetch_count = 7",
        server.tls_url(),
        server.authority().display(),
        certificate.display(),
        key.display(),
    );
    let config = path(dir.path(), "config.toml");
    std::fs::write(&config, file).unwrap();
    let db = path(dir.path(), "x.db");
    let args = ["follow", "--fedora-messaging", &config, "--db", &db, "--until-idle"];
    let (_, said) = output(&args);
    assert!(said.contains("`surprise` is not known"), "{said}");
    // Nobody else publishes in that virtual host.
    let publisher = server.publisher_in("/koji").await;
    assert_eq!(publisher.left(&queue, 0).await, 0);
    publisher.line("amq.topic", EVENTS.lines().next().unwrap()).await;
    let (_, said) = output(&args);
    assert!(said.contains("1 messages taken in, 1 handled, 0 seen before, 0 set aside"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_right_status() {
    let server = RabbitServer::shared().await;
    let dir = tempfile::tempdir().unwrap();
    let db = path(dir.path(), "x.db");
    let missing: PathBuf = dir.path().join("missing.toml");
    let run = |args: &[&str]| {
        let out = koschei().arg("follow").args(args).args(["--until-idle", "--db", &db]).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let (status, said) = run(&["--amqp", "amqp://me:secret@127.0.0.1:1"]);
    assert!(status == Some(4) && said.contains("amqp://127.0.0.1:1/%2F") && !said.contains("secret"), "{said}");
    let (status, said) = run(&["--amqp", &server.url_for("guest:secret", "/")]);
    assert!(status == Some(3) && said.contains("check user and password") && !said.contains("secret"), "{said}");
    let (status, said) = run(&["--fedora-messaging", missing.to_str().unwrap()]);
    assert!(status == Some(3) && said.contains("missing.toml"), "{said}");
    for usage in [
        vec![],
        vec!["--amqp", "amqp://", "--nats", "nats://x", "--stream", "s", "--subject", "t"],
        vec!["--nats", "nats://x"],
        vec!["--amqp", "amqp://", "--stream", "s"],
        vec!["--amqp", "amqp://", "--amqp-cert", "c.pem"],
        vec!["--fedora-messaging", "f", "--routing-key", "k"],
    ] {
        assert_eq!(run(&usage).0, Some(2), "{usage:?}");
    }
}
