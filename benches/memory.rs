//! Measures the memory of the token cache, as counted by the allocator.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, does unchecked arithmetic and panics on errors"
)]

mod support;

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use support::tenants::name;
use support::{AUDIENCE, api, now, server, token};
use tower_bearer::config::Tenants;
use tower_bearer::fetch::{Fetch, FetchFuture, FetchRequest, FetchResponse};
use tower_bearer::{Algorithm, Api, Issuer, Validator};

fn main() {
    // A cache entry has no signature, so the fastest signature algorithm is enough.
    let algorithm = Algorithm::ES256;
    let server = server(algorithm);
    let texts: Vec<String> = (0..40_000).map(|number| token(&server, number).sign()).collect();
    println!("memory of cached tokens of {} bytes", texts[0].len());
    println!("{:>10} {:>16} {:>16} {:>12}", "tokens", "bound", "allocated", "per token");
    for (tokens, bound) in [
        (0, 8 << 20),
        (1_000, 8 << 20),
        (10_000, 16 << 20),
        (20_000, 32 << 20),
        (40_000, 64 << 20),
        (40_000, 8 << 20),
        (40_000, 16 << 20),
    ] {
        let mut validator = None;
        // The memory of the validator itself is included.
        let allocated = allocation_counter::measure(|| {
            let builder = Validator::builder(api(&server, algorithm)).with_token_cache_bytes(bound);
            let validator = validator.insert(builder.build().expect("a valid configuration"));
            for text in &texts[..tokens] {
                drop(now(validator.validate(text)).expect("valid"));
            }
        });
        let allocated = allocated.bytes_current as f64;
        println!("{tokens:>10} {bound:>16} {allocated:>16} {:>12.0}", allocated / tokens.max(1) as f64);
    }
    tenants();
}

/// Measures tenants that are looked up, each with a key set of one RSA key that was fetched.
fn tenants() {
    let keys = Keys(Arc::from(support::server(Algorithm::RS256).jwks()));
    println!("\nmemory of tenants with a key set of one RSA key");
    println!("{:>10} {:>16} {:>12}", "tenants", "allocated", "per tenant");
    for count in [0, 100, 1_000] {
        let tokens: Vec<String> = (0..count).map(|number| unsigned(&name(number))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut validator = None;
        let allocated = allocation_counter::measure(|| {
            let rule = Tenants::matching("https://id.example.com/realms/{realm}")
                .resolved_by(|claimed| async move { Ok(Some(Issuer::oidc(claimed.issuer()))) })
                .with_max_tenants(8_000)
                .with_new_tenants_per_second(1_000);
            let builder = Validator::builder(Api::for_tenants(AUDIENCE, rule)).with_fetch(keys.clone());
            let validator = validator.insert(builder.build().expect("a valid configuration"));
            runtime.block_on(async {
                for token in &tokens {
                    validator.validate(token).await.expect_err("a forged token");
                }
            });
        });
        let in_use = validator.as_ref().map(|validator| validator.tenants().issuers().len());
        assert_eq!(in_use, Some(count));
        let allocated = allocated.bytes_current as f64;
        println!("{count:>10} {allocated:>16} {:>12.0}", allocated / count.max(1) as f64);
    }
}

/// A token without a signature, whose key is looked for.
fn unsigned(issuer: &str) -> String {
    let server = support::server(Algorithm::RS256);
    token(&server, 0).issuer(issuer).without_kid().with_signature(b"none".to_vec()).sign()
}

/// Serves the same keys for every tenant.
#[derive(Clone, Debug)]
struct Keys(Arc<str>);

impl Fetch for Keys {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        let url = request.endpoint.as_str();
        let body = match url.strip_suffix("/.well-known/openid-configuration") {
            Some(issuer) => format!(r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/keys"}}"#),
            None => self.0.to_string(),
        };
        Box::pin(ready(Ok(FetchResponse::new(StatusCode::OK, HeaderMap::new(), Bytes::from(body)))))
    }

    fn connects_to_public_addresses_only(&self) -> bool {
        true
    }
}
