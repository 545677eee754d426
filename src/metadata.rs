//! Protected resource metadata: a document by which clients find the authorization server of an API (RFC 9728).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use serde_json::{Map, Value, json};

use crate::config::{Api, SenderConstraintRule};
use crate::dpop;
use crate::fetch::{Endpoint, EndpointError};
use crate::requirement::{RequirementSyntaxError, is_scope_token};

/// The metadata document of a protected resource, with its URL (RFC 9728 §2, §3).
///
/// [`MetadataService`](crate::middleware::MetadataService) serves the document; under axum the value is also a handler.
/// [`BearerLayer::with_resource_metadata`](crate::BearerLayer::with_resource_metadata) adds the URL of the document to every
/// challenge. The document is public, so do not put a layer of this crate around its route.
///
/// ```
/// use tower_bearer::metadata::ProtectedResourceMetadata;
///
/// let metadata = ProtectedResourceMetadata::new("https://api.northwind.com/mcp", ["https://northwind.eu.auth0.com/"])?
///     .with_scopes(["read:orders"])?
///     .with_name("Northwind orders");
/// assert_eq!(metadata.path(), "/.well-known/oauth-protected-resource/mcp");
/// assert_eq!(metadata.url(), "https://api.northwind.com/.well-known/oauth-protected-resource/mcp");
/// # Ok::<(), tower_bearer::metadata::MetadataError>(())
/// ```
///
/// # Security
///
/// Every value in the document comes from the configuration, never from a request. Otherwise a `Host` that one client
/// chooses could send other clients to another server.
#[derive(Clone, PartialEq, Eq)]
pub struct ProtectedResourceMetadata {
    url: Arc<str>,
    members: Map<String, Value>,
}

