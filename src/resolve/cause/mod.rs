//! Finds the change of a repository that made a source package unresolvable.
//!
//! If a source package cannot be resolved, that follows from facts of the repository: this package
//! requires that, nothing else provides it, these two conflict. If the source package resolved in
//! an earlier generation, at least one of these facts did not hold there. The facts that did not
//! hold are the causes. Each cause is the change of one package from one generation to the next. A
//! cause is therefore never a guess from names or from what changed at the same time.
//!
//! Two methods find the facts. If a look at the providers is enough, we follow dead packages:
//! packages that can never be installed because a requirement of theirs cannot.
//! [`Native::refute`](super::native::Native::refute) finds conflicts. If the solver had to try
//! alternatives to find out that there is no answer, we name no cause: an empty list means "not
//! narrowed down".
//!
//! We do not look at weak dependencies, because they never make a source package unresolvable. We
//! do not look at libsolv's texts either.

mod fact;
pub(crate) mod text;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use self::fact::NameArch;
use self::walk::Walk;
use super::need::owners;
use super::resolver::Prepared;
use super::universe::PkgId;
use crate::model::{Evr, Nevra, Nvr};
use crate::repodata::{Package, Rich};

/// One of several successive repositories with the same build group and mode.
pub struct Generation<'p> {
    label: String,
    prepared: &'p Prepared<'p>,
    families: FxHashMap<NameArch, Vec<PkgId>>,
    /// For each source package name, the packages that were built from it.
    sources: FxHashMap<SmolStr, Vec<PkgId>>,
}

impl<'p> Generation<'p> {
    /// Indexes a repository. `label` is its name for people. Cost: O(packages).
    pub fn new(label: impl Into<String>, prepared: &'p Prepared<'p>) -> Self {
        let mut families: FxHashMap<NameArch, Vec<PkgId>> = FxHashMap::default();
        let mut sources: FxHashMap<SmolStr, Vec<PkgId>> = FxHashMap::default();
        for (index, package) in prepared.universe().content().packages().iter().enumerate() {
            let id = PkgId::from_index(index);
            if prepared.native().is_installable(id) {
                families.entry(NameArch::of(package)).or_default().push(id);
            }
            if let Some(nvr) = built_from(package) {
                sources.entry(nvr.name.as_str().into()).or_default().push(id);
            }
        }
        Self { label: label.into(), prepared, families, sources }
    }

    /// Returns the name for people.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the prepared repository.
    pub fn prepared(&self) -> &'p Prepared<'p> {
        self.prepared
    }

    /// Returns the packages here that correspond to a package of another generation. These have its
    /// name and architecture. If there are none, they are packages of its name that turned from or
    /// to `noarch`.
    fn family(&self, key: &NameArch) -> &[PkgId] {
        let of = |key: &NameArch| self.families.get(key).map_or(&[][..], Vec::as_slice);
        let found = of(key);
        if !found.is_empty() {
            return found;
        }
        let own = self.prepared.universe().arch();
        match key.arch.as_str() {
            "noarch" => of(&key.with_arch(own)),
            arch if arch == own => of(&key.with_arch("noarch")),
            _ => &[],
        }
    }

    /// Returns the newest version of a family.
    fn newest(&self, key: &NameArch) -> Option<PkgId> {
        let universe = self.prepared.universe();
        self.family(key).iter().copied().max_by(|&a, &b| universe.package(a).evr.cmp(&universe.package(b).evr))
    }

    fn key(&self, id: PkgId) -> NameArch {
        NameArch::of(self.prepared.universe().package(id))
    }

    /// Returns the packages that provide a requirement, including dead ones. Returns `None` if the
    /// system provides it.
    fn providers(&self, unit: &Rich, of_source: bool) -> Option<Vec<PkgId>> {
        let found = self.prepared.native().providers(unit)?;
        if let (true, true, Rich::Plain(plain)) = (found.is_empty(), of_source, unit)
            && let Some(path) = plain.path()
        {
            return Some(owners(path, self.prepared.native(), self.prepared.universe()));
        }
        Some(found)
    }

    /// Returns the newest source package of a name that a package here was built from.
    fn source(&self, name: &str) -> Option<Nvr> {
        let built = self.sources.get(name)?.iter();
        built.filter_map(|&id| built_from(self.prepared.universe().package(id))).max_by(|a, b| evr(a).cmp(&evr(b)))
    }

    /// Returns the names of packages that were built from a source package of this name and were
    /// not in `before`, sorted.
    fn successors(&self, name: &str, before: &Self) -> Vec<SmolStr> {
        let built = self.sources.get(name).map_or(&[][..], Vec::as_slice).iter();
        let keys = built.map(|&id| self.key(id)).filter(|key| before.family(key).is_empty());
        let names: BTreeSet<SmolStr> = keys.map(|key| key.name).collect();
        names.into_iter().collect()
    }

    fn is_dead(&self, id: PkgId) -> bool {
        self.prepared.native().is_dead(id)
    }

    fn nevra(&self, id: PkgId) -> Nevra {
        self.prepared.universe().nevra(id)
    }
}

