use std::io::Write;

use rstest::rstest;

use super::*;
use crate::message::entry::Message;

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji/events.jsonl");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    w.write_all(bytes).unwrap();
    w.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut w = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    w.include_checksum(true).unwrap();
    w.write_all(bytes).unwrap();
    w.finish().unwrap()
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

/// A reader that gives three bytes at a time, as a pipe may.
struct Drops(Vec<u8>, usize);

impl Read for Drops {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(3).min(self.0.len() - self.1);
        buf[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
        self.1 += n;
        Ok(n)
    }
}

fn read(bytes: Vec<u8>) -> (Vec<Entry>, Option<RecordingError>) {
    let mut entries = Vec::new();
    let mut recording = Recording::new(Path::new("r"), io::Cursor::new(bytes), None).unwrap();
    for entry in &mut recording {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                assert!(recording.next().is_none(), "nothing after an error");
                return (entries, Some(error));
            }
        }
    }
    (entries, None)
}

fn messages(entries: Vec<Entry>) -> Vec<Message> {
    let message = |e| match e {
        Entry::Message(m) => m,
        Entry::Unreadable(u) => panic!("line {}: {}", u.line, u.reason),
    };
    entries.into_iter().map(message).collect()
}

#[rstest]
#[case::plain(plain)]
#[case::gzip(gzip)]
#[case::zstd(zstd)]
fn every_packing_gives_the_same_messages(#[case] pack: fn(&[u8]) -> Vec<u8>) {
    let text = std::fs::read(EVENTS).unwrap();
    let packed = pack(&text);
    let total = packed.len() as u64;
    let mut recording = Recording::new(Path::new("r"), Drops(packed, 0), Some(total)).unwrap();
    let entries = recording.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(recording.progress(), Progress { read: total, total: Some(total) });
    let messages = messages(entries);
    assert_eq!(messages.len(), 593);
    let lines: Vec<_> = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    for (n, (message, line)) in messages.iter().zip(lines).enumerate() {
        assert_eq!((message.raw.as_slice(), message.line), (line, n as u64 + 1));
        assert!(message.sent_at.is_some() && message.seen_at.is_some());
    }
}

#[test]
fn opens_files_and_names_missing_ones() {
    assert_eq!(Recording::open(Path::new(EVENTS)).unwrap().count(), 593);
    let Err(error) = Recording::open(Path::new("/nonexistent/events.jsonl")) else { panic!("opened") };
    assert_eq!(error.class(), Class::Rejected);
    assert!(error.to_string().contains("/nonexistent/events.jsonl"));
}

#[test]
fn several_gzip_members_and_zstd_frames_are_one_recording() {
    for pack in [gzip, zstd] {
        let mut bytes = pack(b"{\"topic\":\"a\"}\n");
        bytes.extend(pack(b"{\"topic\":\"b\"}\n"));
        let (entries, error) = read(bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(messages(entries).len(), 2);
    }
}

/// Cuts a recording anywhere. All whole lines come, then one error that names the cut line. There
/// is no error if the cut falls on a line end of plain text.
#[rstest]
#[case::plain(plain)]
#[case::gzip(gzip)]
#[case::zstd(zstd)]
fn a_cut_recording_gives_what_is_whole(#[case] pack: fn(&[u8]) -> Vec<u8>) {
    let text = std::fs::read(EVENTS).unwrap();
    let text: Vec<u8> = text.split_inclusive(|b| *b == b'\n').take(20).flatten().copied().collect();
    let packed = pack(&text);
    let is_plain = packed == text;
    for cut in (5..packed.len()).step_by(7) {
        let (entries, error) = read(packed[..cut].to_vec());
        let whole = messages(entries);
        let length: usize = whole.iter().map(|m| m.raw.len() + 1).sum();
        if is_plain && error.is_none() {
            assert!(length == cut || length == cut + 1, "cut at {cut}");
            continue;
        }
        let Some(RecordingError::Truncated { line, offset, .. }) = error else { panic!("cut at {cut}: {error:?}") };
        assert_eq!((line, offset), (whole.len() as u64 + 1, length as u64), "cut at {cut}");
    }
}

#[rstest]
#[case::gzip(gzip)]
#[case::zstd(zstd)]
fn damaged_bytes_are_an_error(#[case] pack: fn(&[u8]) -> Vec<u8>) {
    let mut packed = pack(&std::fs::read(EVENTS).unwrap());
    let middle = packed.len() / 2;
    packed[middle..middle + 64].fill(0xff);
    let (_, error) = read(packed);
    assert_eq!(error.expect("damage is seen").class(), Class::Rejected);
}

#[rstest]
#[case::plain(plain)]
#[case::gzip(gzip)]
#[case::zstd(zstd)]
fn a_line_that_is_too_long_is_skipped(#[case] pack: fn(&[u8]) -> Vec<u8>) {
    let mut text = b"{\"topic\":\"a\"}\n\n  \r\n{\"x\":\"".to_vec();
    let begin = text.len() - 6;
    text.resize(begin + 50_000_000, b'x');
    text.extend_from_slice(b"\n{\"topic\":\"b\"}\r\nnot json\n{\"topic\":\"c\"}");
    let (entries, error) = read(pack(&text));
    assert!(error.is_none(), "{error:?}");
    let [Entry::Message(a), Entry::Unreadable(long), Entry::Message(b), Entry::Unreadable(bad), Entry::Message(c)] =
        entries.as_slice()
    else {
        panic!("{}", entries.len())
    };
    assert_eq!((a.line, b.line, c.line), (1, 5, 7), "empty lines count");
    assert_eq!((long.line, long.length), (4, 50_000_000));
    assert!(long.reason.contains("50000000 bytes"), "{}", long.reason);
    assert_eq!(long.raw, text[begin..begin + KEPT_OF_OVERLONG]);
    assert_eq!(long.id, crate::message::entry::derived_id(&blake3::hash(&text[begin..begin + 50_000_000])));
    assert_eq!((bad.line, bad.raw.as_slice()), (6, b"not json".as_slice()));
    assert_eq!(b.raw, b"{\"topic\":\"b\"}");
}

#[test]
fn a_line_of_the_greatest_length_is_read() {
    let mut text = b"{\"topic\":\"a\",\"x\":\"".to_vec();
    text.resize(MAX_MESSAGE - 2, b'x');
    text.extend_from_slice(b"\"}\n");
    assert_eq!(messages(read(text.clone()).0).len(), 1);
    text.insert(20, b'x');
    assert!(matches!(read(text).0.as_slice(), [Entry::Unreadable(_)]));
}

/// Writes a chunk repeatedly without holding the whole.
fn bomb(mut writer: impl Write, bytes: u64) {
    let chunk = vec![b'\n'; 1 << 20];
    for _ in 0..bytes >> 20 {
        writer.write_all(&chunk).unwrap();
    }
    writer.flush().unwrap();
}

#[test]
fn bombs_are_stopped_early() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb(&mut packed, 256 << 20);
    let gz = packed.finish().unwrap();
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    bomb(&mut packed, 256 << 20);
    let zst = packed.finish().unwrap();
    for bytes in [gz, zst] {
        assert!(bytes.len() < 1 << 20);
        let (_, error) = read(bytes);
        let Some(RecordingError::Bomb { unpacked, .. }) = error else { panic!("{error:?}") };
        assert!(unpacked <= RATIO_FLOOR + BUFFER as u64, "stopped at {unpacked}");
    }
}

#[test]
fn an_empty_recording_is_empty() {
    assert!(matches!(read(Vec::new()), (entries, None) if entries.is_empty()));
}
