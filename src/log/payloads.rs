//! Compresses payloads of events.
//!
//! A payload is compressed once, with the program's dictionary of that time, and never rewritten.
//! Its row names the dictionary it needs. The database contains that dictionary, so every later
//! program can read the payload. The hash chain covers the plain text and does not depend on the
//! compression.
//!
//! # Blocks
//! The compressor makes its tables anew for every frame, which costs more than a small payload
//! itself. So the payloads of consecutive events of one commit share a frame, a *block*. The row of
//! the block's first event contains the block. The rows of the others contain nothing, and their
//! encoding says how many events back the block is. A block never reaches beyond its commit, and is
//! small, because reading one event decompresses all of its block. An event that is alone in its
//! commit is stored as it was before there were blocks.
//!
//! A block's plain content is the number of its payloads, their lengths in bytes (LEB128 numbers),
//! and their texts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::codec::bounded;
use super::types::PAYLOAD_BYTES_MAX;
use crate::event::Record;
use crate::model::Seq;

/// Typical payloads, one per line, most frequent last. New rows are compressed against these bytes.
/// The file may be changed at any time, because databases keep the dictionaries they use.
const DICTIONARY: &[u8] = include_bytes!("payloads.dict");
/// Compression level: speed first.
const LEVEL: i32 = 1;
/// Encoding number of a payload stored as plain text.
const PLAIN: i64 = 0;
/// Number of the first dictionary. The numbers count up from here. A payload that is compressed
/// alone has the number of its dictionary as its encoding.
pub(super) const DICTIONARY_FIRST: i64 = 1;
/// A row with a block has this plus the number of its dictionary as its encoding.
const BLOCK: i64 = 16_384;
/// Migration with which blocks came. A log without it may be read by programs that know no blocks.
const BLOCKS_SINCE: i64 = 5;
/// Least number of bytes that compression must save. Otherwise the text is stored as it is.
const SAVING_BYTES_MIN: usize = 16;
/// Size of a new block, in bytes of plain text. One longer payload may be in it.
const BLOCK_BYTES: usize = 16 << 10;
/// Most events in a new block.
const BLOCK_EVENTS: usize = 256;
/// Largest block that is read, in bytes of plain content.
const BLOCK_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (1 << 20);

/// The way a payload is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    /// As plain text.
    Plain,
    /// Alone, compressed with this dictionary.
    Alone(i64),
    /// First in a block, compressed with this dictionary.
    Block(i64),
    /// In the block of the event that is so many events before.
    Back(u64),
}

impl Encoding {
    /// Interprets the number in a row.
    const fn of(number: i64) -> Self {
        match number {
            PLAIN => Self::Plain,
            n if n < 0 => Self::Back(n.unsigned_abs()),
            n if n > BLOCK => Self::Block(n - BLOCK),
            n => Self::Alone(n),
        }
    }
}

/// The dictionary that compresses new payloads, with its number in this database.
#[derive(Clone)]
pub(super) struct PayloadWriter {
    number: i64,
    blocks: bool,
    dictionary: Arc<EncoderDictionary<'static>>,
}

impl PayloadWriter {
    /// Makes a writer. `number` is the number of [`built_in`] in this database, `schema` its last
    /// migration.
    pub(super) fn new(number: i64, schema: i64) -> Self {
        let dictionary = Arc::new(EncoderDictionary::copy(DICTIONARY, LEVEL));
        Self { number, blocks: schema >= BLOCKS_SINCE, dictionary }
    }

    /// Makes an encoder for one commit.
    pub(super) fn encoder(&self) -> PayloadEncoder<'_> {
        PayloadEncoder {
            number: self.number,
            compressor: Compressor::with_prepared_dictionary(&self.dictionary).ok(),
            longest: if self.blocks { BLOCK_EVENTS } else { 1 },
            given: 0,
            block: 0,
            plain: Vec::new(),
        }
    }
}

/// An encoder for the payloads of one commit, in their order.
pub(super) struct PayloadEncoder<'a> {
    number: i64,
    compressor: Option<Compressor<'a>>,
    /// Most events in a block.
    longest: usize,
    /// Number of events in the last block, and how many of them were given out.
    block: usize,
    given: usize,
    plain: Vec<u8>,
}

