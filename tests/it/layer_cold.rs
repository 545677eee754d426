//! The layers while keys have to be waited for: nothing fetched yet, or a key that is not known.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use serde::Deserialize;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::testing::{FakeClock, Outage, TestIssuer};
use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};

use crate::challenge_parser::challenge;
use crate::layer_readiness::Strict;
use crate::probe::{AUDIENCE, TestBody, bearing, request, send, shows_subject, text};

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: String,
}

/// An API that fetches the server's keys, by a clock of the test's.
fn fetching(server: &TestIssuer, clock: &FakeClock) -> Validator {
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    Validator::builder(api).with_fetch(server.clone()).with_clock(clock.clone()).build().expect("a good configuration")
}

fn timed() -> (FakeClock, TestIssuer) {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(std::sync::Arc::new(clock.clone()));
    (clock, server)
}

#[tokio::test]
async fn the_first_request_waits_for_the_keys_and_then_calls_the_ready_service() {
    let (clock, server) = timed();
    let layer = BearerLayer::new(fetching(&server, &clock));
    let mut stack = layer.layer(RequireLayer::scope("read").layer(Strict::default()));
    let token = server.token().scope("read").sign();
    let first = stack.ready().await.expect("infallible").call(bearing(&token));
    assert!(format!("{first:?}").contains("pending"), "{first:?}");
    assert_eq!(first.await.expect("infallible").status(), StatusCode::OK);

    let second = stack.ready().await.expect("infallible").call(bearing(&token));
    assert!(format!("{second:?}").contains("inner"), "{second:?}");
    assert_eq!(second.await.expect("infallible").status(), StatusCode::OK);
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn what_waited_carries_the_same_as_what_did_not() {
    let (clock, server) = timed();
    let planted = fetching(&server, &clock).validate(&server.token().subject("eve").sign()).await.expect("valid");
    let layer = BearerLayer::new(fetching(&server, &clock).with_custom_claims::<Tenant>()).with_realm("north");
    let service = service_fn(|request: Request<TestBody>| async move {
        let custom: &Claims<Tenant> = request.extensions().get().expect("custom claims");
        let registered: &Claims = request.extensions().get().expect("registered claims");
        let both = format!("{} {:?}", custom.custom().tenant, registered.subject());
        Ok::<_, Infallible>(Response::new(TestBody::from(both)))
    });
    let mut request = bearing(&server.token().subject("ann").claim("tenant", "north").sign());
    request.extensions_mut().insert(planted);
    assert_eq!(text(send(layer.layer(service), request).await).await, r#"north Some("ann")"#);

    let cold = BearerLayer::new(fetching(&server, &clock)).with_realm("north");
    let stack = cold.layer(RequireLayer::scope("admin").layer(shows_subject()));
    let response = send(stack, bearing(&server.token().sign())).await;
    let expected = r#"Bearer realm="north", error="insufficient_scope", scope="admin""#;
    assert_eq!(response.headers()["www-authenticate"], expected);
}

#[tokio::test]
async fn what_waited_carries_nothing_of_an_outer_layer() {
    let (clock, server) = timed();
    let outer = BearerLayer::new(fetching(&server, &clock)).with_realm("outer");
    let warmed = send(outer.layer(shows_subject()), bearing(&server.token().sign())).await;
    assert_eq!(warmed.status(), StatusCode::OK);
    let inner = BearerLayer::new(fetching(&server, &clock));
    let stack = outer.layer(inner.layer(RequireLayer::scope("admin").layer(shows_subject())));
    let response = send(stack, bearing(&server.token().sign())).await;
    assert_eq!(response.headers()["www-authenticate"], r#"Bearer error="insufficient_scope", scope="admin""#);
}

#[tokio::test]
async fn a_bad_token_is_refused_after_the_wait_as_before() {
    let (clock, server) = timed();
    let layer = BearerLayer::new(fetching(&server, &clock)).with_realm("north").with_json_body();
    let token = server.token().with_broken_signature().sign();
    let cold = send(layer.layer(shows_subject()), bearing(&token)).await;
    let warm = send(layer.layer(shows_subject()), bearing(&token)).await;
    assert_eq!(cold.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((cold.status(), cold.headers()), (warm.status(), warm.headers()));
    assert_eq!(text(cold).await, text(warm).await);
}

#[tokio::test]
async fn requests_that_need_no_key_never_wait() {
    let (clock, server) = timed();
    server.outage(Outage::Hang);
    let layer = BearerLayer::new(fetching(&server, &clock)).with_anonymous();
    let stranger = TestIssuer::named("https://stranger.test/");
    assert_eq!(send(layer.layer(shows_subject()), request(&[])).await.status(), StatusCode::OK);
    for token in [server.token().expired(), server.token().audience("other"), stranger.token()] {
        let response = send(layer.layer(shows_subject()), bearing(&token.sign())).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_rotated_key_is_learned_and_a_strange_one_is_no_server_error() {
    let (clock, server) = timed();
    let layer = BearerLayer::new(fetching(&server, &clock));
    assert_eq!(send(layer.layer(shows_subject()), bearing(&server.token().sign())).await.status(), StatusCode::OK);
    server.rotate();
    let waiting = tokio::spawn(send(layer.layer(shows_subject()), bearing(&server.token().sign())));
    clock.run_for(Duration::from_secs(5)).await;
    assert_eq!(waiting.await.expect("no panic").status(), StatusCode::OK);

    let strange = server.token().kid("strange").sign();
    let waiting = tokio::spawn(send(layer.layer(shows_subject()), bearing(&strange)));
    clock.run_for(Duration::from_secs(5)).await;
    let response = waiting.await.expect("no panic");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(challenge(response.headers())[0], ("error".to_owned(), "invalid_token".to_owned()));
}

#[tokio::test]
async fn without_keys_the_answer_is_503_with_retry_after_and_no_challenge() {
    for outage in [Outage::Refuse, Outage::Hang, Outage::Garbage, Outage::Status(StatusCode::NOT_FOUND)] {
        let (clock, server) = timed();
        server.outage(outage);
        let layer = BearerLayer::new(fetching(&server, &clock)).with_realm("north").with_json_body();
        let waiting = tokio::spawn(send(layer.layer(shows_subject()), bearing(&server.token().sign())));
        clock.run_for(Duration::from_secs(20)).await;
        let response = waiting.await.expect("no panic");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{outage:?}");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert!(!response.headers().contains_key("cache-control"));
        let seconds = response.headers()["retry-after"].to_str().expect("ASCII").parse::<u64>().expect("seconds");
        assert!(seconds >= 1, "{outage:?}: {seconds}");
        assert!(text(response).await.starts_with(r#"{"error":"temporarily_unavailable""#));

        // No credential is the client's own business even now.
        let bare = send(layer.layer(shows_subject()), request(&[])).await;
        assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_place() {
    let (clock, server) = timed();
    server.outage(Outage::Hang);
    let limited = ConcurrencyLimit::new(shows_subject(), 1);
    let mut stack = BearerLayer::new(fetching(&server, &clock)).layer(limited.clone());
    let mut waiting = Box::pin(stack.ready().await.expect("infallible").call(bearing(&server.token().sign())));
    let mut other = limited;
    poll_fn(|context| {
        assert!(std::future::Future::poll(waiting.as_mut(), context).is_pending());
        assert!(other.poll_ready(context).is_pending(), "the waiting request holds the only place");
        Poll::Ready(())
    })
    .await;
    drop(waiting);
    assert!(tokio::time::timeout(Duration::ZERO, poll_fn(|context| other.poll_ready(context))).await.is_ok());
}
