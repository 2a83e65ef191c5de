//! With a hub, commands leave before libsolv has said everything. What it says then is recorded, and
//! corrects what was wrong.

use koschei::event::{Event, ResolutionExamined};
use koschei::model::koji::TaskState::{Free, Open};
use koschei::model::{PackageState, RebuildId};
use rstest::rstest;

use crate::decide::cases_hub::{Z, commands};
use crate::story::{Src, World, broken, ok};

fn examined(w: &World) -> Vec<ResolutionExamined> {
    w.all(|e| match e {
        Event::ResolutionExamined(e) => Some(e),
        _ => None,
    })
}

/// Returns the kinds of the events after the last repository became ready.
fn kinds(w: &World) -> Vec<&'static str> {
    let events = w.events();
    let ready = events.iter().rposition(|e| matches!(e.event, Event::RepoReady(_))).unwrap();
    events[ready + 1..].iter().map(|e| e.event.kind().name).collect()
}

fn problem(w: &World, package: &str) -> Option<String> {
    w.package(package).verdicts[0].problem.as_deref().map(str::to_owned)
}

/// A package stops resolving while another is due: the command leaves first, then the problem is
/// described.
#[test]
fn commands_leave_before_problems_are_described() {
    let mut w = World::examining();
    w.submits();
    w.tag("f99", "foo-1-1");
    w.tag("f99", "bar-1-1");
    w.repo(1, &[ok("foo-1-1", Z), broken("bar-1-1", "nothing provides q")]);
    assert_eq!((w.requested(), problem(&w, "bar")), (vec!["foo".to_owned()], None));
    assert_eq!(w.states("bar"), ["->unknown", "unknown>unresolved"]);
    assert_eq!(commands(&w).len(), 1, "the command is out");
    assert!(examined(&w).is_empty(), "and nothing is examined");
    assert_eq!(w.examine(), 1);
    assert_eq!(problem(&w, "bar").as_deref(), Some("nothing provides q"));
    assert_eq!(w.reasons("bar"), ["on x86_64: nothing provides q"]);
    let told = examined(&w);
    assert_eq!((told.len(), told[0].checked, told[0].problems.len(), told[0].complete), (1, 7, 1, true));
    w.sound();
}

/// A known problem stands until the present one is known. The same problem is no news.
#[test]
fn a_known_problem_stands_until_libsolv_has_said_the_present_one() {
    let mut w = World::examining();
    w.tag("f99", "bar-1-1");
    w.repo(1, &[broken("bar-1-1", "nothing provides q")]);
    w.examine();
    for (repo, said, changed) in [(2, "nothing provides p|nothing provides q", 0), (3, "nothing provides r", 1)] {
        w.repo(repo, &[broken("bar-1-1", said)]);
        assert_eq!(problem(&w, "bar").as_deref(), Some("nothing provides q"));
        w.examine();
        assert_eq!(examined(&w).last().unwrap().problems.len(), changed, "{said}");
    }
    assert_eq!(problem(&w, "bar").as_deref(), Some("nothing provides r"));
    w.repo(4, &[ok("bar-1-1", Z)]);
    w.examine();
    assert_eq!((problem(&w, "bar"), w.is("bar")), (None, PackageState::Unknown));
    w.sound();
}

/// Many problems are described in several steps. The writer is free between them.
#[test]
fn many_problems_take_several_steps() {
    let mut w = World::examining();
    let all: Vec<Src> = (0..450).map(|n| broken(&format!("p{n}-1-1"), &format!("nothing provides q{n}"))).collect();
    w.repo(1, &all);
    assert_eq!(w.examine(), 3);
    let told = examined(&w);
    let parts: Vec<(usize, u32, bool)> = told.iter().map(|e| (e.problems.len(), e.checked, e.complete)).collect();
    assert_eq!(parts, [(200, 7, false), (200, 0, false), (50, 0, true)]);
    assert_eq!(problem(&w, "p449").as_deref(), Some("nothing provides q449"));
    w.sound();
}

/// The service stops before a resolution is examined, or halfway. It is examined after the next
/// start, and only then.
#[rstest]
#[case::before(0)]
#[case::halfway(1)]
fn a_restart_examines_the_rest(#[case] steps: usize) {
    let mut w = World::examining();
    let all: Vec<Src> = (0..250).map(|n| broken(&format!("p{n}-1-1"), "nothing provides q")).collect();
    w.repo(1, &all);
    w.examine_steps(steps);
    w.restart();
    assert_eq!(w.examine(), 2);
    assert_eq!(problem(&w, "p249").as_deref(), Some("nothing provides q"));
    let described: usize = examined(&w).iter().map(|e| e.problems.len()).sum();
    assert_eq!(described, 250, "each problem is described once");
    w.restart();
    assert_eq!(w.examine(), 0, "nothing is left");
    w.sound();
}

