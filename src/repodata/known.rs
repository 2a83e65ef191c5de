//! Packages that were read before, by the bytes of their elements in `primary.xml`. Two repositories
//! that follow one another, and those of different architectures, have most elements in common.
//!
//! An element that the scanner or the parser has read means the same wherever its bytes come again:
//! both read it from its start to its end and from nothing else. So a repository is a list of
//! elements. Its content is made from them, and is the content that reading the whole file gives.
//! Elements are told apart by a hash of 128 bits with a key that is drawn anew in each process.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use highway::{HighwayHash as _, HighwayHasher, Key};
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::content::{DepId, RepoContent};
use super::cursor::{Odd, Scan};
use super::filelists::names_beyond_primary;
use super::limits::Limits;
use super::oddity::Oddities;
use super::pieces::{self, NotScanned};
use super::scan::{Frame, Scanner, element_at};

/// What is kept.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Repositories whose lists of elements are kept. Each has some hundred kilobytes.
    repos: usize,
    /// Elements above which those that no kept repository has are dropped. A distribution has some
    /// 80,000 for each architecture, and each needs about a kilobyte.
    elements: usize,
    /// Number of elements below which nothing is dropped.
    few: usize,
}

const BOUNDS: Bounds = Bounds { repos: 64, elements: 600_000, few: 20_000 };

/// Packages that were read before. Clones share them.
#[derive(Clone, Debug)]
pub struct KnownPackages {
    limits: Limits,
    pool: Arc<RwLock<Pool>>,
}

impl KnownPackages {
    /// Remembers packages of repositories that are read with these bounds. `key` is drawn anew in
    /// each process. With a known key somebody could make two packages that count as one.
    pub fn new(limits: Limits, key: [u64; 4]) -> Self {
        Self::bounded(limits, key, BOUNDS)
    }

    fn bounded(limits: Limits, key: [u64; 4], bounds: Bounds) -> Self {
        Self { limits, pool: Arc::new(RwLock::new(Pool::new(Key(key), &limits, bounds))) }
    }

    /// Returns the bounds of reading.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn pool(&self) -> RwLockReadGuard<'_, Pool> {
        self.pool.read().expect("no thread panics while it holds the lock")
    }

    fn pool_mut(&self) -> RwLockWriteGuard<'_, Pool> {
        self.pool.write().expect("no thread panics while it holds the lock")
    }

    /// Returns the elements of a repository that is kept, or `None`.
    fn elements(&self, identity: &str) -> Option<Arc<[u32]>> {
        self.pool_mut().used(identity).map(|repo| Arc::clone(&repo.elements))
    }

    /// Reads a `primary.xml` in pieces of `piece` bytes (usually
    /// [`pieces::PIECE`]), and keeps it as
    /// `identity`. [`RepoDir::packages_with`](super::RepoDir::packages_with) does this with a file.
    ///
    /// # Errors
    /// In the same cases as [`pieces::scan`], and if there are too many different packages.
    pub fn read(&self, input: impl Read + Send, piece: usize, identity: &str) -> Result<(), NotScanned> {
        let reader = Reader::new(self);
        let (mut frame, mut elements, mut packages) = (Frame::new(&self.limits), Vec::new(), 0);
        pieces::each(input, piece, |text, last| {
            let mut pool = self.pool_mut();
            frame.piece(text, last, |text, start| {
                let (number, length) = pool.element(text, start)?;
                packages += pool.elements[number as usize].packages.len();
                elements.push(number);
                if packages > self.limits.packages { Err(Odd) } else { Ok(start + length) }
            })
        })?;
        self.pool_mut().keep(identity, elements.into());
        drop(reader);
        Ok(())
    }

    /// Checks whether a repository is kept.
    pub(super) fn has(&self, identity: &str) -> bool {
        self.elements(identity).is_some()
    }

    /// Returns the packages of a repository that is kept, or `None`. Those that were not used for
    /// long are not kept. Several threads can do this side by side.
    pub fn content(&self, identity: &str) -> Option<RepoContent> {
        let reader = Reader::new(self);
        let elements = self.elements(identity)?;
        let content = self.pool().content(&elements);
        self.pool_mut().usual_dependencies = content.dependencies().len();
        drop(reader);
        Some(content)
    }

    /// Checks whether a dependency of a repository that is kept names a path beyond primary.
    pub(super) fn names_beyond_primary(&self, identity: &str) -> Option<bool> {
        let reader = Reader::new(self);
        let elements = self.elements(identity)?;
        let found = self.pool().names_beyond_primary_in(&elements);
        drop(reader);
        Some(found)
    }
}

