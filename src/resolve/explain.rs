//! Why a package is in a buildroot, and how far it is from the source package over packages that are in it.

use super::need::Need;
use super::resolver::{Mode, Prepared};
use super::universe::PkgId;
use crate::repodata::{DepId, Dependency};

/// Where a chain begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// With a BuildRequires of the source package.
    BuildRequires,
    /// With a member of the build group.
    Group,
}

impl Origin {
    /// `build_requires` or `group`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuildRequires => "build_requires",
            Self::Group => "group",
        }
    }
}

/// One step of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What is required: by the package of the step before; in the first step by the source package or the group.
    pub requirement: String,
    /// What fulfils it.
    pub package: PkgId,
}

/// Why one package is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Where it begins.
    pub origin: Origin,
    /// From the origin to the package, which is the last.
    pub steps: Vec<Step>,
}

/// Explains closures of one [`Prepared`]. Bound to its thread; an answer does not depend on those given before.
pub struct Explainer<'p> {
    prepared: &'p Prepared<'p>,
    /// By dependency of the repository, once it was needed.
    needs: Vec<Option<Need>>,
    /// Per dependency the walk in which it was followed: a second time it leads nowhere new.
    followed: Vec<u32>,
    walk: u32,
    /// Per package its place in the closure looked at.
    places: Vec<Option<u32>>,
}

/// How a package of the closure was reached.
#[derive(Clone, Copy)]
struct Reached {
    origin: Origin,
    /// Steps from the origin.
    distance: u16,
    /// The place of who requires it, and what; `None`: the `root`-th requirement of the origin.
    from: Option<(usize, DepId)>,
    root: usize,
}

impl<'p> Explainer<'p> {
    pub(super) fn new(prepared: &'p Prepared<'p>) -> Self {
        let universe = prepared.universe();
        let dependencies = universe.content().dependencies().len();
        let places = vec![None; universe.len()];
        Self { prepared, needs: vec![None; dependencies], followed: vec![0; dependencies], walk: 0, places }
    }

    /// Per package of `closure`, in its order, the number of steps from the source package over packages of the
    /// closure: 1 for what fulfils a BuildRequires, one more for what fulfils a requirement of that, scriptlets
    /// included. `None`: only the build group needs it.
    ///
    /// Koschei's distance ([`super::Resolution::distances`]) goes over every package that could have been chosen and
    /// ends at four; this one goes over the packages that are there, and never ends before them. Cost: the requirements
    /// of the closure.
    pub fn distances(&mut self, build_requires: &[impl AsRef<str>], closure: &[PkgId]) -> Vec<Option<u16>> {
        let reached = self.walk(build_requires, closure, false);
        reached.into_iter().map(|r| r.map(|r| r.distance)).collect()
    }

    /// Per package of `closure`, in its order, the shortest chain to it; from the build group only where no
    /// BuildRequires leads to it. Of several the one that comes first in the order of the requirements. A package the
    /// build group brought may be there because of another that was erased since ([`super::Resolution::erased`]): then
    /// the chain leads over that one. `None` where nothing leads to a package, which does not happen for a closure of
    /// the same BuildRequires. Cost: the requirements of the closure, and the length of the chains.
    pub fn chains(&mut self, build_requires: &[impl AsRef<str>], closure: &[PkgId]) -> Vec<Option<Chain>> {
        let reached = self.walk(build_requires, closure, true);
        let mut chains: Vec<Option<Chain>> =
            (0..closure.len()).map(|place| self.chain(build_requires, closure, &reached, place)).collect();
        let prepared = self.prepared;
        let base = &prepared.group().closure;
        if prepared.mode() == Mode::Two && chains.iter().any(Option::is_none) {
            let reached = self.walk(&[] as &[&str], base, true);
            for (chain, id) in chains.iter_mut().zip(closure).filter(|(chain, _)| chain.is_none()) {
                let place = base.binary_search(id).ok();
                *chain = place.and_then(|place| self.chain(&[] as &[&str], base, &reached, place));
            }
        }
        chains
    }