impl PayloadEncoder<'_> {
    /// Returns the encoding number and the bytes to store for the first of `records`. These are the
    /// records of the commit that are still to be written.
    pub(super) fn encode<'r>(&mut self, records: &'r [Record]) -> (i64, Cow<'r, [u8]>) {
        if self.given < self.block {
            let back = i64::try_from(self.given).unwrap_or(i64::MAX);
            self.given += 1;
            return (-back, Cow::Borrowed(&[]));
        }
        let block = block_of(records, self.longest);
        if block.len() > 1 {
            pack(block, &mut self.plain);
            if let Some(packed) = self.compress_plain() {
                (self.block, self.given) = (block.len(), 1);
                return (BLOCK + self.number, Cow::Owned(packed));
            }
        }
        let text = records.first().map_or("", |r| r.payload.as_str());
        let packed = self.compressor.as_mut().and_then(|c| c.compress(text.as_bytes()).ok());
        match packed {
            Some(packed) if packed.len() + SAVING_BYTES_MIN <= text.len() => (self.number, Cow::Owned(packed)),
            _ => (PLAIN, Cow::Borrowed(text.as_bytes())),
        }
    }

    fn compress_plain(&mut self) -> Option<Vec<u8>> {
        let packed = self.compressor.as_mut()?.compress(&self.plain).ok()?;
        (packed.len() + SAVING_BYTES_MIN <= self.plain.len()).then_some(packed)
    }
}

/// Returns the records at the beginning of `records` whose payloads go into one block.
fn block_of(records: &[Record], longest: usize) -> &[Record] {
    let mut bytes = 0;
    let fits = |r: &&Record| {
        bytes += r.payload.len();
        bytes <= BLOCK_BYTES
    };
    let count = records.iter().take(longest).take_while(fits).count();
    records.get(..count).unwrap_or_default()
}

/// Fills `plain` with the content of a block.
fn pack(records: &[Record], plain: &mut Vec<u8>) {
    plain.clear();
    put_number(plain, records.len());
    records.iter().for_each(|r| put_number(plain, r.payload.len()));
    records.iter().for_each(|r| plain.extend_from_slice(r.payload.as_bytes()));
}

