//! The hub's story: the log of a service that worked with a hub.
//!
//! `tests/reference/hub-story.jsonl.zst` is the exported log of one run of `serve::story`. No two
//! runs are alike (which hub is asked first, what the bus loses), so the log itself is kept.
//! Folding and auditing it again must give the same results, and each of its decisions must still
//! follow from the rules. A small story with only one possible course checks that what is *read*
//! from a hub stays the same: its facts are a snapshot.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use koschei::model::PackageState;

use super::recordings::kinds;
use super::steady::{json, koschei};
use super::{Family, repository};
use crate::hub::NewBuild;
use crate::live::Live;
use crate::serve::first::{COLLECTION, rests, small};

const REFERENCE: &str = "tests/reference/hub-story.txt";
const LOG: &str = "tests/reference/hub-story.jsonl.zst";

pub(super) fn exported() -> String {
    String::from_utf8(zstd::decode_all(std::fs::File::open(repository(LOG)).unwrap()).unwrap()).unwrap()
}

/// Imports an export into a log in a directory. Returns whether it was accepted.
pub(super) fn import(dir: &Path, db: &str, text: &str) -> bool {
    std::fs::write(dir.join("story.jsonl"), text).unwrap();
    koschei(dir, ["log", "import", "--from", "story.jsonl", "--db", db]).status.success()
}

/// Returns the log's digests in the form of the reference file.
fn written(dir: &Path, until: Option<u64>) -> String {
    let until = until.map(|seq| seq.to_string());
    let more = until.iter().flat_map(|seq| ["--until", seq]);
    let args: Vec<&str> = ["replay", "--json"].into_iter().chain(more).collect();
    let (told, stats) = (json(dir, &args), json(dir, &["log", "stats", "--json"]));
    let mut text = String::new();
    for key in ["log_digest", "facts_digest"] {
        writeln!(text, "{key} {}", told[key].as_str().unwrap()).unwrap();
    }
    writeln!(text, "head {}\nkinds {}", stats["head"].as_str().unwrap(), kinds(&stats)).unwrap();
    text
}

#[test]
fn the_log_of_the_story_folds_to_what_it_folded_to() {
    let dir = tempfile::tempdir().unwrap();
    let text = exported();
    assert!(import(dir.path(), "koschei.db", &text), "every hash is as it was");
    let kept = std::fs::read_to_string(repository(REFERENCE)).unwrap();
    let kept: String = kept.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    let found = written(dir.path(), None);
    assert!(found == kept, "{REFERENCE} says\n{kept}but this is\n{found}");
    for check in ["audit", "verify"] {
        let out = koschei(dir.path(), ["log", check]);
        assert!(out.status.success(), "{check}: {out:?}");
    }
    // Planted fault: the last fact is missing.
    let facts = ["build_tagged", "build_changed", "repo_ready", "package_list_changed"];
    let line = |l: &&str| facts.iter().any(|kind| l.contains(&format!("koschei.{kind}.v")));
    let last: serde_json::Value = serde_json::from_str(text.lines().rfind(line).unwrap()).unwrap();
    let seq: u64 = last["sequence"].as_str().unwrap().parse().unwrap();
    let without = written(dir.path(), Some(seq - 1));
    for (kept, found) in kept.lines().zip(without.lines()).take(2) {
        assert_ne!(kept, found, "without event {seq}");
    }
}

/// Another planted fault: one value is changed.
#[test]
fn a_log_that_was_changed_is_not_taken() {
    let text = exported();
    let other = text.replacen("\"state\":\"complete\"", "\"state\":\"failed\"", 1);
    assert_ne!(other, text);
    let without: String = text.lines().enumerate().filter(|(n, _)| *n != 1000).flat_map(|(_, l)| [l, "\n"]).collect();
    for (what, text) in [("a word", other), ("a line less", without)] {
        assert!(!import(tempfile::tempdir().unwrap().path(), "koschei.db", &text), "{what}");
    }
}

/// The packages of a hub, and their expected states.
const STATES: [(&str, PackageState); 5] = [
    ("bash", PackageState::Ok),
    ("make", PackageState::Ok),
    ("libfoo", PackageState::Ok),
    ("app", PackageState::Unresolved),
    ("lone", PackageState::Blocked),
];

/// An update removes what another package needs, packages are blocked, removed and come back, and a
/// tag moves in the order of inheritance.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_from_a_hub_is_as_it_was() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    live.start();
    let builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("all are rebuilt", rests).await;
    live.hub.change(|tx| {
        tx.create_tag("f98", "")?;
        tx.package_list_add("f99", "gone", "alice")?;
        let builds = ["libfoo-2.0-1.fc99", "gone-1.0-1.fc99", "gone-1.1-1.fc99"];
        for (nvr, name) in builds.iter().zip(["libbar-devel", "gone", "gone"]) {
            let build = NewBuild::new(nvr).build_requires(&["make"]).binary(name, &["x86_64", "aarch64"], &[]);
            tx.import_into("f99", &build)?;
        }
        tx.untag_build("f99", "gone-1.1-1.fc99")?;
        tx.package_list_block("f99", "lone")?;
        tx.add_inheritance("f99", "f98", crate::hub::Inherit::default())
    });
    live.hub.change(|tx| tx.new_repo("f99-build"));
    let hub = live.hub.clone();
    let state = live
        .wait("the new repository is resolved", |s| {
            let of = |name: &str| s.package("f99", name).map(|p| p.state(true));
            let all = s.running() == 0 && STATES.iter().all(|(name, state)| of(name) == Some(*state));
            all && crate::serve::facts::differences(s, &hub).is_empty()
        })
        .await;
    drop(builders);
    let mut text: String = state.facts().iter().flat_map(|fact| [fact, "\n"]).collect();
    text += &format!("facts digest {}\n", state.facts_digest());
    let mut family = Family::new("hub");
    family.is("facts", &text);
    family.done();
    // Planted fault: one fact less.
    let before = state.facts_digest();
    live.hub.change(|tx| tx.untag_build("f99", "gone-1.0-1.fc99"));
    live.wait("it is seen", |s| s.facts_digest() != before).await;
    live.stop();
}
