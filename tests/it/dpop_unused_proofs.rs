//! A request that is rejected has not used its proof (case 116), also if the proof itself is valid. Each test sends the same proof, or
//! one with the same `jti` by the same key, again when the other condition holds: it is accepted once then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_bearer::claims::Organization;
use tower_bearer::clock::Timestamp;
use tower_bearer::config::Organizations;
use tower_bearer::dpop::{Dpop, MemoryReplayStore, Nonces, ProofError, Recording, ReplayStore, VerifiedProof};
use tower_bearer::introspection::IntrospectionRejection;
use tower_bearer::keys::{KeySet, Secret};
use tower_bearer::mutual_tls::{ClientCertificate, MutualTls};
use tower_bearer::rejection::{CheckError, PossessionError};
use tower_bearer::request::RequestHead;
use tower_bearer::revocation::{Revocation, Revocations};
use tower_bearer::testing::{ProofKey, Reply, TestIssuer};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Rejection, RejectionKind, Validator};

use crate::dpop_fixture::{Answer, URL, World, dpop_request, now};
use crate::fixture::{AUDIENCE, NOW, block_on, trusted};
use crate::introspection_fixture::{ISSUER, Scripted, TOKEN, active, inactive, introspection};

const REPLAYED: Rejection = Rejection::Possession(PossessionError::Proof(ProofError::Replayed));

fn dpop() -> Dpop {
    Dpop::new("https://api.test")
}

/// Validates the token of a request.
fn validate<C: Send + Sync + 'static>(validator: &Validator<C>, token: &str, proof: &str) -> Result<(), Rejection> {
    let request = dpop_request(token, proof);
    block_on(validator.validate_request(token, &RequestHead::new(&request))).map(drop)
}

/// Runs a test with a token that the validator does not know, and with one that is in the token cache.
fn for_new_and_cached_tokens(test: impl Fn(bool)) {
    [false, true].into_iter().for_each(test);
}

/// Asserts that a request is accepted once.
fn assert_accepted_once(world: &World, request: impl Fn() -> Request<String>) {
    let answers = [(); 3].map(|()| world.answer(request()));
    assert_eq!(answers, [Answer::Accepted, Answer::InvalidProof, Answer::InvalidProof]);
}

#[test]
fn case_116_a_proof_with_a_stale_nonce_is_not_used() {
    for_new_and_cached_tokens(|is_cached| {
        let nonces = || Nonces::shared(Secret::new([1; 32]));
        let world = World::new(|api| api.with_dpop(dpop().with_nonces(nonces())));
        let nonce = nonces().current(AUDIENCE, now()).expect("32 bytes").next();
        let nonce = nonce.to_str().expect("ASCII");
        let token = world.token().sign();
        let proof = || world.client.proof("GET", URL, &token).nonce(nonce).sign();
        if is_cached {
            assert_eq!(world.answer(dpop_request(&token, &proof())), Answer::Accepted);
        }
        let proof = proof();
        // The nonce is accepted in the minute that starts now, and in the one after.
        for wrong in [120, -61, 3_600] {
            world.clock.set_wall(Timestamp::from_secs(NOW + wrong));
            assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::UseNonce, "{wrong}");
        }
        world.clock.set_wall(Timestamp::from_secs(NOW + 119));
        assert_accepted_once(&world, || dpop_request(&token, &proof));
    });
}

#[test]
fn case_116_a_proof_with_a_wrong_certificate_is_not_used() {
    for_new_and_cached_tokens(|is_cached| {
        let world = World::new(|api| api.with_mutual_tls(MutualTls::from_connection()));
        let [ours, other] = [b"ours", b"them"].map(|der| ClientCertificate::from_der(der));
        let token = world.token().bound_to_certificate(&ours).sign();
        let proof = || world.client.proof("GET", URL, &token).sign();
        let with = |certificate: Option<&ClientCertificate>, proof: &str| {
            let mut request = dpop_request(&token, proof);
            if let Some(certificate) = certificate {
                request.extensions_mut().insert(*certificate);
            }
            request
        };
        if is_cached {
            assert_eq!(world.answer(with(Some(&ours), &proof())), Answer::Accepted);
        }
        let proof = proof();
        for wrong in [None, Some(&other)] {
            assert_eq!(world.answer(with(wrong, &proof)), Answer::InvalidToken);
        }
        assert_accepted_once(&world, || with(Some(&ours), &proof));
    });
}

