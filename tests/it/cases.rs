//! The behaviour cases of Koschei 2.4 that concern state, resolution, priority, scheduling, completion and tags, as tables and
//! stories; each cites its number. Where we differ on purpose it says "deviation".
//!
//! Cases of pure formulas stand beside them: T1–T5 in `resolve_cases`, T18 and T21–T28 in `decide::priority`, T30 and T39 in
//! `decide::load`, T38, T42, T66–T71 and T84 in `decide::arches`, T44, T49–T51 in `decide::faults`, T46 in `decide::retry`, T76 and T77 in
//! `model::nevra`.

use koschei::decide::{Hold, Policy};
use koschei::event::{
    Event, PackageArchOverrideSet, PackageTracked, PriorityKind, RebuildCancelRequested, RebuildInputs,
};
use koschei::fold::{Evidence, EvidenceKind, Package};
use koschei::model::{BuildrootState, Hub, Outcome, PackageState, RepoId, Seq, TaskId, Timestamp};
use rstest::rstest;
use serde_json::json;

use crate::story::{HOUR, Src, World, broken, excluded, ok, settings, unknown};

/// The closure of T6 before: C at 1:2, no E.
const OLD: &str = "A-0:1-1.fc22.x86_64/1 B-0:4.1-2.fc22.noarch/2 C-1:2-1.fc22.x86_64/2 D-2:8.b-1.rc1.fc22.x86_64/3 \
                   F-0:1-1.fc22.noarch/1 R-0:3.3-2.fc22.x86_64";
/// And now, as repository R gives it.
const NEW: &str = "A-0:1-1.fc22.x86_64/1 B-0:4.1-2.fc22.noarch/2 C-1:3-1.fc22.x86_64/2 D-2:8.b-1.rc1.fc22.x86_64/3 \
                   E-0:0.1-1.fc22.1.noarch/2 F-0:1-1.fc22.noarch/1 R-0:3.3-2.fc22.x86_64";
/// The two changes of T6.
const T6: [&str; 2] = ["C 1:2-1.fc22>1:3-1.fc22 /2", "E ->0.1-1.fc22.1 /2"];

/// Config F: a changed dependency brings 20 points, two builds at a time, load up to 0.6.
fn config_f() -> Policy {
    Policy { package_update: 20, max_builds: 2, load_threshold: 600, ..Policy::default() }
}

fn f(policy: Policy) -> World {
    World::with(policy, &[("f99", settings("f99"))])
}

// ---- 6.2, 6.3: resolution -------------------------------------------------------------------------------------------

/// Deviation: what the older build had stays in the log, so that it can be compared with again; Koschei erases it.
#[test]
fn t6_changes_since_the_last_build() {
    let mut w = f(config_f());
    w.real("f99", "foo-3-1");
    w.repo(122, &[ok("foo-3-1", OLD)]);
    w.repo(123, &[ok("foo-3-1", NEW)]);
    assert_eq!(w.changes("foo"), T6);
    w.real("f99", "foo-4-1");
    w.repo(124, &[ok("foo-4-1", NEW)]);
    assert_eq!(w.changes("foo"), [""; 0], "the new build has them already");
    w.untag("f99", "foo-4-1");
    assert_eq!(w.changes("foo"), T6, "and the old one does not");
    w.sound();
}

/// Deviation: an unresolvable package has no 3000 points; it is unresolved, with its problem, and waits for the next repository.
#[test]
fn t7_unresolvable_build() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.repo(1, &[broken("foo-1-1", "nothing provides nonexistent")]);
    let why = w.why("foo");
    assert_eq!((why.state, why.priority.unwrap().build), (PackageState::Unresolved, 0));
    assert_eq!(w.held("foo"), ["unresolved", "below_threshold"]);
}

