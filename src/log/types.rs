//! Defines the data that goes into the log and comes out of it, for both databases.

use std::fmt;

use crate::event::{ChainHash, Record};
use crate::model::{PersonId, Seq, Timestamp};

/// Format that this program writes, and the newest that it can read. 2: payloads in blocks. A program that first writes
/// something an older one would misread stores its format as `min_reader`.
pub const FORMAT: u32 = 2;
/// Longest payload of one event, in bytes of JSON text.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Longest subject, kind or source, in bytes. PostgreSQL's B-tree accepts at most 2,704 bytes per
/// entry.
pub const SUBJECT_BYTES_MAX: usize = 1024;
/// Largest attachment, in bytes before compression.
pub const ATTACHMENT_BYTES_MAX: usize = 512 << 20;
/// Largest message body in the inbox, in bytes before compression.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Longest message id, source or topic, in bytes.
pub const MESSAGE_ID_BYTES_MAX: usize = 1024;
/// Largest snapshot, in bytes before compression.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Longest reason kept with a settled message, in bytes. Longer ones are cut.
pub const REASON_BYTES_MAX: usize = 2000;
/// Most rows that any paged read returns, whatever the caller asks for.
pub const PAGE_MAX: usize = 10_000;

/// The end of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The last event. `None` for an empty log.
    pub seq: Option<Seq>,
    /// Hash of the last event. [`ChainHash::GENESIS`] for an empty log.
    pub hash: ChainHash,
    /// Time at which it was recorded. The epoch for an empty log.
    pub recorded_at: Timestamp,
}

impl Head {
    /// The head of a log without events.
    pub const EMPTY: Self = Self { seq: None, hash: ChainHash::GENESIS, recorded_at: Timestamp::EPOCH };

    /// Returns the head after `record`.
    pub const fn of(record: &Record) -> Self {
        Self { seq: Some(record.seq), hash: record.hash, recorded_at: record.recorded_at }
    }
}

impl fmt::Display for Head {
    /// Writes `SEQ:HASH`, as `koschei log verify --head` takes it. `0:…` for an empty log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq.map_or(0, Seq::get), self.hash)
    }
}

/// One transaction. All of it is written, or nothing is.
#[derive(Clone, Default, Debug)]
pub struct Commit {
    /// New events, contiguous after the expected end and chained by hash. May be empty.
    pub records: Vec<Record>,
    /// Parked inbox messages that wait again. The same commit may also settle them.
    pub retried: Vec<Position>,
    /// Inbox messages that this commit settles.
    pub settled: Vec<Settled>,
    /// Commands that follow from the events.
    pub commands: Vec<OutboxCommand>,
    /// What is said on a bus about the events.
    pub announcements: Vec<Announcement>,
    /// Changes that are to be announced later, or not any more (`None`), by subject.
    pub held: Vec<(String, Option<HeldChange>)>,
    /// Attachments to which the events refer by digest.
    pub attachments: Vec<Attachment>,
    /// New persons: the id used in events, and the name.
    pub persons: Vec<(PersonId, String)>,
    /// Number of erasures ([`EventLog::erasures`](super::EventLog::erasures)) at the time when the
    /// person ids in the events were looked up. `None` if the events contain no person ids.
    pub persons_as_of: Option<u64>,
}

/// Position of a message in the inbox. Positions follow the order in which messages were received.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How a message was settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// The message's facts are in the log.
    Done,
    /// The message contains nothing to keep.
    Ignored {
        /// Reason.
        reason: String,
    },
    /// The message could not be understood. It is kept and can be tried again after an upgrade.
    Parked {
        /// Reason.
        reason: String,
    },
}

impl Disposition {
    /// Returns the name used in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Ignored { .. } => "ignored",
            Self::Parked { .. } => "parked",
        }
    }
}

/// A message and how it was settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Position of the message.
    pub position: Position,
    /// How it was settled.
    pub disposition: Disposition,
}

/// A command that is sent after its event is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxCommand {
    /// Id that is never used again. The receiver drops a second command with the same id.
    pub id: String,
    /// The event that caused it.
    pub seq: Seq,
    /// The action, in the imperative.
    pub kind: String,
    /// The command as JSON text.
    pub payload: String,
}

/// A message about an event, for whoever listens to a bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Id of the message, the same each time it is sent ([`super::announcements::id_of`]).
    pub id: String,
    /// The event that it announces.
    pub seq: Seq,
    /// Subject of that event. Announcements of one subject leave in their order.
    pub subject: String,
    /// Time at which the event was recorded.
    pub made_at: Timestamp,
    /// Topic, without the prefix that the configuration puts before it.
    pub topic: String,
    /// Headers of the message: a JSON object of texts, whole numbers, and true or false.
    pub headers: String,
    /// Body of the message.
    pub body: String,
    /// Owners of the packages that it names. Their names are added when it is sent.
    pub people: Vec<PersonId>,
}

/// A change of state that is announced once it has stood for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldChange {
    /// The event of the last change.
    pub seq: Seq,
    /// The word for the state before the first change that was not announced.
    pub old: String,
}