impl ProtectedResourceMetadata {
    /// Creates the metadata of a resource from its identifier, which is the URL by which clients know it, and the issuers whose
    /// tokens it accepts.
    ///
    /// # Errors
    ///
    /// Returns [`MetadataError`] if the identifier or an issuer is not an https URL without fragment (http only on loopback),
    /// or if there is no issuer.
    pub fn new<'i>(
        resource: &str,
        authorization_servers: impl IntoIterator<Item = &'i str>,
    ) -> Result<Self, MetadataError> {
        let url = well_known(resource).map_err(MetadataError::Resource)?;
        let servers: Vec<&str> = authorization_servers.into_iter().collect();
        if servers.is_empty() {
            return Err(MetadataError::NoAuthorizationServer);
        }
        for server in &servers {
            Endpoint::new(server).map_err(MetadataError::AuthorizationServer)?;
        }
        let mut members = Map::new();
        members.insert("resource".to_owned(), json!(resource));
        members.insert("authorization_servers".to_owned(), json!(servers));
        // This crate accepts no tokens in the query or the form body.
        members.insert("bearer_methods_supported".to_owned(), json!(["header"]));
        Ok(Self { url: Arc::from(url), members })
    }

    /// Sets the scopes that clients may request (`scopes_supported`). If there are no scopes, the document does not have this
    /// member (RFC 9728 §3.2). Default: no scopes.
    ///
    /// # Errors
    ///
    /// Returns [`MetadataError::Scope`] if one of them is not a scope-token of RFC 6749 §3.3.
    pub fn with_scopes<'s>(self, scopes: impl IntoIterator<Item = &'s str>) -> Result<Self, MetadataError> {
        let scopes: Vec<&str> = scopes.into_iter().collect();
        if !scopes.iter().all(|scope| is_scope_token(scope)) {
            return Err(MetadataError::Scope);
        }
        let mut metadata = self.with("scopes_supported", json!(scopes));
        if scopes.is_empty() {
            metadata.members.remove("scopes_supported");
        }
        Ok(metadata)
    }

    /// Sets the members about sender-constrained tokens from the configuration of the API, so that both agree:
    /// `dpop_signing_alg_values_supported`, `tls_client_certificate_bound_access_tokens`, and `dpop_bound_access_tokens_required` if DPoP
    /// is the only way to send a token. Default: the document does not have these members.
    #[must_use]
    pub fn with_sender_constraints_of(self, api: &Api) -> Self {
        let metadata = match api.uses_mutual_tls() {
            true => self.with("tls_client_certificate_bound_access_tokens", json!(true)),
            false => self,
        };
        let Some(policy) = api.proof_policy() else { return metadata };
        let algorithms: Vec<&str> = dpop::algorithm_names(policy.algorithms()).collect();
        let metadata = metadata.with("dpop_signing_alg_values_supported", json!(algorithms));
        match api.sender_constraint_rule() {
            SenderConstraintRule::Required if !api.uses_mutual_tls() => {
                metadata.with("dpop_bound_access_tokens_required", json!(true))
            }
            SenderConstraintRule::Required | SenderConstraintRule::Allowed => metadata,
        }
    }

    /// Sets the human-readable name of the resource (`resource_name`).
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        self.with("resource_name", json!(name))
    }

    /// Sets the URL of the documentation for developers (`resource_documentation`).
    ///
    /// # Errors
    ///
    /// Returns [`MetadataError::Link`] if `url` is not an https URL without fragment.
    pub fn with_documentation(self, url: &str) -> Result<Self, MetadataError> {
        self.with_link("resource_documentation", url)
    }

    /// Sets the URL of the data usage policy (`resource_policy_uri`).
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`ProtectedResourceMetadata::with_documentation`].
    pub fn with_policy(self, url: &str) -> Result<Self, MetadataError> {
        self.with_link("resource_policy_uri", url)
    }

    /// Sets the URL of the terms of service (`resource_tos_uri`).
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`ProtectedResourceMetadata::with_documentation`].
    pub fn with_terms_of_service(self, url: &str) -> Result<Self, MetadataError> {
        self.with_link("resource_tos_uri", url)
    }

    /// Returns the URL of the document, which a challenge contains. It is the identifier with the well-known path between host
    /// and path (RFC 9728 §3.1).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the path at which to serve the document. axum 0.8 rejects paths with a segment that begins with `:` or `*`.
    #[must_use]
    pub fn path(&self) -> &str {
        let after_scheme = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// Returns the document as `application/json` (RFC 9728 §3.2).
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        Bytes::from(Value::Object(self.members.clone()).to_string())
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    fn with_link(self, name: &str, url: &str) -> Result<Self, MetadataError> {
        Endpoint::new(url).map_err(MetadataError::Link)?;
        Ok(self.with(name, json!(url)))
    }
}

/// Inserts the well-known suffix after the host and removes a trailing slash of the host (RFC 9728 §3.1).
fn well_known(resource: &str) -> Result<String, EndpointError> {
    let endpoint = Endpoint::new(resource)?;
    let uri: Uri = endpoint.as_str().parse().map_err(|_| EndpointError::Malformed)?;
    let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(EndpointError::Malformed)?;
    let path = if uri.path() == "/" { "" } else { uri.path() };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{scheme}://{authority}{WELL_KNOWN}{path}{query}"))
}

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

impl fmt::Debug for ProtectedResourceMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedResourceMetadata").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The reason why a metadata document cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetadataError {
    /// The resource is not an https URL without fragment (RFC 9728 §1.2).
    Resource(EndpointError),
    /// An issuer is not an https URL without fragment (RFC 8414 §2).
    AuthorizationServer(EndpointError),
    /// No issuer is given.
    NoAuthorizationServer,
    /// A scope is not a scope-token (RFC 6749 §3.3).
    Scope,
    /// A link is not an https URL without fragment.
    Link(EndpointError),
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(_) => f.write_str("the URL of the resource is not accepted"),
            Self::AuthorizationServer(_) => f.write_str("the URL of an authorization server is not accepted"),
            Self::NoAuthorizationServer => f.write_str("there is no authorization server"),
            Self::Scope => RequirementSyntaxError::Scope.fmt(f),
            Self::Link(_) => f.write_str("the URL of a link is not accepted"),
        }
    }
}

