//! Explains why a package is in a buildroot, and how far it is from the source package when only
//! packages of the buildroot count.

use super::Prepared;
use crate::repodata::{DepId, Dependency};
use crate::resolve::mode::Mode;
use crate::resolve::need::Need;
use crate::resolve::universe::PkgId;

/// Where a chain begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// A BuildRequires of the source package.
    BuildRequires,
    /// A member of the build group.
    Group,
}

impl Origin {
    /// Returns `build_requires` or `group`.
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
    /// The requirement. The package of the step before has it; in the first step it is the source
    /// package or the group.
    pub requirement: String,
    /// The package that fulfils it.
    pub package: PkgId,
}

/// Why one package is in the buildroot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Where the chain begins.
    pub origin: Origin,
    /// The steps from the origin to the package, which is the last.
    pub steps: Vec<Step>,
}

/// Explains closures of one [`Prepared`]. It is bound to its thread. An answer does not depend on
/// earlier ones.
pub struct Explainer<'p> {
    prepared: &'p Prepared<'p>,
    /// Needs by dependency of the repository, filled in on first use.
    needs: Vec<Option<Need>>,
    /// For each dependency, the walk in which it was followed. Following it twice leads nowhere
    /// new.
    followed: Vec<u32>,
    walk: u32,
    /// For each package, its place in the current closure.
    places: Vec<Option<u32>>,
}

/// How a package of the closure was reached.
#[derive(Clone, Copy)]
struct Reached {
    origin: Origin,
    /// Number of steps from the origin.
    distance: u16,
    /// Place of the package that requires this one, and the requirement. `None` if it is the
    /// `root`-th requirement of the origin.
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

    /// Returns for each package of `closure`, in its order, the number of steps from the source
    /// package. Only packages of the closure count. A package that fulfils a BuildRequires is at 1.
    /// A package that fulfils one of its requirements, scriptlet requirements included, is at 2,
    /// and so on. `None` means that only the build group needs the package.
    ///
    /// Koschei's distance ([`crate::resolve::Resolution::distances`]) counts every package that could have
    /// been chosen and ends at four. This one counts only the packages that are there, and reaches
    /// all of them. Cost: the requirements of the closure.
    pub fn distances(&mut self, build_requires: &[impl AsRef<str>], closure: &[PkgId]) -> Vec<Option<u16>> {
        let reached = self.walk(build_requires, closure, false);
        reached.into_iter().map(|r| r.map(|r| r.distance)).collect()
    }

    /// Returns for each package of `closure`, in its order, the shortest chain to it. The chain
    /// starts at the build group only if no BuildRequires leads to the package. Of several shortest
    /// chains, the first in the order of the requirements wins.
    ///
    /// A package may have come with the build group because of another package that was erased
    /// since ([`crate::resolve::Resolution::erased`]). Its chain then contains that package. `None` means
    /// that nothing leads to a package; this does not happen for a closure of the same
    /// BuildRequires. Cost: the requirements of the closure, and the length of the chains.
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

    /// Returns the packages of `closure` that exclude `erased` ([`crate::resolve::Resolution::erased`]),
    /// ascending. These are packages that conflict with it, that replace it, or that are another
    /// version of it. The result is empty if the package was erased because of its requirements.
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

    /// Searches breadth first from the requirements of an origin, to packages that were not reached
    /// before.
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
                // A requirement that the package fulfils itself leads to no other package. The
                // solver ignores it, too.
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
