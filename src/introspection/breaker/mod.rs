//! `Breaker`: stops calls to a server that does not answer.
//!
//! # Security
//!
//! Clients choose the tokens that are sent to the server, and a token can make some servers or the proxies before them
//! respond with an error: a firewall answers 403 to a text that looks like an attack, a fault of the server causes 500,
//! and some servers answer 401, 400 or 500 to every token that they do not know, instead of `active: false`. If such
//! responses stopped all calls, one client could cause a 503 for all others. So these rules hold:
//!
//! - Failures of calls for clients alone never stop calls. They start a *probe*: a call with a random token that no
//!   client chose.
//! - An answer shows that the server works and accepts our credentials. For some seconds after one, nothing stops
//!   calls but a rate limit.
//! - If the probe fails as well, and only one token has failed, then only the calls about this token stop. Calls
//!   about every other token go on; one more failure stops all.
//! - After each pause, one request asks about its own token, beside a new probe. Either of both can succeed. Requests
//!   with known tokens have pauses of their own, so that unknown tokens cannot use up their attempts.
//! - If calls about tokens succeed and probes fail, a probe shows nothing about this server. This is found out by a
//!   probe right after a success. For some minutes, failures of unknown tokens then count for nothing, as long as the
//!   server responds.
//!
//! A server that refuses our credentials (RFC 7662 §2.3: 401) refuses them for every token, so the second token at the
//! latest stops all calls. A rate limit (429) may concern one token only, so a probe has to confirm it.

#[cfg(test)]
mod tests;

use std::mem;

use crate::clock::Monotonic;
use crate::defaults;
use crate::introspection::call::Priority;
use crate::introspection::error::{IntrospectionError, Unavailable};
use crate::jwks::{Jitter, doubled};
use crate::keys::TokenFingerprint;

/// The state of the calls to one server. A pure state machine: the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: Failures,
    /// The time of the last answer.
    succeeded_at: Option<Monotonic>,
    probe: ProbeState,
    open: Option<Open>,
}

/// The calls for clients that have failed since the last answer.
#[derive(Debug, Default)]
struct Failures {
    /// Calls that began before the last one was counted do not count, because one outage makes many concurrent calls fail.
    count: u32,
    counted_at: Option<Monotonic>,
    /// The tokens of the calls.
    tokens: Tokens,
    /// Whether the server did not respond to the last one.
    is_outage: bool,
}

/// Which tokens' calls have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tokens {
    #[default]
    None,
    One(TokenFingerprint),
    Several,
}

#[derive(Debug, Default)]
struct ProbeState {
    is_in_flight: bool,
    /// Whether the server has answered just before or during the probe in flight, so that it shows what probes are worth.
    is_comparison: bool,
    /// The end of the last probe.
    ended_at: Option<Monotonic>,
    /// Whether the server responded to the last probe with an error, and no comparison has followed.
    is_refused: bool,
    /// The time until which a response to a probe shows nothing.
    misleads_until: Option<Monotonic>,
}

/// Calls are stopped.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Only calls about this token; `None` for all calls.
    token: Option<TokenFingerprint>,
    cause: IntrospectionError,
    unknown: Pause,
    known: Pause,
}

/// The pause of the requests of one kind, and the attempt at its end.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Monotonic,
    /// How often an attempt has failed in a row.
    times: u32,
    /// The parts of the attempt that are in flight: a call about the token of a request, and a probe.
    is_calling: bool,
    is_probing: bool,
}

/// What a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Call the server.
    Closed,
    /// Call the server: the result of this call decides whether calls resume. Also start a probe, if one is needed.
    Attempt(Probe),
    /// Wait for the end of the attempt that is in flight.
    Wait,
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

/// A call for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientCall {
    pub(super) token: TokenFingerprint,
    pub(super) priority: Priority,
    pub(super) started_at: Monotonic,
    /// Whether the gate was [`Gate::Attempt`].
    pub(super) is_attempt: bool,
}

impl Breaker {
    /// Returns what a call may do now. After [`Gate::Attempt`], the caller must record the result or the end of the call.
    pub(super) fn gate(&mut self, token: &TokenFingerprint, priority: Priority, now: Monotonic) -> Gate {
        let probe = &mut self.probe;
        let Some(open) = self.open.as_mut().filter(|open| open.concerns(token)) else { return Gate::Closed };
        let cause = open.cause;
        let pause = open.pause(priority);
        if pause.is_calling || pause.is_probing {
            return Gate::Wait;
        }
        if now < pause.until {
            return Gate::Open(Unavailable::new(cause, Some(pause.until.saturating_since(now))));
        }
        pause.is_calling = true;
        // A known token was active before, so it needs no probe beside it.
        pause.is_probing = priority == Priority::Unknown && !probe.is_in_flight && !probe.misleads(now);
        if !pause.is_probing {
            return Gate::Attempt(Probe::NotNeeded);
        }
        probe.is_in_flight = true;
        Gate::Attempt(Probe::Start)
    }

