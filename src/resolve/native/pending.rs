//! An ordered set of small numbers that is cheap to fill and to empty. A search adds and removes
//! pending rules all the time.

/// A set of numbers below a fixed bound.
pub(super) struct Pending {
    words: Vec<u64>,
    /// One bit for every word that is not 0.
    summary: Vec<u64>,
    /// Words that may not be 0. Clearing the set only visits these.
    used: Vec<u32>,
}

impl Pending {
    pub(super) fn new(bound: usize) -> Self {
        let words = bound / 64 + 1;
        Self { words: vec![0; words], summary: vec![0; words / 64 + 1], used: Vec::new() }
    }

    pub(super) fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.words[word] == 0 {
            self.summary[word / 64] |= 1 << (word % 64);
            self.used.push(number / 64);
        }
        self.words[word] |= 1 << (number % 64);
    }

    pub(super) fn remove(&mut self, number: u32) {
        let word = number as usize / 64;
        self.words[word] &= !(1 << (number % 64));
        if self.words[word] == 0 {
            self.summary[word / 64] &= !(1 << (word % 64));
        }
    }

    pub(super) fn clear(&mut self) {
        for word in self.used.drain(..) {
            self.words[word as usize] = 0;
            self.summary[word as usize / 64] = 0;
        }
    }

    /// Returns the least number that is not below `from`. Cost: O(bound / 4096) at worst.
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        let word = from as usize / 64;
        let here = self.words.get(word)? & (u64::MAX << (from % 64));
        if here != 0 {
            return Some(from / 64 * 64 + here.trailing_zeros());
        }
        let mut block = (word + 1) / 64;
        let mut bits = self.summary.get(block)? & (u64::MAX << ((word + 1) % 64));
        while bits == 0 {
            block += 1;
            bits = *self.summary.get(block)?;
        }
        let word = super::index32(block) * 64 + bits.trailing_zeros();
        Some(word * 64 + self.words[word as usize].trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The set behaves like a sorted set after any operations.
        #[test]
        fn is_a_sorted_set(steps in prop::collection::vec((0u8..8, 0u32..20_000), 0..200)) {
            let (mut ours, mut model) = (Pending::new(20_000), BTreeSet::new());
            for (what, number) in steps {
                match what {
                    0 => { ours.remove(number); model.remove(&number); }
                    1 if number < 500 => { ours.clear(); model.clear(); }
                    2 => prop_assert_eq!(ours.next(number), model.range(number..).next().copied()),
                    _ => { ours.insert(number); model.insert(number); }
                }
            }
            let mut at = 0;
            for number in model {
                prop_assert_eq!(ours.next(at), Some(number));
                at = number + 1;
            }
            prop_assert_eq!(ours.next(at), None);
        }
    }
}
