//! Nonces of the resource server (RFC 9449 §9). The numbers are those of the attack cases.

use std::convert::Infallible;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::authenticator::Outcome;
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{DPOP_NONCE, Dpop, Nonces};
use tower_bearer::keys::Secret;
use tower_bearer::middleware::AsyncRequireLayer;
use tower_bearer::request::RequestHead;
use tower_bearer::requirement::RequirementError;
use tower_bearer::testing::ProofBuilder;
use tower_bearer::{Claims, RejectionKind, Requirement};

use crate::dpop_fixture::{Answer, URL, World, challenges, dpop_request};
use crate::fixture::{NOW, block_on};

fn secret(byte: u8) -> Secret {
    Secret::new(vec![byte; 32]).expect("a secret")
}

fn world_with(nonces: Nonces) -> World {
    World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_nonces(nonces)))
}

fn world() -> World {
    world_with(Nonces::shared(secret(1)))
}

/// Returns the only nonce of a response.
fn nonce_of<B>(response: &Response<B>) -> Option<String> {
    let values: Vec<_> = response.headers().get_all(DPOP_NONCE).iter().collect();
    assert!(values.len() <= 1, "{values:?}");
    values.first().map(|value| value.to_str().expect("ASCII").to_owned())
}

/// Returns the nonce that the server gives to a client without one.
fn current(world: &World) -> String {
    let token = world.token().sign();
    nonce_of(&world.send(world.request(&token))).expect("a nonce")
}

fn current_of_another_audience() -> String {
    let world = World::with_audience("https://other.test", |api| {
        api.with_dpop(Dpop::new("https://api.test").with_nonces(Nonces::shared(secret(1))))
    });
    let bare = Request::get("/me").body(String::new()).expect("a request");
    nonce_of(&world.send(bare)).expect("a nonce")
}

fn send(world: &World, change: impl FnOnce(ProofBuilder) -> ProofBuilder) -> Response<String> {
    let token = world.token().sign();
    world.send(dpop_request(&token, &change(world.client.proof("GET", URL, &token)).sign()))
}

fn answer(world: &World, nonce: &str) -> Answer {
    Answer::of(&send(world, |proof| proof.nonce(nonce)))
}

#[test]
fn case_99_accepts_the_nonces_of_three_periods() {
    let world = world();
    assert_eq!(Answer::of(&send(&world, |proof| proof)), Answer::UseNonce);
    let nonce = current(&world);
    for (offset, expected) in [
        (-61, Answer::UseNonce),
        (-60, Answer::Accepted),
        (0, Answer::Accepted),
        (59, Answer::Accepted),
        (60, Answer::Accepted),
        (119, Answer::Accepted),
        (120, Answer::UseNonce),
    ] {
        // NOW is the start of a period.
        world.clock.set_wall(Timestamp::from_secs(NOW + offset));
        assert_eq!(answer(&world, &nonce), expected, "{offset}");
    }
    world.clock.set_wall(Timestamp::from_secs(NOW));
    let others = [
        current(&world_with(Nonces::shared(secret(2)))),
        current_of_another_audience(),
        current(&world_with(Nonces::of_this_process())),
        "the-nonce-of-the-authorization-server".to_owned(),
    ];
    for other in others {
        assert_ne!(other, nonce);
        assert_eq!(answer(&world, &other), Answer::UseNonce, "{other}");
    }
}

#[test]
fn case_100_rejects_malformed_nonces() {
    let world = world();
    for proof in [
        |proof: ProofBuilder| proof.claim("nonce", 7),
        |proof: ProofBuilder| proof.nonce(""),
        |proof: ProofBuilder| proof.claim("nonce", ["x"]),
        |proof: ProofBuilder| proof.raw_claim("nonce", "null"),
    ] {
        assert_eq!(Answer::of(&send(&world, proof)), Answer::UseNonce);
    }
    assert_eq!(Answer::of(&send(&world, |proof| proof.nonce(&"x".repeat(1 << 20)))), Answer::InvalidProof);
}

#[test]
fn case_101_the_challenge_for_a_nonce_is_alone() {
    let response = send(&world(), |proof| proof);
    let [challenge] = &challenges(response.headers())[..] else { panic!("one challenge") };
    assert_eq!(challenge.scheme, "DPoP");
    assert_eq!(challenge.parameter("error"), Some("use_dpop_nonce"));
    assert_eq!(challenge.parameter("algs"), Some("ES256 EdDSA Ed25519 PS256"));
    assert_eq!(nonce_of(&response).map(|nonce| nonce.len()), Some(22));
    let rejection = response.extensions().get::<tower_bearer::Rejection>().expect("rejected");
    assert_eq!(rejection.kind(), RejectionKind::ProofNonce);
}

