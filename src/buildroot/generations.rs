//! Remembers from which buildroot the dependency changes of each package are measured, and what was
//! in it.
//!
//! The last builds of a distribution's packages are spread over hundreds of repositories. Without
//! this memory, every new repository would read all their resolutions again; a dozen take some four
//! seconds. Everything remembered follows from the log alone. It may be forgotten at any time and
//! is never written down.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smol_str::SmolStr;

use super::installed::as_move;
use super::verdicts::{Closures, parse_nevra};
use crate::event::DependencyMove;
use crate::fold::EvidenceKind;
use crate::model::{Name, RepoId};
use crate::resolve::{Installed, changes_of_rest};

/// Most older resolutions searched for one that has a package in the built version.
pub(crate) const BASES_TRIED: usize = 8;
/// Most package names (with version and architecture) in one table. Beyond that, the table forgets
/// everything. The bound is several times what a distribution has.
const NAMES_MAX: usize = 500_000;
/// Number of resolutions whose packages stay numbered.
const NUMBERED: usize = 12;

/// Resolutions of one collection and architecture that closures can be taken from, newest first.
/// Each has its age, repository, and attachment.
#[derive(Default)]
pub(crate) struct Bases {
    list: Vec<((i64, i64), RepoId, String)>,
    digests: RefCell<FxHashMap<usize, blake3::Hash>>,
}

impl Bases {
    pub(crate) fn new(mut list: Vec<((i64, i64), RepoId, String)>) -> Self {
        list.sort_unstable_by(|a, b| b.cmp(a));
        Self { list, digests: RefCell::default() }
    }

    /// Returns the index of the first resolution that is not newer than this age.
    pub(crate) fn first(&self, age: (i64, i64)) -> usize {
        self.list.partition_point(|(a, ..)| *a > age)
    }

    /// Returns the resolutions that a search from this index visits.
    pub(crate) fn tried(&self, first: usize) -> impl Iterator<Item = (RepoId, &str)> {
        self.list.iter().skip(first).take(BASES_TRIED).map(|(_, id, digest)| (*id, digest.as_str()))
    }

    /// Returns the resolutions newer than those of a search from this index, the oldest first. At
    /// most as many as a search visits.
    pub(crate) fn after(&self, first: usize) -> impl Iterator<Item = (RepoId, &str)> {
        let newer = self.list.iter().take(first).rev().take(BASES_TRIED);
        newer.map(|(_, id, digest)| (*id, digest.as_str()))
    }

    /// Returns a digest that identifies the resolutions which a search from this index visits.
    pub(crate) fn digest(&self, first: usize) -> blake3::Hash {
        *self.digests.borrow_mut().entry(first).or_insert_with(|| {
            let mut hasher = blake3::Hasher::new();
            for (id, digest) in self.tried(first) {
                hasher.update(&id.0.to_le_bytes());
                hasher.update(digest.as_bytes());
                hasher.update(b"\n");
            }
            hasher.finalize()
        })
    }
}

/// Everything that decides from which buildroot a package's changes are measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BaselineKey {
    /// The last build.
    pub(crate) kind: EvidenceKind,
    pub(crate) source: SmolStr,
    /// Earlier names of the source.
    pub(crate) former: Vec<SmolStr>,
    /// The repository it was built in.
    pub(crate) repo: RepoId,
    /// The attachment with the hub's record, if changes are measured from that.
    pub(crate) recorded: Option<Box<str>>,
    /// Identifies the resolutions that are searched for our own closure.
    pub(crate) searched: blake3::Hash,
    /// Index in [`Bases`] where that search starts. It groups packages with the same search. It
    /// does not count in comparisons, because `searched` covers it.
    pub(crate) place: usize,
}

