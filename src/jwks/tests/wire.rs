//! What goes over the wire.

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderName, HeaderValue};

use crate::jwks::policy::RefreshPolicy;
use crate::jwks::tests::kit::{World, jwks};
use crate::testing::Reply;

#[tokio::test]
async fn asks_for_a_plain_key_set_and_says_who_asks() {
    let world = World::loaded(&["a"]).await;
    let headers = &world.network.requests()[0].headers;
    assert_eq!(headers[ACCEPT], "application/jwk-set+json, application/json;q=0.9");
    assert_eq!(headers[ACCEPT_ENCODING], "identity");
    assert_eq!(headers[USER_AGENT], concat!("tower-bearer/", env!("CARGO_PKG_VERSION")));
    for absent in [AUTHORIZATION, COOKIE, CACHE_CONTROL, IF_NONE_MATCH] {
        assert!(!headers.contains_key(&absent), "{absent}");
    }
}

#[tokio::test]
async fn sends_configured_headers_but_never_a_foreign_validator() {
    let policy = RefreshPolicy::new()
        .with_header(HeaderName::from_static("x-api-key"), HeaderValue::from_static("hunter2"))
        .with_header(USER_AGENT, HeaderValue::from_static("northwind"))
        .with_header(IF_NONE_MATCH, HeaderValue::from_static("\"mine\""));
    let world = World::with(policy, Reply::json(jwks(&["a"])));
    world.clock.settle().await;
    let headers = &world.network.requests()[0].headers;
    assert!(headers["x-api-key"].is_sensitive());
    assert_eq!(headers[USER_AGENT], "northwind");
    assert!(!headers.contains_key(IF_NONE_MATCH));
}
