//! Rules 1 to 13: the credential out of the request.

use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Secret};

use crate::kit::{AUDIENCE, BARE, Site, block_on, validator_of};

#[test]
fn rule_001_one_b64token_follows_the_scheme_and_spaces() {
    let site = Site::new();
    let token = site.server.token().sign();
    assert_eq!(site.send(&[&format!("Bearer {token}")]), (200, None));
    assert_eq!(site.send(&[&format!("Bearer   {token}")]), (200, None));
    for field in [format!("Bearer \"{token}\""), format!("Bearer token={token}"), format!("Bearer\t{token}")] {
        assert_eq!(site.send(&[&field]), invalid_request(), "{field}");
    }
}

#[test]
fn rule_002_the_scheme_has_no_case() {
    let site = Site::new();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_eq!(site.send(&[&format!("{scheme} {}", site.server.token().sign())]), (200, None), "{scheme}");
    }
}

#[test]
fn rule_003_and_004_there_is_one_credential_or_none() {
    let site = Site::new();
    let good = format!("Bearer {}", site.server.token().sign());
    for fields in [[&*good, &*good], [&*good, "Bearer x"], ["Bearer x", &*good], ["Basic eA==", &*good], [&*good, ""]] {
        assert_eq!(site.send(&fields), invalid_request(), "{fields:?}");
    }
    assert_eq!(site.send(&[&format!("{good}, {good}")]), invalid_request());
    assert_eq!(site.send(&[&good]), (200, None));
}

#[test]
fn rule_005_bearer_and_dpop_together_are_malformed() {
    let site = Site::new();
    let token = site.server.token().sign();
    assert_eq!(site.send(&[&format!("Bearer {token}"), &format!("DPoP {token}")]), invalid_request());
}

#[test]
fn rule_006_to_008_query_form_and_cookie_are_no_sources() {
    let site = Site::new();
    let token = site.server.token().sign();
    let form = format!("access_token={token}");
    let cookie = format!("access_token={token}; __Host-token={token}");
    let target = format!("https://api.test/orders?{form}");
    assert_eq!(site.ask(Request::get(target).body(String::new())), BARE);
    let kind = "application/x-www-form-urlencoded";
    assert_eq!(site.ask(Request::post("/orders").header("content-type", kind).body(form)), BARE);
    assert_eq!(site.ask(Request::get("/orders").header("cookie", cookie).body(String::new())), BARE);
}

#[test]
fn rule_009_octets_beyond_ascii_are_malformed() {
    let site = Site::new();
    for octets in [&b"Bearer \xe9"[..], b"Bearer \xff\xfe", b"Bearer a\x80.b.c"] {
        let request =
            Request::get("/").header("authorization", http::HeaderValue::from_bytes(octets).expect("a value"));
        assert_eq!(site.ask(request.body(String::new())), invalid_request(), "{octets:?}");
    }
}

/// The server in front refuses folded lines: the layer never sees them.
#[tokio::test]
async fn rule_010_a_folded_field_never_arrives() {
    let site = Site::new();
    let routes = axum::Router::new().route("/", axum::routing::get(|| async { "ok" })).layer(site.layer.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let status = async |field: String| {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let request =
            format!("GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\nAuthorization: {field}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned)
    };
    let token = site.server.token().sign();
    assert_eq!(status(format!("Bearer {token}")).await.as_deref(), Some("200"));
    assert_eq!(status(format!("Bearer\r\n {token}")).await.as_deref(), Some("400"));
    assert_eq!(status(format!("Bearer {token}\0")).await.as_deref(), Some("400"));
    server.abort();
}

#[test]
fn rule_011_a_credential_over_the_limit_is_refused_unread() {
    let site = Site::new();
    assert_eq!(site.send(&[&format!("Bearer {}", "a".repeat(16 * 1024 + 1))]), invalid_token());
}

#[test]
fn rule_012_another_scheme_is_no_credential() {
    let site = Site::new();
    for field in ["Basic dTpw", "DPoP a.b.c", "Negotiate x", "Bearerx a.b.c"] {
        assert_eq!(site.send(&[field]), BARE, "{field}");
    }
}

#[test]
fn rule_013_forwarded_headers_count_only_where_they_are_trusted() {
    let site = Site::new();
    let issuer = Issuer::shared_secret(site.server.issuer(), Secret::from_text(site.server.secret()));
    let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::HS256]));
    let api = api.with_issuer_for_host("api.test", site.server.issuer()).with_leeway(Duration::ZERO);
    let layer = BearerLayer::new(validator_of(api));
    let token = site.server.token().algorithm(Algorithm::HS256).sign();
    let ask = |layer: &BearerLayer, host: &str, forwarded: &str| {
        let request = Request::get("/").header("host", host).header("x-forwarded-host", forwarded);
        let request = request.header("authorization", format!("Bearer {token}")).body(String::new());
        block_on(crate::kit::answer(layer.clone(), request.expect("a request"))).0
    };
    assert_eq!(ask(&layer, "api.test", "evil.test"), 200);
    assert_eq!(ask(&layer, "evil.test", "api.test"), 401);
    let trusting = layer.with_trusted_forwarded_host();
    assert_eq!(ask(&trusting, "evil.test", "api.test"), 200);
}

fn invalid_request() -> (u16, Option<String>) {
    (400, Some("invalid_request".to_owned()))
}

fn invalid_token() -> (u16, Option<String>) {
    (401, Some("invalid_token".to_owned()))
}
