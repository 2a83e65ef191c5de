//! Checks commits and incoming messages before they reach a database. Both databases use the same
//! checks.

use std::collections::HashSet;

use rustc_hash::FxHashSet;

use super::codec::pack_blob;
use super::error::{AppendError, ReceiveError};
use super::types::{
    ATTACHMENT_BYTES_MAX, BODY_BYTES_MAX, Commit, Disposition, Fate, Head, Incoming, MESSAGE_ID_BYTES_MAX,
    PAYLOAD_BYTES_MAX, REASON_BYTES_MAX, SUBJECT_BYTES_MAX,
};
use crate::event::Record;
use crate::model::Seq;

/// An attachment in the form that is stored.
pub(super) struct PackedAttachment {
    pub(super) digest: [u8; 32],
    pub(super) content: Vec<u8>,
}

/// Checks everything about a commit that does not need the database, and packs its attachments.
pub(super) fn prepare(commit: &Commit) -> Result<Vec<PackedAttachment>, AppendError> {
    let mut facts = FxHashSet::default();
    for record in &commit.records {
        check_bounds(record)?;
        if let Some(fact) = record.fact
            && !facts.insert(fact)
        {
            return Err(AppendError::DuplicateFact { seq: record.seq, fact: fact.to_string() });
        }
    }
    let mut ids = HashSet::new();
    if let Some(twice) = commit.commands.iter().find(|c| !ids.insert(c.id.as_str())) {
        return Err(AppendError::DuplicateCommand { id: twice.id.clone() });
    }
    let mut positions = HashSet::new();
    if let Some(twice) = commit.settled.iter().find(|s| !positions.insert(s.position)) {
        return Err(AppendError::NotPending { position: twice.position.0 });
    }
    commit.attachments.iter().map(|a| pack(&a.digest, &a.content)).collect()
}

fn check_bounds(record: &Record) -> Result<(), AppendError> {
    let bad = |what| Err(AppendError::Unstorable { seq: record.seq, what });
    if record.payload.len() > PAYLOAD_BYTES_MAX {
        return bad("its payload is longer than 16 MiB; put the content into an attachment");
    }
    for text in [&record.subject, &record.kind, &record.source] {
        if text.len() > SUBJECT_BYTES_MAX {
            return bad("its subject, kind or source is longer than 1,024 bytes");
        }
        if text.contains('\0') {
            return bad("its subject, kind or source contains a NUL character, which PostgreSQL cannot store");
        }
    }
    Ok(())
}

fn pack(digest: &str, content: &[u8]) -> Result<PackedAttachment, AppendError> {
    let bad = |what| AppendError::BadAttachment { digest: digest.to_owned(), what };
    if content.len() > ATTACHMENT_BYTES_MAX {
        return Err(bad("it is larger than 512 MiB"));
    }
    let hash = blake3::hash(content);
    if hash.to_hex().as_str() != digest {
        return Err(bad("the digest is not the content's"));
    }
    let content = pack_blob(content).map_err(|_| bad("it cannot be compressed: out of memory"))?;
    Ok(PackedAttachment { digest: *hash.as_bytes(), content })
}

/// Checks that `records` follow `head` without a gap, each with the hash that follows from its
/// predecessor. Cost: one hash per record.
pub(super) fn check_chain(head: Head, records: &[Record]) -> Result<Head, AppendError> {
    let mut head = head;
    for record in records {
        let expected = Seq::after(head.seq);
        if record.seq != expected {
            return Err(AppendError::NotContiguous { expected, found: record.seq });
        }
        if record.recorded_at < head.recorded_at {
            return Err(AppendError::TimeGoesBack { seq: record.seq });
        }
        if record.chained(head.hash) != record.hash {
            return Err(AppendError::BadHash { seq: record.seq });
        }
        head = Head::of(record);
    }
    Ok(head)
}

/// Returns the stored state number and reason of a settled message.
pub(super) fn state_of(disposition: &Disposition) -> (i64, Option<String>) {
    match disposition {
        Disposition::Done => (DONE, None),
        Disposition::Ignored { reason } => (IGNORED, Some(cut_reason(reason))),
        Disposition::Parked { reason } => (PARKED, Some(cut_reason(reason))),
    }
}

/// Returns a reason in the form that is stored.
pub(super) fn cut_reason(reason: &str) -> String {
    clean(cut(reason, REASON_BYTES_MAX))
}

/// Returns what happened to a message, from its stored state number and reason.
pub(super) fn fate_of(state: i64, reason: Option<String>) -> Fate {
    let reason = reason.unwrap_or_default();
    match state {
        DONE => Fate::Settled(Disposition::Done),
        IGNORED => Fate::Settled(Disposition::Ignored { reason }),
        PARKED => Fate::Settled(Disposition::Parked { reason }),
        _ => Fate::Waits,
    }
}

const DONE: i64 = 1;
const IGNORED: i64 = 2;
const PARKED: i64 = 3;

/// A message in the form that is stored.
pub(super) struct PackedMessage {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) topic: String,
    pub(super) received_at: i64,
    pub(super) digest: [u8; 32],
    pub(super) body: Vec<u8>,
}

/// Checks limits and packs bodies. A NUL in an id, source or topic becomes U+FFFD, because
/// PostgreSQL cannot store it.
pub(super) fn pack_messages(messages: &[Incoming]) -> Result<Vec<PackedMessage>, ReceiveError> {
    messages
        .iter()
        .map(|m| {
            let bound = |what, len, max| {
                if len <= max {
                    return Ok(());
                }
                Err(ReceiveError::TooLong { id: cut(&m.id, 80).to_owned(), what, len, max })
            };
            bound("id", m.id.len(), MESSAGE_ID_BYTES_MAX)?;
            bound("source", m.source.len(), MESSAGE_ID_BYTES_MAX)?;
            bound("topic", m.topic.len(), MESSAGE_ID_BYTES_MAX)?;
            bound("body", m.body.len(), BODY_BYTES_MAX)?;
            let body = super::codec::pack_body(&m.body).map_err(|_| ReceiveError::TooLong {
                id: cut(&m.id, 80).to_owned(),
                what: "body",
                len: m.body.len(),
                max: BODY_BYTES_MAX,
            })?;
            Ok(PackedMessage {
                id: clean(&m.id),
                source: clean(&m.source),
                topic: clean(&m.topic),
                received_at: m.received_at.micros(),
                digest: *blake3::hash(&m.body).as_bytes(),
                body,
            })
        })
        .collect()
}

fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Returns the longest beginning of `text` within `max` bytes that ends between characters.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}
