//! The raw token for downstream calls, and token sources other than `Authorization`.

use std::convert::Infallible;

use axum::Router;
use axum::routing::get;
use http::{Request, Response};
use tower::{Layer, ServiceExt as _, service_fn};
use tower_bearer::request::HostError;
use tower_bearer::request::{BearerToken, CredentialError};
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::token::TokenError;
use tower_bearer::{Api, BearerLayer, Issuer, Rejection, Validator};

use crate::stack::{self, AUDIENCE, Body, OK, TestResponse, trusted};

fn layer(server: &TestIssuer) -> BearerLayer {
    BearerLayer::new(Validator::new(Api::new(AUDIENCE, trusted(server))).expect("a valid configuration"))
}

/// Returns the token that reached the service.
async fn forwarded_token(layer: BearerLayer, mut request: Request<Body>) -> String {
    let stale = BearerToken::parse("left-by-other-code").expect("a token").into_owned();
    request.extensions_mut().insert(stale);
    let inner = service_fn(|request: Request<Body>| async move {
        let token = request.extensions().get::<BearerToken<'static>>();
        let shown = token.map_or_else(|| "none".to_owned(), |token| format!("{} as {token:?}", token.as_str()));
        Ok::<_, Infallible>(Response::new(Body::from(shown)))
    });
    TestResponse::from_response(layer.layer(inner).oneshot(request).await.expect("infallible")).await.body
}

#[tokio::test]
async fn raw_token_is_forwarded_only_if_configured() {
    let server = TestIssuer::new();
    let token = server.token().sign();
    assert_eq!(forwarded_token(layer(&server), stack::request_with_token(&token)).await, "none");
    let shown = forwarded_token(layer(&server).with_raw_token(), stack::request_with_token(&token)).await;
    assert_eq!(shown, format!("{token} as BearerToken(redacted)"));
    let anonymous = layer(&server).with_raw_token().with_anonymous();
    assert_eq!(forwarded_token(anonymous, Request::default()).await, "none");
}

#[tokio::test]
async fn raw_token_is_forwarded_after_a_wait_for_keys() {
    let server = TestIssuer::new();
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone()).build();
    server.set_outage(Outage::None);
    let token = server.token().sign();
    let cold = BearerLayer::new(validator.expect("a valid configuration")).with_raw_token();
    assert_eq!(
        forwarded_token(cold, stack::request_with_token(&token)).await,
        format!("{token} as BearerToken(redacted)")
    );
}

#[tokio::test]
async fn extractor_returns_the_raw_token() {
    let server = TestIssuer::new();
    let routes =
        || Router::new().route("/", get(|token: BearerToken<'static>| async move { token.as_str().to_owned() }));
    let token = server.token().sign();
    let send = async |app: Router, token: Option<&str>| {
        let request = token.map_or_else(|| Request::get("/"), stack::bearer_request);
        let request = request.body(axum::body::Body::empty()).expect("a request");
        TestResponse::from_response(app.oneshot(request).await.expect("infallible")).await
    };
    let forwarded_token = send(routes().layer(layer(&server).with_raw_token()), Some(&token)).await;
    assert_eq!((forwarded_token.status, &*forwarded_token.body), (OK, &*token));
    assert_eq!(send(routes().layer(layer(&server)), Some(&token)).await.status, 500, "the layer does not insert it");
    let anonymous = send(routes().layer(layer(&server).with_raw_token().with_anonymous()), None).await;
    assert_eq!((anonymous.status, anonymous.challenge()), (401, "Bearer"));
}

#[tokio::test]
async fn reads_a_cookie_only_if_configured() {
    let server = TestIssuer::new();
    let token = server.token().subject("ann").sign();
    let with = || layer(&server).with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    let request = |cookie: String| Request::get("/").header("cookie", cookie).body(Body::default()).expect("a request");
    let good = || request(format!("theme=dark; access={token}"));
    let response = stack::send_through(with(), good()).await;
    assert_eq!((response.status, &*response.body), (OK, "ann"));
    assert_eq!(stack::send_through(layer(&server), good()).await.status, 401);
    let broken = stack::send_through(with(), request(format!("access={token}x"))).await;
    assert_eq!(broken.status, 401);
    assert_eq!(stack::send_through(with(), request("theme=dark".to_owned())).await.challenge(), "Bearer");
    assert_eq!(
        stack::send_through(with(), stack::request_with_token(&token)).await.status,
        OK,
        "the header is still read"
    );
    for doubled in [
        request(format!("access={token}; access={token}")),
        stack::bearer_request(&token)
            .header("cookie", format!("access={token}"))
            .body(Body::default())
            .expect("a request"),
    ] {
        let response = stack::send_through(with(), doubled).await;
        assert_eq!((response.status, response.challenge()), (400, "Bearer error=\"invalid_request\""));
    }
}

#[tokio::test]
async fn error_of_the_authorization_header_comes_first() {
    let server = TestIssuer::new();
    let token = server.token().sign();
    let inner = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::default())) });
    let outcome = async |layer: BearerLayer, request: Request<Body>| {
        let response = layer.layer(inner).oneshot(request).await.expect("infallible");
        let rejection = response.extensions().get::<Rejection>().cloned();
        assert_eq!(response.status() == 200, rejection.is_none());
        rejection
    };
    let credential = |error| Some(Rejection::Credential(error));
    let cookies = layer(&server).with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    let with_cookie = |field: &str, cookie: &str| {
        let request = Request::get("/").header("authorization", field).header("cookie", format!("access={cookie}"));
        request.body(Body::default()).expect("a request")
    };
    for (field, cookie, expected) in [
        ("Bearer a, b", &*token, credential(CredentialError::Malformed)),
        ("Bearer", &token, credential(CredentialError::Empty)),
        ("Bearer", "a b", credential(CredentialError::Empty)),
        (&format!("Bearer {token}"), "a b", credential(CredentialError::Malformed)),
        (&format!("Bearer {token}"), &token, credential(CredentialError::Multiple)),
        (&format!("Bearer {token}"), "", None),
        ("Basic dTpw", &token, None),
    ] {
        assert_eq!(outcome(cookies.clone(), with_cookie(field, cookie)).await, expected, "{field} and {cookie}");
    }
    let long = "a".repeat(16 * 1024 + 1);
    let too_long = Some(Rejection::Token(TokenError::TooLong { length: long.len(), limit: 16 * 1024 }));
    let bound = Api::new(AUDIENCE, trusted(&server)).with_issuer_for_host("api.test", server.issuer());
    let bound = BearerLayer::new(Validator::new(bound).expect("a valid configuration"));
    for (field, host, expected) in [
        ("Bearer a, b", "a b", credential(CredentialError::Malformed)),
        ("Bearer", "a b", credential(CredentialError::Empty)),
        (&format!("Bearer {token}"), "a b", Some(Rejection::Host(HostError::Malformed))),
        (&format!("Bearer {token}"), "api.test", None),
    ] {
        let request = Request::get("/").header("authorization", field).header("host", host).body(Body::default());
        assert_eq!(outcome(bound.clone(), request.expect("a request")).await, expected, "{field} for {host}");
    }
    let bound = bound.with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    for (cookie, host, expected) in [
        (&*long, "a b", too_long),
        (&*token, "a b", Some(Rejection::Host(HostError::Malformed))),
        (&*token, "api.test", None),
    ] {
        let request = Request::get("/").header("cookie", format!("access={cookie}")).header("host", host);
        let request = request.body(Body::default()).expect("a request");
        assert_eq!(outcome(bound.clone(), request).await, expected, "a cookie of {} for {host}", cookie.len());
    }
}

