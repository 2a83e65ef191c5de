//! Properties of every stream of messages, tested on the recording and on generated ones.
//! `KOSCHEI_TEST_SCALE=long` tries more. Every failure message has the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use koschei::buildroot::archive_resolver::ArchiveResolver;
use koschei::buildroot::{NoResolver, RepoResolver};
use koschei::bus::{CommandSink, OutgoingCommand};
use koschei::event::{Event, Source};
use koschei::fold::{State, snapshot};
use koschei::intake::delivery;
use koschei::log::{AnyLog, EventLog, Incoming, folding};
use koschei::model::{Seq, Timestamp};
use koschei::telemetry::Metrics;
use koschei::writer::pauses::Pauses;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::writer::generated::{self, Glimpse, Stream};
use crate::writer::{model_of_actions, truth};
use crate::{feed, servers};

const MESSAGES: usize = 300;

fn seeds() -> std::ops::Range<u64> {
    0..feed::scale(20, 500)
}

fn generated(seed: u64) -> Stream {
    generated::stream(seed, feed::HUB, MESSAGES)
}

fn digests(state: &State) -> (String, String) {
    (state.digest(), state.facts_digest())
}

/// Ingests lines into an empty log, and returns the digests.
async fn ingested<E: RepoResolver>(log: &AnyLog, resolver: E, lines: &[String], batch: usize) -> (String, String) {
    let mut writer = feed::awake(log, resolver).await;
    feed::feed(&mut writer, lines, batch).await;
    digests(writer.state())
}

async fn reads_the_same<E: RepoResolver>(
    what: &str,
    rng: &mut StdRng,
    resolver: impl Fn() -> E,
    lines: &[String],
    postgres: bool,
) {
    let dir = tempfile::tempdir().unwrap();
    let one = feed::sqlite(dir.path(), "one.db").await;
    let want = ingested(&one, resolver(), lines, 1).await;
    let many = feed::sqlite(dir.path(), "many.db").await;
    assert_eq!(ingested(&many, resolver(), lines, 1_000).await, want, "{what}: batches of 1 and of 1,000");
    let again = folding::from_start(&one, None, &mut |_| {}).await.unwrap();
    assert_eq!(digests(&again), want, "{what}: folded again from the start");

    // A snapshot at any event, and the rest of the log.
    let last = again.seq.unwrap().get();
    let cut = Seq::new(rng.random_range(1..=last)).unwrap();
    let early = folding::from_start(&one, Some(cut), &mut |_| {}).await.unwrap();
    folding::keep(&one, &early).await.unwrap();
    let kept = one.latest_snapshot(None, snapshot::VERSION).await.unwrap().unwrap();
    assert_eq!(kept.seq, cut);
    let (restored, hash) = State::from_bytes(&kept.bytes).unwrap();
    assert_eq!(hash, kept.hash);
    assert_eq!(restored.digest(), early.digest(), "{what}: snapshot at {cut} restored");
    let state = folding::state(&one, None, &mut |_| {}).await.unwrap();
    assert_eq!(digests(&state), want, "{what}: snapshot at {cut} and the events after it");

    // A run that ends after some messages and leaves a snapshot, and is then continued.
    let stop = rng.random_range(0..lines.len());
    let parts = feed::sqlite(dir.path(), "parts.db").await;
    let mut writer = feed::awake(&parts, resolver()).await;
    feed::feed(&mut writer, &lines[..stop], 17).await;
    folding::keep(&parts, writer.state()).await.unwrap();
    assert_eq!(
        ingested(&parts, resolver(), lines, 17).await,
        want,
        "{what}: stopped after {stop} messages, with a snapshot"
    );

    if postgres {
        let url = servers::postgres_database().await;
        let server = koschei::log::open(&url, &koschei::log::Options::default()).await.unwrap();
        assert_eq!(ingested(&server, resolver(), lines, 100).await, want, "{what}: PostgreSQL");
        let again = folding::from_start(&server, None, &mut |_| {}).await.unwrap();
        assert_eq!(digests(&again), want, "{what}: PostgreSQL folded again");
        server.close().await;
    }
}

