//! Draws numbers by a seed, the same in each run.

/// A sequence of numbers: Marsaglia's xorshift with 64 bits.
pub(crate) struct Random(u64);

impl Random {
    /// Begins with a seed, which is not 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number less than this.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
