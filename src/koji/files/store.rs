//! Stores build requirements for ever, in `buildrequires.jsonl` of a cache directory.
//!
//! A source package never changes, so its requirements are learnt only once. The file is only
//! appended to. If a crash left a torn end, opening the file cuts it off. The file has no entry for
//! a package whose source could not be found. No entry means "unknown", not "needs nothing".

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use super::super::buildrequires::{SourcePackages, SourcesError, for_each};
use crate::model::Nvr;
use crate::repodata::SourcePackage;

const UNPOISONED: &str = "no thread panics while it holds the lock";

/// Source packages by NVR. Clones share their content, and see what is added through any of them.
#[derive(Clone, Debug)]
pub struct SourceStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    known: RwLock<SourcePackages>,
    end: Mutex<End>,
    cut: u64,
}

/// Where the next line goes.
#[derive(Debug)]
enum End {
    /// Nowhere: the store is read-only.
    ReadOnly,
    /// In this file, after this number of bytes.
    At(File, u64),
    /// Unknown: there may be half a line at the end that could not be removed. Opening the file
    /// again cuts it off.
    Unknown,
}

impl SourceStore {
    /// Opens `path` for reading and appending. Creates the file if it does not exist. Cuts off a
    /// torn end as a crash leaves it ([`SourceStore::cut`]). Cost: reads the file, about 0.1 s for
    /// 24,000 packages.
    ///
    /// # Errors
    /// Returns a [`SourcesError`]. It is rejected if good lines follow a wrong one, or if another
    /// process has the file open.
    pub fn open(path: &Path) -> Result<Self, SourcesError> {
        let failed = |source| SourcesError::Read { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(SourcesError::InUse { path: path.to_owned() }),
            // The file system does not support locks, so other users of the file go unnoticed.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let mut known = SourcePackages::default();
        // Offset of the first of the wrong lines at the end, and what is wrong with it.
        let mut wrong: Option<(u64, SourcesError)> = None;
        for_each(path, &file, |at, line| {
            match (line, wrong.take()) {
                (Ok(_), Some((_, error))) => return Err(error),
                (Ok(package), None) => _ = known.take(package),
                (Err(_), Some(before)) => wrong = Some(before),
                (Err(error), None) => wrong = Some((at, error)),
            }
            Ok(())
        })?;
        let mut length = file.metadata().map_err(failed)?.len();
        let mut cut = 0;
        if let Some((at, error)) = wrong {
            cut = length - at;
            tracing::warn!(
                path = %path.display(),
                cut.bytes = cut,
                error = %crate::model::causes::with_causes(&error),
                "build requirements: removed an incomplete line that a crash left"
            );
            file.set_len(at).map_err(failed)?;
            length = at;
        }
        let end = Mutex::new(End::At(file, length));
        let store = Self { inner: Arc::new(Inner { path: path.to_owned(), known: RwLock::new(known), end, cut }) };
        store.inner.end_last_line()?;
        Ok(store)
    }

    /// Returns a read-only store of source packages that were read from `path`.
    pub fn of(path: PathBuf, packages: SourcePackages) -> Self {
        let (known, end) = (RwLock::new(packages), Mutex::new(End::ReadOnly));
        Self { inner: Arc::new(Inner { path, known, end, cut: 0 }) }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns the number of bytes that opening the file cut off its end.
    pub fn cut(&self) -> u64 {
        self.inner.cut
    }

    /// Returns what a source package needs. `None` means unknown, not "nothing". Cost: logarithmic.
    pub fn get(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>> {
        self.inner.known.read().expect(UNPOISONED).get(nvr).cloned()
    }

    /// Returns those of `nvrs` that are unknown or incomplete (stored before BuildConflicts
    /// counted). Each is returned once, in the given order.
    pub fn missing(&self, nvrs: impl IntoIterator<Item = Nvr>) -> Vec<Nvr> {
        let known = self.inner.known.read().expect(UNPOISONED);
        let mut missing: indexmap::IndexSet<Nvr> = indexmap::IndexSet::new();
        missing.extend(nvrs.into_iter().filter(|nvr| !known.is_complete(nvr)));
        missing.into_iter().collect()
    }

    /// Returns the number of known source packages.
    pub fn len(&self) -> usize {
        self.inner.known.read().expect(UNPOISONED).iter().len()
    }

    /// Checks whether no source package is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how often something different was said about an NVR that was already known. The
    /// first statement counts, because an NVR is built only once.
    pub fn contradictions(&self) -> u64 {
        self.inner.known.read().expect(UNPOISONED).contradictions
    }

    /// Adds packages whose NVRs are unknown, and BuildConflicts where they were unknown. Adds all
    /// or none. Returns the number of lines added. They are then on disk, and every clone sees
    /// them. Blocks. A call for many packages costs no more than a call for one.
    ///
    /// # Errors
    /// Returns a [`SourcesError`]. It is rejected if a package could not be read back, and
    /// unavailable if writing fails.
    pub fn add(&self, packages: Vec<SourcePackage>) -> Result<usize, SourcesError> {
        let inner = &*self.inner;
        // Held while writing, so that nobody else adds the same packages. Readers are only blocked
        // at the end.
        let mut end = inner.end.lock().expect(UNPOISONED);
        let mut lines = String::new();
        let mut new = 0;
        {
            let known = inner.known.read().expect(UNPOISONED);
            let mut seen = std::collections::BTreeSet::new();
            let adds = |p: &&SourcePackage| match known.get(&p.nvr) {
                None => true,
                Some(before) => before.conflicts.is_none() && p.conflicts.is_some(),
            };
            for package in packages.iter().filter(adds) {
                if seen.insert(&package.nvr) {
                    lines.push_str(&package.to_line()?);
                    new += 1;
                }
            }
            if known.is_full_with(new) {
                return Err(SourcesError::TooMany { path: inner.path.clone() });
            }
        }
        if new > 0 {
            inner.append(&mut end, lines.as_bytes())?;
        }
        let mut known = inner.known.write().expect(UNPOISONED);
        for package in packages {
            known.take(package);
        }
        Ok(new)
    }
}

impl Inner {
    fn append(&self, end: &mut End, bytes: &[u8]) -> Result<(), SourcesError> {
        let failed = |source| SourcesError::Append { path: self.path.clone(), source };
        let (file, length) = match end {
            End::ReadOnly => return Err(SourcesError::ReadOnly { path: self.path.clone() }),
            End::Unknown => {
                return Err(failed(io::Error::other("an earlier line could not be taken back; open it again")));
            }
            End::At(file, length) => (file, length),
        };
        if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_data()) {
            // Half a line in the middle would spoil the file for good.
            if file.set_len(*length).is_err() {
                *end = End::Unknown;
            }
            return Err(failed(error));
        }
        *length += bytes.len() as u64;
        Ok(())
    }

    /// Ends the last line if its newline is missing, as text editors may leave it.
    fn end_last_line(&self) -> Result<(), SourcesError> {
        use std::os::unix::fs::FileExt as _;
        let mut end = self.end.lock().expect(UNPOISONED);
        let End::At(file, length) = &*end else { return Ok(()) };
        let mut last = [b'\n'];
        if let Some(at) = length.checked_sub(1) {
            let read = file.read_exact_at(&mut last, at);
            read.map_err(|source| SourcesError::Read { path: self.path.clone(), source })?;
        }
        if last == [b'\n'] { Ok(()) } else { self.append(&mut end, b"\n") }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tempfile::tempdir;

    use super::*;

    fn package(nvr: &str, requires: &[&str]) -> SourcePackage {
        SourcePackage {
            nvr: Nvr::parse(nvr).unwrap(),
            epoch: None,
            requires: requires.iter().map(|r| (*r).to_owned()).collect(),
            conflicts: Some(Vec::new()),
            buildarchs: Vec::new(),
            exclusivearch: Vec::new(),
            excludearch: Vec::new(),
            made_on: None,
        }
    }

    fn nvr(text: &str) -> Nvr {
        Nvr::parse(text).unwrap()
    }

    /// Lines from before BuildConflicts counted do not mention them. Such packages are read again,
    /// once.
    #[test]
    fn conflicts_nobody_had_looked_for_are_added() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let old = concat!(
            r#"{"nvr":"a-1-1","epoch":null,"requires":["gcc"],"buildarchs":[],"exclusivearch":[],"excludearch":[],"#,
            r#""made_on":"riscv64"}"#
        );
        std::fs::write(&path, format!("{old}\n")).unwrap();
        let a = Nvr::parse("a-1-1").unwrap();
        let store = SourceStore::open(&path).unwrap();
        assert_eq!(store.get(&a).unwrap().requires, ["gcc"], "it is of use until then");
        assert_eq!(store.missing([a.clone()]), vec![a.clone()]);
        let looked = SourcePackage { conflicts: Some(vec!["b".to_owned()]), ..package("a-1-1", &["gcc"]) };
        assert_eq!(store.add(vec![looked.clone()]).unwrap(), 1);
        let is_whole = |store: &SourceStore| {
            let found = store.get(&a).unwrap();
            assert_eq!(found.conflicts, Some(vec!["b".to_owned()]));
            assert_eq!(found.made_on.as_deref(), Some("riscv64"), "what was known stays");
            assert_eq!((store.missing([a.clone()]), store.contradictions()), (vec![], 0));
            assert_eq!(store.add(vec![looked.clone()]).unwrap(), 0);
        };
        is_whole(&store);
        drop(store);
        is_whole(&SourceStore::open(&path).unwrap());
        // A package without conflicts is complete, too.
        let none = Nvr::parse("none-1-1").unwrap();
        let path = dir.path().join("c.jsonl");
        SourceStore::open(&path).unwrap().add(vec![package("none-1-1", &[])]).unwrap();
        assert!(SourceStore::open(&path).unwrap().missing([none]).is_empty());
    }

    #[test]
    fn what_is_added_is_seen_by_all_and_after_opening_again() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let store = SourceStore::open(&path).unwrap();
        let other = store.clone();
        assert!(store.is_empty());
        let added = store.add(vec![package("a-1-1", &["gcc"]), package("b-1-1", &[]), package("a-1-1", &["make"])]);
        assert_eq!((added.unwrap(), other.len(), other.contradictions()), (2, 2, 1));
        assert_eq!(other.get(&nvr("a-1-1")).unwrap().requires, ["gcc"], "the first counts");
        assert_eq!(other.add(vec![package("b-1-1", &[])]).unwrap(), 0);
        let missing = store.missing(["c-1-1", "a-1-1", "b-2-1", "c-1-1"].map(nvr));
        assert_eq!(missing, ["c-1-1", "b-2-1"].map(nvr));
        drop((store, other));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        let again = SourceStore::open(&path).unwrap();
        assert_eq!((again.len(), again.cut(), again.contradictions()), (2, 0, 0));
        assert_eq!(again.get(&nvr("b-1-1")).unwrap().requires, [""; 0], "known to need nothing");
        assert_eq!(again.get(&nvr("c-1-1")), None, "not known");
    }

    #[test]
    fn one_at_a_time() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let store = SourceStore::open(&path).unwrap();
        assert!(matches!(SourceStore::open(&path), Err(SourcesError::InUse { .. })));
        drop(store);
        SourceStore::open(&path).unwrap();
    }

