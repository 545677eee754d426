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
//!   with known tokens have their own pauses, so that unknown tokens cannot use up their attempts. A token whose
//!   attempt has failed leaves the next attempts to others. As long as it is not known what probes show, several
//!   unknown tokens are asked about after each pause.
//! - If calls about tokens succeed and probes fail, a probe shows nothing about this server. This is found out by a
//!   comparison: a probe right after a success. For an hour, failures of unknown tokens then count for nothing, as long
//!   as the server responds.
//!
//! A server that refuses our credentials (RFC 7662 §2.3: 401) refuses them for every token, so the second token at the
//! latest stops all calls.
//!
//! A rate limit (429) may concern one token only, so a probe has to confirm it. A flood of unknown tokens may cause it. So
//! if no known token has met it, only the calls about unknown tokens stop. These resume at the time that the server has
//! named, whatever it answers before about known tokens. Then unknown tokens are asked about one at a time for a while.

#[cfg(test)]
mod tests;

mod failures;
mod pause;

use std::mem;

use crate::clock::Monotonic;
use crate::defaults;
use crate::introspection::breaker::failures::{Failures, Tokens};
use crate::introspection::breaker::pause::Pause;
use crate::introspection::call::Priority;
use crate::introspection::error::{IntrospectionError, Unavailable};
use crate::jwks::Jitter;
use crate::keys::TokenFingerprint;

/// The state of the calls to one server. A pure state machine: the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: Failures,
    /// The time of the last answer.
    succeeded_at: Option<Monotonic>,
    probe: ProbeState,
    open: Option<Open>,
    /// The time until which unknown tokens are asked about one at a time.
    limited_until: Option<Monotonic>,
    /// Whether a comparison is made before anything has failed.
    compares_early: bool,
}

#[derive(Debug, Default)]
struct ProbeState {
    is_in_flight: bool,
    /// Whether the server has answered just before or during the probe in flight, so that it shows what probes are worth.
    is_comparison: bool,
    /// The end of the last probe.
    ended_at: Option<Monotonic>,
    /// Whether the server responded to a probe or an unknown token with an error, so that the next answer starts a
    /// comparison.
    is_comparison_due: bool,
    value: ProbeValue,
    /// The time at which the value was found out, or at which a comparison showed nothing.
    compared_at: Option<Monotonic>,
}

/// What an error response to a probe shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ProbeValue {
    #[default]
    Unknown,
    /// The server has answered a probe, so it fails.
    Failure,
    /// The server has answered about a token and refused a probe, so it shows nothing.
    Nothing,
}

/// Calls are stopped.
#[derive(Debug)]
struct Open {
    scope: Scope,
    cause: IntrospectionError,
    unknown: Pause,
    known: Pause,
}

