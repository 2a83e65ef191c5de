//! Wrong clocks: a publisher's, the recorder's, Koji's own in a body, and that of the ingesting
//! machine.

use std::collections::HashMap;

use koschei::config::Config;
use koschei::event::{Event, MessageTimeReplaced, Record, Source, SubmissionsPaused};
use koschei::intake::recording;
use koschei::log::{AnyLog, EventLog, Incoming};
use koschei::model::Timestamp;
use koschei::operator::{self, Word};
use koschei::telemetry::Metrics;
use koschei::writer::Writer;
use rstest::rstest;
use serde_json::{Value, json};

use crate::feed::{archive, awake, feed, json_lines, recorded, sqlite};

/// The times of the recording: 15 January 2027, 08:00 to 09:10:08.
const BEGIN: i64 = 1_800_000_000;
const END: i64 = 1_800_004_208;
/// The line of the publisher with the wrong clock, and the line of the opened task.
const ODD: usize = 7;
const TASK_OPEN: usize = 6;

fn case() -> Vec<Value> {
    json_lines(&recorded("cases/service/clock-2099").join("events.jsonl"))
}

fn sent_at(line: &mut Value, time: &str) {
    line["sent-at"] = json!(time);
    line["headers"]["sent-at"] = json!(time);
}

fn unseen(mut line: Value) -> Value {
    line.as_object_mut().unwrap().remove("seen_at");
    line
}

/// The recording unchanged.
fn as_it_is() -> Vec<Value> {
    case()
}

/// The time at which the odd message came was not recorded.
fn odd_one_not_seen() -> Vec<Value> {
    let mut all = case();
    all[ODD] = unseen(all[ODD].take());
    all
}

/// The time at which the messages came was not recorded.
fn none_seen() -> Vec<Value> {
    case().into_iter().map(unseen).collect()
}

fn long_ago() -> Vec<Value> {
    let mut all = odd_one_not_seen();
    sent_at(&mut all[ODD], "1970-01-02T00:00:00+00:00");
    all
}

fn long_ago_but_seen() -> Vec<Value> {
    let mut all = case();
    sent_at(&mut all[ODD], "1970-01-02T00:00:00+00:00");
    all
}

fn hours_ahead() -> Vec<Value> {
    let mut all = case();
    sent_at(&mut all[ODD], "2027-01-18T09:00:07+00:00");
    all
}

/// The very first message is the odd one, and the time at which it came was not recorded.
fn first_of_all() -> Vec<Value> {
    let mut all = case();
    let odd = unseen(all.remove(ODD));
    all.insert(0, odd);
    all
}

fn first_of_all_and_none_seen() -> Vec<Value> {
    first_of_all().into_iter().map(unseen).collect()
}

/// The recorder's clock is wrong for one line.
fn recorder_astray() -> Vec<Value> {
    let mut all = case();
    all[4]["seen_at"] = json!(4_102_000_000.0);
    all
}

/// Koji's database has a task of the future.
fn task_of_the_future() -> Vec<Value> {
    let mut all = case();
    all[TASK_OPEN]["body"]["info"]["create_time"] = json!(4_102_000_000.0);
    all[TASK_OPEN]["body"]["info"]["start_time"] = json!(4_102_000_000.0);
    all
}

/// Koji's database has a task that would have run for decades.
fn task_of_long_ago() -> Vec<Value> {
    let mut all = case();
    all[TASK_OPEN]["body"]["info"]["create_time"] = json!(5.0);
    all[TASK_OPEN]["body"]["info"]["start_time"] = json!(5.0);
    all
}

fn texts(lines: &[Value]) -> Vec<String> {
    lines.iter().map(Value::to_string).collect()
}

async fn records(log: &AnyLog) -> Vec<Record> {
    log.read(None, 10_000).await.unwrap()
}

fn noted(records: &[Record]) -> Vec<MessageTimeReplaced> {
    let event = |r: &Record| match r.decode().unwrap().event {
        Event::MessageTimeReplaced(e) => Some(e),
        _ => None,
    };
    records.iter().filter_map(event).collect()
}

