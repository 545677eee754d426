//! A test issuer, an API behind the layer, one good token and a dozen bad ones.
//!
//! ```text
//! cargo run --example quickstart              # prints the table and ends
//! cargo run --example quickstart -- --serve   # keeps both servers running and prints curl lines
//! ```

#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "an example talks to whoever runs it")]

use std::error::Error;

use axum::routing::get;
use axum::{Json, Router};
use reqwest::Client;
use serde_json::{Value, json};
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};

const AUDIENCE: &str = "https://api.northwind.com";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server =
        TestIssuer::new().with_client("my-client", "my-secret").with_api(AUDIENCE, ["read:orders"]).serve().await?;

    // The API. Against a real tenant the issuer is `Issuer::auth0("tenant.eu.auth0.com")`.
    let validator = Validator::new(Api::new(AUDIENCE, Issuer::oidc(server.url())))?;
    let app = Router::new()
        .route("/orders", get(orders).route_layer(RequireLayer::scope("read:orders").with_json_body()))
        .layer(BearerLayer::new(validator.clone()).with_json_body());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let orders_url = format!("http://{}/orders", listener.local_addr()?);
    let running = tokio::spawn(axum::serve(listener, app).into_future());

    let client = Client::builder().no_proxy().build()?;
    let token = client_credentials(&client, &server.issuer().token_endpoint()).await?;

    let mut table = Table::default();
    for (sent, credential) in requests(server.issuer(), &token) {
        let why = why(&validator, credential.as_deref()).await;
        let mut request = client.get(&orders_url);
        if let Some(credential) = &credential {
            request = request.header("authorization", credential);
        }
        let answer = request.send().await?;
        let challenge = answer.headers().get("www-authenticate").map_or("", |value| value.to_str().unwrap_or("?"));
        // The description is the same for every token that is not good enough; the table leaves it out.
        let challenge = challenge.split(", error_description").next().unwrap_or_default();
        table.add([sent.to_owned(), answer.status().as_u16().to_string(), challenge.to_owned(), why]);
    }
    table.print();

    if std::env::args().any(|argument| argument == "--serve") {
        println!("\nThe servers keep running until Ctrl-C. Get a token and call the API:\n");
        println!("  TOKEN=$(curl -s {} \\", server.issuer().token_endpoint());
        println!("    -H 'content-type: application/json' \\");
        println!("    -d '{}' \\", grant());
        println!("    | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')");
        println!("  curl -i {orders_url} -H \"Authorization: Bearer $TOKEN\"");
        println!("  curl -i {orders_url}");
        tokio::signal::ctrl_c().await?;
    }
    running.abort();
    server.shutdown().await;
    Ok(())
}

async fn orders(claims: Claims) -> Json<Value> {
    Json(json!({ "orders": [], "for": claims.subject() }))
}

/// The client-credentials request of the Auth0 documentation.
async fn client_credentials(client: &Client, endpoint: &str) -> Result<String, Box<dyn Error>> {
    let answer: Value = client.post(endpoint).json(&grant()).send().await?.error_for_status()?.json().await?;
    Ok(answer["access_token"].as_str().ok_or("no access_token in the answer")?.to_owned())
}

fn grant() -> Value {
    json!({
        "grant_type": "client_credentials",
        "client_id": "my-client",
        "client_secret": "my-secret",
        "audience": AUDIENCE,
    })
}

/// What is sent: a name for the table, and the `Authorization` field.
fn requests(issuer: &TestIssuer, token: &str) -> Vec<(&'static str, Option<String>)> {
    let good = || issuer.token().audience(AUDIENCE).scope("read:orders");
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let broken = |name, token: TokenBuilder| (name, bearer(&token.sign()));
    let stranger = TestIssuer::named(issuer.issuer());
    vec![
        ("the token of the token endpoint", bearer(token)),
        ("no token", None),
        ("another scheme", Some("Basic bXktY2xpZW50Om15LXNlY3JldA==".to_owned())),
        ("two tokens in one field", Some(format!("Bearer {token}, Bearer {token}"))),
        ("an opaque token", bearer("2YotnFZFEjr1zCsicMWpAA")),
        broken("expired an hour ago", good().expired()),
        broken("for another API", good().audience("https://api.fabrikam.com")),
        broken("no audience at all", good().without("aud")),
        broken("issuer without its slash", good().issuer(issuer.issuer().trim_end_matches('/'))),
        broken("signature changed", good().with_broken_signature()),
        broken("signed by a stranger", good().signed_by(&stranger)),
        broken("alg: none", good().unsigned()),
        broken("HS256 with the public key", good().hs256_with_public_key()),
        broken("a key that nobody published", good().kid("nobody")),
        broken("a claim twice", good().with_duplicate_claim("sub", "admin")),
        broken("an ID token", good().claim("at_hash", "x")),
        broken("scope not granted", good().scope("read:profile")),
    ]
}

/// What the operator sees in the log; the client is told less.
async fn why(validator: &Validator, credential: Option<&str>) -> String {
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

/// Four columns, as wide as what stands in them.
#[derive(Default)]
struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    fn add(&mut self, row: [String; 4]) {
        self.rows.push(row);
    }

    fn print(mut self) {
        self.rows.insert(0, ["sent", "status", "challenge", "why"].map(str::to_owned));
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        for [sent, status, challenge, why] in &self.rows {
            println!(
                "{sent:w0$}  {status:w1$}  {challenge:w2$}  {why}",
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2]
            );
        }
    }
}
