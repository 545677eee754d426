//! The schedule by which a discovery document is read again. It is independent of the key refresh and never delays it.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::defaults;
use crate::jwks::jitter::{self, Jitter};

/// The time of the next discovery. Time and randomness are arguments.
#[derive(Clone, Copy, Debug)]
pub(in crate::jwks) struct Rediscovery {
    every: Duration,
    due: Option<Monotonic>,
    last_attempt: Monotonic,
    failures: u32,
}

impl Rediscovery {
    pub(in crate::jwks) fn new(every: Duration) -> Self {
        Self { every, due: None, last_attempt: Monotonic::default(), failures: 0 }
    }

    /// Returns when to read the document; `None` until the key refresh has read one for the first time.
    pub(in crate::jwks) fn due(&self) -> Option<Monotonic> {
        self.due
    }

    pub(in crate::jwks) fn found(&mut self, now: Monotonic, jitter: Jitter) {
        self.failures = 0;
        self.last_attempt = now;
        self.due = Some(now.saturating_add(jitter.between(jitter::percent(self.every, 90), self.every)));
    }

    pub(in crate::jwks) fn failed(&mut self, now: Monotonic, jitter: Jitter) {
        let pause = jitter.backoff(defaults::DISCOVERY_BACKOFF_MIN, defaults::DISCOVERY_BACKOFF_MAX, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.last_attempt = now;
        self.due = Some(now.saturating_add(pause));
    }

    /// Makes the next discovery due now, but at most once a minute, since the key set is no longer at its URL. This also ends
    /// the backoff of failed discoveries: the document is the only way to find the keys again.
    pub(in crate::jwks) fn recheck_moved(&mut self, now: Monotonic) {
        let soon = now.max(self.last_attempt.saturating_add(defaults::DISCOVERY_RECHECK_MOVED));
        self.due = self.due.map(|due| due.min(soon));
    }

    /// Makes the next discovery due soon, since the keys cannot be fetched and their URL may have changed. If the last
    /// discovery failed, its backoff applies instead.
    pub(in crate::jwks) fn recheck(&mut self, now: Monotonic) {
        if let (Some(due), 0) = (self.due, self.failures) {
            let soon = now.max(self.last_attempt.saturating_add(defaults::DISCOVERY_RECHECK));
            self.due = Some(due.min(soon));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn discovery_is_due_after_the_discovery_interval() {
        let mut schedule = Rediscovery::new(DAY);
        assert_eq!(schedule.due(), None);
        schedule.found(at(100), Jitter(0));
        assert_eq!(schedule.due(), Some(at(100 + 77_760)));
    }

    #[test]
    fn failures_back_off_to_half_an_hour() {
        let mut schedule = Rediscovery::new(DAY);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            schedule.failed(at(0), Jitter(0));
            pauses.push(schedule.due().expect("armed").since_origin().as_secs());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1800, 1800]);
    }

    #[test]
    fn recheck_is_due_soon_but_limited_in_rate() {
        let mut schedule = Rediscovery::new(DAY);
        schedule.recheck(at(5));
        assert_eq!(schedule.due(), None);
        schedule.found(at(100), Jitter(0));
        schedule.recheck(at(150));
        assert_eq!(schedule.due(), Some(at(400)));
        schedule.found(at(400), Jitter(0));
        schedule.recheck(at(5000));
        assert_eq!(schedule.due(), Some(at(5000)));
        for _ in 0..8 {
            schedule.failed(at(5000), Jitter(0));
        }
        schedule.recheck(at(5400));
        assert_eq!(schedule.due(), Some(at(5000 + 1800)));
    }

    #[test]
    fn recheck_moved_is_due_after_a_minute_whatever_the_backoff() {
        let mut schedule = Rediscovery::new(DAY);
        schedule.recheck_moved(at(5));
        assert_eq!(schedule.due(), None);
        schedule.found(at(100), Jitter(0));
        schedule.recheck_moved(at(110));
        assert_eq!(schedule.due(), Some(at(160)));
        schedule.recheck_moved(at(200));
        assert_eq!(schedule.due(), Some(at(160)), "it is not postponed");
        for _ in 0..8 {
            schedule.failed(at(200), Jitter(0));
        }
        assert_eq!(schedule.due(), Some(at(2000)));
        schedule.recheck_moved(at(230));
        assert_eq!(schedule.due(), Some(at(260)));
        schedule.failed(at(260), Jitter(0));
        schedule.recheck_moved(at(1000));
        assert_eq!(schedule.due(), Some(at(1000)));
    }
}
