//! CORS: the CORS layer of tower-http outside the bearer layer, and preflights through the bearer layer.

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request};
use tower::ServiceBuilder;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, RequireLayer, Validator};
use tower_http::cors::CorsLayer;

use crate::stack::{self, AUDIENCE, Body, OK, trusted};

const SHOP: &str = "https://shop.northwind.com";

fn credential(server: &TestIssuer) -> BearerLayer {
    BearerLayer::new(Validator::new(Api::new(AUDIENCE, trusted(server))).expect("a valid configuration"))
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(SHOP))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([AUTHORIZATION])
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER])
}

fn preflight() -> http::request::Builder {
    Request::options("/")
        .header("origin", SHOP)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization")
}

#[tokio::test]
async fn outer_cors_layer_answers_preflights() {
    let server = TestIssuer::new();
    let stack =
        ServiceBuilder::new().layer(cors()).layer(credential(&server)).layer(RequireLayer::scope("read:orders"));
    let response = stack::send_through(stack, preflight().body(Body::default()).expect("a request")).await;
    assert_eq!(response.status, OK);
    assert_eq!(response.headers["access-control-allow-origin"], SHOP);
    assert_eq!(response.headers["access-control-allow-headers"], "authorization");
    assert!(!response.headers.contains_key(WWW_AUTHENTICATE));
}

#[tokio::test]
async fn rejection_carries_the_cors_headers() {
    let server = TestIssuer::new();
    let stack = || ServiceBuilder::new().layer(cors()).layer(credential(&server));
    for (request, status) in [
        (Request::get("/"), 401),
        (stack::bearer_request("opaque"), 401),
        (stack::bearer_request(&server.token().sign()), OK),
    ] {
        let request = request.header("origin", SHOP).body(Body::default()).expect("a request");
        let response = stack::send_through(stack(), request).await;
        assert_eq!(response.status, status);
        assert_eq!(response.headers["access-control-allow-origin"], SHOP, "without it a browser hides the response");
        let exposed = response.headers["access-control-expose-headers"].to_str().expect("ASCII");
        assert!(exposed.contains("www-authenticate") && exposed.contains("retry-after"), "{exposed}");
        assert_eq!(response.challenge().is_empty(), status == OK);
    }
}

#[tokio::test]
async fn outer_bearer_layer_rejects_preflights_by_default() {
    let server = TestIssuer::new();
    let outside = |layer: BearerLayer| ServiceBuilder::new().layer(layer).layer(cors());
    let request = || preflight().body(Body::default()).expect("a request");
    assert_eq!(stack::send_through(outside(credential(&server)), request()).await.status, 401);
    let passing = stack::send_through(outside(credential(&server).with_preflight_passthrough()), request()).await;
    assert_eq!(
        (passing.status, &passing.headers["access-control-allow-origin"]),
        (OK, &HeaderValue::from_static(SHOP))
    );
}

#[tokio::test]
async fn accepts_only_real_preflights_without_a_token() {
    let server = TestIssuer::new();
    let status = async |request: http::request::Builder| {
        let layer = credential(&server).with_preflight_passthrough();
        stack::send_through(layer, request.body(Body::default()).expect("a request")).await.status
    };
    assert_eq!(status(preflight()).await, OK);
    for (what, request) in [
        ("another method", preflight().method(Method::GET)),
        ("no origin", Request::options("/").header("access-control-request-method", "GET")),
        ("no requested method", Request::options("/").header("origin", SHOP)),
        ("a bad credential", preflight().header(AUTHORIZATION, "Bearer opaque")),
    ] {
        assert_eq!(status(request).await, 401, "{what}");
    }
    assert_eq!(status(preflight().header(AUTHORIZATION, "Bearer a b")).await, 400);
}
