//! Errors of the log, grouped by what the caller should do about them.

use sqlx::error::DatabaseError;

use crate::model::{Class, Classified, Seq};

/// A group of database errors. Each group needs a different reaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// Another process holds the lock, or the server has no free connection.
    Busy,
    /// No space is left on the device, or a quota is reached.
    Full,
    /// The file or server does not accept writes.
    ReadOnly,
    /// The file or server cannot be reached, or an I/O error occurred.
    Unreachable,
    /// The database file itself is damaged, or is not a database.
    Corrupt,
    /// The file is no longer at its path.
    Moved,
    /// The program's role lacks a right, or cannot see a schema or table.
    Denied,
    /// A pooler is between program and server, so sessions are not kept.
    Pooled,
    /// There is no directory for temporary files.
    NoTemporary,
    /// The database refused a statement that this program should not have sent.
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
                "no space left on the database's disk; free some: a running service then continues by itself, other \
                    commands must be run again; everything committed is kept"
            }
            Self::ReadOnly => "the database does not accept writes; check permissions of the file and its directory",
            Self::Unreachable => "the database cannot be reached; check path or URL, permissions, server and disk",
            Self::Corrupt => {
                "the database file is damaged or is not a database; restore a backup and compare with `koschei log \
                    verify`"
            }
            Self::Moved => {
                "the database's file was moved, deleted or replaced while it was open, so nothing is stored any \
                    more; put it back with its -wal file, or decide which one counts, and start again"
            }
            Self::Denied => {
                "the role may not do that, or cannot see the schema or table; grant what is named below (GRANT … TO \
                    the role in the URL), or make the role the owner of the database"
            }
            Self::Pooled => {
                "a pooler gives one connection to several clients; set pool_mode = session for this database, or \
                    connect to the server itself"
            }
            Self::NoTemporary => "there is no directory for temporary files; set TMPDIR to one that can be written",
            Self::Unexpected => "the database refused a statement; this is a defect, please report it",
        }
    }

    /// Classifies an error of the driver. SQLite result codes are listed at
    /// <https://www.sqlite.org/rescode.html>, those of PostgreSQL in its appendix A.
    fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Database(db) => Self::of_database(db.as_ref()),
            E::PoolTimedOut => Self::Busy,
            E::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Self::Full,
            // A server that goes away in the middle of a message gives such an error.
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
            // Extended codes have the primary code in the low byte.
            let code = code.parse::<i32>().unwrap_or(0);
            // SQLITE_CANTOPEN_NOTEMPDIR, SQLITE_IOERR_GETTEMPPATH.
            if [14 | 1 << 8, 10 | 25 << 8].contains(&code) {
                return Self::NoTemporary;
            }
            return match code & 0xff {
                // 15: another process changed how the file is locked while this one waited.
                5 | 6 | 15 => Self::Busy,
                // 22: the file system does not allow such a large file.
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
            // The role has no privilege, or cannot see the schema or table.
            "42501" | "3F000" | "42P01" => Self::Denied,
            // Another client has the prepared statement, or this client no longer has it.
            "26000" | "42P05" => Self::Pooled,
            // The server ended the session because it was idle.
            "25P03" | "25P04" => Self::Unreachable,
            c if ["08", "28", "3D", "53", "57", "58"].iter().any(|class| c.starts_with(class)) => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }
}

/// An error for a failed database operation. Nothing of the operation is kept.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {}", .kind.advice())]
pub struct StoreError {
    /// The operation, such as `append events`.
    pub doing: &'static str,
    /// Group of the error.
    pub kind: StoreErrorKind,
    /// The driver's error.
    #[source]
    pub source: sqlx::Error,
}

