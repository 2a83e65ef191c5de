//! Reads the source packages of a repository that contains some. One file has the requirements of
//! all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bring::{Bring, quiet};
use super::download::blocking;
use super::error::FetchError;
use super::mirror::{Mirror, MirroredRepo};
use crate::model::{Name, Nvr};
use crate::repodata::{RepoContent, RepoDir, SourcePackage};

/// Build requirements from primary metadata. Primary does not say where a source package may be
/// built (`BuildArch`, `ExclusiveArch`, `ExcludeArch`), so this is not yet a [`SourcePackage`].
/// Otherwise a package for another architecture would look broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceRequires {
    /// Name, version, release.
    pub nvr: Nvr,
    /// Epoch, if not 0.
    pub epoch: Option<u32>,
    /// Build requirements, as in [`SourcePackage`].
    pub requires: Vec<String>,
    /// Build conflicts, as in [`SourcePackage`].
    pub conflicts: Vec<String>,
}

impl SourceRequires {
    /// Adds the architectures, known from elsewhere (the hub's `getRPMHeaders` of `BUILDARCHS`,
    /// `EXCLUSIVEARCH`, `EXCLUDEARCH`).
    pub fn with_arches(self, buildarchs: Vec<Name>, exclusivearch: Vec<Name>, excludearch: Vec<Name>) -> SourcePackage {
        let Self { nvr, epoch, requires, conflicts } = self;
        let conflicts = Some(conflicts);
        SourcePackage { nvr, epoch, requires, conflicts, buildarchs, exclusivearch, excludearch, made_on: None }
    }
}

impl Mirror {
    /// Returns build requirements of the source packages in a repository, by NVR. Returns `None` if
    /// the repository was made without source packages, which is usual. The options in `repo.json`
    /// tell: `src` and `separate_src`.
    ///
    /// # Errors
    /// Fails in the same cases as [`Mirror::fetch`].
    pub async fn from_source_repo(
        &self,
        repo: &MirroredRepo,
    ) -> Result<Option<BTreeMap<Nvr, SourceRequires>>, FetchError> {
        let dir = if repo.opts.iter().any(|o| o == "separate_src") {
            self.fetch_sources(repo).await?;
            repo.dir.join("src")
        } else if repo.opts.iter().any(|o| o == "src") {
            // Every architecture has all source packages.
            let Some(arch) = repo.arches.first() else { return Ok(Some(BTreeMap::new())) };
            repo.dir.join(arch.as_str())
        } else {
            return Ok(None);
        };
        Ok(Some(blocking(move || RepoDir::open(dir)?.packages().map(|content| sources(&content))).await?))
    }

    /// Fetches index and primary of the source packages, to the same place as on the hub.
    async fn fetch_sources(&self, repo: &MirroredRepo) -> Result<(), FetchError> {
        let key = (repo.tag.clone(), repo.id);
        let turn = self.inner.slots.turn(&key).await?;
        let inner = &*self.inner;
        let bring = Bring::new(&inner.files, &inner.cache, &key, repo.dir.clone(), &quiet)?;
        if let Err(error) = bring.sources().await {
            return Err(turn.failed(error));
        }
        let (cache, dir) = (Arc::clone(&inner.cache), repo.dir.clone());
        blocking(move || cache.learn(&dir)).await;
        Ok(())
    }
}

/// Returns the source packages of our own hub. Those of external repositories are not its sources.
fn sources(content: &RepoContent) -> BTreeMap<Nvr, SourceRequires> {
    let own = content.packages().iter().filter(|p| p.is_source() && !p.is_external());
    own.map(|package| {
        let (version, release) = (package.evr.version.clone(), package.evr.release.clone());
        let nvr = Nvr { name: package.name.clone(), version, release };
        let (requires, conflicts) = (content.build_requires(package), content.build_conflicts(package));
        (nvr.clone(), SourceRequires { nvr, epoch: package.evr.epoch, requires, conflicts })
    })
    .collect()
}
