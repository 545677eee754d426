//! `Breaker`: while the server does not respond, one command per second tries it, and all others fail at once.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::defaults;

/// Whether commands are sent. A pure state machine: the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Set while commands are not sent. At this time, the next one is.
    next_attempt: Option<Monotonic>,
    /// The last failure.
    failure: Option<Failure>,
}

/// The name of an error, and what it was the result of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    error: &'static str,
    stage: Stage,
}

/// What a result is the result of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Of opening a connection.
    Open,
    /// Of a command.
    Command,
}

/// What a command may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Be sent.
    Open,
    /// Be sent, to find out whether the server responds again.
    Attempt,
    /// Fail.
    Closed {
        /// The time until the next attempt.
        retry_after: Duration,
    },
}

/// What a result means for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    None,
    /// The server does not respond, or fails with another error than before.
    Failed,
    /// The server responds again.
    Recovered,
}

impl Breaker {
    pub(super) fn gate(&mut self, now: Monotonic) -> Gate {
        match self.next_attempt {
            Some(next) if now < next => Gate::Closed { retry_after: next.saturating_since(now) },
            Some(_) => {
                // Until this attempt has a result, the others wait for the next one. If it never has a result, they still try.
                self.next_attempt = Some(now.saturating_add(defaults::REDIS_PAUSE));
                Gate::Attempt
            }
            None => Gate::Open,
        }
    }

    /// Makes room for another attempt, because the one of this time was dropped without a result.
    pub(super) fn release(&mut self, attempted_at: Monotonic) {
        let is_last = |next: &Monotonic| *next == attempted_at.saturating_add(defaults::REDIS_PAUSE);
        if let Some(next) = self.next_attempt.as_mut().filter(|next| is_last(next)) {
            *next = attempted_at;
        }
    }

    /// Returns the time until the next attempt, if commands are not sent now.
    pub(super) fn pause(&self, now: Monotonic) -> Option<Duration> {
        self.next_attempt.map(|next| next.saturating_since(now))
    }

    /// Records a success. After a failed command, only a command shows that the server works again: a Redis replica, for example, accepts
    /// connections and refuses to write.
    pub(super) fn record_success(&mut self, stage: Stage) -> Transition {
        if stage == Stage::Open && self.failure.is_some_and(|failure| failure.stage == Stage::Command) {
            return Transition::None;
        }
        self.failure = None;
        if self.next_attempt.take().is_some() { Transition::Recovered } else { Transition::None }
    }

    pub(super) fn record_failure(&mut self, error: &'static str, stage: Stage, now: Monotonic) -> Transition {
        let is_new = self.failure.replace(Failure { error, stage }).map(|failure| failure.error) != Some(error);
        self.next_attempt = Some(now.saturating_add(defaults::REDIS_PAUSE));
        if is_new { Transition::Failed } else { Transition::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn after_a_failure_one_command_per_second_is_sent() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.gate(at(0)), Gate::Open);
        assert_eq!(breaker.record_failure("timeout", Stage::Command, at(100)), Transition::Failed);
        assert_eq!(breaker.gate(at(101)), Gate::Closed { retry_after: Duration::from_millis(999) });
        assert_eq!(breaker.gate(at(1_100)), Gate::Attempt);
        assert_eq!(breaker.gate(at(1_100)), Gate::Closed { retry_after: Duration::from_secs(1) }, "one attempt");
        assert_eq!(breaker.record_failure("timeout", Stage::Command, at(1_600)), Transition::None, "reported once");
        assert_eq!(breaker.record_failure("evicts", Stage::Command, at(1_600)), Transition::Failed, "another error");
        assert!(matches!(breaker.gate(at(2_599)), Gate::Closed { .. }));
        assert_eq!(breaker.gate(at(2_600)), Gate::Attempt);
        assert_eq!(breaker.pause(at(2_600)), Some(Duration::from_secs(1)));
        assert_eq!(breaker.record_success(Stage::Command), Transition::Recovered);
        assert_eq!(breaker.pause(at(2_600)), None);
        assert_eq!(breaker.gate(at(2_600)), Gate::Open);
        assert_eq!(breaker.record_success(Stage::Command), Transition::None);
    }

    #[test]
    fn an_attempt_without_a_result_delays_the_next_one_by_one_second() {
        let mut breaker = Breaker::default();
        breaker.record_failure("timeout", Stage::Command, at(0));
        assert_eq!(breaker.gate(at(1_000)), Gate::Attempt);
        assert!(matches!(breaker.gate(at(1_999)), Gate::Closed { .. }));
        assert_eq!(breaker.gate(at(2_000)), Gate::Attempt);
    }

    #[test]
    fn a_connection_that_is_opened_ends_no_pause_after_a_failed_command() {
        let mut breaker = Breaker::default();
        breaker.record_failure("refused", Stage::Command, at(0));
        assert_eq!(breaker.record_success(Stage::Open), Transition::None);
        assert!(matches!(breaker.gate(at(999)), Gate::Closed { .. }));
        assert_eq!(breaker.gate(at(1_000)), Gate::Attempt);
        assert_eq!(breaker.record_success(Stage::Open), Transition::None);
        assert_eq!(breaker.record_failure("refused", Stage::Command, at(1_000)), Transition::None, "reported once");
        assert_eq!(breaker.record_failure("connect", Stage::Open, at(3_000)), Transition::Failed);
        assert_eq!(breaker.record_success(Stage::Open), Transition::Recovered);
        assert_eq!(breaker.gate(at(3_001)), Gate::Open);
    }
}
