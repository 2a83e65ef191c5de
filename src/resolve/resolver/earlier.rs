//! The answers of an earlier repository and what they depend on, kept for the next one.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::resolve::native::{Handover, Key, NodeKeys, Read, ReadKeys, Signatures};
use crate::resolve::sig::{Mixer, Sig};
use crate::resolve::universe::{PkgId, Universe};

/// Names an answer. Two answers with the same name, of one series of repositories, are equal:
/// verdict, packages by name and architecture, and distances.
///
/// A package whose version changed is still the same package
/// ([`Answers::is_renewed`](super::answers::Answers::is_renewed)). Where a repository has several
/// packages of one name and architecture, another version is another package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AnswerId(pub u64);

/// The name of an answer that has none yet.
pub(super) const UNNAMED: AnswerId = AnswerId(0);

/// Largest share of numbers of packages that are gone, as divisor, plus a fixed number. If there are
/// more, everything is solved anew, and the packages are numbered anew.
const GONE_MAX: usize = 50_000;

/// What is kept of one repository, so that the next one need not be solved whole. Give it to
/// [`Prepared::resolve_all`](super::Prepared::resolve_all) of the next repository of the same series
/// (collection and architecture). A repository of another series, mode or group is no error:
/// everything is solved then.
///
/// It is empty at first. Memory ([`Earlier::bytes`]): 5.8 MB for 11,668 packages and 2,530 different
/// questions.
#[derive(Default)]
pub struct Earlier {
    /// Everything that all answers depend on beside the repository.
    pub(super) context: Sig,
    pub(super) keys: FxHashMap<Sig, Key>,
    pub(super) signatures: Signatures,
    /// The hash of each package's name, version and architecture, by key.
    pub(super) nevras: Vec<Sig>,
    /// The answer to each question.
    pub(super) entries: FxHashMap<Sig, Arc<Entry>>,
    pub(super) next_id: u64,
}

impl std::fmt::Debug for Earlier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Earlier").field("questions", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Earlier {
    /// Returns the number of different questions whose answers are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Checks whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns about how many bytes of memory it takes. Cost: O(answers).
    pub fn bytes(&self) -> usize {
        let entries: usize = self.entries.values().map(|entry| entry.bytes()).sum();
        let per_key = size_of::<Sig>() + size_of::<Key>() + 1;
        let per_entry = size_of::<Sig>() + size_of::<Arc<Entry>>() + 1;
        let tables = self.keys.capacity() * per_key + self.entries.capacity() * per_entry;
        entries + tables + self.signatures.bytes() + size_of_val(self.nevras.as_slice())
    }

    /// Forgets everything if most packages that it numbers are gone.
    pub(super) fn bound(&mut self, universe: &Universe) {
        if self.keys.len() > 2 * universe.len() + GONE_MAX {
            *self = Self { next_id: self.next_id, ..Self::default() };
        }
    }

    /// Returns the keys of the packages of the next repository, and the hashes of their names and
    /// versions by key. Packages that were not there get new ones.
    ///
    /// A package is the one with its name and architecture. If there are several of these, its
    /// version counts too, and if these are the same, their order.
    pub(super) fn number(&mut self, universe: &Universe) -> (NodeKeys, Vec<Sig>) {
        let mut of_kin = vec![0_u32; universe.len()];
        universe.ids().for_each(|id| of_kin[universe.kin(id) as usize] += 1);
        let mut seen: FxHashMap<Sig, u64> = FxHashMap::default();
        let mut nevras = vec![Sig::default(); self.keys.len() + 1];
        let keys = universe.ids().map(|id| {
            let package = universe.package(id);
            let mut mixer = Mixer::default();
            mixer.text(&package.name);
            mixer.text(&package.arch);
            let mut full = mixer.clone();
            full.add(package.evr.epoch().into());
            full.text(&package.evr.version);
            full.text(&package.evr.release);
            let full = full.finish();
            let identity = if of_kin[universe.kin(id) as usize] == 1 {
                mixer.finish()
            } else {
                let number = seen.entry(full).or_default();
                *number += 1;
                mixer.add(*number);
                mixer.sig(full);
                mixer.finish()
            };
            let next = PkgId::from_index(self.keys.len() + 1).0;
            let key = *self.keys.entry(identity).or_insert(next);
            if nevras.len() <= key as usize {
                nevras.resize(key as usize + 1, Sig::default());
            }
            nevras[key as usize] = full;
            key
        });
        let keys: Vec<Key> = keys.collect();
        nevras.resize(self.keys.len() + 1, Sig::default());
        let keys = NodeKeys::new(keys.into_iter(), nevras.len());
        (keys, nevras)
    }
}

