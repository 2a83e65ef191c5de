//! Recordings for tests: their paths, their lines, and a way to ingest lines into a log.

use std::io::Write;
use std::path::{Path, PathBuf};

use koschei::buildroot::RepoResolver;
use koschei::buildroot::archive_resolver::ArchiveResolver;
use koschei::bus::Recording;
use koschei::config::Config;
use koschei::event::Source;
use koschei::intake::recording::{self, Ingested};
use koschei::koji::Archive;
use koschei::log::{AnyLog, EventLog, Options};
use koschei::model::Hub;
use koschei::resolve::Mode;
use koschei::telemetry::Metrics;
use koschei::writer::Writer;
use serde_json::Value;

/// Instance name of the recorded hubs.
pub const HUB: &str = "primary";

/// Returns the directory of a recording that ships with the tests.
pub fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The user whose scratch builds are ours.
pub const SERVICE_USER: &str = "koschei";

/// Returns the lines of a file.
pub fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Parses a file of JSON lines.
pub fn json_lines(path: &Path) -> Vec<Value> {
    lines(path).iter().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Returns how often a random test runs: `usual` times, or `long` times with
/// `KOSCHEI_TEST_SCALE=long`.
pub fn scale(usual: u64, long: u64) -> u64 {
    match std::env::var("KOSCHEI_TEST_SCALE").as_deref() {
        Ok("long") => long,
        Ok("") | Err(_) => usual,
        Ok(other) => panic!("KOSCHEI_TEST_SCALE is `{other}`; only `long` is understood"),
    }
}

/// Returns a resolver on an archive directory. It uses one thread, because tests run in parallel.
pub fn archive(dir: &Path) -> ArchiveResolver {
    let archive = Archive::open(dir, Hub::new(HUB)).unwrap();
    assert!(archive.unreadable().is_empty(), "{:?}", archive.unreadable());
    ArchiveResolver::new(archive, Mode::Two, 1).checking(20)
}

/// Returns the number of the event that decided each command of a file. Two logs of the same
/// messages agree about these numbers. The command ids differ, because each names its log.
pub fn decisions(commands: &Path) -> Vec<String> {
    let number = |c: &Value| c["id"].as_str().unwrap().split(':').nth(1).unwrap().to_owned();
    json_lines(commands).iter().map(number).collect()
}

/// Opens a SQLite log in a directory. It has no fsync per commit, because these tests do not
/// simulate power failures.
pub async fn sqlite(dir: &Path, name: &str) -> AnyLog {
    let options = Options { sync_every_commit: false, ..Options::default() };
    koschei::log::open(dir.join(name).to_str().unwrap(), &options).await.unwrap()
}

/// Opens a writer with the default configuration on a log.
pub async fn awake(log: &AnyLog, resolver: impl RepoResolver) -> Writer {
    Writer::open(log, Config::default().settings(Source::Recording), resolver, Metrics::new()).await.unwrap()
}

/// Feeds lines to a writer, `batch` to a commit.
pub async fn feed<L: AsRef<str>>(writer: &mut Writer, lines: &[L], batch: usize) -> Ingested {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in lines {
        writeln!(file, "{}", line.as_ref()).unwrap();
    }
    file.flush().unwrap();
    let recording = Recording::open(file.path()).unwrap();
    recording::feed(writer, recording, batch, &mut |_, _| {}).await.unwrap()
}

/// Returns the sequence number and hash of the head. If they are unchanged, nothing was appended.
pub async fn head(log: &AnyLog) -> (u64, String) {
    let head = log.head().await.unwrap();
    (head.seq.map_or(0, koschei::model::Seq::get), head.hash.to_string())
}
