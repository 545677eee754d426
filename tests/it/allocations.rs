//! How often a validation allocates: a number that does not depend on the machine.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer as _, Service as _, service_fn};
use tower_bearer::keys::KeySet;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Secret, Validator};

const AUDIENCE: &str = "https://api.test/";

fn api(server: &TestIssuer, algorithm: Algorithm) -> Api {
    let issuer = if algorithm.is_symmetric() {
        Issuer::shared_secret(server.issuer(), Secret::utf8(server.secret()))
    } else {
        Issuer::with_static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
    };
    Api::new(AUDIENCE, issuer.with_algorithms([algorithm]))
}

fn token(server: &TestIssuer) -> TokenBuilder {
    server.token().audiences([AUDIENCE, "https://userinfo.test/"]).permissions(["read:orders", "write:orders"])
}

/// Completes a future that has nothing to wait for, without a runtime that would allocate.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the keys are at hand"),
    }
}

/// Allocations of one run, once everything that is made on first use is there: the median of many, since now and then
/// one of them does the cache's housekeeping.
fn allocations(mut work: impl FnMut()) -> u64 {
    (0..20).for_each(|_| work());
    let mut counts: Vec<u64> = (0..21).map(|_| allocation_counter::measure(&mut work).count_total).collect();
    counts.sort_unstable();
    counts[10]
}

fn of_validation(validator: &Validator, text: &str) -> u64 {
    allocations(|| drop(black_box(now(validator.validate(black_box(text))))))
}

#[test]
fn a_validation_allocates_four_times_at_most() {
    for algorithm in Algorithm::ALL {
        let server = TestIssuer::new().with_algorithms([algorithm]);
        let validator = Validator::builder(api(&server, algorithm)).without_memo().build().expect("good");
        let text = token(&server).sign();
        assert!(now(validator.validate(&text)).is_ok());
        let count = of_validation(&validator, &text);
        assert!(count <= 4, "{algorithm}: {count} allocations");
    }
}

#[test]
fn a_remembered_token_allocates_nothing() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let validator = Validator::new(api(&server, Algorithm::ES256)).expect("good");
    let text = token(&server).sign();
    assert_eq!(of_validation(&validator, &text), 0);
}

#[test]
fn refusals_before_the_claims_allocate_nothing_but_what_was_read() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let validator = Validator::new(api(&server, Algorithm::ES256)).expect("good");
    let long = "x".repeat(20_000);
    for (text, limit) in [
        ("opaque".to_owned(), 0),
        ("a.b".to_owned(), 0),
        (long, 0),
        (token(&server).encrypted().sign(), 0),
        (token(&server).issuer("https://other.test/").sign(), 3),
        (token(&server).audience("https://other.test/").sign(), 3),
        (token(&server).expired().sign(), 3),
        (token(&server).kid("unknown").sign(), 3),
        (token(&server).with_broken_signature().sign(), 3),
    ] {
        assert!(now(validator.validate(&text)).is_err());
        let count = of_validation(&validator, &text);
        assert!(count <= limit, "{count} allocations: {text}");
    }
}

#[test]
fn the_layer_allocates_twice_at_most_for_a_remembered_token() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let validator = Validator::new(api(&server, Algorithm::ES256)).expect("good");
    let inner = service_fn(|request: Request<Empty<Bytes>>| async move {
        black_box(request);
        Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut guarded = BearerLayer::new(validator).layer(inner);
    let mut bare = inner;
    let field: http::HeaderValue = format!("Bearer {}", token(&server).sign()).parse().expect("a field value");
    let request = || {
        let mut request = Request::new(Empty::<Bytes>::new());
        request.headers_mut().insert(http::header::AUTHORIZATION, field.clone());
        // As hyper does (`OnUpgrade`), so that the map of extensions is there already.
        request.extensions_mut().insert(0_u8);
        request
    };
    let without = allocations(|| drop(black_box(now(bare.call(request())))));
    let with = allocations(|| {
        let response = now(guarded.call(request())).expect("infallible");
        assert!(response.status().is_success());
    });
    // The claims in the extensions, and one if their map has to grow.
    assert!(with <= without + 2, "{with} against {without}");
}
