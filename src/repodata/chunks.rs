//! Parses a large `primary.xml` on several threads. One thread cuts it between packages. The others
//! parse the pieces. The caller's thread puts the results together in order.
//!
//! This only works on input without peculiarities. On anything unusual this parser gives up with
//! [`NotInPieces`]. The caller then reads the whole file with [`super::primary::parse`], whose
//! errors say what is wrong.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, mpsc};

use super::content::RepoContent;
use super::limits::Limits;
use super::primary;

/// Approximate size of a piece in bytes of XML: about 600 packages of a distribution.
const PIECE: usize = 2 << 20;
/// Pieces that may wait for a free thread.
const WAITING: usize = 2;
/// Most threads that parse. More would only wait for the thread that decompresses.
const THREADS_MAX: usize = 4;
const END_OF_PACKAGE: &[u8] = b"</package>";
const START_OF_PACKAGE: &[u8] = b"<package";
const END_OF_ROOT: &[u8] = b"</metadata>";

/// The input cannot be parsed in pieces. The caller must read it as a whole.
pub(super) struct NotInPieces;

/// Parses `primary.xml` in pieces. It costs the CPU time of [`primary::parse`] plus a tenth, spread
/// over the threads.
pub(super) fn parse(mut input: impl Read + Send, file: &str, limits: &Limits) -> Result<RepoContent, NotInPieces> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX);
    let mut first = read_up_to(&mut input, Vec::new(), PIECE).map_err(|_| NotInPieces)?;
    if threads < 2 || first.len() < PIECE {
        return Err(NotInPieces);
    }
    let start = find(&first, START_OF_PACKAGE).ok_or(NotInPieces)?;
    let rest = first.split_off(start);
    let prolog = first;
    let (send, receive) = mpsc::sync_channel::<(usize, Vec<u8>)>(WAITING);
    let (done, finished) = mpsc::sync_channel(WAITING + threads);
    // The parsing threads own the receiver. When they are all gone, the cutter's next send fails
    // and it stops.
    let receive = Arc::new(Mutex::new(receive));
    std::thread::scope(|scope| {
        let prolog = prolog.as_slice();
        let cutter = scope.spawn(move || cut(input, rest, prolog, &send));
        for _ in 0..threads {
            let (receive, done) = (Arc::clone(&receive), done.clone());
            scope.spawn(move || {
                loop {
                    let next = receive.lock().map(|r| r.recv());
                    let Ok(Ok((index, piece))) = next else { return };
                    let mut content = RepoContent::default();
                    let parsed = primary::parse(piece.as_slice(), file, limits, &mut content).map(|()| content);
                    if done.send((index, parsed.map_err(|_| NotInPieces))).is_err() {
                        return;
                    }
                }
            });
        }
        drop((done, receive));
        let whole = put_together(finished, limits);
        // A thread that still parses stops at the closed channel. The cutter stops when all of them
        // are gone.
        match cutter.join() {
            Ok(Ok(())) => whole,
            Ok(Err(_)) | Err(_) => Err(NotInPieces),
        }
    })
}

fn put_together(
    finished: mpsc::Receiver<(usize, Result<RepoContent, NotInPieces>)>,
    limits: &Limits,
) -> Result<RepoContent, NotInPieces> {
    let mut whole = RepoContent::default();
    let mut waiting = BTreeMap::new();
    let mut expected = 0;
    for (index, piece) in finished {
        waiting.insert(index, piece?);
        while let Some(piece) = waiting.remove(&expected) {
            whole.append(piece).ok_or(NotInPieces)?;
            expected += 1;
            if whole.packages().len() > limits.packages {
                return Err(NotInPieces);
            }
        }
    }
    if waiting.is_empty() { Ok(whole) } else { Err(NotInPieces) }
}

