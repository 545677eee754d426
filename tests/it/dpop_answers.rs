//! Answers of an API with DPoP: challenges of both schemes, layers inside, extractors. The numbers are those of the attack cases.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::OriginalUri;
use axum::routing::get;
use http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use proptest::prelude::*;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::claims::SenderConstraint;
use tower_bearer::dpop::{DPOP, Dpop, Nonces};
use tower_bearer::mutual_tls::MutualTls;
use tower_bearer::request::{BearerToken, RequestHead};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, BearerLayer, Claims, RejectionKind, RequireLayer, Requirement, Validator};

use crate::challenge_parser::Challenge;
use crate::dpop_fixture::{Answer, URL, World, challenges, dpop_request};
use crate::fixture::{AUDIENCE, block_on};

fn world() -> World {
    World::new(|api| api)
}

fn names(challenges: &[Challenge]) -> Vec<(&str, Option<&str>)> {
    challenges.iter().map(|challenge| (challenge.scheme.as_str(), challenge.parameter("error"))).collect()
}

fn bare() -> Request<String> {
    Request::get("/me").body(String::new()).expect("a request")
}

fn with_fields(fields: &[&str]) -> Request<String> {
    let request = fields.iter().fold(Request::get("/me"), |request, field| request.header(AUTHORIZATION, *field));
    request.body(String::new()).expect("a request")
}

#[test]
fn the_challenge_of_the_used_scheme_has_the_error_and_is_first() {
    let world = world();
    let token = world.token().sign();
    let broken = world.token().with_broken_signature().sign();
    for (request, expected) in [
        (bare(), vec![("Bearer", None), ("DPoP", None)]),
        (with_fields(&["Basic eA=="]), vec![("Bearer", None), ("DPoP", None)]),
        (with_fields(&[&format!("Bearer {broken}")]), vec![("Bearer", Some("invalid_token")), ("DPoP", None)]),
        (with_fields(&[&format!("Bearer {token}")]), vec![("Bearer", Some("invalid_token")), ("DPoP", None)]),
        (world.request(&broken), vec![("DPoP", Some("invalid_token")), ("Bearer", None)]),
        (dpop_request(&token, "x"), vec![("DPoP", Some("invalid_dpop_proof")), ("Bearer", None)]),
        (with_fields(&["DPoP"]), vec![("DPoP", Some("invalid_request")), ("Bearer", None)]),
        (with_fields(&["Bearer"]), vec![("Bearer", Some("invalid_request")), ("DPoP", None)]),
    ] {
        assert_eq!(names(&challenges(world.send(request).headers())), expected);
    }
    let other_key = dpop_request(&token, &world.other.proof("GET", URL, &token).sign());
    let challenges = challenges(world.send(other_key).headers());
    assert_eq!(challenges[0].parameter("error_description"), Some("invalid DPoP key binding"));
    assert_eq!(challenges[0].parameter("algs"), Some("ES256 EdDSA Ed25519 PS256"));
}

#[test]
fn case_9_a_credential_of_each_scheme_gets_the_error_in_both() {
    let world = world();
    let token = world.token().sign();
    for fields in [["Bearer", "DPoP"], ["DPoP", "Bearer"]] {
        let fields = fields.map(|scheme| format!("{scheme} {token}"));
        let response = world.send(with_fields(&fields.each_ref().map(String::as_str)));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let both = [("Bearer", Some("invalid_request")), ("DPoP", Some("invalid_request"))];
        assert_eq!(names(&challenges(response.headers())), both);
    }
    let twice = with_fields(&[&format!("DPoP {token}"), &format!("DPoP {token}")]);
    assert_eq!(names(&challenges(world.send(twice).headers())), [("DPoP", Some("invalid_request")), ("Bearer", None)]);
}

#[test]
fn case_20_a_bound_token_in_a_cookie_counts_as_a_bearer_token() {
    let world = world();
    let layer = world.layer.clone().with_token_source(|request| BearerToken::from_cookie(request.headers(), "access"));
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let send = |token: &str| {
        let proof = world.client.proof("GET", URL, token).sign();
        let request = Request::get("/me").header(COOKIE, format!("access={token}")).header(DPOP, proof);
        let request = request.body(String::new()).expect("a request");
        Answer::of(&block_on(layer.layer(inner).oneshot(request)).expect("infallible"))
    };
    assert_eq!(send(&world.token().sign()), Answer::InvalidTokenBearer);
    assert_eq!(send(&world.server.token().sign()), Answer::Accepted);
}

