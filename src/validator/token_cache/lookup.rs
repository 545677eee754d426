//! Whether a verdict that is remembered still counts.

use crate::claims::Claims;
use crate::rejection::Rejection;
use crate::request::Host;
use crate::telemetry::{self, Validation};
use crate::validator::context::RequestContext;
use crate::validator::routing::Route;
use crate::validator::token_cache::entry::CacheEntry;
use crate::validator::token_cache::{CacheHit, Search, TokenCache};
use crate::validator::{Core, IssuerState, Validator};

/// What a remembered verdict is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    /// It is as good as a new one.
    Counts,
    /// It says nothing about this request.
    Unknown,
    /// Its time is over.
    Ended,
    /// The key that proved it is in use no more.
    KeyGone,
}

impl<C: Send + Sync + 'static> Validator<C> {
    /// Notes that the keys have to be asked about a token; only once for one that has to wait for them.
    pub(in crate::validator) fn record_cache_miss(&self) {
        if self.token_cache.is_some() {
            telemetry::token_cache_miss();
        }
    }

    /// Starts to look for what is remembered of a token.
    pub(in crate::validator) fn search<'m, 't>(&'m self, token: &'t [u8]) -> Option<Search<'m, 't, C>> {
        self.token_cache.as_ref().map(|token_cache| token_cache.search(token))
    }

    /// The claims of a token that was verified before, if that still counts.
    pub(in crate::validator) fn lookup<'s>(
        &'s self,
        found: &CacheHit<C>,
        host: Option<&Host>,
        validation: &Validation<'s>,
    ) -> Option<Claims<C>> {
        let entry = found.entry()?;
        let route = self.core.routes.at(entry.route_index())?;
        validation.record_issuer(route.label);
        let state = self.core.state(entry, route, host);
        match state {
            EntryState::Counts => telemetry::token_cache_hit(),
            EntryState::Unknown => {}
            EntryState::Ended => found.evict(),
            EntryState::KeyGone => {
                found.evict();
                telemetry::token_cache_stale_epoch();
            }
        }
        (state == EntryState::Counts).then(|| entry.claims().clone())
    }

    /// Asks of a token that was verified before what is never remembered.
    pub(in crate::validator) fn recheck(
        &self,
        claims: Claims<C>,
        context: &RequestContext,
    ) -> Result<Claims<C>, Rejection> {
        self.core.check_organization(claims.payload(), context)?;
        self.application.check(claims)
    }
}

impl Core {
    /// Asks everything again that can have changed since a token was verified.
    fn state<C: 'static>(&self, entry: &CacheEntry<C>, route: Route<'_>, host: Option<&Host>) -> EntryState {
        if !entry.is_current(self.clock.now(), self.clock.monotonic()) {
            return EntryState::Ended;
        }
        let Some(issuer) = self.issuers.get(route.issuer) else { return EntryState::Ended };
        match issuer.keys.with_current(|keys, epoch| entry.is_proven_by(keys, epoch)) {
            Some(true) if route.is_open_to(&self.hosts, host) => EntryState::Counts,
            Some(false) => EntryState::KeyGone,
            // Keys that cannot be used now may be used again.
            Some(true) | None => EntryState::Unknown,
        }
    }

    /// A memo for one reading of the claims; none where no issuer has public keys.
    pub(in crate::validator) fn token_cache<C: Send + Sync + 'static>(&self) -> Option<TokenCache<C>> {
        let is_public = |issuer: &IssuerState| issuer.algorithms.iter().any(|algorithm| !algorithm.is_symmetric());
        if self.issuers.iter().any(is_public) { TokenCache::new(self.token_cache_bytes) } else { None }
    }
}
