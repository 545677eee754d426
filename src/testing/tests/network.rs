//! Tests of the documents and the simulated outages of the test issuer.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::verified;
use crate::fetch::{Endpoint, Fetch, FetchError, FetchRequest, FetchResponse};
use crate::testing::{Outage, TestIssuer, TestNetwork};
use crate::token::Algorithm;

fn request(url: &str) -> FetchRequest {
    FetchRequest::new(Endpoint::new(url).expect("a URL"), 65_536)
}

async fn keys(issuer: &TestIssuer) -> Result<FetchResponse, FetchError> {
    issuer.fetch(request(&issuer.jwks_uri())).await
}

fn header<'r>(response: &'r FetchResponse, name: &http::HeaderName) -> Option<&'r str> {
    response.headers.get(name).and_then(|value| value.to_str().ok())
}

#[tokio::test]
async fn publishes_its_keys_like_auth0() {
    let issuer = TestIssuer::new();
    let response = keys(&issuer).await.expect("an answer");
    assert_eq!((response.status, &*response.body), (StatusCode::OK, issuer.jwks().as_bytes()));
    assert_eq!(header(&response, &CONTENT_TYPE), Some("application/json; charset=utf-8"));
    let cache_control = "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400";
    assert_eq!(header(&response, &CACHE_CONTROL), Some(cache_control));
    let keys: Value = serde_json::from_slice(&response.body).expect("JSON");
    let mut members: Vec<_> = keys["keys"][0].as_object().expect("a key").keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"], "no private member");
}

#[tokio::test]
async fn returns_304_until_the_keys_change() {
    let issuer = TestIssuer::new();
    let tag = keys(&issuer).await.expect("an answer").headers[ETAG].clone();
    let mut conditional = request(&issuer.jwks_uri());
    conditional.headers.insert(IF_NONE_MATCH, tag.clone());
    let unchanged = issuer.fetch(conditional.clone()).await.expect("an answer");
    assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(unchanged.headers[ETAG], tag);
    assert!(unchanged.headers.contains_key(CACHE_CONTROL));
    issuer.rotate();
    assert_eq!(issuer.fetch(conditional).await.expect("an answer").status, StatusCode::OK);
    assert_eq!(issuer.fetches(), 3);

    let plain = TestIssuer::new().without_caching();
    let response = keys(&plain).await.expect("an answer");
    assert_eq!((header(&response, &ETAG), header(&response, &CACHE_CONTROL)), (None, None));
    let hour = TestIssuer::new().with_cache_control(HeaderValue::from_static("max-age=3600"));
    assert_eq!(header(&keys(&hour).await.expect("an answer"), &CACHE_CONTROL), Some("max-age=3600"));
}

#[tokio::test]
async fn rotate_keeps_the_old_key_and_replace_keys_does_not() {
    let issuer = TestIssuer::new();
    let (old, old_secret) = (issuer.token().sign(), issuer.secret());
    issuer.rotate();
    let new = issuer.token().sign();
    verified(&issuer, &old).expect("still published");
    verified(&issuer, &new).expect("published");
    assert!(issuer.jwks().find(&issuer.kid()) < issuer.jwks().rfind("kid"), "the new key is first");
    assert_ne!(issuer.secret(), old_secret);
    issuer.replace_keys();
    assert_eq!(issuer.jwks().matches("\"kid\"").count(), 1);
    assert!(issuer.jwks().contains(&issuer.kid()));
}

#[tokio::test]
async fn every_domain_publishes_the_same_keys_with_its_own_name() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    assert_eq!(keys(&login).await.expect("an answer").body, keys(&tenant).await.expect("an answer").body);
    let response = tenant.fetch(request(&login.discovery_uri())).await.expect("an answer");
    let discovery: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(discovery["issuer"], "https://login.northwind.com/");
    assert_eq!(discovery["jwks_uri"], "https://login.northwind.com/.well-known/jwks.json");
    assert_eq!((tenant.fetches(), tenant.discovery_fetches()), (2, 1));
    verified(&login, &login.token().sign()).expect("valid under the other name");
}

