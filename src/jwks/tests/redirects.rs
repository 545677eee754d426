//! Redirects: failures by default, and followed within one origin where the policy says so.

use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::fetch::{Endpoint, FetchError};
use crate::jwks::error::RefreshError;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::shared::Origin;
use crate::jwks::tests::kit::{MINUTE, SECOND, URL, World, jwks};
use crate::testing::{FakeFetch, Reply};

const SECOND_PLACE: &str = "https://login.example/two";
const THIRD_PLACE: &str = "https://login.example/three?v=1";
const FOURTH_PLACE: &str = "https://login.example/four";

fn to(location: &str) -> Reply {
    by(StatusCode::FOUND, location)
}

fn by(status: StatusCode, location: &str) -> Reply {
    Reply::status(status).with_header(LOCATION, location)
}

fn following() -> RefreshPolicy {
    RefreshPolicy::new().with_same_origin_redirects()
}

/// A source that has just started, at a server where every place but the first has keys.
async fn started(policy: RefreshPolicy, first: Reply) -> World {
    let world = World::at(Origin::jwks(URL, Endpoint::new(URL).expect("url")), policy, |network| {
        network.always(URL, first);
        for endpoint in [SECOND_PLACE, THIRD_PLACE, FOURTH_PLACE] {
            network.always(endpoint, Reply::json(jwks(&["a"])));
        }
    });
    world.clock.settle().await;
    world
}

fn asked(network: &FakeFetch) -> Vec<String> {
    network.requests().into_iter().map(|request| request.url).collect()
}

