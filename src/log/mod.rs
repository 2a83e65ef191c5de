//! Stores the event log, inbox, outbox and attachments. No other module keeps data for ever.
//!
//! There is one trait, [`EventLog`], and two databases implement it: SQLite (embedded, default) and
//! PostgreSQL. Both pass one contract test, and the same events give the same hashes in both.
//! [`open`] chooses by URL.
//!
//! # Invariants
//! - Events are contiguous from 1 and chained by hash. [`EventLog::append`] checks both before
//!   writing. The database refuses UPDATE, DELETE and TRUNCATE of events, attachments and the rows
//!   they refer to. [`verify()`] finds changes that were made in spite of that.
//! - A [`Commit`] is one transaction. Its events, settled messages, commands, attachments and names
//!   are all written, or nothing is.
//! - When [`EventLog::receive`] returns, the messages are on disk, and their ids are known for
//!   ever.
//! - Times are integer microseconds. Recorded time never goes back.
//!
//! # What it does not do
//! This module does not interpret payloads (except the `attachment` field, in [`verify()`]),
//! decide, retry or read a clock. It trusts its caller to be the only appender, and returns
//! [`AppendError::Conflict`] if another one appended.

pub mod announcements;
mod any;
mod append;
mod codec;
pub mod credentials;
mod erase;
mod error;
pub mod folding;
mod inbox;
mod log_error;
mod migrations;
mod names;
mod opening;
mod payloads;
pub(crate) mod point;
mod pool;
mod postgres;
mod rows;
mod sqlite;
pub(crate) mod trail;
mod types;
pub mod verify;

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

pub use announcements::Announcements;
pub use any::{AnyLog, open};
pub use credentials::{Credential, CredentialKind, Credentials};
pub use erase::{Erasure, Left};
pub use error::{AppendError, OpenError, ReadError, ReceiveError, StoreError, StoreErrorKind};
pub use log_error::LogError;
pub use migrations::{MIGRATIONS, Migration};
use opening::may_open;
pub use postgres::PostgresLog;
pub use sqlite::SqliteLog;
pub use types::*;
pub(crate) use verify::step;
pub use verify::{Damage, VerifyError, VerifyReport, verify};

use crate::event::{FactId, Record};
pub(crate) use crate::model::secrets::shown as redacted;
use crate::model::{PersonId, Seq, Timestamp};

/// Key in table `meta` for the last event of an unfinished import.
const IMPORTING: &str = "importing";

/// Options for opening a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Create the database if there is none. SQLite only: a PostgreSQL database must exist, but its
    /// tables are created.
    pub create: bool,
    /// Refuse all writes, and do not migrate.
    pub read_only: bool,
    /// SQLite: fsync at every commit (`synchronous = FULL`). Without it (`NORMAL`), a power failure
    /// may lose the last commits, but a crash of the process does not. Costs about a tenth of the
    /// speed in batches of 1,000.
    pub sync_every_commit: bool,
    /// How long one statement waits for another process's lock before it fails as busy.
    pub busy_timeout: Duration,
    /// PostgreSQL: how long one call may take before the connection counts as dead. The server also
    /// ends an idle transaction of this program after that time. Without it, a connection whose
    /// packets are lost would wait for ever. Calls that rewrite tables
    /// ([`EventLog::forget_person`]) have no limit.
    pub answer_timeout: Duration,
    /// SQLite: how often [`EventLog::changed`] checks whether another process appended.
    pub poll_interval: Duration,
    /// Number of connections for reading.
    pub readers: u32,
    /// SQLite: largest size of the file, in pages of 4,096 bytes. Beyond it, every write fails as
    /// on a full disk. Use it as a quota if the log shares its disk.
    pub max_pages: Option<u32>,
    /// SQLite: how many events, at least, wait before they are added to the indexes of facts and
    /// subjects. They are then added at once, in sorted order. A commit that does so takes about
    /// half a second longer (measured on a model of 1.5 million rows).
    pub index_after: u64,
    /// Open the log even if an import is unfinished. For the import itself.
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

/// The operations that a database must provide. Every method is all or nothing. Its future may be
/// dropped at any time: a commit has then either happened or not.
///
/// All lists are in order. `limit` is capped at [`PAGE_MAX`].
pub trait EventLog: Announcements + Send + Sync {
    /// Returns facts about the log itself.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn info(&self) -> impl Future<Output = Result<LogInfo, ReadError>> + Send;

