//! gRPC: a rejection is a trailers-only response with a gRPC status (gRPC over HTTP/2, "Responses").

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Version};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tower::ServiceBuilder;
use tower_bearer::dpop::{DPOP_NONCE, Dpop, Nonces};
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::testing::{FakeClock, Outage, ProofKey, TestIssuer};
use tower_bearer::{Api, BearerLayer, Issuer, RequireLayer, Validator};

use self::greeter::{Greeter, Text};
use self::ticker::{Ticker, WATCH};
use crate::stack::{self, AUDIENCE, Body, trusted};

#[path = "../../examples/tonic/greeter.rs"]
mod greeter;
#[path = "../../examples/tonic/ticker.rs"]
mod ticker;
#[path = "../../examples/tonic/while_valid.rs"]
mod while_valid;

/// Starts a server on loopback and connects a channel to it.
async fn serve(validator: Validator) -> Channel {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = Server::builder()
        .layer(BearerLayer::new(validator))
        .layer(RequireLayer::scope("greet"))
        .add_service(Greeter)
        .serve_with_incoming(TcpIncoming::from(listener));
    drop(tokio::spawn(server));
    Channel::from_shared(format!("http://{address}")).expect("a URL").connect().await.expect("a server")
}

#[tokio::test]
async fn client_receives_the_grpc_status_of_each_rejection() {
    let server = TestIssuer::new();
    let channel = serve(Validator::new(Api::new(AUDIENCE, trusted(&server))).expect("a valid configuration")).await;
    let good = server.token().subject("ann").scope("greet");
    let call = async |token: Option<String>| {
        let response = greeter::call(channel.clone(), token.as_deref(), "hello").await;
        response.map_err(|status| (status.code(), status.message().to_owned()))
    };
    let rejected = |code, message: &str| Err((code, message.to_owned()));
    let invalid = "the access token is malformed, expired, or not valid here";
    assert_eq!(call(Some(good.clone().sign())).await, Ok("hello, ann".to_owned()));
    assert_eq!(call(None).await, rejected(Code::Unauthenticated, "a bearer token is required"));
    let malformed = "the credential or the host is malformed or present more than once";
    assert_eq!(call(Some("not a token".to_owned())).await, rejected(Code::Unauthenticated, malformed));
    assert_eq!(call(Some(good.clone().expired().sign())).await, rejected(Code::Unauthenticated, invalid));
    let insufficient = "the access token does not allow this";
    assert_eq!(call(Some(good.scope("read").sign())).await, rejected(Code::PermissionDenied, insufficient));
}

/// With paused time, a sleep ends at once if nothing else is to do.
#[tokio::test(start_paused = true)]
async fn stream_ends_when_the_key_of_its_token_is_revoked() {
    let server = TestIssuer::new();
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
    let validator = validator.build().expect("a valid configuration");
    let ticker = Ticker { validator: validator.clone() };
    let stack = ServiceBuilder::new().layer(BearerLayer::new(validator.clone())).service(ticker);
    let mut client = tonic::client::Grpc::new(stack);
    let request = greeter::request(Some(&server.token().sign()), "").expect("a request");
    let messages = client.server_streaming(request, WATCH, Text).await.expect("a stream");
    let mut messages = messages.into_inner();
    for second in 0..200 {
        if second == 70 {
            validator.key_sources().for_each(|(_, keys)| keys.revoke_kid(&server.kid()));
        }
        match messages.message().await {
            Ok(message) => assert_eq!(message, Some(format!("second {second}"))),
            Err(status) => {
                assert_eq!(status.code(), Code::Unauthenticated);
                assert!((70..=102).contains(&second), "{second}, with a check each 30 s");
                return;
            }
        }
    }
    panic!("the stream did not end");
}

