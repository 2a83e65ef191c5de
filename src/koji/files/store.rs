//! Build requirements, kept for ever: `buildrequires.jsonl` of a cache directory.
//!
//! A source package never changes, so what was once learnt of one is never asked for again. The file is only appended
//! to; what a crash left at its end is cut off when it is opened. What is not known is not in it: nothing is stored for
//! a package whose file could not be found.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use super::super::buildrequires::{SourcePackages, SourcesError, for_each};
use crate::model::Nvr;
use crate::repodata::SourcePackage;

const UNPOISONED: &str = "no thread panics while it holds the lock";

/// Source packages by NVR, shared: clones see what is added through any of them.
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
    /// Nowhere: it is only read.
    ReadOnly,
    /// Behind so many bytes of this file.
    At(File, u64),
    /// There may be half a line at the end which could not be taken back; opened again, it is cut off.
    Unknown,
}

impl SourceStore {
    /// Opens `path` to be read and appended to; it is made where there is none. A line at its end that is not whole, as
    /// a crash leaves one, is cut off ([`SourceStore::cut`]). Cost: reads the file, about 0.1 s for 24,000 packages.
    ///
    /// # Errors
    /// [`SourcesError`]: rejected when a line is wrong that has good ones behind it, or when another process has the
    /// file open.
    pub fn open(path: &Path) -> Result<Self, SourcesError> {
        let failed = |source| SourcesError::Read { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(SourcesError::InUse { path: path.to_owned() }),
            // A file system without locks: nobody can tell.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let mut known = SourcePackages::default();
        // Where the wrong lines begin, and what is wrong with the first.
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
                "build requirements: cut off what a crash left"
            );
            file.set_len(at).map_err(failed)?;
            length = at;
        }
        let end = Mutex::new(End::At(file, length));
        let store = Self { inner: Arc::new(Inner { path: path.to_owned(), known: RwLock::new(known), end, cut }) };
        store.inner.end_last_line()?;
        Ok(store)
    }

    /// Source packages that were read from `path` and are not added to.
    pub fn of(path: PathBuf, packages: SourcePackages) -> Self {
        let (known, end) = (RwLock::new(packages), Mutex::new(End::ReadOnly));
        Self { inner: Arc::new(Inner { path, known, end, cut: 0 }) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Bytes that were cut off its end when it was opened.
    pub fn cut(&self) -> u64 {
        self.inner.cut
    }

    /// What a source package needs; `None`: not known, which is not the same as nothing. Cost: logarithmic.
    pub fn get(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>> {
        self.inner.known.read().expect(UNPOISONED).get(nvr).cloned()
    }

    /// Those of `nvrs` that are not known, or not wholly (kept before BuildConflicts counted), each once, in their
    /// order.
    pub fn missing(&self, nvrs: impl IntoIterator<Item = Nvr>) -> Vec<Nvr> {
        let known = self.inner.known.read().expect(UNPOISONED);
        let mut missing: indexmap::IndexSet<Nvr> = indexmap::IndexSet::new();
        missing.extend(nvrs.into_iter().filter(|nvr| !known.is_complete(nvr)));
        missing.into_iter().collect()
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.inner.known.read().expect(UNPOISONED).iter().len()
    }

    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often something else was said about an NVR than before. The first counts: an NVR is built once.
    pub fn contradictions(&self) -> u64 {
        self.inner.known.read().expect(UNPOISONED).contradictions
    }

    /// Adds those whose NVRs are not known, and BuildConflicts where they were not, all or none; tells of how many.
    /// They are on disk when this returns, and seen by every clone. Blocks; one call for many packages costs no more
    /// than for one.
    ///
    /// # Errors
    /// [`SourcesError`]: rejected when one could not be read back, unavailable when writing fails.
    pub fn add(&self, packages: Vec<SourcePackage>) -> Result<usize, SourcesError> {
        let inner = &*self.inner;
        // Held for as long as it takes to write, so that nobody else adds the same; readers go on until the end.
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

    /// A whole line without an end, as people's editors leave it, gets one.
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

    /// Lines from before BuildConflicts counted say nothing of them: such sources are looked at again, once.
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
        // None at all is an answer as well.
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

    /// Every length a crash can leave; the lines before it stay, and what is added next is not spoilt.
    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let lines = [package("a-1-1", &["gcc"]), package("b-1-1", &["make"])].map(|p| p.to_line().unwrap());
        let whole = lines.concat();
        for length in 0..=whole.len() {
            std::fs::write(&path, whole.get(..length).unwrap()).unwrap();
            let store = SourceStore::open(&path).unwrap();
            // A line is whole without its end.
            let kept = usize::from(length + 1 >= lines[0].len()) + usize::from(length + 1 >= whole.len());
            assert_eq!(store.len(), kept, "{length}");
            assert_eq!(store.add(vec![package("c-1-1", &[])]).unwrap(), 1);
            drop(store);
            let again = SourceStore::open(&path).unwrap();
            assert_eq!((again.len(), again.cut()), (kept + 1, 0), "{length}");
        }
    }

    /// What some file systems leave after a power failure.
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

    /// That is no crash, and what is behind it must not go.
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
