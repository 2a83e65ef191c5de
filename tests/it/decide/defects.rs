//! Defects of Koschei 2.4 that we do not have, one story each. The story would end differently with
//! the defect.

use koschei::decide::Policy;
use koschei::event::{Event, PackageArchOverrideSet, PriorityKind, TargetObserved};
use koschei::model::{Hub, PackageState, RepoId};
use serde_json::json;

use crate::story::{HOUR, World, broken, excluded, ok, settings};

/// `z` in some version, at distance 1.
pub(crate) fn z(version: u32) -> String {
    format!("z-0:{version}-1.x86_64/1")
}

/// D3, behaviour 2: other packages' builds in between do not matter for the started-to-fail rule.
#[test]
fn d3_started_to_fail_looks_at_the_same_package() {
    let mut w = World::new();
    w.real("f99", "sick-1-1");
    w.real("f99", "healthy-1-1");
    w.repo(1, &[ok("sick-1-1", &z(1)), ok("healthy-1-1", &z(1))]);
    w.rebuild(1, "sick-1-1", "FAILED", 1);
    assert_eq!(w.why("sick").priority.unwrap().build, 200_000, "it started to fail");
    w.pass(13 * HOUR);
    assert_eq!(w.requested(), ["sick"], "and is tried again once");
    w.rebuild(2, "healthy-1-1", "CLOSED", 1);
    w.rebuild(3, "sick-1-1", "FAILED", 1);
    assert_eq!(w.why("sick").priority.unwrap().build, 0, "it goes on failing");
    w.pass(13 * HOUR);
    assert_eq!(w.requested(), [""; 0]);
    w.sound();
}

/// D4, behaviour 3: rebuilds that end in another order than they began lose no dependency changes.
#[test]
fn d4_rebuilds_end_out_of_order() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    w.task(10, "foo-1-1", "OPEN", Some(1));
    w.repo(2, &[ok("foo-1-1", &z(2))]);
    w.task(11, "foo-1-1", "OPEN", Some(2));
    w.task(11, "foo-1-1", "CLOSED", Some(2));
    w.task(10, "foo-1-1", "CLOSED", Some(1));
    w.repo(3, &[ok("foo-1-1", &z(3))]);
    assert_eq!(w.changes("foo"), ["z 2-1>3-1 /1"], "measured from the one that began last");
    // The other way round in repositories: the later rebuild is bound to the older one.
    w.task(12, "foo-1-1", "OPEN", Some(3));
    w.task(13, "foo-1-1", "OPEN", Some(2));
    w.task(13, "foo-1-1", "CLOSED", Some(2));
    w.task(12, "foo-1-1", "CLOSED", Some(3));
    assert_eq!(w.changes("foo"), ["z 2-1>3-1 /1"], "13 began last, and was built in repository 2");
    w.sound();
}

/// D5, behaviour 4: after the newest build was untagged, changes are measured from the build before
/// it.
#[test]
fn d5_untag_then_diff() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    w.real("f99", "foo-2-1");
    w.repo(2, &[ok("foo-2-1", &z(2))]);
    w.repo(3, &[ok("foo-2-1", &z(3))]);
    assert_eq!(w.changes("foo"), ["z 2-1>3-1 /1"]);
    w.untag("f99", "foo-2-1");
    assert_eq!(w.changes("foo"), ["z 1-1>3-1 /1"]);
    assert_eq!(w.dependency_points("foo"), 256_000);
    w.repo(4, &[ok("foo-1-1", &z(4))]);
    assert_eq!(w.changes("foo"), ["z 1-1>4-1 /1"]);
    w.sound();
}

/// D6, behaviour 5: a package without a source package comes back as soon as there is one. The same
/// build tagged again is enough.
#[test]
fn d6_no_source_heals() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    w.points("foo", PriorityKind::Static, 1000);
    w.untag("f99", "foo-1-1");
    w.repo(2, &[]);
    w.pass(24 * HOUR);
    assert_eq!(w.held("foo"), ["no_source", "not_resolved_yet"]);
    assert_eq!((w.is("foo"), w.requested()), (PackageState::Unknown, vec![]));
    w.tag("f99", "foo-1-1");
    w.repo(3, &[ok("foo-1-1", &z(3))]);
    assert_eq!((w.is("foo"), w.requested()), (PackageState::Ok, vec!["foo".to_owned()]));
    w.sound();
}

