//! `Revocation`: what [`Revocations::revoke`](crate::revocation::Revocations::revoke) adds to the list.

use std::fmt;

use crate::clock::Timestamp;
use crate::revocation::kind::RevocationKind;

/// What to reject: a token, a session, or the tokens of a subject, a client or an issuer that were issued before a time.
///
/// `issuer` is the `iss` of the tokens, byte for byte, with a trailing slash if `iss` has one. For an issuer with
/// [custom domains](crate::Issuer::with_custom_domain), an entry of any of its domains concerns the tokens of all of them.
///
/// ```
/// use tower_bearer::clock::Timestamp;
/// use tower_bearer::revocation::Revocation;
///
/// let issuer = "https://northwind.eu.auth0.com/";
/// let token = Revocation::jwt_id(issuer, "3vaV2PlXrU7xRzQp").with_end(Timestamp::from_secs(1_800_003_600));
/// let all_of_ann = Revocation::subject(issuer, "auth0|ann");
/// # let _ = (token, all_of_ann);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Revocation {
    pub(super) issuer: Box<str>,
    pub(super) kind: RevocationKind,
    /// Empty for [`RevocationKind::Issuer`].
    pub(super) value: Box<str>,
    pub(super) issued_before: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
}

impl Revocation {
    /// Rejects one token, by its `jti`. Tokens without `jti` cannot be rejected in this way: those of Auth0 have none by default.
    #[must_use]
    pub fn jwt_id(issuer: &str, jwt_id: &str) -> Self {
        Self::new(issuer, RevocationKind::JwtId, jwt_id)
    }

    /// Rejects the tokens of one session, by their claim `sid`. Many servers write `sid` into ID tokens only: those of Keycloak
    /// write it into access tokens, those of Auth0 and Okta do not.
    #[must_use]
    pub fn session(issuer: &str, session_id: &str) -> Self {
        Self::new(issuer, RevocationKind::Session, session_id)
    }

    /// Rejects the tokens of one subject that were issued before now, or [before another time](Self::with_issued_before).
    #[must_use]
    pub fn subject(issuer: &str, subject: &str) -> Self {
        Self::new(issuer, RevocationKind::Subject, subject)
    }

    /// Rejects the tokens of one client that were issued before now, or [before another time](Self::with_issued_before). The
    /// client of a token is the claim of [`Api::with_client_claim`](crate::Api::with_client_claim): by default `client_id`, or
    /// `azp` if there is no `client_id`.
    #[must_use]
    pub fn client(issuer: &str, client_id: &str) -> Self {
        Self::new(issuer, RevocationKind::Client, client_id)
    }

    /// Rejects all tokens of an issuer that were issued before now, or [before another time](Self::with_issued_before).
    #[must_use]
    pub fn issuer(issuer: &str) -> Self {
        Self::new(issuer, RevocationKind::Issuer, "")
    }

    fn new(issuer: &str, kind: RevocationKind, value: &str) -> Self {
        Self { issuer: Box::from(issuer), kind, value: Box::from(value), issued_before: None, end: None }
    }

    /// Sets the time up to which tokens are rejected, by their `iat`. Tokens that were issued in the same second are rejected, too.
    /// A token without `iat` is rejected, because nothing says when it was issued. Has no effect on [`jwt_id`](Self::jwt_id) and
    /// [`session`](Self::session).
    ///
    /// Default: now by the clock of this process, and the leeway of the API, because the clock of the issuer may be ahead. Set
    /// the time if it comes from the issuer itself. A time in the future counts as at most five minutes from now.
    #[must_use]
    pub fn with_issued_before(mut self, time: Timestamp) -> Self {
        self.issued_before = Some(time);
        self
    }

    /// Sets the time after which the entry is no longer needed: the `exp` of the token, or the latest `exp` of the tokens that it
    /// concerns. The leeway is added. Default: [`with_max_token_life`](crate::revocation::RevocationsBuilder::with_max_token_life)
    /// from now, 24 h unless it is set.
    ///
    /// # Security
    ///
    /// A token that is still valid after this time is accepted again.
    #[must_use]
    pub fn with_end(mut self, end: Timestamp) -> Self {
        self.end = Some(end);
        self
    }

    /// Returns what the entry names.
    #[must_use]
    pub fn kind(&self) -> RevocationKind {
        self.kind
    }
}

/// Shows the issuer and the kind. The value may be personal data.
impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("issuer", &self.issuer)
            .field("kind", &self.kind)
            .field("issued_before", &self.issued_before)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
