//! What the tests of the layers share: a server with its validator, and a service that shows what reaches it.

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

/// The audience of the testing kit's tokens.
pub(crate) const AUDIENCE: &str = "https://api.test/";

pub(crate) type TestBody = Full<Bytes>;

/// An API that trusts the server's public keys, given by hand.
pub(crate) fn api(server: &TestIssuer) -> Api {
    Api::new(AUDIENCE, Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks())))
}

pub(crate) fn validator(server: &TestIssuer) -> Validator {
    Validator::new(api(server)).expect("a good configuration")
}

/// A request with the given `Authorization` fields.
pub(crate) fn request(fields: &[&str]) -> Request<TestBody> {
    let request = fields.iter().fold(Request::builder(), |request, field| request.header(AUTHORIZATION, *field));
    request.body(TestBody::default()).expect("a request")
}

/// A request with a bearer token.
pub(crate) fn bearing(token: &str) -> Request<TestBody> {
    request(&[&format!("Bearer {token}")])
}

/// Lets tests that read the log stand side by side.
///
/// As long as there is one subscriber alone, `tracing` asks that of the current thread whether it wants an event, and
/// remembers the answer for all threads: a test that reads nothing then silences one that does. With a second one it asks
/// all of them.
pub(crate) fn let_every_subscriber_be_asked() {
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
}

/// A service that answers 200 and shows the registered claims that reached it: the subject, `nobody` without claims.
pub(crate) fn shows_subject()
-> impl Service<Request<TestBody>, Response = Response<TestBody>, Error = Infallible, Future = Answer> + Clone + Send {
    service_fn(|request: Request<TestBody>| {
        let claims: Option<&Claims> = request.extensions().get();
        let subject = claims.map_or("nobody", |claims| claims.subject().unwrap_or("no subject"));
        ready(Ok(Response::new(Full::from(subject.to_owned()))))
    })
}

pub(crate) type Answer = Ready<Result<Response<TestBody>, Infallible>>;

/// Sends one request through a stack of its own.
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
