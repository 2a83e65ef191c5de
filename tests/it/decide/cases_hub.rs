//! Working with a hub, in state and decisions: requests and their results, whose task is whose,
//! faults in the builder's words, pauses and limits, loads, many rebuilds at once.

use koschei::decide::faults::{MAX_FAULT_TEXT_BYTES, VANISHED};
use koschei::decide::{Hold, Policy};
use koschei::event::{
    Event, PriorityKind, RebuildCancelRequested, RebuildFinished, RebuildNotSubmitted, RebuildRefused, Source,
    SubmissionsPaused, SubmissionsResumed, TagObserved, TaskVanished,
};
use koschei::fold::Standing;
use koschei::model::koji::TaskState::{self, Canceled, Closed, Failed, Free, Open};
use koschei::model::{Hub, Outcome, PackageState, RebuildId, TaskId};
use rstest::rstest;

use crate::story::{HOUR, World, ok, settings};

const Z: &str = "z-0:1-1.x86_64/1";

/// Makes one due package on a hub that accepts requests. Its request is open.
fn due() -> (World, RebuildId) {
    let mut w = World::new();
    w.submits();
    w.tag("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z)]);
    assert_eq!(w.requested(), ["foo"]);
    let rebuild = w.open("foo");
    (w, rebuild)
}

fn task(w: &World, id: i64) -> &koschei::fold::Task {
    &w.state().hubs[&Hub::new("primary")].tasks[&TaskId(id)]
}

fn finished(w: &World) -> Vec<RebuildFinished> {
    w.all(|e| match e {
        Event::RebuildFinished(f) => Some(f),
        _ => None,
    })
}

/// Returns the commands that left, in short form.
fn commands(w: &World) -> Vec<String> {
    let word = |c: serde_json::Value| match c["command"].as_str().unwrap() {
        "cancel" => format!("cancel {}", c["task_id"]),
        other => format!("{other} {}", c["id"].as_str().unwrap()),
    };
    w.commands().into_iter().map(word).collect()
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

// ---- pauses, limits, passive mode ----

/// Two due packages in each of two collections. Only what a test sets holds them back.
fn two_collections(policy: Policy) -> World {
    let mut w = World::with(policy, &[("f98", settings("f98")), ("f99", settings("f99"))]);
    w.submits();
    for (tag, p) in [("f98", "a"), ("f98", "b"), ("f99", "c"), ("f99", "d")] {
        w.tag(tag, &format!("{p}-1-1"));
    }
    w
}

fn ready(w: &mut World) {
    w.holds("f98-build", 1, "x86_64", &[ok("a-1-1", Z), ok("b-1-1", Z)]);
    w.done("f98-build", 1);
    w.repo(2, &[ok("c-1-1", Z), ok("d-1-1", Z)]);
}

fn paused(collection: Option<&str>) -> SubmissionsPaused {
    SubmissionsPaused { collection: collection.map(Into::into), reason: "mass rebuild".to_owned(), by: None }
}

fn resumed(collection: Option<&str>) -> SubmissionsResumed {
    SubmissionsResumed { collection: collection.map(Into::into), by: None }
}

#[test]
fn a_pause_stops_its_collection_only() {
    let mut w = two_collections(Policy::default());
    w.operator(paused(Some("f98")));
    ready(&mut w);
    assert_eq!(w.requested(), ["c", "d"]);
    assert_eq!(w.why_in("f98", "a").deciding, [Hold::CollectionPaused { because: "mass rebuild".into() }]);
    w.operator(resumed(None));
    w.pass(60);
    assert_eq!(w.requested(), [""; 0], "that would be another pause");
    w.operator(resumed(Some("f98")));
    w.pass(60);
    assert_eq!(w.requested(), ["a", "b"]);
    w.sound();
}

#[test]
fn a_pause_of_all() {
    let mut w = two_collections(Policy::default());
    w.operator(paused(None));
    ready(&mut w);
    w.operator(paused(Some("f98")));
    w.pass(60);
    assert_eq!(w.requested(), [""; 0]);
    assert_eq!(w.held("c"), ["paused"]);
    let both: Vec<_> = w.why_in("f98", "a").deciding.iter().map(Hold::key).collect();
    assert_eq!(both, ["paused", "collection_paused"]);
    w.restart();
    w.submits();
    w.operator(resumed(None));
    w.pass(60);
    assert_eq!(w.requested(), ["c", "d"], "a pause is in the log, and outlives a restart");
    w.sound();
}

/// A collection shows what stops it as a whole.
#[test]
fn a_collection_says_why_it_stands_still() {
    let mut w = two_collections(Policy::default());
    ready(&mut w);
    let words = |w: &World, c: &str| -> Vec<String> {
        let c = &w.state().collections[c];
        koschei::decide::eligibility::stopped(w.state(), c, &Policy::default())
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(words(&w, "f98"), [""; 0]);
    w.operator(paused(Some("f98")));
    w.operator(paused(None));
    w.operator(gone("f98"));
    w.operator(gone("f98-build"));
    assert_eq!(
        words(&w, "f98"),
        [
            "all submissions are paused: mass rebuild",
            "submissions of the collection are paused: mass rebuild",
            "tags of the collection do not exist: f98-build, f98"
        ]
    );
    assert_eq!(words(&w, "f99"), ["all submissions are paused: mass rebuild"]);
}

fn gone(tag: &str) -> TagObserved {
    TagObserved {
        hub: Hub::new("primary"),
        tag: tag.into(),
        tag_id: None,
        arches: None,
        inheritance: None,
        groups: None,
        external_repos: None,
        gone: true,
    }
}

/// A missing tag stops its collection, is shown for each package, and stops no other collection. It
/// heals by itself.
#[test]
fn a_tag_that_is_gone_stops_its_collection() {
    let mut w = two_collections(Policy::default());
    w.operator(gone("f98-build"));
    ready(&mut w);
    assert_eq!(w.requested(), ["c", "d"]);
    assert_eq!(w.why_in("f98", "a").deciding, [Hold::TagGone { tags: vec!["f98-build".into()] }]);
    w.operator(TagObserved { gone: false, ..gone("f98-build") });
    w.pass(60);
    assert_eq!(w.requested(), ["a", "b"]);
    w.operator(gone("f98"));
    assert_eq!(w.is_in("f98", "a"), PackageState::Unknown, "nothing is tagged there any more");
    assert_eq!(w.why_in("f98", "a").deciding[0], Hold::NoSource);
    w.sound();
}

/// There are at most this many requests within any hour. Refused requests do not count.
#[test]
fn the_hourly_limit() {
    let mut w = two_collections(Policy { max_submissions_per_hour: Some(2), ..Policy::default() });
    ready(&mut w);
    let first = w.requested();
    assert_eq!(first, ["a", "b"]);
    assert_eq!(w.why("c").deciding, [Hold::HourlyLimit { limit: 2 }]);
    assert_eq!(w.why("c").deciding[0].to_string(), "the hourly limit of 2 is reached");
    w.pass(600);
    assert_eq!(w.requested(), [""; 0]);
    let turned_down = w.state().package("f98", "a").unwrap().open_rebuild.unwrap();
    let (collection, package, reason) = ("f98".into(), "a".into(), "no".to_owned());
    w.operator(RebuildRefused { rebuild: turned_down, collection, package, reason });
    w.pass(60);
    assert_eq!(w.requested(), ["c"], "one was turned down");
    w.pass(HOUR - 662);
    assert_eq!(w.requested(), [""; 0]);
    w.pass(60);
    assert_eq!(w.requested(), ["d"], "the first one is more than an hour ago");
    w.sound();
}

/// Passive mode: everything is decided, nothing leaves, no slot is taken, nothing is repeated. When
/// it ends, the service behaves as if it had just started.
#[test]
fn passive() {
    let mut w = two_collections(Policy { passive: true, ..Policy::default() });
    ready(&mut w);
    assert_eq!(w.requested(), ["a", "b", "c", "d"]);
    assert_eq!((commands(&w), w.state().running()), (vec![], 0));
    let reasons = w.all(|e| match e {
        Event::RebuildNotSubmitted(RebuildNotSubmitted { reason, .. }) => Some(reason),
        _ => None,
    });
    assert_eq!(reasons, ["passive"; 4]);
    assert_eq!(w.why("c").deciding, [Hold::Declined { because: "passive".into() }]);
    w.pass(600);
    assert_eq!(w.requested(), [""; 0]);
    w.adopt(Policy::default());
    w.pass(60);
    assert_eq!(w.requested(), ["a", "b", "c", "d"], "what was declined for looking on is not declined any more");
    let rebuild = w.open("c");
    w.submitted(rebuild, "c", 101);
    w.adopt(Policy { passive: true, ..Policy::default() });
    w.pass(60);
    let open: Vec<_> = w.state().rebuilds.values().map(|r| r.package.as_str()).collect();
    assert_eq!(open, ["c"], "looking on again: what was not submitted yet is closed, what was goes on");
    w.sound();
}

// ---- load, fairness, many at once ----

/// Loads are recorded with the evaluation that used them, so that the audit can derive it again. A
/// full architecture holds back the packages that need it, in any collection, and no others.
#[test]
fn loads_are_recorded() {
    let mut w = two_collections(Policy::default());
    w.load(&[("aarch64", 900), ("x86_64", 100)]);
    w.holds("f98-build", 1, "aarch64", &[ok("a-1-1", Z), ok("b-1-1", Z).noarch()]);
    ready(&mut w);
    assert_eq!(w.requested(), ["b", "c", "d"], "b is noarch, and goes to x86_64");
    w.load(&[("aarch64", 900), ("x86_64", 900)]);
    w.pass(60);
    assert_eq!(w.requested(), [""; 0]);
    w.load(&[("aarch64", 100), ("x86_64", 100)]);
    w.pass(60);
    assert_eq!(w.requested(), ["a"]);
    let recorded = w.all(|e| match e {
        Event::EvaluationMade(m) => Some(m.load),
        _ => None,
    });
    assert!(recorded.iter().all(|l| l.as_ref().is_some_and(|l| l.len() == 2)), "{recorded:?}");
    w.sound();
}

/// A collection with only new packages does not stop another one. Each has a right to an equal part
/// of the slots, and may use what the other does not need.
#[test]
fn collections_share_fairly() {
    let policy = Policy { max_builds: 6, ..Policy::default() };
    let mut w = World::with(policy, &[("f98", settings("f98")), ("f99", settings("f99"))]);
    w.submits();
    let names: Vec<String> = (0..20).map(|n| format!("new{n:02}")).collect();
    for n in &names {
        w.tag("f98", &format!("{n}-1-1"));
    }
    for p in ["old1", "old2", "old3", "old4"] {
        w.real("f99", &format!("{p}-1-1"));
        w.points(p, PriorityKind::Manual, 400);
    }
    w.operator(paused(None));
    w.holds("f98-build", 1, "x86_64", &names.iter().map(|n| ok(&format!("{n}-1-1"), Z)).collect::<Vec<_>>());
    w.done("f98-build", 1);
    w.repo(2, &["old1-1-1", "old2-1-1", "old3-1-1", "old4-1-1"].map(|n| ok(n, Z)));
    w.operator(resumed(None));
    w.pass(60);
    assert_eq!(w.requested(), ["new00", "new01", "new02", "old1", "old2", "old3"], "3,000 points or 400");
    assert_eq!(w.held("old4"), ["overall_limit"]);
    let rebuild = w.open("old1");
    w.looked(1, "old1-1-1", Closed, Some(rebuild));
    w.pass(60);
    assert_eq!(w.requested(), ["old4"], "its part is its own");
    for (n, p) in [(2, "old2"), (3, "old3"), (4, "old4")] {
        let rebuild = w.open(p);
        w.looked(n, &format!("{p}-1-1"), Closed, Some(rebuild));
    }
    w.pass(60);
    assert_eq!(w.requested(), ["new03", "new04", "new05"], "and what it does not use is there for the other");
    w.sound();
}

/// Behaviour 1: many more rebuilds at once than one query to the hub could hold, answered in any
/// order. Each keeps its own result.
#[test]
fn behaviour_1_many_rebuilds_at_once() {
    const MANY: i64 = 150;
    let policy = Policy { max_builds: 1000, max_requests_per_evaluation: 1000, ..Policy::default() };
    let mut w = World::with(policy, &[("f99", settings("f99"))]);
    w.submits();
    let name = |n: i64| format!("p{n:03}");
    for n in 0..MANY {
        w.tag("f99", &format!("{}-1-1", name(n)));
    }
    w.repo(1, &(0..MANY).map(|n| ok(&format!("{}-1-1", name(n)), Z)).collect::<Vec<_>>());
    assert_eq!(w.state().running(), 150);
    let rebuilds: Vec<RebuildId> = (0..MANY).map(|n| w.open(&name(n))).collect();
    // They end in another order than submitted; one of three fails, and some were seen running
    // before.
    for i in 0..MANY {
        let n = i * 77 % MANY;
        let rebuild = rebuilds[usize::try_from(n).unwrap()];
        let nvr = format!("{}-1-1", name(n));
        if n % 2 == 0 {
            w.looked(1000 + n, &nvr, Open, Some(rebuild));
        }
        let fails = [("x86_64", 1005, "mock exited with status 1;")];
        match n % 3 {
            0 => w.looked_with(1000 + n, &nvr, Failed, Some(rebuild), &fails),
            _ => w.looked(1000 + n, &nvr, TaskState::Closed, Some(rebuild)),
        }
    }
    for n in 0..MANY {
        let want = if n % 3 == 0 { PackageState::Failing } else { PackageState::Ok };
        assert_eq!(w.is(&name(n)), want, "{n}");
    }
    let ends = finished(&w);
    assert_eq!((ends.len(), w.state().running(), w.state().rebuilds.len()), (150, 0, 0));
    assert!(ends.iter().all(|f| f.rebuild == Some(rebuilds[usize::try_from(f.task_id.0 - 1000).unwrap()])));
    w.sound();
}

/// Facts found by reconciliation are marked so in every form of an event.
#[test]
fn reconciliation_is_a_source_of_its_own() {
    assert_eq!(Source::parse("reconciliation"), Some(Source::Reconciliation));
    assert_eq!(serde_json::to_value(Source::Reconciliation).unwrap(), "reconciliation");
    let asked: Vec<_> = Source::ALL.into_iter().filter(|s| s.asked_hub()).collect();
    assert_eq!(asked, [Source::Hub, Source::Reconciliation]);
    assert!(Source::ALL.into_iter().all(|s| Source::parse(s.as_str()) == Some(s)));
}

/// Points set while a rebuild is decided or running are for the next rebuild.
#[test]
fn points_given_meanwhile_are_kept_for_the_next_rebuild() {
    let (mut w, rebuild) = due();
    w.points("foo", PriorityKind::Manual, 700);
    w.submitted(rebuild, "foo", 101);
    w.looked(101, "foo-1-1", Open, Some(rebuild));
    assert_eq!(w.package("foo").manual_points, 700, "given before it was submitted, after it was decided");
    w.points("foo", PriorityKind::Manual, 800);
    w.looked(101, "foo-1-1", Closed, Some(rebuild));
    assert_eq!((w.is("foo"), w.package("foo").manual_points), (PackageState::Ok, 800), "given while it ran");
    w.requests();
    w.pass(61);
    assert_eq!(w.requested(), ["foo"], "and so it is rebuilt once more");
    let again = w.open("foo");
    w.submitted(again, "foo", 102);
    assert_eq!(w.package("foo").manual_points, 0, "which uses them up");
    w.looked(102, "foo-1-1", Open, Some(again));
    w.looked(102, "foo-1-1", Closed, Some(again));
    w.pass(61);
    assert_eq!(w.requested(), [""; 0]);
    w.sound();
}
