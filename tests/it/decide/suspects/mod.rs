//! The ranking on hundreds of worlds with planted culprits, and on small ones made by hand.

pub(super) mod generate;
mod score;
mod truth;

use koschei::decide::suspects::{Build, Change, Evidence, Model, Ranked, SeenElsewhere, Update, Which, rank};

use self::generate::{Knobs, world};
use self::score::{After, Score, after, nearest_first, score};
use crate::feed::scale;

/// The sums of many worlds.
fn sum(seeds: std::ops::Range<u64>, knobs: &Knobs, f: impl Fn(&Evidence) -> Vec<Ranked>) -> Score {
    let mut sum = Score::default();
    for seed in seeds {
        let world = world(seed, knobs);
        sum.add(&score(&world, &f(&world.evidence)));
    }
    sum
}

fn ours(e: &Evidence) -> Vec<Ranked> {
    rank(e, &Model::default(), Which::All)
}

/// What is asked for: culprits of four and more packages first, all in the first three, few wrongly accused.
fn met(score: &Score) -> bool {
    score.percent(2..4, 0) >= 90.0 && score.percent(0..4, 1) >= 95.0 && score.wrong() <= 25.0
}

#[test]
fn worlds_meet_the_aims() {
    let (all, few) = (scale(35, 350), scale(10, 100));
    let small = sum(0..all, &Knobs::default(), ours);
    let wide = sum(350..350 + few, &Knobs { updates: (20, 40), ..Knobs::default() }, ours);
    let unsure = sum(450..450 + few / 2, &Knobs { hit: 0.9, ..Knobs::default() }, ours);
    for (name, score) in [("default", small), ("20-40 updates", wide), ("fails 0.9", unsure)] {
        println!("{name}: {}", score.line());
        assert!(met(&score), "{name}: {}", score.line());
    }
    let nearest = sum(0..all, &Knobs::default(), nearest_first);
    println!("nearest first: {}", nearest.line());
    assert!(nearest.percent(2..4, 0) < 70.0);
}

/// A culprit leads the sooner, the more packages it breaks. Judged with what was known then.
#[test]
fn a_culprit_leads_soon() {
    let counts = [1, 2, 3, 6];
    let stands = |f: &dyn Fn(&Evidence) -> Vec<Ranked>| {
        let mut sum = [After::default(); 4];
        for seed in 0..scale(12, 60) {
            for (sum, one) in sum.iter_mut().zip(after(&world(seed, &Knobs::default()), &counts, f)) {
                sum.first += one.first;
                sum.sure += one.sure;
                sum.all += one.all;
            }
        }
        sum
    };
    let (own, nearest) = (stands(&ours), stands(&nearest_first));
    for (count, (own, nearest)) in counts.iter().zip(own.iter().zip(&nearest)) {
        println!("after {count}: {own:?}, nearest first {nearest:?}");
    }
    let percent = |n: u32, of: &After| 100 * n / of.all.max(1);
    let sure = |of: &After| percent(of.sure, of);
    assert!(sure(&own[3]) >= 50 && sure(&own[3]) > sure(&own[0]), "{own:?}");
    assert!(percent(own[1].first, &own[1]) > percent(nearest[1].first, &nearest[1]), "{own:?} {nearest:?}");
}

#[test]
fn lines_of_logs_reduce_false_accusations() {
    let knobs = Knobs { lines: 0.6, faults: 0.04, ..Knobs::default() };
    let without = sum(0..scale(20, 60), &knobs, |e| {
        let mut e = e.clone();
        for build in &mut e.builds {
            build.text = None;
        }
        ours(&e)
    });
    let with = sum(0..scale(20, 60), &knobs, ours);
    assert!(with.wrong() < without.wrong(), "{} / {}", with.line(), without.line());
    assert!(with.mean_brier() < without.mean_brier(), "{} / {}", with.line(), without.line());
}

#[test]
fn planted_faults_break_the_thresholds() {
    let knobs = Knobs::default();
    assert!(met(&sum(0..30, &knobs, ours)));
    for model in [Model { ignore_others: true, ..Model::default() }, Model { ignore_passes: true, ..Model::default() }]
    {
        let score = sum(0..30, &knobs, |e| rank(e, &model, Which::All));
        println!("{}", score.line());
        assert!(!met(&score), "{}", score.line());
    }
}

#[test]
fn shares_sum_to_a_thousand_and_nothing_depends_on_chance() {
    for seed in 900..900 + scale(5, 30) {
        let world = world(seed, &Knobs { lines: 0.5, ..Knobs::default() });
        let first = ours(&world.evidence);
        assert_eq!(first, ours(&world.evidence));
        let failed = world.evidence.builds.iter().filter(|b| !b.passed).count();
        assert_eq!(first.len(), failed);
        for r in &first {
            let sum: u32 = r.suspects.iter().map(|s| s.share).sum();
            assert_eq!(sum + r.none.own + r.none.chance, 1000);
            assert!(r.suspects.windows(2).all(|s| s[0].share >= s[1].share), "{r:?}");
        }
    }
}

