//! `TestIssuer`: its names, documents and keys, and what a test can change while it runs.

use std::sync::Arc;

use crate::fetch::Fetch;
use crate::testing::issuer::TestIssuer;
use crate::testing::outage::Outage;
use crate::testing::respond::{KEY_SET, OPENID_CONFIGURATION, TOKEN};
use crate::testing::token::TokenBuilder;

/// What it says of itself.
impl TestIssuer {
    /// The `iss` of its tokens.
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().issuer(), "https://issuer.test/");
    /// ```
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.face().issuer
    }

    /// The URL of its key set.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.jwks_uri(), "https://issuer.test/.well-known/jwks.json");
    /// ```
    #[must_use]
    pub fn jwks_uri(&self) -> String {
        self.face().url(KEY_SET)
    }

    /// The URL of its discovery document.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.discovery_uri(), "https://issuer.test/.well-known/openid-configuration");
    /// ```
    #[must_use]
    pub fn discovery_uri(&self) -> String {
        self.face().url(OPENID_CONFIGURATION)
    }

    /// The URL of its token endpoint, which answers once it is served.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.token_endpoint(), "https://issuer.test/oauth/token");
    /// ```
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        self.face().url(TOKEN)
    }

    /// Its key set as JSON: public keys only, the current ones first, each with `kid`, `use` and `alg`.
    ///
    /// It is the same text that a fetch gets, whatever the outage.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.jwks().starts_with(r#"{"keys":[{"#));
    /// ```
    #[must_use]
    pub fn jwks(&self) -> String {
        self.state().key_set()
    }

    /// Its discovery document as JSON.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.discovery().contains(r#""issuer":"https://issuer.test/""#));
    /// ```
    #[must_use]
    pub fn discovery(&self) -> String {
        self.face().discovery()
    }

    /// The id of the key that signs now; empty if it signs with its secret.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.kid().len(), 22);
    /// ```
    #[must_use]
    pub fn kid(&self) -> String {
        self.current_key().kid().unwrap_or_default().to_owned()
    }

    /// The public key that belongs to [`TestIssuer::kid`] as `PUBLIC KEY` PEM text; empty if it signs with its secret.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert!(issuer.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
    /// ```
    #[must_use]
    pub fn public_key_pem(&self) -> String {
        self.current_key().public_key_pem()
    }

    /// The secret of its HS256, HS384 and HS512 tokens: 64 characters, whose octets are the key.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// assert_eq!(issuer.secret().len(), 64);
    /// ```
    #[must_use]
    pub fn secret(&self) -> String {
        self.state().secret()
    }

    /// A token that is valid now; see [`TokenBuilder`] for what it says.
    ///
    /// ```
    /// let token = tower_bearer::testing::TestIssuer::new().token().sign();
    /// assert_eq!(token.split('.').count(), 3);
    /// ```
    pub fn token(&self) -> TokenBuilder {
        TokenBuilder::new(self)
    }

    /// This server as a network: what [`Arc::new`] of a clone gives, with its type erased.
    ///
    /// ```
    /// use tower_bearer::fetch::{Endpoint, FetchRequest};
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let issuer = TestIssuer::new();
    /// let keys = FetchRequest::new(Endpoint::new(&issuer.jwks_uri())?, 65_536);
    /// let response = issuer.fetcher().fetch(keys).await?;
    /// assert_eq!(response.body, issuer.jwks());
    /// assert_eq!(issuer.fetches(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fetcher(&self) -> Arc<dyn Fetch> {
        Arc::new(self.clone())
    }
}

/// What happens to it.
impl TestIssuer {
    /// Signs with new keys and a new secret from now on; publishes the old keys after the new ones.
    ///
    /// A validator is not notified. It fetches the keys at the first token of a new key, unless it has fetched for an unknown
    /// `kid` shortly before: during that cool-down (1 to 15 s by the validator's clock) it refuses the token. Let a
    /// [`FakeClock`](crate::testing::FakeClock) pass the cool-down, or call [`KeySource::reload`](crate::jwks::KeySource::reload).
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

    /// Publishes the current keys only.
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

    /// Signs with new keys and a new secret, and publishes nothing else: "rotate and revoke".
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

    /// Publishes this text instead of its key set, whatever it is; the keys that sign stay.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new();
    /// issuer.publish(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#);
    /// assert!(issuer.jwks().contains("oct"));
    /// ```
    pub fn publish(&self, key_set: impl Into<String>) {
        self.state().published = Some(key_set.into());
    }

    /// Acts out a fault until told otherwise.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_bearer::testing::{Outage, TestIssuer};
    ///
    /// let issuer = TestIssuer::new();
    /// issuer.outage(Outage::Status(StatusCode::SERVICE_UNAVAILABLE));
    /// ```
    pub fn outage(&self, outage: Outage) {
        self.state().outage = outage;
    }

    /// How often the key set was asked for, under every domain, in memory and over loopback, with or without success.
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().fetches(), 0);
    /// ```
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.tenant().key_set_requests.value()
    }

    /// How often a discovery document was asked for, counted like [`TestIssuer::fetches`].
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().discovery_fetches(), 0);
    /// ```
    #[must_use]
    pub fn discovery_fetches(&self) -> usize {
        self.tenant().discovery_requests.value()
    }

    /// How often the token endpoint was asked for a token, counted like [`TestIssuer::fetches`].
    ///
    /// ```
    /// assert_eq!(tower_bearer::testing::TestIssuer::new().token_requests(), 0);
    /// ```
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.tenant().token_requests.value()
    }
}