/// Which calls are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Token(TokenFingerprint),
    /// Those about unknown tokens.
    Unknown,
    All,
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
    /// Creates a breaker that has to know what probes show before calls fail, or only afterwards.
    pub(super) fn new(compares_early: bool) -> Self {
        Self { compares_early, ..Self::default() }
    }

    /// Returns what a call may do now. After [`Gate::Attempt`], the caller must record the result or the end of the call.
    pub(super) fn gate(&mut self, token: &TokenFingerprint, priority: Priority, now: Monotonic) -> Gate {
        let probe = &mut self.probe;
        let Some(open) = self.open.as_mut().filter(|open| open.concerns(token, priority)) else { return Gate::Closed };
        let cause = open.cause;
        let pause = open.pause_mut(priority);
        if pause.is_attempted() {
            return Gate::Wait;
        }
        if let Some(left) = pause.left(token, now) {
            return Gate::Open(Unavailable::new(cause, Some(left)));
        }
        pause.is_calling = true;
        // A known token was active before, so it needs no probe beside it.
        let is_needed = priority == Priority::Unknown && !probe.misleads(now) && !probe.is_in_flight;
        pause.is_probing = is_needed && (pause.has_just_ended() || !probe.has_ended_recently(now));
        if !pause.is_probing {
            return Gate::Attempt(Probe::NotNeeded);
        }
        Gate::Attempt(probe.start())
    }

    /// Returns why a request fails at once, without any effect.
    pub(super) fn rejects(&self, token: &TokenFingerprint, priority: Priority, now: Monotonic) -> Option<Unavailable> {
        let open = self.open_for(token, priority)?;
        let pause = open.pause(priority);
        let left = pause.left(token, now).filter(|_| !pause.is_attempted())?;
        Some(Unavailable::new(open.cause, Some(left)))
    }

    /// Returns why the calls about a token are stopped.
    pub(super) fn cause(&self, token: &TokenFingerprint, priority: Priority) -> Option<IntrospectionError> {
        self.open_for(token, priority).map(|open| open.cause)
    }

    /// Returns whether no pause concerns a token.
    pub(super) fn is_closed_for(&self, token: &TokenFingerprint, priority: Priority) -> bool {
        self.open_for(token, priority).is_none()
    }

    fn open_for(&self, token: &TokenFingerprint, priority: Priority) -> Option<&Open> {
        self.open.as_ref().filter(|open| open.concerns(token, priority))
    }

    /// Returns whether the calls about all tokens are stopped.
    fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.scope == Scope::All)
    }

    /// Returns whether error responses show that the server fails: the calls about all tokens are stopped, and the
    /// server answers probes as long as it works.
    pub(super) fn is_failing(&self) -> bool {
        self.is_open() && self.probe.value == ProbeValue::Failure
    }

    /// Returns whether unknown tokens are asked about one at a time, since the server limited the rate of calls.
    pub(super) fn is_limited(&self, now: Monotonic) -> bool {
        self.limited_until.is_some_and(|until| now < until)
    }

    /// Returns whether the server did not respond to the last call for a client.
    pub(super) fn is_outage(&self) -> bool {
        self.failures.is_outage
    }

    /// Records that the server has answered a call for a client.
    pub(super) fn record_success(&mut self, now: Monotonic) -> (Probe, Transition) {
        let transition = self.close(now);
        // Not during a rate limit.
        let is_due = self.open.is_none()
            && (self.probe.is_comparison_due || (self.compares_early && !self.probe.is_compared(now)));
        self.probe.is_comparison |= is_due || self.probe.is_in_flight;
        if self.probe.is_in_flight || !is_due {
            return (Probe::NotNeeded, transition);
        }
        (self.probe.start(), transition)
    }

    /// Records that a call for a client has failed.
    pub(super) fn record_failure(
        &mut self,
        call: ClientCall,
        failure: Unavailable,
        (now, jitter): (Monotonic, Jitter),
    ) -> (Probe, Transition) {
        let is_unknown = call.priority == Priority::Unknown;
        let is_misled = self.probe.misleads(now) && is_response(failure.cause);
        if is_misled && is_unknown && !call.is_attempt {
            return (Probe::NotNeeded, Transition::None);
        }
        self.probe.is_comparison_due |= is_unknown && is_response(failure.cause) && !self.probe.is_compared(now);
        if self.open.as_ref().is_some_and(|open| open.scope == Scope::Unknown) && !is_unknown {
            return (Probe::NotNeeded, self.record_failure_beside_limit(call, failure, (now, jitter)));
        }
        if let Some(open) = &mut self.open {
            if !call.is_attempt {
                // The probe has failed, and no call has had an answer since.
                return (Probe::NotNeeded, open.extend_to(&call));
            }
            let is_for_all = open.scope == Scope::All;
            let takes_more = is_for_all && is_unknown && self.probe.value == ProbeValue::Unknown;
            let pause = open.pause_mut(call.priority);
            pause.is_calling = false;
            if is_for_all && is_response(failure.cause) {
                pause.record_failed_token(call.token);
            }
            pause.record_failed_attempt(failure, takes_more, (now, jitter));
            let transition = if is_unknown { Transition::None } else { open.record_cause(failure.cause) };
            return (Probe::NotNeeded, transition);
        }
        let is_suspect = self.failures.record(call, failure.cause, now, self.probe.is_in_flight);
        let is_limited = failure.cause == RATE_LIMITED;
        if !is_suspect || (self.has_answered_recently(now) && !is_limited) {
            return (Probe::NotNeeded, Transition::None);
        }
        if is_misled {
            return (Probe::NotNeeded, self.open(self.failures.scope(), failure, (now, jitter)));
        }
        if self.probe.has_ended_recently(now) {
            return (Probe::NotNeeded, Transition::None);
        }
        (self.probe.start(), Transition::None)
    }

    /// Records that a call about a known token has failed, while those about unknown tokens are stopped by a rate limit.
    /// All calls stop if the limit concerns known tokens as well, or if the server fails. No probe is sent meanwhile.
    fn record_failure_beside_limit(
        &mut self,
        call: ClientCall,
        failure: Unavailable,
        (now, jitter): (Monotonic, Jitter),
    ) -> Transition {
        let is_suspect = self.failures.record(call, failure.cause, now, self.probe.is_in_flight);
        let is_confirmed = failure.cause == RATE_LIMITED
            || (is_suspect
                && !self.has_answered_recently(now)
                && (!is_response(failure.cause) || self.failures.tokens == Tokens::Several));
        match &mut self.open {
            Some(open) if is_confirmed => {
                open.scope = Scope::All;
                open.known.record_failed_attempt(failure, false, (now, jitter));
                open.record_cause(failure.cause)
            }
            Some(_) | None => Transition::None,
        }
    }

    /// Records that an attempt has ended without a call: no request waits for it any more. The next request makes the
    /// attempt.
    pub(super) fn record_abandoned_attempt(&mut self, priority: Priority) {
        if let Some(open) = &mut self.open {
            open.pause_mut(priority).is_calling = false;
        }
    }

    /// Records that a probe has ended without a result, which says nothing about the server.
    pub(super) fn record_abandoned_probe(&mut self) {
        self.probe.is_in_flight = false;
        self.probe.is_comparison = false;
        if let Some(open) = &mut self.open {
            open.unknown.is_probing = false;
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
        let is_refused = result.is_err_and(|failure| is_response(failure.cause));
        if is_comparison || result.is_ok() {
            self.probe.compared_at = Some(now);
            self.probe.is_comparison_due = false;
        }
        let Err(failure) = result else {
            self.probe.value = ProbeValue::Failure;
            return self.close(now);
        };
        if failure.cause == RATE_LIMITED {
            let recovery = failure.retry_after.saturating_add(defaults::RATE_LIMIT_RECOVERY);
            self.limited_until = self.limited_until.max(Some(now.saturating_add(recovery)));
        }
        if is_comparison && is_refused {
            self.probe.value = ProbeValue::Nothing;
            return Transition::None;
        }
        let is_misled = is_refused && self.probe.misleads(now);
        self.probe.is_comparison_due |= is_refused && !is_misled;
        if let Some(open) = &mut self.open {
            let takes_more = open.scope == Scope::All && self.probe.value == ProbeValue::Unknown;
            open.unknown.is_probing = false;
            open.unknown.record_failed_attempt(failure, takes_more, (now, jitter));
            return open.record_cause(failure.cause);
        }
        // No call for a client has failed since the last answer.
        let is_alone = self.failures.tokens == Tokens::None;
        if is_misled || is_alone || (self.has_answered_recently(now) && failure.cause != RATE_LIMITED) {
            return Transition::None;
        }
        let scope = match failure.cause {
            RATE_LIMITED if !self.failures.has_limited_known => Scope::Unknown,
            _ if is_refused => self.failures.scope(),
            // Without a response, the cause is not the text that was asked about.
            _ => Scope::All,
        };
        self.open(scope, failure, (now, jitter))
    }

    fn has_answered_recently(&self, now: Monotonic) -> bool {
        self.succeeded_at.is_some_and(|at| now < at.saturating_add(defaults::BREAKER_TRUST))
    }

    fn open(&mut self, scope: Scope, failure: Unavailable, (now, jitter): (Monotonic, Jitter)) -> Transition {
        let mut pause = Pause::new(now);
        pause.record_failed_attempt(failure, false, (now, jitter));
        self.open = Some(Open { scope, cause: failure.cause, unknown: pause.clone(), known: pause });
        if scope == Scope::Unknown {
            // From now on, the failures of known tokens count.
            self.failures = Failures::default();
        }
        if matches!(scope, Scope::Token(_)) { Transition::None } else { Transition::Opened(failure.cause) }
    }

    fn close(&mut self, now: Monotonic) -> Transition {
        self.failures = Failures::default();
        self.succeeded_at = Some(now);
        let Some(open) = self.open.take() else { return Transition::None };
        match open.scope {
            Scope::Token(_) => Transition::None,
            Scope::Unknown | Scope::All if open.unknown.is_limited(now) => {
                let known = Pause::new(now);
                self.open = Some(Open { scope: Scope::Unknown, known, ..open });
                Transition::None
            }
            Scope::Unknown | Scope::All => Transition::Closed,
        }
    }
}

