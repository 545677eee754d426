//! Lookup in the token cache, and revalidation of the entry that it finds.

use crate::claims::Claims;
use crate::rejection::Rejection;
use crate::request::Host;
use crate::telemetry::{self, Validation};
use crate::validator::context::RequestContext;
use crate::validator::routing::Route;
use crate::validator::token_cache::entry::CacheEntry;
use crate::validator::token_cache::{CacheHit, Search, TokenCache};
use crate::validator::{Core, IssuerState, Validator};

/// The state of an entry, with regard to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    /// The entry can be used.
    Valid,
    /// The entry cannot be used for this request: its issuer is not bound to the host, or no keys are usable now.
    NotApplicable,
    /// A date is no longer valid, or the entry has reached the maximum age.
    Expired,
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

    /// Starts a search for a token; `None` without a token cache.
    pub(in crate::validator) fn search<'m, 't>(&'m self, token: &'t [u8]) -> Option<Search<'m, 't, C>> {
        self.token_cache.as_ref().map(|token_cache| token_cache.search(token))
    }

    /// Returns the claims of the entry that was found, if it is still valid for this request. Evicts an invalid entry.
    pub(in crate::validator) fn lookup<'s>(
        &'s self,
        found: &CacheHit<C>,
        host: Option<&Host>,
        validation: &Validation<'s>,
    ) -> Option<Claims<C>> {
        let entry = found.entry()?;
        let route = self.core.routes.get(entry.route_index())?;
        validation.record_issuer(route.label);
        let state = self.core.revalidate(entry, route, host);
        match state {
            EntryState::Valid => telemetry::token_cache_hit(),
            EntryState::NotApplicable => {}
            EntryState::Expired => found.evict(),
            EntryState::KeyRemoved => {
                found.evict();
                telemetry::token_cache_stale_epoch();
            }
        }
        (state == EntryState::Valid).then(|| entry.claims().clone())
    }

    /// Makes the checks whose results are never cached: the organization and the application's checks.
    pub(in crate::validator) fn run_uncached_checks(
        &self,
        claims: Claims<C>,
        context: &RequestContext,
    ) -> Result<Claims<C>, Rejection> {
        self.core.check_organization(claims.payload(), context)?;
        self.application.check(claims)
    }
}

impl Core {
    /// Checks everything that may have changed since the entry was stored.
    fn revalidate<C: 'static>(&self, entry: &CacheEntry<C>, route: Route<'_>, host: Option<&Host>) -> EntryState {
        if !entry.is_fresh(self.clock.now(), self.clock.monotonic()) {
            return EntryState::Expired;
        }
        let Some(issuer) = self.issuers.get(route.issuer) else { return EntryState::Expired };
        match issuer.keys.with_usable_keys(|keys, epoch| entry.is_key_current(keys, epoch)) {
            Some(true) if route.allows_host(&self.hosts, host) => EntryState::Valid,
            Some(false) => EntryState::KeyRemoved,
            // Keys that are not usable now may become usable again, so the entry remains.
            Some(true) | None => EntryState::NotApplicable,
        }
    }

    /// Creates a token cache for claims of the type `C`; `None` if no issuer has public keys.
    pub(in crate::validator) fn token_cache<C: Send + Sync + 'static>(&self) -> Option<TokenCache<C>> {
        let is_public = |issuer: &IssuerState| issuer.algorithms.iter().any(|algorithm| !algorithm.is_symmetric());
        if self.issuers.iter().any(is_public) { TokenCache::new(self.token_cache_bytes) } else { None }
    }
}
