//! A collection watched on one hub and built on another: which hub is meant where. Both hubs use
//! equal task and repository numbers on purpose.
//!
//! `f99` is watched on `primary`, the hub of all stories, and built on `builder`. `f98` is watched
//! and built on `primary`.

use koschei::decide::{Hold, Policy};
use koschei::event::{
    BuildsOn, CollectionEdited, CollectionSettings, Event, PriorityKind, RebuildCancelRequested, RebuildSubmitted,
    TagObserved, TargetObserved, TaskChanged, TaskVanished,
};
use koschei::fold::{Evidence, EvidenceKind};
use koschei::model::koji::TaskState;
use koschei::model::{Hub, Name, Nvr, Outcome, PackageState, RebuildId, RepoId, TaskId};
use serde_json::json;

use crate::story::{HOUR, World, broken, ok, settings};

const Z1: &str = "z-0:1-1.x86_64/1";
const Z2: &str = "z-0:2-1.x86_64/1";

fn elsewhere() -> CollectionSettings {
    let builds_on = BuildsOn { hub: Hub::new("builder"), target: "f99-here".into(), srpm_root: "../riscv/".to_owned() };
    CollectionSettings { builds_on: Some(builds_on), ..settings("f99") }
}

/// Makes both collections. The building hub has not been looked at yet.
fn unlooked() -> World {
    World::with(Policy::default(), &[("f99", elsewhere()), ("f98", settings("f98"))])
}

/// Makes both collections.
fn world() -> World {
    let mut w = unlooked();
    w.operator(target("builder", "f99-here", Some(("here-build", "here"))));
    w.operator(tag("builder", "here-build", &["x86_64", "aarch64"], false));
    w.operator(tag("builder", "here", &[], false));
    w
}

/// Returns a task of ours on a hub, bound to repository 1 of that hub.
fn task(hub: &str, target: &str, id: i64, nvr: &str, state: TaskState, decision: Option<RebuildId>) -> TaskChanged {
    let nvr = Nvr::parse(nvr).unwrap();
    TaskChanged {
        hub: Hub::new(hub),
        task_id: TaskId(id),
        state,
        package: nvr.name.clone(),
        nvr: Some(nvr),
        target: Some(target.into()),
        repo_id: Some(RepoId(1)),
        arches: Vec::new(),
        decision: decision.map(|d| d.to_string()),
        created_at: None,
        started_at: None,
        finished_at: None,
        fault: None,
        children: Vec::new(),
    }
}

fn rebuilds<'a>(w: &'a World, collection: &str, package: &str) -> Vec<&'a Evidence> {
    let p = w.state().package(collection, package).unwrap();
    p.evidence.iter().filter(|e| matches!(e.kind, EvidenceKind::Scratch(_))).collect()
}

/// Returns the request to cancel the open rebuild of a package of `f99`.
fn cancelled(w: &World, package: &str) -> RebuildCancelRequested {
    RebuildCancelRequested {
        collection: "f99".into(),
        package: package.into(),
        hub: Hub::new("builder"),
        task_id: None,
        rebuild: Some(w.open(package)),
        reason: "a test".to_owned(),
        by: None,
    }
}

fn target(hub: &str, name: &str, tags: Option<(&str, &str)>) -> TargetObserved {
    let (build_tag, dest_tag) = tags.map(|(b, d)| (Name::from(b), Name::from(d))).unzip();
    TargetObserved { hub: Hub::new(hub), target: name.into(), build_tag, dest_tag }
}

fn tag(hub: &str, name: &str, arches: &[&str], gone: bool) -> TagObserved {
    TagObserved {
        hub: Hub::new(hub),
        tag: name.into(),
        tag_id: None,
        gone,
        arches: (!gone).then(|| arches.iter().map(|a| Name::from(*a)).collect()),
        inheritance: None,
        groups: None,
        external_repos: None,
    }
}

