//! `Breaker`: stops calls to a server that does not answer.
//!
//! # Security
//!
//! Clients choose the tokens that are sent to the server, and a token can make some servers or the proxies before them respond with an
//! error: a firewall answers 403 to a text that looks like an attack, a fault of the server causes 500. If such a response stopped all
//! calls, one client could cause a 503 for all others. So failures of calls for clients never stop calls. They only start a probe: a
//! call with a random token, which no client chose. Only if the probe fails as well, the cause is the server or our credentials, and
//! calls stop. While they are stopped, only probes are sent, one at the end of each pause.
//!
//! The probe also decides about 401 and 403: RFC 7662 §2.3 uses them for the credentials of the caller, but only a server that refuses a
//! token of our own choice shows that it means them.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::defaults;
use crate::introspection::error::{IntrospectionError, Unavailable};
use crate::jwks::{Jitter, doubled};

/// The state of the calls to one server. A pure state machine: the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// The failures in a row. Calls that began before the last one was counted do not count, because one outage makes many concurrent
    /// calls fail.
    failures: u32,
    counted_at: Option<Monotonic>,
    /// The error of the last call, if it has failed.
    last_error: Option<IntrospectionError>,
    is_probing: bool,
    /// The end of the last probe that succeeded.
    probed_at: Option<Monotonic>,
    open: Option<Open>,
}

/// Calls are stopped.
#[derive(Clone, Copy, Debug)]
struct Open {
    until: Monotonic,
    /// How often a probe has failed in a row.
    times: u32,
    cause: IntrospectionError,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Call the server.
    Closed,
    /// Start a probe, and wait for its result. Calls were stopped because of this error.
    ProbeDue(IntrospectionError),
    /// Wait for the result of the probe that is in flight.
    Probing(IntrospectionError),
    /// Fail.
    Open(Unavailable),
}

/// What a change of the state means for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    None,
    Opened(IntrospectionError),
    Closed,
}

/// Whether the caller must start a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Start,
    NotNeeded,
}

impl Breaker {
    /// Returns what a request may do now. After [`Gate::ProbeDue`], the caller starts a probe.
    pub(super) fn gate(&mut self, now: Monotonic) -> Gate {
        match self.open {
            None => Gate::Closed,
            Some(open) if self.is_probing => Gate::Probing(open.cause),
            Some(open) if now < open.until => {
                Gate::Open(Unavailable::new(open.cause, Some(open.until.saturating_since(now))))
            }
            Some(open) => {
                self.is_probing = true;
                Gate::ProbeDue(open.cause)
            }
        }
    }

    /// Returns whether calls are stopped, without any effect.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Returns why the last call failed, or `None` if it has not.
    pub(super) fn last_error(&self) -> Option<IntrospectionError> {
        self.last_error
    }

    /// Records that the server has answered.
    pub(super) fn record_success(&mut self) -> Transition {
        self.failures = 0;
        self.last_error = None;
        self.counted_at = None;
        match self.open.take() {
            Some(_) => Transition::Closed,
            None => Transition::None,
        }
    }

    /// Records a call for a client that failed. `started_at` is the time at which the call began.
    pub(super) fn record_failure(
        &mut self,
        failure: Unavailable,
        started_at: Monotonic,
        now: Monotonic,
    ) -> (Probe, Transition) {
        self.last_error = Some(failure.cause);
        if self.open.is_some() || self.is_probing || self.counted_at.is_some_and(|counted_at| started_at < counted_at) {
            return (Probe::NotNeeded, Transition::None);
        }
        // The server itself says when it accepts calls again, and it means all of them.
        if failure.cause == RATE_LIMITED {
            return (Probe::NotNeeded, self.open(failure, 0, now));
        }
        self.counted_at = Some(now);
        self.failures = self.failures.saturating_add(1);
        let is_suspect =
            self.failures >= defaults::BREAKER_FAILURES || failure.cause == IntrospectionError::CredentialsRefused;
        let was_probed =
            self.probed_at.is_some_and(|probed_at| now < probed_at.saturating_add(defaults::BREAKER_PAUSE_MIN));
        if !is_suspect || was_probed {
            return (Probe::NotNeeded, Transition::None);
        }
        self.is_probing = true;
        (Probe::Start, Transition::None)
    }

    /// Records the result of a probe.
    pub(super) fn record_probe(
        &mut self,
        result: Result<(), Unavailable>,
        now: Monotonic,
        jitter: Jitter,
    ) -> Transition {
        self.is_probing = false;
        let Err(failure) = result else {
            self.probed_at = Some(now);
            return self.record_success();
        };
        let times = self.open.map_or(0, |open| open.times);
        let pause = doubled(defaults::BREAKER_PAUSE_MIN, times).min(defaults::BREAKER_PAUSE_MAX);
        let retry_after = jitter.at_least_half(pause).max(if failure.cause == RATE_LIMITED {
            failure.retry_after
        } else {
            Duration::ZERO
        });
        self.open(Unavailable { retry_after, ..failure }, times.saturating_add(1), now)
    }

    /// Stops calls. Only the first of several stops in a row is reported, or one with another cause.
    fn open(&mut self, failure: Unavailable, times: u32, now: Monotonic) -> Transition {
        let is_known = self.open.is_some_and(|open| open.cause == failure.cause);
        self.open = Some(Open { until: now.saturating_add(failure.retry_after), times, cause: failure.cause });
        if is_known { Transition::None } else { Transition::Opened(failure.cause) }
    }
}

