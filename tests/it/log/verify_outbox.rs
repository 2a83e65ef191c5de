//! `log verify` compares the outbox with the decisions.

use std::path::Path;

use rstest::rstest;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::recorded::{copy, koschei};

fn verified(db: &Path) -> (Option<i32>, String) {
    let out = koschei(&["log", "verify", "--db", db.to_str().unwrap()]);
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

async fn raw(db: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(db);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The 20th command is changed.
#[rstest]
#[case::lost("DELETE FROM outbox WHERE number = N", "the outbox has no command for it")]
#[case::for_another_package(
    "UPDATE outbox SET payload = json_set(payload, '$.nvr', 'other-1-1') WHERE number = N",
    "differs from what the event decided"
)]
#[case::for_another_hub(
    "UPDATE outbox SET payload = json_set(payload, '$.hub', 'other') WHERE number = N",
    "differs from what the event decided"
)]
#[case::no_json("UPDATE outbox SET payload = 'x' WHERE number = N", "is not JSON")]
#[case::with_another_id(
    "UPDATE outbox SET id = substr(id, 1, length(id) - 2) || 'zz' WHERE number = N",
    "has the id of another event"
)]
#[case::of_another_kind("UPDATE outbox SET kind = 'cancel' WHERE number = N", "decides no such command")]
#[case::of_another_event("UPDATE outbox SET seq = seq - 1 WHERE number = N", "has the id of another event")]
#[case::twice(
    "INSERT INTO outbox (id, seq, kind, payload) SELECT 'again', seq, kind, payload FROM outbox WHERE number = N",
    "comes after those of later events"
)]
#[case::of_no_event(
    "INSERT INTO outbox (id, seq, kind, payload) SELECT 'later', 100000, kind, payload FROM outbox WHERE number = N",
    "the log ends before it"
)]
#[tokio::test]
async fn a_command_that_was_not_decided_so_is_found(#[case] sql: &'static str, #[case] says: &str) {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let (code, text) = verified(&db);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("171 commands match the events that decided them; no fact is stored twice"), "{text}");
    let sql = sql.replace("= N", "= (SELECT number FROM outbox ORDER BY number LIMIT 1 OFFSET 20)");
    raw(&db, sql.leak()).await;
    let (code, text) = verified(&db);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains(says), "{text}");
}
