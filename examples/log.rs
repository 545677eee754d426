//! The log of an example: standard error, level `info` unless `RUST_LOG` says otherwise.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log. `RUST_LOG` holds a level or `target=level` pairs, such as `info,tower_bearer=debug`.
pub(crate) fn start() {
    let chosen = std::env::var("RUST_LOG").ok().map(|text| text.parse::<Targets>());
    let info = Targets::new().with_default(LevelFilter::INFO);
    let (filter, error) = match chosen {
        None => (info, None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (info, Some(error)),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter).init();
    if let Some(error) = error {
        tracing::warn!("RUST_LOG is ignored: {error}");
    }
}
