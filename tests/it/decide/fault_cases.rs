//! Which failures are the package's own. The texts come from Koji's and mock's bug reports and
//! sources and from a recording; some are unknown.

use std::path::Path;
use std::process::Command;

use koschei::decide::{Hold, Policy};
use koschei::event::{Event, RebuildFinished, TaskFault};
use koschei::model::koji::TaskState::{self, Closed, Failed};
use koschei::model::{Outcome, PackageState};
use rstest::rstest;
use serde_json::Value;

use crate::story::{HOUR, World, ok, settings};

fn file(name: &str) -> String {
    format!("{}/tests/data/cases/service/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `foo` has a real build, so it is ok until a result says otherwise.
fn built_with(policy: Policy) -> World {
    let mut w = World::with(policy, &[("f99", settings("f99"))]);
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", "")]);
    w
}

fn built() -> World {
    built_with(Policy::default())
}

fn on(host: i64, code: i64, text: &str) -> TaskFault {
    TaskFault { host: Some(host), ..TaskFault::new(code, text) }
}

/// A rebuild fails with a text on `x86_64`, on a host.
fn fails(w: &mut World, task: i64, host: i64, text: &str) -> Option<Outcome> {
    fails_as(w, task, "foo-1-1", host, text)
}

fn fails_as(w: &mut World, task: i64, nvr: &str, host: i64, text: &str) -> Option<Outcome> {
    let fault = on(host, 1000, text);
    w.ended(task, nvr, Failed, None, vec![("buildArch".into(), "x86_64".into(), Some(fault.clone()))], Some(fault));
    w.task_outcome(task)
}

fn finished(w: &World) -> Vec<RebuildFinished> {
    w.all(|e| if let Event::RebuildFinished(e) = e { Some(e) } else { None })
}

/// Every collected text by itself: the verdict, the state, and that the package is tried again.
#[test]
fn collected_texts() {
    let table = std::fs::read_to_string(file("fault-texts.tsv")).unwrap();
    let mut rows = 0;
    for line in table.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let [right, code, method, label, text] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let fault = on(7, code.parse().unwrap(), &text.replace("\\n", "\n"));
        let steps = match method {
            "-" => vec![],
            method => vec![(method.to_owned(), label.to_owned(), Some(fault.clone()))],
        };
        let mut w = built();
        w.ended(9, "foo-1-1", Failed, None, steps, Some(fault));
        let (outcome, state) = match right {
            "genuine" => (Outcome::GenuineFailure, PackageState::Failing),
            "infra" => (Outcome::InfrastructureFault, PackageState::Ok),
            other => panic!("{other}"),
        };
        assert_eq!((w.task_outcome(9), w.is("foo")), (Some(outcome), state), "{line}");
        assert_eq!(w.held("foo")[0] == "retry_later", right == "infra", "{line}");
        w.audited();
        rows += 1;
    }
    assert!(rows > 30, "{rows} rows");
}

/// A recording in which a rebuild failed while it waited for a repository.
#[test]
fn a_failed_waitrepo_is_not_the_packages() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("k.db");
    let koschei = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).arg("--db").arg(&db).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let (events, archive) = (file("waitrepo-genuine/events.jsonl"), file("waitrepo-genuine/archive"));
    assert!(Path::new(&events).exists());
    koschei(&["ingest", "--from", &events, "--archive", &archive]);
    let status: Value = serde_json::from_str(&koschei(&["status", "--json"])).unwrap();
    let foo = &status["packages"][0];
    assert_eq!((&foo["package"], &foo["state"]), (&"foo".into(), &"ok".into()), "{foo:#}");
    let last = &foo["last_builds"][0];
    assert_eq!((&last["task_id"], &last["outcome"]), (&100.into(), &"infrastructure_fault".into()), "{last:#}");
    assert_eq!(last["reason"], "waitrepo (noarch) failed, and its fault is not known");
}

const ODD: &str = "Task 4711 on buildvm-01 went astray in /var/lib/mock/f99-build-17";
const SAME: &str = "Task 99 on buildvm-22 went astray in /var/lib/mock/f99-build-4";