/// Before the building hub's tags are known, all architectures would count. So nothing is decided
/// before.
#[test]
fn nothing_is_built_before_the_building_hub_was_looked_at() {
    let mut w = unlooked();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z1)]);
    w.pass(24 * HOUR);
    w.repo(2, &[ok("foo-1-1", Z2)]);
    let asked = |w: &World| {
        w.all(|e| {
            matches!(&e, Event::RebuildRequested(r) if r.collection == "f99" && r.nvr.name == "foo").then_some(())
        })
        .len()
    };
    assert_eq!(asked(&w), 0);
    assert!(w.why("foo").deciding.contains(&Hold::BuildrootUnknown), "{:?}", w.why("foo").deciding);
    w.operator(target("builder", "f99-here", Some(("here-build", "here"))));
    w.pass(HOUR);
    assert_eq!(asked(&w), 0, "its tag is not known yet");
    w.operator(tag("builder", "here-build", &["x86_64"], false));
    w.points("foo", PriorityKind::Manual, 10_000);
    w.pass(HOUR);
    assert_eq!(asked(&w), 1, "{:?}", w.why("foo").deciding);
    w.sound();
}

/// The same package in both collections, rebuilt by tasks of the same number on two hubs.
#[test]
fn equal_task_numbers_on_two_hubs() {
    let mut w = world();
    for dest in ["f99", "f98"] {
        w.real(dest, "foo-1-1");
    }
    w.pass(HOUR);
    w.operator(task("builder", "f99-here", 7, "foo-1-1", TaskState::Open, None));
    w.operator(task("primary", "f98", 7, "foo-1-1", TaskState::Open, None));
    let hubs =
        |w: &World| ["f99", "f98"].map(|c| rebuilds(w, c, "foo").iter().map(|e| e.hub.clone()).collect::<Vec<_>>());
    assert_eq!(hubs(&w), [vec![Some(Hub::new("builder"))], vec![None]]);
    assert_eq!(["f99", "f98"].map(|c| w.state().collections[c].running), [1, 1]);
    // One task ends, and the other is not affected.
    w.operator(task("builder", "f99-here", 7, "foo-1-1", TaskState::Closed, None));
    assert_eq!(["f99", "f98"].map(|c| w.state().collections[c].running), [0, 1]);
    assert_eq!(
        (rebuilds(&w, "f99", "foo")[0].outcome, rebuilds(&w, "f98", "foo")[0].outcome),
        (Some(Outcome::Ok), None)
    );
    w.operator(TaskVanished { hub: Hub::new("builder"), task_id: TaskId(7), package: "foo".into() });
    assert_eq!(w.state().collections["f98"].running, 1, "gone on the other hub");
    w.operator(TaskVanished { hub: Hub::new("primary"), task_id: TaskId(7), package: "foo".into() });
    assert_eq!(rebuilds(&w, "f98", "foo")[0].outcome, Some(Outcome::InfrastructureFault));
    assert_eq!(rebuilds(&w, "f99", "foo")[0].outcome, Some(Outcome::Ok));
    w.sound();
}

