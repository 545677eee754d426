//! Binds tokens to clients with DPoP (RFC 9449): a client with a key, and a server that rejects the token without a proof of this key.
//!
//! ```text
//! cargo run --example dpop
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Router, response::Response};
use tower::ServiceExt as _;
use tower_bearer::claims::SenderConstraint;
use tower_bearer::dpop::{Dpop, Nonces};
use tower_bearer::testing::{ProofKey, TestIssuer};
use tower_bearer::{Api, BearerLayer, Claims, Issuer, Validator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    let app = server(&issuer)?;

    // The client has a key, and the issuer binds the token to it.
    let client = ProofKey::new();
    let token = issuer.token().audience(URL).subject("ann").bound_to(&client).sign();

    // The server requires a nonce. It rejects the first proof, and its response contains a nonce.
    let first = client.proof("GET", "https://api.northwind.com/me", &token).sign();
    let challenge = send(&app, &format!("DPoP {token}"), Some(&first)).await?;
    assert_eq!(challenge.status(), StatusCode::UNAUTHORIZED);
    let nonce = challenge.headers()["dpop-nonce"].to_str()?.to_owned();
    println!("the server requires the nonce {nonce}");

    let second = client.proof("GET", "https://api.northwind.com/me", &token).nonce(&nonce).sign();
    let response = send(&app, &format!("DPoP {token}"), Some(&second)).await?;
    assert_eq!(response.status(), StatusCode::OK);
    println!("with the nonce: {}", response.status());

    // An attacker has the token and the last request.
    for (what, authorization, proof) in [
        ("the token as a bearer token", format!("Bearer {token}"), None),
        ("the same proof again", format!("DPoP {token}"), Some(second.clone())),
        (
            "a proof by another key",
            format!("DPoP {token}"),
            Some(ProofKey::new().proof("GET", "https://api.northwind.com/me", &token).nonce(&nonce).sign()),
        ),
    ] {
        let response = send(&app, &authorization, proof.as_deref()).await?;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
        println!("{what}: {}", response.status());
    }
    Ok(())
}

fn server(issuer: &TestIssuer) -> Result<Router, tower_bearer::ConfigError> {
    let api = Api::new(URL, Issuer::auth0("northwind.eu.auth0.com"))
        .with_dpop(Dpop::new(URL).with_nonces(Nonces::of_this_process()))
        .with_sender_constrained_only();
    let validator = Validator::builder(api).with_fetch(issuer.clone()).build()?;
    Ok(Router::new().route("/me", get(me)).layer(BearerLayer::new(validator)))
}

async fn me(claims: Claims) -> String {
    let key = match claims.sender_constraint() {
        Some(SenderConstraint::Dpop { jkt }) => jkt.to_base64url(),
        _ => "none".to_owned(),
    };
    format!("{} with the key {key}", claims.subject().unwrap_or("nobody"))
}

async fn send(app: &Router, authorization: &str, proof: Option<&str>) -> Result<Response, Box<dyn std::error::Error>> {
    let request = Request::get("/me").header("authorization", authorization);
    let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
    Ok(app.clone().oneshot(request.body(Body::empty())?).await?)
}

const URL: &str = "https://api.northwind.com";
