//! A resource tells of itself (RFC 9728): the document, its place, and the challenge that leads to it.

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

use crate::gate::{self, AUDIENCE, Answer, Body, OK, trusted};

const PLACE: &str = "https://api.northwind.com/.well-known/oauth-protected-resource/mcp";

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
async fn a_tower_service_serves_the_document() {
    let ask = async |method: Method| {
        let request = Request::builder().method(method).uri(PLACE).body(Body::default()).expect("a request");
        Answer::of(MetadataService::<Body>::new(&metadata()).oneshot(request).await.expect("infallible")).await
    };
    let answer = ask(Method::GET).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_bytes()), (OK, &b"application/json"[..]));
    assert_eq!(serde_json::from_str::<Value>(&answer.body).expect("JSON"), expected());
    let head = ask(Method::HEAD).await;
    assert_eq!((head.status, &*head.body), (OK, ""));
    let post = ask(Method::POST).await;
    assert_eq!((post.status, post.headers["allow"].as_bytes()), (405, &b"GET, HEAD"[..]));
}

#[tokio::test]
async fn under_axum_it_is_a_handler_and_a_service() {
    let metadata = metadata();
    assert_eq!(metadata.path(), "/.well-known/oauth-protected-resource/mcp");
    let handler = Router::new().route(metadata.path(), get(metadata.clone()));
    let service = Router::new().route_service(metadata.path(), MetadataService::<axum::body::Body>::new(&metadata));
    for app in [handler, service] {
        let request = Request::get(metadata.path()).body(axum::body::Body::empty()).expect("a request");
        let answer = Answer::of(app.oneshot(request).await.expect("infallible")).await;
        assert_eq!(answer.status, OK);
        assert_eq!(serde_json::from_str::<Value>(&answer.body).expect("JSON"), expected());
    }
}

#[tokio::test]
async fn every_challenge_names_its_place() {
    let server = TestIssuer::new();
    let validator = Validator::new(Api::new(AUDIENCE, trusted(&server))).expect("a good configuration");
    let stack = || {
        ServiceBuilder::new()
            .layer(BearerLayer::new(validator.clone()).with_realm("mcp").with_resource_metadata(&metadata()))
            .layer(RequireLayer::scope("read:orders"))
            .layer(RequireLayer::new(Requirement::acr_values(["gold"])))
    };
    for (request, status, challenge) in [
        (Request::get("/"), 401, "Bearer realm=\"mcp\"".to_owned()),
        (gate::bearing("a b"), 400, "Bearer realm=\"mcp\", error=\"invalid_request\"".to_owned()),
        (gate::bearing("opaque"), 401, gate::INVALID_TOKEN.replace("Bearer ", "Bearer realm=\"mcp\", ")),
        (
            gate::bearing(&server.token().scope("x").sign()),
            403,
            "Bearer realm=\"mcp\", error=\"insufficient_scope\", scope=\"read:orders\"".to_owned(),
        ),
        (
            gate::bearing(&server.token().scope("read:orders").sign()),
            401,
            "Bearer realm=\"mcp\", error=\"insufficient_user_authentication\", acr_values=\"gold\"".to_owned(),
        ),
    ] {
        let answer = gate::through(stack(), request.body(Body::default()).expect("a request")).await;
        let expected = format!("{challenge}, resource_metadata=\"{PLACE}\"");
        assert_eq!((answer.status, answer.challenge()), (status, &*expected));
    }
    let good =
        gate::through(stack(), gate::with_token(&server.token().scope("read:orders").claim("acr", "gold").sign()))
            .await;
    assert_eq!((good.status, good.challenge()), (OK, ""));
}

#[tokio::test]
async fn a_handlers_own_rejection_can_name_it() {
    use axum::response::IntoResponse as _;
    let rejection = BearerRejection::from(Rejection::NoCredential).with_resource_metadata(&metadata());
    let answer = Answer::of(rejection.into_response()).await;
    assert_eq!(answer.challenge(), format!("Bearer resource_metadata=\"{PLACE}\""));
}
