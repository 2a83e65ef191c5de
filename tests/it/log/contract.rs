//! What every database must do: one test suite that runs for each.

mod announcements;
mod credentials;
mod kept;
mod queues;

use std::time::Duration;

use koschei::event::{ChainHash, Record};
use koschei::log::*;
use koschei::model::{Class, Classified, PersonId};

use crate::log_place::{Place, at, chain, commit, event, fill, on_both, read_all, seq};
use announcements::{announcement, announcements, held_changes, old_announcements};
use credentials::credentials;
use kept::snapshots;
use queues::{inbox_of_one_source, inbox_order_and_duplicates, inbox_pruning, inbox_retried, inbox_settling, outbox};

on_both!(
    round_trip,
    paging,
    second_writer,
    duplicate_facts,
    newest_events_are_found_as_old_ones_are,
    bad_chains_are_refused,
    unstorable_records_are_refused,
    inbox_order_and_duplicates,
    inbox_settling,
    inbox_of_one_source,
    inbox_retried,
    inbox_pruning,
    commit_is_atomic,
    a_dropped_commit_is_whole_or_nothing,
    outbox,
    announcements,
    held_changes,
    old_announcements,
    credentials,
    attachments,
    subjects,
    times,
    tail_same_handle,
    tail_other_handle,
    snapshots,
    persons,
    read_only_handle,
    same_hashes_everywhere,
    large_payload,
);

fn message(id: &str, body: &str) -> Incoming {
    Incoming {
        id: id.to_owned(),
        source: "fedora".to_owned(),
        topic: "org.fedoraproject.prod.buildsys.tag".to_owned(),
        received_at: at(5),
        body: body.as_bytes().to_vec(),
    }
}

fn stored(n: u64) -> Received {
    Received::Stored { position: Position(n) }
}

async fn round_trip(place: Place) {
    let log = place.open().await;
    assert_eq!(log.head().await.unwrap(), Head::EMPTY);
    let info = log.info().await.unwrap();
    assert_eq!(info.log_id.len(), 32);
    assert_eq!(info.min_reader, 2);
    assert!(info.created_at > at(-100_000_000));
    let records = chain(Head::EMPTY, at(1), (0..250).map(event));
    let head = log.append(None, &commit(records.clone())).await.unwrap();
    assert_eq!(head, Head::of(records.last().unwrap()));
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.read(None, 1000).await.unwrap(), records);
    log.close().await;
    let again = place.open().await;
    assert_eq!(again.read(None, 1000).await.unwrap(), records);
    assert_eq!(again.info().await.unwrap(), info);
    assert_eq!(again.append(head.seq, &Commit::default()).await.unwrap(), head);
}

async fn paging(place: Place) {
    let log = place.open().await;
    fill(&log, 0..237, 50).await;
    let whole = log.read(None, 1000).await.unwrap();
    assert_eq!(whole.len(), 237);
    for limit in [1, 7, 236, 237] {
        assert_eq!(read_all(&log, limit).await, whole);
    }
    assert_eq!(log.read(Some(seq(237)), 10).await.unwrap(), []);
    assert_eq!(log.read(Some(seq(230)), 3).await.unwrap(), whole[230..233]);
}

async fn second_writer(place: Place) {
    let (one, two) = (place.open().await, place.open().await);
    let head = fill(&one, 0..3, 3).await;
    let stale = commit(chain(Head::EMPTY, at(9), [event(9)]));
    let error = two.append(None, &stale).await.unwrap_err();
    assert!(matches!(error, AppendError::Conflict { expected: None, found } if found == head.seq), "{error}");
    assert_eq!(error.class(), Class::Broken);
    let ahead = two.append(Some(seq(4)), &Commit::default()).await.unwrap_err();
    assert!(ahead.to_string().contains("append after event 4: the log already ends at event 3"), "{ahead}");
    // Both append at once after the same end: exactly one wins.
    let (a, b) = (commit(chain(head, at(9), [event(10)])), commit(chain(head, at(9), [event(11)])));
    let (a, b) = tokio::join!(one.append(head.seq, &a), two.append(head.seq, &b));
    assert_ne!(a.is_ok(), b.is_ok(), "{a:?} {b:?}");
    assert_eq!(one.head().await.unwrap().seq, Some(seq(4)));
    // The loser continues after it has read the head.
    fill(&two, 12..20, 8).await;
    fill(&one, 20..28, 8).await;
    verify(&one, None, &mut |_| ()).await.unwrap();
}

