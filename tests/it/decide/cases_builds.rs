//! Koschei 2.4's behaviour cases about completion, tags, states and user settings. See `cases`.

use koschei::decide::{Hold, Policy};
use koschei::event::{PriorityKind, RebuildCancelRequested, RebuildInputs};
use koschei::fold::{Evidence, EvidenceKind, Package};
use koschei::model::{Hub, Outcome, PackageState, RepoId, Seq, TaskId, Timestamp};
use rstest::rstest;
use serde_json::json;

use crate::decide::cases::{OLD, f};
use crate::story::{HOUR, World, broken, ok, settings};

// ---- 6.6: completion, cancel, faults ----

fn built_once() -> World {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", OLD)]);
    w
}

#[test]
fn t44_fixed() {
    let mut w = built_once();
    w.rebuild(1, "foo-1-1", "FAILED", 1);
    w.points("foo", PriorityKind::Manual, 50);
    w.task(2, "foo-1-1", "OPEN", Some(1));
    assert_eq!(w.is("foo"), PackageState::Failing, "a running rebuild does not change the state");
    w.task(2, "foo-1-1", "CLOSED", Some(1));
    assert_eq!(w.states("foo"), ["->ok", "ok>failing", "failing>ok"]);
    assert_eq!((w.why("foo").priority.unwrap().build, w.package("foo").manual_points), (0, 0));
    w.sound();
}

#[test]
fn t46_started_to_fail() {
    let mut w = built_once();
    w.rebuild(1, "foo-1-1", "FAILED", 1);
    assert_eq!((w.is("foo"), w.why("foo").priority.unwrap().build), (PackageState::Failing, 200_000));
    assert_eq!(w.states("foo"), ["->ok", "ok>failing"]);
    w.sound();
}

/// Deviation: the message's time stands in for a missing completion time. Koschei leaves it empty.
#[test]
fn t48_no_completion_time() {
    let mut w = built_once();
    w.pass(HOUR);
    w.task(2, "foo-1-1", "OPEN", Some(1));
    w.task_with(2, "foo-1-1", "CLOSED", json!({"repo": 1, "no_end": true}));
    assert_eq!(w.states("foo"), ["->ok"]);
    assert_eq!(w.state().hubs[&Hub::new("primary")].tasks[&TaskId(2)].finished_at, Some(w.now()));
    w.sound();
}

/// Deviation: a cancelled rebuild is kept as cancelled. Koschei deletes it (#266).
#[test]
fn t49_cancel_on_request() {
    let mut w = built_once();
    w.task(9, "foo-1-1", "ASSIGNED", Some(1));
    w.operator(RebuildCancelRequested {
        collection: "f99".into(),
        package: "foo".into(),
        hub: Hub::new("primary"),
        task_id: Some(TaskId(9)),
        rebuild: None,
        reason: "asked for".to_owned(),
        by: None,
    });
    let commands = w.commands();
    assert_eq!((&commands[0]["command"], &commands[0]["task_id"]), (&json!("cancel"), &json!(9)));
    assert_eq!(w.held("foo")[0], "running", "until Koji says so");
    w.task(9, "foo-1-1", "CANCELED", Some(1));
    assert_eq!((w.outcomes("foo"), w.state().running()), (vec!["cancelled".to_owned()], 0));
    assert_eq!((w.states("foo"), w.package("foo").evidence.len()), (vec!["->ok".to_owned()], 2));
    w.sound();
}

/// A rebuild that runs too long is cancelled and given up. If it ends later, its result counts.
#[test]
fn timeout() {
    let mut w = built_once();
    w.task(9, "foo-1-1", "OPEN", Some(1));
    w.pass(47 * HOUR);
    assert_eq!(w.outcomes("foo"), [""; 0]);
    w.pass(2 * HOUR);
    assert_eq!((w.outcomes("foo"), w.commands().len()), (vec!["timed out".to_owned()], 1));
    w.task(9, "foo-1-1", "FREE", Some(1));
    assert_eq!(w.state().running(), 0, "it holds no slot any more, whatever it does");
    w.task_with(9, "foo-1-1", "FAILED", json!({"repo": 1, "children": [["buildArch", "x86_64", 5]]}));
    assert_eq!((w.outcomes("foo").pop(), w.is("foo")), (Some("genuine failure".to_owned()), PackageState::Failing));
    w.sound();
}

