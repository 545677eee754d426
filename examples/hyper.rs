//! The layers without axum: a hyper server with a tower service.
//!
//! ```text
//! cargo run --example hyper -- 127.0.0.1:8081
//! ```
//!
//! Serves HTTP/1.1 and HTTP/2, and prints a `curl` command with a token.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it does")]

use std::convert::Infallible;
use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tower::{ServiceBuilder, service_fn};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};

mod log;
mod outcome;

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    log::start();
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(server.clone()).build()?;

    let service = ServiceBuilder::new()
        .layer(BearerLayer::new(validator))
        .layer(RequireLayer::scope("read:orders"))
        .service(service_fn(hello));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let listener =
        tokio::net::TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    let token = server.token().audience("https://api.northwind.com").scope("read:orders").sign();
    println!("curl -i http://{}/ -H 'Authorization: Bearer {token}'", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            if let Err(error) = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
            {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // The layer inserts the claims before it calls this service.
    let subject = request.extensions().get::<Claims>().and_then(|claims| claims.subject()).unwrap_or("unknown");
    Ok(Response::new(Full::from(format!("hello {subject}\n"))))
}
