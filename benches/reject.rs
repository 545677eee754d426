//! Measures rejections. A rejection before the signature check must cost far less than the check that it saves.

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

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use support::baseline::Baseline;
use support::{api, compare, heading, now, row, server, token};
use tower::{Layer as _, Service as _, service_fn};
use tower_bearer::{Algorithm, BearerLayer, Validator};

/// The budget of a rejection with its response, as a multiple of the signature check.
const BUDGET: f64 = 0.06;

fn main() {
    let server = server(Algorithm::RS256);
    let baseline = Baseline::new(&server, Algorithm::RS256, &token(&server, 0).sign());
    let validator = Validator::new(api(&server, Algorithm::RS256)).expect("a valid configuration");
    // In a running service, the JOSE header of the issuer is cached.
    now(validator.validate(&token(&server, 0).sign())).expect("a valid token");
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
        // Its header is not cached, and it is rejected only after the key lookup.
        ("unknown kid (static keys)", Some(genuine().kid("unknown").sign()), None),
        ("bad signature", Some(genuine().with_broken_signature().sign()), None),
        ("wrong type, genuine signature", Some(genuine().typ("logout+jwt").sign()), None),
    ];
    heading("reject through the layer, with response", "RS256 baseline");
    for (name, text, budget) in cases {
        let field = text.map(|text| HeaderValue::try_from(format!("Bearer {text}")).expect("a field value"));
        let mut reject = || {
            let mut request = Request::new(Empty::<Bytes>::new());
            if let Some(field) = &field {
                request.headers_mut().insert(AUTHORIZATION, field.clone());
            }
            let response = now(guarded.call(request)).expect("infallible");
            assert!(response.status().is_client_error(), "{name}");
            drop(black_box(response));
        };
        row(name, compare(&mut || baseline.check(), &mut reject), budget);
    }
}
