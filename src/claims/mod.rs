//! Proven payload to judged claims (RFC 7519 §4, RFC 9068 §4).

mod custom;
mod dates;
mod error;
mod principal;
mod required;
mod rules;
mod string_or_array;
mod values;

use std::any::Any;
use std::fmt;
use std::mem::size_of;
use std::sync::Arc;

use serde::Deserialize;

pub use self::custom::CustomClaimsError;
pub(crate) use self::custom::read_custom;
pub(crate) use self::dates::date;
pub use self::error::{ClaimError, ClaimErrorReason};
pub use self::principal::{Actor, ActorError, ClaimTypeError, Principal};
pub(crate) use self::required::malformed;
pub(crate) use self::rules::{Check, CheckInput, Confirmation, OrganizationRule, Rules};
pub use self::rules::{Organization, Profile};
pub use self::values::{Audience, AuthenticationMethods, Permissions, Scopes};
use crate::clock::Timestamp;
use crate::token::{Claim, Header, Member, Payload};

/// The claims of a token that passed every check.
///
/// There is no way to make one but to validate a token (and `testing::claims()` in tests of handlers). Cloning costs one
/// reference count, one more with a `C`, and one more where an extractor knows how the layers around answer. `C` is the
/// application's own type for the claims that this crate does not know; it is deserialised from the verified octets.
///
/// `iss`, `sub`, `aud`, `exp`, `nbf` and `jti` have their registered type, or the token is refused. Every other accessor
/// returns `None`, an empty list or an error for a claim of another type, and never another claim in its place.
pub struct Claims<C = NoCustomClaims> {
    verified: Arc<Verified>,
    custom: Custom<C>,
    /// What the server's extractor knows of the request, for an answer from within a handler.
    pub(crate) context: Option<Context>,
}

/// Where the application's own claims are.
enum Custom<C> {
    /// Read from the token.
    Read(Arc<C>),
    /// Nowhere: there is one value, without even the count of references that every thread would write to.
    Fixed(fn(&Verified) -> &C),
}

/// Read only by who has put it there, since what it holds belongs to later stages.
pub(crate) type Context = Arc<dyn Any + Send + Sync>;

/// The octets that were verified, read once.
struct Verified {
    header: Header,
    payload: Payload,
}

/// Stands where an application reads no claims of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub struct NoCustomClaims {}

impl<C> Claims<C> {
    /// The issuer, exactly as configured (RFC 7519 §4.1.1).
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.text(Claim::Iss).unwrap_or_default()
    }

    /// Whom the token is about: a user or, with the client-credentials grant, the client (RFC 7519 §4.1.2).
    ///
    /// # Security
    ///
    /// Unique within one issuer only. Its shape does not tell users from machines.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text(Claim::Sub)
    }

    /// Whom the token is for (RFC 7519 §4.1.3); one of them is this API.
    #[must_use]
    pub fn audience(&self) -> Audience<'_> {
        Audience::of(self.payload())
    }

    /// When the token expires, leeway not counted (RFC 7519 §4.1.4).
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        // A set without `exp` was refused.
        self.date(Claim::Exp).unwrap_or(Timestamp::EPOCH)
    }

    /// From when on the token is valid (RFC 7519 §4.1.5).
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.date(Claim::Nbf)
    }

    /// When the token was issued (RFC 7519 §4.1.6).
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.date(Claim::Iat)
    }

    /// The token's own id (RFC 7519 §4.1.7).
    #[must_use]
    pub fn jwt_id(&self) -> Option<&str> {
        self.text(Claim::Jti)
    }

    /// The client that asked for the token: `client_id` (RFC 9068 §2.2) or, where there is none, `azp`.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        match self.payload().text(Claim::ClientId) {
            Member::Absent => self.text(Claim::Azp),
            named => named.ok(),
        }
    }

    /// The scopes granted (RFC 8693 §4.2).
    #[must_use]
    pub fn scopes(&self) -> Scopes<'_> {
        Scopes::of(self.payload())
    }

    /// The permissions granted by Auth0's role-based access control.
    #[must_use]
    pub fn permissions(&self) -> Permissions<'_> {
        Permissions::of(self.payload())
    }

    /// The organization's id, `org_id`.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        self.text(Claim::OrgId)
    }

    /// The organization's name, `org_name`.
    #[must_use]
    pub fn organization_name(&self) -> Option<&str> {
        self.text(Claim::OrgName)
    }

    /// The class of the authentication (RFC 9068 §2.2.1).
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.text(Claim::Acr)
    }

    /// When the user authenticated (RFC 9068 §2.2.1).
    #[must_use]
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.date(Claim::AuthTime)
    }

    /// The whole claims set as the issuer wrote it: one JSON object.
    #[must_use]
    pub fn json(&self) -> &str {
        self.payload().json()
    }

    /// The token's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.verified.header
    }

    /// The application's own claims.
    #[must_use]
    pub fn custom(&self) -> &C {
        match &self.custom {
            Custom::Read(custom) => custom,
            Custom::Fixed(custom) => custom(&self.verified),
        }
    }

    /// The same claims without the application's own.
    #[must_use]
    pub fn registered(&self) -> Claims {
        Claims { verified: Arc::clone(&self.verified), custom: NO_CUSTOM_CLAIMS, context: self.context.clone() }
    }

    /// Says whether both were read from the same claims set.
    #[cfg(feature = "axum")]
    pub(crate) fn are_those_of<D>(&self, other: &Claims<D>) -> bool {
        Arc::ptr_eq(&self.verified, &other.verified) || self.json() == other.json()
    }

    pub(crate) fn payload(&self) -> &Payload {
        &self.verified.payload
    }

    /// The octets of memory that all clones of these claims take together, without the application's own.
    pub(crate) fn footprint(&self) -> usize {
        let string_or_array = self.header().footprint().saturating_add(self.payload().footprint());
        size_of::<Verified>().saturating_add(string_or_array)
    }

    fn text(&self, claim: Claim) -> Option<&str> {
        self.payload().text(claim).ok()
    }

    fn date(&self, claim: Claim) -> Option<Timestamp> {
        dates::date(self.payload(), claim).ok()
    }
}