/// Deviation: without a readable build group verdicts stand, marked stale; Koschei calls every build of the repository unresolved.
#[test]
fn t9_no_build_group() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", OLD)]);
    w.lose("f99-build", 2);
    w.done("f99-build", 2);
    assert_eq!(w.is("foo"), PackageState::Ok);
    assert_eq!(w.why("foo").priority.unwrap().build, 0);
    assert_eq!(w.state().collections["f99"].stale.as_ref().unwrap().0, RepoId(2));
    w.repo(3, &[ok("foo-1-1", OLD)]);
    assert_eq!(w.state().collections["f99"].stale, None);
    w.sound();
}

/// Also T10: a rebuild that runs, bound to a repository or not, says nothing about its package yet.
#[rstest]
#[case::t10_without_repository(None)]
#[case::with(Some(1))]
fn running_rebuilds_say_nothing(#[case] repo: Option<i64>) {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", OLD)]);
    let before = w.package("foo").base().cloned();
    w.task(9, "foo-1-1", "OPEN", repo);
    assert_eq!(w.package("foo").base().cloned(), before);
    assert_eq!(w.is("foo"), PackageState::Ok);
    assert_eq!(
        w.package("foo").evidence.last().unwrap().repo,
        Some(RepoId(1)),
        "taken to be the newest until it is told"
    );
    w.sound();
}

/// A build of a repository in which its package did not resolve is compared by way of the newest one before in which it did.
#[test]
fn t12_comparison_build() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", OLD)]);
    w.rebuild(1, "foo-1-1", "FAILED", 1);
    w.repo(2, &[broken("foo-1-1", "nothing provides q")]);
    w.rebuild(2, "foo-1-1", "FAILED", 2);
    w.repo(3, &[ok("foo-1-1", NEW)]);
    assert_eq!(w.changes("foo"), T6);
    w.sound();
}

#[test]
fn t13_first_and_next_repository() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    assert_eq!(w.state().collections["f99"].buildroot(), BuildrootState::Unknown);
    w.repo(122, &[ok("foo-1-1", OLD)]);
    w.repo(123, &[ok("foo-1-1", NEW)]);
    let buildroot = w.all(|e| match e {
        Event::CollectionStateChanged(c) => Some((c.old, c.new, c.repo_id)),
        _ => None,
    });
    assert_eq!(buildroot, [(BuildrootState::Unknown, BuildrootState::Ok, RepoId(122))], "once");
    assert_eq!(w.package("foo").resolved, Some(true));
    assert_eq!(w.dependency_points("foo"), 20_000, "20/2 + 20/2");
    assert_eq!(w.changes("foo"), T6);
    assert_eq!(w.states("foo"), ["->ok"], "T20: no message where nothing changed");
    w.sound();
}

/// T14. Deviation: packages are resolved with their repository, tracked or not, so a newly tracked one has its verdict at once.
#[test]
fn t14_newly_tracked() {
    let mut w =
        World::with(config_f(), &[("f99", koschei::event::CollectionSettings { track_all: false, ..settings("f99") })]);
    w.real("f99", "foo-1-1");
    w.repo(122, &[ok("foo-1-1", OLD)]);
    w.repo(123, &[ok("foo-1-1", NEW)]);
    assert_eq!(w.is("foo"), PackageState::Untracked);
    w.operator(PackageTracked { collection: "f99".into(), package: "foo".into(), by: None });
    assert_eq!((w.is("foo"), w.dependency_points("foo")), (PackageState::Ok, 20_000));
    w.sound();
}

/// T15, T26: with a broken or unknown buildroot nothing is resolved anew and nothing is rebuilt.
#[test]
fn t15_t26_broken_buildroot() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.points("foo", PriorityKind::Static, 1000);
    assert_eq!(w.held("foo"), ["buildroot_unknown", "not_resolved_yet"]);
    w.no_group("f99-build", 1, "x86_64", "nothing provides bash");
    w.done("f99-build", 1);
    assert_eq!(w.package("foo").resolved, None);
    assert_eq!(w.held("foo"), ["buildroot_broken", "not_resolved_yet"]);
    w.repo(2, &[ok("foo-1-1", OLD)]);
    assert_eq!(w.requested(), ["foo"]);
    w.no_group("f99-build", 3, "x86_64", "nothing provides bash");
    w.done("f99-build", 3);
    assert_eq!((w.package("foo").resolved, w.is("foo")), (Some(true), PackageState::Ok), "verdicts stand");
    assert_eq!(w.held("foo"), ["buildroot_broken", "declined"]);
    w.sound();
}

