//! `Revocation`: what [`Revocations::revoke`](crate::revocation::Revocations::revoke) adds to the list.

use std::fmt;
use std::time::Duration;

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
    /// The claim with the subject, if it is not `sub`.
    pub(super) subject_claim: Option<Box<str>>,
    pub(super) issued_before: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
}

impl Revocation {
    /// Rejects one token, by its `jti`. Tokens without `jti` cannot be rejected in this way: those of Auth0 have none by default.
    #[must_use]
    pub fn jwt_id(issuer: &str, jwt_id: &str) -> Self {
        Self::new(RevocationKind::JwtId, issuer, jwt_id)
    }

    /// Rejects the tokens of one session, by their claim `sid`. Many servers write `sid` into ID tokens only: those of Keycloak
    /// write it into access tokens, those of Auth0 and Okta do not.
    #[must_use]
    pub fn session(issuer: &str, session_id: &str) -> Self {
        Self::new(RevocationKind::Session, issuer, session_id)
    }

    /// Rejects the tokens of one subject that were issued before now, or [before another time](Self::with_issued_before).
    #[must_use]
    pub fn subject(issuer: &str, subject: &str) -> Self {
        Self::new(RevocationKind::Subject, issuer, subject)
    }

    /// Rejects the tokens of one client that were issued before now, or [before another time](Self::with_issued_before). The
    /// client of a token is the claim of [`Api::with_client_claim`](crate::Api::with_client_claim): by default `client_id`, or
    /// `azp` if there is no `client_id`.
    #[must_use]
    pub fn client(issuer: &str, client_id: &str) -> Self {
        Self::new(RevocationKind::Client, issuer, client_id)
    }

    /// Rejects all tokens of an issuer that were issued before now, or [before another time](Self::with_issued_before).
    #[must_use]
    pub fn issuer(issuer: &str) -> Self {
        Self::new(RevocationKind::Issuer, issuer, "")
    }

    /// Creates an entry of a kind that is known at run time. `value` is what the entry names; it is empty for
    /// [`RevocationKind::Issuer`].
    #[must_use]
    pub fn new(kind: RevocationKind, issuer: &str, value: &str) -> Self {
        let value = if kind == RevocationKind::Issuer { "" } else { value };
        Self {
            issuer: Box::from(issuer),
            kind,
            value: Box::from(value),
            subject_claim: None,
            issued_before: None,
            end: None,
        }
    }

    /// Sets the claim of the tokens that contains the subject, such as `oid` or `uid`, at most 64 bytes. Default: `sub`. Has an effect
    /// only on [`subject`](Self::subject). All entries of a list together name at most eight such claims.
    ///
    /// A claim that is a number is compared by its text.
    #[must_use]
    pub fn with_subject_claim(mut self, claim: &str) -> Self {
        let is_other = self.kind == RevocationKind::Subject && claim != "sub";
        self.subject_claim = is_other.then(|| Box::from(claim));
        self
    }

    /// Sets the time up to which tokens are rejected, by their `iat`. Tokens that were issued in the same second are rejected, too.
    /// A token without `iat` is rejected, because nothing says when it was issued. Has no effect on [`jwt_id`](Self::jwt_id) and
    /// [`session`](Self::session).
    ///
    /// Default: now by the clock of this process, plus the leeway of the API, at least 5 s, because the clock of the issuer may be ahead.
    /// Set the time if it comes from the issuer itself. A time in the future counts as at most five minutes from now.
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

    /// Returns the first second in which the entry is no longer needed, at most that of the year 2106.
    pub(super) fn last_second(&self) -> u32 {
        // Rounded up to the next second.
        let end = self.end.unwrap_or(Timestamp::UNIX_EPOCH).saturating_add(Duration::from_nanos(999_999_999));
        u32::try_from(end.as_secs().max(0)).unwrap_or(u32::MAX)
    }

    /// Returns what the entry names, with its kind, issuer and claim.
    pub(super) fn name(&self) -> (RevocationKind, &str, &str, Option<&str>) {
        (self.kind, &self.issuer, &self.value, self.subject_claim())
    }

    /// Returns whether an entry with the same name lasts as long as another one and concerns all of its tokens. A log stores whole
    /// seconds.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let before = |entry: &Self| entry.issued_before.map(Timestamp::as_secs);
        self.last_second() >= other.last_second() && before(self) >= before(other)
    }

    /// Returns what the entry names.
    #[must_use]
    pub fn kind(&self) -> RevocationKind {
        self.kind
    }

    /// Returns the issuer of the tokens.
    #[must_use]
    pub fn issuer_name(&self) -> &str {
        &self.issuer
    }

    /// Returns the token, session, subject or client that the entry names; empty for [`RevocationKind::Issuer`].
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the claim with the subject if it is not `sub`.
    #[must_use]
    pub fn subject_claim(&self) -> Option<&str> {
        self.subject_claim.as_deref()
    }

    /// Returns the time up to which tokens are rejected, by their `iat`. In a [log](crate::revocation::RevocationLog), each entry but
    /// those of tokens and sessions has one.
    #[must_use]
    pub fn issued_before(&self) -> Option<Timestamp> {
        self.issued_before
    }

    /// Returns the time after which the entry is no longer needed. In a [log](crate::revocation::RevocationLog), each entry has one.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        self.end
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
