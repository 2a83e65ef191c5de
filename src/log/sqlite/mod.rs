//! Stores the log in a SQLite file.
//!
//! The file uses WAL. One connection writes (`BEGIN IMMEDIATE`), and others read. Other processes
//! may read and write, too, and the busy timeout limits how long this one waits for them.
//! Statements are constants, and the contract test runs every one.

mod announcements;
mod append;
mod credentials;
mod erase;
mod inbox;
mod index;
mod outbox;
mod place;
mod read;
mod store;

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, watch};

use self::index::{SubjectTail, Tail};
use self::place::Place;
use super::erase::Erasure;
use super::error::{AppendError, OpenError, ReadError, ReceiveError, StoreError, StoreErrorKind};
use super::migrations::{self, Applied, Migration};
use super::names::Names;
use super::payloads::{self, Dictionaries, PayloadWriter};
use super::rows::signed;
use super::types::*;
use super::{EventLog, IMPORTING, Options, may_open, pool, redacted};
use crate::event::{FactId, Record};
use crate::model::{PersonId, Seq, Timestamp};

/// Page cache of the writing connection, at most 192 MiB (negative: KiB). Facts are looked up in
/// random order of their index, which has 150 MB for five million events.
const WRITER_CACHE: &str = "-196608";
/// Number of pages at which the write-ahead log is moved into the file: 16 MiB instead of the
/// default of 1,000 pages. A commit of 10,000 events writes about 600.
const WAL_PAGES: &str = "4096";
/// Size to which the write-ahead log is cut after a checkpoint. It grows beyond that while somebody
/// reads for a long time.
const WAL_BYTES_KEPT: &str = "67108864";
/// How often the first connection is tried while another process creates the database.
const CONNECTS_MAX: u32 = 100;
/// Pause between those attempts.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Number of rows that may wait between SQLite's thread and the caller while a page is read.
const ROWS_IN_FLIGHT: usize = 1024;

/// A log in a SQLite file. It is cheap to clone, and clones share connections.
#[derive(Clone)]
pub struct SqliteLog {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    writer: SqlitePool,
    readers: SqlitePool,
    /// Identity of the file. `None` for a handle that does not write.
    place: Option<Place>,
    poll_interval: Duration,
    schema_version: i64,
    payloads: Option<PayloadWriter>,
    dictionaries: Dictionaries,
    words: Names,
    subjects: Names,
    tail: Mutex<Tail>,
    subject_tail: Mutex<SubjectTail>,
    index_after: u64,
    /// The last sequence that this handle appended.
    appended: watch::Sender<u64>,
}

impl fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteLog").field(&self.inner.url).finish()
    }
}

/// Checks whether a file exists that SQLite did not write. SQLite itself treats a short one as an
/// empty database and overwrites it.
fn is_foreign(path: &Path) -> bool {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let mut head = Vec::new();
    // If the file cannot be read here, SQLite reports the error.
    let read = std::fs::File::open(path).and_then(|f| f.take(MAGIC.len() as u64).read_to_end(&mut head));
    read.is_ok() && !head.is_empty() && head != MAGIC
}