#[tokio::test]
async fn no_redirect_is_followed_by_default() {
    for location in [SECOND_PLACE, "/two", "https://evil.example/two"] {
        let world = started(RefreshPolicy::new(), to(location)).await;
        assert_eq!(world.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(asked(&world.network), [URL], "{location}");
    }
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed_on_request() {
    for location in [SECOND_PLACE, "//login.example/two", "/two", "two", "./two", "https://login.example:443/../two"] {
        let world = started(following(), to(location)).await;
        world.network.always("https://login.example:443/two", Reply::json(jwks(&["a"])));
        world.run(2 * SECOND).await;
        assert!(world.serves("a"), "{location}");
    }
    let world = started(following(), to("/two")).await;
    world.network.always(SECOND_PLACE, to("three?v=1"));
    assert_eq!(world.source.reload().await, Ok(()));
    assert_eq!(asked(&world.network), [URL, SECOND_PLACE, URL, SECOND_PLACE, THIRD_PLACE]);
    let (at, status) = (world.network.requests()[0].at, world.source.status());
    assert!(world.network.requests().iter().all(|request| request.at == at), "one attempt without a pause");
    assert_eq!((status.consecutive_failures(), status.epoch()), (0, 1));
}

#[tokio::test]
async fn redirects_that_lead_elsewhere_are_refused_unasked() {
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
        let world = started(following(), to(location)).await;
        assert_eq!(world.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(asked(&world.network), [URL], "{location}");
    }
    let two = to("/two").with_header(LOCATION, "/two");
    for reply in [Reply::status(StatusCode::FOUND), two] {
        let world = started(following(), reply).await;
        assert_eq!(world.source.status().last_error(), Some(RefreshError::Redirect));
        assert_eq!(asked(&world.network), [URL]);
    }
}

#[tokio::test]
async fn only_the_statuses_that_say_where_the_same_thing_is_are_followed() {
    for (status, followed) in
        [(301, true), (302, true), (307, true), (308, true), (300, false), (303, false), (305, false)]
    {
        let world = started(following(), by(StatusCode::from_u16(status).expect("a status"), "/two")).await;
        let error = (!followed).then_some(RefreshError::Redirect);
        assert_eq!((world.serves("a"), world.source.status().last_error()), (followed, error), "{status}");
    }
    let created = started(following(), by(StatusCode::CREATED, "/two")).await;
    assert_eq!(created.source.status().last_error(), Some(RefreshError::Status { status: 201 }));
}

#[tokio::test]
async fn two_redirects_are_followed_and_a_third_or_a_loop_is_not() {
    let world = started(following(), to("/two")).await;
    world.network.always(SECOND_PLACE, to("/three?v=1"));
    assert_eq!(world.source.reload().await, Ok(()));
    world.network.always(THIRD_PLACE, to("/four"));
    assert_eq!(world.source.reload().await, Err(RefreshError::Redirect));
    assert_eq!(asked(&world.network)[5..], [URL, SECOND_PLACE, THIRD_PLACE]);
    assert_eq!(world.network.calls_to(FOURTH_PLACE), 0);
    world.network.always(SECOND_PLACE, to("/jwks"));
    assert_eq!(world.source.reload().await, Err(RefreshError::Redirect));
    assert_eq!(asked(&world.network)[8..], [URL, SECOND_PLACE]);
    world.network.always(SECOND_PLACE, Reply::json(jwks(&["a", "b"])));
    assert_eq!(world.source.reload().await, Ok(()));
    assert!(world.serves("a") && world.serves("b"));
}

#[tokio::test]
async fn plain_http_stays_plain_http_at_its_own_host() {
    let at = |location: &str| {
        let local = Endpoint::new("http://127.0.0.1:9/jwks").expect("loopback");
        World::at(Origin::jwks(URL, local), following(), |network| {
            network.always("http://127.0.0.1:9/jwks", to(location));
            network.always("http://127.0.0.1:9/two", Reply::json(jwks(&["a"])));
        })
    };
    let world = at("/two");
    world.clock.settle().await;
    assert!(world.serves("a"));
    for location in ["https://127.0.0.1:9/two", "http://localhost:9/two", "http://127.0.0.1/two"] {
        let world = at(location);
        world.clock.settle().await;
        assert_eq!(world.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(world.network.calls(), 1, "{location}");
    }
}

#[tokio::test]
async fn headers_go_along() {
    let policy = following().with_header(HeaderName::from_static("x-api-key"), HeaderValue::from_static("hunter2"));
    let world = started(policy, to("/two")).await;
    world.source.reload().await.expect("reloaded");
    let requests = world.network.requests();
    assert_eq!(asked(&world.network), [URL, SECOND_PLACE, URL, SECOND_PLACE]);
    for request in &requests {
        assert_eq!(request.headers["x-api-key"], "hunter2");
        assert!(request.headers["x-api-key"].is_sensitive());
        assert_eq!(request.headers[ACCEPT], "application/jwk-set+json, application/json;q=0.9");
    }
    let bypassed: Vec<_> = requests.iter().map(|request| request.headers.contains_key(CACHE_CONTROL)).collect();
    assert_eq!(bypassed, [false, false, true, true]);
}

/// A validator is that of the place that gave it: elsewhere the same text may stand for another set.
#[tokio::test]
async fn a_validator_goes_to_the_place_that_gave_it() {
    let world = started(following(), to("/two")).await;
    world.network.always(SECOND_PLACE, Reply::json(jwks(&["a"])).with_header(ETAG, "\"1\""));
    world.source.reload().await.expect("reloaded");
    world.network.always(SECOND_PLACE, Reply::status(StatusCode::NOT_MODIFIED));
    let before = world.network.calls();
    world.run(5 * MINUTE).await;
    let requests = world.network.requests();
    let conditional = |request: &crate::testing::SeenRequest| request.headers.get(IF_NONE_MATCH).cloned();
    let scheduled: Vec<_> = requests[before..].iter().map(|one| (&*one.url, conditional(one))).collect();
    assert_eq!(scheduled, [(URL, None), (SECOND_PLACE, Some(HeaderValue::from_static("\"1\"")))]);
    assert_eq!((world.source.status().consecutive_failures(), world.epoch()), (0, 1));

    world.answer(to("/four"));
    world.network.always(FOURTH_PLACE, Reply::json(jwks(&["b"])).with_header(ETAG, "\"1\""));
    world.run(5 * MINUTE).await;
    assert!(world.serves("b") && !world.serves("a"));
    let to_fourth: Vec<_> = world.network.requests().into_iter().filter(|one| one.url == FOURTH_PLACE).collect();
    assert_eq!(to_fourth.iter().map(conditional).collect::<Vec<_>>(), [None]);

    // The redirect is gone, and the first place has had no set of its own yet.
    world.answer(Reply::status(StatusCode::NOT_MODIFIED));
    world.run(5 * MINUTE).await;
    assert_eq!(world.source.status().last_error(), Some(RefreshError::UnexpectedNotModified));
}

#[tokio::test]
async fn the_time_of_an_attempt_and_of_the_operation_hold_for_the_whole_chain() {
    let slow = |location: &str| to(location).after(3 * SECOND / 2 - SECOND / 10);
    let world = started(following(), Reply::json(jwks(&["a"]))).await;
    world.answer(slow("/two"));
    world.network.always(SECOND_PLACE, Reply::json(jwks(&["a"])).after(SECOND));
    let source = world.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    world.run(3 * SECOND).await;
    assert_eq!(reload.await.expect("no panic"), Ok(()));

    world.network.always(SECOND_PLACE, slow("/three?v=1"));
    world.network.always(THIRD_PLACE, Reply::json(jwks(&["a"])).after(SECOND));
    let source = world.source.clone();
    let reload = tokio::spawn(async move { source.reload().await });
    world.run(3 * SECOND).await;
    assert!(reload.is_finished());
    assert_eq!(reload.await.expect("no panic"), Err(RefreshError::Timeout));
    assert_eq!(world.network.in_flight(), 0);
}

#[tokio::test]
async fn what_fails_behind_a_redirect_fails_as_ever() {
    let busy = Reply::status(StatusCode::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, "120");
    for (reply, error, calls) in [
        (busy, RefreshError::Status { status: 503 }, 2),
        (Reply::status(StatusCode::NOT_FOUND), RefreshError::Status { status: 404 }, 2),
        (Reply::json("<html>"), RefreshError::InvalidDocument, 2),
        (Reply::status(StatusCode::NOT_MODIFIED), RefreshError::UnexpectedNotModified, 2),
        (Reply::error(FetchError::Tls), RefreshError::Network { error: FetchError::Tls }, 2),
        (Reply::panic(), RefreshError::Panic, 2),
        // A second attempt begins where the first one did.
        (Reply::error(FetchError::Closed), RefreshError::Network { error: FetchError::Closed }, 4),
    ] {
        let world = started(following(), Reply::json(jwks(&["a"]))).await;
        world.answer(to("/two"));
        world.network.always(SECOND_PLACE, reply);
        let source = world.source.clone();
        let reload = tokio::spawn(async move { source.reload().await });
        world.run(SECOND / 4).await;
        assert_eq!(reload.await.expect("no panic"), Err(error));
        assert_eq!(world.network.calls(), 1 + calls, "{error}");
        assert!(world.serves("a"), "{error}");
    }
}

#[tokio::test]
async fn a_discovery_document_may_be_redirected_to_within_its_origin() {
    const OPENID: &str = "https://login.example/t/.well-known/openid-configuration";
    let document = || Reply::json(format!(r#"{{"issuer":"https://login.example/t","jwks_uri":"{URL}"}}"#));
    let at = |policy, location: &str| {
        World::at(Origin::discovery("https://login.example/t").expect("issuer"), policy, |network| {
            network.always(OPENID, to(location));
            network.always("https://login.example/d", document());
            network.always("https://keys.example/d", document());
            network.always(URL, Reply::json(jwks(&["a"])));
        })
    };
    let world = at(following(), "/d");
    world.clock.settle().await;
    assert!(world.serves("a"));
    assert_eq!(asked(&world.network), [OPENID, "https://login.example/d", URL]);
    for (policy, location) in [(RefreshPolicy::new(), "/d"), (following(), "https://keys.example/d")] {
        let world = at(policy, location);
        world.clock.settle().await;
        assert_eq!(world.source.status().last_error(), Some(RefreshError::Redirect), "{location}");
        assert_eq!(asked(&world.network), [OPENID], "{location}");
    }
}
