//! What can go wrong with the log, sorted by what the caller should do about it.

use sqlx::error::DatabaseError;

use crate::model::{Class, Classified, Seq};

/// What the database said, in the few groups that ask for different answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// Another process holds the lock, or the server has no connection left.
    Busy,
    /// No space left on the device, or a quota reached.
    Full,
    /// The file or server does not accept writes.
    ReadOnly,
    /// File or server not reachable, or an I/O error.
    Unreachable,
    /// The database file itself is damaged, or is not a database.
    Corrupt,
    /// The file is not at its path any more.
    Moved,
    /// Our role lacks a right, or a schema or table is not there for it.
    Denied,
    /// Sessions are not ours: there is a pooler between.
    Pooled,
    /// There is no directory for temporary files.
    NoTemporary,
    /// The database refused a statement this program should not have sent.
    Unexpected,
}

impl StoreErrorKind {
    const fn advice(self) -> &'static str {
        match self {
            Self::Busy => {
                "the database is busy or does not answer; another process is writing or all connections are taken, try \
                    again"
            }
            Self::Full => {
                "no space left on the database's disk; free some: a running service then goes on by itself, other \
                    commands are started again; everything committed is kept"
            }
            Self::ReadOnly => "the database does not accept writes; check permissions of the file and its directory",
            Self::Unreachable => "the database cannot be reached; check path or URL, permissions, server and disk",
            Self::Corrupt => {
                "the database file is damaged or is not a database; restore a backup and compare with `koschei log \
                    verify`"
            }
            Self::Moved => {
                "the database's file was moved, deleted or replaced while it was open, so that nothing is kept any \
                 more; put it back together with its -wal file, or decide which one counts, and start again"
            }
            Self::Denied => {
                "the database does not let our role do that, or does not show it the schema or table; grant what is \
                 named below (GRANT … TO the role in the URL), or make the role the owner of the database"
            }
            Self::Pooled => {
                "a pooler gives one connection to several clients; set pool_mode = session for this database, or \
                    connect to the server itself"
            }
            Self::NoTemporary => "there is no directory for temporary files; set TMPDIR to one that can be written",
            Self::Unexpected => "the database refused a statement; this is a defect, please report it",
        }
    }

    /// Sorts an error of the driver. SQLite result codes: <https://www.sqlite.org/rescode.html>; PostgreSQL's: appendix
    /// A.
    fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(db) => Self::of_database(db.as_ref()),
            E::PoolTimedOut => Self::Busy,
            E::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Self::Full,
            // A server that goes away in the middle of a message.
            E::BeginFailed
            | E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::PoolClosed
            | E::WorkerCrashed
            | E::Configuration(_) => Self::Unreachable,
            E::ColumnDecode { .. } | E::Decode(_) => Self::Corrupt,
            _ => Self::Unexpected,
        }
    }

    fn of_database(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
            // Extended codes carry the primary one in the low byte.
            let code = code.parse::<i32>().unwrap_or(0);
            // SQLITE_CANTOPEN_NOTEMPDIR, SQLITE_IOERR_GETTEMPPATH.
            if [14 | 1 << 8, 10 | 25 << 8].contains(&code) {
                return Self::NoTemporary;
            }
            return match code & 0xff {
                // 15: another process changed how the file is locked while we waited.
                5 | 6 | 15 => Self::Busy,
                // 22: the file system takes no file as large.
                13 | 22 => Self::Full,
                3 | 8 => Self::ReadOnly,
                10 | 14 | 23 => Self::Unreachable,
                11 | 26 => Self::Corrupt,
                _ => Self::Unexpected,
            };
        }
        match code.as_ref() {
            "53100" => Self::Full,
            "25006" => Self::ReadOnly,
            "53300" | "55P03" | "40001" | "40P01" | "57014" => Self::Busy,
            "XX001" | "XX002" => Self::Corrupt,
            // No privilege; no such schema, table.
            "42501" | "3F000" | "42P01" => Self::Denied,
            // Prepared statements that another client has, or ours does not.
            "26000" | "42P05" => Self::Pooled,
            // Ended by the server for having been idle.
            "25P03" | "25P04" => Self::Unreachable,
            c if ["08", "28", "3D", "53", "57", "58"].iter().any(|class| c.starts_with(class)) => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }
}

/// The database did not do what it was asked. Nothing of the operation is kept.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {}", .kind.advice())]
pub struct StoreError {
    /// What was being done, such as `append events`.
    pub doing: &'static str,
    /// The group.
    pub kind: StoreErrorKind,
    /// The driver's words.
    #[source]
    pub source: sqlx::Error,
}

impl StoreError {
    /// Wraps an error of the driver.
    pub(super) fn new(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self { doing, kind: StoreErrorKind::of(&source), source }
    }
}

