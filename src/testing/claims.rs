//! `claims()`: builds verified claims without a token, for unit tests of handlers.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::claims::{Claims, ClaimsSettings, NoCustomClaims};
use crate::config::{Api, SettingErrors};
use crate::testing::{TestIssuer, TokenBuilder};
use crate::token::UnverifiedToken;

/// Returns a builder for verified claims, with which a test can call a handler. Nothing is signed and nothing is checked.
///
/// At first, the builder has the claims of [`TestIssuer::token`]: `iss` is `https://issuer.test/`, `aud` is
/// `https://api.test/`, there is a subject, and the lifetime is one hour. There are no scopes and no permissions.
///
/// ```
/// use serde::Deserialize;
/// use tower_bearer::{Claims, testing};
///
/// #[derive(Deserialize)]
/// struct Northwind { department: String }
///
/// fn greeting(claims: &Claims<Northwind>) -> String {
///     format!("{} of {}", claims.subject().unwrap_or("somebody"), claims.custom().department)
/// }
///
/// let claims = testing::claims().subject("ann").claim("department", "sales").build_as::<Northwind>();
/// assert_eq!(greeting(&claims), "ann of sales");
/// ```
#[must_use]
pub fn claims() -> ClaimsBuilder {
    // The signature is never verified, so a placeholder avoids the cost of signing.
    ClaimsBuilder { token: TestIssuer::new().token().with_signature(*b"none"), settings: Arc::default() }
}

/// Builds verified claims; see [`claims`].
#[derive(Clone)]
pub struct ClaimsBuilder {
    token: TokenBuilder,
    settings: Arc<ClaimsSettings>,
}

impl ClaimsBuilder {
    /// Sets `iss`.
    #[must_use]
    pub fn issuer(self, issuer: &str) -> Self {
        self.with(|token| token.issuer(issuer))
    }

    /// Sets `sub`.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.with(|token| token.subject(subject))
    }

    /// Sets `aud` to one string.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.with(|token| token.audience(audience))
    }

    /// Sets `scope`, space-delimited.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        self.with(|token| token.scope(scope))
    }

    /// Sets `permissions`.
    #[must_use]
    pub fn permissions<'p>(self, permissions: impl IntoIterator<Item = &'p str>) -> Self {
        self.with(|token| token.permissions(permissions))
    }

    /// Sets `org_id`.
    #[must_use]
    pub fn organization(self, organization: &str) -> Self {
        self.with(|token| token.organization(organization))
    }

    /// Sets any claim.
    #[must_use]
    pub fn claim(self, name: &str, value: impl Serialize) -> Self {
        self.with(|token| token.claim(name, value))
    }

    /// Removes a claim.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.with(|token| token.without(name))
    }

    /// Gives the claims the meaning that they have for this API: scopes imply others as
    /// [`with_implied_scopes`](Api::with_implied_scopes) says, the client is read from the claim of
    /// [`with_client_claim`](Api::with_client_claim), and the age of an authentication has the leeway of
    /// [`with_leeway`](Api::with_leeway). No other setting of the API matters. Default: no scope implies another, and the leeway is 5 s.
    ///
    /// ```
    /// use tower_bearer::{Api, Issuer, Requirement, testing};
    ///
    /// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"))
    ///     .with_implied_scopes([("admin", ["read:orders"])]);
    /// let claims = testing::claims().for_api(&api).scope("admin").build();
    /// assert!(claims.require(&Requirement::scope("read:orders")).is_ok());
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the implied scopes of the API are invalid. Such an API cannot be built.
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented; a test that cannot go on fails")]
    pub fn for_api(mut self, api: &Api) -> Self {
        let mut errors = SettingErrors::default();
        let settings = api.resolve_claims_settings(&mut errors);
        self.settings = Arc::new(errors.or(Some(settings)).expect("valid implied scopes"));
        self
    }

    /// Builds claims without custom claims.
    #[must_use]
    pub fn build(self) -> Claims {
        self.build_as::<NoCustomClaims>().registered()
    }

    /// Builds claims with the custom claims `C`.
    ///
    /// # Panics
    ///
    /// Panics if the claims cannot be deserialized into `C`. A validator rejects such a token.
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented; a test that cannot go on fails")]
    pub fn build_as<C: DeserializeOwned>(self) -> Claims<C> {
        let token = self.token.sign();
        let (header, payload) =
            UnverifiedToken::parse(&token).expect("the builder creates well-formed tokens").into_parts();
        let claims = Claims::verified(header, payload, None, self.settings);
        let custom = serde_json::from_str(claims.json()).expect("claims that deserialize into `C`");
        claims.with_custom(Arc::new(custom))
    }

    fn with(self, change: impl FnOnce(TokenBuilder) -> TokenBuilder) -> Self {
        Self { token: change(self.token), ..self }
    }
}

