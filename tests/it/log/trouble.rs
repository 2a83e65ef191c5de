//! Databases as operators have them: without rights, behind poolers, in other encodings, with other
//! defaults, moved, copied, without a directory for temporary files. What cannot work is refused
//! with advice and status 3. The rest works.

use std::path::Path;
use std::process::{Command, Output};

use koschei::log::{self, EventLog, Incoming, Options, Received};
use koschei::model::Timestamp;
use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::bus::follow_trouble::{Running, publish, stream};
use crate::nats_server::NatsServer;
use crate::servers::{self, Server};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");
const EVENTS: &str = include_str!("../../data/koji/events.jsonl");

fn koschei(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn ingest(db: &str) -> Output {
    koschei(&["ingest", "--from", &format!("{DATA}/events.jsonl"), "--archive", DATA, "--db", db])
}

/// Asserts that it is refused as something the operator must repair, in these words.
fn refused(out: &Output, words: &[&str]) {
    let said = said(out);
    assert_eq!(out.status.code(), Some(3), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    assert!(!said.contains("defect"), "{said}");
}

fn url(server: &Server, user: &str, database: &str) -> String {
    format!("postgres://{user}@localhost/{database}?host={}", server.dir.display())
}

async fn tell(server: &Server, database: &str, statements: &[&str]) {
    let mut admin = PgConnection::connect(&url(server, "koschei", database)).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe((*statement).to_owned())).execute(&mut admin).await.unwrap();
    }
    admin.close().await.unwrap();
}

fn message(id: &str) -> Incoming {
    Incoming {
        id: id.to_owned(),
        source: "test".to_owned(),
        topic: "org.example".to_owned(),
        received_at: Timestamp::from_secs(1_795_164_300),
        body: b"{}".to_vec(),
    }
}

