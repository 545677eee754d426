//! The claims of a token: their validation and typed access (RFC 7519 §4, RFC 9068 §4).

mod confirmation;
mod custom;
mod dates;
mod error;
mod implied_scopes;
mod lookup;
mod principal;
mod required;
mod rules;
mod settings;
mod source;
mod string_or_array;
mod values;

use std::any::Any;
use std::fmt;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

pub(crate) use self::confirmation::ProvenConfirmation;
pub use self::confirmation::{CertificateThumbprint, Confirmation, SenderConstraint};
pub use self::custom::CustomClaimsError;
pub(crate) use self::custom::read_custom;
pub(crate) use self::dates::{date, numeric_date};
pub use self::error::{ClaimError, ClaimErrorReason};
pub(crate) use self::implied_scopes::ImpliedScopes;
pub use self::lookup::ClaimTypeError;
pub use self::principal::{Actor, ActorError, Principal};
pub(crate) use self::required::{malformed, malformed_answer_member};
pub(crate) use self::rules::{
    AnswerRules, Check, CheckInput, CheckedSource, ClientRule, ConfirmationRule, IdTokenMarkers, MissingAudience,
    MissingExpiry, OrganizationRule, Rules, check_answer_type, has_audience,
};
pub use self::rules::{Organization, Profile};
pub(crate) use self::settings::{ClaimsSettings, ClientClaim};
pub use self::source::ClaimsSource;
use self::source::Source;
pub use self::values::{Audience, AuthenticationMethods, ClaimStrings, Permissions, Scopes};
use crate::clock::Timestamp;
use crate::keys::Thumbprint;
use crate::request::credential::UsedSchemes;
use crate::token::{Claim, Header, Member, Payload, unquote};

/// The claims of a token that passed every check.
///
/// `C` is the application's type for custom claims, which is deserialized from the verified payload.
///
/// Only a validator and, in tests, `testing::claims()` create claims. A clone is cheap: it increments at most three reference
/// counts.
///
/// A token in which `iss`, `sub`, `aud`, `exp`, `nbf`, `iat` or `jti` does not have its registered type is rejected. For any
/// other claim of an unexpected type, the accessor returns `None`, an empty list or an error. It does not fall back to another
/// claim: if `client_id` has an unexpected type, [`client_id`](Self::client_id) does not return `azp`.
pub struct Claims<C = NoCustomClaims> {
    verified: Arc<Verified>,
    custom: Custom<C>,
    /// What the request has proven about `cnf`.
    proven: ProvenConfirmation,
    /// The context that an extractor attached, for responses to errors inside a handler.
    pub(crate) context: Option<Context>,
}

/// The storage of the custom claims.
enum Custom<C> {
    /// Deserialized from the token.
    Read(Arc<C>),
    /// A static value, so that threads do not contend for a reference count.
    Fixed(fn(&Verified) -> &C),
}

/// An opaque value that only the module which attached it reads. Its type is defined in a module that depends on this one.
pub(crate) type Context = Arc<dyn Any + Send + Sync>;

/// The verified claims, parsed once.
struct Verified {
    source: Source,
    payload: Payload,
    settings: Arc<ClaimsSettings>,
    /// The text of the claim of [`Api::with_client_claim`](crate::Api::with_client_claim), which is read once.
    client: Option<Box<str>>,
}

/// The type of the custom claims of an application that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub struct NoCustomClaims {}

impl<C> Claims<C> {
    /// Returns the issuer, exactly as configured (RFC 7519 §4.1.1).
    #[must_use]
    pub fn issuer(&self) -> &str {
        match (self.text(Claim::Iss), &self.verified.source) {
            (Some(issuer), _) => issuer,
            // The answer comes from the endpoint of this issuer.
            (None, Source::Introspection { issuer, .. }) => issuer,
            (None, Source::Signature { .. }) => "",
        }
    }

