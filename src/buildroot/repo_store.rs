//! The interface of stores that hold repositories and the requirements of source packages.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::Event;
use crate::model::{Hub, Name, Nvr, RepoId};
use crate::repodata::{KnownPackages, SourcePackage};

/// One repository in a store.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredRepo {
    /// Directory of the repository. The metadata of an architecture are in `dir/ARCH/repodata`.
    pub dir: PathBuf,
    /// The Koji event whose content the repository has.
    pub create_event: Option<i64>,
    /// Architectures that have metadata, sorted. The list is empty for a tag without architectures:
    /// such a repository is ready, but nothing can be built from it.
    pub arches: Vec<Name>,
}

/// A directory of repositories with Koji's layout.
pub trait RepoStore: Debug + Send + Sync + 'static {
    /// Returns the directory. We remove it from reasons, so that the same store elsewhere gives the
    /// same log.
    fn dir(&self) -> &Path;

    /// Returns a repository, or `None` if the store does not hold it.
    ///
    /// # Errors
    /// Returns a text about what cannot be read.
    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> Result<Option<StoredRepo>, String>;

    /// Returns the requirements of a source package, if known.
    fn source(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>>;

    /// Returns configuration of tags and targets, as far as the store knows it.
    fn observations(&self) -> Vec<Event>;

    /// Returns the packages that were already read. The resolver adds those that it reads.
    fn known_packages(&self) -> KnownPackages;
}
