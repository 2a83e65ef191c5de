//! Stores of repositories for resolving: an archive that stands in for a hub, and the cache of a
//! mirror.

use std::path::Path;
use std::sync::Arc;

use crate::buildroot::{RepoStore, StoredRepo};
use crate::event::Event;
use crate::koji::Archive;
use crate::koji::files::Mirror;
use crate::model::causes::with_causes;
use crate::model::{Hub, Nvr, RepoId};
use crate::repodata::{KnownPackages, Limits, SourcePackage};

impl RepoStore for Archive {
    fn dir(&self) -> &Path {
        Self::dir(self)
    }

    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> Result<Option<StoredRepo>, String> {
        let found = Self::repo(self, hub, tag, repo).map_err(|e| with_causes(&e))?;
        Ok(found.map(|r| StoredRepo { dir: r.dir, create_event: r.create_event, arches: r.arches }))
    }

    fn source(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>> {
        Self::source(self, nvr)
    }

    fn observations(&self) -> Vec<Event> {
        Self::observations(self)
    }

    fn known_packages(&self) -> KnownPackages {
        KnownPackages::new(Limits::default(), rand::random())
    }
}

/// The cache of a mirror. The mirror has already read some files to decide what to fetch. They are
/// not read again.
#[derive(Debug)]
pub struct Mirrored {
    /// The cache, which is laid out like an archive.
    pub archive: Archive,
    /// The mirror that fills the cache.
    pub mirror: Mirror,
}

impl RepoStore for Mirrored {
    fn dir(&self) -> &Path {
        RepoStore::dir(&self.archive)
    }

    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> Result<Option<StoredRepo>, String> {
        RepoStore::repo(&self.archive, hub, tag, repo)
    }

    fn source(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>> {
        RepoStore::source(&self.archive, nvr)
    }

    fn observations(&self) -> Vec<Event> {
        RepoStore::observations(&self.archive)
    }

    fn known_packages(&self) -> KnownPackages {
        self.mirror.known_packages().clone()
    }
}
