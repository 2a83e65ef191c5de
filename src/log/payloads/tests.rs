use super::*;
use crate::event::ChainHash;
use crate::model::Timestamp;

fn record(seq: u64, payload: &str) -> Record {
    Record {
        seq: Seq::new(seq).unwrap(),
        recorded_at: Timestamp::EPOCH,
        occurred_at: Timestamp::EPOCH,
        kind: "tick".to_owned(),
        version: 1,
        source: "engine".to_owned(),
        fact: None,
        koji_event: None,
        subject: "engine".to_owned(),
        causation: None,
        correlation: None,
        payload: payload.to_owned(),
        hash: ChainHash::GENESIS,
    }
}

/// Records with payloads of these lengths. The text is JSON that compresses.
fn records(lengths: &[usize]) -> Vec<Record> {
    let text = |n: usize| format!(r#"{{"x":"{}"}}"#, "package-".repeat(n / 8 + 1).get(..n).unwrap());
    lengths.iter().zip(1..).map(|(n, seq)| record(seq, &text(*n))).collect()
}

fn reader() -> PayloadReader {
    let known = Dictionaries::default();
    known.add(1, DICTIONARY);
    known.reader()
}

type Row = (Seq, i64, Vec<u8>);

fn encode(records: &[Record], schema: i64) -> Vec<Row> {
    let writer = PayloadWriter::new(1, schema);
    let mut encoder = writer.encoder();
    let mut encode = |i: usize| encoder.encode(&records[i..]);
    (0..records.len())
        .map(|i| {
            let (encoding, bytes) = encode(i);
            (records[i].seq, encoding, bytes.into_owned())
        })
        .collect()
}

fn decode(rows: &[Row]) -> Vec<Result<String, String>> {
    let reader = reader();
    let mut decoder = reader.decoder(Vec::new());
    rows.iter().map(|(seq, encoding, bytes)| decoder.decode(*seq, *encoding, bytes.clone())).collect()
}

#[test]
fn payloads_come_back_however_they_are_stored() {
    for lengths in [
        &[][..],
        &[0],
        &[300],
        &[0, 0],
        &[100; 3],
        &[1; 600],
        &[300; 400],
        &[BLOCK_BYTES, 1, 1],
        &[1, BLOCK_BYTES, 1, 5 * BLOCK_BYTES, 2, 2],
    ] {
        let records = records(lengths);
        for schema in [BLOCKS_SINCE - 1, BLOCKS_SINCE] {
            let rows = encode(&records, schema);
            let decoded: Vec<String> = decode(&rows).into_iter().map(Result::unwrap).collect();
            assert!(decoded.iter().eq(records.iter().map(|r| &r.payload)), "{lengths:?}");
        }
    }
}

#[test]
fn a_block_is_bounded_and_an_event_alone_is_stored_as_ever() {
    let blocks = |lengths: &[usize], schema| {
        let rows = encode(&records(lengths), schema);
        rows.iter().filter(|(_, encoding, _)| *encoding == BLOCK + 1).count()
    };
    assert_eq!(blocks(&[300; 1000], BLOCKS_SINCE), 308_usize.strict_mul(1000).div_ceil(BLOCK_BYTES));
    assert_eq!(blocks(&[1; 1000], BLOCKS_SINCE), 1000_usize.div_ceil(BLOCK_EVENTS));
    assert_eq!(blocks(&[300; 1000], BLOCKS_SINCE - 1), 0, "an older program could not read that");
    assert_eq!(encode(&records(&[300]), BLOCKS_SINCE), encode(&records(&[300]), BLOCKS_SINCE - 1));
}

/// What does not compress is stored as plain text, one by one.
#[test]
fn noise_is_not_packed() {
    let noise: Vec<Record> =
        (1..40).map(|n| record(n, &String::from_utf8_lossy(blake3::hash(&n.to_le_bytes()).as_bytes()))).collect();
    let hex: Vec<Record> = (1..40).map(|n| record(n, &blake3::hash(&n.to_le_bytes()).to_string())).collect();
    for records in [noise, hex] {
        let rows = encode(&records, BLOCKS_SINCE);
        assert!(rows.iter().map(|r| r.2.len()).sum::<usize>() <= records.iter().map(|r| r.payload.len()).sum());
        let decoded: Vec<String> = decode(&rows).into_iter().map(Result::unwrap).collect();
        assert!(decoded.iter().eq(records.iter().map(|r| &r.payload)));
    }
}

#[test]
fn a_damaged_block_is_never_read_past_its_end() {
    for content in [
        &[][..],
        &[0x80],
        &[1],
        &[2, 1],
        &[1, 5, b'x'],
        &[1, 0, b'x'],
        &[0, b'x'],
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[2, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ] {
        assert!(Block::of(content.to_vec()).is_err(), "{content:?}");
    }
    let block = Block::of(b"\x02\x01\x02abc".to_vec()).unwrap();
    assert_eq!((block.payload(0).unwrap(), block.payload(1).unwrap()), ("a".to_owned(), "bc".to_owned()));
    assert!(block.payload(2).is_err() && block.payload(u64::MAX).is_err());
    assert!(Block::of(vec![1, 1, 0xff]).unwrap().payload(0).is_err(), "not UTF-8");
    assert!(Block::of(vec![0]).unwrap().payload(0).is_err());
}

/// Whichever bit flips, every payload comes back as it was, differs (which the hash shows), or is
/// refused.
#[test]
fn no_flipped_bit_of_a_block_ends_the_program() {
    let records = records(&[40, 60, 80]);
    let rows = encode(&records, BLOCKS_SINCE);
    assert_eq!(rows[0].1, BLOCK + 1);
    let mut refused = 0;
    for bit in 0..8 * rows[0].2.len() {
        let mut damaged = rows.clone();
        damaged[0].2[bit / 8] ^= 1 << (bit % 8);
        refused += usize::from(decode(&damaged).iter().any(Result::is_err));
    }
    assert!(refused > 0);
}

#[test]
fn a_block_larger_than_allowed_is_not_decompressed() {
    let bomb = zstd::bulk::compress(&vec![b'x'; BLOCK_BYTES_MAX + 1], 1).unwrap();
    let error = decode(&[(Seq::FIRST, BLOCK + 1, bomb)]).remove(0).unwrap_err();
    assert!(error.contains("more than"), "{error}");
}
