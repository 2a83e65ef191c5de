//! The content of one repository, or of several merged in order: packages in file order, with
//! interned dependencies.

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

/// Number of a dependency inside one [`RepoContent`]. The numbers follow the order of first
/// appearance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DepId(pub u32);

impl DepId {
    /// Returns the number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One `Requires` of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// The required dependency.
    pub dep: DepId,
    /// Whether it must be installed before the package, for a scriptlet (`Requires(pre)`).
    pub pre: bool,
}

/// One package of `primary.xml`, with the data that resolution needs.
#[derive(Clone, Debug)]
pub struct Package {
    /// Package name.
    pub name: SmolStr,
    /// Epoch, version, release.
    pub evr: Evr,
    /// Architecture; `src` and `nosrc` for source packages.
    pub arch: SmolStr,
    /// Checksum of the package file. `filelists.xml` uses it as the package's key.
    pub pkgid: SmolStr,
    /// Capabilities the package provides. They need not include the package itself.
    pub provides: Box<[DepId]>,
    /// Requirements. For a source package: the BuildRequires.
    pub requires: Box<[Requirement]>,
    /// Packages that must not be installed beside this one.
    pub conflicts: Box<[DepId]>,
    /// Packages that this one replaces.
    pub obsoletes: Box<[DepId]>,
    /// Weak dependencies, forward.
    pub recommends: Box<[DepId]>,
    /// Weaker dependencies, forward.
    pub suggests: Box<[DepId]>,
    /// Weak dependencies, backward.
    pub supplements: Box<[DepId]>,
    /// Weaker dependencies, backward.
    pub enhances: Box<[DepId]>,
    /// File paths: all that primary lists, plus those from the full file list that some dependency
    /// names.
    pub files: Vec<SmolStr>,
    /// File name of the source package that this package was built from.
    pub sourcerpm: Option<SmolStr>,
    /// `xml:base` of the package's location. It is set for packages that come from an external
    /// repository.
    pub base: Option<SmolStr>,
}

impl Package {
    /// Returns name, version and architecture.
    pub fn nevra(&self) -> Nevra {
        Nevra { name: self.name.clone(), evr: self.evr.clone(), arch: self.arch.clone() }
    }

    /// Checks whether the package comes from an external repository and not from Koji's own store.
    /// `mergerepo_c` writes `xml:base` for those packages. Nothing else in a Koji repository tells
    /// them apart.
    pub fn is_external(&self) -> bool {
        self.base.is_some()
    }

    /// Checks whether this is a source package. Source packages are never installed.
    pub fn is_source(&self) -> bool {
        matches!(self.arch.as_str(), "src" | "nosrc")
    }

    /// Replaces the number of every dependency, list by list as `createrepo_c` writes them.
    pub(super) fn renumber(&mut self, mut number: impl FnMut(DepId) -> DepId) {
        self.provides.iter_mut().for_each(|dep| *dep = number(*dep));
        self.requires.iter_mut().for_each(|requirement| requirement.dep = number(requirement.dep));
        let rest = [
            &mut self.conflicts,
            &mut self.obsoletes,
            &mut self.suggests,
            &mut self.enhances,
            &mut self.recommends,
            &mut self.supplements,
        ];
        rest.into_iter().flatten().for_each(|dep| *dep = number(*dep));
    }

    /// Returns the dependencies in which a file path makes rpm look for the file's owner: all but
    /// provides.
    pub fn dependencies(&self) -> impl Iterator<Item = DepId> {
        let rest =
            [&self.obsoletes, &self.conflicts, &self.recommends, &self.suggests, &self.supplements, &self.enhances];
        self.requires.iter().map(|r| r.dep).chain(rest.into_iter().flat_map(|list| list.iter().copied()))
    }
}

/// Dependencies by number. No two are equal.
#[derive(Clone, Debug)]
enum Distinct {
    /// Nobody looks for the number of one. An index would cost more than the list.
    Listed(Vec<Dependency>),
    Indexed(IndexSet<Dependency, FxBuildHasher>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// Iterates over [`Distinct`].
enum Each<'d> {
    Listed(std::slice::Iter<'d, Dependency>),
    Indexed(indexmap::set::Iter<'d, Dependency>),
}

impl<'d> Iterator for Each<'d> {
    type Item = &'d Dependency;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Listed(list) => list.next(),
            Self::Indexed(set) => set.next(),
        }
    }

    // `skip` uses this. Without it, every new package would cost a pass over all dependencies.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        match self {
            Self::Listed(list) => list.nth(n),
            Self::Indexed(set) => set.nth(n),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Listed(list) => list.size_hint(),
            Self::Indexed(set) => set.size_hint(),
        }
    }
}

impl ExactSizeIterator for Each<'_> {}

impl Distinct {
    fn get(&self, index: usize) -> Option<&Dependency> {
        match self {
            Self::Listed(list) => list.get(index),
            Self::Indexed(set) => set.get_index(index),
        }
    }

    /// Adds a dependency that none of the others equals.
    fn push_new(&mut self, dependency: Dependency) -> usize {
        match self {
            Self::Listed(list) => {
                list.push(dependency);
                list.len() - 1
            }
            Self::Indexed(set) => set.insert_full(dependency).0,
        }
    }

    /// Returns the number of a dependency, adding it if it is new. The first call makes an index of
    /// those that are listed.
    fn intern(&mut self, dependency: Dependency) -> usize {
        if let Self::Listed(list) = self {
            *self = Self::Indexed(std::mem::take(list).into_iter().collect());
        }
        self.push_new(dependency)
    }
}