/// Cuts the input into pieces and sends each as a complete document. The end of the file is also
/// sent as a piece, so that it is checked like the others.
fn cut(
    mut input: impl Read,
    mut rest: Vec<u8>,
    prolog: &[u8],
    send: &mpsc::SyncSender<(usize, Vec<u8>)>,
) -> Result<(), NotInPieces> {
    for index in 0.. {
        let before = rest.len();
        rest = read_up_to(&mut input, rest, PIECE).map_err(|_| NotInPieces)?;
        let ended = rest.len() < PIECE.max(before + 1);
        let mut piece = prolog.to_vec();
        let next = if ended {
            piece.append(&mut rest);
            None
        } else {
            let end = rfind(&rest, END_OF_PACKAGE).ok_or(NotInPieces)? + END_OF_PACKAGE.len();
            let next = rest.split_off(end);
            piece.append(&mut rest);
            piece.extend_from_slice(END_OF_ROOT);
            Some(next)
        };
        send.send((index, piece)).map_err(|_| NotInPieces)?;
        match next {
            Some(next) => rest = next,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Fills the buffer up to `size` bytes. The result is shorter only at the end of the input.
fn read_up_to(input: &mut impl Read, mut buffer: Vec<u8>, size: usize) -> io::Result<Vec<u8>> {
    let missing = size.saturating_sub(buffer.len());
    buffer.reserve(missing);
    input.take(missing as u64).read_to_end(&mut buffer)?;
    Ok(buffer)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

fn rfind(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|w| w == what)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn xml(packages: usize, tail: &str) -> String {
        let mut xml = "<?xml version=\"1.0\"?>\n<metadata packages=\"1\">\n".to_owned();
        for i in 0..packages {
            writeln!(
                xml,
                "<package type=\"rpm\"><name>p{i}</name><arch>noarch</arch><version ver=\"1\" rel=\"1\"/>\
                 <description>{}</description><format><requires><entry name=\"c{}\"/><entry name=\"only{i}\"/>\
                 </requires></format></package>",
                "x".repeat(1000),
                i % 7
            )
            .unwrap();
        }
        xml + tail
    }

    fn whole(xml: &str) -> RepoContent {
        let mut content = RepoContent::default();
        primary::parse(xml.as_bytes(), "primary.xml", &Limits::default(), &mut content).unwrap();
        content
    }

    /// The pieces give the same packages and the same dependencies with the same numbers as the
    /// whole.
    #[test]
    fn pieces_make_the_whole() {
        let odd = "<package><arch>noarch</arch></package></metadata>\n";
        let xml =
            xml(6000, odd).replace("<entry name=\"only3000\"/>", "<entry name=\"only3000\" flags=\"NE\" ver=\"1\"/>");
        assert!(xml.len() > 2 * PIECE);
        let Ok(pieces) = parse(xml.as_bytes(), "primary.xml", &Limits::default()) else { panic!("is cut up") };
        let whole = whole(&xml);
        assert_eq!(format!("{:?}", pieces.packages()), format!("{:?}", whole.packages()));
        assert!(pieces.dependencies().eq(whole.dependencies()));
        assert_eq!(pieces.oddities, whole.oddities);
        assert_eq!(pieces.oddities.counts().map(|(_, n)| n).sum::<u64>(), 3, "no name, no version, a comparison");
    }

    #[test]
    fn what_is_odd_is_read_as_a_whole() {
        let refused = |xml: &str| parse(xml.as_bytes(), "primary.xml", &Limits::default()).is_err();
        assert!(refused(&xml(3, "</metadata>")), "short");
        assert!(refused(&xml(6000, "")), "ends early");
        assert!(refused(&xml(6000, "</metadata><metadata/>")), "two roots");
        let open = xml(6000, "</metadata>").replace("<name>p3000</name>", "<name>p3000<name>");
        assert!(refused(&open), "a package that is not XML");
        let comment = xml(6000, "</metadata>").replace("<name>p3000</name>", "<name>p3000</name><!-- </package> -->");
        assert_eq!(whole(&comment).packages().len(), 6000);
        let few = Limits { packages: 5000, ..Limits::default() };
        assert!(parse(xml(6000, "</metadata>").as_bytes(), "primary.xml", &few).is_err(), "too many packages");
    }
}
