//! What a repository, or several in order, holds: packages in file order, dependencies interned.

use std::ops::Range;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use smol_str::SmolStr;

use super::comps::Groups;
use super::dependency::Dependency;
use super::error::RepodataError;
use super::limits::Limits;
use super::modules::ModuleFilter;
use super::oddity::{Oddities, Oddity};
use crate::model::{Evr, Nevra};

/// Number of a dependency inside one [`RepoContent`]. Numbers are given in order of first appearance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DepId(pub u32);

impl DepId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One `Requires`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// What.
    pub dep: DepId,
    /// Needed before installation, for a scriptlet (`Requires(pre)`).
    pub pre: bool,
}

/// One package of `primary.xml`, as far as resolution needs it.
#[derive(Clone, Debug)]
pub struct Package {
    /// Package name.
    pub name: SmolStr,
    /// Epoch, version, release.
    pub evr: Evr,
    /// Architecture; `src` and `nosrc` for source packages.
    pub arch: SmolStr,
    /// Checksum of the package file: its key in `filelists.xml`.
    pub pkgid: SmolStr,
    /// Capabilities. A package need not list itself.
    pub provides: Box<[DepId]>,
    /// For a source package: the BuildRequires.
    pub requires: Box<[Requirement]>,
    /// Must not be installed beside this one.
    pub conflicts: Box<[DepId]>,
    /// Replaced by this one.
    pub obsoletes: Box<[DepId]>,
    /// Weak, forward.
    pub recommends: Box<[DepId]>,
    /// Weaker, forward.
    pub suggests: Box<[DepId]>,
    /// Weak, backward.
    pub supplements: Box<[DepId]>,
    /// Weaker, backward.
    pub enhances: Box<[DepId]>,
    /// Paths: those listed in primary, and of the full list those that some dependency names.
    pub files: Vec<SmolStr>,
    /// File name of the source package it was built from.
    pub sourcerpm: Option<SmolStr>,
    /// Relative path or URL of the package file.
    pub location: SmolStr,
    /// `xml:base` of the location: set for packages that come from an external repository.
    pub base: Option<SmolStr>,
}

impl Package {
    /// Name, version and architecture.
    pub fn nevra(&self) -> Nevra {
        Nevra { name: self.name.clone(), evr: self.evr.clone(), arch: self.arch.clone() }
    }

    /// Comes from an external repository, not from Koji's own store
    /// (`mergerepo_c` writes `xml:base` for those; nothing else in a Koji repository tells).
    pub fn is_external(&self) -> bool {
        self.base.is_some()
    }

    /// A source package, which is never installed.
    pub fn is_source(&self) -> bool {
        matches!(self.arch.as_str(), "src" | "nosrc")
    }

    /// All dependencies in which a file path makes rpm look for its owner: all but provides.
    pub fn dependencies(&self) -> impl Iterator<Item = DepId> {
        let rest =
            [&self.obsoletes, &self.conflicts, &self.recommends, &self.suggests, &self.supplements, &self.enhances];
        self.requires.iter().map(|r| r.dep).chain(rest.into_iter().flat_map(|list| list.iter().copied()))
    }
}

/// One repository, read, or several that were merged.
#[derive(Clone, Debug, Default)]
pub struct RepoContent {
    packages: Vec<Package>,
    deps: IndexSet<Dependency, FxBuildHasher>,
    names: IndexSet<SmolStr, FxBuildHasher>,
    /// Where the packages of the second repository and of those after it begin.
    starts: Vec<usize>,
    /// Package groups, where the repository has any.
    pub groups: Option<Groups>,
    /// Why groups a repository has could not be read. Only who has no others misses them.
    pub group_problems: Vec<String>,
    /// What was passed over in its packages.
    pub oddities: Oddities,
    /// Packages that were left out because their module's stream is not active, or because an active one has their
    /// name: what each is, and what it provides, its files included as far as they are known.
    pub filtered: Vec<(Nevra, Vec<Dependency>)>,
    /// Documents about modules that could not be read.
    pub module_problems: Vec<String>,
}

impl RepoContent {
    /// Several repositories as one, their packages in the order of the repositories, then of the files: the order in
    /// which dnf's libsolv sees them. Nothing is left out: a package that two of them have is there twice. Groups with
    /// the same id are joined.
    ///
    /// Each comes with its name, for errors. Cost: O(packages + dependencies) of all but the first, which is taken as
    /// it is.
    ///
    /// # Errors
    /// Rejected: more repositories, or packages in all of them, than [`Limits`] lets through.
    pub fn merge(parts: impl IntoIterator<Item = (String, Self)>, limits: &Limits) -> Result<Self, RepodataError> {
        let mut merged: Option<Self> = None;
        for (repository, part) in parts {
            match &mut merged {
                None => merged = Some(part),
                Some(merged) => {
                    let too_many = |problem| RepodataError::Merge { repository, problem };
                    merged.add_repository(part, limits).map_err(too_many)?;
                }
            }
        }
        Ok(merged.unwrap_or_default())
    }

