//! Makes logs that are the same to the last bit each time: random values and times in a log are
//! fixed before anything is ingested.
//!
//! Everything goes through the program, so that these tests use no internal names that may change.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use koschei::log::EventLog;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use crate::feed;

/// The log's id and creation time. Normally the one is random and the other is the current time.
const META: [(&str, &str); 2] = [("log_id", "0123456789abcdef0123456789abcdef"), ("created_at", "1795164240000000")];

/// Runs the program in a directory, with an empty environment.
pub(super) fn koschei<A: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = A>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    command.args(args).current_dir(dir).env_clear().env("COLUMNS", "100");
    command.output().unwrap()
}

/// A recording that ships with the tests.
pub(super) struct Recorded {
    /// Its directory below `tests/data`.
    pub(super) name: String,
    pub(super) lines: Vec<String>,
    /// Directory of its repositories.
    archive: PathBuf,
    /// Further configuration for the program.
    config: Option<PathBuf>,
}

impl Recorded {
    pub(super) fn open(name: &str) -> Self {
        let dir = feed::recorded(name);
        let (below, config) = (dir.join("archive"), dir.join("koschei.toml"));
        let archive = if below.is_dir() { below } else { dir.clone() };
        let config = config.is_file().then_some(config);
        Self { name: name.to_owned(), lines: feed::lines(&dir.join("events.jsonl")), archive, config }
    }

    /// Returns every recording by name: each directory with an `events.jsonl`.
    pub(super) fn all() -> Vec<Self> {
        let (root, mut found, mut open) = (feed::recorded(""), Vec::new(), vec![PathBuf::new()]);
        while let Some(below) = open.pop() {
            let dir = root.join(&below);
            if dir.join("events.jsonl").is_file() {
                found.push(below);
                continue;
            }
            let entries = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap());
            open.extend(entries.filter(|e| e.file_type().unwrap().is_dir()).map(|e| below.join(e.file_name())));
        }
        found.sort();
        found.iter().map(|name| Self::open(name.to_str().unwrap())).collect()
    }

    /// Ingests these lines of the recording into `koschei.db` in an empty directory. Returns the
    /// program's report.
    pub(super) async fn ingested(&self, dir: &Path, lines: &[String]) -> Value {
        let events = dir.join("events.jsonl");
        std::fs::write(&events, lines.iter().flat_map(|l| [l, "\n"]).collect::<String>()).unwrap();
        empty(dir, "koschei.db", &events).await;
        let mut args = vec!["ingest", "--json", "--from", "events.jsonl", "--archive", self.archive.to_str().unwrap()];
        if let Some(config) = &self.config {
            args.extend(["--config", config.to_str().unwrap()]);
        }
        json(dir, &args)
    }
}

/// Returns the program's JSON output.
pub(super) fn json(dir: &Path, args: &[&str]) -> Value {
    let out = koschei(dir, args);
    assert!(out.status.success(), "{args:?}: {out:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Returns a person's stand-in, derived from the name. Normally it is random.
fn stand_in(name: &str) -> String {
    let digest = blake3::hash(name.as_bytes()).to_hex();
    format!("p-{}", digest.chars().take(16).collect::<String>())
}

/// Makes an empty log with fixed metadata, in which every person named in these messages already
/// has a stand-in.
pub(super) async fn empty(dir: &Path, name: &str, events: &Path) {
    // Ingest them once to learn the names. Repositories do not matter for that.
    let scratch = tempfile::tempdir().unwrap();
    let out = koschei(scratch.path(), ["ingest", "--from", events.to_str().unwrap()]);
    assert!(out.status.success(), "{out:?}");
    let mut database = open(&scratch.path().join("koschei.db")).await;
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM persons").fetch_all(&mut database).await.unwrap();
    database.close().await.unwrap();

    feed::sqlite(dir, name).await.close().await;
    let mut database = open(&dir.join(name)).await;
    for (key, value) in META {
        let set = sqlx::query("UPDATE meta SET value = ? WHERE key = ?").bind(value).bind(key);
        assert_eq!(set.execute(&mut database).await.unwrap().rows_affected(), 1, "{key}");
    }
    for name in names {
        let add = sqlx::query("INSERT INTO persons (id, name) VALUES (?, ?)").bind(stand_in(&name)).bind(name);
        add.execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}

/// Opens a database without the log's code.
pub(super) async fn open(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(path.to_str().unwrap()).await.unwrap()
}

/// A message that nobody understands, with the id used in the help's examples.
const PARKED: &str = r#"{"topic":"org.x.buildsys.tag","id":"7c8e3c70-0b6a-4d0b-9a52-5d0f3f6f2c11","body":{"tag":7}}"#;
/// Number of recorded lines after which a task of ours (task 9) runs.
const RUNNING: usize = 215;
/// The time at which its messages came in. Normally the current time.
const RECEIVED: i64 = 1_795_164_840_000_000;

/// Makes a directory, once, with everything that the commands name. `koschei.db` has the
/// demonstration's recording and a message that is not understood. `running.db` has its beginning,
/// `new.db` is empty, and the recording itself is there. No test changes this directory, see
/// [`world`].
async fn first_world() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("net");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    std::fs::create_dir_all(&dir).unwrap();
    let data = feed::recorded("koji");
    std::os::unix::fs::symlink(&data, dir.join("recording")).unwrap();
    std::os::unix::fs::symlink(super::repository("deploy/koschei.toml"), dir.join("example.toml")).unwrap();
    let lines = Recorded::open("koji").lines;
    let written = |name: &str, lines: &[String], more: &str| {
        std::fs::write(dir.join(name), lines.iter().flat_map(|l| [l, "\n"]).collect::<String>() + more).unwrap();
    };
    written("events.jsonl", &lines, &format!("{PARKED}\n"));
    written("running.jsonl", &lines[..RUNNING], "");
    std::fs::write(dir.join("wrong.toml"), "[policy]\nmax_biulds = 7\n").unwrap();
    for (db, events) in [("koschei.db", "events.jsonl"), ("running.db", "running.jsonl"), ("new.db", "")] {
        empty(&dir, db, &dir.join("events.jsonl")).await;
        if !events.is_empty() {
            let args = ["ingest", "--from", events, "--archive", "recording", "--db", db];
            let out = koschei(&dir, args);
            assert!(out.status.success(), "{out:?}");
            let mut database = open(&dir.join(db)).await;
            let set = sqlx::query("UPDATE inbox SET received_at = ?").bind(RECEIVED);
            set.execute(&mut database).await.unwrap();
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut database).await.unwrap();
            database.close().await.unwrap();
        }
    }
    dir
}

/// Returns a copy of that directory for one test.
pub(super) async fn world() -> tempfile::TempDir {
    static FIRST: tokio::sync::OnceCell<PathBuf> = tokio::sync::OnceCell::const_new();
    let (first, dir) = (FIRST.get_or_init(first_world).await, tempfile::tempdir().unwrap());
    for name in ["koschei.db", "running.db", "new.db", "events.jsonl", "wrong.toml"] {
        std::fs::copy(first.join(name), dir.path().join(name)).unwrap();
    }
    for name in ["recording", "example.toml"] {
        std::os::unix::fs::symlink(std::fs::read_link(first.join(name)).unwrap(), dir.path().join(name)).unwrap();
    }
    dir
}