impl std::error::Error for MetadataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resource(error) | Self::AuthorizationServer(error) | Self::Link(error) => Some(error),
            Self::NoAuthorizationServer | Self::Scope => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://as.example/";

    fn metadata(resource: &str) -> Result<ProtectedResourceMetadata, MetadataError> {
        ProtectedResourceMetadata::new(resource, [ISSUER])
    }

    #[test]
    fn inserts_the_well_known_path_between_host_and_path() {
        for (resource, url, path) in [
            ("https://api.example", "https://api.example/.well-known/oauth-protected-resource", WELL_KNOWN),
            ("https://api.example/", "https://api.example/.well-known/oauth-protected-resource", WELL_KNOWN),
            (
                "https://api.example:8443/a/b",
                "https://api.example:8443/.well-known/oauth-protected-resource/a/b",
                "/.well-known/oauth-protected-resource/a/b",
            ),
            (
                "https://api.example/a/",
                "https://api.example/.well-known/oauth-protected-resource/a/",
                "/.well-known/oauth-protected-resource/a/",
            ),
            (
                "https://api.example/a?k=v",
                "https://api.example/.well-known/oauth-protected-resource/a?k=v",
                "/.well-known/oauth-protected-resource/a",
            ),
        ] {
            let metadata = metadata(resource).expect("a resource");
            assert_eq!((metadata.url(), metadata.path()), (url, path), "{resource}");
        }
    }

    #[test]
    fn document_contains_exactly_the_configured_members() {
        let given = metadata("https://api.example/mcp").expect("a resource");
        assert_eq!(
            serde_json::from_slice::<Value>(&given.to_json()).expect("JSON"),
            json!({
                "resource": "https://api.example/mcp",
                "authorization_servers": [ISSUER],
                "bearer_methods_supported": ["header"],
            })
        );
        assert_eq!(given.clone().with_scopes([]), Ok(given.clone()), "RFC 9728 §3.2: nothing empty");
        assert_eq!(given.clone().with_scopes(["read"]).and_then(|given| given.with_scopes([])), Ok(given.clone()));
        let more = given.with_scopes(["read"]).expect("a scope").with_name("Orders \"live\"");
        let more = more.with_documentation("https://docs.example/").expect("a page");
        let more = more.with_policy("https://policy.example/").and_then(|more| more.with_terms_of_service(ISSUER));
        let document: Value = serde_json::from_slice(&more.expect("pages").to_json()).expect("JSON");
        assert_eq!(document["scopes_supported"], json!(["read"]));
        assert_eq!(document["resource_name"], "Orders \"live\"");
        assert_eq!(document["resource_documentation"], "https://docs.example/");
        assert_eq!(document["resource_policy_uri"], "https://policy.example/");
        assert_eq!(document["resource_tos_uri"], ISSUER);
    }

    #[test]
    fn rejects_invalid_urls_and_scopes() {
        assert_eq!(metadata("https://api.example/#x"), Err(MetadataError::Resource(EndpointError::Fragment)));
        assert_eq!(metadata("http://api.example/"), Err(MetadataError::Resource(EndpointError::PlainHttp)));
        assert_eq!(metadata("api"), Err(MetadataError::Resource(EndpointError::Malformed)));
        for path in ["{tenant}/mcp", "a\"b", "<a>", "a|b", "a\\b", "a^b", "`a`"] {
            let resource = format!("https://api.example/{path}");
            assert_eq!(metadata(&resource), Err(MetadataError::Resource(EndpointError::Malformed)), "{path}");
        }
        assert!(metadata("https://api.example/%7Btenant%7D/mcp").is_ok());
        let none = ProtectedResourceMetadata::new("https://api.example", []);
        assert_eq!(none, Err(MetadataError::NoAuthorizationServer));
        let plain = ProtectedResourceMetadata::new("https://api.example", ["http://as.example/"]);
        assert_eq!(plain, Err(MetadataError::AuthorizationServer(EndpointError::PlainHttp)));
        let good = || metadata("https://api.example").expect("a resource");
        assert_eq!(good().with_scopes(["a b"]), Err(MetadataError::Scope));
        assert_eq!(good().with_documentation("docs"), Err(MetadataError::Link(EndpointError::Malformed)));
    }
}
