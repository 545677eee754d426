//! Lookup in the token cache, and revalidation of the entry that it finds.

use std::sync::Arc;

use crate::claims::Claims;
use crate::clock::{Moment, Timestamp};
use crate::request::Host;
use crate::revocation::TokenDigests;
use crate::telemetry::{self, Validation};
use crate::validator::possession::BoundToken;
use crate::validator::routing::{Route, RouteId};
use crate::validator::token_cache::entry::CacheEntry;
use crate::validator::token_cache::proof::{Proof, ServerProof};
use crate::validator::{Core, Validator};

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
    /// The entry can be used, and the answer of the server in it expires soon.
    AnswerExpiresSoon,
    /// The answer of the server has expired. The entry remains: it shows that the token was active, and may be used in an outage.
    AnswerExpired,
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
            EntryState::AnswerExpiresSoon => {
                telemetry::token_cache_hit();
                self.refresh_answer(token, entry, route);
            }
            EntryState::NotApplicable | EntryState::AnswerExpired => {}
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
        matches!(self, Self::Valid | Self::AnswerExpiresSoon)
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
        let payload = entry.claims().payload();
        let Some(issuer) = self.issuer_of(route).filter(|_| route.is_trusted(payload)) else {
            return EntryState::IssuerRemoved;
        };
        if let Some(tenant) = route.tenant() {
            tenant.record_use(monotonic);
        }
        let key = match entry.proof() {
            Proof::Key(key) => key,
            Proof::Server(server) => {
                let now = Moment { wall: now, monotonic };
                return self.revalidate_answer(entry, server, (issuer, route), host, now);
            }
        };
        let header = entry.claims().header();
        let has_current_key = issuer
            .keys
            .with_usable_keys(|keys, epoch| key.is_current(epoch, || issuer.candidates(keys, header?, payload).ok()));
        match has_current_key {
            Some(true) if route.allows_host(payload, &self.hosts, host) => EntryState::Valid,
            Some(false) => EntryState::KeyRemoved,
            // Keys that are not usable now may become usable again, so the entry remains.
            Some(true) | None => EntryState::NotApplicable,
        }
    }
}
