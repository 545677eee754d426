//! Measures introspection: a request with a known opaque token beside one with a known JWT, the calls for many first requests with one
//! token, and the latency of known tokens during a flood of random ones.
//!
//! The flood goes either to the candidate or to a control, so that the load of the machine is the same. Latencies are wall-clock times;
//! the 99th percentile of each block is compared with the quiet block beside it.

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

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{AUDIENCE, api, compare, heading, now, row, server, token};
use tokio::runtime::{Builder, Runtime};
use tower_bearer::fetch::{Fetch, FetchFuture, FetchRequest, FormRequest};
use tower_bearer::introspection::{ClientAuthentication, Introspection};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Algorithm, Api, Issuer, Validator};

const TOKENS: usize = 1_000;
const BLOCKS: usize = 31;
/// The ranks (from 0) of 31 ratios that bound the 95 % interval of the median.
const INTERVAL: (usize, usize) = (9, 21);
/// Each pair of turns is one quiet turn and one with a flood.
const TURNS: usize = 20;
const REQUESTS: usize = 500;

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    hits(&runtime);
    first_requests();
    flood(&runtime);
}

/// A server in the same process that answers after a delay.
#[derive(Debug)]
struct Slow(TestIssuer, Duration);

impl Fetch for Slow {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        self.0.fetch(request)
    }

    fn post(&self, request: FormRequest) -> FetchFuture {
        let (answer, delay) = (self.0.post(request), self.1);
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            answer.await
        })
    }
}

fn introspecting(delay: Duration) -> (Validator, TestIssuer) {
    let server = server(Algorithm::RS256).with_client("orders-api", "secret");
    let authentication = ClientAuthentication::basic("orders-api", "secret");
    // No call is made ahead of the end of an answer while the bench runs.
    let introspection = Introspection::discovered(authentication).with_ttl(Duration::from_secs(300));
    let api = Api::new(AUDIENCE, Issuer::opaque(server.issuer(), introspection));
    let validator = Validator::builder(api).with_fetch(Slow(server.clone(), delay)).build();
    (validator.expect("a valid configuration"), server)
}

fn hits(runtime: &Runtime) {
    let (opaque, server) = introspecting(Duration::ZERO);
    let jwt = Validator::new(api(&server, Algorithm::RS256)).expect("a valid configuration");
    let jwts: Vec<String> = (0..TOKENS).map(|number| token(&server, number).sign()).collect();
    let texts: Vec<String> = (0..TOKENS).map(|number| token(&server, number).opaque()).collect();
    runtime.block_on(async {
        for (jwt_text, text) in jwts.iter().zip(&texts) {
            drop(jwt.validate(jwt_text).await.expect("valid"));
            drop(opaque.validate(text).await.expect("active"));
        }
    });
    let requests = |validator: Validator, texts: Vec<String>| {
        let mut next = 0;
        move || {
            next = (next + 379) % texts.len();
            drop(now(validator.validate(black_box(&texts[next]))).expect("known"));
        }
    };
    heading(&format!("a known token, {TOKENS} tokens"), "a known JWT, RS256");
    let mut known_jwt = requests(jwt.clone(), jwts.clone());
    row("JWT", compare(&mut known_jwt, &mut requests(jwt, jwts)), None);
    row("opaque token", compare(&mut known_jwt, &mut requests(opaque, texts)), Some(1.05));
}

/// Sends 10,000 concurrent requests with one token that is not known yet.
fn first_requests() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (validator, server) = introspecting(Duration::from_millis(500));
    let text: Arc<str> = Arc::from(token(&server, 0).opaque());
    let begin = Instant::now();
    runtime.block_on(async {
        let validate = |_| {
            let (validator, text) = (validator.clone(), Arc::clone(&text));
            tokio::spawn(async move { validator.validate(&text).await.map(drop) })
        };
        for request in (0..10_000).map(validate).collect::<Vec<_>>() {
            request.await.expect("no panic").expect("active");
        }
    });
    let (calls, took) = (server.introspections(), begin.elapsed());
    println!("\n10,000 concurrent first requests with one token, answered after 500 ms: {calls} call in {took:.0?}");
    assert_eq!(calls, 1);
}

/// Sends 1,000 random tokens a second to one of two validators, and known tokens to the first.
fn flood(runtime: &Runtime) {
    let delay = Duration::from_millis(5);
    let ((candidate, server), (control, _)) = (introspecting(delay), introspecting(delay));
    let texts: Vec<String> = (0..200).map(|number| token(&server, number).opaque()).collect();
    runtime.block_on(async {
        for text in &texts {
            drop(candidate.validate(text).await.expect("active"));
        }
    });
    let is_flooded = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let flood = runtime.spawn({
        let (candidate, is_flooded, sent) = (candidate.clone(), Arc::clone(&is_flooded), Arc::clone(&sent));
        async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            for number in 0_u64.. {
                ticks.tick().await;
                let is_for_candidate = is_flooded.load(Ordering::Relaxed);
                sent.fetch_add(usize::from(is_for_candidate), Ordering::Relaxed);
                let target = if is_for_candidate { candidate.clone() } else { control.clone() };
                tokio::spawn(async move {
                    target.validate(&format!("random-token-{number}-abcdefghijklmnop")).await.expect_err("inactive")
                });
            }
        }
    });
    let mut samples = [const { Vec::new() }; 2];
    for turn in 0..BLOCKS * TURNS {
        for (at, samples) in samples.iter_mut().enumerate() {
            is_flooded.store(at == 1, Ordering::Relaxed);
            // Some random tokens arrive before and during the turn.
            let end = Instant::now() + Duration::from_millis(10);
            let mut count = 0;
            while count < REQUESTS || Instant::now() < end {
                let text = &texts[(turn + count) % texts.len()];
                let begin = Instant::now();
                drop(now(candidate.validate(text)).expect("known"));
                if count < REQUESTS {
                    samples.push(begin.elapsed());
                }
                count += 1;
            }
        }
    }
    flood.abort();
    report(&samples, sent.load(Ordering::Relaxed));
}

fn report(samples: &[Vec<Duration>; 2], sent: usize) {
    println!("\nknown opaque tokens, µs for each of {} requests, {sent} random tokens meanwhile", samples[0].len());
    println!("{:<36}{:>9}{:>9}{:>9}{:>28}", "", "median", "p99", "p99.9", "p99 × quiet");
    for (at, name) in ["quiet", "1,000 random tokens a second"].into_iter().enumerate() {
        let all = sorted(&samples[at]);
        let shown = |share: f64| rank(&all, share).as_secs_f64() * 1e6;
        let size = samples[at].len() / BLOCKS;
        let block =
            |at: usize, block: usize| rank(&sorted(&samples[at][block * size..(block + 1) * size]), 0.99).as_secs_f64();
        let mut ratios: Vec<f64> = (0..BLOCKS).map(|number| block(at, number) / block(0, number)).collect();
        ratios.sort_by(f64::total_cmp);
        let [low, median, high] = [INTERVAL.0, BLOCKS / 2, INTERVAL.1].map(|rank| ratios[rank]);
        let note = if median <= 1.1 { "" } else { "  above the budget of 1.10" };
        println!(
            "{name:<36}{:>9.2}{:>9.2}{:>9.2}{median:>10.3} [{low:.3}, {high:.3}]{note}",
            shown(0.5),
            shown(0.99),
            shown(0.999)
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
