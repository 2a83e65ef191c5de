//! A hub's repositories in a cache directory that is an archive: what [`super::super::Archive`] reads.
//!
//! A generation never changes, so one that is there is whole and right for ever; it appears at once, by a renaming.
//! What is fetched is what is read of it: the index, primary, groups, modules, Koji's own lists; the full file lists
//! only where they are needed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::archive::read_repo;
use super::bring::{Bring, OnProgress};
use super::cache::{Cache, CacheLimits, Evicted, Hold, Key};
use super::download::{Expected, blocking};
use super::error::FetchError;
use super::fetch::Fetcher;
use super::filelists::{Needs, Parsed};
use super::hub_files::{HubFiles, is_what};
use super::place::{HubPath, Place};
use super::slots::Slots;
use crate::model::{Name, RepoId, arch};
use crate::repodata::RepoDir;

/// A cache of a hub's repositories. Clones share it.
#[derive(Clone, Debug)]
pub struct Mirror {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) files: HubFiles,
    pub(super) cache: Arc<Cache>,
    limits: CacheLimits,
    pub(super) slots: Slots<Key>,
    pub(super) needs: Mutex<Needs>,
    pub(super) parsed: Mutex<Parsed>,
}

/// A generation in the cache. As long as this or a clone of it is kept, it stays there.
#[derive(Clone, Debug)]
pub struct MirroredRepo {
    /// Name of the tag.
    pub tag: Name,
    /// The generation.
    pub id: RepoId,
    /// Where it lies, as in an archive.
    pub dir: PathBuf,
    /// The Koji event whose content it has; `None`: a hub too old to write it down.
    pub create_event: Option<i64>,
    /// Options it was made with (`src`, `debuginfo`, …) that are on.
    pub opts: Vec<Name>,
    /// Whether the options are not those of the tag, so that it is not the tag's ordinary repository.
    pub custom: bool,
    /// Architectures that have metadata, canonical and sorted. Empty for a tag without architectures: such a repository
    /// is ready, but nothing can be built from it.
    pub arches: Vec<Name>,
    /// Architectures that were asked for and are not in it, canonical and sorted.
    pub absent: Vec<Name>,
    _hold: Arc<Hold>,
}

impl Mirror {
    /// Opens or makes the cache in `cache_dir`. `topurl`: where the hub's files are ([`Place::parse`]).
    ///
    /// # Errors
    /// [`FetchError`]: rejected when the address is none or another process uses the cache.
    pub fn new(cache_dir: &Path, topurl: &str, fetcher: Fetcher) -> Result<Self, FetchError> {
        Self::with_limits(cache_dir, topurl, fetcher, CacheLimits::default())
    }

