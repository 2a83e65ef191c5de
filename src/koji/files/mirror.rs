//! Mirrors a hub's repositories into a cache directory. The directory has the layout of an archive,
//! so [`super::super::Archive`] can read it.
//!
//! A generation never changes. A generation in the cache is complete, because it appears there by a
//! single rename. The mirror fetches only what we read: the index, primary, groups, modules and
//! Koji's own lists. It fetches the full file lists only where they are needed.

mod filelists;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use self::filelists::Needs;
use super::super::archive::read_repo;
use super::bring::{Bring, OnProgress};
use super::cache::{Cache, CacheLimits, Evicted, GenerationKey, Hold};
use super::download::{Expected, blocking};
use super::error::FetchError;
use super::fetch::Fetcher;
use super::hub_files::{HubFiles, is_what};
use super::place::{HubPath, Place};
use super::slots::Slots;
use crate::model::{Name, RepoId, arch};
use crate::repodata::{KnownPackages, Limits, RepoDir};

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
    pub(super) slots: Slots<GenerationKey>,
    pub(super) needs: Mutex<Needs>,
    pub(super) known: KnownPackages,
}

/// A generation in the cache. It stays in the cache as long as this value or a clone of it exists.
#[derive(Clone, Debug)]
pub struct MirroredRepo {
    /// Name of the tag.
    pub tag: Name,
    /// Number of the generation.
    pub id: RepoId,
    /// The generation's directory, laid out as in an archive.
    pub dir: PathBuf,
    /// The Koji event whose content the generation has. `None`: the hub is too old to record it.
    pub create_event: Option<i64>,
    /// Options with which the repository was made (`src`, `debuginfo`, …) and that are on.
    pub opts: Vec<Name>,
    /// Whether the options differ from those of the tag. Then this is not the tag's ordinary
    /// repository.
    pub custom: bool,
    /// Architectures with metadata, canonical and sorted. Empty for a tag without architectures.
    /// Such a repository is ready, but nothing can be built from it.
    pub arches: Vec<Name>,
    /// Architectures that were asked for and that the generation lacks, canonical and sorted.
    pub absent: Vec<Name>,
    _hold: Arc<Hold>,
}

impl Mirror {
    /// Opens or creates the cache in `cache_dir`. `topurl`: where the hub's files are
    /// ([`Place::parse`]).
    ///
    /// # Errors
    /// Returns a [`FetchError`]. It is rejected if the address is invalid or another process uses
    /// the cache.
    pub fn new(cache_dir: &Path, topurl: &str, fetcher: Fetcher) -> Result<Self, FetchError> {
        Self::with_limits(cache_dir, topurl, fetcher, CacheLimits::default())
    }