/// T50, T51 as far as messages tell: which step failed. Deviation: a failure without any failed
/// step counts as a fault.
#[rstest]
#[case::t50_genuine(json!([["buildArch", "x86_64", 5], ["buildArch", "aarch64", 2]]), "genuine failure", "failing")]
#[case::t51_source_package(json!([["rebuildSRPM", "srpm", 5]]), "genuine failure", "failing")]
#[case::one_of_two(json!([["waitrepo", "noarch", 5], ["buildArch", "x86_64", 5]]), "genuine failure", "failing")]
#[case::no_repository(json!([["waitrepo", "noarch", 5]]), "infrastructure fault", "ok")]
#[case::not_ours(json!([["buildSRPMFromSCM", "srpm", 5]]), "infrastructure fault", "ok")]
#[case::nameless(json!([["", "x86_64", 5]]), "infrastructure fault", "ok")]
#[case::no_step_failed(json!([["rebuildSRPM", "srpm", 2]]), "infrastructure fault", "ok")]
#[case::no_step(json!([]), "infrastructure fault", "ok")]
fn failures(#[case] children: serde_json::Value, #[case] outcome: &str, #[case] state: &str) {
    let mut w = built_once();
    w.task(9, "foo-1-1", "OPEN", Some(1));
    w.task_with(9, "foo-1-1", "FAILED", json!({"repo": 1, "children": children}));
    assert_eq!((w.outcomes("foo"), w.is("foo").as_str()), (vec![outcome.to_owned()], state));
    w.sound();
}

/// T51: the first build fails: the state goes from unknown to failing, with its repository.
#[test]
fn t51_first_result() {
    let mut w = f(Policy::default());
    w.tag("f99", "python-debtcollector-1-1");
    w.repo(5, &[ok("python-debtcollector-1-1", OLD)]);
    w.task_with(9, "python-debtcollector-1-1", "FAILED", json!({"repo": 5, "children": [["rebuildSRPM", "srpm", 5]]}));
    assert_eq!(w.states("python-debtcollector"), ["->unknown", "unknown>failing"]);
    assert_eq!(w.package("python-debtcollector").base().unwrap().repo, Some(RepoId(5)));
    w.sound();
}

/// #310: each fault doubles the wait. The package's state and reasons stay, and a result ends the
/// wait.
#[test]
fn faults_wait_and_heal() {
    let mut w = built_once();
    w.points("foo", PriorityKind::Static, 1000);
    for n in 1..=3 {
        w.task(n, "foo-1-1", "FAILED", Some(1));
        let Hold::RetryLater { at, .. } = w.why("foo").deciding[0] else { panic!("{:?}", w.why("foo").deciding) };
        let wait = at.since(w.now()) / 1_000_000;
        let least = 600 << (n - 1);
        assert!((least..=least + least / 4).contains(&wait), "{wait} after {n} faults");
        w.pass(wait - 1);
        assert_eq!(w.requested(), [""; 0]);
        w.pass(60);
        assert_eq!(w.requested().len(), usize::from(n == 1), "then once, as there is no hub");
    }
    w.rebuild(9, "foo-1-1", "CLOSED", 1);
    assert_eq!((w.package("foo").faults, w.is("foo")), (0, PackageState::Ok));
    w.sound();
}

