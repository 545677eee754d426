//! `KeyWaits`: the requests that wait for the key of a logout token.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::Monotonic;

/// Limits the fetches that logout tokens cause. Anyone can send tokens with unknown keys.
pub(super) struct KeyWaits {
    /// The requests that fetch or wait for one that does.
    queued: Semaphore,
    /// One permit.
    fetching: Semaphore,
    /// When requests last waited in vain.
    failures: Mutex<VecDeque<Monotonic>>,
}

/// The right to fetch.
pub(super) struct FetchPermit<'w> {
    _queued: SemaphorePermit<'w>,
    _fetching: SemaphorePermit<'w>,
}

impl KeyWaits {
    pub(super) fn new() -> Self {
        Self { queued: Semaphore::new(MAX_QUEUED), fetching: Semaphore::new(1), failures: Mutex::default() }
    }

    /// Waits until no other request fetches. Returns `None` if too many requests wait.
    pub(super) async fn enter(&self) -> Option<FetchPermit<'_>> {
        let queued = self.queued.try_acquire().ok()?;
        let fetching = self.fetching.acquire().await.ok()?;
        Some(FetchPermit { _queued: queued, _fetching: fetching })
    }

    /// Returns the time until a request may wait, if too many have waited in vain.
    pub(super) fn check(&self, now: Monotonic) -> Result<(), Duration> {
        let mut failures = self.failures();
        while failures.front().is_some_and(|failure| failure.saturating_add(PERIOD) <= now) {
            failures.pop_front();
        }
        match failures.front() {
            Some(first) if failures.len() >= MAX_FAILURES => Err(first.saturating_add(PERIOD).saturating_since(now)),
            _ => Ok(()),
        }
    }

    pub(super) fn record_failure(&self, now: Monotonic) {
        self.failures().push_back(now);
    }

    fn failures(&self) -> MutexGuard<'_, VecDeque<Monotonic>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most requests that fetch or wait for one that does. One fetch serves all of them.
const MAX_QUEUED: usize = 8;

/// Most requests in a period that wait in vain. With a forged token every now and then, a genuine one with a new key is still fetched
/// for.
const MAX_FAILURES: usize = 4;

const PERIOD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_failures_a_minute_stop_the_next_fetch() {
        let waits = KeyWaits::new();
        let at = |seconds| Monotonic::from_origin(Duration::from_secs(seconds));
        for seconds in [0, 10, 20, 30] {
            assert_eq!(waits.check(at(seconds)), Ok(()));
            waits.record_failure(at(seconds));
        }
        assert_eq!(waits.check(at(30)), Err(Duration::from_secs(30)));
        assert_eq!(waits.check(at(59)), Err(Duration::from_secs(1)));
        assert_eq!(waits.check(at(60)), Ok(()));
        waits.record_failure(at(60));
        assert_eq!(waits.check(at(60)), Err(Duration::from_secs(10)));
    }

    #[tokio::test]
    async fn one_request_fetches_and_seven_wait() {
        let waits = KeyWaits::new();
        let first = waits.enter().await;
        assert!(first.is_some());
        let mut queued: Vec<_> = (1..MAX_QUEUED).map(|_| Box::pin(waits.enter())).collect();
        for waiting in &mut queued {
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context)));
            assert!(polled.await.is_pending());
        }
        assert!(waits.enter().await.is_none(), "too many");
        drop(first);
        let mut queued = queued.into_iter();
        assert!(queued.next().expect("one").await.is_some());
    }
}
