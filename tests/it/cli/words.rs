//! Operators' words are handled by the process that works on the log, with every bus and every
//! database. Also what the command line says if no process does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use koschei::event::Event;
use koschei::log::{AnyLog, Commit, Disposition, EventLog, Fate, Incoming, Options, PAGE_MAX, Position, Settled};
use koschei::model::Timestamp;

use crate::bus::follow::get;
use crate::live::{Live, PATIENCE};
use crate::nats_server::NatsServer;
use crate::rabbitmq_server::{RabbitServer, unique};
use crate::serve::first::{COLLECTION, small};
use crate::servers::postgres_database;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

pub(crate) fn koschei(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    command.args(args).env_remove("SUDO_USER").env_remove("KOSCHEI_DB");
    command
}

/// Says a word and waits until it is handled. Only a hang takes this long.
pub(crate) fn say(db: &str, args: &[&str]) -> Output {
    koschei(&["admin"]).args(args).args(["--wait", "120", "--db", db]).output().unwrap()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A running `koschei follow`.
pub(crate) struct Follow {
    child: Child,
    address: String,
}

impl Follow {
    /// Starts the process, and waits until it is ready.
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

/// Returns the operators' events in the log.
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

/// Makes a collection, tracks a package, and pauses.
async fn heard_by(mut follow: Follow, db: &str) -> Follow {
    let create =
        ["create-collection", "f99", "--target", "f99", "--build-tag", "f99-build", "--dest-tag", "f99"].as_slice();
    for args in [create, &["track", "-c", "f99", "--force", "curl"], &["pause", "--reason", "mass rebuild"]] {
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

/// Makes a log with some events, on which no process works.
fn quiet(dir: &tempfile::TempDir) -> String {
    let text = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let first: String = text.lines().take(200).flat_map(|l| [l, "\n"]).collect();
    std::fs::write(dir.path().join("first.jsonl"), first).unwrap();
    let db = dir.path().join("a.db").to_str().unwrap().to_owned();
    ingest(dir, &db);
    db
}

/// Handles the words that wait.
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
            said(&out).contains("no process works on this log") && said(&out).contains("The command is noted"),
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

/// A word that made sense when it was said may be refused when it is handled.
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

/// A mistyped name is answered with similar names or with advice. Nothing is put into the inbox.
#[tokio::test(flavor = "multi_thread")]
async fn names_nobody_knows_are_refused_with_those_like_them() {
    let dir = tempfile::tempdir().unwrap();
    let db = quiet(&dir);
    let create = |name: &'static str, hub: &'static str, build_tag: &'static str| {
        vec!["create-collection", name, "--hub", hub, "--target", "x", "--build-tag", build_tag, "--dest-tag", "f99"]
    };
    let refused = |args: &[&str], says: &str| {
        let out = koschei(&["admin"]).args(args).args(["--db", &db]).output().unwrap();
        assert_eq!(out.status.code(), Some(3), "{args:?}: {}", said(&out));
        let words = said(&out).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(says), "{args:?}: {words}");
    };
    for verb in ["track", "untrack", "set-arch-override"] {
        refused(&[verb, "-c", "f99-build", "crul"], "did you mean `curl`? If it will exist later, add --force");
        refused(&[verb, "-c", "f99-biuld", "curl"], "no collection `f99-biuld`; did you mean `f99-build`");
    }
    refused(&["set-priority", "-c", "f99-build", "--points", "1", "curl", "crul"], "did you mean `curl`?");
    refused(&["set-skip-resolution", "-c", "f99-build", "--skip", "no", "crul"], "did you mean `curl`?");
    refused(&["track", "-c", "f99-build", "nothing-like-it"], "no package `nothing-like-it` is known");
    refused(&["pause", "-c", "f99-biuld"], "did you mean `f99-build`");
    refused(&["resume", "-c", "f99-biuld"], "did you mean `f99-build`");
    refused(&create("x", "primray", "f99-build"), "no hub `primray` is known; did you mean `primary`?");
    refused(&create("x", "elsewhere", "f99-build"), "known are primary");
    refused(&create("x", "primary", "f99-biuld"), "no tag `f99-biuld` is known on primary; did you mean `f99-build`");
    refused(&["edit-collection", "f99-build", "--build-tag", "f99-biuld"], "did you mean `f99-build`");
    refused(&["edit-collection", "f99-biuld", "--max-builds", "1"], "did you mean `f99-build`");
    refused(&["cancel", "1", "--hub", "primray"], "did you mean `primary`?");
    refused(&["set-arch-override", "-c", "f99-build", "--arches", "x86_46", "curl"], "did you mean `x86_64`?");
    refused(&["edit-collection", "f99-build"], "no option says what to change");
    let out = koschei(&["admin", "forget-person", "alcie", "--db", &db]).output().unwrap();
    assert!(out.status.code() == Some(3) && said(&out).contains("did you mean `alice`?"), "{}", said(&out));
    for skip in [&["--skip"][..], &["--skip", "maybe"], &[]] {
        let out =
            koschei(&["admin", "set-skip-resolution", "-c", "f99-build"]).args(skip).arg("curl").output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{skip:?}: {}", said(&out));
    }
    let log = open(&db).await;
    assert_eq!(log.counts().await.unwrap().inbox_pending, 0, "nothing of all that was noted");

    // A name may also be of something that does not exist yet. New names are not mistakes.
    let noted = |args: &[&str]| {
        let out = koschei(&["admin"]).args(args).args(["--no-wait", "--db", &db]).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        said(&out)
    };
    noted(&["track", "-c", "f99-build", "--force", "nothing-like-it"]);
    noted(&[&create("x", "elsewhere", "f99-biuld")[..], &["--force"]].concat());
    noted(&create("f98", "primary", "f98-build"));
    let before = log.head().await.unwrap();
    let told = noted(&["edit-collection", "f99-build", "--max-builds", "5"]);
    let time = before.recorded_at.to_string();
    assert!(told.contains(&format!("gets the recording's time, now {time}, not today's")), "{told}");
    ingest(&dir, &db);
    assert_eq!(operators(&db).await.len(), 4);
    let after = log.head().await.unwrap();
    assert!(after.seq > before.seq && after.recorded_at == before.recorded_at, "{before:?} {after:?}");
    assert!(noted(&["edit-collection", "f99-build", "--max-builds", "5"]).contains("nothing changes"));
    assert_eq!(log.counts().await.unwrap().inbox_pending, 0);
    log.close().await;
}

fn in_words(db: &str, args: &[&str], code: i32) -> String {
    let out = koschei(args).args(["--db", db]).output().unwrap();
    assert_eq!(out.status.code(), Some(code), "{args:?}: {}", said(&out));
    said(&out)
}

/// Messages that are set aside are retried and dismissed while another process works on the log.
#[tokio::test(flavor = "multi_thread")]
async fn messages_set_aside_are_retried_and_dismissed_beside_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let server = NatsServer::start().await;
    for db in databases(&dir).await {
        let args = ["--nats", &server.url(), "--stream", "KOJI", "--subject", "koji.>"];
        let mut follow = Follow::start(&args, &db);
        let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        for body in [r#"{"topic":"org.x.buildsys.tag","id":"broken","body":{"tag":7}}"#, "no message"] {
            context.publish("koji.x", body.into()).await.unwrap().await.unwrap();
        }
        let log = open(&db).await;
        while log.counts().await.unwrap().inbox_parked < 2 {
            tokio::task::yield_now().await;
        }
        let other = log.parked(None, 9).await.unwrap().into_iter().map(|p| p.id).find(|id| id != "broken").unwrap();
        let retry = in_words(&db, &["log", "retry-parked", "--wait", "120"], 0);
        assert!(retry.contains("2 messages tried again, 2 still not understood"), "{retry}");
        in_words(&db, &["log", "retry-parked", "brokem"], 3);
        let why = ["--reason", "a test of the bus", "--by", "alice", "--wait", "120"];
        let dismissed = in_words(&db, &[&["log", "dismiss-parked", "broken"], &why[..]].concat(), 0);
        assert!(dismissed.contains("1 messages dismissed"), "{dismissed}");
        in_words(&db, &[&["log", "dismiss-parked", "broken"], &why[..]].concat(), 3);
        in_words(&db, &["log", "dismiss-parked", &other, "--reason", " "], 3);
        assert!(follow.runs());
        let parked: Vec<String> = log.parked(None, 9).await.unwrap().into_iter().map(|p| p.id).collect();
        assert_eq!(parked, [other]);
        let listed = in_words(&db, &["log", "parked"], 0);
        assert!(listed.contains("1 messages are set aside, 1 were dismissed"), "{listed}");
        let history = in_words(&db, &["history", "--kind", "message_dismissed"], 0);
        assert!(history.contains("message broken dismissed: a test of the bus"), "{history}");
        let stats: serde_json::Value = serde_json::from_str(&in_words(&db, &["log", "stats", "--json"], 0)).unwrap();
        assert_eq!(stats["inbox_dismissed"], 1);
        assert_eq!(stats["kinds"]["message_retried.v1"]["events"], 1, "what is no message at all is not looked at");
        in_words(&db, &["log", "dismiss-parked", "--all", "--reason", "noise", "--wait", "120"], 0);
        assert_eq!(log.counts().await.unwrap().inbox_parked, 0);
        drop(follow);
        in_words(&db, &["log", "verify"], 0);
        in_words(&db, &["log", "audit"], 0);
        log.close().await;
    }
}

/// With a hub, a retried message is looked up on the hub and not trusted.
#[tokio::test(flavor = "multi_thread")]
async fn serve_looks_at_what_is_retried() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    let body = r#"{"topic":"a.buildsys.repo.done","id":"late","body":{"tag":"f99-build","repo_id":1}}"#;
    let log = live.log().await;
    let message = Incoming {
        id: "late".to_owned(),
        source: "amqp".to_owned(),
        topic: "a.buildsys.repo.done".to_owned(),
        received_at: Timestamp::from_secs(1_795_164_300),
        body: body.into(),
    };
    log.receive(&[message]).await.unwrap();
    let parked = Disposition::Parked { reason: "an older program did not understand it".to_owned() };
    let settled = vec![Settled { position: Position(1), disposition: parked }];
    log.append(None, &Commit { settled, ..Commit::default() }).await.unwrap();
    live.start();
    live.wait("the hub is known", |s| s.collections.get("f99").is_some_and(|c| !c.packages.is_empty())).await;
    let retry = in_words(&live.db, &["log", "retry-parked", "--wait", "120"], 0);
    assert!(retry.contains("1 messages tried again, 0 still not understood"), "{retry}");
    let looked = async {
        while log.fates(&["late"]).await.unwrap() != [Some(Fate::Settled(Disposition::Done))] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap();
    let events = log.read(None, PAGE_MAX).await.unwrap();
    let retried: Vec<_> = events.iter().filter(|r| r.kind == "message_retried").collect();
    assert!(retried.len() == 1 && retried[0].payload.contains(r#""understood":true"#), "{retried:?}");
    log.close().await;
    live.stop();
}
