//! Reads a recording: one message per line; plain, gzip or zstd. The packing is recognised by the
//! first bytes, not by the file name.
//!
//! Reading is streaming: memory is one line and the decoder's window, whatever the file's size. If
//! the file is damaged, all whole lines before the damage are yielded. Then comes one error that
//! names the place, and nothing after it. A line that cannot be understood is no error: it is
//! yielded as [`Entry::Unreadable`], and reading goes on.

pub(super) mod reading;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use self::reading::Reading;
use super::foreign;
use crate::message::entry::{Entry, KEPT_OF_OVERLONG, MAX_MESSAGE};
use crate::model::{Class, Classified};

/// Largest ratio of unpacked to packed size, checked beyond [`RATIO_FLOOR`].
///
/// Recorded messages shrink to a twentieth. A file beyond this ratio was made to fill memory or
/// time.
const MAX_RATIO: u64 = 250;

/// Number of unpacked bytes up to which the ratio is not checked.
const RATIO_FLOOR: u64 = 64 << 20;

/// Most bytes a compressed recording may unpack to. A year of a Fedora-size hub has about 30 GiB.
const MAX_UNPACKED: u64 = 256 << 30;

/// Largest zstd window as a power of two: 128 MiB, the default limit of the `zstd` tool.
const MAX_WINDOW_LOG: u32 = 27;

/// Buffer size in bytes for the file and for the decoders.
const BUFFER: usize = 64 << 10;

/// Number of lines checked to tell whether a file is a recording.
const LOOKED_AT: usize = 5;

/// How far reading has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes read of the file on disk, compressed or not.
    pub read: u64,
    /// Size of the file, if known.
    pub total: Option<u64>,
}

/// Error: a recording cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file does not exist or may not be read.
    #[error("open recording {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Reading failed.
    #[error("read recording {}, line {line}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The line that was being read.
        line: u64,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file ends inside a line or inside the compressed data.
    #[error(
        "read recording {} to its end: it stops inside line {line}, which begins at byte {offset} (unpacked); the \
            lines before it were ingested; get the whole file and ingest it again: no message is ingested twice",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The line that is not complete.
        line: u64,
        /// Start of that line, in bytes of unpacked text.
        offset: u64,
    },
    /// The compressed data are invalid.
    #[error(
        "unpack recording {} beyond line {line}, which begins at byte {offset} (unpacked); the lines before it were \
            ingested",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line that could not be completed.
        line: u64,
        /// Start of that line, in bytes of unpacked text.
        offset: u64,
        /// The decoder's error.
        #[source]
        source: io::Error,
    },
    /// The compressed data unpack to far more than any recording would.
    #[error(
        "unpack recording {}: {packed} bytes have become {unpacked} by line {line}, which is too much for a \
            recording; if it is one, unpack it and ingest the plain file",
        path.display()
    )]
    Bomb {
        /// The file.
        path: PathBuf,
        /// The line that was being read.
        line: u64,
        /// Compressed bytes so far.
        packed: u64,
        /// Unpacked bytes so far.
        unpacked: u64,
    },
}

impl Classified for RecordingError {
    fn class(&self) -> Class {
        use io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        match self {
            Self::Open { source, .. } | Self::Read { source, .. } => match source.kind() {
                NotFound | PermissionDenied | IsADirectory => Class::Rejected,
                _ => Class::Unavailable,
            },
            Self::Truncated { .. } | Self::Corrupt { .. } | Self::Bomb { .. } => Class::Rejected,
        }
    }
}

/// Counts the bytes read, for progress and for the ratio.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// A recording that is being read: an iterator over its lines. Empty lines are skipped.
pub struct Recording {
    path: PathBuf,
    text: BufReader<Box<dyn Read + Send>>,
    packed: bool,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    /// Number of lines begun so far.
    line: u64,
    /// Unpacked bytes before the current line.
    offset: u64,
    done: bool,
    /// Entries that were read but not yielded yet.
    ahead: VecDeque<Result<Entry, RecordingError>>,
    stop: CancellationToken,
}

/// A line as it was read.
struct Line {
    /// The line's bytes, or the first [`KEPT_OF_OVERLONG`] of a line that is too long.
    kept: Vec<u8>,
    length: u64,
    /// Digest of all bytes. Only for lines that are too long.
    digest: Option<blake3::Hash>,
    ended: bool,
}

