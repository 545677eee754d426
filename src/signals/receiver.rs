//! `LogoutReceiver`: receives logout tokens and revokes what they name.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response};

use crate::defaults;
use crate::keys::SignedToken;
use crate::rejection::{IssuerError, KeyNotFoundError, Rejection};
use crate::revocation::{Revocation, Revocations, RevokeError};
use crate::signals::answer::{self, LogoutError};
use crate::signals::form;
use crate::signals::key_waits::KeyWaits;
use crate::signals::logout_token::{Logout, LogoutRules, MissingExpiry};
use crate::telemetry;
use crate::token::UnverifiedToken;
use crate::validator::{FailedEpoch, TrustedIssuer};

/// Receives the logout tokens of an issuer (OpenID Connect Back-Channel Logout 1.0) and revokes the tokens of the session or of the
/// user.
///
/// [`receive`](Self::receive) works in any server. With the feature `axum`, the receiver is also a tower service:
/// `Router::route_service("/backchannel-logout", receiver)`. A clone is cheap and shares all state.
///
/// The responses: 200 if the tokens are now rejected, 400 with `{"error":"invalid_request"}` for an invalid request, 503 with
/// `Retry-After` if the keys of the issuer are not available or the list of revocations is full. A logout token that is sent again is
/// answered with 200 and changes nothing. If processes share the list and their log does not respond, the response is 200, and the entry
/// is appended to the log until its end.
///
/// # Security
///
/// Anyone can call the URL. All claims are checked before a key is fetched for a token. At most one request at a time fetches keys, and
/// at most four a minute in vain.
#[derive(Clone)]
pub struct LogoutReceiver {
    issuer: TrustedIssuer,
    rules: LogoutRules,
    reach: LogoutReach,
    /// The issuers whose tokens are revoked. If empty, that of the logout token.
    subjects_of: Vec<String>,
    /// The claim of access tokens that contains the subject, if it is not `sub`.
    subject_claim: Option<Box<str>>,
    revocations: Revocations,
    waits: Arc<KeyWaits>,
}

/// What a logout token with both `sid` and `sub` revokes. If it has only one of them, that one is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogoutReach {
    /// The tokens of the session, by `sid`. For issuers that write `sid` into access tokens, such as Keycloak.
    Session,
    /// All tokens of the user that were issued before the logout, by `sub`. For issuers that do not write `sid` into access
    /// tokens, such as Auth0 and Okta.
    #[default]
    Subject,
}

impl LogoutReceiver {
    /// Creates a receiver for the logout tokens of an issuer. `client_ids` are the applications that the user logs in to: the issuer
    /// sends a logout token for an application, and its `aud` is the client id.
    ///
    /// [`Validator::issuer`](crate::Validator::issuer) returns the issuer. For [tenants](crate::config::Tenants), create one receiver for
    /// each, and store it: it limits the fetches that its logout tokens cause. If the sender of logout tokens is not an issuer of access
    /// tokens, build a validator for the sender that no layer uses, so that its keys verify no access tokens, and name the issuers of
    /// the access tokens with [`with_subjects_of`](Self::with_subjects_of).
    #[must_use]
    pub fn new<I: Into<String>>(
        issuer: TrustedIssuer,
        client_ids: impl IntoIterator<Item = I>,
        revocations: &Revocations,
    ) -> Self {
        let client_ids = client_ids.into_iter().map(|id| id.into().into_boxed_str()).collect();
        Self {
            issuer,
            rules: LogoutRules { client_ids, missing_expiry: MissingExpiry::Rejected },
            reach: LogoutReach::default(),
            subjects_of: Vec::new(),
            subject_claim: None,
            revocations: revocations.clone(),
            waits: Arc::new(KeyWaits::new()),
        }
    }

    /// Sets what a logout token with both `sid` and `sub` revokes. Default: [`LogoutReach::Subject`], which works with every issuer.
    /// [`LogoutReach::Session`] is explicit, because it revokes nothing if the access tokens of the issuer have no `sid`.
    #[must_use]
    pub fn with_reach(mut self, reach: LogoutReach) -> Self {
        self.reach = reach;
        self
    }

