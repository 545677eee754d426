//! Measures requests with DPoP proofs, as a multiple of the raw ES256 signature check (the floor), and the replay store.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, does unchecked arithmetic and panics on errors"
)]

mod support;

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{Method, Request};
use support::baseline::Baseline;
use support::{AUDIENCE, api, compare, heading, now, row, server, token};
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{
    AccessTokenHash, DPOP, Dpop, Expected, MemoryReplayStore, ProofPolicy, Recording, ReplayStore as _, VerifiedProof,
    verify,
};
use tower_bearer::request::{PublicUrl, RequestHead};
use tower_bearer::testing::ProofKey;
use tower_bearer::{Algorithm, Validator};

fn main() {
    requests();
    threads();
    replay();
}

fn requests() {
    let server = server(Algorithm::ES256);
    let client = ProofKey::new();
    let baseline = Baseline::new(&server, Algorithm::ES256, &token(&server, 0).sign());
    let configured = |dpop: Dpop| {
        let validator = Validator::new(api(&server, Algorithm::ES256).with_dpop(dpop)).expect("a valid configuration");
        Authenticator::new(validator)
    };
    let with_dpop = configured(Dpop::new(AUDIENCE.trim_end_matches('/')));
    let without = Authenticator::new(Validator::new(api(&server, Algorithm::ES256)).expect("a valid configuration"));
    let bound = token(&server, 1).bound_to(&client).sign();
    let url = format!("{AUDIENCE}me");
    let proofs: Vec<String> = (0..20_000).map(|_| client.proof("GET", &url, &bound).sign()).collect();
    let other_heads: Vec<String> =
        (0..20_000).map(|number| client.proof("GET", &url, &bound).header("x", number).sign()).collect();
    let request = |scheme: &str, token: &str, proof: &str| {
        let request = Request::get("/me").header(AUTHORIZATION, format!("{scheme} {token}")).header(DPOP, proof);
        request.body(()).expect("a request")
    };
    let authenticate = |authenticator: &Authenticator, request: &Request<()>| {
        matches!(now(authenticator.authenticate(&RequestHead::new(request))), Outcome::Authenticated(_))
    };
    assert!(authenticate(&with_dpop, &request("DPoP", &bound, &client.proof("GET", &url, &bound).sign())));

    heading("requests", "ES256 baseline");
    let mut next = proofs.iter().map(|proof| request("DPoP", &bound, proof)).collect::<Vec<_>>().into_iter();
    let mut known = || assert!(authenticate(&with_dpop, &next.next().expect("enough proofs")));
    row("cached token, known proof header", compare(&mut || baseline.check(), &mut known), Some(1.04));
    let mut next = other_heads.iter().map(|proof| request("DPoP", &bound, proof)).collect::<Vec<_>>().into_iter();
    let mut new = || assert!(authenticate(&with_dpop, &next.next().expect("enough proofs")));
    row("cached token, new proof header", compare(&mut || baseline.check(), &mut new), Some(1.10));
    let used = request("DPoP", &bound, &proofs[0]);
    let mut replayed = || assert!(!authenticate(&with_dpop, &used));
    row("replayed proof", compare(&mut || baseline.check(), &mut replayed), Some(1.04));
    for (name, proof) in [
        ("refused before its signature: method", client.proof("PUT", &url, &bound).sign()),
        ("refused before its signature: key", ProofKey::new().proof("GET", &url, &bound).sign()),
    ] {
        let refused = request("DPoP", &bound, &proof);
        let mut refuse = || assert!(!authenticate(&with_dpop, &refused));
        row(name, compare(&mut || baseline.check(), &mut refuse), Some(0.03));
    }
    let bearer = token(&server, 2).sign();
    let bearer = request("Bearer", &bearer, "x");
    assert!(authenticate(&with_dpop, &bearer) && authenticate(&without, &bearer));
    heading("bearer request with DPoP configured", "without");
    let outcome = compare(&mut || assert!(authenticate(&without, black_box(&bearer))), &mut || {
        assert!(authenticate(&with_dpop, black_box(&bearer)))
    });
    row("cached token", outcome, Some(1.02));
}

