//! The announcements.

use koschei::log::*;
use koschei::model::PersonId;

use crate::log_place::{Place, at, seq};

/// Makes the `n`th announcement, of a subject.
pub(super) fn announcement(n: u64, subject: &str) -> Announcement {
    Announcement {
        id: format!("id-{n}"),
        seq: seq(n + 1),
        subject: subject.to_owned(),
        made_at: at(100 + i64::try_from(n).unwrap()),
        topic: "koschei.package.state.change".to_owned(),
        headers: format!("{{\"n\":{n},\"yes\":true}}"),
        body: format!("{{\"n\":{n},\"text\":\"ü\\u0000\"}}"),
        people: (0..n % 3).map(|n| PersonId::new(format!("p-{n:016x}"))).collect(),
    }
}

async fn next(log: &AnyLog, limit: usize) -> Vec<String> {
    log.next_announcements(limit).await.unwrap().into_iter().map(|a| a.id).collect()
}

/// Each subject's rows leave in their order, and wait for nobody else's.
pub(super) async fn announcements(place: Place) {
    let log = place.open().await;
    assert_eq!(log.announcement_counts().await.unwrap(), AnnouncementCounts::default());
    let all: Vec<Announcement> =
        (0..12).zip(["c/a", "c/b", "c/c"].into_iter().cycle()).map(|(n, of)| announcement(n, of)).collect();
    let (first, second) = all.split_at(5);
    let one = |announcements: &[Announcement]| Commit { announcements: announcements.to_vec(), ..Commit::default() };
    log.append(None, &one(first)).await.unwrap();
    log.append(None, &one(second)).await.unwrap();
    assert_eq!(log.next_announcements(99).await.unwrap(), all[..3]);
    assert_eq!(next(&log, 2).await, ["id-0", "id-1"]);
    assert_eq!(
        log.announcement_counts().await.unwrap(),
        AnnouncementCounts { waiting: 12, oldest: Some(at(100)), unsendable: 0 }
    );
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(log.mark_announced(&ids(&["id-0", "id-2"])).await.unwrap(), 2);
    assert_eq!(log.mark_announced(&ids(&["id-0", "never"])).await.unwrap(), 0);
    assert_eq!(next(&log, 99).await, ["id-1", "id-3", "id-5"], "the second of b waits for the first");
    log.mark_unsendable("id-1", &"too large\0".repeat(1000)).await.unwrap();
    // What was confirmed stays so.
    log.mark_unsendable("id-0", "again").await.unwrap();
    assert_eq!(log.mark_announced(&ids(&["id-1"])).await.unwrap(), 0, "it was set aside");
    assert_eq!(next(&log, 99).await, ["id-3", "id-4", "id-5"]);
    let counts = AnnouncementCounts { waiting: 9, oldest: Some(at(103)), unsendable: 1 };
    assert_eq!(log.announcement_counts().await.unwrap(), counts);
    let aside = log.set_aside(9).await.unwrap();
    assert_eq!(aside.len(), 1);
    assert!(aside[0].0 == all[1] && aside[0].1.starts_with("too large"), "{aside:?}");
    // All of them stay, with numbers that follow each other.
    let stored = log.announcements(None, 99).await.unwrap();
    assert_eq!(stored.iter().map(|(_, a)| a.clone()).collect::<Vec<_>>(), all);
    assert_eq!(log.announcements(Some((stored[3].1.seq, stored[3].0)), 2).await.unwrap(), stored[4..6]);
    assert!(stored.windows(2).all(|w| w[0].0 < w[1].0));
    let said: Vec<String> = log.said_before().await.unwrap().into_iter().map(|said| said.body).collect();
    assert_eq!(said, [9, 10, 11].map(|n| all[n].body.clone()), "the last of each subject");
    // An id is used once, whatever became of it.
    for n in [0, 1, 11] {
        let error = log.append(None, &one(&[announcement(50, "c/d"), announcement(n, "c/d")])).await.unwrap_err();
        assert!(error.to_string().contains("append announcements"), "{error}");
    }
    assert_eq!(log.announcements(None, 99).await.unwrap().len(), 12);
    let reader = place.try_open(&Options { read_only: true, ..Options::default() }).await.unwrap();
    assert_eq!(reader.announcements(None, 99).await.unwrap(), stored);
    reader.mark_announced(&ids(&["id-3"])).await.unwrap_err();
}

