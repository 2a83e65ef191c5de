//! A forgotten person's name is nowhere any more: the test searches the files for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use async_nats::jetstream;
use koschei::buildroot::NoResolver;
use koschei::config::Config;
use koschei::event::{ChainHash, NewEvent, Record, Source, Tick};
use koschei::fold::State;
use koschei::intake::recording;
use koschei::log::{
    AnyLog, AppendError, Commit, Disposition, EventLog, Fate, Incoming, Options, Position, Received, Settled, open,
};
use koschei::model::{Hub, PersonId, Seq, Timestamp};
use koschei::telemetry::Metrics;
use koschei::writer::Writer;
use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection};

use crate::live::{Live, PATIENCE};
use crate::nats_server::NatsServer;
use crate::serve::first::{COLLECTION, rests, small};
use crate::servers::postgres_database;

const NAME: &str = "zephyrine-quux";

fn forget(db: &str, who: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_koschei")).args(["admin", "forget-person", who, "--db", db]).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Returns the database files that have the name.
async fn holding(db: &str) -> String {
    let mut files = Vec::new();
    match db.strip_prefix("postgres://") {
        None => files.extend(["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{db}{end}")))),
        Some(url) => {
            let mut sql = sqlx::PgConnection::connect(db).await.unwrap();
            sqlx::query("CHECKPOINT").execute(&mut sql).await.unwrap();
            let (oid,): (String,) =
                sqlx::query_as("SELECT oid::text FROM pg_database WHERE datname = current_database()")
                    .fetch_one(&mut sql)
                    .await
                    .unwrap();
            sql.close().await.unwrap();
            let data = Path::new(url.split("host=").nth(1).unwrap()).join("data");
            for dir in [data.join("base").join(oid), data.join("global")] {
                files.extend(std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()));
            }
        }
    }
    let holds = |file: &PathBuf| {
        // The file of a dropped table may be gone.
        let bytes = std::fs::read(file).unwrap_or_default();
        bytes.windows(NAME.len()).any(|w| w == NAME.as_bytes())
    };
    files.retain(holds);
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
}

fn message(id: &str, body: &str) -> Incoming {
    let (source, topic) = ("bus".to_owned(), "t".to_owned());
    Incoming { id: id.to_owned(), source, topic, received_at: Timestamp::from_secs(1), body: body.as_bytes().to_vec() }
}

