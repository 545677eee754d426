//! Several APIs in one process, with RS256 or HS256, and one key source for all RS256 APIs of a tenant.
//!
//! ```text
//! cargo run --example several_apis
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use reqwest::Client;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, Secret, Validator};

mod outcome;

const ORDERS: &str = "https://orders.northwind.com";
const STOCK: &str = "https://stock.northwind.com";
const LEGACY: &str = "https://legacy.northwind.com";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    // One tenant: its APIs `orders` and `stock` are signed with RS256, `legacy` with HS256 and its own secret.
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let old = TestIssuer::named(server.issuer()).with_algorithms([Algorithm::HS256]);

    let tenant = Issuer::auth0("northwind.eu.auth0.com");
    let orders = Validator::builder(Api::new(ORDERS, tenant.clone())).with_fetch(server.clone()).build()?;
    let stock = Validator::builder(Api::new(STOCK, tenant)).with_keys_of(&orders).build()?;
    let secret = Issuer::shared_secret("https://northwind.eu.auth0.com/", Secret::from_text(old.secret()));
    let legacy = Validator::new(Api::new(LEGACY, secret))?;

    let app = Router::new().nest("/orders", api(orders)).nest("/stock", api(stock)).nest("/legacy", api(legacy));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(axum::serve(listener, app).into_future());

    let client = Client::builder().no_proxy().build()?;
    println!("{:<18} {:>8} {:>8} {:>8}", "", "/orders", "/stock", "/legacy");
    for (what, home, token) in [
        ("token for orders", "/orders", server.token().audience(ORDERS).sign()),
        ("token for stock", "/stock", server.token().audience(STOCK).sign()),
        ("token for legacy", "/legacy", old.token().audience(LEGACY).sign()),
        ("HS256 for orders", "", old.token().audience(ORDERS).sign()),
        ("RS256 for legacy", "", server.token().audience(LEGACY).sign()),
    ] {
        let mut row = format!("{what:<18}");
        for path in ["/orders", "/stock", "/legacy"] {
            let response = client.get(format!("{url}{path}")).bearer_auth(&token).send().await?;
            row.push_str(&format!(" {:>8}", response.status().as_u16()));
            if response.status().is_success() != (path == home) {
                anyhow::bail!("{what} at {path}: {}", response.status());
            }
        }
        println!("{row}");
    }
    println!("the tenant's keys were fetched {} time(s)", server.fetches());
    if server.fetches() != 1 {
        anyhow::bail!("the keys of one tenant are fetched once");
    }
    serving.abort();
    Ok(())
}

fn api(validator: Validator) -> Router {
    Router::new().route("/", get(whoami)).layer(BearerLayer::new(validator))
}

async fn whoami(claims: Claims) -> String {
    claims.subject().unwrap_or("unknown").to_owned()
}
