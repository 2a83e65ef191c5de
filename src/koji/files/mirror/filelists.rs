//! Fetches full file lists. They are many times larger than primary, so they are fetched only where
//! [`RepoDir::load`] would read them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Mirror, MirroredRepo};
use crate::koji::files::bring::{Bring, quiet};
use crate::koji::files::download::blocking;
use crate::koji::files::error::FetchError;
use crate::repodata::{RepoContent, RepoDir, beyond_primary};

/// Maximum number of primaries for which it is remembered whether they need file lists.
const REMEMBERED_MAX: usize = 1000;

/// Maximum number of parsed primaries kept until they are taken. Each has some hundred megabytes
/// for a distribution.
const PARSED_MAX: usize = 2;

/// Parsed primaries by checksum, oldest first.
pub(super) type Parsed = VecDeque<(String, RepoContent)>;

/// For each checksum of a primary: do its own dependencies name paths that it lacks?
pub(super) type Needs = BTreeMap<String, bool>;

impl Mirror {
    /// Fetches the full file lists of an architecture if resolving will read them. This is the case
    /// if a build requirement, or a dependency in the repository itself, names a path that primary
    /// lacks. `requirements` are those of all source packages to be resolved. Store them first,
    /// then call this, then resolve. Returns whether the file lists are there.
    ///
    /// Cost: parses each new primary once, unless a requirement or an earlier generation has
    /// already decided.
    ///
    /// # Errors
    /// Fails in the same cases as [`Mirror::fetch`].
    pub async fn ensure_filelists<'a>(
        &self,
        repo: &MirroredRepo,
        arch: &str,
        requirements: impl IntoIterator<Item = &'a str>,
    ) -> Result<bool, FetchError> {
        let dir = self.open(repo, arch).await?;
        let Some(entry) = dir.repomd().find("filelists") else { return Ok(false) };
        let here = repo.dir.join(arch).join(&entry.href).is_file();
        if here || !beyond_primary(&[], requirements).is_empty() || self.needed_by_itself(dir).await? {
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
        let content = blocking(move || dir.packages()).await?;
        let (content, needed) = blocking(move || {
            let parts = [content];
            let needed = !beyond_primary(&parts, []).is_empty();
            (parts, needed)
        })
        .await;
        {
            let mut parsed = self.inner.parsed.lock().expect("no thread panics while it holds the lock");
            parsed.extend(content.into_iter().map(|c| (primary.clone(), c)));
            while parsed.len() > PARSED_MAX {
                parsed.pop_front();
            }
        }
        let mut remembered = remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(primary, needed);
        Ok(needed)
    }

    /// Returns the content that was parsed to find out whether file lists are needed, by the
    /// checksum of primary. Resolving then need not parse it again. The content is large, so it is
    /// handed out only once. [`RepoDir::complete`] adds the rest.
    pub fn take_parsed(&self, primary: &str) -> Option<RepoContent> {
        let mut parsed = self.inner.parsed.lock().expect("no thread panics while it holds the lock");
        let at = parsed.iter().position(|(checksum, _)| checksum == primary)?;
        parsed.remove(at).map(|(_, content)| content)
    }

    /// Drops parsed content that nobody took.
    pub fn drop_parsed(&self) {
        let left = std::mem::take(&mut *self.inner.parsed.lock().expect("no thread panics while it holds the lock"));
        drop(left);
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
