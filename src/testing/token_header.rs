//! `TokenBuilder`: header, key and signature.

use std::sync::Arc;

use serde::Serialize;

use crate::testing::issuer::TestIssuer;
use crate::testing::members::MemberValue;
use crate::testing::token::{SignatureKind, TokenBuilder, TokenKind};
use crate::token::Algorithm;

/// Header.
impl TokenBuilder {
    /// Signs with the issuer's key for this algorithm, and sets `alg` and `kid` to those of this key.
    ///
    /// The key is published only if the algorithms of the issuer include this one; see [`TestIssuer::with_algorithms`].
    ///
    /// ```
    /// use tower_bearer::Algorithm;
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::new();
    /// let token = issuer.token().algorithm(Algorithm::HS256).sign(); // with issuer.secret()
    /// ```
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets any header member to any value that serializes as JSON. The key that signs does not change.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let token = issuer.token().header("crit", ["exp"]).header("alg", "rs256").sign();
    /// ```
    pub fn header(mut self, name: &str, value: impl Serialize) -> Self {
        self.header.set(name, MemberValue::json(&value));
        self
    }

    /// Appends a header member, even if the header already has a member with this name.
    ///
    /// # Panics
    ///
    /// Panics if the value does not serialize as JSON, for example a map whose keys are not strings.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().with_duplicate_header("alg", "none").sign();
    /// ```
    pub fn with_duplicate_header(mut self, name: &str, value: impl Serialize) -> Self {
        self.header.push(name, MemberValue::json(&value));
        self
    }

    /// Removes a header member.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().without_header("typ").sign();
    /// ```
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets `typ`.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().typ("at+jwt").sign();
    /// ```
    pub fn typ(self, typ: &str) -> Self {
        self.header("typ", typ)
    }

    /// Sets `kid`. The key that signs does not change.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().kid("unknown").sign();
    /// ```
    pub fn kid(self, kid: &str) -> Self {
        self.header("kid", kid)
    }

    /// Removes `kid`. The key that signs does not change.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::token::UnverifiedToken;
    ///
    /// let token = TestIssuer::new().token().without_kid().sign();
    /// assert_eq!(UnverifiedToken::parse(&token)?.header().kid(), None);
    /// # Ok::<(), tower_bearer::token::TokenError>(())
    /// ```
    pub fn without_kid(self) -> Self {
        self.without_header("kid")
    }

    /// Uses this text as the header. The key that signs does not change.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let token = issuer.token().raw_header(r#"{"alg":"RS256"}{}"#).sign();
    /// ```
    pub fn raw_header(mut self, json: impl Into<String>) -> Self {
        self.raw_header = Some(json.into());
        self
    }
}

/// Signature.
impl TokenBuilder {
    /// Signs with the current key of another issuer. The header still has the `kid`, and the claims the `iss`, of this issuer.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let (ours, theirs) = (TestIssuer::new(), TestIssuer::new());
    /// let forged = ours.token().signed_by(&theirs).sign();
    /// let foreign = theirs.token().issuer(ours.issuer()).sign(); // the same claims and key, but the `kid` of `theirs`
    /// ```
    pub fn signed_by(mut self, other: &TestIssuer) -> Self {
        // A custom domain of the same server has the same key.
        self.signer = (!Arc::ptr_eq(other.shared(), self.issuer.shared())).then(|| other.clone());
        self
    }

    /// Flips one bit of the signature.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().with_broken_signature().sign();
    /// ```
    pub fn with_broken_signature(mut self) -> Self {
        self.signature_kind = SignatureKind::BrokenSignature;
        self
    }

    /// Uses these bytes as the signature. If there are no bytes, the third segment is empty.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().with_signature([]).sign();
    /// assert!(token.ends_with('.'));
    /// ```
    pub fn with_signature(mut self, signature: impl Into<Vec<u8>>) -> Self {
        self.signature_kind = SignatureKind::Given(signature.into());
        self
    }

    /// Sets `"alg":"none"` and leaves the third segment empty (RFC 7519 §6).
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::token::UnverifiedToken;
    ///
    /// let token = TestIssuer::new().token().unsigned().sign();
    /// assert!(UnverifiedToken::parse(&token).is_err());
    /// ```
    pub fn unsigned(self) -> Self {
        self.header("alg", "none").with_signature([])
    }

    /// Sets `"alg":"HS256"` and signs with the text of [`TestIssuer::public_key_pem`] as the secret: the algorithm confusion
    /// attack of RFC 8725 §2.1. For an issuer that signs with its secret, the public key is that of RS256.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().hs256_with_public_key().sign();
    /// ```
    pub fn hs256_with_public_key(mut self) -> Self {
        if self.algorithm.is_symmetric() {
            self.algorithm = Algorithm::RS256;
        }
        self.signature_kind = SignatureKind::PublicKeyHmac;
        self.header("alg", "HS256")
    }

    /// Creates a token with the five segments of an encrypted one (RFC 7516 §7.1), filled with random text.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::token::{TokenError, UnverifiedToken};
    ///
    /// let token = TestIssuer::new().token().encrypted().sign();
    /// assert_eq!(UnverifiedToken::parse(&token).unwrap_err(), TokenError::Encrypted);
    /// ```
    pub fn encrypted(mut self) -> Self {
        self.kind = TokenKind::Encrypted;
        self
    }
}
