//! Bodies: any type of them, empty, JSON, or the application's own.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, Rejection, RejectionKind, RequireLayer};

use crate::probe::{TestBody, bearing, request, send, shows_subject, text, validator};

/// Neither `Clone` nor `Default`.
struct Stream(&'static str);

#[tokio::test]
async fn request_bodies_go_through_whatever_they_are() {
    let server = TestIssuer::new();
    let service = service_fn(|request: Request<Stream>| async move {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(request.into_body().0)))
    });
    let request = bearing(&server.token().scope("read").sign()).map(|_| Stream("payload"));
    let stack = BearerLayer::new(validator(&server)).layer(RequireLayer::scope("read").layer(service));
    let response = stack.oneshot(request).await.expect("infallible");
    assert_eq!(text(response).await, "payload");
}

#[tokio::test]
async fn response_bodies_are_any_that_have_a_default() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server));
    let empty = service_fn(|_: Request<TestBody>| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
    let response = layer.layer(empty).oneshot(request(&[])).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let text = service_fn(|_: Request<TestBody>| async { Ok::<_, Infallible>(Response::new("a string".to_owned())) });
    let response = layer.layer(text).oneshot(request(&[])).await.expect("infallible");
    assert_eq!(response.into_body(), "");
}

#[tokio::test]
async fn json_bodies_are_made_for_any_type_that_takes_bytes() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_json_body();
    let service =
        service_fn(|_: Request<TestBody>| async { Ok::<_, Infallible>(Response::new(axum::body::Body::empty())) });
    let response = layer.layer(service).oneshot(request(&["Bearer"])).await.expect("infallible");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["error"], "invalid_request");

    let bare = send(layer.layer(shows_subject()), request(&[])).await;
    assert_eq!(bare.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(text(bare).await, "{}");
}

#[tokio::test]
async fn a_hook_chooses_the_body_and_cannot_touch_the_answer() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_realm("north").with_response_hook(|refusal| {
        let rejection = refusal.rejection().map(Rejection::kind);
        assert_eq!((rejection, refusal.status()), (Some(RejectionKind::Signature), StatusCode::UNAUTHORIZED));
        let problem = format!("{:?}: {:?}", refusal.error(), refusal.description());
        Response::builder()
            .status(StatusCode::OK)
            .header(WWW_AUTHENTICATE, "Basic")
            .header(WWW_AUTHENTICATE, "Negotiate")
            .header(CACHE_CONTROL, "public, max-age=600")
            .header(CONTENT_TYPE, "application/problem+json")
            .header("x-problem", "1")
            .body(TestBody::from(problem))
            .expect("a response")
    });
    let token = server.token().with_broken_signature().sign();
    let response = send(layer.layer(shows_subject()), bearing(&token)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let fields: Vec<&HeaderValue> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();
    assert_eq!(
        fields,
        [
            r#"Bearer realm="north", error="invalid_token", error_description="the access token is malformed, expired, or not valid here""#
        ]
    );
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(
        (&response.headers()[CONTENT_TYPE], &response.headers()["x-problem"]),
        (&HeaderValue::from_static("application/problem+json"), &HeaderValue::from_static("1"))
    );
    assert_eq!(
        text(response).await,
        r#"Some("invalid_token"): Some("the access token is malformed, expired, or not valid here")"#
    );
}

#[tokio::test]
async fn a_hook_serves_the_guard_too() {
    let server = TestIssuer::new();
    let require = RequireLayer::scope("admin").with_response_hook(|refusal| {
        let kind = refusal.rejection().map(Rejection::kind);
        let body = format!("{kind:?} {}", String::from_utf8_lossy(&refusal.json()));
        let mut response = Response::new(TestBody::from(body));
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("9"));
        response
    });
    let stack = BearerLayer::new(validator(&server)).layer(require.layer(shows_subject()));
    let response = send(stack, bearing(&server.token().sign())).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"Bearer error="insufficient_scope", scope="admin""#);
    assert!(text(response).await.starts_with(r#"Some(InsufficientScope) {"error":"insufficient_scope""#));

    let response = send(require.layer(shows_subject()), request(&[])).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    assert!(text(response).await.starts_with("None "));
}
