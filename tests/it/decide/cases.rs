//! Koschei 2.4's behaviour cases about resolution, priority and scheduling, as tables and stories.
//! Each cites its number. An intentional difference is marked "deviation". Cases about completion,
//! tags and states are in `cases_builds`.
//!
//! Cases of pure formulas are tested beside the formulas: T1–T5 in `resolve::cases`, T18 and
//! T21–T28 in `decide::priority`, T30 and T39 in `decide::load`, T38, T42, T66–T71 and T84 in
//! `decide::arches`, T44, T49–T51 in `decide::faults`, T46 in `decide::retry`, T76 and T77 in
//! `model::nevra`.

use koschei::decide::Policy;
use koschei::event::{Event, PackageArchOverrideSet, PriorityKind};
use koschei::model::{BuildrootState, PackageState, RepoId};
use rstest::rstest;
use serde_json::json;

use crate::story::{HOUR, Src, World, broken, excluded, ok, settings, unknown};

/// The old closure of T6: C at 1:2, no E.
pub(crate) const OLD: &str = "A-0:1-1.fc22.x86_64/1 B-0:4.1-2.fc22.noarch/2 C-1:2-1.fc22.x86_64/2 \
                   D-2:8.b-1.rc1.fc22.x86_64/3 F-0:1-1.fc22.noarch/1 R-0:3.3-2.fc22.x86_64";
/// The new closure of T6, from repository R.
const NEW: &str = "A-0:1-1.fc22.x86_64/1 B-0:4.1-2.fc22.noarch/2 C-1:3-1.fc22.x86_64/2 D-2:8.b-1.rc1.fc22.x86_64/3 \
                   E-0:0.1-1.fc22.1.noarch/2 F-0:1-1.fc22.noarch/1 R-0:3.3-2.fc22.x86_64";
/// The two changes of T6.
const T6: [&str; 2] = ["C 1:2-1.fc22>1:3-1.fc22 /2", "E ->0.1-1.fc22.1 /2"];

/// Config F: a changed dependency brings 20 points, two builds at a time, load up to 0.6.
fn config_f() -> Policy {
    Policy { package_update: 20, max_builds: 2, load_threshold: 600, ..Policy::default() }
}

pub(crate) fn f(policy: Policy) -> World {
    World::with(policy, &[("f99", settings("f99"))])
}

// ---- 6.2, 6.3: resolution ----

/// Deviation: the older build's closure stays in the log, so that it can be compared again. Koschei
/// erases it.
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

/// Deviation: an unresolvable package gets no 3000 points. It is unresolved, with its problem, and
/// waits for the next repository.
#[test]
fn t7_unresolvable_build() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.repo(1, &[broken("foo-1-1", "nothing provides nonexistent")]);
    let why = w.why("foo");
    assert_eq!((why.state, why.priority.unwrap().build), (PackageState::Unresolved, 0));
    assert_eq!(w.held("foo"), ["unresolved", "below_threshold"]);
}

/// Deviation: without a readable build group, verdicts stay and are marked stale. Koschei marks
/// every build of the repository as unresolved.
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

/// Also T10: a running rebuild, bound to a repository or not, does not change its package's state
/// yet.
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

/// A package does not resolve in the repository it was built in. The build is then compared through
/// the newest earlier repository in which the package resolves.
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

/// T14: a newly tracked package is resolved in the newest repository. Its changes are measured from
/// what its last build had installed. If the hub does not tell that, changes count from now on,
/// because the build's repository was not resolved for this package.
#[test]
fn t14_newly_tracked() {
    let mut w =
        World::with(config_f(), &[("f99", koschei::event::CollectionSettings { track_all: false, ..settings("f99") })]);
    for nvr in ["foo-1-1", "bar-1-1"] {
        w.real("f99", nvr);
    }
    w.repo(122, &[ok("foo-1-1", OLD), ok("bar-1-1", OLD)]);
    let installed: Vec<&str> = OLD.split_whitespace().map(|w| w.split('/').next().unwrap()).collect();
    let installed: Vec<String> =
        installed.iter().enumerate().map(|(n, w)| format!("{}{w}", if n == 0 { "+" } else { "" })).collect();
    let task = w.task_of_build("foo-1-1");
    w.buildroot(task, "foo-1-1", "x86_64", 122, &installed.join(" "), true);
    w.repo(123, &[ok("foo-1-1", NEW), ok("bar-1-1", NEW)]);
    assert_eq!(w.is("foo"), PackageState::Untracked);
    assert!(w.package("foo").verdicts.is_empty());
    w.track("foo", true);
    w.track("bar", true);
    w.pass(0);
    assert_eq!((w.is("foo"), w.package("foo").resolved), (PackageState::Ok, Some(true)));
    assert_eq!(w.dependency_points("foo"), 20_000);
    assert_eq!((w.package("bar").resolved, w.dependency_points("bar")), (Some(true), 0));
    w.sound();
}

/// T15, T26: with a broken or unknown buildroot nothing is resolved and nothing is rebuilt.
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

/// Unknown build requirements are not empty ones: there is no verdict, instead of one that always
/// resolves (D18).
#[test]
fn unknown_requirements_give_no_verdict() {
    let mut w = f(config_f());
    w.real("f99", "foo-1-1");
    w.repo(1, &[unknown("foo-1-1")]);
    assert_eq!(w.held("foo"), ["not_resolved_yet", "below_threshold"]);
}

// ---- 6.4, 6.5: priority and scheduling ----

/// A package of the scheduler cases: its current priority, and its other conditions.
struct P(&'static str, i32, &'static [&'static str]);

/// Makes the world of §6.5 at 10:50. Each package was built a few tens of minutes ago, so that its
/// time points are −30.
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
// Deviation: two at once, most urgent first. Koschei takes one every three seconds.
#[case::t35(&[P("eclipse", 280, &[]), P("rnv", 300, &[])], 300, &["rnv", "eclipse"])]
#[case::t37_unresolved(&[P("rnv", 300, &["unresolved"])], 300, &[])]
#[case::t37_untracked(&[P("rnv", 300, &["untracked"])], 300, &[])]
#[case::t38(&[P("rnv", 256, &["skip", "not attempted"])], 300, &["rnv"])]
#[case::t38_busy(&[P("rnv", 256, &["skip", "not attempted"])], 700, &[])]
fn scheduling(#[case] packages: &[P], #[case] load: u32, #[case] submitted: &[&str]) {
    let mut w = scheduler(packages);
    assert_eq!(w.plan(Some(&[("x86_64", load)])), submitted);
    if load <= 600 {
        // It is then requested once. No hub reports a load here.
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

/// T28, T40, T42: the content of a command. Deviation: always bound to the repository of the
/// resolution (T43), and `noarch` goes without architectures.
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

/// T42: an override also holds for a package that was never resolved.
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

/// Without a hub, a rebuild is requested once, and again only after one of its inputs changes.
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
