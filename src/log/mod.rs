//! Event log, inbox, outbox, attachments: the only room that keeps anything for ever.
//!
//! One trait, [`EventLog`], and two databases behind it: SQLite (embedded, default) and PostgreSQL. Both pass one
//! contract test, and the same events give the same hashes in both. [`open`] chooses by URL.
//!
//! # Invariants
//! - Events are contiguous from 1 and chained by hash; [`EventLog::append`] checks both before writing, the database
//!   refuses UPDATE, DELETE and TRUNCATE of events, attachments and what they refer to, and [`verify()`] finds what was
//!   forced past it.
//! - A [`Commit`] is one transaction: events, settled messages, commands, attachments and names, or nothing.
//! - A message that [`EventLog::receive`] returned for is on disk, and its id is known for ever.
//! - Times are integer microseconds; recorded time never goes back.
//!
//! # What it does not do
//! It does not interpret payloads (except the `attachment` field, in [`verify()`]), decide, retry or read a clock. It
//! trusts its caller to be the only appender, and says [`AppendError::Conflict`] when that is wrong.

mod append;
mod codec;
mod erase;
mod error;
pub mod folding;
mod inbox;
mod log_error;
mod migrations;
mod names;
mod pool;
mod postgres;
mod rows;
mod sqlite;
pub(crate) mod trail;
mod types;
pub mod verify;
mod verify_outbox;

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

pub use erase::{Erasure, Left};
pub use error::{AppendError, OpenError, ReadError, ReceiveError, StoreError, StoreErrorKind};
pub use log_error::LogError;
pub use migrations::{MIGRATIONS, Migration};
pub use postgres::PostgresLog;
pub use sqlite::SqliteLog;
pub use types::*;
pub(crate) use verify::step;
pub use verify::{Damage, VerifyError, VerifyReport, verify};

use crate::event::{FactId, Record};
pub(crate) use crate::model::secrets::shown as redacted;
use crate::model::{PersonId, Seq, Timestamp};

/// Under this name table `meta` has the last event of an import that is not over.
const IMPORTING: &str = "importing";

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Make the database if there is none. SQLite only; a PostgreSQL database must exist, its tables are made.
    pub create: bool,
    /// Refuse all writes, and do not migrate.
    pub read_only: bool,
    /// SQLite: fsync at every commit (`synchronous = FULL`). Without it (`NORMAL`) a power failure may lose the last
    /// commits, a crash of the process does not; costs about a tenth of the speed in batches of 1,000.
    pub sync_every_commit: bool,
    /// How long one statement waits for another process's lock before it fails as busy.
    pub busy_timeout: Duration,
    /// PostgreSQL: how long one call may take before the connection counts as dead; also how long the server keeps a
    /// transaction of ours nobody goes on with. A connection whose packets are dropped on the way says nothing, for
    /// ever. Calls that write tables anew ([`EventLog::forget_person`]) are not bounded.
    pub answer_timeout: Duration,
    /// SQLite: how often to look whether another process appended, while waiting in [`EventLog::changed`].
    pub poll_interval: Duration,
    /// Connections for reading.
    pub readers: u32,
    /// SQLite: let the file grow no further than this many pages of 4,096 bytes; beyond it every write fails as on a
    /// full disk. A quota for machines where the log shares its disk.
    pub max_pages: Option<u32>,
    /// SQLite: let at least this many events wait for the indexes of facts and subjects, to be put in sorted and at
    /// once. A commit that does so takes longer, by about half a second (measured on a model of 1.5 million rows).
    pub index_after: u64,
    /// Open it also while an import of it is not over: for who imports.
    pub unfinished: bool,
    /// Stop at this migration. For tests of migrations; a program needs all of them.
    #[doc(hidden)]
    pub schema_max: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            sync_every_commit: true,
            busy_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(120),
            poll_interval: Duration::from_millis(200),
            readers: 4,
            max_pages: None,
            index_after: 65_536,
            unfinished: false,
            schema_max: i64::MAX,
        }
    }
}

/// What a database must do for us. Every method is all or nothing, and safe to cancel by dropping its future: a commit
/// then either happened or did not.
///
/// All lists come back in order; `limit` is capped at [`PAGE_MAX`].
pub trait EventLog: Send + Sync {
    /// About the log itself.
    ///
    /// # Errors
    /// [`ReadError`].
    fn info(&self) -> impl Future<Output = Result<LogInfo, ReadError>> + Send;

