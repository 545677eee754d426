//! `Client`: introspects tokens at one server, for one validator.

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use crate::clock::{Moment, Monotonic};
use crate::defaults;
use crate::fetch::within;
use crate::introspection::answer::{ActiveAnswer, Answer, SharedAnswer};
use crate::introspection::call::{Call, CallResult, Priority, Waiter};
use crate::introspection::endpoint::ClientParts;
use crate::introspection::error::{IntrospectionError, Unavailable};
use crate::introspection::event::IntrospectionEventKind;
use crate::introspection::location::Location;
use crate::introspection::running::Running;
use crate::introspection::settings::Introspection;
use crate::introspection::shared::{ActiveHook, EvictToken, Shared};
use crate::introspection::waiters::Waiters;
use crate::jwks::RefreshPolicy;
use crate::keys::{Fingerprinter, TokenFingerprint};

/// The introspection client of one issuer.
///
/// # Security
///
/// It belongs to one validator, so that no answer of one server, tenant or API is used for another. Tokens are identified by
/// fingerprints under a key of this process; no text, hash or prefix of a token leaves it, except in the body of a call.
pub(crate) struct Client {
    shared: Arc<Shared>,
    fingerprinter: Option<Fingerprinter>,
    waiters: Waiters,
}

impl Client {
    pub(crate) fn new(parts: ClientParts, location: Location, policy: RefreshPolicy) -> Self {
        Self {
            shared: Arc::new(Shared::new(parts, location, policy)),
            fingerprinter: Fingerprinter::new(),
            waiters: Waiters::default(),
        }
    }

    pub(crate) fn settings(&self) -> &Introspection {
        self.shared.settings()
    }

    /// Returns an answer about a token that is stored outside of the token cache.
    pub(crate) fn stored_answer(&self, token: &[u8]) -> Option<Answer> {
        self.stored_answer_about(&self.fingerprint(token)?)
    }

    fn stored_answer_about(&self, fingerprint: &TokenFingerprint) -> Option<Answer> {
        let (memory, settings) = (&self.shared.memory, self.settings());
        let now = Moment::now(&*self.shared.parts().clock);
        let negative_ttl = settings.negative_ttl.min(settings.ttl);
        let is_fresh = |call_started_at| now.monotonic.saturating_since(call_started_at) < negative_ttl;
        if memory.inactive_since(fingerprint).is_some_and(is_fresh) {
            return Some(Answer::Inactive);
        }
        let rejected = memory.rejected(fingerprint).filter(|answer| answer.age(now) < settings.ttl)?;
        memory.is_current(fingerprint, rejected.call_started_at).then_some(Answer::Active(rejected))
    }

    /// Returns whether a signed token must not be accepted without an answer: the last one about it was negative or
    /// rejected, or the application has just evicted it.
    pub(crate) fn may_be_revoked(&self, token: &[u8]) -> bool {
        let now = self.shared.now();
        self.fingerprint(token).is_none_or(|fingerprint| self.shared.memory.may_be_revoked(&fingerprint, now))
    }

    /// Introspects a token, or waits for the call about it that is in flight. The future can be dropped at
    /// any time; a call that was sent continues.
    pub(crate) async fn introspect(&self, token: &[u8], priority: Priority) -> CallResult {
        if Handle::try_current().is_err() {
            return Err(IntrospectionError::NoRuntime.into());
        }
        let fingerprint = self.fingerprint(token).ok_or(IntrospectionError::NoEntropy)?;
        let mut permit = self.waiters.try_acquire(priority).ok_or(IntrospectionError::Overloaded)?;
        let mut waiter = self.join_or_start(fingerprint, token, priority)?;
        let deadline = self.shared.now().saturating_add(self.settings().timeout);
        let result = within(waiter.result(), permit.displaced());
        match within(result, self.shared.parts().clock.sleep_until(deadline)).await {
            Some(Some(result)) => result.unwrap_or(Err(IntrospectionError::Interrupted.into())),
            Some(None) => Err(IntrospectionError::Overloaded.into()),
            None => Err(self.late((&fingerprint, priority), waiter.sent_at()).into()),
        }
    }

    /// Returns why a request has received no answer within its timeout.
    fn late(
        &self,
        (fingerprint, priority): (&TokenFingerprint, Priority),
        sent_at: Option<Monotonic>,
    ) -> IntrospectionError {
        let had_time = |sent_at| {
            let (waited, timeout) = (self.shared.now().saturating_since(sent_at), self.settings().timeout);
            waited.saturating_mul(100) >= timeout.saturating_mul(defaults::INTROSPECTION_TIMEOUT_PERCENT)
        };
        match sent_at {
            Some(sent_at) if had_time(sent_at) => IntrospectionError::Timeout,
            // The call was in the queue for long.
            Some(_) => IntrospectionError::Overloaded,
            // The call was not sent.
            None => self.shared.breaker().cause(fingerprint, priority).unwrap_or(IntrospectionError::Overloaded),
        }
    }

    /// Returns whether an error of a call means that the server is down. A 5xx does only if all calls are stopped, and
    /// the server has answered a probe before: it may respond with a 5xx to each token that is revoked or unknown. A
    /// request whose call was not sent counts like one without a response if the server does not respond to others.
    pub(crate) fn is_down(&self, cause: IntrospectionError) -> bool {
        match cause {
            IntrospectionError::Overloaded => self.shared.breaker().is_outage(),
            cause => cause.is_outage() || (cause.is_server_error() && self.shared.breaker().is_failing()),
        }
    }

