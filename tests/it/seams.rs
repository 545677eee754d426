//! Seams: the raw token for downstream calls, and tokens that stand elsewhere than in `Authorization`.

use std::convert::Infallible;

use axum::Router;
use axum::routing::get;
use http::{Request, Response};
use tower::{Layer, ServiceExt as _, service_fn};
use tower_bearer::request::HostError;
use tower_bearer::request::credential::{self, BearerToken, CredentialError};
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::token::TokenError;
use tower_bearer::{Api, BearerLayer, Issuer, Rejection, Validator};

use crate::gate::{self, AUDIENCE, Answer, Body, OK, trusted};

fn layer(server: &TestIssuer) -> BearerLayer {
    BearerLayer::new(Validator::new(Api::new(AUDIENCE, trusted(server))).expect("a good configuration"))
}

/// Says which token reached the service.
async fn kept(layer: BearerLayer, mut request: Request<Body>) -> String {
    let stale = BearerToken::parse("left-by-somebody-else").expect("a token").into_owned();
    request.extensions_mut().insert(stale);
    let inner = service_fn(|request: Request<Body>| async move {
        let token = request.extensions().get::<BearerToken<'static>>();
        let shown = token.map_or_else(|| "none".to_owned(), |token| format!("{} as {token:?}", token.as_str()));
        Ok::<_, Infallible>(Response::new(Body::from(shown)))
    });
    Answer::of(layer.layer(inner).oneshot(request).await.expect("infallible")).await.body
}

#[tokio::test]
async fn the_token_goes_on_only_where_the_application_asks_for_it() {
    let server = TestIssuer::new();
    let token = server.token().sign();
    assert_eq!(kept(layer(&server), gate::with_token(&token)).await, "none");
    let shown = kept(layer(&server).with_raw_token(), gate::with_token(&token)).await;
    assert_eq!(shown, format!("{token} as BearerToken(redacted)"));
    let anonymous = layer(&server).with_raw_token().with_anonymous();
    assert_eq!(kept(anonymous, Request::default()).await, "none");
}

#[tokio::test]
async fn the_token_goes_on_after_a_wait_for_keys_too() {
    let server = TestIssuer::new();
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone()).build();
    server.outage(Outage::None);
    let token = server.token().sign();
    let cold = BearerLayer::new(validator.expect("a good configuration")).with_raw_token();
    assert_eq!(kept(cold, gate::with_token(&token)).await, format!("{token} as BearerToken(redacted)"));
}

