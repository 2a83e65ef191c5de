//! Pseudo-random numbers that never change: `SplitMix64` (Steele, Lea, Flood 2014). A seed thus
//! gives the same stream with any version of any crate.

/// The generator.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`. `n` must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.next()) * n as u128;
        usize::try_from(wide >> 64).expect("less than n")
    }

    /// Returns `true` `share` times out of 1,000.
    pub fn happens(&mut self, share: usize) -> bool {
        self.below(1000) < share
    }

    /// Returns a number below `n`, small ones much more often. The density falls with the square
    /// root, like that of the recording's subjects (a tenth of the subjects has a third of the
    /// events).
    pub fn skewed(&mut self, n: usize) -> usize {
        let u = u128::from(self.next() >> 32);
        usize::try_from((u * u * n as u128) >> 64).expect("less than n")
    }
}
