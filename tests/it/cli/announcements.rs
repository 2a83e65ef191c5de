//! `koschei announcements` on the recording: one message when a cause is found, and one when it is
//! over.

use koschei::log::{Announcement, Announcements, Commit, EventLog, Options};
use serde_json::Value;

use crate::log_place::{at, seq};
use crate::recorded::{koschei, recorded};

fn announcements(options: &[&str]) -> String {
    let out = koschei(&[&["announcements", "--db", recorded().to_str().unwrap()], options].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn lines(options: &[&str]) -> Vec<Value> {
    announcements(options).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_cause_is_told_once_and_ended_once() {
    // The recording is of half an hour, and its cause is repaired within a minute.
    let all = lines(&["--hold-back", "0", "--topic", "koschei.cause", "--json"]);
    let ids: std::collections::BTreeSet<&str> =
        all.iter().map(|l| l["body"]["cause"]["id"].as_str().unwrap()).collect();
    assert!(!ids.is_empty());
    for id in ids {
        let of = all.iter().filter(|l| l["body"]["cause"]["id"] == id);
        let topics: Vec<&str> = of.map(|l| l["topic"].as_str().unwrap()).collect();
        assert_eq!(topics[0], "koschei.cause.opened.v1");
        assert!(topics.iter().filter(|t| t.ends_with("opened.v1")).count() == 1, "{topics:?}");
        assert!(topics.iter().filter(|t| t.ends_with("closed.v1")).count() == 1, "{topics:?}");
    }
}

#[test]
fn people_read_sentences() {
    let all = announcements(&["--hold-back", "0", "--topic", "koschei.cause.opened.v1"]);
    assert!(all.lines().all(|line| line.contains("  koschei.cause.opened.v1") && line.contains(" breaks ")), "{all}");
    let later = announcements(&["--hold-back", "86400", "--topic", "koschei.cause"]);
    assert_eq!(later, "Nothing would have been told.\n");
    let out = koschei(&["announcements", "--db", recorded().to_str().unwrap(), "--topic", "koschei.causes"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(!out.status.success() && said.contains("use the topic `koschei.causes`"), "{said}");
}

#[tokio::test]
async fn what_was_set_aside_is_shown_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("koschei.db");
    let show = || {
        let out = koschei(&["announcements", "--db", db.to_str().unwrap(), "--set-aside"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let log = koschei::log::open(db.to_str().unwrap(), &Options::default()).await.unwrap();
    assert_eq!(show(), "No announcement was set aside.\n");
    let announcement = Announcement {
        id: "id".to_owned(),
        seq: seq(1),
        subject: "collection/f99/curl".to_owned(),
        made_at: at(1_700_000_000),
        topic: "koschei.package.state.change".to_owned(),
        headers: "{}".to_owned(),
        body: r#"{"name": "curl", "old": "ok", "new": "failing", "collection": "f99"}"#.to_owned(),
        people: Vec::new(),
    };
    log.append(None, &Commit { announcements: vec![announcement], ..Commit::default() }).await.unwrap();
    log.mark_unsendable("id", "larger than the broker allows").await.unwrap();
    assert!(show().ends_with("curl: ok -> failing in f99 [larger than the broker allows]\n"), "{}", show());
    log.close().await;
}
