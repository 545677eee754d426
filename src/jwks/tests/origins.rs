//! Keys behind a discovery document.

use http::StatusCode;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};

use crate::fetch::FetchError;
use crate::jwks::error::RefreshError;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::shared::Origin;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{HOUR, MINUTE, Outcome, SECOND, World, jwks};
use crate::testing::{FakeFetch, Reply};

const ISSUER: &str = "https://login.example/tenant/a";
const OPENID: &str = "https://login.example/tenant/a/.well-known/openid-configuration";
const OAUTH: &str = "https://login.example/.well-known/oauth-authorization-server/tenant/a";
const KEYS: &str = "https://keys.example/one";
const MOVED: &str = "https://keys.example/two";

fn document(jwks_uri: &str) -> Reply {
    Reply::json(format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{jwks_uri}"}}"#))
}

fn world(policy: RefreshPolicy, script: impl FnOnce(&FakeFetch)) -> World {
    World::at(Origin::discovery(ISSUER).expect("issuer"), policy, script)
}

fn healthy(network: &FakeFetch) {
    network.always(OPENID, document(KEYS));
    network.always(KEYS, Reply::json(jwks(&["a"])));
}

#[tokio::test]
async fn finds_the_keys_behind_the_openid_document() {
    let world = world(RefreshPolicy::new(), healthy);
    assert_eq!(World::request(&world.source, "a").await, Outcome::Served);
    let requests = world.network.requests();
    assert_eq!(requests.iter().map(|request| &*request.url).collect::<Vec<_>>(), [OPENID, KEYS]);
    assert_eq!(requests[0].headers[ACCEPT], "application/json");
    assert_eq!(requests[1].headers[ACCEPT], "application/jwk-set+json, application/json;q=0.9");
}

#[tokio::test]
async fn falls_back_to_rfc_8414_on_404_only() {
    let found = world(RefreshPolicy::new(), |network| {
        network.always(OAUTH, document(KEYS));
        network.always(KEYS, Reply::json(jwks(&["a"])));
    });
    assert_eq!(World::request(&found.source, "a").await, Outcome::Served);
    assert_eq!((found.network.calls_to(OPENID), found.network.calls_to(OAUTH)), (1, 1));

    let broken = world(RefreshPolicy::new(), |network| {
        network.always(OPENID, Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
        network.always(OAUTH, document(KEYS));
    });
    assert!(matches!(World::request(&broken.source, "a").await, Outcome::Unavailable(_)));
    assert_eq!(broken.network.calls_to(OAUTH), 0);
}

#[tokio::test]
async fn a_wrong_document_gives_no_keys() {
    let other = r#"{"issuer":"https://login.example/tenant/b","jwks_uri":"https://keys.example/one"}"#;
    for (reply, error) in [
        (Reply::json(other), RefreshError::IssuerMismatch),
        (document("http://keys.example/one"), RefreshError::JwksUriRefused),
        (Reply::json("<html>"), RefreshError::InvalidDiscovery),
        (Reply::status(StatusCode::FOUND), RefreshError::Redirect),
        (Reply::status(StatusCode::NOT_MODIFIED), RefreshError::UnexpectedNotModified),
        (Reply::panic(), RefreshError::Panic),
    ] {
        let world = world(RefreshPolicy::new(), |network| {
            network.always(OPENID, reply);
            network.always(KEYS, Reply::json(jwks(&["a"])));
        });
        assert!(matches!(World::request(&world.source, "a").await, Outcome::Unavailable(_)), "{error}");
        assert_eq!(world.source.status().last_error(), Some(error));
        assert_eq!(world.network.calls_to(KEYS), 0, "{error}");
        // It recovers by itself once the document is right.
        world.network.always(OPENID, document(KEYS));
        world.run(2 * SECOND).await;
        assert!(world.serves("a"), "{error}");
    }
}

#[tokio::test]
async fn hosts_may_be_pinned() {
    let policy = RefreshPolicy::new().with_jwks_hosts(["login.example"]);
    let world = world(policy, healthy);
    assert!(matches!(World::request(&world.source, "a").await, Outcome::Unavailable(_)));
    assert_eq!(world.source.status().last_error(), Some(RefreshError::JwksUriRefused));
}

#[tokio::test]
async fn one_retry_serves_the_whole_operation() {
    let world = world(RefreshPolicy::new(), |network| {
        network.once(OPENID, Reply::error(FetchError::Closed));
        network.always(OPENID, document(KEYS));
        network.always(KEYS, Reply::error(FetchError::Closed));
    });
    world.run(SECOND / 4).await;
    assert_eq!((world.network.calls_to(OPENID), world.network.calls_to(KEYS)), (2, 1));
}

#[tokio::test]
async fn the_document_is_read_once_a_day_and_never_in_the_way() {
    let world = world(RefreshPolicy::new(), healthy);
    world.run(21 * HOUR).await;
    assert_eq!(world.network.calls_to(OPENID), 1);
    world.network.always(OPENID, Reply::hang());
    world.run(4 * HOUR).await;
    assert!(world.network.calls_to(OPENID) > 1);
    assert_eq!(world.source.status().state(), KeyState::Fresh);
    assert_eq!(world.source.status().consecutive_failures(), 0);
}

#[tokio::test]
async fn a_failed_rediscovery_keeps_the_last_address_and_backs_off() {
    let world = world(RefreshPolicy::new(), healthy);
    world.clock.settle().await;
    world.network.always(OPENID, Reply::status(StatusCode::NOT_FOUND));
    world.run(48 * HOUR).await;
    assert!(world.serves("a"));
    assert_eq!(world.source.status().state(), KeyState::Fresh);
    // From 30 to 60 s up to half an hour to an hour.
    let readings = world.network.calls_to(OPENID);
    assert!((25..=65).contains(&readings), "{readings}");
}

#[tokio::test]
async fn a_moved_set_is_found_by_rediscovery_and_the_old_keys_stay_until_it_loads() {
    let world = world(RefreshPolicy::new(), |network| {
        network.always(OPENID, document(KEYS));
        network.always(KEYS, Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\""));
        network.always(MOVED, Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    });
    world.clock.settle().await;
    world.network.always(OPENID, document(MOVED));
    world.run(21 * HOUR).await;
    while world.network.calls_to(MOVED) == 0 {
        world.run(MINUTE).await;
    }
    assert!(world.serves("a"));
    world.network.always(MOVED, Reply::json(jwks(&["b"])));
    world.run(MINUTE).await;
    assert!(world.serves("b") && !world.serves("a"));
    let calls_to_old = world.network.calls_to(KEYS);
    world.run(HOUR).await;
    assert_eq!(world.network.calls_to(KEYS), calls_to_old);
    let to_moved = world.network.requests().into_iter().filter(|request| request.url == MOVED);
    assert!(!to_moved.into_iter().any(|request| request.headers.contains_key(IF_NONE_MATCH)));
}

#[tokio::test]
async fn a_lost_set_is_looked_for_before_the_day_is_over() {
    let world = world(RefreshPolicy::new(), healthy);
    world.clock.settle().await;
    world.network.always(KEYS, Reply::status(StatusCode::NOT_FOUND));
    world.network.always(OPENID, document(MOVED));
    world.network.always(MOVED, Reply::json(jwks(&["b"])));
    world.run(10 * MINUTE).await;
    assert!(world.serves("b"));
    assert_eq!(world.network.calls_to(OPENID), 2);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_not_asked_for_its_document_more_often() {
    let world = world(RefreshPolicy::new(), healthy);
    world.clock.settle().await;
    world.network.always(KEYS, Reply::error(FetchError::Connect));
    world.network.always(OPENID, Reply::error(FetchError::Connect));
    world.run(HOUR).await;
    // Seven to nine readings of two attempts.
    let readings = world.network.calls_to(OPENID);
    assert!((12..=20).contains(&readings), "{readings}");
}

#[tokio::test]
async fn what_lands_from_the_old_place_has_no_validator_for_the_new() {
    let world = world(RefreshPolicy::new(), healthy);
    world.run(10 * MINUTE).await;
    world.network.once(KEYS, Reply::status(StatusCode::NOT_FOUND));
    world.network.always(KEYS, Reply::json(jwks(&["a"])).with_header(ETAG, "\"v1\"").after(5 * SECOND / 2));
    world.network.always(OPENID, document(MOVED).after(2 * SECOND));
    world.network.once(MOVED, Reply::error(FetchError::Tls));
    world.network.always(MOVED, Reply::json(jwks(&["b"])));
    world.source.reload().await.expect_err("gone");
    // The retry goes to the old place, and is still there when the new one is known.
    world.run(5 * SECOND / 2).await;
    assert_eq!((world.network.in_flight(), world.network.calls_to(MOVED)), (1, 0));
    world.run(10 * SECOND).await;
    assert!(world.serves("b"));
    let requests = world.network.requests();
    let to_moved: Vec<_> = requests.iter().filter(|request| request.url == MOVED).collect();
    assert_eq!(to_moved.len(), 2);
    assert!(!to_moved.iter().any(|request| request.headers.contains_key(IF_NONE_MATCH)));
}