#[tokio::test]
async fn an_extractor_hands_the_token_on() {
    let server = TestIssuer::new();
    let routes =
        || Router::new().route("/", get(|token: BearerToken<'static>| async move { token.as_str().to_owned() }));
    let token = server.token().sign();
    let ask = async |app: Router, token: Option<&str>| {
        let request = token.map_or_else(|| Request::get("/"), gate::bearing);
        let request = request.body(axum::body::Body::empty()).expect("a request");
        Answer::of(app.oneshot(request).await.expect("infallible")).await
    };
    let kept = ask(routes().layer(layer(&server).with_raw_token()), Some(&token)).await;
    assert_eq!((kept.status, &*kept.body), (OK, &*token));
    assert_eq!(ask(routes().layer(layer(&server)), Some(&token)).await.status, 500, "the layer does not keep it");
    let anonymous = ask(routes().layer(layer(&server).with_raw_token().with_anonymous()), None).await;
    assert_eq!((anonymous.status, anonymous.challenge()), (401, "Bearer"));
}

#[tokio::test]
async fn a_cookie_counts_only_where_the_application_says_so() {
    let server = TestIssuer::new();
    let token = server.token().subject("ann").sign();
    let with = || layer(&server).with_token_source(|headers| credential::from_cookie(headers, "access"));
    let request = |cookie: String| Request::get("/").header("cookie", cookie).body(Body::default()).expect("a request");
    let good = || request(format!("theme=dark; access={token}"));
    let answer = gate::through(with(), good()).await;
    assert_eq!((answer.status, &*answer.body), (OK, "ann"));
    assert_eq!(gate::through(layer(&server), good()).await.status, 401);
    let broken = gate::through(with(), request(format!("access={token}x"))).await;
    assert_eq!(broken.status, 401);
    assert_eq!(gate::through(with(), request("theme=dark".to_owned())).await.challenge(), "Bearer");
    assert_eq!(gate::through(with(), gate::with_token(&token)).await.status, OK, "the header still counts");
    for doubled in [
        request(format!("access={token}; access={token}")),
        gate::bearing(&token).header("cookie", format!("access={token}")).body(Body::default()).expect("a request"),
    ] {
        let answer = gate::through(with(), doubled).await;
        assert_eq!((answer.status, answer.challenge()), (400, "Bearer error=\"invalid_request\""));
    }
}

#[tokio::test]
async fn a_fault_of_the_field_comes_before_those_of_whatever_else_is_looked_at() {
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
    let cookies = layer(&server).with_token_source(|headers| credential::from_cookie(headers, "access"));
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
    let bound = BearerLayer::new(Validator::new(bound).expect("a good configuration"));
    for (field, host, expected) in [
        ("Bearer a, b", "a b", credential(CredentialError::Malformed)),
        ("Bearer", "a b", credential(CredentialError::Empty)),
        (&format!("Bearer {token}"), "a b", Some(Rejection::Host(HostError::Malformed))),
        (&format!("Bearer {token}"), "api.test", None),
    ] {
        let request = Request::get("/").header("authorization", field).header("host", host).body(Body::default());
        assert_eq!(outcome(bound.clone(), request.expect("a request")).await, expected, "{field} for {host}");
    }
    let bound = bound.with_token_source(|headers| credential::from_cookie(headers, "access"));
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
async fn a_credential_over_the_limit_is_refused_before_another_place_is_looked_at() {
    let server = TestIssuer::new();
    let token = server.token().subject("ann").sign();
    let with = layer(&server).with_token_source(|headers| credential::from_cookie(headers, "access"));
    let beside = |credential: &str| {
        let request = gate::bearing(credential).header("cookie", format!("access={token}"));
        request.body(Body::default()).expect("a request")
    };
    let limit = 16 * 1024;
    let long = gate::through(with.clone(), beside(&"a".repeat(limit + 1))).await;
    assert_eq!((long.status, long.challenge()), (401, gate::INVALID_TOKEN));
    let doubled = gate::through(with, beside(&"a".repeat(limit))).await;
    assert_eq!((doubled.status, doubled.challenge()), (400, "Bearer error=\"invalid_request\""));
}

#[tokio::test]
async fn a_websocket_brings_its_token_as_a_subprotocol() {
    let server = TestIssuer::new();
    let token = server.token().subject("ann").sign();
    let with = || layer(&server).with_token_source(|headers| credential::from_subprotocol(headers, "bearer."));
    let request = |protocols: String| {
        Request::get("/").header("sec-websocket-protocol", protocols).body(Body::default()).expect("a request")
    };
    assert_eq!(gate::through(with(), request(format!("chat, bearer.{token}"))).await.body, "ann");
    assert_eq!(gate::through(with(), request("chat".to_owned())).await.status, 401);
    assert_eq!(gate::through(with(), request("chat, bearer.".to_owned())).await.status, 400);
    let beside = |protocols: String| gate::bearing(&token).header("sec-websocket-protocol", protocols);
    let ask = async |request: http::request::Builder| {
        gate::through(with(), request.body(Body::default()).expect("a request")).await
    };
    let doubled = ask(beside(format!("chat, bearer.{token}"))).await;
    assert_eq!((doubled.status, doubled.challenge()), (400, "Bearer error=\"invalid_request\""));
    assert_eq!(ask(beside("chat".to_owned())).await.body, "ann");
}

#[tokio::test]
async fn what_brought_the_token_is_marked_sensitive() {
    let server = TestIssuer::new();
    let with = layer(&server).with_token_source(|headers| credential::from_cookie(headers, "access"));
    let inner = service_fn(|request: Request<Body>| async move {
        let sensitive = request.headers()["cookie"].is_sensitive();
        Ok::<_, Infallible>(Response::new(Body::from(sensitive.to_string())))
    });
    let request = Request::get("/").header("cookie", format!("access={}", server.token().sign()));
    let response = with.layer(inner).oneshot(request.body(Body::default()).expect("a request")).await;
    assert_eq!(Answer::of(response.expect("infallible")).await.body, "true");
}