    /// Returns the end of the log.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn head(&self) -> impl Future<Output = Result<Head, ReadError>> + Send;

    /// Appends `commit` if the log ends at `expected`, and returns the new end. The commit is
    /// durable when the method returns.
    ///
    /// # Errors
    /// On any error, nothing of the commit is kept.
    /// - Returns [`AppendError::Conflict`] if there is another writer.
    /// - Returns another broken [`AppendError`] if the commit is not consistent.
    /// - Returns an unavailable one if the database does not respond.
    fn append(&self, expected: Option<Seq>, commit: &Commit) -> impl Future<Output = Result<Head, AppendError>> + Send;

    /// Returns events after `after`, at most `limit`. It returns fewer only at the end of the log.
    ///
    /// # Errors
    /// Returns [`ReadError::Damaged`] (broken), which names the first event that cannot be read.
    fn read(&self, after: Option<Seq>, limit: usize) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// Returns the last events about exactly `subject` before `before` (absent: to the end), newest
    /// first, at most `limit`. Cost: that of the events returned.
    ///
    /// # Errors
    /// Returns the errors of [`EventLog::read`].
    fn last_of_subject(
        &self,
        subject: &str,
        before: Option<Seq>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// Returns events about some subjects after `after`, at most `limit`.
    ///
    /// # Errors
    /// Returns the errors of [`EventLog::read`].
    fn read_subject(
        &self,
        subjects: Subjects<'_>,
        after: Option<Seq>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, ReadError>> + Send;

    /// Returns the last event recorded at or before `time`. Cost: a binary search with a few tens
    /// of lookups.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn seq_at(&self, time: Timestamp) -> impl Future<Output = Result<Option<Seq>, ReadError>> + Send;

    /// Waits until the log ends beyond `after`, and returns its end. It misses no append, even by
    /// another process.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn changed(&self, after: Option<Seq>) -> impl Future<Output = Result<Head, ReadError>> + Send;

    /// Puts messages into the inbox, in order, in one transaction. They are durable when the method
    /// returns, so acknowledge them then.
    ///
    /// # Errors
    /// Returns [`ReceiveError::TooLong`] (rejected) if a message exceeds the limits. None is stored
    /// then.
    fn receive(&self, messages: &[Incoming]) -> impl Future<Output = Result<Vec<Received>, ReceiveError>> + Send;

    /// Returns which of these messages were received before, by id.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn received(&self, ids: &[&str]) -> impl Future<Output = Result<HashSet<String>, ReadError>> + Send;

    /// Returns the last messages received, at most `limit`, oldest first, whatever happened to
    /// them. Leaves out messages from the source `besides`.
    ///
    /// # Errors
    /// Returns [`ReadError::Content`] (broken) if a body differs from what was received.
    fn last_received(
        &self,
        besides: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<PastMessage>, ReadError>> + Send;

    /// Returns waiting messages after `after`, in order of position, at most `limit`.
    ///
    /// # Errors
    /// Returns [`ReadError::Content`] (broken) if a body is missing or differs from what was
    /// received.
    fn pending(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Pending>, ReadError>> + Send;

    /// Returns waiting messages of one source after `after`, in order of position, at most `limit`,
    /// however many messages of other sources wait before them. Also returns the position up to
    /// which the inbox was searched, for the next call. Cost: proportional to the number of
    /// messages waiting after `after`.
    ///
    /// # Errors
    /// Returns the errors of [`EventLog::pending`].
    fn pending_of(
        &self,
        source: &str,
        after: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<Pending>, Option<Position>), ReadError>> + Send;

    /// Returns what happened to messages, by id, in the order of `ids`. The entry is `None` for a
    /// message that was never received.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn fates(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<Option<Fate>>, ReadError>> + Send;

    /// Returns parked messages (those that could not be understood) after `after`, at most `limit`.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn parked(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Parked>, ReadError>> + Send;

    /// Returns parked messages by id, each with its body and the reason why it was parked, in order
    /// of position. Messages that are not parked are left out.
    ///
    /// # Errors
    /// Returns the errors of [`EventLog::pending`].
    fn parked_messages(&self, ids: &[&str]) -> impl Future<Output = Result<Vec<(Pending, String)>, ReadError>> + Send;

    /// Makes parked messages wait again, by id, and returns how many were parked.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn unpark(&self, ids: &[String]) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns how many messages and commands wait.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn counts(&self) -> impl Future<Output = Result<Counts, ReadError>> + Send;

    /// Deletes the bodies of messages received before `before` that are done or ignored, and
    /// returns how many. Their ids stay. One transaction deletes a few thousand, so that others do
    /// not wait for long. If the call is cancelled, some bodies are deleted. Cost: examines every
    /// body that is kept.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn prune_raw(&self, before: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns commands that were not sent, in the order in which they were appended, at most
    /// `limit`.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn pending_commands(&self, limit: usize) -> impl Future<Output = Result<Vec<OutboxCommand>, ReadError>> + Send;

    /// Returns all commands, sent or not, numbered in the order in which they were appended. The
    /// list begins after number `after` (0: with the first) and has at most `limit` entries.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn outbox(
        &self,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, OutboxCommand)>, ReadError>> + Send;

    /// Returns which of these events have a command in the outbox, sent or not. Cost: the database
    /// searches the outbox.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn commands_of(&self, events: &[Seq]) -> impl Future<Output = Result<HashSet<Seq>, ReadError>> + Send;

    /// Notes that commands were sent, by id, and returns how many were waiting.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn mark_sent(&self, ids: &[String]) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns the content of an attachment, checked against its digest. Returns `None` if there is
    /// none.
    ///
    /// # Errors
    /// Returns [`ReadError::Content`] (broken) if the content differs from what was written.
    fn attachment(&self, digest: &str) -> impl Future<Output = Result<Option<Vec<u8>>, ReadError>> + Send;

    /// Stores a snapshot, replacing one of the same event and layout, and deletes others, given by
    /// event and layout, in the same transaction.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn put_snapshot(
        &self,
        snapshot: &Snapshot,
        without: &[(Seq, u32)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns which snapshots there are, and how large the rest is. Reads none of them.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn snapshots(&self) -> impl Future<Output = Result<Snapshots, ReadError>> + Send;

    /// Returns the newest snapshot of that layout that is not beyond `at_most`.
    ///
    /// # Errors
    /// Returns [`ReadError::Content`] if it cannot be decompressed. Drop the snapshots then.
    fn latest_snapshot(
        &self,
        at_most: Option<Seq>,
        state_version: u32,
    ) -> impl Future<Output = Result<Option<Snapshot>, ReadError>> + Send;

    /// Deletes all snapshots, and returns how many there were.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn drop_snapshots(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns the id of the person with this name.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn person(&self, name: &str) -> impl Future<Output = Result<Option<PersonId>, ReadError>> + Send;

    /// Returns the name of a person. Returns `None` if it was erased or never known.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn name_of(&self, id: &PersonId) -> impl Future<Output = Result<Option<String>, ReadError>> + Send;

    /// Returns whether the log holds a fact with this identity. Cost: one look-up in an index.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn has_fact(&self, fact: &FactId) -> impl Future<Output = Result<bool, ReadError>> + Send;

    /// Returns all persons whose names are known, by id.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn all_persons(&self) -> impl Future<Output = Result<Vec<(PersonId, String)>, ReadError>> + Send;

    /// Erases a person, given by name or id. This erases the name, bodies of messages that contain
    /// it, and reasons that contain it. It also erases what the database keeps of these in freed
    /// space and in its write-ahead log. (The operator must remove PostgreSQL's WAL segments.) The
    /// log itself does not change. The call may be repeated, also for a person who is no longer
    /// known. Cost: unpacks all bodies, and rewrites the SQLite file, or three tables of
    /// PostgreSQL.
    ///
    /// # Errors
    /// Returns [`StoreError`] if nothing was erased. If only a part could not be erased,
    /// [`Erasure::left`] says which.
    fn forget_person(&self, name_or_id: &str) -> impl Future<Output = Result<Erasure, StoreError>> + Send;

    /// Notes that an import up to event `whole` is under way. From then on, the log opens only with
    /// [`Options::unfinished`]. An existing note stays. `None` notes that the import is finished.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn note_import(&self, whole: Option<Seq>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns how often a person was erased. If the number changes, cached person ids must be
    /// looked up again.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn erasures(&self) -> impl Future<Output = Result<u64, ReadError>> + Send;

    /// Closes all connections, and waits until they are closed.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