fn recording() -> (ArchiveResolver, Vec<String>) {
    let dir = feed::recorded("koji");
    (feed::archive(&dir), feed::lines(&dir.join("events.jsonl")))
}

#[tokio::test]
async fn the_recording_reads_the_same_however_it_is_read() {
    let (_, lines) = recording();
    let mut rng = StdRng::seed_from_u64(1);
    Box::pin(reads_the_same("recording", &mut rng, || recording().0, &lines, true)).await;
}

#[tokio::test]
async fn generated_streams_read_the_same_however_they_are_read() {
    for seed in seeds() {
        let stream = generated(seed);
        let what = format!("seed {seed}");
        let (mut rng, lines) = (StdRng::seed_from_u64(seed), stream.lines());
        Box::pin(reads_the_same(&what, &mut rng, || stream.resolver(), &lines, seed % 4 == 0)).await;
    }
}

#[tokio::test]
async fn a_generated_hub_ends_as_the_log_says() {
    let mut blocked = 0;
    for seed in seeds() {
        let stream = generated(seed);
        let dir = tempfile::tempdir().unwrap();
        let log = feed::sqlite(dir.path(), "log.db").await;
        let mut writer = feed::awake(&log, NoResolver).await;
        feed::feed(&mut writer, &stream.lines(), 100).await;
        let found = model_of_actions::differences(&stream.end, &truth::view(writer.state()));
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
        assert!(stream.end.tags.len() > 3, "seed {seed}: {:?}", stream.end);
        blocked += stream.end.blocked.len();
    }
    assert!(blocked > 0, "nothing was ever blocked");
}

async fn twice_is_once<E: RepoResolver>(what: &str, resolver: impl Fn() -> E, lines: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    let once = feed::sqlite(dir.path(), "once.db").await;
    let want = ingested(&once, resolver(), lines, 50).await;
    let doubled: Vec<String> = lines.iter().flat_map(|l| [l.clone(), l.clone()]).collect();
    for batch in [1, 50] {
        let twice = feed::sqlite(dir.path(), &format!("twice{batch}.db")).await;
        assert_eq!(ingested(&twice, resolver(), &doubled, batch).await, want, "{what}: each twice, batches of {batch}");
    }
    // Later, in other batches, to the same writer and to a new one.
    let head = feed::head(&once).await;
    let mut writer = feed::awake(&once, resolver()).await;
    for batch in [7, 1_000] {
        let done = feed::feed(&mut writer, lines, batch).await;
        assert_eq!((done.duplicates, done.handled), (lines.len() as u64, 0), "{what}");
    }
    assert_eq!(feed::head(&once).await, head, "{what}: delivered again later");
    assert_eq!(digests(writer.state()), want, "{what}");
}

#[tokio::test]
async fn a_message_delivered_twice_changes_nothing() {
    let (_, lines) = recording();
    twice_is_once("recording", || recording().0, &lines).await;
    for seed in seeds() {
        let stream = generated(seed);
        twice_is_once(&format!("seed {seed}"), || stream.resolver(), &stream.lines()).await;
    }
}

/// Returns the source of a recorded message: one tag and package, build, task, or repository.
fn source(line: &str) -> String {
    let m: Value = serde_json::from_str(line).unwrap();
    let (topic, b) = (model_of_actions::topic(&m), &m["body"]);
    let key = match topic {
        "tag" | "untag" => format!("tag/{}/{}", b["tag"], b["name"]),
        "package.list.change" => format!("tag/{}/{}", b["tag"], b["package"]),
        "build.state.change" => format!("build/{}", b["build_id"]),
        "task.state.change" => format!("task/{}", b["id"]),
        t if t.starts_with("repo.") => format!("repo/{}", b["repo_id"]),
        other => other.to_owned(),
    };
    format!("{}/{key}", b["instance"])
}

