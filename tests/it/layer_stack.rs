//! Stacked layers: claims of an outer layer or of other code never replace those of the inner layer.

use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use serde::Deserialize;
use tower::util::{BoxCloneService, MapRequestLayer};
use tower::{Layer, service_fn};
use tower_bearer::request::BearerToken;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, Claims, RequireLayer};

use crate::layer_fixture::{TestBody, bearer_request, request, send, subject_service, text, validator};

#[derive(Debug, Deserialize)]
struct Tenant {
    tenant: String,
}

#[derive(Debug, Deserialize)]
struct Team {
    team: String,
}

#[tokio::test]
async fn two_layers_with_different_claim_types_keep_both() {
    let server = TestIssuer::new();
    let outer = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>());
    let inner = BearerLayer::new(validator(&server).with_custom_claims::<Team>());
    let service = service_fn(|request: Request<TestBody>| async move {
        let tenant: &Claims<Tenant> = request.extensions().get().expect("the outer layer's");
        let team: &Claims<Team> = request.extensions().get().expect("the inner layer's");
        let both = format!("{} {}", tenant.custom().tenant, team.custom().team);
        Ok::<_, Infallible>(Response::new(TestBody::from(both)))
    });
    let token = server.token().claim("tenant", "north").claim("team", "red").sign();
    let response = send(outer.layer(inner.layer(service)), bearer_request(&token)).await;
    assert_eq!(text(response).await, "north red");
}

#[tokio::test]
async fn same_layer_twice_behaves_like_once() {
    let server = TestIssuer::new();
    let layer = BearerLayer::new(validator(&server));
    let response =
        send(layer.layer(layer.layer(subject_service())), bearer_request(&server.token().subject("ann").sign())).await;
    assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, "ann"));
}

#[tokio::test]
async fn stricter_of_two_layers_decides() {
    let server = TestIssuer::new();
    let other = TestIssuer::named("https://other.test/");
    let (ours, theirs) = (BearerLayer::new(validator(&server)), BearerLayer::new(validator(&other)));
    let response = send(ours.layer(theirs.layer(subject_service())), bearer_request(&server.token().sign())).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let anonymous = ours.clone().with_anonymous();
    let response = send(anonymous.layer(ours.layer(subject_service())), request(&[])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

/// A middleware between the layers removes the credential: the inner layer's result, no credential, is final.
#[tokio::test]
async fn inner_layer_without_a_credential_removes_the_outer_claims() {
    let server = TestIssuer::new();
    let seen = service_fn(|request: Request<TestBody>| async move {
        let claims: Option<&Claims> = request.extensions().get();
        let token: Option<&BearerToken<'static>> = request.extensions().get();
        Ok::<_, Infallible>(Response::new(TestBody::from(format!("{} {}", claims.is_some(), token.is_some()))))
    });
    let outer = BearerLayer::new(validator(&server)).with_raw_token();
    let anonymous = BearerLayer::new(validator(&server)).with_anonymous().with_raw_token();
    let dropping = BearerLayer::new(validator(&server));
    let stripping = MapRequestLayer::new(|mut request: Request<TestBody>| {
        request.headers_mut().remove("authorization");
        request
    });
    let token = server.token().sign();
    for (service, expected) in [
        (BoxCloneService::new(outer.layer(seen)), "true true"),
        (BoxCloneService::new(outer.layer(anonymous.layer(seen))), "true true"),
        (BoxCloneService::new(outer.layer(dropping.layer(seen))), "true false"),
        (BoxCloneService::new(outer.layer(stripping.layer(anonymous.layer(seen)))), "false false"),
    ] {
        let response = send(service, bearer_request(&token)).await;
        assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, expected));
    }
    let require = RequireLayer::scope("read:orders");
    let stripped = outer.layer(stripping.layer(anonymous.layer(require.layer(seen))));
    assert_eq!(send(stripped, bearer_request(&token)).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn removes_foreign_claims_from_an_anonymous_request() {
    let server = TestIssuer::new();
    let claims = validator(&server).with_custom_claims::<Tenant>();
    let claims = claims.validate(&server.token().claim("tenant", "north").sign()).await.expect("valid");
    let layer = BearerLayer::new(validator(&server).with_custom_claims::<Tenant>()).with_anonymous();
    let service = service_fn(|request: Request<TestBody>| async move {
        assert!(request.extensions().get::<Claims>().is_none());
        assert!(request.extensions().get::<Claims<Tenant>>().is_none());
        Ok::<_, Infallible>(Response::new(TestBody::default()))
    });
    let mut planted = request(&[]);
    planted.extensions_mut().insert(claims.registered());
    planted.extensions_mut().insert(claims);
    assert_eq!(send(layer.layer(service), planted).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn replaces_foreign_claims() {
    let server = TestIssuer::new();
    let planted = validator(&server).validate(&server.token().subject("eve").sign()).await.expect("valid");
    let mut request = bearer_request(&server.token().subject("ann").sign());
    request.extensions_mut().insert(planted);
    let response = send(BearerLayer::new(validator(&server)).layer(subject_service()), request).await;
    assert_eq!(text(response).await, "ann");
}

#[tokio::test]
async fn inner_layer_sets_the_challenge() {
    let server = TestIssuer::new();
    let outer = BearerLayer::new(validator(&server)).with_realm("outer");
    let inner = BearerLayer::new(validator(&server));
    let stack = outer.layer(inner.layer(RequireLayer::scope("admin").layer(subject_service())));
    let response = send(stack, bearer_request(&server.token().sign())).await;
    assert_eq!(response.headers()["www-authenticate"], r#"Bearer error="insufficient_scope", scope="admin""#);
}
