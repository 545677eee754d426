//! A WebSocket server over hyper and tungstenite. It authenticates the handshake, and closes the
//! connection when the token expires.
//!
//! Prints a token and the address of the server. A browser sends the token as a subprotocol:
//! `new WebSocket("ws://…/events", ["orders", "bearer." + token])`.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};
use tower_bearer::authenticator::{Authenticator, Outcome, Rejected};
use tower_bearer::clock::{Clock as _, SystemClock};
use tower_bearer::request::{BearerToken, RequestHead};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Claims, Issuer, Rejection, Requirement, Validator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(issuer.clone()).build()?;
    let authenticator = Authenticator::new(validator)
        .with_realm("northwind")
        .with_token_source(|request| BearerToken::from_subprotocol(request.headers(), "bearer."));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let token = issuer.token().audience("https://api.northwind.com").subject("ann");
    println!("token {}", token.clone().scope("read:orders").sign());
    println!("token without scope {}", token.clone().sign());
    let short = token.scope("read:orders").expires_in(Duration::from_secs(5));
    println!("token for five seconds {}", short.sign());
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let authenticator = authenticator.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                Ok::<_, Infallible>(respond(&authenticator, request).await)
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.with_upgrades().await {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn respond(
    authenticator: &Authenticator,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let head = RequestHead::new(&request);
    let user = match authenticator.authenticate(&head).await {
        Outcome::Authenticated(user) => user,
        Outcome::Rejected(rejected) => return rejection(&rejected),
        // Only after `with_anonymous`.
        Outcome::Anonymous => {
            return rejection(&authenticator.reject(&head, Rejection::NoCredential));
        }
    };
    if let Err(rejected) = user.require(&Requirement::scope("read:orders")) {
        return rejection(&rejected);
    }
    let mut response = match request.uri().path() {
        "/events" => match create_response_with_body(&request, Full::default) {
            Ok(response) => response,
            Err(_) => text(StatusCode::BAD_REQUEST, "this is not a WebSocket handshake\n"),
        },
        "/orders" => text(StatusCode::OK, "connect to /events with a WebSocket\n"),
        _ => text(StatusCode::NOT_FOUND, ""),
    };
    response.headers_mut().extend(user.response_headers().clone());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if offers(&request, "orders") {
            // Never the subprotocol that contains the token.
            let name = HeaderValue::from_static("orders");
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
        }
        tokio::spawn(serve(request, user.into_claims()));
    }
    response
}

/// Returns whether the client offers this subprotocol. The server must not select another one
/// (RFC 6455 §4.2.2).
fn offers(request: &Request<Incoming>, subprotocol: &str) -> bool {
    let fields = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let lists = fields.filter_map(|field| field.to_str().ok());
    let mut offered = lists.flat_map(|list| list.split(','));
    offered.any(|name| name.trim() == subprotocol)
}

/// Responds to each message with the subject of the token, until the token expires.
async fn serve(request: Request<Incoming>, claims: Claims) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let lifetime = claims.expires_at().saturating_since(SystemClock.now());
    let answer = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text()
                && socket.send(Message::from(claims.subject().unwrap_or("nobody"))).await.is_err()
            {
                break;
            }
        }
    };
    if tokio::time::timeout(lifetime, answer).await.is_err() {
        // `Unauthorized` in the registry of IANA. 1008 (policy violation) may have other reasons.
        let code = CloseCode::from(3000);
        let expired = CloseFrame { code, reason: "the token has expired".into() };
        // Fails if the client has closed the connection already.
        let _ = socket.close(Some(expired)).await;
    }
}

fn rejection(rejected: &Rejected) -> Response<Full<Bytes>> {
    rejected.to_response().map(Full::new)
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
