//! What goes into the log and comes out of it, the same for every database.

use std::fmt;

use crate::event::{ChainHash, Record};
use crate::model::{PersonId, Seq, Timestamp};

/// Format of what this program writes, and the newest it can read; stored as `min_reader` by the program that first
/// writes something an older one would misread.
pub const FORMAT: u32 = 1;
/// Longest payload of one event, bytes of JSON text.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Longest subject, kind or source, bytes. PostgreSQL's B-tree takes at most 2,704 bytes per entry.
pub const SUBJECT_BYTES_MAX: usize = 1024;
/// Largest attachment, bytes before compression.
pub const ATTACHMENT_BYTES_MAX: usize = 512 << 20;
/// Largest message body in the inbox, bytes before compression.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Longest message id, source or topic, bytes.
pub const MESSAGE_ID_BYTES_MAX: usize = 1024;
/// Largest snapshot, bytes before compression.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Longest reason kept with a settled message, bytes; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 2000;
/// How many snapshots are kept; older ones are deleted when a new one is put.
pub const SNAPSHOTS_KEPT: i64 = 3;
/// Most rows that any paged read returns, whatever the caller asks for.
pub const PAGE_MAX: usize = 10_000;

/// The end of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The last event; `None` for an empty log.
    pub seq: Option<Seq>,
    /// Its hash; [`ChainHash::GENESIS`] for an empty log.
    pub hash: ChainHash,
    /// When it was recorded; the epoch for an empty log.
    pub recorded_at: Timestamp,
}

impl Head {
    /// Of a log without events.
    pub const EMPTY: Self = Self { seq: None, hash: ChainHash::GENESIS, recorded_at: Timestamp::EPOCH };

    /// The head after `record`.
    pub const fn of(record: &Record) -> Self {
        Self { seq: Some(record.seq), hash: record.hash, recorded_at: record.recorded_at }
    }
}

impl fmt::Display for Head {
    /// `SEQ:HASH`, as `koschei log verify --head` takes it; `0:…` for an empty log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq.map_or(0, Seq::get), self.hash)
    }
}

/// One transaction: all of it or nothing.
#[derive(Clone, Default, Debug)]
pub struct Commit {
    /// New events, contiguous after the expected end and chained by hash. May be empty.
    pub records: Vec<Record>,
    /// Inbox messages that were set aside and wait once more. One that is settled by this commit, too, is dealt with
    /// again.
    pub retried: Vec<Position>,
    /// Inbox messages that are dealt with by this commit.
    pub settled: Vec<Settled>,
    /// Commands that leave because of the events.
    pub commands: Vec<OutboxCommand>,
    /// What the events refer to by digest.
    pub attachments: Vec<Attachment>,
    /// New people, by the id events use.
    pub persons: Vec<(PersonId, String)>,
    /// As of which erasure ([`EventLog::erasures`](super::EventLog::erasures)) the stand-ins were looked up that stand
    /// in the events; `None`: there are none.
    pub persons_as_of: Option<u64>,
}

/// Place of a message in the inbox; the order in which messages came in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Its facts are in the log.
    Done,
    /// It says nothing we keep.
    Ignored {
        /// Why.
        reason: String,
    },
    /// It could not be understood; kept to be retried after an upgrade.
    Parked {
        /// Why.
        reason: String,
    },
}

impl Disposition {
    /// Its name, as metrics have it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Ignored { .. } => "ignored",
            Self::Parked { .. } => "parked",
        }
    }
}

/// A message and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Which message.
    pub position: Position,
    /// What became of it.
    pub disposition: Disposition,
}

/// A command that leaves after its event is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxCommand {
    /// Unique for ever; the receiver drops a second one with the same id.
    pub id: String,
    /// The event that caused it.
    pub seq: Seq,
    /// What is to be done, imperative.
    pub kind: String,
    /// JSON text.
    pub payload: String,
}

/// Content too large for an event, named in it by digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// BLAKE3 of the content, 64 hexadecimal digits.
    pub digest: String,
    /// Uncompressed.
    pub content: Vec<u8>,
}

impl Attachment {
    /// Of content. Cost: one hash over it.
    pub fn new(content: Vec<u8>) -> Self {
        Self { digest: blake3::hash(&content).to_hex().to_string(), content }
    }
}

/// A message as it comes in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Unique for ever among messages of all sources.
    pub id: String,
    /// Which source it came from, by its configured name.
    pub source: String,
    /// Topic or subject on the bus.
    pub topic: String,
    /// When it came in.
    pub received_at: Timestamp,
    /// As received.
    pub body: Vec<u8>,
}

/// What happened to an incoming message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// It stands in the inbox.
    Stored {
        /// Where.
        position: Position,
    },
    /// A message with this id came before, however long ago.
    Duplicate,
}

impl Received {
    /// How many are new, and how many had come before.
    pub fn counts<'a>(all: impl IntoIterator<Item = &'a Self>) -> (usize, usize) {
        let (old, new): (Vec<&Self>, Vec<&Self>) = all.into_iter().partition(|r| matches!(r, Self::Duplicate));
        (new.len(), old.len())
    }
}

/// A message that waits to be dealt with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Its place.
    pub position: Position,
    /// As received.
    pub message: Incoming,
}

/// What became of a message so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing yet.
    Waits,
    /// It was settled.
    Settled(Disposition),
}

/// A message that came in, whatever became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastMessage {
    /// Its source.
    pub source: String,
    /// Its topic.
    pub topic: String,
    /// When it came in.
    pub received_at: Timestamp,
    /// As received, unless it was pruned.
    pub body: Option<Vec<u8>>,
}

/// A message that could not be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// Its place.
    pub position: Position,
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its topic.
    pub topic: String,
    /// When it came in.
    pub received_at: Timestamp,
    /// Why it was parked.
    pub reason: String,
}

/// How many messages are in which state, and how many commands wait. Cost: proportional to what waits, but
/// `inbox_total` is O(1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Messages ever received, duplicates not counted.
    pub inbox_total: u64,
    /// Messages that wait to be dealt with.
    pub inbox_pending: u64,
    /// Messages that could not be understood.
    pub inbox_parked: u64,
    /// Commands that were not sent yet.
    pub outbox_pending: u64,
}

/// Which subjects to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subjects<'a> {
    /// This one.
    Exactly(&'a str),
    /// All that begin with this text.
    Under(&'a str),
}

/// The state at one event, to begin folding from. Disposable: everything in it follows from the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The last event that is folded in.
    pub seq: Seq,
    /// Its chain hash: after a restore the log may have another event of that number.
    pub hash: ChainHash,
    /// Version of the program that made it.
    pub program: String,
    /// Version of the state's layout; another one cannot be restored.
    pub state_version: u32,
    /// Digest of the state, as the fold computes it.
    pub digest: String,
    /// Encoded state.
    pub bytes: Vec<u8>,
}

/// About the log itself. Not covered by the hash chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogInfo {
    /// Random, 32 hexadecimal digits; tells two logs apart.
    pub log_id: String,
    /// When it was made, by the database's clock.
    pub created_at: Timestamp,
    /// Oldest format number that can read it.
    pub min_reader: u32,
    /// Number of the last migration.
    pub schema_version: i64,
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// An import that was begun and is not over: the last event it leads to.
    pub importing: Option<Seq>,
}