impl Claims {
    /// Takes what was proven and judged; only the validator and the testing kit call it.
    pub(crate) fn verified(header: Header, payload: Payload) -> Self {
        Self { verified: Arc::new(Verified { header, payload }), custom: NO_CUSTOM_CLAIMS, context: None }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(json: &str) -> Self {
        let claims = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, json);
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{claims}.AA");
        let (header, payload) = crate::token::UnverifiedToken::parse(&token).expect("well-formed").into_parts();
        Self::verified(header, payload)
    }

    /// Adds the application's own claims, read from the same octets.
    pub(crate) fn with_custom<C>(self, custom: Arc<C>) -> Claims<C> {
        Claims { verified: self.verified, custom: Custom::Read(custom), context: self.context }
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        let custom = match &self.custom {
            Custom::Read(custom) => Custom::Read(Arc::clone(custom)),
            Custom::Fixed(custom) => Custom::Fixed(*custom),
        };
        Self { verified: Arc::clone(&self.verified), custom, context: self.context.clone() }
    }
}

/// Shows the issuer and no other claim: their values may be personal.
impl<C> fmt::Debug for Claims<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

const NO_CUSTOM_CLAIMS: Custom<NoCustomClaims> = Custom::Fixed(|_| &NoCustomClaims {});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accessors_read_each_registered_claim() {
        let claims = Claims::for_tests(
            r#"{"iss":"https:\/\/i.example\/","sub":"s","aud":["a","b"],"exp":10,"nbf":1.5,"iat":2,"jti":"j","azp":"z","client_id":"c",
                "scope":"r w","permissions":["p"],"org_id":"o","org_name":"n","acr":"high","auth_time":3}"#,
        );
        assert_eq!(claims.issuer(), "https://i.example/");
        assert_eq!((claims.subject(), claims.jwt_id(), claims.client_id()), (Some("s"), Some("j"), Some("c")));
        assert_eq!(
            (claims.organization(), claims.organization_name(), claims.acr()),
            (Some("o"), Some("n"), Some("high"))
        );
        assert_eq!(claims.expires_at(), Timestamp::from_secs(10));
        assert_eq!(claims.not_before(), Some(Timestamp::from_nanos(1_500_000_000)));
        assert_eq!(
            (claims.issued_at(), claims.auth_time()),
            (Some(Timestamp::from_secs(2)), Some(Timestamp::from_secs(3)))
        );
        assert!(claims.audience().contains("b") && claims.scopes().contains("w") && claims.permissions().contains("p"));
    }

    #[test]
    fn absent_claims_are_absent() {
        let claims = Claims::for_tests(r#"{"iss":"i","exp":1,"azp":"z"}"#);
        assert_eq!((claims.subject(), claims.jwt_id(), claims.client_id()), (None, None, Some("z")));
        assert!(claims.scopes().is_empty() && claims.permissions().is_empty());
    }

    #[test]
    fn debug_shows_no_personal_data() {
        let shown = format!("{:?}", Claims::for_tests(r#"{"iss":"i","sub":"somebody@example.com","exp":1}"#));
        assert_eq!(shown, r#"Claims { issuer: "i", .. }"#);
    }
}
