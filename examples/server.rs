//! An API that is configured by one TOML file.
//!
//! ```text
//! cargo run --example server -- server.toml
//! ```
//!
//! Routes: `GET /public` (no token), `GET /me`, `GET /orders` (scope `read:orders`), `POST /orders` (scope or permission
//! `write:orders`), `GET /optional` (anonymous allowed), `GET /readyz`, `GET /livez`. It ends on SIGTERM and Ctrl-C.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::process::ExitCode;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tower_bearer::{BearerLayer, Claims, RequireLayer, Requirement, Validator};

use self::settings::Settings;

#[path = "server/settings.rs"]
mod settings;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: server <config.toml>")?;
    let settings = Settings::read(path.as_ref())?;
    let validator = settings.validator()?;
    let listener =
        tokio::net::TcpListener::bind(settings.listen()).await.map_err(|error| format!("listen: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(validator)).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

fn app(validator: Validator) -> Router {
    let bearer = BearerLayer::new(validator.clone()).with_json_body();
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

/// The verified claims, as the issuer wrote them.
async fn me(claims: Claims) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], claims.json().to_owned()).into_response()
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

/// Completes on SIGTERM or Ctrl-C; what runs is then finished.
async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}
