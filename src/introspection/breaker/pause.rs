//! `Pause`: the time without calls about tokens of one kind, and the attempt at its end.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Monotonic;
use crate::defaults;
use crate::introspection::breaker::{RATE_LIMITED, is_response};
use crate::introspection::error::Unavailable;
use crate::jwks::{Jitter, doubled};
use crate::keys::TokenFingerprint;

/// The pause of the requests of one kind, and the attempt at its end.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    until: Monotonic,
    /// The same for the tokens whose attempts have failed, so that no client uses up the attempts of others.
    until_for_failed: Monotonic,
    /// The tokens whose attempts have failed last.
    failed: VecDeque<TokenFingerprint>,
    /// Whether a rate limit is the reason for the pause.
    is_limited: bool,
    /// How many attempts have failed since the last pause.
    attempts: usize,
    /// How many pauses there were in a row.
    times: u32,
    /// The longest time that the server has named during this attempt.
    retry_after: Duration,
    /// The parts of the attempt that are in flight: a call about the token of a request, and a probe.
    pub(super) is_calling: bool,
    pub(super) is_probing: bool,
}

impl Pause {
    pub(super) fn new(now: Monotonic) -> Self {
        Self {
            until: now,
            until_for_failed: now,
            failed: VecDeque::new(),
            is_limited: false,
            attempts: 0,
            times: 0,
            retry_after: Duration::ZERO,
            is_calling: false,
            is_probing: false,
        }
    }

    pub(super) fn is_attempted(&self) -> bool {
        self.is_calling || self.is_probing
    }

    /// Returns whether the time that the server has named with a rate limit has not passed.
    pub(super) fn is_limited(&self, now: Monotonic) -> bool {
        self.is_limited && now < self.until
    }

    /// Returns whether no attempt has failed since the last pause.
    pub(super) fn has_just_ended(&self) -> bool {
        self.attempts == 0
    }

    /// Returns the time until a request with this token makes an attempt; `None` if it makes one now.
    pub(super) fn left(&self, token: &TokenFingerprint, now: Monotonic) -> Option<Duration> {
        let until = if self.failed.contains(token) { self.until_for_failed } else { self.until };
        (now < until).then(|| until.saturating_since(now))
    }

    /// Records that the server responded to the attempt about this token with an error.
    pub(super) fn record_failed_token(&mut self, token: TokenFingerprint) {
        if self.failed.contains(&token) {
            return;
        }
        if self.failed.len() >= defaults::BREAKER_FAILED_TOKENS {
            self.failed.pop_front();
        }
        self.failed.push_back(token);
    }

    /// Starts the next pause, as soon as both parts of the attempt have failed. If it takes more attempts, other tokens
    /// make some before.
    pub(super) fn record_failed_attempt(
        &mut self,
        failure: Unavailable,
        takes_more: bool,
        (now, jitter): (Monotonic, Jitter),
    ) {
        if failure.cause == RATE_LIMITED {
            // The server itself says when it accepts calls again.
            self.retry_after = self.retry_after.max(failure.retry_after);
        }
        if self.is_attempted() {
            return;
        }
        let pause = doubled(defaults::BREAKER_PAUSE_MIN, self.times).min(defaults::BREAKER_PAUSE_MAX);
        let pause = jitter.at_least_half(pause).max(self.retry_after);
        let end = now.saturating_add(pause);
        self.attempts = self.attempts.saturating_add(1);
        self.is_limited = !self.retry_after.is_zero();
        if takes_more && !self.is_limited && is_response(failure.cause) && self.attempts < defaults::BREAKER_ATTEMPTS {
            (self.until, self.until_for_failed) = (now, end);
            return;
        }
        (self.until, self.until_for_failed) = (end, end.saturating_add(pause.checked_div(2).unwrap_or_default()));
        (self.attempts, self.retry_after) = (0, Duration::ZERO);
        self.times = self.times.saturating_add(1);
    }
}
