//! What the writer announces of a recording, and whether `log verify` and `log audit` find a row
//! that does not follow from its event.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use koschei::announce::teller::theirs;
use koschei::announce::{Telling, Word};
use koschei::config::Config;
use koschei::event::{Event, Source};
use koschei::intake::recording;
use koschei::log::{Announcement, Announcements, AnyLog, EventLog};
use koschei::model::PackageState;
use koschei::telemetry::Metrics;
use koschei::writer::{Settings, Writer};
use rstest::rstest;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::feed;
use crate::recorded::koschei;

/// The original's messages, at once.
fn at_once() -> Telling {
    Telling { theirs: true, ..Telling::default() }
}

/// Feeds a recording to a writer that announces, and opens another writer after each `part` of its
/// messages.
async fn fed(dir: &Path, telling: &Telling, (batch, part): (usize, usize)) -> (PathBuf, AnyLog) {
    let log = feed::sqlite(dir, "told.db").await;
    let data = feed::recorded("koji");
    let lines = std::fs::read_to_string(data.join("events.jsonl")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    for (n, some) in lines.chunks(part).enumerate() {
        let settings = Settings { telling: Some(telling.clone()), ..Config::default().settings(Source::Recording) };
        let mut writer = Writer::open(&log, settings, feed::archive(&data), Metrics::new()).await.unwrap();
        let file = dir.join(format!("part-{n}.jsonl"));
        std::fs::write(&file, some.join("\n")).unwrap();
        let recorded = koschei::bus::Recording::open(&file).unwrap();
        recording::feed(&mut writer, recorded, batch, &mut |_, _| {}).await.unwrap();
    }
    (dir.join("told.db"), log)
}

async fn rows(log: &AnyLog) -> Vec<Announcement> {
    log.announcements(None, 9_999).await.unwrap().into_iter().map(|(_, a)| a).collect()
}

fn checked(verb: &str, db: &Path) -> (Option<i32>, String) {
    let out = koschei(&["log", verb, "--db", db.to_str().unwrap()]);
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

/// Each row says what follows from its event, and stands in the commit of its event.
#[tokio::test]
async fn a_row_for_each_change_that_says_something() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = fed(dir.path(), &at_once(), (50, usize::MAX)).await;
    let rows = rows(&log).await;
    let (mut state, mut told, mut wanted) = (koschei::fold::State::default(), HashMap::new(), Vec::new());
    let (mut filled, mut after) = (HashMap::new(), None);
    loop {
        let page = log.read(after, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.seq);
        for record in &page {
            let e = record.decode().unwrap();
            let is_news = match &e.event {
                // What follows from the first look at a buildroot is no news.
                Event::PackageStateChanged(c) => {
                    filled.get(&c.collection).is_some_and(|at| *at != record.recorded_at)
                        && (told.contains_key(&record.subject) || c.old.is_some_and(|old| old != PackageState::Unknown))
                }
                Event::CollectionStateChanged(c) => {
                    filled.entry(c.collection.clone()).or_insert(record.recorded_at);
                    true
                }
                _ => false,
            };
            let before = told.get(&record.subject).copied();
            if is_news && let Some((said, _)) = theirs(&e.event, e.recorded_at, before, &state) {
                let body: serde_json::Value = serde_json::from_str(&said.body).unwrap();
                told.insert(record.subject.clone(), Word::of(body["new"].as_str().unwrap()).unwrap());
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

/// What is told does not depend on how messages are put into commits, nor on restarts in between.
#[rstest]
#[case::at_once(0)]
#[case::after_a_minute(60)]
#[case::after_ten_minutes(600)]
#[tokio::test]
async fn restarts_and_commits_change_nothing(#[case] hold_back: i64) {
    let telling =
        Telling { theirs: true, richer: true, hold_back, site: Some("https://koschei.example.org".to_owned()) };
    let mut all = Vec::new();
    for cut in [(1, usize::MAX), (1000, usize::MAX), (7, 40)] {
        let dir = tempfile::tempdir().unwrap();
        let (db, log) = fed(dir.path(), &telling, cut).await;
        let rows: Vec<_> =
            rows(&log).await.into_iter().map(|a| (a.seq, a.subject, a.topic, a.headers, a.body)).collect();
        log.close().await;
        for (verb, says) in
            [("verify", "announcements belong to their events"), ("audit", "announcements derived again")]
        {
            let (code, text) = checked(verb, &db);
            assert!(code == Some(0) && text.contains(&format!("{} {says}", rows.len())), "{code:?}: {text}");
        }
        all.push(rows);
    }
    assert!(
        all[0].len() > 20 && all.iter().all(|rows| *rows == all[0]),
        "{:?}",
        all.iter().map(Vec::len).collect::<Vec<_>>()
    );
    let topics: BTreeSet<&str> = all[0].iter().map(|row| row.2.as_str()).collect();
    println!("{} of {topics:?}", all[0].len());
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
    let (db, log) = fed(dir.path(), &at_once(), (1000, usize::MAX)).await;
    let rows = rows(&log).await.len();
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
