//! `make bench`: measures how fast the log is written, read, verified and folded, how fast
//! decisions are made, and how much disk and memory that needs. It uses a generated stream with
//! known meaning. `BENCHMARKS.md` explains the numbers.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a benchmark fails by panicking, counts in floating point and shares modules with tests"
)]

mod generate;
mod measure;
mod mix;
mod model;
mod random;
mod report;
#[path = "../../tests/it/support/servers.rs"]
mod servers;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use ::koschei::decide::{Policy, plan};
use ::koschei::event::{ChainHash, Envelope, NewEvent, Record};
use ::koschei::fold::State;
use ::koschei::fold::spacing::Spacing;
use ::koschei::intake::recording::BATCH_MAX;
use ::koschei::log::folding;
use ::koschei::log::{self, AnyLog, Commit, EventLog, Head, Options, PAGE_MAX};
use ::koschei::model::Seq;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{Connection, PgConnection};

use generate::{Generator, Size};
use measure::{Meter, Took, timed};
use model::Model;
use report::{Aim, Report};

/// Appends are reported as the median of this many equal stretches.
const STRETCHES: u64 = 20;
/// Number of repetitions for plan, digest and snapshot.
const PLANS: usize = 21;
const SNAPSHOTS: usize = 3;

/// Measures Koschei on a generated stream of events.
#[derive(Parser, Debug)]
#[command(after_help = "Example:\n  cargo bench --bench koschei -- --events 5000000 --json > bench.json")]
struct Args {
    /// Length of the stream
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    events: u64,
    /// Seed of the stream
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How often reading and folding are repeated; the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Events in one commit of an append; the default is the largest that `koschei ingest` takes
    #[arg(long, value_name = "N", default_value_t = BATCH_MAX)]
    batch: usize,
    /// A short stream, SQLite only
    #[arg(long)]
    quick: bool,
    /// Leave PostgreSQL out
    #[arg(long)]
    no_postgres: bool,
    /// Where to put the SQLite log; default: a temporary directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Only write the stream to this SQLite log, and measure nothing
    #[arg(long, value_name = "FILE")]
    make: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Fold this log and say how much memory that took
    #[arg(long, hide = true, value_name = "FILE")]
    fold_only: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match (&args.fold_only, &args.make) {
        (Some(file), _) => runtime.block_on(fold_only(file)),
        (_, Some(file)) => runtime.block_on(make(file, &args)),
        _ => runtime.block_on(run(&args)),
    }
}

/// Writes the stream, for other benchmarks.
async fn make(file: &Path, args: &Args) {
    let log = log::open(file.to_str().unwrap(), &Options::default()).await.unwrap();
    append("SQLite", &log, Size::of(args.events, args.seed), args.batch, &mut Report::new(args.seed)).await;
    log.close().await;
}

async fn run(args: &Args) {
    let events = if args.quick { 50_000 } else { args.events };
    let size = Size::of(events, args.seed);
    let dir = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let file = dir.path().join("bench.db");
    let mut report = Report::new(args.seed);
    report.packages_per_collection = size.packages;
    generation(size, &mut report);
    let sqlite = log::open(file.to_str().unwrap(), &Options::default()).await.unwrap();
    let model = append("SQLite", &sqlite, size, args.batch, &mut report).await;
    sqlite.close().await;
    let on_disk = std::fs::metadata(&file).unwrap().len() as f64;
    report.add("bytes per event, SQLite", "bytes", vec![on_disk / report.events as f64], Some(Aim::AtMost(400.0)));

    let sqlite = log::open(file.to_str().unwrap(), &Options::default()).await.unwrap();
    let state = reading("SQLite", &sqlite, args.rounds, Some(Aim::AtLeast(300_000.0)), &mut report).await;
    let (compared, differ) = model.check(&state);
    assert!(differ.is_empty(), "state and model differ:\n{}", differ.join("\n"));
    report.compared = compared;
    report.log_digest = state.digest();
    stages(&sqlite, args.rounds, &mut report).await;
    deciding(&state, &mut report);
    snapshots(&state, &mut report);
    folding::keep(&sqlite, &state).await.unwrap();
    drop(state);
    from_snapshots(&sqlite, &mut report).await;
    sqlite.close().await;
    memory(&file, &mut report);
    if !args.no_postgres && !args.quick {
        postgres(size, args, &mut report).await;
    }
    report.load_at_end = measure::load();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).unwrap());
    } else {
        report.print();
    }
}