/// One answer with what it depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) id: AnswerId,
    /// The hash of the packages that matched the question.
    pub(super) candidates: Sig,
    pub(super) ok: bool,
    pub(super) handover: Option<Handover>,
    /// The hash of what libsolv may have read, if it answered and we found out.
    pub(super) reach: Option<Sig>,
    /// Whether the closure below is whole. Otherwise it goes on top of the base.
    pub(super) whole: bool,
    /// The closure; what else the search read, in the order of `ends`.
    keys: Box<[Key]>,
    /// Where in `keys` these end: the closure, all packages decided for, those that were decided
    /// against because a set ran empty, all decided against. The rest was compared.
    ends: [u32; 4],
    /// Distance of each package of the closure, base included; 0 if it is not reached.
    pub(super) distances: Box<[u8]>,
}

impl Entry {
    /// Makes an entry. `closure` is in file order; if it is not `whole`, it is without the base.
    pub(super) fn new(candidates: Sig, ok: bool, closure: Vec<Key>, distances: Box<[u8]>, read: &ReadKeys) -> Self {
        let mut keys = closure;
        let mut ends = [0; 4];
        let mut end = |place: usize, keys: &[Key]| ends[place] = PkgId::from_index(keys.len()).0;
        end(0, &keys);
        let mut closure = keys.clone();
        closure.sort_unstable();
        keys.extend(read.there.iter().filter(|key| closure.binary_search(key).is_err()));
        end(1, &keys);
        keys.extend(&read.emptied);
        end(2, &keys);
        let mut emptied = read.emptied.clone();
        emptied.sort_unstable();
        keys.extend(read.against.iter().filter(|key| emptied.binary_search(key).is_err()));
        end(3, &keys);
        keys.extend(&read.compared);
        let keys = keys.into_boxed_slice();
        Self { id: UNNAMED, candidates, ok, handover: None, reach: None, whole: false, keys, ends, distances }
    }

    /// Returns the entry of an answer that libsolv gave. Its closure is whole.
    pub(super) fn by_libsolv(self, handover: Option<Handover>, reach: Option<Sig>) -> Self {
        Self { handover, reach, whole: true, ..self }
    }

    /// Returns the entry with other distances. It needs a new name.
    pub(super) fn measured(self, distances: Box<[u8]>) -> Self {
        Self { id: UNNAMED, distances, ..self }
    }

    pub(super) fn closure(&self) -> &[Key] {
        &self.keys[..self.ends[0] as usize]
    }

    pub(super) fn read(&self) -> Read<'_> {
        let [_, there, emptied, against] = self.ends.map(|end| end as usize);
        Read {
            there: &self.keys[..there],
            against: &self.keys[there..against],
            emptied: &self.keys[there..emptied],
            compared: &self.keys[against..],
        }
    }

    /// Checks whether two answers are equal, whatever they depend on.
    pub(super) fn equals(&self, other: &Self) -> bool {
        (self.ok, self.whole, self.closure()) == (other.ok, other.whole, other.closure())
            && self.distances == other.distances
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + 2 * size_of::<usize>() + size_of_val(&*self.keys) + self.distances.len()
    }
}
