//! Converts rows to records, for both databases.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use sqlx::{ColumnIndex, Database, Decode, Row, Type};

use super::error::ReadError;
use super::payloads::PayloadDecoder;
use super::types::{Head, OutboxCommand, StoredSnapshot};
use crate::event::{ChainHash, FactId, Record};
use crate::model::{Seq, Timestamp};

/// Number of rows that are made into records at once, if they are not consecutive. Each may need a
/// block of its own.
pub(super) const ROWS_AT_ONCE: usize = 1000;

/// Sequence of the last event, its hash, and the time at which it was recorded.
pub(super) type HeadRow = (i64, Vec<u8>, i64);

/// Sequence of a snapshot's event, program, digest of the bytes, packed bytes, and hash of the
/// event.
pub(super) type SnapshotRow = (i64, String, String, Vec<u8>, Vec<u8>);
/// Sequence of a snapshot's event, version, program, hash of the event, and length.
pub(super) type StoredSnapshotRow = (i64, i64, String, Vec<u8>, i64);

/// Converts the rows of a list of snapshots. A row that means nothing to this program is left out.
pub(super) fn stored_snapshots(rows: Vec<StoredSnapshotRow>) -> Vec<StoredSnapshot> {
    let stored = |(seq, version, program, hash, length): StoredSnapshotRow| {
        let (seq, hash) = (Seq::new(unsigned(seq))?, hash.try_into().map(ChainHash).ok()?);
        let state_version = u32::try_from(version).ok()?;
        Some(StoredSnapshot { seq, hash, program, state_version, stored_bytes: unsigned(length) })
    };
    rows.into_iter().filter_map(stored).collect()
}

/// A row of the events table, not interpreted.
pub(super) struct RawRow {
    pub(super) seq: Seq,
    recorded_at: i64,
    occurred_at: i64,
    pub(super) kind: i64,
    version: i64,
    pub(super) source: i64,
    fact: Option<Vec<u8>>,
    koji_event: Option<i64>,
    pub(super) subject: i64,
    causation: Option<i64>,
    correlation: Option<i64>,
    pub(super) encoding: i64,
    payload: Vec<u8>,
    hash: Vec<u8>,
}

impl RawRow {
    /// Reads a row whose columns are in the order of the fields.
    pub(super) fn of<R: Row>(row: &R) -> Result<Self, ReadError>
    where
        usize: ColumnIndex<R>,
        for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
        R::Database: Database,
    {
        let seq = row
            .try_get::<i64, _>(0)
            .ok()
            .and_then(sequence)
            .ok_or_else(|| ReadError::Content { what: "an event: its sequence is not positive".to_owned() })?;
        let columns = || -> Result<Self, sqlx::Error> {
            Ok(Self {
                seq,
                recorded_at: row.try_get(1)?,
                occurred_at: row.try_get(2)?,
                kind: row.try_get(3)?,
                version: row.try_get(4)?,
                source: row.try_get(5)?,
                fact: row.try_get(6)?,
                koji_event: row.try_get(7)?,
                subject: row.try_get(8)?,
                causation: row.try_get(9)?,
                correlation: row.try_get(10)?,
                encoding: row.try_get(11)?,
                payload: row.try_get(12)?,
                hash: row.try_get(13)?,
            })
        };
        columns().map_err(|e| ReadError::Damaged { seq, what: e.to_string() })
    }
}

/// Unpacks rows that SQLite's `PACKED_PAGE` has joined. Each row consists of decimal numbers that
/// end in a blank (an absent one is empty), and then of the bytes whose lengths are among the
/// numbers. Returns `None` if the bytes do not have that form.
pub(super) fn unpack(packed: &[u8], count: usize) -> Option<Vec<RawRow>> {
    let mut rest = Packed(packed);
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        rows.push(rest.row()?);
    }
    (rest.0.is_empty() && rows.is_sorted_by(|a: &RawRow, b| a.seq < b.seq)).then_some(rows)
}

struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn row(&mut self) -> Option<RawRow> {
        let seq = sequence(self.number()??)?;
        let (recorded_at, occurred_at) = (self.number()??, self.number()??);
        let (kind, version, source, subject) = (self.number()??, self.number()??, self.number()??, self.number()??);
        let (koji_event, causation, correlation) = (self.number()?, self.number()?, self.number()?);
        let encoding = self.number()??;
        let (fact, hash, payload) = (self.number()?, self.number()??, self.number()??);
        Some(RawRow {
            seq,
            recorded_at,
            occurred_at,
            kind,
            version,
            source,
            fact: match fact {
                Some(length) => Some(self.bytes(length)?),
                None => None,
            },
            koji_event,
            subject,
            causation,
            correlation,
            encoding,
            hash: self.bytes(hash)?,
            payload: self.bytes(payload)?,
        })
    }

    /// Reads a number up to the next blank. Returns `Some(None)` if it is empty.
    fn number(&mut self) -> Option<Option<i64>> {
        let (digits, negative) = match self.0.strip_prefix(b"-") {
            Some(rest) => (rest, true),
            None => (self.0, false),
        };
        let end = digits.iter().position(|b| *b == b' ')?;
        let (digits, rest) = digits.split_at(end);
        self.0 = &rest[1..];
        if digits.is_empty() {
            return (!negative).then_some(None);
        }
        let mut number: i64 = 0;
        for b in digits {
            let digit = i64::from(b.wrapping_sub(b'0'));
            if digit > 9 {
                return None;
            }
            // Count downwards, so that the smallest number fits, too.
            number = number.checked_mul(10)?.checked_sub(digit)?;
        }
        Some(Some(if negative { number } else { number.checked_neg()? }))
    }

    fn bytes(&mut self, length: i64) -> Option<Vec<u8>> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }
}

