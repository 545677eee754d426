//! The number of allocations of a validation, which does not depend on the machine.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::extract::FromRequestParts as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{Extensions, HeaderValue, Request, Response};
use http_body_util::Empty;
use serde::Deserialize;
use tower::util::ServiceFn;
use tower::{Layer, Service, service_fn};
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::keys::KeySet;
use tower_bearer::request::{BearerToken, RequestHead};
use tower_bearer::revocation::{Revocation, Revocations};
use tower_bearer::testing::{Outage, TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, RequireLayer, Secret, Validator};

const AUDIENCE: &str = "https://api.test/";

fn api(server: &TestIssuer, algorithm: Algorithm) -> Api {
    let issuer = if algorithm.is_symmetric() {
        Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()))
    } else {
        Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
    };
    Api::new(AUDIENCE, issuer.with_algorithms([algorithm]))
}

fn token(server: &TestIssuer) -> TokenBuilder {
    server.token().audiences([AUDIENCE, "https://userinfo.test/"]).permissions(["read:orders", "write:orders"])
}

/// Polls a future once, without a runtime that would allocate, and panics if it is pending.
fn poll_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the keys are loaded"),
    }
}

/// Returns the allocations of one run after warm-up, which must be the same in every run.
fn allocations(mut work: impl FnMut()) -> u64 {
    (0..20).for_each(|_| work());
    let counts: Vec<u64> = (0..21).map(|_| allocation_counter::measure(&mut work).count_total).collect();
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    counts[0]
}

fn validation_allocations(validator: &Validator, text: &str) -> u64 {
    allocations(|| drop(black_box(poll_once(validator.validate(black_box(text))))))
}

#[test]
fn validate_allocates_at_most_four_times() {
    for &algorithm in Algorithm::ALL {
        let server = TestIssuer::new().with_algorithms([algorithm]);
        let validator = Validator::builder(api(&server, algorithm)).without_token_cache().build().expect("good");
        let text = token(&server).sign();
        assert!(poll_once(validator.validate(&text)).is_ok());
        // The payload, the signature, the kid, and the `Arc` around header and payload.
        let kid = u64::from(!algorithm.is_symmetric());
        assert_eq!(validation_allocations(&validator, &text), 3 + kid, "{algorithm}");
    }
}

#[derive(Deserialize)]
struct Custom {
    sub: String,
    scope: Option<String>,
    permissions: Vec<String>,
    iat: u64,
    jti: Option<String>,
}

#[test]
fn custom_claims_add_only_their_own_allocations() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let validator = Validator::builder(api(&server, Algorithm::ES256)).without_token_cache().build().expect("good");
    let validator = validator.with_custom_claims::<Custom>();
    let text = token(&server).sign();
    let claims = poll_once(validator.validate(&text)).expect("a valid token");
    let Custom { sub, scope, permissions, iat, jti } = claims.custom();
    assert!(*iat > 0);
    let texts = 1 + scope.iter().count() + jti.iter().count() + permissions.len();
    assert!(!sub.is_empty() && permissions.len() == 2);
    let count = allocations(|| drop(black_box(poll_once(validator.validate(&text)))));
    // Each string, the list, and the `Arc` around them.
    assert_eq!(count, 4 + u64::try_from(texts).expect("few") + 2);
}

#[test]
fn cached_token_allocates_nothing() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let validator = Validator::new(api(&server, Algorithm::ES256)).expect("good");
    let text = token(&server).sign();
    assert_eq!(validation_allocations(&validator, &text), 0);
}

/// A signature of ES256 has 64 bytes, one of RS256 has 256. All else in the tokens has the same length, so the entries have the
/// same size unless they contain the token.
#[test]
fn cache_entry_does_not_grow_with_the_signature_of_the_token() {
    const COUNT: usize = 32;
    let stored = |algorithm: Algorithm| {
        let server = TestIssuer::new().with_algorithms([algorithm]);
        let validator = Validator::new(api(&server, algorithm)).expect("good");
        let token = |number: usize| token(&server).claim("jti", format!("{number:04}")).sign();
        let (first, others) = (token(0), (1..=COUNT).map(token).collect::<Vec<_>>());
        // Creates what is created only once.
        drop(poll_once(validator.validate(&first)).expect("a valid token"));
        let validate = || others.iter().for_each(|text| drop(poll_once(validator.validate(text)).expect("valid")));
        let bytes = allocation_counter::measure(validate).bytes_current;
        assert_eq!(
            others.iter().map(|text| validation_allocations(&validator, text)).sum::<u64>(),
            0,
            "all are stored"
        );
        let length: usize = others.iter().map(String::len).sum();
        (usize::try_from(bytes).expect("more than before"), length)
    };
    let ((small, short), (large, long)) = (stored(Algorithm::ES256), stored(Algorithm::RS256));
    assert!(long - short > 250 * COUNT, "{short} {long}");
    assert!(small > 500 * COUNT && large.abs_diff(small) < 32 * COUNT, "{small} {large}");
}

