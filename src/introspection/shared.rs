//! `Shared`: the state that a client shares with its calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use crate::claims::Claims;
use crate::clock::Monotonic;
use crate::fetch::{catch_panic, within};
use crate::introspection::answer::{ActiveAnswer, Answer, Parsed, SharedAnswer};
use crate::introspection::breaker::{Breaker, Stopped, Transition};
use crate::introspection::call::{CallResult, Calls, Priority};
use crate::introspection::endpoint::{ClientParts, EndpointClient};
use crate::introspection::error::IntrospectionError;
use crate::introspection::event::{self, IntrospectionEventKind, StoppedCalls};
use crate::introspection::location::Location;
use crate::introspection::memory::Memory;
use crate::introspection::settings::{FailureMode, Introspection};
use crate::jwks::{Jitter, RefreshPolicy, Rng};
use crate::keys::TokenFingerprint;
use crate::telemetry::introspection as events;

/// A token cache from which a client removes entries.
pub(crate) trait EvictToken: Send + Sync {
    /// Removes the entry of a token.
    fn evict(&self, token: &[u8]);
}

/// Is called with a positive answer before the requests that wait for it.
pub(super) type ActiveHook = Box<dyn FnOnce(&SharedAnswer) + Send>;

/// The endpoint of one client, and what is known about it and its tokens.
pub(super) struct Shared {
    endpoint: EndpointClient,
    /// The name of the issuer, which all answers share.
    name: Arc<str>,
    /// Its lock is also that of the memory and of the token caches, so that an answer is stored either before or after
    /// an eviction.
    pub(super) calls: Calls,
    breaker: Mutex<Breaker>,
    /// Changes after each attempt to resume calls.
    pub(super) attempts: watch::Sender<()>,
    pub(super) memory: Memory,
    token_caches: Mutex<Vec<Weak<dyn EvictToken>>>,
    rng: Mutex<Rng>,
    has_denied: AtomicBool,
    has_confirmed: AtomicBool,
}

impl Shared {
    pub(super) fn new(parts: ClientParts, location: Location, policy: RefreshPolicy) -> Self {
        let settings = &parts.settings;
        // What an outage allows must not rest on probes that show nothing. Without a ttl, no token is known, so that
        // only the knowledge about probes keeps bad tokens from stopping calls.
        let compares_early =
            !settings.grace.is_zero() || settings.failure_mode == FailureMode::FailOpen || settings.ttl.is_zero();
        Self {
            calls: Calls::new(settings.max_calls),
            breaker: Mutex::new(Breaker::new(compares_early)),
            attempts: watch::Sender::new(()),
            memory: Memory::new(),
            token_caches: Mutex::default(),
            rng: Mutex::new(Rng::seeded()),
            has_denied: AtomicBool::new(false),
            has_confirmed: AtomicBool::new(false),
            name: parts.issuers.first().map_or_else(Arc::default, |name| Arc::from(&**name)),
            endpoint: EndpointClient::new(parts, location, policy),
        }
    }

    pub(super) fn parts(&self) -> &ClientParts {
        &self.endpoint.parts
    }

    pub(super) fn settings(&self) -> &Introspection {
        &self.parts().settings
    }

    pub(super) fn now(&self) -> Monotonic {
        self.parts().clock.monotonic()
    }

    pub(super) fn label(&self) -> &str {
        &self.name
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn jitter(&self) -> Jitter {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).jitter()
    }

    /// Adds a token cache, and removes those that were dropped.
    pub(super) fn add_token_cache(&self, token_cache: Weak<dyn EvictToken>) {
        let mut token_caches = self.token_caches();
        token_caches.retain(|token_cache| token_cache.strong_count() > 0);
        token_caches.push(token_cache);
    }

    /// Removes the entry of a token from all token caches.
    pub(super) fn evict(&self, token: &[u8]) {
        // Not under the lock, since custom claims may call the application when they are dropped.
        let token_caches: Vec<_> = self.token_caches().iter().filter_map(Weak::upgrade).collect();
        token_caches.iter().for_each(|token_cache| token_cache.evict(token));
    }

    fn token_caches(&self) -> MutexGuard<'_, Vec<Weak<dyn EvictToken>>> {
        self.token_caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the server.
    pub(super) async fn call(&self, token: &[u8]) -> CallResult {
        let clock = &self.parts().clock;
        let started = clock.monotonic();
        let (call_started_at, call_started_at_wall) = (started, clock.now());
        let in_flight = events::InFlight::start(self.label());
        let deadline = started.saturating_add(self.settings().timeout);
        let called = catch_panic(within(self.endpoint.introspect(token, deadline), clock.sleep_until(deadline))).await;
        let called = called.unwrap_or(Some(Err(IntrospectionError::Panic.into())));
        let result = called.unwrap_or(Err(IntrospectionError::Timeout.into())).map(|parsed| match parsed {
            (Parsed::Inactive, _) => Answer::Inactive,
            (Parsed::Active(payload), signature) => {
                let valid_until = call_started_at_wall.saturating_add(self.settings().ttl);
                let settings = Arc::clone(&self.parts().claims_settings);
                let claims = Claims::introspected(*payload, Arc::clone(&self.name), valid_until, settings);
                Answer::Active(Arc::new(ActiveAnswer { claims, call_started_at, call_started_at_wall, signature }))
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

    /// Records an answer about the token of a client.
    pub(super) fn record_answer(&self, answer: &Answer) {
        let has_answered = match answer {
            Answer::Active(_) => &self.has_confirmed,
            Answer::Inactive => &self.has_denied,
        };
        // Usually a read, so that no other core loses the value from its cache.
        if !has_answered.load(Ordering::Relaxed) {
            has_answered.store(true, Ordering::Relaxed);
        }
    }

    /// Records that the answer about a token was negative or is rejected by this API, if tokens of this kind are accepted without an
    /// answer.
    pub(super) fn record_revoked(&self, token: TokenFingerprint, priority: Priority) {
        if priority == Priority::Genuine && self.settings().failure_mode == FailureMode::FailOpen {
            self.memory.record_revoked(token);
        }
    }

    /// Returns whether the server has answered, but has called no token active yet.
    pub(super) fn has_only_negative_answers(&self) -> bool {
        self.has_denied.load(Ordering::Relaxed) && !self.has_confirmed.load(Ordering::Relaxed)
    }

    pub(super) fn report(&self, transition: Transition) {
        const REFUSED: Stopped = Stopped { calls: StoppedCalls::All, cause: IntrospectionError::CredentialsRefused };
        match transition {
            Transition::None => {}
            Transition::Stopped(REFUSED) => self.notify(IntrospectionEventKind::CredentialsRefused),
            Transition::Stopped(Stopped { calls, cause }) => {
                self.notify(IntrospectionEventKind::Stopped { calls, cause });
            }
            Transition::Closed => self.notify(IntrospectionEventKind::Resumed),
        }
    }

    /// Sends an event. No lock is held during the call.
    pub(super) fn notify(&self, kind: IntrospectionEventKind) {
        event::notify(self.settings().event_hook.as_ref(), self.label(), kind);
    }
}
