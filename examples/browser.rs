//! An API that a page of another origin calls with `fetch`: CORS layer outside, bearer layer inside, challenge exposed.
//!
//! ```text
//! cargo run --example browser -- http://localhost:3000
//! ```
//!
//! The argument is the origin of the page. Prints a token and the address of the API. A second argument is the thumbprint of a key of
//! the page (RFC 7638): then it also prints a token that is bound to this key, and the page must send a proof with it.

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;

use anyhow::Context as _;
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderValue, Method, Uri};
use tower_bearer::dpop::{self, Dpop, Nonces};
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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"))
        .with_dpop(Dpop::new(&url).with_nonces(Nonces::of_this_process()));
    let validator = Validator::builder(api).with_fetch(issuer.clone()).build()?;

    let cors = CorsLayer::new()
        .allow_origin(page)
        .allow_methods([Method::GET])
        .allow_headers(dpop::REQUEST_HEADERS)
        // Without this the page sees the status of a rejection, but neither the challenge nor the nonce.
        .expose_headers(dpop::RESPONSE_HEADERS);
    let app = Router::new()
        .route("/orders", get(orders).route_layer(RequireLayer::scope("read:orders").with_json_body()))
        .layer(BearerLayer::new(validator).with_realm("northwind").with_json_body())
        // The layer that is added last runs first: it answers preflights before a token is required.
        .layer(cors);

    let token = issuer.token().audience("https://api.northwind.com").scope("read:orders").subject("ann");
    println!("token {}", token.clone().sign());
    if let Some(jkt) = std::env::args().nth(2) {
        println!("bound token {}", token.claim("cnf", serde_json::json!({ "jkt": jkt })).sign());
    }
    println!("listening on {url}");
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
