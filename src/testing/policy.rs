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
}

/// Even a test must not poll without a pause.
const SHORTEST: Duration = Duration::from_millis(10);
