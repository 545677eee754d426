//! The layers while requests wait for keys: before the first fetch, or with an unknown kid.

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
use crate::layer_fixture::{AUDIENCE, TestBody, bearer_request, request, send, subject_service, text};
use crate::layer_readiness::RequiresReady;

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: String,
}

/// Returns a validator that fetches the issuer's keys, on a fake clock.
fn fetching(server: &TestIssuer, clock: &FakeClock) -> Validator {
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    Validator::builder(api).with_fetch(server.clone()).with_clock(clock.clone()).build().expect("a valid configuration")
}

fn timed() -> (FakeClock, TestIssuer) {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(std::sync::Arc::new(clock.clone()));
    (clock, server)
}

#[tokio::test]
async fn first_request_waits_for_keys_and_calls_the_ready_service() {
    let (clock, server) = timed();
    let layer = BearerLayer::new(fetching(&server, &clock));
    let mut stack = layer.layer(RequireLayer::scope("read").layer(RequiresReady::default()));
    let token = server.token().scope("read").sign();
    let first = stack.ready().await.expect("infallible").call(bearer_request(&token));
    assert!(format!("{first:?}").contains("pending"), "{first:?}");
    assert_eq!(first.await.expect("infallible").status(), StatusCode::OK);

    let second = stack.ready().await.expect("infallible").call(bearer_request(&token));
    assert!(format!("{second:?}").contains("inner"), "{second:?}");
    assert_eq!(second.await.expect("infallible").status(), StatusCode::OK);
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn waiting_request_carries_the_same_extensions() {
    let (clock, server) = timed();
    let planted = fetching(&server, &clock).validate(&server.token().subject("eve").sign()).await.expect("valid");
    let layer = BearerLayer::new(fetching(&server, &clock).with_custom_claims::<Tenant>()).with_realm("north");
    let service = service_fn(|request: Request<TestBody>| async move {
        let custom: &Claims<Tenant> = request.extensions().get().expect("custom claims");
        let registered: &Claims = request.extensions().get().expect("registered claims");
        let both = format!("{} {:?}", custom.custom().tenant, registered.subject());
        Ok::<_, Infallible>(Response::new(TestBody::from(both)))
    });
    let mut request = bearer_request(&server.token().subject("ann").claim("tenant", "north").sign());
    request.extensions_mut().insert(planted);
    assert_eq!(text(send(layer.layer(service), request).await).await, r#"north Some("ann")"#);

    let cold = BearerLayer::new(fetching(&server, &clock)).with_realm("north");
    let stack = cold.layer(RequireLayer::scope("admin").layer(subject_service()));
    let response = send(stack, bearer_request(&server.token().sign())).await;
    let expected = r#"Bearer realm="north", error="insufficient_scope", scope="admin""#;
    assert_eq!(response.headers()["www-authenticate"], expected);
}

#[tokio::test]
async fn waiting_request_carries_nothing_of_an_outer_layer() {
    let (clock, server) = timed();
    let outer = BearerLayer::new(fetching(&server, &clock)).with_realm("outer");
    let warmed = send(outer.layer(subject_service()), bearer_request(&server.token().sign())).await;
    assert_eq!(warmed.status(), StatusCode::OK);
    let inner = BearerLayer::new(fetching(&server, &clock));
    let stack = outer.layer(inner.layer(RequireLayer::scope("admin").layer(subject_service())));
    let response = send(stack, bearer_request(&server.token().sign())).await;
    assert_eq!(response.headers()["www-authenticate"], r#"Bearer error="insufficient_scope", scope="admin""#);
}

#[tokio::test]
async fn rejects_a_bad_token_after_the_wait() {
    let (clock, server) = timed();
    let layer = BearerLayer::new(fetching(&server, &clock)).with_realm("north").with_json_body();
    let token = server.token().with_broken_signature().sign();
    let cold = send(layer.layer(subject_service()), bearer_request(&token)).await;
    let warm = send(layer.layer(subject_service()), bearer_request(&token)).await;
    assert_eq!(cold.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((cold.status(), cold.headers()), (warm.status(), warm.headers()));
    assert_eq!(text(cold).await, text(warm).await);
}

#[tokio::test]
async fn requests_without_a_needed_key_do_not_wait() {
    let (clock, server) = timed();
    server.set_outage(Outage::Hang);
    let layer = BearerLayer::new(fetching(&server, &clock)).with_anonymous();
    let other_issuer = TestIssuer::named("https://other.test/");
    assert_eq!(send(layer.layer(subject_service()), request(&[])).await.status(), StatusCode::OK);
    for token in [server.token().expired(), server.token().audience("other"), other_issuer.token()] {
        let response = send(layer.layer(subject_service()), bearer_request(&token.sign())).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn accepts_a_rotated_key_and_returns_401_for_an_unknown_kid() {
    let (clock, server) = timed();
    let layer = BearerLayer::new(fetching(&server, &clock));
    assert_eq!(
        send(layer.layer(subject_service()), bearer_request(&server.token().sign())).await.status(),
        StatusCode::OK
    );
    server.rotate();
    let waiting = tokio::spawn(send(layer.layer(subject_service()), bearer_request(&server.token().sign())));
    clock.run_for(Duration::from_secs(5)).await;
    assert_eq!(waiting.await.expect("no panic").status(), StatusCode::OK);

    let strange = server.token().kid("strange").sign();
    let waiting = tokio::spawn(send(layer.layer(subject_service()), bearer_request(&strange)));
    clock.run_for(Duration::from_secs(5)).await;
    let response = waiting.await.expect("no panic");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(challenge(response.headers())[0], ("error".to_owned(), "invalid_token".to_owned()));
}

#[tokio::test]
async fn returns_503_with_retry_after_and_no_challenge_without_keys() {
    for outage in [Outage::NoConnection, Outage::Hang, Outage::HtmlPage, Outage::Status(StatusCode::NOT_FOUND)] {
        let (clock, server) = timed();
        server.set_outage(outage);
        let layer = BearerLayer::new(fetching(&server, &clock)).with_realm("north").with_json_body();
        let waiting = tokio::spawn(send(layer.layer(subject_service()), bearer_request(&server.token().sign())));
        clock.run_for(Duration::from_secs(20)).await;
        let response = waiting.await.expect("no panic");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{outage:?}");
        assert!(!response.headers().contains_key("www-authenticate"));
        assert!(!response.headers().contains_key("cache-control"));
        let seconds = response.headers()["retry-after"].to_str().expect("ASCII").parse::<u64>().expect("seconds");
        assert!(seconds >= 1, "{outage:?}: {seconds}");
        assert!(text(response).await.starts_with(r#"{"error":"temporarily_unavailable""#));

        // A missing credential is still the client's error.
        let bare = send(layer.layer(subject_service()), request(&[])).await;
        assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn dropped_request_frees_its_permit() {
    let (clock, server) = timed();
    server.set_outage(Outage::Hang);
    let limited = ConcurrencyLimit::new(subject_service(), 1);
    let mut stack = BearerLayer::new(fetching(&server, &clock)).layer(limited.clone());
    let mut waiting = Box::pin(stack.ready().await.expect("infallible").call(bearer_request(&server.token().sign())));
    let mut other = limited;
    poll_fn(|context| {
        assert!(std::future::Future::poll(waiting.as_mut(), context).is_pending());
        assert!(other.poll_ready(context).is_pending(), "the waiting request has the only permit");
        Poll::Ready(())
    })
    .await;
    drop(waiting);
    assert!(tokio::time::timeout(Duration::ZERO, poll_fn(|context| other.poll_ready(context))).await.is_ok());
}