    /// Sets the issuers whose tokens are revoked, by their `iss`. Default: the issuer of the logout token.
    #[must_use]
    pub fn with_subjects_of<I: Into<String>>(mut self, issuers: impl IntoIterator<Item = I>) -> Self {
        self.subjects_of = issuers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the claim of access tokens that contains the `sub` of a logout token. Default: `sub`.
    ///
    /// With Entra ID, `sub` differs from one application to the next, and `oid` identifies the user. With an identity provider that is not
    /// the issuer of the access tokens, the issuer may write its subject into another claim.
    #[must_use]
    pub fn with_subject_claim(mut self, claim: &str) -> Self {
        self.subject_claim = (claim != "sub").then(|| Box::from(claim));
        self
    }

    /// Accepts logout tokens without `exp`, which servers send that follow the first version of the standard. Default: `exp` is
    /// required. In both cases, a logout token is accepted for at most five minutes after its `iat`.
    #[must_use]
    pub fn with_missing_expiry(mut self) -> Self {
        self.rules.missing_expiry = MissingExpiry::Accepted;
        self
    }

    /// Processes a logout request and returns the response. `body` is the whole body; a server may respond with 413 to one of more
    /// than 32 KiB without reading it.
    pub async fn receive(&self, parts: &Parts, body: &[u8]) -> Response<Bytes> {
        let outcome = self.process(parts, body).await;
        match outcome {
            Ok(true) => telemetry::signals::logout_accepted(),
            Ok(false) => telemetry::signals::logout_repeated(),
            Err(LogoutError::Invalid(reason)) => telemetry::signals::logout_rejected(reason),
            Err(LogoutError::Unavailable { cause, .. }) => telemetry::signals::logout_unavailable(cause),
        }
        answer::response(outcome.map(drop))
    }

    /// Returns whether the list of revocations has changed.
    async fn process(&self, parts: &Parts, body: &[u8]) -> Result<bool, LogoutError> {
        if parts.method != Method::POST {
            return Err(LogoutError::Invalid("method"));
        }
        if !is_form(parts) {
            return Err(LogoutError::Invalid("content_type"));
        }
        if body.len() > defaults::MAX_LOGOUT_BYTES {
            return Err(LogoutError::Invalid("size"));
        }
        let token = form::single(body, "logout_token").ok_or(LogoutError::Invalid("logout_token"))?;
        let token = self.issuer.parse(&token).map_err(into_error)?;
        let logout = self.rules.check(&token, self.issuer.times()).map_err(LogoutError::Invalid)?;
        self.verify(&token).await?.map_err(into_error)?;
        let revocations = self.revocations_for(&logout, &self.issuer.names(&token));
        self.revocations.add_signal(revocations).await.map_err(|error| {
            let cause = match error {
                RevokeError::Full { .. } => "full",
                RevokeError::SubjectClaims => "subject_claims",
                RevokeError::NotAppended { error } => error.name(),
            };
            LogoutError::Unavailable { cause, retry_after: FULL_RETRY_AFTER }
        })
    }

    async fn verify(&self, token: &UnverifiedToken<'_>) -> Result<Result<SignedToken, Rejection>, LogoutError> {
        match self.issuer.verify(token) {
            Ok(verified) => Ok(verified),
            Err(_) => self.wait(token).await,
        }
    }

    /// Waits for the key of a token. Anyone can send tokens with unknown keys, so only one request at a time fetches keys, and few of them
    /// without success. Any other request may be genuine, so its sender is told to retry.
    async fn wait(&self, token: &UnverifiedToken<'_>) -> Result<Result<SignedToken, Rejection>, LogoutError> {
        let busy = |retry_after| LogoutError::Unavailable { cause: "busy", retry_after };
        let _permit = self.waits.enter().await.ok_or(busy(defaults::RETRY_AFTER_MIN))?;
        // Another request may have fetched the key.
        let failed: FailedEpoch = match self.issuer.verify(token) {
            Ok(verified) => return Ok(verified),
            Err(failed) => failed,
        };
        self.waits.check(self.issuer.monotonic()).map_err(busy)?;
        let verified = self.issuer.verify_later(token, failed).await;
        if let Err(Rejection::Key(KeyNotFoundError::Unknown { .. }) | Rejection::Signature) = verified {
            self.waits.record_failure(self.issuer.monotonic());
        }
        Ok(verified)
    }

    /// `names` are those of the issuer or tenant of the logout token.
    fn revocations_for(&self, logout: &Logout, names: &[String]) -> Vec<Revocation> {
        // All tokens that were issued before the logout have expired by then.
        let end = logout.issued_at.saturating_add(self.revocations.max_token_life());
        let revocation = |issuer: &str| {
            let session = logout.session.as_deref().map(|session| Revocation::session(issuer, session));
            let subject = logout.subject.as_deref().map(|subject| {
                let revocation = Revocation::subject(issuer, subject);
                self.subject_claim.iter().fold(revocation, |revocation, claim| revocation.with_subject_claim(claim))
            });
            let chosen = match self.reach {
                LogoutReach::Session => session.or(subject),
                LogoutReach::Subject => subject.or(session),
            };
            chosen.map(|chosen| chosen.with_issued_before(logout.issued_at).with_end(end))
        };
        let issuers = if self.subjects_of.is_empty() { names } else { &self.subjects_of };
        issuers.iter().filter_map(|issuer| revocation(issuer)).collect()
    }
}

/// What this service or the issuer causes is not an error of the sender, which may retry.
fn into_error(rejection: Rejection) -> LogoutError {
    match rejection {
        Rejection::KeysUnavailable { retry_after, .. } => {
            LogoutError::Unavailable { cause: "keys_unavailable", retry_after }
        }
        Rejection::Issuer(IssuerError::DomainsUnavailable | IssuerError::TenantUnavailable { .. }) => {
            LogoutError::Unavailable { cause: "issuers_unavailable", retry_after: defaults::RETRY_AFTER_MIN }
        }
        rejection => LogoutError::Invalid(rejection.kind().name()),
    }
}

fn is_form(parts: &Parts) -> bool {
    let media_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

impl fmt::Debug for LogoutReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogoutReceiver")
            .field("issuer", &self.issuer.name())
            .field("client_ids", &self.rules.client_ids)
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

/// A full list has room when entries end, or when an operator raises the limit.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(60);
