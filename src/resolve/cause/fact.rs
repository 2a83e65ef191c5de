//! The facts that a proof rests on. Each can be looked up in any generation.

use smol_str::SmolStr;

use super::{Culprit, Effect, FirstCause, Generation, Link, PackageChange, built_from};
use crate::model::Evr;
use crate::repodata::{DepEvr, Dependency, Op, Package, Relation, Rich};
use crate::resolve::need::rich;
use crate::resolve::overlap::overlap;
use crate::resolve::universe::PkgId;

/// Identifies a package across generations.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NameArch {
    pub(super) name: SmolStr,
    pub(super) arch: SmolStr,
}

impl NameArch {
    pub(super) fn of(package: &Package) -> Self {
        Self { name: package.name.clone(), arch: package.arch.clone() }
    }

    pub(super) fn with_arch(&self, arch: &str) -> Self {
        Self { name: self.name.clone(), arch: arch.into() }
    }
}

/// Something that holds in the last generation and did not hold when the source package last
/// resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fact {
    /// A package no longer provides `unit`: the requirement or a part of it.
    Lost { key: NameArch, unit: Rich, requirement: String, of_source: bool },
    /// A package has this requirement.
    Requires { key: NameArch, dependency: Dependency },
    /// The source package has this requirement.
    Asks { requirement: String },
    /// The build group has this member.
    Member { requirement: String },
    /// A package provides a member of the build group. A member that nothing provides is ignored.
    Provides { key: NameArch, unit: Rich, requirement: String },
    /// Two packages conflict.
    Conflict { a: NameArch, b: NameArch },
}

/// A fact and how the proof reached it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) fact: Fact,
    pub(super) path: Vec<Link>,
    pub(super) in_group: bool,
    /// Position of the requirement of the source package or group from which the proof reached it.
    pub(super) root: usize,
}

impl Fact {
    pub(super) fn holds(&self, generation: &Generation<'_>, requires: &[String]) -> bool {
        match self {
            Self::Lost { key, unit, of_source, .. } => {
                let family = generation.family(key);
                let providers = generation.providers(unit, *of_source);
                providers.is_some_and(|list| !family.iter().any(|id| list.contains(id)))
            }
            Self::Requires { key, dependency } => {
                generation.family(key).iter().any(|&id| has_requirement(generation, id, dependency))
            }
            Self::Asks { requirement } => requires.contains(requirement),
            Self::Member { requirement } => {
                let group = generation.prepared;
                let there = group.members().iter().any(|member| member.name() == requirement);
                there || group.group().skipped.contains(requirement)
            }
            Self::Provides { key, unit, .. } => {
                let family = generation.family(key);
                generation.providers(unit, true).is_some_and(|list| family.iter().any(|id| list.contains(id)))
            }
            Self::Conflict { a, b } => {
                let (a, b) = (generation.family(a), generation.family(b));
                a.iter().any(|&a| b.iter().any(|&b| generation.conflicts_itself(a, b)))
            }
        }
    }

    /// Checks whether the fact only follows from a new version: a package requires a sister package of
    /// its own version, as it did before. Both are built from one source package.
    pub(super) fn follows(&self, old: &Generation<'_>, new: &Generation<'_>) -> bool {
        let Self::Requires { key, dependency } = self else { return false };
        if dependency.relation.is_none() || dependency.is_rich() {
            return false;
        }
        let named = |generation: &Generation<'_>, id: PkgId| {
            let content = generation.prepared.universe().content();
            content.packages()[id.index()].requires.iter().any(|r| content.dependency(r.dep).name == dependency.name)
        };
        let source = |id: PkgId| built_from(new.prepared.universe().package(id));
        let owners: Vec<PkgId> =
            new.family(key).iter().copied().filter(|&id| has_requirement(new, id, dependency)).collect();
        let sisters = rich(dependency).and_then(|rich| new.providers(&rich, false)).unwrap_or_default();
        let sister = |own: &PkgId| {
            let own = source(*own);
            own.is_some() && sisters.iter().any(|&id| source(id) == own)
        };
        old.family(key).iter().any(|&id| named(old, id)) && owners.iter().any(sister)
    }

    /// Returns the rank of the fact among the causes; the lowest comes first.
    ///
    /// * 0: something was taken away, or two packages that were both there came to conflict.
    /// * 1: a new requirement that nothing provides.
    /// * 2: a new requirement whose providers cannot be installed; there is a deeper cause. Also a
    ///   newly provided member of the group.
    /// * 3: a conflict with a package that was not there before.
    pub(super) fn rank(&self, old: &Generation<'_>, new: &Generation<'_>) -> u8 {
        let provided = |dependency: &Dependency, of_source: bool| {
            let found = rich(dependency).and_then(|rich| new.providers(&rich, of_source));
            u8::from(found.is_some_and(|list| !list.is_empty()))
        };
        match self {
            Self::Lost { .. } => 0,
            Self::Conflict { a, b } if old.family(a).is_empty() || old.family(b).is_empty() => 3,
            Self::Conflict { .. } => 0,
            Self::Requires { dependency, .. } => 1 + provided(dependency, false),
            Self::Asks { requirement } | Self::Member { requirement } => {
                1 + Dependency::parse(requirement).map_or(0, |dependency| provided(&dependency, true))
            }
            Self::Provides { .. } => 2,
        }
    }
}

