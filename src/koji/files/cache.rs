//! The cache directory. Keeps track of which generations are in it and in use, which of their files
//! other generations can reuse, and what to remove.
//!
//! ```text
//! repos/TAG/ID/…            complete generations, laid out as in an archive
//! repos/TAG/ID/.asked       architectures that were looked for
//! repos/TAG/ID/.used        when the generation was last used, as a count of uses
//! .incoming/TAG/ID/…        generations that are being fetched
//! .trash/N/                 directories that are being removed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::download::{is_part, sync_dir_of, unique_part};
use super::error::FetchError;
use crate::model::{Name, RepoId};
use crate::repodata::{Checksum, RepoDir};

/// A generation: tag and number.
pub(super) type GenerationKey = (Name, RepoId);

const ASKED: &str = ".asked";
const USED: &str = ".used";

/// Limits of what a cache keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheLimits {
    /// Maximum number of generations per tag.
    pub generations_per_tag: usize,
    /// Maximum number of bytes of all generations. A file that several generations share counts
    /// once.
    pub bytes: u64,
    /// Maximum number of generations whose fetch was begun and not finished.
    pub unfinished: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { generations_per_tag: 8, bytes: 20 << 30, unfinished: 4 }
    }
}

/// What was removed from a cache.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evicted {
    /// Removed generations, in the order of removal.
    pub generations: Vec<(Name, RepoId)>,
    /// Number of unfinished generations removed.
    pub unfinished: usize,
    /// Number of bytes that the remaining generations have.
    pub bytes: u64,
    /// The limit is still exceeded, because everything left is in use.
    pub over: bool,
}

#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    state: Mutex<State>,
    /// The lock on the directory. Held until the cache is dropped.
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    in_use: BTreeMap<GenerationKey, usize>,
    /// Paths of files by algorithm and checksum.
    by_checksum: BTreeMap<(String, String), BTreeSet<PathBuf>>,
    next_use: u64,
    next_trash: u64,
}

/// Protects a generation from removal until dropped.
#[derive(Debug)]
pub(super) struct Hold {
    cache: Arc<Cache>,
    key: GenerationKey,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        if let Some(count) = state.in_use.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.in_use.remove(&self.key);
            }
        }
    }
}

