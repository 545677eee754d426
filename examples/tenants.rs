//! Customers that come and go while the API runs, each with its own realm and keys.
//!
//! ```text
//! cargo run --example tenants
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use reqwest::Client;
use tower_bearer::config::Tenants;
use tower_bearer::testing::{TestIssuer, TestNetwork};
use tower_bearer::{Api, BearerLayer, Claims, Issuer, Validator};

mod outcome;

const AUDIENCE: &str = "https://api.northwind.com";

/// The customers of the application. A real one reads its database.
#[derive(Clone, Default)]
struct Customers(Arc<RwLock<BTreeSet<String>>>);

impl Customers {
    fn add(&self, realm: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(realm.to_owned());
    }

    fn remove(&self, realm: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(realm);
    }

    async fn contains(&self, realm: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(realm)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    outcome::exit_code(run().await)
}

async fn run() -> anyhow::Result<()> {
    // The realms of one server. Each has its own keys.
    let issuer = |realm: &str| format!("https://id.example.com/realms/{realm}");
    let [acme, globex] = ["acme", "globex"].map(|realm| TestIssuer::named(&issuer(realm)));
    let customers = Customers::default();
    customers.add("acme");

    let known = customers.clone();
    let realms = Tenants::matching("https://id.example.com/realms/{realm}").resolved_by(move |claimed| {
        let known = known.clone();
        async move {
            let is_customer = known.contains(claimed.capture("realm").unwrap_or_default()).await;
            Ok(is_customer.then(|| Issuer::oidc(claimed.issuer())))
        }
    });
    let realms = realms.with_event_hook(|event| println!("  {} {}", event.kind().name(), event.issuer()));
    // A real application needs no `with_fetch`: the default connects to public addresses only.
    let network = TestNetwork::new([&acme, &globex]);
    let validator = Validator::builder(Api::for_tenants(AUDIENCE, realms)).with_fetch(network).build()?;

    let orders = get(async |claims: Claims| format!("orders of {}", claims.issuer()));
    let app = Router::new().route("/orders", orders).layer(BearerLayer::new(validator.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1:0")?;
    let url = format!("http://{}/orders", listener.local_addr()?);
    let serving = tokio::spawn(axum::serve(listener, app).into_future());

    let client = Client::builder().no_proxy().build()?;
    let expect = async |what: &str, server: &TestIssuer, expected: u16| {
        let token = server.token().audience(AUDIENCE).sign();
        let status = client.get(&url).bearer_auth(token).send().await?.status().as_u16();
        println!("{what:<40} {status}");
        anyhow::ensure!(status == expected, "{what}: {status} instead of {expected}");
        Ok(())
    };
    expect("acme is a customer", &acme, 200).await?;
    expect("globex is none", &globex, 401).await?;
    customers.add("globex");
    expect("globex is one now, but not yet known", &globex, 401).await?;
    validator.tenants().remove(globex.issuer());
    expect("globex was unknown, which is forgotten", &globex, 200).await?;
    customers.remove("acme");
    expect("acme is known for five more minutes", &acme, 200).await?;
    validator.tenants().remove(acme.issuer());
    expect("acme is removed", &acme, 401).await?;
    expect("globex is not affected", &globex, 200).await?;
    serving.abort();
    Ok(())
}