/// An unknown text changes no state, and the waits grow.
#[test]
fn an_unknown_text_moves_nothing() {
    let mut w = built();
    for (n, thing) in (1..).zip(["a", "b", "c"]) {
        assert_eq!(fails(&mut w, n, 7, &format!("odd thing {thing}")), Some(Outcome::Unclear));
        let Hold::RetryLater { after, at } = w.why("foo").deciding[0] else { panic!("{:?}", w.why("foo").deciding) };
        let wait = at.since(w.now()) / 1_000_000;
        let least = 3600 << (n - 1);
        assert!((least..=least + least / 4).contains(&wait), "{wait} after {n}");
        assert_eq!(after, Outcome::Unclear);
        assert!(
            w.why("foo").deciding[0].to_string().starts_with("its last rebuild failed, cause unknown; next try at ")
        );
        w.pass(wait + 1);
        assert_ne!(w.held("foo")[0], "retry_later");
    }
    assert_eq!((w.is("foo"), w.states("foo")), (PackageState::Ok, vec!["->ok".to_owned()]));
    assert_eq!(w.outcomes("foo"), ["failed, cause unknown"; 3]);
    w.sound();
}

#[rstest]
#[case::at_once_on_the_same_host(7, 0, SAME, Outcome::Unclear)]
#[case::soon_on_the_same_host(7, 19, SAME, Outcome::Unclear)]
#[case::another_host(8, 1, SAME, Outcome::GenuineFailure)]
#[case::another_day(7, 21, SAME, Outcome::GenuineFailure)]
#[case::another_text(8, 48, "Task 4711 on buildvm-01 went south", Outcome::Unclear)]
fn the_same_text_again(#[case] host: i64, #[case] hours: i64, #[case] text: &str, #[case] outcome: Outcome) {
    let mut w = built();
    assert_eq!(fails(&mut w, 1, 7, ODD), Some(Outcome::Unclear));
    w.pass(hours * HOUR);
    assert_eq!(fails(&mut w, 2, host, text), Some(outcome));
    let genuine = outcome == Outcome::GenuineFailure;
    assert_eq!(w.is("foo"), if genuine { PackageState::Failing } else { PackageState::Ok });
    assert_eq!(finished(&w)[1].reason.ends_with("; the same 2 times, on different hosts or days"), genuine);
    if genuine {
        // The text is known by now: once more, it is not unclear any more.
        assert_eq!(fails(&mut w, 3, host, ODD), Some(outcome));
    }
    w.sound();
}

/// If the hosts are unknown, only a failure on another day decides.
#[test]
fn unknown_hosts_are_not_different_ones() {
    let mut w = built();
    for (task, hours) in [(1, 0), (2, 1), (3, 20)] {
        w.pass(hours * HOUR);
        w.looked_with(task, "foo-1-1", Failed, None, &[("x86_64", 1000, ODD)]);
    }
    assert_eq!(w.outcomes("foo"), ["failed, cause unknown", "failed, cause unknown", "genuine failure"]);
}

/// A success in between, or another source, starts the count anew.
#[test]
fn what_was_seen_is_forgotten() {
    let mut w = built();
    fails(&mut w, 1, 7, ODD);
    w.looked(2, "foo-1-1", Closed, None);
    assert_eq!(fails(&mut w, 3, 8, SAME), Some(Outcome::Unclear));
    w.real("f99", "foo-2-1");
    assert_eq!(fails_as(&mut w, 4, "foo-2-1", 9, SAME), Some(Outcome::Unclear));
    assert_eq!(fails_as(&mut w, 5, "foo-2-1", 7, SAME), Some(Outcome::GenuineFailure));
    w.sound();
}

