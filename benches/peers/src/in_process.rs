//! Measures sequential requests through a router, without a network.

use std::ops::Range;

use axum::body::{self, Body, Bytes};
use axum::http::{HeaderValue, Request, header};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::candidates::{Candidate, Tokens};
use crate::statistics::{ROUNDS, Ratio, cpu_seconds, sorted};

/// The result of one candidate.
pub struct Outcome {
    pub micros: f64,
    /// The ratio to the first candidate, which has no authentication.
    pub ratio: Ratio,
}

/// Requests in one sample: some milliseconds for the slowest.
const REQUESTS: usize = 300;

pub fn measure(runtime: &Runtime, candidates: &[Candidate], tokens: &Tokens) -> anyhow::Result<Vec<Outcome>> {
    let fields: Vec<Vec<HeaderValue>> = candidates.iter().map(|candidate| tokens.fields(candidate.distinct)).collect();
    for (candidate, fields) in candidates.iter().zip(&fields) {
        // Every token twice, so that caches are warm from the first round on.
        runtime.block_on(sample(candidate, fields, 0..2 * fields.len()))?;
    }
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for round in 0..ROUNDS {
        let mut samples = vec![0.0; candidates.len()];
        for turn in 0..candidates.len() {
            // The order of the candidates changes in each round.
            let at = (turn + round) % candidates.len();
            let numbers = round * REQUESTS..(round + 1) * REQUESTS;
            samples[at] = runtime.block_on(sample(&candidates[at], &fields[at], numbers))?;
        }
        rounds.push(samples);
    }
    Ok((0..candidates.len())
        .map(|at| Outcome {
            micros: sorted(rounds.iter().map(|round| round[at]))[ROUNDS / 2] * 1e6,
            ratio: Ratio::from_samples(rounds.iter().map(|round| round[at] / round[0])),
        })
        .collect())
}

/// Returns the seconds of CPU time of one request.
async fn sample(candidate: &Candidate, fields: &[HeaderValue], numbers: Range<usize>) -> anyhow::Result<f64> {
    // As `axum::serve` does for every connection: `with_state` wraps the handlers in their layers.
    let router = candidate.router.clone().with_state(());
    let (start, requests) = (cpu_seconds(), numbers.len());
    for number in numbers {
        // The stride is coprime to the number of tokens: every token is used, in an order without cache locality.
        let field = &fields[number * 379 % fields.len()];
        // As in a server, the field value is a slice of a buffer that was just read, and the response body is read to its end.
        let field = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(field.as_bytes()))?;
        let request = Request::get("/").header(header::AUTHORIZATION, field).body(Body::empty())?;
        let response = router.clone().oneshot(request).await?;
        anyhow::ensure!(response.status().is_success(), "{}: {}", candidate.name, response.status());
        body::to_bytes(response.into_body(), usize::MAX).await?;
    }
    Ok((cpu_seconds() - start) / requests as f64)
}