impl Found {
    /// Dates the fact and names the package whose change made it true. The fact does not hold in
    /// generation `resolved`.
    pub(super) fn cause(self, generations: &[Generation<'_>], requires: &[&[String]], resolved: usize) -> FirstCause {
        let mut step = generations.len() - 1;
        while step > resolved + 1 && self.fact.holds(&generations[step - 1], requires[step - 1]) {
            step -= 1;
        }
        let (before, after) = (&generations[step - 1], &generations[step]);
        let (culprit, effect) = match self.fact {
            Fact::Lost { key, requirement, .. } => (package(before, after, &key), Effect::Lost { requirement }),
            Fact::Requires { key, dependency } => {
                (package(before, after, &key), Effect::Requires { requirement: dependency.to_string() })
            }
            Fact::Asks { requirement } => (Culprit::BuildRequires, Effect::Requires { requirement }),
            Fact::Member { requirement } => (Culprit::BuildGroup, Effect::Requires { requirement }),
            Fact::Provides { key, requirement, .. } => (package(before, after, &key), Effect::Provides { requirement }),
            Fact::Conflict { a, b } => conflict(before, after, &a, &b),
        };
        FirstCause { culprit, step, effect, path: self.path, in_group: self.in_group }
    }
}

pub(super) fn has_requirement(generation: &Generation<'_>, id: PkgId, dependency: &Dependency) -> bool {
    let content = generation.prepared.universe().content();
    content.packages()[id.index()].requires.iter().any(|r| content.dependency(r.dep) == dependency)
}

fn package(before: &Generation<'_>, after: &Generation<'_>, key: &NameArch) -> Culprit {
    let (old, new) = (before.newest(key), after.newest(key));
    let found = |generation: &Generation<'_>, id: PkgId| generation.prepared.universe().package(id).clone();
    let (old, new) = (old.map(|id| found(before, id)), new.map(|id| found(after, id)));
    let source = old.as_ref().or(new.as_ref()).and_then(built_from).map(|nvr| {
        let (earlier, later) = (before.source(&nvr.name).filter(|_| old.is_none()), after.source(&nvr.name));
        (earlier.unwrap_or(nvr), later)
    });
    let successors = match (&new, &source) {
        (None, Some((nvr, _))) => after.successors(&nvr.name, before),
        _ => Vec::new(),
    };
    let evr = |package: Option<Package>| package.map(|p| p.evr);
    let (name, arch) = (key.name.clone(), key.arch.clone());
    Culprit::Package(Box::new(PackageChange { name, arch, old: evr(old), new: evr(new), source, successors }))
}

/// Finds the culprit of a new conflict: the package that changed. If both changed, it is the one
/// that declares the conflict.
fn conflict(before: &Generation<'_>, after: &Generation<'_>, a: &NameArch, b: &NameArch) -> (Culprit, Effect) {
    let says = |key: &NameArch, other: &NameArch| {
        after.newest(key).zip(after.newest(other)).is_some_and(|(p, q)| says(after, p, q))
    };
    let (first, second) = if !says(a, b) && says(b, a) { (b, a) } else { (a, b) };
    let changed = |key: &NameArch| {
        let evr = |generation: &Generation<'_>| -> Option<Evr> {
            Some(generation.prepared.universe().package(generation.newest(key)?).evr.clone())
        };
        evr(before) != evr(after)
    };
    let (who, with) = if !changed(first) && changed(second) { (second, first) } else { (first, second) };
    let id = after.newest(with).expect("both are there where the conflict is");
    (package(before, after, who), Effect::Conflict { with: after.nevra(id) })
}

impl Generation<'_> {
    /// Checks whether two packages conflict directly: because one of them says so, or because they
    /// have the same name. A conflict that only follows from their requirements does not count.
    pub(super) fn conflicts_itself(&self, a: PkgId, b: PkgId) -> bool {
        self.key(a).name == self.key(b).name || says(self, a, b) || says(self, b, a)
    }
}

/// Checks whether a package itself conflicts with or replaces another. It does not matter whether
/// they can be installed at all.
fn says(generation: &Generation<'_>, id: PkgId, other: PkgId) -> bool {
    let content = generation.prepared.universe().content();
    let (own, named) = (&content.packages()[id.index()], &content.packages()[other.index()]);
    let conflicts = own.conflicts.iter().any(|&dep| {
        let rich = rich(content.dependency(dep));
        let found = rich.and_then(|rich| generation.providers(&rich, false));
        found.is_some_and(|list| list.contains(&other))
    });
    // Obsoletes match a package's own name and version, not its provides.
    let relation = Some(Relation { op: Op::Eq, evr: DepEvr::from(&named.evr) });
    let itself = Dependency { name: named.name.clone(), relation };
    conflicts || own.obsoletes.iter().any(|&dep| overlap(content.dependency(dep), &itself))
}
