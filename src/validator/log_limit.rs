//! `LogLimit`: logs an event that every request may cause at most once a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Monotonic;

/// Limits how often an event is logged.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// The end of the current pause, in milliseconds since the origin of the clock.
    pause_until: AtomicU64,
}

impl LogLimit {
    /// Returns whether the event may be logged now, and starts the pause if so.
    pub(crate) fn admits(&self, now: Monotonic) -> bool {
        let milliseconds = |point: Monotonic| u64::try_from(point.since_origin().as_millis()).unwrap_or(u64::MAX);
        let (end, next) = (self.pause_until.load(Ordering::Relaxed), milliseconds(now.saturating_add(PAUSE)));
        // If several requests race, one of them logs.
        milliseconds(now) >= end
            && self.pause_until.compare_exchange(end, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_one_event_a_minute() {
        let (limit, at) = (LogLimit::default(), |seconds| Monotonic::from_origin(Duration::from_secs(seconds)));
        let admitted = [0, 0, 59, 60, 61, 119, 120, 1_000, 1_001].map(|seconds| limit.admits(at(seconds)));
        assert_eq!(admitted, [true, false, false, true, false, false, true, true, false]);
    }
}