/// A reader holds numbers of elements. They do not change meanwhile.
struct Reader<'k>(&'k KnownPackages);

impl<'k> Reader<'k> {
    fn new(known: &'k KnownPackages) -> Self {
        known.pool_mut().readers += 1;
        Self(known)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut pool = self.0.pool_mut();
        pool.readers -= 1;
        if pool.readers == 0 {
            pool.tidy();
        }
    }
}

#[derive(Debug)]
struct Element {
    hash: [u64; 2],
    /// Its packages in the pool. There is one, or none if it is left out.
    packages: Range<usize>,
    names_beyond_primary: bool,
}

#[derive(Debug)]
struct KeptRepo {
    identity: String,
    elements: Arc<[u32]>,
}

#[derive(Debug)]
struct Pool {
    bounds: Bounds,
    key: Key,
    /// Reads new elements. Its content has the packages of all elements.
    scanner: Scanner,
    elements: Vec<Element>,
    by_hash: HashMap<[u64; 2], u32, FxBuildHasher>,
    /// What was skipped in an element.
    oddities: FxHashMap<u32, Oddities>,
    /// Paths beyond primary are looked for in each dependency once, by its number.
    beyond_primary: Vec<bool>,
    /// The one used last is at the end.
    repos: VecDeque<KeptRepo>,
    /// Number of different dependencies of the last content.
    usual_dependencies: usize,
    /// Number of elements above which they are looked through.
    many: usize,
    readers: u32,
}

impl Pool {
    fn new(key: Key, limits: &Limits, bounds: Bounds) -> Self {
        Self {
            bounds,
            key,
            scanner: Scanner::new(limits),
            elements: Vec::new(),
            by_hash: HashMap::default(),
            oddities: FxHashMap::default(),
            beyond_primary: Vec::new(),
            repos: VecDeque::new(),
            usual_dependencies: 0,
            many: bounds.few,
            readers: 0,
        }
    }

    /// Returns the number and the length of the element that begins at `start`.
    fn element(&mut self, text: &str, start: usize) -> Scan<(u32, usize)> {
        let element = element_at(text, start).ok_or(Odd)?;
        let hash = HighwayHasher::new(self.key).hash128(element.as_bytes());
        if let Some(number) = self.by_hash.get(&hash) {
            return Ok((*number, element.len()));
        }
        if self.elements.len() >= 2 * self.bounds.elements {
            return Err(Odd);
        }
        let first = self.scanner.content.packages().len();
        let end = self.scanner.element(text, start)?;
        // The element ends at the first `</package>`. If the scanner thinks otherwise, the bytes do
        // not say all.
        if end != start + element.len() {
            return Err(Odd);
        }
        let number = u32::try_from(self.elements.len()).map_err(|_| Odd)?;
        let packages = first..self.scanner.content.packages().len();
        let oddities = std::mem::take(&mut self.scanner.content.oddities);
        if oddities != Oddities::default() {
            self.oddities.insert(number, oddities);
        }
        let names_beyond_primary = self.names_beyond_primary(packages.clone());
        self.elements.push(Element { hash, packages, names_beyond_primary });
        self.by_hash.insert(hash, number);
        Ok((number, element.len()))
    }

