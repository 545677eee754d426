//! `Client`: asks one server about tokens, for one validator.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::claims::Claims;
use crate::clock::Monotonic;
use crate::defaults;
use crate::fetch::{catch_panic, within};
use crate::introspection::answer::{ActiveAnswer, Answer, Parsed, SharedAnswer};
use crate::introspection::breaker::{Breaker, Gate, Probe, Transition};
use crate::introspection::call::{Call, CallResult, Calls, Priority, Slot};
use crate::introspection::endpoint::{ClientParts, EndpointClient};
use crate::introspection::error::{IntrospectionError, Unavailable};
use crate::introspection::location::Location;
use crate::introspection::memory::Memory;
use crate::introspection::settings::Introspection;
use crate::jwks::{RefreshPolicy, Rng};
use crate::keys::{self, Fingerprinter, TokenFingerprint};
use crate::telemetry::introspection as events;

/// Removes the entry of a token from a token cache, until the cache is dropped.
type Evictor = Box<dyn Fn(&[u8]) -> ControlFlow<()> + Send>;

/// Is called with a positive answer before the requests that wait for it.
type ActiveHook = Box<dyn FnOnce(&SharedAnswer) + Send>;

/// The introspection client of one issuer.
///
/// # Security
///
/// It belongs to one validator, so that no answer of one server, tenant or API is used for another. Tokens are identified by
/// fingerprints under a key of this process; no text, hash or prefix of a token leaves it, except in the body of a call.
pub(crate) struct Client {
    endpoint: EndpointClient,
    fingerprinter: Option<Fingerprinter>,
    calls: Calls,
    waiters: Semaphore,
    breaker: Mutex<Breaker>,
    /// Changes after each probe.
    probes: watch::Sender<()>,
    memory: Memory,
    evictors: Mutex<Vec<Evictor>>,
    rng: Mutex<Rng>,
}

impl Client {
    pub(crate) fn new(parts: ClientParts, location: Location, policy: RefreshPolicy) -> Self {
        Self {
            fingerprinter: Fingerprinter::new(),
            calls: Calls::new(parts.settings.max_calls),
            waiters: Semaphore::new(defaults::MAX_WAITERS),
            breaker: Mutex::default(),
            probes: watch::Sender::new(()),
            memory: Memory::new(),
            evictors: Mutex::default(),
            rng: Mutex::new(Rng::seeded()),
            endpoint: EndpointClient::new(parts, location, policy),
        }
    }

    fn parts(&self) -> &ClientParts {
        &self.endpoint.parts
    }

    pub(crate) fn settings(&self) -> &Introspection {
        &self.parts().settings
    }

    /// Returns an answer about a token that is remembered outside of the token cache.
    pub(crate) fn remembered(&self, token: &[u8]) -> Option<Answer> {
        let fingerprint = self.fingerprint(token)?;
        let now = self.parts().clock.monotonic();
        let is_fresh = |asked_at: Monotonic, ttl| now < asked_at.saturating_add(ttl);
        let settings = &self.parts().settings;
        let negative_ttl = settings.negative_ttl.min(settings.ttl);
        if self.memory.inactive_since(&fingerprint).is_some_and(|asked_at| is_fresh(asked_at, negative_ttl)) {
            return Some(Answer::Inactive);
        }
        let refused = self.memory.refused(&fingerprint).filter(|answer| is_fresh(answer.asked_at, settings.ttl))?;
        if !self.memory.is_current(&fingerprint, refused.asked_at) {
            return None;
        }
        (self.parts().clock.now() < refused.asked_at_wall.saturating_add(settings.ttl))
            .then_some(Answer::Active(refused))
    }

    /// Returns whether the last known answer about a token is negative, however old it is.
    pub(crate) fn was_inactive(&self, token: &[u8]) -> bool {
        self.fingerprint(token).is_some_and(|fingerprint| self.memory.inactive_since(&fingerprint).is_some())
    }

