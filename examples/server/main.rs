//! An API configured by one TOML file.
//!
//! ```text
//! cargo run --example server -- examples/server/server.toml
//! ```
//!
//! `examples/server/server.toml` shows every setting. At start, the server reports all errors of the file at once.
//!
//! Routes: `GET /public` (no token), `GET /me`, `GET /orders` (scope `read:orders`), `POST /orders` (scope or permission
//! `write:orders`), `GET /optional` (anonymous allowed), `GET /readyz`, `GET /livez`; with `[signals]` also
//! `POST /backchannel-logout`, and with `test_routes = true` `POST /__revoke`.
//!
//! On SIGTERM or Ctrl-C the server stops accepting connections and ends once all requests are complete, or after ten
//! seconds. A second signal ends it at once.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it does")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_bearer::mutual_tls::PeerAddress;

use self::settings::{Settings, Store};

mod app;
#[path = "../log.rs"]
mod log;
mod revoke;
mod settings;

const USAGE: &str = "usage: server <config.toml>, such as
  cargo run --example server -- examples/server/server.toml";

fn main() -> ExitCode {
    log::start();
    let outcome = tokio::runtime::Runtime::new().map_err(Box::from).and_then(|runtime| {
        let outcome = runtime.block_on(run());
        // Dropping the runtime would wait for its blocking threads, and one may wait for a name server that does not respond.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or(USAGE)?;
    let mut settings = Settings::read(path.as_ref(), Store::Used)?;
    if let Some(file) = settings.tenant_file.take() {
        tokio::spawn(file.watch(settings.validator.clone()));
    }
    // Before the server prints its address: a signal from then on must reach the handler.
    let mut shutdown = ShutdownSignal::register()?;
    let listener = tokio::select! {
        bound = TcpListener::bind(&settings.listen) => {
            bound.map_err(|error| format!("cannot listen on {}: {error}", settings.listen))?
        }
        () = shutdown.received() => return Ok(()),
    };
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, &app::routes(settings), &mut shutdown).await;
    Ok(())
}

/// Accepts connections until the first signal. Then waits for open requests, until `SHUTDOWN_TIMEOUT` has passed or the next
/// signal arrives.
async fn serve(listener: TcpListener, app: &Router, shutdown: &mut ShutdownSignal) {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // Only pings detect a client that has disappeared without closing its connection.
    server.http2().timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
    server.http2().max_header_list_size(MAX_HEADER_BYTES);
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.received() => break,
        };
        match stream {
            Ok((stream, peer)) => {
                // Only a trusted proxy may send the certificate of a client in a header.
                let service = app.clone().map_request(move |mut request: Request<_>| {
                    request.extensions_mut().insert(PeerAddress::from(peer));
                    request
                });
                let service = TowerToHyperService::new(service);
                let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                tokio::spawn(connections.watch(connection));
            }
            // Most likely out of file descriptors, which become free when connections close.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = tokio::time::sleep(SHUTDOWN_TIMEOUT) => {}
        () = shutdown.received() => {}
    }
}

/// SIGTERM and Ctrl-C.
struct ShutdownSignal {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl ShutdownSignal {
    /// Registers the handlers. From now on the signals do not end the process by default.
    fn register() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Completes when a signal arrives.
    async fn received(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
    }
}

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of an HTTP/2 head, in bytes. It equals hyper's default for HTTP/1, so that an oversized credential gets
/// the same response over both.
const MAX_HEADER_BYTES: u32 = 408 * 1024;

/// The interval of HTTP/2 pings.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long an HTTP/2 client may take to respond to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long open requests may take after the first signal: longer than a request waits for the first keys (`jwks.cold_wait`,
/// 5 s by default), and shorter than the 30 s after which Kubernetes kills the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
