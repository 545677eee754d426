//! The extractors in axum routers.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use tower::ServiceExt;
use tower::util::MapRequestLayer;
use tower_bearer::extract::{BearerRejection, ClaimsRejection};
use tower_bearer::request::BearerToken;
use tower_bearer::requirement::RequirementError;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, Claims, Rejection, RequireLayer, Requirement};

use crate::layer_fixture::validator;

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: String,
}

async fn subject(claims: Claims) -> String {
    claims.subject().unwrap_or("no subject").to_owned()
}

async fn tenant(claims: Claims<Tenant>) -> String {
    claims.custom().tenant.clone()
}

async fn optional(claims: Option<Claims>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "subject": claims.as_ref().and_then(|claims| claims.subject()) }))
}

async fn optional_tenant(claims: Option<Claims<Tenant>>) -> String {
    claims.map_or("none".to_owned(), |claims| claims.custom().tenant.clone())
}

fn routes() -> Router {
    Router::new()
        .route("/subject", get(subject))
        .route("/tenant", get(tenant))
        .route("/optional", get(optional))
        .route("/optional-tenant", get(optional_tenant))
}

async fn send(app: &Router, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible")
}

async fn text(response: Response<Body>) -> String {
    let body = to_bytes(response.into_body(), 4096).await.expect("a short body");
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn handler_receives_the_claims() {
    let server = TestIssuer::new();
    let app = routes().layer(BearerLayer::new(validator(&server).with_custom_claims::<Tenant>()));
    let token = server.token().subject("ann").claim("tenant", "north").sign();
    for (path, body) in [
        ("/subject", "ann"),
        ("/tenant", "north"),
        ("/optional", r#"{"subject":"ann"}"#),
        ("/optional-tenant", "north"),
    ] {
        let response = send(&app, path, Some(&token)).await;
        assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, body), "{path}");
    }
    assert_eq!(send(&app, "/subject", None).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn optional_claims_are_none_and_required_claims_401_without_a_token() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>())
        .with_anonymous()
        .with_realm("north")
        .with_challenge_scope("read");
    let app = routes().layer(layer);
    assert_eq!(text(send(&app, "/optional", None).await).await, r#"{"subject":null}"#);
    assert_eq!(text(send(&app, "/optional-tenant", None).await).await, "none");
    for path in ["/subject", "/tenant"] {
        let response = send(&app, path, None).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"Bearer realm="north", scope="read""#);
    }
    assert_eq!(send(&app, "/optional", Some("bad")).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn missing_layer_returns_500_and_never_none() {
    for path in ["/subject", "/tenant", "/optional", "/optional-tenant"] {
        let response = send(&routes(), &format!("{path}?secret"), None).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        let is_typed = path.ends_with("tenant");
        let claims = if is_typed { std::any::type_name::<Claims<Tenant>>() } else { std::any::type_name::<Claims>() };
        let expected = format!("a handler extracts claims without a BearerLayer: GET {path}, {claims}");
        assert_eq!(text(response).await, if cfg!(debug_assertions) { &*expected } else { "" });
    }
}

#[tokio::test]
async fn claims_of_another_type_return_500_and_never_none() {
    let server = TestIssuer::new();
    // With a realm the layer adds more extensions; the request must not look anonymous because of them.
    for layer in [
        BearerLayer::new(validator(&server)),
        BearerLayer::new(validator(&server)).with_anonymous(),
        BearerLayer::new(validator(&server)).with_realm("north"),
    ] {
        let app = routes().layer(layer);
        let token = server.token().claim("tenant", "north").sign();
        for path in ["/tenant", "/optional-tenant"] {
            let response = send(&app, path, Some(&token)).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            let reason = "a handler extracts claims of another type than its BearerLayer provides";
            let expected = format!("{reason}: GET {path}, {}", std::any::type_name::<Claims<Tenant>>());
            assert_eq!(text(response).await, if cfg!(debug_assertions) { &*expected } else { "" });
        }
        assert_eq!(send(&app, "/subject", Some(&token)).await.status(), StatusCode::OK);
    }
}

/// A middleware between the layers replaces the credential: the claims of the outer layer are not returned beside the
/// decision of the inner one.
#[tokio::test]
async fn claims_of_a_replaced_credential_return_500() {
    let server = TestIssuer::new();
    let (ours, theirs) =
        (server.token().claim("tenant", "north").sign(), server.token().claim("tenant", "south").sign());
    let tenants = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>());
    for (inner, path, expected) in [
        (ours.clone(), "/tenant", StatusCode::OK),
        (theirs.clone(), "/tenant", StatusCode::INTERNAL_SERVER_ERROR),
        (theirs.clone(), "/optional-tenant", StatusCode::INTERNAL_SERVER_ERROR),
        (theirs, "/subject", StatusCode::OK),
    ] {
        let swap = MapRequestLayer::new(move |mut request: Request<Body>| {
            let value = format!("Bearer {inner}").parse().expect("a field value");
            request.headers_mut().insert(AUTHORIZATION, value);
            request
        });
        let app = routes().layer(BearerLayer::new(validator(&server))).layer(swap).layer(tenants.clone());
        assert_eq!(send(&app, path, Some(&ours)).await.status(), expected, "{path}");
    }
}

#[tokio::test]
async fn handler_can_receive_the_rejection() {
    async fn handler(claims: Result<Claims, ClaimsRejection>) -> String {
        match claims {
            Ok(_) => "claims".to_owned(),
            Err(rejection) => rejection.to_string(),
        }
    }
    let server = TestIssuer::new();
    let bare = Router::new().route("/", get(handler));
    let missing = text(send(&bare, "/", None).await).await;
    assert!(missing.starts_with("a handler extracts claims without a BearerLayer: GET /, "), "{missing}");
    let app = bare.layer(BearerLayer::new(validator(&server)).with_anonymous());
    assert_eq!(text(send(&app, "/", None).await).await, "no bearer token");
}

#[tokio::test]
async fn handler_receives_the_raw_token_or_the_error_of_the_program() {
    async fn raw(token: Result<BearerToken<'static>, ClaimsRejection>) -> String {
        match token {
            Ok(token) => token.as_str().to_owned(),
            Err(ClaimsRejection::NoLayer(found)) => format!("no layer: {found}"),
            Err(ClaimsRejection::NoRawToken(found)) => format!("no raw token: {found}"),
            Err(rejection) => rejection.to_string(),
        }
    }
    async fn alone(_: BearerToken<'static>) {}
    let server = TestIssuer::new();
    let token = server.token().sign();
    let bare = Router::new().route("/", get(raw)).route("/alone", get(alone));
    let layer = || BearerLayer::new(validator(&server)).with_anonymous();
    let with = bare.clone().layer(layer().with_raw_token());
    let without = bare.clone().layer(layer());
    let type_name = std::any::type_name::<BearerToken<'static>>();
    let no_layer = "a handler extracts the token without a BearerLayer";
    let no_token = "a handler extracts the token, but its BearerLayer is not configured with_raw_token";
    for (app, credential, expected) in [
        (&with, Some(&*token), token.clone()),
        (&with, None, "no bearer token".to_owned()),
        (&without, Some(&*token), format!("no raw token: {no_token}: GET /, {type_name}")),
        (&bare, Some(&*token), format!("no layer: {no_layer}: GET /, {type_name}")),
    ] {
        assert_eq!(text(send(app, "/", credential).await).await, expected);
    }
    for (app, reason) in [(&without, no_token), (&bare, no_layer)] {
        let response = send(app, "/alone", Some(&token)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{reason}");
        let expected = format!("{reason}: GET /alone, {type_name}");
        assert_eq!(text(response).await, if cfg!(debug_assertions) { &*expected } else { "" });
    }
}

#[tokio::test]
async fn route_requirements_are_enforced() {
    let server = TestIssuer::new();
    let write = Requirement::any_of([Requirement::scope("write:orders"), Requirement::permission("write:orders")]);
    let app = Router::new()
        .route("/orders", get(subject).route_layer(RequireLayer::scope("read:orders")))
        .route("/orders", post(subject).route_layer(RequireLayer::new(write).with_json_body()))
        .layer(BearerLayer::new(validator(&server)).with_json_body());
    let status = async |method: &str, token: String| {
        let request = Request::builder().method(method).uri("/orders").header(AUTHORIZATION, format!("Bearer {token}"));
        let response = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
        response.status()
    };
    let reader = || server.token().scope("read:orders").sign();
    let writer = || server.token().scope("openid").permissions(["write:orders"]).sign();
    assert_eq!(status("GET", reader()).await, StatusCode::OK);
    assert_eq!(status("POST", reader()).await, StatusCode::FORBIDDEN);
    assert_eq!(status("GET", writer()).await, StatusCode::FORBIDDEN);
    assert_eq!(status("POST", writer()).await, StatusCode::OK);
}

/// The rejection of a handler has the scheme, scopes, realm and body of the layers around it.
#[tokio::test]
async fn handler_returns_a_requirement_error() {
    async fn scope(claims: Claims) -> Result<(), RequirementError> {
        claims.require(&Requirement::scope("write"))
    }
    async fn own(claims: Claims<Tenant>) -> Result<(), RequirementError> {
        match &*claims.custom().tenant {
            "north" => Ok(()),
            _ => Err(RequirementError::forbidden(&claims, "tenant north")),
        }
    }
    async fn outage(claims: Claims) -> RequirementError {
        RequirementError::unavailable(&claims, Duration::from_secs(7))
    }
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>()).with_realm("r").with_json_body();
    let routes = Router::new().route("/scope", get(scope)).route("/own", get(own)).route("/outage", get(outage));
    let app = routes.layer(RequireLayer::scope("read")).layer(layer);
    let token = |scope: &str, tenant: &str| server.token().scope(scope).claim("tenant", tenant).sign();
    let forbidden = r#"{"error":"insufficient_scope","error_description":"the access token does not allow this"}"#;
    for (path, challenge) in [
        ("/scope", r#"Bearer realm="r", error="insufficient_scope", scope="read write""#),
        ("/own", r#"Bearer realm="r", error="insufficient_scope", scope="read""#),
    ] {
        let response = send(&app, path, Some(&token("read", "south"))).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge, "{path}");
        assert!(matches!(response.extensions().get(), Some(Rejection::Requirement(_))));
        assert_eq!(text(response).await, forbidden);
        assert_eq!(send(&app, path, Some(&token("read write", "north"))).await.status(), StatusCode::OK, "{path}");
    }
    let response = send(&app, "/outage", Some(&token("read", "north"))).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "7");
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    let seven = Duration::from_secs(7);
    let rejection = response.extensions().get();
    assert!(matches!(rejection, Some(Rejection::RequirementUnavailable { retry_after, .. }) if *retry_after == seven));
}

#[tokio::test]
async fn rejection_of_a_direct_call_converts_into_the_response_of_the_layer() {
    let server = TestIssuer::new();
    let validator = validator(&server);
    let rejection = validator.validate(&server.token().expired().sign()).await.expect_err("expired");
    let direct = BearerRejection::from(rejection.clone());
    assert_eq!(direct.rejection(), &rejection);
    let app = Router::new().route("/direct", get(async move || direct.clone()));
    let direct = send(&app, "/direct", None).await;
    let app = routes().layer(BearerLayer::new(validator));
    let layered = send(&app, "/subject", Some(&server.token().expired().sign())).await;
    assert_eq!((direct.status(), direct.headers()), (layered.status(), layered.headers()));
    assert_eq!(direct.extensions().get::<Rejection>(), layered.extensions().get::<Rejection>());
}
