//! Messages of the inbox as rows, the same for every database.

use std::collections::HashMap;

use super::append::fate_of;
use super::codec;
use super::error::ReadError;
use super::rows::unsigned;
use super::types::{BODY_BYTES_MAX, Fate, Incoming, PAGE_MAX, Pending, Position};
use crate::model::Timestamp;

/// Position, id, source, topic, when it came in, digest and body.
pub(super) type PendingRow = (i64, String, String, String, i64, Vec<u8>, Option<Vec<u8>>);
/// The same of a parked one, and why it was parked.
pub(super) type ParkedRow = (i64, String, String, String, i64, Vec<u8>, Option<Vec<u8>>, String);
/// Id, state and reason.
pub(super) type FateRow = (String, i64, Option<String>);

/// A message that waits.
pub(super) fn pending(row: PendingRow) -> Result<Pending, ReadError> {
    let (position, id, source, topic, received_at, digest, body) = row;
    let body = codec::unpack_body(body, &digest, BODY_BYTES_MAX)
        .map_err(|e| ReadError::Content { what: format!("message {position} of the inbox: {e}") })?;
    let message = Incoming { id, source, topic, received_at: Timestamp(received_at), body };
    Ok(Pending { position: Position(unsigned(position)), message })
}

/// A message that was parked, and why.
pub(super) fn parked(row: ParkedRow) -> Result<(Pending, String), ReadError> {
    let (position, id, source, topic, received_at, digest, body, reason) = row;
    Ok((pending((position, id, source, topic, received_at, digest, body))?, reason))
}

/// What was found in the inbox up to `last`, and up to where it was looked through: a full page says nothing about what
/// comes after it.
pub(super) fn looked_through(
    rows: Vec<PendingRow>,
    last: i64,
    limit: usize,
) -> Result<(Vec<Pending>, Option<Position>), ReadError> {
    let whole = rows.len() < limit.min(PAGE_MAX);
    let found = rows.into_iter().map(pending).collect::<Result<Vec<_>, _>>()?;
    let through = match found.last() {
        Some(p) if !whole => p.position,
        _ => Position(unsigned(last)),
    };
    Ok((found, Some(through)))
}

/// What became of each of the messages asked for.
pub(super) fn in_order(ids: &[&str], rows: Vec<FateRow>) -> Vec<Option<Fate>> {
    let mut known: HashMap<String, Fate> =
        rows.into_iter().map(|(id, state, reason)| (id, fate_of(state, reason))).collect();
    ids.iter().map(|id| known.remove(*id)).collect()
}