impl BaselineKey {
    /// Returns every name of the source.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SmolStr> + Clone {
        std::iter::once(&self.source).chain(&self.former)
    }

    /// Checks whether both keys lead to the same buildroot.
    fn is_as(&self, other: &Self) -> bool {
        let of = |k: &Self| (k.kind, k.repo, k.searched);
        of(self) == of(other)
            && (&self.source, &self.former) == (&other.source, &other.former)
            && self.recorded == other.recorded
    }
}

/// The packages a source package has installed in one resolution: numbers of a [`Table`], in the
/// order of their names.
pub(crate) type Members = Arc<[u32]>;

/// The buildroot from which changes are measured.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// The repository it came from.
    pub(crate) repo: RepoId,
    /// The attachment with the packages that the hub recorded, if that says more than our
    /// prediction.
    pub(crate) recorded: Option<Box<str>>,
    /// Our prediction of the installed packages, if we have one.
    pub(crate) expected: Option<Members>,
}

/// Package names and bases of one collection and architecture.
#[derive(Default)]
pub(crate) struct Table {
    names: IndexSet<Box<str>, FxBuildHasher>,
    /// Numbers of each resolution's packages, by attachment, most recently used first.
    numbered: VecDeque<(String, Arc<[u32]>)>,
    bases: FxHashMap<Name, BaseOfPackage>,
    /// The attachment whose changes were measured last, and the number of that measuring.
    measured: Option<(String, u64)>,
}

struct BaseOfPackage {
    key: BaselineKey,
    base: Option<Base>,
    /// The number of the measuring in which the package's changes since this base were measured
    /// last. 0: in none.
    measured: u64,
}

/// One measuring of the changes of all packages, those of a resolution.
#[derive(Clone, Copy)]
pub(crate) struct Measuring {
    this: u64,
    /// The measuring of the resolution before, if that was the one before.
    before: Option<u64>,
}

impl Table {
    /// Forgets packages that no longer exist. Forgets everything if the table has become too large.
    pub(crate) fn tidy(&mut self, is_there: impl Fn(&Name) -> bool) {
        if self.names.len() > NAMES_MAX {
            *self = Self::default();
        }
        self.bases.retain(|package, _| is_there(package));
    }

    /// Returns the result of an earlier search with the same key. Returns `None` if there was no
    /// such search.
    pub(crate) fn recall(&self, package: &str, key: &BaselineKey) -> Option<&Option<Base>> {
        self.bases.get(package).filter(|of| of.key.is_as(key)).map(|of| &of.base)
    }

    pub(crate) fn remember(&mut self, package: &str, key: BaselineKey, base: Option<Base>) {
        self.bases.insert(package.into(), BaseOfPackage { key, base, measured: 0 });
    }

    /// Begins to measure. `present` is the attachment of the resolution before.
    pub(crate) fn begin(&self, present: Option<&str>) -> Measuring {
        let last = self.measured.as_ref();
        Measuring {
            this: last.map_or(0, |(_, number)| *number) + 1,
            before: last.filter(|(digest, _)| Some(digest.as_str()) == present).map(|(_, number)| *number),
        }
    }

    /// Checks whether a package's changes were measured in the resolution before, since the base that
    /// was recalled last.
    pub(crate) fn was_measured(&self, package: &str, measuring: Measuring) -> bool {
        self.bases.get(package).is_some_and(|of| Some(of.measured) == measuring.before)
    }

    /// Notes that a package's changes since the base that was recalled last are known.
    pub(crate) fn note_measured(&mut self, package: &str, measuring: Measuring) {
        if let Some(of) = self.bases.get_mut(package) {
            of.measured = measuring.this;
        }
    }

    /// Notes that the changes of all packages of this attachment are known.
    pub(crate) fn end(&mut self, attachment: &str, measuring: Measuring) {
        self.measured = Some((attachment.to_owned(), measuring.this));
    }

