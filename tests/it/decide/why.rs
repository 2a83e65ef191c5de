//! `why` names exactly what decides. If all of it is removed, the package is chosen; if any one
//! reason stays, it is not. A chosen package is not chosen any more with any single obstacle.

mod scene;

use koschei::decide::load::ArchLoads;
use koschei::decide::{Hold, Policy};
use koschei::event::{Event, PackageListAction, PriorityKind, SubmissionsPaused, SubmissionsResumed};
use koschei::fold::State;
use koschei::log::{EventLog, folding};
use koschei::model::Seq;

use crate::recorded::{koschei, open, recorded};
use crate::story::{HOUR, Src, World, broken, excluded, ok, settings};
use scene::{Seen, refusal, scene};

/// Every package of the recording at every tenth sequence and whenever one was blocked (which does
/// not last), and at its end a month later.
#[tokio::test]
async fn the_recording() {
    let log = open(recorded()).await;
    let mut seen = Seen::default();
    let mut blocked = false;
    let state = folding::fold(&log, None, &mut |_| {}, &mut |before, e| {
        if (e.seq.get() % 10 == 0 || blocked)
            && let Some(mut scene) = scene(before)
        {
            seen.look(&mut scene);
        }
        blocked = matches!(&e.event, Event::PackageListChanged(p) if p.action == PackageListAction::Block);
    })
    .await
    .unwrap();
    let mut later = scene(&state).unwrap();
    later.now = later.now.plus_secs(30 * 86_400);
    seen.look(&mut later);
    seen.has(&["", "blocked", "no_source", "running", "buildroot_unknown", "not_resolved_yet", "unresolved"]);
    seen.has(&["newer_source_not_resolved", "below_threshold", "declined"]);
    log.close().await;
}

/// The program says the same about packages of the recording.
#[tokio::test]
async fn the_binary_says_the_same() {
    let db = recorded().to_str().unwrap();
    let log = open(recorded()).await;
    let end = log.head().await.unwrap().seq.unwrap().get();
    for at in [end / 3, end] {
        let state = folding::from_start(&log, Seq::new(at), &mut |_| {}).await.unwrap();
        let scene = scene(&state).unwrap();
        let (cname, c) = state.collections.get_index(0).unwrap();
        for p in [0, c.packages.len() / 2] {
            let (pname, _) = c.packages.get_index(p).unwrap();
            let as_of = at.to_string();
            let out = koschei(&["why", pname, "--collection", cname, "--json", "--as-of", &as_of, "--db", db]);
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
            assert_eq!(said["why"], serde_json::to_value(scene.why((0, p))).unwrap());
        }
    }
    log.close().await;
}

/// Pseudo-random numbers that are the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// A random story: two crowded collections in which everything goes wrong that can.
fn tale(seed: u64, steps: i64) -> World {
    let mut dice = Dice(seed);
    let policy = Policy { max_builds: 5, max_requests_per_evaluation: 3, ..Policy::default() };
    let small = koschei::event::CollectionSettings { max_builds: Some(2), coefficient: 700, ..settings("f98") };
    let mut w = World::with(policy, &[("f99", settings("f99")), ("f98", small)]);
    let mut version = [1_usize; 8];
    for step in 0..steps {
        let tag = ["f99", "f98"][dice.roll(2)];
        let p = dice.roll(8);
        let nvr = format!("p{p}-{}-1", version[p]);
        match dice.roll(20) {
            0 | 1 => w.real(tag, &nvr),
            2 => w.tag(tag, &nvr),
            3 => w.untag(tag, &nvr),
            4 => version[p] += 1,
            5 => w.list(tag, &format!("p{p}"), ["block", "unblock", "unblock"][dice.roll(3)]),
            6 => w.track(&format!("p{p}"), dice.roll(3) > 0),
            7 => w.skip_resolution(&format!("p{p}"), dice.roll(3) == 0),
            8 => w.points(&format!("p{p}"), PriorityKind::Static, 100 * i32::try_from(dice.roll(5)).unwrap()),
            9 => {
                let arches = ["x86_64", "^x86_64", "^aarch64 ^x86_64", ""][dice.roll(4)];
                w.operator(koschei::event::PackageArchOverrideSet {
                    collection: "f99".into(),
                    package: format!("p{p}").into(),
                    arches: (!arches.is_empty()).then(|| arches.to_owned()),
                    by: None,
                });
            }
            10 => w.task_with(step, &nvr, "OPEN", serde_json::json!({"target": tag})),
            11 | 12 => {
                let open = w.state().hubs.values().next().and_then(|h| {
                    let open: Vec<_> = h.tasks.iter().filter(|(_, t)| !t.state.is_final()).collect();
                    let (id, t) = *open.get(dice.roll(1 + open.len()))?;
                    Some((id.0, t.nvr.clone().unwrap().to_string(), t.target.clone().unwrap()))
                });
                if let Some((id, nvr, target)) = open {
                    let state = ["CLOSED", "FAILED", "FAILED", "CANCELED"][dice.roll(4)];
                    let children = serde_json::json!([["buildArch", "x86_64", if dice.roll(2) == 0 { 5 } else { 2 }]]);
                    w.task_with(id, &nvr, state, serde_json::json!({"target": target, "children": children}));
                }
            }
            13 => w.pass(i64::try_from(dice.roll(100)).unwrap() * HOUR / 4),
            17 => pauses(&mut w, &mut dice, tag),
            19 => w.operator(koschei::event::PackageHoldSet {
                collection: "f99".into(),
                package: format!("p{p}").into(),
                until: (dice.roll(3) > 0).then(|| w.now().plus_secs(HOUR * i64::try_from(dice.roll(60)).unwrap())),
                reason: String::new(),
                by: None,
            }),
            18 => w.operator(koschei::event::TagObserved {
                hub: koschei::model::Hub::new("primary"),
                tag: format!("{tag}-build").into(),
                tag_id: None,
                arches: None,
                inheritance: None,
                groups: None,
                external_repos: None,
                gone: dice.roll(4) == 0,
            }),
            _ => repository(&mut w, &mut dice, tag, step, &version),
        }
    }
    w.audited();
    w
}

