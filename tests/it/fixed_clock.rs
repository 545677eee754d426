//! A wall clock that stands still.

use tower_bearer::clock::{Clock, Monotonic, Sleep, SystemClock, Timestamp};

/// Always the same wall time; intervals pass as usual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedClock(Timestamp);

impl FixedClock {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self(now)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn monotonic(&self) -> Monotonic {
        SystemClock.monotonic()
    }

    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        SystemClock.sleep_until(deadline)
    }
}
