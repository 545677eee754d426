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

use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_bearer::claims::{CertificateThumbprint, SenderConstraint};
use tower_bearer::keys::Thumbprint;
use tower_bearer::mutual_tls::PeerAddress;
use tower_bearer::{BearerLayer, Claims, RequireLayer, Requirement, Validator};

use self::settings::{Logout, Settings, Store};

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
    let settings = Settings::read(path.as_ref(), Store::Used)?;
    let Settings { listen, realm, validator, revocations, test_routes, logout } = settings;
    // Before the server prints its address: a signal from then on must reach the handler.
    let mut shutdown = ShutdownSignal::register()?;
    let listener = tokio::select! {
        bound = TcpListener::bind(&listen) => bound.map_err(|error| format!("cannot listen on {listen}: {error}"))?,
        () = shutdown.received() => return Ok(()),
    };
    println!("listening on http://{}", listener.local_addr()?);
    let app = app(validator, realm.as_deref());
    let app = match revocations.filter(|_| test_routes) {
        Some(revocations) => app.merge(revoke::routes(revocations)),
        None => app,
    };
    let app = match logout {
        Some(Logout { path, receiver }) => app.route_service(&path, receiver),
        None => app,
    };
    serve(listener, &app, &mut shutdown).await;
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

fn app(validator: Validator, realm: Option<&str>) -> Router {
    let bearer = BearerLayer::new(validator.clone()).with_json_body();
    let bearer = realm.into_iter().fold(bearer, BearerLayer::with_realm);
    let read = RequireLayer::scope("read:orders").with_json_body();
    let write = Requirement::any_of([Requirement::scope("write:orders"), Requirement::permission("write:orders")]);
    let write = RequireLayer::new(write).with_json_body();

    let protected = Router::new()
        .route("/me", get(me))
        .route("/orders", get(list_orders).route_layer(read))
        .route("/orders", axum::routing::post(create_order).route_layer(write))
        .route_layer(bearer.clone());
    let optional = Router::new().route("/optional", get(greet)).route_layer(bearer.with_anonymous());
    Router::new()
        .route("/public", get(async || Json(json!({ "public": true }))))
        .route("/readyz", get(ready))
        .route("/livez", get(async || Json(json!({ "live": true }))))
        .merge(protected)
        .merge(optional)
        .with_state(validator)
}

/// Returns the verified claims as the JSON of the issuer. If the client has proven to have the key or certificate of the token, its hash
/// is in `sender_constraint`.
async fn me(claims: Claims) -> Response {
    let dpop = |jkt: Thumbprint| json!({ "jkt": jkt.to_base64url() });
    let certificate = |x5t: CertificateThumbprint| json!({ "x5t#S256": x5t.to_base64url() });
    let constraint = match claims.sender_constraint() {
        Some(SenderConstraint::Dpop { jkt }) => Some(json!({ "dpop": dpop(jkt) })),
        Some(SenderConstraint::Certificate { x5t }) => Some(json!({ "certificate": certificate(x5t) })),
        Some(SenderConstraint::Both { jkt, x5t }) => {
            Some(json!({ "dpop": dpop(jkt), "certificate": certificate(x5t) }))
        }
        _ => None,
    };
    let json = match constraint {
        Some(constraint) => with_member(claims.json(), &constraint),
        None => claims.json().to_owned(),
    };
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

fn with_member(claims: &str, constraint: &serde_json::Value) -> String {
    let mut members: serde_json::Map<_, _> = serde_json::from_str(claims).unwrap_or_default();
    members.insert("sender_constraint".to_owned(), constraint.clone());
    serde_json::Value::Object(members).to_string()
}

async fn list_orders(claims: Claims) -> Json<serde_json::Value> {
    Json(json!({ "orders": [], "for": claims.subject() }))
}

async fn create_order(claims: Claims) -> (StatusCode, Json<serde_json::Value>) {
    (StatusCode::CREATED, Json(json!({ "created": true, "by": claims.subject() })))
}

async fn greet(claims: Option<Claims>) -> Json<serde_json::Value> {
    Json(json!({ "subject": claims.as_ref().and_then(|claims| claims.subject()) }))
}

async fn ready(State(validator): State<Validator>) -> (StatusCode, Json<serde_json::Value>) {
    let ready = validator.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready })))
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