/// A rebuild cancelled in Koji waits like after a first fault, and longer each time. The same holds
/// for one that timed out.
#[test]
fn cancelled_again_and_again() {
    let mut w = built_once();
    w.points("foo", PriorityKind::Static, 1000);
    for n in 1..=4 {
        w.task(n, "foo-1-1", "OPEN", Some(1));
        w.task(n, "foo-1-1", "CANCELED", Some(1));
        assert_eq!(w.is("foo"), PackageState::Ok);
        let Hold::RetryLater { after, at } = w.why("foo").deciding[0] else { panic!("{:?}", w.why("foo").deciding) };
        let wait = at.since(w.now()) / 1_000_000;
        let least = 600 << (n - 1);
        assert!((least..=least + least / 4).contains(&wait), "{wait} after {n}");
        assert_eq!(after, Outcome::Cancelled);
        assert!(w.why("foo").deciding[0].to_string().starts_with("its last rebuild was cancelled; next try at "));
        w.pass(wait + 60);
    }
    w.task(5, "foo-1-1", "OPEN", Some(1));
    w.pass(49 * HOUR);
    assert_eq!((w.outcomes("foo").pop().as_deref(), w.held("foo")[0]), (Some("timed out"), "retry_later"));
    w.rebuild(9, "foo-1-1", "CLOSED", 1);
    assert_eq!((w.package("foo").faults, w.package("foo").last_fault), (0, None));
    w.sound();
}

/// T52: an ended task stays ended. The same state reported again is no news.
#[test]
fn t52_told_again() {
    let mut w = built_once();
    w.rebuild(1, "foo-1-1", "CLOSED", 1);
    w.rebuild(2, "foo-1-1", "CLOSED", 1);
    w.task(1, "foo-1-1", "CLOSED", Some(1));
    w.task(2, "foo-1-1", "CLOSED", Some(1));
    assert_eq!(w.outcomes("foo"), ["ok", "ok"]);
    w.sound();
}

// ---- 6.7: real builds, tags, packages ----

/// T55. Deviation: whether a new package is tracked depends on the collection. Koschei adds all as
/// untracked.
#[test]
fn t55_package_list() {
    let mut w = World::with(
        Policy::default(),
        &[("f99", koschei::event::CollectionSettings { track_all: false, ..settings("f99") })],
    );
    for p in ["eclipse", "rnv", "maven-doxia-tools"] {
        w.list("f99", p, "add");
    }
    w.list("f99", "maven-doxia-tools", "block");
    assert_eq!(w.is("maven-doxia-tools"), PackageState::Blocked);
    assert_eq!((w.is("eclipse"), w.is("rnv")), (PackageState::Untracked, PackageState::Untracked));
    w.list("f99", "maven-doxia-tools", "unblock");
    assert_eq!(w.is("maven-doxia-tools"), PackageState::Untracked);
    w.sound();
}

/// T56. Deviation: another instance is another hub with its own ids. Topics are recognised by their
/// end, with any prefix.
#[test]
fn t56_other_instances_and_topics() {
    let mut w = built_once();
    let tag = |instance: &str, build: i64| {
        json!({
            "instance": instance, "tag": "f99", "build_id": build, "name": "foo", "version": "9", "release": "1",
            "user": "x"
        })
    };
    w.send("tag", tag("ppc", 1000));
    assert_eq!(w.package("foo").latest.as_ref().unwrap().source, "1-1");
    w.send("tagged.otherwise", tag("primary", 77));
    assert_eq!(w.package("foo").latest.as_ref().unwrap().source, "1-1");
    w.send("tag", tag("primary", 77));
    assert_eq!(w.package("foo").latest.as_ref().unwrap().source, "9-1");
    w.sound();
}

/// T57: the end of our task is recorded once. Other people's tasks do not concern us.
#[test]
fn t57_task_state() {
    let mut w = built_once();
    w.task_with(665, "foo-1-1", "FAILED", json!({"owner": "packager", "children": [["buildArch", "x86_64", 5]]}));
    w.task(666, "foo-1-1", "CLOSED", Some(1));
    assert_eq!(w.outcomes("foo"), ["ok"]);
    w.sound();
}

/// T58: a tagged build of the hub makes its package ok. Deviation: so does a build of an older
/// version, because Koji builds with the build that was tagged last. Koschei compares versions.
#[test]
fn t58_real_build() {
    let mut w = f(Policy::default());
    w.tag("f99", "rnv-16-1");
    assert_eq!(w.is("rnv"), PackageState::Unknown, "imported, for all we know");
    w.real("f99", "rnv-15.fc28-1");
    assert_eq!(w.is("rnv"), PackageState::Ok);
    assert_eq!(w.package("rnv").latest.as_ref().unwrap().source, "15.fc28-1");
    w.sound();
}