#[test]
fn case_21_without_dpop_the_scheme_is_like_any_other() {
    let server = TestIssuer::new();
    let api = Api::new("https://api.test/", crate::fixture::trusted(&server, tower_bearer::Algorithm::RS256));
    let layer = BearerLayer::new(Validator::new(api).expect("a valid configuration"));
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let token = server.token().sign();
    let response = block_on(layer.layer(inner).oneshot(dpop_request(&token, "x"))).expect("infallible");
    assert_eq!(
        (response.status().as_u16(), &response.headers()[WWW_AUTHENTICATE]),
        (401, &HeaderValue::from_static("Bearer"))
    );
}

#[test]
fn cases_16_and_23_a_credential_of_dpop_is_never_anonymous() {
    let world = world();
    let layer = world.layer.clone().with_anonymous();
    let inner = service_fn(|request: Request<String>| async move {
        let is_anonymous = request.extensions().get::<Claims>().is_none();
        Ok::<_, Infallible>(
            Response::builder().status(if is_anonymous { 204 } else { 200 }).body(String::new()).expect("a response"),
        )
    });
    let send = |request| block_on(layer.layer(inner).oneshot(request)).expect("infallible");
    let token = world.token().sign();
    let mut proof_only = world.request(&token);
    proof_only.headers_mut().remove(AUTHORIZATION);
    assert_eq!(send(proof_only).status(), 204);
    assert_eq!(send(bare()).status(), 204);
    assert_eq!(Answer::of(&send(dpop_request(&token, "x"))), Answer::InvalidProof);
    assert_eq!(Answer::of(&send(with_fields(&[&format!("DPoP {token}")]))), Answer::InvalidProof);
    assert_eq!(send(world.request(&token)).status(), 200);
}

#[test]
fn case_89_a_layer_inside_of_nest_reads_the_original_target() {
    let with_hook = |dpop: Dpop| {
        dpop.with_request_target(|head: &RequestHead<'_>| {
            head.extensions().get::<OriginalUri>().map(|target| target.0.clone())
        })
    };
    for (is_hooked, expected) in [(true, Answer::Accepted), (false, Answer::InvalidProof)] {
        let dpop = Dpop::new("https://api.test");
        let dpop = if is_hooked { with_hook(dpop) } else { dpop };
        let world = World::new(|api| api.with_dpop(dpop));
        let inner = Router::new().route("/me", get(|| async { "" })).layer(world.layer.clone());
        let app: Router = Router::new().nest("/v1", inner);
        let token = world.token().sign();
        let proof = world.client.proof("GET", "https://api.test/v1/me", &token).sign();
        let request = Request::get("/v1/me").header(AUTHORIZATION, format!("DPoP {token}")).header(DPOP, proof);
        let request = request.body(axum::body::Body::empty()).expect("a request");
        let response = block_on(app.oneshot(request)).expect("infallible");
        assert_eq!(Answer::of(&response), expected, "{is_hooked}");
    }
    // A layer outside of `nest` needs no hook.
    let world = world();
    let app: Router =
        Router::new().nest("/v1", Router::new().route("/me", get(|| async { "" }))).layer(world.layer.clone());
    let token = world.token().sign();
    let proof = world.client.proof("GET", "https://api.test/v1/me", &token).sign();
    let request = Request::get("/v1/me").header(AUTHORIZATION, format!("DPoP {token}")).header(DPOP, proof);
    let response =
        block_on(app.oneshot(request.body(axum::body::Body::empty()).expect("a request"))).expect("infallible");
    assert_eq!(Answer::of(&response), Answer::Accepted);
}

#[test]
fn the_target_of_a_request_with_a_malformed_credential_is_not_read() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let dpop = Dpop::new("https://api.test").with_request_target(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        None
    });
    let world = World::new(|api| api.with_dpop(dpop));
    let token = world.token().sign();
    let malformed = format!("{token},");
    for (text, expected, total) in [(&*malformed, 400, 0), (&token, 200, 1), ("", 400, 1)] {
        let proof = world.client.proof("GET", URL, text).sign();
        assert_eq!(world.send(dpop_request(text, &proof)).status(), expected, "{text}");
        assert_eq!(calls.load(Ordering::Relaxed), total, "{text}");
    }
}

