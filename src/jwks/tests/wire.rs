//! Tests of the requests that a key source sends.

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderName, HeaderValue};

use crate::jwks::policy::RefreshPolicy;
use crate::jwks::tests::kit::{Fixture, jwks};
use crate::testing::Reply;

#[tokio::test]
async fn sends_accept_identity_encoding_and_user_agent() {
    let fixture = Fixture::loaded(&["a"]).await;
    let headers = &fixture.network.requests()[0].headers;
    assert_eq!(headers[ACCEPT], "application/jwk-set+json, application/json;q=0.9");
    assert_eq!(headers[ACCEPT_ENCODING], "identity");
    assert_eq!(headers[USER_AGENT], concat!("tower-bearer/", env!("CARGO_PKG_VERSION")));
    for absent in [AUTHORIZATION, COOKIE, CACHE_CONTROL, IF_NONE_MATCH] {
        assert!(!headers.contains_key(&absent), "{absent}");
    }
}

#[tokio::test]
async fn sends_configured_headers_except_if_none_match() {
    let policy = RefreshPolicy::new()
        .with_header(HeaderName::from_static("x-api-key"), HeaderValue::from_static("hunter2"))
        .with_header(USER_AGENT, HeaderValue::from_static("northwind"))
        .with_header(IF_NONE_MATCH, HeaderValue::from_static("\"mine\""));
    let fixture = Fixture::with(policy, Reply::json(jwks(&["a"])));
    fixture.clock.settle().await;
    let headers = &fixture.network.requests()[0].headers;
    assert!(headers["x-api-key"].is_sensitive());
    assert_eq!(headers[USER_AGENT], "northwind");
    assert!(!headers.contains_key(IF_NONE_MATCH));
}