#[test]
fn every_401_has_a_nonce() {
    let world = world();
    let nonce = current(&world);
    let token = world.token().sign();
    let bare = Request::get("/me").body(String::new()).expect("a request");
    let broken = world.token().with_broken_signature().sign();
    for request in [bare, world.request(&token), world.request(&broken), dpop_request(&token, "x")] {
        let response = world.send(request);
        assert_eq!((response.status().as_u16(), nonce_of(&response)), (401, Some(nonce.clone())));
    }
}

#[test]
fn case_103_rotation_accepts_the_old_secret_and_issues_by_the_new_one() {
    let (old, new) = (world(), world_with(Nonces::shared(secret(2))));
    let rotating = world_with(Nonces::shared(secret(2)).with_previous(secret(1)));
    assert_eq!(current(&rotating), current(&new));
    assert_eq!(answer(&rotating, &current(&old)), Answer::Accepted);
    assert_eq!(answer(&rotating, &current(&new)), Answer::Accepted);
    assert_eq!(answer(&new, &current(&old)), Answer::UseNonce);
}

#[test]
fn case_104_responses_carry_the_next_nonce_if_the_last_one_is_about_to_expire() {
    let world = world();
    let nonce = current(&world);
    assert_eq!(nonce_of(&send(&world, |proof| proof.nonce(&nonce))), None);
    world.clock.advance(Duration::from_secs(60));
    let next = current(&world);
    let response = send(&world, |proof| proof.nonce(&nonce));
    assert_eq!((Answer::of(&response), nonce_of(&response)), (Answer::Accepted, Some(next.clone())));
    assert_eq!(response.headers()["cache-control"], "no-store");
    // The nonce and the response of a handler.
    for status in [200_u16, 403, 500] {
        let inner = service_fn(move |_: Request<String>| async move {
            let response = Response::builder().status(status).header(DPOP_NONCE, "of-the-handler");
            Ok::<_, Infallible>(response.header("cache-control", "private").body(String::new()).expect("a response"))
        });
        let token = world.token().sign();
        let proof = world.client.proof("GET", URL, &token).nonce(&nonce).sign();
        let response = block_on(world.layer.layer(inner).oneshot(dpop_request(&token, &proof))).expect("infallible");
        assert_eq!((response.status().as_u16(), nonce_of(&response)), (status, Some(next.clone())));
    }
}

#[test]
fn a_requirement_in_code_is_answered_with_the_next_nonce() {
    let world = world();
    let nonce = current(&world);
    let token = world.token().sign();
    for (second, has_nonce) in [(0, false), (59, false), (60, true), (119, true)] {
        world.clock.set_wall(Timestamp::from_secs(NOW + second));
        let request = dpop_request(&token, &world.client.proof("GET", URL, &token).nonce(&nonce).sign());
        let Outcome::Authenticated(user) = block_on(world.layer.authenticate(&RequestHead::new(&request))) else {
            panic!("authenticated")
        };
        let response = user.require(&Requirement::scope("pay")).expect_err("no scope").to_response();
        assert_eq!((response.status().as_u16(), nonce_of(&response).is_some()), (403, has_nonce), "{second}");
        let response = user.require(&Requirement::acr_values(["gold"])).expect_err("no acr").to_response();
        let expected = current(&world);
        assert_eq!((response.status().as_u16(), nonce_of(&response)), (401, Some(expected)), "{second}");
    }
}

#[test]
fn an_application_without_the_layer_sends_the_headers_of_the_layer() {
    async fn forbids(claims: &Claims, _: &Parts) -> Result<(), RequirementError> {
        Err(RequirementError::forbidden(claims, "owner"))
    }
    let world = world();
    let nonce = current(&world);
    let token = world.token().sign();
    let handler = || Response::builder().header("cache-control", "private").body(String::new()).expect("a response");
    for (second, has_nonce) in [(0, false), (59, false), (60, true), (119, true)] {
        world.clock.set_wall(Timestamp::from_secs(NOW + second));
        let request = || dpop_request(&token, &world.client.proof("GET", URL, &token).nonce(&nonce).sign());
        let authenticate = || match block_on(world.layer.authenticate(&RequestHead::new(&request()))) {
            Outcome::Authenticated(user) => user,
            other => panic!("not authenticated: {other:?}"),
        };
        let mut accepted = handler();
        accepted.headers_mut().extend(authenticate().response_headers().clone());
        assert_eq!(nonce_of(&accepted).is_some(), has_nonce, "{second}");
        let inner = service_fn(move |_: Request<String>| async move { Ok::<_, Infallible>(handler()) });
        let through_layer = block_on(world.layer.layer(inner).oneshot(request())).expect("infallible");
        assert_eq!(accepted.headers(), through_layer.headers(), "{second}");

        let user = authenticate();
        let rejected = user.reject(RequirementError::forbidden(user.claims(), "owner")).to_response();
        assert_eq!((rejected.status().as_u16(), nonce_of(&rejected).is_some()), (403, has_nonce), "{second}");
        let layers = world.layer.layer(AsyncRequireLayer::new(forbids).layer(inner));
        let through_layers = block_on(layers.oneshot(request())).expect("infallible");
        assert_eq!(rejected.headers(), through_layers.headers(), "{second}");
    }
}

