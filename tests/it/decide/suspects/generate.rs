//! Worlds made in memory for tests and for measuring: updates, builds, and which update really broke what.
//!
//! A seed and knobs give the same world on every machine.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a world are small")]

use super::truth::{Truth, World};
use koschei::decide::suspects::{Build, Change, Update};

/// What a world is like.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// The number of source packages.
    pub packages: u32,
    /// The number of repositories.
    pub repos: u32,
    /// The fewest and the most updates of a repository. Their logarithm is uniform.
    pub updates: (u32, u32),
    /// The culprits per repository.
    pub culprits: f64,
    /// The most packages that one of them breaks.
    pub victims: u32,
    /// The share of packages with changes that are rebuilt in a repository.
    pub rebuilt: f64,
    /// The probability that a broken package fails.
    pub hit: f64,
    /// The share of flaky packages.
    pub flaky: f64,
    /// The probability that any build fails by an infrastructure fault that looks genuine.
    pub faults: f64,
    /// The share of packages that begin to fail by themselves.
    pub own: f64,
    /// The most packages in the part of a buildroot that is not in all of them.
    pub buildroot: usize,
    /// The share of updates whose source is chosen among those that most packages have in their buildroots.
    pub hubs: f64,
    /// The share of failed builds of one culprit that end in the same line; 0: no lines are known.
    pub lines: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            packages: 150,
            repos: 20,
            updates: (1, 40),
            culprits: 0.25,
            victims: 30,
            rebuilt: 0.7,
            hit: 1.0,
            flaky: 0.02,
            faults: 0.02,
            own: 0.02,
            buildroot: 60,
            hubs: 0.0,
            lines: 0.0,
        }
    }
}

/// A generator of numbers that look random (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        (self.unit() * f64::from(n)) as u32
    }

    /// True with a probability.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A number from `low` to `high`, whose logarithm is uniform.
    pub fn log(&mut self, low: u32, high: u32) -> u32 {
        let (a, b) = (ln(f64::from(low.max(1))), ln(f64::from(high) + 0.999));
        (exp(a + (b - a) * self.unit()) as u32).clamp(low, high)
    }
}

/// An update that breaks packages.
#[derive(Debug)]
struct Culprit {
    update: u32,
    source: u32,
    victims: Vec<u32>,
    /// The repository in which it is repaired, or will be.
    repair: Option<u32>,
    repaired: bool,
}

/// What is known of a package while the world goes on.
#[derive(Debug, Clone, Default)]
struct State {
    /// The repository and the number of own versions of the last good build.
    good: Option<(u32, u32)>,
    failing: bool,
    fresh: bool,
    flaky: f64,
    /// The package fails by itself from this repository on.
    own: Option<u32>,
    run: Vec<usize>,
}

/// Makes a world.
pub fn world(seed: u64, knobs: &Knobs) -> World {
    let mut r = Random::new(seed);
    let roots = buildroots(&mut r, knobs);
    let mut dependents: Vec<Vec<(u32, u8)>> = vec![Vec::new(); knobs.packages as usize];
    for (package, root) in roots.iter().enumerate() {
        for (source, distance) in root {
            dependents[*source as usize].push((package as u32, *distance));
        }
    }
    let mut states: Vec<State> = (0..knobs.packages)
        .map(|_| State {
            flaky: if r.chance(knobs.flaky) { 0.05 + 0.45 * r.unit() } else { 0.0 },
            own: r.chance(knobs.own).then(|| 1 + r.below(knobs.repos)),
            ..State::default()
        })
        .collect();
    let popular: Vec<f64> = (0..knobs.packages).map(|_| r.unit() * r.unit()).collect();
    let mut world = World { repos: knobs.repos, ..World::default() };
    // For each source its updates, as (repository, update).
    let mut chains: Vec<Vec<(u32, u32)>> = vec![Vec::new(); knobs.packages as usize];
    let mut culprits: Vec<Culprit> = Vec::new();
    // Packages whose own source has adapted to a culprit.
    let mut adapted: Vec<(u32, u32)> = Vec::new();
    for repo in 0..knobs.repos {
        if repo > 0 {
            let chosen = choose(&mut r, knobs, repo, &popular, &mut culprits, &dependents);
            for (source, bad) in chosen {
                let id = world.evidence.updates.len() as u32;
                let version_changed = r.chance(if bad { 0.85 } else { 0.6 });
                let buildroots = Some(fingerprint(&dependents[source as usize], id));
                world.evidence.updates.push(Update { id, source, repo, version_changed, buildroots });
                chains[source as usize].push((repo, id));
                let state = &mut states[source as usize];
                let broken = culprits.iter().any(|c| !c.repaired && c.victims.contains(&source));
                if broken && r.chance(0.5) {
                    adapted.extend(culprits.iter().filter(|c| !c.repaired).map(|c| (source, c.update)));
                }
                if state.own.is_some_and(|o| o <= repo) {
                    state.own = None;
                }
                if bad {
                    let victims = victims(&mut r, knobs, &dependents[source as usize]);
                    let repair = r.chance(0.75).then(|| repo + 1 + (-ln(1.0 - r.unit()) * 4.0) as u32);
                    culprits.push(Culprit { update: id, source, victims, repair, repaired: false });
                }
            }
        }
        for package in 0..knobs.packages {
            build(&mut r, knobs, repo, package, &roots, &chains, &culprits, &adapted, &mut states, &mut world);
        }
    }
    world.failures = world.evidence.builds.iter().filter(|b| !b.passed).count() as u32;
    for state in &states {
        close(&state.run, &mut world.truth);
    }
    world
}

