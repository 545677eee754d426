//! Tests of key sets that are found through a discovery document.

use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};

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
const OPENID_INSERTED: &str = "https://login.example/.well-known/openid-configuration/tenant/a";
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

/// The answer of a server that does not publish a document at the requested URL: a status, or a page.
fn no_document() -> Vec<Reply> {
    let statuses = [401_u16, 403, 404, 405, 410].map(|status| StatusCode::from_u16(status).expect("a status"));
    let pages = ["", "<html>", "[]", "null", "{", r#""{}""#, "{} {}", "{\"issuer\":"].map(Reply::json);
    statuses.map(Reply::status).into_iter().chain(pages).chain([Reply::json(&b"{\"\xff\":1}"[..])]).collect()
}

#[tokio::test]
async fn falls_back_to_the_other_locations_if_there_is_no_document() {
    let others = [OAUTH, OPENID_INSERTED];
    for (position, found) in others.into_iter().enumerate() {
        for reply in no_document() {
            let shown = format!("{found} {reply:?}");
            let fixture = fixture(RefreshPolicy::new(), |network| {
                network.always(OPENID, reply.clone());
                network.always(OAUTH, reply);
                network.always(found, document(KEYS));
                network.always(KEYS, Reply::json(jwks(&["a"])));
            });
            assert_eq!(Fixture::request(&fixture.source, "a").await, Outcome::Served, "{shown}");
            let urls = [&[OPENID][..], &others[..=position], &[KEYS]].concat();
            let requests = fixture.network.requests();
            assert_eq!(requests.iter().map(|request| &*request.url).collect::<Vec<_>>(), urls, "{shown}");
        }
    }
}

#[tokio::test]
async fn does_not_fall_back_after_other_failures() {
    let other = r#"{"issuer":"https://login.example/tenant/b","jwks_uri":"https://keys.example/one"}"#;
    let status = |status| Reply::status(StatusCode::from_u16(status).expect("a status"));
    let replies = [400, 402, 406, 429, 500, 503].map(status);
    for reply in replies.into_iter().chain([Reply::json(other), Reply::json("{}"), Reply::error(FetchError::Tls)]) {
        let broken = fixture(RefreshPolicy::new().with_retries(0), |network| {
            network.always(OPENID, reply.clone());
            network.always(OAUTH, document(KEYS));
            network.always(OPENID_INSERTED, document(KEYS));
        });
        assert!(matches!(Fixture::request(&broken.source, "a").await, Outcome::Unavailable(_)));
        let others = broken.network.calls_to(OAUTH) + broken.network.calls_to(OPENID_INSERTED);
        assert_eq!((broken.network.calls_to(OPENID) > 0, others), (true, 0), "{reply:?}");
    }
}

/// The first error names the location that most servers use.
#[tokio::test]
async fn returns_the_first_error_if_there_is_no_document_anywhere() {
    for (reply, error) in [
        (Reply::status(StatusCode::FORBIDDEN), RefreshError::Status { status: 403 }),
        (Reply::json("<html>"), RefreshError::InvalidDiscovery),
    ] {
        let fixture = fixture(RefreshPolicy::new(), |network| network.always(OPENID, reply));
        assert!(matches!(Fixture::request(&fixture.source, "a").await, Outcome::Unavailable(_)), "{error}");
        assert_eq!((fixture.source.status().last_error(), fixture.network.calls()), (Some(error), 3));
    }
    // An error that says more than that there is no document.
    let fixture = fixture(RefreshPolicy::new(), |network| {
        network.always(OAUTH, Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
        network.always(OPENID_INSERTED, document(KEYS));
    });
    assert!(matches!(Fixture::request(&fixture.source, "a").await, Outcome::Unavailable(_)));
    let error = RefreshError::Status { status: 500 };
    assert_eq!((fixture.source.status().last_error(), fixture.network.calls_to(OPENID_INSERTED)), (Some(error), 0));
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
async fn reads_the_document_again_at_once_after_the_key_set_is_gone() {
    for status in [StatusCode::NOT_FOUND, StatusCode::GONE] {
        let fixture = fixture(RefreshPolicy::new(), healthy);
        fixture.run(MINUTE).await;
        fixture.network.always(KEYS, Reply::status(status));
        fixture.network.always(OPENID, document(MOVED).with_delay(SECOND));
        fixture.network.always(MOVED, Reply::json(jwks(&["b"])));
        // A token of the new key starts the fetch that finds out.
        assert_eq!(fixture.request_now("b").await, Outcome::NotFound, "{status}");
        fixture.run(SECOND).await;
        assert!(fixture.serves("b"), "{status}");
        let requests = fixture.network.requests();
        let readings = requests.iter().filter(|request| request.url == OPENID);
        let cache_controls: Vec<_> = readings.map(|request| request.headers.get(CACHE_CONTROL)).collect();
        // An HTTP cache could return the old document.
        assert_eq!(cache_controls, [None, Some(&HeaderValue::from_static("no-cache"))], "{status}");
    }
    // Another status says nothing about the location.
    let fixture = fixture(RefreshPolicy::new(), healthy);
    fixture.run(MINUTE).await;
    fixture.network.always(KEYS, Reply::status(StatusCode::FORBIDDEN));
    assert_eq!(fixture.request_now("b").await, Outcome::NotFound);
    fixture.run(MINUTE).await;
    assert_eq!(fixture.network.calls_to(OPENID), 1);
}

#[tokio::test]
async fn reads_the_document_at_most_once_a_minute_while_the_key_set_is_gone() {
    for reply in [document(KEYS), Reply::status(StatusCode::BAD_GATEWAY), Reply::status(StatusCode::NOT_FOUND)] {
        let policy = RefreshPolicy::new().with_retries(0);
        let fixture = fixture(policy, healthy);
        fixture.run(10 * MINUTE).await;
        fixture.network.always(KEYS, Reply::status(StatusCode::NOT_FOUND));
        fixture.network.always(OPENID, reply.clone());
        fixture.source.reload().await.expect_err("the key set is gone");
        fixture.run(50 * MINUTE).await;
        let requests = fixture.network.requests();
        let times = requests.iter().filter(|request| request.url == OPENID).map(|request| request.at);
        let times: Vec<_> = times.collect();
        // A fetch of the keys fails at least once a minute.
        assert!((25..=52).contains(&times.len()), "{reply:?}: {}", times.len());
        assert!(times.windows(2).all(|pair| pair[1].saturating_since(pair[0]) >= MINUTE), "{reply:?}");
        // The issuer publishes the new location.
        fixture.network.always(MOVED, Reply::json(jwks(&["b"])));
        fixture.network.always(OPENID, document(MOVED));
        fixture.run(2 * MINUTE).await;
        assert!(fixture.serves("b"), "{reply:?}");
    }
}

#[tokio::test]
async fn backs_off_rediscovery_while_the_issuer_is_down() {
    let fixture = fixture(RefreshPolicy::new(), healthy);
    fixture.clock.settle().await;
    fixture.network.always(KEYS, Reply::error(FetchError::Connect));
    fixture.network.always(OPENID, Reply::error(FetchError::Connect));
    fixture.run(HOUR).await;
    // The first reading, then four to eight operations of two attempts each: the pauses double from a minute or two.
    let readings = fixture.network.calls_to(OPENID);
    assert!((9..=17).contains(&readings), "{readings}");
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
