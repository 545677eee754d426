//! An API with metrics for Prometheus and spans in the log.
//!
//! ```text
//! RUST_LOG=tower_bearer=debug cargo run --example observability
//! ```
//!
//! Starts a test issuer, the API and `GET /metrics`, sends some requests of each kind, and prints the metrics. With
//! `-- --serve` it keeps running.

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use http::header::AUTHORIZATION;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Api, BearerLayer, Issuer, RequireLayer, Validator};

#[path = "../log.rs"]
mod log;
#[path = "../outcome.rs"]
mod outcome;

const AUDIENCE: &str = "https://api.northwind.example/";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    log::start();
    // From a cached token to a request that waits for keys.
    let buckets = [0.000_002, 0.000_01, 0.000_05, 0.000_2, 0.001, 0.01, 0.1, 1.0, 5.0];
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("jwt_validation_seconds".into()), &buckets)?
        .install_recorder()?;

    let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(issuer.clone()).build()?;
    let app = Router::new()
        .route("/orders", get(async || "[]").route_layer(RequireLayer::scope("read:orders")))
        .layer(BearerLayer::new(validator))
        .route("/metrics", get(async move || recorder.render()));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let origin = format!("http://{}", listener.local_addr()?);
    println!("listening on {origin}");
    let serving = tokio::spawn(async { axum::serve(listener, app).await });

    let client = reqwest::Client::new();
    for token in tokens(&issuer) {
        let request = client.get(format!("{origin}/orders")).header(AUTHORIZATION, format!("Bearer {token}"));
        println!("{}", request.send().await?.status());
    }
    println!("{}", client.get(format!("{origin}/orders")).send().await?.status());
    println!("\n{}", client.get(format!("{origin}/metrics")).send().await?.text().await?);

    if std::env::args().any(|argument| argument == "--serve") {
        serving.await??;
    }
    Ok(())
}

/// Returns two valid tokens, one without the scope, one expired, and one for another API.
fn tokens(issuer: &TestIssuer) -> Vec<String> {
    let token = || issuer.token().audience(AUDIENCE).scope("read:orders");
    [token(), token(), token().scope("read:profile"), token().expired(), token().audience("https://other.example/")]
        .into_iter()
        .map(TokenBuilder::sign)
        .collect()
}