const RATE_LIMITED: IntrospectionError = IntrospectionError::Status { status: 429 };

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: Unavailable = Unavailable { cause: IntrospectionError::Timeout, retry_after: Duration::from_secs(1) };
    const REFUSED: Unavailable =
        Unavailable { cause: IntrospectionError::CredentialsRefused, retry_after: Duration::from_secs(1) };

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    fn fail(breaker: &mut Breaker, failure: Unavailable, started: u64, ended: u64) -> Probe {
        let (probe, transition) = breaker.record_failure(failure, at(started), at(ended));
        assert_eq!(transition, Transition::None);
        probe
    }

    #[test]
    fn starts_a_probe_after_five_failures_in_a_row_and_opens_if_it_fails() {
        let mut breaker = Breaker::default();
        for call in 0..4 {
            assert_eq!(fail(&mut breaker, DOWN, call * 10, call * 10 + 9), Probe::NotNeeded);
        }
        assert_eq!(fail(&mut breaker, DOWN, 50, 59), Probe::Start);
        assert_eq!(breaker.gate(at(60)), Gate::Closed, "until the probe has failed");
        assert_eq!(fail(&mut breaker, DOWN, 60, 61), Probe::NotNeeded, "one probe at a time");
        assert_eq!(breaker.record_probe(Err(DOWN), at(100), Jitter(u32::MAX)), Transition::Opened(DOWN.cause));
        assert!(matches!(breaker.gate(at(200)), Gate::Open(Unavailable { cause: IntrospectionError::Timeout, .. })));
        assert_eq!(breaker.gate(at(1_200)), Gate::ProbeDue(DOWN.cause));
        assert_eq!(breaker.gate(at(1_200)), Gate::Probing(DOWN.cause), "one probe at a time");
        assert_eq!(breaker.record_probe(Err(DOWN), at(1_300), Jitter(u32::MAX)), Transition::None, "reported once");
        assert!(matches!(breaker.gate(at(3_000)), Gate::Open(_)), "the pause is doubled");
        assert_eq!(breaker.gate(at(3_400)), Gate::ProbeDue(DOWN.cause));
        assert_eq!(breaker.record_probe(Ok(()), at(3_500), Jitter(0)), Transition::Closed);
        assert_eq!(breaker.gate(at(3_500)), Gate::Closed);
    }

    /// M5: one outage makes all calls in flight fail at the same time.
    #[test]
    fn counts_concurrent_failures_once() {
        let mut breaker = Breaker::default();
        for _ in 0..64 {
            assert_eq!(fail(&mut breaker, DOWN, 0, 2_000), Probe::NotNeeded);
        }
        assert_eq!(breaker.failures, 1);
    }

    /// H4: whatever a client sends, only a probe opens the breaker.
    #[test]
    fn a_response_to_the_token_of_a_client_never_opens_it() {
        let mut breaker = Breaker::default();
        assert_eq!(fail(&mut breaker, REFUSED, 0, 1), Probe::Start);
        assert_eq!(breaker.record_probe(Ok(()), at(2), Jitter(0)), Transition::None);
        let mut probes = 0;
        for call in 0..1_000 {
            if fail(&mut breaker, REFUSED, 10 + call * 10, 19 + call * 10) == Probe::Start {
                probes += 1;
                assert_eq!(breaker.record_probe(Ok(()), at(19 + call * 10), Jitter(0)), Transition::None);
            }
            assert_eq!(breaker.gate(at(19 + call * 10)), Gate::Closed);
        }
        assert!((5..=10).contains(&probes), "one probe a second at most, in ten seconds: {probes}");
    }

    #[test]
    fn refused_credentials_open_after_one_response_and_one_probe() {
        let mut breaker = Breaker::default();
        assert_eq!(fail(&mut breaker, REFUSED, 0, 1), Probe::Start);
        assert_eq!(breaker.record_probe(Err(REFUSED), at(2), Jitter(u32::MAX)), Transition::Opened(REFUSED.cause));
        assert!(matches!(
            breaker.gate(at(900)),
            Gate::Open(Unavailable { cause: IntrospectionError::CredentialsRefused, .. })
        ));
    }

    /// Case 14.
    #[test]
    fn a_rate_limit_opens_until_the_time_that_the_server_names() {
        let limited = Unavailable { cause: RATE_LIMITED, retry_after: Duration::from_secs(7) };
        let mut breaker = Breaker::default();
        assert_eq!(breaker.record_failure(limited, at(0), at(0)), (Probe::NotNeeded, Transition::Opened(RATE_LIMITED)));
        assert_eq!(breaker.gate(at(0)), Gate::Open(limited));
        assert!(matches!(breaker.gate(at(6_999)), Gate::Open(_)));
        assert_eq!(breaker.gate(at(7_000)), Gate::ProbeDue(RATE_LIMITED));
    }

    #[test]
    fn the_pause_is_at_most_thirty_seconds() {
        let mut breaker = Breaker::default();
        assert_eq!(fail(&mut breaker, REFUSED, 0, 0), Probe::Start);
        let mut now = 0;
        for _ in 0..10 {
            breaker.record_probe(Err(REFUSED), at(now), Jitter(u32::MAX));
            now += 30_000;
            assert_eq!(breaker.gate(at(now)), Gate::ProbeDue(REFUSED.cause));
        }
    }
}
