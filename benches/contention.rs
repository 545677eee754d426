//! Measures how validation scales with threads while keys are refreshed continuously.
//!
//! Two cores are not twice as fast as one: the refresh takes a part of one of them, and they share memory and power. Therefore
//! each round also measures as many threads that share nothing: each has another validator. The difference between both is the cost
//! of sharing a validator. The last table shows the same for a cache of `moka`.
//!
//! The first table shows why threads with one and the same token are slower. Each request changes the reference count of the token's
//! claims twice, since the claims outlive the lookup. A second thread adds time to a validation if both have the same token, or if
//! each has another one and both clone one `Arc`, but not if they share only the validator. In a build that did not count, it added
//! nothing with the same token either.

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

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use support::{AUDIENCE, api, cpu_time, fingerprinter, now, server, token};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Algorithm, Api, Issuer, Validator};

const ROUNDS: usize = 15;
const THREADS: [usize; 4] = [1, 2, 4, 16];
const ROUND: Duration = Duration::from_millis(300);

/// One table of results.
struct Case<'c> {
    name: &'static str,
    token_cache_bytes: usize,
    /// The key sets that are published in turn.
    published: &'c [String; 2],
    texts: &'c [String],
}

fn main() {
    let server = server(Algorithm::RS256);
    let texts: Vec<String> = (0..9_000).map(|number| token(&server, number).sign()).collect();
    measure_one_token(&with_cache(&server, 8 << 20), &texts);
    // Every other set has one more key, so the table and the epoch change, and with it the epoch of every cache entry.
    let others = [server.jwks(), with_one_more_key(&server.jwks())];
    let same = [server.jwks(), server.jwks()];
    let validate = |name, token_cache_bytes, published, texts| {
        measure(&server, &Case { name, token_cache_bytes, published, texts });
    };
    validate("without token cache, a different set each time", 0, &others, &texts);
    validate("token cache hit, the same set each time", 8 << 20, &same, &texts[..1_000]);
    validate("token cache hit, a different set each time", 8 << 20, &others, &texts[..1_000]);
    // As from a client that sends one token for all of its users.
    validate("token cache hit of one token, the same set each time", 8 << 20, &same, &texts[..1]);
    measure_first_uses(&server, &texts);
    measure_moka(&texts[..1_000]);
}

fn measure(server: &TestIssuer, case: &Case<'_>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    server.publish(case.published[0].clone());
    let validator = runtime.block_on(async {
        let issuer = Issuer::jwks(server.issuer(), server.jwks_uri());
        let builder = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(server.clone());
        let builder = builder.with_token_cache_bytes(case.token_cache_bytes);
        builder.build_ready(Duration::from_secs(5)).await.expect("keys")
    });
    let refresh = |turn: usize| {
        server.publish(case.published[turn % 2].clone());
        for (_, source) in validator.key_sources() {
            runtime.block_on(source.reload()).expect("the server responds");
        }
    };
    let separate = || with_cache(server, case.token_cache_bytes);
    let validate = |validator: &Validator, text: &str| drop(now(validator.validate(text)).expect("valid"));
    let contestants =
        THREADS.map(|threads| [vec![validator.clone(); threads], (0..threads).map(|_| separate()).collect()]);
    let round = |_| {
        contestants.each_ref().map(|kinds| kinds.each_ref().map(|kind| sample(kind, case.texts, validate, refresh)))
    };
    // A first round fills the caches.
    round(0);
    print(&format!("{}, RS256, while keys are refreshed continuously", case.name), (0..ROUNDS).map(round));
}

fn with_cache(server: &TestIssuer, token_cache_bytes: usize) -> Validator {
    let builder = Validator::builder(api(server, Algorithm::RS256));
    builder.with_token_cache_bytes(token_cache_bytes).build().expect("a valid configuration")
}