/// Since version 15, PostgreSQL lets nobody make tables in `public`. Roles may lack more rights
/// than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_which_it_needs() {
    let server = servers::start_postgres(&servers::postgres_bin(), "-c fsync=off");
    tell(&server, "postgres", &["CREATE ROLE limited LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"]).await;
    let limited = url(&server, "limited", "postgres");
    refused(
        &ingest(&limited),
        &["role `limited` may not create tables in schema `public`", "GRANT USAGE, CREATE ON SCHEMA public TO limited"],
    );

    refused(&koschei(&["log", "verify", "--db", &limited]), &["GRANT USAGE, CREATE ON SCHEMA public TO limited"]);

    tell(&server, "postgres", &["ALTER ROLE limited SET search_path = nowhere"]).await;
    refused(&ingest(&limited), &["finds no schema", "nowhere"]);
    tell(
        &server,
        "postgres",
        &["ALTER ROLE limited RESET search_path", "GRANT USAGE, CREATE ON SCHEMA public TO limited"],
    )
    .await;
    let done = ingest(&limited);
    assert!(done.status.success(), "{}", said(&done));

    // Another role may not read its tables.
    tell(&server, "postgres", &["CREATE ROLE stranger LOGIN"]).await;
    refused(
        &koschei(&["log", "verify", "--db", &url(&server, "stranger", "postgres")]),
        &["the role may not do that", "permission denied"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_has_to_have_sessions() {
    let postgres = servers::start_postgres(&servers::postgres_bin(), "-c fsync=off");
    for mode in ["transaction", "statement"] {
        let pooler = servers::start_pgbouncer(&postgres, mode);
        let db = format!("postgres://koschei@localhost:6432/postgres?host={}", pooler.dir.display());
        refused(&ingest(&db), &["pool_mode = session"]);
    }
    let pooler = servers::start_pgbouncer(&postgres, "session");
    let db = format!("postgres://koschei@localhost:6432/postgres?host={}", pooler.dir.display());
    let done = ingest(&db);
    assert!(done.status.success(), "{}", said(&done));
    // A pooler ignores options at the beginning of a connection. They hold nevertheless.
    let log = log::open(&db, &Options { read_only: true, ..Options::default() }).await.unwrap();
    let head = log.head().await.unwrap();
    assert!(log.changed(None).await.unwrap().seq == head.seq && head.seq.is_some());
    log.close().await;
    refused(&ingest(&format!("{db}&options=-clock_timeout%3D1s")), &["accepts no options", "URL"]);
    refused(&ingest(&format!("{db}&sslmod=verify-full")), &["`sslmod` is not known and would be ignored"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_to_hold_every_name() {
    let server = servers::start_postgres(&servers::postgres_bin(), "-c fsync=off");
    let make = |name: &str, encoding: &str| {
        format!("CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    };
    tell(&server, "postgres", &[&make("latin", "LATIN1"), &make("ascii", "SQL_ASCII")]).await;
    refused(&ingest(&url(&server, "koschei", "latin")), &["encoding is LATIN1", "ENCODING 'UTF8'"]);
    let log = log::open(&url(&server, "koschei", "ascii"), &Options::default()).await.unwrap();
    log.receive(&[Incoming { topic: "żółw 龜".to_owned(), ..message("a") }]).await.unwrap();
    assert_eq!(log.pending(None, 10).await.unwrap()[0].message.topic, "żółw 龜");
    log.close().await;
}

/// A database whose owner has set other defaults than those we need.
#[tokio::test(flavor = "multi_thread")]
async fn defaults_of_the_server_are_not_relied_on() {
    let db = servers::postgres_database().await;
    let mut admin = PgConnection::connect(&db).await.unwrap();
    let set = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', \
         current_database()); EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); \
         EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    sqlx::raw_sql(set).execute(&mut admin).await.unwrap();
    let one = log::open(&db, &Options::default()).await.unwrap();
    // The database records the settings with which the log is written.
    let watch = "SET default_transaction_read_only = off; CREATE SCHEMA watch; CREATE TABLE watch.seen (isolation \
         text, synchronous text, path text); CREATE FUNCTION watch.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO watch.seen VALUES (current_setting('transaction_isolation'), \
         current_setting('synchronous_commit'), current_setting('search_path')); RETURN NULL; END $$; CREATE TRIGGER \
         note AFTER INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION watch.note();";
    sqlx::raw_sql(watch).execute(&mut admin).await.unwrap();
    let two = log::open(&db, &Options::default()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let log = if n % 2 == 0 { one.clone() } else { two.clone() };
        tasks.spawn(async move { log.receive(&[message(&format!("m{n}"))]).await });
    }
    let mut positions: Vec<u64> = tasks
        .join_all()
        .await
        .into_iter()
        .map(|received| match received.unwrap()[..] {
            [Received::Stored { position }] => position.0,
            ref other => panic!("{other:?}"),
        })
        .collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=40).collect::<Vec<_>>());
    let seen: Vec<(String, String, String)> =
        sqlx::query_as("SELECT DISTINCT isolation, synchronous, path FROM watch.seen")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    assert_eq!(seen, [("read committed".to_owned(), "on".to_owned(), "public".to_owned())]);
    one.close().await;
    two.close().await;
}

/// The log's file is moved, replaced or deleted under a running `follow`: nothing more is
/// acknowledged.
#[rstest]
#[case::moved(false)]
#[case::replaced(true)]
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_not_acknowledged_into_a_file_nobody_finds(#[case] replaced: bool) {
    let server = NatsServer::start().await;
    let context = stream(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let (path, away) = (dir.path().join("x.db"), dir.path().join("away.db"));
    let (url, db) = (server.url(), path.to_str().unwrap());
    let args = ["--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--db", db, "--ack-wait", "1"];
    let mut follow = Running::start(&args);
    publish(&context, EVENTS.lines().take(10)).await;
    follow.until("the first ten are handled", |f| f.settled() == 10).await;
    std::fs::rename(&path, &away).unwrap();
    if replaced {
        std::fs::write(&path, b"").unwrap();
    }
    publish(&context, EVENTS.lines().skip(10).take(10)).await;
    assert_eq!(follow.ends().await, Some(3), "{}", follow.said());
    assert!(follow.said().contains("moved, deleted or replaced"), "{}", follow.said());
    assert_eq!(path.exists(), replaced, "no file is made in its place");
    drop(follow);

    std::fs::rename(&away, &path).unwrap();
    let mut follow = Running::start(&args);
    // Messages in the inbox that were not acknowledged come again, and are there once.
    let mut left = 1;
    while left > 0 {
        follow.ready().await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let info = context
            .get_consumer_from_stream::<async_nats::jetstream::consumer::pull::Config, _, _>("koschei", "KOJI")
            .await;
        let info = info.unwrap();
        let state = info.cached_info();
        left = state.num_pending + state.num_ack_pending as u64;
    }
    follow.terminate();
    let log = log::open(db, &Options::default()).await.unwrap();
    let counts = log.counts().await.unwrap();
    assert_eq!((counts.inbox_total, counts.inbox_pending), (20, 0));
    log.close().await;
}

/// `cp` of only the database file while a process has it open.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_its_write_ahead_log_is_no_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let log = log::open(&at("x.db"), &Options::default()).await.unwrap();
    log.receive(&[message("a")]).await.unwrap();
    std::fs::copy(at("x.db"), at("copy.db")).unwrap();
    let before = std::fs::read(at("copy.db")).unwrap();
    refused(&koschei(&["log", "verify", "--db", &at("copy.db")]), &["copy.db-wal` is missing", "VACUUM INTO"]);
    refused(&ingest(&at("copy.db")), &["copy.db-wal` is missing"]);
    assert_eq!(std::fs::read(at("copy.db")).unwrap(), before, "it is left alone");
    assert!(!Path::new(&at("copy.db-wal")).exists());

    // With the write-ahead log, the copy is complete. After a clean close, the file alone is
    // complete.
    std::fs::copy(at("x.db"), at("both.db")).unwrap();
    std::fs::copy(at("x.db-wal"), at("both.db-wal")).unwrap();
    log.close().await;
    std::fs::copy(at("x.db"), at("closed.db")).unwrap();
    for name in ["both.db", "closed.db"] {
        let log = log::open(&at(name), &Options { create: false, ..Options::default() }).await.unwrap();
        assert_eq!(log.counts().await.unwrap().inbox_total, 1, "{name}");
        log.close().await;
    }
}

/// A read-only root, working directory `/`, and no directory for temporary files. Some containers
/// have no namespaces; there the unit test of the setting must do.
#[test]
fn no_temporary_directory_is_needed() {
    const SCRIPT: &str = r#"d="$1"; shift
        mount --bind "$d" "$d" || exit 99
        for m in /tmp /var/tmp /usr/tmp /var /usr /; do mount -o remount,bind,ro "$m" 2>/dev/null || true; done
        cd /
        for t in /tmp /var/tmp /usr/tmp .; do
            if touch "$t/koschei-probe" 2>/dev/null; then rm -f "$t/koschei-probe"; exit 99; fi
        done
        exec env -u TMPDIR -u SQLITE_TMPDIR "$@""#;
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("x.db");
    let out = Command::new("unshare")
        .args(["-rm", "sh", "-c", SCRIPT, "sh"])
        .arg(dir.path())
        .arg(env!("CARGO_BIN_EXE_koschei"))
        .args(["ingest", "--from", &format!("{DATA}/events.jsonl"), "--archive", DATA, "--db"])
        .arg(&db)
        .output()
        .unwrap();
    let refused = said(&out).contains("unshare: ") || out.status.code() == Some(99);
    assert!(out.status.success() || refused, "{}", said(&out));
}
