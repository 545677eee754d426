//! Runs a fixed number of validations. Under callgrind this gives the instructions of one validation, a figure that does not
//! depend on the load of the machine. `.ci/deep` prints it.
//!
//! The first argument is the case, the second the number of runs. The difference of two counts excludes the preparation.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints and panics on errors"
)]

#[allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a bench does unchecked arithmetic"
)]
mod support;

use std::env;
use std::hint::black_box;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http::header::AUTHORIZATION;
use support::baseline::{Baseline, Signed, key_of_proof};
use support::tenants::{Dynamic, dynamic};
use support::{AUDIENCE, api, now, server, token};
use tower::Service as _;
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::config::EntraTenants;
use tower_bearer::dpop::{DPOP, Dpop};
use tower_bearer::keys::KeySet;
use tower_bearer::mutual_tls::{ClientCertificate, MutualTls};
use tower_bearer::request::RequestHead;
use tower_bearer::revocation::{Revocation, Revocations};
use tower_bearer::testing::{ProofKey, TestIssuer};
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, Validator, ValidatorBuilder};

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (Some(what), Some(times)) = (arguments.next(), arguments.next()) else {
        println!(
            "instructions: {{baseline|validate|cached|bearer|certificate|no_list|empty_list|list|tenant|tenant_of_one|tenant_of_many|cached_tenant|cached_tenant_of_many|dynamic_tenant_of_one|dynamic_tenant_of_many|cached_dynamic_tenant|proof|proof_floor|proof_with_new_header|proof_of_other_method|proof_of_other_key|bearer_with_dpop|bearer_without_dpop|reject|open|layer|no_token|junk|expired}} {{times}}, under callgrind; see .ci/instructions. proof and proof_with_new_header: at most {MOST_PROOFS} times, since a proof is accepted once"
        );
        return;
    };
    let times: u32 = times.parse().expect("a number");
    let server = server(Algorithm::RS256);
    let text = token(&server, 0).sign();
    let builder = || Validator::builder(api(&server, Algorithm::RS256));
    let caching = builder().build().expect("a valid configuration");
    let uncached = builder().without_token_cache().build().expect("a valid configuration");
    let open = Router::new().route("/", get(async || "hello"));
    let greet = async |claims: Claims| if claims.subject().is_some() { "hello" } else { "who" };
    let guarded = Router::new().route("/", get(greet)).layer(BearerLayer::new(caching.clone()));
    match &*what {
        "baseline" => {
            let baseline = Baseline::new(&server, Algorithm::RS256, &text);
            repeat(times, || baseline.check());
        }
        "validate" => repeat(times, || drop(black_box(now(uncached.validate(black_box(&text))).expect("valid")))),
        "cached" => repeat(times, || drop(black_box(now(caching.validate(black_box(&text))).expect("valid")))),
        "bearer" => {
            // As long as the token of the case `certificate`.
            let text = token(&server, 0)
                .raw_claim("xnf", r#"{"x5t#S256":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#)
                .sign();
            let request = Request::new(());
            repeat(times, || drop(black_box(now(caching.validate_request(&text, &head(&request))).expect("valid"))));
        }
        "certificate" => {
            let api = api(&server, Algorithm::RS256).with_mutual_tls(MutualTls::from_connection());
            let bound = Validator::builder(api).build().expect("a valid configuration");
            let certificate = ClientCertificate::from_der(b"the certificate of the client");
            let text = token(&server, 0).bound_to_certificate(&certificate).sign();
            let mut request = Request::new(());
            request.extensions_mut().insert(certificate);
            repeat(times, || drop(black_box(now(bound.validate_request(&text, &head(&request))).expect("valid"))));
        }
        "no_list" => revocations(times, &server, None),
        "empty_list" => revocations(times, &server, Some(0)),
        "list" => revocations(times, &server, Some(10_000)),
        "tenant" | "tenant_of_one" | "tenant_of_many" | "cached_tenant" | "cached_tenant_of_many" => {
            tenants(&what, times, &server);
        }
        what if what.starts_with("proof") || what.ends_with("dpop") => proofs(what, times),
        "dynamic_tenant_of_one" => dynamic_tenants(times, &server, 1, ValidatorBuilder::without_token_cache),
        "dynamic_tenant_of_many" => dynamic_tenants(times, &server, 1_000, ValidatorBuilder::without_token_cache),
        "cached_dynamic_tenant" => dynamic_tenants(times, &server, 1_000, |builder| builder),
        "reject" => {
            let text = token(&server, 0).expired().sign();
            repeat(times, || drop(black_box(now(caching.validate(black_box(&text))).expect_err("expired"))));
        }
        "open" => requests(times, open, Some(&text)),
        "layer" => requests(times, guarded, Some(&text)),
        "no_token" | "junk" | "expired" => requests(times, guarded, rejected(&what, &server).as_deref()),
        other => panic!("unknown case {other}"),
    }
}

