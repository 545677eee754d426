//! Shared by all benches: a token of typical size, and the comparison of a candidate with a baseline.
//!
//! On a shared machine only ratios of adjacent samples are meaningful, and neither criterion nor divan interleaves
//! candidates. Each round therefore measures the candidate and the baseline one after the other, by the CPU time of this
//! thread. The result is the median of the ratios and its interval.

#![allow(dead_code, reason = "each bench uses what it needs")]

pub mod baseline;
pub mod tenants;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, Issuer, Secret};

pub const AUDIENCE: &str = "https://api.northwind.com/";

/// Number of rounds of every comparison, enough for an interval of the median.
const PAIRS: usize = 31;

/// The ranks (from 0) of 31 samples that bound the 95 % interval of the median.
const INTERVAL: (usize, usize) = (9, 21);

/// CPU time of one sample: long compared with a clock reading, short compared with a scheduler time slice.
const SAMPLE: Duration = Duration::from_millis(2);

/// Creates an issuer with the claims of Auth0 that signs with one algorithm.
pub fn server(algorithm: Algorithm) -> TestIssuer {
    TestIssuer::auth0("northwind.eu.auth0.com").with_algorithms([algorithm])
}

/// Creates an API that accepts tokens of that issuer.
pub fn api(server: &TestIssuer, algorithm: Algorithm) -> Api {
    let issuer = if algorithm.is_symmetric() {
        Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()))
    } else {
        Issuer::static_keys(server.issuer(), tower_bearer::keys::KeySet::from_jwks(server.jwks()))
    };
    Api::new(AUDIENCE, issuer.with_algorithms([algorithm]))
}

/// A token as Auth0 issues it for a user, with permissions: 892 bytes with RS256.
pub fn token(server: &TestIssuer, number: usize) -> TokenBuilder {
    server
        .token()
        .subject(&format!("auth0|64f1c9a2b7e35d0012{number:06}"))
        .audiences([AUDIENCE, "https://northwind.eu.auth0.com/userinfo"])
        .scope("openid profile email read:orders write:orders")
        .permissions(["read:orders", "write:orders", "read:customers"])
        .claim("azp", "q7ZkW3n5T1yB8cVx0RmLd9EuHs2KgPaF")
        .expires_in(Duration::from_secs(86_400))
}

/// Custom claims of an application: five fields.
#[derive(Clone, Debug, Deserialize)]
pub struct Custom {
    pub sub: String,
    pub scope: String,
    pub azp: String,
    pub permissions: Vec<String>,
    pub iat: u64,
}

/// Returns the output of a future that is ready at the first poll.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the keys are loaded"),
    }
}

/// Returns a function that computes the fingerprint of a token in the same way as the token cache.
pub fn fingerprinter() -> impl Fn(&[u8]) -> [u8; 16] + Clone + Send + Sync {
    let key = Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("a key")));
    move |token| {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).expect("short enough");
        tag.as_ref().try_into().expect("16 bytes")
    }
}

/// Returns the CPU time of this thread.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.expect("after the start"), nanos.expect("less than a second"))
}

/// A function that runs a candidate once.
pub type Work<'w> = &'w mut dyn FnMut();

/// The result of one comparison.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Nanoseconds of CPU time for one run of the candidate, and of the baseline.
    pub nanos: (f64, f64),
    /// The ratio of candidate and baseline: median, and its 95 % interval.
    pub ratio: (f64, f64, f64),
}

/// Compares a candidate with a baseline, pair by pair.
pub fn compare(baseline: Work<'_>, candidate: Work<'_>) -> Outcome {
    compare_samples(&mut |runs| sample(&mut *baseline, runs), &mut |runs| sample(&mut *candidate, runs))
}

/// A function that takes one sample: it runs a candidate so many times, and returns the nanoseconds of CPU time of one run. What it
/// prepares for them is not measured.
pub type Sample<'s> = &'s mut dyn FnMut(u32) -> f64;

/// Compares a candidate that needs new input for each run with a baseline, pair by pair.
pub fn compare_samples(baseline: Sample<'_>, candidate: Sample<'_>) -> Outcome {
    let (baseline_runs, candidate_runs) = (runs(baseline), runs(candidate));
    let mut rounds: Vec<(f64, f64)> = Vec::with_capacity(PAIRS);
    for round in 0..PAIRS {
        // The order alternates, so that the state of the CPU caches favors neither.
        rounds.push(if round % 2 == 0 {
            let baseline = baseline(baseline_runs);
            (candidate(candidate_runs), baseline)
        } else {
            (candidate(candidate_runs), baseline(baseline_runs))
        });
    }
    let ratios = sorted(rounds.iter().map(|(candidate, baseline)| candidate / baseline));
    Outcome {
        nanos: (
            sorted(rounds.iter().map(|round| round.0))[PAIRS / 2],
            sorted(rounds.iter().map(|round| round.1))[PAIRS / 2],
        ),
        ratio: (ratios[PAIRS / 2], ratios[INTERVAL.0], ratios[INTERVAL.1]),
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Returns the number of runs of one sample.
fn runs(take: Sample<'_>) -> u32 {
    let mut runs = 1;
    loop {
        let nanos = take(runs) * f64::from(runs);
        if nanos >= SAMPLE.as_secs_f64() * 0.5e9 || runs > 1 << 20 {
            return runs;
        }
        runs *= 2;
    }
}

/// Returns the nanoseconds of CPU time of one run.
pub fn sample(mut work: impl FnMut(), runs: u32) -> f64 {
    let start = cpu_time();
    for _ in 0..runs {
        work();
    }
    (cpu_time() - start).as_secs_f64() * 1e9 / f64::from(runs)
}

/// Prints the heading of a table.
pub fn heading(title: &str, baseline: &str) {
    println!("\n{title} (CPU time of one thread, {PAIRS} interleaved pairs, median [95 % interval])");
    println!("{:<44} {:>10}   {:<26} budget", "", "µs", format!("× {baseline}"));
}

/// Prints one outcome and its budget.
pub fn row(name: &str, outcome: Outcome, budget: Option<f64>) {
    let (median, low, high) = outcome.ratio;
    let note = match budget {
        None => String::new(),
        Some(budget) if high <= budget => format!("≤ {budget}: met"),
        Some(budget) if low <= budget => format!("≤ {budget}: inconclusive"),
        Some(budget) => format!("≤ {budget}: EXCEEDED"),
    };
    let ratio = format!("{median:.3} [{low:.3}, {high:.3}]");
    println!("{name:<44} {:>10.3}   {ratio:<26} {note}", outcome.nanos.0 / 1e3);
}