#[test]
fn numbers_of_updates_need_not_be_places() {
    for seed in 0..scale(3, 10) {
        let world = world(seed, &Knobs::default());
        let mut other = world.evidence.clone();
        for update in &mut other.updates {
            update.id = update.id * 3 + 1000;
        }
        for change in other.builds.iter_mut().flat_map(|b| &mut b.changes) {
            change.update = change.update * 3 + 1000;
        }
        for (a, b) in ours(&world.evidence).iter().zip(ours(&other)) {
            let ids: Vec<(u32, u32)> = a.suspects.iter().map(|s| (s.update * 3 + 1000, s.share)).collect();
            assert_eq!(ids, b.suspects.iter().map(|s| (s.update, s.share)).collect::<Vec<_>>());
        }
    }
}

fn update(id: u32, source: u32, repo: u32) -> Update {
    Update { id, source, repo, version_changed: true, buildroots: None }
}

fn build(package: u32, repo: u32, passed: bool, changes: &[u32]) -> Build {
    let changes = changes.iter().map(|u| Change { update: *u, distance: 1 }).collect();
    Build { package, repo, passed, own_changed: false, text: None, changes }
}

/// Two updates come with repository 1. Packages 10 to 13 have both and fail, 20 to 39 have the second and pass.
fn two_updates() -> Evidence {
    let mut e = Evidence { updates: vec![update(0, 1, 1), update(1, 2, 1)], ..Evidence::default() };
    e.builds.extend((10..14).chain(20..40).map(|p| build(p, 0, true, &[])));
    e.builds.extend((10..14).map(|p| build(p, 1, false, &[0, 1])));
    e.builds.extend((20..40).map(|p| build(p, 1, true, &[1])));
    e
}

#[test]
fn passes_speak_for_an_update() {
    let ranked = rank(&two_updates(), &Model::default(), Which::SinceGood);
    assert_eq!(ranked.len(), 4);
    for r in &ranked {
        let first = &r.suspects[0];
        assert!(first.update == 0 && first.share > 800, "{r:?}");
        let f = first.facts;
        assert_eq!((f.began, f.began_with, f.passed, f.passed_with), (4, 4, 20, 0));
        assert_eq!((f.distance, f.failed_here, f.passed_here, f.repaired_by), (1, 1, 0, None));
        assert_eq!(f.broken, 4);
        assert_eq!(r.suspects[1].facts.passed_with, 20);
    }
}

/// What nothing here tells apart, other collections do: by what broke there, and by what passed there.
#[test]
fn other_collections_speak_for_and_against_an_update() {
    let mut alone = two_updates();
    alone.builds.retain(|b| b.passed == (b.repo == 0));
    let first = |e: &Evidence| {
        let ranked = rank(e, &Model::default(), Which::SinceGood);
        assert_eq!(ranked.len(), 4);
        let share = |update: u32| ranked[0].suspects.iter().find(|s| s.update == update).map_or(0, |s| s.share);
        (share(0), share(1))
    };
    let (x, y) = first(&alone);
    assert!(x.abs_diff(y) <= 10, "{x} {y}");
    let seen = |broken: u32, passed: u32| SeenElsewhere { broken, passed: [[passed, 0, 0, 0, 0], [0; 5]] };
    for (update, seen) in [(0, seen(3, 0)), (1, seen(0, 80))] {
        let mut with = alone.clone();
        with.elsewhere.insert(update, seen);
        let (x, y) = first(&with);
        assert!(x > 800 && y < 200, "{x} {y} {seen:?}");
        // What was seen of an update that is not here says nothing.
        let mut without = alone.clone();
        without.elsewhere.insert(7, seen);
        assert_eq!(first(&without), first(&alone));
    }
}

#[test]
fn a_later_update_of_the_source_repairs_it() {
    let mut e = two_updates();
    e.updates.push(update(2, 1, 2));
    e.builds.extend((10..14).map(|p| build(p, 2, true, &[1, 2])));
    let all = rank(&e, &Model::default(), Which::All);
    assert_eq!(all.len(), 4);
    for r in &all {
        assert!(r.suspects[0].update == 0 && r.suspects[0].share > 800, "{r:?}");
        assert_eq!(r.suspects[0].facts.repaired_by, Some(2));
    }
    assert!(rank(&e, &Model::default(), Which::SinceGood).is_empty());
}

#[test]
fn what_cannot_be_told_apart_is_one_suspect() {
    let mut e = two_updates();
    e.updates[0].buildroots = Some(7);
    e.updates[1].buildroots = Some(8);
    e.updates.push(Update { buildroots: Some(7), ..update(2, 3, 1) });
    for build in e.builds.iter_mut().filter(|b| !b.passed) {
        build.changes.push(Change { update: 2, distance: 1 });
    }
    let ranked = rank(&e, &Model::default(), Which::All);
    for r in ranked {
        assert_eq!((r.suspects[0].update, r.suspects[0].together.as_slice()), (0, &[2_u32][..]));
        assert!(r.suspects[0].share > 800, "{r:?}");
        assert!(r.suspects.iter().all(|s| s.update != 2));
    }
}

#[test]
fn a_failure_without_changes_has_no_suspect() {
    let mut e = two_updates();
    e.builds.push(build(50, 0, true, &[]));
    e.builds.push(build(50, 1, false, &[]));
    e.builds.push(build(60, 1, false, &[]));
    let ranked = rank(&e, &Model::default(), Which::SinceGood);
    for r in ranked.iter().filter(|r| e.builds[r.build as usize].package >= 50) {
        assert!(r.suspects.is_empty());
        assert_eq!(r.none.own + r.none.chance, 1000);
    }
    assert!(rank(&Evidence::default(), &Model::default(), Which::All).is_empty());
}