    /// Starts a call about a known token in the background. Returns `false` if that is not possible now, also because a
    /// call about it is in flight: its answer may be stored in another token cache only.
    pub(crate) fn refresh(&self, token: Arc<[u8]>, priority: Priority, on_active: ActiveHook) -> bool {
        let Some(fingerprint) = self.fingerprint(&token).filter(|_| Handle::try_current().is_ok()) else {
            return false;
        };
        if !self.shared.breaker().is_closed_for(&fingerprint, priority) {
            return false;
        }
        let Some(slot) = self.shared.calls.try_slot(priority) else { return false };
        let mut calls = self.shared.calls.lock();
        if calls.contains_key(&fingerprint) {
            return false;
        }
        let running = Running::new(&self.shared, &mut calls, fingerprint, priority);
        drop(calls);
        tokio::spawn(async move { running.send(slot, &token, Some(on_active)).await });
        true
    }

    /// Stores a positive answer about a token that this API rejects, so that requests with it cause no
    /// further calls.
    pub(crate) fn record_rejected(&self, token: &[u8], answer: &SharedAnswer, priority: Priority) {
        self.if_current(token, answer, |fingerprint| {
            self.shared.memory.record_rejected(fingerprint, Arc::clone(answer));
            self.shared.record_revoked(fingerprint, priority);
        });
    }

    /// Calls `store` because this API accepts an answer about a token, unless the answer does not count any more. An
    /// eviction at the same time happens either before, so that nothing is stored, or after it, so that the entry is
    /// removed. `store` runs under a lock, so it returns what must be dropped without one.
    pub(crate) fn store<T>(&self, token: &[u8], answer: &ActiveAnswer, store: impl FnOnce() -> T) -> Option<T> {
        self.if_current(token, answer, |fingerprint| {
            self.shared.memory.record_accepted(&fingerprint);
            store()
        })
    }

    fn if_current<T>(
        &self,
        token: &[u8],
        answer: &ActiveAnswer,
        record: impl FnOnce(TokenFingerprint) -> T,
    ) -> Option<T> {
        let fingerprint = self.fingerprint(token)?;
        let _lock = self.shared.calls.lock();
        // A function that is not called is dropped as a parameter, which is after the lock.
        if self.shared.memory.is_current(&fingerprint, answer.call_started_at) {
            Some(record(fingerprint))
        } else {
            None
        }
    }

    /// Returns whether no later event ends the use of an answer.
    pub(crate) fn is_current(&self, token: &[u8], answer: &ActiveAnswer) -> bool {
        self.fingerprint(token)
            .is_some_and(|fingerprint| self.shared.memory.is_current(&fingerprint, answer.call_started_at))
    }

    /// Removes everything that is known about one token: later requests do not use an answer to a call that began before. Calls about
    /// other tokens are not affected.
    pub(crate) fn record_eviction(&self, token: &[u8]) {
        let Some(fingerprint) = self.fingerprint(token) else { return };
        {
            let mut calls = self.shared.calls.lock();
            // The call continues for the requests that wait for it.
            calls.remove(&fingerprint);
            self.shared.memory.record_evicted(fingerprint, self.shared.now());
        }
        self.evict(token);
    }

    /// Adds a token cache, from which entries are evicted until it is dropped.
    pub(crate) fn add_token_cache(&self, token_cache: Weak<dyn EvictToken>) {
        self.shared.add_token_cache(token_cache);
    }

    /// Removes the entry of a token from all token caches.
    pub(crate) fn evict(&self, token: &[u8]) {
        self.shared.evict(token);
    }

    /// Reports that an answer contradicts the signed token that it is about.
    pub(crate) fn report_contradiction(&self, claim: &'static str) {
        self.shared.notify(IntrospectionEventKind::Contradicted { claim });
    }

    /// Returns whether the server has answered, but has called no token active yet.
    pub(crate) fn has_only_negative_answers(&self) -> bool {
        self.shared.has_only_negative_answers()
    }

    fn label(&self) -> &str {
        self.shared.label()
    }

    fn fingerprint(&self, token: &[u8]) -> Option<TokenFingerprint> {
        self.fingerprinter.as_ref()?.fingerprint(token)
    }

    /// Joins the call about a token, or starts one.
    fn join_or_start(
        &self,
        fingerprint: TokenFingerprint,
        token: &[u8],
        priority: Priority,
    ) -> Result<Waiter, Unavailable> {
        let mut calls = self.shared.calls.lock();
        if let Some(call) = calls.get(&fingerprint) {
            return Ok(call.join(priority));
        }
        // A call may have ended since the request found no answer.
        if let Some(answer) = self.stored_answer_about(&fingerprint) {
            return Ok(Call::ended(Ok(answer)).join(priority));
        }
        if let Some(unavailable) = self.shared.breaker().rejects(&fingerprint, priority, self.shared.now()) {
            return Err(unavailable);
        }
        let running = Running::new(&self.shared, &mut calls, fingerprint, priority);
        drop(calls);
        let waiter = running.call.join(priority);
        tokio::spawn(running.run(Box::from(token)));
        Ok(waiter)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("issuer", &self.label()).finish_non_exhaustive()
    }
}
