//! The registered clients and APIs of a test issuer, and the checks of a token request.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

/// The registered clients and APIs of one test issuer.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) clients: Vec<Client>,
    pub(super) apis: Vec<Api>,
    pub(super) lifetime: Duration,
}

/// A registered client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
    /// The APIs for which the client may request tokens; `None` means every API.
    pub(super) audiences: Option<Vec<String>>,
}

/// A registered API.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) audience: String,
    pub(super) scopes: Vec<String>,
    /// Whether its tokens contain `permissions`.
    pub(super) lists_permissions: bool,
}

impl Default for Registry {
    fn default() -> Self {
        Self { clients: Vec::new(), apis: Vec::new(), lifetime: AUTH0_LIFETIME }
    }
}

impl Registry {
    /// Returns the client id, the API and the token lifetime for a token request, or why the request fails.
    pub(super) fn check(&self, request: &TokenRequest) -> Result<(String, Api, Duration), ErrorResponse> {
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

/// Auth0's default lifetime for tokens of an API.
const AUTH0_LIFETIME: Duration = Duration::from_secs(86_400);