/// Compares the throughput of two threads with that of one. Each thread has its own client, and all use one authenticator.
fn threads() {
    let server = server(Algorithm::ES256);
    let dpop = Dpop::new(AUDIENCE.trim_end_matches('/'));
    let validator = Validator::new(api(&server, Algorithm::ES256).with_dpop(dpop)).expect("a valid configuration");
    let authenticator = Authenticator::new(validator);
    let url = format!("{AUDIENCE}me");
    let clients = [2, 3].map(|number| {
        let client = ProofKey::new();
        let token = token(&server, number).bound_to(&client).sign();
        (client, token)
    });
    // A proof is accepted once, so each sample needs new ones.
    let requests = |(client, token): &(ProofKey, String)| -> Vec<Request<()>> {
        let request = |_| {
            let proof = client.proof("GET", &url, token).sign();
            let request = Request::get("/me").header(AUTHORIZATION, format!("DPoP {token}")).header(DPOP, proof);
            request.body(()).expect("a request")
        };
        (0..SAMPLE_REQUESTS).map(request).collect()
    };
    let run = |requests: Vec<Request<()>>| {
        for request in &requests {
            let outcome = now(authenticator.authenticate(&RequestHead::new(request)));
            assert!(matches!(outcome, Outcome::Authenticated(_)));
        }
    };
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let alone = requests(&clients[0]);
            let start = Instant::now();
            run(alone);
            let one = start.elapsed();
            let each = clients.each_ref().map(requests);
            let start = Instant::now();
            thread::scope(|scope| each.into_iter().for_each(|requests| drop(scope.spawn(|| run(requests)))));
            2.0 * one.as_secs_f64() / start.elapsed().as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let (median, least, most) = (ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1]);
    println!("\ntwo threads, requests per second (wall clock, {ROUNDS} rounds, median [least, most])");
    println!("{:<44} {median:.2} [{least:.2}, {most:.2}] × one thread   ≥ 1.9: {}", "", met(median >= 1.9));
}

/// Inserts a million proofs. Prints the slowest insertions into the filled store, and the memory at each fill.
fn replay() {
    let time = 1_800_000_000_i64;
    // The proofs are spread over five periods of 30 s.
    let created_at = |number: i64| Timestamp::from_secs(time + number % 5 * 30 - 90);
    let proofs = verified(MILLION, Timestamp::from_secs(time), &created_at);
    let store = MemoryReplayStore::new(48 << 20, Duration::from_secs(120));
    let (mut nanos, mut most_bytes) = (Vec::with_capacity(proofs.len()), 0.0_f64);
    println!("\nreplay store\n{:>10} {:>12} {:>16}", "entries", "bytes", "bytes per entry");
    for (count, proof) in (1..).zip(&proofs) {
        let start = Instant::now();
        let recorded = store.record(proof, Timestamp::from_secs(time));
        nanos.push(start.elapsed().as_nanos() as u64);
        assert!(matches!(recorded, Recording::Now(Ok(_))));
        let each = store.bytes() as f64 / f64::from(count);
        // The first segments of the five periods take 20 KiB.
        if count >= 5_000 {
            most_bytes = most_bytes.max(each);
        }
        if [5_000, 10_000, 30_000, 100_000, 300_000, 1_000_000].contains(&count) {
            println!("{count:>10} {:>12} {each:>16.1}", store.bytes());
        }
    }
    println!("most bytes per entry from 5,000 entries: {most_bytes:.1}   ≤ 24: {}", met(most_bytes <= 24.0));
    let full = MemoryReplayStore::new(6 << 20, Duration::from_secs(120));
    let one_period = proofs
        .iter()
        .step_by(5)
        .take_while(|proof| matches!(full.record(proof, Timestamp::from_secs(time)), Recording::Now(Ok(_))));
    let entries = one_period.count();
    let each = full.bytes() as f64 / entries as f64;
    println!("bytes per entry of a full period: {each:.1} ({entries} entries)   ≤ 13: {}", met(each <= 13.0));
    let mut last = nanos.split_off(nanos.len() - 100_000);
    last.sort_unstable();
    println!("the last 100,000 of {} insertions, with the reading of the clock:", proofs.len());
    for (name, rank) in [("median", 50_000), ("p99", 99_000), ("p99.9", 99_900)] {
        println!("{name:>10}: {} ns", last[rank]);
    }
    println!("p99.9 ≤ 5,000 ns: {}", met(last[99_900] <= 5_000));
}

/// Returns verified proofs with different identifiers. Each costs a signature and its verification, so two threads make them.
fn verified(count: i64, now: Timestamp, created_at: &(dyn Fn(i64) -> Timestamp + Sync)) -> Vec<VerifiedProof> {
    let client = ProofKey::with_algorithm(Algorithm::EdDSA);
    let url = PublicUrl::parse("https://api.test").expect("a URL");
    let policy = ProofPolicy::new().with_lifetime(Duration::from_secs(300));
    let expected = Expected::new(&Method::GET, &url, "/me", AccessTokenHash::new("token"), client.thumbprint());
    let one = |number: i64| {
        let proof = client.proof("GET", "https://api.test/me", "token").issued_at(created_at(number)).sign();
        verify(&proof, &expected, &policy, now).expect("valid")
    };
    let half = count / 2;
    thread::scope(|scope| {
        let first = scope.spawn(|| (0..half).map(one).collect::<Vec<_>>());
        let second: Vec<VerifiedProof> = (half..count).map(one).collect();
        [first.join().expect("no panic"), second].concat()
    })
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "EXCEEDED" }
}

const MILLION: i64 = 1_000_000;

const ROUNDS: usize = 15;

/// About 80 ms.
const SAMPLE_REQUESTS: usize = 1_000;
