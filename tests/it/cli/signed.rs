//! Who said an operator's word: the log has a stand-in, and only the table of persons has the name.

use std::collections::BTreeMap;

use koschei::log::{EventLog, PAGE_MAX};
use serde_json::Value;

use crate::cli::words::{koschei, open};

const EVENTS: &str = include_str!("../../data/koji/events.jsonl");
/// Number of recorded lines after which five rebuilds of ours are open.
const LINES: usize = 214;
/// The task of one of these rebuilds.
const TASK: &str = "9";
/// A message that is set aside.
const BROKEN: &str = r#"{"topic":"org.x.buildsys.tag","id":"broken","body":{"tag":7}}"#;

/// Every word that records who said it, as command line arguments, with its kind of event.
const WORDS: [(&[&str], &str); 13] = [
    (&["admin", "track", "-c", "f99-build", "curl"], "package_tracked"),
    (&["admin", "untrack", "-c", "f99-build", "zlib"], "package_untracked"),
    (&["admin", "set-priority", "-c", "f99-build", "--points", "3", "curl"], "package_priority_set"),
    (&["admin", "set-priority", "-c", "f99-build", "--points", "3", "--static", "curl"], "package_priority_set"),
    (&["admin", "set-arch-override", "-c", "f99-build", "--arches", "x86_64", "curl"], "package_arch_override_set"),
    (&["admin", "set-skip-resolution", "-c", "f99-build", "--skip", "yes", "curl"], "package_skip_resolution_set"),
    (&["admin", "hold", "-c", "f99-build", "--until", "2099-02-01", "curl"], "package_hold_set"),
    (&["admin", "unhold", "-c", "f99-build", "curl"], "package_hold_set"),
    (&["admin", "cancel", TASK], "rebuild_cancel_requested"),
    (&["admin", "pause", "--reason", "mass rebuild"], "submissions_paused"),
    (&["admin", "resume"], "submissions_resumed"),
    (&["admin", "group", "net", "--add", "curl", "--reason", "r"], "group_made"),
    (&["log", "dismiss-parked", "broken", "--reason", "a test of the bus"], "message_dismissed"),
];

/// Two persons say the words in turns; one word is said without a name.
#[tokio::test(flavor = "multi_thread")]
async fn every_word_keeps_who_said_it() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("first.jsonl");
    let lines: Vec<&str> = EVENTS.lines().take(LINES).chain([BROKEN]).collect();
    std::fs::write(&from, lines.join("\n") + "\n").unwrap();
    let db = dir.path().join("a.db").to_str().unwrap().to_owned();
    let ingest = || {
        let out = koschei(&["ingest", "--from", from.to_str().unwrap(), "--db", &db]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
    };
    ingest();
    let log = open(&db).await;
    let before = log.head().await.unwrap().seq;
    let mut speakers = ["ursula", "viktor"].into_iter().cycle();
    let mut wanted: Vec<(&str, Option<&str>)> = Vec::new();
    for (n, (word, kind)) in WORDS.into_iter().enumerate() {
        let mut command = koschei(word);
        command.args(["--no-wait", "--db", &db]);
        // The name comes from an option, from the environment as with `sudo`, or is missing.
        let who = (n != 3).then(|| speakers.next().unwrap());
        match who {
            Some(name) if n % 2 == 0 => command.args(["--by", name]),
            Some(name) => command.env("SUDO_USER", name),
            None => &mut command,
        };
        let out = command.output().unwrap();
        assert!(out.status.success(), "{word:?}: {out:?}");
        wanted.push((kind, who));
    }
    ingest();

    let people: BTreeMap<String, String> =
        log.all_persons().await.unwrap().into_iter().map(|(id, name)| (id.as_str().to_owned(), name)).collect();
    let kinds: Vec<&str> = wanted.iter().map(|(kind, _)| *kind).collect();
    let records = log.read(before, PAGE_MAX).await.unwrap();
    let said: Vec<(&str, Option<&str>)> = records
        .iter()
        .filter(|r| r.source == "operator" && kinds.contains(&r.kind.as_str()))
        .map(|r| {
            assert!(!r.payload.contains("ursula") && !r.payload.contains("viktor"), "{}", r.payload);
            let payload: Value = serde_json::from_str(&r.payload).unwrap();
            let by = payload.get("by").map(|by| people[by.as_str().unwrap()].as_str());
            (r.kind.as_str(), by)
        })
        .collect();
    assert_eq!(said, wanted);
    for name in ["ursula", "viktor"] {
        assert_eq!(people.values().filter(|n| *n == name).count(), 1, "{name} has one stand-in");
    }
    log.close().await;
}