    /// Returns the name behind a number.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get_index(number as usize).map_or("", |name| name)
    }

    /// Returns the numbers of a resolution's packages.
    pub(crate) fn numbers(&mut self, digest: &str, closures: &Closures) -> Arc<[u32]> {
        if let Some(at) = self.numbered.iter().position(|(d, _)| d == digest)
            && let Some(entry) = self.numbered.remove(at)
        {
            let numbers = Arc::clone(&entry.1);
            self.numbered.push_front(entry);
            return numbers;
        }
        let names = &mut self.names;
        let mut number = |name: &String| {
            let at = names.get_index_of(name.as_str()).unwrap_or_else(|| names.insert_full(name.as_str().into()).0);
            u32::try_from(at).unwrap_or(u32::MAX)
        };
        let numbers: Arc<[u32]> = closures.unit.packages.iter().map(&mut number).collect();
        self.numbered.push_front((digest.to_owned(), Arc::clone(&numbers)));
        self.numbered.truncate(NUMBERED);
        numbers
    }

    /// Returns the packages that a source package has in a resolution. Returns `None` if it does
    /// not resolve there.
    pub(crate) fn members(&mut self, digest: &str, closures: &Closures, package: &str) -> Option<Members> {
        let numbers = self.numbers(digest, closures);
        Some(closures.closure(package)?.0.iter().map(|index| numbers[*index as usize]).collect())
    }

    /// Returns what changed in a package's buildroot from `old` to a new resolution, with distances
    /// (0: not reached). `numbers` are the numbers of the new resolution's packages. The result is
    /// also empty if the package does not resolve there or had nothing before. It then means "not
    /// known", see [`crate::resolve::changes`].
    ///
    /// Cost: if nothing changed, one comparison of numbers per package; otherwise about one
    /// comparison of texts per package.
    pub(crate) fn moves(
        &self,
        old: &[u32],
        new: &Closures,
        numbers: &[u32],
        package: &str,
    ) -> Vec<(DependencyMove, u8)> {
        let Some((closure, distances)) = new.closure(package) else { return Vec::new() };
        let same = || old.iter().eq(closure.iter().map(|index| &numbers[*index as usize]));
        if old.is_empty() || closure.is_empty() || same() {
            return Vec::new();
        }
        let (before, after) = self.rest(old, new, closure, distances);
        changes_of_rest(&before, &after).into_iter().map(as_move).collect()
    }

    /// Returns both closures without their common packages. Both are in the order of names, so one
    /// walk over both is enough. If the order were wrong, more packages would be left, but the
    /// result would still be right.
    fn rest(&self, old: &[u32], new: &Closures, closure: &[u32], distances: &[u8]) -> (Vec<Installed>, Vec<Installed>) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (old.iter().peekable(), closure.iter().zip(distances).peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (Some(a), Some((b, _))) => self.name(**a).cmp(&new.unit.packages[**b as usize]),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return (before, after),
            };
            if order.is_le()
                && let Some(number) = a.next()
                && order.is_lt()
            {
                let nevra = parse_nevra(self.name(*number)).expect("names of closures were parsed before");
                before.push(Installed { nevra, distance: None });
            }
            if order.is_ge()
                && let Some((index, distance)) = b.next()
                && order.is_gt()
            {
                after.push(new.at(*index, *distance));
            }
        }
    }
}

/// Everything remembered.
#[derive(Default)]
pub(crate) struct Remembered(FxHashMap<(Name, Name), Table>);

