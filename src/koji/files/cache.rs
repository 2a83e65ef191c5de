//! The cache directory: which generations are in it, which of them are in use, what of them can be used for others,
//! what has to go.
//!
//! ```text
//! repos/TAG/ID/…            whole generations, as an archive has them
//! repos/TAG/ID/.asked       architectures that were looked for
//! repos/TAG/ID/.used        when it was used last, as a number that counts uses
//! .incoming/TAG/ID/…        generations that are being fetched
//! .trash/N/                 what is being removed
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
pub(super) type Key = (Name, RepoId);

const ASKED: &str = ".asked";
const USED: &str = ".used";

/// How much a cache keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheLimits {
    /// Generations of each tag.
    pub generations_per_tag: usize,
    /// Bytes of all generations. A file that several have counts once.
    pub bytes: u64,
    /// Generations that were begun and not finished.
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
    /// Generations, in the order in which they went.
    pub generations: Vec<(Name, RepoId)>,
    /// Unfinished ones.
    pub unfinished: usize,
    /// Bytes that generations have now.
    pub bytes: u64,
    /// There is still too much, and all of it is in use.
    pub over: bool,
}

#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    state: Mutex<State>,
    /// Held as long as we live.
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    in_use: BTreeMap<Key, usize>,
    /// Files by algorithm and checksum.
    by_checksum: BTreeMap<(String, String), BTreeSet<PathBuf>>,
    next_use: u64,
    next_trash: u64,
}

/// Keeps a generation from being removed.
#[derive(Debug)]
pub(super) struct Hold {
    cache: Arc<Cache>,
    key: Key,
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

/// Names of the directories in a directory, none when there is none.
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

/// Generations below a directory.
fn generations(dir: &Path) -> io::Result<Vec<(Key, PathBuf)>> {
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

/// Calls for each file below a directory.
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
    /// Opens or makes a cache directory and removes what an earlier run was removing.
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
            // A file system without locks: nobody can tell.
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

    pub(super) fn repo_dir(&self, key: &Key) -> PathBuf {
        self.dir.join("repos").join(key.0.as_str()).join(key.1.to_string())
    }

    pub(super) fn incoming_dir(&self, key: &Key) -> PathBuf {
        self.dir.join(".incoming").join(key.0.as_str()).join(key.1.to_string())
    }

    /// Keeps a generation, whether it is there yet or not.
    pub(super) fn hold(self: &Arc<Self>, key: &Key) -> Hold {
        *self.state().in_use.entry(key.clone()).or_default() += 1;
        Hold { cache: Arc::clone(self), key: key.clone() }
    }

    /// Notes the metadata files of a generation, so that others can have them.
    pub(super) fn learn(&self, dir: &Path) {
        for (_, arch) in directories(dir).unwrap_or_default() {
            // What cannot be read is of no use to others.
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

    /// Files that had this checksum when they were fetched.
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

    /// Those of `arches` for which some generation of a tag has the full file lists.
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

    /// Architectures that were looked for when a generation was fetched; `None`: there is no such generation, not a
    /// whole one.
    pub(super) fn asked(&self, key: &Key) -> Option<BTreeSet<Name>> {
        let text = fs::read_to_string(self.repo_dir(key).join(ASKED)).ok()?;
        Some(text.split_whitespace().map(Name::from).collect())
    }

    /// Puts a generation that was fetched in its place, or what was fetched besides to one that is there. `asked`: all
    /// architectures that were looked for.
    pub(super) fn place(&self, key: &Key, asked: &BTreeSet<Name>) -> Result<(), FetchError> {
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
                    // What is there is as good, and somebody may be reading it.
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
            // Only if it was the last of its tag.
            from.parent().map(fs::remove_dir);
            Ok(())
        };
        place().map_err(FetchError::disk(&to))?;
        self.learn(&to);
        Ok(())
    }

    /// Notes that a generation is used now.
    pub(super) fn touch(&self, key: &Key) -> Result<(), FetchError> {
        let number = {
            let mut state = self.state();
            state.next_use += 1;
            state.next_use - 1
        };
        let path = self.repo_dir(key).join(USED);
        fs::write(&path, number.to_string()).map_err(FetchError::disk(path))
    }

    /// Removes a generation unless it is in use; `false` if it is. What was fetched of it and not finished goes, too.
    pub(super) fn forget(&self, key: &Key) -> Result<bool, FetchError> {
        let dir = self.repo_dir(key);
        if !self.unused_goes(key).map_err(FetchError::disk(dir))? {
            return Ok(false);
        }
        let incoming = self.incoming_dir(key);
        self.remove(&incoming).map_err(FetchError::disk(incoming))?;
        Ok(true)
    }

    /// Removes what was fetched of a generation and not finished.
    pub(super) fn discard_unfinished(&self, key: &Key) -> Result<(), FetchError> {
        let dir = self.incoming_dir(key);
        self.remove(&dir).map_err(FetchError::disk(dir))
    }

    /// Removes a generation that the caller alone uses.
    pub(super) fn discard(&self, key: &Key) -> Result<(), FetchError> {
        for dir in [self.incoming_dir(key), self.repo_dir(key)] {
            self.remove(&dir).map_err(FetchError::disk(dir))?;
        }
        Ok(())
    }

    /// Whether nobody but the caller uses a generation.
    pub(super) fn is_alone(&self, key: &Key) -> bool {
        self.state().in_use.get(key).is_none_or(|count| *count <= 1)
    }

    /// Takes a directory out of sight at once, then removes it.
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

    /// Removes what is too much, what was used longest ago first, and nothing that is in use.
    pub(super) fn evict(&self, limits: &CacheLimits) -> Result<Evicted, FetchError> {
        self.try_evict(limits).map_err(FetchError::disk(&self.dir))
    }

    fn try_evict(&self, limits: &CacheLimits) -> io::Result<Evicted> {
        let mut evicted = Evicted::default();
        let mut all = generations(&self.dir.join("repos"))?;
        all.sort_by_key(|(key, dir)| (used(dir), key.clone()));
        let mut sizes: BTreeMap<Key, Vec<(u64, u64)>> = BTreeMap::new();
        // How many generations have a file, by its number on the disk.
        let mut owners: BTreeMap<u64, usize> = BTreeMap::new();
        let mut per_tag: BTreeMap<Name, usize> = BTreeMap::new();
        for (key, dir) in &all {
            let mut files = BTreeMap::new();
            let seen = each_file(dir, &mut |_, metadata| {
                files.insert(metadata.ino(), metadata.len());
                Ok(())
            });
            // Somebody else may be removing it.
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
        // First what is too many of a tag, then what is too large, so that a small tag does not pay for a busy one.
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
    fn unused_goes(&self, key: &Key) -> io::Result<bool> {
        let dir = self.repo_dir(key);
        // Nobody begins to use it between the look and the renaming.
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
        // Only if it was the last of its tag.
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

/// When a generation was used last.
fn used(dir: &Path) -> u64 {
    fs::read_to_string(dir.join(USED)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Writes a small file at once.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = unique_part(path);
    fs::write(&part, text)?;
    File::open(&part)?.sync_all()?;
    fs::rename(part, path)?;
    sync_dir_of(path)
}
