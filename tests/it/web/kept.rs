//! What pages keep from one event to the next never shows: they say what new pages say.

use koschei::event::{NewEvent, Record};
use koschei::log::{AnyLog, Commit, EventLog, Head};
use koschei::model::Seq;

use crate::feed;
use crate::web_site::Pages;
use crate::writer::bench_quick::generate::{Generator, Size};

const EVENTS: u64 = 4_000;
/// How many events come between two looks, in turn.
const STEPS: [usize; 9] = [400, 1, 300, 1, 2, 130, 7, 1_000, 1];
const ASKED: [&str; 16] = [
    "/",
    "/?json=1",
    "/packages",
    "/packages?order=-name&rows=7&page=3",
    "/packages?order=priority&rows=20&json=1",
    "/packages?order=-priority&state=ok,failing",
    "/packages?order=built&q=1*2",
    "/packages?order=-built&collection=f99&rows=9&page=2",
    "/packages?order=running&collection=e9&state=untracked,blocked,unknown",
    "/packages?order=-running&q=5&rows=3&json=1",
    "/packages?order=-state&rows=1000",
    "/packages?collection=f97&page=9999",
    "/collection/f99?json=1",
    "/package/NAME?collection=f98",
    "/package/NAME?collection=f98&json=1",
    "/package/NAME?collection=e10&json=1",
];

/// Appends the next events of a stream. Returns the last one.
async fn grow(log: &AnyLog, stream: &mut Generator, count: usize) -> Option<Seq> {
    let mut head = log.head().await.unwrap();
    let expected = head.seq;
    let next = |new: NewEvent| {
        let at = head.recorded_at.max(new.occurred_at);
        let record = Record::new(Seq::after(head.seq), at, &new, head.hash);
        head = Head::of(&record);
        record
    };
    let records: Vec<Record> = stream.by_ref().take(count).map(next).collect();
    if records.is_empty() {
        return None;
    }
    let commit = Commit { records, attachments: stream.attachments().to_vec(), ..Commit::default() };
    log.append(expected, &commit).await.unwrap().seq
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_live_on_say_what_new_pages_say() {
    let mut rows = 0;
    for seed in 1..=2 {
        let dir = tempfile::tempdir().unwrap();
        let log = feed::sqlite(dir.path(), "kept.db").await;
        let mut stream = Generator::new(Size::of(EVENTS, seed));
        let living = Pages::over(&log).await;
        for step in STEPS.into_iter().cycle() {
            let Some(seq) = grow(&log, &mut stream, step).await else { break };
            living.follower.when(|s| s.seq == Some(seq)).await;
            let new = Pages::over(&log).await;
            let name = new.json("/packages?rows=1&order=-running&json=1").await["packages"][0]["package"].clone();
            for path in ASKED.map(|path| path.replace("NAME", name.as_str().unwrap_or("none"))) {
                let (kept, made) = (living.get(&path).await, new.get(&path).await);
                assert_eq!((kept.status, kept.body), (made.status, made.body.clone()), "seed {seed}, {seq}: {path}");
                rows += made.body.matches("<tr>").count();
            }
            new.stop().await;
        }
        living.stop().await;
    }
    assert!(rows > 5_000, "{rows} rows were compared");
}
