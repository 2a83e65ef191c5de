//! Converts rows of the inbox to messages, for both databases.

use std::collections::HashMap;

use super::append::fate_of;
use super::codec;
use super::error::ReadError;
use super::rows::unsigned;
use super::types::{BODY_BYTES_MAX, Fate, Incoming, PAGE_MAX, Pending, Position};
use crate::model::Timestamp;

/// Position, id, source, topic, time received, digest and body.
pub(super) type PendingRow = (i64, String, String, String, i64, Vec<u8>, Option<Vec<u8>>);
/// A [`PendingRow`] of a parked message, with the reason why it was parked.
pub(super) type ParkedRow = (i64, String, String, String, i64, Vec<u8>, Option<Vec<u8>>, String);
/// Id, state number and reason.
pub(super) type FateRow = (String, i64, Option<String>);

/// Converts the row of a waiting message.
pub(super) fn pending(row: PendingRow) -> Result<Pending, ReadError> {
    let (position, id, source, topic, received_at, digest, body) = row;
    let body = codec::unpack_body(body, &digest, BODY_BYTES_MAX)
        .map_err(|e| ReadError::Content { what: format!("message {position} of the inbox: {e}") })?;
    let message = Incoming { id, source, topic, received_at: Timestamp(received_at), body };
    Ok(Pending { position: Position(unsigned(position)), message })
}

/// Converts the row of a parked message, with its reason.
pub(super) fn parked(row: ParkedRow) -> Result<(Pending, String), ReadError> {
    let (position, id, source, topic, received_at, digest, body, reason) = row;
    Ok((pending((position, id, source, topic, received_at, digest, body))?, reason))
}

/// Returns the messages found in the inbox up to `last`, and the position up to which the inbox was
/// searched. After a full page, that is the position of its last message, because more may follow.
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

/// Returns what happened to each of the messages, in the order of `ids`.
pub(super) fn in_order(ids: &[&str], rows: Vec<FateRow>) -> Vec<Option<Fate>> {
    let mut known: HashMap<String, Fate> =
        rows.into_iter().map(|(id, state, reason)| (id, fate_of(state, reason))).collect();
    ids.iter().map(|id| known.remove(*id)).collect()
}