/// Makes a log with the person among many. Messages name the person: handled, ignored, parked, and,
/// last, a waiting one.
async fn filled(db: &str) -> Position {
    let log = open(db, &Options::default()).await.unwrap();
    let tick = NewEvent {
        event: Tick { now: Timestamp::from_secs(1) }.into(),
        occurred_at: Timestamp::EPOCH,
        source: Source::Engine,
        fact: None,
        koji_event: None,
        causation: None,
        correlation: None,
    };
    let mut head = (None, ChainHash::GENESIS);
    // So many persons, in so many commits, that pages are split and merged. The person's row is
    // among the rows that move.
    for round in 0..8_u64 {
        let record = Record::new(Seq::new(round + 1).unwrap(), Timestamp::from_secs(1), &tick, head.1);
        let mut persons: Vec<(PersonId, String)> = (0..60)
            .map(|i| {
                let mixed = (round * 60 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (PersonId::new(format!("p-{mixed:016x}")), format!("zephyr{mixed:x}"))
            })
            .collect();
        if round == 1 {
            persons.push((PersonId::new("p-00000000000000aa"), NAME.to_owned()));
        }
        let next = (Some(record.seq), record.hash);
        log.append(head.0, &Commit { records: vec![record], persons, ..Commit::default() }).await.unwrap();
        head = next;
    }
    let owner = format!(r#"{{"owner":"{NAME}"}}"#);
    let received = log
        .receive(&[
            message("done", &owner),
            message("ignored", r#"{"o":"zephyrine\u002dquux"}"#),
            message("parked", &owner),
            message("quoted", "{}"),
            message("parked-other", r#"{"owner":"zephyrinequux"}"#),
            message("done-other", "{}"),
            message("waits", &owner),
        ])
        .await
        .unwrap();
    let at = |i: usize| match received[i] {
        Received::Stored { position } => position,
        Received::Duplicate => panic!("stored"),
    };
    let parked = |reason: &str| Disposition::Parked { reason: reason.to_owned() };
    let dispositions = [
        Disposition::Done,
        Disposition::Ignored { reason: "no package".to_owned() },
        parked("not understood"),
        parked(&format!("user `{NAME}` is odd")),
        parked("odd"),
        Disposition::Done,
    ];
    let settled = dispositions.into_iter().enumerate().map(|(i, disposition)| Settled { position: at(i), disposition });
    log.append(head.0, &Commit { settled: settled.collect(), ..Commit::default() }).await.unwrap();
    let waits = at(6);
    log.close().await;
    waits
}

async fn settle(db: &str, position: Position) {
    let log = open(db, &Options::default()).await.unwrap();
    let head = log.head().await.unwrap();
    let settled = vec![Settled { position, disposition: Disposition::Done }];
    log.append(head.seq, &Commit { settled, ..Commit::default() }).await.unwrap();
    log.close().await;
}

/// Waiting messages are kept and reported, everything else is erased. After they are handled,
/// nothing is left.
async fn forgotten_everywhere(db: &str) {
    let waits = filled(db).await;
    if !db.contains("://") {
        left_in_free_pages(db).await;
    }
    assert_ne!(holding(db).await, "", "the search finds a name that is there");
    let (code, out, err) = said(&forget(db, NAME));
    assert_eq!(code, Some(4), "{out}{err}");
    let expected = "p-00000000000000aa has no name any more\n3 raw messages deleted (1 of them had been set aside), 1 \
        reasons replaced\n";
    assert!(out.starts_with(expected), "{out}");
    assert!(err.contains("1 messages that are not handled yet name the person"), "{err}");
    let log = open(db, &Options::default()).await.unwrap();
    let fates = log.fates(&["parked", "quoted", "parked-other", "waits"]).await.unwrap();
    let erased = || "erased: it named a person who was to be forgotten".to_owned();
    let expected = [
        Fate::Settled(Disposition::Ignored { reason: erased() }),
        Fate::Settled(Disposition::Parked { reason: erased() }),
        Fate::Settled(Disposition::Parked { reason: "odd".to_owned() }),
        Fate::Waits,
    ];
    assert_eq!(fates, expected.map(Some));
    assert_eq!(log.unpark(&["parked".to_owned(), "parked-other".to_owned()]).await.unwrap(), 1);
    let pending = log.pending(None, 10).await.unwrap();
    assert_eq!(pending.iter().map(|p| p.message.id.as_str()).collect::<Vec<_>>(), ["parked-other", "waits"]);
    assert_eq!(log.all_persons().await.unwrap().len(), 480, "the others stay");
    log.close().await;
    settle(db, waits).await;
    let (code, out, err) = said(&forget(db, NAME));
    assert_eq!(code, Some(0), "{out}{err}");
    let expected = format!("the log knows nobody as `{NAME}`\n1 raw messages deleted (0 of");
    assert!(out.starts_with(&expected), "{out}");
    assert_eq!(holding(db).await, "");
    // The command may be repeated, also with the stand-in.
    for who in [NAME, "p-00000000000000aa"] {
        assert_eq!(forget(db, who).status.code(), Some(0));
    }
    let verified = Command::new(env!("CARGO_BIN_EXE_koschei")).args(["log", "verify", "--db", db]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

/// Leaves the name in free pages, like a shell that does not overwrite deleted data.
async fn left_in_free_pages(db: &str) {
    let mut shell = sqlx::SqliteConnection::connect(db).await.unwrap();
    let insert = format!("INSERT INTO scratch VALUES ('{NAME}')");
    for statement in ["PRAGMA secure_delete = OFF", "CREATE TABLE scratch (name)", &insert, "DROP TABLE scratch"] {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut shell).await.unwrap();
    }
    shell.close().await.unwrap();
}

#[tokio::test]
async fn nowhere_in_the_files_of_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    forgotten_everywhere(dir.path().join("a.db").to_str().unwrap()).await;
}

#[tokio::test]
async fn nowhere_in_the_tables_of_postgres() {
    forgotten_everywhere(&postgres_database().await).await;
}

/// While a reader sees the old content, it is still there. The command says so, and must be run
/// again later.
#[tokio::test]
async fn a_reader_holds_the_wal_of_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("a.db").to_str().unwrap().to_owned();
    let waits = filled(&db).await;
    settle(&db, waits).await;
    let mut reader = sqlx::SqliteConnection::connect(&db).await.unwrap();
    for statement in ["BEGIN", "SELECT count(*) FROM persons"] {
        sqlx::query(statement).execute(&mut reader).await.unwrap();
    }
    let (code, out, err) = said(&forget(&db, NAME));
    assert_eq!(code, Some(4), "{out}{err}");
    assert!(out.starts_with("p-00000000000000aa has no name any more\n"), "{out}");
    assert!(err.contains("another process uses the database") && err.contains("run this again"), "{err}");
    assert_ne!(holding(&db).await, "", "as it says");
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    // The stand-in alone is enough.
    assert_eq!(forget(&db, "p-00000000000000aa").status.code(), Some(0));
    assert_eq!(holding(&db).await, "");
    reader.close().await.unwrap();
}

/// An old transaction of PostgreSQL keeps what it has read. A transaction that has not read the
/// tables keeps nothing.
#[tokio::test]
async fn a_reader_holds_the_tables_of_postgres() {
    let db = postgres_database().await;
    let waits = filled(&db).await;
    settle(&db, waits).await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    let mut reader = sqlx::PgConnection::connect(&db).await.unwrap();
    for statement in [begin, "SELECT count(*) FROM persons"] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut reader).await.unwrap();
    }
    let (code, out, err) = said(&forget(&db, NAME));
    assert_eq!(code, Some(4), "{out}{err}");
    assert!(err.contains("another process uses the database") && err.contains("run this again"), "{err}");
    assert_ne!(holding(&db).await, "", "as it says");
    for statement in ["COMMIT", begin, "SELECT count(*) FROM words"] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut reader).await.unwrap();
    }
    let (code, out, err) = said(&forget(&db, NAME));
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(holding(&db).await, "");
    reader.close().await.unwrap();
}