    fn names_beyond_primary(&mut self, packages: Range<usize>) -> bool {
        let content = &self.scanner.content;
        for dependency in content.dependencies().skip(self.beyond_primary.len()) {
            self.beyond_primary.push(names_beyond_primary(dependency));
        }
        let named = |dep: DepId| self.beyond_primary[dep.index()];
        let mut packages = content.packages()[packages].iter();
        packages.any(|p| p.provides.iter().copied().chain(p.dependencies()).any(named))
    }

    fn names_beyond_primary_in(&self, elements: &[u32]) -> bool {
        elements.iter().any(|number| self.elements[*number as usize].names_beyond_primary)
    }

    fn used(&mut self, identity: &str) -> Option<&KeptRepo> {
        let at = self.repos.iter().position(|repo| repo.identity == identity)?;
        let repo = self.repos.remove(at)?;
        self.repos.push_back(repo);
        self.repos.back()
    }

    fn keep(&mut self, identity: &str, elements: Arc<[u32]>) {
        self.repos.retain(|repo| repo.identity != identity);
        self.repos.push_back(KeptRepo { identity: identity.to_owned(), elements });
        if self.repos.len() > self.bounds.repos {
            self.repos.pop_front();
        }
    }

    /// Drops what nobody needs while nothing is read.
    fn tidy(&mut self) {
        self.scanner.forget();
        if self.elements.len() > self.many {
            self.drop_unused();
        }
    }

    /// Makes the content of a repository. Dependencies are numbered as they come.
    fn content(&self, elements: &[u32]) -> RepoContent {
        let from = &self.scanner.content;
        let mut numbers: Vec<Option<DepId>> = vec![None; from.dependencies().len()];
        let mut content = RepoContent::with_room(elements.len(), self.usual_dependencies);
        for number in elements {
            for package in &from.packages()[self.elements[*number as usize].packages.clone()] {
                let mut package = package.clone();
                package.renumber(|dep| {
                    let mut new = || content.add_new(from.dependency(dep).clone());
                    *numbers[dep.index()].get_or_insert_with(|| new().expect("the pool has more dependencies"))
                });
                content.push(package);
            }
            if let Some(oddities) = self.oddities.get(number) {
                content.oddities.append(oddities.clone());
            }
        }
        content
    }

    /// Drops the elements that no kept repository has. If there are still too many, the repositories
    /// that were used longest ago are dropped, too.
    fn drop_unused(&mut self) {
        const UNUSED: u32 = u32::MAX;
        let mut new = vec![UNUSED; self.elements.len()];
        let (mut used, mut kept) = (Vec::new(), VecDeque::new());
        for repo in std::mem::take(&mut self.repos).into_iter().rev() {
            if !kept.is_empty() && used.len() > self.bounds.elements / 2 {
                break;
            }
            for number in &*repo.elements {
                if new[*number as usize] == UNUSED {
                    new[*number as usize] = u32::try_from(used.len()).unwrap_or(UNUSED);
                    used.push(*number);
                }
            }
            kept.push_front(repo);
        }
        for repo in &mut kept {
            repo.elements = repo.elements.iter().map(|number| new[*number as usize]).collect();
        }
        let mut content = self.content(&used);
        content.oddities = Oddities::default();
        let mut next = 0;
        let elements = used.iter().map(|number| {
            let Element { hash, packages, names_beyond_primary } = &self.elements[*number as usize];
            let first = next;
            next += packages.len();
            Element { hash: *hash, packages: first..next, names_beyond_primary: *names_beyond_primary }
        });
        self.elements = elements.collect();
        self.by_hash = (0..).zip(&self.elements).map(|(number, element)| (element.hash, number)).collect();
        let oddities = std::mem::take(&mut self.oddities).into_iter();
        let oddities = oddities.map(|(number, oddities)| (new[number as usize], oddities));
        self.oddities = oddities.filter(|(number, _)| *number != UNUSED).collect();
        self.scanner.content = content;
        self.beyond_primary = self.scanner.content.dependencies().map(names_beyond_primary).collect();
        self.repos = kept;
        let most = self.bounds.elements.max(self.elements.len());
        self.many = (self.elements.len() * 2).max(self.bounds.few).min(most);
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
