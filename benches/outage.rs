//! Measures the latency of tokens with known keys while an issuer hangs or fails, and during a flood of unknown key ids. The
//! latency must not change.
//!
//! Every candidate has its own source and issuer, and a policy that fetches a thousand times as often as the default, so
//! that a fetch is nearly always in flight. A second thread sends tokens with unknown key ids without a pause, either to the
//! candidate or to the control, so that the load of the machine is the same. Latencies are wall-clock times, taken in
//! rotation; the 99th percentile of each block is compared with the block of the quiet candidate beside it.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints, does unchecked arithmetic and panics on errors"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use support::{AUDIENCE, now, server, token};
use tokio::runtime::{Builder, Runtime};
use tower_bearer::jwks::RefreshPolicy;
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::{Algorithm, Api, Issuer, Validator};

/// Number of blocks of samples, and the ranks (from 0) of their ratios that bound the 95 % interval of the median.
const BLOCKS: usize = 31;
const INTERVAL: (usize, usize) = (9, 21);
const REQUESTS: usize = 100;

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    // A cache hit is so fast that more turns are needed to coincide with fetches.
    for (name, bytes, turns) in [("without token cache", 0, 20), ("token cache hit", 8 << 20, 200)] {
        let candidates = [
            Candidate::new("quiet", bytes, None, &runtime),
            Candidate::new("the issuer hangs", bytes, Some(Outage::Hang), &runtime),
            Candidate::new("the issuer fails", bytes, Some(Outage::Status(StatusCode::BAD_GATEWAY)), &runtime),
            Candidate::new("a flood of unknown key ids", bytes, None, &runtime),
            Candidate::new("a flood while the issuer hangs", bytes, Some(Outage::Hang), &runtime),
        ];
        let control = Candidate::new("control", bytes, None, &runtime);
        measure(name, turns, &candidates, &control, &runtime);
    }
}

/// A validator with its own issuer, which may have an outage.
struct Candidate {
    name: &'static str,
    server: TestIssuer,
    validator: Validator,
    texts: Vec<String>,
    unknown_kids: Vec<String>,
}

impl Candidate {
    fn new(name: &'static str, token_cache_bytes: usize, outage: Option<Outage>, runtime: &Runtime) -> Self {
        let server = server(Algorithm::RS256);
        let texts: Vec<String> = (0..200).map(|number| token(&server, number).sign()).collect();
        let unknown_kids =
            (0..200).map(|number| token(&server, number).kid(&format!("random-{number}")).sign()).collect();
        let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
        let builder = Validator::builder(Api::new(AUDIENCE, issuer))
            .with_fetch(server.clone())
            .with_refresh_policy(fast_policy())
            .with_token_cache_bytes(token_cache_bytes);
        let validator = runtime.block_on(builder.build_ready(Duration::from_secs(5))).expect("keys");
        server.set_outage(outage.unwrap_or(Outage::None));
        texts.iter().for_each(|text| drop(now(validator.validate(text)).expect("valid")));
        Self { name, server, validator, texts, unknown_kids }
    }

    /// Returns whether the flood goes to this candidate, and not to the control.
    fn is_flooded(&self) -> bool {
        self.name.contains("flood")
    }

    fn fetches(&self) -> usize {
        self.server.fetches()
    }
}

/// A policy with all periods a thousandth of the default, except how long keys are used.
fn fast_policy() -> RefreshPolicy {
    let millis = Duration::from_millis;
    RefreshPolicy::new()
        .without_interval_limits()
        .with_refresh_interval(millis(300))
        .with_attempt_timeout(millis(50))
        .with_operation_timeout(millis(50))
        .with_unknown_kid_wait(millis(50))
        .with_backoff_min(millis(1))
        .with_backoff_max(millis(60))
        .with_unknown_kid_cooldown_min(millis(1))
        .with_unknown_kid_cooldown_max(millis(15))
}

fn measure(name: &str, turns: usize, candidates: &[Candidate], control: &Candidate, runtime: &Runtime) {
    let target = Arc::new(AtomicUsize::new(candidates.len()));
    let sent: Arc<[AtomicU64]> = candidates.iter().chain([control]).map(|_| AtomicU64::new(0)).collect();
    let flooded: Vec<(Validator, Vec<String>)> = candidates
        .iter()
        .chain([control])
        .map(|candidate| (candidate.validator.clone(), candidate.unknown_kids.clone()))
        .collect();
    let flood = runtime.spawn({
        let (target, sent) = (Arc::clone(&target), Arc::clone(&sent));
        async move {
            for number in 0.. {
                let at = target.load(Ordering::Relaxed);
                let (validator, unknown_kids) = &flooded[at];
                validator.validate(&unknown_kids[number % unknown_kids.len()]).await.expect_err("an unknown kid");
                sent[at].fetch_add(1, Ordering::Relaxed);
                if number % 32 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let before: Vec<usize> = candidates.iter().map(Candidate::fetches).collect();
    let mut samples = vec![Vec::with_capacity(BLOCKS * turns * REQUESTS); candidates.len()];
    for _ in 0..BLOCKS * turns {
        for (at, candidate) in candidates.iter().enumerate() {
            target.store(if candidate.is_flooded() { at } else { candidates.len() }, Ordering::Relaxed);
            for text in candidate.texts.iter().take(REQUESTS) {
                let begin = Instant::now();
                drop(now(candidate.validator.validate(text)).expect("valid"));
                samples[at].push(begin.elapsed());
            }
        }
    }
    flood.abort();
    report(name, candidates, &samples);
    for (at, candidate) in candidates.iter().enumerate() {
        let (fetches, unknown_kids) = (candidate.fetches() - before[at], sent[at].load(Ordering::Relaxed));
        println!("  {}: {fetches} fetches and {unknown_kids} unknown key ids meanwhile", candidate.name);
    }
}

fn report(name: &str, candidates: &[Candidate], samples: &[Vec<Duration>]) {
    println!("\n{name}, RS256, µs for each of {} requests of known keys", samples[0].len());
    println!("{:<36}{:>9}{:>9}{:>9}{:>9}{:>28}", "", "median", "p99", "p99.9", "most", "p99 × quiet");
    for (at, candidate) in candidates.iter().enumerate() {
        let all = sorted(&samples[at]);
        let shown = |share: f64| rank(&all, share).as_secs_f64() * 1e6;
        let block = |at: usize, block: usize| {
            let size = samples[at].len() / BLOCKS;
            rank(&sorted(&samples[at][block * size..(block + 1) * size]), 0.99).as_secs_f64()
        };
        let mut ratios: Vec<f64> = (0..BLOCKS).map(|number| block(at, number) / block(0, number)).collect();
        ratios.sort_by(f64::total_cmp);
        let [low, median, high] = [INTERVAL.0, BLOCKS / 2, INTERVAL.1].map(|rank| ratios[rank]);
        let note = if median <= 1.1 { "" } else { "  above the budget of 1.10" };
        println!(
            "{:<36}{:>9.2}{:>9.2}{:>9.2}{:>9.0}{:>10.3} [{low:.3}, {high:.3}]{note}",
            candidate.name,
            shown(0.5),
            shown(0.99),
            shown(0.999),
            shown(1.0),
            median
        );
    }
}

fn sorted(samples: &[Duration]) -> Vec<Duration> {
    let mut samples = samples.to_vec();
    samples.sort_unstable();
    samples
}

fn rank(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len() - 1;
    // A share is between 0 and 1, so the cast neither truncates nor loses the sign.
    sorted[((sorted.len() as f64 * share) as usize).min(last)]
}
