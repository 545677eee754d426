//! `TrustedIssuer`: one issuer of a validator, whose keys verify other tokens than access tokens.

use std::fmt;
use std::sync::Arc;

use crate::clock::{Monotonic, Timestamp};
use crate::jwks::WantedKey;
use crate::keys::SignedToken;
use crate::rejection::{IssuerError, Rejection};
use crate::token::UnverifiedToken;
use crate::validator::custom_domains::CustomDomains;
use crate::validator::verify::FailedEpoch;
use crate::validator::{Core, IssuerState, Validator};

/// One issuer of a validator, with all its names and keys. A [`LogoutReceiver`](crate::signals::LogoutReceiver) verifies the tokens
/// of the issuer with it.
///
/// A clone is cheap and shares the keys of the validator.
#[derive(Clone)]
pub struct TrustedIssuer {
    core: Arc<Core>,
    name: Box<str>,
}

impl<C> Validator<C> {
    /// Returns the issuer with this `iss`, or `None` if the API does not trust it. Any name of an issuer with
    /// [custom domains](crate::Issuer::with_custom_domain) returns the issuer with all its names. The name of a tenant that a pattern
    /// or [`Issuer::entra`](crate::Issuer::entra) accepts returns this tenant only.
    ///
    /// If two issuers have this name, one with public keys and one with a shared secret, it stands for both.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<TrustedIssuer> {
        self.core.routes.issuers_with(name).next()?;
        Some(TrustedIssuer { core: Arc::clone(&self.core), name: Box::from(name) })
    }
}

impl TrustedIssuer {
    /// Returns the name by which the issuer was looked up.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses a token of this issuer. Nothing in it is verified.
    pub(crate) fn parse<'t>(&self, token: &'t str) -> Result<UnverifiedToken<'t>, Rejection> {
        self.core.check_length(token.len())?;
        let token = UnverifiedToken::parse(token).map_err(Rejection::Token)?;
        self.core.custom_domains.iter().for_each(CustomDomains::ensure_running);
        self.keys(&token).map(|_| token)
    }

    /// Verifies the signature with the current keys. Returns the epoch of these keys if no keys are usable, or if another key set may
    /// have the key.
    pub(crate) fn verify(&self, token: &UnverifiedToken<'_>) -> Result<Result<SignedToken, Rejection>, FailedEpoch> {
        let issuer = match self.keys(token) {
            Ok(issuer) => issuer,
            Err(rejection) => return Ok(Err(rejection)),
        };
        issuer.verify_now(token.clone()).map(|verified| verified.map(|verified| verified.token))
    }

    /// Waits for usable keys or for a key set that may have the key, and verifies the signature.
    pub(crate) async fn verify_later(
        &self,
        token: &UnverifiedToken<'_>,
        FailedEpoch(failed): FailedEpoch,
    ) -> Result<SignedToken, Rejection> {
        let issuer = self.keys(token)?;
        let key = WantedKey::new(token.header(), failed);
        let (keys, epoch) = issuer.keys.wait_for_key(&key).await.map_err(Rejection::from_key_wait)?;
        issuer.verify(token.clone(), &keys, epoch).map(|verified| verified.token)
    }

    /// Returns the names under which the tokens of the issuer or tenant of this token are revoked.
    pub(crate) fn names(&self, token: &UnverifiedToken<'_>) -> Vec<String> {
        let payload = token.payload();
        let Ok(route) = self.core.routes.find_ignoring_host(payload, token.header().algorithm()) else {
            return Vec::new();
        };
        let issuer = route.configured_issuer().and_then(|issuer| self.core.issuers.get(issuer));
        let first = issuer.map(|issuer| &*issuer.name);
        route.names(payload, first)
    }

    /// Returns the keys for a token, if it claims one of the names and has one of the algorithms.
    fn keys(&self, token: &UnverifiedToken<'_>) -> Result<&IssuerState, Rejection> {
        let algorithm = token.header().algorithm();
        let payload = token.payload();
        let route = self.core.routes.find_ignoring_host(payload, algorithm).map_err(Rejection::Issuer)?;
        let is_own = if route.is_tenant() {
            // Another tenant has the same keys, and its tokens say nothing about this one.
            route.names(payload, None).iter().any(|name| *name == *self.name)
        } else {
            self.core.routes.issuers_with(&self.name).any(|issuer| Some(issuer) == route.configured_issuer())
                && !self.is_tenant()
        };
        if !is_own {
            return Err(Rejection::Issuer(IssuerError::Unknown { difference: None }));
        }
        let issuer = self.core.issuer_of(route).ok_or(Rejection::Signature)?;
        issuer.check_algorithm(algorithm).map(|()| issuer)
    }

    /// Returns whether the name is that of a tenant.
    fn is_tenant(&self) -> bool {
        self.core.routes.issuers_named(&self.name).next().is_none()
    }

    /// Returns the earliest and the latest time that the clock of the issuer may show, by the leeway of the API.
    pub(crate) fn times(&self) -> Times {
        let (now, leeway) = (self.core.clock.now(), self.core.rules.leeway);
        Times { earliest: now.saturating_sub(leeway), latest: now.saturating_add(leeway) }
    }

    pub(crate) fn monotonic(&self) -> Monotonic {
        self.core.clock.monotonic()
    }
}

/// The times that the clock of an issuer may show now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) earliest: Timestamp,
    pub(crate) latest: Timestamp,
}

impl fmt::Debug for TrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuer").field("name", &self.name).finish_non_exhaustive()
    }
}