/// A collection changes its building hub. Earlier rebuilds stay, and each keeps its own end.
#[test]
fn one_collection_on_two_hubs_one_after_the_other() {
    let mut w = World::with(Policy::default(), &[("f99", settings("f99"))]);
    w.real("f99", "foo-1-1");
    w.pass(HOUR);
    w.operator(task("primary", "f99", 7, "foo-1-1", TaskState::Open, None));
    w.operator(CollectionEdited { collection: "f99".into(), settings: elsewhere() });
    w.operator(task("builder", "f99-here", 7, "foo-1-1", TaskState::Open, None));
    assert_eq!((rebuilds(&w, "f99", "foo").len(), w.state().collections["f99"].running), (2, 2));
    let failed = TaskChanged {
        children: vec![koschei::event::ChildTask {
            task_id: TaskId(8),
            method: "buildArch".into(),
            label: "x86_64".into(),
            state: TaskState::Failed,
            arch: None,
            fault: None,
        }],
        ..task("primary", "f99", 7, "foo-1-1", TaskState::Failed, None)
    };
    w.operator(failed);
    let ends = |w: &World| rebuilds(w, "f99", "foo").iter().map(|e| (e.hub.clone(), e.outcome)).collect::<Vec<_>>();
    assert_eq!(ends(&w), [(None, Some(Outcome::GenuineFailure)), (Some(Hub::new("builder")), None)]);
    w.operator(task("builder", "f99-here", 7, "foo-1-1", TaskState::Closed, None));
    assert_eq!((w.is("foo"), w.state().collections["f99"].running), (PackageState::Ok, 0));
    let why = w.state().hubs[&Hub::new("builder")].tasks[&TaskId(7)].reason.clone().unwrap();
    let said = w.all(|e| match e {
        Event::PackageStateChanged(c) => Some(c.reason),
        _ => None,
    });
    assert_eq!(said.last().unwrap(), &format!("rebuild 7 of 1-1: {why}"));
    // The collection is now watched on the hub it was built on. That hub's rebuilds become its own,
    // and those of the old hub were elsewhere.
    let moved = CollectionSettings { hub: Hub::new("builder"), ..settings("f99") };
    w.operator(CollectionEdited { collection: "f99".into(), settings: moved });
    let hubs: Vec<_> = ends(&w).into_iter().map(|(hub, _)| hub).collect();
    assert_eq!(hubs, [Some(Hub::new("primary")), None]);
    assert!(rebuilds(&w, "f99", "foo").iter().all(|e| e.repo.is_none()), "repositories of the old hub");
    w.sound();
}

/// Tasks of our user on a hub that is only watched do not count, even for the collection's target.
#[test]
fn tasks_on_the_watched_hub_are_not_ours() {
    let mut w = world();
    w.real("f99", "foo-1-1");
    w.operator(task("primary", "f99", 7, "foo-1-1", TaskState::Closed, None));
    w.operator(target("primary", "f99", Some(("f99-build", "f99"))));
    assert_eq!(rebuilds(&w, "f99", "foo"), Vec::<&Evidence>::new());
    w.operator(task("builder", "f99", 8, "foo-1-1", TaskState::Closed, None));
    assert_eq!(rebuilds(&w, "f99", "foo"), Vec::<&Evidence>::new(), "another target of the building hub");
    // Another target with the same tags is the same place, as always.
    w.operator(target("builder", "f99-here", Some(("here-build", "here"))));
    w.operator(target("builder", "f99", Some(("here-build", "here"))));
    assert_eq!(rebuilds(&w, "f99", "foo").len(), 1);
    w.sound();
}

