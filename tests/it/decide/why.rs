//! `why` names exactly what decides. If all of it is removed, the package is chosen; if any one
//! reason stays, it is not. A chosen package is not chosen any more with any single obstacle.

use koschei::decide::load::ArchLoads;
use koschei::decide::{Hold, Policy, Why, plan, why};
use koschei::event::{Event, PackageListAction, PriorityKind, SubmissionsPaused, SubmissionsResumed};
use koschei::fold::package::OperatorHold;
use koschei::fold::{
    ArchResolution, ArchVerdict, Collection, Declined, Evidence, EvidenceKind, Package, Refusal, State, arch,
};
use koschei::log::{EventLog, folding};
use koschei::model::{BuildId, Name, RebuildId, Seq, TaskId, Timestamp};
use smol_str::SmolStr;

use crate::recorded::{koschei, open, recorded};
use crate::story::{HOUR, Src, World, broken, excluded, ok, settings};

/// A state that is changed to test a hypothesis, and restored.
struct Scene {
    state: State,
    now: Timestamp,
    policy: Policy,
    load: Option<ArchLoads>,
}

/// Everything that a change may touch.
struct Saved {
    package: Package,
    target_gone: bool,
    tags_gone: Vec<Name>,
    running: u32,
    max_builds: Option<u32>,
    arches: koschei::fold::Map<Name, ArchResolution>,
    paused: [Option<SmolStr>; 2],
    refused: Option<Refusal>,
    policy: Policy,
    load: Option<ArchLoads>,
}

/// Indexes of collection and package.
type Place = (usize, usize);

impl Scene {
    fn why(&self, (c, p): Place) -> Why {
        let (cname, collection) = self.state.collections.get_index(c).unwrap();
        let (pname, _) = collection.packages.get_index(p).unwrap();
        why(&self.state, cname, pname, self.now, &self.policy, self.load.as_ref()).unwrap()
    }

    fn chosen(&self, (c, p): Place) -> bool {
        let plan = plan(&self.state, self.now, &self.policy, self.load.as_ref());
        plan.chosen.iter().any(|x| (x.collection, x.package) == (c, p))
    }

    /// Checks whether another package's priority lies in the gap between the threshold and the
    /// priority after adding whole points.
    fn someone_between(&self, at: Place, why: &Why) -> bool {
        let Some(Hold::BelowThreshold { missing }) = why.deciding.iter().find(|h| h.key() == "below_threshold") else {
            return false;
        };
        let reached = why.threshold + (1000 - missing % 1000) % 1000;
        let others =
            self.state.collections.iter().enumerate().flat_map(|(c, x)| (0..x.1.packages.len()).map(move |p| (c, p)));
        let between = |p: Place| {
            let (_, collection) = self.state.collections.get_index(p.0).unwrap();
            let priority = koschei::decide::eligibility::priority_of(
                collection,
                &collection.packages[p.1],
                self.now,
                &self.policy,
            );
            priority.is_some_and(|x| (why.threshold..=reached).contains(&x.current.0))
        };
        others.filter(|p| *p != at).any(between)
    }

    fn save(&self, (c, p): Place) -> Saved {
        let paused = [self.state.paused.clone(), self.state.collections[c].paused.clone()];
        let c = &self.state.collections[c];
        Saved {
            paused,
            refused: c.refused.clone(),
            package: c.packages[p].clone(),
            target_gone: c.target_gone,
            tags_gone: c.tags_gone.clone(),
            running: c.running,
            max_builds: c.settings.max_builds,
            arches: c.arches.clone(),
            policy: self.policy.clone(),
            load: self.load.clone(),
        }
    }

    fn restore(&mut self, (c, p): Place, saved: Saved) {
        let c = &mut self.state.collections[c];
        c.packages[p] = saved.package;
        (c.target_gone, c.running, c.settings.max_builds, c.arches) =
            (saved.target_gone, saved.running, saved.max_builds, saved.arches);
        c.tags_gone = saved.tags_gone;
        c.refused = saved.refused;
        [self.state.paused, c.paused] = saved.paused;
        (self.policy, self.load) = (saved.policy, saved.load);
    }

