//! Checks and repairs the broker's frames before the AMQP client reads them.
//!
//! Anybody with the right to publish can send a message, and its content reaches the client's
//! parser unchanged. The broker checks neither headers nor encodings. The parser does not survive
//! everything:
//!
//! - Headers nested a few hundred deep end the process, because the parser recurses on a small
//!   stack.
//! - A name that is not UTF-8, or an unknown type, ends the connection. The message comes again, so
//!   this repeats for ever.
//! - The client collects a message of any size in memory.
//!
//! So the guard checks each frame first, and changes messages as follows:
//!
//! - Names that are not UTF-8 become ASCII; each other byte becomes `?`.
//! - Headers that are nested too deeply or malformed are removed.
//! - A body longer than [`MAX_MESSAGE`] is hashed and cut to its beginning. [`Cuts`] records it.
//!
//! Everything else passes unchanged. The layout is that of AMQP 0-9-1, sections 2.3 and 4.2, with
//! RabbitMQ's field types.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::message::entry::{KEPT_OF_OVERLONG, MAX_MESSAGE};

/// Largest frame we agree to, in bytes. RabbitMQ's own default.
pub(super) const FRAME_MAX: u32 = 128 << 10;

/// Deepest table or list in the headers, in levels. Koji's headers have one level.
const DEPTH_MAX: usize = 16;

/// Bytes of a frame besides its payload: type, channel and size before it, one end byte after it.
const AROUND: usize = 8;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xce;

/// AMQP class of messages.
const BASIC: u16 = 60;

/// A body that was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    /// Length of the whole body in bytes.
    pub(super) length: u64,
    /// Digest of the whole body.
    pub(super) digest: blake3::Hash,
}

/// Messages whose bodies were cut, by delivery tag. An entry is there before its message reaches
/// the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts(Arc<Mutex<HashMap<u64, Cut>>>);

impl Cuts {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Cut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how this message was cut, and forgets it. `None` if it was not cut.
    pub(super) fn take(&self, delivery_tag: u64) -> Option<Cut> {
        self.lock().remove(&delivery_tag)
    }
}

/// Error: the bytes are not AMQP, or not as agreed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAmqp {
    #[error("what arrives is not AMQP 0-9-1")]
    Frame,
    #[error("a frame of {0} bytes, where {FRAME_MAX} were agreed")]
    TooLarge(u32),
    #[error("the broker's description of itself is malformed")]
    Start,
}

/// Checks the frames from the broker.
#[derive(Default)]
pub(super) struct Guard {
    cuts: Cuts,
    /// By channel: delivery tag of the message whose content comes next.
    tags: HashMap<u16, u64>,
    /// By channel: the body that is being cut.
    cutting: HashMap<u16, Cutting>,
}

struct Cutting {
    tag: u64,
    length: u64,
    left: u64,
    /// Payload of the header frame. It is held back until the digest is known.
    header: Vec<u8>,
    kept: Vec<u8>,
    hasher: blake3::Hasher,
}

impl Guard {
    pub(super) fn cuts(&self) -> Cuts {
        self.cuts.clone()
    }