/// A package keeps its state and priority after many rebuilds without a result.
#[test]
fn many_cancelled_rebuilds_do_not_push_the_last_result_out() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    for id in 1..30 {
        w.rebuild(id, "foo-1-1", "CANCELED", 1);
    }
    assert_eq!((w.is("foo"), w.held("foo")), (PackageState::Ok, vec!["retry_later", "below_threshold"]));
    assert!(w.package("foo").evidence.len() <= 11, "and yet the list is bounded");
    w.repo(2, &[ok("foo-1-1", &z(2))]);
    assert_eq!(w.changes("foo"), ["z 1-1>2-1 /1"]);
    w.sound();
}

fn override_arches(w: &mut World, arches: Option<&str>) {
    let arches = arches.map(str::to_owned);
    w.operator(PackageArchOverrideSet { collection: "f99".into(), package: "foo".into(), arches, by: None });
}

/// D7: having no architecture is a reason like any other: it costs no points, holds up no other
/// package, and heals.
#[test]
fn d7_no_architecture_costs_no_points() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.real("f99", "bar-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1)), ok("bar-1-1", &z(1))]);
    override_arches(&mut w, Some("^x86_64"));
    w.points("foo", PriorityKind::Manual, 5000);
    w.points("bar", PriorityKind::Manual, 400);
    w.pass(60);
    assert_eq!(w.requested(), ["bar"], "the less urgent one passes");
    for _ in 0..20 {
        w.pass(60);
    }
    assert_eq!((w.held("foo"), w.package("foo").manual_points), (vec!["no_arch"], 5000));
    override_arches(&mut w, None);
    w.pass(60);
    assert_eq!(w.requested(), ["foo"]);
    w.sound();
}

/// Two collections, each with a due package.
fn two_collections(policy: Policy) -> World {
    let mut w = World::with(policy, &[("f98", settings("f98")), ("f99", settings("f99"))]);
    w.tag("f98", "top-1-1");
    w.tag("f99", "foo-1-1");
    w
}

fn target(name: &str, there: bool) -> TargetObserved {
    TargetObserved {
        hub: Hub::new("primary"),
        target: name.into(),
        build_tag: there.then(|| format!("{name}-build").into()),
        dest_tag: there.then(|| name.into()),
    }
}

/// D8, behaviour 6 (#351): a collection without target, repository content or build group affects
/// no other collection, and heals.
#[test]
fn d8_trouble_stays_in_its_collection() {
    let mut w = two_collections(Policy::default());
    w.observe(target("f98", false));
    w.holds("f98-build", 1, "x86_64", &[ok("top-1-1", &z(1))]);
    w.done("f98-build", 1);
    w.repo(2, &[ok("foo-1-1", &z(1))]);
    assert_eq!(w.requested(), ["foo"], "top is as urgent and has no target");
    assert_eq!(w.why_in("f98", "top").deciding, [koschei::decide::Hold::TargetGone]);

    w.lose("f98-build", 3);
    w.done("f98-build", 3);
    w.no_group("f98-build", 4, "x86_64", "nothing provides bash");
    w.done("f98-build", 4);
    w.repo(5, &[ok("foo-1-1", &z(2))]);
    assert_eq!(w.requested(), ["foo"]);

    w.holds("f98-build", 6, "x86_64", &[ok("top-1-1", &z(1))]);
    w.observe(target("f98", true));
    w.done("f98-build", 6);
    assert_eq!(w.requested(), ["top"]);
    w.sound();
}

