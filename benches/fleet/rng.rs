//! A random number generator with a fixed sequence.

/// Knuth's MMIX linear congruential generator.
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// Returns a number from 0 to `bound`, exclusive.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}