/// Returns the lines in another order. Those of one source stay in order.
fn interleaved(rng: &mut StdRng, messages: &[(String, String)]) -> Vec<String> {
    let mut queues: BTreeMap<&str, std::collections::VecDeque<&str>> = BTreeMap::new();
    for (source, line) in messages {
        queues.entry(source).or_default().push_back(line);
    }
    let mut queues: Vec<_> = queues.into_values().collect();
    let mut lines = Vec::new();
    while !queues.is_empty() {
        let at = rng.random_range(0..queues.len());
        lines.push(queues[at].pop_front().unwrap().to_owned());
        if queues[at].is_empty() {
            queues.swap_remove(at);
        }
    }
    lines
}

/// When each of the recording's facts happened.
type Happened = BTreeMap<String, koschei::model::Timestamp>;

async fn facts<E: RepoResolver>(
    dir: &Path,
    name: &str,
    resolver: E,
    lines: &[String],
) -> (Vec<String>, String, Happened) {
    let log = feed::sqlite(dir, name).await;
    let mut writer = feed::awake(&log, resolver).await;
    feed::feed(&mut writer, lines, 500).await;
    let (mut happened, mut after) = (Happened::new(), None);
    loop {
        let page = log.read(after, 10_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.seq);
        let told = page.iter().filter(|r| r.source == Source::Recording.as_str());
        happened.extend(told.filter_map(|r| Some((format!("{} {}", r.kind, hex::encode(r.fact?.0)), r.occurred_at))));
    }
    log.close().await;
    (writer.state().facts(), writer.state().facts_digest(), happened)
}

async fn order_does_not_matter<E: RepoResolver>(
    what: &str,
    rng: &mut StdRng,
    resolver: impl Fn() -> E,
    messages: &[(String, String)],
) {
    let dir = tempfile::tempdir().unwrap();
    let sent: Vec<String> = messages.iter().map(|(_, l)| l.clone()).collect();
    let (want, digest, happened) = facts(dir.path(), "sent.db", resolver(), &sent).await;
    assert!(want.iter().any(|f| f.contains(" resolved ")), "{what}: nothing was resolved");
    for n in 0..2 {
        let lines = interleaved(rng, messages);
        assert_ne!(lines, sent, "{what}");
        let (got, other, times) = facts(dir.path(), &format!("{n}.db"), resolver(), &lines).await;
        let missing: Vec<_> = want.iter().filter(|f| !got.contains(f)).collect();
        let new: Vec<_> = got.iter().filter(|f| !want.contains(f)).collect();
        assert!(missing.is_empty() && new.is_empty(), "{what}, order {n}: without {missing:#?}, with {new:#?}");
        assert_eq!(other, digest, "{what}");
        assert_eq!(times.len(), happened.len(), "{what}");
        let other: Vec<_> = happened.iter().filter(|(fact, at)| times[*fact] != **at).collect();
        assert!(other.is_empty(), "{what}, order {n}: {} happened at other times: {other:#?}", other.len());
    }
}

/// Returns the same messages spread over six days. Every fifth comes from a machine with a wrong
/// clock; the recorder's clock is right.
fn of_wrong_clocks(messages: &[(String, String)]) -> Vec<(String, String)> {
    let seen_at = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seen_at"].as_f64().unwrap();
    let (begin, end) = (seen_at(&messages[0].1), seen_at(&messages[messages.len() - 1].1));
    let stretched = 6.0 * 86_400.0 / (end - begin);
    let odd = ["2099-01-01T00:00:00+00:00", "1970-01-02T00:00:00+00:00", "2026-11-21T03:00:00+00:00"];
    let change = |(n, (source, line)): (usize, &(String, String))| {
        let mut m: Value = serde_json::from_str(line).unwrap();
        let seen = begin + stretched * (m["seen_at"].as_f64().unwrap() - begin);
        m["seen_at"] = seen.into();
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds, as publishers have them")]
        let sent = koschei::model::Timestamp::from_secs(seen as i64).to_string();
        let sent = if n % 5 == 3 { odd[n / 5 % odd.len()].to_owned() } else { sent };
        m["headers"]["sent-at"] = sent.clone().into();
        m["sent-at"] = sent.into();
        (source.clone(), m.to_string())
    };
    messages.iter().enumerate().map(change).collect()
}