    /// Tests every length that a crash can leave. Lines before it stay, and the next line added is
    /// intact.
    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let lines = [package("a-1-1", &["gcc"]), package("b-1-1", &["make"])].map(|p| p.to_line().unwrap());
        let whole = lines.concat();
        for length in 0..=whole.len() {
            std::fs::write(&path, whole.get(..length).unwrap()).unwrap();
            let store = SourceStore::open(&path).unwrap();
            // A line is whole even without its newline.
            let kept = usize::from(length + 1 >= lines[0].len()) + usize::from(length + 1 >= whole.len());
            assert_eq!(store.len(), kept, "{length}");
            assert_eq!(store.add(vec![package("c-1-1", &[])]).unwrap(), 1);
            drop(store);
            let again = SourceStore::open(&path).unwrap();
            assert_eq!((again.len(), again.cut()), (kept + 1, 0), "{length}");
        }
    }

    /// Some file systems leave this after a power failure.
    #[test]
    fn zeros_and_several_torn_lines_are_cut_off() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let line = package("a-1-1", &["gcc"]).to_line().unwrap();
        for rest in ["\0".repeat(5000), "{\"nvr\n\0\0\0\n\0".to_owned()] {
            std::fs::write(&path, line.clone() + &rest).unwrap();
            let store = SourceStore::open(&path).unwrap();
            assert_eq!((store.len(), store.cut()), (1, rest.len() as u64));
            drop(store);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), line);
        }
    }

    /// This is not the result of a crash, and the lines after it must not be lost.
    #[test]
    fn a_wrong_line_with_good_ones_behind_it_is_an_error() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let line = |nvr: &str| package(nvr, &["gcc"]).to_line().unwrap();
        let text = line("a-1-1") + "{\"nvr\n" + &line("b-1-1");
        std::fs::write(&path, &text).unwrap();
        let error = SourceStore::open(&path).unwrap_err();
        assert!(matches!(error, SourcesError::Line { line: 2, .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[rstest]
    #[case::longer(package("b-1-1", &[&"x".repeat(5000)]))]
    #[case::another_nvr(SourcePackage {
        nvr: Nvr { name: "b".into(), version: "1-1".into(), release: "1".into() },
        ..package("b-1-1", &[])
    })]
    fn all_or_none(#[case] wrong: SourcePackage) {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let store = SourceStore::open(&path).unwrap();
        let error = store.add(vec![package("a-1-1", &[]), wrong]).unwrap_err();
        assert!(matches!(error, SourcesError::NotKept { .. }), "{error}");
        assert_eq!((store.len(), std::fs::metadata(&path).unwrap().len()), (0, 0));
    }

    #[test]
    fn what_is_only_read_is_not_added_to() {
        let store = SourceStore::of("b.jsonl".into(), SourcePackages::default());
        assert!(matches!(store.add(vec![package("a-1-1", &[])]), Err(SourcesError::ReadOnly { .. })));
        assert!(store.get(&nvr("a-1-1")).is_none());
        assert_eq!(store.add(vec![]).unwrap(), 0);
    }
}
