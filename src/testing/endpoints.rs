//! Handles HTTP requests to the documents and the token endpoint of a test issuer.

use std::fmt;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use crate::testing::form;
use crate::testing::issuer::TestIssuer;
use crate::testing::registry::{ErrorResponse, TokenRequest};
use crate::testing::respond::{self, Reply, TOKEN};

/// Responds to one request, or closes the connection.
pub(super) async fn answer(issuer: &TestIssuer, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
    let issuer = issuer.at_host(request.headers().get(HOST).and_then(|host| host.to_str().ok()));
    let clock = issuer.clock();
    let reply = route(&issuer, request).await;
    reply.arrive(clock).await.map(|response| response.map(Full::new)).ok_or(Closed)
}

async fn route(issuer: &TestIssuer, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let url = issuer.url(parts.uri.path().trim_start_matches('/'));
    if parts.method == Method::POST {
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
        if url == issuer.url(TOKEN) {
            issuer.shared().token_requests.add_one();
            return issuer.shared().unless_outage(|| token(issuer, &parts.headers, &body));
        }
        if url == issuer.introspection_endpoint() {
            return issuer.introspection_reply(&parts.headers, &body);
        }
    }
    match issuer.endpoint().document(&url) {
        Some(document) if parts.method == Method::GET => {
            issuer.shared().answer(issuer.endpoint(), document, &parts.headers)
        }
        _ => issuer.shared().unless_outage(|| respond::response(StatusCode::NOT_FOUND, Bytes::new())),
    }
}

fn token(issuer: &TestIssuer, headers: &HeaderMap, body: &[u8]) -> Response<Bytes> {
    let granted = read(headers, body).and_then(|request| issuer.grant(&request));
    let mut response = match granted {
        Ok(answer) => respond::json_response(StatusCode::OK, answer.to_string()),
        Err(error) => respond::json_response(error.status(), error.body().to_string()),
    };
    // RFC 6749 §5.1
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<TokenRequest, ErrorResponse> {
    let mut request = TokenRequest::default();
    if header(headers, &CONTENT_TYPE).starts_with("application/json") {
        let members: Map<String, Value> = serde_json::from_slice(body).map_err(|_| ErrorResponse::Malformed)?;
        for (name, value) in &members {
            request.set(name, value.as_str().ok_or(ErrorResponse::Malformed)?);
        }
    } else {
        for (name, value) in form_urlencoded::parse(body) {
            request.set(&name, &value);
        }
    }
    if let Some((id, secret)) = form::basic(headers) {
        request.set("client_id", &id);
        request.set("client_secret", &secret);
    }
    Ok(request)
}

fn header<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The error that closes the connection without a response.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the test issuer simulates a refused connection")
    }
}

impl std::error::Error for Closed {}

/// Far more than a token request needs.
const MAX_BODY: usize = 64 * 1024;
