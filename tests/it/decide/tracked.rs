//! Only tracked packages are resolved: which these are, when others are resolved, and that the log
//! shows it.

use koschei::decide::Policy;
use koschei::event::{CollectionEdited, CollectionSettings, Event, PackageTracked, PackageUntracked, RepoResolved};
use koschei::fold::Tracked;
use koschei::model::PackageState;

use crate::story::{Src, World, broken, ok, settings};

const CLOSURE: &str = "bash-0:5-1.x86_64/1";

/// Makes a collection that tracks no package by itself.
fn few() -> World {
    World::with(Policy::default(), &[("f99", CollectionSettings { track_all: false, ..settings("f99") })])
}

fn sources() -> Vec<Src> {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    names.iter().map(|n| ok(&format!("{n}-1-1"), CLOSURE)).chain([broken("bad-1-1", "nothing provides q")]).collect()
}

fn resolutions(w: &World) -> Vec<RepoResolved> {
    w.all(|e| match e {
        Event::RepoResolved(r) => Some(r),
        _ => None,
    })
}

/// Returns the number of packages of each resolution, with any result.
fn counts(w: &World) -> Vec<u32> {
    resolutions(w).iter().map(|r| r.resolved + r.unresolved + r.excluded + r.unknown).collect()
}

fn edit(track_all: bool) -> CollectionEdited {
    CollectionEdited { collection: "f99".into(), settings: CollectionSettings { track_all, ..settings("f99") } }
}

#[test]
fn only_the_tracked_are_resolved() {
    let mut w = few();
    for package in ["a", "b", "c", "d"] {
        w.track(package, true);
    }
    w.repo(1, &sources());
    assert_eq!(counts(&w), [4]);
    let with_verdict: Vec<&str> = w.state().collections["f99"]
        .packages
        .iter()
        .filter(|(_, p)| !p.verdicts.is_empty())
        .map(|(n, _)| n.as_str())
        .collect();
    assert_eq!(with_verdict, ["a", "b", "c", "d"]);

    // One more package is tracked: it is resolved before anything else happens, without another
    // repository.
    w.track("bad", true);
    w.pass(0);
    assert_eq!((counts(&w), w.is("bad")), (vec![4, 5], PackageState::Unresolved));
    w.track("bad", false);
    w.pass(0);
    assert_eq!((counts(&w), w.is("bad")), (vec![4, 5, 4], PackageState::Untracked));
    assert!(w.package("bad").verdicts.is_empty());
    // Words that change nothing have no consequences. Neither has time.
    w.track("a", true);
    w.pass(0);
    w.pass(1000);
    assert_eq!(counts(&w).len(), 3);
    w.sound();
}

/// A whole list of packages is many words and one resolution, even if the writer dies in between.
#[test]
fn many_words_are_one_resolution() {
    let run = |dies_after: usize| {
        let mut w = few();
        w.track("a", true);
        w.repo(1, &sources());
        for (n, package) in ["b", "c", "d", "e", "f"].into_iter().enumerate() {
            if n == dies_after {
                w.restart();
            }
            w.track(package, true);
        }
        if dies_after == 5 {
            w.restart();
        }
        w.pass(0);
        w.restart();
        w.pass(0);
        w.sound();
        (counts(&w), w.state().digest())
    };
    let (want, digest) = run(6);
    assert_eq!(want, [1, 6]);
    for dies_after in 0..=5 {
        assert_eq!(run(dies_after), (want.clone(), digest.clone()), "{dies_after}");
    }
}

/// If all packages are tracked, the event does not list them. A change of the collection counts at
/// once.
#[test]
fn all_are_tracked_and_then_some() {
    let mut w = World::new();
    w.repo(1, &sources());
    w.operator(edit(false));
    w.track("a", true);
    w.pass(0);
    w.operator(edit(true));
    w.pass(0);
    w.track("b", false);
    w.pass(0);
    assert_eq!(counts(&w), [9, 1, 9, 8]);
    let tracked: Vec<Option<String>> = resolutions(&w).into_iter().map(|r| r.tracked).collect();
    assert!(matches!(&tracked[..], [None, Some(_), None, Some(_)]), "{tracked:?}");
    assert_eq!(tracked[3], Tracked::of(&w.state().collections["f99"]).digest());
    w.sound();
}

/// A word before a repository and one after it give the same facts.
#[test]
fn words_and_repositories_may_come_in_any_order() {
    let word = |w: &mut World, n: usize| match n {
        0 => w.repo(1, &sources()),
        1 => w.track("a", true),
        2 => w.track("bad", true),
        3 => w.real("f99", "a-1-1"),
        _ => w.operator(PackageUntracked { collection: "f99".into(), package: "b".into(), by: None }),
    };
    let facts = |order: &[usize]| {
        let mut w = few();
        order.iter().for_each(|n| word(&mut w, *n));
        w.pass(0);
        w.sound();
        (w.state().facts(), w.is("bad"), w.package("a").resolved)
    };
    let want = facts(&[0, 1, 2, 3, 4]);
    assert!(want.0.iter().any(|f| f.contains(" resolved ")), "{:#?}", want.0);
    assert_eq!((want.1, want.2), (PackageState::Unresolved, Some(true)));
    for order in [[1, 2, 0, 3, 4], [4, 2, 1, 0, 3], [1, 0, 2, 4, 3], [2, 0, 4, 1, 3]] {
        assert_eq!(facts(&order), want, "{order:?}");
    }
}

/// A repository that is gone keeps its verdicts. A new repository is resolved for all tracked
/// packages.
#[test]
fn a_repository_that_is_gone_is_not_resolved_again() {
    let mut w = few();
    w.track("a", true);
    w.repo(1, &sources());
    w.lose("f99-build", 1);
    w.track("bad", true);
    w.pass(0);
    assert_eq!((counts(&w), w.held("bad").contains(&"not_resolved_yet")), (vec![1], true));
    w.repo(2, &sources());
    assert_eq!((counts(&w), w.is("bad")), (vec![1, 2], PackageState::Unresolved));
    w.sound();
}

/// The audit notices a resolution for other packages than those the log says were tracked.
#[test]
fn the_audit_knows_who_was_tracked() {
    let mut w = few();
    w.operator(PackageTracked { collection: "f99".into(), package: "a".into(), by: None });
    w.repo(1, &sources());
    let honest = resolutions(&w).remove(0);
    assert_eq!(w.audit().total, 0);
    w.operator(RepoResolved { tracked: Some("of others".to_owned()), ..honest.clone() });
    assert_eq!(w.audit().total, 1, "{:#?}", w.audit().findings);
    let mut packages = honest.packages.clone();
    packages[0].package = "b".into();
    w.operator(RepoResolved { packages, ..honest.clone() });
    assert_eq!(w.audit().total, 2, "{:#?}", w.audit().findings);
    // An older program resolved all packages and did not record it.
    w.operator(RepoResolved { tracked: None, ..honest });
    assert_eq!(w.audit().total, 2);
}