#[tokio::test]
async fn serves_both_discovery_urls_of_an_issuer_with_a_path() {
    let issuer = TestIssuer::named("https://idp.test/realms/a");
    for url in [
        "https://idp.test/realms/a/.well-known/openid-configuration",
        "https://idp.test/.well-known/oauth-authorization-server/realms/a",
    ] {
        let response = issuer.fetch(request(url)).await.expect("an answer");
        assert_eq!(&*response.body, issuer.discovery().as_bytes(), "{url}");
    }
    let elsewhere = issuer.fetch(request("https://idp.test/.well-known/jwks.json")).await.expect("an answer");
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    let other_host = issuer.fetch(request("https://other.test/.well-known/jwks.json")).await;
    assert_eq!(other_host.expect_err("no such host"), FetchError::Connect);
}

#[tokio::test]
async fn network_routes_requests_by_url() {
    let (ours, theirs) = (TestIssuer::new(), TestIssuer::auth0("other.auth0.com"));
    let network = TestNetwork::new([&ours, &theirs]);
    let response = network.fetch(request(&theirs.jwks_uri())).await.expect("an answer");
    assert_eq!(&*response.body, theirs.jwks().as_bytes());
    assert_eq!((ours.fetches(), theirs.fetches()), (0, 1));
}

#[tokio::test]
async fn simulates_every_outage_and_recovers() {
    let issuer = TestIssuer::new();
    issuer.set_outage(Outage::NoConnection);
    assert_eq!(keys(&issuer).await.expect_err("refused"), FetchError::Connect);
    issuer.set_outage(Outage::Status(StatusCode::BAD_GATEWAY));
    assert_eq!(keys(&issuer).await.expect("an answer").status, StatusCode::BAD_GATEWAY);
    issuer.set_outage(Outage::RateLimited(Duration::from_secs(7)));
    let limited = keys(&issuer).await.expect("an answer");
    assert_eq!((limited.status.as_u16(), header(&limited, &RETRY_AFTER)), (429, Some("7")));
    issuer.set_outage(Outage::HtmlPage);
    let garbage = keys(&issuer).await.expect("an answer");
    assert!(garbage.status == StatusCode::OK && serde_json::from_slice::<Value>(&garbage.body).is_err());
    issuer.set_outage(Outage::EmptySet);
    assert_eq!(keys(&issuer).await.expect("an answer").body, r#"{"keys":[]}"#);
    issuer.set_outage(Outage::Oversized);
    assert_eq!(keys(&issuer).await.expect_err("too large"), FetchError::TooLarge);
    issuer.set_outage(Outage::None);
    assert_eq!(keys(&issuer).await.expect("an answer").status, StatusCode::OK);
    assert_eq!(issuer.fetches(), 7, "failures are counted");
}

#[tokio::test(start_paused = true)]
async fn hangs_or_delays_the_response() {
    let issuer = TestIssuer::new();
    issuer.set_outage(Outage::Hang);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, keys(&issuer)).await.is_err());
    issuer.set_outage(Outage::Delay(Duration::from_secs(3)));
    let start = tokio::time::Instant::now();
    assert_eq!(keys(&issuer).await.expect("an answer").status, StatusCode::OK);
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn publishes_any_text_and_any_list_of_algorithms() {
    let issuer = TestIssuer::new().with_algorithms([Algorithm::PS256, Algorithm::RS256, Algorithm::HS256]);
    assert_eq!(issuer.jwks().matches("\"kid\"").count(), 2, "the secret is not published");
    let nameless = TestIssuer::new().without_key_algorithms();
    verified(&nameless, &nameless.token().sign()).expect("valid");
    issuer.publish("nothing");
    assert_eq!(keys(&issuer).await.expect("an answer").body, "nothing");
}
