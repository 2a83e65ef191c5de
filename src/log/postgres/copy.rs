//! Writes events in the format of `COPY … (FORMAT binary)`. There is no statement to plan and no
//! array to unpack, and the server writes while the next rows are made.
//!
//! Format: PostgreSQL manual, "COPY", section "Binary Format".

use rustc_hash::FxHashMap;

use crate::event::Record;
use crate::log::append::check_chain;
use crate::log::error::AppendError;
use crate::log::payloads::PayloadEncoder;
use crate::log::rows::signed;
use crate::log::types::Head;
use crate::model::Seq;

/// The columns are in the order of [`Rows::next`].
pub(super) const COPY_EVENTS: &str = "COPY events (seq, recorded_at, occurred_at, kind, version, source, fact, \
     koji_event, subject, causation, correlation, encoding, payload, hash) FROM STDIN (FORMAT binary)";
/// Signature, no flags and no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Marks the end, in place of a number of columns.
pub(super) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();
const COLUMNS: i16 = 14;
/// Number of rows in one message: about 20 KB, which fits into the buffer of a socket.
const ROWS: usize = 100;

/// Makes the content of a COPY from records, one piece at a time, and checks the hash chain.
pub(super) struct Rows<'a> {
    /// The records still to be written.
    pub(super) records: &'a [Record],
    /// The head before these records.
    pub(super) head: Head,
    pub(super) encoder: PayloadEncoder<'a>,
    pub(super) words: &'a FxHashMap<&'a str, i64>,
    pub(super) subjects: &'a FxHashMap<&'a str, i64>,
}

impl Rows<'_> {
    /// Fills `buffer` with the next rows. Returns `false` if none are left.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<bool, AppendError> {
        buffer.clear();
        let left = self.records;
        let (records, rest) = left.split_at(left.len().min(ROWS));
        self.records = rest;
        self.head = check_chain(self.head, records)?;
        for (i, r) in records.iter().enumerate() {
            let (encoding, payload) = self.encoder.encode(left.get(i..).unwrap_or_default());
            self.row(r, (encoding, &payload), buffer)?;
        }
        Ok(!records.is_empty())
    }

    fn row(&self, r: &Record, (encoding, payload): (i64, &[u8]), buffer: &mut Vec<u8>) -> Result<(), AppendError> {
        // Numbers are assigned in order from 1, so a log cannot realistically use them up.
        let full = |what| move |_| AppendError::Unstorable { seq: r.seq, what };
        let small = |n: i64| i16::try_from(n).map_err(full("there are too many kinds, sources or dictionaries"));
        let number = |n: i64| i32::try_from(n).map_err(full("there are too many subjects"));
        let version = i16::try_from(r.version).map_err(full("its version is larger than 32,767"))?;
        let cause = |s: Option<Seq>| s.map(|s| signed(s.get()).to_be_bytes());
        buffer.extend_from_slice(&COLUMNS.to_be_bytes());
        put(buffer, &signed(r.seq.get()).to_be_bytes());
        put(buffer, &r.recorded_at.micros().to_be_bytes());
        put(buffer, &r.occurred_at.micros().to_be_bytes());
        put(buffer, &small(self.words[r.kind.as_str()])?.to_be_bytes());
        put(buffer, &version.to_be_bytes());
        put(buffer, &small(self.words[r.source.as_str()])?.to_be_bytes());
        put_some(buffer, r.fact.as_ref().map(|f| &f.0));
        put_some(buffer, r.koji_event.map(i64::to_be_bytes).as_ref());
        put(buffer, &number(self.subjects[r.subject.as_str()])?.to_be_bytes());
        put_some(buffer, cause(r.causation).as_ref());
        put_some(buffer, cause(r.correlation).as_ref());
        put(buffer, &small(encoding)?.to_be_bytes());
        put(buffer, payload);
        put(buffer, &r.hash.0);
        Ok(())
    }
}

fn put(buffer: &mut Vec<u8>, field: &[u8]) {
    let length = i32::try_from(field.len()).expect("no field is longer than a payload may be, 16 MiB");
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(field);
}

fn put_some<const N: usize>(buffer: &mut Vec<u8>, field: Option<&[u8; N]>) {
    match field {
        Some(field) => put(buffer, field),
        None => buffer.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}
