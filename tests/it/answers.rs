//! The exact response of every rejection: status, challenge, `Retry-After`, `Cache-Control` and JSON body.

use std::time::Duration;

use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use tower::Layer;
use tower_bearer::claims::{ClaimError, ClaimErrorReason, CustomClaimsError};
use tower_bearer::extract::BearerRejection;
use tower_bearer::jwks::RefreshError;
use tower_bearer::rejection::{CheckError, IssuerError, KeyNotFoundError};
use tower_bearer::request::CredentialError;
use tower_bearer::request::HostError;
use tower_bearer::requirement::RequirementError;
use tower_bearer::testing::{FakeClock, Outage, TestIssuer, claims};
use tower_bearer::token::TokenError;
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Rejection, Requirement, Validator};

use crate::challenge_parser::challenge;
use crate::fixture::AUDIENCE;
use crate::layer_fixture::{bearer_request, request, send, subject_service, text, validator};

const INVALID_TOKEN: &str = concat!(
    r#"Bearer error="invalid_token", "#,
    r#"error_description="the access token is malformed, expired, or not valid here""#
);

const DAY: Duration = Duration::from_secs(86_400);

const INVALID_TOKEN_BODY: &str =
    r#"{"error":"invalid_token","error_description":"the access token is malformed, expired, or not valid here"}"#;

/// One rejection for each part of a token: form, issuer, algorithm, key, signature, claims, and custom checks.
fn token_rejections() -> Vec<Rejection> {
    vec![
        Rejection::Token(TokenError::NotAJwt),
        Rejection::Token(TokenError::TooLong { length: 9, limit: 8 }),
        Rejection::Issuer(IssuerError::Unknown { difference: None }),
        Rejection::Issuer(IssuerError::NotForHost),
        Rejection::Issuer(IssuerError::UnknownHost),
        Rejection::Issuer(IssuerError::TenantNotAllowed),
        Rejection::Issuer(IssuerError::TenantMismatch),
        Rejection::Algorithm { algorithm: Algorithm::HS256 },
        Rejection::UnverifiedClaims(ClaimError::Expired),
        Rejection::Key(KeyNotFoundError::Unknown { age: None }),
        Rejection::Key(KeyNotFoundError::NotForVerification),
        Rejection::Key(KeyNotFoundError::OtherTenant),
        Rejection::Signature,
        Rejection::Claims(ClaimError::Expired),
        Rejection::Claims(ClaimError::Audience(ClaimErrorReason::Missing)),
        Rejection::Claims(ClaimError::Confirmation),
        Rejection::CustomClaims(CustomClaimsError::new(Some("department"), "invalid type: string, expected u8")),
        Rejection::Check(CheckError::new()),
    ]
}

struct Expected<'e> {
    status: u16,
    challenge: Option<&'e str>,
    retry_after: Option<&'e str>,
    body: &'e str,
}

async fn assert_response(rejection: Rejection, expected: Expected<'_>) {
    let response = BearerRejection::from(rejection.clone()).with_json_body().into_response();
    assert_eq!(response.status(), expected.status, "{rejection:?}");
    let headers = response.headers();
    assert_eq!(value(headers, WWW_AUTHENTICATE.as_str()), expected.challenge, "{rejection:?}");
    assert_eq!(value(headers, RETRY_AFTER.as_str()), expected.retry_after, "{rejection:?}");
    assert_eq!(value(headers, CACHE_CONTROL.as_str()), (expected.status < 500).then_some("no-store"), "{rejection:?}");
    assert_eq!(value(headers, "content-type"), Some("application/json"));
    assert_eq!(response.extensions().get::<Rejection>(), Some(&rejection));
    assert_eq!(body_of(response).await, expected.body, "{rejection:?}");

    let empty = BearerRejection::from(rejection).into_response();
    assert_eq!((empty.status().as_u16(), value(empty.headers(), "content-type")), (expected.status, None));
    assert_eq!(body_of(empty).await, "");
}

fn scopes(names: [&str; 2]) -> Requirement {
    Requirement::all_of(names.map(Requirement::scope))
}

/// Returns the rejection of a token without scopes, permissions and `acr`.
fn rejection_of(requirement: &Requirement) -> Rejection {
    claims().build().require(requirement).expect_err("nothing is met").into()
}

fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    assert!(headers.get_all(name).iter().count() <= 1, "{name} occurs once");
    headers.get(name).map(|value| value.to_str().expect("visible ASCII"))
}