/// A target that never existed is noticed. Another target is independent of it (#351).
#[test]
fn a_target_that_never_was() {
    let mut w = World::seeing(Policy::default(), &[("f99", settings("f99"))], vec![target("f99", false).into()]);
    w.tag("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    assert_eq!((w.requested(), w.held("foo")), (vec![], vec!["target_gone"]));
    let other = koschei::event::CollectionSettings { target: "f99-candidate".into(), ..settings("f99") };
    w.operator(koschei::event::CollectionEdited { collection: "f99".into(), settings: other });
    w.pass(60);
    assert_eq!(w.requests().iter().map(|r| r.target.as_str()).collect::<Vec<_>>(), ["f99-candidate"]);
    w.sound();
}

/// D9, behaviour 7 (and D1): a crash between a repository and its packages' verdicts loses neither.
#[test]
fn d9_crash_in_the_middle_of_a_repository() {
    let story = |crash: bool| {
        let mut w = World::new();
        w.real("f99", "foo-1-1");
        w.real("f99", "bar-1-1");
        w.repo(1, &[ok("foo-1-1", &z(1)), ok("bar-1-1", &z(1))]);
        w.holds("f99-build", 2, "x86_64", &[broken("foo-1-1", "nothing provides z"), ok("bar-1-1", &z(2))]);
        let body = json!({"instance": "primary", "repo_id": 2, "tag": "f99-build"});
        match crash {
            true => w.send_and_crash("repo.done", body),
            false => drop(w.send("repo.done", body)),
        }
        w.sound();
        w
    };
    let (whole, crashed) = (story(false), story(true));
    assert_eq!(crashed.is("foo"), PackageState::Unresolved);
    assert_eq!(crashed.changes("bar"), ["z 1-1>2-1 /1"]);
    assert_eq!(whole.state().digest(), crashed.state().digest());
    assert_eq!(whole.events().len(), crashed.events().len());
}

/// D13, behaviour 9: if two collections use the same tags, like a branch and its copy, a task
/// counts once.
#[test]
fn d13_a_task_counts_in_one_collection() {
    let policy = Policy { max_builds: 2, ..Policy::default() };
    let mut w = World::with(policy, &[("f99", settings("f99")), ("copy", settings("f99"))]);
    w.real("f99", "foo-1-1");
    w.real("f99", "bar-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1)), ok("bar-1-1", &z(1))]);
    w.task(7, "foo-1-1", "OPEN", Some(1));
    assert_eq!(w.state().running(), 1);
    assert_eq!((w.package("foo").running, w.state().package("copy", "foo").unwrap().running), (1, 0));
    w.points("bar", PriorityKind::Manual, 1000);
    w.pass(60);
    assert_eq!(w.requested(), ["bar"], "one of two slots is free");
    w.task(7, "foo-1-1", "FAILED", Some(1));
    assert_eq!(w.state().running(), 0);
    w.sound();
}

/// D14: a package's dependency problems are in the log and in every answer.
#[test]
fn d14_problems_are_kept() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[broken("foo-1-1", "nothing provides libz.so.9 needed by z")]);
    let reasons = w.all(|e| match e {
        Event::PackageStateChanged(c) if c.new == PackageState::Unresolved => Some(c.reason),
        _ => None,
    });
    assert_eq!(reasons, ["on x86_64: nothing provides libz.so.9 needed by z"]);
    assert_eq!(w.package("foo").verdicts[0].problem.as_deref(), Some("nothing provides libz.so.9 needed by z"));
}

/// D15: a rebuild that runs and is then cancelled, times out or meets a fault keeps all reasons to
/// rebuild the package.
#[test]
fn d15_dependency_points_survive_a_rebuild_that_says_nothing() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    w.repo(2, &[ok("foo-1-1", &z(2))]);
    assert_eq!(w.dependency_points("foo"), 256_000);
    for (id, end) in [(1, "CANCELED"), (2, "FAILED"), (3, "")] {
        w.task(id, "foo-1-1", "OPEN", Some(2));
        w.repo(10 + id, &[ok("foo-1-1", &z(2))]);
        assert_eq!(w.dependency_points("foo"), 256_000, "while it runs");
        match end {
            "" => w.pass(49 * HOUR),
            end => w.task(id, "foo-1-1", end, Some(2)),
        }
        assert_eq!(w.dependency_points("foo"), 256_000, "{end}");
        assert_eq!(w.is("foo"), PackageState::Ok);
    }
    assert_eq!(w.outcomes("foo"), ["cancelled", "infrastructure fault", "timed out"]);
    w.sound();
}

/// D16, behaviour 14: points of a package without any result are not lost while it is built, and
/// never loop.
#[test]
fn d16_points_follow_from_builds() {
    let mut w = World::new();
    w.tag("f99", "import-1-1");
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("import-1-1", &z(1)), broken("foo-1-1", "nothing provides q")]);
    assert_eq!(w.requested(), ["import"]);
    w.task(1, "import-1-1", "OPEN", Some(1));
    w.task(1, "import-1-1", "CANCELED", Some(1));
    assert_eq!(w.why("import").priority.unwrap().build, 3_000_000, "still never built");
    w.rebuild(2, "import-1-1", "CLOSED", 1);
    assert_eq!(w.why("import").priority.unwrap().build, 0);

    w.skip_resolution("foo", true);
    assert_eq!((w.is("foo"), w.held("foo")), (PackageState::Ok, vec!["below_threshold"]));
    for id in 10..14 {
        w.rebuild(id, "foo-1-1", "CLOSED", 1);
        w.repo(id, &[ok("import-1-1", &z(1)), broken("foo-1-1", "nothing provides q")]);
        w.pass(6 * HOUR);
        assert_eq!(w.why("foo").priority.unwrap().build, 0, "unresolvable, and it builds all the same");
    }
    assert_eq!(w.requested(), [""; 0]);
    w.sound();
}

