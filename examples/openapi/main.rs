//! An axum API whose OpenAPI document names the scopes of each route. One `Requirement` per route
//! is both enforced and documented.
//!
//! Serves the document at <http://127.0.0.1:8080/openapi.json>.

use std::error::Error;

use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tower_bearer::{Api, BearerLayer, Issuer, RequireLayer, Requirement, Validator};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{OpenIdConnect, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{self, Response};
use utoipa::{Modify, OpenApi};

const READ: Requirement = Requirement::static_scope("read:orders");
const WRITE: Requirement = Requirement::static_scope_or_permission("write:orders");

/// Lists the orders.
#[utoipa::path(get, path = "/orders", responses((status = 200, body = String)))]
async fn list_orders() -> &'static str {
    "orders"
}

/// Creates an order.
#[utoipa::path(post, path = "/orders", responses((status = 200, body = String)))]
async fn create_order() -> &'static str {
    "created"
}

fn app(validator: Validator) -> Router {
    let list = get(list_orders).route_layer(RequireLayer::new(READ));
    let create = post(create_order).route_layer(RequireLayer::new(WRITE));
    Router::new()
        .route("/orders", list.merge(create))
        .layer(BearerLayer::new(validator))
        .route("/openapi.json", get(async || Json(Document::openapi())))
}

#[derive(OpenApi)]
#[openapi(info(title = "Orders"), paths(list_orders, create_order), modifiers(&Security))]
struct Document;

/// Adds the requirements to the document.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let discovery = "https://northwind.eu.auth0.com/.well-known/openid-configuration";
        let scheme = SecurityScheme::OpenIdConnect(OpenIdConnect::new(discovery));
        document.components.get_or_insert_default().add_security_scheme(SCHEME, scheme);
        if let Some(orders) = document.paths.paths.get_mut("/orders") {
            add_requirement(orders.get.as_mut(), &READ);
            add_requirement(orders.post.as_mut(), &WRITE);
        }
    }
}

/// Documents the scopes of one operation, and the responses to a token that does not have them.
fn add_requirement(operation: Option<&mut Operation>, requirement: &Requirement) {
    let Some(operation) = operation else { return };
    // One entry for each way to meet the requirement. OpenAPI has no place for permissions, claims
    // and predicates, so the description names them. An entry without scopes would say that every
    // token is enough, so there is one only if no way has a scope.
    let with_scopes = requirement.alternatives().filter(|one| one.scopes().next().is_some());
    let entries = with_scopes.map(|one| SecurityRequirement::new(SCHEME, one.scopes()));
    let mut entries: Vec<_> = entries.collect();
    if entries.is_empty() {
        entries.push(SecurityRequirement::new(SCHEME, [""; 0]));
    }
    operation.security = Some(entries);
    operation.description = Some(format!("Requires {requirement}."));
    for (status, text) in [("401", "No valid access token"), ("403", "Not allowed by the token")] {
        operation.responses.responses.insert(status.to_owned(), Response::new(text).into());
    }
}

const SCHEME: &str = "access_token";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app(Validator::new(api)?)).await?)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, Response, request};
    use serde_json::{Value, json};
    use tower::ServiceExt as _;
    use tower_bearer::testing::TestIssuer;

    use super::*;

    async fn send(app: &Router, request: request::Builder) -> Response<Body> {
        let request = request.body(Body::empty()).expect("a request");
        app.clone().oneshot(request).await.expect("infallible")
    }

    #[tokio::test]
    async fn the_document_has_the_scopes_that_the_routes_require() {
        let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
        let tenant = Issuer::auth0("northwind.eu.auth0.com");
        let validator = Validator::builder(Api::new("https://api.northwind.com", tenant));
        let app = app(validator.with_fetch(issuer.clone()).build().expect("a configuration"));

        let response = send(&app, Request::get("/openapi.json")).await;
        let document = to_bytes(response.into_body(), 1 << 16).await.expect("a document");
        let document: Value = serde_json::from_slice(&document).expect("JSON");
        let scheme = &document["components"]["securitySchemes"]["access_token"];
        assert_eq!(scheme["type"], "openIdConnect");
        let orders = &document["paths"]["/orders"];
        assert_eq!(orders["get"]["description"], "Requires scope read:orders.");
        let write = "Requires scope or permission write:orders.";
        assert_eq!(orders["post"]["description"], write);

        let token = issuer.token().audience("https://api.northwind.com").sign();
        for method in ["get", "post"] {
            let request = Request::builder().method(&*method.to_uppercase()).uri("/orders");
            let request = request.header("authorization", format!("Bearer {token}"));
            let response = send(&app, request).await;
            assert_eq!(response.status(), 403, "{method}");
            assert!(orders[method]["responses"]["403"].is_object());
            let challenge = response.headers()["www-authenticate"].to_str().expect("ASCII");
            let (_, scope) = challenge.split_once("scope=").expect("a scope");
            let scope = json!({ "access_token": [scope.trim_matches('"')] });
            // The other way to create an order, a permission, is in the description alone.
            assert_eq!(orders[method]["security"], json!([scope]), "{method}");
        }
    }

    #[test]
    fn no_entry_says_that_every_token_is_enough_beside_one_with_scopes() {
        let adult = || Requirement::predicate("age of at least 18", |_| true);
        let gold = Requirement::claim_equals("tier", "gold");
        for (requirement, security, description) in [
            (adult(), json!([{ "access_token": [] }]), "Requires age of at least 18."),
            (
                Requirement::any_of([gold, adult(), Requirement::scope("buy")]),
                json!([{ "access_token": ["buy"] }]),
                r#"Requires claim tier is "gold" or age of at least 18 or scope buy."#,
            ),
            (
                Requirement::all_of([Requirement::scope("buy"), adult()]),
                json!([{ "access_token": ["buy"] }]),
                "Requires scope buy and age of at least 18.",
            ),
        ] {
            let mut operation = Operation::default();
            add_requirement(Some(&mut operation), &requirement);
            let operation = serde_json::to_value(&operation).expect("JSON");
            assert_eq!(operation["security"], security, "{requirement}");
            assert_eq!(operation["description"], description);
        }
    }
}
