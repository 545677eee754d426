//! gRPC: the layers around a tonic server. A client receives a rejection as a gRPC status.
//!
//! ```text
//! cargo run --example tonic
//! ```
//!
//! With `-- --serve` it keeps running and prints tokens, for your own client. It needs neither protoc nor a build script:
//! `examples/tonic/greeter.rs` implements the service by hand.

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Issuer, RequireLayer, Validator};

use self::greeter::{Greeter, Text};
use self::ticker::{Ticker, WATCH};

mod greeter;
#[path = "../log.rs"]
mod log;
#[path = "../outcome.rs"]
mod outcome;
mod ticker;
mod while_valid;

const AUDIENCE: &str = "https://grpc.northwind.com";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    log::start();
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(server.clone()).build()?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(
        Server::builder()
            .layer(BearerLayer::new(validator.clone()))
            .layer(RequireLayer::scope("greet"))
            .add_service(Greeter)
            .add_service(Ticker { validator })
            .serve_with_incoming(TcpIncoming::from(listener)),
    );

    println!("listening on http://{address}");
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let token = || server.token().audience(AUDIENCE).subject("ann");
    let calls = [
        ("a good token", Some(token().scope("greet").sign())),
        ("no token", None),
        ("an expired token", Some(token().scope("greet").expired().sign())),
        ("a token without the scope", Some(token().scope("read:orders").sign())),
    ];
    for (what, token) in &calls {
        match greeter::call(channel.clone(), token.as_deref(), "hello").await {
            Ok(response) => println!("{what}: {response}"),
            Err(status) => println!("{what}: {:?}, {}", status.code(), status.message()),
        }
    }
    let short = token().scope("greet").expires_in(Duration::from_secs(2)).sign();
    println!("a stream whose token expires in two seconds: {}", watch(channel, &short).await?);
    if std::env::args().any(|argument| argument == "--serve") {
        for (what, token) in &calls {
            println!("{what} = {}", token.as_deref().unwrap_or_default());
        }
        serving.await??;
    } else {
        serving.abort();
    }
    Ok(())
}

/// Reads the stream to its end.
async fn watch(channel: Channel, token: &str) -> anyhow::Result<String> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let response = client.server_streaming(greeter::request(Some(token), "")?, WATCH, Text).await?;
    let (mut messages, mut received) = (response.into_inner(), Vec::new());
    loop {
        match messages.message().await {
            Ok(Some(message)) => received.push(message),
            Ok(None) => return Ok(format!("{received:?}, then the end")),
            Err(status) => return Ok(format!("{received:?}, then {:?}, {}", status.code(), status.message())),
        }
    }
}