/// Returns the directories in a directory, with their names. Empty if the directory does not exist.
fn directories(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.file_type()?.is_dir()
        {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the generations below a directory.
fn generations(dir: &Path) -> io::Result<Vec<(GenerationKey, PathBuf)>> {
    let mut found = Vec::new();
    for (tag, path) in directories(dir)? {
        for (id, path) in directories(&path)? {
            if let Ok(id) = id.parse() {
                found.push(((Name::from(tag.as_str()), RepoId(id)), path));
            }
        }
    }
    Ok(found)
}

/// Calls `each` for each file below a directory.
fn each_file(dir: &Path, each: &mut impl FnMut(&Path, &fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            each_file(&entry.path(), each)?;
        } else {
            each(&entry.path(), &metadata)?;
        }
    }
    Ok(())
}

impl Cache {
    /// Opens or creates a cache directory. Finishes removals that an earlier run began.
    pub(super) fn open(dir: &Path) -> Result<Self, FetchError> {
        let failed = FetchError::disk(dir);
        let incoming = dir.join(".incoming");
        let open = || -> io::Result<File> {
            fs::create_dir_all(dir.join("repos"))?;
            fs::create_dir_all(&incoming)?;
            OpenOptions::new().create(true).truncate(false).write(true).open(incoming.join("lock"))
        };
        let lock = open().map_err(failed)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(FetchError::InUse { path: dir.to_owned() }),
            // The file system does not support locks, so other users of the directory go unnoticed.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let cache = Self { dir: dir.to_owned(), state: Mutex::default(), _lock: lock };
        cache.read().map_err(FetchError::disk(dir))?;
        Ok(cache)
    }

    fn read(&self) -> io::Result<()> {
        for (_, trash) in directories(&self.dir.join(".trash"))? {
            fs::remove_dir_all(trash)?;
        }
        for (_, dir) in generations(&self.dir.join("repos"))? {
            self.learn(&dir);
            let used = used(&dir);
            let mut state = self.state();
            state.next_use = state.next_use.max(used + 1);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn repo_dir(&self, key: &GenerationKey) -> PathBuf {
        self.dir.join("repos").join(key.0.as_str()).join(key.1.to_string())
    }

    pub(super) fn incoming_dir(&self, key: &GenerationKey) -> PathBuf {
        self.dir.join(".incoming").join(key.0.as_str()).join(key.1.to_string())
    }

    /// Protects a generation from removal, even if it is not there yet.
    pub(super) fn hold(self: &Arc<Self>, key: &GenerationKey) -> Hold {
        *self.state().in_use.entry(key.clone()).or_default() += 1;
        Hold { cache: Arc::clone(self), key: key.clone() }
    }

    /// Notes the metadata files of a generation, so that other generations can reuse them.
    pub(super) fn learn(&self, dir: &Path) {
        for (_, arch) in directories(dir).unwrap_or_default() {
            // Unreadable metadata is of no use to others.
            let Ok(repo) = RepoDir::open(&arch) else { continue };
            for entry in &repo.repomd().data {
                let path = arch.join(&entry.href);
                if let Some(checksum) = entry.checksum.as_ref().filter(|_| path.is_file()) {
                    let key = (checksum.kind.clone(), checksum.hex.clone());
                    self.state().by_checksum.entry(key).or_default().insert(path);
                }
            }
        }
    }

    /// Returns files that had this checksum when they were fetched.
    pub(super) fn same(&self, checksum: &Checksum) -> Vec<PathBuf> {
        let mut state = self.state();
        let key = (checksum.kind.clone(), checksum.hex.clone());
        let Some(paths) = state.by_checksum.get_mut(&key) else { return Vec::new() };
        paths.retain(|path| path.is_file());
        let found = paths.iter().cloned().collect();
        if paths.is_empty() {
            state.by_checksum.remove(&key);
        }
        found
    }

    /// Returns those of `arches` for which some generation of the tag has the full file lists.
    pub(super) fn with_filelists(&self, tag: &str, arches: &BTreeSet<Name>) -> BTreeSet<Name> {
        let all = directories(&self.dir.join("repos").join(tag)).unwrap_or_default();
        let has = |arch: &Name| {
            all.iter().any(|(_, dir)| {
                let dir = dir.join(arch.as_str());
                let Ok(repo) = RepoDir::open(&dir) else { return false };
                repo.repomd().find("filelists").is_some_and(|entry| dir.join(&entry.href).is_file())
            })
        };
        arches.iter().filter(|arch| has(arch)).cloned().collect()
    }

    /// Returns the architectures that were looked for when a generation was fetched. `None` if the
    /// cache does not have the whole generation.
    pub(super) fn asked(&self, key: &GenerationKey) -> Option<BTreeSet<Name>> {
        let text = fs::read_to_string(self.repo_dir(key).join(ASKED)).ok()?;
        Some(text.split_whitespace().map(Name::from).collect())
    }

    /// Moves a fetched generation to its place. If the generation is already there, adds what was
    /// fetched in addition. `asked`: all architectures that were looked for.
    pub(super) fn place(&self, key: &GenerationKey, asked: &BTreeSet<Name>) -> Result<(), FetchError> {
        let (from, to) = (self.incoming_dir(key), self.repo_dir(key));
        let place = || -> io::Result<()> {
            let mut parts = Vec::new();
            each_file(&from, &mut |path, _| {
                if path.file_name().and_then(|n| n.to_str()).is_none_or(is_part) {
                    parts.push(path.to_owned());
                }
                Ok(())
            })?;
            parts.iter().try_for_each(fs::remove_file)?;
            let asked = asked.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
            if to.is_dir() {
                for (arch, path) in directories(&from)? {
                    let target = to.join(arch);
                    // What is already there is just as good, and somebody may be reading it.
                    if !target.exists() {
                        fs::rename(path, target)?;
                    }
                }
                fs::remove_dir_all(&from)?;
                write(&to.join(ASKED), &asked)?;
            } else {
                write(&from.join(ASKED), &asked)?;
                fs::create_dir_all(to.parent().unwrap_or(&self.dir))?;
                fs::rename(&from, &to)?;
                sync_dir_of(&to)?;
            }
            // Succeeds only if this was the last directory of its tag.
            from.parent().map(fs::remove_dir);
            Ok(())
        };
        place().map_err(FetchError::disk(&to))?;
        self.learn(&to);
        Ok(())
    }

    /// Notes that a generation is used now.
    pub(super) fn touch(&self, key: &GenerationKey) -> Result<(), FetchError> {
        let number = {
            let mut state = self.state();
            state.next_use += 1;
            state.next_use - 1
        };
        let path = self.repo_dir(key).join(USED);
        fs::write(&path, number.to_string()).map_err(FetchError::disk(path))
    }

    /// Removes a generation, including unfinished parts of it. Returns `false` if the generation is
    /// in use.
    pub(super) fn forget(&self, key: &GenerationKey) -> Result<bool, FetchError> {
        let dir = self.repo_dir(key);
        if !self.unused_goes(key).map_err(FetchError::disk(dir))? {
            return Ok(false);
        }
        let incoming = self.incoming_dir(key);
        self.remove(&incoming).map_err(FetchError::disk(incoming))?;
        Ok(true)
    }

    /// Removes the unfinished parts of a generation.
    pub(super) fn discard_unfinished(&self, key: &GenerationKey) -> Result<(), FetchError> {
        let dir = self.incoming_dir(key);
        self.remove(&dir).map_err(FetchError::disk(dir))
    }

    /// Removes a generation that only the caller uses.
    pub(super) fn discard(&self, key: &GenerationKey) -> Result<(), FetchError> {
        for dir in [self.incoming_dir(key), self.repo_dir(key)] {
            self.remove(&dir).map_err(FetchError::disk(dir))?;
        }
        Ok(())
    }

    /// Checks whether nobody but the caller uses a generation.
    pub(super) fn is_alone(&self, key: &GenerationKey) -> bool {
        self.state().in_use.get(key).is_none_or(|count| *count <= 1)
    }

    /// Moves a directory away in one step, then removes it.
    fn remove(&self, dir: &Path) -> io::Result<()> {
        let trash = self.dir.join(".trash");
        fs::create_dir_all(&trash)?;
        let number = {
            let mut state = self.state();
            state.next_trash += 1;
            state.next_trash
        };
        let trash = trash.join(number.to_string());
        match fs::rename(dir, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        fs::remove_dir_all(trash)
    }

    /// Removes what exceeds the limits, least recently used first. Never removes what is in use.
    pub(super) fn evict(&self, limits: &CacheLimits) -> Result<Evicted, FetchError> {
        self.try_evict(limits).map_err(FetchError::disk(&self.dir))
    }

    fn try_evict(&self, limits: &CacheLimits) -> io::Result<Evicted> {
        let mut evicted = Evicted::default();
        let mut all = generations(&self.dir.join("repos"))?;
        all.sort_by_key(|(key, dir)| (used(dir), key.clone()));
        let mut sizes: BTreeMap<GenerationKey, Vec<(u64, u64)>> = BTreeMap::new();
        // Number of generations that have a file, by inode number.
        let mut owners: BTreeMap<u64, usize> = BTreeMap::new();
        let mut per_tag: BTreeMap<Name, usize> = BTreeMap::new();
        for (key, dir) in &all {
            let mut files = BTreeMap::new();
            let seen = each_file(dir, &mut |_, metadata| {
                files.insert(metadata.ino(), metadata.len());
                Ok(())
            });
            // Another thread may be removing it.
            if seen.is_err() {
                continue;
            }
            files.keys().for_each(|ino| *owners.entry(*ino).or_default() += 1);
            *per_tag.entry(key.0.clone()).or_default() += 1;
            sizes.insert(key.clone(), files.into_iter().collect());
        }
        let mut counted = BTreeSet::new();
        let files = sizes.values().flatten().filter(|(ino, _)| counted.insert(*ino));
        evicted.bytes = files.map(|(_, length)| length).sum();
        // First removes surplus generations of tags, then what exceeds the size. So a small tag
        // does not suffer from a busy one.
        for by_bytes in [false, true] {
            for (key, _) in &all {
                let many = per_tag.get(&key.0).is_some_and(|n| *n > limits.generations_per_tag.max(1));
                let large = evicted.bytes > limits.bytes;
                if !(if by_bytes { large } else { many }) || !sizes.contains_key(key) {
                    continue;
                }
                if !self.unused_goes(key)? {
                    continue;
                }
                for (ino, length) in sizes.remove(key).unwrap_or_default() {
                    let left = owners.entry(ino).or_insert(1);
                    *left -= 1;
                    if *left == 0 {
                        evicted.bytes -= length;
                    }
                }
                per_tag.entry(key.0.clone()).and_modify(|n| *n -= 1);
                evicted.generations.push(key.clone());
            }
        }
        evicted.over = evicted.bytes > limits.bytes;
        evicted.unfinished = self.evict_unfinished(limits.unfinished)?;
        Ok(evicted)
    }

    /// Removes a generation if nobody uses it.
    fn unused_goes(&self, key: &GenerationKey) -> io::Result<bool> {
        let dir = self.repo_dir(key);
        // The lock is held until the rename, so that nobody begins to use the generation in
        // between.
        let mut state = self.state();
        if state.in_use.contains_key(key) {
            return Ok(false);
        }
        state.next_trash += 1;
        let trash = self.dir.join(".trash");
        fs::create_dir_all(&trash)?;
        let trash = trash.join(state.next_trash.to_string());
        match fs::rename(&dir, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            renamed => renamed?,
        }
        drop(state);
        fs::remove_dir_all(trash)?;
        // Succeeds only if this was the last directory of its tag.
        dir.parent().map(fs::remove_dir);
        Ok(true)
    }

    fn evict_unfinished(&self, most: usize) -> io::Result<usize> {
        let mut all = Vec::new();
        for (key, dir) in generations(&self.dir.join(".incoming"))? {
            if !self.state().in_use.contains_key(&key) {
                let changed = fs::metadata(&dir)?.modified()?;
                all.push((changed, key, dir));
            }
        }
        all.sort();
        let many = all.len().saturating_sub(most);
        for (_, _, dir) in all.iter().take(many) {
            self.remove(dir)?;
        }
        Ok(many)
    }
}

/// Returns when a generation was last used, as a count of uses.
fn used(dir: &Path) -> u64 {
    fs::read_to_string(dir.join(USED)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Writes a small file atomically.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = unique_part(path);
    fs::write(&part, text)?;
    File::open(&part)?.sync_all()?;
    fs::rename(part, path)?;
    sync_dir_of(path)
}
