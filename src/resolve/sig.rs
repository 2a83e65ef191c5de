//! A hash of 128 bits, to recognise equal things in two repositories without keeping both.
//!
//! Two different things have the same hash with a probability of about 2⁻¹²⁸. The hash is not made
//! for adversaries: whoever could make two packages of equal hash could only make a prediction wrong.
//! It is never stored, so it may change.

/// The hash of something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Sig(u64, u64);

impl Sig {
    /// Adds the hash of another member of a collection that has no order.
    pub(super) fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0), self.1.wrapping_add(other.1))
    }

    /// Returns the hash of one number.
    pub(super) fn of(number: u64) -> Self {
        let mut mixer = Mixer::default();
        mixer.add(number);
        mixer.finish()
    }
}

/// Takes in words one after the other. Their order counts.
#[derive(Clone)]
pub(super) struct Mixer(u64, u64);

impl Default for Mixer {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)
    }
}

impl Mixer {
    pub(super) fn add(&mut self, word: u64) {
        let a = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = a ^ (a >> 32);
        let b = self.1.wrapping_add(word).rotate_left(29).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.1 = b ^ (b >> 31);
    }

    pub(super) fn sig(&mut self, sig: Sig) {
        self.add(sig.0);
        self.add(sig.1);
    }

    /// Takes in a text with its length. The length is inverted, so that a short text differs from two
    /// small numbers.
    pub(super) fn text(&mut self, text: &str) {
        self.add(!(text.len() as u64));
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(last));
    }

    pub(super) fn finish(mut self) -> Sig {
        self.add(self.1);
        self.add(self.0.rotate_left(32));
        self.add(self.1);
        Sig(self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use rustc_hash::FxHashSet;

    use super::*;

    /// Neither half of the hash of numbers, pairs and texts that are close together collides, and
    /// sums of few hashes do not either.
    #[test]
    fn close_things_differ() {
        let mut halves: [FxHashSet<u64>; 2] = Default::default();
        let mut all = 0;
        let mut see = |sig: Sig| {
            halves[0].insert(sig.0);
            halves[1].insert(sig.1);
            all += 1;
        };
        (0..20_000).for_each(|n| see(Sig::of(n)));
        for a in 0..200_u64 {
            for b in 0..200_u64 {
                let mut mixer = Mixer::default();
                mixer.add(a);
                mixer.add(b);
                see(mixer.finish());
                if a < b {
                    see(Sig::of(a).plus(Sig::of(b)));
                }
            }
        }
        for length in 0..40 {
            for byte in ['a', 'b'] {
                let mut mixer = Mixer::default();
                mixer.text(&byte.to_string().repeat(length + 1));
                see(mixer.finish());
            }
        }
        assert_eq!((halves[0].len(), halves[1].len()), (all, all));
    }
}
