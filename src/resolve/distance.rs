//! Computes how far each package of a closure is from the source package (Koschei behaviour §3.2).

use super::native::Native;
use super::universe::{PkgId, Universe};

/// Number of levels that are searched.
pub const DISTANCE_MAX: u8 = 4;

/// Buffers that are reused from one source package to the next.
#[derive(Default)]
pub(super) struct Distances {
    /// For each package, the round in which it was put on a level.
    on_level: Vec<u32>,
    /// For each set of providers, the round in which it was followed.
    followed: Vec<u32>,
    /// For each number of [`Universe::kin`], the round in which it was in the closure, and its
    /// distance (0: none yet).
    kin: Vec<(u32, u8)>,
    round: u32,
}

impl Distances {
    /// Returns the distance of each package of `closure`, in its order.
    ///
    /// Level 1 is every package that matches a BuildRequires, chosen or not (`matches`). The next
    /// level is every provider of any requirement of the level before, except scriptlet
    /// requirements. There are [`DISTANCE_MAX`] levels. A package of the closure gets the first
    /// level that has a package of its name and architecture, or `None` if no level has one. The
    /// build group does not count.
    ///
    /// Koschei's map is by name alone. Here packages of one name and several architectures have
    /// separate distances. Cost: the packages reached times their requirements.
    pub(super) fn of(
        &mut self,
        closure: &[PkgId],
        matches: impl Iterator<Item = PkgId>,
        universe: &Universe,
        native: &Native<'_>,
    ) -> Vec<Option<u8>> {
        self.begin(universe, native);
        for &id in closure {
            self.kin[universe.kin(id) as usize] = (self.round, 0);
        }
        let mut level: Vec<PkgId> = matches.filter(|&id| self.enter(id)).collect();
        for distance in 1..=DISTANCE_MAX {
            for &id in &level {
                let known = &mut self.kin[universe.kin(id) as usize];
                if *known == (self.round, 0) {
                    known.1 = distance;
                }
            }
            if distance < DISTANCE_MAX {
                level = self.next_level(&level, native);
            }
        }
        closure.iter().map(|&id| Some(self.kin[universe.kin(id) as usize].1).filter(|&d| d > 0)).collect()
    }

    fn begin(&mut self, universe: &Universe, native: &Native<'_>) {
        self.on_level.resize(universe.len(), 0);
        self.kin.resize(universe.len(), (0, 0));
        self.followed.resize(native.sets(), 0);
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.on_level.fill(0);
            self.followed.fill(0);
            self.kin.fill((0, 0));
            self.round = 1;
        }
    }

    /// Puts a package on a level. Returns whether this is its first time.
    fn enter(&mut self, id: PkgId) -> bool {
        std::mem::replace(&mut self.on_level[id.index()], self.round) != self.round
    }

    fn next_level(&mut self, level: &[PkgId], native: &Native<'_>) -> Vec<PkgId> {
        let mut next = Vec::new();
        for &id in level {
            for &set in native.steps(id) {
                if std::mem::replace(&mut self.followed[set as usize], self.round) == self.round {
                    continue;
                }
                for provider in native.members(set) {
                    if std::mem::replace(&mut self.on_level[provider.index()], self.round) != self.round {
                        next.push(provider);
                    }
                }
            }
        }
        next
    }
}
