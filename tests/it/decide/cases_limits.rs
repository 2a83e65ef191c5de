//! What limits rebuilds: pauses, limits for an hour and for all, loads, fairness, many rebuilds at once.

use koschei::decide::{Hold, Policy};
use koschei::event::{Event, PriorityKind, RebuildNotSubmitted, RebuildRefused, Source, TagObserved};
use koschei::model::koji::TaskState::{self, Closed, Failed, Open};
use koschei::model::{Hub, PackageState, RebuildId};

use crate::decide::cases_hub::{Z, commands, due, finished, paused, resumed};
use crate::story::{HOUR, World, ok, settings};

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
