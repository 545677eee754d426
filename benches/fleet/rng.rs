//! Chance that repeats itself.

/// Knuth's generator of MMIX.
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// A number from 0 to `bound`, and never `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}
