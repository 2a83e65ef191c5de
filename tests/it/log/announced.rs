//! What the writer announces of a recording, and whether `log verify` and `log audit` find a row
//! that does not follow from its event.

use std::path::{Path, PathBuf};

use koschei::config::Config;
use koschei::event::{Event, Source};
use koschei::intake::recording;
use koschei::log::{Announcements, AnyLog, EventLog};
use koschei::message::koschei_messages::announced;
use koschei::telemetry::Metrics;
use koschei::writer::{Settings, Writer};
use rstest::rstest;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::feed;
use crate::recorded::koschei;

/// Feeds a recording to a writer that announces.
async fn fed(dir: &Path, batch: usize) -> (PathBuf, AnyLog) {
    let log = feed::sqlite(dir, "told.db").await;
    let data = feed::recorded("koji");
    let settings = Settings { announces: true, ..Config::default().settings(Source::Recording) };
    let mut writer = Writer::open(&log, settings, feed::archive(&data), Metrics::new()).await.unwrap();
    let recorded = koschei::bus::Recording::open(&data.join("events.jsonl")).unwrap();
    recording::feed(&mut writer, recorded, batch, &mut |_, _| {}).await.unwrap();
    (dir.join("told.db"), log)
}

fn checked(verb: &str, db: &Path) -> (Option<i32>, String) {
    let out = koschei(&["log", verb, "--db", db.to_str().unwrap()]);
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

/// Each row says what follows from its event, and stands in the commit of its event.
#[tokio::test]
async fn a_row_for_each_change_that_says_something() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = fed(dir.path(), 50).await;
    let rows: Vec<_> = log.announcements(0, 9_999).await.unwrap().into_iter().map(|(_, a)| a).collect();
    let (mut state, mut told, mut wanted) = (koschei::fold::State::default(), Vec::new(), Vec::new());
    let mut after = None;
    loop {
        let page = log.read(after, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.seq);
        for record in &page {
            let e = record.decode().unwrap();
            let of = match &e.event {
                Event::PackageStateChanged(c) => state.collections.get(&c.collection),
                Event::CollectionStateChanged(c) => state.collections.get(&c.collection),
                _ => None,
            };
            let said = of.and_then(|c| announced(&e.event, &c.settings, e.recorded_at, told.contains(&record.subject)));
            if let Some(said) = said {
                told.push(record.subject.clone());
                wanted.push((record.seq, record.subject.clone(), record.recorded_at, said));
            }
            state.apply(&e);
        }
    }
    assert!(wanted.len() > 5, "{}", wanted.len());
    assert_eq!(rows.len(), wanted.len());
    for (row, (seq, subject, at, said)) in rows.iter().zip(&wanted) {
        assert_eq!((row.seq, &row.subject, row.made_at), (*seq, subject, *at));
        assert_eq!((row.topic.as_str(), &row.headers, &row.body), (said.topic, &said.headers, &said.body));
    }
    log.close().await;
}

/// Of the fifth announcement.
#[rstest]
#[case::of_another_event("UPDATE announcements SET seq = seq - 1 WHERE number = 5", "verify", "has the id of another")]
#[case::with_another_id("UPDATE announcements SET id = 'x' WHERE number = 5", "verify", "has the id of another event")]
#[case::under_another_topic("UPDATE announcements SET topic = 'x' WHERE number = 5", "verify", "has the id of another")]
#[case::of_another_subject("UPDATE announcements SET subject = 'x' WHERE number = 5", "verify", "another subject or")]
#[case::of_another_time("UPDATE announcements SET made_at = 5 WHERE number = 5", "verify", "another subject or time")]
#[case::no_json("UPDATE announcements SET headers = 'x' WHERE number = 5", "verify", "is not JSON")]
#[case::of_no_event(
    "UPDATE announcements SET seq = 99999 WHERE number = (SELECT max(number) FROM announcements)",
    "verify",
    "the log ends before it"
)]
#[case::out_of_order(
    "UPDATE announcements SET number = 1000000 WHERE number = 5",
    "verify",
    "after those of later events"
)]
#[case::saying_something_else(
    "UPDATE announcements SET body = json_set(body, '$.new', 'x') WHERE number = 5",
    "audit",
    "says something else than follows from it"
)]
#[case::for_somebody_else(
    "UPDATE announcements SET headers = json_set(headers, '$.x', 1) WHERE number = 5",
    "audit",
    "says something else than follows from it"
)]
#[tokio::test]
async fn a_row_that_does_not_belong_is_found(#[case] sql: &'static str, #[case] by: &str, #[case] says: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (db, log) = fed(dir.path(), 1000).await;
    let rows = log.announcements(0, 9_999).await.unwrap().len();
    log.close().await;
    for (verb, says) in [("verify", "announcements belong to their events"), ("audit", "announcements derived again")] {
        let (code, text) = checked(verb, &db);
        assert!(code == Some(0) && text.contains(&format!("{rows} {says}")), "{code:?}: {text}");
    }
    let options = SqliteConnectOptions::new().filename(&db);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (code, text) = checked(by, &db);
    assert!(code != Some(0) && text.contains(says), "{code:?}: {text}");
}
