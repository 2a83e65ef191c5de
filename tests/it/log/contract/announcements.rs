//! The announcements.

use koschei::log::*;

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
    // All of them stay, with numbers that follow each other.
    let stored = log.announcements(0, 99).await.unwrap();
    assert_eq!(stored.iter().map(|(_, a)| a.clone()).collect::<Vec<_>>(), all);
    assert_eq!(log.announcements(stored[3].0, 2).await.unwrap(), stored[4..6]);
    assert!(stored.windows(2).all(|w| w[0].0 < w[1].0));
    let subjects = log.announced_subjects().await.unwrap();
    assert_eq!(subjects, ["c/a", "c/b", "c/c"].map(str::to_owned).into());
    // An id is used once, whatever became of it.
    for n in [0, 1, 11] {
        let error = log.append(None, &one(&[announcement(50, "c/d"), announcement(n, "c/d")])).await.unwrap_err();
        assert!(error.to_string().contains("append announcements"), "{error}");
    }
    assert_eq!(log.announcements(0, 99).await.unwrap().len(), 12);
    let reader = place.try_open(&Options { read_only: true, ..Options::default() }).await.unwrap();
    assert_eq!(reader.announcements(0, 99).await.unwrap(), stored);
    reader.mark_announced(&ids(&["id-3"])).await.unwrap_err();
}
