//! What the layer adds to a request through an axum router, in process.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, counts freely and ends where it cannot go on"
)]

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
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
use support::{api, compare, heading, now, row, server, token};
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;
use tower_bearer::{Algorithm, BearerLayer, Claims, Validator};

fn main() {
    let server = server(Algorithm::RS256);
    let field =
        |number| HeaderValue::try_from(format!("Bearer {}", token(&server, number).sign())).expect("a field value");
    let fields: Vec<HeaderValue> = (0..1_000).map(field).collect();
    let builder = || Validator::builder(api(&server, Algorithm::RS256));
    let remembering = builder().build().expect("a good configuration");
    let forgetful = builder().without_token_cache().build().expect("a good configuration");

    let open = Router::new().route("/", get(async || "hello"));
    let greet = async |claims: Claims| if claims.subject().is_some() { "hello" } else { "who" };
    let hit = Router::new().route("/", get(greet)).layer(BearerLayer::new(remembering));
    let miss = Router::new().route("/", get(greet)).layer(BearerLayer::new(forgetful));

    let (mut hit, mut miss) = (requests(hit, &fields), requests(miss, &fields));
    // Every token once, so that the memo knows them all.
    (0..fields.len()).for_each(|_| hit());
    heading("one request through axum, RS256, 1,000 tokens", "axum without authentication");
    let (mut bare, mut contestant) = (requests(open.clone(), &fields), requests(open.clone(), &fields));
    row("no authentication", compare(&mut bare, &mut contestant), None);
    let idle = open.clone().layer(MapRequestLayer::new(|request: Request<Body>| request));
    row("a layer that does nothing", compare(&mut bare, &mut requests(idle, &fields)), None);
    // Not even a look into a table: what no memo that is keyed by SHA-256 can do without.
    let digest = open.clone().layer(MapRequestLayer::new(|mut request: Request<Body>| {
        let field = request.headers().get(AUTHORIZATION).expect("a token");
        let digest = digest::digest(&digest::SHA256, field.as_bytes());
        request.extensions_mut().insert(digest);
        request
    }));
    row("a layer that inserts the token's SHA-256", compare(&mut bare, &mut requests(digest, &fields)), None);
    let least = requests(open.clone().layer(least_memo(&fields)), &fields);
    row("a layer that finds the token in a table", compare(&mut bare, &mut { least }), None);
    row("with memo", compare(&mut bare, &mut hit), Some(1.95));
    row("without memo", compare(&mut bare, &mut miss), None);
}

/// What no memo can do without: the layer's own tag of the token, found in a table that never changes, into the extensions.
/// Nothing is checked, neither the credential's grammar nor a date nor a key, and nothing bounds or renews the table.
fn least_memo(fields: &[HeaderValue]) -> MapRequestLayer<impl Fn(Request<Body>) -> Request<Body> + Clone + use<>> {
    let key = Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("a key")));
    let tag = move |field: &HeaderValue| -> [u8; 16] {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(field.as_bytes()), &mut []).expect("short enough");
        tag.as_ref().try_into().expect("16 octets")
    };
    let verdicts = fields.iter().map(|field| (tag(field), Arc::new(field.clone())));
    let verdicts: Arc<HashMap<[u8; 16], Arc<HeaderValue>>> = Arc::new(verdicts.collect());
    MapRequestLayer::new(move |mut request: Request<Body>| {
        let verdict = verdicts.get(&tag(request.headers().get(AUTHORIZATION).expect("a token"))).expect("a known one");
        request.extensions_mut().insert(Arc::clone(verdict));
        request
    })
}

/// One request after the other, each with the next token; with each is done what `axum::serve` does.
fn requests(router: Router, fields: &[HeaderValue]) -> impl FnMut() {
    // Once for a connection: layers are put around handlers here, and not for every request.
    let boxed = router.with_state::<()>(()).map_request(|request: Request<Empty<Bytes>>| request.map(Body::new));
    let connection = TowerToHyperService::new(boxed);
    let mut next = 0;
    move || {
        next = (next + 379) % fields.len();
        // A server finds the field where it has just read it to, and looks at its octets.
        let read = Bytes::copy_from_slice(fields[next].as_bytes());
        let field = HeaderValue::from_maybe_shared(read).expect("a field value");
        let request = Request::get("/").header(AUTHORIZATION, field).body(Empty::new()).expect("a request");
        let response = now(connection.call(request)).expect("infallible");
        assert!(response.status().is_success());
        black_box(now(response.into_body().collect()).expect("a body"));
    }
}
