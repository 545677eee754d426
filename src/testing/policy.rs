//! What only a test may relax.

use std::time::Duration;

use crate::jwks::RefreshPolicy;

impl RefreshPolicy {
    /// Lets a test poll more often than once a minute, over a real network for example; with a
    /// [`FakeClock`](crate::testing::FakeClock) there is no need to.
    #[must_use]
    pub fn without_refresh_floor(mut self) -> Self {
        self.lowest_period = SHORTEST;
        self
    }

    /// Lets jitter and pauses fall the same way in every run; by default they start from the operating system's chance.
    ///
    /// Sources with one seed and one fate fetch at the same moments. To see replicas drift apart, give each its own.
    #[must_use]
    pub fn with_jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

/// Even a test must not poll without a pause.
const SHORTEST: Duration = Duration::from_millis(10);
