//! Scopes that imply others: in layers, extractors and handlers, from the token cache and with custom claims.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use serde::Deserialize;
use tower::ServiceExt as _;
use tower_bearer::config::SettingErrorKind;
use tower_bearer::extract::{BearerRejection, Required, StaticRequirement};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Claims, RequireLayer, Requirement, Validator};

use crate::stack::{AUDIENCE, OK, TestResponse, trusted};

struct Read;

impl StaticRequirement for Read {
    const REQUIREMENT: &'static Requirement = &Requirement::static_scope("read:orders");
}

fn api(server: &TestIssuer) -> Api {
    Api::new(AUDIENCE, trusted(server))
        .with_implied_scopes([("admin", ["write:orders"])])
        .with_implied_scopes([("write:orders", ["read:orders"])])
}

fn routes<C: Clone + Send + Sync + 'static>() -> Router {
    async fn in_code<C: Send + Sync + 'static>(claims: Claims<C>) -> Result<(), BearerRejection> {
        assert!(claims.scopes().contains("profile"), "the scopes of the token do not change");
        Ok(claims.require(Read::REQUIREMENT)?)
    }
    Router::new()
        .route("/layer", get(async || ()).route_layer(RequireLayer::scope("read:orders")))
        .route("/type", get(|_: Required<Read, C>| async {}))
        .route("/code", get(in_code::<C>))
}

async fn send(app: &Router, path: &str, token: &str) -> TestResponse {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    let request = request.body(Body::empty()).expect("a request");
    TestResponse::from_response(app.clone().oneshot(request).await.expect("infallible")).await
}

async fn assert_honored(app: &Router, server: &TestIssuer) {
    for (scope, status, challenge) in [
        ("profile admin", OK, ""),
        ("profile write:orders", OK, ""),
        ("profile read:orders", OK, ""),
        ("profile administrator", 403, "Bearer error=\"insufficient_scope\", scope=\"read:orders\""),
    ] {
        let token = server.token().scope(scope).claim("tenant", "north").sign();
        // The second request of each token is answered from the token cache.
        for path in ["/layer", "/type", "/code", "/layer"] {
            let response = send(app, path, &token).await;
            assert_eq!((response.status, response.challenge()), (status, challenge), "{scope} {path}");
        }
    }
}

#[tokio::test]
async fn layers_extractors_and_handlers_honor_implied_scopes() {
    let server = TestIssuer::new();
    let validator = Validator::new(api(&server)).expect("a valid configuration");
    assert_honored(&routes::<tower_bearer::NoCustomClaims>().layer(BearerLayer::new(validator)), &server).await;
}

#[derive(Clone, Debug, Deserialize)]
struct Tenant {
    #[expect(dead_code, reason = "only its presence matters")]
    tenant: String,
}

#[tokio::test]
async fn claims_with_custom_claims_honor_implied_scopes() {
    let server = TestIssuer::new();
    let validator = Validator::new(api(&server)).expect("a valid configuration").with_custom_claims::<Tenant>();
    assert_honored(&routes::<Tenant>().layer(BearerLayer::new(validator)), &server).await;
}

/// Two APIs with one key set: each has its own implied scopes.
#[tokio::test]
async fn implied_scopes_belong_to_one_api() {
    let server = TestIssuer::new();
    let with = Validator::new(api(&server)).expect("a valid configuration");
    let without = Validator::builder(Api::new(AUDIENCE, trusted(&server)))
        .with_keys_of(&with)
        .build()
        .expect("a valid configuration");
    let token = server.token().scope("admin").sign();
    for (validator, granted) in [(&with, true), (&without, false)] {
        let claims = validator.validate(&token).await.expect("a valid token");
        assert_eq!(claims.grants_scope("read:orders"), granted);
        assert_eq!(claims.require(Read::REQUIREMENT).is_ok(), granted);
    }
}

#[test]
fn rejects_cycles_and_malformed_names_with_all_other_errors() {
    let server = TestIssuer::new();
    let api =
        Api::new("", trusted(&server)).with_implied_scopes([("admin", ["write"]), ("write", ["admin"]), ("", ["a b"])]);
    let error = Validator::new(api).expect_err("four errors");
    let kinds: Vec<&SettingErrorKind> = error.errors().iter().map(|error| error.kind()).collect();
    let cycle = SettingErrorKind::ImpliedScopeCycle { cycle: Box::from("admin -> write -> admin") };
    assert_eq!(kinds, [&SettingErrorKind::Empty, &SettingErrorKind::Empty, &SettingErrorKind::Scope, &cycle]);
}
