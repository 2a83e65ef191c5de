//! Recordings for the tests that feed them in: where they lie, their lines, and one way to ingest lines into a log.

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

/// Instance of the recorded hubs.
pub const HUB: &str = "primary";

/// Directory of a recording that ships with the tests.
pub fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Whose scratch builds are ours.
pub const SERVICE_USER: &str = "koschei";

/// The lines of a file.
pub fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// A file of JSON lines.
pub fn json_lines(path: &Path) -> Vec<Value> {
    lines(path).iter().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// How often something random is tried: `usual` times, or `long` with `KOSCHEI_TEST_SCALE=long`.
pub fn scale(usual: u64, long: u64) -> u64 {
    match std::env::var("KOSCHEI_TEST_SCALE").as_deref() {
        Ok("long") => long,
        Ok("") | Err(_) => usual,
        Ok(other) => panic!("KOSCHEI_TEST_SCALE is `{other}`; only `long` is understood"),
    }
}

/// A resolver on an archive directory. One thread: tests run beside each other.
pub fn archive(dir: &Path) -> ArchiveResolver {
    let archive = Archive::open(dir, Hub::new(HUB)).unwrap();
    assert!(archive.unreadable().is_empty(), "{:?}", archive.unreadable());
    ArchiveResolver::new(archive, Mode::Two, 1).checking(20)
}

/// The event that decided each command of a file: what two logs of the same messages agree about, as an id names its
/// log.
pub fn decisions(commands: &Path) -> Vec<String> {
    let number = |c: &Value| c["id"].as_str().unwrap().split(':').nth(1).unwrap().to_owned();
    json_lines(commands).iter().map(number).collect()
}

/// A SQLite log in a directory. Without an fsync per commit: these tests do not pull the plug.
pub async fn sqlite(dir: &Path, name: &str) -> AnyLog {
    let options = Options { sync_every_commit: false, ..Options::default() };
    koschei::log::open(dir.join(name).to_str().unwrap(), &options).await.unwrap()
}

/// A writer with the default configuration, awake on a log.
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

/// Hash over the head, to see that nothing was appended.
pub async fn head(log: &AnyLog) -> (u64, String) {
    let head = log.head().await.unwrap();
    (head.seq.map_or(0, koschei::model::Seq::get), head.hash.to_string())
}