impl Classified for StoreError {
    fn class(&self) -> Class {
        match self.kind {
            StoreErrorKind::Corrupt | StoreErrorKind::Unexpected => Class::Broken,
            StoreErrorKind::Moved | StoreErrorKind::Denied | StoreErrorKind::Pooled | StoreErrorKind::NoTemporary => {
                Class::Rejected
            }
            _ => Class::Unavailable,
        }
    }
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither a path nor a URL we know.
    #[error("open log `{url}`: give a path, `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
    BadUrl {
        /// What was given, without a password.
        url: String,
        /// The driver's words, if it had any.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// A parameter of a URL that nobody would heed.
    #[error(
        "open log `{url}`: the URL's parameter `{parameter}` is not known and would be ignored; known are host, port, \
         dbname, user, password, sslmode, sslrootcert, sslcert, sslkey, application_name, options"
    )]
    Parameter {
        /// Where.
        url: String,
        /// Its name.
        parameter: String,
    },
    /// No log there, and it was not to be made.
    #[error("open log `{url}`: there is none; check the path, or make one with `koschei ingest`")]
    Missing {
        /// Where.
        url: String,
    },
    /// A database with nothing in it, opened for reading.
    #[error("open log `{url}`: the database is empty; `koschei serve`, `follow` and `ingest` make a log in it")]
    Empty {
        /// Where.
        url: String,
    },
    /// The database said no.
    #[error("open log `{url}`")]
    Store {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// An empty SQLite database that had a write-ahead log.
    #[error(
        "open log `{url}`: it is empty, and its write-ahead log `{url}-wal` is missing; it was copied without it, \
         perhaps. Copy logs with `sqlite3 LOG \"VACUUM INTO 'COPY'\"` or `koschei log export`; if this one never held \
         anything, delete it"
    )]
    LacksWal {
        /// Where.
        url: String,
    },
    /// What an import has left that did not come to its end.
    #[error(
        "open log `{url}`: it holds only a part of what was to be imported, up to event {whole}; import the same \
         export again (`koschei log import` goes on where it ended), or remove the log"
    )]
    Unfinished {
        /// Where.
        url: String,
        /// The last event of the export.
        whole: String,
    },
    /// A pooler without sessions.
    #[error(
        "open log `{url}`: a pooler is between that has no sessions (pgbouncer with pool_mode = transaction or \
         statement), or takes no options from the URL; set pool_mode = session for this database, or connect to the \
         server itself"
    )]
    Pooled {
        /// Where.
        url: String,
    },
    /// A PostgreSQL database that cannot hold all characters.
    #[error(
        "open log `{url}`: the database's encoding is {encoding}, which cannot hold every name; make one with \
         `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
    )]
    Encoding {
        /// Where.
        url: String,
        /// Its encoding.
        encoding: String,
    },
    /// A role without a schema to use.
    #[error(
        "open log `{url}`: role `{role}` finds no schema to use (its search_path is `{search_path}`); \
         `GRANT USAGE, CREATE ON SCHEMA public TO {role}`, \
         or make a schema for it: `CREATE SCHEMA AUTHORIZATION {role}`"
    )]
    NoSchema {
        /// Where.
        url: String,
        /// Whom we are there.
        role: String,
        /// Where it looks.
        search_path: String,
    },
    /// A role that may not make tables.
    #[error(
        "open log `{url}`: role `{role}` may not make tables in schema `{schema}`, as is usual since PostgreSQL 15; \
         `GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}`, or make the role the owner of the database"
    )]
    MayNotCreate {
        /// Where.
        url: String,
        /// Whom we are there.
        role: String,
        /// Where tables would be.
        schema: String,
    },
    /// A database, but of something else.
    #[error("open log `{url}`: it is not a koschei log; choose another file or database")]
    NotALog {
        /// Where.
        url: String,
    },
    /// A migration that was applied is not the one this program knows.
    #[error(
        "open log `{url}`: migration {number} `{name}` was applied with other contents than this program has; \
         use the release that wrote it, or export the log there and import it here"
    )]
    ChangedMigration {
        /// Where.
        url: String,
        /// Its number.
        number: i64,
        /// Its name, as stored.
        name: String,
    },
    /// A newer program migrated this database.
    #[error("open log `{url}`: it has migration {number} `{name}` of a newer koschei; upgrade this program")]
    NewerMigration {
        /// Where.
        url: String,
        /// The first unknown number.
        number: i64,
        /// Its name.
        name: String,
    },
    /// A newer program wrote something this one cannot read.
    #[error(
        "open log `{url}`: it needs a reader of format {needs}, this koschei reads up to {have}; upgrade this program"
    )]
    TooNew {
        /// Where.
        url: String,
        /// The stored `min_reader`.
        needs: u32,
        /// [`super::FORMAT`].
        have: u32,
    },
    /// Opened for reading, and it must be migrated first.
    #[error("open log `{url}` for reading: it must be migrated first; open it once for writing with this program")]
    NeedsMigration {
        /// Where.
        url: String,
    },
}