    /// Returns the subject: a user or, with the client credentials grant, the client (RFC 7519 §4.1.2).
    ///
    /// # Security
    ///
    /// A subject is unique only within one issuer. Its format does not distinguish users from machines.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text(Claim::Sub)
    }

    /// Returns the audiences (RFC 7519 §4.1.3). One of them is an audience of this API.
    #[must_use]
    pub fn audience(&self) -> Audience<'_> {
        Audience::new(self.payload())
    }

    /// Returns the expiration time, without leeway (RFC 7519 §4.1.4).
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        match (self.date(Claim::Exp), &self.verified.source) {
            (Some(expiry), _) => expiry,
            (None, Source::Introspection { valid_until, .. }) => *valid_until,
            // A token without `exp` is rejected.
            (None, Source::Signature { .. }) => Timestamp::UNIX_EPOCH,
        }
    }

    /// Returns the time before which the token is not valid (RFC 7519 §4.1.5).
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.date(Claim::Nbf)
    }

    /// Returns the time at which the token was issued (RFC 7519 §4.1.6).
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.date(Claim::Iat)
    }

    /// Returns the id of the token (RFC 7519 §4.1.7).
    #[must_use]
    pub fn jwt_id(&self) -> Option<&str> {
        self.text(Claim::Jti)
    }

    /// Returns the client that requested the token: the claim of [`Api::with_client_claim`](crate::Api::with_client_claim). By default,
    /// this is `client_id` (RFC 9068 §2.2), or `azp` if there is no `client_id`.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        if self.verified.settings.client_claim.is_configured() {
            return self.verified.client.as_deref();
        }
        match self.payload().text(Claim::ClientId) {
            Member::Absent => self.text(Claim::Azp),
            client => client.ok(),
        }
    }

    /// Returns the name of the claim with the id of the client.
    pub(crate) fn client_claim(&self) -> &str {
        self.verified.settings.client_claim.name()
    }

    /// Returns the leeway of the API.
    pub(crate) fn leeway(&self) -> Duration {
        self.verified.settings.leeway
    }

    /// Returns the scopes of the token (RFC 8693 §4.2), without those that others [imply](crate::Api::with_implied_scopes).
    #[must_use]
    pub fn scopes(&self) -> Scopes<'_> {
        Scopes::new(self.payload())
    }

    /// Returns whether the token grants the scope `name`: the token contains it, or a scope that
    /// [implies](crate::Api::with_implied_scopes) it.
    #[must_use]
    pub fn grants_scope(&self, name: &str) -> bool {
        self.scopes().contains_any(name, self.verified.settings.implied_scopes.implied_by(name))
    }

    /// Returns each scope that the token grants only by implication, with the scope of the token that implies it.
    pub(crate) fn implied_scopes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.verified.settings.implied_scopes.added_to(self.scopes())
    }

    /// Returns the permissions granted by Auth0's role-based access control.
    #[must_use]
    pub fn permissions(&self) -> Permissions<'_> {
        Permissions::new(self.payload())
    }

    /// Returns the id of the organization, `org_id`.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        self.text(Claim::OrgId)
    }

    /// Returns the name of the organization, `org_name`.
    #[must_use]
    pub fn organization_name(&self) -> Option<&str> {
        self.text(Claim::OrgName)
    }

    /// Returns the authentication context class, `acr` (RFC 9068 §2.2.1).
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.text(Claim::Acr)
    }

    /// Returns the time at which the user authenticated (RFC 9068 §2.2.1).
    #[must_use]
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.date(Claim::AuthTime)
    }

    /// Returns the keys to which the token is bound, `cnf` (RFC 7800 §3.1); `None` if there is none that this crate can check.
    ///
    /// The claim alone proves nothing about the request; [`sender_constraint`](Self::sender_constraint) does.
    #[must_use]
    pub fn confirmation(&self) -> Option<Confirmation> {
        Confirmation::read(self.payload())
    }

    /// Returns the key or certificate that the client of the request has proven to have; `None` for a bearer token.
    #[must_use]
    pub fn sender_constraint(&self) -> Option<SenderConstraint> {
        self.proven.constraint(|| self.confirmation())
    }

    /// Returns whether the client of the request has proven to have the key of the token.
    pub(crate) fn is_sender_constrained(&self) -> bool {
        !matches!(self.proven, ProvenConfirmation::None)
    }

    /// Returns the scheme under which the token was sent.
    pub(crate) fn used_schemes(&self) -> UsedSchemes {
        self.proven.used_schemes()
    }

    /// Returns what the request has proven.
    pub(crate) fn proven(&self) -> ProvenConfirmation {
        self.proven
    }

    /// Records what the request has proven.
    pub(crate) fn with_proven(self, proven: ProvenConfirmation) -> Self {
        Self { proven, ..self }
    }

    /// Returns the whole claims set as the issuer wrote it: one JSON object.
    #[must_use]
    pub fn json(&self) -> &str {
        self.payload().json()
    }

    /// Returns what proved that the claims are genuine.
    #[must_use]
    pub fn source(&self) -> ClaimsSource<'_> {
        self.verified.source.public()
    }

    /// Returns the header of the token, or `None` if the claims do not come from a signed token.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match &self.verified.source {
            Source::Signature { header, .. } => Some(header),
            Source::Introspection { .. } => None,
        }
    }

    /// Returns the key that verified the signature of the token, and the token's header. `None` for claims that a test created.
    pub(crate) fn verified_by(&self) -> Option<(&Header, &Thumbprint)> {
        match &self.verified.source {
            Source::Signature { header, key } => Some((header, key.as_ref()?)),
            Source::Introspection { .. } => None,
        }
    }

    /// Returns whether an authorization server has vouched for the claims in an answer about the token.
    pub(crate) fn is_introspected(&self) -> bool {
        matches!(self.verified.source, Source::Introspection { .. })
    }

    /// Returns the custom claims.
    #[must_use]
    pub fn custom(&self) -> &C {
        match &self.custom {
            Custom::Read(custom) => custom,
            Custom::Fixed(custom) => custom(&self.verified),
        }
    }

    /// Returns the same claims without the custom claims.
    #[must_use]
    pub fn registered(&self) -> Claims {
        Claims {
            verified: Arc::clone(&self.verified),
            custom: NO_CUSTOM_CLAIMS,
            proven: self.proven,
            context: self.context.clone(),
        }
    }

    /// Returns whether both come from the same claims set.
    pub(crate) fn is_same_claims_set<D>(&self, other: &Claims<D>) -> bool {
        Arc::ptr_eq(&self.verified, &other.verified) || self.json() == other.json()
    }

    pub(crate) fn payload(&self) -> &Payload {
        &self.verified.payload
    }

    /// Returns the bytes of memory that all clones of these claims share, without the custom claims.
    pub(crate) fn footprint(&self) -> usize {
        let client = self.verified.client.as_ref().map_or(0, |client| client.len());
        let header = self.header().map_or(0, Header::footprint);
        [size_of::<Verified>(), header, self.payload().footprint(), client].into_iter().fold(0, usize::saturating_add)
    }

    fn text(&self, claim: Claim) -> Option<&str> {
        self.payload().text(claim).ok()
    }

    fn date(&self, claim: Claim) -> Option<Timestamp> {
        dates::date(self.payload(), claim).ok()
    }
}