    fn chain(
        &self,
        build_requires: &[impl AsRef<str>],
        closure: &[PkgId],
        reached: &[Option<Reached>],
        mut place: usize,
    ) -> Option<Chain> {
        let content = self.prepared.universe().content();
        let end = reached[place]?;
        let mut steps = Vec::new();
        let mut at = end;
        loop {
            let requirement = match (at.from, at.origin) {
                (Some((_, dep)), _) => content.dependency(dep).to_string(),
                (None, Origin::BuildRequires) => build_requires[at.root].as_ref().to_owned(),
                (None, Origin::Group) => self.prepared.members()[at.root].name().to_owned(),
            };
            steps.push(Step { requirement, package: closure[place] });
            let Some((before, _)) = at.from else { break };
            place = before;
            at = reached[before]?;
        }
        steps.reverse();
        Some(Chain { origin: end.origin, steps })
    }

    /// The packages of `closure` that may not be beside `erased` ([`super::Resolution::erased`]), ascending: what it
    /// conflicts with, is replaced by, or another version of it. Empty where it went for what it requires.
    pub fn in_the_way(&self, erased: PkgId, closure: &[PkgId]) -> Vec<PkgId> {
        let excluded = self.prepared.native().excluded(erased);
        excluded.into_iter().filter(|id| closure.binary_search(id).is_ok()).collect()
    }

    fn walk(
        &mut self,
        build_requires: &[impl AsRef<str>],
        closure: &[PkgId],
        with_group: bool,
    ) -> Vec<Option<Reached>> {
        for (place, id) in closure.iter().enumerate() {
            self.places[id.index()] = Some(u32::try_from(place).unwrap_or(u32::MAX));
        }
        self.walk = self.walk.wrapping_add(1);
        if self.walk == 0 {
            self.followed.fill(0);
            self.walk = 1;
        }
        let prepared = self.prepared;
        let mut reached: Vec<Option<Reached>> = vec![None; closure.len()];
        let (native, universe) = (prepared.native(), prepared.universe());
        let asked = build_requires.iter().map(|text| {
            let dependency = Dependency::parse(text.as_ref()).ok()?;
            Some(Need::of_source(&dependency, native, universe))
        });
        self.spread(Origin::BuildRequires, asked, closure, &mut reached);
        if with_group {
            let members = prepared.members().iter().map(|member| Some(member.need(native, universe)));
            self.spread(Origin::Group, members, closure, &mut reached);
        }
        for id in closure {
            self.places[id.index()] = None;
        }
        reached
    }

    /// Breadth first from the requirements of an origin, to packages not reached before.
    fn spread(
        &mut self,
        origin: Origin,
        roots: impl Iterator<Item = Option<Need>>,
        closure: &[PkgId],
        reached: &mut [Option<Reached>],
    ) {
        let prepared = self.prepared;
        let mut queue: Vec<usize> = Vec::new();
        let mut found = Vec::new();
        for (root, need) in roots.enumerate() {
            let Some(need) = need else { continue };
            need.fulfilled(&|id| self.places[id.index()].is_some(), &mut found);
            self.enter(&mut found, Reached { origin, distance: 1, from: None, root }, reached, &mut queue);
        }
        let content = prepared.universe().content();
        let mut next = 0;
        while let Some(&place) = queue.get(next) {
            next += 1;
            let (id, here) = (closure[place], reached[place]);
            let Some(here) = here else { continue };
            for requirement in &content.packages()[id.index()].requires {
                let dep = requirement.dep;
                if self.followed[dep.index()] == self.walk {
                    continue;
                }
                let need =
                    self.needs[dep.index()].get_or_insert_with(|| Need::of(content.dependency(dep), prepared.native()));
                need.fulfilled(&|id| self.places[id.index()].is_some(), &mut found);
                // What a package gives itself leads nowhere, as for the solver.
                if found.contains(&id) {
                    found.clear();
                    continue;
                }
                self.followed[dep.index()] = self.walk;
                let step = Reached { distance: here.distance.saturating_add(1), from: Some((place, dep)), ..here };
                self.enter(&mut found, step, reached, &mut queue);
            }
        }
    }

    fn enter(&self, found: &mut Vec<PkgId>, step: Reached, reached: &mut [Option<Reached>], queue: &mut Vec<usize>) {
        for id in found.drain(..) {
            let Some(place) = self.places[id.index()] else { continue };
            let slot = &mut reached[place as usize];
            if slot.is_none() {
                *slot = Some(step);
                queue.push(place as usize);
            }
        }
    }
}
