//! Numbers that look random and are the same for ever: `SplitMix64` (Steele, Lea, Flood 2014), so that a seed means the
//! same stream whatever version of whatever crate is in use.

/// The generator.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.next()) * n as u128;
        usize::try_from(wide >> 64).expect("less than n")
    }

    /// `share` times out of 1,000.
    pub fn happens(&mut self, share: usize) -> bool {
        self.below(1000) < share
    }

    /// Below `n`, the small ones much more often: the density falls with the square root, as the recording's subjects
    /// do (a tenth of the subjects has a third of the events).
    pub fn skewed(&mut self, n: usize) -> usize {
        let u = u128::from(self.next() >> 32);
        usize::try_from((u * u * n as u128) >> 64).expect("less than n")
    }
}