/// D17: exactly what was resolved is submitted: source package, BuildRequires and architectures.
#[test]
fn d17_the_source_that_was_resolved_is_the_one_submitted() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.holds("f99-build", 1, "aarch64", &[ok("foo-1-1", &z(1))]);
    w.repo(1, &[ok("foo-1-1", &z(1))]);
    w.real("f99", "foo-2-1");
    w.points("foo", PriorityKind::Manual, 1000);
    w.pass(60);
    assert_eq!((w.requested(), w.held("foo")), (vec![], vec!["newer_source_not_resolved"]));
    w.holds("f99-build", 2, "aarch64", &[excluded("foo-2-1")]);
    w.repo(2, &[ok("foo-2-1", &z(1))]);
    let requests = w.requests();
    let [r] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((r.nvr.to_string().as_str(), r.inputs.source.as_str(), r.repo_id), ("foo-2-1", "2-1", Some(RepoId(2))));
    assert_eq!(r.arches, ["x86_64"]);
    w.sound();
}

/// D24, behaviour 11: several versions and architectures of one name are told apart.
#[test]
fn d24_versions_and_architectures_of_a_name() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", "k-0:1-1.x86_64/1 k-0:2-1.x86_64/1 l-0:1-1.x86_64/1 l-0:1-1.i686/3")]);
    w.repo(2, &[ok("foo-1-1", "k-0:2-1.x86_64/1 k-0:3-1.x86_64/1 l-0:1-1.x86_64/1 l-0:2-1.i686/3")]);
    assert_eq!(w.changes("foo"), ["k 1-1>3-1 /1", "l 1-1>2-1 /3"]);
    assert_eq!(w.dependency_points("foo"), 341_000, "256 + 85.3, truncated once");
    w.sound();
}

/// D25: every architecture that a build would use is resolved, and no other.
#[test]
fn d25_all_architectures_count() {
    let mut w = World::new();
    for p in ["native", "script", "intel"] {
        w.real("f99", &format!("{p}-1-1"));
    }
    w.holds(
        "f99-build",
        1,
        "aarch64",
        &[broken("native-1-1", "nothing provides asm"), broken("script-1-1", "no asm").noarch(), excluded("intel-1-1")],
    );
    w.repo(1, &[ok("native-1-1", &z(1)), ok("script-1-1", &z(1)).noarch(), ok("intel-1-1", &z(1))]);
    assert_eq!(w.is("native"), PackageState::Unresolved, "x86_64 alone would not show it");
    assert_eq!(w.is("script"), PackageState::Ok, "any builder will do");
    assert_eq!(w.is("intel"), PackageState::Ok, "not built there at all");
    w.sound();
}

/// D26: limits per collection, several rebuilds at once, and nobody waits behind a busy
/// architecture.
#[test]
fn d26_no_head_of_line_blocking() {
    let small = koschei::event::CollectionSettings { max_builds: Some(1), ..settings("f98") };
    let mut w = World::with(Policy::default(), &[("f98", small), ("f99", settings("f99"))]);
    for p in ["a", "b"] {
        w.tag("f98", &format!("{p}-1-1"));
    }
    for p in ["c", "d"] {
        w.tag("f99", &format!("{p}-1-1"));
    }
    w.holds("f98-build", 1, "x86_64", &[ok("a-1-1", &z(1)), ok("b-1-1", &z(1))]);
    w.holds("f99-build", 2, "x86_64", &[excluded("c-1-1"), ok("d-1-1", &z(1))]);
    w.holds("f99-build", 2, "aarch64", &[ok("c-1-1", &z(1)), excluded("d-1-1")]);
    w.done("f98-build", 1);
    assert_eq!(w.requested(), ["a"], "f98 may have one");
    assert_eq!(w.state().running(), 0, "without a hub it takes no slot");
    w.done("f99-build", 2);
    assert_eq!(
        w.requested(),
        ["b", "c", "d"],
        "a full collection does not stop the other one, and one evaluation takes several"
    );
    w.repo(3, &[]);

    let mut w = World::new();
    w.real("f99", "c-1-1");
    w.real("f99", "d-1-1");
    w.holds("f99-build", 2, "aarch64", &[ok("c-1-1", &z(1)), excluded("d-1-1")]);
    w.repo(2, &[excluded("c-1-1"), ok("d-1-1", &z(1))]);
    w.points("c", PriorityKind::Static, 3000);
    w.points("d", PriorityKind::Static, 1000);
    assert_eq!(w.plan(Some(&[("aarch64", 900), ("x86_64", 100)])), ["d"], "c needs aarch64; d does not wait for it");
    assert_eq!(w.plan(Some(&[("aarch64", 100), ("x86_64", 100)])), ["c", "d"]);
}

