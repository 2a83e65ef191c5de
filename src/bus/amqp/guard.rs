//! Stands between the broker's bytes and the client that reads them.
//!
//! A message comes from whoever may publish, and what it brings reaches the client's parser as it is: the broker looks
//! neither into headers nor at encodings. Some of it that parser does not survive: headers nested a few hundred deep
//! end the process (it recurses on a small stack), a name that is no UTF-8 or a type it does not know ends the
//! connection, for ever anew as the message comes again. And it collects a message of any size in memory. So frames are
//! looked at first, and of messages
//! - names that are no UTF-8 are made ASCII, `?` for what is not,
//! - headers that are nested too deeply, or make no sense, are left out,
//! - a body beyond [`MAX_MESSAGE`] is hashed and cut to its beginning; [`Cuts`] says so.
//!
//! Everything else passes unchanged. Layout: AMQP 0-9-1, sections 2.3 and 4.2, with the field types as RabbitMQ has
//! them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::message::entry::{KEPT_OF_OVERLONG, MAX_MESSAGE};

/// Largest frame we agree to, in bytes; RabbitMQ's own default.
pub(super) const FRAME_MAX: u32 = 128 << 10;

/// Deepest table or list among the headers, in levels. Koji's have one.
const DEPTH_MAX: usize = 16;

/// Bytes of a frame besides its payload: kind, channel and size before it, one behind.
const AROUND: usize = 8;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xce;

/// Class of messages.
const BASIC: u16 = 60;

/// A body that was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    /// Its whole length in bytes.
    pub(super) length: u64,
    /// Digest of all of it.
    pub(super) digest: blake3::Hash,
}

/// Messages whose bodies were cut, by their delivery tag. There before the message is.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts(Arc<Mutex<HashMap<u64, Cut>>>);

impl Cuts {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Cut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this message was cut; answered once.
    pub(super) fn take(&self, delivery_tag: u64) -> Option<Cut> {
        self.lock().remove(&delivery_tag)
    }
}

/// What arrives is not AMQP, or not as agreed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAmqp {
    #[error("what arrives is not AMQP 0-9-1")]
    Frame,
    #[error("a frame of {0} bytes, where {FRAME_MAX} were agreed")]
    TooLarge(u32),
    #[error("the broker's description of itself is malformed")]
    Start,
}

/// Looks at frames from the broker.
#[derive(Default)]
pub(super) struct Guard {
    cuts: Cuts,
    /// By channel: the tag of the message whose content comes next.
    tags: HashMap<u16, u64>,
    /// By channel: what is being cut.
    cutting: HashMap<u16, Cutting>,
}

struct Cutting {
    tag: u64,
    length: u64,
    left: u64,
    /// Payload of the header, held back until the digest is known.
    header: Vec<u8>,
    kept: Vec<u8>,
    hasher: blake3::Hasher,
}

impl Guard {
    pub(super) fn cuts(&self) -> Cuts {
        self.cuts.clone()
    }

    /// Takes the first frame off `bytes` and writes what the client is to read to `out`. Gives the bytes used; none
    /// when the frame is not whole.
    ///
    /// # Errors
    /// [`NotAmqp`]; nothing after it makes sense.
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, NotAmqp> {
        // A broker that speaks another version says which, and hangs up.
        const OTHER_VERSION: &[u8] = b"AMQP";
        if bytes.starts_with(OTHER_VERSION) {
            let whole = bytes.get(..AROUND).unwrap_or_default();
            out.extend_from_slice(whole);
            return Ok(whole.len());
        }
        match bytes.first() {
            None | Some(&(METHOD | HEADER | BODY | HEARTBEAT)) => (),
            // The beginning of the above.
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
            // connection.start: version, what the broker says of itself.
            (Some(10), Some(10)) => {
                at += 2;
                table(&mut payload, &mut at, 0).ok_or(NotAmqp::Start)?;
            }
            // connection.close, channel.close: number, text. The text quotes names.
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
            tracing::warn!(channel, "the properties of a message make no sense and were left out");
            // Class, weight and size stay; no property is there.
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
    // It was no longer when it came.
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

/// Goes over a short string, and makes it ASCII if it is no UTF-8. Nothing when it is not whole.
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

/// Goes over so many bytes.
fn skip(bytes: &[u8], at: &mut usize, count: usize) -> Option<()> {
    *at = at.checked_add(count).filter(|end| *end <= bytes.len())?;
    Some(())
}

/// Goes over something with its length before it, and gives its end.
fn long(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let length = usize::try_from(u32_at(bytes, *at)?).ok()?;
    *at += 4;
    at.checked_add(length).filter(|end| *end <= bytes.len())
}

/// Goes over a table. Nothing when it is malformed or too deep.
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

/// The payload of a header with its properties made harmless; nothing when they make no sense.
fn properties(payload: &[u8]) -> Option<Vec<u8>> {
    /// Sizes of the properties from the highest flag down: short strings, the headers, numbers of so many bytes.
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
    // The lowest says that more flags follow, of which there are none in this version.
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
                    tracing::warn!(
                        "the headers of a message make no sense, or are nested too deeply, and were left out"
                    );
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
