//! An issuer with a certificate of a private certificate authority.
//!
//! ```text
//! cargo run --example private_ca -- company-ca.pem https://id.northwind.internal https://api.northwind.com [RS256]
//! ```
//!
//! Serves `GET /me` on a free port of 127.0.0.1 and prints the address.

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tower_bearer::fetch::ReqwestFetch;
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, Validator};

mod log;
mod outcome;

const USAGE: &str = "private_ca needs three arguments: a PEM file with the CA certificates,
the issuer and the audience, such as
  cargo run --example private_ca -- company-ca.pem https://id.northwind.internal https://api.northwind.com
Optional further arguments are the names of algorithms (default: RS256).";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    log::start();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [authority, issuer, audience, algorithms @ ..] = arguments.as_slice() else {
        bail!(USAGE);
    };
    let mut trusted = Issuer::oidc(issuer);
    if !algorithms.is_empty() {
        let parsed: anyhow::Result<Vec<Algorithm>> = algorithms.iter().map(|name| algorithm(name)).collect();
        trusted = trusted.with_algorithms(parsed?);
    }
    let certificates = std::fs::read(authority).with_context(|| format!("cannot read {authority}"))?;
    let fetch = ReqwestFetch::builder().with_root_certificates(certificates).build();
    let fetch = fetch.with_context(|| format!("cannot use {authority}"))?;
    let validator = Validator::builder(Api::new(audience, trusted)).with_fetch(fetch).build()?;

    let app = Router::new().route("/me", get(me)).layer(BearerLayer::new(validator).with_json_body());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

fn algorithm(name: &str) -> anyhow::Result<Algorithm> {
    name.parse().map_err(|error| anyhow!("{name:?} is {error}"))
}

async fn me(claims: Claims) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], claims.json().to_owned())
}
