//! Operators' words: heard by whoever works on the log, on every bus and with every database, and what is said when nobody does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use koschei::event::Event;
use koschei::log::{AnyLog, EventLog, Options, PAGE_MAX};

use crate::follow::get;
use crate::nats_server::NatsServer;
use crate::rabbitmq_server::{RabbitServer, unique};
use crate::servers::postgres_database;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

pub(crate) fn koschei(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    command.args(args).env_remove("SUDO_USER").env_remove("KOSCHEI_DB");
    command
}

/// Says something and waits until it is heard: only a hang takes so long.
pub(crate) fn say(db: &str, args: &[&str]) -> Output {
    koschei(&["admin"]).args(args).args(["--wait", "120", "--db", db]).output().unwrap()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A `koschei follow` that runs.
pub(crate) struct Follow {
    child: Child,
    address: String,
}

impl Follow {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(args: &[&str], db: &str) -> Self {
        let mut child = koschei(&["follow", "--listen", "127.0.0.1:0", "--db", db])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().strip_suffix("/metrics").unwrap().to_owned();
        std::thread::spawn(move || stderr.read_to_string(&mut String::new()));
        while !get(&address, "/ready").contains("200 OK") {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::yield_now();
        }
        Self { child, address }
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none() && get(&self.address, "/alive").contains("200 OK")
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) async fn open(db: &str) -> AnyLog {
    koschei::log::open(db, &Options::default()).await.unwrap()
}

/// What operators said, as the log has it.
async fn operators(db: &str) -> Vec<Event> {
    let log = open(db).await;
    let records = log.read(None, PAGE_MAX).await.unwrap();
    log.close().await;
    let words = records.iter().filter(|r| r.source == "operator" && r.kind != "policy_adopted");
    words.map(|r| r.decode().unwrap().event).collect()
}

async fn databases(dir: &tempfile::TempDir) -> [String; 2] {
    [dir.path().join("a.db").to_str().unwrap().to_owned(), postgres_database().await]
}

/// Makes a collection, tracks a package, pauses.
async fn heard_by(mut follow: Follow, db: &str) -> Follow {
    let create =
        ["create-collection", "f99", "--target", "f99", "--build-tag", "f99-build", "--dest-tag", "f99"].as_slice();
    for args in [create, &["track", "-c", "f99", "curl"], &["pause", "--reason", "mass rebuild"]] {
        let out = say(db, args);
        assert!(out.status.success() && said(&out) == "done\n", "{args:?}: {}", said(&out));
    }
    assert!(follow.runs());
    let kinds: Vec<_> = operators(db).await.iter().map(|e| e.kind().name).collect();
    assert_eq!(kinds, ["collection_created", "package_tracked", "submissions_paused"], "{db}");
    follow
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_hears_words_on_nats_also_while_the_server_is_away() {
    let dir = tempfile::tempdir().unwrap();
    for db in databases(&dir).await {
        let mut server = NatsServer::start().await;
        let url = server.url();
        let follow = Follow::start(&["--nats", &url, "--stream", "KOJI", "--subject", "koji.>"], &db);
        let mut follow = heard_by(follow, &db).await;
        server.stop();
        let out = say(&db, &["resume"]);
        assert!(out.status.success(), "{}", said(&out));
        assert!(follow.runs());
        assert!(matches!(operators(&db).await.last(), Some(Event::SubmissionsResumed(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_hears_words_on_rabbitmq() {
    let server = RabbitServer::shared().await;
    let dir = tempfile::tempdir().unwrap();
    for db in databases(&dir).await {
        let (queue, exchange) = (unique("queue"), unique("exchange"));
        server.publisher().await.exchange(&exchange).await;
        let args = ["--amqp", &server.url(), "--queue", &queue, "--exchange", &exchange];
        heard_by(Follow::start(&args, &db), &db).await;
    }
}

/// A log that nobody works on, with something in it.
fn quiet(dir: &tempfile::TempDir) -> String {
    let text = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let first: String = text.lines().take(200).flat_map(|l| [l, "\n"]).collect();
    std::fs::write(dir.path().join("first.jsonl"), first).unwrap();
    let db = dir.path().join("a.db").to_str().unwrap().to_owned();
    ingest(dir, &db);
    db
}

/// Takes what was said.
fn ingest(dir: &tempfile::TempDir, db: &str) {
    let first = dir.path().join("first.jsonl");
    let out = koschei(&["ingest", "--from", first.to_str().unwrap(), "--db", db]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_nobody_hears_is_said_to_be_unheard_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let db = quiet(&dir);
    for more in [&[][..], &["--json"]] {
        let out = koschei(&["admin", "pause", "--wait", "0", "--db", &db]).args(more).output().unwrap();
        assert_eq!(out.status.code(), Some(4), "{}", said(&out));
        assert!(
            said(&out).contains("nobody works on this log") && said(&out).contains("It is noted"),
            "{}",
            said(&out)
        );
        assert_eq!(said(&out).contains(r#""taken":false"#), !more.is_empty(), "{}", said(&out));
    }
    assert_eq!(operators(&db).await, []);
    ingest(&dir, &db);
    let kinds: Vec<_> = operators(&db).await.iter().map(|e| e.kind().name).collect();
    assert_eq!(kinds, ["submissions_paused"; 2]);
}

/// What made sense when it was said may make none when it is heard.
#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_is_refused_is_said_to_be_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = quiet(&dir);
    let create = ["create-collection", "x", "--target", "f99", "--build-tag", "b", "--dest-tag", "d"];
    let first = koschei(&["admin"]).args(create).args(["--no-wait", "--db", &db]).output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    let second = {
        let db = db.clone();
        std::thread::spawn(move || say(&db, &create))
    };
    let log = open(&db).await;
    while log.counts().await.unwrap().inbox_pending < 2 {
        tokio::task::yield_now().await;
    }
    log.close().await;
    ingest(&dir, &db);
    let out = second.join().unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("there is a collection `x` already"), "{}", said(&out));
}
