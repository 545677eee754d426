//! Measures what the layer adds to a request through an axum router, in process.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, does unchecked arithmetic and panics on errors"
)]

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use support::baseline::Baseline;
use support::{api, compare, fingerprinter, heading, now, row, server, token};
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;
use tower_bearer::{Algorithm, BearerLayer, Claims, Validator};

fn main() {
    let server = server(Algorithm::RS256);
    let field =
        |number| HeaderValue::try_from(format!("Bearer {}", token(&server, number).sign())).expect("a field value");
    let fields: Vec<HeaderValue> = (0..1_000).map(field).collect();
    let builder = || Validator::builder(api(&server, Algorithm::RS256));
    let caching = builder().build().expect("a valid configuration");
    let uncached = builder().without_token_cache().build().expect("a valid configuration");

    let open = Router::new().route("/", get(async || "hello"));
    let greet = async |claims: Claims| if claims.subject().is_some() { "hello" } else { "who" };
    let hit = Router::new().route("/", get(greet)).layer(BearerLayer::new(caching));
    let miss = Router::new().route("/", get(greet)).layer(BearerLayer::new(uncached));

    let (mut hit, mut miss) = (requests(hit, &fields), requests(miss, &fields));
    // Every token once, so that the token cache has an entry for each.
    (0..fields.len()).for_each(|_| hit());
    heading("one request through axum, RS256, 1,000 tokens", "axum without authentication");
    let (mut bare, mut candidate) = (requests(open.clone(), &fields), requests(open.clone(), &fields));
    row("no authentication", compare(&mut bare, &mut candidate), None);
    let idle = open.clone().layer(MapRequestLayer::new(|request: Request<Body>| request));
    row("a layer that does nothing", compare(&mut bare, &mut requests(idle, &fields)), None);
    // The minimum of any cache that is keyed by SHA-256, without even a lookup.
    let digest = open.clone().layer(MapRequestLayer::new(|mut request: Request<Body>| {
        let field = request.headers().get(AUTHORIZATION).expect("a token");
        let digest = digest::digest(&digest::SHA256, field.as_bytes());
        request.extensions_mut().insert(digest);
        request
    }));
    row("a layer that inserts the token's SHA-256", compare(&mut bare, &mut requests(digest, &fields)), None);
    let minimal = requests(open.clone().layer(minimal_cache(&fields)), &fields);
    row("a layer that finds the token in a table", compare(&mut bare, &mut { minimal }), None);
    row("with token cache", compare(&mut bare, &mut hit), None);
    row("without token cache", compare(&mut bare, &mut miss), None);

    heading("the same", "a layer that finds the token in a table");
    let mut minimal = requests(open.clone().layer(minimal_cache(&fields)), &fields);
    row("with token cache", compare(&mut minimal, &mut hit), Some(1.25));

    heading("the same", "the signature check and axum without authentication");
    let baseline = Baseline::new(&server, Algorithm::RS256, &token(&server, 0).sign());
    let mut checked = || {
        baseline.check();
        bare();
    };
    row("without token cache", compare(&mut checked, &mut miss), Some(1.06));
}

/// The minimum of any token cache: computes the same fingerprint of the token as the layer, looks it up in a constant table,
/// and inserts the entry into the extensions. Credential syntax, dates and keys are not checked; the table has no bound.
fn minimal_cache(fields: &[HeaderValue]) -> MapRequestLayer<impl Fn(Request<Body>) -> Request<Body> + Clone + use<>> {
    let hash = fingerprinter();
    let fingerprint = move |field: &HeaderValue| hash(field.as_bytes());
    let entries = fields.iter().map(|field| (fingerprint(field), Arc::new(field.clone())));
    let entries: Arc<HashMap<[u8; 16], Arc<HeaderValue>>> = Arc::new(entries.collect());
    MapRequestLayer::new(move |mut request: Request<Body>| {
        let entry =
            entries.get(&fingerprint(request.headers().get(AUTHORIZATION).expect("a token"))).expect("a known token");
        request.extensions_mut().insert(Arc::clone(entry));
        request
    })
}

/// Returns a function that sends one request with the next token, and does for it what `axum::serve` does.
fn requests(router: Router, fields: &[HeaderValue]) -> impl FnMut() {
    // Once per connection: `with_state` wraps the handlers in their layers.
    let boxed = router.with_state::<()>(()).map_request(|request: Request<Empty<Bytes>>| request.map(Body::new));
    let connection = TowerToHyperService::new(boxed);
    let mut next = 0;
    move || {
        next = (next + 379) % fields.len();
        // As in a server, the field value is a slice of a buffer that was just read, and is validated.
        let read = Bytes::copy_from_slice(fields[next].as_bytes());
        let field = HeaderValue::from_maybe_shared(read).expect("a field value");
        let request = Request::get("/").header(AUTHORIZATION, field).body(Empty::new()).expect("a request");
        let response = now(connection.call(request)).expect("infallible");
        assert!(response.status().is_success());
        black_box(now(response.into_body().collect()).expect("a body"));
    }
}
