//! Replayed proofs, and the replay store (RFC 9449 §11.1). The numbers are those of the attack cases.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::authenticator::Outcome;
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{Dpop, ProofUse, Recording, ReplayError, ReplayStore, VerifiedProof};
use tower_bearer::request::RequestHead;
use tower_bearer::testing::ProofKey;
use tower_bearer::{Rejection, RejectionKind};

use crate::dpop_fixture::{Answer, URL, World, base64url, decode_base64url, dpop_request, now, store_failure};
use crate::fixture::{NOW, block_on};

fn world() -> World {
    World::new(|api| api)
}

fn with_dpop(change: impl FnOnce(Dpop) -> Dpop) -> World {
    World::new(|api| api.with_dpop(change(Dpop::new("https://api.test"))))
}

fn twice(world: &World, token: &str, proof: &str) -> [Answer; 2] {
    [(); 2].map(|()| world.answer(dpop_request(token, proof)))
}

#[test]
fn case_107_rejects_a_proof_that_was_used() {
    let world = world();
    let token = world.token().sign();
    let proof = world.client.proof("GET", URL, &token).sign();
    assert_eq!(twice(&world, &token, &proof), [Answer::Accepted, Answer::InvalidProof]);
    let fresh = world.client.proof("GET", URL, &token).sign();
    assert_eq!(world.answer(dpop_request(&token, &fresh)), Answer::Accepted);
    let rejection =
        world.send(dpop_request(&token, &proof)).extensions().get::<Rejection>().cloned().expect("rejected");
    assert_eq!(rejection.kind(), RejectionKind::ProofReplayed);
}

#[test]
fn case_108_accepts_one_of_a_hundred_concurrent_requests_with_one_proof() {
    let world = world();
    let token = world.token().sign();
    let proof = world.client.proof("GET", URL, &token).sign();
    let (accepted, start) = (AtomicUsize::new(0), Barrier::new(100));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let request = dpop_request(&token, &proof);
                start.wait();
                match world.answer(request) {
                    Answer::Accepted => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                    other => assert_eq!(other, Answer::InvalidProof),
                }
            });
        }
    });
    assert_eq!(accepted.into_inner(), 1);
}

#[test]
fn cases_109_and_110_a_jti_belongs_to_one_key() {
    let world = world();
    let token = world.token().sign();
    let with_jti = |key: &ProofKey, token: &str, iat: i64| {
        let at = Timestamp::from_secs(NOW + iat);
        key.proof("GET", URL, token).jti("the same").issued_at(at).sign()
    };
    assert_eq!(world.answer(dpop_request(&token, &with_jti(&world.client, &token, 0))), Answer::Accepted);
    for iat in [0, -1, 1, 20, -20, -60, 29] {
        let again = with_jti(&world.client, &token, iat);
        assert_eq!(world.answer(dpop_request(&token, &again)), Answer::InvalidProof, "{iat}");
    }
    let other = world.server.token().bound_to(&world.other).sign();
    assert_eq!(world.answer(dpop_request(&other, &with_jti(&world.other, &other, 0))), Answer::Accepted);
}

/// The second signature that the same key could have made for the same text has `n - s` instead of `s`.
#[test]
fn case_111_rejects_the_twin_of_a_used_ecdsa_signature() {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let world = world();
    let token = world.token().sign();
    let [proof, other] = [(); 2].map(|()| world.client.proof("GET", URL, &token).sign());
    let twin = |proof: &str| {
        let (signed, signature) = proof.rsplit_once('.').expect("dots");
        let mut signature = decode_base64url(signature);
        let mut borrow = 0_i16;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
            let difference = i16::from(order) - i16::from(*byte) - borrow;
            borrow = i16::from(difference < 0);
            *byte = u8::try_from(difference.rem_euclid(256)).expect("a byte");
        }
        format!("{signed}.{}", base64url(&signature))
    };
    assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::Accepted);
    assert_eq!(world.answer(dpop_request(&token, &twin(&proof))), Answer::InvalidProof);
    // Its signature is valid: before the first use, it is accepted.
    assert_eq!(world.answer(dpop_request(&token, &twin(&other))), Answer::Accepted);
    assert_eq!(world.answer(dpop_request(&token, &other)), Answer::InvalidProof);
}

#[test]
fn case_112_rejects_a_used_proof_with_another_query() {
    let world = world();
    let token = world.token().sign();
    let proof = world.client.proof("GET", URL, &token).sign();
    assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::Accepted);
    let mut request = dpop_request(&token, &proof);
    *request.uri_mut() = "/me?page=2".parse().expect("a target");
    assert_eq!(world.answer(request), Answer::InvalidProof);
}

#[test]
fn cases_113_and_114_know_a_proof_as_long_as_it_is_valid() {
    for (iat, first) in [(0, 0), (0, 90), (-90, 0), (30, 0), (30, 119), (-1, 1)] {
        let world = world();
        let token = world.token().sign();
        let at = Timestamp::from_secs(NOW + iat);
        let proof = world.client.proof("GET", URL, &token).issued_at(at).sign();
        world.clock.advance(Duration::from_secs(first));
        assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::Accepted, "{iat} {first}");
        let end = u64::try_from(iat + 90).expect("not negative");
        for later in first..=end + 2 {
            // Other requests begin new periods of the detection.
            let other = world.client.proof("GET", URL, &token).sign();
            assert_eq!(world.answer(dpop_request(&token, &other)), Answer::Accepted, "{iat} {first} {later}");
            assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::InvalidProof, "{iat} {first} {later}");
            world.clock.advance(Duration::from_secs(1));
        }
    }
}