fn pauses(w: &mut World, dice: &mut Dice, collection: &str) {
    let paused = |collection| SubmissionsPaused { collection, reason: "a fire".to_owned(), by: None };
    match dice.roll(5) {
        0 => w.operator(paused(None)),
        1 => w.operator(paused(Some(collection.into()))),
        _ => {
            w.operator(SubmissionsResumed { collection: None, by: None });
            w.operator(SubmissionsResumed { collection: Some(collection.into()), by: None });
        }
    }
}

fn repository(w: &mut World, dice: &mut Dice, tag: &str, id: i64, version: &[usize]) {
    let build_tag = format!("{tag}-build");
    for arch in ["x86_64", "aarch64"] {
        if dice.roll(12) == 0 {
            w.no_group(&build_tag, id, arch, "nothing provides bash");
            continue;
        }
        let mut sources: Vec<Src> = Vec::new();
        for (p, v) in version.iter().enumerate() {
            let nvr = format!("p{p}-{}-1", v - dice.roll(2).min(v - 1));
            let closure = format!("z-0:{}-1.x86_64/1 y-0:{}-1.noarch/3", dice.roll(3), dice.roll(3));
            match dice.roll(9) {
                0 => {}
                1 => sources.push(broken(&nvr, "nothing provides q")),
                2 => sources.push(excluded(&nvr)),
                3 => sources.push(ok(&nvr, &closure).noarch()),
                _ => sources.push(ok(&nvr, &closure)),
            }
        }
        w.holds(&build_tag, id, arch, &sources);
    }
    w.done(&build_tag, id);
}

#[test]
fn generated_stories() {
    let mut seen = Seen::default();
    for seed in 1..=4 {
        let w = tale(seed, 250);
        let mut state = State::default();
        let events = w.events();
        for e in &events {
            state.apply(e);
            if e.seq.get() % 10 == 0
                && let Some(mut scene) = scene(&state)
            {
                seen.look(&mut scene);
                // With loads, and with every package due, so that limits decide.
                scene.load = Some(ArchLoads([("x86_64".into(), 600), ("aarch64".into(), 200)].into()));
                scene.policy.build_threshold = 1;
                seen.look(&mut scene);
                scene.load = None;
                scene.policy.max_submissions_per_hour = Some(2);
                seen.look(&mut scene);
                // A policy refuses one collection just now. It refused another so long ago that one
                // rebuild may try.
                scene.policy.max_submissions_per_hour = None;
                let now = scene.now;
                for (n, c) in scene.state.collections.values_mut().enumerate() {
                    c.refused = Some(refusal(now.plus_secs(if n == 0 { 0 } else { -2 * 86_400 })));
                }
                seen.look(&mut scene);
            }
        }
        assert_eq!(state.digest(), w.state().digest());
        assert!(events.iter().any(|e| matches!(e.event, Event::RebuildRequested(_))));
    }
    seen.has(&Hold::keys().iter().copied().filter(|k| *k != "target_gone" && *k != "rebuild_open").collect::<Vec<_>>());
}