/// What later announcements depend on is never deleted, nor what waits.
pub(super) async fn old_announcements(place: Place) {
    // The database knows these topics by their beginnings.
    use koschei::announce::koschei_messages::PACKAGE;
    use koschei::announce::richer::{
        CAUSE_CLOSED as CLOSED, CAUSE_GREW as GREW, CAUSE_OPENED as OPENED, PACKAGE_CHANGED, REBUILD_ENDED,
    };
    let log = place.open().await;
    let all: Vec<Announcement> = [
        ("c/a", PACKAGE),
        ("cause/c/1", OPENED),
        ("c/a", PACKAGE_CHANGED),
        ("c/a", REBUILD_ENDED),
        ("cause/c/2", OPENED),
        ("cause/c/2", GREW),
        ("c/a", PACKAGE),
        ("cause/c/1", CLOSED),
        ("cause/c/1", OPENED),
        ("c/b", PACKAGE),
        ("c/a", PACKAGE),
    ]
    .into_iter()
    .zip(0..)
    .map(|((subject, topic), n)| Announcement { topic: topic.to_owned(), ..announcement(n, subject) })
    .collect();
    log.append(None, &Commit { announcements: all.clone(), ..Commit::default() }).await.unwrap();
    let said = async || log.said_before().await.unwrap().into_iter().map(|s| (s.topic, s.body)).collect::<Vec<_>>();
    let before: Vec<_> =
        [1, 2, 4, 5, 7, 8, 9, 10].into_iter().map(|n: usize| (all[n].topic.clone(), all[n].body.clone())).collect();
    assert_eq!(said().await, before);
    let ends = at(1_000_000);
    assert_eq!(log.prune_announcements(ends, 99).await.unwrap(), 0, "all wait");
    let ids: Vec<String> = all[..10].iter().map(|a| a.id.clone()).collect();
    log.mark_announced(&ids).await.unwrap();
    assert_eq!(log.prune_announcements(at(100), 99).await.unwrap(), 0, "all are newer");
    assert_eq!(log.prune_announcements(ends, 2).await.unwrap(), 2, "no more than asked for");
    assert_eq!(log.prune_announcements(ends, 99).await.unwrap(), 3);
    let left: Vec<String> = log.announcements(None, 99).await.unwrap().into_iter().map(|(_, a)| a.id).collect();
    assert_eq!(left, [2, 4, 5, 8, 9, 10].map(|n: usize| all[n].id.clone()));
    let after: Vec<_> = before.into_iter().filter(|(topic, body)| topic != CLOSED && *body != all[1].body).collect();
    assert_eq!(said().await, after);
    log.append(None, &Commit { announcements: vec![announcement(40, "c/a")], ..Commit::default() }).await.unwrap();
    assert_eq!(log.next_announcements(9).await.unwrap()[0].id, "id-10", "new ones come after old ones");
}

/// A change waits until another entry of its subject replaces it.
pub(super) async fn held_changes(place: Place) {
    let log = place.open().await;
    let held = |n, old: &str| Some(HeldChange { seq: seq(n), old: old.to_owned() });
    let append = async |held: &[(&str, Option<HeldChange>)]| {
        let held = held.iter().map(|(subject, held)| ((*subject).to_owned(), held.clone())).collect();
        log.append(None, &Commit { held, ..Commit::default() }).await.unwrap();
        log.held_changes().await.unwrap()
    };
    let of = |held: &[(&str, Option<HeldChange>)]| -> Vec<(String, HeldChange)> {
        held.iter().map(|(subject, held)| ((*subject).to_owned(), held.clone().unwrap())).collect()
    };
    assert_eq!(
        append(&[("b", held(1, "ok")), ("a", held(2, "failing"))]).await,
        of(&[("a", held(2, "failing")), ("b", held(1, "ok"))])
    );
    assert_eq!(append(&[("a", None), ("c", held(3, "ok")), ("c", None)]).await, of(&[("b", held(1, "ok"))]));
    assert_eq!(append(&[("b", None), ("b", held(7, "ignored"))]).await, of(&[("b", held(7, "ignored"))]));
    let reader = place.try_open(&Options { read_only: true, ..Options::default() }).await.unwrap();
    assert_eq!(reader.held_changes().await.unwrap().len(), 1);
}
