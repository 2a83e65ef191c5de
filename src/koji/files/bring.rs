//! Brings a generation, or more architectures of one, from the hub to a directory. There it waits
//! until it is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use futures_util::future::try_join_all;

use super::cache::{Cache, GenerationKey};
use super::download::{Expected, blocking};
use super::error::FetchError;
use super::fetch::FileEvent;
use super::hub_files::{HubFiles, is_what, reuse};
use super::place::HubPath;
use crate::model::Name;
use crate::repodata::koji::RepoInfo;
use crate::repodata::{Limits, Metadata, RepoDir, RepodataError};

/// Progress of fetching a generation, reported after each file.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MirrorProgress {
    /// The last file, relative to the repository.
    pub file: String,
    /// Number of files that are there.
    pub files: u64,
    /// Number of bytes of these files.
    pub bytes: u64,
    /// Number of bytes that were not fetched, because the cache had the same files.
    pub reused_bytes: u64,
}

/// Receives the progress. Called from any thread. Must not block.
pub type OnProgress<'a> = &'a (dyn Fn(&MirrorProgress) + Send + Sync);

/// Ignores the progress.
pub fn quiet(_: &MirrorProgress) {}

/// A generation that is being fetched.
pub(super) struct Bring<'a> {
    pub(super) files: &'a HubFiles,
    pub(super) cache: &'a Cache,
    pub(super) key: &'a GenerationKey,
    pub(super) remote: HubPath,
    pub(super) local: PathBuf,
    limits: Limits,
    on_progress: OnProgress<'a>,
    progress: Mutex<MirrorProgress>,
}

/// Whether a generation has an architecture.
enum Arch {
    /// It has. The error says why the groups of its metadata could not be fetched, if so.
    Here(Option<FetchError>),
    Absent,
}

impl<'a> Bring<'a> {
    pub(super) fn new(
        files: &'a HubFiles,
        cache: &'a Cache,
        key: &'a GenerationKey,
        local: PathBuf,
        on_progress: OnProgress<'a>,
    ) -> Result<Self, FetchError> {
        let remote = HubPath::repo(&key.0, key.1)?;
        let (limits, progress) = (Limits::default(), Mutex::default());
        Ok(Self { files, cache, key, remote, local, limits, on_progress, progress })
    }

    /// Fetches the repository's own files and those of `arches`, with the full file lists of
    /// `with_filelists`.
    pub(super) async fn repo(
        &self,
        arches: &BTreeSet<Name>,
        with_filelists: &BTreeSet<Name>,
    ) -> Result<(), FetchError> {
        self.files.mounted().await?;
        let own = async {
            let info = self.small("repo.json").await?;
            let groups = self.small("groups/comps.xml").await?;
            Ok::<_, FetchError>((info, groups))
        };
        let each = arches.iter().map(|arch| self.arch(arch, with_filelists.contains(arch)));
        let ((info, groups), found) = tokio::try_join!(own, try_join_all(each))?;
        let here = found.iter().any(|arch| matches!(arch, Arch::Here(_)));
        let whole = groups && found.iter().all(|arch| matches!(arch, Arch::Here(_)));
        for (arch, found) in arches.iter().zip(found) {
            if let Arch::Here(Some(error)) = found {
                // A builder uses Koji's own list of groups. The copy in the metadata is only read
                // if there is no such list.
                if !groups {
                    return Err(error);
                }
                tracing::warn!(
                    tag = %self.key.0,
                    repo = %self.key.1,
                    %arch,
                    error = %crate::model::causes::with_causes(&error),
                    "groups in a repository's metadata cannot be read; Koji's own are used"
                );
            }
        }
        if info {
            self.check_info()?;
            // A missing file never existed, or the hub is removing the repository just now.
            if !whole && !self.files.exists(&self.remote.file("repo.json")?).await? {
                return Err(self.gone("repo.json"));
            }
        } else if !here {
            return Err(self.gone("repo.json"));
        }
        Ok(())
    }

    async fn arch(&self, arch: &Name, with_filelists: bool) -> Result<Arch, FetchError> {
        let dir = self.local.join(arch.as_str());
        let repomd = format!("{arch}/repodata/repomd.xml");
        let before = read(&self.local.join(&repomd));
        if !self.small(&repomd).await? {
            // Lists without metadata: the repository is not finished yet, or is being removed.
            let lists = format!("{arch}/pkglist");
            if self.files.exists(&self.remote.file(&lists)?).await? {
                return Err(self.gone(&repomd));
            }
            let gone = dir.clone();
            blocking(move || drop(fs::remove_dir_all(gone))).await;
            return Ok(Arch::Absent);
        }
        if before.is_some() && before != read(&self.local.join(&repomd)) {
            // The lists that an earlier attempt left belong to another repository. A hub that was
            // set up again counts from 1.
            for list in ["pkglist", "rpmlist.jsonl", "blocklist"] {
                drop(fs::remove_file(dir.join(list)));
            }
        }
        let opened = dir.clone();
        let repo = blocking(move || RepoDir::open(opened)).await?;
        let index = repo.repomd();
        let mut wanted = vec![index.find("primary").ok_or_else(|| missing(&repomd, "primary"))?];
        wanted.extend(index.find("filelists").filter(|_| with_filelists));
        // Packages that modules hide do not exist for a builder.
        wanted.extend(index.find("modules"));
        let metadata = try_join_all(wanted.into_iter().map(|entry| self.metadata(arch, entry)));
        let lists = async {
            let list = |name: &str| self.list(format!("{arch}/{name}"));
            let (packages, ..) = tokio::try_join!(list("pkglist"), list("rpmlist.jsonl"), list("blocklist"))?;
            // Koji writes this list before the metadata. So the repository is being removed.
            // Without the list, nobody would know which sources are in the repository.
            if packages { Ok(()) } else { Err(self.gone(&format!("{arch}/pkglist"))) }
        };
        let groups = async {
            let Some(entry) = index.groups() else { return Ok(None) };
            match self.metadata(arch, entry).await {
                Err(error @ (FetchError::Unavailable { .. } | FetchError::Gone { .. })) => Err(error),
                done => Ok(done.err()),
            }
        };
        let (_, (), groups) = tokio::try_join!(metadata, lists, groups)?;
        Ok(Arch::Here(groups))
    }

