//! CORS: the CORS layer of tower-http outside the bearer layer, and preflights through the bearer layer.

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request};
use tower::ServiceBuilder;
use tower_bearer::dpop::{self, DPOP, DPOP_NONCE, Dpop, Nonces};
use tower_bearer::keys::Secret;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, RequireLayer, Validator};
use tower_http::cors::CorsLayer;

use crate::dpop_fixture::{URL, World};
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

/// A script can send a proof and read the nonce only with the constants of [`dpop`].
#[tokio::test]
async fn a_script_sends_proofs_and_reads_nonces() {
    assert_eq!(dpop::REQUEST_HEADERS, [AUTHORIZATION, DPOP]);
    assert_eq!(dpop::RESPONSE_HEADERS, [WWW_AUTHENTICATE, DPOP_NONCE]);
    let secret = Secret::new(vec![1; 32]).expect("a secret");
    let world = World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_nonces(Nonces::shared(secret))));
    let send = async |cors: CorsLayer, request: http::request::Builder| {
        let stack = ServiceBuilder::new().layer(cors).layer(world.layer.clone());
        let request = request.header("origin", SHOP).body(Body::default()).expect("a request");
        stack::send_through(stack, request).await
    };
    let with_dpop = || cors().allow_headers(dpop::REQUEST_HEADERS).expose_headers(dpop::RESPONSE_HEADERS);
    let lists = |response: &stack::TestResponse, name: &str| -> Vec<String> {
        let value = response.headers[name].to_str().expect("ASCII");
        value.split(',').map(|name| name.trim().to_owned()).collect()
    };
    for (cors, allowed) in [(cors(), &["authorization"][..]), (with_dpop(), &["authorization", "dpop"])] {
        let request = Request::options("/me")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization,dpop");
        let response = send(cors, request).await;
        assert_eq!(response.status, OK);
        assert_eq!(lists(&response, "access-control-allow-headers"), allowed);
    }

    let token = world.token().sign();
    let with_proof = |nonce: Option<&str>| {
        let proof = world.client.proof("GET", URL, &token);
        let proof = nonce.into_iter().fold(proof, |proof, nonce| proof.nonce(nonce)).sign();
        Request::get("/me").header(AUTHORIZATION, format!("DPoP {token}")).header(DPOP, proof)
    };
    let first = send(with_dpop(), with_proof(None)).await;
    let nonce = first.headers[DPOP_NONCE].to_str().expect("ASCII").to_owned();
    let accepted = send(with_dpop(), with_proof(Some(&nonce))).await;
    world.clock.advance(std::time::Duration::from_secs(60));
    let last = send(with_dpop(), with_proof(Some(&nonce))).await;
    assert!(last.headers.contains_key(DPOP_NONCE), "the next nonce");
    for (response, status) in [(first, 401), (accepted, OK), (last, OK)] {
        assert_eq!(response.status, status);
        assert_eq!(response.headers["access-control-allow-origin"], SHOP);
        assert_eq!(lists(&response, "access-control-expose-headers"), ["www-authenticate", "dpop-nonce"]);
        assert_eq!(response.challenge().contains("use_dpop_nonce"), status == 401);
    }
}
