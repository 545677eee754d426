//! `Breaker`: stops calls to a server that does not answer.
//!
//! # Security
//!
//! Clients choose the tokens that are sent to the server, and a token can make some servers or the proxies before them
//! respond with an error: a firewall answers 403 to a text that looks like an attack, a bug in the server causes 500,
//! and some servers answer 401, 400 or 500 to every token that they do not know, instead of `active: false`. If such
//! responses stopped all calls, one client could cause a 503 for all others. So these rules hold:
//!
//! - Failures of calls for clients alone never stop calls. They start a *probe*: a call with a random token that no
//!   client chose.
//! - An answer shows that the server works and accepts our credentials. For some seconds after one, nothing stops
//!   calls but a rate limit.
//! - If the probe fails as well, and only one token has failed, then only the calls about this token stop. Calls
//!   about every other token go on; one more failure stops all.
//! - After each pause, one request introspects its own token, beside a new probe. Either of both can succeed. Requests
//!   with known tokens have their own pauses, so that unknown tokens cannot use up their attempts. A token whose
//!   attempt has failed leaves the next attempts to others. As long as it is not known what probes show, several
//!   unknown tokens are introspected after each pause.
//! - If calls about tokens succeed and probes fail, a probe shows nothing about this server. This is found out by a
//!   comparison: a probe right after a success. For an hour, failures of unknown tokens then count for nothing, as long
//!   as the server responds.
//!
//! A server that refuses our credentials (RFC 7662 §2.3: 401) refuses them for every token, so the second token at the
//! latest stops all calls.
//!
//! A rate limit (429) may concern one token only, so a probe has to confirm it. A flood of unknown tokens may cause it,
//! and then known tokens meet it as well. So only the calls about unknown tokens stop at first. These resume at the time
//! that the server has named, whatever it answers before about known tokens. Then unknown tokens are introspected one at a
//! time for a while. For known tokens, the rules above hold during the limit, with three differences: calls that began
//! before it do not count, error responses to one token alone have no effect, and a recent answer outweighs a further 429.
//! So the limit stops all calls only if it outlasts the flood.

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
use crate::introspection::event::StoppedCalls;
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
    /// The time until which unknown tokens are introspected one at a time.
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
    /// The time at which calls were stopped, or at which those about known tokens resumed.
    since: Monotonic,
    unknown: Pause,
    known: Pause,
}

/// Which calls are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Token(TokenFingerprint),
    /// Those about unknown tokens, by a rate limit.
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
    /// Calls are stopped, or others than before, or for another reason.
    Stopped(Stopped),
    Closed,
}

