//! A server like those of the Model Context Protocol, and a client that knows only its URL. The 401 leads the client to the
//! metadata (RFC 9728), the metadata to the authorization server (RFC 8414), and that server issues a token.
//!
//! ```text
//! cargo run --example mcp_server              # runs all steps and ends
//! cargo run --example mcp_server -- --serve   # keeps both servers running
//! ```

#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "an example prints what it does")]

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tower_bearer::metadata::ProtectedResourceMetadata;
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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let resource = format!("http://{}/mcp", listener.local_addr()?);
    let authorization_server =
        TestIssuer::new().with_client("assistant", "its-secret").with_api(&resource, ["tools:call"]);
    let authorization_server = authorization_server.serve().await.context("cannot start the authorization server")?;
    let app = app(&resource, authorization_server.url())?;
    let serving = tokio::spawn(axum::serve(listener, app).into_future());

    let client = Client::builder().no_proxy().build()?;
    let tools = discover_and_call(&client, &resource).await?;
    println!("tools: {tools}");

    if std::env::args().any(|argument| argument == "--serve") {
        println!("\nThe servers keep running until Ctrl-C:\n  curl -i -X POST {resource}");
        tokio::signal::ctrl_c().await?;
    }
    serving.abort();
    authorization_server.shutdown().await;
    Ok(())
}

/// The server: one endpoint for JSON-RPC, and its metadata document.
fn app(resource: &str, issuer: &str) -> anyhow::Result<Router> {
    let validator = Validator::new(Api::new(resource, Issuer::oidc(issuer)))?;
    let metadata =
        ProtectedResourceMetadata::new(resource, [issuer])?.with_scopes(["tools:call"])?.with_name("Northwind tools");
    let bearer = BearerLayer::new(validator).with_resource_metadata(&metadata).with_challenge_scope("tools:call");
    let routes =
        Router::new().route("/mcp", post(rpc)).route_layer(RequireLayer::scope("tools:call")).route_layer(bearer);
    // The document is public: no layer around it.
    Ok(routes.route(metadata.path(), get(metadata.clone())))
}

async fn rpc(claims: Claims, Json(call): Json<Value>) -> Json<Value> {
    let result = match call["method"].as_str() {
        Some("tools/list") => json!({ "tools": [{ "name": "orders", "description": "lists the orders" }] }),
        _ => json!({ "serverInfo": { "name": "northwind" }, "client": claims.client_id() }),
    };
    Json(json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }))
}

/// The client: calls the server without a token, follows the challenge, gets a token and calls again.
async fn discover_and_call(client: &Client, url: &str) -> anyhow::Result<Value> {
    let rejected = list_tools(client, url, None).await?;
    if rejected.status() != StatusCode::UNAUTHORIZED {
        bail!("expected 401, got {}", rejected.status());
    }
    let challenge = rejected.headers().get("www-authenticate").context("no challenge")?.to_str()?.to_owned();
    println!("1. {} {challenge}", rejected.status().as_u16());

    let metadata_url = parameter(&challenge, "resource_metadata").context("the challenge names no metadata")?;
    let metadata: Value = client.get(metadata_url).send().await?.error_for_status()?.json().await?;
    println!("2. {metadata_url}\n   {metadata}");
    // RFC 9728 §3.3: `resource` must equal the URL of the request.
    if metadata["resource"] != url {
        bail!("the metadata belongs to another resource");
    }

    let issuer = metadata["authorization_servers"][0].as_str().context("no authorization server")?;
    let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let server: Value = client.get(&discovery).send().await?.error_for_status()?.json().await?;
    let endpoint = server["token_endpoint"].as_str().context("no token endpoint")?;
    println!("3. {discovery}\n   token endpoint {endpoint}");

    let grant = [
        ("grant_type", "client_credentials"),
        ("client_id", "assistant"),
        ("client_secret", "its-secret"),
        ("audience", url),
        ("scope", parameter(&challenge, "scope").unwrap_or_default()),
    ];
    let granted: Value = client.post(endpoint).form(&grant).send().await?.error_for_status()?.json().await?;
    let token = granted["access_token"].as_str().context("no access token")?;
    println!("4. a token of {} bytes", token.len());

    let response: Value = list_tools(client, url, Some(token)).await?.error_for_status()?.json().await?;
    Ok(response["result"]["tools"].clone())
}

async fn list_tools(client: &Client, url: &str, token: Option<&str>) -> Result<Response, reqwest::Error> {
    let request = client.post(url).json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
    match token {
        Some(token) => request.bearer_auth(token).send().await,
        None => request.send().await,
    }
}

/// Returns a parameter of a challenge; the values here contain neither quotes nor backslashes.
fn parameter<'c>(challenge: &'c str, name: &str) -> Option<&'c str> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}