    /// Asks the server about a token, or waits for the call about it that is in flight. The future can be dropped at any time; the call
    /// continues.
    pub(crate) async fn ask(self: &Arc<Self>, token: &[u8], priority: Priority) -> CallResult {
        if Handle::try_current().is_err() {
            return Err(IntrospectionError::NoRuntime.into());
        }
        let Ok(_permit) = self.waiters.try_acquire() else { return Err(IntrospectionError::Overloaded.into()) };
        let clock = &self.parts().clock;
        let deadline = clock.sleep_until(clock.monotonic().saturating_add(self.parts().settings.timeout));
        let mut on_timeout = IntrospectionError::Overloaded;
        let result = within(self.ask_patiently(token, priority, &mut on_timeout), deadline).await;
        result.unwrap_or_else(|| Err(on_timeout.into()))
    }

    /// Returns whether an error of a call means that the server is down. A 5xx does only if a call about a random text has failed as
    /// well: for one token, the server may respond with a 5xx because the token is revoked.
    pub(crate) fn is_down(&self, cause: IntrospectionError) -> bool {
        cause.is_outage() || (cause.is_server_error() && self.breaker().is_open())
    }

    /// Starts a call about a known token in the background. Returns `false` if that is not possible now.
    pub(crate) fn refresh(self: &Arc<Self>, token: &[u8], on_active: ActiveHook) -> bool {
        let Some(fingerprint) = self.fingerprint(token).filter(|_| Handle::try_current().is_ok()) else { return false };
        if self.breaker().is_open() {
            return false;
        }
        let Some(slot) = self.calls.try_slot(Priority::Known) else { return false };
        self.start_or_join(fingerprint, token, slot, Some(on_active));
        true
    }

    /// Remembers a positive answer about a token that this API refuses, so that the server is not asked again for each request.
    pub(crate) fn record_refused(&self, token: &[u8], answer: &SharedAnswer) {
        if let Some(fingerprint) = self.fingerprint(token)
            && self.memory.is_current(&fingerprint, answer.asked_at)
        {
            self.memory.record_refused(fingerprint, Arc::clone(answer));
        }
    }

    /// Returns whether an answer may still be in a token cache. Called after it was stored: an eviction at the same time then either finds
    /// the entry, or is found here.
    pub(crate) fn is_current(&self, token: &[u8], answer: &ActiveAnswer) -> bool {
        self.fingerprint(token).is_some_and(|fingerprint| self.memory.is_current(&fingerprint, answer.asked_at))
    }

    /// Forgets everything about one token: later requests do not use an answer to a call that began before. Calls about other tokens are
    /// not affected.
    pub(crate) fn forget(&self, token: &[u8]) {
        let Some(fingerprint) = self.fingerprint(token) else { return };
        {
            let mut calls = self.calls.lock();
            // The call continues for the requests that wait for it.
            calls.remove(&fingerprint);
            self.memory.record_evicted(fingerprint, self.parts().clock.monotonic());
        }
        self.evict(token);
    }

