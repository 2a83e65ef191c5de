//! The log of the recording. The program itself ingests the recording with its archive, once per
//! run of the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use koschei::log::{Options, SqliteLog};

/// Runs the program.
pub(crate) fn koschei(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).env("NO_COLOR", "1").output().unwrap()
}

/// Returns the path of the recording's log. No test writes to it. A test that must write takes a
/// [`copy`].
pub(crate) fn recorded() -> &'static Path {
    static DB: OnceLock<PathBuf> = OnceLock::new();
    DB.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recorded");
        if dir.exists() {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        std::fs::create_dir_all(&dir).unwrap();
        let db = dir.join("koschei.db");
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/koji");
        let (from, archive) = (data.join("events.jsonl"), data);
        let path = |p: &Path| p.to_str().unwrap().to_owned();
        let out = koschei(&["ingest", "--from", &path(&from), "--archive", &path(&archive), "--db", &path(&db)]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        db
    })
}

/// Copies that log to `dir`.
pub(crate) fn copy(dir: &Path) -> PathBuf {
    let to = dir.join("koschei.db");
    std::fs::copy(recorded(), &to).unwrap();
    to
}

/// Opens a log.
pub(crate) async fn open(db: &Path) -> SqliteLog {
    let options = Options { create: false, sync_every_commit: false, ..Options::default() };
    SqliteLog::open(db.to_str().unwrap(), &options).await.unwrap()
}