async fn duplicate_facts(place: Place) {
    let log = place.open().await;
    let head = fill(&log, 0..10, 10).await;
    let twice = chain(head, at(20), [event(30), event(4), event(31)]);
    let error = log.append(head.seq, &commit(twice)).await.unwrap_err();
    let fact = event(4).fact.unwrap().to_string();
    assert!(matches!(&error, AppendError::DuplicateFact { seq: s, fact: f } if *s == seq(12) && *f == fact), "{error}");
    let within = chain(head, at(20), [event(30), event(30)]);
    let error = log.append(head.seq, &commit(within)).await.unwrap_err();
    assert!(matches!(error, AppendError::DuplicateFact { .. }), "{error}");
    assert_eq!(log.head().await.unwrap(), head);
    // Events without a fact may repeat.
    let free = chain(head, at(20), [event(7), event(7)]);
    log.append(head.seq, &commit(free)).await.unwrap();
}

/// Events are found, whatever part of the log is in the indexes, and whichever handle indexed it.
async fn newest_events_are_found_as_old_ones_are(place: Place) {
    let eager = place.try_open(&Options { index_after: 30, ..Options::default() }).await.unwrap();
    let lazy = place.open().await;
    for round in 0..4 {
        let (start, middle, end) = (round * 50, round * 50 + 40, round * 50 + 50);
        fill(&eager, start..middle, 7).await;
        let head = fill(&lazy, middle..end, 3).await;
        let late = place.try_open(&Options { read_only: true, ..Options::default() }).await.unwrap();
        let all = read_all(&late, 1000).await;
        for (who, log) in [("eager", &eager), ("lazy", &lazy), ("late", &late)] {
            for i in 0..end + 5 {
                let Some(fact) = event(i).fact else { continue };
                assert_eq!(log.has_fact(&fact).await.unwrap(), i < end, "{who}, round {round}, event {i}");
            }
            for subject in all.iter().map(|r| r.subject.as_str()) {
                let expected: Vec<Record> = all.iter().filter(|r| r.subject == subject).cloned().collect();
                assert_eq!(log.read_subject(Subjects::Exactly(subject), None, 1000).await.unwrap(), expected, "{who}");
                let back: Vec<Record> = expected.iter().rev().cloned().collect();
                assert_eq!(log.last_of_subject(subject, None, 1000).await.unwrap(), back, "{who}, round {round}");
                if let [_, before, rest @ ..] = &back[..] {
                    let some = &rest[..rest.len().min(2)];
                    assert_eq!(log.last_of_subject(subject, Some(before.seq), 2).await.unwrap(), some, "{who}");
                }
            }
            let under = log.read_subject(Subjects::Under("primary/"), Some(seq(20)), 1000).await.unwrap();
            assert_eq!(
                under,
                all[20..].iter().filter(|r| r.subject.starts_with("primary/")).cloned().collect::<Vec<_>>()
            );
        }
        for (log, i) in [(&eager, 1), (&lazy, 1), (&eager, end - 2), (&lazy, end - 2), (&eager, start), (&lazy, middle)]
        {
            let twice = chain(head, head.recorded_at, [event(1000), event(i), event(2)]);
            let error = log.append(head.seq, &commit(twice)).await.unwrap_err();
            let second = seq(end + 2);
            assert!(
                matches!(&error, AppendError::DuplicateFact { seq, .. } if *seq == second),
                "round {round}, {i}: {error}"
            );
        }
        assert_eq!(eager.head().await.unwrap(), head, "nothing of that was kept");
        late.close().await;
    }
    if place.is_sqlite() {
        let indexed = place.number("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'indexed_through'").await;
        assert!((120..200).contains(&indexed), "the eager handle indexes, and not with every commit: {indexed}");
    }
}

