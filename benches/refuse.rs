//! What a refusal costs: whatever is refused before the signature must stay far below the check that it saves.

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

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use support::floor::Floor;
use support::{api, compare, heading, now, row, server, token};
use tower::{Layer as _, Service as _, service_fn};
use tower_bearer::{Algorithm, BearerLayer, Validator};

/// Of the signature check, the answer included.
const BUDGET: f64 = 0.06;

fn main() {
    let server = server(Algorithm::RS256);
    let floor = Floor::of(&server, Algorithm::RS256, &token(&server, 0).sign());
    let validator = Validator::new(api(&server, Algorithm::RS256)).expect("a good configuration");
    // A service in use knows the header that its issuer writes.
    now(validator.validate(&token(&server, 0).sign())).expect("a good token");
    let inner =
        service_fn(|_: Request<Empty<Bytes>>| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
    let mut guarded = BearerLayer::new(validator).layer(inner);
    let genuine = || token(&server, 0);
    let cases = [
        ("no token", None, Some(BUDGET)),
        ("junk", Some("2YotnFZFEjr1zCsicMWpAA".to_owned()), Some(BUDGET)),
        ("oversized", Some("x".repeat(20_000)), Some(BUDGET)),
        ("wrong issuer", Some(genuine().issuer("https://other.eu.auth0.com/").sign()), Some(BUDGET)),
        ("wrong audience", Some(genuine().audience("https://api.southwind.com/").sign()), Some(BUDGET)),
        ("expired", Some(genuine().expired().sign()), Some(BUDGET)),
        // Its header is new each time, and only the keys can refuse it.
        ("unknown kid (keys given by hand)", Some(genuine().kid("unknown").sign()), None),
        ("bad signature", Some(genuine().with_broken_signature().sign()), None),
        ("wrong type, genuine signature", Some(genuine().typ("logout+jwt").sign()), None),
    ];
    heading("refuse through the layer, answer included", "RS256 floor");
    for (name, text, budget) in cases {
        let field = text.map(|text| HeaderValue::try_from(format!("Bearer {text}")).expect("a field value"));
        let mut refuse = || {
            let mut request = Request::new(Empty::<Bytes>::new());
            if let Some(field) = &field {
                request.headers_mut().insert(AUTHORIZATION, field.clone());
            }
            let response = now(guarded.call(request)).expect("infallible");
            assert!(response.status().is_client_error(), "{name}");
            drop(black_box(response));
        };
        row(name, compare(&mut || floor.check(), &mut refuse), budget);
    }
}
