//! `LogoutReceiver`: receives logout tokens and revokes what they name.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response};
use tokio::sync::Semaphore;

use crate::clock::Monotonic;
use crate::defaults;
use crate::keys::SignedToken;
use crate::rejection::{KeyNotFoundError, Rejection};
use crate::revocation::{Revocation, Revocations};
use crate::signals::answer::{self, LogoutError};
use crate::signals::form;
use crate::signals::logout_token::{Logout, LogoutRules, MissingExpiry};
use crate::telemetry;
use crate::token::UnverifiedToken;
use crate::validator::TrustedIssuer;

/// Receives the logout tokens of an issuer (OpenID Connect Back-Channel Logout 1.0) and revokes the tokens of the session or of the
/// user.
///
/// [`receive`](Self::receive) works in any server. With the feature `axum`, the receiver is also a tower service:
/// `Router::route_service("/backchannel-logout", receiver)`. A clone is cheap and shares all state.
///
/// The responses: 200 if the tokens are now rejected, 400 with `{"error":"invalid_request"}` for an invalid request, 503 with
/// `Retry-After` if the keys of the issuer are not available or the list of revocations is full. A logout token that is sent again is
/// answered with 200 and changes nothing.
///
/// # Security
///
/// Anyone can call the URL. All claims are checked before a key is fetched for a token, and at most one request at a time waits for
/// keys.
#[derive(Clone)]
pub struct LogoutReceiver {
    issuer: TrustedIssuer,
    rules: LogoutRules,
    reach: LogoutReach,
    /// The issuers whose tokens are revoked. If empty, that of the logout token.
    subjects_of: Vec<Box<str>>,
    revocations: Revocations,
    waiting: Arc<Waiting>,
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

/// The requests that wait for keys.
struct Waiting {
    /// One permit.
    permit: Semaphore,
    /// When a request last waited for a key that the issuer does not have.
    last_failure: Mutex<Option<Monotonic>>,
}

impl LogoutReceiver {
    /// Creates a receiver for the logout tokens of an issuer. `client_ids` are the applications that the user logs in to: the issuer
    /// sends a logout token for an application, and its `aud` is the client id.
    ///
    /// [`Validator::issuer`](crate::Validator::issuer) returns the issuer. If the sender of logout tokens is not an issuer of access
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
            revocations: revocations.clone(),
            waiting: Arc::new(Waiting { permit: Semaphore::new(1), last_failure: Mutex::new(None) }),
        }
    }

    /// Sets what a logout token with both `sid` and `sub` revokes. Default: [`LogoutReach::Subject`], which works with every issuer.
    #[must_use]
    pub fn with_reach(mut self, reach: LogoutReach) -> Self {
        self.reach = reach;
        self
    }

    /// Sets the issuers whose tokens are revoked, by their `iss`. Default: the issuer of the logout token.
    #[must_use]
    pub fn with_subjects_of<I: Into<String>>(mut self, issuers: impl IntoIterator<Item = I>) -> Self {
        self.subjects_of = issuers.into_iter().map(|issuer| issuer.into().into_boxed_str()).collect();
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
        let token = self.issuer.parse(&token).map_err(|rejection| LogoutError::Invalid(rejection.kind().name()))?;
        let logout = self.rules.check(&token, self.issuer.times()).map_err(LogoutError::Invalid)?;
        self.verify(&token).await?;
        let full = |_| LogoutError::Unavailable { cause: "full", retry_after: FULL_RETRY_AFTER };
        self.revocations.add(&self.revocations_for(&logout)).map_err(full)
    }

    async fn verify(&self, token: &UnverifiedToken<'_>) -> Result<SignedToken, LogoutError> {
        let verified = match self.issuer.verify(token) {
            Some(verified) => verified,
            None => self.wait(token).await?,
        };
        verified.map_err(|rejection| match rejection {
            Rejection::KeysUnavailable { retry_after, .. } => {
                LogoutError::Unavailable { cause: "keys_unavailable", retry_after }
            }
            rejection => LogoutError::Invalid(rejection.kind().name()),
        })
    }

    /// Waits for the key of a token. Anyone can send tokens with unknown keys, so only one request at a time waits, and none for a
    /// minute after one has waited in vain. Any other request may be genuine, so its sender is told to retry.
    async fn wait(&self, token: &UnverifiedToken<'_>) -> Result<Result<SignedToken, Rejection>, LogoutError> {
        let busy = |retry_after| LogoutError::Unavailable { cause: "busy", retry_after };
        let Ok(_permit) = self.waiting.permit.try_acquire() else { return Err(busy(defaults::RETRY_AFTER_MIN)) };
        let last_failure = || self.waiting.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let next = last_failure().map(|failure| failure.saturating_add(UNKNOWN_KEY_PAUSE));
        let pause = next.map(|next| next.saturating_since(self.issuer.monotonic())).unwrap_or_default();
        if !pause.is_zero() {
            return Err(busy(pause));
        }
        let verified = self.issuer.verify_later(token).await;
        if let Err(Rejection::Key(KeyNotFoundError::Unknown { .. })) = verified {
            *last_failure() = Some(self.issuer.monotonic());
        }
        Ok(verified)
    }

    fn revocations_for(&self, logout: &Logout) -> Vec<Revocation> {
        // All tokens that were issued before the logout have expired by then.
        let end = logout.issued_at.saturating_add(self.revocations.max_token_life());
        let revocation = |issuer: &str| {
            let session = logout.session.as_deref().map(|session| Revocation::session(issuer, session));
            let subject = logout.subject.as_deref().map(|subject| Revocation::subject(issuer, subject));
            let chosen = match self.reach {
                LogoutReach::Session => session.or(subject),
                LogoutReach::Subject => subject.or(session),
            };
            chosen.map(|chosen| chosen.with_issued_before(logout.issued_at).with_end(end))
        };
        let own = [logout.issuer.clone()];
        let issuers: &[Box<str>] = if self.subjects_of.is_empty() { &own } else { &self.subjects_of };
        issuers.iter().filter_map(|issuer| revocation(issuer)).collect()
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

/// How long no request waits for a key after one has waited in vain. The requests of the API fetch new keys earlier.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(60);

/// A full list has room when entries end, or when an operator raises the limit.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(60);
