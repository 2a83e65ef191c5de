//! Which change of a repository took the buildroot of a source package away.
//!
//! That a source package cannot be resolved follows from facts of the repository: this requires that, nothing else
//! provides it, these two conflict. Where the same source package did resolve in an earlier generation, at least one of
//! the facts did not hold there. Those that did not are the causes, each the change of one package from one generation
//! to the next. So a cause is never a guess from names or from what changed at the same time: it is a fact that holds
//! now and did not hold when the package last resolved.
//!
//! Facts that need nothing but a look at who provides what are found by following dead packages (what can never be
//! installed, because what it requires cannot); conflicts by [`Native::refute`](super::native::Native::refute). Where
//! the solver had to try to find out that there is no answer, no cause is named: an empty list says "not narrowed
//! down".
//!
//! Not looked at: weak dependencies, which never make a source package unresolvable, and the texts of libsolv.

mod fact;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use self::fact::Key;
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
    families: FxHashMap<Key, Vec<PkgId>>,
    /// By name of the source package what was built from it.
    sources: FxHashMap<SmolStr, Vec<PkgId>>,
}

impl<'p> Generation<'p> {
    /// `label` is what people call it. Cost: O(packages).
    pub fn new(label: impl Into<String>, prepared: &'p Prepared<'p>) -> Self {
        let mut families: FxHashMap<Key, Vec<PkgId>> = FxHashMap::default();
        let mut sources: FxHashMap<SmolStr, Vec<PkgId>> = FxHashMap::default();
        for (index, package) in prepared.universe().content().packages().iter().enumerate() {
            let id = PkgId::from_index(index);
            if prepared.native().is_installable(id) {
                families.entry(Key::of(package)).or_default().push(id);
            }
            if let Some(nvr) = built_from(package) {
                sources.entry(nvr.name.as_str().into()).or_default().push(id);
            }
        }
        Self { label: label.into(), prepared, families, sources }
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The prepared repository.
    pub fn prepared(&self) -> &'p Prepared<'p> {
        self.prepared
    }

    /// The packages that are the same as one of another generation: of its name and architecture; where there are none,
    /// those that turned from or to `noarch`.
    fn family(&self, key: &Key) -> &[PkgId] {
        let of = |key: &Key| self.families.get(key).map_or(&[][..], Vec::as_slice);
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

    /// Of a family the newest version.
    fn newest(&self, key: &Key) -> Option<PkgId> {
        let universe = self.prepared.universe();
        self.family(key).iter().copied().max_by(|&a, &b| universe.package(a).evr.cmp(&universe.package(b).evr))
    }

    fn key(&self, id: PkgId) -> Key {
        Key::of(self.prepared.universe().package(id))
    }

    /// What provides a requirement, dead packages too. `None`: the system does.
    fn providers(&self, unit: &Rich, of_source: bool) -> Option<Vec<PkgId>> {
        let found = self.prepared.native().providers(unit)?;
        if let (true, true, Rich::Plain(plain)) = (found.is_empty(), of_source, unit)
            && let Some(path) = plain.path()
        {
            return Some(owners(path, self.prepared.native(), self.prepared.universe()));
        }
        Some(found)
    }

    /// The newest source package of a name that something here was built from.
    fn source(&self, name: &str) -> Option<Nvr> {
        let built = self.sources.get(name)?.iter();
        built.filter_map(|&id| built_from(self.prepared.universe().package(id))).max_by(|a, b| evr(a).cmp(&evr(b)))
    }

    /// Names of the packages built from a source package of a name that were not there before, sorted.
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
    /// Its name.
    pub name: SmolStr,
    /// Its architecture.
    pub arch: SmolStr,
    /// In the generation before; `None`: was not there.
    pub old: Option<Evr>,
    /// In the generation of the change; `None`: is not there any more. Equal to `old` where the metadata changed
    /// without a new version.
    pub new: Option<Evr>,
    /// The source package it is built from, before and, where something of it is left, after.
    pub source: Option<(Nvr, Option<Nvr>)>,
    /// Of a package that was removed: what that source package builds now and did not before, sorted; the name may have
    /// changed with the interface.
    pub successors: Vec<SmolStr>,
}

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Culprit {
    /// A package of the repository.
    Package(Box<PackageChange>),
    /// The source package itself: what it asks for.
    BuildRequires,
    /// The build group: what is in it.
    BuildGroup,
}

/// What the change did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// This was provided and is not any more.
    Lost {
        /// The requirement.
        requirement: String,
    },
    /// This is required and was not before; nothing that can be installed provides it.
    Requires {
        /// The requirement.
        requirement: String,
    },
    /// This member of the build group is provided and was not before, when it was passed over.
    Provides {
        /// The member.
        requirement: String,
    },
    /// It may not be installed together with another package any more.
    Conflict {
        /// The other one.
        with: Nevra,
    },
}

/// One step on the way from the source package to what is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// What is required.
    pub requirement: String,
    /// The package that would fulfil it; `None`: nothing does. Of the last generation.
    pub package: Option<Nevra>,
}

/// A change that made a source package unresolvable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirstCause {
    /// What changed.
    pub culprit: Culprit,
    /// The generation in which it is as it is now, as an index; in the one before it was not.
    pub step: usize,
    /// What the change did.
    pub effect: Effect,
    /// From a requirement of the source package, or a member of the build group, to what is missing or in conflict.
    pub path: Vec<Link>,
    /// The path begins with the build group.
    pub in_group: bool,
}

impl FirstCause {
    /// A name that causes share when they are the same change: `libfoo.x86_64 1-1 -> 2-1 @3`, the number being the
    /// step.
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

/// Why a source package does not resolve in the last of `generations` although it did in generation `resolved`: the
/// first cause, then the others, in the order of the BuildRequires; of one BuildRequires what was taken away comes
/// before what is asked for in addition.
///
/// `requires` are its BuildRequires per generation, `closure` the packages it had in generation `resolved`. The caller
/// has seen to it that it resolved there and does not in the last. An empty answer: not narrowed down (see the module).
/// Deterministic.
///
/// Each cause is dated: the generation since which its fact has held without a break. Cost: the packages that cannot be
/// installed between the source package and what is missing, times the generations; bounded.
///
/// # Panics
/// When `requires` has fewer entries than `generations`, or `resolved` is not below the last.
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

/// Groups source packages by their first cause: each group its cause and the members' positions in `causes`, the
/// largest group first. Those without a cause are left out.
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
