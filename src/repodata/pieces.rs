//! Reads a `primary.xml` in pieces that end between packages, so that its text is never in memory as
//! a whole. Another thread unpacks the next pieces while [`super::scan`] scans one.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::mpsc;

use memchr::memmem;

use super::content::RepoContent;
use super::cursor::{Odd, Scan};
use super::limits::Limits;
use super::scan::{END_OF_PACKAGE, Frame, Scanner};

/// Size of a piece in bytes of XML: about 300 packages of a distribution.
pub const PIECE: usize = 1 << 20;
/// Pieces that may wait to be scanned.
const WAITING: usize = 2;

/// The scanner cannot read this input. [`super::primary::parse`] must read it, from the beginning.
#[derive(Debug)]
pub struct NotScanned;

/// Packages that were scanned.
#[derive(Debug)]
pub struct Scanned {
    /// The same content that [`super::primary::parse`] gives.
    pub content: RepoContent,
    /// Packages whose form the scanner does not know. The parser read them.
    pub handed_over: usize,
}

/// Reads packages with the scanner, in pieces of `piece` bytes (usually [`PIECE`]).
///
/// # Errors
/// [`NotScanned`] for anything unusual outside of packages, for whatever is not XML, for a package
/// longer than a piece, if a bound of [`Limits`] is reached, and if reading fails.
pub fn scan(input: impl Read + Send, limits: &Limits, piece: usize) -> Result<Scanned, NotScanned> {
    let (mut frame, mut scanner) = (Frame::new(limits), Scanner::new(limits));
    each(input, piece, |text, last| {
        frame.piece(text, last, |text, start| {
            // The parser says what is wrong.
            let is_full = scanner.content.packages().len() >= limits.packages;
            if is_full { Err(Odd) } else { scanner.element(text, start) }
        })
    })?;
    let (content, handed_over) = scanner.finish();
    Ok(Scanned { content, handed_over })
}

/// Cuts an input into pieces, on another thread if there is more than one. `work` gets each of them,
/// and whether it is the last.
pub(super) fn each(
    input: impl Read + Send,
    piece: usize,
    mut work: impl FnMut(&str, bool) -> Scan<()>,
) -> Result<(), NotScanned> {
    let mut cutter = Cutter { input, rest: Vec::new(), piece, ended: false };
    let first = cutter.next(Vec::new()).ok_or(NotScanned)??;
    work(&first, cutter.ended).map_err(|_| NotScanned)?;
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if cutter.ended || threads < 2 {
        while let Some(text) = cutter.next(Vec::new()) {
            work(&text?, cutter.ended).map_err(|_| NotScanned)?;
        }
        return Ok(());
    }
    beside(cutter, work)
}

/// Cuts on another thread, and works on this one.
fn beside(
    mut cutter: Cutter<impl Read + Send>,
    mut work: impl FnMut(&str, bool) -> Scan<()>,
) -> Result<(), NotScanned> {
    let (send, receive) = mpsc::sync_channel::<Result<(String, bool), NotScanned>>(WAITING);
    let (give_back, used) = mpsc::channel::<Vec<u8>>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Memory of a scanned piece serves again: fresh memory costs as much as copying.
            while let Some(text) = cutter.next(used.try_recv().unwrap_or_default()) {
                // The receiver is gone if the scanner has given up.
                if send.send(text.map(|text| (text, cutter.ended))).is_err() {
                    return;
                }
            }
        });
        for text in receive {
            let (text, last) = text?;
            work(&text, last).map_err(|_| NotScanned)?;
            // The cutter has already ended if nobody wants the memory.
            give_back.send(text.into_bytes()).ok();
        }
        Ok(())
    })
}

struct Cutter<R> {
    input: R,
    /// What was read after the last piece.
    rest: Vec<u8>,
    piece: usize,
    /// Whether the last piece was cut.
    ended: bool,
}

impl<R: Read> Cutter<R> {
    /// Cuts the next piece. `memory` is used for what follows it. Returns `None` after the last one.
    fn next(&mut self, mut memory: Vec<u8>) -> Option<Result<String, NotScanned>> {
        if self.ended {
            return None;
        }
        memory.clear();
        memory.reserve(self.piece);
        if self.fill().is_err() {
            self.ended = true;
            return Some(Err(NotScanned));
        }
        self.ended = self.rest.len() < self.piece;
        if !self.ended {
            let Some(end) = memmem::rfind(&self.rest, END_OF_PACKAGE) else {
                self.ended = true;
                return Some(Err(NotScanned));
            };
            let end = end + END_OF_PACKAGE.len();
            memory.extend_from_slice(self.rest.get(end..).unwrap_or_default());
            self.rest.truncate(end);
        }
        let piece = std::mem::replace(&mut self.rest, memory);
        Some(String::from_utf8(piece).map_err(|_| NotScanned))
    }

    fn fill(&mut self) -> io::Result<()> {
        let missing = self.piece.saturating_sub(self.rest.len());
        self.rest.reserve(missing);
        self.input.by_ref().take(missing as u64).read_to_end(&mut self.rest).map(|_| ())
    }
}
