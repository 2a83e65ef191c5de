//! The distinct `<rpm:entry …>` tags of a file by their bytes, for [`super::scan`].

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::content::{DepId, Requirement};

/// Slots of the smallest table.
const SLOTS_MIN: usize = 1 << 10;

/// A map from the bytes of tags to what they mean. It answers half a million look-ups in a
/// distribution, so it has just the two accesses to memory that one of them needs: the slot and the
/// bytes.
#[derive(Default, Debug)]
pub(super) struct Entries {
    /// The bytes of all tags, one after the other.
    bytes: Vec<u8>,
    /// An open hash table, a power of two long. At least a quarter of the slots are free.
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    start: u32,
    /// Twice the length of the tag in bytes, plus one if `pre` is set. 0 in a free slot.
    length_pre: u32,
    dep: DepId,
}

const FREE: Slot = Slot { hash: 0, start: 0, length_pre: 0, dep: DepId(0) };

impl Slot {
    fn length(self) -> usize {
        (self.length_pre / 2) as usize
    }

    fn entry(self) -> Requirement {
        Requirement { dep: self.dep, pre: self.length_pre % 2 == 1 }
    }
}

/// The hash of a tag, to look it up and to insert it.
#[derive(Clone, Copy)]
pub(super) struct Hash(u32);

impl Hash {
    #[expect(clippy::cast_possible_truncation, reason = "each half of the hash is as good as the other")]
    pub(super) fn of(tag: &[u8]) -> Self {
        let mut hasher = FxHasher::default();
        hasher.write(tag);
        Self(hasher.finish() as u32)
    }
}

impl Entries {
    /// Returns what a tag means, if it was inserted.
    pub(super) fn get(&self, hash: Hash, tag: &[u8]) -> Option<Requirement> {
        let mut at = self.place(hash.0);
        loop {
            let slot = self.slots.get(at)?;
            if slot.length_pre == 0 {
                return None;
            }
            if slot.hash == hash.0 && slot.length() == tag.len() {
                let start = slot.start as usize;
                if self.bytes.get(start..start + tag.len()) == Some(tag) {
                    return Some(slot.entry());
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Inserts a tag that is not in the map and not empty. Returns `None` if the map is full: at 4
    /// GiB of tags.
    pub(super) fn insert(&mut self, hash: Hash, tag: &[u8], entry: Requirement) -> Option<()> {
        if self.used >= self.slots.len() / 4 * 3 {
            let slots = vec![FREE; (self.slots.len() * 2).max(SLOTS_MIN)];
            let before = std::mem::replace(&mut self.slots, slots);
            before.into_iter().filter(|slot| slot.length_pre != 0).for_each(|slot| self.put(slot));
        }
        let start = u32::try_from(self.bytes.len()).ok()?;
        let length = u32::try_from(tag.len()).ok()?.checked_mul(2)?;
        self.bytes.extend_from_slice(tag);
        self.put(Slot { hash: hash.0, start, length_pre: length + u32::from(entry.pre), dep: entry.dep });
        self.used += 1;
        Some(())
    }

    fn place(&self, hash: u32) -> usize {
        hash as usize & self.slots.len().wrapping_sub(1)
    }

    /// Puts a new tag into a free slot. There always is one.
    fn put(&mut self, new: Slot) {
        let mut at = self.place(new.hash);
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.length_pre == 0 {
                *slot = new;
                return;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tag is found again, with its own meaning, however often the table grew. Tags of one hash
    /// are told apart by their bytes.
    #[test]
    fn every_tag_is_found() {
        let mut entries = Entries::default();
        let entry = |i: u32| Requirement { dep: DepId(i), pre: i.is_multiple_of(3) };
        let tag = |i: u32| format!(" name=\"n{i}\"/").into_bytes();
        let hash = |i: u32| if i.is_multiple_of(5) { Hash(7) } else { Hash::of(&tag(i)) };
        for i in 0..5000 {
            assert_eq!(entries.get(hash(i), &tag(i)), None, "{i}");
            entries.insert(hash(i), &tag(i), entry(i)).unwrap();
        }
        for i in 0..5000 {
            assert_eq!(entries.get(hash(i), &tag(i)), Some(entry(i)), "{i}");
        }
        assert_eq!(entries.get(Hash(7), b" name=\"n1\"/"), None);
        assert!(entries.slots.len() <= 8192 && entries.used == 5000);
    }
}