    /// Removes the reason `hold`, and changes nothing else.
    fn lift(&mut self, (c, p): Place, hold: &Hold) {
        let c: &mut Collection = &mut self.state.collections[c];
        let p: &mut Package = &mut c.packages[p];
        match hold {
            Hold::Blocked => p.blocked = false,
            Hold::Untracked => p.tracked = Some(true),
            Hold::NoSource => imported(p, self.now),
            Hold::Running => {
                c.running -= u32::from(p.running);
                p.running = 0;
            }
            Hold::RebuildOpen { .. } => {
                p.open_rebuild = None;
                c.running -= 1;
            }
            // Its time has come.
            Hold::HeldByOperator { .. } => p.held.as_mut().unwrap().until = self.now,
            Hold::TargetGone => c.target_gone = false,
            Hold::TagGone { .. } => c.tags_gone.clear(),
            Hold::BuildrootUnknown | Hold::BuildrootBroken => {
                let looked_at = || ArchResolution {
                    repo_id: None,
                    attachment: None,
                    tracked: None,
                    group_ok: None,
                    group_repo: None,
                    problems: Vec::new(),
                    of_packages: None,
                };
                if c.arches.is_empty() {
                    c.arches.insert("x86_64".into(), looked_at());
                    c.arches.insert("aarch64".into(), looked_at());
                }
                c.arches.values_mut().for_each(|a| a.group_ok = Some(true));
            }
            Hold::NotResolvedYet => resolve(p, &c.settings.arches),
            Hold::NoArch => {
                p.verdicts.clear();
                resolve(p, &c.settings.arches);
            }
            Hold::NewerSourceNotResolved => {
                let source = p.latest.as_ref().unwrap().source.clone();
                p.verdicts.iter_mut().for_each(|v| v.source = source.clone());
            }
            Hold::Unresolved => {
                p.verdicts.iter_mut().filter(|v| v.ok.is_some()).for_each(|v| v.ok = Some(true));
                p.resolved = Some(true);
            }
            Hold::RetryLater { .. } => p.faults = 0,
            Hold::BelowThreshold { missing } => p.manual_points += i32::try_from((missing + 999) / 1000).unwrap(),
            Hold::Declined { .. } => p.declined = None,
            Hold::Load { .. } => self.load = None,
            Hold::CollectionLimit => c.settings.max_builds = Some(u32::MAX),
            Hold::OverallLimit => self.policy.max_builds = u32::MAX,
            Hold::HourlyLimit { .. } => self.policy.max_submissions_per_hour = None,
            Hold::PolicyRefused { .. } => c.refused = None,
            Hold::CollectionPaused { .. } => c.paused = None,
            Hold::Paused { .. } => self.state.paused = None,
            Hold::EvaluationLimit => self.policy.max_requests_per_evaluation = u32::MAX,
        }
    }
}

/// Makes the resolved build tagged, with nothing else known about it.
fn imported(p: &mut Package, now: Timestamp) {
    let source = p.verdicts.first().map_or("1-1".into(), |v| v.source.clone());
    p.verdicts.iter_mut().for_each(|v| v.source = source.clone());
    p.latest = Some(koschei::fold::Latest { build: BuildId(-1), source: source.clone(), at: now });
    if p.base().is_none() {
        p.evidence.push(Evidence {
            kind: EvidenceKind::Real(BuildId(-1)),
            hub: None,
            source,
            former: Vec::new(),
            order: Seq::new(u64::MAX).unwrap(),
            at: now,
            repo: None,
            assumed: false,
            outcome: None,
            running: false,
            withdrawn: false,
            event: None,
            timed: false,
        });
    }
}