async fn bad_chains_are_refused(place: Place) {
    let log = place.open().await;
    let head = fill(&log, 0..5, 5).await;
    let good = chain(head, at(50), (5..8).map(event));
    let mut gap = good.clone();
    gap.remove(1);
    let mut forged = good.clone();
    forged[1].subject.push('x');
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    let early = chain(head, at(-1), (5..6).map(event));
    let elsewhere = chain(Head { hash: ChainHash([1; 32]), ..head }, at(50), (5..8).map(event));
    for (records, expected) in [
        (gap, "record 8 stands where 7 belongs"),
        (forged, "event 7: its hash does not follow"),
        (swapped, "record 7 stands where 6 belongs"),
        (early, "event 6: it is recorded before its predecessor"),
        (elsewhere, "event 6: its hash does not follow"),
    ] {
        let error = log.append(head.seq, &commit(records)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.class(), Class::Broken);
    }
    assert_eq!(log.head().await.unwrap(), head);
    log.append(head.seq, &commit(good)).await.unwrap();
}

async fn unstorable_records_are_refused(place: Place) {
    let log = place.open().await;
    for subject in ["a\0b".to_owned(), "x".repeat(SUBJECT_BYTES_MAX + 1)] {
        let mut records = chain(Head::EMPTY, at(0), [event(0)]);
        records[0].subject = subject;
        records[0].hash = records[0].chained(ChainHash::GENESIS);
        let error = log.append(None, &commit(records)).await.unwrap_err();
        assert!(matches!(error, AppendError::Unstorable { .. }), "{error}");
    }
    let mut longest = chain(Head::EMPTY, at(0), [event(0)]);
    longest[0].subject = "ž".repeat(SUBJECT_BYTES_MAX / 2);
    longest[0].hash = longest[0].chained(ChainHash::GENESIS);
    log.append(None, &commit(longest.clone())).await.unwrap();
    assert_eq!(log.read(None, 5).await.unwrap(), longest);
}

async fn large_payload(place: Place) {
    let log = place.open().await;
    let mut records = chain(Head::EMPTY, at(0), [event(0), event(1), event(2)]);
    // One that compresses well and one that does not, across sizes at which databases store data
    // differently.
    records[0].payload = format!("{{\"x\":\"{}\"}}", "a".repeat(3_000_000));
    let mut noise = String::new();
    let mut state = 1_u64;
    while noise.len() < 1_000_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{state:x}"));
    }
    records[1].payload = format!("{{\"x\":\"{noise}\"}}");
    records[2].payload = "{}".to_owned();
    let mut hash = ChainHash::GENESIS;
    for r in &mut records {
        r.hash = r.chained(hash);
        hash = r.hash;
    }
    log.append(None, &commit(records.clone())).await.unwrap();
    assert_eq!(log.read(None, 5).await.unwrap(), records);
    verify(&log, None, &mut |_| ()).await.unwrap();
}

