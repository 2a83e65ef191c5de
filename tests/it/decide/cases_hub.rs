//! Working with a hub, in state and decisions: requests and their results, whose task is whose,
//! faults in the builder's words, pauses and limits, loads, many rebuilds at once.

use koschei::decide::faults::{MAX_FAULT_TEXT_BYTES, VANISHED};
use koschei::decide::{Hold, Policy};
use koschei::event::{
    Event, PriorityKind, RebuildCancelRequested, RebuildFinished, RebuildRefused, SubmissionsPaused,
    SubmissionsResumed, TaskVanished,
};
use koschei::fold::Standing;
use koschei::model::koji::TaskState::{Canceled, Closed, Failed, Free, Open};
use koschei::model::{Hub, Outcome, PackageState, RebuildId, TaskId};
use rstest::rstest;

use crate::story::{HOUR, World, ok, settings};

pub(crate) const Z: &str = "z-0:1-1.x86_64/1";

/// Makes one due package on a hub that accepts requests. Its request is open.
pub(crate) fn due() -> (World, RebuildId) {
    let mut w = World::new();
    w.submits();
    w.tag("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z)]);
    assert_eq!(w.requested(), ["foo"]);
    let rebuild = w.open("foo");
    (w, rebuild)
}

pub(crate) fn task(w: &World, id: i64) -> &koschei::fold::Task {
    &w.state().hubs[&Hub::new("primary")].tasks[&TaskId(id)]
}

pub(crate) fn finished(w: &World) -> Vec<RebuildFinished> {
    w.all(|e| match e {
        Event::RebuildFinished(f) => Some(f),
        _ => None,
    })
}

/// Returns the commands that left, in short form.
pub(crate) fn commands(w: &World) -> Vec<String> {
    let word = |c: serde_json::Value| match c["command"].as_str().unwrap() {
        "cancel" => format!("cancel {}", c["task_id"]),
        other => format!("{other} {}", c["id"].as_str().unwrap()),
    };
    w.commands().into_iter().map(word).collect()
}

pub(crate) fn paused(collection: Option<&str>) -> SubmissionsPaused {
    SubmissionsPaused { collection: collection.map(Into::into), reason: "mass rebuild".to_owned(), by: None }
}

pub(crate) fn resumed(collection: Option<&str>) -> SubmissionsResumed {
    SubmissionsResumed { collection: collection.map(Into::into), by: None }
}

// ---- requests ----

/// Decided, submitted, seen, ended: the request occupies one slot all the time, and frees it in the
/// end.
#[test]
fn a_request_from_decision_to_end() {
    let (mut w, rebuild) = due();
    assert_eq!((w.state().running(), w.held("foo")), (1, vec!["rebuild_open"]));
    assert_eq!(commands(&w), [format!("rebuild {}", w.command_of(rebuild))]);
    w.submitted(rebuild, "foo", 101);
    assert_eq!((w.state().running(), w.held("foo")), (1, vec!["rebuild_open"]), "not seen as a task yet");
    w.looked(101, "foo-1-1", Free, Some(rebuild));
    assert_eq!((w.state().running(), w.held("foo")), (1, vec!["running"]));
    assert!(w.state().rebuilds[&rebuild].task.is_some());
    w.looked_with(101, "foo-1-1", Closed, Some(rebuild), &[("srpm", 0, ""), ("x86_64", 0, "")]);
    assert_eq!((w.state().running(), w.is("foo")), (0, PackageState::Ok));
    assert_eq!(finished(&w)[0].rebuild, Some(rebuild));
    assert!(w.state().rebuilds.is_empty());
    let logs: Vec<_> = task(&w, 101).steps.iter().map(|s| (s.label.to_string(), s.task_id.0)).collect();
    assert_eq!(logs, [("srpm".to_owned(), 10_100), ("x86_64".to_owned(), 10_101)], "where the logs lie");
    w.sound();
}

/// The task may be seen before its submitter reports it, and the submitter may report it twice.
#[test]
fn seen_before_it_is_told() {
    let (mut w, rebuild) = due();
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    w.submitted(rebuild, "foo", 101);
    w.submitted(rebuild, "foo", 101);
    assert_eq!((w.state().running(), w.held("foo")), (1, vec!["running"]));
    w.looked(101, "foo-1-1", Closed, Some(rebuild));
    w.submitted(rebuild, "foo", 101);
    assert_eq!((w.state().running(), w.outcomes("foo")), (0, vec!["ok".to_owned()]));
    assert_eq!(commands(&w), [format!("rebuild {}", w.command_of(rebuild))]);
    w.sound();
}

/// Nobody answers: the request keeps its slot and says since when it waits.
#[test]
fn an_unanswered_request_is_seen() {
    let (mut w, rebuild) = due();
    let since = w.now();
    w.pass(48 * HOUR);
    assert_eq!(w.why("foo").deciding, [Hold::RebuildOpen { since }]);
    assert!(w.why("foo").deciding[0].to_string().ends_with("waits to be submitted since 2026-11-20T00:00:00Z"));
    assert_eq!((w.open("foo"), w.requested()), (rebuild, vec![]));
    w.sound();
}

/// The hub refuses: the reason is shown, and the rebuild is not tried again until something
/// changes.
#[test]
fn refused() {
    let (mut w, rebuild) = due();
    let reason = "1004 action not allowed: policy violation (build_from_srpm)".to_owned();
    w.operator(RebuildRefused { rebuild, collection: "f99".into(), package: "foo".into(), reason });
    assert_eq!(w.state().running(), 0);
    let Hold::Declined { because } = &w.why("foo").deciding[0] else { panic!("{:?}", w.why("foo")) };
    assert_eq!(because, "1004 action not allowed: policy violation (build_from_srpm)");
    w.pass(48 * HOUR);
    assert_eq!(w.requested(), [""; 0], "time alone does not repeat it");
    w.points("foo", PriorityKind::Manual, 1);
    w.pass(60);
    assert_eq!(w.requested(), ["foo"]);
    w.sound();
}

// ---- whose task it is ----

/// Of the tasks with a decision's id, the lowest one is ours, in any order of hearing of them.
#[rstest]
#[case::in_order(&[101, 105])]
#[case::resubmission_first(&[105, 101])]
fn the_lowest_task_is_ours(#[case] order: &[i64]) {
    let (mut w, rebuild) = due();
    for id in order {
        w.looked(*id, "foo-1-1", Open, Some(rebuild));
    }
    let own = |w: &World, id| task(w, id).rebuild;
    assert_eq!((own(&w, 101), own(&w, 105)), (Some(rebuild), None));
    w.looked(105, "foo-1-1", Closed, Some(rebuild));
    assert!(w.state().rebuilds.contains_key(&rebuild), "its end is not that of our rebuild");
    w.looked_with(101, "foo-1-1", Failed, Some(rebuild), &[("x86_64", 1005, "mock exited with status 1;")]);
    assert!(w.state().rebuilds.is_empty());
    let ends: Vec<_> = finished(&w).into_iter().map(|f| (f.task_id.0, f.rebuild)).collect();
    assert_eq!(ends, [(105, None), (101, Some(rebuild))]);
    assert_eq!(w.state().running(), 0);
    w.audited();
}

/// A lower task reported by the submitter replaces a task that was seen first.
#[test]
fn submitted_takes_over() {
    let (mut w, rebuild) = due();
    w.looked(105, "foo-1-1", Open, Some(rebuild));
    w.submitted(rebuild, "foo", 101);
    assert_eq!(task(&w, 105).rebuild, None);
    assert_eq!(w.state().rebuilds[&rebuild].task, Some((Hub::new("primary"), TaskId(101))));
    w.submitted(rebuild, "foo", 107);
    assert_eq!(w.state().rebuilds[&rebuild].task, Some((Hub::new("primary"), TaskId(101))), "and none higher does");
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    assert_eq!(task(&w, 101).rebuild, Some(rebuild));
    w.audited();
}

/// The same holds if the resubmission ended before we heard of our own task.
#[test]
fn ours_is_found_after_the_end() {
    let (mut w, rebuild) = due();
    w.looked(105, "foo-1-1", Closed, Some(rebuild));
    assert_eq!(task(&w, 105).rebuild, Some(rebuild));
    w.looked(101, "foo-1-1", Canceled, Some(rebuild));
    assert_eq!((task(&w, 101).rebuild, task(&w, 105).rebuild), (Some(rebuild), None));
    assert_eq!(w.state().running(), 0);
    w.audited();
}

/// A task counts in the collection that decided it, even if its target leads elsewhere by now.
#[test]
fn a_task_counts_where_it_was_decided() {
    let copy = koschei::event::CollectionSettings { build_tag: "f99-copy".into(), ..settings("f99") };
    let mut w = World::with(Policy::default(), &[("copy", copy), ("f99", settings("f99"))]);
    w.submits();
    w.tag("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z)]);
    let rebuild = w.open("foo");
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    assert_eq!(task(&w, 101).collection.as_deref(), Some("f99"));
    w.looked(102, "foo-1-1", Open, None);
    assert_eq!(task(&w, 102).collection.as_deref(), Some("copy"), "of others the target says it");
    w.sound();
}

/// The hub does not know our task any more: its slot is free, and the package waits like after any
/// fault.
#[rstest]
#[case::seen(true)]
#[case::never_seen(false)]
fn a_task_vanishes(#[case] seen: bool) {
    let (mut w, rebuild) = due();
    w.submitted(rebuild, "foo", 101);
    if seen {
        w.looked(101, "foo-1-1", Open, Some(rebuild));
    }
    w.operator(TaskVanished { hub: Hub::new("primary"), task_id: TaskId(101), package: "foo".into() });
    let ends = finished(&w);
    let [end] = &ends[..] else { panic!("{ends:?}") };
    assert_eq!(
        (end.outcome, end.reason.as_str(), end.rebuild),
        (Outcome::InfrastructureFault, VANISHED, Some(rebuild))
    );
    assert_eq!((w.state().running(), w.state().rebuilds.len()), (0, 0));
    assert_eq!(w.held("foo"), ["retry_later"]);
    w.operator(TaskVanished { hub: Hub::new("primary"), task_id: TaskId(101), package: "foo".into() });
    w.pass(49 * HOUR);
    assert_eq!(finished(&w).len(), 1, "once is enough, and it is not given up besides");
    assert_eq!(w.requested(), ["foo"], "and is tried again");
    w.audited();
}

/// A hub does not know a task for a while and then knows it again. The task's result counts.
#[test]
fn a_task_comes_back() {
    let (mut w, rebuild) = due();
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    w.operator(TaskVanished { hub: Hub::new("primary"), task_id: TaskId(101), package: "foo".into() });
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    assert_eq!(w.state().running(), 0, "given up, it holds no slot");
    w.looked_with(101, "foo-1-1", Failed, Some(rebuild), &[("x86_64", 1005, "mock exited with status 1;")]);
    assert_eq!(w.outcomes("foo"), ["infrastructure fault", "genuine failure"]);
    assert_eq!((w.is("foo"), w.state().running()), (PackageState::Failing, 0));
    w.sound();
}

/// The submitter checks each request's standing before it calls the hub.
#[test]
fn standings() {
    let (mut w, rebuild) = due();
    let hub = Hub::new("primary");
    assert_eq!(w.state().standing(rebuild), Standing::Open);
    for pause in [None, Some("f99")] {
        w.operator(paused(pause));
        assert_eq!(w.state().standing(rebuild), Standing::Paused);
        w.operator(resumed(pause));
    }
    w.operator(paused(Some("f98")));
    assert_eq!(w.state().standing(rebuild), Standing::Open, "another collection's matter");
    w.submitted(rebuild, "foo", 101);
    assert_eq!(w.state().standing(rebuild), Standing::Submitted(hub, TaskId(101)));
    w.looked(101, "foo-1-1", Closed, Some(rebuild));
    assert_eq!(w.state().standing(rebuild), Standing::Closed);
    assert_eq!(w.state().standing(RebuildId(9999)), Standing::Closed);
    assert_eq!(w.state().anomalies.len(), 1, "a pause of a collection that is not there: {:?}", w.state().anomalies);
}

// ---- cancelling ----

fn cancel(rebuild: RebuildId) -> RebuildCancelRequested {
    RebuildCancelRequested {
        collection: "f99".into(),
        package: "foo".into(),
        hub: Hub::new("primary"),
        task_id: None,
        rebuild: Some(rebuild),
        reason: "not now".to_owned(),
        by: None,
    }
}

/// A request without a task is closed as not submitted. Nothing else happens.
#[test]
fn a_request_is_cancelled() {
    let (mut w, rebuild) = due();
    w.operator(cancel(rebuild));
    let closed = w.all(|e| match e {
        Event::RebuildNotSubmitted(r) => Some((r.rebuild, r.reason)),
        _ => None,
    });
    assert_eq!(closed, [(rebuild, "cancelled".to_owned())]);
    assert_eq!((w.state().running(), w.held("foo")), (0, vec!["declined"]));
    assert!(!w.state().rebuilds.contains_key(&rebuild), "whoever submits asks for this");
    assert_eq!(commands(&w).len(), 1, "there is no task to cancel");
    w.sound();
}

/// A request is submitted at the moment of its cancellation: the task is stopped.
#[rstest]
#[case::told(true)]
#[case::seen(false)]
fn cancelled_while_it_is_submitted(#[case] told: bool) {
    let (mut w, rebuild) = due();
    w.operator(cancel(rebuild));
    if told {
        w.submitted(rebuild, "foo", 101);
        assert_eq!(commands(&w)[1..], ["cancel 101"]);
    }
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    assert!(commands(&w)[1..].iter().all(|c| c == "cancel 101") && commands(&w).len() > 1, "{:?}", commands(&w));
    let asked = commands(&w).len();
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    w.submitted(rebuild, "foo", 101);
    assert_eq!(commands(&w).len(), asked, "asked for once it is known");
    w.looked(101, "foo-1-1", Canceled, Some(rebuild));
    assert_eq!((w.outcomes("foo"), w.state().running()), (vec!["cancelled".to_owned()], 0));
    assert_eq!(finished(&w)[0].reason, "cancelled on request");
    w.sound();
}

/// A request that already has a task is cancelled through the task, seen or not.
#[rstest]
#[case::seen(true)]
#[case::only_told(false)]
fn a_submitted_request_is_cancelled(#[case] seen: bool) {
    let (mut w, rebuild) = due();
    w.submitted(rebuild, "foo", 101);
    if seen {
        w.looked(101, "foo-1-1", Open, Some(rebuild));
    }
    w.operator(cancel(rebuild));
    assert_eq!(commands(&w)[1..], ["cancel 101"]);
    assert_eq!(w.state().running(), 1, "until the hub says so");
    w.looked(101, "foo-1-1", Canceled, Some(rebuild));
    assert_eq!((finished(&w)[0].reason.as_str(), w.state().running()), ("cancelled on request", 0));
    w.sound();
}

// ---- faults in the builder's words ----

#[rstest]
#[case::compiler(
    "x86_64",
    1005,
    "error building package (arch x86_64), mock exited with status 1; see build.log",
    "genuine failure"
)]
#[case::source_package("srpm", 1005, "error building srpm, mock exited with status 1", "genuine failure")]
#[case::repository_gone("x86_64", 1005, "Bad repo: 16 (DELETED)", "infrastructure fault")]
#[case::no_chroot("x86_64", 1012, "could not init mock buildroot, mock exited with status 30", "infrastructure fault")]
#[case::known_here(
    "x86_64",
    1005,
    "mock exited with status 1; the RAID of builder 7 is on fire",
    "infrastructure fault"
)]
fn faults_are_judged_by_their_texts(#[case] label: &str, #[case] code: i64, #[case] text: &str, #[case] outcome: &str) {
    let policy = Policy { fault_patterns: vec!["raid of builder".to_owned()], ..Policy::default() };
    let mut w = World::with(policy, &[("f99", settings("f99"))]);
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z)]);
    w.looked(7, "foo-1-1", Open, None);
    w.looked_with(7, "foo-1-1", Failed, None, &[("noarch", 0, ""), (label, code, text)]);
    assert_eq!(w.outcomes("foo"), [outcome]);
    assert_eq!(finished(&w)[0].fault.as_deref(), Some(text), "the builder's own words");
    let steps = &task(&w, 7).steps;
    assert_eq!(
        (steps.len(), steps[1].failed.as_ref().map(|f| f.fault.clone())),
        (2, Some(None)),
        "judged and forgotten"
    );
    assert_eq!(task(&w, 7).fault, None);
    w.sound();
}

/// A very long text is cut when it is recorded. Its telling last line is kept.
#[test]
fn a_long_text_is_bounded() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    let text = format!("Traceback (most recent call last)\n{}\nProtocolError: 503", "  line\n".repeat(100_000));
    w.looked_with(7, "foo-1-1", Failed, None, &[("x86_64", 1, &text)]);
    let end = &finished(&w)[0];
    assert_eq!(end.outcome, Outcome::InfrastructureFault);
    let kept = end.fault.as_ref().unwrap();
    assert!(kept.len() <= MAX_FAULT_TEXT_BYTES + 1 && kept.ends_with("ProtocolError: 503"));
    w.audited();
}

/// The audit derives outcomes from texts too.
#[test]
fn a_wrong_outcome_is_found_by_its_text() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.looked_with(7, "foo-1-1", Failed, None, &[("x86_64", 1005, "Bad repo: 16 (DELETED)")]);
    let audit = w.audit();
    assert_eq!(audit.total, 0, "{:?}", audit.findings);
    w.operator(RebuildFinished { outcome: Outcome::GenuineFailure, ..finished(&w)[0].clone() });
    assert_eq!(w.audit().total, 1, "the words are forgotten, the judgement is not");
}