/// The sources in the buildroot of each package, with their distances.
fn buildroots(r: &mut Random, knobs: &Knobs) -> Vec<Vec<(u32, u8)>> {
    let base = (knobs.packages / 16).clamp(4, 12);
    let mut roots: Vec<Vec<(u32, u8)>> = Vec::new();
    let mut direct: Vec<Vec<u32>> = Vec::new();
    for package in 0..knobs.packages {
        // A package requires those before it, and the first of them most often.
        let mut requires: Vec<u32> = Vec::new();
        for _ in 0..1 + r.below(5) {
            let skew = r.unit() * r.unit();
            let to = (skew * f64::from(package)) as u32;
            if to < package && !requires.contains(&to) {
                requires.push(to);
            }
        }
        let mut root: Vec<(u32, u8)> = Vec::new();
        let mut level = requires.clone();
        for distance in 1..=8_u8 {
            let mut next = Vec::new();
            for source in level {
                if root.len() < knobs.buildroot && !root.iter().any(|x| x.0 == source) {
                    root.push((source, if distance > 4 { 8 } else { distance }));
                    next.extend_from_slice(&direct[source as usize]);
                }
            }
            level = next;
        }
        for source in 0..base {
            if source != package && !root.iter().any(|x| x.0 == source) {
                root.push((source, 8));
            }
        }
        root.sort_unstable();
        roots.push(root);
        direct.push(requires);
    }
    roots
}

/// The updates of a repository, as (source, breaks something).
fn choose(
    r: &mut Random,
    knobs: &Knobs,
    repo: u32,
    popular: &[f64],
    culprits: &mut [Culprit],
    dependents: &[Vec<(u32, u8)>],
) -> Vec<(u32, bool)> {
    let mut chosen: Vec<(u32, bool)> = Vec::new();
    for culprit in culprits.iter_mut().filter(|c| !c.repaired && c.repair == Some(repo)) {
        culprit.repaired = true;
        if !chosen.iter().any(|c| c.0 == culprit.source) {
            chosen.push((culprit.source, false));
        }
    }
    let mut bad = knobs.culprits as u32 + u32::from(r.chance(knobs.culprits - f64::from(knobs.culprits as u32)));
    let count = r.log(knobs.updates.0, knobs.updates.1).min(knobs.packages / 2);
    let mut tries = 0;
    while (chosen.len() < count as usize || bad > 0) && tries < 40 * count + 400 {
        tries += 1;
        let all = popular.len() as u32;
        let source = if r.chance(knobs.hubs) { r.below(all.div_ceil(100)) } else { r.below(all) };
        let taken = chosen.iter().any(|c| c.0 == source);
        let active = culprits.iter().any(|c| c.source == source && !c.repaired);
        if taken || !r.chance(popular[source as usize] * 2.0) || (active && r.chance(0.7)) {
            continue;
        }
        let breaks = bad > 0 && !active && !dependents[source as usize].is_empty();
        bad -= u32::from(breaks);
        chosen.push((source, breaks));
    }
    chosen
}