/// Makes the newest source resolve on an allowed architecture.
fn resolve(p: &mut Package, allowed: &[Name]) {
    let may = |a: &&str| arch::collection_allows(allowed, a) && p.arch_override.as_ref().is_none_or(|o| o.allows(a));
    let arch: Name = ["x86_64", "aarch64"].into_iter().find(may).unwrap_or("x86_64").into();
    // Removing `noarch` would make it depend on more loads.
    if !may(&arch.as_str()) || p.arch_override.as_ref().is_some_and(|o| !o.leaves_noarch()) {
        // A rebuild declined with this override stays declined without it.
        let over = p.arch_override.take().map(|o| o.to_string());
        if let Some(declined) = p.declined.as_mut().filter(|d| d.inputs.arch_override == over) {
            declined.inputs.arch_override = None;
        }
    }
    let source = p.latest.as_ref().map_or("1-1".into(), |l| l.source.clone());
    p.verdicts.push(ArchVerdict {
        arch,
        source,
        buildroot_has: None,
        // A noarch package depends on the fewest loads.
        noarch: true,
        ok: Some(true),
        problem: None,
        changes: Box::default(),
        base: None,
        truth: false,
    });
    p.resolved = Some(true);
}

/// An obstacle for a chosen package, with its name.
type Obstacle = (&'static str, fn(&mut Scene, Place));

fn package(s: &mut Scene, (c, p): Place) -> &mut Package {
    &mut s.state.collections[c].packages[p]
}

const OBSTACLES: [Obstacle; 25] = [
    ("blocked", |s, at| package(s, at).blocked = true),
    ("untracked", |s, at| package(s, at).tracked = Some(false)),
    ("no_source", |s, at| package(s, at).latest = None),
    ("running", |s, at| package(s, at).running = 1),
    ("rebuild_open", |s, at| package(s, at).open_rebuild = Some(RebuildId(1))),
    ("held_by_operator", |s, at| {
        let until = Timestamp(s.now.0 + 1);
        package(s, at).held = Some(Box::new(OperatorHold { until, reason: "a bootstrap".into() }));
    }),
    ("target_gone", |s, at| s.state.collections[at.0].target_gone = true),
    ("tag_gone", |s, at| s.state.collections[at.0].tags_gone.push("f99-build".into())),
    ("buildroot_unknown", |s, at| s.state.collections[at.0].arches.clear()),
    ("buildroot_broken", |s, at| s.state.collections[at.0].arches[0].group_ok = Some(false)),
    ("not_resolved_yet", |s, at| {
        package(s, at).verdicts.clear();
        package(s, at).skip_resolution = false;
    }),
    ("newer_source_not_resolved", |s, at| {
        package(s, at).skip_resolution = false;
        let p = package(s, at);
        p.latest.as_mut().unwrap().source = "999-9".into();
        if p.verdicts.is_empty() {
            resolve(p, &[]);
            p.verdicts[0].source = "1-1".into();
        }
    }),
    ("unresolved", |s, at| {
        let p = package(s, at);
        p.skip_resolution = false;
        if p.verdicts.is_empty() {
            resolve(p, &[]);
        }
        p.resolved = Some(false);
    }),
    ("no_arch", |s, at| {
        let p = package(s, at);
        if p.verdicts.is_empty() {
            resolve(p, &[]);
        }
        p.arch_override = Some(Box::new("s390x".parse().unwrap()));
    }),
    ("retry_later", |s, at| {
        let now = s.now;
        let p = package(s, at);
        (p.faults, p.last_fault_at) = (1, Some(now));
    }),
    ("below_threshold", |s, at| {
        // Do not raise the threshold: the time points are measured by it and would rise too.
        let too_much = s.why(at).priority.unwrap().current - s.policy.build_threshold * 1000;
        package(s, at).manual_points -= i32::try_from(too_much / 1000 + 1).unwrap();
    }),
    ("declined", |s, at| {
        let policy = s.policy.clone();
        let inputs = koschei::decide::eligibility::inputs(package(s, at), &policy);
        package(s, at).declined = Some(Box::new(Declined { inputs, reason: "no hub".into() }));
    }),
    ("load", |s, _| s.load = Some(ArchLoads(["x86_64", "aarch64"].map(|a| (a.into(), 1000)).into()))),
    ("collection_limit", |s, at| s.state.collections[at.0].settings.max_builds = Some(0)),
    ("overall_limit", |s, _| s.policy.max_builds = 0),
    ("hourly_limit", |s, _| s.policy.max_submissions_per_hour = Some(0)),
    ("policy_refused", |s, at| s.state.collections[at.0].refused = Some(refusal(s.now))),
    ("collection_paused", |s, at| s.state.collections[at.0].paused = Some("why not".into())),
    ("paused", |s, _| s.state.paused = Some("for a while".into())),
    ("evaluation_limit", |s, _| s.policy.max_requests_per_evaluation = 0),
];

/// A policy that refused a rebuild just now.
fn refusal(at: Timestamp) -> Refusal {
    Refusal {
        policy: "build_rpm".into(),
        since: at,
        tried_at: at,
        task_id: TaskId(7),
        words: "policy violation (build_rpm)".into(),
        trial: None,
    }
}

/// How often each set of conditions decided.
#[derive(Default, Debug)]
struct Seen(std::collections::BTreeMap<String, u64>);

impl Seen {
    /// Tries every package of a state.
    fn look(&mut self, scene: &mut Scene) {
        let places: Vec<Place> = (0..scene.state.collections.len())
            .flat_map(|c| (0..scene.state.collections[c].packages.len()).map(move |p| (c, p)))
            .collect();
        for at in places {
            let why = scene.why(at);
            assert_eq!(why.chosen, why.deciding.is_empty());
            assert_eq!(scene.chosen(at), why.chosen, "{why:?}");
            let words: Vec<&str> = why.deciding.iter().map(Hold::key).collect();
            *self.0.entry(words.join("+")).or_default() += 1;
            match why.chosen {
                true => obstruct(scene, at),
                // Points are whole, so the missing points are rounded up by less than one point.
                // Another package may lie in that gap.
                false if scene.someone_between(at, &why) => {}
                false => toggle(scene, at, &why),
            }
        }
    }

    fn has(&self, words: &[&str]) {
        for word in words {
            assert!(self.0.keys().any(|k| k.split('+').any(|w| w == *word)), "{word} never decided: {self:#?}");
        }
    }
}

/// Removing all reasons makes the package chosen. Removing all but one does not.
fn toggle(scene: &mut Scene, at: Place, why: &Why) {
    for left_out in std::iter::once(None).chain((0..why.deciding.len()).map(Some)) {
        let saved = scene.save(at);
        for (_, hold) in why.deciding.iter().enumerate().filter(|(n, _)| Some(*n) != left_out) {
            scene.lift(at, hold);
        }
        if scene.chosen(at) != left_out.is_none() {
            panic!("seq {:?}, without {left_out:?} of {why:#?}\nthen {:#?}", scene.state.seq, scene.why(at));
        }
        scene.restore(at, saved);
    }
}

/// Any single obstacle is enough, and is named.
fn obstruct(scene: &mut Scene, at: Place) {
    for (word, obstacle) in OBSTACLES {
        let saved = scene.save(at);
        obstacle(scene, at);
        let why = scene.why(at);
        assert!(!scene.chosen(at), "{word} does not keep {why:?}");
        assert!(why.deciding.iter().any(|h| h.key() == word), "{word} is not named in {why:?}");
        scene.restore(at, saved);
    }
}

fn scene(state: &State) -> Option<Scene> {
    let policy = serde_json::from_value(state.policy.as_ref()?.policy.clone()).unwrap();
    Some(Scene { state: state.clone(), now: state.recorded_at, policy, load: None })
}

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