/// Returns two messages about the same person.
fn of_alice() -> [String; 2] {
    let events = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji/events.jsonl");
    let text = std::fs::read_to_string(events).unwrap();
    let mut lines = text.lines().filter(|line| line.contains(r#""owner": "alice""#)).map(str::to_owned);
    [lines.next().unwrap(), lines.next().unwrap()]
}

/// Returns who acted in the last event that names a person.
async fn last_by(log: &impl EventLog) -> Option<String> {
    let events = log.read(None, 10_000).await.unwrap();
    let by = |record: &Record| {
        let payload: serde_json::Value = serde_json::from_str(&record.payload).unwrap();
        payload["by"].as_str().map(str::to_owned)
    };
    events.iter().rev().find_map(by)
}

/// Waits until all messages are handled, and returns the person's stand-in.
async fn stand_in(log: &AnyLog, messages: u64) -> PersonId {
    let mut seen = None;
    loop {
        let counts = log.counts().await.unwrap();
        if counts.inbox_total >= messages && counts.inbox_pending == 0 {
            return log.person("alice").await.unwrap().expect("her messages were handled");
        }
        if let Ok(head) = tokio::time::timeout(std::time::Duration::from_millis(50), log.changed(seen)).await {
            seen = head.unwrap().seq;
        }
    }
}

/// A `follow` that runs while a person is forgotten does not use the old stand-in any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_follow_gives_a_new_stand_in() {
    let server = NatsServer::start().await;
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config =
        jetstream::stream::Config { name: "KOJI".into(), subjects: vec!["koji.>".into()], ..Default::default() };
    context.create_stream(config).await.unwrap();
    let [first, second] = of_alice();
    context.publish("koji.buildsys", first.into()).await.unwrap().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("a.db").to_str().unwrap().to_owned();
    let url = server.url();
    let args = ["follow", "--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--db", &db];
    let log = open(&db, &Options::default()).await.unwrap();
    let mut follow = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).spawn().unwrap();
    let before = stand_in(&log, 1).await;
    assert_eq!(last_by(&log).await.as_deref(), Some(before.as_str()));
    let (code, out, err) = said(&forget(&db, "alice"));
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(log.person("alice").await.unwrap(), None);
    context.publish("koji.buildsys", second.into()).await.unwrap().await.unwrap();
    let after = stand_in(&log, 2).await;
    assert_ne!(after, before);
    assert_eq!(last_by(&log).await.as_deref(), Some(after.as_str()));
    follow.kill().unwrap();
    follow.wait().unwrap();
    log.close().await;
}

