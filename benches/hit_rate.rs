//! Measures how many requests find their token in a full token cache, compared with LRU and with `moka` (TinyLFU).
//!
//! Some tokens are used more than others: token number n is used in proportion to 1 / n^s, Zipf's law. All tokens together take
//! three times the memory of the cache. Each contestant has the same limit in bytes, and the same weight of each token: the
//! memory that its entry takes in the token cache, as counted by the allocator.

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

#[path = "fleet/rng.rs"]
mod rng;

use std::collections::{BTreeMap, HashMap};

use allocation_counter::AllocationInfo;
use moka::sync::Cache;
use rng::Rng;
use support::{api, now, server, token};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Algorithm, Validator};

const BOUND: usize = 2 << 20;
const REQUESTS: usize = 200_000;

fn main() {
    println!(
        "hit rate in {REQUESTS} requests after as many, tokens of three times the limit of {} MiB, %",
        BOUND >> 20
    );
    println!(
        "{:>8} {:>10} {:>14} {:>14} {:>8} {:>8} {:>8}",
        "weights", "exponent", "tokens", "token cache", "LRU", "moka", "best"
    );
    // A cache entry has no signature, so the fastest signature algorithm is enough.
    let server = server(Algorithm::ES256);
    for (name, permissions) in [("equal", [0; 5]), ("real", [0, 2, 5, 20, 80])] {
        let tokens = tokens(&server, permissions);
        for exponent in [0.8, 1.0, 1.2] {
            let requests = requests(tokens.len(), exponent);
            let rates = [
                hit_rate(&requests, token_cache(&server, &tokens)),
                hit_rate(&requests, lru(&tokens)),
                hit_rate(&requests, moka(&tokens)),
                best(&requests, &tokens),
            ];
            let rates = rates.map(|rate| format!("{:.1}", rate * 100.0));
            println!(
                "{name:>8} {exponent:>10.1} {:>14} {:>14} {:>8} {:>8} {:>8}",
                tokens.len(),
                rates[0],
                rates[1],
                rates[2],
                rates[3]
            );
        }
    }
}

/// A token and the memory of its entry in bytes.
struct Token {
    text: String,
    weight: usize,
}

/// Creates tokens that together take three times the limit. Their numbers of permissions are taken in turn.
fn tokens(server: &TestIssuer, permissions: [usize; 5]) -> Vec<Token> {
    let validator = validator(server, 64 * BOUND);
    let mut tokens = Vec::new();
    let mut total = 0;
    while total < 3 * BOUND {
        let number = tokens.len();
        let count = permissions[number % permissions.len()];
        let permissions: Vec<String> = (0..count).map(|permission| format!("read:resource-{permission}")).collect();
        let text = token(server, number).permissions(permissions.iter().map(String::as_str)).sign();
        let weight = usize::try_from(validate(&validator, &text).bytes_current).expect("it is stored");
        total += weight;
        tokens.push(Token { text, weight });
    }
    tokens
}

fn validator(server: &TestIssuer, token_cache_bytes: usize) -> Validator {
    let builder = Validator::builder(api(server, Algorithm::ES256)).with_token_cache_bytes(token_cache_bytes);
    builder.build().expect("a valid configuration")
}

fn validate(validator: &Validator, text: &str) -> AllocationInfo {
    allocation_counter::measure(|| drop(now(validator.validate(text)).expect("valid")))
}

/// Returns the numbers of the tokens of all requests.
fn requests(tokens: usize, exponent: f64) -> Vec<usize> {
    let mut total = 0.0;
    let sums: Vec<f64> = (1..=tokens)
        .map(|rank| {
            total += (rank as f64).powf(-exponent);
            total
        })
        .collect();
    let mut rng = Rng(7);
    // The most used tokens are not the first ones, so that their weights are those of all others.
    let mut order: Vec<usize> = (0..tokens).collect();
    (1..tokens).for_each(|at| order.swap(at, rng.below(at + 1)));
    let mut token = || {
        let at = total * rng.below(1 << 31) as f64 / f64::from(1_u32 << 31);
        order[sums.partition_point(|sum| *sum <= at)]
    };
    (0..2 * REQUESTS).map(|_| token()).collect()
}

/// Returns the share of hits in the second half of the requests. `is_hit` uses a token, and returns whether it was stored.
fn hit_rate(requests: &[usize], mut is_hit: impl FnMut(usize) -> bool) -> f64 {
    let (first, second) = requests.split_at(REQUESTS);
    for token in first {
        is_hit(*token);
    }
    second.iter().filter(|token| is_hit(**token)).count() as f64 / second.len() as f64
}

fn token_cache(server: &TestIssuer, tokens: &[Token]) -> impl FnMut(usize) -> bool {
    let validator = validator(server, BOUND);
    // A hit allocates nothing.
    move |token| validate(&validator, &tokens[token].text).count_total == 0
}

fn lru(tokens: &[Token]) -> impl FnMut(usize) -> bool {
    let (mut last_uses, mut by_use, mut weight, mut time) = (HashMap::new(), BTreeMap::new(), 0, 0_u64);
    move |token| {
        time += 1;
        let last_use = last_uses.insert(token, time);
        by_use.insert(time, token);
        match last_use {
            Some(last_use) => {
                by_use.remove(&last_use);
            }
            None => weight += tokens[token].weight,
        }
        while weight > BOUND {
            let (_, evicted) = by_use.pop_first().expect("a token");
            last_uses.remove(&evicted);
            weight -= tokens[evicted].weight;
        }
        last_use.is_some()
    }
}

fn moka(tokens: &[Token]) -> impl FnMut(usize) -> bool {
    let weights: Vec<u32> = tokens.iter().map(|token| u32::try_from(token.weight).expect("small")).collect();
    let cache = Cache::builder().max_capacity(u64::try_from(BOUND).expect("small"));
    let cache = cache.weigher(move |token: &usize, &()| weights[*token]).build();
    move |token| {
        let is_hit = cache.get(&token).is_some();
        if !is_hit {
            cache.insert(token, ());
        }
        // Moka evicts in batches.
        cache.run_pending_tasks();
        is_hit
    }
}

/// Returns the hit rate of a cache that always contains the tokens with the most requests per byte.
fn best(requests: &[usize], tokens: &[Token]) -> f64 {
    let second = &requests[REQUESTS..];
    let mut uses = vec![0_usize; tokens.len()];
    second.iter().for_each(|token| uses[*token] += 1);
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|token| std::cmp::Reverse(uses[*token] * 1_000_000 / tokens[*token].weight));
    let mut weight = 0;
    let stored = order.into_iter().take_while(|token| {
        weight += tokens[*token].weight;
        weight <= BOUND
    });
    stored.map(|token| uses[token]).sum::<usize>() as f64 / second.len() as f64
}