fn bar(what: &str, length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:32} {wide_bar} {human_pos}/{human_len} {eta}").unwrap();
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}

/// Generates the stream alone, and measures how close its mix is to the recording's.
fn generation(size: Size, report: &mut Report) {
    let bar = bar("generate", size.events);
    let meter = Meter::start();
    let mut stream = Generator::new(size);
    let events = stream.by_ref().inspect(|_| bar.inc(1)).count();
    let cost = meter.cost();
    bar.finish_and_clear();
    report.mix_distance = mix::distance(stream.mix());
    report.add("generate (not ours to hurry)", "events/s", vec![events as f64 / cost.wall_secs], None);
}

/// Makes records of events that follow `head`.
fn records(events: Vec<NewEvent>, head: &mut Head) -> Vec<Record> {
    let mut records = Vec::with_capacity(events.len());
    for new in events {
        let at = new.occurred_at.max(head.recorded_at);
        let record = Record::new(Seq::after(head.seq), at, &new, head.hash);
        *head = Head::of(&record);
        records.push(record);
    }
    records
}

/// Appends the stream. Encoding, hashing and the commit are timed, the generator is not.
async fn append(name: &str, log: &AnyLog, size: Size, batch: usize, report: &mut Report) -> Model {
    let bar = bar(&format!("append to {name}"), size.events);
    let mut stream = Generator::new(size);
    let mut head = Head::EMPTY;
    let mut attachments = stream.attachments().to_vec();
    let (mut rates, mut in_stretch, mut secs) = (Vec::new(), 0_u64, 0.0);
    let (mut encoding, mut all) = (Took::default(), 0.0);
    let stretch = (size.events / STRETCHES).max(1);
    loop {
        let events: Vec<NewEvent> = stream.by_ref().take(batch.max(1)).collect();
        if events.is_empty() {
            break;
        }
        let number = events.len() as u64;
        let expected = head.seq;
        let (records, encode) = timed(|| records(events, &mut head));
        let commit = Commit { records, attachments: std::mem::take(&mut attachments), ..Commit::default() };
        let meter = Meter::start();
        log.append(expected, &commit).await.unwrap();
        let cost = meter.cost().wall_secs;
        encoding += encode;
        all += encode.wall + cost;
        secs += encode.wall + cost;
        in_stretch += number;
        if in_stretch >= stretch {
            rates.push(in_stretch as f64 / secs);
            (in_stretch, secs) = (0, 0.0);
        }
        bar.inc(number);
    }
    bar.finish_and_clear();
    report.events = head.seq.map_or(0, Seq::get);
    report.add(&format!("append, {name}"), "events/s", rates, Some(Aim::AtLeast(100_000.0)));
    let events = report.events as f64;
    let what = format!("  of it encoding and hashing ({:.0} %)", 100.0 * encoding.wall / all);
    report.add(&what, "events/s", vec![events / encoding.wall], None).per_cpu_second = Some(events / encoding.cpu);
    stream.model
}

