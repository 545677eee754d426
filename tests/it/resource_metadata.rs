//! Protected resource metadata (RFC 9728): the document, its URL, and the challenge with that URL.

use axum::Router;
use axum::routing::get;
use http::{Method, Request};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_bearer::extract::BearerRejection;
use tower_bearer::metadata::ProtectedResourceMetadata;
use tower_bearer::middleware::MetadataService;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Rejection, RequireLayer, Requirement, Validator};

use crate::stack::{self, AUDIENCE, Body, OK, TestResponse, trusted};

const METADATA_URL: &str = "https://api.northwind.com/.well-known/oauth-protected-resource/mcp";

fn metadata() -> ProtectedResourceMetadata {
    let metadata = ProtectedResourceMetadata::new("https://api.northwind.com/mcp", ["https://northwind.eu.auth0.com/"]);
    metadata.and_then(|metadata| metadata.with_scopes(["read:orders"])).expect("a resource")
}

fn expected() -> Value {
    json!({
        "resource": "https://api.northwind.com/mcp",
        "authorization_servers": ["https://northwind.eu.auth0.com/"],
        "scopes_supported": ["read:orders"],
        "bearer_methods_supported": ["header"],
    })
}

#[tokio::test]
async fn tower_service_returns_the_document() {
    let send = async |method: Method| {
        let request = Request::builder().method(method).uri(METADATA_URL).body(Body::default()).expect("a request");
        TestResponse::from_response(
            MetadataService::<Body>::new(&metadata()).oneshot(request).await.expect("infallible"),
        )
        .await
    };
    let response = send(Method::GET).await;
    assert_eq!((response.status, response.headers["content-type"].as_bytes()), (OK, &b"application/json"[..]));
    assert_eq!(serde_json::from_str::<Value>(&response.body).expect("JSON"), expected());
    let head = send(Method::HEAD).await;
    assert_eq!((head.status, &*head.body), (OK, ""));
    let post = send(Method::POST).await;
    assert_eq!((post.status, post.headers["allow"].as_bytes()), (405, &b"GET, HEAD"[..]));
}

#[tokio::test]
async fn axum_accepts_it_as_handler_and_service() {
    let metadata = metadata();
    assert_eq!(metadata.path(), "/.well-known/oauth-protected-resource/mcp");
    let handler = Router::new().route(metadata.path(), get(metadata.clone()));
    let service = Router::new().route_service(metadata.path(), MetadataService::<axum::body::Body>::new(&metadata));
    for app in [handler, service] {
        let request = Request::get(metadata.path()).body(axum::body::Body::empty()).expect("a request");
        let response = TestResponse::from_response(app.oneshot(request).await.expect("infallible")).await;
        assert_eq!(response.status, OK);
        assert_eq!(serde_json::from_str::<Value>(&response.body).expect("JSON"), expected());
    }
}

#[tokio::test]
async fn every_challenge_has_resource_metadata() {
    let server = TestIssuer::new();
    let validator = Validator::new(Api::new(AUDIENCE, trusted(&server))).expect("a valid configuration");
    let stack = || {
        ServiceBuilder::new()
            .layer(BearerLayer::new(validator.clone()).with_realm("mcp").with_resource_metadata(&metadata()))
            .layer(RequireLayer::scope("read:orders"))
            .layer(RequireLayer::new(Requirement::acr_values(["gold"])))
    };
    for (request, status, challenge) in [
        (Request::get("/"), 401, "Bearer realm=\"mcp\"".to_owned()),
        (stack::bearer_request("a b"), 400, "Bearer realm=\"mcp\", error=\"invalid_request\"".to_owned()),
        (stack::bearer_request("opaque"), 401, stack::INVALID_TOKEN.replace("Bearer ", "Bearer realm=\"mcp\", ")),
        (
            stack::bearer_request(&server.token().scope("x").sign()),
            403,
            "Bearer realm=\"mcp\", error=\"insufficient_scope\", scope=\"read:orders\"".to_owned(),
        ),
        (
            stack::bearer_request(&server.token().scope("read:orders").sign()),
            401,
            "Bearer realm=\"mcp\", error=\"insufficient_user_authentication\", acr_values=\"gold\"".to_owned(),
        ),
    ] {
        let response = stack::send_through(stack(), request.body(Body::default()).expect("a request")).await;
        let expected = format!("{challenge}, resource_metadata=\"{METADATA_URL}\"");
        assert_eq!((response.status, response.challenge()), (status, &*expected));
    }
    let good = stack::send_through(
        stack(),
        stack::request_with_token(&server.token().scope("read:orders").claim("acr", "gold").sign()),
    )
    .await;
    assert_eq!((good.status, good.challenge()), (OK, ""));
}

#[tokio::test]
async fn rejection_of_a_handler_can_have_resource_metadata() {
    use axum::response::IntoResponse as _;
    let rejection = BearerRejection::from(Rejection::NoCredential).with_resource_metadata(&metadata());
    let response = TestResponse::from_response(rejection.into_response()).await;
    assert_eq!(response.challenge(), format!("Bearer resource_metadata=\"{METADATA_URL}\""));
}

#[test]
fn contains_the_members_of_dpop_in_the_order_of_the_configuration() {
    let api = || Api::new("https://api.test", tower_bearer::Issuer::auth0("northwind.eu.auth0.com"));
    let dpop = || tower_bearer::dpop::Dpop::new("https://api.test");
    let members = |api: &Api| -> Value {
        let metadata = ProtectedResourceMetadata::new("https://api.test", ["https://issuer.test/"]).expect("valid");
        serde_json::from_slice(&metadata.with_sender_constraints_of(api).to_json()).expect("JSON")
    };
    let allowed = members(&api().with_dpop(dpop()));
    assert_eq!(allowed["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA", "Ed25519", "PS256"]));
    assert_eq!(allowed.get("dpop_bound_access_tokens_required"), None);
    let required = members(&api().with_dpop(dpop()).with_sender_constrained_only());
    assert_eq!(required["dpop_bound_access_tokens_required"], true);
    assert!(members(&api()).as_object().expect("an object").keys().all(|name| !name.contains("dpop")));
}