/// The packages that a culprit breaks: near dependents more often than far ones.
fn victims(r: &mut Random, knobs: &Knobs, dependents: &[(u32, u8)]) -> Vec<u32> {
    let most = ((f64::from(dependents.len() as u32) * 0.8) as u32).max(1);
    let count = r.log(1, knobs.victims).min(most);
    // The shortest of exponential times whose rates are the weights: a choice without replacement.
    let mut times: Vec<(f64, u32)> = dependents
        .iter()
        .map(|(package, distance)| (-ln(1.0 - r.unit()) * f64::from((*distance).max(1)), *package))
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    times.into_iter().take(count as usize).map(|t| t.1).collect()
}

/// A number that sources with the same dependents share.
fn fingerprint(dependents: &[(u32, u8)], id: u32) -> u64 {
    if dependents.is_empty() {
        return u64::from(id);
    }
    dependents.iter().fold(0xcbf2_9ce4_8422_2325, |h, d| (h ^ u64::from(d.0)).wrapping_mul(0x0100_0000_01b3))
}

/// Builds a package in a repository, or does not.
#[allow(clippy::too_many_arguments)]
fn build(
    r: &mut Random,
    knobs: &Knobs,
    repo: u32,
    package: u32,
    roots: &[Vec<(u32, u8)>],
    chains: &[Vec<(u32, u32)>],
    culprits: &[Culprit],
    adapted: &[(u32, u32)],
    states: &mut [State],
    world: &mut World,
) {
    let state = &mut states[package as usize];
    let base = state.good.map_or(0, |g| g.0);
    let newest = |source: u32, at: u32| chains[source as usize].iter().rev().find(|c| c.0 <= at).map(|c| c.1);
    let mut changes = Vec::new();
    let mut near = false;
    for (source, distance) in &roots[package as usize] {
        if let Some(update) = newest(*source, repo)
            && newest(*source, base) != Some(update)
        {
            near |= *distance <= 2;
            changes.push(Change { update, distance: *distance });
        }
    }
    let own = chains[package as usize].iter().filter(|c| c.0 <= repo).count() as u32;
    let own_changed = state.good.is_some_and(|g| g.1 != own);
    let again = state.fresh && r.chance(0.8);
    let due = repo == 0 || own_changed || (!changes.is_empty() && r.chance(if near { 1.0 } else { 0.4 }));
    let rate = if repo == 0 { 0.95 } else { knobs.rebuilt };
    if !again && (!due || !r.chance(rate)) {
        return;
    }
    let in_root = |source: u32| roots[package as usize].binary_search_by_key(&source, |x| x.0).is_ok();
    let mut by: Vec<u32> = Vec::new();
    let mut size = 0;
    for culprit in culprits.iter().filter(|c| !c.repaired && c.victims.contains(&package) && in_root(c.source)) {
        if !adapted.contains(&(package, culprit.update)) && r.chance(knobs.hit) {
            by.push(culprit.update);
            size = size.max(culprit.victims.len() as u32);
        }
    }
    let alone = state.own.is_some_and(|o| o <= repo) || r.chance(knobs.faults) || r.chance(state.flaky);
    let passed = by.is_empty() && !alone;
    let text = match by.first() {
        _ if passed || knobs.lines <= 0.0 => None,
        Some(culprit) if r.chance(knobs.lines) => Some(1000 + u64::from(*culprit)),
        _ => Some(u64::from(r.below(40).min(r.below(40)))),
    };
    let number = world.evidence.builds.len();
    world.evidence.builds.push(Build { package, repo, passed, own_changed, text, changes });
    let run = !by.is_empty();
    world.truth.push(Truth { culprits: by, size, run, ..Truth::default() });
    state.fresh = !passed && !state.failing;
    state.failing = !passed;
    if passed {
        state.good = Some((repo, own));
        let run = std::mem::take(&mut state.run);
        close(&run, &mut world.truth);
    } else {
        state.run.push(number);
    }
}

/// Notes for each failed build of a run whether an update is behind one of them.
fn close(run: &[usize], truth: &mut [Truth]) {
    let any = run.iter().any(|b| !truth[*b].culprits.is_empty());
    for build in run {
        truth[*build].run = any;
    }
}

fn ln(x: f64) -> f64 {
    x.ln()
}

fn exp(x: f64) -> f64 {
    x.exp()
}