/// Measures a second thread with the same cached token. Only bursts count in which two threads ran at the same time.
fn measure_one_token(validator: &Validator, texts: &[String]) {
    let validate = |text: &str| drop(now(validator.validate(text)).expect("valid"));
    let shared = Arc::new(());
    let works: [(&str, u32, Work<'_>); 4] = [
        ("one token", RUNS_OF_BURST, &|_| validate(&texts[0])),
        ("one token for each thread", RUNS_OF_BURST, &|thread| validate(&texts[thread])),
        ("one token for each thread, and a clone of one Arc", RUNS_OF_BURST, &|thread| {
            let clone = Arc::clone(&shared);
            validate(&texts[thread]);
            drop(black_box(clone));
        }),
        ("nothing but a clone of one Arc", 20 * RUNS_OF_BURST, &|_| drop(black_box(Arc::clone(&shared)))),
    ];
    (0..2).for_each(|thread| validate(&texts[thread]));
    let round = |_| works.map(|(_, runs, work)| [burst(1, runs, work), burst(2, runs, work)]);
    let rounds: Vec<_> = (0..BURSTS).map(round).collect();
    println!("\ncached token, RS256 ({BURSTS} bursts, median [least, most])");
    println!("{:<50} {:>25} {:>29} {:>21}", "", "ns CPU, one thread", "ns CPU that a second adds", "two threads ÷ one");
    for (at, (name, ..)) in works.into_iter().enumerate() {
        let alone = spread(rounds.iter().map(|round| round[at][0]));
        let added = spread(rounds.iter().map(|round| round[at][1] - round[at][0]));
        let scaling = spread(rounds.iter().map(|round| 2.0 * round[at][0] / round[at][1]));
        println!("{name:<50} {:>25} {:>29} {:>21}", show(alone), show(added), show(scaling));
    }
}

/// What a thread does in one run; the argument is its number.
type Work<'w> = &'w (dyn Fn(usize) + Sync);

/// Returns the nanoseconds of CPU time of one run, by threads that ran at the same time without a pause.
fn burst(threads: usize, runs_of_burst: u32, work: Work<'_>) -> f64 {
    for _ in 0..100_000 {
        let waiting = AtomicUsize::new(threads);
        let run = |thread| {
            waiting.fetch_sub(1, Ordering::AcqRel);
            while waiting.load(Ordering::Acquire) > 0 {
                spin_loop();
            }
            let (start, before) = (Instant::now(), cpu_time());
            (0..runs_of_burst).for_each(|_| work(thread));
            (cpu_time() - before, start, Instant::now())
        };
        let runs: Vec<_> = thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
            handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
        });
        let (first_end, last_start) = (runs.iter().map(|run| run.2).min(), runs.iter().map(|run| run.1).max());
        let common = first_end.expect("a thread").saturating_duration_since(last_start.expect("a thread"));
        let is_whole = |(cpu, start, end): &(Duration, Instant, Instant)| {
            common > cpu.mul_f64(0.9) && *end - *start < cpu.mul_f64(1.05)
        };
        if runs.iter().all(is_whole) {
            let nanos: f64 = runs.iter().map(|(cpu, ..)| cpu.as_secs_f64() * 1e9).sum();
            return nanos / threads as f64 / f64::from(runs_of_burst);
        }
    }
    panic!("the machine is too busy");
}

const BURSTS: usize = 31;

/// Runs of one burst: about 0.4 ms, which is shorter than a time slice of the scheduler.
const RUNS_OF_BURST: u32 = 1_000;

/// Measures tokens that no request has sent before, with a token cache that is full of others. Each of the validators that share
/// nothing has a part of the cache.
fn measure_first_uses(server: &TestIssuer, texts: &[String]) {
    let (earlier, new) = texts.split_at(texts.len() / 2);
    let sample = |threads: usize, validators: usize| {
        let validators: Vec<_> = (0..validators).map(|_| with_cache(server, (4 << 20) / validators)).collect();
        let validate = |validator: &Validator, text: &String| drop(now(validator.validate(text)).expect("valid"));
        for (text, validator) in earlier.iter().zip(validators.iter().cycle()) {
            validate(validator, text);
        }
        let cpu_nanos = AtomicU64::new(0);
        let start = Instant::now();
        thread::scope(|scope| {
            for (validator, texts) in validators.iter().cycle().zip(new.chunks(new.len().div_ceil(threads))) {
                let cpu_nanos = &cpu_nanos;
                scope.spawn(move || {
                    let before = cpu_time();
                    texts.iter().for_each(|text| validate(validator, text));
                    let nanos = u64::try_from((cpu_time() - before).as_nanos()).expect("a short time");
                    cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
                });
            }
        });
        Sample::new(cpu_nanos.into_inner(), new.len() as f64, start.elapsed())
    };
    let round = |_| THREADS.map(|threads| [sample(threads, 1), sample(threads, threads)]);
    print("first use of each token, full token cache, RS256", (0..ROUNDS).map(round));
}