impl StoreError {
    /// Returns a function that wraps errors of the driver.
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

/// An error for a log that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is neither a path nor a known URL.
    #[error("open log `{url}`: give a path, `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
    BadUrl {
        /// The given address, without a password.
        url: String,
        /// The driver's error, if there was one.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// A parameter of the URL is not known and would be ignored.
    #[error(
        "open log `{url}`: the URL's parameter `{parameter}` is not known and would be ignored; known are host, port, \
         dbname, user, password, sslmode, sslrootcert, sslcert, sslkey, application_name, options"
    )]
    Parameter {
        /// Address of the log.
        url: String,
        /// Name of the parameter.
        parameter: String,
    },
    /// There is no log, and the options do not allow to create one.
    #[error("open log `{url}`: it does not exist; check the path, or create it with `koschei ingest`")]
    Missing {
        /// Address of the log.
        url: String,
    },
    /// The database is empty and was opened for reading.
    #[error("open log `{url}`: the database is empty; `koschei serve`, `follow` and `ingest` create a log in it")]
    Empty {
        /// Address of the log.
        url: String,
    },
    /// The database returned an error.
    #[error("open log `{url}`")]
    Store {
        /// Address of the log.
        url: String,
        /// The error.
        #[source]
        source: StoreError,
    },
    /// The SQLite database is empty, but it had a write-ahead log.
    #[error(
        "open log `{url}`: it is empty, and its write-ahead log `{url}-wal` is missing; perhaps the log was copied \
            without it. Copy logs with `sqlite3 LOG \"VACUUM INTO 'COPY'\"` or `koschei log export`; if this one \
            never held anything, delete it"
    )]
    LacksWal {
        /// Address of the log.
        url: String,
    },
    /// An import did not finish and left only a part.
    #[error(
        "open log `{url}`: its import is unfinished, the export ends at event {whole}; import the same export again \
            (`koschei log import` continues where it stopped), or remove the log"
    )]
    Unfinished {
        /// Address of the log.
        url: String,
        /// The last event of the export.
        whole: String,
    },
    /// A pooler without sessions is between program and server.
    #[error(
        "open log `{url}`: a pooler in between has no sessions (pgbouncer with pool_mode = transaction or \
            statement), or accepts no options from the URL; set pool_mode = session for this database, or connect to \
            the server itself"
    )]
    Pooled {
        /// Address of the log.
        url: String,
    },
    /// The PostgreSQL database cannot hold all characters.
    #[error(
        "open log `{url}`: the database's encoding is {encoding}, which cannot hold every name; make one with \
         `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
    )]
    Encoding {
        /// Address of the log.
        url: String,
        /// The database's encoding.
        encoding: String,
    },
    /// The role has no schema to use.
    #[error(
        "open log `{url}`: role `{role}` finds no schema to use (its search_path is `{search_path}`); \
         `GRANT USAGE, CREATE ON SCHEMA public TO {role}`, \
         or make a schema for it: `CREATE SCHEMA AUTHORIZATION {role}`"
    )]
    NoSchema {
        /// Address of the log.
        url: String,
        /// The role of this program.
        role: String,
        /// The role's `search_path`.
        search_path: String,
    },
    /// The role may not create tables.
    #[error(
        "open log `{url}`: role `{role}` may not create tables in schema `{schema}`, as is usual since PostgreSQL \
            15; `GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}`, or make the role the owner of the database"
    )]
    MayNotCreate {
        /// Address of the log.
        url: String,
        /// The role of this program.
        role: String,
        /// The schema for the tables.
        schema: String,
    },
    /// The database exists, but it is not a log.
    #[error("open log `{url}`: it is not a koschei log; choose another file or database")]
    NotALog {
        /// Address of the log.
        url: String,
    },
    /// A migration was applied with other contents than this program has.
    #[error(
        "open log `{url}`: migration {number} `{name}` was applied with other contents than this program has; \
         use the release that wrote it, or export the log there and import it here"
    )]
    ChangedMigration {
        /// Address of the log.
        url: String,
        /// Number of the migration.
        number: i64,
        /// Name of the migration, as stored.
        name: String,
    },
    /// A newer program migrated this database.
    #[error("open log `{url}`: it has migration {number} `{name}` of a newer koschei; upgrade this program")]
    NewerMigration {
        /// Address of the log.
        url: String,
        /// The first unknown number.
        number: i64,
        /// Its name, as stored.
        name: String,
    },
    /// A newer program wrote something this one cannot read.
    #[error(
        "open log `{url}`: it needs a reader of format {needs}, this koschei reads up to {have}; upgrade this program"
    )]
    TooNew {
        /// Address of the log.
        url: String,
        /// The stored `min_reader`.
        needs: u32,
        /// [`super::FORMAT`].
        have: u32,
    },
    /// The log was opened for reading, but it must be migrated first.
    #[error("open log `{url}` for reading: it must be migrated first; open it once for writing with this program")]
    NeedsMigration {
        /// Address of the log.
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

/// An error for data that cannot be read, or that differs from what was written.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This program cannot have written the row.
    #[error("read event {seq}: {what}; run `koschei log verify` and restore from a backup")]
    Damaged {
        /// The event's sequence.
        seq: Seq,
        /// The problem.
        what: String,
    },
    /// Data other than an event differs from what was written.
    #[error("read {what}; run `koschei log verify` and restore from a backup")]
    Content {
        /// The data and the problem.
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

/// An error for messages that could not be written into the inbox. None of them was written.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of a message is longer than allowed.
    #[error("receive message `{id}`: its {what} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// The beginning of the message's id.
        id: String,
        /// The part of the message.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
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

/// An error for a commit that was not written. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another process appended, so there are two writers. Stop, and do not retry.
    #[error(
        "append after {}: the log already ends at {}; another process writes this log, stop one of them",
        position(.expected), position(.found)
    )]
    Conflict {
        /// The end of the log that the caller expected.
        expected: Option<Seq>,
        /// The actual end of the log.
        found: Option<Seq>,
    },
    /// The fact is in the log already, and the log holds each fact only once.
    #[error("append event {seq}: fact {fact} is in the log already")]
    DuplicateFact {
        /// The event that was to be appended.
        seq: Seq,
        /// The fact, hexadecimal.
        fact: String,
    },
    /// A command with this id was sent or waits already.
    #[error("append command `{id}`: a command with this id exists already")]
    DuplicateCommand {
        /// The id.
        id: String,
    },
    /// The message is not in the inbox, or was settled before.
    #[error("settle inbox message {position}: it is not pending")]
    NotPending {
        /// The first such position.
        position: u64,
    },
    /// The person's id exists with another name, or the name with another id.
    #[error("append person `{id}`: id or name is taken by another")]
    DuplicatePerson {
        /// The id.
        id: String,
    },
    /// A person was erased since the caller looked up the ids in the events. One of these ids may
    /// be that person's. Look them up again.
    #[error(
        "append: a person was erased meanwhile; their stand-in must not be used again, so the commit is made again"
    )]
    Erased,
    /// The records do not follow each other without a gap.
    #[error("append: record {found} stands where {expected} belongs")]
    NotContiguous {
        /// The expected sequence.
        expected: Seq,
        /// The sequence that was found.
        found: Seq,
    },
    /// A record's hash does not follow from its content and its predecessor.
    #[error("append event {seq}: its hash does not follow from its predecessor's")]
    BadHash {
        /// The event's sequence.
        seq: Seq,
    },
    /// The event would be recorded before its predecessor.
    #[error("append event {seq}: it is recorded before its predecessor")]
    TimeGoesBack {
        /// The event's sequence.
        seq: Seq,
    },
    /// The record cannot be stored in every database.
    #[error("append event {seq}: {what}")]
    Unstorable {
        /// The event's sequence.
        seq: Seq,
        /// Reason.
        what: &'static str,
    },
    /// The attachment is too large, or its digest is not that of its content.
    #[error("append attachment `{digest}`: {what}")]
    BadAttachment {
        /// The digest as given.
        digest: String,
        /// Reason.
        what: &'static str,
    },
    /// The log before the new records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classified for AppendError {
    fn class(&self) -> Class {
        match self {
            Self::Store(e) => e.class(),
            Self::Read(e) => e.class(),
            // A retry looks up the ids again.
            Self::Erased => Class::Unavailable,
            _ => Class::Broken,
        }
    }
}

fn position(seq: &Option<Seq>) -> String {
    seq.map_or_else(|| "the beginning".to_owned(), |s| format!("event {s}"))
}
