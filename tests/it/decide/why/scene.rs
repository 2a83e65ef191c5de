//! A state whose conditions are taken away and put in the way one at a time.

use koschei::decide::load::ArchLoads;
use koschei::decide::{Hold, Policy, Why, plan, why};
use koschei::fold::package::OperatorHold;
use koschei::fold::{
    ArchResolution, ArchVerdict, Collection, Declined, Evidence, EvidenceKind, Package, Refusal, State, arch,
};
use koschei::model::{BuildId, Name, RebuildId, Seq, TaskId, Timestamp};
use smol_str::SmolStr;

/// A state that is changed to test a hypothesis, and restored.
pub(super) struct Scene {
    pub(super) state: State,
    pub(super) now: Timestamp,
    pub(super) policy: Policy,
    pub(super) load: Option<ArchLoads>,
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
    pub(super) fn why(&self, (c, p): Place) -> Why {
        let (cname, collection) = self.state.collections.get_index(c).unwrap();
        let (pname, _) = collection.packages.get_index(p).unwrap();
        why(&self.state, cname, pname, self.now, &self.policy, self.load.as_ref()).unwrap()
    }

    pub(super) fn chosen(&self, (c, p): Place) -> bool {
        let plan = plan(&self.state, self.now, &self.policy, self.load.as_ref());
        plan.chosen.iter().any(|x| (x.collection, x.package) == (c, p))
    }

    /// Checks whether another package's priority lies in the gap between the threshold and the
    /// priority after adding whole points.
    pub(super) fn someone_between(&self, at: Place, why: &Why) -> bool {
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
    pub(super) fn lift(&mut self, (c, p): Place, hold: &Hold) {
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
                    content: None,
                    tracked: None,
                    group_ok: None,
                    group_repo: None,
                    problems: Vec::new(),
                    explained: None,
                    causes: Vec::new(),
                    group_good: None,
                    examined: false,
                    corrected: Vec::new(),
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
            built_in: None,
            compared: false,
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
        explained: None,
        good: None,
        causes: Vec::new(),
        changes: Box::default(),
        base: None,
        truth: false,
    });
    p.resolved = Some(true);
}

/// An obstacle for a chosen package, with its name.
pub(super) type Obstacle = (&'static str, fn(&mut Scene, Place));

fn package(s: &mut Scene, (c, p): Place) -> &mut Package {
    &mut s.state.collections[c].packages[p]
}

pub(super) const OBSTACLES: [Obstacle; 25] = [
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
pub(super) fn refusal(at: Timestamp) -> Refusal {
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
pub(super) struct Seen(std::collections::BTreeMap<String, u64>);

impl Seen {
    /// Tries every package of a state.
    pub(super) fn look(&mut self, scene: &mut Scene) {
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

    pub(super) fn has(&self, words: &[&str]) {
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

pub(super) fn scene(state: &State) -> Option<Scene> {
    let policy = serde_json::from_value(state.policy.as_ref()?.policy.clone()).unwrap();
    Some(Scene { state: state.clone(), now: state.recorded_at, policy, load: None })
}