/// A revocation is not taken back, so another token of the client is sent with the same `jti`.
#[test]
fn case_116_a_proof_with_a_revoked_token_is_not_used() {
    for_new_and_cached_tokens(|is_cached| {
        let world = World::new(|api| api);
        let list = Revocations::builder().with_clock(world.clock.clone()).in_memory().expect("settings in range");
        let api = Api::new(AUDIENCE, trusted(&world.server, Algorithm::EdDSA)).with_dpop(dpop());
        let builder = Validator::builder(api).with_clock(world.clock.clone()).with_revocations(&list);
        let world = World { layer: BearerLayer::new(builder.build().expect("a valid configuration")), ..world };
        let [revoked, other] = ["a", "b"].map(|jti| world.token().claim("jti", jti).sign());
        let proof = |token: &str, jti: &str| world.client.proof("GET", URL, token).jti(jti).sign();
        if is_cached {
            assert_eq!(world.answer(dpop_request(&revoked, &proof(&revoked, "first"))), Answer::Accepted);
        }
        block_on(list.revoke(Revocation::jwt_id(world.server.issuer(), "a"))).expect("in this process");
        let response = world.send(dpop_request(&revoked, &proof(&revoked, "same")));
        assert_eq!(Answer::of(&response), Answer::InvalidToken);
        let kind = response.extensions().get().map(Rejection::kind);
        assert_eq!(kind, Some(RejectionKind::Revoked));
        assert_accepted_once(&world, || dpop_request(&other, &proof(&other, "same")));
    });
}

/// The query of the request, which is no part of `htu`, selects the organization.
#[test]
fn case_116_a_proof_for_another_organization_is_not_used() {
    for_new_and_cached_tokens(|is_cached| {
        let by_query = Organizations::from_request(|request| request.uri().query().map(Organization::from_id));
        let world = World::new(|api| api.with_organizations(by_query));
        let token = world.token().organization("org_1").sign();
        let proof = || world.client.proof("GET", URL, &token).sign();
        let to = |target: &str, proof: &str| {
            let mut request = dpop_request(&token, proof);
            *request.uri_mut() = target.parse().expect("a target");
            request
        };
        if is_cached {
            assert_eq!(world.answer(to("/me?org_1", &proof())), Answer::Accepted);
        }
        let proof = proof();
        for wrong in ["/me?org_2", "/me"] {
            assert_eq!(world.answer(to(wrong, &proof)), Answer::InvalidToken, "{wrong}");
        }
        assert_accepted_once(&world, || to("/me?org_1", &proof));
    });
}

/// Returns the positive answer about a token that is bound to the key.
fn bound(key: &ProofKey, changes: Value) -> Value {
    let Value::Object(mut members) = changes else { panic!("an object") };
    members.extend([("cnf".to_owned(), json!({ "jkt": key.jkt() })), ("token_type".to_owned(), "DPoP".into())]);
    active(Value::Object(members))
}