/// Deviation: manual points are for the next rebuild and outlive a real build. Koschei clears them
/// then.
#[test]
fn manual_points_outlive_a_real_build() {
    let mut w = built_once();
    w.points("foo", PriorityKind::Manual, 50);
    w.real("f99", "foo-2-1");
    assert_eq!(w.package("foo").manual_points, 50);
    w.rebuild(3, "foo-2-1", "FAILED", 1);
    assert_eq!(w.package("foo").manual_points, 0);
}

// ---- 6.8: state derivation and pointers ----

fn evidence(order: u64, outcome: Option<Outcome>) -> Evidence {
    Evidence {
        kind: EvidenceKind::Scratch(TaskId(i64::try_from(order).unwrap())),
        hub: None,
        source: "1-1".into(),
        former: Vec::new(),
        order: Seq::new(order).unwrap(),
        at: Timestamp::from_secs(0),
        repo: None,
        assumed: false,
        outcome,
        running: outcome.is_none(),
        withdrawn: false,
        event: None,
        timed: false,
        built_in: None,
        compared: false,
    }
}

#[rstest]
#[case(true, true, Some(true), Some(Outcome::Ok), "blocked")]
#[case(false, false, Some(true), Some(Outcome::Ok), "untracked")]
#[case(false, true, Some(false), Some(Outcome::Ok), "unresolved")]
#[case(false, true, Some(true), Some(Outcome::Ok), "ok")]
#[case(false, true, Some(true), Some(Outcome::GenuineFailure), "failing")]
#[case(false, true, None, None, "unknown")]
#[case(false, true, Some(true), None, "unknown")]
#[case::both(true, false, Some(false), None, "blocked")]
#[case::not_resolved_yet(false, true, None, Some(Outcome::Ok), "ok")]
#[case::a_fault_is_no_result(false, true, Some(true), Some(Outcome::InfrastructureFault), "unknown")]
fn t59_state(
    #[case] blocked: bool,
    #[case] tracked: bool,
    #[case] resolved: Option<bool>,
    #[case] last: Option<Outcome>,
    #[case] state: &str,
) {
    let package = Package { blocked, resolved, evidence: vec![evidence(1, last)], ..Package::default() };
    assert_eq!(package.state(tracked).as_str(), state);
}

/// T60–T62: the running build is the last one. The last ended build is the last complete one.
#[test]
fn t60_t61_t62_last_and_last_complete() {
    let mut w = f(Policy::default());
    w.tag("f99", "foo-1-1");
    w.tag("f99", "bar-1-1");
    let bar = w.package("bar").clone();
    w.task(1, "foo-1-1", "OPEN", None);
    assert_eq!((w.package("foo").running, w.package("foo").complete().next().is_none()), (1, true));
    assert_eq!(*w.package("bar"), bar, "T60: another package is not touched");
    w.task_with(1, "foo-1-1", "FAILED", json!({"children": [["buildArch", "x86_64", 5]]}));
    assert_eq!(w.is("foo"), PackageState::Failing, "T61");
    w.task(2, "foo-1-1", "OPEN", None);
    let complete = w.package("foo").complete().next().unwrap().kind;
    assert_eq!((complete, w.package("foo").running), (EvidenceKind::Scratch(TaskId(1)), 1), "T62");
    assert_eq!(w.is("foo"), PackageState::Failing);
    w.sound();
}

/// T63: if builds are removed (here: untagged), earlier builds count again, with their known
/// results.
#[test]
fn t63_builds_taken_away() {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1");
    w.rebuild(1, "foo-1-1", "FAILED", 1);
    w.real("f99", "foo-2-1");
    w.task(3, "foo-2-1", "OPEN", None);
    assert_eq!(w.is("foo"), PackageState::Ok);
    w.untag("f99", "foo-1-1");
    assert_eq!((w.is("foo"), w.package("foo").running), (PackageState::Ok, 1), "what is newer stays");
    w.tag("f99", "foo-1-1");
    w.untag("f99", "foo-2-1");
    assert_eq!(w.package("foo").latest.as_ref().unwrap().source, "1-1");
    assert_eq!(w.is("foo"), PackageState::Failing, "the newest build once more, and its rebuild had failed");
    w.sound();
}