/// The content of one repository, or of several merged ones.
#[derive(Clone, Debug, Default)]
pub struct RepoContent {
    packages: Vec<Package>,
    deps: Distinct,
    names: IndexSet<SmolStr, FxBuildHasher>,
    /// Index of the first package of the second repository and of each later one.
    starts: Vec<usize>,
    /// Package groups, if the repository has any.
    pub groups: Option<Groups>,
    /// Why a repository's groups could not be read. This only matters to a caller that has no other
    /// groups.
    pub group_problems: Vec<String>,
    /// What the reader skipped in the packages.
    pub oddities: Oddities,
    /// Packages that modules hide: their stream is not active, or an active stream has a package of
    /// the same name. Each comes with its provides and its known files.
    pub filtered: Vec<(Nevra, Vec<Dependency>)>,
    /// Why documents about modules could not be read.
    pub module_problems: Vec<String>,
}

impl RepoContent {
    /// Merges several repositories into one. The packages are in the order of the repositories,
    /// then of their files. dnf's libsolv sees the same order. Nothing is left out: a package that
    /// two repositories have appears twice. Groups with the same id are joined.
    ///
    /// Each part comes with its name, for errors. Cost: O(packages + dependencies) of all parts but
    /// the first, which is used unchanged.
    ///
    /// # Errors
    /// Rejected if there are more repositories, or more packages in all of them together, than
    /// [`Limits`] allows.
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

    /// Returns the range of packages of each repository, in order. Content that was not merged has
    /// one range.
    pub fn repositories(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let start = |i: usize| i.checked_sub(1).map_or(0, |i| self.starts[i]);
        (0..self.starts.len() + 1).map(move |i| start(i)..self.starts.get(i).copied().unwrap_or(self.packages.len()))
    }

    /// Returns the number of the repository that a package comes from, counted from 0.
    pub fn repository_of(&self, package: usize) -> usize {
        self.starts.partition_point(|&start| start <= package)
    }

    /// Returns the packages in the order of `primary.xml`.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Returns all distinct dependencies. The position of each is its [`DepId`].
    pub fn dependencies(&self) -> impl ExactSizeIterator<Item = &Dependency> {
        match &self.deps {
            Distinct::Listed(list) => Each::Listed(list.iter()),
            Distinct::Indexed(set) => Each::Indexed(set.iter()),
        }
    }

    /// Returns one dependency.
    ///
    /// # Panics
    /// Panics if the id does not belong to this repository.
    pub fn dependency(&self, id: DepId) -> &Dependency {
        self.deps.get(id.index()).expect("a DepId is used with the repository that gave it")
    }

    /// Returns the BuildRequires of a source package as strings, in file order. Leaves out rpm's
    /// own requirements (`rpmlib(…)`).
    pub fn build_requires(&self, package: &Package) -> Vec<String> {
        let all = package.requires.iter().map(|r| self.dependency(r.dep));
        all.filter(|d| !d.name.starts_with("rpmlib(")).map(ToString::to_string).collect()
    }

    /// Returns the BuildConflicts of a source package as strings, in file order.
    pub fn build_conflicts(&self, package: &Package) -> Vec<String> {
        package.conflicts.iter().map(|dep| self.dependency(*dep).to_string()).collect()
    }

    /// Removes the packages that modules hide. Call this only before the content is merged with
    /// others.
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

    /// Makes empty content with room.
    pub(super) fn with_room(packages: usize, dependencies: usize) -> Self {
        let deps = Distinct::Listed(Vec::with_capacity(dependencies));
        Self { packages: Vec::with_capacity(packages), deps, ..Self::default() }
    }

    pub(super) fn push(&mut self, package: Package) {
        self.packages.push(package);
    }

    pub(super) fn packages_mut(&mut self) -> &mut [Package] {
        &mut self.packages
    }

    /// Appends the packages of `part`, with their dependencies, after our own. `part` is another
    /// piece of the same file or another repository. Returns `None` if there are too many distinct
    /// dependencies.
    pub(super) fn append(&mut self, part: Self) -> Option<()> {
        let mut numbers = Vec::with_capacity(part.dependencies().len());
        self.oddities.append(part.oddities);
        let mut number = |dependency| {
            numbers.push(self.intern(dependency)?);
            Some(())
        };
        match part.deps {
            Distinct::Listed(list) => list.into_iter().try_for_each(&mut number)?,
            Distinct::Indexed(set) => set.into_iter().try_for_each(&mut number)?,
        }
        self.packages.reserve(part.packages.len());
        for mut package in part.packages {
            package.renumber(|dep| numbers[dep.index()]);
            self.packages.push(package);
        }
        Some(())
    }

    /// Returns the number of a dependency, adding it if it is new. Returns `None` at 2³²
    /// dependencies, which [`super::Limits`] prevents.
    pub(super) fn intern(&mut self, dependency: Dependency) -> Option<DepId> {
        u32::try_from(self.deps.intern(dependency)).ok().map(DepId)
    }

    /// Adds a dependency that equals none that is here. Returns `None` in the same case as
    /// [`RepoContent::intern`].
    pub(super) fn add_new(&mut self, dependency: Dependency) -> Option<DepId> {
        u32::try_from(self.deps.push_new(dependency)).ok().map(DepId)
    }

    /// Returns the text. Equal texts share their memory.
    pub(super) fn share(&mut self, text: &str) -> SmolStr {
        if text.len() <= SmolStr::INLINE_CAP {
            return SmolStr::new(text);
        }
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let new = SmolStr::new(text);
        if new.is_heap_allocated() {
            self.names.insert(new.clone());
        }
        new
    }

    /// Makes texts that come later have their own memory.
    pub(super) fn forget_texts(&mut self) {
        self.names = IndexSet::default();
    }

    /// Drops the data that only reading needs.
    pub(super) fn finish(&mut self) {
        self.forget_texts();
        self.packages.shrink_to_fit();
    }
}
