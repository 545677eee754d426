//! `RefreshPolicy` settings that are for tests only.

use std::time::Duration;

use crate::jwks::RefreshPolicy;

impl RefreshPolicy {
    /// Allows refresh intervals below one minute, for example for a test with a real network. A test with a
    /// [`FakeClock`](crate::testing::FakeClock) does not need it.
    #[must_use]
    pub fn without_interval_limits(mut self) -> Self {
        self.interval_limit = SHORTEST;
        self
    }

    /// Sets the seed of the random numbers for jitter and pauses, so that every run is the same. By default the operating
    /// system provides the seed.
    ///
    /// Key sources with the same seed and the same responses fetch at the same times. To simulate several processes, use a different
    /// seed for each.
    #[must_use]
    pub fn with_jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

/// Even a test must not fetch without a pause.
const SHORTEST: Duration = Duration::from_millis(10);
