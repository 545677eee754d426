//! What a protected resource tells of itself, so that clients find its authorization server (RFC 9728).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use serde_json::{Map, Value, json};

use crate::fetch::{Endpoint, EndpointError};
use crate::requirement::is_scope_token;

/// The metadata document of a protected resource, and where it stands (RFC 9728 §2, §3).
///
/// It is served by [`MetadataService`](crate::middleware::MetadataService) or, under axum, by itself as a handler; its place
/// goes into every challenge with
/// [`BearerLayer::with_resource_metadata`](crate::BearerLayer::with_resource_metadata). It is public: no layer of this crate
/// belongs around it.
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
/// Everything in it comes from the configuration, never from a request: a `Host` that a client chose would send other
/// clients to another place.
#[derive(Clone, PartialEq, Eq)]
pub struct ProtectedResourceMetadata {
    url: Arc<str>,
    members: Map<String, Value>,
}

impl ProtectedResourceMetadata {
    /// A resource by its identifier, which clients use as they know it, and the issuers whose tokens it takes.
    ///
    /// # Errors
    ///
    /// [`MetadataError`] if one of them is no https URL without fragment (http only on loopback), or there is no issuer.
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
        // Query and form are not offered at all.
        members.insert("bearer_methods_supported".to_owned(), json!(["header"]));
        Ok(Self { url: Arc::from(url), members })
    }

    /// Lists the scopes that clients may ask for (`scopes_supported`); of none, nothing is told (RFC 9728 §3.2). Default:
    /// none.
    ///
    /// # Errors
    ///
    /// [`MetadataError::Scope`] if one is no scope-token of RFC 6749 §3.3.
    pub fn with_scopes<'s>(self, scopes: impl IntoIterator<Item = &'s str>) -> Result<Self, MetadataError> {
        let scopes: Vec<&str> = scopes.into_iter().collect();
        if !scopes.iter().all(|scope| is_scope_token(scope)) {
            return Err(MetadataError::Scope);
        }
        let mut new = self.with("scopes_supported", json!(scopes));
        if scopes.is_empty() {
            new.members.remove("scopes_supported");
        }
        Ok(new)
    }

    /// Names the resource for people (`resource_name`).
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        self.with("resource_name", json!(name))
    }

    /// Tells developers where to read on (`resource_documentation`).
    ///
    /// # Errors
    ///
    /// [`MetadataError::Link`] if it is no https URL without fragment.
    pub fn with_documentation(self, url: &str) -> Result<Self, MetadataError> {
        self.with_link("resource_documentation", url)
    }

    /// Tells how data may be used (`resource_policy_uri`).
    ///
    /// # Errors
    ///
    /// As [`ProtectedResourceMetadata::with_documentation`].
    pub fn with_policy(self, url: &str) -> Result<Self, MetadataError> {
        self.with_link("resource_policy_uri", url)
    }

    /// Tells the terms of service (`resource_tos_uri`).
    ///
    /// # Errors
    ///
    /// As [`ProtectedResourceMetadata::with_documentation`].
    pub fn with_terms_of_service(self, url: &str) -> Result<Self, MetadataError> {
        self.with_link("resource_tos_uri", url)
    }

    /// Where the document stands, for a challenge: the well-known place between host and path (RFC 9728 §3.1).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path under which the document is to be served. axum 0.8 takes no path of which a segment begins with `:` or
    /// `*`.
    #[must_use]
    pub fn path(&self) -> &str {
        let after_scheme = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// The document (RFC 9728 §3.2), as `application/json`.
    #[must_use]
    pub fn json(&self) -> Bytes {
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

/// RFC 9728 §3.1: the well-known suffix goes between the host and what follows it; a slash that ends the host goes away.
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
        f.debug_struct("ResourceMetadata").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why a metadata document cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetadataError {
    /// The resource is no https URL without fragment (RFC 9728 §1.2).
    Resource(EndpointError),
    /// An issuer is no https URL without fragment (RFC 8414 §2).
    AuthorizationServer(EndpointError),
    /// No issuer is given, so that a client would find none.
    NoAuthorizationServer,
    /// A scope is no scope-token (RFC 6749 §3.3).
    Scope,
    /// A page is no https URL without fragment.
    Link(EndpointError),
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(error) => write!(f, "resource: {error}"),
            Self::AuthorizationServer(error) => write!(f, "authorization server: {error}"),
            Self::NoAuthorizationServer => f.write_str("there is no authorization server"),
            Self::Scope => f.write_str("a scope has one or more visible ASCII characters, without quote and backslash"),
            Self::Link(error) => write!(f, "page: {error}"),
        }
    }
}

impl std::error::Error for MetadataError {}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://as.example/";

    fn metadata(resource: &str) -> Result<ProtectedResourceMetadata, MetadataError> {
        ProtectedResourceMetadata::new(resource, [ISSUER])
    }

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
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
    fn the_document_holds_what_was_given_and_nothing_else() {
        let given = metadata("https://api.example/mcp").expect("a resource");
        assert_eq!(
            serde_json::from_slice::<Value>(&given.json()).expect("JSON"),
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
        let document: Value = serde_json::from_slice(&more.expect("pages").json()).expect("JSON");
        assert_eq!(document["scopes_supported"], json!(["read"]));
        assert_eq!(document["resource_name"], "Orders \"live\"");
        assert_eq!(document["resource_documentation"], "https://docs.example/");
        assert_eq!(document["resource_policy_uri"], "https://policy.example/");
        assert_eq!(document["resource_tos_uri"], ISSUER);
    }

    #[test]
    fn refuses_what_no_client_could_use() {
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
