//! `ProofKey` and `ProofBuilder`: DPoP proofs that are valid, or invalid in exactly one way.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::keys::{self, KeySet, Thumbprint};
use crate::mutual_tls::ClientCertificate;
use crate::testing::members::{MemberValue, Members};
use crate::testing::signer::{self, Material, TestKey};
use crate::testing::token::{TokenBuilder, flip_one_bit};
use crate::token::Algorithm;

/// The key of a client, which signs DPoP proofs (RFC 9449). A clone is the same key.
///
/// ```
/// use tower_bearer::testing::{ProofKey, TestIssuer};
///
/// let (issuer, client) = (TestIssuer::new(), ProofKey::new());
/// let token = issuer.token().bound_to(&client).sign();
/// let proof = client.proof("GET", "https://api.northwind.com/orders", &token).sign();
/// assert_eq!(proof.split('.').count(), 3);
/// ```
#[derive(Clone)]
pub struct ProofKey {
    key: Arc<TestKey>,
    clock: Arc<dyn Clock>,
}

impl ProofKey {
    /// Generates a key for ES256.
    #[must_use]
    pub fn new() -> Self {
        Self::with_algorithm(Algorithm::ES256)
    }

    /// Generates a key for an asymmetric algorithm.
    #[must_use]
    pub fn with_algorithm(algorithm: Algorithm) -> Self {
        Self { key: Arc::new(TestKey::new(algorithm, &Material::new())), clock: Arc::new(SystemClock) }
    }

    /// Sets the clock for `iat`. Default: the system clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the public key as a JWK, in JSON.
    ///
    /// # Panics
    ///
    /// Panics if the key is for an HMAC algorithm, which has no public key.
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented")]
    pub fn jwk(&self) -> String {
        self.key.bare_jwk().expect("an asymmetric key has a JWK").to_string()
    }

    /// Returns the thumbprint of the public key, the `jkt` of tokens that are bound to it.
    ///
    /// # Panics
    ///
    /// Panics in the same case as [`jwk`](Self::jwk).
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented")]
    pub fn thumbprint(&self) -> Thumbprint {
        let set = KeySet::from_jwks(self.jwk()).expect("a JWK");
        set.thumbprints().next().expect("a generated key is usable")
    }

    /// Returns the thumbprint in base64url.
    ///
    /// # Panics
    ///
    /// Panics in the same case as [`thumbprint`](Self::thumbprint).
    #[must_use]
    pub fn jkt(&self) -> String {
        self.thumbprint().to_base64url()
    }

    /// Starts a proof for a request with this method and URL, and with this token.
    pub fn proof(&self, method: &str, url: &str, token: &str) -> ProofBuilder {
        ProofBuilder::new(self, method, url, token)
    }
}

impl Default for ProofKey {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofKey").field("algorithm", &self.key.algorithm()).finish_non_exhaustive()
    }
}

/// Builds a DPoP proof, which is valid by default. Each method sets or breaks one property.
///
/// The header has `typ`, `alg` and `jwk`. The claims are `jti` (random), `htm`, `htu`, `iat` (now, by the clock of the key) and `ath`.
#[derive(Clone, Debug)]
#[must_use = "call `sign` to create the proof"]
pub struct ProofBuilder {
    key: ProofKey,
    signer: Option<ProofKey>,
    header: Members,
    claims: Members,
    raw_header: Option<String>,
    raw_payload: Option<String>,
    breaks_signature: bool,
}

impl ProofBuilder {
    fn new(key: &ProofKey, method: &str, url: &str, token: &str) -> Self {
        let mut header = Members::default();
        header.push("typ", MemberValue::json(&"dpop+jwt"));
        header.push("alg", MemberValue::Algorithm);
        header.push("jwk", MemberValue::json(&key.key.bare_jwk().unwrap_or_default()));
        let builder = Self {
            key: key.clone(),
            signer: None,
            header,
            claims: Members::default(),
            raw_header: None,
            raw_payload: None,
            breaks_signature: false,
        };
        let now = key.clock.now();
        builder.jti(&signer::random_text(JTI_BYTES)).claim("htm", method).claim("htu", url).issued_at(now).token(token)
    }

    /// Sets `jti`.
    pub fn jti(self, jti: &str) -> Self {
        self.claim("jti", jti)
    }

    /// Sets `iat`, in whole seconds.
    pub fn issued_at(self, time: Timestamp) -> Self {
        self.claim("iat", time.as_secs())
    }