/// A `serve` that runs while a person is forgotten continues, and does not write the name it has
/// read.
#[rstest]
#[case::sqlite(false)]
#[case::postgres(true)]
#[tokio::test(flavor = "multi_thread")]
async fn a_running_serve_goes_on_and_does_not_write_the_name_again(#[case] postgres: bool) {
    let mut live = Live::new();
    small(&live.hub);
    if postgres {
        live.db = postgres_database().await;
    }
    live.tables = format!("[policy]\ntick_interval_secs = 1\n{COLLECTION}");
    live.start();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("everything is rebuilt", rests).await;
    let tasks = live.hub.dump().tasks.len();
    let db = live.db.clone();
    let asks = |package: &str, by: &str| {
        let points = ["admin", "set-priority", "-c", "f99", "--points", "1000"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        let out = command.args(points).args([package, "--by", by, "--wait", "120", "--db", &db]).output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{out:?}");
    };
    let rebuilt = |n: usize| move |s: &State| rests(s) && s.hubs[&Hub::new("primary")].tasks.len() == tasks + n;
    // The person says a word, and a handled message names the person.
    asks("app", NAME);
    let log = live.log().await;
    let names = message("names", &format!(r#"{{"topic":"a.b","id":"names","body":{{"owner":"{NAME}"}}}}"#));
    log.receive(&[names]).await.unwrap();
    live.wait("app is rebuilt", rebuilt(1)).await;
    let before = log.person(NAME).await.unwrap().expect("he said something");
    let handled = async || {
        let waiting = tokio::time::timeout(PATIENCE, async {
            while log.counts().await.unwrap().inbox_pending > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        waiting.await.expect("messages wait for ever");
    };
    handled().await;
    assert_ne!(holding(&live.db).await, "");

    // A read of the service may be in the way for a moment. The command then exits with 4 and says
    // so.
    let erasing = tokio::time::timeout(PATIENCE, async {
        loop {
            match said(&forget(&db, before.as_str())) {
                (Some(0), ..) => return,
                (Some(4), _, err) => assert!(err.contains("run this again"), "{err}"),
                other => panic!("{other:?}"),
            }
        }
    });
    erasing.await.expect("it is erased");
    assert_eq!(holding(&live.db).await, "");
    asks("bash", "somebody-else");
    live.wait("bash is rebuilt", rebuilt(2)).await;
    assert_eq!((holding(&live.db).await.as_str(), log.person(NAME).await.unwrap()), ("", None));
    // If the same person says something again, that is a new person.
    asks("libfoo", NAME);
    live.wait("libfoo is rebuilt", rebuilt(3)).await;
    let after = log.person(NAME).await.unwrap().expect("he said something again");
    assert_ne!(after, before);
    assert_eq!(log.name_of(&before).await.unwrap(), None);
    assert_eq!(last_by(&log).await.as_deref(), Some(after.as_str()));
    log.close().await;
    live.stop();
    assert_eq!(said(&forget(&db, NAME)).0, Some(0));
    assert_eq!(holding(&live.db).await, "");
}

/// A message names a person who is forgotten between the lookup of the name and the commit. The
/// name does not get into the log.
#[tokio::test]
async fn forgotten_between_a_message_and_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    for db in [dir.path().join("a.db").to_str().unwrap().to_owned(), postgres_database().await] {
        let (log, other) =
            (open(&db, &Options::default()).await.unwrap(), open(&db, &Options::default()).await.unwrap());
        let settings = || Config::default().settings(Source::Bus);
        let awake = async || Writer::open(&log, settings(), NoResolver, Metrics::new()).await.unwrap();
        let hand = async |writer: &mut Writer, line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            let incoming = Incoming {
                id: text("id"),
                source: "bus".to_owned(),
                topic: text("topic"),
                received_at: Timestamp::from_secs(1_795_164_300),
                body: line.as_bytes().to_vec(),
            };
            let [Received::Stored { position }] = log.receive(std::slice::from_ref(&incoming)).await.unwrap()[..]
            else {
                panic!("it is new")
            };
            assert!(writer.message(position, &incoming, None).await.unwrap());
        };
        let [first, second] = of_alice();
        let mut writer = awake().await;
        hand(&mut writer, &first).await;
        writer.flush().await.unwrap();
        let before = log.person("alice").await.unwrap().unwrap();
        hand(&mut writer, &second).await;
        // The message waits and is still needed.
        let done = other.forget_person("alice").await.unwrap();
        assert_eq!((done.id, done.bodies, done.left.len()), (Some(before.clone()), 1, 1), "{db}");
        let refused = writer.flush().await.unwrap_err();
        assert!(matches!(refused, koschei::log::LogError::Append(AppendError::Erased)), "{refused}");
        assert_eq!(last_by(&log).await, Some(before.to_string()), "nothing new is in the log");
        // Like in a service, the writer is opened again.
        let mut writer = awake().await;
        recording::drain(&mut writer, 10, &Default::default()).await.unwrap();
        let after = log.person("alice").await.unwrap().unwrap();
        assert_ne!(after, before);
        assert_eq!(last_by(&log).await, Some(after.to_string()));
        for handle in [log, other] {
            handle.close().await;
        }
    }
}

/// Shows for each message of [`filled`] whether its body is still there (`x`) or not (`.`).
async fn bodies(log: &impl EventLog) -> String {
    let received = log.last_received("", 100).await.unwrap();
    let kept = received.iter().map(|m| if m.body.is_some() { 'x' } else { '.' });
    kept.collect()
}

/// A running service deletes the bodies of messages handled long ago. Parked ones stay, and the
/// waiting one was handled just now.
#[tokio::test]
async fn a_running_service_keeps_bodies_for_so_long() {
    let server = NatsServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("a.db").to_str().unwrap().to_owned();
    let waits = filled(&db).await;
    settle(&db, waits).await;
    let log = open(&db, &Options::default()).await.unwrap();
    assert_eq!(bodies(&log).await, "xxxxxxx");
    let config = dir.path().join("koschei.toml");
    std::fs::write(&config, "raw_days = 36500\n").unwrap();
    let url = server.url();
    let args = ["follow", "--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--db", &db, "--config"];
    let follow = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command.args(args).arg(&config).args(more).spawn().unwrap()
    };
    // The messages came in the first second of 1970, less than a hundred years ago.
    assert!(follow(&["--until-idle"]).wait().unwrap().success());
    assert_eq!(bodies(&log).await, "xxxxxxx");
    std::fs::write(&config, "").unwrap();
    let mut running = follow(&[]);
    let pruned = async { while bodies(&log).await != "..xxx.." {} };
    tokio::time::timeout(std::time::Duration::from_secs(300), pruned).await.expect("the old ones go");
    running.kill().unwrap();
    running.wait().unwrap();
    log.close().await;
}

#[tokio::test]
async fn bodies_are_pruned_by_a_verb() {
    let dir = tempfile::tempdir().unwrap();
    for db in [dir.path().join("a.db").to_str().unwrap().to_owned(), postgres_database().await] {
        filled(&db).await;
        let prune = |days: &str| {
            let args = ["log", "prune", "--json", "--days", days, "--db", &db];
            let output = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(prune("36500"), "{\"deleted\":0}\n");
        assert_eq!(prune("30"), "{\"deleted\":3}\n");
        assert_eq!(prune("0"), "{\"deleted\":0}\n");
        let log = open(&db, &Options::default()).await.unwrap();
        assert_eq!(bodies(&log).await, "..xxx.x", "what was set aside, and what waits");
        log.close().await;
    }
}