/// Sends one proof while the server does not call the token active, and then while it does.
fn assert_not_used_by_inactive_tokens(scripted: &Scripted, validator: &Validator, key: &ProofKey, token: &str) {
    let always_active = || scripted.always(&bound(key, json!({ "iss": null, "sub": null, "client_id": null })));
    let expect = |proof: &str, is_expected: fn(&Rejection) -> bool| {
        validator.evict_token(token);
        let result = validate(validator, token, proof);
        assert!(result.as_ref().is_err_and(is_expected), "{result:?}");
    };
    for was_active in [false, true] {
        if was_active {
            always_active();
            assert_eq!(validate(validator, token, &key.proof("GET", URL, token).sign()), Ok(()));
        }
        let proof = key.proof("GET", URL, token).sign();
        scripted.always_reply(Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
        expect(&proof, |rejection| {
            matches!(rejection, Rejection::Introspection(IntrospectionRejection::Unavailable { .. }))
        });
        scripted.always(&inactive());
        expect(&proof, |rejection| matches!(rejection, Rejection::Introspection(IntrospectionRejection::Inactive)));
        scripted.always(&bound(key, json!({ "iss": "https://other.test", "exp": NOW - 3_600 })));
        expect(&proof, |rejection| !matches!(rejection, Rejection::Possession(_)));
        always_active();
        validator.evict_token(token);
        assert_eq!(validate(validator, token, &proof), Ok(()));
        // With the stored answer, and with a new one.
        assert_eq!(validate(validator, token, &proof), Err(REPLAYED));
        validator.evict_token(token);
        assert_eq!(validate(validator, token, &proof), Err(REPLAYED));
    }
}

#[test]
fn case_116_a_proof_with_an_opaque_token_that_is_not_active_is_not_used() {
    let scripted = Scripted::new();
    let validator =
        scripted.validator_of(Api::new(AUDIENCE, Issuer::opaque(ISSUER, introspection())).with_dpop(dpop()));
    let key = ProofKey::new().with_clock(scripted.clock.clone());
    assert_not_used_by_inactive_tokens(&scripted, &validator, &key, TOKEN);
}

/// Its signature, its claims and the proof are valid before the token is introspected.
#[test]
fn case_116_a_proof_with_a_signed_token_that_is_not_active_is_not_used() {
    let scripted = Scripted::new();
    let server = TestIssuer::named(ISSUER).with_clock(scripted.clock.clone()).with_algorithms([Algorithm::EdDSA]);
    let issuer = Issuer::static_keys(ISSUER, KeySet::from_jwks(server.jwks())).with_algorithms([Algorithm::EdDSA]);
    let issuer = issuer.with_introspection(introspection().with_every_jwt());
    let validator = scripted.validator_of(Api::new(AUDIENCE, issuer).with_dpop(dpop()));
    let key = ProofKey::new().with_clock(scripted.clock.clone());
    let expires_at = Timestamp::from_secs(NOW + 3_600);
    let token = server.token().expires_at(expires_at).bound_to(&key).sign();
    assert_not_used_by_inactive_tokens(&scripted, &validator, &key, &token);
}

#[derive(Deserialize)]
struct Tenant {
    #[expect(dead_code, reason = "only its presence matters")]
    tenant: String,
}

/// A token with wrong claims is never in the token cache.
#[test]
fn case_116_a_proof_with_wrong_custom_claims_is_not_used() {
    let world = World::new(|api| api);
    let validator = world.validator.clone().with_custom_claims::<Tenant>();
    let [none, number] = [world.token(), world.token().claim("tenant", 7)].map(|token| token.sign());
    let good = world.token().claim("tenant", "acme").sign();
    let result = |token: &str| {
        let proof = world.client.proof("GET", URL, token).jti("same").sign();
        validate(&validator, token, &proof)
    };
    for wrong in [&none, &number] {
        assert!(matches!(result(wrong), Err(Rejection::CustomClaims(_))));
    }
    assert_eq!(result(&good), Ok(()));
    assert_eq!(result(&good), Err(REPLAYED));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(result(&good), Err(REPLAYED));
}

#[test]
fn case_116_a_proof_of_a_token_that_the_application_rejects_is_not_used() {
    let world = World::new(|api| api);
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    let validator = world.validator.clone().with_check(move |_| match open.load(Ordering::Relaxed) {
        true => Ok(()),
        false => Err(CheckError::new()),
    });
    let token = world.token().sign();
    let result = |jti: &str| {
        let proof = world.client.proof("GET", URL, &token).jti(jti).sign();
        validate(&validator, &token, &proof)
    };
    // The token is new first, and then in the token cache.
    for jti in ["new", "cached"] {
        is_open.store(false, Ordering::Relaxed);
        assert!(matches!(result(jti), Err(Rejection::Check(_))), "{jti}");
        is_open.store(true, Ordering::Relaxed);
        assert_eq!(result(jti), Ok(()), "{jti}");
        assert_eq!(result(jti), Err(REPLAYED), "{jti}");
    }
}

/// A store outside of the process that records a proof once, and only after the application has checked the request.
#[derive(Debug)]
struct RemoteStore {
    memory: MemoryReplayStore,
    checks: Arc<AtomicUsize>,
}

impl ReplayStore for RemoteStore {
    fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording {
        assert_eq!(self.checks.load(Ordering::Relaxed), 1, "the request is checked once, and before this");
        match self.memory.record(proof, now) {
            Recording::Now(result) => Recording::Later(Box::pin(std::future::ready(result))),
            later @ Recording::Later(_) => later,
        }
    }
}

/// For a new and a cached token, for an opaque token, and for a JWT that is introspected, with a new answer and with a stored one.
#[test]
fn case_116_the_application_checks_a_request_once_before_its_proof_is_recorded() {
    let checks = Arc::new(AtomicUsize::new(0));
    let dpop = || {
        let memory = MemoryReplayStore::new(1 << 20, Duration::from_secs(120));
        dpop().with_replay_store(RemoteStore { memory, checks: Arc::clone(&checks) })
    };
    let scripted = Scripted::new();
    let key = ProofKey::new().with_clock(scripted.clock.clone());
    scripted.always(&bound(&key, json!({ "iss": null, "sub": null, "client_id": null })));
    let server = TestIssuer::named(ISSUER).with_clock(scripted.clock.clone()).with_algorithms([Algorithm::EdDSA]);
    let issuer = || Issuer::static_keys(ISSUER, KeySet::from_jwks(server.jwks())).with_algorithms([Algorithm::EdDSA]);
    let signed = server.token().expires_at(Timestamp::from_secs(NOW + 3_600)).bound_to(&key).sign();
    for (name, issuer, token) in [
        ("signed", issuer(), &*signed),
        ("introspected", issuer().with_introspection(introspection().with_every_jwt()), &signed),
        ("opaque", Issuer::opaque(ISSUER, introspection()), TOKEN),
    ] {
        let counted = Arc::clone(&checks);
        let validator = scripted.validator_of(Api::new(AUDIENCE, issuer).with_dpop(dpop())).with_check(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        for request in ["new", "stored"] {
            let proof = key.proof("GET", URL, token).sign();
            for expected in [Ok(()), Err(REPLAYED)] {
                checks.store(0, Ordering::Relaxed);
                assert_eq!(validate(&validator, token, &proof), expected, "{name} {request}");
                assert_eq!(checks.load(Ordering::Relaxed), 1, "{name} {request}");
            }
        }
    }
}
