//! Tests of the test issuer over loopback, with `reqwest` as the client.

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG, HOST, IF_NONE_MATCH};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{segment, verified};
use crate::testing::{Outage, TestIssuer, TestServer};

const API: &str = "https://api.test/";

async fn served() -> TestServer {
    let issuer = TestIssuer::new()
        .with_client("reporting", "s3cret")
        .with_restricted_client("outsider", "s3cret", ["https://other.test/"])
        .with_api(API, ["read:orders", "write:orders"])
        .with_rbac_api("https://rbac.test/", ["read:orders"])
        .with_api("https://bare.test/", []);
    issuer.serve().await.expect("a free port")
}

async fn get(url: String) -> reqwest::Response {
    reqwest::get(url).await.expect("an answer")
}

async fn post(server: &TestServer, body: Value) -> (StatusCode, Value) {
    let response = reqwest::Client::new().post(server.issuer().token_endpoint()).json(&body).send().await;
    let response = response.expect("an answer");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    (response.status(), response.json().await.expect("JSON"))
}

fn request(change: impl FnOnce(&mut Value)) -> Value {
    let mut request = json!({
        "grant_type": "client_credentials", "client_id": "reporting", "client_secret": "s3cret", "audience": API,
    });
    change(&mut request);
    request
}

fn claims(answer: &Value) -> Value {
    serde_json::from_str(&segment(answer["access_token"].as_str().expect("a token"), 1)).expect("JSON")
}

