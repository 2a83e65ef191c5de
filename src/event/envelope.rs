//! Defines the envelope of an event, the record that is stored, and the hash chain of records.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::DecodeError;
use super::kinds::Event;
use crate::model::{Seq, Timestamp};

/// The origin of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A recorded message. It counts as the fact, because there is no hub to ask.
    Recording,
    /// A message from a live bus. It counts as the fact, because there is no hub to ask.
    Bus,
    /// Read from the hub, after a hint said where to look.
    Hub,
    /// Found by comparing with the hub. No hint had led there, or a hint had been wrong.
    Reconciliation,
    /// Read from an archive directory beside a recording.
    Archive,
    /// A person, by command line, web or API, or the configuration file.
    Operator,
    /// The service itself.
    Engine,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 7] =
        [Self::Recording, Self::Bus, Self::Hub, Self::Reconciliation, Self::Archive, Self::Operator, Self::Engine];

    /// Returns the stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Bus => "bus",
            Self::Hub => "hub",
            Self::Reconciliation => "reconciliation",
            Self::Archive => "archive",
            Self::Operator => "operator",
            Self::Engine => "engine",
        }
    }

    /// Parses the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Returns whether the hub itself was asked. The times in the fact are then the hub's own and
    /// say when things happened there, however late we heard of them.
    pub const fn asked_hub(self) -> bool {
        matches!(self, Self::Hub | Self::Reconciliation)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Identity of a fact: the first 16 bytes of BLAKE3 over its identity text. The log holds each fact
/// at most once.
///
/// For a fact from a hub, the text says what the fact *is* (instance, table, key, Koji event). A
/// hint, reconciliation and a retry therefore give the same identity. Without a hub, the text is
/// the message's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId(pub [u8; 16]);

impl FactId {
    /// Computes the identity from its text, such as `primary/message/0a76…/0`.
    pub fn of(text: &str) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        Self(id)
    }
}

impl fmt::Debug for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Hash of a record. It includes the predecessor's hash, and so covers the whole log up to the
/// record. BLAKE3, 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// Stands in for the predecessor of the first record.
    pub const GENESIS: Self = Self([0; 32]);

    /// Parses 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An event that is about to be appended. The appender adds sequence, recorded time and hash.
#[derive(Clone, PartialEq, Debug)]
pub struct NewEvent {
    /// What happened.
    pub event: Event,
    /// Time at which it happened, as far as known.
    pub occurred_at: Timestamp,
    /// Origin of the event.
    pub source: Source,
    /// Identity of the fact, if the event is a fact.
    pub fact: Option<FactId>,
    /// Koji's event number, if known.
    pub koji_event: Option<i64>,
    /// The event that caused this one.
    pub causation: Option<Seq>,
    /// The first event of the whole chain of causes.
    pub correlation: Option<Seq>,
}

/// An event with its position in the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Envelope {
    /// The event's position.
    pub seq: Seq,
    /// Time at which it was recorded. It is never before that of an earlier record.
    pub recorded_at: Timestamp,
    /// Time at which it happened, as far as known.
    pub occurred_at: Timestamp,
    /// Origin of the event.
    pub source: Source,
    /// Identity of the fact, if the event is a fact.
    pub fact: Option<FactId>,
    /// Koji's event number, if known.
    pub koji_event: Option<i64>,
    /// The event that caused this one.
    pub causation: Option<Seq>,
    /// The first event of the whole chain of causes.
    pub correlation: Option<Seq>,
    /// What happened.
    pub event: Event,
}

/// An event as it is stored: text and numbers that are not interpreted.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// The record's position.
    pub seq: Seq,
    /// Time at which it was recorded.
    pub recorded_at: Timestamp,
    /// Time at which it happened.
    pub occurred_at: Timestamp,
    /// Name of the kind.
    pub kind: String,
    /// Version of the kind.
    pub version: u16,
    /// The word for [`Source`].
    pub source: String,
    /// Identity of the fact.
    pub fact: Option<FactId>,
    /// Koji's event number.
    pub koji_event: Option<i64>,
    /// Subject of the event, see [`Event::subject`].
    pub subject: String,
    /// The event that caused this one.
    pub causation: Option<Seq>,
    /// The first event of the whole chain of causes.
    pub correlation: Option<Seq>,
    /// The payload as JSON text, exactly as written.
    pub payload: String,
    /// Hash over the predecessor's hash and all fields above.
    pub hash: ChainHash,
}

impl Record {
    /// Makes the record that follows one with hash `previous`.
    pub fn new(seq: Seq, recorded_at: Timestamp, new: &NewEvent, previous: ChainHash) -> Self {
        let kind = new.event.kind();
        let mut record = Self {
            seq,
            recorded_at,
            occurred_at: new.occurred_at,
            kind: kind.name.to_owned(),
            version: kind.version,
            source: new.source.as_str().to_owned(),
            fact: new.fact,
            koji_event: new.koji_event,
            subject: new.event.subject(),
            causation: new.causation,
            correlation: new.correlation,
            payload: new.event.payload(),
            hash: ChainHash::GENESIS,
        };
        record.hash = record.chained(previous);
        record
    }

    /// Computes the hash that this record must have after one with hash `previous`. Cost: one pass
    /// over the payload.
    ///
    /// Every column is hashed, each with a length or a presence byte, so that two different records
    /// never give the same bytes.
    pub fn chained(&self, previous: ChainHash) -> ChainHash {
        let mut head = Vec::with_capacity(320 + self.subject.len() + self.payload.len());
        head.extend_from_slice(b"koschei record 1\0");
        head.extend_from_slice(&previous.0);
        head.extend_from_slice(&self.seq.get().to_le_bytes());
        head.extend_from_slice(&self.recorded_at.micros().to_le_bytes());
        head.extend_from_slice(&self.occurred_at.micros().to_le_bytes());
        head.extend_from_slice(&self.version.to_le_bytes());
        for text in [&self.kind, &self.source, &self.subject] {
            head.extend_from_slice(&(text.len() as u64).to_le_bytes());
            head.extend_from_slice(text.as_bytes());
        }
        optional(&mut head, self.fact.as_ref().map(|f| &f.0[..]));
        optional(&mut head, self.koji_event.map(i64::to_le_bytes).as_ref().map(|b| &b[..]));
        optional(&mut head, self.causation.map(|s| s.get().to_le_bytes()).as_ref().map(|b| &b[..]));
        optional(&mut head, self.correlation.map(|s| s.get().to_le_bytes()).as_ref().map(|b| &b[..]));
        head.extend_from_slice(&(self.payload.len() as u64).to_le_bytes());
        head.extend_from_slice(self.payload.as_bytes());
        ChainHash(*blake3::hash(&head).as_bytes())
    }

    /// Decodes the record.
    ///
    /// # Errors
    /// Returns [`DecodeError`] (broken) if the kind or source is not known, or the payload cannot
    /// be read.
    pub fn decode(&self) -> Result<Envelope, DecodeError> {
        let event = Event::decode(&self.kind, self.version, &self.payload)?;
        let source = Source::parse(&self.source).ok_or_else(|| DecodeError::UnknownKind {
            name: format!("source {}", self.source),
            version: self.version,
        })?;
        Ok(Envelope {
            seq: self.seq,
            recorded_at: self.recorded_at,
            occurred_at: self.occurred_at,
            source,
            fact: self.fact,
            koji_event: self.koji_event,
            causation: self.causation,
            correlation: self.correlation,
            event,
        })
    }
}

fn optional(head: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => head.push(0),
        Some(bytes) => {
            head.push(1);
            head.extend_from_slice(bytes);
        }
    }
}
