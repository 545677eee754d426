//! Hosts that are bound to issuers, as the layer reads them.

use http::{HeaderValue, Request, StatusCode};
use tower::Layer;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, Validator};

use crate::challenge_parser::challenge;
use crate::layer_fixture::{TestBody, api, bearer_request, request, send, subject_service};

const HOST: &str = "api.brand-a.test";

fn bound(server: &TestIssuer) -> BearerLayer {
    let api = api(server).with_issuer_for_host(HOST, server.issuer());
    BearerLayer::new(Validator::new(api).expect("a valid configuration"))
}

fn with(mut request: Request<TestBody>, fields: &[(&'static str, &'static str)]) -> Request<TestBody> {
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

async fn status(layer: &BearerLayer, request: Request<TestBody>) -> StatusCode {
    let response = send(layer.layer(subject_service()), request).await;
    if response.status() == StatusCode::BAD_REQUEST {
        assert_eq!(challenge(response.headers()), [("error".to_owned(), "invalid_request".to_owned())]);
    }
    response.status()
}

#[tokio::test]
async fn host_of_the_request_selects_the_issuer() {
    let server = TestIssuer::new();
    let (layer, token) = (bound(&server), server.token().sign());
    for (fields, expected) in [
        (&[("host", HOST)][..], StatusCode::OK),
        (&[("host", "API.brand-a.test:8443")], StatusCode::OK),
        (&[("host", "api.brand-b.test")], StatusCode::UNAUTHORIZED),
        (&[], StatusCode::UNAUTHORIZED),
        (&[("host", HOST), ("host", HOST)], StatusCode::BAD_REQUEST),
        (&[("host", "a b")], StatusCode::BAD_REQUEST),
        (&[("host", "api.brand-b.test"), ("x-forwarded-host", HOST)], StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(status(&layer, with(bearer_request(&token), fields)).await, expected, "{fields:?}");
    }
    let mut absolute = with(bearer_request(&token), &[]);
    *absolute.uri_mut() = "https://api.brand-a.test/orders".parse().expect("a target");
    assert_eq!(status(&layer, absolute).await, StatusCode::OK);
    let mut contradicting = with(bearer_request(&token), &[("host", "api.brand-b.test")]);
    *contradicting.uri_mut() = "https://api.brand-a.test/orders".parse().expect("a target");
    assert_eq!(status(&layer, contradicting).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn forwarded_host_is_ignored_unless_trusted() {
    let server = TestIssuer::new();
    let (layer, token) = (bound(&server).with_trusted_forwarded_host(), server.token().sign());
    for (fields, expected) in [
        (&[("x-forwarded-host", HOST)][..], StatusCode::OK),
        (&[("x-forwarded-host", HOST), ("host", "internal:8080")], StatusCode::OK),
        (&[("host", HOST)], StatusCode::OK),
        (&[("x-forwarded-host", "api.brand-b.test"), ("host", HOST)], StatusCode::UNAUTHORIZED),
        (&[("x-forwarded-host", HOST), ("x-forwarded-host", HOST)], StatusCode::BAD_REQUEST),
        (&[("x-forwarded-host", "api.brand-a.test, api.brand-b.test")], StatusCode::BAD_REQUEST),
        (&[("x-forwarded-host", "")], StatusCode::BAD_REQUEST),
        (&[("x-forwarded-host", "https://api.brand-a.test")], StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(status(&layer, with(bearer_request(&token), fields)).await, expected, "{fields:?}");
    }
}

#[tokio::test]
async fn credential_is_checked_before_the_host() {
    let server = TestIssuer::new();
    let malformed = [("host", "a b")];
    assert_eq!(status(&bound(&server), with(request(&[]), &malformed)).await, StatusCode::UNAUTHORIZED);
    let anonymous = bound(&server).with_anonymous();
    assert_eq!(status(&anonymous, with(request(&[]), &malformed)).await, StatusCode::OK);
}

#[tokio::test]
async fn host_is_ignored_without_bound_hosts() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(Validator::new(api(&server)).expect("a valid configuration"));
    let request = with(bearer_request(&server.token().sign()), &[("host", "a b"), ("host", "c")]);
    assert_eq!(status(&layer, request).await, StatusCode::OK);
}