/// A period of the replay detection has the proofs of one nonce. If it is full, the client needs another nonce.
#[test]
fn a_full_replay_store_is_answered_with_the_next_nonce() {
    let dpop = Dpop::new("https://api.test").with_nonces(Nonces::shared(secret(1))).with_replay_memory(64 * 1024);
    let world = World::new(|api| api.with_dpop(dpop));
    let nonce = current(&world);
    // Where a proof is stored depends on its random hash, so some proofs still find room after the first one that does not.
    let first_rejected = || {
        let mut responses = (0..3_000).map(|_| send(&world, |proof| proof.nonce(&nonce)));
        responses.find(|response| response.status() != 200).expect("the memory is full")
    };
    let full = first_rejected();
    assert_eq!((Answer::of(&full), nonce_of(&full)), (Answer::Unavailable, Some(nonce.clone())));
    // NOW is the start of a period of 60 s.
    assert_eq!(full.headers()["retry-after"], "60");
    world.clock.advance(Duration::from_secs(60));
    let full = first_rejected();
    let next = nonce_of(&full).expect("a nonce");
    assert_eq!(Answer::of(&full), Answer::Unavailable);
    assert_eq!(full.headers()["retry-after"], "1");
    assert_eq!(answer(&world, &next), Answer::Accepted);
}

#[test]
fn case_105_a_good_nonce_repairs_nothing_else() {
    let world = world();
    let nonce = current(&world);
    for bad in [
        |proof: ProofBuilder| proof.claim("htm", "PUT"),
        |proof: ProofBuilder| proof.claim("htu", "https://api.test/you"),
        |proof: ProofBuilder| proof.claim("ath", "x"),
        |proof: ProofBuilder| proof.without("iat"),
        |proof: ProofBuilder| proof.with_broken_signature(),
    ] {
        assert_eq!(Answer::of(&send(&world, |proof| bad(proof.nonce(&nonce)))), Answer::InvalidProof);
    }
    // The same mistakes without a nonce: the first one is reported, and never the missing nonce, except for the signature.
    assert_eq!(Answer::of(&send(&world, |proof| proof.claim("htm", "PUT"))), Answer::InvalidProof);
    assert_eq!(Answer::of(&send(&world, ProofBuilder::with_broken_signature)), Answer::UseNonce);
}

/// The comparison takes the same time wherever a nonce differs, so each character of it counts.
#[test]
fn case_106_a_nonce_that_differs_in_one_character_is_not_accepted() {
    let world = world();
    let nonce = current(&world);
    for at in 0..nonce.len() {
        let mut other = nonce.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("ASCII");
        assert_eq!(answer(&world, &other), Answer::UseNonce, "{at}");
    }
    for other in [&nonce[..21], &nonce[1..], &format!("{nonce}A"), &format!(" {nonce}"), &nonce.to_ascii_uppercase()] {
        assert_eq!(answer(&world, other), Answer::UseNonce, "{other}");
    }
    assert_eq!(answer(&world, &nonce), Answer::Accepted);
}

#[test]
fn a_wrong_clock_of_the_client_does_no_harm() {
    let world = world();
    let nonce = current(&world);
    for iat in [NOW - 3_600, NOW + 3_600, 0] {
        assert_eq!(Answer::of(&send(&world, |proof| proof.claim("iat", iat).nonce(&nonce))), Answer::Accepted, "{iat}");
    }
    let strict = World::new(|api| {
        api.with_dpop(Dpop::new("https://api.test").with_nonces(Nonces::shared(secret(1))).with_issued_at_too())
    });
    assert_eq!(Answer::of(&send(&strict, |proof| proof.claim("iat", NOW - 3_600).nonce(&nonce))), Answer::InvalidProof);
    assert_eq!(answer(&strict, &nonce), Answer::Accepted);
}

#[test]
fn a_used_proof_is_known_as_long_as_its_nonce() {
    let world = world();
    let nonce = current(&world);
    let token = world.token().sign();
    let proof = world.client.proof("GET", URL, &token).nonce(&nonce).sign();
    assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::Accepted);
    for second in 0..125 {
        let expected = if second < 120 { Answer::InvalidProof } else { Answer::UseNonce };
        assert_eq!(world.answer(dpop_request(&token, &proof)), expected, "{second}");
        world.clock.advance(Duration::from_secs(1));
    }
}