async fn commit_is_atomic(place: Place) {
    let log = place.open().await;
    log.receive(&[message("a", "1")]).await.unwrap();
    let command = |id: &str| OutboxCommand {
        id: id.to_owned(),
        seq: seq(1),
        kind: "submit_rebuild".to_owned(),
        payload: "{}".to_owned(),
    };
    let whole = |from: Head, command_id: &str, person: &str| Commit {
        persons_as_of: None,
        records: chain(from, at(3), (from.seq.map_or(0, |s| s.get())..).take(150).map(event)),
        retried: Vec::new(),
        settled: vec![Settled { position: Position(1), disposition: Disposition::Done }],
        commands: vec![command(command_id)],
        announcements: vec![announcement(1, "a")],
        held: Vec::new(),
        attachments: vec![Attachment::new(b"verdicts".to_vec())],
        persons: vec![(PersonId::new("p-1"), person.to_owned())],
    };
    let clean = async |log: &AnyLog, head: Head| {
        assert_eq!(log.head().await.unwrap(), head);
        assert_eq!(log.read(head.seq, 1).await.unwrap(), []);
        assert_eq!(log.counts().await.unwrap().inbox_pending, 1);
        assert_eq!(log.announcement_counts().await.unwrap().waiting, 0);
        assert_eq!(log.attachment(&Attachment::new(b"verdicts".to_vec()).digest).await.unwrap(), None);
    };
    // The last statement of the transaction fails: nothing of it is there.
    let head = log
        .append(
            None,
            &Commit {
                persons: vec![(PersonId::new("p-0"), "alice".to_owned())],
                commands: vec![command("c0")],
                ..Commit::default()
            },
        )
        .await
        .unwrap();
    let error = log.append(None, &whole(head, "c1", "alice")).await.unwrap_err();
    assert!(matches!(&error, AppendError::DuplicatePerson { id } if id == "p-1"), "{error}");
    clean(&log, head).await;
    let error = log.append(None, &whole(head, "c0", "bob")).await.unwrap_err();
    assert!(matches!(&error, AppendError::DuplicateCommand { id } if id == "c0"), "{error}");
    clean(&log, head).await;
    log.append(None, &whole(head, "c1", "bob")).await.unwrap();
    assert_eq!(log.head().await.unwrap().seq, Some(seq(150)));
    assert_eq!(log.counts().await.unwrap().inbox_pending, 0);
    assert_eq!(log.counts().await.unwrap().outbox_pending, 2);
    assert_eq!(log.announcement_counts().await.unwrap().waiting, 1);
    // Reads the whole chain. `verify` would report that no decision belongs to these commands.
    koschei::log::folding::from_start(&log, None, &mut |_| ()).await.unwrap();
}

/// Drops appends after times from nothing to twice what one takes, so at every place where one waits
/// for the database. A connection that was left half way must not give an answer to the wrong
/// question.
async fn a_dropped_commit_is_whole_or_nothing(place: Place) {
    const DROPS: u32 = 200;
    let log = place.open().await;
    let mut head = log.append(None, &commit(chain(Head::EMPTY, at(3), (0..1).map(event)))).await.unwrap();
    let mut numbers = 1_u64..;
    let mut next = |head: Head| commit(chain(head, at(3), numbers.by_ref().take(150).map(event)));
    let begun = tokio::time::Instant::now();
    head = log.append(head.seq, &next(head)).await.unwrap();
    let usual = begun.elapsed();
    let mut nothing = 0;
    for part in 1..=DROPS {
        let commit = next(head);
        let whole = Head::of(commit.records.last().unwrap());
        let dropped = tokio::time::timeout(usual * 2 * part / DROPS, log.append(head.seq, &commit)).await;
        // The next call waits until the database has finished, and tells which it was.
        match log.append(head.seq, &Commit::default()).await {
            Ok(found) => assert_eq!((found, dropped.is_err()), (head, true), "drop {part}: nothing"),
            Err(AppendError::Conflict { found, .. }) => assert_eq!(found, whole.seq, "drop {part}: everything"),
            Err(other) => panic!("drop {part}: {other:?}"),
        }
        let found = log.head().await.unwrap();
        assert!(found == head || found == whole, "drop {part}: {found:?} is neither {head:?} nor {whole:?}");
        nothing += u32::from(found == head);
        head = found;
        assert_eq!(log.read(head.seq, 1).await.unwrap(), [], "drop {part}");
    }
    assert!(nothing > 0, "no call was dropped before it had an effect");
    verify(&log, None, &mut |_| ()).await.unwrap();
}

