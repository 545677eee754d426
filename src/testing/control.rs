//! `TestIssuer`: its names, documents and keys, and what a test can change while it runs.

use crate::testing::issuer::TestIssuer;
use crate::testing::outage::Outage;
use crate::testing::respond::{KEY_SET, OPENID_CONFIGURATION, TOKEN};
use crate::testing::token::TokenBuilder;

/// Names, documents and keys.
impl TestIssuer {
    /// Returns the `iss` of its tokens.
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().issuer(), "https://issuer.test/");
    /// ```
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.endpoint().issuer
    }

    /// Returns the URL of its key set.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.jwks_uri(), "https://issuer.test/.well-known/jwks.json");
    /// ```
    #[must_use]
    pub fn jwks_uri(&self) -> String {
        self.endpoint().url(KEY_SET)
    }

    /// Returns the URL of its discovery document.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.discovery_uri(), "https://issuer.test/.well-known/openid-configuration");
    /// ```
    #[must_use]
    pub fn discovery_uri(&self) -> String {
        self.endpoint().url(OPENID_CONFIGURATION)
    }

    /// Returns the URL of its token endpoint. The endpoint is available only while the issuer is served.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.token_endpoint(), "https://issuer.test/oauth/token");
    /// ```
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        self.endpoint().url(TOKEN)
    }

    /// Returns its key set as JSON: public keys only, the current keys first, each with `kid`, `use` and `alg`.
    ///
    /// This is the body of a successful fetch. An outage does not change it.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.jwks().starts_with(r#"{"keys":[{"#));
    /// ```
    #[must_use]
    pub fn jwks(&self) -> String {
        self.state().key_set()
    }

    /// Returns its discovery document as JSON.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.discovery().contains(r#""issuer":"https://issuer.test/""#));
    /// ```
    #[must_use]
    pub fn discovery(&self) -> String {
        self.endpoint().discovery()
    }

    /// Returns the `kid` of the current key, or an empty string if the issuer signs with its secret.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.kid().len(), 22);
    /// ```
    #[must_use]
    pub fn kid(&self) -> String {
        self.current_key().kid().unwrap_or_default().to_owned()
    }

    /// Returns the current public key as `PUBLIC KEY` PEM text, or an empty string if the issuer signs with its secret.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
    /// ```
    #[must_use]
    pub fn public_key_pem(&self) -> String {
        self.current_key().public_key_pem()
    }

    /// Returns the secret for its HS256, HS384 and HS512 tokens: 64 characters. Their bytes are the key.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.secret().len(), 64);
    /// ```
    #[must_use]
    pub fn secret(&self) -> String {
        self.state().secret()
    }

    /// Returns a builder for a token that is valid now. [`TokenBuilder`] lists its claims.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().sign();
    /// assert_eq!(token.split('.').count(), 3);
    /// ```
    pub fn token(&self) -> TokenBuilder {
        TokenBuilder::new(self)
    }

    /// Returns a builder for a logout token for a client (OpenID Connect Back-Channel Logout 1.0 §2.4) that is valid now: `typ` is
    /// `logout+jwt`, `sub` is `auth0|user`, and there is no `sid`.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let of_user = issuer.logout_token("web").subject("ann").sign();
    /// let of_session = issuer.logout_token("web").without("sub").claim("sid", "s1").sign();
    /// ```
    pub fn logout_token(&self, client_id: &str) -> TokenBuilder {
        TokenBuilder::new(self).logout(client_id)
    }
}

/// Rotation, outages and counters.
impl TestIssuer {
    /// Replaces the keys and the secret with which tokens are signed. The old keys stay in the published key set, after the new
    /// ones.
    ///
    /// A validator is not notified. It fetches the keys when it receives the first token of a new key. If the validator has
    /// already fetched for an unknown `kid` shortly before, it rejects the token until the cool-down ends, after 1 to 15 s by
    /// the clock of the validator. Advance a [`FakeClock`](crate::testing::FakeClock) past the cool-down, or call
    /// [`KeySource::reload`](crate::jwks::KeySource::reload).
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let old = issuer.kid();
    /// issuer.rotate();
    /// assert_ne!(issuer.kid(), old);
    /// assert!(issuer.jwks().contains(&old));
    /// issuer.revoke_previous_keys();
    /// assert!(!issuer.jwks().contains(&old));
    /// ```
    pub fn rotate(&self) {
        self.state().rotate();
    }

    /// Removes the old keys from the published set.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// issuer.rotate();
    /// issuer.revoke_previous_keys();
    /// assert_eq!(issuer.jwks().matches("kid").count(), 1);
    /// ```
    pub fn revoke_previous_keys(&self) {
        self.state().revoke_previous_keys();
    }

    /// Replaces the keys and the secret, and removes the old keys from the published set: "rotate and revoke".
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// let old = issuer.kid();
    /// issuer.replace_keys();
    /// assert!(!issuer.jwks().contains(&old));
    /// ```
    pub fn replace_keys(&self) {
        let mut state = self.state();
        state.rotate();
        state.revoke_previous_keys();
    }

    /// Publishes this text instead of the key set. The text need not be a key set. The keys with which tokens are signed do not
    /// change.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// issuer.publish(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#);
    /// assert!(issuer.jwks().contains("oct"));
    /// ```
    pub fn publish(&self, key_set: impl Into<String>) {
        self.state().published = Some(key_set.into());
    }

    /// Simulates an outage until the next call of this method.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_bearer::testing::{Outage, TestIssuer};
    ///
    /// let issuer = TestIssuer::new();
    /// issuer.set_outage(Outage::Status(StatusCode::SERVICE_UNAVAILABLE));
    /// ```
    pub fn set_outage(&self, outage: Outage) {
        self.state().outage = outage;
    }

    /// Returns the number of requests for the key set so far. Requests for every domain, in memory and over loopback, with and
    /// without success are counted.
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().fetches(), 0);
    /// ```
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.shared().key_set_requests.value()
    }

    /// Returns the number of requests for a discovery document, counted like [`TestIssuer::fetches`].
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().discovery_fetches(), 0);
    /// ```
    #[must_use]
    pub fn discovery_fetches(&self) -> usize {
        self.shared().discovery_requests.value()
    }

    /// Returns the number of requests to the token endpoint, counted like [`TestIssuer::fetches`].
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().token_requests(), 0);
    /// ```
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.shared().token_requests.value()
    }
}