/// Measures a cache of `moka` in place of the token cache: only the fingerprint and the lookup.
fn measure_moka(texts: &[String]) {
    let fingerprint = &fingerprinter();
    let cache = || {
        let cache = Cache::builder().max_capacity(10_000).build();
        texts.iter().for_each(|text| cache.insert(fingerprint(text.as_bytes()), Arc::new(())));
        cache
    };
    let find =
        |cache: &Cache<[u8; 16], Arc<()>>, text: &str| drop(cache.get(&fingerprint(text.as_bytes())).expect("stored"));
    let shared = cache();
    let contestants = THREADS.map(|threads| [vec![shared.clone(); threads], (0..threads).map(|_| cache()).collect()]);
    let round = |_| contestants.each_ref().map(|kinds| kinds.each_ref().map(|kind| sample(kind, texts, find, |_| ())));
    print("fingerprint and lookup in a cache of moka", (0..ROUNDS).map(round));
}

/// For each number of threads, one sample with a shared validator and one with separate validators.
type Round = [[Sample; 2]; THREADS.len()];

fn print(name: &str, rounds: impl Iterator<Item = Round>) {
    let rounds: Vec<_> = rounds.collect();
    println!("\n{name} ({ROUNDS} rounds, median [least, most])");
    println!(
        "{:>7} {:>11} {:>22} {:>22} {:>24} {:>22}",
        "threads",
        "µs CPU each",
        "CPU each × one thread",
        "(nothing shared)",
        "per second × one thread",
        "÷ nothing shared"
    );
    for (at, threads) in THREADS.into_iter().enumerate() {
        let of_rounds = |value: &dyn Fn(&Round) -> f64| spread(rounds.iter().map(value));
        let cpu = |kind: usize| of_rounds(&|round| round[at][kind].cpu_each / round[0][kind].cpu_each);
        let scaling = |round: &Round, kind: usize| round[at][kind].per_second / round[0][kind].per_second;
        println!(
            "{threads:>7} {:>11.3} {:>22} {:>22} {:>24} {:>22}",
            of_rounds(&|round| round[at][0].cpu_each * 1e6).0,
            show(cpu(0)),
            show(cpu(1)),
            show(of_rounds(&|round| scaling(round, 0))),
            show(of_rounds(&|round| scaling(round, 0) / scaling(round, 1))),
        );
    }
}

struct Sample {
    /// Seconds of CPU time for one validation.
    cpu_each: f64,
    /// Validations in one second of the wall clock.
    per_second: f64,
}

impl Sample {
    fn new(cpu_nanos: u64, done: f64, took: Duration) -> Self {
        Self { cpu_each: Duration::from_nanos(cpu_nanos).as_secs_f64() / done, per_second: done / took.as_secs_f64() }
    }
}

/// Measures one thread for each contestant.
fn sample<V: Sync>(
    contestants: &[V],
    texts: &[String],
    validate: impl Fn(&V, &str) + Copy + Send,
    refresh: impl Fn(usize),
) -> Sample {
    let (stop, done, cpu_nanos) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for (thread, contestant) in contestants.iter().enumerate() {
            let (stop, done, cpu_nanos) = (&stop, &done, &cpu_nanos);
            scope.spawn(move || {
                let (mut next, mut count, before) = (thread * 250, 0, cpu_time());
                while !stop.load(Ordering::Relaxed) {
                    next = (next + 379) % texts.len();
                    validate(contestant, &texts[next]);
                    count += 1;
                }
                let nanos = u64::try_from((cpu_time() - before).as_nanos()).expect("a short time");
                cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
                done.fetch_add(count, Ordering::Relaxed);
            });
        }
        for turn in 0.. {
            if start.elapsed() >= ROUND {
                break;
            }
            refresh(turn);
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
    });
    Sample::new(cpu_nanos.into_inner(), done.into_inner() as f64, start.elapsed())
}

/// Returns the set with its first key also under another id.
fn with_one_more_key(jwks: &str) -> String {
    let mut set: serde_json::Value = serde_json::from_str(jwks).expect("JSON");
    let keys = set["keys"].as_array_mut().expect("an array");
    let mut alias = keys[0].clone();
    alias["kid"] = "alias".into();
    keys.push(alias);
    set.to_string()
}

fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn show((median, least, most): (f64, f64, f64)) -> String {
    format!("{median:.3} [{least:.3}, {most:.3}]")
}