    /// Takes the first frame off `bytes` and writes to `out` what the client may read. Returns the
    /// number of bytes used, or 0 if the frame is not complete.
    ///
    /// # Errors
    /// Returns [`NotAmqp`] if the bytes are not AMQP as agreed. The connection is useless after
    /// that.
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, NotAmqp> {
        // A broker that speaks another version sends its version and hangs up.
        const OTHER_VERSION: &[u8] = b"AMQP";
        if bytes.starts_with(OTHER_VERSION) {
            let whole = bytes.get(..AROUND).unwrap_or_default();
            out.extend_from_slice(whole);
            return Ok(whole.len());
        }
        match bytes.first() {
            None | Some(&(METHOD | HEADER | BODY | HEARTBEAT)) => (),
            // An incomplete version header, see above.
            Some(b'A') if OTHER_VERSION.starts_with(bytes) => (),
            Some(_) => return Err(NotAmqp::Frame),
        }
        let (Some(channel), Some(size)) = (u16_at(bytes, 1), u32_at(bytes, 3)) else { return Ok(0) };
        if size > FRAME_MAX {
            return Err(NotAmqp::TooLarge(size));
        }
        let size = usize::try_from(size).map_err(|_| NotAmqp::TooLarge(size))?;
        let Some(frame) = bytes.get(..size + AROUND) else { return Ok(0) };
        if frame.last() != Some(&END) {
            return Err(NotAmqp::Frame);
        }
        let (kind, payload) = (bytes[0], &frame[7..7 + size]);
        match kind {
            METHOD => write(out, METHOD, channel, &self.method(channel, payload.to_vec())?),
            HEADER => self.header(channel, payload, out),
            BODY => self.body(channel, payload, out),
            _ => out.extend_from_slice(frame),
        }
        Ok(frame.len())
    }

    fn method(&mut self, channel: u16, mut payload: Vec<u8>) -> Result<Vec<u8>, NotAmqp> {
        let mut at = 4;
        match (u16_at(&payload, 0), u16_at(&payload, 2)) {
            // basic.deliver: consumer tag, delivery tag, redelivered, exchange, routing key.
            (Some(BASIC), Some(60)) => {
                self.cutting.remove(&channel);
                let tag = short(&mut payload, &mut at).and_then(|()| u64_at(&payload, at)).ok_or(NotAmqp::Frame)?;
                self.tags.insert(channel, tag);
                at += 9;
                let names = short(&mut payload, &mut at).and_then(|()| short(&mut payload, &mut at));
                names.ok_or(NotAmqp::Frame)?;
            }
            // connection.start: version, server properties.
            (Some(10), Some(10)) => {
                at += 2;
                table(&mut payload, &mut at, 0).ok_or(NotAmqp::Start)?;
            }
            // connection.close, channel.close: code, text. The text quotes names.
            (Some(10), Some(50)) | (Some(20), Some(40)) => {
                at += 2;
                short(&mut payload, &mut at).ok_or(NotAmqp::Frame)?;
            }
            _ => (),
        }
        Ok(payload)
    }

    fn header(&mut self, channel: u16, payload: &[u8], out: &mut Vec<u8>) {
        let header = properties(payload).unwrap_or_else(|| {
            tracing::warn!(channel, "the properties of a message are invalid and were left out");
            // Keeps class, weight and body size, and sets no property flag.
            [payload.get(..12).unwrap_or_default(), &[0, 0]].concat()
        });
        let length = u64_at(payload, 4).unwrap_or(0);
        self.cutting.remove(&channel);
        match self.tags.get(&channel) {
            Some(&tag) if length > MAX_MESSAGE as u64 => {
                let (kept, hasher) = (Vec::new(), blake3::Hasher::new());
                self.cutting.insert(channel, Cutting { tag, length, left: length, header, kept, hasher });
            }
            _ => write(out, HEADER, channel, &header),
        }
    }

    fn body(&mut self, channel: u16, payload: &[u8], out: &mut Vec<u8>) {
        let Some(cutting) = self.cutting.get_mut(&channel) else { return write(out, BODY, channel, payload) };
        cutting.hasher.update(payload);
        let room = KEPT_OF_OVERLONG - cutting.kept.len();
        cutting.kept.extend(payload.iter().take(room));
        cutting.left = cutting.left.saturating_sub(payload.len() as u64);
        if cutting.left > 0 {
            return;
        }
        if let Some(Cutting { tag, length, mut header, kept, hasher, .. }) = self.cutting.remove(&channel) {
            self.cuts.lock().insert(tag, Cut { length, digest: hasher.finalize() });
            if let Some(size) = header.get_mut(4..12) {
                size.copy_from_slice(&(kept.len() as u64).to_be_bytes());
            }
            write(out, HEADER, channel, &header);
            write(out, BODY, channel, &kept);
        }
    }
}

