//! `BearerLayer`: accepted and rejected requests, and the extensions that the inner service receives.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Deserialize;
use tower::{Layer, Service, service_fn};
use tower_bearer::middleware::{BearerService, ResponseFuture};
use tower_bearer::request::CredentialError;
use tower_bearer::response::ChallengeError;
use tower_bearer::testing::TestIssuer;
use tower_bearer::token::TokenError;
use tower_bearer::{BearerLayer, Claims, Rejection};

use crate::challenge_parser::challenge;
use crate::layer_fixture::{TestBody, bearer_request, request, send, subject_service, text, validator};

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: String,
}

#[tokio::test]
async fn accepts_a_valid_token_and_rejects_none() {
    let server = TestIssuer::new();
    let service = BearerLayer::new(validator(&server)).layer(subject_service());
    let response = send(service.clone(), bearer_request(&server.token().subject("ann").sign())).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().len(), 0);
    assert_eq!(text(response).await, "ann");

    for fields in [&[][..], &["Basic dXNlcjpwYXNz"], &["DPoP abc"]] {
        let response = send(service.clone(), request(fields)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{fields:?}");
        assert_eq!(challenge(response.headers()), []);
        assert_eq!(response.extensions().get(), Some(&Rejection::NoCredential));
    }
}

#[tokio::test]
async fn rejects_two_credentials_even_if_one_is_valid() {
    let server = TestIssuer::new();
    let good = format!("Bearer {}", server.token().sign());
    let layer = BearerLayer::new(validator(&server)).with_anonymous();
    for fields in [&[&*good, &good][..], &[&good, "Bearer bad"], &["Basic dXNlcjpwYXNz", &good]] {
        let response = send(layer.layer(subject_service()), request(fields)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(challenge(response.headers()), [("error".to_owned(), "invalid_request".to_owned())]);
    }
}

#[tokio::test]
async fn rejects_an_oversized_credential_by_its_length() {
    let server = TestIssuer::new();
    let service = BearerLayer::new(validator(&server)).layer(subject_service());
    let limit = 16 * 1024;
    for byte in ["a", ","] {
        let response = send(service.clone(), request(&[&format!("Bearer {}", byte.repeat(limit + 1))])).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let expected = Rejection::Token(TokenError::TooLong { length: limit + 1, limit });
        assert_eq!(response.extensions().get(), Some(&expected));
    }
    for (byte, expected) in
        [("a", Rejection::Token(TokenError::NotAJwt)), (",", Rejection::Credential(CredentialError::Malformed))]
    {
        let response = send(service.clone(), request(&[&format!("Bearer {}", byte.repeat(limit))])).await;
        assert_eq!(response.extensions().get(), Some(&expected));
    }
}

#[tokio::test]
async fn anonymous_accepts_no_credential_and_rejects_a_bad_one() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_anonymous();
    let anonymous = send(layer.layer(subject_service()), request(&[])).await;
    assert_eq!((anonymous.status(), text(anonymous).await.as_str()), (StatusCode::OK, "nobody"));
    let known = send(layer.layer(subject_service()), bearer_request(&server.token().subject("ann").sign())).await;
    assert_eq!(text(known).await, "ann");
    let bad = send(layer.layer(subject_service()), bearer_request(&server.token().expired().sign())).await;
    assert_eq!(bad.status(), StatusCode::UNAUTHORIZED);
    let empty = send(layer.layer(subject_service()), request(&["Bearer "])).await;
    assert_eq!(empty.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn challenge_has_realm_and_scope() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_realm("north \"wind\"").with_challenge_scope("read write");
    let bare = send(layer.layer(subject_service()), request(&[])).await;
    assert_eq!(bare.headers()["www-authenticate"], r#"Bearer realm="north \"wind\"", scope="read write""#);
    // RFC 6750 §3.1: the token is invalid, so the challenge has no scope.
    let bad = send(layer.layer(subject_service()), bearer_request("bad")).await;
    let names: Vec<String> = challenge(bad.headers()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["realm", "error", "error_description"]);

    assert_eq!(layer.clone().try_with_realm("a\r\nb").unwrap_err(), ChallengeError::Realm);
    assert_eq!(layer.try_with_challenge_scope("a  b").unwrap_err(), ChallengeError::Scope);
}

#[test]
#[should_panic(expected = "a realm must contain only printable ASCII characters")]
fn panics_on_a_realm_that_is_not_a_header_value() {
    let _ = BearerLayer::new(validator(&TestIssuer::new())).with_realm("a\r\nb");
}

#[tokio::test]
async fn no_method_is_exempt() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server));
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "POST", "BREW"] {
        let mut request = request(&[]);
        *request.method_mut() = method.parse().expect("a method");
        request.headers_mut().insert("x-http-method-override", HeaderValue::from_static("OPTIONS"));
        let response = send(layer.layer(subject_service()), request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method}");
    }
}