impl Recording {
    /// Opens a file. `-` is standard input.
    ///
    /// # Errors
    /// Returns [`RecordingError::Open`] or [`RecordingError::Read`]. The error is rejected if the
    /// file does not exist or may not be read, else unavailable.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        if path == Path::new("-") {
            return Self::new(Path::new("standard input"), io::stdin(), None);
        }
        let file = File::open(path).map_err(|source| RecordingError::Open { path: path.to_owned(), source })?;
        let total = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.len());
        Self::new(path, file, total)
    }

    /// Reads a recording from any bytes. `path` is its name in errors. Reads the first bytes to
    /// recognise the packing.
    ///
    /// # Errors
    /// Returns [`RecordingError::Read`] if reading fails.
    pub fn new(path: &Path, bytes: impl Read + Send + 'static, total: Option<u64>) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Read { path: path.to_owned(), line: 1, source };
        let read = Arc::new(AtomicU64::new(0));
        let mut bytes = Counted { inner: bytes, read: Arc::clone(&read) };
        let mut magic = Vec::with_capacity(4);
        bytes.by_ref().take(4).read_to_end(&mut magic).map_err(failed)?;
        let packing = Packing::of(&magic);
        let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(magic).chain(bytes));
        let text: Box<dyn Read + Send> = match packing {
            Packing::None => Box::new(whole),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(failed)?;
                decoder.window_log_max(MAX_WINDOW_LOG).map_err(failed)?;
                Box::new(decoder)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            text: BufReader::with_capacity(BUFFER, text),
            packed: packing != Packing::None,
            read,
            total,
            line: 0,
            offset: 0,
            done: false,
            ahead: VecDeque::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Ends the recording before the next line once `stop` is cancelled, as if the file ended
    /// there.
    pub fn until(&mut self, stop: CancellationToken) {
        self.stop = stop;
    }

    /// Moves reading to a thread of its own.
    pub fn in_thread(self) -> Reading {
        let (read, total, stop) = (Arc::clone(&self.read), self.total, self.stop.clone());
        Reading::of(self, read, total, stop)
    }

    /// Checks whether none of the first lines is a message. Returns what the file is instead, in
    /// words. `None` if there are messages or the file is empty. The lines checked are still
    /// yielded afterwards.
    pub fn is_no_recording(&mut self) -> Option<String> {
        while self.ahead.len() < LOOKED_AT && !self.done {
            match self.read() {
                Some(next) => self.ahead.push_back(next),
                None => break,
            }
        }
        let mut first = None;
        for entry in &self.ahead {
            match entry {
                Ok(Entry::Message(_)) => return None,
                Ok(Entry::Unreadable(line)) => first = first.or(Some(line)),
                // A line that is cut off is not a message. The caller sees any other error when it
                // reads.
                Err(RecordingError::Truncated { .. }) => {}
                Err(_) => return None,
            }
        }
        first.map(|line| foreign::what_is(&line.raw, &line.reason))
    }

    fn read(&mut self) -> Option<Result<Entry, RecordingError>> {
        let next = self.next_entry().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }

    /// Returns how far reading has come. O(1). Meant to be called once per batch.
    pub fn progress(&self) -> Progress {
        Progress { read: self.read.load(Ordering::Relaxed), total: self.total }
    }

    /// Reads one line. `None` means the end. Never holds more than [`MAX_MESSAGE`] and one buffer.
    fn read_line(&mut self) -> Result<Option<Line>, RecordingError> {
        let mut line = Line { kept: Vec::new(), length: 0, digest: None, ended: false };
        let mut hasher: Option<blake3::Hasher> = None;
        while !line.ended {
            let chunk = match self.text.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(error)),
            };
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let part = end.map_or(chunk, |at| &chunk[..at]);
            if let Some(hasher) = &mut hasher {
                hasher.update(part);
            } else if line.kept.len() + part.len() > MAX_MESSAGE {
                let started = hasher.insert(blake3::Hasher::new());
                started.update(&line.kept);
                started.update(part);
                line.kept.extend(part.iter().copied().take(KEPT_OF_OVERLONG));
                line.kept.truncate(KEPT_OF_OVERLONG);
            } else {
                line.kept.extend_from_slice(part);
            }
            line.length += part.len() as u64;
            line.ended = end.is_some();
            let used = part.len() + usize::from(line.ended);
            self.text.consume(used);
            self.check_ratio(self.offset + line.length)?;
        }
        line.digest = hasher.map(|h| h.finalize());
        Ok((line.ended || line.length > 0).then_some(line))
    }

    fn check_ratio(&self, unpacked: u64) -> Result<(), RecordingError> {
        let packed = self.read.load(Ordering::Relaxed);
        let bound = packed.saturating_mul(MAX_RATIO).clamp(RATIO_FLOOR, MAX_UNPACKED);
        if self.packed && unpacked > bound {
            return Err(RecordingError::Bomb { path: self.path.clone(), line: self.line, packed, unpacked });
        }
        Ok(())
    }

    fn broken(&self, source: io::Error) -> RecordingError {
        let (path, line, offset) = (self.path.clone(), self.line, self.offset);
        if !self.packed || source.raw_os_error().is_some() {
            RecordingError::Read { path, line, source }
        } else if source.kind() == io::ErrorKind::UnexpectedEof {
            RecordingError::Truncated { path, line, offset }
        } else {
            RecordingError::Corrupt { path, line, offset, source }
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, RecordingError> {
        loop {
            self.line += 1;
            let Some(line) = self.read_line()? else { return Ok(None) };
            let begin = self.offset;
            self.offset += line.length + u64::from(line.ended);
            if let Some(digest) = &line.digest {
                return Ok(Some(Entry::overlong(&line.kept, self.line, line.length, digest)));
            }
            let mut raw = line.kept;
            raw.truncate(raw.trim_ascii_end().len());
            if raw.is_empty() {
                continue;
            }
            let entry = Entry::parse(raw, self.line);
            // Many tools write no last line end. Only a last line that does not parse counts as cut
            // off.
            if !line.ended && matches!(entry, Entry::Unreadable(_)) {
                return Err(RecordingError::Truncated { path: self.path.clone(), line: self.line, offset: begin });
            }
            return Ok(Some(entry));
        }
    }
}

impl Iterator for Recording {
    type Item = Result<Entry, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stop.is_cancelled() {
            return None;
        }
        match self.ahead.pop_front() {
            Some(next) => Some(next),
            None if self.done => None,
            None => self.read(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    /// Recognises the packing by the magic numbers of RFC 1952 and RFC 8878.
    fn of(first: &[u8]) -> Self {
        if first.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