/// D27: a repository costs one event with only the news, however many packages there are.
#[test]
fn d27_only_what_is_new_is_written() {
    let mut w = World::new();
    let sources = |version: u32, nth: u32| -> Vec<_> {
        (0..50).map(|n| ok(&format!("p{n}-1-1"), &z(if n == nth { version } else { 1 }))).collect()
    };
    for n in 0..50 {
        w.real("f99", &format!("p{n}-1-1"));
    }
    w.repo(1, &sources(1, 7));
    w.repo(2, &sources(2, 7));
    w.repo(3, &sources(2, 7));
    let listed = w.all(|e| match e {
        Event::RepoResolved(r) => Some(r.packages.into_iter().map(|p| p.package.to_string()).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!((listed[0].len(), &listed[1][..], listed[2].len()), (50, &["p7".to_owned()][..], 0));
    assert_eq!(w.changes("p7"), ["z 1-1>2-1 /1"], "and yet they stand");
    w.sound();
}

/// D30: another solver that words problems differently changes only what is shown.
#[test]
fn d30_wording_decides_nothing() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[broken("foo-1-1", "nothing provides q")]);
    let (states, before) = (w.states("foo"), w.package("foo").clone());
    w.solver("99");
    w.repo(2, &[broken("foo-1-1", "no package offers q, sadly")]);
    assert_eq!((w.states("foo"), w.reasons("foo")), (states, vec!["on x86_64: no package offers q, sadly".to_owned()]));
    let after = w.package("foo");
    assert_eq!(
        (after.resolved, after.distances, after.changes_digest),
        (before.resolved, before.distances, before.changes_digest)
    );
    w.sound();
}

/// Another order of the problems is no news. The disappearance of the shown problem is.
#[test]
fn the_reason_shown_is_the_present_one() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[broken("foo-1-1", "nothing provides a")]);
    let shown = |w: &World| w.package("foo").verdicts[0].problem.clone().unwrap().into_string();
    w.repo(2, &[broken("foo-1-1", "nothing provides b|nothing provides a")]);
    assert_eq!((shown(&w), w.reasons("foo").len()), ("nothing provides a".to_owned(), 0));
    w.repo(3, &[broken("foo-1-1", "nothing provides b|nothing provides c")]);
    assert_eq!(
        (shown(&w), w.reasons("foo")),
        ("nothing provides b".to_owned(), vec!["on x86_64: nothing provides b".to_owned()])
    );
    w.repo(4, &[broken("foo-1-1", "nothing provides c|nothing provides b")]);
    // Another source with the same cause.
    w.real("f99", "foo-2-1");
    w.repo(5, &[broken("foo-2-1", "nothing provides c|nothing provides b")]);
    assert_eq!((shown(&w), w.reasons("foo").len()), ("nothing provides b".to_owned(), 1));
    w.repo(6, &[ok("foo-2-1", &z(1))]);
    w.repo(7, &[broken("foo-2-1", "nothing provides b")]);
    assert_eq!(w.states("foo"), ["->ok", "ok>unresolved", "unresolved>ok", "ok>unresolved"]);
    assert_eq!(w.reasons("foo").len(), 1, "that it is unresolved again is said with its cause");
    w.sound();
}

/// A missing dependency on an architecture that no build would use is no cause.
#[test]
fn the_reason_is_one_of_an_architecture_in_use() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.holds("f99-build", 1, "aarch64", &[broken("foo-1-1", "nothing provides a")]);
    w.repo(1, &[broken("foo-1-1", "nothing provides b")]);
    assert_eq!(w.reason("foo"), "on aarch64: nothing provides a");
    let (collection, package) = ("f99".into(), "foo".into());
    w.operator(PackageArchOverrideSet { collection, package, arches: Some("^aarch64".to_owned()), by: None });
    assert_eq!(
        (w.reason("foo"), w.reasons("foo")),
        ("on x86_64: nothing provides b".to_owned(), vec!["on x86_64: nothing provides b".to_owned()])
    );
    w.sound();
}
