//! What builders really installed: how it is recorded, compared with our prediction, and used as
//! the base of dependency changes.

use std::collections::{BTreeMap, BTreeSet};

use koschei::buildroot::installed::{Buildroot, BuildrootPackage};
use koschei::event::{Event, Prediction, PredictionCompared, RepoDeleted};
use koschei::model::koji::TaskState::{Closed, Failed};
use koschei::model::{Evr, Hub, Nevra, Nvr, RepoId};
use rstest::rstest;
use serde_json::Value;

use crate::feed;
use crate::story::{World, broken, ok};

fn compared(w: &World) -> Vec<PredictionCompared> {
    w.all(|e| match e {
        Event::PredictionCompared(p) => Some(p),
        _ => None,
    })
}

/// `foo` was built in repository 1, where we predict `a` and `z` in version 1. Repository 2 has `z`
/// in version 2.
fn built_in_one() -> World {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", "a-0:1-1.x86_64 z-0:1-1.x86_64/1")]);
    w.repo(2, &[ok("foo-1-1", "a-0:1-1.x86_64 z-0:2-1.x86_64/1")]);
    w
}

/// The buildroot is as predicted. Nothing changes, except that the base is known and not assumed.
#[test]
fn exactly_as_predicted() {
    let mut w = built_in_one();
    assert!(w.package("foo").base().unwrap().assumed);
    let task = w.task_of_build("foo-1-1");
    w.buildroot(task, "foo-1-1", "x86_64", 1, "a-0:1-1.x86_64 +z-0:1-1.x86_64", true);
    let base = w.package("foo").base().unwrap();
    assert_eq!((base.repo, base.assumed), (Some(RepoId(1)), false));
    assert_eq!((compared(&w)[0].prediction, compared(&w)[0].installed), (Prediction::Exact, 2));
    assert_eq!(w.changes("foo"), ["z 1-1>2-1 /1"]);
    assert!(!w.package("foo").verdicts[0].truth, "our own closure says the same");
    w.sound();
}

/// The buildroot differs from the prediction: changes are measured from the recorded one. A package
/// we predict identically for both is not a change, whatever was installed. Otherwise that change
/// would return after every rebuild.
#[test]
fn other_than_predicted() {
    let mut w = built_in_one();
    let task = w.task_of_build("foo-1-1");
    w.buildroot(task, "foo-1-1", "x86_64", 1, "a-0:7-1.x86_64 +z-0:1.5-1.x86_64 +weak-0:1-1.noarch", true);
    let c = &compared(&w)[0];
    assert_eq!((c.prediction, c.missing, c.extra, c.differing, c.installed), (Prediction::Differs, 0, 1, 2, 3));
    assert_eq!(c.examples.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["a", "weak", "z"]);
    assert_eq!(w.changes("foo"), ["z 1.5-1>2-1 /1"], "from what was there, with the distance of now");
    assert!(w.package("foo").verdicts[0].truth);
    w.repo(3, &[ok("foo-1-1", "a-0:2-1.x86_64 z-0:1-1.x86_64/1")]);
    assert_eq!(w.changes("foo"), ["a 7-1>2-1 /0"], "a changed by our own word, and z did not");
    w.repo(4, &[broken("foo-1-1", "nothing provides z")]);
    w.repo(5, &[ok("foo-1-1", "a-0:1-1.x86_64 z-0:3-1.x86_64/1")]);
    assert_eq!(w.changes("foo"), ["z 1.5-1>3-1 /1"]);
    assert_eq!(compared(&w).len(), 1, "compared once");
    w.restart();
    w.repo(6, &[ok("foo-1-1", "a-0:1-1.x86_64 z-0:4-1.x86_64/1")]);
    assert_eq!(w.changes("foo"), ["z 1.5-1>4-1 /1"]);
    w.sound();
}

/// #338, D33: a build from a side tag, tagged much later. Nobody can read the side tag's repository
/// any more, or ever could. No change is lost.
#[rstest]
#[case::deleted(true)]
#[case::never_heard_of(false)]
fn a_repository_that_is_not_there_loses_no_change(#[case] heard_of: bool) {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.repo(1, &[ok("foo-1-1", "z-0:1-1.x86_64/1")]);
    w.built("foo-2-1");
    let task = w.task_of_build("foo-2-1");
    if heard_of {
        w.operator(RepoDeleted { hub: Hub::new("primary"), repo_id: RepoId(77), tag: "f99-build-side-7".into() });
    }
    w.buildroot(task, "foo-2-1", "x86_64", 77, "+z-0:1-1.x86_64", true);
    w.tag("f99", "foo-2-1");
    w.repo(2, &[ok("foo-2-1", "z-0:2-1.x86_64/1")]);
    assert_eq!(w.changes("foo"), ["z 1-1>2-1 /1"], "the first repository it is resolved in has moved on already");
    let base = w.package("foo").base().unwrap();
    assert_eq!((base.repo, base.assumed), (Some(RepoId(77)), false));
    assert_eq!(w.package("foo").verdicts[0].base, Some(RepoId(77)));
    w.repo(3, &[ok("foo-2-1", "z-0:3-1.x86_64/1")]);
    assert_eq!(w.changes("foo"), ["z 1-1>3-1 /1"]);
    assert!(compared(&w).is_empty(), "there is nothing to compare it with");
    w.restart();
    w.repo(4, &[ok("foo-2-1", "z-0:4-1.x86_64/1")]);
    assert_eq!(w.changes("foo"), ["z 1-1>4-1 /1"]);
    w.sound();
}

