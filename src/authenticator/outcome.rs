//! `Outcome`: the decision about a request, and `Authenticated`, what is known about an authenticated one.

use std::fmt;

use http::HeaderMap;

use crate::authenticator::decide::Accepted;
use crate::authenticator::rejected::{Rejected, Responder};
use crate::claims::{Claims, NoCustomClaims};
use crate::dpop::{DPOP_NONCE, NonceAge};
use crate::rejection::Rejection;
use crate::request::{BearerToken, Scheme};
use crate::requirement::{Requirement, RequirementError};
use crate::response::nonce_headers;
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
        let response_headers = next.map(nonce_headers).into_iter().flatten().collect();
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

    /// Returns headers that the application must set in its response, instead of other headers with these names: `DPoP-Nonce` with
    /// the next nonce, and `Cache-Control: no-store`, because such a response must not be cached (RFC 9449 §8.2). There are none
    /// unless the API requires nonces and the nonce of this request expires within a minute.
    #[must_use]
    pub fn response_headers(&self) -> &HeaderMap {
        &self.response_headers
    }

    /// Checks a requirement, with the system clock and the leeway of the API. A failure is logged and counted.
    ///
    /// # Errors
    ///
    /// Returns [`Rejected`], with the same response as that of a [`RequireLayer`](crate::RequireLayer), and with the
    /// [headers](Self::response_headers) of this request.
    pub fn require(&self, requirement: &Requirement) -> Result<(), Rejected> {
        self.claims.require(requirement).map_err(|error| self.reject(error))
    }

    /// Rejects the request by a rule of the application, with the response of an
    /// [`AsyncRequireLayer`](crate::middleware::AsyncRequireLayer) with this rule, and with the [headers](Self::response_headers) of
    /// this request. The rejection is logged and counted.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_bearer::authenticator::{Authenticated, Rejected};
    /// use tower_bearer::requirement::RequirementError;
    /// # async fn owner_of(_: &str) -> Result<String, std::io::Error> { Ok("ann".to_owned()) }
    ///
    /// /// Only the owner of a document can read it.
    /// async fn require_owner(user: &Authenticated, document: &str) -> Result<(), Rejected> {
    ///     let claims = user.claims();
    ///     match owner_of(document).await {
    ///         Ok(owner) if claims.subject() == Some(&*owner) => Ok(()),
    ///         Ok(_) => Err(user.reject(RequirementError::forbidden(claims, "owner of the document"))),
    ///         Err(_) => Err(user.reject(RequirementError::unavailable(claims, Duration::from_secs(5)))),
    ///     }
    /// }
    /// # let _ = require_owner;
    /// ```
    #[must_use]
    pub fn reject(&self, error: RequirementError) -> Rejected {
        let hint = hint_for_error(&error);
        let rejection = Rejection::from(error);
        record_unmet(&rejection, hint);
        self.responder.reject(rejection, self.response_headers.get(DPOP_NONCE))
    }
}

impl<C> fmt::Debug for Authenticated<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("claims", &self.claims).finish_non_exhaustive()
    }
}
