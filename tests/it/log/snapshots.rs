//! Snapshots of another past than the log's: folding does not begin from them, and `log audit`
//! names them.

use std::path::Path;

use koschei::event::{ChainHash, NewEvent, Record, Source, Tick};
use koschei::fold::{State, snapshot};
use koschei::log::{EventLog, Snapshot, SqliteLog, folding};
use koschei::model::{PROGRAM, Seq};
use koschei::tools::audit;
use rstest::rstest;

use crate::recorded::{copy, koschei, open};

/// The event that the snapshots are of.
const AT: u64 = 400;

/// Returns the state after event [`AT`] if that event had been a tick.
async fn of_another_past(log: &SqliteLog) -> (State, ChainHash) {
    let mut state = folding::from_start(log, Seq::new(AT - 1), &mut |_| {}).await.unwrap();
    let before = log.read(Seq::new(AT - 2), 1).await.unwrap().remove(0);
    let tick = NewEvent {
        event: Tick { now: state.recorded_at }.into(),
        occurred_at: state.recorded_at,
        source: Source::Engine,
        fact: None,
        koji_event: None,
        causation: None,
        correlation: None,
    };
    let record = Record::new(Seq::new(AT).unwrap(), state.recorded_at, &tick, before.hash);
    state.apply(&record.decode().unwrap());
    (state, record.hash)
}

fn kept(state: &State, seq: Seq, hash: ChainHash) -> Snapshot {
    let (program, bytes) = (PROGRAM.to_owned(), state.to_bytes(hash));
    let digest = blake3::hash(&bytes).to_hex().to_string();
    Snapshot { seq, hash, program, state_version: snapshot::VERSION, digest, bytes: bytes.into() }
}

fn audited(db: &Path) -> (Option<i32>, String) {
    let out = koschei(&["log", "audit", "--db", db.to_str().unwrap()]);
    (out.status.code(), String::from_utf8(out.stdout).unwrap())
}

#[tokio::test]
async fn a_right_snapshot_is_begun_from_and_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let log = open(&db).await;
    let early = folding::from_start(&log, Seq::new(AT), &mut |_| {}).await.unwrap();
    folding::keep(&log, &early).await.unwrap();
    assert_eq!(folding::newest_snapshot(&log, None).await.unwrap().seq, Seq::new(AT));
    let found = audit::audit(&log, &mut |_| {}).await.unwrap();
    assert_eq!((found.snapshots, found.total), (1, 0), "{found:?}");
}

/// What people are shown does not depend on where the folding begins: not even the times that no
/// digest covers.
#[tokio::test]
async fn a_state_from_a_snapshot_looks_like_one_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let status = || koschei(&["status", "--db", db.to_str().unwrap()]).stdout;
    let before = status();
    let log = open(&db).await;
    let early = folding::from_start(&log, Seq::new(AT), &mut |_| {}).await.unwrap();
    let announced = early.collections.values().flat_map(|c| c.packages.values()).filter_map(|p| p.announced);
    let times: std::collections::BTreeSet<_> = announced.map(|a| a.at).collect();
    assert!(times.len() > 1, "{times:?}");
    folding::keep(&log, &early).await.unwrap();
    assert_eq!(String::from_utf8(status()).unwrap(), String::from_utf8(before).unwrap());
}

/// After a restored backup, the log has other events in place of those that a snapshot was made of.
#[rstest]
#[case::of_another_past(false, "it was made when the log had another event here")]
#[case::that_says_it_is_ours(true, "the log gives another state here")]
#[tokio::test]
async fn a_wrong_snapshot_is_found(#[case] forged: bool, #[case] says: &str) {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let log = open(&db).await;
    let want = folding::from_start(&log, None, &mut |_| {}).await.unwrap().digest();
    let early = folding::from_start(&log, Seq::new(AT / 2), &mut |_| {}).await.unwrap();
    folding::keep(&log, &early).await.unwrap();
    let (state, hash) = of_another_past(&log).await;
    let ours = log.read(Seq::new(AT - 1), 1).await.unwrap().remove(0);
    assert_ne!(hash, ours.hash);
    log.put_snapshot(&kept(&state, ours.seq, if forged { ours.hash } else { hash }), &[]).await.unwrap();

    let begun = folding::newest_snapshot(&log, None).await.unwrap();
    let end = folding::state(&log, None, &mut |_| {}).await.unwrap().digest();
    if !forged {
        assert_eq!(begun.seq, Seq::new(AT / 2), "the one before it is begun from");
        assert_eq!(end, want);
    }
    let (code, text) = audited(&db);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains(&format!("event {AT} snapshot: {says}")), "{text}");

    // The advice in the finding helps.
    let made = koschei(&["log", "snapshot", "--db", db.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (code, text) = audited(&db);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 snapshots compared"), "{text}");
}

#[tokio::test]
async fn a_snapshot_beyond_the_end_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let log = open(&db).await;
    let mut state = folding::from_start(&log, None, &mut |_| {}).await.unwrap();
    let beyond = Seq::after(Seq::new(state.seq.unwrap().get() + 7));
    state.seq = Some(beyond);
    log.put_snapshot(&kept(&state, beyond, ChainHash([7; 32])), &[]).await.unwrap();
    assert!(folding::newest_snapshot(&log, None).await.is_none());
    let (code, text) = audited(&db);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains(&format!("event {beyond} snapshot: it is of an event the log does not have")), "{text}");
}