/// Which calls are stopped and why, as events report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    pub(super) calls: StoppedCalls,
    pub(super) cause: IntrospectionError,
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

    /// Returns whether unknown tokens are introspected one at a time, since the server limited the rate of calls.
    pub(super) fn is_limited(&self, now: Monotonic) -> bool {
        self.limited_until.is_some_and(|until| now < until)
    }

    /// Returns whether the server did not respond to the last call for a client.
    pub(super) fn is_outage(&self) -> bool {
        self.failures.cause.is_some_and(IntrospectionError::is_outage)
    }

    /// Records that the server has answered a call for a client.
    pub(super) fn record_success(&mut self, now: Monotonic) -> (Probe, Transition) {
        let stopped = self.stopped();
        self.close(now);
        // Not during a rate limit.
        let is_due = self.open.is_none()
            && (self.probe.is_comparison_due || (self.compares_early && !self.probe.is_compared(now)));
        self.probe.is_comparison |= is_due || self.probe.is_in_flight;
        let is_needed = is_due && !self.probe.is_in_flight;
        let probe = if is_needed { self.probe.start() } else { Probe::NotNeeded };
        (probe, self.transition_from(stopped))
    }

    /// Records that a call for a client has failed.
    pub(super) fn record_failure(
        &mut self,
        call: ClientCall,
        failure: Unavailable,
        time: (Monotonic, Jitter),
    ) -> (Probe, Transition) {
        let stopped = self.stopped();
        let probe = self.count_failure(call, failure, time);
        (probe, self.transition_from(stopped))
    }

    fn count_failure(&mut self, call: ClientCall, failure: Unavailable, (now, jitter): (Monotonic, Jitter)) -> Probe {
        let is_unknown = call.priority == Priority::Unknown;
        let is_response = is_response(failure.cause);
        let is_misled = self.probe.misleads(now) && is_response;
        if is_misled && is_unknown && !call.is_attempt {
            return Probe::NotNeeded;
        }
        self.probe.is_comparison_due |= is_unknown && is_response && !self.probe.is_compared(now);
        match &mut self.open {
            None => {}
            // What has caused the rate limit may have caused this failure.
            Some(open) if open.is_beside_limit(&call) && call.started_at <= open.since => return Probe::NotNeeded,
            Some(open) if open.is_beside_limit(&call) => {}
            Some(open) => {
                open.record_failure(&call, failure, self.probe.value, (now, jitter));
                return Probe::NotNeeded;
            }
        }
        let is_suspect = self.failures.record(call, failure.cause, now, self.probe.is_in_flight);
        let is_about_token = self.open.is_some() && is_response && self.failures.tokens != Tokens::Several;
        if !is_suspect || is_about_token || self.is_outweighed(failure.cause, now) {
            return Probe::NotNeeded;
        }
        if is_misled {
            self.open(self.failures.scope(), failure, (now, jitter));
            return Probe::NotNeeded;
        }
        if self.probe.has_ended_recently(now) { Probe::NotNeeded } else { self.probe.start() }
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
    pub(super) fn record_probe(&mut self, result: Result<(), Unavailable>, time: (Monotonic, Jitter)) -> Transition {
        let stopped = self.stopped();
        let is_comparison = self.probe.end(time.0);
        if is_comparison || result.is_ok() {
            self.probe.compared_at = Some(time.0);
            self.probe.is_comparison_due = false;
        }
        match result {
            Ok(()) => {
                self.probe.value = ProbeValue::Failure;
                self.close(time.0);
            }
            Err(failure) => self.record_failed_probe(failure, is_comparison, time),
        }
        self.transition_from(stopped)
    }

    fn record_failed_probe(&mut self, failure: Unavailable, is_comparison: bool, (now, jitter): (Monotonic, Jitter)) {
        let is_refused = is_response(failure.cause);
        if failure.cause == RATE_LIMITED {
            let recovery = failure.retry_after.saturating_add(defaults::RATE_LIMIT_RECOVERY);
            self.limited_until = self.limited_until.max(Some(now.saturating_add(recovery)));
        }
        if is_comparison && is_refused {
            self.probe.value = ProbeValue::Nothing;
            return;
        }
        let is_misled = is_refused && self.probe.misleads(now);
        self.probe.is_comparison_due |= is_refused && !is_misled;
        if let Some(open) = &mut self.open {
            let is_beside_limit = open.scope == Scope::Unknown;
            // Another probe during a limit does not change the time that the server has named.
            if mem::take(&mut open.unknown.is_probing) || !is_beside_limit {
                let takes_more = open.scope == Scope::All && self.probe.value == ProbeValue::Unknown;
                open.unknown.record_failed_attempt(failure, takes_more, (now, jitter));
                open.cause = failure.cause;
            }
            if !is_beside_limit {
                return;
            }
        }
        // No call for a client has failed since the last answer.
        let is_alone = self.failures.tokens == Tokens::None;
        if is_misled || is_alone || self.is_outweighed(failure.cause, now) {
            return;
        }
        let scope = match failure.cause {
            RATE_LIMITED if self.open.is_none() => Scope::Unknown,
            // The limit of unknown tokens concerns a probe, but not the known tokens that fail.
            RATE_LIMITED if self.failures.cause != Some(RATE_LIMITED) => return,
            _ if is_refused => self.failures.scope(),
            // Without a response, the cause is not the text that was introspected.
            _ => Scope::All,
        };
        self.open(scope, failure, (now, jitter));
    }

    /// Returns whether an answer was so recent that a failure stops no calls. It can still start a rate limit.
    fn is_outweighed(&self, cause: IntrospectionError, now: Monotonic) -> bool {
        let is_recent = self.succeeded_at.is_some_and(|at| now < at.saturating_add(defaults::BREAKER_TRUST));
        is_recent && (cause != RATE_LIMITED || self.open.is_some())
    }

    /// Stops calls, or all of them during a rate limit.
    fn open(&mut self, scope: Scope, failure: Unavailable, (now, jitter): (Monotonic, Jitter)) {
        if let Some(open) = &mut self.open {
            if scope == Scope::All {
                (open.scope, open.cause) = (scope, failure.cause);
                open.known.record_failed_attempt(failure, false, (now, jitter));
            }
            return;
        }
        let mut unknown = Pause::new(now);
        unknown.record_failed_attempt(failure, false, (now, jitter));
        let mut known = unknown.clone();
        if scope == Scope::Unknown {
            known = Pause::new(now);
            // From now on, the failures of known tokens count.
            self.failures = Failures::default();
        }
        self.open = Some(Open { scope, cause: failure.cause, since: now, unknown, known });
    }

    fn close(&mut self, now: Monotonic) {
        self.failures = Failures::default();
        self.succeeded_at = Some(now);
        let Some(open) = self.open.take() else { return };
        let is_limited = !matches!(open.scope, Scope::Token(_)) && open.unknown.is_limited(now);
        self.open = is_limited.then(|| open.limited(now));
    }

    /// Returns which calls are stopped and why. `None` also if only the calls about one token are stopped: events do not report them.
    fn stopped(&self) -> Option<Stopped> {
        let open = self.open.as_ref()?;
        let calls = match open.scope {
            Scope::Token(_) => return None,
            Scope::Unknown => StoppedCalls::UnknownTokens,
            Scope::All => StoppedCalls::All,
        };
        Some(Stopped { calls, cause: open.cause })
    }

    fn transition_from(&self, before: Option<Stopped>) -> Transition {
        match self.stopped() {
            now if now == before => Transition::None,
            Some(stopped) => Transition::Stopped(stopped),
            None => Transition::Closed,
        }
    }
}