/// A message happened when its recorder saw it, whoever sent it and whatever was recorded before.
#[tokio::test]
async fn order_does_not_matter_where_clocks_are_wrong() {
    let messages: Vec<_> = recording().1.into_iter().map(|l| (source(&l), l)).collect();
    let messages = of_wrong_clocks(&messages);
    order_does_not_matter("wrong clocks", &mut StdRng::seed_from_u64(1), || recording().0, &messages).await;
    for seed in seeds() {
        let stream = generated(seed);
        let messages = of_wrong_clocks(&with_sources(&stream));
        let mut rng = StdRng::seed_from_u64(seed);
        order_does_not_matter(&format!("seed {seed}, wrong clocks"), &mut rng, || stream.resolver(), &messages).await;
    }
}

fn with_sources(stream: &Stream) -> Vec<(String, String)> {
    stream.messages.iter().map(|m| (m.source.clone(), m.line.clone())).collect()
}

#[tokio::test]
async fn sources_may_be_interleaved_differently() {
    let messages: Vec<_> = recording().1.into_iter().map(|l| (source(&l), l)).collect();
    order_does_not_matter("recording", &mut StdRng::seed_from_u64(1), || recording().0, &messages).await;
    for seed in seeds() {
        let stream = generated(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        order_does_not_matter(&format!("seed {seed}"), &mut rng, || stream.resolver(), &with_sources(&stream)).await;
    }
}

#[tokio::test]
async fn two_hubs_may_be_interleaved_differently() {
    // Two recordings, as if from two instances. Only the archive of the first one is available.
    let other = feed::lines(&feed::recorded("koji-external").join("events.jsonl")).into_iter().map(|line| {
        let mut m: Value = serde_json::from_str(&line).unwrap();
        m["body"]["instance"] = "secondary".into();
        m.to_string()
    });
    let messages: Vec<_> = recording().1.into_iter().chain(other).map(|l| (source(&l), l)).collect();
    order_does_not_matter("two recordings", &mut StdRng::seed_from_u64(1), || recording().0, &messages).await;
    for seed in seeds() {
        let (one, two) = (generated(seed), generated::stream(seed + 10_000, "secondary", MESSAGES));
        let messages = [with_sources(&one), with_sources(&two)].concat();
        let mut rng = StdRng::seed_from_u64(seed);
        let resolver = || Glimpse::on(&[&one, &two]);
        order_does_not_matter(&format!("seed {seed}"), &mut rng, resolver, &messages).await;
    }
}

/// Returns the rebuilds whose inputs equal those of the package's previous request, and the number
/// of requests. (Inputs that changed and changed back are a new reason, as when a newer build is
/// tagged and untagged.)
async fn repeated(log: &AnyLog) -> (Vec<String>, usize) {
    let (mut last, mut found, mut count) = (BTreeMap::new(), Vec::new(), 0);
    let mut see = |_: &State, e: &koschei::event::Envelope| {
        if let Event::RebuildRequested(r) = &e.event {
            count += 1;
            let before = last.insert((r.collection.clone(), r.nvr.name.clone()), r.inputs.clone());
            if before.as_ref() == Some(&r.inputs) {
                found.push(format!("event {}: {} {} {:?}", e.seq, r.collection, r.nvr.name, r.inputs));
            }
        }
    };
    folding::fold(log, None, &mut |_| {}, &mut see).await.unwrap();
    (found, count)
}

fn assert_unique(what: &str, list: &[String]) {
    let mut seen = BTreeSet::new();
    let doubles: Vec<_> = list.iter().filter(|x| !seen.insert(*x)).collect();
    assert!(doubles.is_empty(), "{what}: {doubles:#?}");
}

fn incoming(line: &str) -> Incoming {
    let m: Value = serde_json::from_str(line).unwrap();
    Incoming {
        id: m["id"].as_str().unwrap().to_owned(),
        source: koschei::intake::recording::SOURCE.to_owned(),
        topic: m["topic"].as_str().unwrap().to_owned(),
        received_at: Timestamp::from_secs_f64(m["seen_at"].as_f64().unwrap()).unwrap(),
        body: line.as_bytes().to_vec(),
    }
}

/// Runs that are interrupted at any place, one after the other with one log and one file of
/// commands, compared with one uninterrupted run.
async fn commands_leave_once<E: RepoResolver>(
    what: &str,
    rng: &mut StdRng,
    resolver: impl Fn() -> E,
    lines: &[String],
) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let calm = feed::sqlite(dir.path(), "calm.db").await;
    let want = ingested(&calm, resolver(), lines, 500).await;
    let calm_file = dir.path().join("calm.jsonl");
    delivery::deliver(&calm, &Pauses::default(), &mut CommandSink::open(&calm_file).unwrap(), &Metrics::new())
        .await
        .unwrap();

    let (log, file) = (feed::sqlite(dir.path(), "log.db").await, dir.path().join("commands.jsonl"));
    let mut read = 0;
    while read < lines.len() {
        let mut writer = feed::awake(&log, resolver()).await;
        let stop = rng.random_range(read..=lines.len());
        let batch = rng.random_range(1..40);
        feed::feed(&mut writer, &lines[..stop], batch).await;
        read = stop;
        match rng.random_range(0..4) {
            // Interrupted after some messages had been received, and before or after they were
            // handled without a commit.
            0 => {
                let next: Vec<Incoming> = lines[stop..].iter().take(5).map(|l| incoming(l)).collect();
                log.receive(&next).await.unwrap();
                for (message, p) in next.iter().zip(log.pending(None, 5).await.unwrap()) {
                    writer.message(p.position, message, None).await.unwrap();
                }
            }
            // Interrupted after commands had left, and before that was marked.
            1 => {
                let waiting = log.pending_commands(rng.random_range(1..20)).await.unwrap();
                let out: Vec<_> =
                    waiting.iter().map(|c| OutgoingCommand { id: c.id.clone(), json: c.payload.clone() }).collect();
                CommandSink::open(&file).unwrap().send(&out).await.unwrap();
            }
            // Interrupted before any left.
            2 => {}
            _ => {
                delivery::deliver(&log, &Pauses::default(), &mut CommandSink::open(&file).unwrap(), &Metrics::new())
                    .await
                    .unwrap();
            }
        }
    }
    let got = ingested(&log, resolver(), lines, 500).await;
    delivery::deliver(&log, &Pauses::default(), &mut CommandSink::open(&file).unwrap(), &Metrics::new()).await.unwrap();
    assert_eq!(got, want, "{what}: broken off and gone on with");
    let (ids, (repeated, requests)) = (feed::decisions(&file), repeated(&log).await);
    assert_unique(&format!("{what}: left twice"), &ids);
    assert_eq!(ids, feed::decisions(&calm_file), "{what}: commands of a run with breaks and of one without");
    assert!(repeated.is_empty(), "{what}: requested again for the same reasons: {repeated:#?}");
    assert!(requests <= ids.len(), "{what}");
    ids.len()
}

#[tokio::test]
async fn no_command_leaves_twice() {
    let (_, lines) = recording();
    let mut total = commands_leave_once("recording", &mut StdRng::seed_from_u64(1), || recording().0, &lines).await;
    assert!(total > 0, "the recording leads to no command");
    total = 0;
    // In stream 256 a newer build comes and goes, and the rebuild of the older one is requested
    // again.
    for seed in seeds().chain([256]) {
        let stream = generated(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        total += commands_leave_once(&format!("seed {seed}"), &mut rng, || stream.resolver(), &stream.lines()).await;
    }
    assert!(total > 50, "generated streams lead to {total} commands only");
    println!("{total} commands");
}