/// The clock of the validator advances with the messages, one each second.
#[tokio::test(start_paused = true)]
async fn stream_ends_when_its_token_expires() {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(clock.clone());
    let validator = Validator::builder(Api::new(AUDIENCE, trusted(&server))).with_clock(clock.clone());
    let validator = validator.build().expect("a valid configuration");
    let ticker = Ticker { validator: validator.clone() };
    let stack = ServiceBuilder::new().layer(BearerLayer::new(validator)).service(ticker);
    let token = server.token().expires_in(Duration::from_secs(100)).sign();
    let mut client = tonic::client::Grpc::new(stack);
    let request = greeter::request(Some(&token), "").expect("a request");
    let mut messages = client.server_streaming(request, WATCH, Text).await.expect("a stream").into_inner();
    for second in 0..200 {
        match messages.message().await {
            Ok(message) => assert_eq!(message, Some(format!("second {second}"))),
            Err(status) => {
                assert_eq!(status.code(), Code::Unauthenticated);
                // Not at the next check of the key, at 120 s, and not after the leeway, at 105 s.
                assert!((100..=103).contains(&second), "{second}");
                return;
            }
        }
        clock.advance(Duration::from_secs(1));
    }
    panic!("the stream did not end");
}

/// A function that runs a connection ends it at once if the token has expired before, also within the leeway.
#[tokio::test(start_paused = true)]
async fn connection_of_an_expired_token_does_not_run() {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(clock.clone());
    let validator = Validator::builder(Api::new(AUDIENCE, trusted(&server))).with_clock(clock.clone());
    let validator = validator.build().expect("a valid configuration");
    let token = server.token().expires_in(Duration::from_secs(10)).sign();
    let claims = validator.validate(&token).await.expect("a valid token");
    let connection = || tokio::time::sleep(Duration::from_secs(1));
    assert_eq!(while_valid::while_valid(&validator, &claims, connection()).await, Some(()));
    clock.advance(Duration::from_secs(10));
    assert_eq!(validator.still_valid(&claims), Ok(()), "within the leeway");
    assert_eq!(while_valid::while_valid(&validator, &claims, connection()).await, None);
}

#[tokio::test]
async fn returns_unavailable_without_keys() {
    let server = TestIssuer::new();
    server.set_outage(Outage::Status(StatusCode::BAD_GATEWAY));
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let policy = RefreshPolicy::new().with_cold_wait(Duration::from_millis(50));
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
    let validator = validator.with_refresh_policy(policy).build().expect("a valid configuration");
    let channel = serve(validator).await;
    let rejected = greeter::call(channel, Some(&server.token().sign()), "hello").await.expect_err("no keys");
    assert_eq!(
        (rejected.code(), rejected.message()),
        (Code::Unavailable, "the access token cannot be checked at the moment")
    );
    assert!(rejected.metadata().contains_key("retry-after"));
}

#[tokio::test]
async fn rejection_is_a_trailers_only_response() {
    let server = TestIssuer::new();
    let validator = Validator::new(Api::new(AUDIENCE, trusted(&server))).expect("a valid configuration");
    let stack = || {
        ServiceBuilder::new()
            .layer(BearerLayer::new(validator.clone()).with_json_body())
            .layer(RequireLayer::scope("greet").with_json_body())
    };
    let token = server.token().sign();
    for (content_type, credential, grpc_status) in [
        ("application/grpc", None, "16"),
        ("application/grpc+proto", Some("Bearer a b"), "16"),
        ("application/grpc", Some(&*format!("Bearer {token}")), "7"),
    ] {
        let request = Request::post("/northwind.Greeter/Greet").version(Version::HTTP_2);
        let mut request = request.header("content-type", content_type);
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let response = stack::send_through(stack(), request.body(Body::default()).expect("a request")).await;
        assert_eq!((response.status, &*response.body), (200, ""), "{content_type}");
        assert_eq!(response.headers["content-type"], "application/grpc");
        assert_eq!(response.headers["grpc-status"], grpc_status);
        assert!(response.challenge().starts_with("Bearer"), "the challenge is there as metadata");
    }
    let json = Request::post("/").header("content-type", "application/json").body(Body::default()).expect("a request");
    let response = stack::send_through(stack(), json).await;
    assert_eq!((response.status, &*response.body), (401, "{}"));
    assert!(!response.headers.contains_key("grpc-status"));
}

const GREET: &str = "/northwind.Greeter/Greet";
const GREET_URL: &str = "https://api.test/northwind.Greeter/Greet";