    /// Returns why a request fails at once, without any effect.
    pub(super) fn rejects(&self, token: &TokenFingerprint, priority: Priority, now: Monotonic) -> Option<Unavailable> {
        let mut open = self.open.filter(|open| open.concerns(token))?;
        let cause = open.cause;
        let pause = open.pause(priority);
        let is_paused = !pause.is_calling && !pause.is_probing && now < pause.until;
        is_paused.then(|| Unavailable::new(cause, Some(pause.until.saturating_since(now))))
    }

    /// Returns why the calls about a token are stopped.
    pub(super) fn cause(&self, token: &TokenFingerprint) -> Option<IntrospectionError> {
        self.open.filter(|open| open.concerns(token)).map(|open| open.cause)
    }

    /// Returns whether no pause concerns a token.
    pub(super) fn is_closed_for(&self, token: &TokenFingerprint) -> bool {
        self.open.is_none_or(|open| !open.concerns(token))
    }

    /// Returns whether the calls about all tokens are stopped.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some_and(|open| open.token.is_none())
    }

    /// Returns whether the server did not respond to the last call for a client.
    pub(super) fn is_outage(&self) -> bool {
        self.failures.is_outage
    }

    /// Records that the server has answered a call for a client.
    pub(super) fn record_success(&mut self, now: Monotonic) -> (Probe, Transition) {
        let transition = self.close(now);
        if self.probe.is_in_flight {
            self.probe.is_comparison = true;
            return (Probe::NotNeeded, transition);
        }
        if !mem::take(&mut self.probe.is_refused) {
            return (Probe::NotNeeded, transition);
        }
        self.probe.is_comparison = true;
        (self.probe.start(), transition)
    }

    /// Records that a call for a client has failed.
    pub(super) fn record_failure(
        &mut self,
        call: ClientCall,
        failure: Unavailable,
        (now, jitter): (Monotonic, Jitter),
    ) -> (Probe, Transition) {
        if let Some(open) = &mut self.open {
            if !call.is_attempt {
                // The probe has failed, and no call has had an answer since.
                open.token = open.token.filter(|token| *token == call.token);
                return (Probe::NotNeeded, Transition::None);
            }
            let is_proof = call.priority != Priority::Unknown;
            let pause = open.pause(call.priority);
            pause.is_calling = false;
            pause.record_failed_attempt(failure, now, jitter);
            let is_news = is_proof && mem::replace(&mut open.cause, failure.cause) != failure.cause;
            let transition = if is_news { Transition::Opened(failure.cause) } else { Transition::None };
            return (Probe::NotNeeded, transition);
        }
        let is_misled = self.probe.misleads(now) && is_response(failure.cause);
        if is_misled && call.priority == Priority::Unknown {
            return (Probe::NotNeeded, Transition::None);
        }
        let is_suspect = self.failures.record(call, failure.cause, now, self.probe.is_in_flight);
        let is_limited = failure.cause == RATE_LIMITED;
        if !is_suspect || (self.has_answered_recently(now) && !is_limited) {
            return (Probe::NotNeeded, Transition::None);
        }
        if is_misled {
            return (Probe::NotNeeded, self.open(self.failures.tokens.only(), failure, now, jitter));
        }
        if self.probe.has_ended_recently(now) {
            return (Probe::NotNeeded, Transition::None);
        }
        (self.probe.start(), Transition::None)
    }

    /// Records that an attempt has ended without a call: no request waits for it any more. The next request makes the
    /// attempt.
    pub(super) fn record_abandoned_attempt(&mut self, priority: Priority) {
        if let Some(open) = &mut self.open {
            open.pause(priority).is_calling = false;
        }
    }

    /// Records the result of a probe.
    pub(super) fn record_probe(
        &mut self,
        result: Result<(), Unavailable>,
        (now, jitter): (Monotonic, Jitter),
    ) -> Transition {
        self.probe.is_in_flight = false;
        self.probe.ended_at = Some(now);
        let is_comparison = mem::take(&mut self.probe.is_comparison);
        let Err(failure) = result else {
            self.probe.is_refused = false;
            self.probe.misleads_until = None;
            return self.close(now);
        };
        let is_refused = is_response(failure.cause);
        if is_comparison && is_refused {
            self.probe.misleads_until = Some(now.saturating_add(defaults::PROBE_COMPARISON_LIFETIME));
            return Transition::None;
        }
        let is_misled = is_refused && self.probe.misleads(now);
        self.probe.is_refused = is_refused && !is_misled;
        if let Some(open) = &mut self.open {
            open.unknown.is_probing = false;
            open.unknown.record_failed_attempt(failure, now, jitter);
            let is_news = mem::replace(&mut open.cause, failure.cause) != failure.cause;
            return if is_news { Transition::Opened(failure.cause) } else { Transition::None };
        }
        if is_misled || (self.has_answered_recently(now) && failure.cause != RATE_LIMITED) {
            return Transition::None;
        }
        // Without a response, or with a rate limit, the cause is not the text that was asked about.
        let token = self.failures.tokens.only().filter(|_| is_refused);
        self.open(token, failure, now, jitter)
    }

    fn has_answered_recently(&self, now: Monotonic) -> bool {
        self.succeeded_at.is_some_and(|at| now < at.saturating_add(defaults::BREAKER_TRUST))
    }

    fn open(
        &mut self,
        token: Option<TokenFingerprint>,
        failure: Unavailable,
        now: Monotonic,
        jitter: Jitter,
    ) -> Transition {
        let mut pause = Pause { until: now, times: 0, is_calling: false, is_probing: false };
        pause.record_failed_attempt(failure, now, jitter);
        self.open = Some(Open { token, cause: failure.cause, unknown: pause, known: pause });
        Transition::Opened(failure.cause)
    }

    fn close(&mut self, now: Monotonic) -> Transition {
        self.failures = Failures::default();
        self.succeeded_at = Some(now);
        match self.open.take() {
            Some(_) => Transition::Closed,
            None => Transition::None,
        }
    }
}