    /// Like [`Mirror::new`], but with other limits.
    ///
    /// # Errors
    /// Fails in the same cases as [`Mirror::new`].
    pub fn with_limits(
        cache_dir: &Path,
        topurl: &str,
        fetcher: Fetcher,
        limits: CacheLimits,
    ) -> Result<Self, FetchError> {
        let files = HubFiles { place: Place::parse(topurl)?, fetcher };
        let cache = Arc::new(Cache::open(cache_dir)?);
        let known = KnownPackages::new(Limits::default(), rand::random());
        let (slots, needs) = (Slots::default(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { files, cache, limits, slots, needs, known }) })
    }

    /// Returns the cache directory.
    pub fn dir(&self) -> &Path {
        self.inner.cache.dir()
    }

    /// Returns the fetcher.
    pub fn fetcher(&self) -> &Fetcher {
        &self.inner.files.fetcher
    }

    /// Returns a generation with those of `arches` that it has. Fetches it if the cache does not
    /// have it. `arches` are those of the tag, in any form (`i686` is `i386`).
    ///
    /// If several callers ask for the same generation, it is fetched once. If an earlier attempt
    /// was interrupted or dropped, it is continued. Afterwards makes room in the cache.
    ///
    /// # Errors
    /// Returns [`FetchError::Gone`] (rejected) if the hub does not have the generation, not yet or
    /// not any more. Returns an unavailable error if the hub does not answer.
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
        // From now on nobody removes the generation.
        let hold = Arc::new(self.inner.cache.hold(&key));
        if let Some(found) = self.find(&key, &arches, &hold).await? {
            return Ok(found);
        }
        let turn = self.inner.slots.turn(&key).await?;
        // Another caller may have fetched it while we waited.
        if let Some(found) = self.find(&key, &arches, &hold).await? {
            return Ok(found);
        }
        let mut asked = self.inner.cache.asked(&key).unwrap_or_default();
        let missing: BTreeSet<Name> = arches.difference(&asked).cloned().collect();
        let brought = self.bring(&key, &missing, on_progress).await;
        asked.extend(arches.iter().cloned());
        let (cache, own) = (Arc::clone(&self.inner.cache), key.clone());
        // It stays our turn until this is done, even if our caller no longer waits.
        blocking(move || match brought {
            Ok(()) => cache.place(&own, &asked),
            Err(error) => {
                // Parts that are already in the cache may be in use, and are complete in
                // themselves.
                let discarded = if error.is_gone() { cache.discard_unfinished(&own) } else { Ok(()) };
                Err(turn.failed(discarded.err().unwrap_or(error)))
            }
        })
        .await?;
        tracing::info!(koji.tag = tag, koji.repo = id.0, "a repository is in the cache");
        let found = self.find(&key, &arches, &hold).await?;
        // Room is made only when something was added. A failure to do so does not concern the
        // caller.
        if let Err(error) = self.evict().await {
            tracing::warn!(error = %crate::model::causes::with_causes(&error), "cannot make room in the cache of \
                repositories");
        }
        found.ok_or_else(|| self.unreadable(&key))
    }

    async fn bring(
        &self,
        key: &GenerationKey,
        arches: &BTreeSet<Name>,
        on_progress: OnProgress<'_>,
    ) -> Result<(), FetchError> {
        let Inner { files, cache, .. } = &*self.inner;
        let bring = Bring::new(files, cache, key, cache.incoming_dir(key), on_progress)?;
        // Generations of a tag are alike, so this one probably needs file lists where earlier ones
        // have them.
        let (cache, tag, all) = (Arc::clone(cache), key.0.clone(), arches.clone());
        let with_filelists = blocking(move || cache.with_filelists(&tag, &all)).await;
        bring.repo(arches, &with_filelists).await
    }

    /// Returns a generation if the cache has it with all of `arches`.
    async fn find(
        &self,
        key: &GenerationKey,
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
                // Somebody changed the directory, or the disk failed. Only fetching it again helps.
                if cache.is_alone(&key) {
                    tracing::warn!(tag = %key.0, repo = %key.1, "a repository in the cache is incomplete and is \
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

    fn unreadable(&self, key: &GenerationKey) -> FetchError {
        let source = std::io::Error::other("it was fetched and is not there");
        FetchError::Disk { path: self.inner.cache.repo_dir(key), source }
    }

    /// Removes a generation, because its content turned out to be damaged. Returns `false` if
    /// somebody uses it.
    ///
    /// # Errors
    /// Returns [`FetchError::Disk`] (unavailable) if the files cannot be removed.
    pub async fn forget(&self, tag: &str, id: RepoId) -> Result<bool, FetchError> {
        HubPath::repo(tag, id)?;
        let (cache, key) = (Arc::clone(&self.inner.cache), (Name::from(tag), id));
        blocking(move || cache.forget(&key)).await
    }

    /// Makes room in the cache. Removes generations beyond the limits, least recently used first.
    /// Never removes a generation in use or build requirements. Runs after each fetch.
    ///
    /// # Errors
    /// Returns [`FetchError::Disk`] (unavailable) if the files cannot be removed.
    pub async fn evict(&self) -> Result<Evicted, FetchError> {
        let (cache, limits) = (Arc::clone(&self.inner.cache), self.inner.limits);
        blocking(move || cache.evict(&limits)).await
    }
}

/// Checks whether the fetched files of an architecture are there. Checks primary by its length. If
/// the index has a wrong length, checks primary by its checksum.
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