/// Returns a request with a token under the scheme DPoP and an optional proof.
fn request_with_proof(token: &str, proof: Option<&str>) -> tonic::Request<String> {
    let mut request = greeter::request(None, "hello").expect("a request");
    let fields = [("authorization", Some(format!("DPoP {token}"))), ("dpop", proof.map(str::to_owned))];
    for (name, value) in fields {
        value.into_iter().for_each(|value| drop(request.metadata_mut().insert(name, value.parse().expect("a value"))));
    }
    request
}

async fn call_with_proof(channel: &Channel, token: &str, proof: Option<&str>) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a server");
    let response = client.unary(request_with_proof(token, proof), PathAndQuery::from_static(GREET), Text).await?;
    Ok(response.into_inner())
}

/// The method of a call is `POST`, and its URL is that of the gRPC method.
#[tokio::test]
async fn call_needs_a_proof_for_its_method() {
    let server = TestIssuer::new();
    let api = Api::new(AUDIENCE, trusted(&server)).with_dpop(Dpop::new("https://api.test"));
    let channel = serve(Validator::new(api).expect("a valid configuration")).await;
    let client = ProofKey::new();
    let token = server.token().subject("ann").scope("greet").bound_to(&client).sign();
    let good = client.proof("POST", GREET_URL, &token).sign();
    assert_eq!(call_with_proof(&channel, &token, Some(&good)).await.expect("accepted"), "hello, ann");
    for (what, proof) in [
        ("the same proof", Some(good)),
        ("no proof", None),
        ("another method of HTTP", Some(client.proof("GET", GREET_URL, &token).sign())),
        ("another method of the service", Some(client.proof("POST", &format!("{GREET_URL}All"), &token).sign())),
        ("the URL of the service", Some(client.proof("POST", "https://api.test/northwind.Greeter", &token).sign())),
        ("another key", Some(ProofKey::new().proof("POST", GREET_URL, &token).sign())),
    ] {
        let status = call_with_proof(&channel, &token, proof.as_deref()).await.expect_err(what);
        assert_eq!(status.code(), Code::Unauthenticated, "{what}");
        let challenge = status.metadata().get("www-authenticate").expect("a challenge").to_str().expect("ASCII");
        let error = if what == "another key" { "invalid_token" } else { "invalid_dpop_proof" };
        assert!(challenge.starts_with(&format!("DPoP error=\"{error}\"")), "{what}: {challenge}");
    }
    let stolen = greeter::call(channel.clone(), Some(&token), "hello").await.expect_err("no proof");
    assert_eq!(stolen.code(), Code::Unauthenticated);
    let insufficient = server.token().scope("read").bound_to(&client).sign();
    let proof = client.proof("POST", GREET_URL, &insufficient).sign();
    let status = call_with_proof(&channel, &insufficient, Some(&proof)).await.expect_err("no scope");
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn client_reads_the_nonce_of_a_rejected_call() {
    let server = TestIssuer::new();
    let dpop = Dpop::new("https://api.test").with_nonces(Nonces::of_this_process());
    let validator = Validator::new(Api::new(AUDIENCE, trusted(&server)).with_dpop(dpop)).expect("a configuration");
    let channel = serve(validator.clone()).await;
    let client = ProofKey::new();
    let token = server.token().subject("ann").scope("greet").bound_to(&client).sign();
    let proof = || client.proof("POST", GREET_URL, &token);
    let status = call_with_proof(&channel, &token, Some(&proof().sign())).await.expect_err("no nonce");
    assert_eq!(status.code(), Code::Unauthenticated);
    let nonce = status.metadata().get("dpop-nonce").expect("a nonce").to_str().expect("ASCII");
    let with_nonce = proof().nonce(nonce).sign();
    assert_eq!(call_with_proof(&channel, &token, Some(&with_nonce)).await.expect("accepted"), "hello, ann");

    // The nonce is in the only header block of the response.
    let request = Request::post(GREET).version(Version::HTTP_2).header("content-type", "application/grpc");
    let request = request.header("authorization", format!("DPoP {token}")).header("dpop", proof().sign());
    let request = request.body(Body::default()).expect("a request");
    let response = stack::send_through(BearerLayer::new(validator), request).await;
    assert_eq!((response.status, &*response.body), (200, ""));
    assert_eq!(response.headers["grpc-status"], "16");
    assert_eq!(response.headers.get_all(DPOP_NONCE).iter().count(), 1);
    assert!(response.challenge().starts_with("DPoP error=\"use_dpop_nonce\""), "{}", response.challenge());
}

/// A proof belongs to a call, not to a message: the stream goes on after the end of the proof's lifetime.
#[tokio::test(start_paused = true)]
async fn one_proof_is_enough_for_a_stream() {
    let clock = FakeClock::new();
    let server = TestIssuer::new().with_clock(clock.clone());
    let api = Api::new(AUDIENCE, trusted(&server)).with_dpop(Dpop::new("https://api.test"));
    let validator = Validator::builder(api).with_clock(clock.clone()).build().expect("a valid configuration");
    let ticker = Ticker { validator: validator.clone() };
    let stack = ServiceBuilder::new().layer(BearerLayer::new(validator)).service(ticker);
    let client = ProofKey::new().with_clock(clock.clone());
    let token = server.token().bound_to(&client).expires_in(Duration::from_secs(3_600)).sign();
    let proof = client.proof("POST", &format!("https://api.test{WATCH}"), &token).sign();
    let mut channel = tonic::client::Grpc::new(stack);
    let request = request_with_proof(&token, Some(&proof));
    let mut messages = channel.server_streaming(request, WATCH, Text).await.expect("a stream").into_inner();
    for second in 0..200 {
        assert_eq!(messages.message().await.expect("a message"), Some(format!("second {second}")));
        clock.advance(Duration::from_secs(1));
    }
    let again = channel.server_streaming(request_with_proof(&token, Some(&proof)), WATCH, Text).await;
    assert_eq!(again.map(drop).expect_err("a used proof").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn error_body_can_see_that_the_client_uses_grpc() {
    let server = TestIssuer::new();
    let validator = Validator::new(Api::new(AUDIENCE, trusted(&server))).expect("a valid configuration");
    let layer = BearerLayer::new(validator).with_response_hook(|error_response| {
        let body = if error_response.is_grpc() { "" } else { "please log in" };
        http::Response::new(Body::from(body))
    });
    let request = |content_type: &str| {
        let request = Request::post("/").version(Version::HTTP_2).header("content-type", content_type);
        request.body(Body::default()).expect("a request")
    };
    assert_eq!(stack::send_through(layer.clone(), request("application/grpc")).await.body, "");
    assert_eq!(stack::send_through(layer, request("text/plain")).await.body, "please log in");
}

/// A gateway that authorizes by the HTTP status alone, and forwards the client's headers, would take the 200 of gRPC
/// for an approval.
#[tokio::test]
async fn grpc_content_type_alone_keeps_the_http_status() {
    let server = TestIssuer::new();
    let validator = Validator::new(Api::new(AUDIENCE, trusted(&server))).expect("a valid configuration");
    let read_only = server.token().scope("read").sign();
    for (method, version) in
        [(Method::GET, Version::HTTP_11), (Method::GET, Version::HTTP_2), (Method::POST, Version::HTTP_11)]
    {
        for (credential, status) in [("", 401), ("Bearer a b", 400), ("Bearer a.b.c", 401), (&read_only, 403)] {
            let stack =
                ServiceBuilder::new().layer(BearerLayer::new(validator.clone())).layer(RequireLayer::scope("greet"));
            let mut request = Request::builder().method(&method).version(version);
            request = request.header("content-type", "application/grpc");
            match credential {
                "" => {}
                token if status == 403 => request = request.header("authorization", format!("Bearer {token}")),
                malformed => request = request.header("authorization", malformed),
            }
            let response = stack::send_through(stack, request.body(Body::default()).expect("a request")).await;
            assert_eq!(response.status, status, "{method} {version:?} {credential}");
            assert!(!response.headers.contains_key("grpc-status"));
        }
    }
}
