//! Checks whether the file of a log is still where it was opened.
//!
//! A file that is moved, deleted or replaced stays open. Writing to it still succeeds, but nobody
//! finds the data at the path. So the path is checked after each commit, before the data is
//! reported as durable.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::log::error::{StoreError, StoreErrorKind};

/// The identity of a file at the time it was opened.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    /// Returns the identity of the open file at `path`. Returns `None` if the file is gone already,
    /// or never existed.
    pub(super) fn of(path: &str) -> Option<Self> {
        let path = PathBuf::from(path);
        let there = std::fs::metadata(&path).ok()?;
        Some(Self { device: there.dev(), inode: there.ino(), path })
    }

    /// Checks that the file is still at its path.
    ///
    /// # Errors
    /// Returns [`StoreErrorKind::Moved`] if another file, or none, is at its path. If the directory
    /// cannot be read for now, that is not an error.
    pub(super) fn check(&self, doing: &'static str) -> Result<(), StoreError> {
        let same = |m: &Metadata| (m.dev(), m.ino()) == (self.device, self.inode);
        let why = match std::fs::metadata(&self.path) {
            Ok(there) if same(&there) => return Ok(()),
            Ok(_) => format!("another file is at {}", self.path.display()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => format!("nothing is at {}", self.path.display()),
            Err(_) => return Ok(()),
        };
        let source = sqlx::Error::Io(std::io::Error::other(why));
        Err(StoreError { doing, kind: StoreErrorKind::Moved, source })
    }
}

/// Checks whether a database is empty and was written with a write-ahead log that is missing. An
/// open log has its write-ahead log, and a closed one has more than one page. A reader leaves an
/// empty write-ahead log. File format: <https://www.sqlite.org/fileformat.html>, 1.3.
pub(super) fn lacks_wal(path: &Path) -> bool {
    const WAL: u8 = 2;
    const PAGE: u64 = 4096;
    let mut head = [0; 20];
    let read = File::open(path).and_then(|mut f| f.read_exact(&mut head).and_then(|()| f.metadata()));
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    read.is_ok_and(|m| m.len() <= PAGE) && head[18] == WAL && std::fs::metadata(&beside).map_or(true, |m| m.len() == 0)
}

#[cfg(test)]
mod tests {
    use crate::log::{EventLog as _, Options, SqliteLog};

    /// After a commit as large as the disk, the write-ahead log must not stay that large for ever.
    #[tokio::test]
    async fn the_write_ahead_log_gives_room_back() {
        let dir = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(dir.path().join("x.db").to_str().unwrap(), &Options::default()).await.unwrap();
        let limit: (i64,) = sqlx::query_as("PRAGMA journal_size_limit").fetch_one(&log.inner.writer).await.unwrap();
        assert_eq!(limit.0, 64 << 20);
        log.close().await;
    }

    #[tokio::test]
    async fn nothing_needs_a_directory_for_temporary_files() {
        let dir = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(dir.path().join("x.db").to_str().unwrap(), &Options::default()).await.unwrap();
        for pool in [&log.inner.writer, &log.inner.readers] {
            let (store,): (i64,) = sqlx::query_as("PRAGMA temp_store").fetch_one(pool).await.unwrap();
            assert_eq!(store, 2, "in memory");
        }
        log.close().await;
    }
}
