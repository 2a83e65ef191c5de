//! Fetches full file lists. They are many times larger than primary, so they are fetched only where
//! [`RepoDir::load`] would read them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::{Mirror, MirroredRepo};
use crate::koji::files::bring::{Bring, quiet};
use crate::koji::files::download::blocking;
use crate::koji::files::error::FetchError;
use crate::model::Name;
use crate::repodata::{KnownPackages, RepoDir, beyond_primary};

/// Maximum number of primaries for which it is remembered whether they need file lists.
const REMEMBERED_MAX: usize = 1000;

/// For each checksum of a primary: do its own dependencies name paths that it lacks?
pub(super) type Needs = BTreeMap<String, bool>;

impl Mirror {
    /// Fetches the full file lists of each architecture of a generation for which resolving will read
    /// them. This is the case if a build requirement, or a dependency in the repository itself, names
    /// a path that primary lacks. `requirements` are those of all source packages to be resolved.
    /// Store them first, then call this, then resolve. Returns the architectures whose file lists are
    /// there.
    ///
    /// Cost: reads each new primary once, and parses the packages that no earlier one had, unless a
    /// requirement or an earlier generation has already decided. As many architectures at a time as
    /// there are processors.
    ///
    /// # Errors
    /// Fails in the same cases as [`Mirror::fetch`].
    pub async fn ensure_filelists<'a>(
        &self,
        repo: &MirroredRepo,
        requirements: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeSet<Name>, FetchError> {
        let asked = !beyond_primary(&[], requirements).is_empty();
        let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let of = async |arch: Name| Ok::<_, FetchError>(self.ensure(repo, &arch, asked).await?.then_some(arch));
        let all: Vec<_> = repo.arches.iter().map(|arch| of(arch.clone()).boxed()).collect();
        let all = futures_util::stream::iter(all).buffer_unordered(at_once);
        all.try_filter_map(|there| std::future::ready(Ok(there))).try_collect().await
    }

    /// `asked`: a build requirement names a path that primary lacks.
    async fn ensure(&self, repo: &MirroredRepo, arch: &str, asked: bool) -> Result<bool, FetchError> {
        let dir = self.open(repo, arch).await?;
        let Some(entry) = dir.repomd().find("filelists") else { return Ok(false) };
        let here = repo.dir.join(arch).join(&entry.href).is_file();
        if here || asked || self.needed_by_itself(dir).await? {
            self.fetch_filelists(repo, arch).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn open(&self, repo: &MirroredRepo, arch: &str) -> Result<RepoDir, FetchError> {
        let dir = repo.dir.join(arch);
        Ok(blocking(move || RepoDir::open(dir)).await?)
    }

    async fn needed_by_itself(&self, dir: RepoDir) -> Result<bool, FetchError> {
        let primary = dir.primary_checksum().unwrap_or_default();
        let remembered = || self.inner.needs.lock().expect("no thread panics while it holds the lock");
        if let Some(known) = remembered().get(&primary) {
            return Ok(*known);
        }
        let known = self.inner.known.clone();
        let needed = blocking(move || dir.needs_filelists(&known)).await?;
        let mut remembered = remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(primary, needed);
        Ok(needed)
    }

    /// Returns the packages of the repositories that were read. Resolving need not parse them again.
    pub fn known_packages(&self) -> &KnownPackages {
        &self.inner.known
    }

    /// Fetches the full file lists of an architecture, if its index names any and they are not
    /// there.
    ///
    /// # Errors
    /// Fails in the same cases as [`Mirror::fetch`].
    pub async fn fetch_filelists(&self, repo: &MirroredRepo, arch: &str) -> Result<(), FetchError> {
        let dir = self.open(repo, arch).await?;
        let Some(entry) = dir.repomd().find("filelists") else { return Ok(()) };
        let key = (repo.tag.clone(), repo.id);
        let turn = self.inner.slots.turn(&key).await?;
        let inner = &*self.inner;
        let bring = Bring::new(&inner.files, &inner.cache, &key, repo.dir.clone(), &quiet)?;
        if let Err(error) = bring.metadata(arch, entry).await {
            return Err(turn.failed(error));
        }
        let (cache, dir) = (Arc::clone(&inner.cache), repo.dir.clone());
        blocking(move || cache.learn(&dir)).await;
        Ok(())
    }
}
