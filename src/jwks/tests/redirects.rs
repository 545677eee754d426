//! Tests of redirects: failures by default, followed within one origin if the policy allows it.

use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::fetch::{Endpoint, FetchError};
use crate::jwks::error::RefreshError;
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::tests::kit::{Fixture, MINUTE, SECOND, URL, jwks};
use crate::testing::{FakeFetch, Reply};

const SECOND_URL: &str = "https://login.example/two";
const THIRD_URL: &str = "https://login.example/three?v=1";
const FOURTH_URL: &str = "https://login.example/four";

fn redirect(location: &str) -> Reply {
    redirect_with(StatusCode::FOUND, location)
}

fn redirect_with(status: StatusCode, location: &str) -> Reply {
    Reply::status(status).with_header(LOCATION, location)
}

fn following() -> RefreshPolicy {
    RefreshPolicy::new().with_same_origin_redirects()
}

/// Creates a source whose first URL answers `first`; all other URLs have keys.
async fn started(policy: RefreshPolicy, first: Reply) -> Fixture {
    let fixture = Fixture::at(Origin::jwks(URL, Endpoint::new(URL).expect("url")), policy, |network| {
        network.always(URL, first);
        for endpoint in [SECOND_URL, THIRD_URL, FOURTH_URL] {
            network.always(endpoint, Reply::json(jwks(&["a"])));
        }
    });
    fixture.clock.settle().await;
    fixture
}

fn requested_urls(network: &FakeFetch) -> Vec<String> {
    network.requests().into_iter().map(|request| request.url).collect()
}

#[tokio::test]
async fn rejects_every_redirect_by_default() {
    for location in [SECOND_URL, "/two", "https://evil.example/two"] {
        let fixture = started(RefreshPolicy::new(), redirect(location)).await;
        assert_eq!(fixture.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(requested_urls(&fixture.network), [URL], "{location}");
    }
}

#[tokio::test]
async fn follows_redirects_within_the_origin_if_allowed() {
    for location in [SECOND_URL, "//login.example/two", "/two", "two", "./two", "https://login.example:443/../two"] {
        let fixture = started(following(), redirect(location)).await;
        fixture.network.always("https://login.example:443/two", Reply::json(jwks(&["a"])));
        fixture.run(2 * SECOND).await;
        assert!(fixture.serves("a"), "{location}");
    }
    let fixture = started(following(), redirect("/two")).await;
    fixture.network.always(SECOND_URL, redirect("three?v=1"));
    assert_eq!(fixture.source.reload().await, Ok(()));
    assert_eq!(requested_urls(&fixture.network), [URL, SECOND_URL, URL, SECOND_URL, THIRD_URL]);
    let (at, status) = (fixture.network.requests()[0].at, fixture.source.status());
    assert!(fixture.network.requests().iter().all(|request| request.at == at), "one attempt without a pause");
    assert_eq!((status.consecutive_failures(), status.epoch()), (0, 1));
}

#[tokio::test]
async fn rejects_redirects_to_another_origin_without_a_request() {
    for location in [
        "https://evil.example/two",
        "//evil.example/two",
        "https://login.example:8443/two",
        "http://login.example/two",
        "file:///two",
        "https://u@login.example/two",
        "https://login.example@evil.example/two",
        "https://login.example/two#x",
        "#two",
        "\\two",
        "/\\evil.example/two",
        URL,
        "",
        "/jwks",
    ] {
        let fixture = started(following(), redirect(location)).await;
        assert_eq!(fixture.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(requested_urls(&fixture.network), [URL], "{location}");
    }
    let two = redirect("/two").with_header(LOCATION, "/two");
    for reply in [Reply::status(StatusCode::FOUND), two] {
        let fixture = started(following(), reply).await;
        assert_eq!(fixture.source.status().last_error(), Some(RefreshError::Redirect));
        assert_eq!(requested_urls(&fixture.network), [URL]);
    }
}

#[tokio::test]
async fn follows_only_301_302_307_and_308() {
    for (status, followed) in
        [(301, true), (302, true), (307, true), (308, true), (300, false), (303, false), (305, false)]
    {
        let fixture =
            started(following(), redirect_with(StatusCode::from_u16(status).expect("a status"), "/two")).await;
        let error = (!followed).then_some(RefreshError::Redirect);
        assert_eq!((fixture.serves("a"), fixture.source.status().last_error()), (followed, error), "{status}");
    }
    let created = started(following(), redirect_with(StatusCode::CREATED, "/two")).await;
    assert_eq!(created.source.status().last_error(), Some(RefreshError::Status { status: 201 }));
}

#[tokio::test]
async fn rejects_a_third_redirect_and_a_loop() {
    let fixture = started(following(), redirect("/two")).await;
    fixture.network.always(SECOND_URL, redirect("/three?v=1"));
    assert_eq!(fixture.source.reload().await, Ok(()));
    fixture.network.always(THIRD_URL, redirect("/four"));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::Redirect));
    assert_eq!(requested_urls(&fixture.network)[5..], [URL, SECOND_URL, THIRD_URL]);
    assert_eq!(fixture.network.calls_to(FOURTH_URL), 0);
    fixture.network.always(SECOND_URL, redirect("/jwks"));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::Redirect));
    assert_eq!(requested_urls(&fixture.network)[8..], [URL, SECOND_URL]);
    fixture.network.always(SECOND_URL, Reply::json(jwks(&["a", "b"])));
    assert_eq!(fixture.source.reload().await, Ok(()));
    assert!(fixture.serves("a") && fixture.serves("b"));
}