#[test]
fn cases_97_and_98_a_clock_that_is_set_back_forgets_no_proof() {
    let world = world();
    let token = world.token().sign();
    let proof = world.client.proof("GET", URL, &token).sign();
    assert_eq!(twice(&world, &token, &proof), [Answer::Accepted, Answer::InvalidProof]);
    for back in [1, 29, 30] {
        world.clock.set_wall(Timestamp::from_secs(NOW - back));
        assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::InvalidProof, "{back}");
    }
    world.clock.set_wall(Timestamp::from_secs(NOW - 3_600));
    let early = world.client.proof("GET", URL, &token).sign();
    assert_eq!(twice(&world, &token, &early), [Answer::Accepted, Answer::InvalidProof]);
    world.clock.set_wall(now());
    assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::InvalidProof);
    world.clock.set_wall(Timestamp::UNIX_EPOCH);
    let at_epoch = world.client.proof("GET", URL, &token).sign();
    assert_eq!(twice(&world, &token, &at_epoch), [Answer::Accepted, Answer::InvalidProof]);
}

#[test]
fn case_116_a_rejected_proof_is_not_used() {
    let world = world();
    let token = world.token().sign();
    let builder = || world.client.proof("GET", URL, &token).jti("once");
    for bad in [
        builder().with_broken_signature(),
        builder().claim("htm", "PUT"),
        builder().claim("htu", "https://api.test/you"),
        builder().claim("ath", "x"),
        builder().claim("iat", NOW - 3_600),
        builder().claim("exp", 1),
    ] {
        assert_eq!(world.answer(dpop_request(&token, &bad.sign())), Answer::InvalidProof);
    }
    // The same proof with a bad token, and as a bearer token.
    let proof = builder().sign();
    let broken = world.token().with_broken_signature().sign();
    assert_eq!(world.answer(dpop_request(&broken, &proof)), Answer::InvalidToken);
    assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::Accepted);
}