/// A newer repository replaces one that is not examined.
#[test]
fn only_the_newest_resolution_is_examined() {
    let mut w = World::examining();
    w.repo(1, &[broken("foo-1-1", "nothing provides q")]);
    w.repo(2, &[broken("foo-1-1", "nothing provides r")]);
    w.examine();
    let told: Vec<i64> = examined(&w).iter().map(|e| e.repo_id.0).collect();
    assert_eq!((told, problem(&w, "foo").as_deref()), (vec![2], Some("nothing provides r")));
    w.sound();
}

/// libsolv works beside the writer. A newer repository does not wait for it.
#[test]
fn the_writer_does_not_wait_for_libsolv() {
    let mut w = World::examining();
    w.libsolv_works(true);
    w.repo(1, &[broken("foo-1-1", "nothing provides q")]);
    w.examine_steps(2);
    w.repo(2, &[broken("foo-1-1", "nothing provides r")]);
    w.examine_steps(2);
    assert!(examined(&w).is_empty());
    w.libsolv_works(false);
    assert_eq!(w.examine(), 1, "it was asked, and has its answer");
    let told: Vec<i64> = examined(&w).iter().map(|e| e.repo_id.0).collect();
    assert_eq!((told, problem(&w, "foo").as_deref()), (vec![2], Some("nothing provides r")));
    w.sound();
}

/// Our own solver is wrong about a package that is due. Returns the world after the decision.
fn decided_wrongly() -> (World, RebuildId) {
    let mut w = World::examining();
    w.submits();
    w.tag("f99", "foo-1-1");
    w.tag("f99", "bar-1-1");
    w.repo(1, &[broken("foo-1-1", "nothing provides q").but_first(ok("foo-1-1", Z)), ok("bar-1-1", Z)]);
    assert_eq!(w.requested(), ["bar", "foo"]);
    let rebuild = w.open("foo");
    (w, rebuild)
}

/// The wrong verdict is corrected, and the rebuild is not submitted.
#[test]
fn a_rebuild_decided_on_a_wrong_answer_is_not_submitted() {
    let (mut w, _) = decided_wrongly();
    w.examine();
    assert_eq!((w.is("foo"), problem(&w, "foo").as_deref()), (PackageState::Unresolved, Some("nothing provides q")));
    let corrected = w.all(|e| match e {
        Event::RepoResolved(e) => Some((e.repo_id.0, e.solver_mismatches.len(), e.resolved)),
        _ => None,
    });
    assert_eq!(corrected, [(1, 0, 2), (1, 1, 1)]);
    assert!(w.package("foo").open_rebuild.is_none() && w.package("bar").open_rebuild.is_some());
    assert_eq!(commands(&w).iter().filter(|c| c.starts_with("cancel")).count(), 0, "there is no task to cancel");
    assert!(kinds(&w).contains(&"rebuild_not_submitted"));
    w.sound();
}

/// The rebuild's task is cancelled while no builder has taken it. After that, it is marked.
#[rstest]
#[case::free(Free, ["cancel 501"].as_slice(), false)]
#[case::at_work(Open, [].as_slice(), true)]
fn a_task_decided_on_a_wrong_answer(
    #[case] state: koschei::model::koji::TaskState,
    #[case] cancels: &[&str],
    #[case] marked: bool,
) {
    let (mut w, rebuild) = decided_wrongly();
    w.submitted(rebuild, "foo", 501);
    w.looked(501, "foo-1-1", state, Some(rebuild));
    w.examine();
    let sent: Vec<String> = commands(&w).into_iter().filter(|c| c.starts_with("cancel")).collect();
    assert_eq!(sent, cancels);
    let marks = w.all(|e| match e {
        Event::RebuildDoubted(e) => Some((e.rebuild, e.repo_id.0)),
        _ => None,
    });
    assert_eq!(marks, if marked { vec![(rebuild, 1)] } else { vec![] });
    w.sound();
}

/// A rebuild that was decided before the wrong answer stays.
#[test]
fn an_earlier_decision_stays() {
    let mut w = World::examining();
    w.submits();
    w.tag("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", Z)]);
    w.examine();
    let rebuild = w.open("foo");
    w.repo(2, &[broken("foo-1-1", "nothing provides q").but_first(ok("foo-1-1", Z))]);
    w.examine();
    assert_eq!((w.is("foo"), w.package("foo").open_rebuild), (PackageState::Unresolved, Some(rebuild)));
    w.sound();
}
