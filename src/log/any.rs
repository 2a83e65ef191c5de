//! A log in either database.

use std::collections::{HashMap, HashSet};

use super::announcements::Announcements;
use super::credentials::{Credential, CredentialKind, Credentials};
use super::erase::Erasure;
use super::error::{AppendError, OpenError, ReadError, ReceiveError, StoreError};
use super::opening::sqlite_path;
use super::postgres::PostgresLog;
use super::sqlite::SqliteLog;
use super::types::*;
use super::{EventLog, Options, redacted};
use crate::event::{FactId, Record};
use crate::model::{PersonId, Seq, Timestamp};

/// A log in the database that the URL names.
#[derive(Clone, Debug)]
pub enum AnyLog {
    /// An embedded SQLite database.
    Sqlite(SqliteLog),
    /// A PostgreSQL server.
    Postgres(PostgresLog),
}

/// Opens the log at `url`: a path, `sqlite:PATH`, or `postgres://…`. Creates and migrates it
/// according to `options`.
///
/// # Errors
/// Returns [`OpenError`]: rejected if the URL is not valid, or the database is not a log or not for
/// this version; else unavailable.
pub async fn open(url: &str, options: &Options) -> Result<AnyLog, OpenError> {
    match sqlite_path(url) {
        Some(path) => SqliteLog::open(path, options).await.map(AnyLog::Sqlite),
        None if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            PostgresLog::open(url, options).await.map(AnyLog::Postgres)
        }
        None => Err(OpenError::BadUrl { url: redacted(url), source: None }),
    }
}

macro_rules! delegate {
    ($trait:ident: $($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl $trait for AnyLog {
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
    Announcements:
    next_announcements(limit: usize) -> Result<Vec<Announcement>, ReadError>;
    mark_announced(ids: &[String]) -> Result<u64, StoreError>;
    mark_unsendable(id: &str, reason: &str) -> Result<(), StoreError>;
    set_aside(limit: usize) -> Result<Vec<(Announcement, String)>, ReadError>;
    announcement_counts() -> Result<AnnouncementCounts, ReadError>;
    announcements(after: Option<(Seq, u64)>, limit: usize) -> Result<Vec<(u64, Announcement)>, ReadError>;
    said_before() -> Result<Vec<SaidBefore>, ReadError>;
    names_of(people: &[PersonId]) -> Result<HashMap<PersonId, String>, ReadError>;
    held_changes() -> Result<Vec<(String, HeldChange)>, ReadError>;
    prune_announcements(before: Timestamp, limit: usize) -> Result<u64, StoreError>;
}

delegate! {
    Credentials:
    put_credential(new: &Credential, hash: &str) -> Result<(), StoreError>;
    credential(kind: CredentialKind, hash: &str, now: Timestamp) -> Result<Option<Credential>, ReadError>;
    credentials(person: Option<&str>) -> Result<Vec<Credential>, ReadError>;
    revoke(id: &str, person: Option<&str>) -> Result<bool, StoreError>;
    revoke_all(person: &str) -> Result<u64, StoreError>;
    drop_ended(now: Timestamp) -> Result<u64, StoreError>;
}

delegate! {
    EventLog:
    info() -> Result<LogInfo, ReadError>;
    head() -> Result<Head, ReadError>;
    append(expected: Option<Seq>, commit: &Commit) -> Result<Head, AppendError>;
    read(after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError>;
    last_of_subject(subject: &str, before: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError>;
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
    put_snapshot(snapshot: &Snapshot, without: &[(Seq, u32)]) -> Result<(), StoreError>;
    snapshots() -> Result<Snapshots, ReadError>;
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
