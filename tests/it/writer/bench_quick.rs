//! A short version of the benchmarks' generated stream: its meaning is known without the fold, and
//! it resembles the recording.

use std::collections::BTreeMap;

use ::koschei::event::{Envelope, NewEvent, Record};
use ::koschei::fold::State;
use ::koschei::log::{Commit, EventLog, Head};
use ::koschei::model::{Hub, Seq};

use crate::log_place::Place;

#[path = "../../../benches/koschei/generate/mod.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
pub(crate) mod generate;
#[path = "../../../benches/koschei/mix.rs"]
pub(crate) mod mix;
#[path = "../../../benches/koschei/model.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
pub(crate) mod model;
#[path = "../../../benches/koschei/random.rs"]
pub(crate) mod random;

use generate::{Generator, Size};

const EVENTS: u64 = 50_000;

fn records(stream: &mut Generator) -> Vec<Record> {
    let mut head = Head::EMPTY;
    let next = |new: NewEvent| {
        let record = Record::new(Seq::after(head.seq), new.occurred_at, &new, head.hash);
        head = Head::of(&record);
        record
    };
    stream.map(next).collect()
}

fn fold(records: &[Record]) -> State {
    let mut state = State::default();
    records.iter().map(|r| r.decode().unwrap()).for_each(|e: Envelope| state.apply(&e));
    state
}

#[test]
fn the_fold_says_what_the_generator_means() {
    for seed in 1..=3 {
        let mut stream = Generator::new(Size::of(EVENTS, seed));
        let records = records(&mut stream);
        assert!(records.len() as u64 >= EVENTS);
        let (compared, differ) = stream.model.check(&fold(&records));
        assert!(differ.is_empty(), "seed {seed}: {}", differ.join("\n"));
        assert!(compared > 10_000, "{compared}");
    }
}

/// The comparison is meaningful: a state with a little less, or of another stream, differs.
#[test]
fn the_model_notices_what_is_missing() {
    let mut stream = Generator::new(Size::of(EVENTS, 1));
    let records = records(&mut stream);
    for kind in ["build_tagged", "package_list_changed", "build_changed", "task_changed", "repo_resolved"] {
        let last = records.iter().rposition(|r| r.kind == kind).unwrap();
        let state = fold(&records[..last]);
        assert!(!stream.model.check(&state).1.is_empty(), "without the last {kind} nothing is missed");
    }
    let other = self::records(&mut Generator::new(Size::of(EVENTS, 2)));
    assert!(!stream.model.check(&fold(&other)).1.is_empty());
}

/// The whole way through a database, as in the benchmark.
#[tokio::test]
async fn appended_read_and_folded() {
    let mut stream = Generator::new(Size::of(EVENTS, 3));
    let attachments = stream.attachments().to_vec();
    let records = records(&mut stream);
    let place = Place::sqlite();
    let log = place.open().await;
    let mut end = None;
    for (i, batch) in records.chunks(1000).enumerate() {
        let attachments = if i == 0 { attachments.clone() } else { Vec::new() };
        let commit = Commit { records: batch.to_vec(), attachments, ..Commit::default() };
        end = log.append(end, &commit).await.unwrap().seq;
    }
    let report = ::koschei::log::verify(&log, None, &mut |_| ()).await.unwrap();
    assert_eq!((report.events, report.head), (records.len() as u64, Head::of(records.last().unwrap())));
    let state = ::koschei::log::folding::from_start(&log, None, &mut |_| ()).await.unwrap();
    assert_eq!(state.digest(), fold(&records).digest());
    let (_, differ) = stream.model.check(&state);
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    log.close().await;
}

/// The generator's table equals the recording's, and the stream follows it: kinds, sizes, subjects.
#[tokio::test]
async fn the_stream_looks_like_the_recording() {
    let recording = recording().await;
    let counts = by_kind(&recording);
    let counted = counts.iter().filter(|(kind, _)| !mix::LEFT_OUT.contains(*kind));
    let apart = mix::distance(counted.map(|(kind, c)| (*kind, c.0)));
    assert!(apart < 20, "the recording's mix has changed, benches/koschei/mix.rs is {apart} thousandths behind");

    let mut stream = Generator::new(Size::of(EVENTS, 1));
    let generated = records(&mut stream);
    let apart = mix::distance(stream.mix());
    assert!(apart < 50, "{apart} thousandths from the recording");
    let sizes = by_kind(&generated);
    for (kind, count, mean) in mix::RECORDING.into_iter().filter(|r| r.1 > 10) {
        let (n, bytes) = sizes[kind];
        let generated = bytes / n;
        let of = 100 * generated / mean;
        // Lists grow with the number of packages. Everything else has about the same length.
        assert!((65..=170).contains(&of), "{kind} ({count}): {generated} bytes, in the recording {mean}");
    }
    let (theirs, ours) = (busiest_tenth(&recording), busiest_tenth(&generated));
    assert!(
        theirs.abs_diff(ours) < 150,
        "the busiest tenth of subjects has {ours} ‰ of the events, in the recording {theirs}"
    );
}

fn by_kind(records: &[Record]) -> BTreeMap<&str, (u64, u64)> {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for r in records {
        let c = counts.entry(&r.kind).or_default();
        *c = (c.0 + 1, c.1 + r.payload.len() as u64);
    }
    counts
}

/// Returns the share of events, in thousandths, of the busiest tenth of the packages.
fn busiest_tenth(records: &[Record]) -> u64 {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for r in records.iter().filter(|r| r.subject.contains("/package/") || r.subject.matches('/').count() == 2) {
        *counts.entry(&r.subject).or_default() += 1;
    }
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let tenth: u64 = counts.iter().take(counts.len().div_ceil(10)).sum();
    1000 * tenth / counts.iter().sum::<u64>().max(1)
}

async fn recording() -> Vec<Record> {
    use ::koschei::buildroot::archive_resolver::ArchiveResolver;
    use ::koschei::intake::recording;
    use ::koschei::telemetry::Metrics;

    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/koji");
    let place = Place::sqlite();
    let log = place.open().await;
    let settings = ::koschei::config::Config::default().settings(::koschei::event::Source::Recording);
    let archive = ::koschei::koji::Archive::open(&data, Hub::new("primary")).unwrap();
    let resolver = ArchiveResolver::new(archive, settings.mode, 1);
    let mut writer = koschei::writer::Writer::open(&log, settings, resolver, Metrics::new()).await.unwrap();
    let messages = ::koschei::bus::Recording::open(&data.join("events.jsonl")).unwrap();
    recording::feed(&mut writer, messages, 500, &mut |_, _| ()).await.unwrap();
    let records = log.read(None, 10_000).await.unwrap();
    log.close().await;
    records
}