#[test]
fn case_140_a_cached_token_expires_although_its_proof_is_good() {
    let world = world();
    let token = world.token().expires_in(Duration::from_secs(60)).sign();
    assert_eq!(world.answer(world.request(&token)), Answer::Accepted);
    world.clock.advance(Duration::from_secs(66));
    assert_eq!(world.answer(world.request(&token)), Answer::InvalidToken);
    assert_eq!(world.answer(with_fields(&[&format!("Bearer {token}")])), Answer::InvalidTokenBearer);
}

#[test]
fn case_141_a_token_of_a_withdrawn_key_is_rejected_although_its_proof_is_good() {
    let world = world();
    let other = TestIssuer::new().with_clock(std::sync::Arc::new(world.clock.clone()));
    let foreign = world.token().signed_by(&other).sign();
    assert_eq!(world.answer(world.request(&foreign)), Answer::InvalidToken);
    assert_eq!(world.answer(world.request(&world.token().sign())), Answer::Accepted);
}

#[test]
fn the_token_cache_proves_nothing_about_a_later_request() {
    let world = world();
    let token = world.token().sign();
    for _ in 0..3 {
        assert_eq!(world.answer(world.request(&token)), Answer::Accepted);
        assert_eq!(world.answer(with_fields(&[&format!("Bearer {token}")])), Answer::InvalidTokenBearer);
        assert_eq!(world.answer(with_fields(&[&format!("DPoP {token}")])), Answer::InvalidProof);
        let other = world.other.proof("GET", URL, &token).sign();
        assert_eq!(world.answer(dpop_request(&token, &other)), Answer::InvalidToken);
        let forged = world.client.proof("GET", URL, &token).with_broken_signature().sign();
        assert_eq!(world.answer(dpop_request(&token, &forged)), Answer::InvalidProof);
    }
}

#[test]
fn cases_143_and_144_inner_layers_answer_in_the_scheme_of_the_request() {
    let secret = tower_bearer::keys::Secret::new(vec![1; 32]).expect("a secret");
    let world = World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_nonces(Nonces::shared(secret))));
    for (requirement, status, error) in [
        (Requirement::scope("pay"), 403, "insufficient_scope"),
        (Requirement::acr_values(["gold"]), 401, "insufficient_user_authentication"),
        (Requirement::max_authentication_age(Duration::from_secs(60)), 401, "insufficient_user_authentication"),
    ] {
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let service =
            ServiceBuilder::new().layer(world.layer.clone()).layer(RequireLayer::new(requirement)).service(inner);
        let send = |request| block_on(service.clone().oneshot(request)).expect("infallible");
        let token = world.token().sign();
        let nonce = send(world.request(&token)).headers()["dpop-nonce"].to_str().expect("ASCII").to_owned();
        let proof = world.client.proof("GET", URL, &token).nonce(&nonce).sign();
        let response = send(dpop_request(&token, &proof));
        assert_eq!(response.status(), status);
        assert_eq!(names(&challenges(response.headers())), [("DPoP", Some(error)), ("Bearer", None)]);
        assert_eq!(response.headers().contains_key("dpop-nonce"), status == 401);
        let unbound = world.server.token().sign();
        let response = send(with_fields(&[&format!("Bearer {unbound}")]));
        assert_eq!(names(&challenges(response.headers())), [("Bearer", Some(error)), ("DPoP", None)]);
    }
}

#[test]
fn a_route_can_require_a_bound_token() {
    let world = world();
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let layer = RequireLayer::new(Requirement::sender_constrained());
    let service = ServiceBuilder::new().layer(world.layer.clone()).layer(layer).service(inner);
    let send = |request| block_on(service.clone().oneshot(request)).expect("infallible");
    assert_eq!(Answer::of(&send(world.request(&world.token().sign()))), Answer::Accepted);
    let unbound = world.server.token().sign();
    let response = send(with_fields(&[&format!("Bearer {unbound}")]));
    assert_eq!(
        (response.status().as_u16(), names(&challenges(response.headers()))),
        (401, vec![("DPoP", Some("invalid_token"))])
    );
    let rejection = response.extensions().get::<tower_bearer::Rejection>().expect("rejected");
    assert_eq!(rejection.kind(), RejectionKind::Unconstrained);
}

