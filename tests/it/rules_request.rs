//! Rules 1 to 13: extraction of the credential from the request.

use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Secret};

use crate::fixture::{AUDIENCE, BARE_CHALLENGE, TestApi, block_on, validator_for};

#[test]
fn rule_001_accepts_one_b64token_after_scheme_and_spaces() {
    let test_api = TestApi::new();
    let token = test_api.server.token().sign();
    assert_eq!(test_api.send(&[&format!("Bearer {token}")]), (200, None));
    assert_eq!(test_api.send(&[&format!("Bearer   {token}")]), (200, None));
    for field in [format!("Bearer \"{token}\""), format!("Bearer token={token}"), format!("Bearer\t{token}")] {
        assert_eq!(test_api.send(&[&field]), invalid_request(), "{field}");
    }
}

#[test]
fn rule_002_scheme_is_case_insensitive() {
    let test_api = TestApi::new();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_eq!(test_api.send(&[&format!("{scheme} {}", test_api.server.token().sign())]), (200, None), "{scheme}");
    }
}

#[test]
fn rule_003_and_004_rejects_more_than_one_credential() {
    let test_api = TestApi::new();
    let good = format!("Bearer {}", test_api.server.token().sign());
    for fields in [[&*good, &*good], [&*good, "Bearer x"], ["Bearer x", &*good], ["Basic eA==", &*good], [&*good, ""]] {
        assert_eq!(test_api.send(&fields), invalid_request(), "{fields:?}");
    }
    assert_eq!(test_api.send(&[&format!("{good}, {good}")]), invalid_request());
    assert_eq!(test_api.send(&[&good]), (200, None));
}

#[test]
fn rule_005_rejects_bearer_beside_dpop() {
    let test_api = TestApi::new();
    let token = test_api.server.token().sign();
    assert_eq!(test_api.send(&[&format!("Bearer {token}"), &format!("DPoP {token}")]), invalid_request());
}

#[test]
fn rule_006_to_008_ignores_tokens_in_query_form_and_cookie() {
    let test_api = TestApi::new();
    let token = test_api.server.token().sign();
    let form = format!("access_token={token}");
    let cookie = format!("access_token={token}; __Host-token={token}");
    let target = format!("https://api.test/orders?{form}");
    assert_eq!(test_api.send_request(Request::get(target).body(String::new())), BARE_CHALLENGE);
    let kind = "application/x-www-form-urlencoded";
    assert_eq!(test_api.send_request(Request::post("/orders").header("content-type", kind).body(form)), BARE_CHALLENGE);
    assert_eq!(
        test_api.send_request(Request::get("/orders").header("cookie", cookie).body(String::new())),
        BARE_CHALLENGE
    );
}

#[test]
fn rule_009_rejects_bytes_beyond_ascii() {
    let test_api = TestApi::new();
    for bytes in [&b"Bearer \xe9"[..], b"Bearer \xff\xfe", b"Bearer a\x80.b.c"] {
        let request = Request::get("/").header("authorization", http::HeaderValue::from_bytes(bytes).expect("a value"));
        assert_eq!(test_api.send_request(request.body(String::new())), invalid_request(), "{bytes:?}");
    }
}

/// The HTTP server rejects folded lines, so the layer never receives them.
#[tokio::test]
async fn rule_010_folded_field_never_reaches_the_layer() {
    let test_api = TestApi::new();
    let routes = axum::Router::new().route("/", axum::routing::get(|| async { "ok" })).layer(test_api.layer.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let status = async |field: String| {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let request =
            format!("GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\nAuthorization: {field}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.expect("a response");
        String::from_utf8_lossy(&response).split(' ').nth(1).map(str::to_owned)
    };
    let token = test_api.server.token().sign();
    assert_eq!(status(format!("Bearer {token}")).await.as_deref(), Some("200"));
    assert_eq!(status(format!("Bearer\r\n {token}")).await.as_deref(), Some("400"));
    assert_eq!(status(format!("Bearer {token}\0")).await.as_deref(), Some("400"));
    server.abort();
}

#[test]
fn rule_011_rejects_a_credential_over_the_limit_without_parsing() {
    let test_api = TestApi::new();
    assert_eq!(test_api.send(&[&format!("Bearer {}", "a".repeat(16 * 1024 + 1))]), invalid_token());
}

#[test]
fn rule_012_another_scheme_counts_as_no_credential() {
    let test_api = TestApi::new();
    for field in ["Basic dTpw", "DPoP a.b.c", "Negotiate x", "Bearerx a.b.c"] {
        assert_eq!(test_api.send(&[field]), BARE_CHALLENGE, "{field}");
    }
}

#[test]
fn rule_013_ignores_forwarded_headers_unless_trusted() {
    let test_api = TestApi::new();
    let issuer = Issuer::shared_secret(test_api.server.issuer(), Secret::from_text(test_api.server.secret()));
    let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::HS256]));
    let api = api.with_issuer_for_host("api.test", test_api.server.issuer()).with_leeway(Duration::ZERO);
    let layer = BearerLayer::new(validator_for(api));
    let token = test_api.server.token().algorithm(Algorithm::HS256).sign();
    let send = |layer: &BearerLayer, host: &str, forwarded: &str| {
        let request = Request::get("/").header("host", host).header("x-forwarded-host", forwarded);
        let request = request.header("authorization", format!("Bearer {token}")).body(String::new());
        block_on(crate::fixture::status_and_challenge(layer.clone(), request.expect("a request"))).0
    };
    assert_eq!(send(&layer, "api.test", "evil.test"), 200);
    assert_eq!(send(&layer, "evil.test", "api.test"), 401);
    let trusting = layer.with_trusted_forwarded_host();
    assert_eq!(send(&trusting, "evil.test", "api.test"), 200);
}

fn invalid_request() -> (u16, Option<String>) {
    (400, Some("invalid_request".to_owned()))
}

fn invalid_token() -> (u16, Option<String>) {
    (401, Some("invalid_token".to_owned()))
}
