//! Two APIs that share their revocations: what one of them revokes, the other rejects a moment later. Over Redis if one runs at
//! `REDIS_URL` or on the default port of this machine, else in memory.
//!
//! ```text
//! cargo run --example revocation
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::Router;
use axum::routing::get;
use reqwest::Client;
use tower_bearer::revocation::{MemoryLog, Revocation, Revocations};
use tower_bearer::stores::{Redis, RedisLog};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Claims, Issuer, Validator};

mod outcome;

const ORDERS: &str = "https://orders.northwind.com";
const STOCK: &str = "https://stock.northwind.com";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let (of_orders, of_stock) = lists().await?;
    let orders = serve(api(ORDERS, &server, &of_orders)?).await?;
    let stock = serve(api(STOCK, &server, &of_stock)?).await?;

    // One token for both APIs.
    let token = server.token().audiences([ORDERS, STOCK]).subject("auth0|ann").sign();
    let client = Client::builder().no_proxy().build()?;
    let status = async |url: &str| -> anyhow::Result<u16> {
        Ok(client.get(url).bearer_auth(&token).send().await?.status().as_u16())
    };
    println!("before: orders {}, stock {}", status(&orders).await?, status(&stock).await?);

    // The API of orders learns that Ann's account is blocked.
    of_orders.revoke(Revocation::subject("https://northwind.eu.auth0.com/", "auth0|ann")).await?;
    let revoked_at = Instant::now();
    if status(&orders).await? != 401 {
        bail!("orders accepts a revoked token");
    }
    while status(&stock).await? != 401 {
        if revoked_at.elapsed() > Duration::from_secs(5) {
            bail!("stock accepts a revoked token");
        }
    }
    println!("after:  orders 401, stock 401 within {:.0?}", revoked_at.elapsed());
    Ok(())
}

/// Returns the list of each API, once it knows everything that was revoked before.
async fn lists() -> anyhow::Result<(Revocations, Revocations)> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let redis = Redis::new(&url)?;
    let lists = match redis.check().await {
        Ok(()) => {
            println!("the APIs share their revocations over Redis");
            let list = || Revocations::shared(RedisLog::new(&redis, "tb:example:revocations"));
            (list(), list())
        }
        Err(error) => {
            println!("{error}: the APIs share their revocations in memory");
            let log = MemoryLog::new();
            (Revocations::shared(log.clone()), Revocations::shared(log))
        }
    };
    lists.0.ready_within(Duration::from_secs(5)).await?;
    lists.1.ready_within(Duration::from_secs(5)).await?;
    Ok(lists)
}

fn api(audience: &str, server: &TestIssuer, list: &Revocations) -> anyhow::Result<Router> {
    let api = Api::new(audience, Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(server.clone()).with_revocations(list).build()?;
    let greet = async |claims: Claims| format!("hello {}", claims.subject().unwrap_or("nobody"));
    Ok(Router::new().route("/", get(greet)).layer(BearerLayer::new(validator)))
}

/// Starts a server and returns its URL.
async fn serve(app: Router) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