#[test]
fn a_handler_reads_what_the_client_has_proven() {
    let world = world();
    let expected = SenderConstraint::Dpop { jkt: world.client.thumbprint() };
    let inner = service_fn(|request: Request<String>| {
        let claims: &Claims = request.extensions().get().expect("claims");
        let found = (claims.sender_constraint(), claims.confirmation().is_some());
        async move { Ok::<_, Infallible>(Response::new(found)) }
    });
    let send = |request| block_on(world.layer.layer(inner).oneshot(request)).expect("infallible").into_body();
    let token = world.token().sign();
    // The second request finds the token in the cache.
    assert_eq!(send(world.request(&token)), (Some(expected), true));
    assert_eq!(send(world.request(&token)), (Some(expected), true));
    let unbound = world.server.token().sign();
    assert_eq!(send(with_fields(&[&format!("Bearer {unbound}")])), (None, false));
}

#[test]
fn a_handler_extracts_the_constraint() {
    let world = world();
    let app: Router = Router::new()
        .route("/me", get(|client: SenderConstraint| async move { format!("{client:?}") }))
        .route("/optional", get(|client: Option<SenderConstraint>| async move { client.is_some().to_string() }))
        .layer(world.layer.clone());
    let send = |path: &str, authorization: String, proof: Option<String>| {
        let request = Request::get(path).header(AUTHORIZATION, authorization);
        let request = proof.into_iter().fold(request, |request, proof| request.header(DPOP, proof));
        block_on(app.clone().oneshot(request.body(axum::body::Body::empty()).expect("a request"))).expect("infallible")
    };
    let (bound, unbound) = (world.token().sign(), world.server.token().sign());
    let proof = |url| world.client.proof("GET", url, &bound).sign();
    assert_eq!(Answer::of(&send("/me", format!("DPoP {bound}"), Some(proof(URL)))), Answer::Accepted);
    let rejected = send("/me", format!("Bearer {unbound}"), None);
    assert_eq!(
        (rejected.status().as_u16(), names(&challenges(rejected.headers()))),
        (401, vec![("DPoP", Some("invalid_token"))])
    );
    let url = "https://api.test/optional";
    assert_eq!(Answer::of(&send("/optional", format!("DPoP {bound}"), Some(proof(url)))), Answer::Accepted);
    assert_eq!(Answer::of(&send("/optional", format!("Bearer {unbound}"), None)), Answer::Accepted);
}

#[test]
fn the_header_of_the_proof_is_marked_sensitive_if_the_api_reads_the_scheme() {
    let with_certificates = World::without_dpop(AUDIENCE, |api| api.with_mutual_tls(MutualTls::from_connection()));
    let without_both = World::without_dpop(AUDIENCE, |api| api);
    for (world, expected) in
        [(world(), [true; 3]), (with_certificates, [true; 3]), (without_both, [true, false, false])]
    {
        let inner = service_fn(|request: Request<String>| async move {
            let fields = [AUTHORIZATION, DPOP].map(|name| request.headers().get_all(name).iter().cloned());
            let marks: Vec<bool> = fields.into_iter().flatten().map(|field| field.is_sensitive()).collect();
            Ok::<_, Infallible>(Response::new(marks))
        });
        let token = world.server.token().sign();
        let request = Request::get("/me").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(DPOP, "one").header(DPOP, "two").body(String::new()).expect("a request");
        let response = block_on(world.layer.layer(inner).oneshot(request)).expect("infallible");
        assert_eq!(response.into_body(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Case 142.
    #[test]
    fn case_142_no_bytes_in_the_fields_cause_a_panic_or_a_server_error(
        authorization in proptest::collection::vec(0x20_u8..=0xff, 0..60),
        proof in proptest::collection::vec(0x20_u8..=0xff, 0..60),
        is_dpop in any::<bool>(),
    ) {
        let world = world();
        let clean = |bytes: Vec<u8>| bytes.into_iter().filter(|byte| *byte != 0x7f).collect::<Vec<u8>>();
        let prefix = if is_dpop { b"DPoP ".as_slice() } else { b"" };
        let field = HeaderValue::from_bytes(&[prefix, &clean(authorization)].concat()).expect("a value");
        let request = Request::get("/me").header(AUTHORIZATION, field);
        let request = request.header(DPOP, HeaderValue::from_bytes(&clean(proof)).expect("a value"));
        let response = world.send(request.body(String::new()).expect("a request"));
        prop_assert!(response.status().is_client_error());
    }
}