/// T64. Deviation: a package is blocked in a collection through its dest tag, by inheritance.
/// Nothing is kept per name over all collections.
#[test]
fn t64_blocked_by_inheritance() {
    let mut w = World::with(Policy::default(), &[("f99", settings("f99")), ("f98", settings("f98"))]);
    w.list("f99", "foo", "add");
    w.list("f98", "foo", "add");
    w.list("f99", "foo", "block");
    assert_eq!((w.is_in("f99", "foo"), w.is_in("f98", "foo")), (PackageState::Blocked, PackageState::Unknown));
    w.list("f99", "foo", "unblock");
    assert_eq!(w.is_in("f99", "foo"), PackageState::Unknown);
    w.sound();
}

// ---- 3.17: untracking, skipping ----

/// Untracked packages are not resolved. Tracked again, they are resolved in the repository in
/// force. Deviation: Koschei keeps the old verdict and uses it until the next repository.
#[test]
fn untracked_and_back() {
    let mut w = built_once();
    w.track("foo", false);
    w.repo(2, &[broken("foo-1-1", "nothing provides q")]);
    assert_eq!(w.is("foo"), PackageState::Untracked);
    assert!(w.package("foo").verdicts.is_empty());
    w.task(4, "foo-1-1", "CLOSED", Some(1));
    w.track("foo", true);
    // The next message finds it resolved.
    w.pass(0);
    assert_eq!(w.is("foo"), PackageState::Unresolved);
    assert_eq!(w.states("foo"), ["->ok", "ok>untracked", "untracked>ok", "ok>unresolved"]);
    w.sound();
}

/// If a collection stops tracking all packages, or stops building for an architecture, its
/// packages' states change at once.
#[test]
fn edited_collections() {
    let mut w = f(Policy::default());
    w.real("f99", "foo-1-1");
    w.holds("f99-build", 1, "aarch64", &[broken("foo-1-1", "nothing provides q")]);
    w.repo(1, &[ok("foo-1-1", OLD)]);
    assert_eq!(w.is("foo"), PackageState::Unresolved);
    let edit = |settings| koschei::event::CollectionEdited { collection: "f99".into(), settings };
    let intel = koschei::event::CollectionSettings { arches: vec!["x86_64".into()], ..settings("f99") };
    w.operator(edit(intel.clone()));
    assert_eq!(w.is("foo"), PackageState::Ok);
    w.operator(edit(koschei::event::CollectionSettings { track_all: false, ..intel }));
    assert_eq!(w.is("foo"), PackageState::Untracked);
    w.pass(60);
    w.sound();
}

/// `skip_resolution` hides the verdict and keeps it. Deviation: Koschei forgets it, and people use
/// that to force a new one.
#[test]
fn skip_resolution_and_back() {
    let mut w = built_once();
    w.repo(2, &[broken("foo-1-1", "nothing provides q")]);
    w.skip_resolution("foo", true);
    assert_eq!(w.is("foo"), PackageState::Ok);
    w.skip_resolution("foo", false);
    assert_eq!(w.is("foo"), PackageState::Unresolved);
    w.sound();
}

/// The inputs of a request: everything that would change the rebuild's result, and nothing else.
#[test]
fn inputs_of_a_request() {
    let mut w = built_once();
    w.points("foo", PriorityKind::Manual, 1000);
    w.pass(60);
    let inputs: Vec<RebuildInputs> = w.requests().into_iter().map(|r| r.inputs).collect();
    let [one] = &inputs[..] else { panic!("{inputs:?}") };
    assert_eq!((one.source.as_str(), one.points, one.changes), ("1-1", (0, 1000, 0), 0));
}