/// Makes whole passes over a log: reading alone, verifying, verifying and folding. Returns the
/// state.
async fn reading(name: &str, log: &AnyLog, rounds: usize, aim: Option<Aim>, report: &mut Report) -> State {
    let events = report.events as f64;
    let (mut read, mut verify, mut whole, mut whole_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut state = State::default();
    let mut digest = None;
    for round in 0..rounds.max(1) {
        let bar = bar(&format!("read {name}, round {}", round + 1), 3 * report.events);
        let meter = Meter::start();
        let mut last = None;
        loop {
            let page = log.read(last, PAGE_MAX).await.unwrap();
            let Some(end) = page.last() else { break };
            last = Some(end.seq);
            bar.set_position(end.seq.get());
        }
        read.push(events / meter.cost().wall_secs);
        let meter = Meter::start();
        log::verify(log, None, &mut |n| bar.set_position(report.events + n)).await.unwrap();
        verify.push(events / meter.cost().wall_secs);
        drop(std::mem::take(&mut state));
        let meter = Meter::start();
        state = folding::from_start(log, None, &mut |s| bar.set_position(2 * report.events + s.get())).await.unwrap();
        let cost = meter.cost();
        whole.push(events / cost.wall_secs);
        whole_cpu.push(events / cost.cpu_secs);
        let now = state.digest();
        assert_eq!(*digest.get_or_insert_with(|| now.clone()), now, "the same log must give the same state");
        bar.finish_and_clear();
    }
    report.add(&format!("read, {name}"), "events/s", read, None);
    report.add(&format!("read + verify, {name}"), "events/s", verify, None);
    let row = report.add(&format!("read + verify + fold, {name}"), "events/s", whole, aim);
    row.per_cpu_second = Some(measure::median(whole_cpu));
    state
}

/// Measures the stages of a replay separately, each on one thread.
async fn stages(log: &AnyLog, rounds: usize, report: &mut Report) {
    let names = ["hash alone", "decode alone", "fold alone"];
    let mut wall = [const { Vec::new() }; 3];
    let mut cpu = [const { Vec::new() }; 3];
    let events = report.events as f64;
    for round in 0..rounds.max(1) {
        let bar = bar(&format!("stages, round {}", round + 1), report.events);
        let mut state = State::default();
        let mut took = [Took::default(); 3];
        let mut previous = ChainHash::GENESIS;
        loop {
            let page = log.read(state.seq, PAGE_MAX).await.unwrap();
            if page.is_empty() {
                break;
            }
            let (last, t) = timed(|| page.iter().fold(previous, |previous, record| record.chained(previous)));
            took[0] += t;
            previous = last;
            let (envelopes, t) = timed(|| page.iter().map(|r| r.decode().unwrap()).collect::<Vec<Envelope>>());
            took[1] += t;
            let ((), t) = timed(|| envelopes.iter().for_each(|e| state.apply(e)));
            took[2] += t;
            bar.set_position(state.seq.map_or(0, Seq::get));
        }
        for (stage, took) in took.iter().enumerate() {
            wall[stage].push(events / took.wall);
            cpu[stage].push(events / took.cpu);
        }
        bar.finish_and_clear();
    }
    for (stage, (wall, cpu)) in wall.into_iter().zip(cpu).enumerate() {
        let aim = (stage == 2).then_some(Aim::AtLeast(1_000_000.0));
        report.add(names[stage], "events/s", wall, aim).per_cpu_second = Some(measure::median(cpu));
    }
}

/// Measures one evaluation of everything.
fn deciding(state: &State, report: &mut Report) {
    let policy = Policy::default();
    let millis = (0..PLANS).map(|_| {
        let (made, took) = timed(|| plan(state, state.recorded_at, &policy, None));
        assert!(!made.chosen.is_empty(), "a plan that chooses nobody measures nothing: {:?}", made.held);
        took.wall * 1e3
    });
    report.add("plan", "ms", millis.collect(), Some(Aim::AtMost(50.0)));
}

/// Measures writing and reading the state as bytes, and its digests.
fn snapshots(state: &State, report: &mut Report) {
    let (mut write, mut read, mut digest, mut facts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut size = 0;
    for _ in 0..SNAPSHOTS {
        let (bytes, took) = timed(|| state.to_bytes(ChainHash::GENESIS));
        write.push(took.wall * 1e3);
        size = bytes.len();
        let ((again, _), took) = timed(|| State::from_bytes(&bytes).unwrap());
        read.push(took.wall * 1e3);
        let (text, took) = timed(|| state.digest());
        digest.push(took.wall * 1e3);
        assert_eq!(again.digest(), text, "a snapshot must be the state");
        facts.push(timed(|| state.facts_digest()).1.wall * 1e3);
    }
    report.add("snapshot, size before compression", "MiB", vec![size as f64 / f64::from(1 << 20)], None);
    report.add("snapshot, made", "ms", write, None);
    report.add("snapshot, restored", "ms", read, None);
    report.add("log digest", "ms", digest, None);
    report.add("facts digest", "ms", facts, None);
}

/// Measures how long a command takes to get the state at the end and before, from the snapshots that
/// the usual spacing leaves. The end has just got one.
async fn from_snapshots(log: &AnyLog, report: &mut Report) {
    let mib = |bytes: u64| vec![bytes as f64 / f64::from(1 << 20)];
    let made = log.snapshots().await.unwrap();
    report.add("snapshot, size in the database", "MiB", mib(made.kept[0].stored_bytes), None);
    let meter = Meter::start();
    let state = folding::state(log, None, &mut |_| {}).await.unwrap();
    let cost = meter.cost();
    let end = state.seq.unwrap();
    report.add("state at the end, from a snapshot", "ms", vec![cost.wall_secs * 1e3], Some(Aim::AtMost(1_000.0)));
    report.add("  of it processor time", "ms", vec![cost.cpu_secs * 1e3], None);
    drop(state);
    let keeping = folding::Keeping { spacing: Spacing::default(), told: &|kept| assert!(kept.is_ok(), "{kept:?}") };
    let meter = Meter::start();
    drop(folding::from_start_keeping(log, &keeping, &mut |_| {}).await.unwrap());
    report.add("fold that leaves snapshots behind", "events/s", vec![end.get() as f64 / meter.cost().wall_secs], None);
    let made = log.snapshots().await.unwrap();
    let all = made.kept.iter().map(|s| s.stored_bytes).sum();
    report.add("snapshots, all of them in the database", "MiB", mib(all), None);
    let share = 1e3 * all as f64 / made.others_bytes as f64;
    report.add("  of it for each 1,000 bytes of the rest", "bytes", vec![share], Some(Aim::AtMost(100.0)));
    // The longest way: to the event before a snapshot.
    let longest = made.kept.iter().map(|s| s.seq).filter(|seq| seq.get() > Spacing::default().stride()).nth(1);
    let until = Seq::new(longest.unwrap_or(end).get() - 1);
    let meter = Meter::start();
    let state = folding::state(log, until, &mut |_| {}).await.unwrap();
    let cost = meter.cost();
    assert_eq!(state.seq, until);
    report.add("state as of an event, the longest way", "ms", vec![cost.wall_secs * 1e3], Some(Aim::AtMost(3_000.0)));
    report.add("  of it processor time", "ms", vec![cost.cpu_secs * 1e3], None);
}

/// Measures the memory of a process that only folds the log.
fn memory(file: &Path, report: &mut Report) {
    let output = std::process::Command::new(std::env::current_exe().unwrap()).arg("--fold-only").arg(file).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [state, peak]: [u64; 2] = serde_json::from_slice(&output.stdout).unwrap();
    let mib = |bytes: u64| vec![bytes as f64 / f64::from(1 << 20)];
    report.add("memory of the state", "MiB", mib(state), Some(Aim::AtMost(1024.0)));
    report.add("memory of a process that replays, at its peak", "MiB", mib(peak), Some(Aim::AtMost(1024.0)));
}

async fn fold_only(file: &Path) {
    let options = Options { read_only: true, ..Options::default() };
    let log = log::open(file.to_str().unwrap(), &options).await.unwrap();
    let before = measure::memory("VmRSS");
    let state = folding::from_start(&log, None, &mut |_| ()).await.unwrap();
    log.close().await;
    drop(log);
    let after = measure::memory("VmRSS");
    println!("[{}, {}]", after.saturating_sub(before), measure::memory("VmHWM"));
    assert!(state.seq.is_some());
}

/// Measures append, read and size on a PostgreSQL server of its own that syncs every commit.
async fn postgres(size: Size, args: &Args, report: &mut Report) {
    let server = servers::start_postgres(&servers::postgres_bin(), "-c max_wal_size=4GB -c shared_buffers=256MB");
    let url = format!("postgres://koschei@localhost/postgres?host={}", server.dir.display());
    let log = log::open(&url, &Options::default()).await.unwrap();
    append("PostgreSQL", &log, size, args.batch, report).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        sqlx::query(statement).execute(&mut conn).await.unwrap();
    }
    let bytes: i64 = sqlx::query_scalar(
        "SELECT sum(pg_total_relation_size(oid))::int8 FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    let per_event = bytes as f64 / report.events as f64;
    report.add("bytes per event, PostgreSQL", "bytes", vec![per_event], Some(Aim::AtMost(400.0)));
    let state = reading("PostgreSQL", &log, args.rounds, None, report).await;
    assert_eq!(state.digest(), report.log_digest, "both databases must give the same state");
    log.close().await;
}