/// A store whose results a test chooses.
#[derive(Clone, Debug, Default)]
struct TestStore {
    records: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    result: Option<Result<ProofUse, ReplayError>>,
    speed: Speed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Speed {
    #[default]
    AtOnce,
    Later,
    Never,
}

impl ReplayStore for TestStore {
    fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording {
        assert!(now <= proof.accepted_until());
        self.calls.fetch_add(1, Ordering::Relaxed);
        let result = self.result.unwrap_or(Ok(ProofUse::First));
        let records = Arc::clone(&self.records);
        match self.speed {
            Speed::AtOnce => {
                records.fetch_add(1, Ordering::Relaxed);
                Recording::Now(result)
            }
            Speed::Later => Recording::Later(Box::pin(async move {
                records.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                result
            })),
            Speed::Never => Recording::Later(Box::pin(std::future::pending())),
        }
    }
}

#[test]
fn a_store_answers_at_once_or_later() {
    for speed in [Speed::AtOnce, Speed::Later] {
        for (result, answer) in [
            (Ok(ProofUse::First), Answer::Accepted),
            (Ok(ProofUse::Replayed), Answer::InvalidProof),
            (Err(ReplayError::Unavailable), Answer::Unavailable),
            (Err(ReplayError::Full { retry_after: Duration::from_secs(7) }), Answer::Unavailable),
        ] {
            let store = TestStore { result: Some(result), speed, ..TestStore::default() };
            let world = with_dpop(|dpop| dpop.with_replay_store(store.clone()));
            let token = world.token().sign();
            for count in 1..4 {
                let response = world.send(world.request(&token));
                assert_eq!(Answer::of(&response), answer, "{speed:?} {result:?}");
                assert_eq!(store.records.load(Ordering::Relaxed), count, "{speed:?} {result:?}");
                assert_eq!(store.calls.load(Ordering::Relaxed), count, "{speed:?} {result:?}");
                if let Err(error) = result {
                    let seconds = match error {
                        ReplayError::Full { retry_after } => retry_after.as_secs(),
                        _ => 1,
                    };
                    assert_eq!(response.headers()["retry-after"], seconds.to_string());
                    let rejection = response.extensions().get::<Rejection>().expect("rejected");
                    assert_eq!(rejection.kind(), RejectionKind::ReplayUnavailable);
                    assert_eq!(store_failure(&response), Some((error, Duration::from_secs(seconds))));
                }
            }
        }
    }
}

/// Case 117, with a store of the test: a store that does not respond, and that responds again later.
#[test]
fn a_request_waits_for_a_store_no_longer_than_the_timeout() {
    for (configured, millis) in [(None, 50), (Some(Duration::from_millis(200)), 200)] {
        let store = TestStore { speed: Speed::Never, ..TestStore::default() };
        let world = with_dpop(|dpop| {
            configured.into_iter().fold(dpop.with_replay_store(store.clone()), Dpop::with_replay_timeout)
        });
        let request = world.request(&world.token().sign());
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let response = block_on(async {
            let response = tokio::spawn(world.layer.layer(inner).oneshot(request));
            world.clock.run_for(Duration::from_millis(millis - 1)).await;
            assert!(!response.is_finished(), "{millis}");
            world.clock.run_for(Duration::from_millis(1)).await;
            assert!(response.is_finished(), "{millis}");
            response.await.expect("no panic").expect("infallible")
        });
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(store_failure(&response), Some((ReplayError::TimedOut, Duration::from_secs(1))));
        assert_eq!(store.calls.load(Ordering::Relaxed), 1);
    }
}

/// A million proofs in a build with optimizations, as `.ci/deep` runs it, and fewer in another one.
#[test]
fn case_119_proofs_by_another_key_take_no_memory() {
    let count = if cfg!(debug_assertions) { 10_000 } else { 1_000_000 };
    let store = TestStore::default();
    let worlds = [world(), with_dpop(|dpop| dpop.with_replay_store(store.clone()))];
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    for world in &worlds {
        let token = world.token().sign();
        assert_eq!(world.answer(world.request(&token)), Answer::Accepted);
        let by_other_key = world.other.proof("GET", URL, &token).sign();
        let (header, rest) = by_other_key.split_once('.').expect("dots");
        let (_, signature) = rest.split_once('.').expect("dots");
        let answer_at_once = |proof: &str| {
            let request = dpop_request(&token, proof);
            let outcome = world.layer.try_authenticate(&RequestHead::new(&request)).expect("a store in memory");
            let Outcome::Rejected(rejected) = outcome else { panic!("accepted") };
            Answer::of(&rejected.to_response())
        };
        for number in 0..count {
            let claims = base64url(format!("{{\"jti\":\"{number}\",\"htm\":\"GET\"}}").as_bytes());
            assert_eq!(answer_at_once(&format!("{header}.{claims}.{signature}")), Answer::InvalidToken);
        }
        let forged = world.client.proof("GET", URL, &token).signed_by(&world.other).sign();
        assert_eq!(answer_at_once(&forged), Answer::InvalidProof);
    }
    let text = scrape.render();
    assert!(text.contains("dpop_replay_entries 1\n"), "{text}");
    assert_eq!(store.records.load(Ordering::Relaxed), 1);
}

#[test]
fn case_120_a_full_period_rejects_until_the_next_one() {
    let world = with_dpop(|dpop| dpop.with_replay_memory(64 * 1024));
    let token = world.token().sign();
    let first = world.client.proof("GET", URL, &token).sign();
    assert_eq!(world.answer(dpop_request(&token, &first)), Answer::Accepted);
    // A period has a sixth of the bytes, and an entry takes at least eight.
    let full = (0..2_000).map(|_| world.send(world.request(&token))).find(|response| response.status() != 200);
    let full = full.expect("the memory is full");
    assert_eq!(Answer::of(&full), Answer::Unavailable);
    // NOW is the start of a period of 30 s.
    assert_eq!(full.headers()["retry-after"], "30");
    assert_eq!(world.answer(dpop_request(&token, &first)), Answer::InvalidProof);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.answer(world.request(&token)), Answer::Accepted);
    assert_eq!(world.answer(dpop_request(&token, &first)), Answer::InvalidProof);
}

#[test]
fn case_122_each_api_has_its_own_memory() {
    let (one, other) = (world(), with_dpop(|dpop| dpop));
    let token = one.token().sign();
    let elsewhere = other.token().bound_to(&one.client).sign();
    let proof = |token: &str| one.client.proof("GET", URL, token).jti("same").sign();
    assert_eq!(one.answer(dpop_request(&token, &proof(&token))), Answer::Accepted);
    assert_eq!(other.answer(dpop_request(&elsewhere, &proof(&elsewhere))), Answer::Accepted);
}

#[test]
fn without_replay_detection_a_proof_is_accepted_while_it_is_valid() {
    let world = with_dpop(Dpop::dangerous_accept_replayed_proofs);
    let token = world.token().sign();
    let proof = world.client.proof("GET", URL, &token).sign();
    assert_eq!(twice(&world, &token, &proof), [Answer::Accepted, Answer::Accepted]);
    world.clock.advance(Duration::from_secs(91));
    assert_eq!(world.answer(dpop_request(&token, &proof)), Answer::InvalidProof);
}

#[test]
fn case_123_an_explanation_uses_no_proof() {
    let store = TestStore::default();
    let world = with_dpop(|dpop| dpop.with_replay_store(store.clone()));
    let token = world.token().sign();
    let request: Request<String> = world.request(&token);
    let head = RequestHead::new(&request);
    for _ in 0..3 {
        let explanation = block_on(world.validator.explain_request(&token, &head));
        assert!(explanation.is_accepted(), "{explanation}");
    }
    assert_eq!(store.records.load(Ordering::Relaxed), 0);
    assert_eq!(world.answer(request), Answer::Accepted);
}