#[tokio::test]
async fn publishes_keys_and_discovery_at_its_own_url() {
    let server = served().await;
    let issuer = server.issuer();
    let discovery: Value = get(issuer.discovery_uri()).await.json().await.expect("JSON");
    assert_eq!(discovery["issuer"], server.url());
    let keys = get(discovery["jwks_uri"].as_str().expect("text").to_owned()).await;
    let tag = keys.headers()[ETAG].clone();
    assert_eq!(keys.text().await.expect("text"), issuer.jwks());
    let again = reqwest::Client::new().get(issuer.jwks_uri()).header(IF_NONE_MATCH, tag).send().await;
    assert_eq!(again.expect("an answer").status(), StatusCode::NOT_MODIFIED);
    assert_eq!(get(format!("{}elsewhere", server.url())).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(issuer.token_endpoint()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!((issuer.fetches(), issuer.discovery_fetches(), issuer.token_requests()), (2, 1, 0));
    verified(issuer, &issuer.token().sign()).expect("valid under the new name");
}

#[tokio::test]
async fn keeps_an_explicit_name_and_uses_the_domain_of_the_host_header() {
    let tenant = TestIssuer::auth0("northwind.eu.auth0.com");
    let login = tenant.add_custom_domain("https://login.northwind.com/");
    let server = tenant.serve().await.expect("a free port");
    let uri = server.issuer().discovery_uri();
    let own: Value = get(uri.clone()).await.json().await.expect("JSON");
    let by_host = reqwest::Client::new().get(uri).header(HOST, "login.northwind.com").send().await.expect("an answer");
    let by_host: Value = by_host.json().await.expect("JSON");
    assert_eq!(own["issuer"], "https://northwind.eu.auth0.com/");
    assert_eq!(by_host["issuer"], login.issuer());
    assert_eq!(own["jwks_uri"], by_host["jwks_uri"]);
    assert_eq!(own["jwks_uri"], server.issuer().jwks_uri());
}

#[tokio::test]
async fn grants_tokens_in_the_format_of_auth0() {
    let server = served().await;
    let (status, answer) = post(&server, request(|_| ())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"], &answer["scope"]),
        (&json!("Bearer"), &json!(86_400), &json!("read:orders write:orders"))
    );
    let claims = verified(server.issuer(), answer["access_token"].as_str().expect("a token")).expect("valid");
    let iat = claims["iat"].as_i64().expect("a number");
    assert_eq!(
        claims,
        json!({
            "iss": server.url(), "sub": "reporting@clients", "aud": API, "iat": iat, "exp": iat + 86_400,
            "scope": "read:orders write:orders", "azp": "reporting", "gty": "client-credentials",
        })
    );
    assert_eq!(server.issuer().token_requests(), 1);
}

#[tokio::test]
async fn grants_tokens_according_to_the_request_parameters() {
    let server = served().await;
    let (_, openid) = post(&server, request(|r| r["scope"] = json!("openid read:orders"))).await;
    let claims_of_openid = claims(&openid);
    assert_eq!(claims_of_openid["aud"], json!([API, format!("{}userinfo", server.url())]));
    assert_eq!(claims_of_openid["scope"], "openid read:orders");
    let (_, organization) = post(&server, request(|r| r["organization"] = json!("org_1"))).await;
    assert_eq!(claims(&organization)["org_id"], "org_1");
    let (_, rbac) = post(&server, request(|r| r["audience"] = json!("https://rbac.test/"))).await;
    assert_eq!(claims(&rbac)["permissions"], json!(["read:orders"]));
    let (_, bare) = post(&server, request(|r| r["audience"] = json!("https://bare.test/"))).await;
    assert_eq!((&bare["scope"], &claims(&bare)["scope"]), (&Value::Null, &Value::Null));
    let short = TestIssuer::new()
        .with_client("reporting", "s3cret")
        .with_api(API, [])
        .with_token_lifetime(Duration::from_secs(5))
        .serve()
        .await
        .expect("a free port");
    let (_, short) = post(&short, request(|_| ())).await;
    assert_eq!(short["expires_in"], 5);
}

#[tokio::test]
async fn accepts_forms_and_basic_credentials() {
    let issuer = TestIssuer::new().with_client("a b", "p&q=+").with_api(API, []);
    let server = issuer.serve().await.expect("a free port");
    let client = reqwest::Client::new();
    let form =
        [("grant_type", "client_credentials"), ("audience", API), ("client_id", "a b"), ("client_secret", "p&q=+")];
    let endpoint = server.issuer().token_endpoint();
    let posted = client.post(&endpoint).form(&form).send().await.expect("an answer");
    assert_eq!(posted.status(), StatusCode::OK);
    let basic = client.post(&endpoint).basic_auth("a+b", Some("p%26q%3D%2B")).form(&form[..2]).send().await;
    assert_eq!(basic.expect("an answer").status(), StatusCode::OK);
    let wrong = client.post(&endpoint).basic_auth("a+b", Some("x")).form(&form[..2]).send().await;
    assert_eq!(wrong.expect("an answer").status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn returns_the_errors_of_auth0() {
    type Change = fn(&mut Value);
    let cases: [(Change, u16, &str, &str); 10] = [
        (|r| r["client_secret"] = json!("x"), 401, "access_denied", "Unauthorized"),
        (|r| r["client_id"] = json!("nobody"), 401, "access_denied", "Unauthorized"),
        (|r| r["client_secret"] = json!(""), 401, "access_denied", "Unauthorized"),
        (|r| r["client_id"] = json!(""), 400, "invalid_request", "Missing required parameter: client_id"),
        (|r| r["grant_type"] = json!(""), 400, "invalid_request", "Missing required parameter: grant_type"),
        (|r| r["grant_type"] = json!("password"), 403, "unsupported_grant_type", "Unsupported grant type: password"),
        (|r| r["audience"] = json!("x"), 403, "access_denied", "Service not enabled within domain: x"),
        (
            |r| r["audience"] = json!(""),
            403,
            "access_denied",
            "No audience parameter was provided, and no default audience has been configured",
        ),
        (
            |r| r["client_id"] = json!("outsider"),
            403,
            "access_denied",
            "Client \"outsider\" is not authorized to access resource server \"https://api.test/\".",
        ),
        (|r| r["scope"] = json!(1), 400, "invalid_request", "The body is neither JSON nor a form"),
    ];
    let server = served().await;
    for (change, status, error, description) in cases {
        let expected = json!({ "error": error, "error_description": description });
        let (actual_status, body) = post(&server, request(change)).await;
        assert_eq!((actual_status.as_u16(), body), (status, expected));
    }
}

#[tokio::test]
async fn simulates_outages_over_loopback() {
    let server = served().await;
    let issuer = server.issuer();
    let client = reqwest::Client::builder().timeout(Duration::from_millis(200)).build().expect("a client");
    issuer.set_outage(Outage::Hang);
    assert!(client.get(issuer.jwks_uri()).send().await.expect_err("no answer").is_timeout());
    issuer.set_outage(Outage::NoConnection);
    assert!(!client.get(issuer.jwks_uri()).send().await.expect_err("closed").is_timeout());
    issuer.set_outage(Outage::Status(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(get(issuer.token_endpoint()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    issuer.set_outage(Outage::None);
    assert_eq!(get(issuer.jwks_uri()).await.status(), StatusCode::OK);
    assert!(issuer.fetches() >= 3, "a client may retry a closed connection");
}

#[tokio::test]
async fn shutdown_and_drop_end_all_tasks_and_close_the_port() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for stop in [Stop::Shutdown, Stop::Drop] {
        let server = served().await;
        let address = server.address();
        server.issuer().set_outage(Outage::Hang);
        let _idle = TcpStream::connect(address).await.expect("open");
        let mut hanging = TcpStream::connect(address).await.expect("open");
        hanging.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("open");
        while server.issuer().fetches() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks(), 3, "one task accepts, two serve connections");
        match stop {
            Stop::Shutdown => server.shutdown().await,
            Stop::Drop => {
                drop(server);
                while tasks() > 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        assert_eq!(tasks(), 0);
        assert!(TcpStream::connect(address).await.is_err());
    }
}

enum Stop {
    Shutdown,
    Drop,
}