impl Claims {
    /// Creates the claims of a token whose signature `key` verified. Only the validator and the module `testing` call it; `key`
    /// is `None` only in the latter.
    pub(crate) fn verified(
        header: Header,
        payload: Payload,
        key: Option<Thumbprint>,
        settings: Arc<ClaimsSettings>,
    ) -> Self {
        let verified = Verified::new(Source::Signature { header, key }, payload, settings);
        Self { verified: Arc::new(verified), custom: NO_CUSTOM_CLAIMS, proven: ProvenConfirmation::None, context: None }
    }

    /// Creates the claims of a positive answer about a token, from the endpoint of `issuer`. Without `exp`, they are valid until
    /// `valid_until`.
    pub(crate) fn introspected(
        payload: Payload,
        issuer: Arc<str>,
        valid_until: Timestamp,
        settings: Arc<ClaimsSettings>,
    ) -> Self {
        let source = Source::Introspection { issuer, valid_until };
        let verified = Verified::new(source, payload, settings);
        Self { verified: Arc::new(verified), custom: NO_CUSTOM_CLAIMS, proven: ProvenConfirmation::None, context: None }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(json: &str) -> Self {
        Self::for_tests_with(json, ClaimsSettings::default())
    }

    #[cfg(test)]
    pub(crate) fn for_tests_with(json: &str, settings: ClaimsSettings) -> Self {
        let claims = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, json);
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{claims}.AA");
        let (header, payload) = crate::token::UnverifiedToken::parse(&token).expect("well-formed").into_parts();
        Self::verified(header, payload, None, Arc::new(settings))
    }

