//! The effect of a hub's own policies on state and decisions. A refused binding is left out, a
//! refused build stops the collection. Both are logged and tried again.

use koschei::decide::{Hold, Policy, refusal};
use koschei::event::{Event, PolicyAllowed, PolicyRefused, PriorityKind, SubmissionsResumed, TaskChanged, TaskFault};
use koschei::model::koji::TaskState::{Closed, Failed};
use koschei::model::{Hub, Nvr, PackageState, RebuildId, RepoId, TaskId};
use rstest::rstest;

use crate::story::{World, ok, settings};

const REASON: &str = "Only admin can do this via default policy";
const DAY: i64 = 86_400;

/// Makes due packages on a hub that accepts requests.
fn due(packages: &[&str]) -> World {
    let mut w = World::new();
    w.submits();
    let nvr = |p: &&str| format!("{p}-1-1");
    packages.iter().for_each(|p| w.tag("f99", &nvr(p)));
    w.repo(1, &packages.iter().map(|p| ok(&nvr(p), "z-0:1-1.x86_64/1")).collect::<Vec<_>>());
    w
}

/// Submits the last request of a package as a task. Returns whether it is bound.
fn submit(w: &mut World, package: &str, task: i64) -> (RebuildId, bool) {
    let rebuild = w.open(package);
    w.submitted(rebuild, package, task);
    let last = w.all(|e| match e {
        Event::RebuildRequested(r) if r.nvr.name == package => Some(r.repo_id),
        _ => None,
    });
    (rebuild, last.last().unwrap().is_some())
}

/// Ends the task: with a policy's refusal, or well.
fn ends(w: &mut World, package: &str, task: i64, (rebuild, bound): (RebuildId, bool), refused_by: Option<&str>) {
    let nvr = Nvr::parse(&format!("{package}-1-1")).unwrap();
    let text = refused_by.map(|policy| format!("policy violation ({policy}): {REASON}"));
    w.operator(TaskChanged {
        hub: Hub::new("primary"),
        task_id: TaskId(task),
        state: if text.is_some() { Failed } else { Closed },
        package: nvr.name.clone(),
        nvr: Some(nvr),
        target: Some("f99".into()),
        repo_id: bound.then_some(RepoId(1)),
        arches: Vec::new(),
        decision: Some(rebuild.to_string()),
        created_at: Some(w.now()),
        started_at: None,
        finished_at: None,
        children: Vec::new(),
        fault: text.map(|t| TaskFault::new(1004, &t)),
    });
}

fn said(w: &World) -> (Vec<PolicyRefused>, Vec<PolicyAllowed>) {
    let refused = w.all(|e| match e {
        Event::PolicyRefused(e) => Some(e),
        _ => None,
    });
    let allowed = w.all(|e| match e {
        Event::PolicyAllowed(e) => Some(e),
        _ => None,
    });
    (refused, allowed)
}

fn unbound(w: &World) -> Option<String> {
    refusal::unbound(w.state(), &w.state().collections["f99"], &Policy::default())
}