impl Failures {
    /// Counts a failed call. Returns whether it is a reason for a probe.
    fn record(&mut self, call: ClientCall, cause: IntrospectionError, now: Monotonic, is_probing: bool) -> bool {
        self.is_outage = cause.is_outage();
        self.tokens = match self.tokens {
            Tokens::None => Tokens::One(call.token),
            Tokens::One(token) if token == call.token => Tokens::One(token),
            Tokens::One(_) | Tokens::Several => Tokens::Several,
        };
        if is_probing || self.counted_at.is_some_and(|counted_at| call.started_at < counted_at) {
            return false;
        }
        self.counted_at = Some(now);
        self.count = self.count.saturating_add(1);
        let is_about_us = matches!(cause, IntrospectionError::CredentialsRefused | RATE_LIMITED);
        is_about_us || self.count >= defaults::BREAKER_FAILURES
    }
}

impl Tokens {
    fn only(self) -> Option<TokenFingerprint> {
        match self {
            Self::One(token) => Some(token),
            Self::None | Self::Several => None,
        }
    }
}

impl ProbeState {
    fn start(&mut self) -> Probe {
        self.is_in_flight = true;
        Probe::Start
    }

    fn misleads(&self, now: Monotonic) -> bool {
        self.misleads_until.is_some_and(|until| now < until)
    }

    fn has_ended_recently(&self, now: Monotonic) -> bool {
        self.ended_at.is_some_and(|at| now < at.saturating_add(defaults::BREAKER_PAUSE_MIN))
    }
}

impl Open {
    fn concerns(&self, token: &TokenFingerprint) -> bool {
        self.token.is_none_or(|only| only == *token)
    }

    fn pause(&mut self, priority: Priority) -> &mut Pause {
        match priority {
            Priority::Unknown => &mut self.unknown,
            Priority::Known | Priority::Genuine => &mut self.known,
        }
    }
}

impl Pause {
    /// Starts the next pause, as soon as both parts of the attempt have failed.
    fn record_failed_attempt(&mut self, failure: Unavailable, now: Monotonic, jitter: Jitter) {
        if self.is_calling || self.is_probing {
            return;
        }
        let pause = doubled(defaults::BREAKER_PAUSE_MIN, self.times).min(defaults::BREAKER_PAUSE_MAX);
        let pause = jitter.at_least_half(pause);
        // The server itself says when it accepts calls again.
        let pause = if failure.cause == RATE_LIMITED { pause.max(failure.retry_after) } else { pause };
        self.until = now.saturating_add(pause);
        self.times = self.times.saturating_add(1);
    }
}

/// Returns whether someone responded, and not because of the number of calls.
fn is_response(cause: IntrospectionError) -> bool {
    use IntrospectionError as Error;
    match cause {
        RATE_LIMITED => false,
        Error::Redirect
        | Error::CredentialsRefused
        | Error::Status { .. }
        | Error::ContentType
        | Error::InvalidAnswer
        | Error::InvalidActive
        | Error::MalformedMember { .. }
        | Error::Unsigned
        | Error::Signed { .. } => true,
        Error::Timeout
        | Error::Network { .. }
        | Error::Discovery { .. }
        | Error::Overloaded
        | Error::Panic
        | Error::Interrupted
        | Error::NoRuntime
        | Error::NoEntropy => false,
    }
}

const RATE_LIMITED: IntrospectionError = IntrospectionError::Status { status: 429 };