/// The same story without a recorded buildroot: the first repository stands in, and earlier changes
/// are lost. So the recording matters.
#[test]
fn without_it_a_change_is_lost() {
    let mut w = World::new();
    w.real("f99", "foo-2-1");
    w.repo(2, &[ok("foo-2-1", "z-0:2-1.x86_64/1")]);
    assert!(w.changes("foo").is_empty() && w.package("foo").base().unwrap().assumed);
}

/// Failed builds also have a buildroot if their requirements were installed. Otherwise the listing
/// is incomplete and is not used.
#[test]
fn failures_and_incomplete_ones() {
    let mut w = built_in_one();
    w.looked_with(9, "foo-1-1", Failed, None, &[("x86_64", 1005, "mock exited with status 1;")]);
    w.buildroot(9, "foo-1-1", "x86_64", 1, "+a-0:1-1.x86_64 +z-0:0.9-1.x86_64", true);
    assert_eq!(w.changes("foo"), ["z 0.9-1>2-1 /1"], "of a failed one");
    w.looked_with(10, "foo-1-1", Failed, None, &[("x86_64", 1005, "mock exited with status 30;")]);
    w.buildroot(10, "foo-1-1", "x86_64", 1, "a-0:0.1-1.x86_64", false);
    assert_eq!(w.changes("foo"), ["z 1-1>2-1 /1"], "base only: our own closure of its repository has to do");
    assert_eq!(compared(&w).len(), 1);
    w.audited();
}

/// We predicted that it cannot be installed, and it was. For a version that was not there, we have
/// no prediction.
#[test]
fn no_prediction() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    w.real("f99", "bar-1-1");
    w.repo(1, &[broken("foo-1-1", "nothing provides z"), ok("bar-1-1", "z-0:1-1.x86_64/1")]);
    w.looked(9, "foo-1-1", Closed, None);
    w.buildroot(9, "foo-1-1", "x86_64", 1, "+z-0:1-1.x86_64", true);
    w.looked(10, "bar-2-1", Closed, None);
    w.buildroot(10, "bar-2-1", "x86_64", 1, "+z-0:1-1.x86_64", true);
    assert_eq!(
        compared(&w).iter().map(|c| c.prediction).collect::<Vec<_>>(),
        [Prediction::Impossible, Prediction::None]
    );
    w.audited();
}

/// Each architecture has its own buildroot. An unknown one is measured as before.
#[test]
fn architectures_differ() {
    let mut w = World::new();
    w.real("f99", "foo-1-1");
    for (repo, version) in [(1, 1), (2, 2)] {
        for arch in ["aarch64", "x86_64"] {
            w.holds("f99-build", repo, arch, &[ok("foo-1-1", &format!("z-0:{version}-1.{arch}/1"))]);
        }
        w.done("f99-build", repo);
    }
    let task = w.task_of_build("foo-1-1");
    w.buildroot(task, "foo-1-1", "aarch64", 1, "+z-0:0.5-1.aarch64", true);
    assert_eq!(w.changes("foo"), ["z 0.5-1>2-1 /1", "z 1-1>2-1 /1"]);
    w.sound();
}

/// The number of buildroots in the state is bounded, however many rebuilds there were.
#[test]
fn old_buildroots_are_forgotten() {
    let mut w = built_in_one();
    for id in 1..9 {
        w.looked(id, "foo-1-1", Closed, None);
        w.buildroot(id, "foo-1-1", "x86_64", 1, "+a-0:1-1.x86_64 +z-0:1.1-1.x86_64", true);
    }
    let kept: Vec<i64> = w.state().hubs[&Hub::new("primary")]
        .tasks
        .iter()
        .filter(|(_, t)| !t.buildroots.is_empty())
        .map(|(id, _)| id.0)
        .collect();
    assert_eq!(kept, [6, 7, 8]);
    w.sound();
}

/// Parses `name-[epoch:]version-release.arch`, as in the recording.
fn package(text: &str, added: bool) -> BuildrootPackage {
    let (rest, arch) = text.rsplit_once('.').unwrap();
    let nvr = Nvr::parse(rest).unwrap();
    let (epoch, version) =
        nvr.version.split_once(':').map_or((0, nvr.version.as_str()), |(e, v)| (e.parse().unwrap(), v));
    let evr = Evr { epoch: Some(epoch), version: version.into(), release: nvr.release.clone() };
    BuildrootPackage { nevra: Nevra { name: nvr.name, evr, arch: arch.into() }, added, external: None }
}

/// Every recorded buildroot is stored and read back. None of them lists a package twice, so each
/// list was complete.
#[test]
fn recorded_buildroots_go_round() {
    let rows = feed::json_lines(&feed::recorded("koji").join("truth/buildroots.jsonl"));
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for row in &rows {
        let at = last.entry(row["task_id"].as_i64().unwrap()).or_default();
        *at = (*at).max(row["buildroot_id"].as_i64().unwrap());
    }
    let texts = |v: &Value| v.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let mut seen = BTreeSet::new();
    for row in &rows {
        let (base, added) = (texts(&row["base"]), texts(&row["builddeps"]));
        let list = base.iter().map(|t| package(t, false)).chain(added.iter().map(|t| package(t, true)));
        let b = Buildroot::new(list.collect()).unwrap();
        assert_eq!(Buildroot::from_bytes(&b.to_bytes()).unwrap(), b);
        assert_eq!((b.packages().len(), b.installed().len()), (base.len() + added.len(), base.len() + added.len()));
        let is_last = last[&row["task_id"].as_i64().unwrap()] == row["buildroot_id"].as_i64().unwrap();
        seen.insert((base.is_empty(), added.is_empty(), b.is_complete(row["state"] == "CLOSED", is_last)));
    }
    let want = [(false, false, true), (false, true, false), (false, true, true)];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), want, "whole ones, base only, nothing to add");
}