    /// Fetches index and primary of the repository's source packages.
    pub(super) async fn sources(&self) -> Result<(), FetchError> {
        const REPOMD: &str = "src/repodata/repomd.xml";
        if !self.small(REPOMD).await? {
            return Err(self.gone(REPOMD));
        }
        let dir = self.local.join("src");
        let repo = blocking(move || RepoDir::open(dir)).await?;
        let primary = repo.repomd().find("primary");
        self.metadata("src", primary.ok_or_else(|| missing(REPOMD, "primary"))?).await
    }

    /// Provides a file that `repomd.xml` names. Keeps the local file if it is right, or reuses that
    /// of another generation, or fetches it.
    pub(super) async fn metadata(&self, arch: &str, entry: &Metadata) -> Result<(), FetchError> {
        let name = format!("{arch}/{}", entry.href);
        let (remote, to) = (self.remote.file(&name)?, self.remote_to_local(&name)?);
        // The size in the index is only a hint, and often wrong. A file with the right checksum is
        // right.
        let expected = Expected { checksum: entry.checksum.clone(), size: None, limit: self.limits.file_bytes };
        parent(&to).await?;
        let others = entry.checksum.as_ref().map(|checksum| self.cache.same(checksum)).unwrap_or_default();
        let (at, want) = (to.clone(), expected.clone());
        let here = blocking(move || -> Result<Option<bool>, FetchError> {
            // Without a checksum, nothing tells whether the file is still the same.
            if want.checksum.is_some() && is_what(&at, &want)? {
                return Ok(Some(false));
            }
            for other in others.iter().filter(|other| **other != at) {
                if reuse(other, &at, &want)? {
                    return Ok(Some(true));
                }
            }
            Ok(None)
        });
        let (bytes, reused) = match here.await? {
            Some(reused) => (length(&to), reused),
            None => match self.files.take(&remote, &to, expected).await {
                Err(error) if error.is_not_found() => return Err(self.gone(&name)),
                taken => (taken?, false),
            },
        };
        if reused {
            self.files.fetcher.event(FileEvent::Reused { bytes });
        }
        self.done(name, bytes, reused);
        Ok(())
    }

    /// Fetches a small file each time. Returns `false` if the hub does not have it.
    async fn small(&self, name: &str) -> Result<bool, FetchError> {
        self.take(name, self.limits.small_file_bytes).await
    }

    /// Fetches a list, which may be large. Keeps a complete one of an earlier attempt.
    async fn list(&self, name: String) -> Result<bool, FetchError> {
        let here = self.remote_to_local(&name)?;
        if here.is_file() {
            let bytes = length(&here);
            self.done(name, bytes, false);
            return Ok(true);
        }
        self.take(&name, self.limits.file_bytes).await
    }

    async fn take(&self, name: &str, limit: u64) -> Result<bool, FetchError> {
        let to = self.remote_to_local(name)?;
        parent(&to).await?;
        match self.files.take(&self.remote.file(name)?, &to, Expected::at_most(limit)).await {
            Ok(bytes) => {
                self.done(name.to_owned(), bytes, false);
                Ok(true)
            }
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the local path of a file of the repository. Checks the name, because it may come
    /// from `repomd.xml`.
    fn remote_to_local(&self, name: &str) -> Result<PathBuf, FetchError> {
        self.remote.file(name)?;
        Ok(self.local.join(name))
    }

    fn check_info(&self) -> Result<(), FetchError> {
        let path = self.local.join("repo.json");
        let bytes = fs::read(&path).map_err(FetchError::disk(&path))?;
        let name = self.files.place.name(&self.remote.file("repo.json")?);
        let info = RepoInfo::parse(bytes.as_slice(), &name, &self.limits)?;
        if info.id == self.key.1.0 {
            return Ok(());
        }
        Err(FetchError::OtherRepo { tag: self.key.0.clone(), repo: self.key.1, found: info.id })
    }

    pub(super) fn gone(&self, what: &str) -> FetchError {
        let (tag, repo) = self.key.clone();
        FetchError::Gone { tag, repo, from: self.files.place.to_string(), what: what.to_owned() }
    }

    fn done(&self, file: String, bytes: u64, reused: bool) {
        let progress = {
            let mut progress = self.progress.lock().expect("no thread panics while it holds the lock");
            progress.file = file;
            progress.files += 1;
            progress.bytes += bytes;
            progress.reused_bytes += if reused { bytes } else { 0 };
            progress.clone()
        };
        (self.on_progress)(&progress);
    }
}

fn missing(repomd: &str, kind: &'static str) -> RepodataError {
    RepodataError::Missing { file: repomd.to_owned(), kind }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

async fn parent(path: &Path) -> Result<(), FetchError> {
    let Some(parent) = path.parent().map(Path::to_owned) else { return Ok(()) };
    let made = parent.clone();
    blocking(move || fs::create_dir_all(made)).await.map_err(FetchError::disk(parent))
}
