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

use aws_lc_rs::signature::ParsedPublicKey;
use http::header::AUTHORIZATION;
use http::{Method, Request};
use support::baseline::{Signed, key_of_proof};
use support::{AUDIENCE, api, compare, compare_samples, cpu_time, heading, now, row, sample, server, token};
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{
    AccessTokenHash, DPOP, Dpop, Expected, MemoryReplayStore, ProofPolicy, Recording, ReplayStore as _, VerifiedProof,
    verify,
};
use tower_bearer::request::{PublicUrl, RequestHead};
use tower_bearer::testing::{ProofKey, TestIssuer};
use tower_bearer::{Algorithm, Api, Validator};

fn main() {
    requests();
    threads();
    replay();
}

fn requests() {
    let server = server(Algorithm::ES256);
    let client = ProofKey::new();
    let with_dpop = authenticator(&server, Some(Dpop::new(AUDIENCE.trim_end_matches('/'))));
    let without = authenticator(&server, None);
    let bound = token(&server, 1).bound_to(&client).sign();
    let url = format!("{AUDIENCE}me");
    let proofs: Vec<String> = (0..PROOFS).map(|_| client.proof("GET", &url, &bound).sign()).collect();
    let other_heads: Vec<String> =
        (0..PROOFS).map(|number| client.proof("GET", &url, &bound).header("x", number).sign()).collect();
    assert!(authenticate(&with_dpop, &request("DPoP", &bound, &client.proof("GET", &url, &bound).sign())));

    heading("requests", "the signature check of the same proofs");
    for (name, proofs, budget) in
        [("cached token, known proof header", &proofs, 1.04), ("cached token, new proof header", &other_heads, 1.10)]
    {
        let mut checked = floor(&proofs[0], proofs);
        let mut accepted = of_new_requests(&with_dpop, &bound, proofs);
        row(name, compare_samples(&mut checked, &mut accepted), Some(budget));
    }
    let used = request("DPoP", &bound, &proofs[0]);
    let mut replayed = |runs| sample(|| assert!(!authenticate(&with_dpop, black_box(&used))), runs);
    let one = &proofs[..1];
    row("replayed proof", compare_samples(&mut floor(&one[0], one), &mut replayed), Some(1.04));
    for (name, proof) in [
        ("refused before its signature: method", client.proof("PUT", &url, &bound).sign()),
        ("refused before its signature: key", ProofKey::new().proof("GET", &url, &bound).sign()),
    ] {
        let refused = request("DPoP", &bound, &proof);
        let mut refuse = |runs| sample(|| assert!(!authenticate(&with_dpop, black_box(&refused))), runs);
        row(name, compare_samples(&mut floor(&proofs[0], &proofs), &mut refuse), Some(0.03));
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

fn authenticator(server: &TestIssuer, dpop: Option<Dpop>) -> Authenticator {
    let api = dpop.into_iter().fold(api(server, Algorithm::ES256), Api::with_dpop);
    Authenticator::new(Validator::new(api).expect("a valid configuration"))
}

fn authenticate(authenticator: &Authenticator, request: &Request<()>) -> bool {
    matches!(now(authenticator.authenticate(&RequestHead::new(request))), Outcome::Authenticated(_))
}

fn request(scheme: &str, token: &str, proof: &str) -> Request<()> {
    let request = Request::get("/me").header(AUTHORIZATION, format!("{scheme} {token}")).header(DPOP, proof);
    request.body(()).expect("a request")
}

/// Returns samples of requests with new proofs. A request is made just before its sample, as a server reads it just before: it is in the
/// caches of the processor.
fn of_new_requests(authenticator: &Authenticator, token: &str, proofs: &[String]) -> impl FnMut(u32) -> f64 {
    let mut proofs = proofs.iter();
    move |runs| {
        let requests: Vec<_> = proofs.by_ref().take(runs as usize).map(|proof| request("DPoP", token, proof)).collect();
        let mut next = requests.iter();
        sample(|| assert!(authenticate(authenticator, next.next().expect("enough proofs"))), runs)
    }
}

/// Returns samples of the signature check alone, of the same proofs. A processor learns the branches of one signature that it verifies
/// again and again, and then needs less time for it than for a new one.
fn floor(first: &str, proofs: &[String]) -> impl FnMut(u32) -> f64 {
    let key = key_of_proof(first);
    let mut proofs = proofs.iter().cycle();
    move |runs| {
        let signed: Vec<_> = proofs.by_ref().take(runs as usize).map(|proof| Signed::new(proof)).collect();
        let mut next = signed.iter();
        sample(|| next.next().expect("one for each run").check(&key), runs)
    }
}

/// Compares the throughput of two threads with that of one. Each thread has its own client, and all use one authenticator. Beside it, the
/// same for the signature check alone, where threads share nothing: that is what the machine offers.
fn threads() {
    let server = server(Algorithm::ES256);
    let authenticator = authenticator(&server, Some(Dpop::new(AUDIENCE.trim_end_matches('/'))));
    let url = format!("{AUDIENCE}me");
    let clients = [2, 3].map(|number| {
        let client = ProofKey::new();
        let token = token(&server, number).bound_to(&client).sign();
        (client, token)
    });
    // A proof is accepted once, so each sample needs new ones.
    let proofs = |(client, token): &(ProofKey, String)| -> Vec<String> {
        (0..SAMPLE_REQUESTS).map(|_| client.proof("GET", &url, token).sign()).collect()
    };
    let requests = |client: &(ProofKey, String)| -> Vec<Request<()>> {
        proofs(client).iter().map(|proof| request("DPoP", &client.1, proof)).collect()
    };
    let run = |requests: Vec<Request<()>>| {
        for request in &requests {
            assert!(authenticate(&authenticator, request));
        }
    };
    let signed = |client: &(ProofKey, String)| -> (ParsedPublicKey, Vec<Signed>) {
        let proofs = proofs(client);
        (key_of_proof(&proofs[0]), proofs.iter().map(|proof| Signed::new(proof)).collect())
    };
    let check = |(key, signed): (ParsedPublicKey, Vec<Signed>)| signed.iter().for_each(|signed| signed.check(&key));
    println!("\ntwo threads, requests per second (wall clock, {ROUNDS} rounds, median [least, most])");
    let rounds = (0..ROUNDS).map(|_| (speed_up(&clients, requests, run), speed_up(&clients, signed, check)));
    let (accepted, checked): (Vec<f64>, Vec<f64>) = rounds.unzip();
    for (name, mut ratios, note) in [
        ("cached token, known proof header", accepted, " × one thread   ≥ 1.9"),
        ("signature check alone", checked, " × one thread"),
    ] {
        ratios.sort_by(f64::total_cmp);
        let (median, least, most) = (ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1]);
        println!("{name:<44} {median:.2} [{least:.2}, {most:.2}]{note}");
    }
}

/// Returns how much more the two threads of two clients do in the same time than one thread.
fn speed_up<I: Send>(
    clients: &[(ProofKey, String); 2],
    prepare: impl Fn(&(ProofKey, String)) -> I,
    run: impl Fn(I) + Sync,
) -> f64 {
    let alone = prepare(&clients[0]);
    let start = Instant::now();
    run(alone);
    let one = start.elapsed();
    let each = clients.each_ref().map(prepare);
    let start = Instant::now();
    thread::scope(|scope| each.into_iter().for_each(|input| drop(scope.spawn(|| run(input)))));
    2.0 * one.as_secs_f64() / start.elapsed().as_secs_f64()
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
    let mut nothing = Vec::with_capacity(proofs.len());
    for (count, proof) in (1..).zip(&proofs) {
        // By the CPU time of this thread, which does not contain the time in which the machine does something else.
        let start = cpu_time();
        let recorded = store.record(proof, Timestamp::from_secs(time));
        nanos.push((cpu_time() - start).as_nanos() as u64);
        let start = cpu_time();
        black_box(proof);
        nothing.push((cpu_time() - start).as_nanos() as u64);
        assert!(matches!(recorded, Recording::Now(Ok(_))));
        let each = store.bytes() as f64 / f64::from(count);
        // The first pages of the five periods take 80 KiB.
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
    println!("CPU time of insertions, with the reading of the clock, and beside them that of the reading alone:");
    for (name, from) in [("all", 0), ("the last 100,000", proofs.len() - 100_000)] {
        let [insertions, nothing] = [&nanos, &nothing].map(|nanos| {
            let mut nanos = nanos[from..].to_vec();
            nanos.sort_unstable();
            nanos
        });
        for (rank_name, rank) in [("median", 500), ("p99", 990), ("p99.9", 999), ("most", 1_000)] {
            let at = (insertions.len() * rank / 1_000).min(insertions.len() - 1);
            println!("{name:>18} {rank_name:>7}: {:>9} ns {:>9} ns", insertions[at], nothing[at]);
        }
    }
    let mut last = nanos.split_off(nanos.len() - 100_000);
    last.sort_unstable();
    let p999 = last[last.len() * 999 / 1_000];
    println!("p99.9 of the last 100,000: {p999} ns   ≤ 5,000: {}", met(p999 <= 5_000));
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

/// Enough for all samples of a row.
const PROOFS: usize = 4_000;

const MILLION: i64 = 1_000_000;

const ROUNDS: usize = 15;

/// About 80 ms.
const SAMPLE_REQUESTS: usize = 1_000;