async fn body_of(response: Response) -> String {
    let body = to_bytes(response.into_body(), 4096).await.expect("a short body");
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn missing_credential_returns_401_with_a_challenge_without_error() {
    let expected = Expected { status: 401, challenge: Some("Bearer"), retry_after: None, body: "{}" };
    assert_response(Rejection::NoCredential, expected).await;
}

#[tokio::test]
async fn malformed_credential_or_host_returns_400_invalid_request() {
    for rejection in [
        Rejection::Credential(CredentialError::Multiple),
        Rejection::Credential(CredentialError::Empty),
        Rejection::Credential(CredentialError::Malformed),
        Rejection::Host(HostError::Malformed),
        Rejection::Host(HostError::Multiple),
        Rejection::Host(HostError::Contradiction),
    ] {
        let body = r#"{"error":"invalid_request","error_description":"the credential or the host is malformed or present more than once"}"#;
        let challenge = Some(r#"Bearer error="invalid_request""#);
        assert_response(rejection, Expected { status: 400, challenge, retry_after: None, body }).await;
    }
}

#[tokio::test]
async fn every_invalid_token_returns_the_same_response() {
    for rejection in token_rejections() {
        let expected =
            Expected { status: 401, challenge: Some(INVALID_TOKEN), retry_after: None, body: INVALID_TOKEN_BODY };
        assert_response(rejection, expected).await;
    }
}

#[tokio::test]
async fn missing_scope_returns_403_with_the_scopes() {
    let body = r#"{"error":"insufficient_scope","error_description":"the access token does not allow this"}"#;
    for (requirement, challenge) in [
        (
            scopes(["read:orders", "write:orders"]),
            r#"Bearer error="insufficient_scope", scope="read:orders write:orders""#,
        ),
        (Requirement::permission("pay"), r#"Bearer error="insufficient_scope""#),
    ] {
        let requirement = Requirement::all_of([requirement, Requirement::permission("admin")]);
        assert_response(
            rejection_of(&requirement),
            Expected { status: 403, challenge: Some(challenge), retry_after: None, body },
        )
        .await;
    }
}

#[tokio::test]
async fn weak_or_old_authentication_returns_a_step_up_challenge() {
    let body = concat!(
        r#"{"error":"insufficient_user_authentication","#,
        r#""error_description":"a stronger or more recent authentication is required"}"#
    );
    let gold = || Requirement::acr_values(["gold", "silver"]);
    let max_age = |millis| Requirement::max_authentication_age(Duration::from_millis(millis));
    for (requirement, challenge) in [
        (gold(), r#"Bearer error="insufficient_user_authentication", acr_values="gold silver""#),
        (max_age(300_500), r#"Bearer error="insufficient_user_authentication", max_age="300""#),
        (
            Requirement::all_of([gold(), max_age(0)]),
            r#"Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age="0""#,
        ),
    ] {
        assert_response(
            rejection_of(&requirement),
            Expected { status: 401, challenge: Some(challenge), retry_after: None, body },
        )
        .await;
    }
}

#[tokio::test]
async fn unavailable_check_returns_503_without_a_challenge() {
    let body =
        r#"{"error":"temporarily_unavailable","error_description":"the access token cannot be checked at the moment"}"#;
    for (wait, seconds) in [(Duration::ZERO, "1"), (Duration::from_millis(1_001), "2"), (Duration::from_secs(30), "30")]
    {
        let rejection = RequirementError::unavailable(&claims().build(), wait).into();
        let expected = Expected { status: 503, challenge: None, retry_after: Some(seconds), body };
        assert_response(rejection, expected).await;
    }
}

/// The error of the fetch and its time are not shown to the client.
#[tokio::test]
async fn unavailable_keys_return_503_without_the_cause() {
    let body =
        r#"{"error":"temporarily_unavailable","error_description":"the access token cannot be checked at the moment"}"#;
    let down = RefreshError::Status { status: 503 };
    for hours in [0, 3] {
        let clock = FakeClock::new();
        let issuer = TestIssuer::auth0("northwind.eu.auth0.com").with_clock(clock.clone());
        issuer.set_outage(Outage::Status(StatusCode::SERVICE_UNAVAILABLE));
        let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
        let builder = Validator::builder(api).with_fetch(issuer.clone()).with_clock(clock.clone());
        let (validator, token) =
            (builder.build().expect("a valid configuration"), issuer.token().expires_in(DAY).sign());
        let first = tokio::spawn({
            let (validator, token) = (validator.clone(), token.clone());
            async move { validator.validate(&token).await.map(drop) }
        });
        clock.run_for(Duration::from_secs(10)).await;
        let first = first.await.expect("no panic").expect_err("no keys");
        clock.run_for(Duration::from_secs(hours * 3600)).await;
        let rejection = match hours {
            0 => first,
            _ => validator.validate(&token).await.expect_err("no keys"),
        };
        let Rejection::KeysUnavailable { retry_after, unavailable_for, cause, .. } = &rejection else {
            panic!("{rejection:?}")
        };
        assert_eq!(*cause, Some(down));
        assert!(*unavailable_for >= Duration::from_secs(hours * 3600), "{rejection:?}");
        let seconds = retry_after.as_millis().div_ceil(1_000).to_string();
        let expected = Expected { status: 503, challenge: None, retry_after: Some(&seconds), body };
        assert_response(rejection.clone(), expected).await;
    }
}

#[test]
fn every_challenge_with_a_realm_parses_strictly() {
    let others = [
        Rejection::NoCredential,
        Rejection::Credential(CredentialError::Empty),
        rejection_of(&Requirement::all_of([Requirement::permission("p"), scopes(["a", "b"])])),
        rejection_of(&Requirement::all_of([Requirement::acr_values(["x"]), scopes(["a", "b"])])),
    ];
    for rejection in token_rejections().into_iter().chain(others) {
        let realm = r#"a "quoted\" realm, error="none""#;
        let response = BearerRejection::from(rejection).try_with_realm(realm).expect("printable").into_response();
        let parameters = challenge(response.headers());
        assert_eq!(parameters[0], ("realm".to_owned(), realm.to_owned()));
    }
    assert!(BearerRejection::from(Rejection::Signature).try_with_realm("a\nb").is_err());
}

#[tokio::test]
async fn responses_contain_no_part_of_the_token() {
    const CANARY: &str = "q7Zecho";
    let server = TestIssuer::new();
    let other_issuer = TestIssuer::named("https://q7Zecho.test/");
    let layer = BearerLayer::new(validator(&server)).with_json_body();
    let tokens = [
        server.token().kid(r#"q7Zecho", realm="x"#).sign(),
        server.token().subject(CANARY).expired().sign(),
        server.token().audience(CANARY).sign(),
        server.token().header("alg", CANARY).sign(),
        server.token().typ(CANARY).sign(),
        server.token().claim(CANARY, CANARY).with_broken_signature().sign(),
        other_issuer.token().sign(),
        CANARY.to_owned(),
        format!("{CANARY}.{CANARY}.{CANARY}"),
    ];
    for token in tokens {
        let fields = [format!("Bearer {token}")];
        let response = send(layer.layer(subject_service()), request(&[&fields[0]])).await;
        assert_eq!(value(response.headers(), "www-authenticate"), Some(INVALID_TOKEN), "{token}");
        let shown = format!("{:?}", response.headers());
        assert!(!shown.contains(CANARY) && !shown.contains(&token), "{shown}");
        assert_eq!(text(response).await, INVALID_TOKEN_BODY, "{token}");
    }
    for field in ["Bearer q7Zecho q7Zecho", "Bearer q7Zecho, Basic q7Zecho", "Basic q7Zecho"] {
        let response = send(layer.layer(subject_service()), request(&[field])).await;
        assert!(!format!("{:?}", response.headers()).contains(CANARY), "{field}");
        assert!(!text(response).await.contains(CANARY), "{field}");
    }
}

#[tokio::test]
async fn any_credential_bytes_return_a_response_without_a_panic() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server));
    for bytes in [&b"Bearer \xff\xfe"[..], b"Bearer \t", b"\xff", b"", b"Bearer", b"Bearer ====", b"Bearer a\x80"] {
        let mut request = request(&[]);
        request.headers_mut().insert(AUTHORIZATION, http::HeaderValue::from_bytes(bytes).expect("a field value"));
        let response = send(layer.layer(subject_service()), request).await;
        assert!(matches!(response.status().as_u16(), 400 | 401), "{bytes:?}");
        challenge(response.headers());
    }
    let response = send(layer.layer(subject_service()), bearer_request(&"a".repeat(100_000))).await;
    assert_eq!(value(response.headers(), "www-authenticate"), Some(INVALID_TOKEN));
}