/// Build requirements nobody knows are not the same as none: no verdict, rather than one that always resolves (D18).
#[test]
fn unknown_requirements_give_no_verdict() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.repo(1, &[unknown("foo-1-1")]);
    assert_eq!(w.held("foo"), ["not_resolved_yet", "below_threshold"]);
}

// ---- 6.4, 6.5: priority and scheduling --------------------------------------------------------------------------------------

/// A package of the scheduler cases: its current priority, and what else is the matter with it.
struct P(&'static str, i32, &'static [&'static str]);

/// The world of §6.5 at 10:50: each package was built a few tens of minutes ago, so that time gives −30.
fn scheduler(packages: &[P]) -> World {
    let mut w = f(Policy { tick_interval_secs: 600, ..config_f() });
    w.at(10, 20);
    let mut sources: Vec<Src> = Vec::new();
    for P(name, _, also) in packages {
        let nvr = format!("{name}-1-1");
        w.real("f99", &nvr);
        match also {
            [.., "unresolved"] => sources.push(broken(&nvr, "nothing provides q")),
            [.., "not attempted"] => {}
            _ => sources.push(ok(&nvr, OLD)),
        }
    }
    w.repo(1, &sources);
    for (n, P(name, current, also)) in packages.iter().enumerate() {
        w.points(name, PriorityKind::Static, current + 30);
        for word in *also {
            match *word {
                "running" => w.task(n as i64 + 1, &format!("{name}-1-1"), "OPEN", Some(1)),
                "untracked" => w.track(name, false),
                "skip" => w.skip_resolution(name, true),
                _ => {}
            }
        }
    }
    w.at(10, 50);
    for P(name, current, _) in packages {
        assert_eq!(w.priority(name), Some(i64::from(*current) * 1000), "time gives -30");
    }
    w
}

#[rstest]
#[case::t27(&[P("rnv", 10, &[])], 300, &[])]
#[case::t28_the_boundary_counts(&[P("rnv", 256, &[])], 300, &["rnv"])]
#[case::just_below(&[P("rnv", 255, &[])], 300, &[])]
#[case::t29(&[P("rnv", 256, &["not attempted"])], 300, &[])]
#[case::t30(&[P("rnv", 30_000, &[])], 700, &[])]
#[case::t30_at_the_limit(&[P("rnv", 30_000, &[])], 600, &["rnv"])]
#[case::t31(&[P("rnv", 30, &["running"]), P("eclipse", 300, &["running"]), P("expat", 400, &[])], 300, &[])]
#[case::one_of_two_runs(&[P("rnv", 30, &["running"]), P("expat", 400, &[]), P("maven", 300, &[])], 300, &["expat"])]
#[case::t32(&[P("rnv", 30_000, &["running"])], 300, &[])]
// Deviation: two at once, most urgent first; Koschei takes one every three seconds.
#[case::t35(&[P("eclipse", 280, &[]), P("rnv", 300, &[])], 300, &["rnv", "eclipse"])]
#[case::t37_unresolved(&[P("rnv", 300, &["unresolved"])], 300, &[])]
#[case::t37_untracked(&[P("rnv", 300, &["untracked"])], 300, &[])]
#[case::t38(&[P("rnv", 256, &["skip", "not attempted"])], 300, &["rnv"])]
#[case::t38_busy(&[P("rnv", 256, &["skip", "not attempted"])], 700, &[])]
fn scheduling(#[case] packages: &[P], #[case] load: u32, #[case] submitted: &[&str]) {
    let mut w = scheduler(packages);
    assert_eq!(w.plan(Some(&[("x86_64", load)])), submitted);
    if load <= 600 {
        // And so it is requested, once: no hub tells a load here.
        w.pass(600);
        assert_eq!(w.requested(), submitted);
        w.pass(600);
        assert!(w.requested().iter().all(|p| !submitted.contains(&p.as_str())), "not a second time");
    }
    w.sound();
}

/// T25: `skip_resolution` counts as resolved for the priority.
#[test]
fn t25_skip_resolution() {
    let w = scheduler(&[P("rnv", -30, &["skip", "not attempted"])]);
    assert_eq!((w.priority("rnv"), w.held("rnv")), (Some(-30_000), vec!["below_threshold"]));
}

/// T28, T40, T42: what a command says. Deviation: always bound to the repository it was resolved in (T43), and `noarch` goes
/// without architectures.
#[test]
fn t40_commands() {
    let mut w = f(Policy::default());
    for p in ["maven", "rnv", "grub"] {
        w.real("f99", &format!("{p}-3.5.3-2.fc99"));
    }
    let nvr = |p: &str| format!("{p}-3.5.3-2.fc99");
    w.holds(
        "f99-build",
        7,
        "aarch64",
        &[ok(&nvr("maven"), OLD).noarch(), ok(&nvr("rnv"), OLD), excluded(&nvr("grub"))],
    );
    w.repo(7, &[ok(&nvr("maven"), OLD).noarch(), ok(&nvr("rnv"), OLD), ok(&nvr("grub"), OLD)]);
    let arches = Some("aarch64".to_owned());
    w.operator(PackageArchOverrideSet { collection: "f99".into(), package: "rnv".into(), arches, by: None });
    for (p, points) in [("maven", 10_000), ("rnv", 9000), ("grub", 8000)] {
        w.points(p, PriorityKind::Manual, points);
    }
    w.pass(60);
    let commands = w.commands();
    let said: Vec<_> = commands
        .iter()
        .map(|c| (c["command"].as_str().unwrap(), c["source"].as_str().unwrap(), c["arches"].clone()))
        .collect();
    assert_eq!(
        said,
        [
            ("rebuild", "../packages/maven/3.5.3/2.fc99/src/maven-3.5.3-2.fc99.src.rpm", json!(null)),
            ("rebuild", "../packages/rnv/3.5.3/2.fc99/src/rnv-3.5.3-2.fc99.src.rpm", json!(["aarch64"])),
            ("rebuild", "../packages/grub/3.5.3/2.fc99/src/grub-3.5.3-2.fc99.src.rpm", json!(["x86_64"])),
        ]
    );
    for c in &commands {
        assert_eq!((&c["target"], &c["task_priority"], &c["repo_id"]), (&json!("f99"), &json!(30), &json!(7)));
    }
    w.sound();
}

/// T42: an override holds for a package that was never resolved, too.
#[rstest]
#[case("x86_64", &["x86_64"], &[])]
#[case("^x86_64", &["aarch64"], &[])]
#[case("s390x", &[], &["no_arch"])]
fn t42_override_without_resolution(#[case] arches: &str, #[case] asked: &[&str], #[case] held: &[&str]) {
    let mut w = f(Policy::default());
    w.holds("f99-build", 1, "aarch64", &[]);
    w.repo(1, &[]);
    w.tag("f99", "foo-1-1");
    let arches = Some(arches.to_owned());
    w.operator(PackageArchOverrideSet { collection: "f99".into(), package: "foo".into(), arches, by: None });
    w.skip_resolution("foo", true);
    assert_eq!(w.held("foo"), held);
    w.pass(60);
    let requests = w.requests();
    assert_eq!(requests.iter().flat_map(|r| &r.arches).collect::<Vec<_>>(), asked);
    w.sound();
}

/// Without a hub a rebuild is asked for once, until something it depends on changes.
#[test]
fn declined_until_inputs_change() {
    let mut w = f(Policy::default());
    w.tag("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", OLD)]);
    assert_eq!((w.requested(), w.held("foo")), (vec!["foo".to_owned()], vec!["declined"]));
    w.repo(2, &[ok("foo-1-1", OLD)]);
    w.pass(1000 * HOUR);
    assert_eq!(w.requested(), [""; 0]);
    w.repo(3, &[ok("foo-1-1", NEW)]);
    assert_eq!(w.requested(), ["foo"], "its dependencies changed");
    w.points("foo", PriorityKind::Manual, 5);
    w.pass(60);
    assert_eq!(w.requested(), ["foo"], "somebody wants it");
    w.sound();
}