impl Remembered {
    /// Returns the table of a collection and architecture.
    pub(crate) fn table(&mut self, collection: &Name, arch: &str) -> &mut Table {
        self.0.entry((collection.clone(), arch.into())).or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::buildroot::verdicts::{FORMAT, SolverCounts, SourceResult, SourceVerdict, UnitVerdicts};
    use crate::model::BuildId;
    use crate::resolve::changes;

    /// Makes a resolution in which `app` has these packages. The map gives the version and the
    /// distance of each.
    fn resolution(packages: &BTreeMap<u8, (u8, u8)>) -> Closures {
        let all = packages.iter().map(|(p, (version, d))| (format!("p{p}-0:{version}-1.noarch"), *d));
        let (packages, distances): (Vec<String>, Vec<u8>) = all.collect::<BTreeMap<_, _>>().into_iter().unzip();
        let closure: Vec<u32> = (0..).take(packages.len()).collect();
        let verdict = SourceVerdict::Ok { closure: closure.into(), distances: distances.into(), erased: Vec::new() };
        let app = SourceResult { source: "1-1".into(), noarch: false, in_repo: Default::default(), verdict };
        Closures::new(UnitVerdicts {
            format: FORMAT,
            repo: RepoId(1),
            arch: "x86_64".into(),
            mode: "two".into(),
            solver: String::new(),
            inputs: String::new(),
            group_problems: Vec::new(),
            group: Vec::new(),
            packages,
            built_from: Vec::new(),
            sources: BTreeMap::from([("app".into(), app)]),
            of_packages: None,
            solvers: SolverCounts::default(),
        })
        .unwrap()
    }

    fn closure() -> impl Strategy<Value = BTreeMap<u8, (u8, u8)>> {
        proptest::collection::btree_map(0_u8..20, (1_u8..4, 0_u8..4), 0..12)
    }

    proptest! {
        /// What is remembered of a closure gives the same changes as the closure itself.
        #[test]
        fn moves_are_those_between_closures(old in closure(), other in closure(), new in closure()) {
            let (old, other, new) = (resolution(&old), resolution(&other), resolution(&new));
            let mut table = Table::default();
            // Number other packages first, so that the numbers are not in the order of names.
            table.numbers("other", &other);
            let members = table.members("old", &old, "app").unwrap();
            let numbers = table.numbers("new", &new);
            let expected: Vec<_> =
                changes(&old.installed("app").unwrap(), &new.installed("app").unwrap())
                    .into_iter()
                    .map(as_move)
                    .collect();
            prop_assert_eq!(table.moves(&members, &new, &numbers, "app"), expected);
            prop_assert_eq!(table.moves(&members, &new, &numbers, "another"), vec![]);
        }
    }

    #[test]
    fn only_the_same_question_is_answered() {
        let key = BaselineKey {
            kind: EvidenceKind::Real(BuildId(1)),
            former: Vec::new(),
            source: "1-1".into(),
            repo: RepoId(7),
            recorded: None,
            searched: blake3::hash(b"a"),
            place: 3,
        };
        let mut table = Table::default();
        table.remember("app", key.clone(), None);
        assert!(table.recall("app", &BaselineKey { place: 4, ..key.clone() }).is_some(), "the place says nothing");
        assert!(table.recall("lib", &key).is_none());
        for other in [
            BaselineKey { kind: EvidenceKind::Real(BuildId(2)), ..key.clone() },
            BaselineKey { source: "1-2".into(), ..key.clone() },
            BaselineKey { repo: RepoId(8), ..key.clone() },
            BaselineKey { recorded: Some("x".into()), ..key.clone() },
            BaselineKey { searched: blake3::hash(b"b"), ..key.clone() },
        ] {
            assert!(table.recall("app", &other).is_none(), "{other:?}");
        }
        table.tidy(|package| package != "app");
        assert!(table.recall("app", &key).is_none());
    }

    #[test]
    fn what_is_searched_is_a_part_of_the_question() {
        let of = |list: &[i64]| Bases::new(list.iter().map(|n| ((*n, 0), RepoId(*n), format!("digest {n}"))).collect());
        let (few, more) = (of(&[1, 2, 3]), of(&[1, 2, 3, 9]));
        assert_eq!((few.first((3, 0)), more.first((3, 0)), more.first((9, 0))), (0, 1, 0));
        assert_eq!(few.digest(0), more.digest(1), "one that is newer than the build does not count");
        assert_ne!(few.digest(0), more.digest(0));
        assert_ne!(few.digest(0), of(&[1, 3]).digest(0), "one that came late does");
        assert_eq!(more.tried(1).map(|(r, _)| r.0).collect::<Vec<_>>(), [3, 2, 1]);
    }
}
