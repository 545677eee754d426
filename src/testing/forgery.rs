//! The part of `TokenBuilder` that touches header, key and signature.

use std::sync::Arc;

use serde::Serialize;

use crate::testing::issuer::TestIssuer;
use crate::testing::members::Slot;
use crate::testing::token::{Form, Proof, TokenBuilder};
use crate::token::Algorithm;

/// Header.
impl TokenBuilder {
    /// Signs with the issuer's key for this algorithm, and names it in `alg` and `kid`.
    ///
    /// The key is published only if the issuer's algorithms list it; see [`TestIssuer::with_algorithms`].
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

    /// Sets any header member to any value that serde can write as JSON; the key that signs stays.
    ///
    /// # Panics
    ///
    /// If the value can't be written as JSON, as a map whose keys are no strings.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let token = issuer.token().header("crit", ["exp"]).header("alg", "rs256").sign();
    /// ```
    pub fn header(mut self, name: &str, value: impl Serialize) -> Self {
        self.header.set(name, Slot::of(&value));
        self
    }

    /// Adds a header member at the end, though its name may be there already.
    ///
    /// # Panics
    ///
    /// If the value can't be written as JSON, as a map whose keys are no strings.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().with_duplicate_header("alg", "none").sign();
    /// ```
    pub fn with_duplicate_header(mut self, name: &str, value: impl Serialize) -> Self {
        self.header.push(name, Slot::of(&value));
        self
    }

    /// Leaves a header member out.
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

    /// Sets `kid`; the key that signs stays.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().kid("nobody-knows-it").sign();
    /// ```
    pub fn kid(self, kid: &str) -> Self {
        self.header("kid", kid)
    }

    /// Leaves `kid` out; the key that signs stays.
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

    /// Writes this text as the header; the key that signs stays.
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
    /// Signs with the current key of another issuer; the header still names our own `kid`, the claims our own `iss`.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let (ours, theirs) = (TestIssuer::new(), TestIssuer::new());
    /// let forged = ours.token().signed_by(&theirs).sign();
    /// let foreign = theirs.token().issuer(ours.issuer()).sign(); // the same with their `kid`
    /// ```
    pub fn signed_by(mut self, other: &TestIssuer) -> Self {
        // A custom domain of the same server has the same key.
        self.signer = (!Arc::ptr_eq(other.tenant(), self.issuer.tenant())).then(|| other.clone());
        self
    }

    /// Flips one bit of the signature.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().with_broken_signature().sign();
    /// ```
    pub fn with_broken_signature(mut self) -> Self {
        self.proof = Proof::BrokenSignature;
        self
    }

    /// Puts these octets in the place of the signature; none leave the third segment empty.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().with_signature([]).sign();
    /// assert!(token.ends_with('.'));
    /// ```
    pub fn with_signature(mut self, signature: impl Into<Vec<u8>>) -> Self {
        self.proof = Proof::Given(signature.into());
        self
    }

    /// Says `"alg":"none"` and leaves the third segment empty (RFC 7519 §6).
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

    /// Says `"alg":"HS256"` and signs with the text of [`TestIssuer::public_key_pem`] as the secret: the confusion of
    /// RFC 8725 §2.1. An issuer that signs with its secret does so with its RS256 key.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().hs256_with_public_key().sign();
    /// ```
    pub fn hs256_with_public_key(mut self) -> Self {
        if self.algorithm.is_symmetric() {
            self.algorithm = Algorithm::RS256;
        }
        self.proof = Proof::PublicKeyHmac;
        self.header("alg", "HS256")
    }

    /// Gives the token the five segments of an encrypted one (RFC 7516 §7.1); nobody can decrypt it.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    /// use tower_bearer::token::{TokenError, UnverifiedToken};
    ///
    /// let token = TestIssuer::new().token().encrypted().sign();
    /// assert_eq!(UnverifiedToken::parse(&token).unwrap_err(), TokenError::Encrypted);
    /// ```
    pub fn encrypted(mut self) -> Self {
        self.form = Form::Encrypted;
        self
    }
}