#[tokio::test]
async fn rejects_an_oversized_credential_before_other_token_sources_are_read() {
    let server = TestIssuer::new();
    let token = server.token().subject("ann").sign();
    let with = layer(&server).with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    let beside = |credential: &str| {
        let request = stack::bearer_request(credential).header("cookie", format!("access={token}"));
        request.body(Body::default()).expect("a request")
    };
    let limit = 16 * 1024;
    let long = stack::send_through(with.clone(), beside(&"a".repeat(limit + 1))).await;
    assert_eq!((long.status, long.challenge()), (401, stack::INVALID_TOKEN));
    let doubled = stack::send_through(with, beside(&"a".repeat(limit))).await;
    assert_eq!((doubled.status, doubled.challenge()), (400, "Bearer error=\"invalid_request\""));
}

#[tokio::test]
async fn accepts_a_token_in_a_websocket_subprotocol() {
    let server = TestIssuer::new();
    let token = server.token().subject("ann").sign();
    let with =
        || layer(&server).with_token_source(|request| BearerToken::from_subprotocol(request.headers(), "bearer."));
    let request = |protocols: String| {
        Request::get("/").header("sec-websocket-protocol", protocols).body(Body::default()).expect("a request")
    };
    assert_eq!(stack::send_through(with(), request(format!("chat, bearer.{token}"))).await.body, "ann");
    assert_eq!(stack::send_through(with(), request("chat".to_owned())).await.status, 401);
    assert_eq!(stack::send_through(with(), request("chat, bearer.".to_owned())).await.status, 400);
    let beside = |protocols: String| stack::bearer_request(&token).header("sec-websocket-protocol", protocols);
    let send = async |request: http::request::Builder| {
        stack::send_through(with(), request.body(Body::default()).expect("a request")).await
    };
    let doubled = send(beside(format!("chat, bearer.{token}"))).await;
    assert_eq!((doubled.status, doubled.challenge()), (400, "Bearer error=\"invalid_request\""));
    assert_eq!(send(beside("chat".to_owned())).await.body, "ann");
}

#[tokio::test]
async fn header_with_the_token_is_marked_sensitive() {
    let server = TestIssuer::new();
    let with = layer(&server).with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    let inner = service_fn(|request: Request<Body>| async move {
        let sensitive = request.headers()["cookie"].is_sensitive();
        Ok::<_, Infallible>(Response::new(Body::from(sensitive.to_string())))
    });
    let request = Request::get("/").header("cookie", format!("access={}", server.token().sign()));
    let response = with.layer(inner).oneshot(request.body(Body::default()).expect("a request")).await;
    assert_eq!(TestResponse::from_response(response.expect("infallible")).await.body, "true");
}