/// Koji's default: only administrators may bind.
#[test]
fn binding_that_is_refused_is_left_out_and_tried_again() {
    let mut w = due(&["bar", "foo"]);
    assert_eq!(unbound(&w), None);
    let (foo, bar) = (submit(&mut w, "foo", 101), submit(&mut w, "bar", 102));
    assert!(foo.1 && bar.1, "nobody has refused it yet");
    ends(&mut w, "foo", 101, foo, Some("build_from_repo_id"));
    ends(&mut w, "bar", 102, bar, Some("build_from_repo_id"));
    assert!(said(&w).0.iter().all(|e| e.falls_back && e.policy == "build_from_repo_id"));
    assert_eq!((w.outcomes("foo"), w.is("foo")), (vec!["infrastructure fault".to_owned()], PackageState::Unknown));
    let words = unbound(&w).unwrap();
    assert!(words.contains("build_from_repo_id") && words.contains("task 102") && words.contains(REASON), "{words}");

    // Nothing waits: at the next tick both are requested again, without a binding.
    assert_eq!(w.held("foo"), Vec::<&str>::new(), "it waits for nothing");
    w.requests();
    w.pass(61);
    let again = w.requests();
    assert_eq!(
        again.iter().map(|r| (r.nvr.name.as_str(), r.repo_id)).collect::<Vec<_>>(),
        [("bar", None), ("foo", None)]
    );
    let (foo, bar) = (submit(&mut w, "foo", 103), submit(&mut w, "bar", 104));
    ends(&mut w, "foo", 103, foo, None);
    ends(&mut w, "bar", 104, bar, None);
    assert_eq!((w.is("foo"), w.is("bar")), (PackageState::Ok, PackageState::Ok));
    assert!(unbound(&w).is_some(), "that it builds without says nothing about the policy");

    // After a day one of them tries, and the other does not.
    w.pass(DAY);
    for package in ["foo", "bar"] {
        w.points(package, PriorityKind::Manual, 1000);
    }
    w.pass(61);
    let tries = w.requests();
    assert_eq!(tries.iter().filter(|r| r.repo_id.is_some()).count(), 1, "{tries:?}");
    assert_eq!(tries.len(), 2);
    assert!(unbound(&w).unwrap().contains("being tried"));
    let trial = tries.iter().find(|r| r.repo_id.is_some()).unwrap().nvr.name.clone();
    let rebuild = submit(&mut w, &trial, 105);
    ends(&mut w, &trial, 105, rebuild, Some("build_from_repo_id"));
    w.points(&trial, PriorityKind::Manual, 1000);
    w.pass(61);
    let next = w.requests();
    assert_eq!(next.iter().map(|r| (&r.nvr.name, r.repo_id)).collect::<Vec<_>>(), [(&trial, None)]);
    let rebuild = submit(&mut w, &trial, 106);
    ends(&mut w, &trial, 106, rebuild, None);

    // The same repeats until it is allowed.
    w.pass(DAY);
    w.points(&trial, PriorityKind::Manual, 1000);
    w.pass(61);
    let rebuild = submit(&mut w, &trial, 107);
    assert!(rebuild.1);
    ends(&mut w, &trial, 107, rebuild, None);
    assert_eq!((unbound(&w), said(&w).1.len()), (None, 1));
    w.points(&trial, PriorityKind::Manual, 1000);
    w.pass(61);
    assert!(submit(&mut w, &trial, 108).1);
    w.sound();
}

/// Without the right to build at all there is no fallback. A hub may also refuse a policy that the
/// request did not need.
#[rstest]
#[case::build("build_rpm", true)]
#[case::source_package("build_from_srpm", true)]
#[case::not_even_bound("build_from_repo_id", false)]
fn a_collection_stops_whose_rebuilds_are_refused(#[case] policy: &str, #[case] bound: bool) {
    let mut w = due(&["bar", "foo", "qux"]);
    let foo = submit(&mut w, "foo", 101);
    ends(&mut w, "foo", 101, (foo.0, bound), Some(policy));
    w.requests();
    w.pass(3600);
    assert_eq!(w.requested(), [""; 0], "nothing more is asked for");
    assert_eq!(w.held("foo"), ["policy_refused"]);
    let held = w.why("foo").deciding[0].to_string();
    assert!([policy, "task 101", REASON, "koschei admin resume"].iter().all(|t| held.contains(t)), "{held}");
    assert_eq!(w.is("foo"), PackageState::Unknown);

    // A day later one of them tries, however many are due.
    w.pass(DAY);
    let bar_is_out = w.package("bar").open_rebuild.is_some();
    assert!(bar_is_out, "decided before it was refused");
    let tries = w.requested();
    assert_eq!(tries, ["foo"]);
    let rebuild = submit(&mut w, "foo", 102);
    w.pass(3600);
    assert_eq!(w.requested(), [""; 0]);
    ends(&mut w, "foo", 102, (rebuild.0, bound), Some(policy));
    w.pass(3600);
    assert_eq!(w.requested(), [""; 0], "still refused");

    // An operator resumes submissions because it should work now.
    w.operator(SubmissionsResumed { collection: Some("f99".into()), by: None });
    w.pass(61);
    assert_eq!(w.requested(), ["foo"]);
    let rebuild = submit(&mut w, "foo", 103);
    ends(&mut w, "foo", 103, rebuild, None);
    assert_eq!((said(&w).1.len(), w.is("foo")), (1, PackageState::Ok));
    assert!(w.state().collections["f99"].refused.is_none());
    w.sound();
}

/// One collection's trouble does not affect another.
#[test]
fn other_collections_go_on() {
    let mut w = World::with(Policy::default(), &[("f99", settings("f99")), ("f98", settings("f98"))]);
    w.submits();
    for tag in ["f99", "f98"] {
        w.tag(tag, "foo-1-1");
    }
    w.repo(1, &[ok("foo-1-1", "z-0:1-1.x86_64/1")]);
    let foo = submit(&mut w, "foo", 101);
    ends(&mut w, "foo", 101, foo, Some("build_rpm"));
    assert_eq!(w.why_in("f99", "foo").deciding.len(), 1);
    let stops = |h: &Hold| matches!(h, Hold::PolicyRefused { .. });
    assert!(w.why_in("f99", "foo").deciding.iter().any(stops));
    assert!(!w.why_in("f98", "foo").deciding.iter().any(stops));
}