#[test]
fn list_of_revocations_adds_no_allocation() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let list = Revocations::in_memory();
    let cached = Validator::builder(api(&server, Algorithm::ES256)).with_revocations(&list);
    let cached = cached.build().expect("good");
    let text = token(&server).claim("jti", "j").claim("sid", "s").sign();
    assert_eq!(validation_allocations(&cached, &text), 0);
    for number in 0..100 {
        let value = number.to_string();
        for revocation in [Revocation::jwt_id, Revocation::session, Revocation::subject, Revocation::client] {
            poll_once(list.revoke(revocation(server.issuer(), &value))).expect("room");
        }
    }
    assert!(poll_once(cached.validate(&text)).is_ok());
    assert_eq!(validation_allocations(&cached, &text), 0);
    poll_once(list.revoke(Revocation::jwt_id(server.issuer(), "j"))).expect("room");
    assert!(poll_once(cached.validate(&text)).is_err());
    assert_eq!(validation_allocations(&cached, &text), 0);
}

#[test]
fn rejections_before_the_claims_allocate_only_what_was_parsed() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let validator = Validator::new(api(&server, Algorithm::ES256)).expect("good");
    let long = "x".repeat(20_000);
    for (text, count) in [
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
        assert!(poll_once(validator.validate(&text)).is_err());
        assert_eq!(validation_allocations(&validator, &text), count, "{text}");
    }
}

/// A service that only responds.
type Inner = ServiceFn<fn(Request<Empty<Bytes>>) -> Ready<Result<Response<Empty<Bytes>>, Infallible>>>;

/// The allocations of a request with these extensions through the layer, beyond those of the inner service alone.
fn request_allocations<L>(layer: L, field: Option<&str>, extensions: &Extensions, admitted: bool) -> u64
where
    L: Layer<Inner>,
    L::Service: Service<Request<Empty<Bytes>>, Response = Response<Empty<Bytes>>, Error = Infallible>,
{
    let inner: Inner = service_fn(|request| {
        black_box(request);
        ready(Ok(Response::new(Empty::new())))
    });
    let field: Option<HeaderValue> = field.map(|field| field.parse().expect("a field value"));
    let request = || {
        let mut request = Request::new(Empty::<Bytes>::new());
        if let Some(field) = &field {
            request.headers_mut().insert(AUTHORIZATION, field.clone());
        }
        *request.extensions_mut() = extensions.clone();
        request
    };
    let (mut bare, mut guarded) = (inner, layer.layer(inner));
    let without = allocations(|| drop(black_box(poll_once(bare.call(request())))));
    let with = allocations(|| {
        let response = poll_once(guarded.call(request())).expect("infallible");
        assert_eq!(response.status().is_success(), admitted);
        drop(black_box(response));
    });
    with - without
}

#[test]
fn layer_allocates_only_for_the_extensions() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let layer = BearerLayer::new(Validator::new(api(&server, Algorithm::ES256)).expect("good"));
    let field = format!("Bearer {}", token(&server).sign());
    let mut taken = Extensions::new();
    taken.insert(0_u8);
    assert_eq!(request_allocations(&layer, Some(&field), &taken, true), 1, "the claims");
    assert_eq!(request_allocations(&layer, Some(&field), &Extensions::new(), true), 3, "plus a map if there is none");
}

#[test]
fn require_layer_allocates_only_for_its_record() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let layer = BearerLayer::new(Validator::new(api(&server, Algorithm::ES256)).expect("good"));
    let field = format!("Bearer {}", token(&server).scope("read:orders").sign());
    let count = |require: RequireLayer| {
        request_allocations((&layer, &require), Some(&field), &Extensions::new(), true)
            - request_allocations(&layer, Some(&field), &Extensions::new(), true)
    };
    // Inner layers and handlers name this scope in their challenges.
    assert_eq!(count(RequireLayer::scope("read:orders")), 1, "the record in the extensions");
    assert_eq!(count(RequireLayer::permission("read:orders")), 0, "no challenge can name a permission");
}

