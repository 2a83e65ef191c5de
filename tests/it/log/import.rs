//! An interrupted import: only the same import may continue it.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use koschei::log::{EventLog, verify};

use crate::live::PATIENCE;
use crate::log_place::{Place, fill};

/// Number of events in the export: more than are appended at once.
const EVENTS: u64 = 2500;
/// Number of events appended before the one that never ends.
const BEGINNING: i64 = 1000;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji/events.jsonl");

fn koschei(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn ok(out: &Output) {
    assert!(out.status.success(), "{}", said(out));
}

/// Makes an export of a separate log.
async fn export() -> (Place, String) {
    let place = Place::sqlite();
    let log = place.open().await;
    fill(&log, 0..EVENTS, 100).await;
    log.close().await;
    let file = format!("{}.jsonl", place.url);
    ok(&koschei(&["log", "export", "--db", &place.url, "--to", &file]));
    (place, file)
}

/// Makes an empty log in which the append of event 1500 never ends.
async fn stuck(place: &Place) {
    place.open().await.close().await;
    let sql = match place.is_sqlite() {
        true => {
            "CREATE VIEW forever AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n;
             CREATE TRIGGER stuck BEFORE INSERT ON events WHEN NEW.seq = 1500 BEGIN SELECT count(*) FROM forever; END"
        }
        false => {
            "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(36000); RETURN NEW; \
             END $$;
             CREATE TRIGGER stuck BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.seq = 1500) EXECUTE FUNCTION stuck()"
        }
    };
    place.raw(sql).await.unwrap();
}

/// Starts an import that has appended its beginning and goes no further.
async fn stands(place: &Place, export: &str) -> Child {
    stuck(place).await;
    let mut import = Command::new(env!("CARGO_BIN_EXE_koschei"));
    import.args(["log", "import", "--from", export, "--db", &place.url]).stderr(Stdio::piped());
    let mut child = import.spawn().unwrap();
    let waited = tokio::time::timeout(PATIENCE, async {
        while place.number("SELECT count(*) FROM events").await < BEGINNING {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the beginning is appended");
    child
}

/// The partial log is refused. The same import completes it.
async fn is_refused_until_it_is_whole(place: &Place, export: &str) {
    let sql = match place.is_sqlite() {
        true => "DROP TRIGGER stuck; DROP VIEW forever",
        false => "DROP TRIGGER stuck ON events; DROP FUNCTION stuck",
    };
    place.raw(sql).await.unwrap();
    assert_eq!(place.number("SELECT count(*) FROM events").await, BEGINNING);
    let verbs: [&[&str]; 6] = [
        &["log", "verify"],
        &["log", "export"],
        &["status"],
        &["ingest", "--from", RECORDING],
        &["web", "--listen", "127.0.0.1:0"],
        &["admin", "pause", "--no-wait"],
    ];
    for verb in verbs {
        let out = koschei(&[verb, &["--db", &place.url]].concat());
        let said = said(&out);
        assert_eq!(out.status.code(), Some(3), "{verb:?}: {said}");
        assert!(
            said.contains("its import is unfinished") && said.contains("import the same export again"),
            "{verb:?}: {said}"
        );
    }
    // A shorter export does not complete it.
    let text = std::fs::read_to_string(export).unwrap();
    let shorter = format!("{export}.shorter");
    std::fs::write(&shorter, text.split_inclusive('\n').take(500).collect::<String>()).unwrap();
    let out = koschei(&["log", "import", "--from", &shorter, "--db", &place.url]);
    assert!(out.status.code() == Some(3) && said(&out).contains("ends at event 2500"), "{}", said(&out));
    ok(&koschei(&["log", "import", "--from", export, "--db", &place.url]));
    let log = place.open().await;
    assert_eq!(verify(&log, None, &mut |_| ()).await.unwrap().events, EVENTS);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_leaves_nothing_that_passes_for_a_log() {
    let ((_kept, export), place) = (export().await, Place::sqlite());
    let mut import = stands(&place, &export).await;
    import.kill().unwrap();
    import.wait().unwrap();
    is_refused_until_it_is_whole(&place, &export).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_server_goes_away_leaves_nothing_that_passes_for_a_log() {
    let ((_kept, export), place) = (export().await, Place::postgres().await);
    let import = stands(&place, &export).await;
    // CASE is needed: conditions are evaluated in any order, and this one ends every backend it is
    // evaluated for.
    let cut = "SELECT count(*) FROM pg_stat_activity WHERE CASE \
               WHEN datname = current_database() AND wait_event = 'PgSleep' THEN pg_terminate_backend(pid) ELSE false \
               END";
    let waited = tokio::time::timeout(PATIENCE, async {
        while place.number(cut).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the connection is cut");
    let out = import.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{}", said(&out));
    assert!(said(&out).contains("it holds 1000 of 2500 events, and no other command opens it"), "{}", said(&out));
    is_refused_until_it_is_whole(&place, &export).await;
}

/// An import that cannot begin leaves a log unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_fit_changes_nothing() {
    let ((_kept, export), other) = (export().await, Place::sqlite());
    let log = other.open().await;
    let head = fill(&log, 7..40, 10).await;
    let out = koschei(&["log", "import", "--from", &export, "--db", &other.url]);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    log.close().await;
    ok(&koschei(&["log", "verify", "--db", &other.url]));
    let log = other.open().await;
    assert_eq!(log.head().await.unwrap(), head);
    log.close().await;
}
