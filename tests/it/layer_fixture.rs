//! Fixtures of the layer tests: a validator that trusts a test issuer, and a service that returns the subject.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt, service_fn};
use tower_bearer::keys::KeySet;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Claims, Issuer, Validator};
use tracing::Dispatch;

/// The default audience of the test issuer's tokens.
pub(crate) const AUDIENCE: &str = "https://api.test/";

pub(crate) type TestBody = Full<Bytes>;

/// Returns an API that trusts the test issuer's public keys as static keys.
pub(crate) fn api(server: &TestIssuer) -> Api {
    Api::new(AUDIENCE, Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks())))
}

pub(crate) fn validator(server: &TestIssuer) -> Validator {
    Validator::new(api(server)).expect("a valid configuration")
}

/// Returns a request with the given `Authorization` fields.
pub(crate) fn request(fields: &[&str]) -> Request<TestBody> {
    let request = fields.iter().fold(Request::builder(), |request, field| request.header(AUTHORIZATION, *field));
    request.body(TestBody::default()).expect("a request")
}

/// Returns a request with a bearer token.
pub(crate) fn bearer_request(token: &str) -> Request<TestBody> {
    request(&[&format!("Bearer {token}")])
}

/// Registers a second subscriber, so that tests that capture the log can run in parallel.
///
/// With only one subscriber, `tracing` caches for all threads whether the subscriber of the current thread enables an
/// event: a test without a subscriber then disables the event for a test with one. With two subscribers, `tracing` queries
/// each of them.
pub(crate) fn register_second_subscriber() {
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
}

/// Returns a service that responds with 200 and the subject of the claims; `nobody` without claims.
pub(crate) fn subject_service()
-> impl Service<Request<TestBody>, Response = Response<TestBody>, Error = Infallible, Future = ReadyResponse> + Clone + Send
{
    service_fn(|request: Request<TestBody>| {
        let claims: Option<&Claims> = request.extensions().get();
        let subject = claims.map_or("nobody", |claims| claims.subject().unwrap_or("no subject"));
        ready(Ok(Response::new(Full::from(subject.to_owned()))))
    })
}

pub(crate) type ReadyResponse = Ready<Result<Response<TestBody>, Infallible>>;

/// Sends one request through a service.
pub(crate) async fn send<S>(service: S, request: Request<TestBody>) -> Response<TestBody>
where
    S: Service<Request<TestBody>, Response = Response<TestBody>, Error = Infallible>,
{
    service.oneshot(request).await.expect("infallible")
}

pub(crate) async fn text(response: Response<TestBody>) -> String {
    let body = response.into_body().collect().await.expect("infallible").to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}
