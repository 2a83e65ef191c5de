//! Compresses payloads, message bodies and attachments.
//!
//! A payload is compressed once, with the program's dictionary of that time, and never rewritten.
//! Its row names the dictionary it needs. The database contains that dictionary, so every later
//! program can read the payload. The hash chain covers the plain text and does not depend on the
//! compression.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::error::ReadError;
use super::types::PAYLOAD_BYTES_MAX;

/// Typical payloads, one per line, most frequent last. New rows are compressed against these bytes.
/// The file may be changed at any time, because databases keep the dictionaries they use.
const DICTIONARY: &[u8] = include_bytes!("payloads.dict");
/// Compression level for payloads and bodies: speed first.
const PAYLOAD_LEVEL: i32 = 1;
/// Compression level for attachments and snapshots.
const BLOB_LEVEL: i32 = 6;
/// Encoding number of a payload stored as plain text.
pub(super) const PLAIN: i64 = 0;
/// Number of the first dictionary. The numbers count up from here.
pub(super) const DICTIONARY_FIRST: i64 = 1;
/// Least number of bytes that compression must save. Otherwise the text is stored as it is.
const SAVING_BYTES_MIN: usize = 16;

/// The dictionary that compresses new payloads, with its number in this database.
#[derive(Clone)]
pub(super) struct PayloadWriter {
    number: i64,
    dictionary: Arc<EncoderDictionary<'static>>,
}

impl PayloadWriter {
    /// Makes a writer. `number` is the number of [`built_in`] in this database.
    pub(super) fn new(number: i64) -> Self {
        Self { number, dictionary: Arc::new(EncoderDictionary::copy(DICTIONARY, PAYLOAD_LEVEL)) }
    }

    /// Makes an encoder. Making one costs more than using it, so keep it for a whole commit.
    pub(super) fn encoder(&self) -> PayloadEncoder<'_> {
        PayloadEncoder { number: self.number, compressor: Compressor::with_prepared_dictionary(&self.dictionary).ok() }
    }
}

/// An encoder of payloads.
pub(super) struct PayloadEncoder<'a> {
    number: i64,
    compressor: Option<Compressor<'a>>,
}

impl PayloadEncoder<'_> {
    /// Returns the encoding number and the bytes of one payload.
    pub(super) fn encode<'a>(&mut self, text: &'a str) -> (i64, Cow<'a, [u8]>) {
        let packed = self.compressor.as_mut().and_then(|c| c.compress(text.as_bytes()).ok());
        match packed {
            Some(packed) if packed.len() + SAVING_BYTES_MIN <= text.len() => (self.number, Cow::Owned(packed)),
            _ => (PLAIN, Cow::Borrowed(text.as_bytes())),
        }
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

/// A reader of payloads.
pub(super) struct PayloadReader {
    known: HashMap<i64, Arc<DecoderDictionary<'static>>>,
}

impl PayloadReader {
    /// Returns whether `encoding` can be decoded.
    pub(super) fn knows(&self, encoding: i64) -> bool {
        encoding == PLAIN || self.known.contains_key(&encoding)
    }

    /// Makes a decoder for payloads of one encoding. Making one costs more than using it, so keep
    /// it for a whole page.
    pub(super) fn decoder(&self, encoding: i64) -> Result<Option<Decompressor<'_>>, String> {
        if encoding == PLAIN {
            return Ok(None);
        }
        let dictionary = self.known.get(&encoding).ok_or_else(|| format!("dictionary {encoding} is missing"))?;
        Decompressor::with_prepared_dictionary(dictionary).map(Some).map_err(|e| e.to_string())
    }
}

/// Decodes one payload with the decoder of its encoding.
pub(super) fn decode_payload(decoder: Option<&mut Decompressor<'_>>, bytes: Vec<u8>) -> Result<String, String> {
    let plain = match decoder {
        None => bytes,
        Some(decoder) => decoder
            .decompress(&bytes, bounded(&bytes, PAYLOAD_BYTES_MAX)?)
            .map_err(|e| format!("its payload does not decompress ({e})"))?,
    };
    String::from_utf8(plain).map_err(|_| "its payload is not UTF-8".to_owned())
}

/// Returns the content size in a frame's header, if it is within `max`. Frames written by this
/// program always have it.
fn bounded(frame: &[u8], max: usize) -> Result<usize, String> {
    let size = zstd::zstd_safe::get_frame_content_size(frame)
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| "a compressed frame without its size".to_owned())?;
    if size > max { Err(format!("a compressed frame of {size} bytes, more than {max}")) } else { Ok(size) }
}

/// Compresses a message body. Speed comes first.
pub(super) fn pack_body(content: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(content, PAYLOAD_LEVEL)
}

/// Compresses an attachment or snapshot.
pub(super) fn pack_blob(content: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(content, BLOB_LEVEL)
}

/// Reverses [`pack_body`] and [`pack_blob`]. Refuses more than `max` bytes.
pub(super) fn unpack(frame: &[u8], max: usize) -> Result<Vec<u8>, String> {
    let size = bounded(frame, max)?;
    zstd::bulk::decompress(frame, size).map_err(|e| e.to_string())
}

/// Unpacks a message body and compares it with its digest.
pub(super) fn unpack_body(body: Option<Vec<u8>>, digest: &[u8], max: usize) -> Result<Vec<u8>, String> {
    let body = unpack(&body.ok_or("its body is missing")?, max)?;
    if blake3::hash(&body).as_bytes() != digest {
        return Err("its body is not what came in".to_owned());
    }
    Ok(body)
}

/// Unpacks an attachment and compares it with its digest.
pub(super) fn unpack_attachment(digest: &str, packed: &[u8], max: usize) -> Result<Vec<u8>, ReadError> {
    let bad = |e: String| ReadError::Content { what: format!("attachment {digest}: {e}") };
    let content = unpack(packed, max).map_err(bad)?;
    if blake3::hash(&content).to_hex().as_str() != digest {
        return Err(bad("its content is not what its digest says".to_owned()));
    }
    Ok(content)
}
