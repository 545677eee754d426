//! `still_valid`: checks claims again, for a connection that outlives its request.

use crate::claims::{CheckInput, CheckedSource, ClaimError, Claims};
use crate::rejection::Rejection;
use crate::validator::{Core, Validator};

impl<C: Send + Sync + 'static> Validator<C> {
    /// Checks whether claims that were accepted earlier would be accepted now, for a connection that lasts longer than a
    /// request: a WebSocket, server-sent events, a gRPC stream. The guide has a
    /// [recipe](crate::guide::howto#close-a-websocket-or-stream-when-its-token-ends) that closes it.
    ///
    /// Repeats all checks of the claims, such as that of `exp`, looks the token up in the [list of
    /// revocations](crate::revocation), and repeats the [checks of the application](Self::with_check). Also checks that the
    /// key that verified the token is still a key of the issuer: the issuer has not removed it, and it was not
    /// [revoked](crate::jwks::KeySource::revoke_key). The call is synchronous and never starts a wait for a fetch. It is not
    /// counted as a validation and writes no log.
    ///
    /// If the claims are those of an [introspected](crate::introspection) opaque token, the dates and rules are checked again. The server
    /// is not called; [`validate`](Self::validate) the token again for that.
    ///
    /// The leeway applies, as for a request. To end a connection exactly at [`Claims::expires_at`], compare the time as well.
    ///
    /// ```
    /// # use tower_bearer::testing::TestIssuer;
    /// # use tower_bearer::{Api, Issuer, RejectionKind, Validator};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = TestIssuer::auth0("northwind.eu.auth0.com");
    /// # let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    /// # let validator = Validator::builder(api).with_fetch(server.clone()).build()?;
    /// # let token = server.token().audience("https://api.northwind.com").sign();
    /// let claims = validator.validate(&token).await?;
    /// assert_eq!(validator.still_valid(&claims), Ok(()));
    ///
    /// for (_, keys) in validator.key_sources() {
    ///     keys.revoke_kid(&server.kid());
    /// }
    /// assert_eq!(validator.still_valid(&claims).unwrap_err().kind(), RejectionKind::KeyNotFound);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Rejection`] for the first check that fails. [`Rejection::KeysUnavailable`] says nothing about the token: the
    /// issuer has had no usable keys for a while, so a new request would get 503. Neither does
    /// [`IssuerError::TenantUnavailable`](crate::rejection::IssuerError::TenantUnavailable): the tenant must be looked up, which
    /// [`validate`](Self::validate) does. Claims of
    /// [`testing::claims`](fn@crate::testing::claims) have no signature, so the error is [`Rejection::Signature`].
    ///
    /// # Security
    ///
    /// The bindings of issuers and organizations to the request ([`Api::with_issuer_for_host`](crate::Api::with_issuer_for_host),
    /// [`Organizations::from_request`](crate::config::Organizations::from_request)) are not checked again: the request of a
    /// connection does not change. The requirement of a route is not checked either, because this validator does not know it.
    /// The claims cannot change, so only a requirement with a maximum time since the login must be checked again.
    pub fn still_valid(&self, claims: &Claims<C>) -> Result<(), Rejection> {
        self.core.check_again(claims)?;
        self.application.check(claims)
    }
}

impl Core {
    /// Repeats all checks of accepted claims but those of the application.
    pub(super) fn check_again<C>(&self, claims: &Claims<C>) -> Result<(), Rejection> {
        if claims.is_introspected() {
            return self.check_answer_again(claims);
        }
        let (header, key) = claims.verified_by().ok_or(Rejection::Signature)?;
        let algorithm = header.algorithm();
        let id = self.find_ignoring_host(claims.payload(), algorithm).map_err(Rejection::Issuer)?.known()?;
        let (route, issuer) = self.trusted(&id)?;
        issuer.check_algorithm(algorithm)?;
        let now = self.clock.now();
        let name = route.issuer_name(claims.payload());
        let input = CheckInput { source: CheckedSource::Token(header), payload: claims.payload(), issuer: name, now };
        self.rules.check(input).map_err(Rejection::Claims)?;
        self.check_revocation(claims.payload(), &id, now)?;
        let is_current = issuer.keys.with_usable_keys(|keys, _| {
            let mut candidates = issuer.candidates(keys, header, claims.payload())?;
            if candidates.any(|candidate| candidate.thumbprint() == key) { Ok(()) } else { Err(Rejection::Signature) }
        });
        is_current.unwrap_or_else(|| Err(Rejection::from_key_wait(issuer.keys.unavailable())))
    }

    /// Repeats the checks of an answer about an opaque token. Without `exp`, the claims end with the answer.
    fn check_answer_again<C>(&self, claims: &Claims<C>) -> Result<(), Rejection> {
        let is_of_issuer =
            |issuer: &usize| self.routes.of_issuer(*issuer).any(|route| route.label.name() == claims.issuer());
        let issuers = (0..self.issuers.len()).filter(|issuer| self.client(*issuer).is_some());
        let issuer = { issuers }.find(is_of_issuer).ok_or(Rejection::Signature)?;
        let route = self.answer_route(issuer, claims.payload())?;
        let input = self.answer_input(issuer, route, claims.payload())?;
        self.rules.check(input).map_err(Rejection::Claims)?;
        self.check_revocation(claims.payload(), &route.id(), input.now)?;
        let is_current = input.now < claims.expires_at().saturating_add(self.rules.leeway);
        if is_current { Ok(()) } else { Err(Rejection::Claims(ClaimError::Expired)) }
    }
}
