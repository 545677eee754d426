//! `TrustedIssuer`: one issuer of a validator, whose keys verify other tokens than access tokens.

use std::fmt;
use std::sync::Arc;

use crate::clock::{Monotonic, Timestamp};
use crate::jwks::WantedKey;
use crate::keys::{KeyTable, SignedToken};
use crate::rejection::{IssuerError, KeyNotFoundError, Rejection};
use crate::token::UnverifiedToken;
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
    /// [custom domains](crate::Issuer::with_custom_domain) returns the issuer with all its names.
    ///
    /// If two issuers have this name, one with public keys and one with a shared secret, it stands for both.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<TrustedIssuer> {
        self.core.routes.issuers_named(name).next()?;
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
        self.keys(&token).map(|_| token)
    }

    /// Verifies the signature with the current keys. Returns `None` if no keys are usable, or if another key set may have the key.
    pub(crate) fn verify(&self, token: &UnverifiedToken<'_>) -> Option<Result<SignedToken, Rejection>> {
        let issuer = match self.keys(token) {
            Ok(issuer) => issuer,
            Err(rejection) => return Some(Err(rejection)),
        };
        let verify = |keys: &KeyTable, epoch| issuer.verify(token.clone(), keys, epoch);
        match issuer.keys.with_usable_keys(verify)? {
            Err(Rejection::Key(KeyNotFoundError::Unknown { .. })) if issuer.keys.may_fetch() => None,
            verified => Some(verified.map(|verified| verified.token)),
        }
    }

    /// Waits for usable keys or for a key set that may have the key, and verifies the signature.
    pub(crate) async fn verify_later(&self, token: &UnverifiedToken<'_>) -> Result<SignedToken, Rejection> {
        let issuer = self.keys(token)?;
        let key = WantedKey::new(token.header(), None);
        let (keys, epoch) = issuer.keys.wait_for_key(&key).await.map_err(Rejection::from_key_wait)?;
        issuer.verify(token.clone(), &keys, epoch).map(|verified| verified.token)
    }

    /// Returns the keys for a token, if it claims one of the names and has one of the algorithms.
    fn keys(&self, token: &UnverifiedToken<'_>) -> Result<&IssuerState, Rejection> {
        let algorithm = token.header().algorithm();
        let route = self.core.routes.find_ignoring_host(token.payload(), algorithm).map_err(Rejection::Issuer)?;
        if !self.core.routes.issuers_named(&self.name).any(|issuer| Some(issuer) == route.configured_issuer()) {
            return Err(Rejection::Issuer(IssuerError::Unknown { difference: None }));
        }
        let issuer = self.core.issuer_of(route).ok_or(Rejection::Signature)?;
        issuer.check_algorithm(algorithm).map(|()| issuer)
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
