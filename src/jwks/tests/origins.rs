//! Tests of key sets that are found through a discovery document.

use http::StatusCode;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};

use crate::fetch::FetchError;
use crate::jwks::error::RefreshError;
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Fixture, HOUR, MINUTE, Outcome, SECOND, jwks};
use crate::testing::{FakeFetch, Reply};

const ISSUER: &str = "https://login.example/tenant/a";
const OPENID: &str = "https://login.example/tenant/a/.well-known/openid-configuration";
const OAUTH: &str = "https://login.example/.well-known/oauth-authorization-server/tenant/a";
const KEYS: &str = "https://keys.example/one";
const MOVED: &str = "https://keys.example/two";

fn document(jwks_uri: &str) -> Reply {
    Reply::json(format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{jwks_uri}"}}"#))
}

fn fixture(policy: RefreshPolicy, script: impl FnOnce(&FakeFetch)) -> Fixture {
    Fixture::at(Origin::discovery(ISSUER).expect("issuer"), policy, script)
}

fn healthy(network: &FakeFetch) {
    network.always(OPENID, document(KEYS));
    network.always(KEYS, Reply::json(jwks(&["a"])));
}

#[tokio::test]
async fn loads_the_keys_of_an_openid_configuration() {
    let fixture = fixture(RefreshPolicy::new(), healthy);
    assert_eq!(Fixture::request(&fixture.source, "a").await, Outcome::Served);
    let requests = fixture.network.requests();
    assert_eq!(requests.iter().map(|request| &*request.url).collect::<Vec<_>>(), [OPENID, KEYS]);
    assert_eq!(requests[0].headers[ACCEPT], "application/json");
    assert_eq!(requests[1].headers[ACCEPT], "application/jwk-set+json, application/json;q=0.9");
}

#[tokio::test]
async fn falls_back_to_rfc_8414_on_404_only() {
    let found = fixture(RefreshPolicy::new(), |network| {
        network.always(OAUTH, document(KEYS));
        network.always(KEYS, Reply::json(jwks(&["a"])));
    });
    assert_eq!(Fixture::request(&found.source, "a").await, Outcome::Served);
    assert_eq!((found.network.calls_to(OPENID), found.network.calls_to(OAUTH)), (1, 1));

    let broken = fixture(RefreshPolicy::new(), |network| {
        network.always(OPENID, Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
        network.always(OAUTH, document(KEYS));
    });
    assert!(matches!(Fixture::request(&broken.source, "a").await, Outcome::Unavailable(_)));
    assert_eq!(broken.network.calls_to(OAUTH), 0);
}

#[tokio::test]
async fn rejects_an_invalid_discovery_document() {
    let other = r#"{"issuer":"https://login.example/tenant/b","jwks_uri":"https://keys.example/one"}"#;
    for (reply, error) in [
        (Reply::json(other), RefreshError::IssuerMismatch),
        (document("http://keys.example/one"), RefreshError::JwksUriNotAllowed),
        (Reply::json("<html>"), RefreshError::InvalidDiscovery),
        (Reply::status(StatusCode::FOUND), RefreshError::Redirect),
        (Reply::status(StatusCode::NOT_MODIFIED), RefreshError::UnexpectedNotModified),
        (Reply::panic(), RefreshError::Panic),
    ] {
        let fixture = fixture(RefreshPolicy::new(), |network| {
            network.always(OPENID, reply);
            network.always(KEYS, Reply::json(jwks(&["a"])));
        });
        assert!(matches!(Fixture::request(&fixture.source, "a").await, Outcome::Unavailable(_)), "{error}");
        assert_eq!(fixture.source.status().last_error(), Some(error));
        assert_eq!(fixture.network.calls_to(KEYS), 0, "{error}");
        // It recovers without a request once the document is right.
        fixture.network.always(OPENID, document(KEYS));
        fixture.run(2 * SECOND).await;
        assert!(fixture.serves("a"), "{error}");
    }
}

#[tokio::test]
async fn accepts_only_pinned_key_set_hosts() {
    let policy = RefreshPolicy::new().with_jwks_hosts(["login.example"]);
    let fixture = fixture(policy, healthy);
    assert!(matches!(Fixture::request(&fixture.source, "a").await, Outcome::Unavailable(_)));
    assert_eq!(fixture.source.status().last_error(), Some(RefreshError::JwksUriNotAllowed));
}

#[tokio::test]
async fn an_operation_retries_once_in_total() {
    let fixture = fixture(RefreshPolicy::new(), |network| {
        network.once(OPENID, Reply::error(FetchError::Closed));
        network.always(OPENID, document(KEYS));
        network.always(KEYS, Reply::error(FetchError::Closed));
    });
    fixture.run(SECOND / 4).await;
    assert_eq!((fixture.network.calls_to(OPENID), fixture.network.calls_to(KEYS)), (2, 1));
}

#[tokio::test]
async fn reads_the_document_once_a_day_without_delaying_requests() {
    let fixture = fixture(RefreshPolicy::new(), healthy);
    fixture.run(21 * HOUR).await;
    assert_eq!(fixture.network.calls_to(OPENID), 1);
    fixture.network.always(OPENID, Reply::hang());
    fixture.run(4 * HOUR).await;
    assert!(fixture.network.calls_to(OPENID) > 1);
    assert_eq!(fixture.source.status().state(), KeyState::Fresh);
    assert_eq!(fixture.source.status().consecutive_failures(), 0);
}

#[tokio::test]
async fn keeps_the_last_url_and_backs_off_after_a_failed_rediscovery() {
    let fixture = fixture(RefreshPolicy::new(), healthy);
    fixture.clock.settle().await;
    fixture.network.always(OPENID, Reply::status(StatusCode::NOT_FOUND));
    fixture.run(48 * HOUR).await;
    assert!(fixture.serves("a"));
    assert_eq!(fixture.source.status().state(), KeyState::Fresh);
    // The pause grows from between 30 and 60 s to between half an hour and an hour.
    let readings = fixture.network.calls_to(OPENID);
    assert!((25..=65).contains(&readings), "{readings}");
}

#[tokio::test]
async fn keeps_the_old_keys_until_a_moved_set_is_loaded() {
    let fixture = fixture(RefreshPolicy::new(), |network| {
        network.always(OPENID, document(KEYS));
        network.always(KEYS, Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\""));
        network.always(MOVED, Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    });
    fixture.clock.settle().await;
    fixture.network.always(OPENID, document(MOVED));
    fixture.run(21 * HOUR).await;
    while fixture.network.calls_to(MOVED) == 0 {
        fixture.run(MINUTE).await;
    }
    assert!(fixture.serves("a"));
    fixture.network.always(MOVED, Reply::json(jwks(&["b"])));
    fixture.run(MINUTE).await;
    assert!(fixture.serves("b") && !fixture.serves("a"));
    let calls_to_old = fixture.network.calls_to(KEYS);
    fixture.run(HOUR).await;
    assert_eq!(fixture.network.calls_to(KEYS), calls_to_old);
    let to_moved = fixture.network.requests().into_iter().filter(|request| request.url == MOVED);
    assert!(!to_moved.into_iter().any(|request| request.headers.contains_key(IF_NONE_MATCH)));
}

#[tokio::test]
async fn reads_the_document_again_soon_after_the_key_set_is_gone() {
    let fixture = fixture(RefreshPolicy::new(), healthy);
    fixture.clock.settle().await;
    fixture.network.always(KEYS, Reply::status(StatusCode::NOT_FOUND));
    fixture.network.always(OPENID, document(MOVED));
    fixture.network.always(MOVED, Reply::json(jwks(&["b"])));
    fixture.run(10 * MINUTE).await;
    assert!(fixture.serves("b"));
    assert_eq!(fixture.network.calls_to(OPENID), 2);
}

#[tokio::test]
async fn backs_off_rediscovery_while_the_issuer_is_down() {
    let fixture = fixture(RefreshPolicy::new(), healthy);
    fixture.clock.settle().await;
    fixture.network.always(KEYS, Reply::error(FetchError::Connect));
    fixture.network.always(OPENID, Reply::error(FetchError::Connect));
    fixture.run(HOUR).await;
    // Seven to nine operations of two attempts each.
    let readings = fixture.network.calls_to(OPENID);
    assert!((12..=20).contains(&readings), "{readings}");
}

#[tokio::test]
async fn sends_no_etag_of_the_old_url_to_the_new_url() {
    let fixture = fixture(RefreshPolicy::new(), healthy);
    fixture.run(10 * MINUTE).await;
    fixture.network.once(KEYS, Reply::status(StatusCode::NOT_FOUND));
    fixture.network.always(KEYS, Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"").with_delay(5 * SECOND / 2));
    fixture.network.always(OPENID, document(MOVED).with_delay(2 * SECOND));
    fixture.network.once(MOVED, Reply::error(FetchError::Tls));
    fixture.network.always(MOVED, Reply::json(jwks(&["b"])));
    fixture.source.reload().await.expect_err("the keys are removed");
    // The retry goes to the old URL, and is still in flight when the new URL is known.
    fixture.run(5 * SECOND / 2).await;
    assert_eq!((fixture.network.in_flight(), fixture.network.calls_to(MOVED)), (1, 0));
    fixture.run(10 * SECOND).await;
    assert!(fixture.serves("b"));
    let requests = fixture.network.requests();
    let to_moved: Vec<_> = requests.iter().filter(|request| request.url == MOVED).collect();
    assert_eq!(to_moved.len(), 2);
    assert!(!to_moved.iter().any(|request| request.headers.contains_key(IF_NONE_MATCH)));
}