/// A request names the building hub and its target, no repository of another hub, and the source
/// package's location there. It is one task there, whatever else has its number.
#[test]
fn a_request_goes_to_the_building_hub() {
    let mut w = world();
    w.submits();
    w.real("f99", "foo-1-1");
    w.real("f98", "bar-1-1");
    for build_tag in ["f99-build", "f98-build"] {
        w.holds(
            build_tag,
            if build_tag == "f99-build" { 1 } else { 2 },
            "x86_64",
            &[ok("foo-1-1", Z1), ok("bar-1-1", Z1)],
        );
    }
    w.done("f99-build", 1);
    w.done("f98-build", 2);
    w.points("foo", PriorityKind::Manual, 1000);
    w.operator(koschei::event::PackagePrioritySet {
        collection: "f98".into(),
        package: "bar".into(),
        kind: PriorityKind::Manual,
        points: 1000,
        by: None,
    });
    w.pass(60);
    let requests = w.requests();
    let of = |name: &str| requests.iter().find(|r| r.nvr.name == name).unwrap();
    assert_eq!((of("foo").hub.as_str(), of("foo").target.as_str(), of("foo").repo_id), ("builder", "f99-here", None));
    assert_eq!(
        (of("bar").hub.as_str(), of("bar").target.as_str(), of("bar").repo_id),
        ("primary", "f98", Some(RepoId(2)))
    );
    let commands = w.commands();
    let command = |name: &str| commands.iter().find(|c| c["package"] == name).unwrap().clone();
    assert_eq!(command("foo")["source"], "../riscv/packages/foo/1/1/src/foo-1-1.src.rpm");
    assert_eq!((&command("foo")["hub"], command("foo").get("repo_id")), (&json!("builder"), None));
    assert_eq!(command("bar")["source"], "../packages/bar/1/1/src/bar-1-1.src.rpm");
    // Both become task 50. One of them is cancelled.
    let open = w.open("foo");
    let other = w.state().package("f98", "bar").unwrap().open_rebuild.unwrap();
    for (rebuild, collection, package, hub) in [(open, "f99", "foo", "builder"), (other, "f98", "bar", "primary")] {
        w.operator(RebuildSubmitted {
            rebuild,
            collection: collection.into(),
            package: package.into(),
            hub: Hub::new(hub),
            task_id: TaskId(50),
        });
    }
    w.operator(task("builder", "f99-here", 50, "foo-1-1", TaskState::Open, Some(open)));
    w.operator(task("primary", "f98", 50, "bar-1-1", TaskState::Open, Some(other)));
    w.operator(RebuildCancelRequested {
        collection: "f99".into(),
        package: "foo".into(),
        hub: Hub::new("builder"),
        task_id: Some(TaskId(50)),
        rebuild: Some(open),
        reason: "a test".to_owned(),
        by: None,
    });
    let commands = w.commands();
    let cancels: Vec<_> = commands.iter().filter(|c| c["command"] == "cancel").map(|c| &c["hub"]).collect();
    assert_eq!(cancels, ["builder"]);
    w.operator(task("builder", "f99-here", 50, "foo-1-1", TaskState::Canceled, Some(open)));
    let hubs = &w.state().hubs;
    let outcome = |hub: &str| hubs[&Hub::new(hub)].tasks[&TaskId(50)].outcome;
    assert_eq!((outcome("builder"), outcome("primary")), (Some(Outcome::Cancelled), None));
    assert_eq!((w.outcomes("foo").len(), w.outcomes("bar").len()), (1, 0));
    assert_eq!(w.state().rebuilds.keys().copied().collect::<Vec<_>>(), [other], "the other's request is open");
    w.sound();
}

/// On the building hub, the lower of two tasks with a decision's id is ours, even if it is seen
/// after the other has ended.
#[test]
fn the_lower_task_is_ours_on_the_building_hub() {
    let mut w = world();
    w.submits();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z1)]);
    w.points("foo", PriorityKind::Manual, 1000);
    w.pass(60);
    let decision = w.open("foo");
    w.operator(task("builder", "f99-here", 50, "foo-1-1", TaskState::Closed, Some(decision)));
    assert_eq!(w.state().rebuilds.len(), 0, "it is closed");
    w.operator(task("builder", "f99-here", 49, "foo-1-1", TaskState::Open, Some(decision)));
    let tasks = &w.state().hubs[&Hub::new("builder")].tasks;
    assert_eq!((tasks[&TaskId(49)].rebuild, tasks[&TaskId(50)].rebuild), (Some(decision), None));
    w.audited();
}

/// A rebuild that runs too long is given up on the hub it runs on.
#[test]
fn a_timeout_is_of_its_own_hub() {
    let mut w = world();
    w.real("f99", "foo-1-1");
    w.operator(task("builder", "f99-here", 7, "foo-1-1", TaskState::Open, None));
    w.pass(47 * HOUR);
    w.operator(task("primary", "f98", 7, "bar-1-1", TaskState::Open, None));
    w.pass(2 * HOUR);
    assert_eq!((w.outcomes("foo"), w.outcomes("bar")), (vec!["timed out".to_owned()], Vec::new()));
    let cancelled: Vec<_> = w.commands().iter().map(|c| (c["hub"].clone(), c["task_id"].clone())).collect();
    assert_eq!(cancelled, [(json!("builder"), json!(7))]);
    w.sound();
}