#[test]
fn how_often_and_how_far_apart_is_a_setting() {
    let mut w = built_with(Policy { unclear_repeats: 3, unclear_apart_secs: 3600, ..Policy::default() });
    let hour = |w: &mut World, task| {
        let outcome = fails(w, task, 7, ODD);
        w.pass(HOUR);
        outcome
    };
    assert_eq!(hour(&mut w, 1), Some(Outcome::Unclear));
    assert_eq!(hour(&mut w, 2), Some(Outcome::Unclear));
    assert_eq!(hour(&mut w, 3), Some(Outcome::GenuineFailure));
    let mut w = built_with(Policy { unclear_repeats: 1, ..Policy::default() });
    assert_eq!(fails(&mut w, 1, 7, ODD), Some(Outcome::GenuineFailure));
    let mut w = built_with(Policy { package_fault_patterns: vec!["Went astray".into()], ..Policy::default() });
    assert_eq!(fails(&mut w, 1, 7, ODD), Some(Outcome::GenuineFailure));
    assert!(finished(&w)[0].reason.starts_with("buildArch (x86_64): Task 4711"));
    w.sound();
}

/// The text is cut so that it keeps its usual bound together with what is added to it.
#[test]
fn a_long_text_that_is_repeated_stays_in_its_bounds() {
    let mut w = built_with(Policy { unclear_repeats: 2, ..Policy::default() });
    let long = format!("{ODD} {}", "more and more words ".repeat(100));
    assert_eq!(fails(&mut w, 1, 7, &long), Some(Outcome::Unclear));
    assert_eq!(fails(&mut w, 2, 8, &long), Some(Outcome::GenuineFailure));
    let last = finished(&w).pop().unwrap();
    assert!(last.reason.ends_with("; the same 2 times, on different hosts or days"), "{}", last.reason);
    assert!(last.reason.chars().count() <= 300, "{}", last.reason.len());
    w.sound();
}

/// Texts of several steps and of the task itself: a genuine failure decides, then an unknown text.
#[rstest]
#[case(&[("buildArch", ODD), ("buildArch", "Bad repo: 7 (DELETED)")], Failed, Outcome::Unclear)]
#[case(&[("buildArch", ODD), ("buildArch", "error building package (arch x), mock exited with status \
    10")], Failed, Outcome::GenuineFailure)]
#[case::not_a_step_that_builds(&[("tagBuild", ODD)], Failed, Outcome::InfrastructureFault)]
#[case::not_even_so(&[("waitrepo", "error building srpm, mock exited with status \
    1")], Failed, Outcome::InfrastructureFault)]
#[case::by_the_step(&[("buildArch", " ")], Failed, Outcome::GenuineFailure)]
#[case::from_a_repository(&[("buildSRPMFromSCM", "error building srpm, mock exited with status \
    1")], Failed, Outcome::GenuineFailure)]
fn several_steps(#[case] steps: &[(&str, &str)], #[case] state: TaskState, #[case] outcome: Outcome) {
    let mut w = built();
    let step = |(method, text): &(&str, &str)| ((*method).to_owned(), "x".to_owned(), Some(on(7, 1005, text)));
    let own = Some(on(3, 1005, steps[0].1));
    w.ended(9, "foo-1-1", state, None, steps.iter().map(step).collect(), own);
    assert_eq!(w.task_outcome(9), Some(outcome));
    w.audited();
}

/// A log of an earlier version: old judgements stand, wait as before, and are no finding of an
/// audit.
#[test]
fn earlier_judgements_stand() {
    let text = include_str!("../../../schemas/examples/rebuild_finished.v1.json");
    let event = |outcome: &str| {
        let text = text.replace("genuine_failure", outcome);
        let Event::RebuildFinished(e) = Event::decode("rebuild_finished", 1, &text).unwrap() else { panic!() };
        (e.waits, e.rules, e.mark)
    };
    assert_eq!(event("genuine_failure"), (false, None, None));
    assert_eq!(event("cancelled"), (false, None, None));
    assert_eq!(event("timed_out"), (false, None, None));
    assert_eq!(event("infrastructure_fault"), (true, None, None));

    let mut w = built();
    fails(&mut w, 1, 7, ODD);
    let judged = finished(&w)[0].clone();
    w.operator(RebuildFinished { outcome: Outcome::GenuineFailure, rules: None, mark: None, ..judged.clone() });
    assert_eq!(w.audit().total, 0, "by the rules of its time");
    w.operator(RebuildFinished { outcome: Outcome::InfrastructureFault, ..judged });
    assert_eq!(w.audit().total, 1);
}
