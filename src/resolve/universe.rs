//! One repository, or several in order, for one architecture, ready for resolution.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::error::ResolveError;
use super::hidden::Hidden;
use super::priority::Priority;
use crate::model::Nevra;
use crate::repodata::{Dependency, Package, RepoContent, Rich};

/// Number of a package inside one [`Universe`]: its position in `primary.xml`, after the packages
/// of the repositories before. Two packages with the same NEVRA have different numbers. A
/// repository merged in mode `simple` has such packages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PkgId(pub u32);

impl PkgId {
    /// Returns the number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("Universe::load has checked the number of packages"))
    }
}

/// One repository for one architecture. It is immutable and shared between threads. Each thread
/// makes its own [`super::Resolver`].
#[derive(Debug)]
pub struct Universe {
    content: Arc<RepoContent>,
    arch: SmolStr,
    /// Paths that dependencies of the repository name. The owners of these files count as
    /// providers.
    file_dependencies: BTreeSet<SmolStr>,
    /// Owners of files, filled in on first use: build requirements seldom name a file that no
    /// dependency names.
    owners: OnceLock<FxHashMap<SmolStr, Vec<PkgId>>>,
    /// For each package, a number that packages of the same name and architecture share.
    kin: Vec<u32>,
    /// Priority of each repository as libsolv has it: the higher number wins.
    priorities: Vec<i32>,
    weak_deps: bool,
    hidden: Hidden,
}

impl Universe {
    /// Prepares a repository, or several merged ones, all with the default priority. `arch` is that
    /// of the repository (`x86_64`, `aarch64`, `i686`, …). Packages of other architectures are
    /// installable if libsolv's policy for `arch` allows it (on `x86_64` also `i686` and `noarch`).
    ///
    /// # Errors
    /// Returns [`ResolveError::TooMany`] if libsolv cannot number all packages. Returns
    /// [`ResolveError::Nul`] if a name, version or dependency contains a NUL byte.
    /// Cost: O(packages + dependencies).
    pub fn load(content: Arc<RepoContent>, arch: &str) -> Result<Self, ResolveError> {
        // Count every package twice: libsolv gets an installed copy of the packages of the build
        // group.
        i32::try_from(content.packages().len().saturating_mul(2) + 2).map_err(|_| ResolveError::TooMany)?;
        let nul = |text: &str| text.as_bytes().contains(&0);
        let nul_in = |d: &Dependency| {
            nul(&d.name)
                || d.relation
                    .as_ref()
                    .is_some_and(|r| nul(&r.evr.version) || r.evr.release.as_ref().is_some_and(|release| nul(release)))
        };
        let texts = |p: &Package| [&p.name, &p.arch, &p.evr.version, &p.evr.release].into_iter().any(|text| nul(text));
        if content.packages().iter().any(texts) || content.dependencies().any(nul_in) {
            return Err(ResolveError::Nul);
        }
        let mut file_dependencies = BTreeSet::new();
        let mut named = vec![false; content.dependencies().len()];
        for id in content.packages().iter().flat_map(Package::dependencies) {
            named[id.index()] = true;
        }
        for (dependency, _) in content.dependencies().zip(&named).filter(|(_, named)| **named) {
            if !dependency.is_rich() {
                file_dependencies.extend(dependency.file().map(SmolStr::new));
            } else if let Ok(rich) = Rich::parse(&dependency.name) {
                rich.for_each_plain(&mut |plain| file_dependencies.extend(plain.file().map(SmolStr::new)));
            }
        }
        let mut families: FxHashMap<(&str, &str), u32> = FxHashMap::default();
        let mut kin = Vec::with_capacity(content.packages().len());
        for package in content.packages() {
            let next = PkgId::from_index(families.len()).0;
            kin.push(*families.entry((package.name.as_str(), package.arch.as_str())).or_insert(next));
        }
        let priorities = vec![Priority::default().for_libsolv(); content.repositories().len()];
        Ok(Self {
            arch: arch.into(),
            file_dependencies,
            owners: OnceLock::new(),
            kin,
            priorities,
            content,
            weak_deps: false,
            hidden: Hidden::default(),
        })
    }