impl SqliteLog {
    /// Opens the file at `path`. Creates and migrates it according to `options`.
    ///
    /// # Errors
    /// Returns the errors of [`super::open`].
    pub async fn open(path: &str, options: &Options) -> Result<Self, OpenError> {
        // The path may be a server's URL by mistake, so hide a password in it.
        let url = redacted(path);
        if !Path::new(path).exists() && (!options.create || options.read_only) {
            return Err(OpenError::Missing { url });
        }
        if is_foreign(Path::new(path)) {
            return Err(OpenError::NotALog { url });
        }
        // If another process is just creating it, the write-ahead log appears soon.
        let mut lacks_wal = place::lacks_wal(Path::new(path));
        for _ in 0..CONNECTS_MAX {
            if !lacks_wal {
                break;
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
            lacks_wal = place::lacks_wal(Path::new(path));
        }
        let base = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(options.busy_timeout)
            .create_if_missing(options.create && !options.read_only)
            .read_only(options.read_only)
            .row_buffer_size(ROWS_IN_FLIGHT)
            // There may be no directory for temporary files, which sorting could need.
            .pragma("temp_store", "MEMORY")
            .foreign_keys(false);
        let writing = if options.read_only {
            base.clone()
        } else {
            let sync = if options.sync_every_commit { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
            let writing = base
                .clone()
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(sync)
                .pragma("secure_delete", "ON")
                .pragma("cache_size", WRITER_CACHE)
                .pragma("wal_autocheckpoint", WAL_PAGES)
                .pragma("journal_size_limit", WAL_BYTES_KEPT);
            match options.max_pages {
                Some(pages) => writing.pragma("max_page_count", pages.to_string()),
                None => writing,
            }
        };
        // Waiting for a connection can take as long as waiting for the lock that it holds.
        let patience = options.busy_timeout.saturating_mul(4).max(Duration::from_secs(30));
        let pool = |n: u32| pool::options::<Sqlite>(n, patience);
        let store =
            |source: sqlx::Error| OpenError::Store { url: url.clone(), source: StoreError::new("connect")(source) };
        // Switching a new file to WAL needs exclusive access, and SQLite does not wait for that as
        // it does for other locks.
        let mut attempt = 1;
        let writer = loop {
            match pool(1).connect_with(writing.clone()).await.map_err(store) {
                Err(OpenError::Store { source, .. })
                    if source.kind == StoreErrorKind::Busy && attempt < CONNECTS_MAX =>
                {
                    attempt += 1;
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
                connected => break connected?,
            }
        };
        let schema_version = match prepare(&url, &writer, options, lacks_wal).await {
            Ok(version) => version,
            Err(e) => {
                writer.close().await;
                return Err(e);
            }
        };
        let readers =
            pool(options.readers.max(1)).connect_lazy_with(base.create_if_missing(false).pragma("query_only", "ON"));
        let mut inner = Inner {
            url: url.clone(),
            writer,
            readers,
            place: Place::of(path).filter(|_| !options.read_only),
            poll_interval: options.poll_interval,
            schema_version,
            payloads: None,
            dictionaries: Dictionaries::default(),
            words: Names::default(),
            subjects: Names::default(),
            tail: Mutex::default(),
            subject_tail: Mutex::default(),
            index_after: options.index_after,
            appended: watch::Sender::new(0),
        };
        if !options.read_only {
            let number = register_dictionary(&inner.writer).await.map_err(|source| OpenError::Store { url, source })?;
            inner.payloads = Some(PayloadWriter::new(number, schema_version));
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Commits, and checks that the file is still at its path.
    async fn finish(&self, tx: Transaction<'static, Sqlite>, doing: &'static str) -> Result<(), StoreError> {
        tx.commit().await.map_err(StoreError::new(doing))?;
        self.inner.place.as_ref().map_or(Ok(()), |place| place.check(doing))
    }

    /// Begins a transaction that holds the write lock.
    async fn begin(&self, doing: &'static str) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.inner.writer.begin_with(BEGIN).await.map_err(StoreError::new(doing))
    }
}

/// Checks that the database is a log for this version, and migrates it. Returns the number of the
/// last migration.
async fn prepare(url: &str, pool: &SqlitePool, options: &Options, lacks_wal: bool) -> Result<i64, OpenError> {
    let store = |source| OpenError::Store { url: url.to_owned(), source };
    let mut conn = pool.acquire().await.map_err(StoreError::new("connect")).map_err(store)?;
    let applied = applied(url, &mut conn).await?;
    check_reader(url, &mut conn, &applied, options).await?;
    let todo = migrations::outstanding(url, &applied, options.schema_max, |m| m.sqlite)?;
    if todo.is_empty() {
        return Ok(applied.last().map_or(0, |m| m.0));
    }
    if options.read_only && applied.is_empty() && lacks_wal {
        return Err(OpenError::LacksWal { url: url.to_owned() });
    }
    if options.read_only && applied.is_empty() {
        return Err(OpenError::Empty { url: url.to_owned() });
    }
    if options.read_only {
        return Err(OpenError::NeedsMigration { url: url.to_owned() });
    }
    drop(conn);
    let fail = |e| store(StoreError::new("migrate")(e));
    let mut tx = pool.begin_with(BEGIN).await.map_err(fail)?;
    // Another process may have migrated it meanwhile.
    let applied = self::applied(url, &mut tx).await?;
    let todo = migrations::outstanding(url, &applied, options.schema_max, |m| m.sqlite)?;
    let mut last = applied.last().map_or(0, |m| m.0);
    // The write lock is held, so no other process is creating the database now.
    if applied.is_empty() && lacks_wal {
        return Err(OpenError::LacksWal { url: url.to_owned() });
    }
    if applied.is_empty() {
        sqlx::query(CREATE_MIGRATIONS).execute(&mut *tx).await.map_err(fail)?;
    }
    for Migration { number, name, sqlite, .. } in todo {
        sqlx::raw_sql(*sqlite).execute(&mut *tx).await.map_err(fail)?;
        sqlx::query(RECORD_MIGRATION)
            .bind(number)
            .bind(name)
            .bind(migrations::checksum(sqlite))
            .execute(&mut *tx)
            .await
            .map_err(fail)?;
        last = *number;
    }
    tx.commit().await.map_err(fail)?;
    Ok(last)
}

const COUNT_TABLES: &str =
    "SELECT count(*), coalesce(sum(name = 'migrations'), 0) FROM sqlite_master WHERE type = 'table'";
const CREATE_MIGRATIONS: &str =
    "CREATE TABLE migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT";
const RECORD_MIGRATION: &str = "INSERT INTO migrations (number, name, checksum) VALUES (?, ?, ?)";
const SELECT_MIGRATIONS: &str = "SELECT number, name, checksum FROM migrations ORDER BY number";
const SELECT_META: &str = "SELECT value FROM meta WHERE key = ?";

async fn applied(url: &str, conn: &mut SqliteConnection) -> Result<Vec<Applied>, OpenError> {
    let fail = |e| OpenError::Store { url: url.to_owned(), source: StoreError::new("read the schema")(e) };
    let (tables, ours): (i64, i64) = sqlx::query_as(COUNT_TABLES).fetch_one(&mut *conn).await.map_err(fail)?;
    match (tables, ours) {
        (0, _) => Ok(Vec::new()),
        (_, 0) => Err(OpenError::NotALog { url: url.to_owned() }),
        _ => sqlx::query_as(SELECT_MIGRATIONS).fetch_all(&mut *conn).await.map_err(fail),
    }
}

async fn check_reader(
    url: &str,
    conn: &mut SqliteConnection,
    applied: &[Applied],
    options: &Options,
) -> Result<(), OpenError> {
    if applied.is_empty() {
        return Ok(());
    }
    let fail = |e| OpenError::Store { url: url.to_owned(), source: StoreError::new("read the format")(e) };
    let (mut min_reader, mut importing) = (None, None);
    for (key, value) in [("min_reader", &mut min_reader), (IMPORTING, &mut importing)] {
        let found: Option<(String,)> =
            sqlx::query_as(SELECT_META).bind(key).fetch_optional(&mut *conn).await.map_err(fail)?;
        *value = found.map(|(value,)| value);
    }
    may_open(url, min_reader, importing, options)
}

const FIND_DICTIONARY: &str = "SELECT id FROM dictionaries WHERE digest = ?";
const ADD_DICTIONARY: &str =
    "INSERT INTO dictionaries (id, digest, content) SELECT coalesce(max(id), ?) + 1, ?, ? FROM dictionaries";

/// Returns the number of this program's dictionary in this database, and adds it if it is new.
async fn register_dictionary(pool: &SqlitePool) -> Result<i64, StoreError> {
    let fail = StoreError::new("register the payload dictionary");
    let (digest, content) = payloads::built_in();
    let find = async || sqlx::query_as::<_, (i64,)>(FIND_DICTIONARY).bind(&digest[..]).fetch_optional(pool).await;
    if let Some((number,)) = find().await.map_err(&fail)? {
        return Ok(number);
    }
    let added = sqlx::query(ADD_DICTIONARY)
        .bind(payloads::DICTIONARY_FIRST - 1)
        .bind(&digest[..])
        .bind(content)
        .execute(pool)
        .await;
    if let Err(e) = added
        && !e.as_database_error().is_some_and(|e| e.is_unique_violation())
    {
        return Err(fail(e));
    }
    let (number,) = find().await.map_err(&fail)?.ok_or_else(|| fail(sqlx::Error::RowNotFound))?;
    Ok(number)
}

/// Returns the limit of a page in the form the database takes.
fn page(limit: usize) -> i64 {
    signed(limit.min(PAGE_MAX) as u64)
}

impl EventLog for SqliteLog {
    async fn info(&self) -> Result<LogInfo, ReadError> {
        self.info().await
    }

    async fn head(&self) -> Result<Head, ReadError> {
        self.head().await
    }

    async fn append(&self, expected: Option<Seq>, commit: &Commit) -> Result<Head, AppendError> {
        self.append(expected, commit).await
    }

    async fn read(&self, after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.read(after, limit).await
    }

    async fn last_of_subject(
        &self,
        subject: &str,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.last_of_subject(subject, before, limit).await
    }

    async fn read_subject(
        &self,
        subjects: Subjects<'_>,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.read_subject(subjects, after, limit).await
    }

    async fn seq_at(&self, time: Timestamp) -> Result<Option<Seq>, ReadError> {
        self.seq_at(time).await
    }

    async fn changed(&self, after: Option<Seq>) -> Result<Head, ReadError> {
        self.changed(after).await
    }

    async fn receive(&self, messages: &[Incoming]) -> Result<Vec<Received>, ReceiveError> {
        self.receive(messages).await
    }

    async fn received(&self, ids: &[&str]) -> Result<HashSet<String>, ReadError> {
        self.received(ids).await
    }

    async fn last_received(&self, besides: &str, limit: usize) -> Result<Vec<PastMessage>, ReadError> {
        self.last_received(besides, limit).await
    }

    async fn pending(&self, after: Option<Position>, limit: usize) -> Result<Vec<Pending>, ReadError> {
        self.pending(after, limit).await
    }

    async fn pending_of(
        &self,
        source: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Pending>, Option<Position>), ReadError> {
        self.pending_of(source, after, limit).await
    }

    async fn fates(&self, ids: &[&str]) -> Result<Vec<Option<Fate>>, ReadError> {
        self.fates(ids).await
    }

    async fn parked(&self, after: Option<Position>, limit: usize) -> Result<Vec<Parked>, ReadError> {
        self.parked(after, limit).await
    }

    async fn parked_messages(&self, ids: &[&str]) -> Result<Vec<(Pending, String)>, ReadError> {
        self.parked_messages(ids).await
    }

    async fn unpark(&self, ids: &[String]) -> Result<u64, StoreError> {
        self.unpark(ids).await
    }

    async fn counts(&self) -> Result<Counts, ReadError> {
        self.counts().await
    }

    async fn prune_raw(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.prune_raw(before).await
    }

    async fn pending_commands(&self, limit: usize) -> Result<Vec<OutboxCommand>, ReadError> {
        self.pending_commands(limit).await
    }

    async fn commands_of(&self, events: &[Seq]) -> Result<HashSet<Seq>, ReadError> {
        self.commands_of(events).await
    }

    async fn outbox(&self, after: u64, limit: usize) -> Result<Vec<(u64, OutboxCommand)>, ReadError> {
        self.outbox(after, limit).await
    }

    async fn mark_sent(&self, ids: &[String]) -> Result<u64, StoreError> {
        self.mark_sent(ids).await
    }

    async fn attachment(&self, digest: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.attachment(digest).await
    }

    async fn put_snapshot(&self, snapshot: &Snapshot, without: &[(Seq, u32)]) -> Result<(), StoreError> {
        self.put_snapshot(snapshot, without).await
    }

    async fn snapshots(&self) -> Result<Snapshots, ReadError> {
        self.snapshots().await
    }

    async fn latest_snapshot(&self, at_most: Option<Seq>, state_version: u32) -> Result<Option<Snapshot>, ReadError> {
        self.latest_snapshot(at_most, state_version).await
    }

    async fn drop_snapshots(&self) -> Result<u64, StoreError> {
        self.drop_snapshots().await
    }

    async fn person(&self, name: &str) -> Result<Option<PersonId>, ReadError> {
        self.person(name).await
    }

    async fn name_of(&self, id: &PersonId) -> Result<Option<String>, ReadError> {
        self.name_of(id).await
    }

    async fn has_fact(&self, fact: &FactId) -> Result<bool, ReadError> {
        self.has_fact(fact).await
    }

    async fn all_persons(&self) -> Result<Vec<(PersonId, String)>, ReadError> {
        self.all_persons().await
    }

    async fn forget_person(&self, name_or_id: &str) -> Result<Erasure, StoreError> {
        self.forget_person(name_or_id).await
    }

    async fn note_import(&self, whole: Option<Seq>) -> Result<(), StoreError> {
        self.note_import(whole).await
    }

    async fn erasures(&self) -> Result<u64, ReadError> {
        let mut conn = self.inner.readers.acquire().await.map_err(StoreError::new("ask for erasures"))?;
        Ok(erase::erasures(&mut conn).await?)
    }

    async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }
}

/// Makes the error for every write on a handle that was opened for reading.
fn read_only(doing: &'static str) -> StoreError {
    StoreError { doing, kind: StoreErrorKind::ReadOnly, source: sqlx::Error::PoolClosed }
}
