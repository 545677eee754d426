//! `TokenBuilder`: creates tokens that are valid, or invalid in exactly one way.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::json;

use crate::clock::Timestamp;
use crate::testing::issuer::TestIssuer;
use crate::testing::members::{MemberValue, Members};
use crate::testing::signer::{self, TestKey};
use crate::token::Algorithm;

/// Builds a token, which is valid by default. Each method sets or breaks one property.
///
/// | header | |
/// |---|---|
/// | `alg` | the issuer's first algorithm, by default RS256 |
/// | `typ` | `JWT` |
/// | `kid` | the `kid` of the issuer's current key; absent for HS256, HS384 and HS512 |
///
/// | claim | |
/// |---|---|
/// | `iss` | [`TestIssuer::issuer`] |
/// | `sub` | `auth0\|user` |
/// | `aud` | `https://api.test/`, as a string |
/// | `iat` | now, by the issuer's clock |
/// | `exp` | one hour later |
/// | `azp` | `test-client` |
///
/// There is no `scope` and no `permissions`: a test sets the rights that it needs.
///
/// ```
/// use tower_bearer::testing::TestIssuer;
///
/// let issuer = TestIssuer::new();
/// let good = issuer.token().audience("https://api.northwind.com").claim("plan", "pro").sign();
/// let late = issuer.token().expired().sign();
/// let forged = issuer.token().signed_by(&TestIssuer::new()).sign();
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `sign` to create the token"]
pub struct TokenBuilder {
    pub(super) issuer: TestIssuer,
    /// Another issuer, whose key signs the token.
    pub(super) signer: Option<TestIssuer>,
    pub(super) algorithm: Algorithm,
    pub(super) header: Members,
    pub(super) claims: Members,
    pub(super) raw_header: Option<String>,
    pub(super) raw_payload: Option<String>,
    pub(super) signature_kind: SignatureKind,
    pub(super) kind: TokenKind,
    now: Timestamp,
}

/// The content of the third segment.
#[derive(Clone, Debug)]
pub(super) enum SignatureKind {
    Signature,
    BrokenSignature,
    PublicKeyHmac,
    Given(Vec<u8>),
}

/// The kind of the token.
#[derive(Clone, Copy, Debug)]
pub(super) enum TokenKind {
    Signed,
    Encrypted,
}

/// Claims.
impl TokenBuilder {
    pub(super) fn new(issuer: &TestIssuer) -> Self {
        let (algorithm, now) = {
            let state = issuer.state();
            (state.algorithm(), state.clock.now())
        };
        let mut header = Members::default();
        header.push("alg", MemberValue::Algorithm);
        header.push("typ", MemberValue::json(&"JWT"));
        header.push("kid", MemberValue::Kid);
        let builder = Self {
            issuer: issuer.clone(),
            signer: None,
            algorithm,
            header,
            claims: Members::default(),
            raw_header: None,
            raw_payload: None,
            signature_kind: SignatureKind::Signature,
            kind: TokenKind::Signed,
            now,
        };
        builder
            .issuer(issuer.issuer())
            .subject("auth0|user")
            .audience("https://api.test/")
            .issued_at(now)
            .expires_in(LIFETIME)
            .claim("azp", "test-client")
    }

    /// Sets `iss`.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let token = issuer.token().issuer("https://issuer.test").sign(); // no slash at the end
    /// ```
    pub fn issuer(self, issuer: &str) -> Self {
        self.claim("iss", issuer)
    }

