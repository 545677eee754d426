//! The routes of the server.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tower_bearer::claims::{CertificateThumbprint, SenderConstraint};
use tower_bearer::keys::Thumbprint;
use tower_bearer::{BearerLayer, Claims, RequireLayer, Requirement, Validator};

use super::revoke;
use super::settings::{Logout, Settings};

/// Returns the routes of a configuration: those of the API, and with `[signals]` and `test_routes` also theirs.
pub(crate) fn routes(settings: Settings) -> Router {
    let Settings { validator, realm, revocations, test_routes, logout, .. } = settings;
    let api = api(validator, realm.as_deref());
    let routes = match revocations.filter(|_| test_routes) {
        Some(revocations) => api.merge(revoke::routes(revocations)),
        None => api,
    };
    match logout {
        Some(Logout { path, receiver }) => routes.route_service(&path, receiver),
        None => routes,
    }
}

fn api(validator: Validator, realm: Option<&str>) -> Router {
    let bearer = BearerLayer::new(validator.clone()).with_json_body();
    let bearer = realm.into_iter().fold(bearer, BearerLayer::with_realm);
    let read = RequireLayer::scope("read:orders").with_json_body();
    let write = Requirement::any_of([Requirement::scope("write:orders"), Requirement::permission("write:orders")]);
    let write = RequireLayer::new(write).with_json_body();

    let protected = Router::new()
        .route("/me", get(me))
        .route("/orders", get(list_orders).route_layer(read))
        .route("/orders", axum::routing::post(create_order).route_layer(write))
        .route_layer(bearer.clone());
    let optional = Router::new().route("/optional", get(greet)).route_layer(bearer.with_anonymous());
    Router::new()
        .route("/public", get(async || Json(json!({ "public": true }))))
        .route("/readyz", get(ready))
        .route("/livez", get(async || Json(json!({ "live": true }))))
        .merge(protected)
        .merge(optional)
        .with_state(validator)
}

/// Returns the verified claims as the JSON of the issuer. If the client has proven to have the key or certificate of the token, its hash
/// is in `sender_constraint`.
async fn me(claims: Claims) -> Response {
    let dpop = |jkt: Thumbprint| json!({ "jkt": jkt.to_base64url() });
    let certificate = |x5t: CertificateThumbprint| json!({ "x5t#S256": x5t.to_base64url() });
    let constraint = match claims.sender_constraint() {
        Some(SenderConstraint::Dpop { jkt }) => Some(json!({ "dpop": dpop(jkt) })),
        Some(SenderConstraint::Certificate { x5t }) => Some(json!({ "certificate": certificate(x5t) })),
        Some(SenderConstraint::Both { jkt, x5t }) => {
            Some(json!({ "dpop": dpop(jkt), "certificate": certificate(x5t) }))
        }
        _ => None,
    };
    let json = match constraint {
        Some(constraint) => with_member(claims.json(), &constraint),
        None => claims.json().to_owned(),
    };
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

fn with_member(claims: &str, constraint: &serde_json::Value) -> String {
    let mut members: serde_json::Map<_, _> = serde_json::from_str(claims).unwrap_or_default();
    members.insert("sender_constraint".to_owned(), constraint.clone());
    serde_json::Value::Object(members).to_string()
}

async fn list_orders(claims: Claims) -> Json<serde_json::Value> {
    Json(json!({ "orders": [], "for": claims.subject() }))
}

async fn create_order(claims: Claims) -> (StatusCode, Json<serde_json::Value>) {
    (StatusCode::CREATED, Json(json!({ "created": true, "by": claims.subject() })))
}

async fn greet(claims: Option<Claims>) -> Json<serde_json::Value> {
    Json(json!({ "subject": claims.as_ref().and_then(|claims| claims.subject()) }))
}

async fn ready(State(validator): State<Validator>) -> (StatusCode, Json<serde_json::Value>) {
    let ready = validator.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready })))
}