    /// Adds the custom claims, deserialized from the same payload.
    pub(crate) fn with_custom<C>(self, custom: Arc<C>) -> Claims<C> {
        Claims { verified: self.verified, custom: Custom::Read(custom), proven: self.proven, context: self.context }
    }
}

impl Verified {
    fn new(source: Source, payload: Payload, settings: Arc<ClaimsSettings>) -> Self {
        let claim = settings.client_claim.raw(&payload).filter(|_| settings.client_claim.is_configured());
        let client = claim.and_then(unquote).map(Box::from);
        Self { source, payload, settings, client }
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        let custom = match &self.custom {
            Custom::Read(custom) => Custom::Read(Arc::clone(custom)),
            Custom::Fixed(custom) => Custom::Fixed(*custom),
        };
        Self { verified: Arc::clone(&self.verified), custom, proven: self.proven, context: self.context.clone() }
    }
}

/// Shows the issuer and no other claim, because their values may be personal data.
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
    fn accessors_return_each_registered_claim() {
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
    fn accessors_return_none_for_absent_claims() {
        let claims = Claims::for_tests(r#"{"iss":"i","exp":1,"azp":"z"}"#);
        assert_eq!((claims.subject(), claims.jwt_id(), claims.client_id()), (None, None, Some("z")));
        assert!(claims.scopes().is_empty() && claims.permissions().is_empty());
    }

    #[test]
    fn client_id_is_the_claim_of_the_api() {
        let settings = ClaimsSettings { client_claim: ClientClaim(Some("cid".into())), ..ClaimsSettings::default() };
        let client = |json| Claims::for_tests_with(json, settings.clone()).client_id().map(str::to_owned);
        assert_eq!(client(r#"{"cid":"sho\u0070","client_id":"web"}"#).as_deref(), Some("shop"));
        for json in [r#"{"client_id":"web","azp":"web"}"#, r#"{"cid":7,"azp":"web"}"#, r#"{"cid":["web"]}"#] {
            assert_eq!(client(json), None, "{json}");
        }
    }

    #[test]
    fn grants_scopes_of_the_token_and_implied_ones() {
        let pairs = [("admin", "write"), ("admin", "read"), ("write", "read")];
        let implied = || ClaimsSettings { implied_scopes: ImpliedScopes::new(pairs), ..ClaimsSettings::default() };
        for (scope, granted) in
            [("admin", &["admin", "write", "read"][..]), ("read", &["read"]), ("write", &["write", "read"])]
        {
            let claims = Claims::for_tests_with(&format!(r#"{{"scope":"profile {scope}"}}"#), implied());
            for name in ["admin", "write", "read", "admi", ""] {
                assert_eq!(claims.grants_scope(name), granted.contains(&name), "{scope} {name}");
                assert_eq!(claims.scopes().contains(name), name == scope, "{scope} {name}");
            }
        }
        let claims = Claims::for_tests_with(r#"{"scope":"admin write"}"#, implied());
        assert_eq!(claims.implied_scopes().collect::<Vec<_>>(), [("read", "admin")]);
        // A claim of another type grants nothing, and permissions imply no scopes.
        let claims = Claims::for_tests_with(r#"{"scope":["admin",1],"permissions":["admin"]}"#, implied());
        assert!(!claims.grants_scope("read") && claims.implied_scopes().next().is_none());
    }

    #[test]
    fn debug_does_not_show_personal_data() {
        let shown = format!("{:?}", Claims::for_tests(r#"{"iss":"i","sub":"somebody@example.com","exp":1}"#));
        assert_eq!(shown, r#"Claims { issuer: "i", .. }"#);
    }
}