    /// Sets `sub`.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().subject("auth0|42").sign();
    /// ```
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Sets `aud` to one string.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().audience("https://api.northwind.com").sign();
    /// ```
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets `aud` to an array of strings.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let token = issuer.token().audiences(["https://api.test/", "https://issuer.test/userinfo"]).sign();
    /// ```
    pub fn audiences<'a>(self, audiences: impl IntoIterator<Item = &'a str>) -> Self {
        self.claim("aud", audiences.into_iter().collect::<Vec<_>>())
    }

    /// Sets `scope`: names, separated by single spaces.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().scope("read:orders write:orders").sign();
    /// ```
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Sets `permissions`, which Auth0 adds to tokens of an API with role-based access control.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().permissions(["write:orders"]).sign();
    /// ```
    pub fn permissions<'a>(self, permissions: impl IntoIterator<Item = &'a str>) -> Self {
        self.claim("permissions", permissions.into_iter().collect::<Vec<_>>())
    }

    /// Sets `org_id`.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().organization("org_9ybsU1dN2dKfDkBi").sign();
    /// ```
    pub fn organization(self, id: &str) -> Self {
        self.claim("org_id", id)
    }

    /// Sets `exp` to the current time plus `lifetime`, which can be zero.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let token = tower_bearer::testing::TestIssuer::new().token().expires_in(Duration::from_secs(60)).sign();
    /// ```
    pub fn expires_in(self, lifetime: Duration) -> Self {
        let end = self.now.saturating_add(lifetime);
        self.expires_at(end)
    }

    /// Sets `exp`, in whole seconds.
    ///
    /// ```
    /// use tower_bearer::clock::Timestamp;
    ///
    /// let token = tower_bearer::testing::TestIssuer::new().token().expires_at(Timestamp::MAX_NUMERIC_DATE).sign();
    /// ```
    pub fn expires_at(self, end: Timestamp) -> Self {
        self.claim("exp", end.as_secs())
    }

    /// Sets `exp` to one hour ago, beyond every leeway.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().expired().sign();
    /// ```
    pub fn expired(self) -> Self {
        let end = self.now.saturating_sub(LIFETIME);
        self.expires_at(end)
    }

    /// Sets `nbf`, in whole seconds.
    ///
    /// ```
    /// use tower_bearer::clock::Timestamp;
    ///
    /// let token = tower_bearer::testing::TestIssuer::new().token().not_before(Timestamp::UNIX_EPOCH).sign();
    /// ```
    pub fn not_before(self, start: Timestamp) -> Self {
        self.claim("nbf", start.as_secs())
    }

    /// Sets `iat`, in whole seconds.
    ///
    /// ```
    /// use tower_bearer::clock::Timestamp;
    ///
    /// let token = tower_bearer::testing::TestIssuer::new().token().issued_at(Timestamp::UNIX_EPOCH).sign();
    /// ```
    pub fn issued_at(self, time: Timestamp) -> Self {
        self.claim("iat", time.as_secs())
    }

    /// Sets any claim to any value that serializes as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let token = issuer.token().claim("https://northwind.com/roles", ["admin"]).claim("cnf", serde_json::json!({})).sign();
    /// ```
    pub fn claim(mut self, name: &str, value: impl Serialize) -> Self {
        self.claims.set(name, MemberValue::json(&value));
        self
    }

    /// Sets any claim to this JSON text, without changes. Examples: `1.5e9`, `1e400`, invalid JSON.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().raw_claim("exp", "1e400").sign();
    /// ```
    pub fn raw_claim(mut self, name: &str, json: &str) -> Self {
        self.claims.set(name, MemberValue::Json(json.to_owned()));
        self
    }

    /// Appends a claim, even if the token already has a claim with this name.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().with_duplicate_claim("sub", "auth0|admin").sign();
    /// ```
    pub fn with_duplicate_claim(mut self, name: &str, value: impl Serialize) -> Self {
        self.claims.push(name, MemberValue::json(&value));
        self
    }

    /// Removes a claim.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().without("exp").sign();
    /// ```
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Uses this text as the payload instead of the claims.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().raw_payload("[]").sign();
    /// ```
    pub fn raw_payload(mut self, json: impl Into<String>) -> Self {
        self.raw_payload = Some(json.into());
        self
    }

    /// Changes the token to the profile of RFC 9068: `typ` is `at+jwt`, `client_id` replaces `azp`, and `jti` is unique.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::token::UnverifiedToken;
    ///
    /// let token = TestIssuer::new().token().rfc9068().sign();
    /// assert_eq!(UnverifiedToken::parse(&token)?.header().typ(), Some("at+jwt"));
    /// # Ok::<(), tower_bearer::token::TokenError>(())
    /// ```
    pub fn rfc9068(self) -> Self {
        self.typ("at+jwt").without("azp").claim("client_id", "test-client").claim("jti", signer::random_text(JTI_BYTES))
    }
}

impl TokenBuilder {
    /// Turns the token into a logout token for a client.
    pub(super) fn logout(self, client_id: &str) -> Self {
        self.typ("logout+jwt")
            .audience(client_id)
            .without("azp")
            .expires_in(LOGOUT_LIFETIME)
            .claim("jti", signer::random_text(JTI_BYTES))
            .claim("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} }))
    }
}

/// Signing.
impl TokenBuilder {
    /// Serializes header and payload and signs them with the current key. The key is read once, so `kid` matches the key that
    /// signs even if another thread [rotates](TestIssuer::rotate) the keys.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().sign();
    /// assert!(token.is_ascii());
    /// ```
    #[must_use]
    pub fn sign(self) -> String {
        let key = self.issuer.key(self.algorithm);
        let header = self.raw_header.clone().unwrap_or_else(|| self.header.to_json(self.algorithm.name(), key.kid()));
        let payload = self.raw_payload.clone().unwrap_or_else(|| self.claims.to_json(self.algorithm.name(), key.kid()));
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&payload));
        match self.kind {
            TokenKind::Signed => {
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.signature(&key, signed.as_bytes())))
            }
            TokenKind::Encrypted => encrypted(&payload),
        }
    }

    /// Returns the third segment of a token whose header has the `kid` of the key `own`.
    pub(super) fn signature(&self, own: &TestKey, message: &[u8]) -> Vec<u8> {
        let sign = || match &self.signer {
            Some(signer) => signer.key(self.algorithm).sign(message),
            None => own.sign(message),
        };
        match &self.signature_kind {
            SignatureKind::Signature => sign(),
            SignatureKind::BrokenSignature => flip_one_bit(sign()),
            SignatureKind::PublicKeyHmac => signer::hmac_sha256(own.public_key_pem().as_bytes(), message),
            SignatureKind::Given(signature) => signature.clone(),
        }
    }
}

pub(super) fn flip_one_bit(mut signature: Vec<u8>) -> Vec<u8> {
    if let Some(byte) = signature.last_mut() {
        *byte ^= 1;
    }
    signature
}

/// Returns header, wrapped key, initialization vector, ciphertext and tag, with the lengths of RFC 7516.
fn encrypted(payload: &str) -> String {
    let header = json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": "JWT", "cty": "JWT" }).to_string();
    let random = [256, 12, payload.len(), 16].map(signer::random_text);
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), random.join("."))
}

/// Much longer than any leeway.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The standard recommends at most two minutes.
const LOGOUT_LIFETIME: Duration = Duration::from_secs(120);

const JTI_BYTES: usize = 16;