// ---- 6.6: completion, cancel, faults -----------------------------------------------------------------------------------------

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

/// Deviation: the time of the message stands in for a missing completion time; Koschei leaves it empty.
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

/// Deviation: a cancelled rebuild is kept as such; Koschei deletes it (#266).
#[test]
fn t49_cancel_on_request() {
    let mut w = built_once();
    w.task(9, "foo-1-1", "ASSIGNED", Some(1));
    w.operator(RebuildCancelRequested {
        collection: "f99".into(),
        package: "foo".into(),
        hub: Hub::new("primary"),
        task_id: TaskId(9),
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

/// A rebuild beyond its time is cancelled and given up; what it comes to after all counts.
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

/// T50, T51 as far as messages tell: which step failed. Deviation: without any failed step it is called a fault.
#[rstest]
#[case::t50_genuine(json!([["buildArch", "x86_64", 5], ["buildArch", "aarch64", 2]]), "genuine failure", "failing")]
#[case::t51_source_package(json!([["rebuildSRPM", "srpm", 5]]), "genuine failure", "failing")]
#[case::no_step_failed(json!([["rebuildSRPM", "srpm", 2]]), "infrastructure fault", "ok")]
#[case::no_step(json!([]), "infrastructure fault", "ok")]
fn failures(#[case] children: serde_json::Value, #[case] outcome: &str, #[case] state: &str) {
    let mut w = built_once();
    w.task(9, "foo-1-1", "OPEN", Some(1));
    w.task_with(9, "foo-1-1", "FAILED", json!({"repo": 1, "children": children}));
    assert_eq!((w.outcomes("foo"), w.is("foo").as_str()), (vec![outcome.to_owned()], state));
    w.sound();
}

/// T51: the first build there is fails: unknown to failing, with its repository.
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

/// #310: faults double the wait; the package's state and reasons stay, and a result ends it.
#[test]
fn faults_wait_and_heal() {
    let mut w = built_once();
    w.points("foo", PriorityKind::Static, 1000);
    for n in 1..=3 {
        w.task(n, "foo-1-1", "FAILED", Some(1));
        let Hold::RetryLater { at } = w.why("foo").deciding[0] else { panic!("{:?}", w.why("foo").deciding) };
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

/// T52: what ended stays ended; the same state told again is no news.
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

// ---- 6.7: real builds, tags, packages ---------------------------------------------------------------------------------------

/// T55. Deviation: whether a new package is tracked is the collection's choice; Koschei adds all untracked.
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

/// T56. Deviation: another instance is another hub, with ids of its own; topics count by their end, whatever their prefix.
#[test]
fn t56_other_instances_and_topics() {
    let mut w = built_once();
    let tag = |instance: &str, build: i64| json!({"instance": instance, "tag": "f99", "build_id": build, "name": "foo", "version": "9", "release": "1", "user": "x"});
    w.send("tag", tag("ppc", 1000));
    assert_eq!(w.package("foo").latest.as_ref().unwrap().source, "1-1");
    w.send("tagged.otherwise", tag("primary", 77));
    assert_eq!(w.package("foo").latest.as_ref().unwrap().source, "1-1");
    w.send("tag", tag("primary", 77));
    assert_eq!(w.package("foo").latest.as_ref().unwrap().source, "9-1");
    w.sound();
}

/// T57: our task's end is written down once; other people's tasks are none of ours.
#[test]
fn t57_task_state() {
    let mut w = built_once();
    w.task_with(665, "foo-1-1", "FAILED", json!({"owner": "packager", "children": [["buildArch", "x86_64", 5]]}));
    w.task(666, "foo-1-1", "CLOSED", Some(1));
    assert_eq!(w.outcomes("foo"), ["ok"]);
    w.sound();
}

/// T58: a tagged build of the hub makes its package ok. Deviation: also one of an older version, as what is tagged last is what
/// Koji builds with; Koschei compares versions.
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

/// Deviation: points a person gave are for the next rebuild and outlive a real build; Koschei clears them then.
#[test]
fn manual_points_outlive_a_real_build() {
    let mut w = built_once();
    w.points("foo", PriorityKind::Manual, 50);
    w.real("f99", "foo-2-1");
    assert_eq!(w.package("foo").manual_points, 50);
    w.rebuild(3, "foo-2-1", "FAILED", 1);
    assert_eq!(w.package("foo").manual_points, 0);
}

// ---- 6.8: state derivation and pointers --------------------------------------------------------------------------------------

fn evidence(order: u64, outcome: Option<Outcome>) -> Evidence {
    Evidence {
        kind: EvidenceKind::Scratch(TaskId(i64::try_from(order).unwrap())),
        source: "1-1".into(),
        order: Seq::new(order).unwrap(),
        at: Timestamp::from_secs(0),
        repo: None,
        assumed: false,
        outcome,
        running: outcome.is_none(),
        withdrawn: false,
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

/// T60–T62: what runs is the last build, what ended is the last complete one.
#[test]
fn t60_t61_t62_last_and_last_complete() {
    let mut w = f(Policy::default());
    w.tag("f99", "foo-1-1");
    w.tag("f99", "bar-1-1");
    let bar = w.package("bar").clone();
    w.task(1, "foo-1-1", "OPEN", None);
    assert_eq!((w.package("foo").running, w.package("foo").never_built()), (1, true));
    assert_eq!(*w.package("bar"), bar, "T60: another package is not touched");
    w.task_with(1, "foo-1-1", "FAILED", json!({"children": [["buildArch", "x86_64", 5]]}));
    assert_eq!(w.is("foo"), PackageState::Failing, "T61");
    w.task(2, "foo-1-1", "OPEN", None);
    let complete = w.package("foo").complete().next().unwrap().kind;
    assert_eq!((complete, w.package("foo").running), (EvidenceKind::Scratch(TaskId(1)), 1), "T62");
    assert_eq!(w.is("foo"), PackageState::Failing);
    w.sound();
}

/// T63: builds that are taken away (here: untagged) give way to those before them.
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
    assert_eq!(w.is("foo"), PackageState::Ok, "tagged again, it is the newest build once more");
    w.sound();
}

/// T64. Deviation: blocked is a matter of a collection's dest tag, by inheritance; nothing is kept per name over all collections.
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

// ---- 3.17: untracking, skipping ----------------------------------------------------------------------------------------------

/// Untracked packages keep their verdicts and go on being resolved, so that nothing is stale when they are tracked again.
/// Deviation: Koschei leaves them unresolved in between.
#[test]
fn untracked_and_back() {
    let mut w = built_once();
    w.track("foo", false);
    w.repo(2, &[broken("foo-1-1", "nothing provides q")]);
    assert_eq!(w.is("foo"), PackageState::Untracked);
    w.task(4, "foo-1-1", "CLOSED", Some(1));
    w.track("foo", true);
    assert_eq!(w.is("foo"), PackageState::Unresolved);
    assert_eq!(w.states("foo"), ["->ok", "ok>untracked", "untracked>unresolved"]);
    w.sound();
}

/// `skip_resolution` hides the verdict and does not lose it. Deviation: Koschei forgets it, which people use to force a new one.
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

/// What a request says it depends on: everything a rebuild would come out differently for, and nothing else.
#[test]
fn inputs_of_a_request() {
    let mut w = built_once();
    w.points("foo", PriorityKind::Manual, 1000);
    w.pass(60);
    let inputs: Vec<RebuildInputs> = w.requests().into_iter().map(|r| r.inputs).collect();
    let [one] = &inputs[..] else { panic!("{inputs:?}") };
    assert_eq!((one.source.as_str(), one.points, one.changes.as_str()), ("1-1", (0, 1000, 0), "0000000000000000"));
}