fn write(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    // The payload never grows, so its length still fits.
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END);
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Steps over a short string, and makes it ASCII if it is not UTF-8. Returns `None` if the string
/// is not complete.
fn short(bytes: &mut [u8], at: &mut usize) -> Option<()> {
    let begin = *at + 1;
    let end = begin + usize::from(*bytes.get(*at)?);
    let text = bytes.get_mut(begin..end)?;
    if std::str::from_utf8(text).is_err() {
        text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    }
    *at = end;
    Some(())
}

/// Steps over `count` bytes.
fn skip(bytes: &[u8], at: &mut usize, count: usize) -> Option<()> {
    *at = at.checked_add(count).filter(|end| *end <= bytes.len())?;
    Some(())
}

/// Steps over a length field and returns the end of the value that follows.
fn long(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let length = usize::try_from(u32_at(bytes, *at)?).ok()?;
    *at += 4;
    at.checked_add(length).filter(|end| *end <= bytes.len())
}

/// Steps over a table. Returns `None` if it is malformed or too deep.
fn table(bytes: &mut [u8], at: &mut usize, depth: usize) -> Option<()> {
    let end = long(bytes, at).filter(|_| depth < DEPTH_MAX)?;
    while *at < end {
        short(bytes, at)?;
        value(bytes, at, depth)?;
    }
    (*at == end).then_some(())
}

fn value(bytes: &mut [u8], at: &mut usize, depth: usize) -> Option<()> {
    let kind = *bytes.get(*at)?;
    *at += 1;
    match kind {
        b'V' => Some(()),
        b't' | b'b' | b'B' => skip(bytes, at, 1),
        b's' | b'U' | b'u' => skip(bytes, at, 2),
        b'I' | b'i' | b'f' => skip(bytes, at, 4),
        b'D' => skip(bytes, at, 5),
        b'L' | b'l' | b'd' | b'T' => skip(bytes, at, 8),
        b'S' | b'x' => {
            *at = long(bytes, at)?;
            Some(())
        }
        b'F' => table(bytes, at, depth + 1),
        b'A' => {
            let end = long(bytes, at).filter(|_| depth + 1 < DEPTH_MAX)?;
            while *at < end {
                value(bytes, at, depth + 1)?;
            }
            (*at == end).then_some(())
        }
        _ => None,
    }
}

/// Returns the payload of a header frame with harmless properties. `None` if they are malformed.
fn properties(payload: &[u8]) -> Option<Vec<u8>> {
    /// Forms of the properties, from the highest flag down: short strings, the headers, numbers of
    /// so many bytes.
    enum Form {
        Short,
        Headers,
        Bytes(usize),
    }
    use Form::{Bytes, Headers, Short};
    const FORMS: [Form; 14] =
        [Short, Short, Headers, Bytes(1), Bytes(1), Short, Short, Short, Short, Bytes(8), Short, Short, Short, Short];
    let mut payload = payload.to_vec();
    let flags = u16_at(&payload, 12)?;
    // The lowest flag says that more flags follow. This version has none. The bit above it is not
    // used.
    if flags & 0b11 != 0 {
        return None;
    }
    let mut at = 14;
    for (form, bit) in FORMS.into_iter().zip((0..16).rev()) {
        if flags & (1 << bit) == 0 {
            continue;
        }
        match form {
            Short => short(&mut payload, &mut at)?,
            Bytes(count) => skip(&payload, &mut at, count)?,
            Headers => {
                let begin = at;
                let end = long(&payload, &mut at)?;
                at = begin;
                if table(&mut payload, &mut at, 0).is_none() {
                    tracing::warn!("the headers of a message are invalid or nested too deeply, and were left out");
                    payload.splice(begin..end, [0; 4]);
                    at = begin + 4;
                }
            }
        }
    }
    (at == payload.len()).then_some(payload)
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
