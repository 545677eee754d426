//! Clients and APIs of a test issuer, and the client credentials grant.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::testing::issuer::TestIssuer;
use crate::testing::registry::{Api, Client, ErrorResponse, TokenRequest};

impl TestIssuer {
    /// Registers a client that may request tokens for every API. By default there is no client.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::new()
    ///     .with_client("reporting", "s3cret")
    ///     .with_api("https://api.northwind.com", ["read:orders", "write:orders"]);
    /// ```
    #[must_use]
    pub fn with_client(self, id: &str, secret: &str) -> Self {
        self.register(id, secret, None)
    }

    /// Registers a client that may request tokens for these APIs only.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// let issuer = TestIssuer::new()
    ///     .with_api("https://api.northwind.com", ["read:orders"])
    ///     .with_restricted_client("outsider", "s3cret", ["https://other.northwind.com"]);
    /// ```
    #[must_use]
    pub fn with_restricted_client<'a>(
        self,
        id: &str,
        secret: &str,
        audiences: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let audiences = audiences.into_iter().map(str::to_owned).collect();
        self.register(id, secret, Some(audiences))
    }

    /// Registers an API with these scopes, which its tokens contain in `scope`. By default there is no API.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new().with_api("https://api.northwind.com", ["read:orders"]);
    /// ```
    #[must_use]
    pub fn with_api<'a>(self, audience: &str, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        self.add_api(audience, scopes.into_iter().map(str::to_owned).collect(), false)
    }

    /// Registers an API with Auth0's role-based access control. Its tokens contain all permissions in `permissions`, and in
    /// `scope` those that the client requests.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new().with_rbac_api("https://api.northwind.com", ["read:orders"]);
    /// ```
    #[must_use]
    pub fn with_rbac_api<'a>(self, audience: &str, permissions: impl IntoIterator<Item = &'a str>) -> Self {
        self.add_api(audience, permissions.into_iter().map(str::to_owned).collect(), true)
    }

    /// Sets the lifetime of the tokens of the token endpoint, in whole seconds. Default: 24 hours, as for Auth0.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let issuer = tower_bearer::testing::TestIssuer::new().with_token_lifetime(Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn with_token_lifetime(self, lifetime: Duration) -> Self {
        self.state().registry.lifetime = lifetime;
        self
    }

    fn register(self, id: &str, secret: &str, audiences: Option<Vec<String>>) -> Self {
        let client = Client { id: id.to_owned(), secret: secret.to_owned(), audiences };
        self.state().registry.clients.push(client);
        self
    }

    fn add_api(self, audience: &str, scopes: Vec<String>, lists_permissions: bool) -> Self {
        let api = Api { audience: audience.to_owned(), scopes, lists_permissions };
        self.state().registry.apis.push(api);
        self
    }

    /// Handles a token request like Auth0.
    pub(super) fn grant(&self, request: &TokenRequest) -> Result<Value, ErrorResponse> {
        let (id, api, lifetime) = self.state().registry.check(request)?;
        let requested: Vec<&str> = request.scope.as_deref().unwrap_or_default().split_ascii_whitespace().collect();
        let openid = requested.contains(&OPENID);
        let is_restricted = requested.iter().any(|scope| *scope != OPENID);
        let granted = api.scopes.iter().map(String::as_str).filter(|scope| !is_restricted || requested.contains(scope));
        let scope = openid.then_some(OPENID).into_iter().chain(granted).collect::<Vec<_>>().join(" ");

        let mut token = self
            .token()
            .subject(&format!("{id}@clients"))
            .expires_in(lifetime)
            .claim("azp", &id)
            .claim("gty", "client-credentials");
        token = if openid {
            token.audiences([api.audience.as_str(), format!("{}userinfo", self.issuer()).as_str()])
        } else {
            token.audience(&api.audience)
        };
        if let Some(organization) = &request.organization {
            token = token.organization(organization);
        }
        if api.lists_permissions {
            token = token.permissions(api.scopes.iter().map(String::as_str));
        }
        if !scope.is_empty() {
            token = token.scope(&scope);
        }
        let mut response = Map::from_iter([
            ("access_token".to_owned(), json!(token.sign())),
            ("token_type".to_owned(), json!("Bearer")),
            ("expires_in".to_owned(), json!(lifetime.as_secs())),
        ]);
        if !scope.is_empty() {
            response.insert("scope".to_owned(), json!(scope));
        }
        Ok(Value::Object(response))
    }
}

const OPENID: &str = "openid";
