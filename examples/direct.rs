//! Validation without a server: `validator.validate(token)`.
//!
//! ```text
//! cargo run --example direct
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::process::ExitCode;

use serde::Deserialize;
use tower_bearer::rejection::CheckError;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Claims, Issuer, Validator};

mod outcome;

/// The custom claims of this application.
#[derive(Deserialize)]
struct Northwind {
    #[serde(rename = "https://northwind.com/department")]
    department: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    let validator =
        Validator::builder(api).with_fetch(server.clone()).build()?.with_custom_claims::<Northwind>().with_check(
            |claims: &Claims<Northwind>| match claims.subject() {
                Some("auth0|left-the-company") => Err(CheckError::new()),
                _ => Ok(()),
            },
        );

    let token = server
        .token()
        .audience("https://api.northwind.com")
        .subject("auth0|ann")
        .claim("https://northwind.com/department", "sales")
        .scope("read:orders");

    let claims = validator.validate(&token.clone().sign()).await?;
    println!("{} of {} may {:?}", claims.subject().unwrap_or("unknown"), claims.custom().department, claims.scopes());

    for (what, token) in [
        ("expired", token.clone().expired()),
        ("for another API", token.clone().audience("https://api.fabrikam.com")),
        ("signature broken", token.clone().with_broken_signature()),
        ("without department", token.clone().without("https://northwind.com/department")),
        ("on the denylist", token.subject("auth0|left-the-company")),
    ] {
        match validator.validate(&token.sign()).await {
            Ok(_) => anyhow::bail!("{what}: accepted"),
            Err(rejection) => println!("{what}: {rejection} [{}]", rejection.kind().name()),
        }
    }
    Ok(())
}
