//! Builds and tasks out of the usual order, and clocks that change.

use koschei::decide::Policy;
use koschei::event::{RebuildCancelRequested, RepoDeleted};
use koschei::fold::EvidenceKind;
use koschei::model::{Hub, Outcome, PackageState, RepoId, TaskId};

use crate::decide::defects::z;
use crate::story::{HOUR, World, ok, settings};

/// Behaviour 10 (#338, #361): a side-tag build counts from its tagging, and changes do not need its
/// repository.
#[test]
fn side_tag_build_tagged_days_later() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    w.pass(HOUR);
    w.built("foo-2-1");
    w.tag("f99-build-side-7", "foo-2-1");
    w.pass(24 * HOUR);
    w.rebuild(5, "foo-1-1", "FAILED", 1);
    assert_eq!(w.is("foo"), PackageState::Failing, "what is in the dest tag does not build");
    w.pass(24 * HOUR);
    w.tag("f99", "foo-2-1");
    assert_eq!(w.is("foo"), PackageState::Ok, "the build that was tagged last decides, though the rebuild began later");
    assert!(matches!(w.package("foo").base().unwrap().kind, EvidenceKind::Real(_)));
    assert_eq!(w.why("foo").priority.unwrap().time, -30_000, "time counts from tagging");
    w.repo(2, &[ok("foo-2-1", &z(2))]);
    w.operator(RepoDeleted { hub: Hub::new("primary"), repo_id: RepoId(2), tag: "f99-build".into() });
    w.lose("f99-build", 2);
    w.repo(3, &[ok("foo-2-1", &z(3))]);
    assert_eq!(w.changes("foo"), ["z 2-1>3-1 /1"], "measured from what the log kept of repository 2");
    w.sound();
}

/// Behaviour 12: nothing depends on a clock's time zone or on its change.
#[test]
fn clocks_change() {
    let story = |zones: [i8; 3]| {
        let mut w = World::new();
        w.zone = zones[0];
        w.real("f99", "foo-1-1");
        w.repo(1, &[ok("foo-1-1", &z(1))]);
        w.repo(2, &[ok("foo-1-1", &z(2))]);
        w.zone = zones[1];
        w.pass(3 * HOUR);
        w.task(1, "foo-1-1", "OPEN", Some(1));
        w.task(1, "foo-1-1", "CANCELED", Some(1));
        w.zone = zones[2];
        let mut due = Vec::new();
        for _ in 0..8 {
            w.pass(HOUR / 2);
            due.push(w.requested().len());
        }
        (w.state().digest(), due)
    };
    let utc = story([0, 0, 0]);
    assert_eq!(utc.1.iter().position(|n| *n == 1), Some(5), "six hours after it was tagged");
    assert_eq!(story([2, 1, 1]), utc, "clocks go back");
    assert_eq!(story([-8, -7, 9]), utc);
}

/// Behaviour 12: the machine's own time zone does not matter either.
#[test]
fn the_machines_zone_does_not_matter() {
    let run = |zone: &str| {
        let dir = tempfile::tempdir().unwrap();
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_koschei"))
            .args(["ingest", "--json", "--from", "tests/data/koji/events.jsonl", "--db"])
            .arg(dir.path().join("k.db"))
            .env("TZ", zone)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        (report["log_digest"].clone(), report["facts_digest"].clone())
    };
    assert_eq!(run("Europe/Prague"), run("Pacific/Auckland"));
}

/// Behaviour 13: one tag message counts in every collection that has the tag.
#[test]
fn a_package_in_several_collections() {
    let mut w = World::with(
        Policy::default(),
        &[
            ("f99", settings("f99")),
            ("f99-slow", koschei::event::CollectionSettings { coefficient: 500, ..settings("f99") }),
        ],
    );
    w.real("f99", "foo-1-1");
    w.real("f99", "foo-2-1");
    for c in ["f99", "f99-slow"] {
        assert_eq!(w.state().package(c, "foo").unwrap().latest.as_ref().unwrap().source, "2-1", "{c}");
        assert_eq!(w.is_in(c, "foo"), PackageState::Ok);
    }
    w.untag("f99", "foo-2-1");
    for c in ["f99", "f99-slow"] {
        assert_eq!(w.state().package(c, "foo").unwrap().latest.as_ref().unwrap().source, "1-1", "{c}");
    }
    w.list("f99", "foo", "block");
    assert_eq!((w.is_in("f99", "foo"), w.is_in("f99-slow", "foo")), (PackageState::Blocked, PackageState::Blocked));
    w.sound();
}

/// A task that somebody asked to cancel and that never ends is given up in the end. It must not
/// occupy its slot for ever.
#[test]
fn a_cancelled_task_that_never_ends() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    w.task(7, "foo-1-1", "OPEN", Some(1));
    w.operator(RebuildCancelRequested {
        collection: "f99".into(),
        package: "foo".into(),
        hub: Hub::new("primary"),
        task_id: Some(TaskId(7)),
        rebuild: None,
        reason: "no time for it".to_owned(),
        by: None,
    });
    w.pass(49 * HOUR);
    assert_eq!((w.task_outcome(7), w.state().running()), (Some(Outcome::TimedOut), 0));
    w.task(7, "foo-1-1", "CLOSED", Some(1));
    assert_eq!(w.task_outcome(7), Some(Outcome::Ok), "it did end after all");
    w.sound();
}