impl ProbeState {
    fn start(&mut self) -> Probe {
        self.is_in_flight = true;
        Probe::Start
    }

    fn misleads(&self, now: Monotonic) -> bool {
        self.value == ProbeValue::Nothing && self.is_compared(now)
    }

    fn is_compared(&self, now: Monotonic) -> bool {
        self.compared_at.is_some_and(|at| now < at.saturating_add(defaults::PROBE_COMPARISON_LIFETIME))
    }

    fn has_ended_recently(&self, now: Monotonic) -> bool {
        self.ended_at.is_some_and(|at| now < at.saturating_add(defaults::BREAKER_PAUSE_MIN))
    }
}

impl Open {
    fn concerns(&self, token: &TokenFingerprint, priority: Priority) -> bool {
        match &self.scope {
            Scope::Token(only) => only == token,
            Scope::Unknown => priority == Priority::Unknown,
            Scope::All => true,
        }
    }

    fn pause(&self, priority: Priority) -> &Pause {
        match priority {
            Priority::Unknown => &self.unknown,
            Priority::Known | Priority::Genuine => &self.known,
        }
    }

    fn pause_mut(&mut self, priority: Priority) -> &mut Pause {
        match priority {
            Priority::Unknown => &mut self.unknown,
            Priority::Known | Priority::Genuine => &mut self.known,
        }
    }

    /// Stops the calls about all tokens if this one is not among those that are stopped.
    fn extend_to(&mut self, call: &ClientCall) -> Transition {
        if self.concerns(&call.token, call.priority) {
            return Transition::None;
        }
        self.scope = Scope::All;
        Transition::Opened(self.cause)
    }

    fn record_cause(&mut self, cause: IntrospectionError) -> Transition {
        let has_changed = mem::replace(&mut self.cause, cause) != cause && !matches!(self.scope, Scope::Token(_));
        if has_changed { Transition::Opened(cause) } else { Transition::None }
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