/// The texts for the numbers in rows.
pub(super) struct Texts {
    pub(super) words: FxHashMap<i64, Arc<str>>,
    pub(super) subjects: FxHashMap<i64, Arc<str>>,
}

impl Texts {
    /// Converts rows to records, in order.
    pub(super) fn records(
        &self,
        rows: Vec<RawRow>,
        decoder: &mut PayloadDecoder<'_>,
    ) -> Result<Vec<Record>, ReadError> {
        let mut records = Vec::with_capacity(rows.len());
        for raw in rows {
            let seq = raw.seq;
            let bad = |what: String| ReadError::Damaged { seq, what };
            records.push(Record {
                seq,
                recorded_at: Timestamp(raw.recorded_at),
                occurred_at: Timestamp(raw.occurred_at),
                kind: text(&self.words, raw.kind, "kind").map_err(bad)?,
                version: u16::try_from(raw.version).map_err(|_| bad("its version is out of range".to_owned()))?,
                source: text(&self.words, raw.source, "source").map_err(bad)?,
                fact: raw.fact.map(|b| sized(b, "fact")).transpose().map_err(bad)?.map(FactId),
                koji_event: raw.koji_event,
                subject: text(&self.subjects, raw.subject, "subject").map_err(bad)?,
                causation: cause(raw.causation).map_err(bad)?,
                correlation: cause(raw.correlation).map_err(bad)?,
                payload: decoder.decode(seq, raw.encoding, raw.payload).map_err(bad)?,
                hash: ChainHash(sized(raw.hash, "hash").map_err(bad)?),
            });
        }
        Ok(records)
    }
}

fn text(map: &FxHashMap<i64, Arc<str>>, id: i64, what: &str) -> Result<String, String> {
    map.get(&id).map(|t| t.to_string()).ok_or_else(|| format!("its {what} {id} is missing"))
}

fn sized<const N: usize>(bytes: Vec<u8>, what: &str) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("its {what} has not {N} bytes"))
}

/// Reads a column with the sequence of another event. A number that is not a sequence is damage.
/// Treating it as absent would hide the damage.
fn cause(column: Option<i64>) -> Result<Option<Seq>, String> {
    column.map(|n| sequence(n).ok_or_else(|| format!("its cause {n} is not a sequence"))).transpose()
}

/// Converts a number from the database to a sequence.
pub(super) fn sequence(n: i64) -> Option<Seq> {
    Seq::new(unsigned(n))
}

/// Returns the end of the log, from the last row.
pub(super) fn head(row: Option<HeadRow>) -> Result<Head, ReadError> {
    let Some((seq, hash, recorded_at)) = row else { return Ok(Head::EMPTY) };
    let seq = sequence(seq)
        .ok_or_else(|| ReadError::Content { what: "the head: its sequence is not positive".to_owned() })?;
    let hash = sized(hash, "hash").map_err(|what| ReadError::Damaged { seq, what })?;
    Ok(Head { seq: Some(seq), hash: ChainHash(hash), recorded_at: Timestamp(recorded_at) })
}

/// Converts a row of the outbox.
pub(super) fn command(id: String, seq: i64, kind: String, payload: String) -> Result<OutboxCommand, ReadError> {
    let seq = Seq::new(unsigned(seq))
        .ok_or_else(|| ReadError::Content { what: format!("command `{id}`: its cause is no event") })?;
    Ok(OutboxCommand { id, seq, kind, payload })
}

/// Converts a number from the database. It cannot be negative unless somebody changed it.
pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Converts a number for the database. Sequences and positions stay far below the limit.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[u8] = b"7 -5 9223372036854775807 1 2 3 4 99 6  1 16 32 5 ";

    fn packed() -> Vec<u8> {
        [ROW, &[b' '; 16], &[0; 32], b"1 2 3"].concat()
    }

    #[test]
    fn packed_rows_come_out_whole() {
        let two =
            [packed(), packed().iter().enumerate().map(|(i, b)| if i == 0 { b'8' } else { *b }).collect()].concat();
        let rows = unpack(&two, 2).unwrap();
        let row = &rows[1];
        assert_eq!((row.seq.get(), row.recorded_at, row.occurred_at), (8, -5, i64::MAX));
        assert_eq!((row.koji_event, row.causation, row.correlation), (Some(99), Some(6), None));
        assert_eq!((row.kind, row.version, row.source, row.subject, row.encoding), (1, 2, 3, 4, 1));
        assert_eq!((row.fact.as_deref(), &row.payload[..]), (Some(&[b' '; 16][..]), &b"1 2 3"[..]));
        assert_eq!(row.hash, [0; 32]);
    }

    #[test]
    fn what_is_not_packed_rows_is_refused() {
        let good = packed();
        for cut in 0..good.len() {
            assert!(unpack(&good[..cut], 1).is_none(), "{cut}");
        }
        assert!(unpack(&good, 2).is_none());
        assert!(unpack(&[good.clone(), good.clone()].concat(), 2).is_none(), "sequences must rise");
        assert!(unpack(&[good, b" ".to_vec()].concat(), 1).is_none());
        assert!(unpack(b"0 1 1 1 1 1 1    0  0 0 ", 1).is_none(), "0 is no sequence");
        assert!(unpack(b"x 1 1 1 1 1 1    0  0 0 ", 1).is_none());
        assert!(unpack(b"99999999999999999999 1 1 1 1 1 1    0  0 0 ", 1).is_none());
    }
}
