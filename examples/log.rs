//! The log of an example: standard error, level `info` unless `RUST_LOG` is set.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log. `RUST_LOG` contains a level or `target=level` pairs, such as `info,tower_bearer=debug`.
pub(crate) fn start() {
    let text = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, warning) = match filter(text.trim()) {
        Ok(filter) => (filter, None),
        Err(warning) => (info(), Some(warning)),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter).init();
    if let Some(warning) = warning {
        tracing::warn!("RUST_LOG is ignored: {warning}");
    }
}

/// Parses the text of `RUST_LOG`; an empty text counts as unset.
fn filter(text: &str) -> Result<Targets, String> {
    if text.is_empty() {
        return Ok(info());
    }
    // `Targets` reads a single word that is no level as the name of a target: a misspelt level turns the log off.
    if !text.contains([',', '=']) && text.parse::<LevelFilter>().is_err() {
        return Err(format!("{text:?} is not a level (off, error, warn, info, debug, trace) or a target=level pair"));
    }
    text.parse().map_err(|error| format!("{error}"))
}

fn info() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}
