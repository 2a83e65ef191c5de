//! Answers for one source package after the other.

use super::change::Installed;
use super::distance::Distances;
use super::error::ResolveError;
use super::solv::{Solver, Wish};
use super::universe::{PkgId, Universe};
use crate::repodata::Dependency;

/// How the build group and the BuildRequires come together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// As mock and a real build: the group is resolved alone and installed, then the BuildRequires are resolved on top of
    /// it (`dnf install @build`, `dnf builddep`). What the group brought may be replaced by another version, not removed.
    #[default]
    Two,
    /// As Koschei: one transaction for both. Gives other closures for some packages (3 in 1,000 of a distribution): never compare
    /// results of the two modes.
    Joint,
}

impl Mode {
    /// `two` or `joint`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Two => "two",
            Self::Joint => "joint",
        }
    }
}

/// Can the build group be installed?
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupVerdict {
    /// It can. When not, no package of the collection can be built.
    pub ok: bool,
    /// The packages of an empty buildroot, ascending; empty when not `ok`.
    pub closure: Vec<PkgId>,
    /// Why not: one text per problem, further lines after the first begin with ` - `.
    pub problems: Vec<String>,
    /// Members that nothing provides. They are passed over, as by mock and Koschei.
    pub skipped: Vec<String>,
}

/// The answer for one source package.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolution {
    /// The BuildRequires can be installed.
    pub ok: bool,
    /// All packages of the buildroot, ascending, those of the group included; empty when not `ok`.
    pub closure: Vec<PkgId>,
    /// Why not: one text per problem, further lines after the first begin with ` - `. Their wording is libsolv's and may
    /// differ between its versions. Empty when `ok`.
    pub problems: Vec<String>,
    /// Per package of `closure` its distance; empty unless [`Resolver::with_distances`].
    pub distances: Vec<Option<u8>>,
    /// Rich BuildRequires of which nothing exists, left out in [`Mode::Joint`] as by Koschei.
    pub skipped: Vec<String>,
}

impl Resolution {
    /// The closure with names and distances, for [`super::changes`].
    pub fn installed(&self, universe: &Universe) -> Vec<Installed> {
        let distance = |index: usize| self.distances.get(index).copied().flatten();
        let packages = self.closure.iter().enumerate();
        packages.map(|(i, &id)| Installed { nevra: universe.nevra(id), distance: distance(i) }).collect()
    }
}

/// Resolves source packages against one universe and one build group. Bound to its thread (neither `Send` nor `Sync`); an
/// answer does not depend on those given before.
pub struct Resolver<'u> {
    universe: &'u Universe,
    solver: Solver,
    mode: Mode,
    group: GroupVerdict,
    /// The members that exist.
    members: Vec<Dependency>,
    distances: Option<Distances>,
}

impl<'u> Resolver<'u> {
    pub(super) fn new(universe: &'u Universe, group: &[String], mode: Mode) -> Result<Self, ResolveError> {
        let mut solver = Solver::new(universe)?;
        let mut verdict = GroupVerdict::default();
        let mut members = Vec::new();
        let mut wishes = Vec::new();
        for member in group {
            let selected = Dependency::parse(member).and_then(|dependency| {
                let (wish, _) = solver.select(&dependency, universe)?;
                Ok(wish.map(|wish| (dependency, wish)))
            });
            match selected {
                Ok(Some((dependency, wish))) => {
                    members.push(dependency);
                    wishes.push(wish);
                }
                Ok(None) | Err(_) => verdict.skipped.push(member.clone()),
            }
        }
        match solver.solve(wishes) {
            Ok(closure) => {
                if mode == Mode::Two {
                    solver.install(&closure, universe)?;
                }
                verdict.ok = true;
                verdict.closure = closure;
            }
            Err(problems) => verdict.problems = problems.into_iter().map(|lines| lines.join("\n - ")).collect(),
        }
        Ok(Self { universe, solver, mode, group: verdict, members, distances: None })
    }

    /// Also compute distances (a third more time).
    #[must_use]
    pub fn with_distances(mut self) -> Self {
        self.distances = Some(Distances::default());
        self
    }

    /// The build group alone. O(1): it was resolved when the resolver was made.
    pub fn group(&self) -> &GroupVerdict {
        &self.group
    }

    /// Resolves one source package: BuildRequires in the order of the source package, in the form of a spec file.
    ///
    /// A plain one that nothing provides (for a path: and nobody owns) is a problem; so is one that is not understood. A rich
    /// one without provider is left to the solver in [`Mode::Two`], as by `dnf builddep`, and passed over in [`Mode::Joint`].
    /// Cost: about 1 ms, more on large repositories.
    pub fn resolve(&mut self, build_requires: &[impl AsRef<str>]) -> Resolution {
        let mut answer = Resolution::default();
        if !self.group.ok && self.mode == Mode::Two {
            answer.problems = self.group.problems.iter().map(|p| format!("build group: {p}")).collect();
            return answer;
        }
        let mut wishes = Vec::new();
        if self.mode == Mode::Joint {
            for member in &self.members {
                let (wish, _) = self.solver.select(member, self.universe).unwrap_or_default();
                wishes.extend(wish);
            }
        }
        let mut matches = Vec::new();
        for text in build_requires {
            self.wish(text.as_ref(), &mut wishes, &mut matches, &mut answer);
        }
        match self.solver.solve(wishes) {
            Ok(closure) => answer.closure = closure,
            Err(problems) => answer.problems.extend(problems.into_iter().map(|lines| lines.join("\n - "))),
        }
        answer.ok = answer.problems.is_empty();
        if !answer.ok {
            answer.closure = Vec::new();
        } else if let Some(distances) = &mut self.distances {
            answer.distances = distances.of(&answer.closure, matches, self.universe, &mut self.solver);
        }
        answer
    }

    fn wish(&mut self, text: &str, wishes: &mut Vec<Wish>, matches: &mut Vec<PkgId>, answer: &mut Resolution) {
        let selected = Dependency::parse(text).and_then(|dependency| {
            let (wish, found) = self.solver.select(&dependency, self.universe)?;
            Ok((dependency, wish, found))
        });
        match selected {
            Ok((_, Some(wish), found)) => {
                wishes.push(wish);
                matches.extend(found);
            }
            Ok((dependency, None, _)) if dependency.is_rich() => match self.mode {
                Mode::Joint => answer.skipped.push(text.to_owned()),
                Mode::Two => wishes.extend(self.solver.insist(&dependency)),
            },
            Ok((_, None, _)) => answer.problems.push(format!("no package found for build requirement {text}")),
            Err(error) => answer.problems.push(format!("build requirement not understood: {error}")),
        }
    }
}