fn built_from(package: &Package) -> Option<Nvr> {
    Nvr::parse_srpm(package.sourcerpm.as_deref()?)
}

fn evr(nvr: &Nvr) -> Evr {
    Evr { epoch: None, version: nvr.version.clone(), release: nvr.release.clone() }
}

/// The change of a package from one generation to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackageChange {
    /// Name of the package.
    pub name: SmolStr,
    /// Architecture of the package.
    pub arch: SmolStr,
    /// Version in the generation before. `None` if the package was not there.
    pub old: Option<Evr>,
    /// Version in the generation of the change. `None` if the package is gone. It equals `old` if
    /// the metadata changed without a new version.
    pub new: Option<Evr>,
    /// The source package that it is built from: before the change and, if any of its packages are
    /// left, after it.
    pub source: Option<(Nvr, Option<Nvr>)>,
    /// For a removed package: the packages that its source package builds now and did not before,
    /// sorted. The removed package may be among them under a new name, because a library's package
    /// name may change with its interface.
    pub successors: Vec<SmolStr>,
}

/// What changed: a package, the source package, or the build group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Culprit {
    /// A package of the repository.
    Package(Box<PackageChange>),
    /// The source package itself: its BuildRequires.
    BuildRequires,
    /// The build group: its members.
    BuildGroup,
}

/// The effect of the change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The package no longer provides a requirement.
    Lost {
        /// The requirement.
        requirement: String,
    },
    /// The culprit has a new requirement, and nothing that can be installed provides it.
    Requires {
        /// The requirement.
        requirement: String,
    },
    /// The package now provides a member of the build group, which was ignored before because
    /// nothing provided it.
    Provides {
        /// The member.
        requirement: String,
    },
    /// The package can no longer be installed together with another one.
    Conflict {
        /// The other package.
        with: Nevra,
    },
}

/// One step on the way from the source package to what is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The requirement.
    pub requirement: String,
    /// The package of the last generation that would fulfil it. `None` if nothing does.
    pub package: Option<Nevra>,
}

/// A change that made a source package unresolvable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirstCause {
    /// What changed.
    pub culprit: Culprit,
    /// Index of the generation with the change. The generation before does not have it.
    pub step: usize,
    /// The effect of the change.
    pub effect: Effect,
    /// The way from a requirement of the source package, or a member of the build group, to what is
    /// missing or in conflict.
    pub path: Vec<Link>,
    /// Whether the path begins with the build group.
    pub in_group: bool,
}

impl FirstCause {
    /// Returns a name that causes share if they are the same change: `libfoo.x86_64 1-1 -> 2-1 @3`.
    /// The last number is the step.
    pub fn id(&self) -> String {
        match &self.culprit {
            Culprit::BuildRequires => format!("build requirements @{}", self.step),
            Culprit::BuildGroup => format!("build group @{}", self.step),
            Culprit::Package(change) => {
                let PackageChange { name, arch, old, new, .. } = &**change;
                let text = |evr: &Option<Evr>, none| evr.as_ref().map_or_else(|| String::from(none), Evr::to_string);
                format!("{name}.{arch} {} -> {} @{}", text(old, "absent"), text(new, "removed"), self.step)
            }
        }
    }
}

/// Returns why a source package does not resolve in the last of `generations` although it did in
/// generation `resolved`. The first cause comes first; the others follow in the order of the
/// BuildRequires. Within one BuildRequires, what was taken away comes before what is newly
/// required.
///
/// `requires` are the BuildRequires in each generation. `closure` are the packages the source
/// package had in generation `resolved`. The caller has made sure that it resolved there and does
/// not resolve in the last generation. An empty answer means "not narrowed down" (see the module).
/// The result is deterministic.
///
/// Each cause has a date: the first generation since which its fact has held without a break. Cost:
/// the packages between the source package and what is missing that cannot be installed, times the
/// generations. The search has a bound.
///
/// # Panics
/// Panics if `requires` has fewer entries than `generations`, or if `resolved` is not below the
/// last generation.
pub fn first_causes(
    generations: &[Generation<'_>],
    requires: &[&[String]],
    resolved: usize,
    closure: &[PkgId],
) -> Vec<FirstCause> {
    assert!(resolved + 1 < generations.len(), "a later generation has to be there");
    assert!(requires.len() >= generations.len(), "every generation has its requirements");
    Walk::new(generations, requires, resolved, closure).run()
}

/// Groups source packages by their first cause. Each group has its cause and the members' positions
/// in `causes`. The largest group comes first. Source packages without a cause are left out.
pub fn group_by_cause<'c>(causes: &[&'c [FirstCause]]) -> Vec<(&'c FirstCause, Vec<usize>)> {
    let mut groups: BTreeMap<String, (&'c FirstCause, Vec<usize>)> = BTreeMap::new();
    for (index, causes) in causes.iter().enumerate() {
        if let Some(first) = causes.first() {
            groups.entry(first.id()).or_insert_with(|| (first, Vec::new())).1.push(index);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    groups
}
