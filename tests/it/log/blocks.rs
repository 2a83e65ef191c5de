//! Payloads of one commit that are compressed together, beside those of older logs.

use koschei::event::Record;
use koschei::log::*;

use crate::log_place::{Place, at, chain, event, fill, on_both, seq};

on_both!(
    commits_become_blocks_that_nobody_notices,
    a_log_without_blocks_is_read_and_appended_to,
    every_flipped_bit_of_a_block_is_found,
);

const BLOCKS: &str = "SELECT count(*) FROM events WHERE encoding > 16384";
const IN_BLOCKS: &str = "SELECT count(*) FROM events WHERE encoding < 0";
/// Before there were blocks.
const OLD: i64 = 4;

/// The events `range` as records, as [`fill`] appends them in batches of `batch`.
fn records(head: Head, range: std::ops::Range<u64>, batch: usize) -> Vec<Record> {
    let (mut head, mut records) = (head, Vec::new());
    for part in range.collect::<Vec<u64>>().chunks(batch) {
        let time = at(i64::try_from(part[0]).unwrap());
        records.extend(chain(head, time, part.iter().map(|i| event(*i))));
        head = records.last().map_or(head, Head::of);
    }
    records
}

async fn commits_become_blocks_that_nobody_notices(place: Place) {
    let log = place.open().await;
    let mut expected = Vec::new();
    for (range, batch) in [(0..5, 1), (5..6, 1), (6..8, 2), (8..2508, 1300), (2508..2511, 1)] {
        let head = expected.last().map_or(Head::EMPTY, Head::of);
        expected.extend(records(head, range.clone(), batch));
        fill(&log, range, batch).await;
    }
    let (blocks, others) = (place.number(BLOCKS).await, place.number(IN_BLOCKS).await);
    assert!(blocks > 20 && blocks + others == 2502, "all commits of several events: {blocks}, {others}");
    for limit in [1, 7, 999, 1000, 10_000] {
        let mut all: Vec<Record> = Vec::new();
        loop {
            let page = log.read(all.last().map(|r| r.seq), limit).await.unwrap();
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        assert_eq!(all, expected, "in pages of {limit}");
    }
    for subject in ["primary/package/package-918", "engine", "primary/repo/6"] {
        let of = |r: &&Record| r.subject == subject;
        let wanted: Vec<Record> = expected.iter().filter(of).cloned().collect();
        assert_eq!(log.read_subject(Subjects::Exactly(subject), None, 100).await.unwrap(), wanted, "{subject}");
    }
    let under: Vec<Record> = expected.iter().filter(|r| r.subject.starts_with("primary/")).cloned().collect();
    assert_eq!(log.read_subject(Subjects::Under("primary/"), None, 10_000).await.unwrap(), under);
    verify(&log, Some((seq(2511), expected[2510].hash)), &mut |_| ()).await.unwrap();
}

async fn a_log_without_blocks_is_read_and_appended_to(place: Place) {
    let old = place.try_open(&Options { schema_max: OLD, ..Options::default() }).await.unwrap();
    assert_eq!(old.info().await.unwrap().min_reader, 1, "older programs read what this one appends");
    let head = fill(&old, 0..600, 100).await;
    old.close().await;
    assert_eq!(place.number(BLOCKS).await + place.number(IN_BLOCKS).await, 0);
    let alone = place.number("SELECT CAST(sum(seq * encoding) AS bigint) FROM events").await;

    let log = place.open().await;
    assert_eq!(log.info().await.unwrap().min_reader, 2, "older programs are told that they cannot");
    assert_eq!(log.read(None, 1000).await.unwrap(), records(Head::EMPTY, 0..600, 100));
    let head = {
        verify(&log, Some((seq(600), head.hash)), &mut |_| ()).await.unwrap();
        fill(&log, 600..1200, 100).await
    };
    assert!(place.number(BLOCKS).await > 0);
    let kept = place.number("SELECT CAST(sum(seq * encoding) AS bigint) FROM events WHERE seq <= 600").await;
    assert_eq!(kept, alone, "nothing committed is written anew");
    let other = Place::sqlite();
    let apart = other.open().await;
    assert_eq!(fill(&apart, 0..1200, 100).await, head);
    let state = folding::from_start(&log, None, &mut |_| ()).await.unwrap();
    let expected = folding::from_start(&apart, None, &mut |_| ()).await.unwrap();
    assert_eq!((state.digest(), state.facts_digest()), (expected.digest(), expected.facts_digest()));
    assert_eq!(verify(&log, None, &mut |_| ()).await.unwrap().head, head);
}

/// Whatever bit of a block flips, verification names an event of that block, and reading one event
/// never gives a text that was not written.
async fn every_flipped_bit_of_a_block_is_found(place: Place) {
    let log = place.open().await;
    fill(&log, 0..16, 4).await;
    let good = log.read(None, 100).await.unwrap();
    place.unguard().await;
    let block = place.bytes("SELECT payload FROM events WHERE seq = 5").await;
    let write = async |bytes: &[u8]| {
        let bytes = match place.is_sqlite() {
            true => format!("x'{}'", hex::encode(bytes)),
            false => format!("decode('{}', 'hex')", hex::encode(bytes)),
        };
        place.raw(&format!("UPDATE events SET payload = {bytes} WHERE seq = 5")).await.unwrap();
    };
    let mut found = 0;
    // Every byte, with another bit each time.
    for at in 0..block.len() {
        let mut damaged = block.clone();
        damaged[at] ^= 1 << (at % 8);
        write(&damaged).await;
        match verify(&log, None, &mut |_| ()).await {
            // A frame has bits that mean nothing.
            Ok(_) => assert_eq!(log.read(None, 100).await.unwrap(), good, "byte {at}"),
            Err(VerifyError::Damaged { seq, .. }) => {
                assert!((5..=8).contains(&seq.get()), "byte {at}: event {seq}");
                found += 1;
            }
            Err(e) => panic!("byte {at}: {e}"),
        }
        assert_eq!(log.read(Some(seq(8)), 100).await.unwrap(), good[8..], "the other blocks");
    }
    assert!(found * 10 > block.len() * 9, "{found} of {}", block.len());
    write(&block).await;
    verify(&log, None, &mut |_| ()).await.unwrap();
}