fn put_number(out: &mut Vec<u8>, mut n: usize) {
    loop {
        let [low, ..] = n.to_le_bytes();
        n >>= 7;
        if n == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Returns the program's own dictionary: its digest and its content.
pub(super) fn built_in() -> ([u8; 32], &'static [u8]) {
    (*blake3::hash(DICTIONARY).as_bytes(), DICTIONARY)
}

/// The dictionaries of this database that have been needed so far, by number.
#[derive(Default)]
pub(super) struct Dictionaries {
    known: Mutex<HashMap<i64, Arc<DecoderDictionary<'static>>>>,
}

impl Dictionaries {
    /// Adds a dictionary.
    pub(super) fn add(&self, number: i64, content: &[u8]) {
        let dictionary = Arc::new(DecoderDictionary::copy(content));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(number, dictionary);
    }

    /// Makes a reader with all dictionaries known now.
    pub(super) fn reader(&self) -> PayloadReader {
        PayloadReader { known: self.known.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}

/// A row that contains a block which other rows need: its sequence, encoding and payload.
pub(super) type BlockRow = (i64, i64, Vec<u8>);

/// Returns the sequences of blocks that `rows` need and do not contain, each once. `rows` are
/// sequences and encodings, in order.
pub(super) fn blocks_needed(rows: impl Iterator<Item = (Seq, i64)>) -> Vec<i64> {
    let (mut needed, mut last) = (Vec::new(), None);
    for (seq, encoding) in rows {
        match Encoding::of(encoding) {
            Encoding::Back(back) => {
                let Some(seq) = seq.get().checked_sub(back) else { continue };
                if last != Some(seq) {
                    last = Some(seq);
                    needed.push(i64::try_from(seq).unwrap_or(i64::MAX));
                }
            }
            Encoding::Block(_) => last = Some(seq.get()),
            Encoding::Plain | Encoding::Alone(_) => {}
        }
    }
    needed
}

/// A reader of payloads.
pub(super) struct PayloadReader {
    known: HashMap<i64, Arc<DecoderDictionary<'static>>>,
}

impl PayloadReader {
    /// Returns the dictionary that `encoding` needs, if it is not known.
    pub(super) fn lacks(&self, encoding: i64) -> Option<i64> {
        match Encoding::of(encoding) {
            Encoding::Alone(number) | Encoding::Block(number) => (!self.known.contains_key(&number)).then_some(number),
            Encoding::Plain | Encoding::Back(_) => None,
        }
    }

    /// Makes a decoder for the rows of a page. `blocks` are the rows that [`blocks_needed`] names.
    pub(super) fn decoder(&self, blocks: Vec<BlockRow>) -> PayloadDecoder<'_> {
        let row = |(seq, encoding, bytes): BlockRow| (u64::try_from(seq).unwrap_or(0), (encoding, bytes));
        let rows = blocks.into_iter().map(row).collect();
        PayloadDecoder { reader: self, decompressors: HashMap::new(), rows, block: None }
    }
}

/// A decoder for payloads of consecutive rows.
pub(super) struct PayloadDecoder<'a> {
    reader: &'a PayloadReader,
    /// By number of dictionary. Making one costs more than using it.
    decompressors: HashMap<i64, Decompressor<'a>>,
    /// Rows with blocks that are not among the rows to decode, by sequence.
    rows: FxHashMap<u64, (i64, Vec<u8>)>,
    /// The last block, with the sequence of its row. Rows of one block are together.
    block: Option<(u64, Block)>,
}

impl PayloadDecoder<'_> {
    /// Decodes the payload of one row.
    ///
    /// # Errors
    /// Returns a text that says what is wrong with the row.
    pub(super) fn decode(&mut self, seq: Seq, encoding: i64, bytes: Vec<u8>) -> Result<String, String> {
        match Encoding::of(encoding) {
            Encoding::Plain => text(bytes),
            Encoding::Alone(number) => text(self.decompress(number, &bytes, PAYLOAD_BYTES_MAX)?),
            Encoding::Block(number) => {
                let block = Block::of(self.decompress(number, &bytes, BLOCK_BYTES_MAX)?)?;
                let payload = block.payload(0)?;
                self.block = Some((seq.get(), block));
                Ok(payload)
            }
            Encoding::Back(back) => {
                let first = seq.get().checked_sub(back).ok_or("its payload is in no event")?;
                if self.block.as_ref().is_none_or(|(at, _)| *at != first) {
                    let block = self.fetched(first).map_err(|e| format!("its payload is in event {first}: {e}"))?;
                    self.block = Some((first, block));
                }
                self.block.as_ref().map_or(Err("no block".to_owned()), |(_, block)| block.payload(back))
            }
        }
    }

    /// Returns the block of a row that is not among the rows to decode.
    fn fetched(&mut self, first: u64) -> Result<Block, String> {
        let (encoding, bytes) = self.rows.remove(&first).ok_or("it is missing")?;
        match Encoding::of(encoding) {
            Encoding::Block(number) => Block::of(self.decompress(number, &bytes, BLOCK_BYTES_MAX)?),
            Encoding::Plain | Encoding::Alone(_) | Encoding::Back(_) => Err("that event has no block".to_owned()),
        }
    }

    fn decompress(&mut self, number: i64, bytes: &[u8], max: usize) -> Result<Vec<u8>, String> {
        let decompressor = match self.decompressors.entry(number) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(e) => {
                let dictionary = self.reader.known.get(&number);
                let dictionary = dictionary.ok_or_else(|| format!("dictionary {number} is missing"))?;
                e.insert(Decompressor::with_prepared_dictionary(dictionary).map_err(|e| e.to_string())?)
            }
        };
        let plain = decompressor.decompress(bytes, bounded(bytes, max)?);
        plain.map_err(|e| format!("its payload does not decompress ({e})"))
    }
}

fn text(plain: Vec<u8>) -> Result<String, String> {
    String::from_utf8(plain).map_err(|_| "its payload is not UTF-8".to_owned())
}

/// A decompressed block.
struct Block {
    content: Vec<u8>,
    /// Start of each payload in the content, and the end of the last one.
    starts: Vec<usize>,
}

impl Block {
    fn of(content: Vec<u8>) -> Result<Self, String> {
        let starts = starts(&content).ok_or("its block of payloads has no valid list of lengths")?;
        Ok(Self { content, starts })
    }

    fn payload(&self, index: u64) -> Result<String, String> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let bytes = match self.starts.get(index..).unwrap_or_default() {
            [start, end, ..] => self.content.get(*start..*end),
            _ => None,
        };
        text(bytes.ok_or_else(|| format!("its block has no payload {index}"))?.to_vec())
    }
}

/// Returns where the payloads of a block start. Returns `None` if the lengths do not give the size
/// of the content.
fn starts(content: &[u8]) -> Option<Vec<usize>> {
    let mut rest = content;
    let count = number(&mut rest)?;
    // Each length takes a byte at least, so a wrong count takes no memory.
    let lengths = (0..count.min(rest.len() + 1)).map(|_| number(&mut rest)).collect::<Option<Vec<_>>>()?;
    let mut at = content.len() - rest.len();
    let mut starts = Vec::with_capacity(lengths.len() + 1);
    starts.push(at);
    for length in lengths {
        at = at.checked_add(length)?;
        starts.push(at);
    }
    (at == content.len()).then_some(starts)
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut n = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests;
