//! A test issuer, an API behind the layer, and the responses to one valid and sixteen invalid requests.
//!
//! ```text
//! cargo run --example quickstart              # prints the table and ends
//! cargo run --example quickstart -- --serve   # keeps both servers running and prints curl commands
//! ```

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "an example prints what it does"
)]

use std::process::ExitCode;

use anyhow::Context as _;
use axum::routing::get;
use axum::{Json, Router};
use reqwest::Client;
use serde_json::{Value, json};
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};

mod log;
mod outcome;

const AUDIENCE: &str = "https://api.northwind.com";

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    log::start();
    let server = TestIssuer::new().with_client("my-client", "my-secret").with_api(AUDIENCE, ["read:orders"]);
    let server = server.serve().await.context("cannot start the test issuer")?;

    // The API. For a real tenant the issuer is `Issuer::auth0("tenant.eu.auth0.com")`.
    let validator = Validator::new(Api::new(AUDIENCE, Issuer::oidc(server.url())))?;
    let app = Router::new()
        .route("/orders", get(orders).route_layer(RequireLayer::scope("read:orders").with_json_body()))
        .layer(BearerLayer::new(validator.clone()).with_json_body());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let orders_url = format!("http://{}/orders", listener.local_addr()?);
    let running = tokio::spawn(axum::serve(listener, app).into_future());

    let client = Client::builder().no_proxy().build()?;
    let token = client_credentials(&client, &server.issuer().token_endpoint()).await?;

    println!("An API whose GET /orders requires a token of its issuer with the scope read:orders.");
    println!("Seventeen requests, the response to each, and the reason, which only the log contains:\n");
    print_row("request", "status", "error", "reason in the log");
    for (name, credential) in requests(server.issuer(), &token) {
        let mut request = client.get(&orders_url);
        if let Some(credential) = &credential {
            request = request.header("authorization", credential);
        }
        let response = request.send().await?;
        let challenge = response.headers().get("www-authenticate").map_or("", |value| value.to_str().unwrap_or("?"));
        let error = challenge.split("error=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("-");
        let reason = reason(&validator, credential.as_deref()).await;
        print_row(name, response.status().as_str(), error, &reason);
    }
    println!("\n\"signature not checked\": the claims alone were enough to reject the token, so the signature was");
    println!("never verified. Anyone can create such a token: do not trust its claims.");

    if std::env::args().any(|argument| argument == "--serve") {
        print_commands(&server.issuer().token_endpoint(), &orders_url);
        tokio::signal::ctrl_c().await?;
    } else {
        print_next_steps();
    }
    running.abort();
    server.shutdown().await;
    Ok(())
}

async fn orders(claims: Claims) -> Json<Value> {
    Json(json!({ "orders": [], "for": claims.subject() }))
}

/// The client-credentials request of the Auth0 documentation.
async fn client_credentials(client: &Client, endpoint: &str) -> anyhow::Result<String> {
    let response: Value = client.post(endpoint).json(&grant()).send().await?.error_for_status()?.json().await?;
    Ok(response["access_token"].as_str().context("the response of the token endpoint has no access_token")?.to_owned())
}

fn grant() -> Value {
    json!({
        "grant_type": "client_credentials",
        "client_id": "my-client",
        "client_secret": "my-secret",
        "audience": AUDIENCE,
    })
}

/// Returns a name for the table and the `Authorization` field of each request.
fn requests(issuer: &TestIssuer, token: &str) -> Vec<(&'static str, Option<String>)> {
    let good = || issuer.token().audience(AUDIENCE).scope("read:orders");
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let bad = |name, token: TokenBuilder| (name, bearer(&token.sign()));
    let other_issuer = TestIssuer::named(issuer.issuer());
    vec![
        ("a valid token", bearer(token)),
        ("no token", None),
        ("another scheme", Some("Basic bXktY2xpZW50Om15LXNlY3JldA==".to_owned())),
        ("two tokens in one header", Some(format!("Bearer {token}, Bearer {token}"))),
        ("an opaque token", bearer("2YotnFZFEjr1zCsicMWpAA")),
        bad("expired an hour ago", good().expired()),
        bad("for another API", good().audience("https://api.fabrikam.com")),
        bad("no audience", good().without("aud")),
        bad("issuer without its slash", good().issuer(issuer.issuer().trim_end_matches('/'))),
        bad("signature changed", good().with_broken_signature()),
        bad("signed by another issuer", good().signed_by(&other_issuer)),
        bad("alg: none", good().unsigned()),
        bad("HS256 with the public key", good().hs256_with_public_key()),
        bad("a key never published", good().kid("unknown")),
        bad("a duplicate claim", good().with_duplicate_claim("sub", "admin")),
        bad("an ID token", good().claim("at_hash", "x")),
        bad("scope not granted", good().scope("read:profile")),
    ]
}

/// Returns the reason that the log contains. The client receives only the error code.
async fn reason(validator: &Validator, credential: Option<&str>) -> String {
    let Some(token) = credential.and_then(|credential| credential.strip_prefix("Bearer ")) else {
        return "no bearer token".to_owned();
    };
    if token.contains(' ') {
        return "malformed credential".to_owned();
    }
    match validator.validate(token).await {
        Ok(claims) if claims.scopes().contains("read:orders") => "accepted".to_owned(),
        Ok(_) => "the token lacks the scope".to_owned(),
        Err(rejection) => rejection.to_string(),
    }
}

/// The widths of the columns. The last column wraps, so that a line has at most 100 characters.
const WIDTHS: [usize; 4] = [25, 6, 18, 45];

fn print_row(request: &str, status: &str, error: &str, reason: &str) {
    let [w0, w1, w2, last] = WIDTHS;
    let mut lines = vec![String::new()];
    for word in reason.split(' ') {
        let line = lines.len() - 1;
        if lines[line].len() + word.len() >= last {
            lines.push(word.to_owned());
        } else {
            let space = if lines[line].is_empty() { "" } else { " " };
            lines[line] += &format!("{space}{word}");
        }
    }
    println!("{request:w0$}  {status:w1$}  {error:w2$}  {}", lines[0]);
    for line in &lines[1..] {
        println!("{:w0$}  {:w1$}  {:w2$}  {line}", "", "", "");
    }
}

fn print_commands(token_endpoint: &str, orders_url: &str) {
    println!("\nBoth servers run until Ctrl-C. Get a token and call the API:\n");
    println!("  TOKEN=$(curl -s {token_endpoint} \\");
    println!("    -H 'content-type: application/json' \\");
    println!("    -d '{}' \\", format!("{:#}", grant()).replace('\n', "\n    "));
    println!("    | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')");
    println!("  curl -i {orders_url} -H \"Authorization: Bearer $TOKEN\"");
    println!("  curl -i {orders_url}");
}

fn print_next_steps() {
    println!("\nNext:");
    println!("  cargo run --example quickstart -- --serve   call this API with curl");
    println!("  src/guide/quickstart.md                     write an API for your own Auth0 tenant");
    println!("  cargo run --example server -- examples/server/server.toml");
    println!("                                              run an API from a configuration file");
    println!("  cargo doc --all-features --open             read the guide and the reference");
}
