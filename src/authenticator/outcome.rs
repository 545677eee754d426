//! `Outcome`: the decision about a request, and `Authenticated`, what is known about an authenticated one.

use std::fmt;

use http::HeaderMap;

use crate::authenticator::decide::Accepted;
use crate::authenticator::rejected::{Rejected, Responder};
use crate::claims::{Claims, NoCustomClaims};
use crate::dpop::{DPOP_NONCE, NonceAge};
use crate::rejection::Rejection;
use crate::request::{BearerToken, Scheme};
use crate::requirement::Requirement;
use crate::validator::{hint_for_error, record_unmet};

/// The decision about a request.
///
/// The enum is exhaustive, so a `match` needs no wildcard arm. A wildcard arm for outcomes of a later version could accept a request
/// that is not authenticated.
#[derive(Clone, Debug)]
#[must_use = "a request that is not authenticated must be rejected"]
#[expect(clippy::exhaustive_enums, reason = "a wildcard arm could accept a request that is not authenticated")]
pub enum Outcome<C = NoCustomClaims> {
    /// The token is valid.
    Authenticated(Authenticated<C>),
    /// The request has no credential, and [`with_anonymous`](crate::authenticator::Authenticator::with_anonymous) or
    /// [`with_preflight_passthrough`](crate::authenticator::Authenticator::with_preflight_passthrough) accepts it.
    Anonymous,
    /// The request must not be handled; send the response of [`Rejected::to_response`].
    Rejected(Rejected),
}

/// An authenticated request.
#[derive(Clone)]
pub struct Authenticated<C = NoCustomClaims> {
    claims: Claims<C>,
    token: Option<BearerToken<'static>>,
    response_headers: HeaderMap,
    responder: Responder,
}

impl<C> Authenticated<C> {
    pub(super) fn new(accepted: Accepted<C>, responder: Responder) -> Self {
        let Accepted { claims, token, nonce } = accepted;
        let next = if nonce == Some(NonceAge::Previous) { responder.issue_nonce() } else { None };
        let response_headers = next.map(|next| (DPOP_NONCE, next)).into_iter().collect();
        Self { claims, token, response_headers, responder }
    }

    /// Returns the verified claims.
    #[must_use]
    pub fn claims(&self) -> &Claims<C> {
        &self.claims
    }

    /// Returns the verified claims.
    #[must_use]
    pub fn into_claims(self) -> Claims<C> {
        self.claims
    }

    /// Returns the token, if [`with_raw_token`](crate::authenticator::Authenticator::with_raw_token) is set.
    #[must_use]
    pub fn token(&self) -> Option<&BearerToken<'static>> {
        self.token.as_ref()
    }

    /// Returns the scheme of the credential.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.responder.scheme()
    }

    /// Returns headers that the application must add to its response: `DPoP-Nonce` with the next nonce, if the API requires nonces
    /// and the nonce of this request expires within a minute. Otherwise there are none. A response with `DPoP-Nonce` must not be
    /// cached (RFC 9449 §8.2).
    #[must_use]
    pub fn response_headers(&self) -> &HeaderMap {
        &self.response_headers
    }

    /// Checks a requirement, with the system clock and 5 s of leeway. A failure is logged and counted.
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`], with the same response as that of a [`RequireLayer`](crate::RequireLayer), and with the
    /// [headers](Self::response_headers) of this request.
    pub fn require(&self, requirement: &Requirement) -> Result<(), Rejected> {
        self.claims.require(requirement).map_err(|error| {
            let hint = hint_for_error(&error);
            let rejection = Rejection::from(error);
            record_unmet(&rejection, hint);
            self.responder.reject(rejection, self.response_headers.get(DPOP_NONCE))
        })
    }
}

impl<C> fmt::Debug for Authenticated<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("claims", &self.claims).finish_non_exhaustive()
    }
}
