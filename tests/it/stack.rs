//! Sends requests through layers to a test service.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_bearer::keys::KeySet;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Claims, Issuer};

/// The default audience of the test issuer's tokens.
pub(crate) const AUDIENCE: &str = "https://api.test/";

pub(crate) type Body = Full<Bytes>;

/// Returns the root of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns whether a file of this folder has a test of this name.
pub(crate) fn has_test(file: &str, test: &str) -> bool {
    let path = repository().join("tests/it").join(file).with_extension("rs");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_function = |line: &&str| {
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        name.and_then(|name| name.strip_prefix(test)).is_some_and(|rest| rest.starts_with('('))
    };
    let Some(position) = lines.iter().position(is_function) else { return false };
    let attributes = lines[..position].iter().rev().take_while(|line| line.starts_with('#'));
    attributes.into_iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// Returns an issuer with the test issuer's public keys as static keys.
pub(crate) fn trusted(server: &TestIssuer) -> Issuer {
    Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
}

/// Status, headers and body of a response.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl TestResponse {
    pub(crate) fn challenge(&self) -> &str {
        self.headers.get("www-authenticate").map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub(crate) async fn from_response<B: http_body::Body<Error: std::fmt::Debug>>(response: Response<B>) -> Self {
        use http_body_util::BodyExt as _;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

/// Sends one request through `layer` to a service that responds with the subject.
pub(crate) async fn send_through<L>(layer: L, request: Request<Body>) -> TestResponse
where
    L: Layer<tower::util::BoxCloneService<Request<Body>, Response<Body>, Infallible>>,
    L::Service: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let inner = service_fn(|request: Request<Body>| async move {
        let subject = request.extensions().get::<Claims>().and_then(|claims| claims.subject()).unwrap_or("nobody");
        Ok::<_, Infallible>(Response::new(Full::from(subject.to_owned())))
    });
    let service = layer.layer(tower::util::BoxCloneService::new(inner));
    TestResponse::from_response(service.oneshot(request).await.expect("infallible")).await
}

/// Returns the builder of a request with a bearer token.
pub(crate) fn bearer_request(token: &str) -> http::request::Builder {
    Request::get("/").header("authorization", format!("Bearer {token}"))
}

/// Returns a request with a bearer token and an empty body.
pub(crate) fn request_with_token(token: &str) -> Request<Body> {
    bearer_request(token).body(Body::default()).expect("a request")
}

pub(crate) const OK: u16 = StatusCode::OK.as_u16();
pub(crate) const INVALID_TOKEN: &str = "Bearer error=\"invalid_token\", error_description=\"the access token is malformed, \
                                 expired, or not valid here\"";