    /// Adds a token cache, from which entries are evicted.
    pub(crate) fn at_eviction(&self, evictor: impl Fn(&[u8]) -> ControlFlow<()> + Send + 'static) {
        self.evictors.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(evictor));
    }

    /// Removes the entry of a token from all token caches.
    pub(crate) fn evict(&self, token: &[u8]) {
        self.evictors.lock().unwrap_or_else(PoisonError::into_inner).retain(|evictor| evictor(token).is_continue());
    }

    pub(crate) fn label(&self) -> &str {
        self.parts().issuers.first().map(|name| &**name).unwrap_or_default()
    }

    fn fingerprint(&self, token: &[u8]) -> Option<TokenFingerprint> {
        self.fingerprinter.as_ref()?.fingerprint(token)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `on_timeout` is the error if the wait ends now. A request that waits for a slot has not asked the server, so that is no outage,
    /// unless the calls that occupy the slots fail.
    async fn ask_patiently(
        self: &Arc<Self>,
        token: &[u8],
        priority: Priority,
        on_timeout: &mut IntrospectionError,
    ) -> CallResult {
        let fingerprint = self.fingerprint(token).ok_or(IntrospectionError::NoEntropy)?;
        self.wait_until_closed(on_timeout).await?;
        *on_timeout = self.breaker().last_error().unwrap_or(IntrospectionError::Overloaded);
        let joined = self.calls.lock().get(&fingerprint).cloned();
        let call = match joined {
            Some(call) => call,
            None => {
                let slot = self.calls.slot(priority).await.ok_or(IntrospectionError::Overloaded)?;
                self.start_or_join(fingerprint, token, slot, None)
            }
        };
        *on_timeout = IntrospectionError::Timeout;
        call.result().await.unwrap_or(Err(IntrospectionError::Interrupted.into()))
    }

    /// Waits for the result of a probe if calls are stopped and the pause has ended.
    async fn wait_until_closed(self: &Arc<Self>, on_timeout: &mut IntrospectionError) -> Result<(), Unavailable> {
        let mut probes = self.probes.subscribe();
        loop {
            let gate = self.breaker().gate(self.parts().clock.monotonic());
            match gate {
                Gate::Closed => return Ok(()),
                Gate::Open(unavailable) => return Err(unavailable),
                Gate::ProbeDue(cause) => {
                    self.start_probe();
                    *on_timeout = cause;
                }
                Gate::Probing(cause) => *on_timeout = cause,
            }
            if probes.changed().await.is_err() {
                return Err(IntrospectionError::Interrupted.into());
            }
        }
    }

    /// Starts a call, or returns the one about the same token that another request has started meanwhile.
    fn start_or_join(
        self: &Arc<Self>,
        fingerprint: TokenFingerprint,
        token: &[u8],
        slot: Slot,
        on_active: Option<ActiveHook>,
    ) -> Arc<Call> {
        let mut calls = self.calls.lock();
        if let Some(call) = calls.get(&fingerprint) {
            return Arc::clone(call);
        }
        let call = Arc::new(Call::new());
        calls.insert(fingerprint, Arc::clone(&call));
        drop(calls);
        let running = Running { client: Arc::clone(self), call: Arc::clone(&call), fingerprint, _slot: slot };
        let token: Box<[u8]> = Box::from(token);
        tokio::spawn(running.run(token, on_active));
        call
    }

    fn start_probe(self: &Arc<Self>) {
        let probing = Probing { client: Arc::clone(self), is_recorded: false };
        tokio::spawn(probing.run());
    }

    /// Calls the server.
    async fn call(&self, token: &[u8]) -> CallResult {
        let clock = &self.parts().clock;
        let started = clock.monotonic();
        let (asked_at, asked_at_wall) = (started, clock.now());
        let in_flight = events::InFlight::start(self.label());
        let deadline = started.saturating_add(self.parts().settings.timeout);
        let called = catch_panic(within(self.endpoint.ask(token, deadline), clock.sleep_until(deadline))).await;
        let called = called.unwrap_or(Some(Err(IntrospectionError::Panic.into())));
        let result = called.unwrap_or(Err(IntrospectionError::Timeout.into())).map(|parsed| match parsed {
            (Parsed::Inactive, _) => Answer::Inactive,
            (Parsed::Active(payload), signature) => {
                let valid_until = asked_at_wall.saturating_add(self.parts().settings.ttl);
                let implied_scopes = self.parts().implied_scopes.clone();
                let claims = Claims::introspected(*payload, Arc::from(self.label()), valid_until, implied_scopes);
                Answer::Active(Arc::new(ActiveAnswer { claims, asked_at, asked_at_wall, signature }))
            }
        });
        let outcome = match &result {
            Ok(Answer::Active(_)) => "active",
            Ok(Answer::Inactive) => "inactive",
            Err(unavailable) if unavailable.cause == IntrospectionError::CredentialsRefused => "refused",
            Err(_) => "unavailable",
        };
        drop(in_flight);
        events::call_ended(self.label(), outcome, clock.monotonic().saturating_since(started));
        if let Err(unavailable) = &result {
            events::call_failed(self.label(), unavailable.cause.name());
        }
        result
    }

    /// Records the result of a call for a client.
    fn record(self: &Arc<Self>, result: &CallResult, started_at: Monotonic) {
        let now = self.parts().clock.monotonic();
        let (probe, transition) = match result {
            Ok(_) => (Probe::NotNeeded, self.breaker().record_success()),
            Err(unavailable) => self.breaker().record_failure(*unavailable, started_at, now),
        };
        self.report(transition);
        if probe == Probe::Start {
            self.start_probe();
        }
    }

    fn record_probe(&self, result: Result<(), Unavailable>) {
        let jitter = self.rng.lock().unwrap_or_else(PoisonError::into_inner).jitter();
        let transition = self.breaker().record_probe(result, self.parts().clock.monotonic(), jitter);
        self.report(transition);
        self.probes.send_replace(());
    }

    fn report(&self, transition: Transition) {
        match transition {
            Transition::None => {}
            Transition::Opened(IntrospectionError::CredentialsRefused) => events::credentials_refused(self.label()),
            Transition::Opened(cause) => events::stopped(self.label(), cause.name()),
            Transition::Closed => events::resumed(self.label()),
        }
    }
}