    /// The end of the log.
    ///
    /// # Errors
    /// [`ReadError`].
    fn head(&self) -> impl Future<Output = Result<Head, ReadError>> + Send;

    /// Appends `commit` if the log ends at `expected`, and returns the new end. Durable when it returns.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when there is another writer; the other broken ones for a commit that does not hold
    /// together; unavailable when the database does not answer. Nothing of the commit is kept then.
    fn append(&self, expected: Option<Seq>, commit: &Commit) -> impl Future<Output = Result<Head, AppendError>> + Send;

    /// Events after `after`, at most `limit`; fewer only at the end of the log.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] (broken) names the first event that cannot be read.
    fn read(&self, after: Option<Seq>, limit: usize) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// Events about some subjects after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`EventLog::read`].
    fn read_subject(
        &self,
        subjects: Subjects<'_>,
        after: Option<Seq>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// The last event recorded at or before `time`. Cost: binary search, a few tens of lookups.
    ///
    /// # Errors
    /// [`ReadError`].
    fn seq_at(&self, time: Timestamp) -> impl Future<Output = Result<Option<Seq>, ReadError>> + Send;

    /// Waits until the log ends beyond `after`, and returns its end. No append is missed, whoever makes it.
    ///
    /// # Errors
    /// [`ReadError`].
    fn changed(&self, after: Option<Seq>) -> impl Future<Output = Result<Head, ReadError>> + Send;

    /// Puts messages into the inbox, in order, in one transaction. Durable when it returns: acknowledge then.
    ///
    /// # Errors
    /// [`ReceiveError::TooLong`] (rejected) when one is beyond the bounds; none is stored then.
    fn receive(&self, messages: &[Incoming]) -> impl Future<Output = Result<Vec<Received>, ReceiveError>> + Send;

    /// Which of these messages came before, by id.
    ///
    /// # Errors
    /// [`ReadError`].
    fn received(&self, ids: &[&str]) -> impl Future<Output = Result<HashSet<String>, ReadError>> + Send;

    /// The last messages that came in, at most `limit`, oldest first, whatever became of them; none whose source is
    /// `besides`.
    ///
    /// # Errors
    /// [`ReadError::Content`] (broken) when a body is not what came in.
    fn last_received(
        &self,
        besides: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<PastMessage>, ReadError>> + Send;

    /// Messages that wait, in order of position, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError::Content`] (broken) when a body is missing or is not what came in.
    fn pending(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Pending>, ReadError>> + Send;

    /// Messages of one source that wait, in order of position, after `after`, however many of others wait before them,
    /// at most `limit`; and up to where the inbox was looked through, for the next time. Cost: proportional to what
    /// waits after `after`.
    ///
    /// # Errors
    /// As [`EventLog::pending`].
    fn pending_of(
        &self,
        source: &str,
        after: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<Pending>, Option<Position>), ReadError>> + Send;

    /// What became of messages, by id, in the order asked for; `None` for one that never came.
    ///
    /// # Errors
    /// [`ReadError`].
    fn fates(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<Option<Fate>>, ReadError>> + Send;

    /// Messages that could not be understood, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    fn parked(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Parked>, ReadError>> + Send;

    /// Parked messages by id, with their bodies and why each was parked, in order of position. Those that are not
    /// parked are passed over.
    ///
    /// # Errors
    /// As [`EventLog::pending`].
    fn parked_messages(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<(Pending, String)>, ReadError>> + Send;

    /// Makes parked messages wait again, by id; returns how many were parked.
    ///
    /// # Errors
    /// [`StoreError`].
    fn unpark(&self, ids: &[String]) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// How much waits.
    ///
    /// # Errors
    /// [`ReadError`].
    fn counts(&self) -> impl Future<Output = Result<Counts, ReadError>> + Send;

    /// Deletes the bodies of messages received before `before` that are done or ignored; their ids stay. Returns how
    /// many. Some thousand go in one transaction, so that nobody waits for long; cancelled, it has deleted some. Cost:
    /// looks at every body that is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    fn prune_raw(&self, before: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Commands that were not sent, in the order they were appended, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    fn pending_commands(&self, limit: usize) -> impl Future<Output = Result<Vec<OutboxCommand>, ReadError>> + Send;

    /// All commands, sent or not, numbered in the order they were appended: those after number `after` (0: from the
    /// first), at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    fn outbox(
        &self,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, OutboxCommand)>, ReadError>> + Send;

    /// Which of these events have a command in the outbox, sent or not. Cost: the outbox, looked through by the
    /// database.
    ///
    /// # Errors
    /// [`ReadError`].
    fn commands_of(&self, events: &[Seq]) -> impl Future<Output = Result<HashSet<Seq>, ReadError>> + Send;

    /// Notes that commands were sent, by id; returns how many were waiting.
    ///
    /// # Errors
    /// [`StoreError`].
    fn mark_sent(&self, ids: &[String]) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Content of an attachment, checked against its digest; `None` if there is none.
    ///
    /// # Errors
    /// [`ReadError::Content`] (broken) when it is not what was written.
    fn attachment(&self, digest: &str) -> impl Future<Output = Result<Option<Vec<u8>>, ReadError>> + Send;

    /// Stores a snapshot in place of one of the same event and layout, and deletes all but the newest
    /// [`SNAPSHOTS_KEPT`].
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_snapshot(&self, snapshot: &Snapshot) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest snapshot of that layout that is not beyond `at_most`.
    ///
    /// # Errors
    /// [`ReadError::Content`] when it does not decompress; drop the snapshots then.
    fn latest_snapshot(
        &self,
        at_most: Option<Seq>,
        state_version: u32,
    ) -> impl Future<Output = Result<Option<Snapshot>, ReadError>> + Send;

    /// Deletes all snapshots; returns how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    fn drop_snapshots(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// The id of the person with this name.
    ///
    /// # Errors
    /// [`ReadError`].
    fn person(&self, name: &str) -> impl Future<Output = Result<Option<PersonId>, ReadError>> + Send;

    /// The name of a person; `None` when it was erased or never known.
    ///
    /// # Errors
    /// [`ReadError`].
    fn name_of(&self, id: &PersonId) -> impl Future<Output = Result<Option<String>, ReadError>> + Send;

    /// Whether the log holds a fact with this identity. Cost: one look-up in an index.
    ///
    /// # Errors
    /// [`ReadError`].
    fn has_fact(&self, fact: &FactId) -> impl Future<Output = Result<bool, ReadError>> + Send;

    /// Everyone whose name is known, by id.
    ///
    /// # Errors
    /// [`ReadError`].
    fn all_persons(&self) -> impl Future<Output = Result<Vec<(PersonId, String)>, ReadError>> + Send;

    /// Erases a person, given by name or id: the name, bodies of messages that hold it, reasons that do, and what the
    /// database keeps of them in freed space and its write-ahead log (PostgreSQL's segments of that are the
    /// operator's). The log stays as it is. May be repeated, also for somebody who is not known any more. Cost: unpacks
    /// all bodies, and writes the SQLite file, or three tables of PostgreSQL, anew.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was erased then. What was not erased besides is told in [`Erasure::left`].
    fn forget_person(&self, name_or_id: &str) -> impl Future<Output = Result<Erasure, StoreError>> + Send;

    /// Notes that an import is under way that leads to event `whole`; from then on only who says
    /// [`Options::unfinished`] opens the log. What is noted already stays. `None`: it is over.
    ///
    /// # Errors
    /// [`StoreError`].
    fn note_import(&self, whole: Option<Seq>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How often somebody was erased. Whoever knows stand-ins by heart has to look them up again when it changes.
    ///
    /// # Errors
    /// [`ReadError`].
    fn erasures(&self) -> impl Future<Output = Result<u64, ReadError>> + Send;

    /// Closes all connections, and waits for that.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A log in whichever database the URL named.
#[derive(Clone, Debug)]
pub enum AnyLog {
    /// Embedded.
    Sqlite(SqliteLog),
    /// A server.
    Postgres(PostgresLog),
}

/// Opens the log at `url`: a path, `sqlite:PATH`, or `postgres://…`; makes and migrates it as `options` say.
///
/// # Errors
/// [`OpenError`]: rejected for a URL or a database that is not ours or not for this version, else unavailable.
pub async fn open(url: &str, options: &Options) -> Result<AnyLog, OpenError> {
    match sqlite_path(url) {
        Some(path) => SqliteLog::open(path, options).await.map(AnyLog::Sqlite),
        None if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            PostgresLog::open(url, options).await.map(AnyLog::Postgres)
        }
        None => Err(OpenError::BadUrl { url: redacted(url), source: None }),
    }
}

/// The path in `sqlite:PATH`, `sqlite://PATH` or a plain path.
/// Whether this program may open a log. `min_reader` and `importing` are what its table `meta` has under these names.
fn may_open(
    url: &str,
    min_reader: Option<String>,
    importing: Option<String>,
    options: &Options,
) -> Result<(), OpenError> {
    let url = || url.to_owned();
    let needs = min_reader.and_then(|text| text.parse().ok()).ok_or_else(|| OpenError::NotALog { url: url() })?;
    if needs > FORMAT {
        return Err(OpenError::TooNew { url: url(), needs, have: FORMAT });
    }
    match importing {
        Some(whole) if !options.unfinished => Err(OpenError::Unfinished { url: url(), whole }),
        _ => Ok(()),
    }
}

fn sqlite_path(url: &str) -> Option<&str> {
    let path = match url.strip_prefix("sqlite:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if url.contains("://") => return None,
        None => url,
    };
    (!path.is_empty()).then_some(path)
}

macro_rules! delegate {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl EventLog for AnyLog {
            $(async fn $name(&self $(, $arg: $type)*) -> $out {
                match self {
                    Self::Sqlite(log) => log.$name($($arg),*).await,
                    Self::Postgres(log) => log.$name($($arg),*).await,
                }
            })*
        }
    };
}

delegate! {
    info() -> Result<LogInfo, ReadError>;
    head() -> Result<Head, ReadError>;
    append(expected: Option<Seq>, commit: &Commit) -> Result<Head, AppendError>;
    read(after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError>;
    read_subject(subjects: Subjects<'_>, after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError>;
    seq_at(time: Timestamp) -> Result<Option<Seq>, ReadError>;
    changed(after: Option<Seq>) -> Result<Head, ReadError>;
    receive(messages: &[Incoming]) -> Result<Vec<Received>, ReceiveError>;
    received(ids: &[&str]) -> Result<HashSet<String>, ReadError>;
    last_received(besides: &str, limit: usize) -> Result<Vec<PastMessage>, ReadError>;
    pending(after: Option<Position>, limit: usize) -> Result<Vec<Pending>, ReadError>;
    pending_of(source: &str, after: Option<Position>, limit: usize)
        -> Result<(Vec<Pending>, Option<Position>), ReadError>;
    fates(ids: &[&str]) -> Result<Vec<Option<Fate>>, ReadError>;
    parked(after: Option<Position>, limit: usize) -> Result<Vec<Parked>, ReadError>;
    parked_messages(ids: &[&str]) -> Result<Vec<(Pending, String)>, ReadError>;
    unpark(ids: &[String]) -> Result<u64, StoreError>;
    counts() -> Result<Counts, ReadError>;
    prune_raw(before: Timestamp) -> Result<u64, StoreError>;
    pending_commands(limit: usize) -> Result<Vec<OutboxCommand>, ReadError>;
    outbox(after: u64, limit: usize) -> Result<Vec<(u64, OutboxCommand)>, ReadError>;
    commands_of(events: &[Seq]) -> Result<HashSet<Seq>, ReadError>;
    mark_sent(ids: &[String]) -> Result<u64, StoreError>;
    attachment(digest: &str) -> Result<Option<Vec<u8>>, ReadError>;
    put_snapshot(snapshot: &Snapshot) -> Result<(), StoreError>;
    latest_snapshot(at_most: Option<Seq>, state_version: u32) -> Result<Option<Snapshot>, ReadError>;
    drop_snapshots() -> Result<u64, StoreError>;
    person(name: &str) -> Result<Option<PersonId>, ReadError>;
    name_of(id: &PersonId) -> Result<Option<String>, ReadError>;
    has_fact(fact: &FactId) -> Result<bool, ReadError>;
    all_persons() -> Result<Vec<(PersonId, String)>, ReadError>;
    forget_person(name_or_id: &str) -> Result<Erasure, StoreError>;
    note_import(whole: Option<Seq>) -> Result<(), StoreError>;
    erasures() -> Result<u64, ReadError>;
    close() -> ();
}
