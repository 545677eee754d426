//! The responses of the test issuer: its documents, or the simulated outage.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::clock::Clock;
use crate::testing::outage::Outage;
use crate::testing::shared::{IssuerEndpoint, SharedState};

/// A document that the issuer publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document {
    KeySet,
    Discovery,
}

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum Reply {
    At(Duration, Response<Bytes>),
    Never,
    Refused,
}

impl Reply {
    /// Waits for the delay and returns the response, or `None` if the connection is refused.
    pub(super) async fn arrive(self, clock: Arc<dyn Clock>) -> Option<Response<Bytes>> {
        match self {
            Self::Never => std::future::pending().await,
            Self::Refused => None,
            Self::At(wait, response) => {
                if !wait.is_zero() {
                    clock.sleep_until(clock.monotonic().saturating_add(wait)).await;
                }
                Some(response)
            }
        }
    }
}

impl IssuerEndpoint {
    /// Returns the host of the domain, with the port if it has one.
    pub(super) fn host(&self) -> &str {
        let origin = origin(&self.issuer);
        origin.split_once("://").map_or(origin, |(_, host)| host)
    }

    /// Returns the document at `url`. RFC 8414 §3.1 puts the well-known part before the path of the issuer.
    pub(super) fn document(&self, url: &str) -> Option<Document> {
        let origin = origin(&self.base);
        let path = self.base.strip_prefix(origin).unwrap_or_default().trim_end_matches('/');
        if url == self.url(KEY_SET) {
            Some(Document::KeySet)
        } else if url == self.url(OPENID_CONFIGURATION)
            || url == self.url(SERVER_METADATA)
            || url == format!("{origin}/{SERVER_METADATA}{path}")
        {
            Some(Document::Discovery)
        } else {
            None
        }
    }

    /// Returns the members of Auth0's discovery document that a resource server or a client reads.
    pub(super) fn discovery(&self) -> String {
        json!({
            "issuer": &*self.issuer,
            "authorization_endpoint": self.url("authorize"),
            "token_endpoint": self.url(TOKEN),
            "introspection_endpoint": self.url(INTROSPECT),
            "userinfo_endpoint": self.url("userinfo"),
            "jwks_uri": self.url(KEY_SET),
            "response_types_supported": ["code", "token", "id_token"],
            "subject_types_supported": ["public"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
        })
        .to_string()
    }
}

impl SharedState {
    /// Counts the request and returns the document or the current outage.
    pub(super) fn answer(&self, endpoint: &IssuerEndpoint, document: Document, request: &HeaderMap) -> Reply {
        match document {
            Document::KeySet => self.key_set_requests.add_one(),
            Document::Discovery => self.discovery_requests.add_one(),
        }
        self.unless_outage(|| self.publish(endpoint, document, request))
    }

    /// Returns the response, unless the current outage affects every response.
    pub(super) fn unless_outage(&self, answer: impl FnOnce() -> Response<Bytes>) -> Reply {
        let outage = self.state().outage;
        let response = match outage {
            Outage::Hang => return Reply::Never,
            Outage::NoConnection => return Reply::Refused,
            Outage::Delay(wait) => return Reply::At(wait, answer()),
            Outage::None | Outage::EmptySet | Outage::Oversized => answer(),
            Outage::Status(status) => response(status, Bytes::new()),
            Outage::RateLimited(wait) => {
                let mut response = response(StatusCode::TOO_MANY_REQUESTS, Bytes::new());
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
                response
            }
            Outage::HtmlPage => {
                let mut response = response(StatusCode::OK, Bytes::from_static(GARBAGE));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                response
            }
        };
        Reply::At(Duration::ZERO, response)
    }

    fn publish(&self, endpoint: &IssuerEndpoint, document: Document, request: &HeaderMap) -> Response<Bytes> {
        let mut state = self.state();
        let body = match (document, state.outage) {
            (Document::KeySet, Outage::EmptySet) => r#"{"keys":[]}"#.to_owned(),
            (Document::KeySet, Outage::Oversized) => state.key_set() + &" ".repeat(OVERSIZE),
            (Document::KeySet, _) => state.key_set(),
            (Document::Discovery, _) => endpoint.discovery(),
        };
        let Some(cache_control) = state.cache_control.clone() else { return json_response(StatusCode::OK, body) };
        let tag = entity_tag(&body);
        let unchanged = request.get_all(IF_NONE_MATCH).iter().any(|known| matches_tag(known, &tag));
        let mut response = if unchanged {
            response(StatusCode::NOT_MODIFIED, Bytes::new())
        } else {
            json_response(StatusCode::OK, body)
        };
        response.headers_mut().insert(CACHE_CONTROL, cache_control);
        response.headers_mut().extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
        response
    }
}

pub(super) fn response(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

pub(super) fn json_response(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = response(status, Bytes::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

/// Returns scheme and authority of a URL.
pub(super) fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at.saturating_add("://".len()));
    let end = url.get(authority..).and_then(|rest| rest.find('/'));
    end.and_then(|end| url.get(..authority.saturating_add(end))).unwrap_or(url)
}

/// Returns a weak entity tag, as Auth0 does.
fn entity_tag(body: &str) -> String {
    let digest = digest(&SHA256, body.as_bytes());
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(digest))
}

/// Returns whether an `If-None-Match` header matches the tag: a list of tags, compared weakly, or `*` (RFC 9110 §13.1.2).
fn matches_tag(known: &HeaderValue, tag: &str) -> bool {
    let opaque = tag.trim_start_matches("W/");
    known.to_str().is_ok_and(|list| {
        list.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == opaque)
    })
}

pub(super) const KEY_SET: &str = ".well-known/jwks.json";
pub(super) const OPENID_CONFIGURATION: &str = ".well-known/openid-configuration";
pub(super) const SERVER_METADATA: &str = ".well-known/oauth-authorization-server";
pub(super) const INTROSPECT: &str = "oauth/introspect";
pub(super) const TOKEN: &str = "oauth/token";

const GARBAGE: &[u8] = b"<!doctype html><title>Sign in to the network</title>";
const OVERSIZE: usize = 1024 * 1024;
