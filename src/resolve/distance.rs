//! How far a package of a closure is from the source package (Koschei behaviour §3.2).

use rustc_hash::FxHashMap;

use super::solv::Solver;
use super::universe::{PkgId, Universe};
use crate::repodata::DepId;

/// Levels looked at.
pub const DISTANCE_MAX: u8 = 4;

/// What is kept between source packages.
#[derive(Default)]
pub(super) struct Distances {
    /// Providers of a dependency of the repository, once asked for.
    providers: FxHashMap<DepId, Box<[PkgId]>>,
    /// Per package the round in which it was put on a level.
    on_level: Vec<u32>,
    /// Per dependency the round in which it was followed.
    followed: Vec<u32>,
    round: u32,
}

impl Distances {
    /// The distance of each package of `closure`, in its order.
    ///
    /// Level 1 is every package that matches a BuildRequires, chosen or not (`matches`); the next level every provider of
    /// any requirement of the level before that is not for a scriptlet; up to [`DISTANCE_MAX`]. A package of the closure gets the
    /// first level that has a package of its name and architecture; `None` when none has. The build group does not count.
    ///
    /// Unlike Koschei, whose map is by name alone, packages of one name and several architectures have their own distances.
    /// Cost: the packages reached times their requirements.
    pub(super) fn of(
        &mut self,
        closure: &[PkgId],
        matches: Vec<PkgId>,
        universe: &Universe,
        solver: &mut Solver,
    ) -> Vec<Option<u8>> {
        self.begin(universe);
        let mut wanted: FxHashMap<u32, Option<u8>> = closure.iter().map(|&id| (universe.kin(id), None)).collect();
        let mut level = matches;
        level.retain(|&id| self.enter(id));
        for distance in 1..=DISTANCE_MAX {
            for &id in &level {
                if let Some(known) = wanted.get_mut(&universe.kin(id)) {
                    known.get_or_insert(distance);
                }
            }
            if distance < DISTANCE_MAX {
                level = self.next_level(&level, universe, solver);
            }
        }
        closure.iter().map(|&id| wanted.get(&universe.kin(id)).copied().flatten()).collect()
    }

    fn begin(&mut self, universe: &Universe) {
        self.on_level.resize(universe.len(), 0);
        self.followed.resize(universe.content().dependencies().len(), 0);
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.on_level.fill(0);
            self.followed.fill(0);
            self.round = 1;
        }
    }

    /// Is this package on a level for the first time?
    fn enter(&mut self, id: PkgId) -> bool {
        std::mem::replace(&mut self.on_level[id.index()], self.round) != self.round
    }

    fn next_level(&mut self, level: &[PkgId], universe: &Universe, solver: &mut Solver) -> Vec<PkgId> {
        let mut next = Vec::new();
        for &id in level {
            for requirement in universe.package(id).requires.iter().filter(|r| !r.pre) {
                let dep = requirement.dep;
                if std::mem::replace(&mut self.followed[dep.index()], self.round) == self.round {
                    continue;
                }
                let providers = self.providers.entry(dep).or_insert_with(|| solver.providers(dep).into_boxed_slice());
                for &provider in providers.iter() {
                    if std::mem::replace(&mut self.on_level[provider.index()], self.round) != self.round {
                        next.push(provider);
                    }
                }
            }
        }
        next
    }
}
