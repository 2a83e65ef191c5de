//! Sets of packages, each stored once.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use super::{Node, index32};

/// Number of a set in its table.
pub(super) type SetId = u32;

/// Interned ascending lists of packages.
#[derive(Default)]
pub(super) struct SetTable {
    starts: Vec<u32>,
    members: Vec<Node>,
    known: FxHashMap<u64, SetId>,
    /// Sets whose hash another set already had.
    collided: Vec<SetId>,
}

impl SetTable {
    pub(super) fn new() -> Self {
        Self { starts: vec![0], ..Self::default() }
    }

    /// Returns the number of a set, adding the set if it is new. `members` must be ascending.
    pub(super) fn intern(&mut self, members: &[Node]) -> SetId {
        debug_assert!(members.is_sorted(), "sets are ascending");
        let mut hasher = FxHasher::default();
        members.hash(&mut hasher);
        let hash = hasher.finish();
        let first = self.known.get(&hash).copied();
        match first {
            Some(set) if self.get(set) == members => return set,
            Some(_) => {
                if let Some(&set) = self.collided.iter().find(|&&set| self.get(set) == members) {
                    return set;
                }
            }
            None => {}
        }
        let set = index32(self.len());
        self.members.extend_from_slice(members);
        self.starts.push(index32(self.members.len()));
        if first.is_some() {
            self.collided.push(set);
        } else {
            self.known.insert(hash, set);
        }
        set
    }

    pub(super) fn get(&self, set: SetId) -> &[Node] {
        &self.members[self.starts[set as usize] as usize..self.starts[set as usize + 1] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Finishes the table. No more sets can be added, so the index of known sets is dropped.
    pub(super) fn finish(mut self) -> Rows<Node> {
        self.members.shrink_to_fit();
        Rows { starts: self.starts, items: self.members }
    }
}

/// Many short lists in one: row `i` is `items[starts[i]..starts[i + 1]]`.
#[derive(Debug)]
pub(super) struct Rows<T> {
    starts: Vec<u32>,
    items: Vec<T>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { starts: vec![0], items: Vec::new() }
    }
}

impl<T: Copy + Default> Rows<T> {
    /// Builds rows from pairs of row and item. The rows may come in any order. Each row keeps the
    /// order of its items. Cost: O(rows + pairs).
    pub(super) fn from_pairs(rows: usize, pairs: &[(u32, T)]) -> Self {
        let mut starts = vec![0_u32; rows + 1];
        for (row, _) in pairs {
            starts[*row as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut at = starts.clone();
        let mut items = vec![T::default(); pairs.len()];
        for &(row, item) in pairs {
            let place = &mut at[row as usize];
            items[*place as usize] = item;
            *place += 1;
        }
        Self { starts, items }
    }

    pub(super) fn push_row(&mut self, items: impl IntoIterator<Item = T>) {
        self.items.extend(items);
        self.starts.push(index32(self.items.len()));
    }

    /// Returns the rows with the items for which `keep` says so. It gets the row, too.
    pub(super) fn filtered(&self, keep: impl Fn(u32, T) -> bool) -> Self {
        let mut kept = Self { starts: Vec::with_capacity(self.starts.len()), items: Vec::new() };
        kept.starts.push(0);
        for row in 0..index32(self.len()) {
            kept.push_row(self.row(row).iter().copied().filter(|&item| keep(row, item)));
        }
        kept
    }

    pub(super) fn row(&self, row: u32) -> &[T] {
        &self.items[self.starts[row as usize] as usize..self.starts[row as usize + 1] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_have_one_number() {
        let mut sets = SetTable::new();
        let (a, b, none) = (sets.intern(&[2, 3]), sets.intern(&[3]), sets.intern(&[]));
        assert_eq!((sets.intern(&[2, 3]), sets.intern(&[3]), sets.intern(&[])), (a, b, none));
        assert_eq!((sets.get(a), sets.get(none), sets.len()), (&[2, 3][..], &[][..], 3));
    }

    #[test]
    fn pairs_become_rows() {
        let rows = Rows::from_pairs(3, &[(2, 5), (0, 1), (2, 4)]);
        assert_eq!((rows.row(0), rows.row(1), rows.row(2)), (&[1][..], &[][..], &[5, 4][..]));
        let kept = rows.filtered(|row, item| row == 2 && item < 5);
        assert_eq!((kept.row(0), kept.row(1), kept.row(2)), (&[][..], &[][..], &[4][..]));
    }
}
