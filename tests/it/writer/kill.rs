//! `koschei ingest` is killed with SIGKILL at chosen points of the log and run again: it ends as if
//! nothing had happened.
//!
//! The test follows the log like any other reader. It kills the program as soon as a chosen event
//! is committed, so that the kills are spread over the whole run. The program knows nothing about
//! the test. The test prints a histogram of what was committed at each kill.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use koschei::log::{AnyLog, EventLog, Options, verify};
use koschei::model::Seq;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{feed, servers};

/// Kills aim at events up to this percentage of the log, because the program is a little further
/// when a kill takes effect.
const REACH: u64 = 92;

/// A log, a file of commands, and the program that fills both from the recording.
struct Place {
    url: String,
    commands: PathBuf,
}

impl Place {
    fn in_dir(dir: &Path, name: &str) -> Self {
        let url = dir.join(format!("{name}.db")).to_str().unwrap().to_owned();
        Self { url, commands: dir.join(format!("{name}.jsonl")) }
    }

    fn ingest(&self, batch: u32) -> Child {
        let dir = feed::recorded("koji");
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command.args(["ingest", "--json", "--threads", "1", "--batch"]).arg(batch.to_string());
        command.arg("--from").arg(dir.join("events.jsonl")).arg("--archive").arg(dir);
        command.args(["--db", &self.url, "--commands"]).arg(&self.commands);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    }

    /// Opens a reader that notices appends at once. Makes the log if there is none.
    async fn reader(&self) -> AnyLog {
        let options = Options { poll_interval: Duration::from_micros(200), ..Options::default() };
        koschei::log::open(&self.url, &options).await.unwrap()
    }

    /// Runs the program to the end. Returns its report and the decisions of its commands.
    async fn finish(&self, what: &str, batch: u32) -> (Value, Vec<String>) {
        let output = self.ingest(batch).wait_with_output().await.unwrap();
        let report: Value = serde_json::from_slice(&succeeded(what, &output).stdout).unwrap();
        let verified = Command::new(env!("CARGO_BIN_EXE_koschei")).args(["log", "verify", "--db", &self.url]).output();
        succeeded(what, &verified.await.unwrap());
        (report, feed::decisions(&self.commands))
    }
}

fn succeeded<'a>(what: &str, output: &'a Output) -> &'a Output {
    assert!(output.status.success(), "{what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

fn number(seq: Option<Seq>) -> u64 {
    seq.map_or(0, Seq::get)
}

/// Starts the program and kills it once event `target` is committed. Returns the last committed
/// event, and whether the kill ended the program.
async fn kill_at(place: &Place, batch: u32, target: u64) -> (u64, bool) {
    let log = place.reader().await;
    let mut child = place.ingest(batch);
    let mut head = log.head().await.unwrap();
    let reached = async {
        while number(head.seq) < target {
            head = log.changed(head.seq).await.unwrap();
        }
    };
    tokio::select! {
        () = reached => {}
        status = child.wait() => assert!(status.unwrap().success(), "ended before it was killed, and badly"),
    }
    child.start_kill().ok();
    let status = child.wait().await.unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    verify(&log, None, &mut |_| {}).await.unwrap();
    let committed = number(log.head().await.unwrap().seq);
    log.close().await;
    (committed, killed)
}

/// The results of a run without a kill.
struct Calm {
    last: u64,
    digests: [Value; 2],
    commands: Vec<String>,
}

fn digests(report: &Value) -> [Value; 2] {
    [report["log_digest"].clone(), report["facts_digest"].clone()]
}

async fn calm(dir: &Path) -> Calm {
    let (report, commands) = Place::in_dir(dir, "calm").finish("calm", 1).await;
    assert!(!commands.is_empty());
    Calm { last: report["head"].as_u64().unwrap(), digests: digests(&report), commands }
}

/// Kills until `kills` landed in the middle of the log, one to four times on each log, and then
/// lets each run to its end. Returns where the kills landed. A busy machine may commit to the end
/// before the kill comes, so up to three times as many are tried.
async fn survives(kills: u64, seed: u64, calm: &Calm, mut place: impl AsyncFnMut(u64) -> Place) -> Vec<(u64, bool)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut landed = Vec::new();
    while in_the_middle(&landed, calm.last) < kills && (landed.len() as u64) < 3 * kills {
        let n = landed.len() as u64;
        let place = place(n).await;
        let batch = if n % 3 == 2 { 7 } else { 1 };
        let mut committed = 0;
        let count = if n.is_multiple_of(2) { 1 } else { rng.random_range(2..=4) };
        let mut targets: Vec<u64> = (0..count).map(|_| rng.random_range(1..calm.last * REACH / 100)).collect();
        // Now and then at the last event, when commands are about to leave.
        if n % 12 == 11 {
            targets.push(calm.last);
        }
        targets.sort_unstable();
        for target in targets.iter().copied() {
            let (at, killed) = kill_at(&place, batch, target).await;
            assert!(at >= committed, "kill {n}, seed {seed}: the log went back from {committed} to {at}");
            committed = at;
            landed.push((at, killed));
        }
        let what = format!("kill {n}, seed {seed}, batches of {batch}, killed at {targets:?}");
        let (report, commands) = place.finish(&what, batch).await;
        assert_eq!(digests(&report), calm.digests, "{what}");
        assert_eq!(report["head"].as_u64(), Some(calm.last), "{what}");
        assert_eq!(commands, calm.commands, "{what}: commands");
    }
    landed
}

/// Returns how many kills ended the program between the first and the last event.
fn in_the_middle(landed: &[(u64, bool)], last: u64) -> u64 {
    landed.iter().filter(|(at, killed)| *killed && (1..last).contains(at)).count() as u64
}

/// Prints where the kills landed, and asserts that `kills` of them were in the middle.
fn histogram(what: &str, landed: &[(u64, bool)], (last, kills): (u64, u64)) {
    const BARS: u64 = 10;
    let between = in_the_middle(landed, last);
    println!(
        "{what}: {} kills, {between} between the first and the last of {last} events; committed at the kill:",
        landed.len()
    );
    for bar in 0..BARS {
        let (from, to) = (last * bar / BARS, last * (bar + 1) / BARS);
        let count = landed.iter().filter(|(at, _)| (from + 1..=to).contains(&(*at).max(1))).count();
        println!("{:>6} to {to:>6} {:>4} {}", from + 1, count, "#".repeat(count));
    }
    assert!(between >= kills, "{what}: only {between} of {} kills landed in the middle", landed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_ingest_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let calm = calm(dir.path()).await;
    let place = async |n: u64| Place::in_dir(dir.path(), &n.to_string());
    let kills = feed::scale(15, 150);
    let landed = survives(kills, 7, &calm, place).await;
    histogram("SQLite", &landed, (calm.last, kills));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_ingest_goes_on_where_it_was_on_postgres() {
    let dir = tempfile::tempdir().unwrap();
    let calm = calm(dir.path()).await;
    let place = async |n: u64| Place {
        url: servers::postgres_database().await,
        commands: dir.path().join(format!("postgres{n}.jsonl")),
    };
    let kills = feed::scale(3, 30);
    let landed = survives(kills, 8, &calm, place).await;
    histogram("PostgreSQL", &landed, (calm.last, kills));
}
