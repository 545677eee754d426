//! An API that a page of another origin calls with `fetch`: CORS layer outside, bearer layer inside, challenge exposed.
//!
//! ```text
//! cargo run --example browser -- http://localhost:3000
//! ```
//!
//! The argument is the origin of the page. Prints a token and the address of the API.

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;

use anyhow::Context as _;
use axum::routing::get;
use axum::{Json, Router};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Uri};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};
use tower_http::cors::CorsLayer;

mod log;
mod outcome;

const USAGE: &str = "browser needs the origin of the page that calls the API, such as
  cargo run --example browser -- http://localhost:3000";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    log::start();
    let page = std::env::args().nth(1).context(USAGE)?;
    let page = origin(&page).with_context(|| {
        format!("{page:?} is not an origin: write scheme, host and port without a path, such as http://localhost:3000")
    })?;
    let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(issuer.clone()).build()?;

    let cors = CorsLayer::new()
        .allow_origin(page)
        .allow_methods([Method::GET])
        .allow_headers([AUTHORIZATION])
        // Without this the page sees the status of a rejection, but not the challenge.
        .expose_headers([WWW_AUTHENTICATE]);
    let app = Router::new()
        .route("/orders", get(orders).route_layer(RequireLayer::scope("read:orders").with_json_body()))
        .layer(BearerLayer::new(validator).with_realm("northwind").with_json_body())
        // The layer that is added last runs first: it answers preflights before a token is required.
        .layer(cors);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let token = issuer.token().audience("https://api.northwind.com").scope("read:orders").subject("ann").sign();
    println!("token {token}");
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Parses the value of an `Origin` header: scheme, host and an optional port (RFC 6454 §6.2), in lower case.
fn origin(text: &str) -> Option<HeaderValue> {
    let text = text.to_ascii_lowercase();
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    if authority.as_str().contains('@') || format!("{scheme}://{authority}") != text {
        return None;
    }
    text.parse().ok()
}

async fn orders(claims: Claims) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "orders": [], "for": claims.subject() }))
}