    fn add_repository(&mut self, mut other: Self, limits: &Limits) -> Result<(), String> {
        if self.repositories().len() + other.repositories().len() > limits.repositories {
            return Err(format!("these are more than {} repositories", limits.repositories));
        }
        if self.packages.len().saturating_add(other.packages.len()) > limits.packages {
            return Err(format!("they have more than {} packages together", limits.packages));
        }
        let before = self.packages.len();
        let starts = std::mem::take(&mut other.starts);
        self.starts.extend(std::iter::once(0).chain(starts).map(|start| before + start));
        self.group_problems.append(&mut other.group_problems);
        self.filtered.append(&mut other.filtered);
        self.module_problems.append(&mut other.module_problems);
        match (&mut self.groups, other.groups.take()) {
            (Some(own), Some(groups)) => own.join(groups),
            (own @ None, groups) => *own = groups,
            (Some(_), None) => {}
        }
        self.append(other).ok_or_else(|| "they have too many different dependencies together".to_owned())
    }

    /// Which packages are of which repository, in order: one range unless this was merged.
    pub fn repositories(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let start = |i: usize| i.checked_sub(1).map_or(0, |i| self.starts[i]);
        (0..self.starts.len() + 1).map(move |i| start(i)..self.starts.get(i).copied().unwrap_or(self.packages.len()))
    }

    /// The repository a package is of, counted from 0.
    pub fn repository_of(&self, package: usize) -> usize {
        self.starts.partition_point(|&start| start <= package)
    }

    /// Packages in the order of `primary.xml`.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// All distinct dependencies; the position is the [`DepId`].
    pub fn dependencies(&self) -> impl ExactSizeIterator<Item = &Dependency> {
        self.deps.iter()
    }

    /// One dependency.
    ///
    /// # Panics
    /// When the id is not of this repository.
    pub fn dependency(&self, id: DepId) -> &Dependency {
        self.deps.get_index(id.index()).expect("a DepId is used with the repository that gave it")
    }

    /// The BuildRequires of a source package as strings, in file order, without rpm's own (`rpmlib(…)`).
    pub fn build_requires(&self, package: &Package) -> Vec<String> {
        let all = package.requires.iter().map(|r| self.dependency(r.dep));
        all.filter(|d| !d.name.starts_with("rpmlib(")).map(ToString::to_string).collect()
    }

    /// The BuildConflicts of a source package as strings, in file order.
    pub fn build_conflicts(&self, package: &Package) -> Vec<String> {
        package.conflicts.iter().map(|dep| self.dependency(*dep).to_string()).collect()
    }

    /// Leaves out the packages that modules hide. Only before this is merged with others.
    pub(super) fn filter(&mut self, filter: &ModuleFilter) {
        let packages = std::mem::take(&mut self.packages);
        for package in packages {
            let nevra = package.nevra();
            let provides = || package.provides.iter().map(|dep| self.dependency(*dep));
            if filter.hides(&nevra.to_string(), &package.name, provides().map(|d| d.name.as_str())) {
                let files = package.files.iter().map(|path| Dependency { name: path.clone(), relation: None });
                let provides = provides().cloned().chain(files).collect();
                self.filtered.push((nevra, provides));
                self.oddities.count(Oddity::PackageHiddenByModules);
            } else {
                self.packages.push(package);
            }
        }
    }

    pub(super) fn push(&mut self, package: Package) {
        self.packages.push(package);
    }

    pub(super) fn packages_mut(&mut self) -> &mut [Package] {
        &mut self.packages
    }

    /// Adds the packages of another part of the same repository after our own, with their dependencies. `None` when
    /// there are too many of these.
    pub(super) fn append(&mut self, part: Self) -> Option<()> {
        self.oddities.append(part.oddities);
        let mut numbers = Vec::with_capacity(part.deps.len());
        for dependency in part.deps {
            numbers.push(self.intern(dependency)?);
        }
        self.packages.reserve(part.packages.len());
        for mut package in part.packages {
            let lists = [
                &mut package.provides,
                &mut package.conflicts,
                &mut package.obsoletes,
                &mut package.recommends,
                &mut package.suggests,
                &mut package.supplements,
                &mut package.enhances,
            ];
            for dep in lists.into_iter().flatten() {
                *dep = numbers[dep.index()];
            }
            for requirement in &mut package.requires {
                requirement.dep = numbers[requirement.dep.index()];
            }
            self.packages.push(package);
        }
        Some(())
    }

    /// `None` when there are 2³² of them, which [`super::Limits`] prevents.
    pub(super) fn intern(&mut self, dependency: Dependency) -> Option<DepId> {
        let (index, _) = self.deps.insert_full(dependency);
        u32::try_from(index).ok().map(DepId)
    }

    /// The same text again, sharing its memory.
    pub(super) fn share(&mut self, text: &str) -> SmolStr {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let new = SmolStr::new(text);
        if new.is_heap_allocated() {
            self.names.insert(new.clone());
        }
        new
    }

    /// Forgets what is needed while reading only.
    pub(super) fn finish(&mut self) {
        self.names = IndexSet::default();
        self.packages.shrink_to_fit();
    }
}