/// A rebuild elsewhere and a real build are evidence of one package. Changes are measured only in
/// the collection's repositories, whatever the number of the task's repository and whatever its
/// builder installed.
#[test]
fn a_rebuild_elsewhere_was_in_no_repository_of_ours() {
    let mut w = world();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z1)]);
    w.repo(2, &[ok("foo-1-1", Z2)]);
    assert_eq!(w.changes("foo"), ["z 1-1>2-1 /1"]);
    w.pass(HOUR);
    // The task says repository 1, which is one of the building hub. On the watched hub another
    // repository has that number.
    w.operator(task("builder", "f99-here", 7, "foo-1-1", TaskState::Open, None));
    w.operator(task("builder", "f99-here", 7, "foo-1-1", TaskState::Closed, None));
    let evidence = rebuilds(&w, "f99", "foo")[0];
    assert_eq!((evidence.repo, evidence.assumed), (Some(RepoId(2)), true));
    assert_eq!(w.changes("foo"), Vec::<String>::new(), "it was built with the newest");
    w.buildroot_on("builder", 7, "foo-1-1", "x86_64", 1, "z-0:1-1.x86_64 +own-0:1-1.x86_64", true);
    let evidence = rebuilds(&w, "f99", "foo")[0];
    assert_eq!((evidence.repo, evidence.assumed), (Some(RepoId(2)), true));
    assert_eq!(w.changes("foo"), Vec::<String>::new());
    // A task of the watched hub with the same number, and its recorded buildroot.
    w.operator(task("primary", "f98", 7, "bar-1-1", TaskState::Closed, None));
    w.buildroot_on("primary", 7, "bar-1-1", "x86_64", 1, "z-0:1-1.x86_64 +other-0:1-1.x86_64", true);
    w.operator(CollectionEdited { collection: "f99".into(), settings: elsewhere() });
    assert_eq!(w.changes("foo"), Vec::<String>::new());
    let kept = &w.state().hubs[&Hub::new("builder")].tasks[&TaskId(7)];
    assert_eq!((kept.repo_id, kept.buildroots.len()), (Some(RepoId(1)), 1), "it is in the log and shown");
    let compared = w.all(|e| match e {
        Event::PredictionCompared(p) => Some(p),
        _ => None,
    });
    assert_eq!(compared, [], "with what was expected in another repository");
    // A real build comes after it.
    w.pass(HOUR);
    w.real("f99", "foo-2-1");
    assert_eq!(w.package("foo").base().unwrap().kind, w.package("foo").evidence.last().unwrap().kind);
    assert!(matches!(w.package("foo").base().unwrap().kind, EvidenceKind::Real(_)));
    w.sound();
}

/// A missing target or tag of the building hub stops only the collection built there. The watched
/// hub's target does not matter to it.
#[test]
fn what_is_gone_on_the_building_hub_stops_its_collection() {
    let mut w = world();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z1)]);
    w.points("foo", PriorityKind::Static, 1000);
    w.operator(target("builder", "f99-here", Some(("here-build", "here"))));
    assert_eq!(w.held("foo"), Vec::<&str>::new());
    w.operator(target("primary", "f99", Some(("f99-build", "f99"))));
    w.operator(target("primary", "f99", None));
    w.operator(target("primary", "f99-here", None));
    assert_eq!(w.held("foo"), Vec::<&str>::new(), "nothing is submitted there");
    w.operator(tag("builder", "here-build", &[], true));
    w.operator(tag("builder", "f99-build", &[], true));
    let stopped = |w: &World, c: &str| {
        koschei::decide::eligibility::stopped(w.state(), &w.state().collections[c], &Policy::default())
    };
    assert_eq!(stopped(&w, "f99"), [Hold::TagGone { tags: vec!["here-build on builder".into()] }]);
    w.operator(target("builder", "f99-here", None));
    assert_eq!(w.held("foo"), ["target_gone"]);
    assert_eq!(stopped(&w, "f98"), [Hold::BuildrootUnknown], "that is all the other waits for");
    w.operator(target("builder", "f99-here", Some(("new-build", "here"))));
    assert_eq!(w.held("foo"), ["buildroot_unknown"], "nobody looked at that tag yet");
    w.operator(tag("builder", "new-build", &["x86_64"], false));
    assert_eq!(w.held("foo"), Vec::<&str>::new());
    w.sound();
}

