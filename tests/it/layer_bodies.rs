//! Body types of requests and responses: any type, empty, JSON, or an `ErrorBody` of the application.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, Rejection, RejectionKind, RequireLayer};

use crate::layer_fixture::{TestBody, bearer_request, request, send, subject_service, text, validator};

/// Neither `Clone` nor `Default`.
struct Stream(&'static str);

#[tokio::test]
async fn accepts_any_request_body_type() {
    let server = TestIssuer::new();
    let service = service_fn(|request: Request<Stream>| async move {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(request.into_body().0)))
    });
    let request = bearer_request(&server.token().scope("read").sign()).map(|_| Stream("payload"));
    let stack = BearerLayer::new(validator(&server)).layer(RequireLayer::scope("read").layer(service));
    let response = stack.oneshot(request).await.expect("infallible");
    assert_eq!(text(response).await, "payload");
}

#[tokio::test]
async fn empty_body_works_for_any_default_response_body() {
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
async fn json_body_works_for_any_body_from_bytes() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_json_body();
    let service =
        service_fn(|_: Request<TestBody>| async { Ok::<_, Infallible>(Response::new(axum::body::Body::empty())) });
    let response = layer.layer(service).oneshot(request(&["Bearer"])).await.expect("infallible");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["error"], "invalid_request");

    let bare = send(layer.layer(subject_service()), request(&[])).await;
    assert_eq!(bare.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(text(bare).await, "{}");
}

#[tokio::test]
async fn error_body_sets_the_body_and_keeps_status_and_headers() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_realm("north").with_response_hook(|error_response| {
        let rejection = error_response.rejection().map(Rejection::kind);
        assert_eq!((rejection, error_response.status()), (Some(RejectionKind::Signature), StatusCode::UNAUTHORIZED));
        let problem = format!("{:?}: {:?}", error_response.error(), error_response.description());
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
    let response = send(layer.layer(subject_service()), bearer_request(&token)).await;
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
async fn error_body_works_for_require_layer() {
    let server = TestIssuer::new();
    let require = RequireLayer::scope("admin").with_response_hook(|error_response| {
        let kind = error_response.rejection().map(Rejection::kind);
        let body = format!("{kind:?} {}", String::from_utf8_lossy(&error_response.to_json()));
        let mut response = Response::new(TestBody::from(body));
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("9"));
        response
    });
    let stack = BearerLayer::new(validator(&server)).layer(require.layer(subject_service()));
    let response = send(stack, bearer_request(&server.token().sign())).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"Bearer error="insufficient_scope", scope="admin""#);
    assert!(text(response).await.starts_with(r#"Some(InsufficientScope) {"error":"insufficient_scope""#));

    let response = send(require.layer(subject_service()), request(&[])).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    assert!(text(response).await.starts_with("None "));
}
