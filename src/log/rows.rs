//! From rows to records, the same for every database.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use sqlx::{ColumnIndex, Database, Decode, Row, Type};

use super::codec::{PayloadReader, decode_payload};
use super::error::ReadError;
use super::types::Head;
use crate::event::{ChainHash, FactId, Record};
use crate::model::{Seq, Timestamp};

/// Number of the last event, its hash, when it was recorded.
pub(super) type HeadRow = (i64, Vec<u8>, i64);

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
    /// Of a row with the columns in the order of the fields.
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

/// What the numbers in rows stand for.
pub(super) struct Texts {
    pub(super) words: HashMap<i64, Arc<str>>,
    pub(super) subjects: HashMap<i64, Arc<str>>,
}

impl Texts {
    /// Interprets rows, in order.
    pub(super) fn records(&self, rows: Vec<RawRow>, reader: &PayloadReader) -> Result<Vec<Record>, ReadError> {
        let mut decoders = HashMap::new();
        let mut records = Vec::with_capacity(rows.len());
        for raw in rows {
            let seq = raw.seq;
            let bad = |what: String| ReadError::Damaged { seq, what };
            let decoder = match decoders.entry(raw.encoding) {
                Entry::Occupied(e) => e.into_mut(),
                Entry::Vacant(e) => e.insert(reader.decoder(raw.encoding).map_err(bad)?),
            };
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
                payload: decode_payload(decoder.as_mut(), raw.payload).map_err(bad)?,
                hash: ChainHash(sized(raw.hash, "hash").map_err(bad)?),
            });
        }
        Ok(records)
    }
}

fn text(map: &HashMap<i64, Arc<str>>, id: i64, what: &str) -> Result<String, String> {
    map.get(&id).map(|t| t.to_string()).ok_or_else(|| format!("its {what} {id} is missing"))
}

fn sized<const N: usize>(bytes: Vec<u8>, what: &str) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("its {what} has not {N} bytes"))
}

/// A column with the sequence of another event. A number that is none is damage, not absence: the hash would not tell.
fn cause(column: Option<i64>) -> Result<Option<Seq>, String> {
    column.map(|n| sequence(n).ok_or_else(|| format!("its cause {n} is not a sequence"))).transpose()
}

/// A sequence from the database.
pub(super) fn sequence(n: i64) -> Option<Seq> {
    Seq::new(unsigned(n))
}

/// The end of the log from the last row.
pub(super) fn head(row: Option<HeadRow>) -> Result<Head, ReadError> {
    let Some((seq, hash, recorded_at)) = row else { return Ok(Head::EMPTY) };
    let seq = sequence(seq)
        .ok_or_else(|| ReadError::Content { what: "the head: its sequence is not positive".to_owned() })?;
    let hash = sized(hash, "hash").map_err(|what| ReadError::Damaged { seq, what })?;
    Ok(Head { seq: Some(seq), hash: ChainHash(hash), recorded_at: Timestamp(recorded_at) })
}

/// A number from the database that cannot be negative unless somebody changed it.
pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A number for the database; sequences and positions stay far below its limit.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