    /// Sets `ath` to the hash of a token.
    pub fn token(self, token: &str) -> Self {
        self.claim("ath", URL_SAFE_NO_PAD.encode(keys::sha256(token.as_bytes())))
    }

    /// Sets `nonce`, which a server has sent in `DPoP-Nonce`.
    pub fn nonce(self, nonce: &str) -> Self {
        self.claim("nonce", nonce)
    }

    /// Sets any claim to any value that serializes as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    pub fn claim(mut self, name: &str, value: impl Serialize) -> Self {
        self.claims.set(name, MemberValue::json(&value));
        self
    }

    /// Sets any claim to this JSON text, without changes.
    pub fn raw_claim(mut self, name: &str, json: &str) -> Self {
        self.claims.set(name, MemberValue::Json(json.to_owned()));
        self
    }

    /// Appends a claim, even if the proof already has one with this name.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    pub fn with_duplicate_claim(mut self, name: &str, value: impl Serialize) -> Self {
        self.claims.push(name, MemberValue::json(&value));
        self
    }

    /// Removes a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Uses this text as the claims.
    pub fn raw_payload(mut self, json: impl Into<String>) -> Self {
        self.raw_payload = Some(json.into());
        self
    }

    /// Sets any header member to any value that serializes as JSON. The key that signs does not change.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    pub fn header(mut self, name: &str, value: impl Serialize) -> Self {
        self.header.set(name, MemberValue::json(&value));
        self
    }

    /// Sets any header member to this JSON text, without changes.
    pub fn raw_header_member(mut self, name: &str, json: &str) -> Self {
        self.header.set(name, MemberValue::Json(json.to_owned()));
        self
    }

    /// Appends a header member, even if the header already has one with this name.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    pub fn with_duplicate_header(mut self, name: &str, value: impl Serialize) -> Self {
        self.header.push(name, MemberValue::json(&value));
        self
    }

    /// Removes a header member.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Uses this text as the header.
    pub fn raw_header(mut self, json: impl Into<String>) -> Self {
        self.raw_header = Some(json.into());
        self
    }

    /// Signs with another key. The header still has the `jwk` of this key.
    pub fn signed_by(mut self, key: &ProofKey) -> Self {
        self.signer = Some(key.clone());
        self
    }

    /// Changes one bit of the signature.
    pub fn with_broken_signature(mut self) -> Self {
        self.breaks_signature = true;
        self
    }

    /// Serializes header and claims and signs them.
    #[must_use]
    pub fn sign(self) -> String {
        let name = self.key.key.algorithm().name();
        let header = self.raw_header.unwrap_or_else(|| self.header.to_json(name, None));
        let payload = self.raw_payload.unwrap_or_else(|| self.claims.to_json(name, None));
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.signer.as_ref().unwrap_or(&self.key).key.sign(signed.as_bytes());
        let signature = if self.breaks_signature { flip_one_bit(signature) } else { signature };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl TokenBuilder {
    /// Binds the token to the key of a client: sets `jkt` in `cnf` (RFC 9449 §6.1).
    ///
    /// ```
    /// use tower_bearer::testing::{ProofKey, TestIssuer};
    ///
    /// let token = TestIssuer::new().token().bound_to(&ProofKey::new()).sign();
    /// ```
    pub fn bound_to(self, key: &ProofKey) -> Self {
        self.confirmation("jkt", key.jkt())
    }

    /// Binds the token to the certificate of a client: sets `x5t#S256` in `cnf` (RFC 8705 §3.1). A test can use any bytes as
    /// certificate, if no proxy is in front of the API.
    ///
    /// ```
    /// use tower_bearer::mutual_tls::ClientCertificate;
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let certificate = ClientCertificate::from_der(b"the certificate of the client");
    /// let token = TestIssuer::new().token().bound_to_certificate(&certificate).sign();
    /// ```
    pub fn bound_to_certificate(self, certificate: &ClientCertificate) -> Self {
        self.confirmation("x5t#S256", certificate.thumbprint().to_base64url())
    }

    /// Sets a member of `cnf`, and keeps the others.
    fn confirmation(self, name: &str, hash: String) -> Self {
        let cnf = self.claims.json_text("cnf").and_then(|json| serde_json::from_str(json).ok());
        let mut members: serde_json::Map<String, serde_json::Value> = cnf.unwrap_or_default();
        members.insert(name.to_owned(), hash.into());
        self.claim("cnf", members)
    }
}

/// 22 characters.
const JTI_BYTES: usize = 16;