impl fmt::Debug for ClaimsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimsBuilder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Requirement;

    #[test]
    fn each_setter_sets_its_claim() {
        let claims = claims()
            .issuer("https://i.test/")
            .subject("ann")
            .audience("https://a.test/")
            .scope("a b")
            .permissions(["p"])
            .organization("org_1")
            .claim("jti", "j")
            .without("iat")
            .build();
        assert_eq!((claims.issuer(), claims.subject(), claims.jwt_id()), ("https://i.test/", Some("ann"), Some("j")));
        assert!(claims.audience().contains("https://a.test/") && claims.scopes().contains("b"));
        assert!(claims.permissions().contains("p"));
        assert_eq!((claims.organization(), claims.issued_at()), (Some("org_1"), None));
    }

    #[test]
    fn has_no_scopes_and_permissions_by_default() {
        let (scope, permission) = (Requirement::scope("read:orders"), Requirement::permission("read:orders"));
        let bare = claims().build();
        assert_eq!((bare.scopes().iter().count(), bare.permissions().iter().count()), (0, 0));
        assert!(bare.require(&scope).is_err() && bare.require(&permission).is_err());
        assert_eq!(claims().scope("read:orders").build().require(&scope), Ok(()));
        assert_eq!(claims().permissions(["read:orders"]).build().require(&permission), Ok(()));
    }

    #[test]
    fn claims_have_the_meaning_of_the_api() {
        let issuer = || crate::Issuer::auth0("northwind.eu.auth0.com");
        let api = Api::new("https://api.test/", issuer()).with_implied_scopes([("admin", ["read"])]);
        let api = api.with_client_ids(["shop"]).with_client_claim("cid");
        let (scope, client) = (Requirement::scope("read"), Requirement::client_ids(["shop"]));
        let claims = || claims().scope("admin").claim("cid", "shop");
        assert_eq!(claims().for_api(&api).build().require(&scope), Ok(()));
        assert_eq!(claims().for_api(&api).build_as::<Empty>().require(&client), Ok(()));
        assert!(claims().build().require(&scope).is_err() && claims().build().require(&client).is_err());
    }

    #[derive(serde::Deserialize)]
    struct Empty {}

    #[test]
    #[should_panic(expected = "valid implied scopes")]
    fn panics_for_an_api_with_invalid_implied_scopes() {
        let api = Api::new("https://api.test/", crate::Issuer::auth0("northwind.eu.auth0.com"));
        let _builder = claims().for_api(&api.with_implied_scopes([("a", ["a"])]));
    }

    #[test]
    #[should_panic(expected = "claims that deserialize into `C`")]
    fn panics_if_the_claims_do_not_have_the_custom_type() {
        #[derive(Debug, serde::Deserialize)]
        struct Strict {
            #[expect(dead_code, reason = "only its type matters")]
            department: u8,
        }
        let _claims = claims().claim("department", "sales").build_as::<Strict>();
    }
}
