//! Snapshots in the database: which there are, and what is left if storing one is cut short.

use std::time::Duration;

use koschei::event::ChainHash;
use koschei::log::*;

use crate::log_place::{Place, seq};

pub(super) async fn snapshots(place: Place) {
    let log = place.open().await;
    let snapshot = |n: u64, version| Snapshot {
        seq: seq(n),
        hash: ChainHash([u8::try_from(n).unwrap(); 32]),
        program: "0.1.0".to_owned(),
        state_version: version,
        digest: format!("digest {n}"),
        bytes: vec![u8::try_from(n).unwrap(); 100_000].into(),
    };
    assert_eq!(log.latest_snapshot(None, 1).await.unwrap(), None);
    assert!(log.snapshots().await.unwrap().kept.is_empty());
    for n in [10, 20, 30] {
        log.put_snapshot(&snapshot(n, 1), &[]).await.unwrap();
    }
    assert_eq!(log.latest_snapshot(None, 1).await.unwrap(), Some(snapshot(30, 1)));
    assert_eq!(log.latest_snapshot(Some(seq(29)), 1).await.unwrap(), Some(snapshot(20, 1)));
    assert_eq!(log.latest_snapshot(Some(seq(9)), 1).await.unwrap(), None);
    assert_eq!(log.latest_snapshot(None, 2).await.unwrap(), None);
    let newer = Snapshot { digest: "other".to_owned(), ..snapshot(30, 1) };
    log.put_snapshot(&newer, &[]).await.unwrap();
    assert_eq!(log.latest_snapshot(None, 1).await.unwrap(), Some(newer));
    // A new one, and two that it makes needless. What is not there is no error.
    log.put_snapshot(&snapshot(40, 2), &[(seq(10), 1), (seq(10), 2), (seq(77), 1)]).await.unwrap();
    let all = log.snapshots().await.unwrap();
    assert_eq!(
        all.kept.iter().map(|s| (s.seq.get(), s.state_version)).collect::<Vec<_>>(),
        [(20, 1), (30, 1), (40, 2)]
    );
    let [_, _, last] = &all.kept[..] else { unreachable!() };
    assert_eq!((last.hash, last.program.as_str()), (ChainHash([40; 32]), "0.1.0"));
    assert!((1..10_000).contains(&last.stored_bytes), "packed: {}", last.stored_bytes);
    let others = all.others_bytes;
    assert!((10_000..10_000_000).contains(&others), "an empty log: {others}");
    assert_eq!(log.latest_snapshot(Some(seq(19)), 1).await.unwrap(), None);

    // A future that is dropped half way leaves the new one or none, and those before it.
    let random: Vec<u8> =
        (0..2_000_000_u64).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..4].to_vec()).collect();
    let large = Snapshot { bytes: random.into(), ..snapshot(50, 1) };
    let mut cancelled = 0;
    for micros in [100, 1_000, 10_000, 50_000] {
        let put = tokio::time::timeout(Duration::from_micros(micros), log.put_snapshot(&large, &[(seq(20), 1)])).await;
        cancelled += usize::from(put.is_err());
        // The next call waits until the database has finished.
        log.append(None, &Commit::default()).await.unwrap();
        let newest = log.latest_snapshot(None, 1).await.unwrap().unwrap();
        let before = log.latest_snapshot(Some(seq(29)), 1).await.unwrap();
        match newest.seq.get() {
            30 => assert_eq!(before, Some(snapshot(20, 1)), "nothing has changed"),
            50 => assert!(newest == large && before.is_none(), "everything has changed"),
            other => panic!("{other}"),
        }
    }
    assert!(cancelled > 0);
    log.put_snapshot(&large, &[(seq(20), 1)]).await.unwrap();
    let all = log.snapshots().await.unwrap();
    assert!(all.kept[2].stored_bytes >= 8_000_000, "{all:?}");
    assert!(all.others_bytes < others + 4_000_000, "snapshots are not of the others: {all:?}");
    assert_eq!(log.drop_snapshots().await.unwrap(), 3);
    assert_eq!(log.latest_snapshot(None, 2).await.unwrap(), None);
}