#[test]
fn authenticator_allocates_nothing_for_a_cached_token() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let authenticator = Authenticator::new(Validator::new(api(&server, Algorithm::ES256)).expect("good"));
    let field = format!("Bearer {}", token(&server).sign());
    for authenticator in [authenticator.clone(), authenticator.with_realm("orders")] {
        let request = Request::get("/orders").header(AUTHORIZATION, &field).body(()).expect("a request");
        let count = allocations(|| {
            let outcome = poll_once(authenticator.authenticate(&RequestHead::new(&request)));
            assert!(matches!(black_box(outcome), Outcome::Authenticated(_)));
        });
        assert_eq!(count, 0);
        let head = RequestHead::new(&request);
        assert_eq!(allocations(|| drop(black_box(authenticator.try_authenticate(&head)))), 0);
    }
}

#[test]
fn extractor_allocates_only_for_the_context_of_its_layers() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let layer = BearerLayer::new(Validator::new(api(&server, Algorithm::ES256)).expect("good"));
    let field = format!("Bearer {}", token(&server).scope("read:orders").sign());
    // Returns the extensions of the request.
    let inner = || {
        service_fn(|request: Request<()>| {
            let mut response = Response::new(());
            *response.extensions_mut() = request.into_parts().0.extensions;
            ready(Ok::<_, Infallible>(response))
        })
    };
    let request = || Request::get("/orders").header(AUTHORIZATION, &field).body(()).expect("a request");
    let of_layer = poll_once(layer.layer(inner()).call(request())).expect("infallible");
    let stack = layer.layer(RequireLayer::scope("read:orders").layer(inner()));
    let of_both = poll_once({ stack }.call(request())).expect("infallible");
    for (response, count) in [(of_layer, 0), (of_both, 1)] {
        let (mut parts, ()) = request().into_parts();
        parts.extensions = response.extensions().clone();
        let extract = || drop(black_box(poll_once(<Claims>::from_request_parts(&mut parts, &())).expect("claims")));
        assert_eq!(allocations(extract), count);
    }
}

#[test]
fn rejection_allocates_only_for_its_response() {
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    let plain = BearerLayer::new(Validator::new(api(&server, Algorithm::ES256)).expect("good"));
    let named = plain.clone().with_realm("orders").with_challenge_scope("read:orders");
    for (kind, field) in [
        ("no token", None),
        ("another scheme", Some("Basic dTpw")),
        ("malformed", Some("Bearer a, b")),
        ("junk", Some("Bearer 2YotnFZFEjr1zCsicMWpAA")),
        ("two segments", Some("Bearer a.b")),
    ] {
        for layer in [&plain, &named] {
            // One map and its table for the headers, one for the extensions, and the rejection in it.
            assert_eq!(request_allocations(layer, field, &Extensions::new(), false), 5, "{kind}");
        }
    }
}

/// Returns the bytes of memory that a waiting request uses, beyond the request and the future of the service.
fn bytes_of_waiting_request(layer: &BearerLayer, request: Request<Empty<Bytes>>) -> usize {
    let inner = service_fn(|_: Request<Empty<Bytes>>| async move {
        Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut guarded = layer.layer(inner);
    let itself = size_of_val(&request);
    let (mut waiting, mut future_itself) = (None, 0);
    let counted = allocation_counter::measure(|| {
        let mut future = Box::pin(guarded.call(request));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        future_itself = size_of_val(&*future);
        waiting = Some(future);
    });
    usize::try_from(counted.bytes_current).expect("more than before") - itself - future_itself
}

#[test]
fn stores_no_copy_of_the_token_while_a_request_waits() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let server = TestIssuer::new().with_algorithms([Algorithm::ES256]);
    server.set_outage(Outage::Hang);
    let issuer = Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms([Algorithm::ES256]);
    let validator = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone()).build().expect("good");
    let in_header = BearerLayer::new(validator);
    let in_cookie =
        in_header.clone().with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    let token = token(&server);
    for kid in [server.kid(), "k".repeat(256)] {
        for padding in [0, 11_000] {
            let token = token.clone().kid(&kid).claim("padding", "x".repeat(padding)).sign();
            assert!(padding == 0 || token.len() > 15_000);
            let fields = [
                (&in_header, AUTHORIZATION, format!("Bearer {token}")),
                (&in_cookie, COOKIE, format!("theme=dark; access={token}")),
            ];
            for (layer, name, value) in fields {
                let request = || Request::get("/").header(&name, &value).body(Empty::new()).expect("a request");
                // The minimum of several runs: the first run starts the background task that fetches.
                let bytes = (0..5).map(|_| bytes_of_waiting_request(layer, request())).min().unwrap_or_default();
                assert!(
                    bytes <= 1024,
                    "{bytes} bytes beside a token of {} and a kid of {} in {name}",
                    token.len(),
                    kid.len()
                );
            }
        }
    }
}