    /// The same, with other bounds.
    ///
    /// # Errors
    /// As [`Mirror::new`].
    pub fn with_limits(
        cache_dir: &Path,
        topurl: &str,
        fetcher: Fetcher,
        limits: CacheLimits,
    ) -> Result<Self, FetchError> {
        let files = HubFiles { place: Place::parse(topurl)?, fetcher };
        let cache = Arc::new(Cache::open(cache_dir)?);
        let (slots, needs, parsed) = (Slots::default(), Mutex::default(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { files, cache, limits, slots, needs, parsed }) })
    }

    /// The cache directory.
    pub fn dir(&self) -> &Path {
        self.inner.cache.dir()
    }

    /// What fetches.
    pub fn fetcher(&self) -> &Fetcher {
        &self.inner.files.fetcher
    }

    /// A generation with those of `arches` it has; fetched if it is not in the cache. `arches` are those of the tag, in
    /// any form (`i686` is `i386`). Asked for by several at once it is fetched once; what an interrupted attempt left,
    /// or one that was dropped, is gone on with. Makes room in the cache afterwards.
    ///
    /// # Errors
    /// [`FetchError::Gone`] (rejected) when the hub does not have it, not yet or not any more; unavailable when the hub
    /// does not answer.
    pub async fn fetch(
        &self,
        tag: &str,
        id: RepoId,
        arches: &[Name],
        on_progress: OnProgress<'_>,
    ) -> Result<MirroredRepo, FetchError> {
        let repo = HubPath::repo(tag, id)?;
        let arches: BTreeSet<Name> = arches.iter().map(|a| Name::from(arch::canonical(a))).collect();
        arches.iter().try_for_each(|arch| repo.join("the architecture", arch).map(drop))?;
        let key = (Name::from(tag), id);
        // From now on nobody removes it.
        let hold = Arc::new(self.inner.cache.hold(&key));
        if let Some(found) = self.find(&key, &arches, &hold).await? {
            return Ok(found);
        }
        let turn = self.inner.slots.turn(&key).await?;
        // Somebody else may have fetched it while we waited.
        if let Some(found) = self.find(&key, &arches, &hold).await? {
            return Ok(found);
        }
        let mut asked = self.inner.cache.asked(&key).unwrap_or_default();
        let missing: BTreeSet<Name> = arches.difference(&asked).cloned().collect();
        let brought = self.bring(&key, &missing, on_progress).await;
        asked.extend(arches.iter().cloned());
        let (cache, own) = (Arc::clone(&self.inner.cache), key.clone());
        // It stays our turn until this is done, even if nobody waits for us any more.
        blocking(move || match brought {
            Ok(()) => cache.place(&own, &asked),
            Err(error) => {
                // What there is of it in the cache may be in use, and is whole as far as it goes.
                let discarded = if error.is_gone() { cache.discard_unfinished(&own) } else { Ok(()) };
                Err(turn.failed(discarded.err().unwrap_or(error)))
            }
        })
        .await?;
        tracing::info!(koji.tag = tag, koji.repo = id.0, "a repository is in the cache");
        let found = self.find(&key, &arches, &hold).await?;
        // Room is made when something has come. That it cannot be made is not the caller's trouble.
        if let Err(error) = self.evict().await {
            tracing::warn!(error = %crate::model::causes::with_causes(&error), "cannot make room in the cache of \
                repositories");
        }
        found.ok_or_else(|| self.unreadable(&key))
    }

    async fn bring(&self, key: &Key, arches: &BTreeSet<Name>, on_progress: OnProgress<'_>) -> Result<(), FetchError> {
        let Inner { files, cache, .. } = &*self.inner;
        let bring = Bring::new(files, cache, key, cache.incoming_dir(key), on_progress)?;
        // Generations of a tag are alike.
        let (cache, tag, all) = (Arc::clone(cache), key.0.clone(), arches.clone());
        let with_filelists = blocking(move || cache.with_filelists(&tag, &all)).await;
        bring.repo(arches, &with_filelists).await
    }

    /// A generation that is in the cache with all of `arches`.
    async fn find(
        &self,
        key: &Key,
        arches: &BTreeSet<Name>,
        hold: &Arc<Hold>,
    ) -> Result<Option<MirroredRepo>, FetchError> {
        let (cache, key, arches) = (Arc::clone(&self.inner.cache), key.clone(), arches.clone());
        let hold = Arc::clone(hold);
        blocking(move || {
            let Some(asked) = cache.asked(&key) else { return Ok(None) };
            if !arches.is_subset(&asked) {
                return Ok(None);
            }
            let dir = cache.repo_dir(&key);
            let read = read_repo(dir.clone(), key.1);
            let Some(repo) = read.ok().filter(|r| r.arches.iter().all(|arch| is_there(&dir.join(arch.as_str()))))
            else {
                // Somebody was here, or the disk. Whole again is only what is fetched again.
                if cache.is_alone(&key) {
                    tracing::warn!(tag = %key.0, repo = %key.1, "a repository in the cache is not whole; it will be \
                        fetched again");
                    cache.discard(&key)?;
                    return Ok(None);
                }
                let source = std::io::Error::other("files of a repository that is in use are missing or damaged");
                return Err(FetchError::Disk { path: dir, source });
            };
            cache.touch(&key)?;
            let absent = arches.into_iter().filter(|arch| !repo.arches.contains(arch)).collect();
            Ok(Some(MirroredRepo {
                tag: key.0,
                id: key.1,
                dir,
                create_event: repo.create_event,
                opts: repo.opts,
                custom: repo.custom,
                arches: repo.arches,
                absent,
                _hold: hold,
            }))
        })
        .await
    }

    fn unreadable(&self, key: &Key) -> FetchError {
        let source = std::io::Error::other("it was fetched and is not there");
        FetchError::Disk { path: self.inner.cache.repo_dir(key), source }
    }

    /// Removes a generation, because what is in it turned out to be damaged; `false` if somebody uses it.
    ///
    /// # Errors
    /// [`FetchError::Disk`] (unavailable).
    pub async fn forget(&self, tag: &str, id: RepoId) -> Result<bool, FetchError> {
        HubPath::repo(tag, id)?;
        let (cache, key) = (Arc::clone(&self.inner.cache), (Name::from(tag), id));
        blocking(move || cache.forget(&key)).await
    }

    /// Makes room in the cache: removes generations beyond the bounds, those used longest ago first, never one in use,
    /// and never build requirements. Done after each fetch.
    ///
    /// # Errors
    /// [`FetchError::Disk`] (unavailable).
    pub async fn evict(&self) -> Result<Evicted, FetchError> {
        let (cache, limits) = (Arc::clone(&self.inner.cache), self.inner.limits);
        blocking(move || cache.evict(&limits)).await
    }
}

/// Whether what was fetched of an architecture is there: primary by its length, or, where the index is wrong about
/// that, by its checksum.
fn is_there(dir: &Path) -> bool {
    let Ok(repo) = RepoDir::open(dir) else { return false };
    let Some(primary) = repo.repomd().find("primary") else { return false };
    let path = dir.join(&primary.href);
    let Ok(length) = std::fs::metadata(&path).map(|m| m.len()) else { return false };
    let expected = Expected { checksum: primary.checksum.clone(), size: None, limit: u64::MAX };
    let modules = repo.repomd().find("modules").is_none_or(|modules| dir.join(&modules.href).is_file());
    modules
        && dir.join("pkglist").is_file()
        && (primary.size.is_none_or(|size| size == length) || is_what(&path, &expected).unwrap_or(false))
}