/// A call in flight. If it is dropped before its end, because its runtime ends, the waiting requests fail.
struct Running {
    client: Arc<Client>,
    call: Arc<Call>,
    fingerprint: TokenFingerprint,
    _slot: Slot,
}

impl Running {
    async fn run(self, token: Box<[u8]>, on_active: Option<ActiveHook>) {
        let client = &self.client;
        let started_at = client.parts().clock.monotonic();
        let result = client.call(&token).await;
        client.record(&result, started_at);
        let is_inactive = self.remember(&result, started_at);
        if is_inactive {
            client.evict(&token);
        }
        if let (Ok(Answer::Active(answer)), Some(on_active)) = (&result, on_active) {
            on_active(answer);
        }
        self.call.finish(result);
    }

    /// Remembers the answer and removes the call, both at once. Returns whether the token is inactive. The answer to a call that began
    /// before the token was forgotten is not remembered.
    fn remember(&self, result: &CallResult, started_at: Monotonic) -> bool {
        let memory = &self.client.memory;
        let mut calls = self.client.calls.lock();
        if calls.get(&self.fingerprint).is_none_or(|call| !Arc::ptr_eq(call, &self.call)) {
            return false;
        }
        calls.remove(&self.fingerprint);
        match result {
            Ok(Answer::Inactive) => {
                memory.record_inactive(self.fingerprint, started_at);
                true
            }
            Ok(Answer::Active(_)) => {
                memory.record_active(&self.fingerprint);
                false
            }
            Err(_) => false,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut calls = self.client.calls.lock();
        if calls.get(&self.fingerprint).is_some_and(|call| Arc::ptr_eq(call, &self.call)) {
            calls.remove(&self.fingerprint);
        }
        drop(calls);
        // Has no effect after the result.
        self.call.finish(Err(IntrospectionError::Interrupted.into()));
    }
}

/// A probe in flight.
struct Probing {
    client: Arc<Client>,
    is_recorded: bool,
}

impl Probing {
    /// Asks about a random text, which is no token. Any answer shows that the server works and accepts our credentials.
    async fn run(mut self) {
        let _slot = self.client.calls.slot(Priority::Known).await;
        let result = match keys::random_token() {
            Some(token) => self.client.call(token.as_bytes()).await.map(drop),
            None => Err(IntrospectionError::NoEntropy.into()),
        };
        self.is_recorded = true;
        self.client.record_probe(result);
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        if !self.is_recorded {
            self.client.record_probe(Err(IntrospectionError::Interrupted.into()));
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("issuer", &self.label()).finish_non_exhaustive()
    }
}