/// Packages are built for the architectures of the tag on the building hub.
#[test]
fn architectures_are_those_of_the_tag_that_builds() {
    let mut w = world();
    w.submits();
    w.real("f99", "foo-1-1");
    w.holds("f99-build", 1, "aarch64", &[broken("foo-1-1", "nothing provides z")]);
    w.repo(1, &[ok("foo-1-1", Z1)]);
    assert_eq!(w.is("foo"), PackageState::Unresolved);
    w.operator(target("builder", "f99-here", Some(("here-build", "here"))));
    w.operator(tag("builder", "here-build", &["x86_64", "ppc64le"], false));
    assert_eq!(w.is("foo"), PackageState::Ok, "nobody builds it on aarch64");
    w.points("foo", PriorityKind::Manual, 1000);
    w.pass(60);
    let requests = w.requests();
    assert_eq!(requests[0].arches, ["x86_64"]);
    w.operator(tag("builder", "here-build", &["s390x"], false));
    assert!(w.held("foo").contains(&"no_arch"), "{:?}", w.held("foo"));
    w.sound();
}

/// A busy builder of one hub does not hold up packages built on another.
#[test]
fn loads_are_of_the_hub_that_builds() {
    let mut w = world();
    w.submits();
    for (collection, build_tag, repo) in [("f99", "f99-build", 1), ("f98", "f98-build", 2)] {
        w.real(collection, "foo-1-1");
        w.holds(build_tag, repo, "x86_64", &[ok("foo-1-1", Z1)]);
        w.done(build_tag, repo);
    }
    let push = |w: &mut World| {
        for collection in ["f99", "f98"] {
            w.operator(koschei::event::PackagePrioritySet {
                collection: collection.into(),
                package: "foo".into(),
                kind: PriorityKind::Static,
                points: 1000,
                by: None,
            });
        }
    };
    let asked = |w: &mut World| w.requests().iter().map(|r| r.collection.to_string()).collect::<Vec<_>>();
    // The other hub's load is unknown yet: it limits nothing, and this hub's load is not used for
    // it.
    w.load_on("primary", &[("x86_64", 900)]);
    push(&mut w);
    w.pass(60);
    assert_eq!(asked(&mut w), ["f99"]);
    w.operator(cancelled(&w, "foo"));
    w.load_on("builder", &[("x86_64", 950)]);
    w.repo(3, &[ok("foo-1-1", Z2)]);
    assert_eq!(asked(&mut w), Vec::<String>::new(), "both are busy");
    w.load_on("builder", &[("x86_64", 100)]);
    // No collection builds on this hub.
    w.load_on("third", &[("x86_64", 1000)]);
    w.pass(60);
    assert_eq!(asked(&mut w), ["f99"]);
    let used = w.all(|e| match e {
        Event::EvaluationMade(m) => m.load,
        _ => None,
    });
    let expected = [("builder/x86_64", 100), ("primary/x86_64", 900)].map(|(k, n)| (k.to_owned(), n));
    assert_eq!(used.last().unwrap(), &expected.into());
    w.load_on("primary", &[("x86_64", 100)]);
    w.pass(60);
    assert_eq!(asked(&mut w), ["f98"]);
    w.sound();
}

/// An operator's building hub is checked.
#[test]
fn a_building_hub_must_be_known_and_another_one() {
    let w = world();
    let said = |builds_on: BuildsOn| {
        let settings = CollectionSettings { builds_on: Some(builds_on), ..settings("f99") };
        let event = Event::from(CollectionEdited { collection: "f99".into(), settings });
        koschei::operator::check(w.state(), &event)
    };
    let on =
        |hub: &str, target: &str| BuildsOn { hub: Hub::new(hub), target: target.into(), srpm_root: "..".to_owned() };
    assert_eq!(said(on("builder", "f99")), Ok(()));
    assert!(said(on("primary", "f99")).unwrap_err().contains("its own hub"));
    assert!(said(on("nowhere", "f99")).unwrap_err().contains("no hub `nowhere` is known"));
    assert!(said(on("builder", "")).unwrap_err().contains("cannot be a build target"));
}
