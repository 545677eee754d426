//! Lookup in the token cache, and revalidation of the entry that it finds.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use crate::claims::Claims;
use crate::clock::{Moment, Timestamp};
use crate::jwks::AfterFetch;
use crate::request::Host;
use crate::revocation::TokenDigests;
use crate::telemetry::{self, Validation};
use crate::validator::possession::BoundToken;
use crate::validator::routing::{Route, RouteId};
use crate::validator::token_cache::TokenCache;
use crate::validator::token_cache::entry::{CacheEntry, Proof, ServerProof};
use crate::validator::{Core, IssuerState, Validator};

/// A valid entry of a token. It borrows the entry, so that a request that is rejected afterwards clones nothing.
pub(in crate::validator) struct Hit<'e, C> {
    pub(in crate::validator) claims: &'e Claims<C>,
    pub(in crate::validator) route: &'e RouteId,
    /// The key to which the token is bound, if it is.
    pub(in crate::validator) bound: Option<&'e BoundToken>,
    /// The digests by which the list of revocations is searched, if they are known.
    pub(in crate::validator) digests: Option<&'e TokenDigests>,
    /// The time of the check of the dates.
    pub(in crate::validator) checked_at: Timestamp,
}

/// The state of an entry, with regard to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::validator) enum EntryState {
    /// The entry can be used.
    Valid,
    /// The entry can be used, and the answer of the server in it ends soon.
    AnswerEnds,
    /// The answer of the server has ended. The entry remains: it shows that the token was active, and may be used in an outage.
    AnswerEnded,
    /// The entry cannot be used for this request: its issuer is not bound to the host, or no keys are usable now.
    NotApplicable,
    /// A date is no longer valid, or the entry has reached the maximum age.
    Expired,
    /// The issuer is no longer trusted.
    IssuerRemoved,
    /// The current keys do not include the key that verified the token.
    KeyRemoved,
}

impl<C: Send + Sync + 'static> Validator<C> {
    /// Counts a cache miss. A request that has to wait for keys counts once.
    pub(in crate::validator) fn record_cache_miss(&self) {
        if self.token_cache.is_some() {
            telemetry::token_cache_miss();
        }
    }

    /// Calls `read` with the token's entry, if there is one and it is still valid for this request. Removes an invalid entry.
    pub(in crate::validator) fn read_valid_entry<'s, T>(
        &'s self,
        token: &[u8],
        host: Option<&Host>,
        validation: &Validation<'s>,
        read: impl FnOnce(&Hit<'_, C>) -> T,
    ) -> Option<T> {
        let token_cache = self.token_cache.as_deref()?;
        let found = token_cache.find(token)?;
        let entry = &found.as_ref()?.value;
        let route = self.core.route(entry.route())?;
        validation.record_issuer(self.core.label(entry.route())?);
        let checked_at = self.core.clock.now();
        let state = self.core.revalidate(entry, route, host, checked_at);
        match state {
            EntryState::Valid => telemetry::token_cache_hit(),
            EntryState::AnswerEnds => {
                telemetry::token_cache_hit();
                self.refresh_answer(token, entry, route);
            }
            EntryState::NotApplicable | EntryState::AnswerEnded => {}
            EntryState::Expired | EntryState::IssuerRemoved => token_cache.remove(token),
            EntryState::KeyRemoved => {
                token_cache.remove(token);
                telemetry::token_cache_stale_epoch();
            }
        }
        let (claims, route, bound) = (entry.claims(), entry.route(), entry.bound().map(Arc::as_ref));
        state.is_usable().then(|| read(&Hit { claims, route, bound, digests: entry.digests(), checked_at }))
    }
}

impl<C> Validator<C> {
    /// Calls `read` with the entry of a token that an answer of the server proves. The entry need not be valid.
    pub(in crate::validator) fn read_answer_entry<T>(
        &self,
        token: &[u8],
        read: impl FnOnce(&CacheEntry<C>, &ServerProof) -> T,
    ) -> Option<T> {
        let found = self.token_cache.as_ref()?.find(token)?;
        let entry = &found.as_ref()?.value;
        match entry.proof() {
            Proof::Server(server) => Some(read(entry, server)),
            Proof::Key(_) => None,
        }
    }
}

