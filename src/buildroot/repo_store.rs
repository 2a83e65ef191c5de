//! Where repositories and what their source packages need are found.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::Event;
use crate::model::{Hub, Name, Nvr, RepoId};
use crate::repodata::{RepoContent, SourcePackage};

/// A generation of a repository in a store.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredRepo {
    /// Where it lies; the metadata of an architecture are in `dir/ARCH/repodata`.
    pub dir: PathBuf,
    /// The Koji event whose content it has.
    pub create_event: Option<i64>,
    /// Architectures that have metadata, sorted. Empty for a tag without architectures: such a repository is ready, but
    /// nothing can be built from it.
    pub arches: Vec<Name>,
}

/// A directory of repositories, laid out as Koji does.
pub trait RepoStore: Debug + Send + Sync + 'static {
    /// The directory; it is left out of reasons, so that the same store elsewhere gives the same log.
    fn dir(&self) -> &Path;

    /// A repository; `None`: the store does not hold it.
    ///
    /// # Errors
    /// In words what cannot be read.
    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> Result<Option<StoredRepo>, String>;

    /// What a source package needs, where that is known.
    fn source(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>>;

    /// Configuration of tags and targets, as far as the store knows it.
    fn observations(&self) -> Vec<Event>;

    /// Packages of the metadata with this checksum of primary, where they were parsed a moment ago. They are given
    /// away.
    fn take_parsed(&self, primary: &str) -> Option<RepoContent>;
}