#[tokio::test]
async fn accepts_preflights_only_if_configured() {
    let server = TestIssuer::new();
    let strict = BearerLayer::new(validator(&server));
    let open = strict.clone().with_preflight_passthrough();
    let preflight = |method: Method, origin: bool, has_request_method: bool, credential: Option<&'static str>| {
        let mut request = request(credential.as_slice());
        *request.method_mut() = method;
        if origin {
            request.headers_mut().insert(ORIGIN, HeaderValue::from_static("https://app.test"));
        }
        if has_request_method {
            request.headers_mut().insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        }
        request
    };
    let passed = send(open.layer(subject_service()), preflight(Method::OPTIONS, true, true, None)).await;
    assert_eq!((passed.status(), text(passed).await.as_str()), (StatusCode::OK, "nobody"));
    let rejected = send(strict.layer(subject_service()), preflight(Method::OPTIONS, true, true, None)).await;
    assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
    for request in [
        preflight(Method::GET, true, true, None),
        preflight(Method::OPTIONS, false, true, None),
        preflight(Method::OPTIONS, true, false, None),
        preflight(Method::OPTIONS, true, true, Some("Bearer bad")),
    ] {
        assert_eq!(send(open.layer(subject_service()), request).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn request_carries_custom_and_registered_claims() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>());
    let seen = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&seen);
    let service = service_fn(move |request: Request<TestBody>| {
        let custom: Option<&Claims<Tenant>> = request.extensions().get();
        let registered: Option<&Claims> = request.extensions().get();
        let both = (
            custom.map(|claims| claims.custom().tenant.clone()),
            registered.and_then(|claims| claims.subject().map(str::to_owned)),
        );
        *keep.lock().expect("no panic") = Some(both);
        async { Ok::<_, Infallible>(Response::new(TestBody::default())) }
    });
    let token = server.token().subject("ann").claim("tenant", "north").sign();
    assert_eq!(send(layer.layer(service), bearer_request(&token)).await.status(), StatusCode::OK);
    assert_eq!(seen.lock().expect("no panic").take(), Some((Some("north".to_owned()), Some("ann".to_owned()))));
}

#[tokio::test]
async fn authorization_header_is_marked_sensitive() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server)).with_anonymous();
    for request in [bearer_request(&server.token().sign()), request(&["Basic dXNlcjpwYXNz"])] {
        let service = service_fn(|request: Request<TestBody>| async move {
            assert!(request.headers()[AUTHORIZATION].is_sensitive());
            Ok::<_, Infallible>(Response::new(TestBody::default()))
        });
        assert_eq!(send(layer.layer(service), request).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn inner_error_is_returned() {
    #[derive(Debug, PartialEq)]
    struct Broken;
    let server = TestIssuer::new();
    let service = service_fn(|_: Request<TestBody>| async { Err::<Response<TestBody>, _>(Broken) });
    let mut service = BearerLayer::new(validator(&server)).layer(service);
    assert_eq!(service.call(bearer_request(&server.token().sign())).await.map(|_| ()), Err(Broken));
    assert_eq!(service.call(request(&[])).await.map(|response| response.status()), Ok(StatusCode::UNAUTHORIZED));
}

#[test]
fn debug_shows_settings_without_secrets() {
    let layer = BearerLayer::new(validator(&TestIssuer::new())).with_realm("north").with_json_body();
    let shown = format!("{:?}", layer.layer(()));
    assert!(shown.contains("north") && shown.contains("JsonBody"), "{shown}");
}

#[test]
fn layers_services_and_futures_have_the_expected_auto_traits() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug>(_: &T) {}
    fn sent<T: Send>(_: &T) {}
    /// Neither `Clone` nor `Sync`, like some request bodies.
    #[derive(Default)]
    struct Streaming(#[expect(dead_code, reason = "makes the type what it is")] std::cell::Cell<u8>);

    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>());
    shared(&layer);
    #[derive(Clone, Debug)]
    struct Inner;
    impl Service<Request<Streaming>> for Inner {
        type Response = Response<TestBody>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<TestBody>, Infallible>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Streaming>) -> Self::Future {
            std::future::ready(Ok(Response::new(TestBody::default())))
        }
    }
    let mut service: BearerService<Inner, BearerLayer<Tenant>> = layer.layer(Inner);
    shared(&service);
    let future: ResponseFuture<Inner, Streaming> = service.call(Request::new(Streaming::default()));
    sent(&future);
    assert!(format!("{future:?}").contains("rejected"));
}