async fn attachments(place: Place) {
    let log = place.open().await;
    let content: Vec<u8> = (0..200_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
    let (big, empty) = (Attachment::new(content), Attachment::new(Vec::new()));
    let attachments = vec![big.clone(), empty.clone(), big.clone()];
    log.append(None, &Commit { attachments: attachments.clone(), ..Commit::default() }).await.unwrap();
    log.append(None, &Commit { attachments, ..Commit::default() }).await.unwrap();
    assert_eq!(place.number("SELECT count(*) FROM attachments").await, 2);
    assert_eq!(log.attachment(&big.digest).await.unwrap(), Some(big.content.clone()));
    assert_eq!(log.attachment(&empty.digest).await.unwrap(), Some(Vec::new()));
    assert_eq!(log.attachment(&"0".repeat(64)).await.unwrap(), None);
    assert_eq!(log.attachment("not a digest").await.unwrap(), None);
    let wrong = Attachment { digest: empty.digest.clone(), content: vec![1] };
    let error = log.append(None, &Commit { attachments: vec![wrong], ..Commit::default() }).await.unwrap_err();
    assert!(matches!(error, AppendError::BadAttachment { .. }), "{error}");
}

async fn subjects(place: Place) {
    let log = place.open().await;
    let head = fill(&log, 0..2000, 500).await;
    // Names are bytes: nothing sorts by language, and any character may follow a prefix.
    let mut odd = chain(head, at(5000), [event(5000), event(5001)]);
    odd[0].subject = "primary/package/package-1žluťoučký".to_owned();
    odd[0].hash = odd[0].chained(head.hash);
    odd[1].hash = odd[1].chained(odd[0].hash);
    log.append(head.seq, &commit(odd)).await.unwrap();
    let all = read_all(&log, 999).await;
    let of = |wanted: &dyn Fn(&str) -> bool| all.iter().filter(|r| wanted(&r.subject)).cloned().collect::<Vec<_>>();
    let one = all[1000].subject.clone();
    let exact = log.read_subject(Subjects::Exactly(&one), None, 1000).await.unwrap();
    assert_eq!(exact, of(&|s| s == one));
    assert!(exact.len() >= 2);
    assert_eq!(log.read_subject(Subjects::Exactly(&one), Some(exact[0].seq), 1).await.unwrap(), exact[1..2]);
    for prefix in ["primary/package/package-1", "collection/", "primary/repo/", "PRIMARY", "nobody", ""] {
        let expected = of(&|s| s.starts_with(prefix));
        let found = log.read_subject(Subjects::Under(prefix), None, 10_000).await.unwrap();
        assert_eq!(found.len(), expected.len(), "{prefix}");
        assert_eq!(found, expected);
        if expected.len() > 5 {
            let rest = log.read_subject(Subjects::Under(prefix), Some(expected[2].seq), 2).await.unwrap();
            assert_eq!(rest, expected[3..5]);
        }
    }
    assert_eq!(log.read_subject(Subjects::Exactly("nobody"), None, 9).await.unwrap(), []);
    assert_eq!(log.last_of_subject("nobody", None, 9).await.unwrap(), []);
}

async fn times(place: Place) {
    let log = place.open().await;
    assert_eq!(log.seq_at(at(0)).await.unwrap(), None);
    // Batches of 10 are recorded at 0, 10, 20, … seconds.
    fill(&log, 0..100, 10).await;
    for (secs, expected) in [(-1, None), (0, Some(10)), (9, Some(10)), (10, Some(20)), (55, Some(60)), (900, Some(100))]
    {
        assert_eq!(log.seq_at(at(secs)).await.unwrap(), expected.map(seq), "{secs}");
    }
}

async fn tail_same_handle(place: Place) {
    // It polls only once an hour, so the notification must be enough.
    let options = Options { poll_interval: Duration::from_secs(3600), ..Options::default() };
    let log = place.try_open(&options).await.unwrap();
    let waiting = log.clone();
    let waiter = tokio::spawn(async move { waiting.changed(None).await });
    tokio::task::yield_now().await;
    let head = fill(&log, 0..3, 3).await;
    let seen = tokio::time::timeout(Duration::from_secs(300), waiter).await.unwrap().unwrap().unwrap();
    assert_eq!(seen, head);
    assert_eq!(log.changed(Some(seq(2))).await.unwrap(), head);
    let waiting = log.clone();
    let waiter = tokio::spawn(async move { waiting.changed(head.seq).await });
    let head = fill(&log, 3..4, 1).await;
    assert_eq!(tokio::time::timeout(Duration::from_secs(300), waiter).await.unwrap().unwrap().unwrap(), head);
}

async fn tail_other_handle(place: Place) {
    let (reader, writer) = (place.open().await, place.open().await);
    for n in 0..20 {
        let from = writer.head().await.unwrap();
        let follower = reader.clone();
        let waiter = tokio::spawn(async move { follower.changed(from.seq).await });
        if n % 2 == 0 {
            tokio::task::yield_now().await;
        }
        let head = fill(&writer, n..n + 1, 1).await;
        let seen = tokio::time::timeout(Duration::from_secs(300), waiter).await.unwrap().unwrap().unwrap();
        assert_eq!(seen, head);
    }
}

async fn persons(place: Place) {
    let log = place.open().await;
    let (alice, bob) = (PersonId::new("p-00000000000000aa"), PersonId::new("p-00000000000000bb"));
    let persons = vec![(bob.clone(), "bob".to_owned()), (alice.clone(), "alice unforgettable".to_owned())];
    let records = chain(Head::EMPTY, at(0), (0..20).map(event));
    log.append(None, &Commit { records, persons, ..Commit::default() }).await.unwrap();
    assert_eq!(log.person("bob").await.unwrap(), Some(bob.clone()));
    assert_eq!(log.person("carol").await.unwrap(), None);
    assert_eq!(log.name_of(&alice).await.unwrap().as_deref(), Some("alice unforgettable"));
    let everyone = [(alice.clone(), "alice unforgettable".to_owned()), (bob.clone(), "bob".to_owned())];
    assert_eq!(log.all_persons().await.unwrap(), everyone);
    let before = verify(&log, None, &mut |_| ()).await.unwrap();
    let forget = async |who: &str| {
        let done = log.forget_person(who).await.unwrap();
        assert!(done.left.is_empty(), "{done:?}");
        done.id
    };
    assert_eq!(forget("alice unforgettable").await, Some(alice.clone()));
    assert_eq!(forget("alice unforgettable").await, None);
    assert_eq!(forget(bob.as_str()).await, Some(bob));
    assert_eq!(log.all_persons().await.unwrap(), []);
    assert_eq!(log.name_of(&alice).await.unwrap(), None);
    assert_eq!(verify(&log, None, &mut |_| ()).await.unwrap(), before);
    if place.is_sqlite() {
        for file in [place.url.clone(), format!("{}-wal", place.url)] {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.windows(13).any(|w| w == b"unforgettable"), "the name still stands in {file}");
        }
    }
}

