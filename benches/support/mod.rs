//! What every bench shares: a token of ordinary size, and the measuring of two contestants against each other.
//!
//! Neither criterion nor divan interleaves contestants, and on a machine that others use too only ratios of neighbouring
//! samples mean anything. So each round measures the contestant and its rival one right after the other, by the CPU time
//! of this thread, and the ratios of the rounds make a median and an interval.

#![allow(dead_code, reason = "each bench uses what it needs")]

pub mod floor;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, Issuer, Secret};

pub const AUDIENCE: &str = "https://api.northwind.com/";

/// Rounds of every comparison: the interval of the median needs more than a handful.
const PAIRS: usize = 31;

/// Ranks, counted from 0, that hold the median of 31 samples in between with 95 % confidence.
const INTERVAL: (usize, usize) = (9, 21);

/// CPU time of one sample: long against the clock's own cost, short against the scheduler's.
const SAMPLE: Duration = Duration::from_millis(2);

/// An issuer that signs with one algorithm, as Auth0 does.
pub fn server(algorithm: Algorithm) -> TestIssuer {
    TestIssuer::auth0("northwind.eu.auth0.com").with_algorithms([algorithm])
}

/// An API that takes that issuer's tokens.
pub fn api(server: &TestIssuer, algorithm: Algorithm) -> Api {
    let issuer = if algorithm.is_symmetric() {
        Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()))
    } else {
        Issuer::static_keys(server.issuer(), tower_bearer::keys::KeySet::from_jwks(server.jwks()))
    };
    Api::new(AUDIENCE, issuer.with_algorithms([algorithm]))
}

/// A token as Auth0 issues it for a user, with permissions: 892 octets under RS256.
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

/// The application's own claims: five fields.
#[derive(Clone, Debug, Deserialize)]
pub struct Custom {
    pub sub: String,
    pub scope: String,
    pub azp: String,
    pub permissions: Vec<String>,
    pub iat: u64,
}

/// Runs a future that has nothing to wait for.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the keys are at hand"),
    }
}

/// CPU time that this thread has used.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.expect("after the start"), nanos.expect("less than a second"))
}

/// A contestant: does its work once.
pub type Work<'w> = &'w mut dyn FnMut();

/// The outcome of one comparison.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Nanoseconds of CPU time for one run of the contestant, and of its rival.
    pub nanos: (f64, f64),
    /// Contestant by rival: median, and the interval that holds it with 95 % confidence.
    pub ratio: (f64, f64, f64),
}

/// Measures a contestant against its rival, pair by pair.
pub fn compare(rival: Work<'_>, contestant: Work<'_>) -> Outcome {
    let (rival_runs, contestant_runs) = (runs(rival), runs(contestant));
    let mut rounds: Vec<(f64, f64)> = Vec::with_capacity(PAIRS);
    for round in 0..PAIRS {
        // Who goes first changes, so that neither always finds the caches as the other left them.
        rounds.push(if round % 2 == 0 {
            let rival = sample(rival, rival_runs);
            (sample(contestant, contestant_runs), rival)
        } else {
            (sample(contestant, contestant_runs), sample(rival, rival_runs))
        });
    }
    let ratios = sorted(rounds.iter().map(|(contestant, rival)| contestant / rival));
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

/// How many runs make one sample.
fn runs(work: Work<'_>) -> u32 {
    let mut runs = 1;
    loop {
        let nanos = sample(work, runs) * f64::from(runs);
        if nanos >= SAMPLE.as_secs_f64() * 0.5e9 || runs > 1 << 20 {
            return runs;
        }
        runs *= 2;
    }
}

/// Nanoseconds of CPU time for one run.
fn sample(work: Work<'_>, runs: u32) -> f64 {
    let start = cpu_time();
    for _ in 0..runs {
        work();
    }
    (cpu_time() - start).as_secs_f64() * 1e9 / f64::from(runs)
}

/// Starts a table of outcomes.
pub fn heading(title: &str, rival: &str) {
    println!("\n{title} (CPU time of one thread, {PAIRS} interleaved pairs, median [95 % interval])");
    println!("{:<44} {:>10}   {:<26} budget", "", "µs", format!("× {rival}"));
}

/// Prints one outcome with its budget beside it.
pub fn row(name: &str, outcome: Outcome, budget: Option<f64>) {
    let (median, low, high) = outcome.ratio;
    let verdict = match budget {
        None => String::new(),
        Some(budget) if high <= budget => format!("≤ {budget}: kept"),
        Some(budget) if low <= budget => format!("≤ {budget}: cannot tell"),
        Some(budget) => format!("≤ {budget}: MISSED"),
    };
    let ratio = format!("{median:.3} [{low:.3}, {high:.3}]");
    println!("{name:<44} {:>10.3}   {ratio:<26} {verdict}", outcome.nanos.0 / 1e3);
}