impl ProbeState {
    fn start(&mut self) -> Probe {
        self.is_in_flight = true;
        Probe::Start
    }

    /// Ends the probe in flight. Returns whether it was a comparison.
    fn end(&mut self, now: Monotonic) -> bool {
        self.is_in_flight = false;
        self.ended_at = Some(now);
        mem::take(&mut self.is_comparison)
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

    /// Returns whether a call is about a known token while a rate limit stops those about unknown ones.
    fn is_beside_limit(&self, call: &ClientCall) -> bool {
        self.scope == Scope::Unknown && call.priority != Priority::Unknown
    }

    /// Returns the state in which only the rate limit of unknown tokens remains.
    fn limited(self, now: Monotonic) -> Self {
        if self.scope == Scope::Unknown {
            return self;
        }
        Self { scope: Scope::Unknown, cause: RATE_LIMITED, since: now, known: Pause::new(now), ..self }
    }

    /// Records a failed attempt, or a failed call that began before calls were stopped.
    fn record_failure(
        &mut self,
        call: &ClientCall,
        failure: Unavailable,
        probe: ProbeValue,
        (now, jitter): (Monotonic, Jitter),
    ) {
        if !call.is_attempt {
            if !self.concerns(&call.token, call.priority) {
                // The probe has failed, and no call has had an answer since.
                self.scope = Scope::All;
            }
            return;
        }
        let is_unknown = call.priority == Priority::Unknown;
        let is_for_all = self.scope == Scope::All;
        let pause = self.pause_mut(call.priority);
        pause.is_calling = false;
        if is_for_all && is_response(failure.cause) {
            pause.record_failed_token(call.token);
        }
        let takes_more = is_for_all && is_unknown && probe == ProbeValue::Unknown;
        pause.record_failed_attempt(failure, takes_more, (now, jitter));
        if !is_unknown {
            self.cause = failure.cause;
        }
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