impl Classified for OpenError {
    fn class(&self) -> Class {
        match self {
            Self::Store { source, .. } => source.class(),
            _ => Class::Rejected,
        }
    }
}

/// Something could not be read, or is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that this program cannot have written.
    #[error("read event {seq}: {what}; run `koschei log verify` and restore from a backup")]
    Damaged {
        /// Its place.
        seq: Seq,
        /// What is wrong with it.
        what: String,
    },
    /// Something other than an event is not what was written.
    #[error("read {what}; run `koschei log verify` and restore from a backup")]
    Content {
        /// Which thing, and what is wrong with it.
        what: String,
    },
}

impl Classified for ReadError {
    fn class(&self) -> Class {
        match self {
            Self::Store(e) => e.class(),
            Self::Damaged { .. } | Self::Content { .. } => Class::Broken,
        }
    }
}

/// Messages could not be written into the inbox; none of them was.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The database said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is longer than any honest message.
    #[error("receive message `{id}`: its {what} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// The beginning of the message's id.
        id: String,
        /// Which part.
        what: &'static str,
        /// Its length, bytes.
        len: usize,
        /// The bound, bytes.
        max: usize,
    },
}

impl Classified for ReceiveError {
    fn class(&self) -> Class {
        match self {
            Self::Store(e) => e.class(),
            Self::TooLong { .. } => Class::Rejected,
        }
    }
}

/// A commit was not written. All or nothing: nothing of it is there.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended: there are two writers. Stop, don't retry.
    #[error(
        "append after {}: the log already ends at {}; another process writes this log, stop one of them",
        position(.expected), position(.found)
    )]
    Conflict {
        /// Where the caller thought the log ends.
        expected: Option<Seq>,
        /// Where it ends.
        found: Option<Seq>,
    },
    /// The log holds each fact once, and this one is there already.
    #[error("append event {seq}: fact {fact} is in the log already")]
    DuplicateFact {
        /// The event that was to be appended.
        seq: Seq,
        /// The fact, hexadecimal.
        fact: String,
    },
    /// A command with this id left or waits already.
    #[error("append command `{id}`: a command with this id exists already")]
    DuplicateCommand {
        /// The id.
        id: String,
    },
    /// The message is not in the inbox or was settled before.
    #[error("settle inbox message {position}: it is not pending")]
    NotPending {
        /// The first such position.
        position: u64,
    },
    /// The person's id or name exists with another name or id.
    #[error("append person `{id}`: id or name is taken by another")]
    DuplicatePerson {
        /// The id.
        id: String,
    },
    /// Somebody was erased since the stand-ins in the events were looked up; one of them may be theirs. Look them up
    /// again.
    #[error(
        "append: a person was erased meanwhile; their stand-in must not be used again, so what was to be appended is \
            made anew"
    )]
    Erased,
    /// The records do not follow each other without a gap.
    #[error("append: record {found} stands where {expected} belongs")]
    NotContiguous {
        /// The sequence that belongs there.
        expected: Seq,
        /// The one that stands there.
        found: Seq,
    },
    /// A record's hash is not the one that follows from its content and its predecessor.
    #[error("append event {seq}: its hash does not follow from its predecessor's")]
    BadHash {
        /// Its place.
        seq: Seq,
    },
    /// Recorded time would go back.
    #[error("append event {seq}: it is recorded before its predecessor")]
    TimeGoesBack {
        /// Its place.
        seq: Seq,
    },
    /// A record that cannot be stored in every database.
    #[error("append event {seq}: {what}")]
    Unstorable {
        /// Its place.
        seq: Seq,
        /// Why.
        what: &'static str,
    },
    /// An attachment whose digest is not that of its content, or that is too large.
    #[error("append attachment `{digest}`: {what}")]
    BadAttachment {
        /// As given.
        digest: String,
        /// Why.
        what: &'static str,
    },
    /// The log before the new records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classified for AppendError {
    fn class(&self) -> Class {
        match self {
            Self::Store(e) => e.class(),
            Self::Read(e) => e.class(),
            // The next attempt knows better.
            Self::Erased => Class::Unavailable,
            _ => Class::Broken,
        }
    }
}

fn position(seq: &Option<Seq>) -> String {
    seq.map_or_else(|| "the beginning".to_owned(), |s| format!("event {s}"))
}