impl EntryState {
    pub(in crate::validator) fn is_usable(self) -> bool {
        matches!(self, Self::Valid | Self::AnswerEnds)
    }
}

impl Core {
    /// Checks everything that may have changed since the entry was stored.
    pub(in crate::validator) fn revalidate<C>(
        &self,
        entry: &CacheEntry<C>,
        route: Route<'_>,
        host: Option<&Host>,
        now: Timestamp,
    ) -> EntryState {
        let monotonic = self.clock.monotonic();
        if !entry.lifetime().is_fresh(now, monotonic) {
            return EntryState::Expired;
        }
        let Some(issuer) = self.issuer_of(route) else { return EntryState::Expired };
        let payload = entry.claims().payload();
        if !route.is_trusted(payload) {
            return EntryState::IssuerRemoved;
        }
        if let Some(tenant) = route.tenant() {
            tenant.record_use(monotonic);
        }
        let is_current = match entry.proof() {
            Proof::Key(key) => {
                let header = entry.claims().header();
                let is_current =
                    |keys: &_, epoch| key.is_current(epoch, || issuer.candidates(keys, header?, payload).ok());
                issuer.keys.with_usable_keys(is_current)
            }
            Proof::Server(server) => {
                let now = Moment { wall: now, monotonic };
                return self.revalidate_answer(entry, server, (issuer, route), host, now);
            }
        };
        match is_current {
            Some(true) if route.allows_host(payload, &self.hosts, host) => EntryState::Valid,
            Some(false) => EntryState::KeyRemoved,
            // Keys that are not usable now may become usable again, so the entry remains.
            Some(true) | None => EntryState::NotApplicable,
        }
    }

    /// Creates a token cache for claims of the type `C`; `None` if no issuer has public keys or introspection, and
    /// none is looked up.
    pub(in crate::validator) fn token_cache<C: Send + Sync + 'static>(&self) -> Option<Arc<TokenCache<C>>> {
        let is_public = |issuer: &IssuerState| issuer.algorithms.iter().any(|algorithm| !algorithm.is_symmetric());
        let is_needed = self.issuers.iter().any(|issuer| is_public(issuer) || issuer.introspection.is_some())
            || !self.tenants.is_empty();
        let token_cache = is_needed.then(|| TokenCache::new(self.token_cache_bytes, Arc::clone(&self.clock)))??;
        let token_cache = Arc::new(token_cache);
        let weak: Weak<TokenCache<C>> = Arc::downgrade(&token_cache);
        for client in self.issuers.iter().filter_map(|issuer| issuer.introspection.as_ref()) {
            let weak = Weak::clone(&weak);
            client.at_eviction(move |token| match weak.upgrade() {
                Some(token_cache) => {
                    token_cache.evict_now(token);
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            });
        }
        let work: Arc<dyn AfterFetch> = Arc::<TokenCache<C>>::clone(&token_cache);
        for source in self.issuers.iter().filter_map(|issuer| issuer.keys.source()) {
            source.after_fetch(Arc::downgrade(&work));
        }
        for tenants in &self.tenants {
            tenants.after_fetch(Arc::downgrade(&work));
        }
        Some(token_cache)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Api, Issuer};
    use crate::keys::{KeySet, Secret};
    use crate::testing::TestIssuer;
    use crate::token::Algorithm;
    use crate::validator::Validator;

    #[test]
    fn validator_has_a_cache_if_an_issuer_has_public_keys() {
        let server = TestIssuer::new().with_algorithms([Algorithm::HS256, Algorithm::ES256]);
        let secret = || Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()));
        let keys = Issuer::static_keys("https://public.test/", KeySet::from_jwks(server.jwks()));
        let both = Api::new("api", secret()).with_issuer(keys.with_algorithms([Algorithm::ES256]));
        for (api, expected) in [(Api::new("api", secret()), false), (both, true)] {
            let validator = Validator::new(api).expect("a valid configuration");
            assert_eq!(validator.token_cache.is_some(), expected);
            assert_eq!(validator.with_custom_claims::<()>().token_cache.is_some(), expected);
        }
    }
}