#[rstest]
#[case::as_it_is(as_it_is(), Some(1_800_003_607))]
#[case::odd_one_not_seen(odd_one_not_seen(), Some(1_800_003_606))]
#[case::none_seen(none_seen(), None)]
#[case::long_ago(long_ago(), Some(1_800_003_606))]
#[case::long_ago_but_seen(long_ago_but_seen(), Some(1_800_003_607))]
#[case::hours_ahead(hours_ahead(), Some(1_800_003_607))]
#[case::first_of_all(first_of_all(), Some(BEGIN))]
#[case::first_of_all_and_none_seen(first_of_all_and_none_seen(), None)]
#[case::recorder_astray(recorder_astray(), None)]
#[case::task_of_the_future(task_of_the_future(), None)]
#[case::task_of_long_ago(task_of_long_ago(), None)]
#[tokio::test]
async fn a_wrong_clock_moves_nothing(#[case] lines: Vec<Value>, #[case] taken: Option<i64>) {
    let dir = tempfile::tempdir().unwrap();
    let log = sqlite(dir.path(), "a.db").await;
    let mut writer = awake(&log, archive(&recorded("cases/service/clock-2099/archive"))).await;
    let done = feed(&mut writer, &texts(&lines), 500).await;
    assert_eq!(done.handled, 9);
    let records = records(&log).await;
    for r in &records {
        for at in [r.recorded_at, r.occurred_at] {
            // The first build began ten minutes before its message.
            let year = Timestamp::from_secs(BEGIN - 600)..=Timestamp::from_secs(END);
            assert!(year.contains(&at), "{} {at}", r.kind);
        }
    }
    assert!(records.iter().all(|r| r.kind != "rebuild_cancel_requested"), "nothing runs too long");
    let finished: Vec<_> = records.iter().filter(|r| r.kind == "rebuild_finished").collect();
    assert_eq!(finished.len(), 1);
    assert!(finished[0].payload.contains(r#""outcome":"ok""#), "{}", finished[0].payload);
    let noted = noted(&records);
    assert_eq!(noted.len() as u64, done.retimed);
    if let Some(taken) = taken {
        assert_eq!(noted.iter().map(|n| n.taken).collect::<Vec<_>>(), [Timestamp::from_secs(taken)]);
    }
    log.close().await;
}

/// However a recording is split, and whatever comes twice, the log is the same.
#[rstest]
#[case::as_it_is(as_it_is())]
#[case::odd_one_not_seen(odd_one_not_seen())]
#[case::none_seen(none_seen())]
#[case::long_ago(long_ago())]
#[case::recorder_astray(recorder_astray())]
#[case::first_of_all(first_of_all())]
#[tokio::test]
async fn pieces_give_the_same_log(#[case] lines: Vec<Value>) {
    let data = recorded("cases/service/clock-2099/archive");
    let dir = tempfile::tempdir().unwrap();
    let lines = texts(&lines);
    let times = |records: Vec<Record>| -> Vec<_> {
        records.into_iter().map(|r| (r.kind, r.recorded_at, r.occurred_at)).collect()
    };
    let log = sqlite(dir.path(), "whole.db").await;
    let mut writer = awake(&log, archive(&data)).await;
    feed(&mut writer, &lines, 500).await;
    let (expected, digest) = (times(records(&log).await), writer.state().digest());
    log.close().await;
    // The first message of all is compared with the following ones, so there must be some.
    for cut in 2..lines.len() {
        let log = sqlite(dir.path(), &format!("{cut}.db")).await;
        for piece in [&lines[..cut], &lines[..=cut], &lines[cut / 2..]] {
            let mut writer = awake(&log, archive(&data)).await;
            feed(&mut writer, piece, 3).await;
        }
        let writer = awake(&log, archive(&data)).await;
        assert_eq!(times(records(&log).await), expected, "cut at {cut}");
        assert_eq!(writer.state().digest(), digest, "cut at {cut}");
        log.close().await;
    }
}

/// An operator's word between two recordings holds from there on by the recordings' time, whatever
/// the machine's clock says.
#[tokio::test]
async fn an_operator_does_not_bring_the_machine_s_clock_into_a_recording() {
    let dir = tempfile::tempdir().unwrap();
    let lines = texts(&case());
    for (name, cut) in [("before.db", 0), ("between.db", 5)] {
        let log = sqlite(dir.path(), name).await;
        if cut > 0 {
            let mut writer = awake(&log, koschei::buildroot::NoResolver).await;
            feed(&mut writer, &lines[..cut], 500).await;
        }
        let event = SubmissionsPaused { collection: None, reason: "r".into(), by: None };
        let word = Word::new(event, None);
        log.receive(&[operator::message(&word, Timestamp::from_secs(4_102_000_000))]).await.unwrap();
        let mut writer = awake(&log, koschei::buildroot::NoResolver).await;
        feed(&mut writer, &lines[cut..], 500).await;
        let records = records(&log).await;
        let said = records.iter().find(|r| r.kind == "submissions_paused").unwrap();
        let expected = if cut == 0 { BEGIN } else { BEGIN + 4 };
        assert_eq!(
            (said.recorded_at, said.occurred_at),
            (Timestamp::from_secs(expected), Timestamp::from_secs(expected))
        );
        assert_eq!(records.last().unwrap().recorded_at, Timestamp::from_secs(END));
        log.close().await;
    }
}

/// On a bus our own clock bounds everything. Messages from a full queue keep their times.
#[tokio::test]
async fn live_nothing_is_recorded_ahead_of_our_clock() {
    let dir = tempfile::tempdir().unwrap();
    let log = sqlite(dir.path(), "a.db").await;
    let ours = Timestamp::from_secs(END + 8 * 3_600);
    let incoming = |line: &Value| Incoming {
        id: line["id"].as_str().unwrap().to_owned(),
        source: "jetstream".to_owned(),
        topic: line["topic"].as_str().unwrap().to_owned(),
        received_at: ours,
        body: line.to_string().into_bytes(),
    };
    let settings = || Config::default().settings(Source::Bus);
    // In two lives: the second learns the publishers' clocks again.
    for lines in none_seen().chunks(5) {
        log.receive(&lines.iter().map(incoming).collect::<Vec<_>>()).await.unwrap();
        let mut writer = Writer::open(&log, settings(), koschei::buildroot::NoResolver, Metrics::new()).await.unwrap();
        recording::drain(&mut writer, 500, &HashMap::new()).await.unwrap();
    }
    let records = records(&log).await;
    assert!(records.iter().all(|r| r.recorded_at <= ours && r.occurred_at <= ours));
    let tagged: Vec<_> = records.iter().filter(|r| r.kind == "build_tagged").map(|r| r.occurred_at).collect();
    assert_eq!(tagged[0], Timestamp::from_secs(BEGIN + 3), "it lay in the queue for hours");
    assert!(tagged[1] < Timestamp::from_secs(END), "the message of 2099 was sent when those around it were");
    assert!(noted(&records).iter().any(|n| n.said == Timestamp::from_secs(4_070_908_800)));
    log.close().await;
}