/// Authenticates requests with a cached ES256 token: bearer requests, or requests with DPoP proofs. For `proof_floor`, only the
/// signatures of the proofs are verified.
fn proofs(what: &str, times: u32) {
    let server = server(Algorithm::ES256);
    let client = ProofKey::new();
    let api = api(&server, Algorithm::ES256);
    let dpop = (what != "bearer_without_dpop").then(|| Dpop::new(AUDIENCE.trim_end_matches('/')));
    let validator = Validator::new(dpop.into_iter().fold(api, Api::with_dpop)).expect("a valid configuration");
    let authenticator = Authenticator::new(validator);
    let bound = token(&server, 1).bound_to(&client).sign();
    let bearer = token(&server, 2).sign();
    let other = ProofKey::new();
    let proof = |number: u32| {
        let proof = match what {
            "proof_of_other_method" => client.proof("PUT", &format!("{AUDIENCE}me"), &bound),
            "proof_of_other_key" => other.proof("GET", &format!("{AUDIENCE}me"), &bound),
            _ => client.proof("GET", &format!("{AUDIENCE}me"), &bound),
        };
        if what == "proof_with_new_header" { proof.header("x", number).sign() } else { proof.sign() }
    };
    // As many in each run, so that the difference of two runs excludes their preparation.
    let proofs: Vec<String> = (0..MOST_PROOFS).map(proof).collect();
    let request = |proof: &String| {
        let request = Request::get("/me");
        let request = if what.starts_with("proof") {
            request.header(AUTHORIZATION, format!("DPoP {bound}")).header(DPOP, proof)
        } else {
            request.header(AUTHORIZATION, format!("Bearer {bearer}"))
        };
        request.body(()).expect("a request")
    };
    let requests: Vec<_> = proofs.iter().map(request).collect();
    let signed: Vec<_> = proofs.iter().map(|proof| Signed::new(proof)).collect();
    let key = key_of_proof(proofs.first().expect("proofs"));
    let is_refused = matches!(what, "proof_of_other_method" | "proof_of_other_key");
    // The head of an accepted proof is known from then on.
    let first = client.proof("GET", &format!("{AUDIENCE}me"), &bound).sign();
    let first = now(authenticator.authenticate(&RequestHead::new(&request(&first))));
    assert!(matches!(first, Outcome::Authenticated(_)));
    for (request, signed) in requests.iter().zip(&signed).cycle().take(times.try_into().expect("few")) {
        if what == "proof_floor" {
            signed.check(&key);
            continue;
        }
        let outcome = now(authenticator.authenticate(&RequestHead::new(black_box(request))));
        assert_eq!(matches!(outcome, Outcome::Authenticated(_)), !is_refused);
    }
}

const MOST_PROOFS: u32 = 300;

/// Validates a token of one tenant: of a listed issuer, or of Entra ID with one tenant or a thousand.
fn tenants(what: &str, times: u32, server: &TestIssuer) {
    let id = |number: u32| format!("{number:08x}-1111-4222-8333-444444444444");
    let name = format!("https://login.microsoftonline.com/{}/v2.0", id(500));
    let text = token(server, 0).issuer(&name).claim("tid", id(500)).sign();
    let keys = KeySet::from_jwks(server.jwks());
    let entra = |tenants: Vec<String>| Issuer::entra(EntraTenants::only(tenants).with_static_keys(keys.clone()));
    let issuer = match what {
        "tenant" | "cached_tenant" => Issuer::static_keys(name, keys.clone()),
        "tenant_of_one" => entra(vec![id(500)]),
        _ => entra((0..1_000).map(id).collect()),
    };
    let builder = Validator::builder(Api::new(AUDIENCE, issuer));
    let builder = if what.starts_with("cached") { builder } else { builder.without_token_cache() };
    let validator = builder.build().expect("a valid configuration");
    repeat(times, || drop(black_box(now(validator.validate(black_box(&text))).expect("valid"))));
}

/// Validates a token of one of so many tenants that were looked up.
fn dynamic_tenants(
    times: u32,
    server: &TestIssuer,
    tenants: usize,
    change: impl FnOnce(ValidatorBuilder) -> ValidatorBuilder,
) {
    let Dynamic { validator, text, .. } = &dynamic(server, tenants, change);
    repeat(times, || drop(black_box(now(validator.validate(black_box(text))).expect("valid"))));
}

fn head(request: &Request<()>) -> RequestHead<'_> {
    RequestHead::new(black_box(request))
}

/// Validates a cached token with `jti` and `sid`, with a list of revocations that has so many entries of each of three kinds.
fn revocations(times: u32, server: &TestIssuer, entries: Option<usize>) {
    let list = Revocations::in_memory();
    for kind in [Revocation::jwt_id, Revocation::session, Revocation::subject] {
        let entry = |number: usize| kind(server.issuer(), &format!("6f1c9a2b-7e35-4d00-9b1e-{number:012}"));
        now(list.revoke_all((1..=entries.unwrap_or_default()).map(entry))).expect("room");
    }
    let builder = Validator::builder(api(server, Algorithm::RS256));
    let builder = entries.iter().fold(builder, |builder, _| builder.with_revocations(&list));
    let validator = builder.build().expect("a valid configuration");
    let token = token(server, 0).claim("jti", "6f1c9a2b-7e35-4d00-9b1e-000000000000");
    let text = token.claim("sid", "6f1c9a2b-7e35-4d00-9b1e-000000000000").sign();
    repeat(times, || drop(black_box(now(validator.validate(black_box(&text))).expect("valid"))));
}

/// Returns a token that is rejected before its signature is verified, or none.
fn rejected(what: &str, server: &TestIssuer) -> Option<String> {
    match what {
        "junk" => Some("2YotnFZFEjr1zCsicMWpAA".to_owned()),
        "expired" => Some(token(server, 0).expired().sign()),
        _ => None,
    }
}

fn requests(times: u32, router: Router, text: Option<&str>) {
    // As `axum::serve` does for every connection.
    let mut router = router.with_state(());
    let field = text.map(|text| http::HeaderValue::try_from(format!("Bearer {text}")).expect("a field value"));
    repeat(times, || {
        let mut request = Request::new(Body::empty());
        request.headers_mut().extend(field.clone().map(|field| (AUTHORIZATION, field)));
        drop(black_box(now(router.call(request)).expect("infallible")));
    });
}

fn repeat(times: u32, mut work: impl FnMut()) {
    (0..times).for_each(|_| work());
}
