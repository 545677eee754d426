//! `TrustedIssuer`: one issuer of a validator, whose keys verify other tokens than access tokens.

use std::fmt;
use std::sync::Arc;

use crate::clock::{Monotonic, Timestamp};
use crate::jwks::WantedKey;
use crate::keys::SignedToken;
use crate::rejection::{IssuerError, Rejection};
use crate::token::UnverifiedToken;
use crate::validator::custom_domains::CustomDomains;
use crate::validator::find::Found;
use crate::validator::verify::FailedEpoch;
use crate::validator::{Core, Validator};

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
    /// or [`Issuer::entra`](crate::Issuer::entra) accepts returns this tenant only, and so does a name that
    /// [`Tenants`](crate::config::Tenants) allow. Such a tenant is looked up when a token of it is verified.
    ///
    /// If two issuers have this name, one with public keys and one with a shared secret, it stands for both.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<TrustedIssuer> {
        let is_configured = self.core.routes.issuers_with(name).next().is_some();
        let is_known = is_configured || self.core.tenants.iter().any(|tenants| tenants.policy().allows(name));
        is_known.then(|| TrustedIssuer { core: Arc::clone(&self.core), name: Box::from(name) })
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
        self.find(&token).map(|_| token)
    }

    /// Verifies the signature with the current keys. Returns the epoch of these keys if no keys are usable, or if another key set may
    /// have the key, and also if the issuer is a tenant that must be looked up.
    pub(crate) fn verify(&self, token: &UnverifiedToken<'_>) -> Result<Result<SignedToken, Rejection>, FailedEpoch> {
        let id = match self.find(token) {
            Ok(Found::Known(id)) => id,
            Ok(Found::Unresolved(_)) => return Err(FailedEpoch(None)),
            Err(rejection) => return Ok(Err(rejection)),
        };
        match self.core.trusted(&id) {
            Ok((_, issuer)) => issuer.verify_now(token.clone()).map(|verified| verified.map(|verified| verified.token)),
            Err(rejection) => Ok(Err(rejection)),
        }
    }

    /// Looks the issuer up if it is a tenant that is not known, waits for usable keys or for a key set that may have the key, and verifies
    /// the signature.
    pub(crate) async fn verify_later(
        &self,
        token: &UnverifiedToken<'_>,
        FailedEpoch(failed): FailedEpoch,
    ) -> Result<SignedToken, Rejection> {
        if let Found::Unresolved(pending) = self.find(token)? {
            self.core.resolve(&pending).await?;
        }
        let id = self.find(token)?.known()?;
        let (_, issuer) = self.core.trusted(&id)?;
        let key = WantedKey::new(token.header(), failed);
        let (keys, epoch) = issuer.keys.wait_for_key(&key).await.map_err(|error| id.error_of_wait(error))?;
        issuer.verify(token.clone(), &keys, epoch).map(|verified| verified.token)
    }

    /// Returns the names under which the tokens of the issuer or tenant of this token are revoked.
    pub(crate) fn names(&self, token: &UnverifiedToken<'_>) -> Vec<String> {
        let payload = token.payload();
        let Ok(route) = self.core.routes.find_ignoring_host(payload, token.header().algorithm()) else {
            // A tenant that was looked up, and may have left since.
            return vec![self.name.to_string()];
        };
        let issuer = route.configured_issuer().and_then(|issuer| self.core.issuers.get(issuer));
        let first = issuer.map(|issuer| &*issuer.name);
        route.names(payload, first)
    }

    /// Finds the issuer of a token, if it claims one of the names and has one of the algorithms.
    fn find(&self, token: &UnverifiedToken<'_>) -> Result<Found, Rejection> {
        let algorithm = token.header().algorithm();
        let payload = token.payload();
        let foreign = Err(Rejection::Issuer(IssuerError::Unknown { difference: None }));
        let id = match self.core.find_ignoring_host(payload, algorithm).map_err(Rejection::Issuer)? {
            Found::Unresolved(pending) if pending.claimed.issuer() != &*self.name => return foreign,
            Found::Unresolved(pending) => return Ok(Found::Unresolved(pending)),
            Found::Known(id) => id,
        };
        let (route, issuer) = self.core.trusted(&id)?;
        let is_own = if route.is_tenant() {
            // Another tenant has the same keys, and its tokens say nothing about this one.
            route.names(payload, None).iter().any(|name| *name == *self.name)
        } else {
            self.core.routes.issuers_with(&self.name).any(|issuer| Some(issuer) == route.configured_issuer())
                && !self.is_tenant()
        };
        if !is_own {
            return foreign;
        }
        issuer.check_algorithm(algorithm)?;
        Ok(Found::Known(id))
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