/// What was said in an announcement, as far as later ones depend on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaidBefore {
    /// Its subject.
    pub subject: String,
    /// Its topic.
    pub topic: String,
    /// Time at which its event was recorded.
    pub made_at: Timestamp,
    /// Its body.
    pub body: String,
}

/// What waits to be announced, and what cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AnnouncementCounts {
    /// Announcements that no broker has confirmed yet.
    pub waiting: u64,
    /// Time at which the event of the first of these was recorded. `None` if none waits.
    pub oldest: Option<Timestamp>,
    /// Announcements that no broker takes, whenever they are sent.
    pub unsendable: u64,
}

/// Content too large for an event. The event names it by digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// BLAKE3 of the content, 64 hexadecimal digits.
    pub digest: String,
    /// The uncompressed content.
    pub content: Vec<u8>,
}

impl Attachment {
    /// Makes an attachment of content. Cost: one hash over the content.
    pub fn new(content: Vec<u8>) -> Self {
        Self { digest: blake3::hash(&content).to_hex().to_string(), content }
    }
}

/// A message as it is received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Id, unique for ever among messages of all sources.
    pub id: String,
    /// Configured name of the source.
    pub source: String,
    /// Topic or subject on the bus.
    pub topic: String,
    /// Time at which it was received.
    pub received_at: Timestamp,
    /// The body as received.
    pub body: Vec<u8>,
}

/// The result of receiving a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// The message is in the inbox.
    Stored {
        /// Its position.
        position: Position,
    },
    /// A message with this id was received before, however long ago.
    Duplicate,
}

impl Received {
    /// Counts the new messages and the duplicates.
    pub fn counts<'a>(all: impl IntoIterator<Item = &'a Self>) -> (usize, usize) {
        let (old, new): (Vec<&Self>, Vec<&Self>) = all.into_iter().partition(|r| matches!(r, Self::Duplicate));
        (new.len(), old.len())
    }
}

/// A message that waits to be settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// The message's position.
    pub position: Position,
    /// The message as received.
    pub message: Incoming,
}

/// What has happened to a message so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The message waits.
    Waits,
    /// The message was settled.
    Settled(Disposition),
}

/// A message that was received, whatever happened to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastMessage {
    /// Its source.
    pub source: String,
    /// Its topic.
    pub topic: String,
    /// Time at which it was received.
    pub received_at: Timestamp,
    /// The body as received, unless it was pruned.
    pub body: Option<Vec<u8>>,
}

/// A message that could not be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// The message's position.
    pub position: Position,
    /// The message's id.
    pub id: String,
    /// The message's source.
    pub source: String,
    /// The message's topic.
    pub topic: String,
    /// Time at which it was received.
    pub received_at: Timestamp,
    /// Reason why it was parked.
    pub reason: String,
}

/// Number of messages in each state, and of waiting commands. Cost: proportional to what waits, but
/// `inbox_total` is O(1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Messages ever received, without duplicates.
    pub inbox_total: u64,
    /// Messages that wait to be settled.
    pub inbox_pending: u64,
    /// Parked messages: those that could not be understood.
    pub inbox_parked: u64,
    /// Commands that were not sent yet.
    pub outbox_pending: u64,
}

/// The subjects to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subjects<'a> {
    /// Exactly this subject.
    Exactly(&'a str),
    /// All subjects that begin with this text.
    Under(&'a str),
}

/// The state at one event, from which folding may start. It is disposable, because everything in it
/// follows from the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The last event folded into it.
    pub seq: Seq,
    /// Chain hash of that event. After a backup was restored, the log may have another event with
    /// this sequence.
    pub hash: ChainHash,
    /// Name and version of the program that made it.
    pub program: String,
    /// Version of the state's layout. A state of another layout cannot be restored.
    pub state_version: u32,
    /// BLAKE3 of `bytes`, 64 hexadecimal digits.
    pub digest: String,
    /// The encoded state.
    pub bytes: std::sync::Arc<Vec<u8>>,
}

/// A stored snapshot without its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSnapshot {
    /// As in [`Snapshot`].
    pub seq: Seq,
    /// As in [`Snapshot`].
    pub hash: ChainHash,
    /// As in [`Snapshot`].
    pub program: String,
    /// As in [`Snapshot`].
    pub state_version: u32,
    /// Size in the database.
    pub stored_bytes: u64,
}

/// The snapshots of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshots {
    /// All of them, oldest first.
    pub kept: Vec<StoredSnapshot>,
    /// Size on disk of everything else in the database.
    pub others_bytes: u64,
}

/// Facts about the log itself. The hash chain does not cover them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogInfo {
    /// Random id, 32 hexadecimal digits. It distinguishes logs.
    pub log_id: String,
    /// Time at which the log was created, by the database's clock.
    pub created_at: Timestamp,
    /// Oldest format whose readers can read it.
    pub min_reader: u32,
    /// Number of the last migration.
    pub schema_version: i64,
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// Last event of an import that was begun and is not finished.
    pub importing: Option<Seq>,
}
