//! Registered clients and APIs of a test issuer, and the client credentials grant.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::testing::issuer::TestIssuer;

/// The registered clients and APIs of one test issuer.
#[derive(Debug)]
pub(super) struct Registry {
    clients: Vec<Client>,
    apis: Vec<Api>,
    lifetime: Duration,
}

#[derive(Debug)]
struct Client {
    id: String,
    secret: String,
    /// `None` means every API.
    audiences: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Api {
    audience: String,
    scopes: Vec<String>,
    lists_permissions: bool,
}

impl Default for Registry {
    fn default() -> Self {
        Self { clients: Vec::new(), apis: Vec::new(), lifetime: AUTH0_LIFETIME }
    }
}

/// Clients and APIs.
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

    /// Registers an API with Auth0's role-based access control. Its tokens contain the permissions in `scope`, as far as the
    /// client requests them, and always in `permissions`.
    ///
    /// ```
    /// let issuer = tower_bearer::testing::TestIssuer::new().with_rbac_api("https://api.northwind.com", ["read:orders"]);
    /// ```
    #[must_use]
    pub fn with_rbac_api<'a>(self, audience: &str, permissions: impl IntoIterator<Item = &'a str>) -> Self {
        self.add_api(audience, permissions.into_iter().map(str::to_owned).collect(), true)
    }

    /// Sets the lifetime of the tokens of the token endpoint, in whole seconds. The default is that of Auth0, 24 h.
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

impl Registry {
    fn check(&self, request: &TokenRequest) -> Result<(String, Api, Duration), ErrorResponse> {
        let grant_type = request.grant_type.as_deref().ok_or(ErrorResponse::Missing("grant_type"))?;
        if grant_type != "client_credentials" {
            return Err(ErrorResponse::GrantType(grant_type.to_owned()));
        }
        let id = request.client_id.as_deref().ok_or(ErrorResponse::Missing("client_id"))?;
        let client = self.clients.iter().find(|client| client.id == id).ok_or(ErrorResponse::Unauthorized)?;
        if request.client_secret.as_deref() != Some(client.secret.as_str()) {
            return Err(ErrorResponse::Unauthorized);
        }
        let audience = request.audience.as_deref().ok_or(ErrorResponse::NoAudience)?;
        let api = self.apis.iter().find(|api| api.audience == audience);
        let api = api.ok_or_else(|| ErrorResponse::UnknownAudience(audience.to_owned()))?;
        if client.audiences.as_ref().is_some_and(|allowed| !allowed.iter().any(|allowed| allowed == audience)) {
            return Err(ErrorResponse::NotGranted { client: id.to_owned(), audience: audience.to_owned() });
        }
        Ok((id.to_owned(), api.clone(), self.lifetime))
    }
}

/// The parameters of a token request. An empty parameter counts as absent (RFC 6749 §3.2).
#[derive(Debug, Default)]
pub(super) struct TokenRequest {
    pub(super) grant_type: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) organization: Option<String>,
    pub(super) scope: Option<String>,
}

impl TokenRequest {
    /// Sets a parameter. Unknown parameters are ignored (RFC 6749 §3.2).
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let parameter = match name {
            "grant_type" => &mut self.grant_type,
            "client_id" => &mut self.client_id,
            "client_secret" => &mut self.client_secret,
            "audience" => &mut self.audience,
            "organization" => &mut self.organization,
            "scope" => &mut self.scope,
            _ => return,
        };
        *parameter = (!value.is_empty()).then(|| value.to_owned());
    }
}

/// Why a token request fails.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ErrorResponse {
    Malformed,
    Missing(&'static str),
    GrantType(String),
    Unauthorized,
    NoAudience,
    UnknownAudience(String),
    NotGranted { client: String, audience: String },
}

impl ErrorResponse {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed | Self::Missing(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// Returns the body of the response. The error codes are those of Auth0, which differ from RFC 6749 §5.2: 401 and 403 both
    /// have `access_denied`.
    pub(super) fn body(&self) -> Value {
        let (error, description) = match self {
            Self::Malformed => ("invalid_request", "The body is neither JSON nor a form".to_owned()),
            Self::Missing(name) => ("invalid_request", format!("Missing required parameter: {name}")),
            Self::GrantType(name) => ("unsupported_grant_type", format!("Unsupported grant type: {name}")),
            Self::Unauthorized => ("access_denied", "Unauthorized".to_owned()),
            Self::NoAudience => (
                "access_denied",
                "No audience parameter was provided, and no default audience has been configured".to_owned(),
            ),
            Self::UnknownAudience(audience) => {
                ("access_denied", format!("Service not enabled within domain: {audience}"))
            }
            Self::NotGranted { client, audience } => (
                "access_denied",
                format!("Client \"{client}\" is not authorized to access resource server \"{audience}\"."),
            ),
        };
        json!({ "error": error, "error_description": description })
    }
}

const OPENID: &str = "openid";

/// Auth0's default lifetime for tokens of an API.
const AUTH0_LIFETIME: Duration = Duration::from_secs(86_400);
