//! Compares tower-bearer with other crates: the same RS256 token, the same axum router, and all candidates one after another
//! in every round, so that the ratios are reliable on a shared machine.
//!
//! `cargo run --release -- "2 shared cores of a virtual machine"` in this folder prints a Markdown table and writes the
//! chart of the guide; the argument describes the machine in both.

mod chart;
mod candidates;
mod in_process;
mod loopback;
mod statistics;
mod environment;

use std::path::Path;

use crate::candidates::Candidate;
use crate::statistics::Ratio;

/// The results of one candidate.
struct Result {
    name: &'static str,
    in_process: Ratio,
    micros: f64,
    server_cpu: Ratio,
    requests: Ratio,
}

fn main() -> anyhow::Result<()> {
    let tokens = candidates::Tokens::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (candidates, failed) = runtime.block_on(candidates::all(&tokens))?;
    eprintln!("in process ...");
    let in_process = in_process::measure(&runtime, &candidates, &tokens)?;
    eprintln!("over loopback ...");
    let loopback = loopback::measure(&candidates, &tokens)?;
    let results: Vec<Result> = candidates
        .iter()
        .zip(in_process.into_iter().zip(loopback))
        .map(|(Candidate { name, .. }, (in_process, loopback))| Result {
            name,
            in_process: in_process.ratio,
            micros: in_process.micros,
            server_cpu: loopback.server_cpu,
            requests: loopback.requests,
        })
        .collect();
    let environment = environment::describe();
    print_table(&results, &failed, &environment);
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/guide");
    let bars: Vec<(&str, f64)> = results.iter().map(|result| (result.name, result.server_cpu.median)).collect();
    let loopback = chart::bars(
        "Server CPU time of one request over loopback HTTP, as a multiple of axum without authentication",
        &environment,
        &bars,
    );
    std::fs::write(guide.join("peers_loopback.svg"), loopback)?;
    Ok(())
}

fn print_table(results: &[Result], failed: &[(&str, String)], environment: &str) {
    println!(
        "| | in process: CPU, µs | in process: CPU, ratio | loopback: server CPU, ratio | \
         loopback: requests per second, ratio |"
    );
    println!("|---|---:|---:|---:|---:|");
    for Result { name, in_process, micros, server_cpu, requests } in results {
        println!("| {name} | {micros:.1} | {in_process} | {server_cpu} | {requests} |");
    }
    for (name, reason) in failed {
        println!("| {name} | – | {reason} | – | – |");
    }
    println!("\nMedian [95 % interval] of {} rounds. {environment}", statistics::ROUNDS);
}
