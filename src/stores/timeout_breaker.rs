//! `TimeoutBreaker`: while the server responds too late for requests, one request per second is sent to it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Monotonic;
use crate::stores::breaker::{Breaker, Gate, Stage};

/// Whether requests wait for the server. A response in time counts as a success, whatever it says, and a wait that ended without one
/// as a failure. [`Redis`](super::Redis) has another breaker: it waits longer for a response than a request does.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeoutBreaker(Arc<Mutex<Breaker>>);

/// A request that waits for the server.
///
/// It may be dropped because its client closes the connection, which must not change for how long other requests are rejected. So this
/// is no failure, and another request takes the place of an attempt.
#[derive(Debug)]
pub(super) struct Waiting {
    breaker: TimeoutBreaker,
    /// When it was admitted, if it finds out whether the server responds in time again.
    attempt: Option<Monotonic>,
}

impl TimeoutBreaker {
    /// Returns `None` if the request must not wait for the server.
    pub(super) fn admit(&self, now: Monotonic) -> Option<Waiting> {
        let attempt = match self.change(|breaker| breaker.gate(now)) {
            Gate::Closed { .. } => return None,
            Gate::Attempt => Some(now),
            Gate::Open => None,
        };
        Some(Waiting { breaker: self.clone(), attempt })
    }

    /// Records that a request has waited as long as it may.
    pub(super) fn record_timeout(&self, now: Monotonic) {
        self.change(|breaker| breaker.record_failure("timeout", Stage::Command, now));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Waiting {
    /// Records that the server has responded in time.
    pub(super) fn record_response(self) {
        self.breaker.change(|breaker| breaker.record_success(Stage::Command));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(attempted_at) = self.attempt {
            self.breaker.change(|breaker| breaker.release(attempted_at));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn after_a_timeout_one_request_per_second_waits_until_the_server_responds_in_time() {
        let breaker = TimeoutBreaker::default();
        let [first, second] = [0, 1].map(|millis| breaker.admit(at(millis)).expect("open"));
        drop(first);
        breaker.record_timeout(at(50));
        assert!(breaker.admit(at(51)).is_none());
        assert!(breaker.admit(at(1_049)).is_none());
        let attempt = breaker.admit(at(1_050)).expect("an attempt");
        assert!(breaker.admit(at(1_051)).is_none());
        drop(attempt);
        breaker.record_timeout(at(1_100));
        assert!(breaker.admit(at(2_099)).is_none());
        let attempt = breaker.admit(at(2_100)).expect("an attempt");
        attempt.record_response();
        assert!(breaker.admit(at(2_101)).is_some());
        // A response in time to an earlier request also shows that the server works.
        breaker.record_timeout(at(2_200));
        second.record_response();
        assert!(breaker.admit(at(2_201)).is_some());
    }

    #[test]
    fn a_request_that_is_dropped_before_the_timeout_rejects_no_other_request() {
        let breaker = TimeoutBreaker::default();
        for millis in 0..100 {
            drop(breaker.admit(at(millis)).expect("open"));
        }
        breaker.record_timeout(at(100));
        for millis in 1_100..1_200 {
            let attempt = breaker.admit(at(millis)).expect("an attempt");
            assert!(breaker.admit(at(millis)).is_none());
            drop(attempt);
        }
        let (late, attempt) = (breaker.admit(at(1_200)), breaker.admit(at(2_200)));
        assert!(late.is_some() && attempt.is_some());
        // Another attempt has begun since.
        drop(late);
        assert!(breaker.admit(at(2_201)).is_none());
    }

    /// The caller may report the timeout before or after it drops the request.
    #[test]
    fn an_attempt_that_is_dropped_after_its_timeout_shortens_no_pause() {
        let breaker = TimeoutBreaker::default();
        breaker.record_timeout(at(0));
        let attempt = breaker.admit(at(1_000)).expect("an attempt");
        breaker.record_timeout(at(1_050));
        drop(attempt);
        assert!(breaker.admit(at(2_049)).is_none());
        assert!(breaker.admit(at(2_050)).is_some());
    }
}