    /// Sets the priorities of the repositories, in their order. Repositories beyond the end of the
    /// list keep the default.
    #[must_use]
    pub fn with_priorities(mut self, priorities: &[Priority]) -> Self {
        for (own, priority) in self.priorities.iter_mut().zip(priorities) {
            *own = priority.for_libsolv();
        }
        self
    }

    /// Sets whether weak dependencies (`Recommends`, `Supplements`) of installed packages are
    /// installed, too, if possible (dnf's `install_weak_deps`). The default is off, as in a
    /// buildroot. If it is on, libsolv decides everything
    /// ([`Handover::WeakDeps`](super::Handover::WeakDeps)).
    #[must_use]
    pub fn with_weak_deps(mut self, installed: bool) -> Self {
        self.weak_deps = installed;
        self
    }

    /// Returns whether weak dependencies are installed, too.
    pub(super) fn has_weak_deps(&self) -> bool {
        self.weak_deps
    }

    /// Returns the content of the repository.
    pub fn content(&self) -> &RepoContent {
        &self.content
    }

    /// Returns the architecture.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// Returns the number of packages. Every [`PkgId`] is below it.
    pub fn len(&self) -> usize {
        self.content.packages().len()
    }

    /// Checks whether there are no packages at all, as in Koji's `EMPTY_REPO`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns one package.
    ///
    /// # Panics
    /// Panics if the id belongs to another, larger universe.
    pub fn package(&self, id: PkgId) -> &Package {
        &self.content.packages()[id.index()]
    }

    /// Returns all packages in file order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = PkgId> {
        (0..self.len()).map(PkgId::from_index)
    }

    /// Returns name, version and architecture of a package.
    pub fn nevra(&self, id: PkgId) -> Nevra {
        self.package(id).nevra()
    }

    /// Returns a closure as `name-epoch:version-release.arch`, sorted bytewise. This is the form
    /// for display and digests.
    pub fn names(&self, closure: &[PkgId]) -> Vec<String> {
        let mut names: Vec<String> = closure.iter().map(|&id| self.nevra(id).to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Returns the priority of a package's repository as libsolv has it: the higher number wins.
    pub(super) fn priority(&self, index: usize) -> i32 {
        self.priorities[self.content.repository_of(index)]
    }

    /// Returns the number of packages and libsolv's priority of each repository, in order.
    pub(super) fn repositories(&self) -> impl Iterator<Item = (usize, i32)> {
        self.content.repositories().map(|packages| packages.len()).zip(self.priorities.iter().copied())
    }

    /// Returns the packages that own a path, ascending. Only the paths of primary and those given
    /// to [`crate::repodata::RepoDir::load`] are known.
    pub(super) fn owners(&self, path: &str) -> &[PkgId] {
        let owners = self.owners.get_or_init(|| {
            let mut owners: FxHashMap<SmolStr, Vec<PkgId>> = FxHashMap::default();
            for (index, package) in self.content.packages().iter().enumerate() {
                for path in &package.files {
                    owners.entry(path.clone()).or_default().push(PkgId::from_index(index));
                }
            }
            owners
        });
        owners.get(path).map_or(&[], Vec::as_slice)
    }

    /// Returns which packages would provide something if modules did not hide them: "filtered by
    /// modules: …". Returns `None` if there is no such package.
    pub(super) fn hidden(&self, dependency: &Dependency) -> Option<String> {
        self.hidden.text(dependency, &self.content)
    }

    /// Checks whether a dependency of the repository names this path.
    pub(super) fn is_file_dependency(&self, path: &str) -> bool {
        self.file_dependencies.contains(path)
    }

    /// Returns a number that all packages of the same name and architecture share.
    pub(super) fn kin(&self, id: PkgId) -> u32 {
        self.kin[id.index()]
    }
}