#[tokio::test]
async fn rejects_redirects_from_plain_http_to_another_scheme_or_host() {
    let at = |location: &str| {
        let local = Endpoint::new("http://127.0.0.1:9/jwks").expect("loopback");
        Fixture::at(Origin::jwks(URL, local), following(), |network| {
            network.always("http://127.0.0.1:9/jwks", redirect(location));
            network.always("http://127.0.0.1:9/two", Reply::json(jwks(&["a"])));
        })
    };
    let fixture = at("/two");
    fixture.clock.settle().await;
    assert!(fixture.serves("a"));
    for location in ["https://127.0.0.1:9/two", "http://localhost:9/two", "http://127.0.0.1/two"] {
        let fixture = at(location);
        fixture.clock.settle().await;
        assert_eq!(fixture.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(fixture.network.calls(), 1, "{location}");
    }
}

#[tokio::test]
async fn sends_configured_headers_to_the_redirect_target() {
    let policy = following().with_header(HeaderName::from_static("x-api-key"), HeaderValue::from_static("hunter2"));
    let fixture = started(policy, redirect("/two")).await;
    fixture.source.reload().await.expect("reloaded");
    let requests = fixture.network.requests();
    assert_eq!(requested_urls(&fixture.network), [URL, SECOND_URL, URL, SECOND_URL]);
    for request in &requests {
        assert_eq!(request.headers["x-api-key"], "hunter2");
        assert!(request.headers["x-api-key"].is_sensitive());
        assert_eq!(request.headers[ACCEPT], "application/jwk-set+json, application/json;q=0.9");
    }
    let bypassed: Vec<_> = requests.iter().map(|request| request.headers.contains_key(CACHE_CONTROL)).collect();
    assert_eq!(bypassed, [false, false, true, true]);
}

/// An ETag belongs to the URL that sent it: at another URL the same ETag may identify another set.
#[tokio::test]
async fn sends_an_etag_only_to_the_url_that_sent_it() {
    let fixture = started(following(), redirect("/two")).await;
    fixture.network.always(SECOND_URL, Reply::json(jwks(&["a"])).with_header(ETAG, "\"1\""));
    fixture.source.reload().await.expect("reloaded");
    fixture.network.always(SECOND_URL, Reply::status(StatusCode::NOT_MODIFIED));
    let before = fixture.network.calls();
    fixture.run(5 * MINUTE).await;
    let requests = fixture.network.requests();
    let conditional = |request: &crate::testing::RecordedRequest| request.headers.get(IF_NONE_MATCH).cloned();
    let scheduled: Vec<_> = requests[before..].iter().map(|one| (&*one.url, conditional(one))).collect();
    assert_eq!(scheduled, [(URL, None), (SECOND_URL, Some(HeaderValue::from_static("\"1\"")))]);
    assert_eq!((fixture.source.status().consecutive_failures(), fixture.epoch()), (0, 1));

    fixture.answer(redirect("/four"));
    fixture.network.always(FOURTH_URL, Reply::json(jwks(&["b"])).with_header(ETAG, "\"1\""));
    fixture.run(5 * MINUTE).await;
    assert!(fixture.serves("b") && !fixture.serves("a"));
    let to_fourth: Vec<_> = fixture.network.requests().into_iter().filter(|one| one.url == FOURTH_URL).collect();
    assert_eq!(to_fourth.iter().map(conditional).collect::<Vec<_>>(), [None]);

    // The redirect is removed, and the first URL has not sent a set yet.
    fixture.answer(Reply::status(StatusCode::NOT_MODIFIED));
    fixture.run(5 * MINUTE).await;
    assert_eq!(fixture.source.status().last_error(), Some(RefreshError::UnexpectedNotModified));
}

#[tokio::test]
async fn timeouts_include_the_whole_redirect_chain() {
    let slow = |location: &str| redirect(location).with_delay(3 * SECOND / 2 - SECOND / 10);
    let fixture = started(following(), Reply::json(jwks(&["a"]))).await;
    fixture.answer(slow("/two"));
    fixture.network.always(SECOND_URL, Reply::json(jwks(&["a"])).with_delay(SECOND));
    let source = fixture.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    fixture.run(3 * SECOND).await;
    assert_eq!(reload.await.expect("no panic"), Ok(()));

    fixture.network.always(SECOND_URL, slow("/three?v=1"));
    fixture.network.always(THIRD_URL, Reply::json(jwks(&["a"])).with_delay(SECOND));
    let source = fixture.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    fixture.run(3 * SECOND).await;
    assert!(reload.is_finished());
    assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
    assert_eq!(fixture.network.in_flight(), 0);
}

#[tokio::test]
async fn returns_the_error_of_the_redirect_target() {
    let busy = Reply::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "120");
    for (reply, error, calls) in [
        (busy, RefreshError::Status { status: 503 }, 2),
        (Reply::status(StatusCode::NOT_FOUND), RefreshError::Status { status: 404 }, 2),
        (Reply::json("<html>"), RefreshError::InvalidDocument, 2),
        (Reply::status(StatusCode::NOT_MODIFIED), RefreshError::UnexpectedNotModified, 2),
        (Reply::error(FetchError::Tls), RefreshError::Network { error: FetchError::Tls }, 2),
        (Reply::panic(), RefreshError::Panic, 2),
        // A second attempt starts at the first URL again.
        (Reply::error(FetchError::Closed), RefreshError::Network { error: FetchError::Closed }, 4),
    ] {
        let fixture = started(following(), Reply::json(jwks(&["a"]))).await;
        fixture.answer(redirect("/two"));
        fixture.network.always(SECOND_URL, reply);
        let source = fixture.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        fixture.run(SECOND / 4).await;
        assert_eq!(reload.await.expect("no panic"), Err(error));
        assert_eq!(fixture.network.calls(), 1 + calls, "{error}");
        assert!(fixture.serves("a"), "{error}");
    }
}

#[tokio::test]
async fn follows_a_redirect_of_the_discovery_document_within_its_origin() {
    const OPENID: &str = "https://login.example/t/.well-known/openid-configuration";
    let document = || Reply::json(format!(r#"{{"issuer":"https://login.example/t","jwks_uri":"{URL}"}}"#));
    let at = |policy, location: &str| {
        Fixture::at(Origin::discovery("https://login.example/t").expect("issuer"), policy, |network| {
            network.always(OPENID, redirect(location));
            network.always("https://login.example/d", document());
            network.always("https://keys.example/d", document());
            network.always(URL, Reply::json(jwks(&["a"])));
        })
    };
    let fixture = at(following(), "/d");
    fixture.clock.settle().await;
    assert!(fixture.serves("a"));
    assert_eq!(requested_urls(&fixture.network), [OPENID, "https://login.example/d", URL]);
    for (policy, location) in [(RefreshPolicy::new(), "/d"), (following(), "https://keys.example/d")] {
        let fixture = at(policy, location);
        fixture.clock.settle().await;
        assert_eq!(fixture.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(requested_urls(&fixture.network), [OPENID], "{location}");
    }
}