async fn read_only_handle(place: Place) {
    let options = Options { read_only: true, ..Options::default() };
    let error = place.try_open(&options).await.unwrap_err();
    // A missing file, or an empty database, has nothing to migrate and needs no backup.
    assert!(matches!(error, OpenError::Missing { .. } | OpenError::Empty { .. }), "{error}");
    let log = place.open().await;
    let head = fill(&log, 0..30, 30).await;
    let reader = place.try_open(&options).await.unwrap();
    assert_eq!(reader.head().await.unwrap(), head);
    assert_eq!(reader.read(None, 99).await.unwrap().len(), 30);
    let error = reader.append(head.seq, &commit(chain(head, at(99), [event(99)]))).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable);
    assert!(error.to_string().contains("does not accept writes; check permissions"), "{error}");
    let error = reader.receive(&[message("a", "")]).await.unwrap_err();
    assert!(error.to_string().contains("does not accept writes"), "{error}");
    let error = reader.forget_person("x").await.unwrap_err();
    assert!(error.to_string().contains("does not accept writes"), "{error}");
    assert_eq!(log.head().await.unwrap(), head);
}

/// The same events give this hash in every database, on every machine, for ever. (The version of a
/// kind is part of the hash. The number changed when `task_changed` got version 2.)
async fn same_hashes_everywhere(place: Place) {
    let log = place.open().await;
    let head = fill(&log, 0..1000, 100).await;
    assert_eq!(head.to_string(), HEAD_OF_1000);
    let report = verify(&log, Some((head.seq.unwrap(), head.hash)), &mut |_| ()).await.unwrap();
    assert_eq!((report.head, report.events, report.head_trusted), (head, 1000, true));
}

const HEAD_OF_1000: &str = "1000:38606c70564554096b2b343079589a891b14581020874a07d37ae8b76a2c1231";
