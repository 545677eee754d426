//! Opaque tokens of a test issuer, and its introspection endpoint (RFC 7662, RFC 9701).

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::claims;
use crate::clock::Timestamp;
use crate::keys::{Found, KeyOrigin, KeySet, SignedToken};
use crate::testing::form;
use crate::testing::issuer::TestIssuer;
use crate::testing::respond::{self, INTROSPECT, Reply};
use crate::testing::signer;
use crate::testing::token::TokenBuilder;
use crate::token::{Algorithm, Claim, Member, UnverifiedToken};

impl TokenBuilder {
    /// Issues an opaque token with these claims, instead of a JWT. The introspection endpoint of the issuer answers
    /// with the claims, until the token expires or is [revoked](TestIssuer::revoke).
    ///
    /// ```
    /// use tower_bearer::introspection::{ClientAuthentication, Introspection};
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::{Api, Issuer, Validator};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = TestIssuer::new().with_client("orders-api", "secret");
    /// let authentication = ClientAuthentication::basic("orders-api", "secret");
    /// let issuer = Issuer::opaque(server.issuer(), Introspection::at(server.introspection_endpoint(), authentication));
    /// let validator = Validator::builder(Api::new("https://api.test/", issuer)).with_fetch(server.clone()).build()?;
    ///
    /// let token = server.token().subject("ann").opaque();
    /// assert_eq!(validator.validate(&token).await?.subject(), Some("ann"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn opaque(self) -> String {
        let token = format!("opaque-{}", signer::random_text(TOKEN_BYTES));
        let claims = self.raw_payload.clone().unwrap_or_else(|| self.claims.to_json(self.algorithm.name(), None));
        self.issuer.state().issued.opaque.insert(token.clone(), claims);
        token
    }
}

impl TestIssuer {
    /// Returns the URL of its introspection endpoint, which the discovery document names.
    ///
    /// If at least one [client](TestIssuer::with_client) is registered, the endpoint requires the id and secret of one,
    /// as HTTP Basic or in the form. It knows the opaque tokens of [`TokenBuilder::opaque`] and JWTs that the issuer
    /// has signed. If the request accepts signed answers (RFC 9701), the answer is signed.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.introspection_endpoint(), "https://issuer.test/oauth/introspect");
    /// ```
    #[must_use]
    pub fn introspection_endpoint(&self) -> String {
        self.endpoint().url(INTROSPECT)
    }

    /// Revokes a token, opaque or not: the introspection endpoint calls it inactive from then on.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let token = issuer.token().opaque();
    /// issuer.revoke(&token);
    /// ```
    pub fn revoke(&self, token: &str) {
        self.state().issued.revoked.insert(token.to_owned());
    }

    /// Returns the number of requests to the introspection endpoint, counted like [`TestIssuer::fetches`].
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().introspections(), 0);
    /// ```
    #[must_use]
    pub fn introspections(&self) -> usize {
        self.shared().introspections.value()
    }

    /// Responds to a request to the introspection endpoint, unless there is an outage.
    pub(super) fn introspection_reply(&self, headers: &HeaderMap, body: &[u8]) -> Reply {
        self.shared().introspections.add_one();
        self.shared().unless_outage(|| self.introspect(headers, body))
    }

    fn introspect(&self, headers: &HeaderMap, body: &[u8]) -> Response<Bytes> {
        let parameter = |name: &str| form::parameter(body, name);
        let (id, secret) = match form::basic(headers) {
            Some(pair) => pair,
            None => (parameter("client_id").unwrap_or_default(), parameter("client_secret").unwrap_or_default()),
        };
        let is_client = {
            let clients = &self.state().registry.clients;
            clients.is_empty() || clients.iter().any(|client| client.id == id && client.secret == secret)
        };
        if !is_client {
            let body = json!({ "error": "invalid_client" }).to_string();
            return respond::json_response(StatusCode::UNAUTHORIZED, body);
        }
        let Some(token) = parameter("token") else {
            let body = json!({ "error": "invalid_request" }).to_string();
            return respond::json_response(StatusCode::BAD_REQUEST, body);
        };
        let answer = self.answer_about(&token);
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !accept.contains(SIGNED) {
            return respond::json_response(StatusCode::OK, answer.to_string());
        }
        let claims = TokenBuilder::new(self).typ(SIGNED).without("sub").without("exp").without("azp").audience(&id);
        let signed = claims.claim("token_introspection", answer).sign();
        let mut response = respond::response(StatusCode::OK, Bytes::from(signed));
        let content_type = HeaderValue::from_static("application/token-introspection+jwt");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    fn answer_about(&self, token: &str) -> Value {
        let opaque = {
            let issued = &self.state().issued;
            if issued.revoked.contains(token) {
                return json!({ "active": false });
            }
            issued.opaque.get(token).cloned()
        };
        let claims = opaque.or_else(|| self.claims_of_jwt(token));
        let claims: Option<Map<String, Value>> = claims.and_then(|claims| serde_json::from_str(&claims).ok());
        let now = self.clock().now();
        let is_expired = |claims: &Map<String, Value>| {
            claims.get("exp").and_then(Value::as_i64).is_some_and(|end| Timestamp::from_secs(end) <= now)
        };
        match claims.filter(|claims| !is_expired(claims)) {
            None => json!({ "active": false }),
            Some(mut claims) => {
                claims.insert("active".to_owned(), Value::Bool(true));
                Value::Object(claims)
            }
        }
    }

    /// Returns the claims of a JWT that this issuer has signed.
    fn claims_of_jwt(&self, token: &str) -> Option<String> {
        let token = UnverifiedToken::parse(token).ok()?;
        let table = KeySet::from_jwks(self.jwks()).ok()?.bind(Algorithm::ALL, KeyOrigin::Remote);
        let header = token.header().clone();
        let Found::Keys(keys) = table.find(header.key_id(), header.algorithm()) else { return None };
        let (_, payload, _) = SignedToken::verify(token, keys).ok()?.into_parts();
        let is_own = matches!(payload.text(Claim::Iss), Member::Is(issuer) if issuer == self.issuer());
        let has_expiry = claims::date(&payload, Claim::Exp) != Member::Malformed;
        (is_own && has_expiry).then(|| payload.json().to_owned())
    }
}

const SIGNED: &str = "token-introspection+jwt";

const TOKEN_BYTES: usize = 24;
