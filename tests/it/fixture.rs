//! Fixtures of the rule tests: a validator that trusts one test issuer, at a fixed time.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_bearer::clock::Timestamp;
use tower_bearer::config::SettingErrorKind;
use tower_bearer::keys::KeySet;
use tower_bearer::testing::{FakeClock, TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, Rejection, Secret, Validator};

use crate::challenge_parser::challenge;

/// The default audience of the test issuer's tokens.
pub(crate) const AUDIENCE: &str = "https://api.test/";

/// The time of every [`FakeClock`] here.
pub(crate) const NOW: i64 = 1_800_000_000;

/// Returns a clock at [`NOW`].
pub(crate) fn clock() -> FakeClock {
    FakeClock::from_wall(Timestamp::from_secs(NOW))
}

/// Runs a future to completion on its own runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Returns a test issuer that signs with one algorithm, at [`NOW`].
pub(crate) fn server(algorithm: Algorithm) -> TestIssuer {
    TestIssuer::new().with_clock(std::sync::Arc::new(clock())).with_algorithms([algorithm])
}

/// Returns an issuer with the keys of the test issuer as static keys.
pub(crate) fn trusted(server: &TestIssuer, algorithm: Algorithm) -> Issuer {
    let issuer = if algorithm.is_symmetric() {
        Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()))
    } else {
        Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
    };
    issuer.with_algorithms([algorithm])
}

/// Returns a validator that never waits and never fetches, at [`NOW`].
pub(crate) fn validator(server: &TestIssuer, algorithm: Algorithm) -> Validator {
    validator_for(Api::new(AUDIENCE, trusted(server, algorithm)).with_leeway(Duration::ZERO))
}

/// Returns a validator of an API, at [`NOW`].
pub(crate) fn validator_for(api: Api) -> Validator {
    Validator::builder(api).with_clock(clock()).build().expect("a valid configuration")
}

/// Returns the configuration errors of an API.
pub(crate) fn setting_errors(api: Api) -> Vec<SettingErrorKind> {
    let errors = Validator::new(api).err().map(|error| error.errors().to_vec()).unwrap_or_default();
    errors.into_iter().map(|reason| reason.kind().clone()).collect()
}

/// One API behind the layer, with its issuer.
pub(crate) struct TestApi {
    pub(crate) server: TestIssuer,
    pub(crate) layer: BearerLayer,
}

/// 401 with a challenge without `error`.
pub(crate) const BARE_CHALLENGE: (u16, Option<String>) = (401, None);

impl TestApi {
    pub(crate) fn new() -> Self {
        let server = server(Algorithm::RS256);
        let layer = BearerLayer::new(validator(&server, Algorithm::RS256));
        Self { server, layer }
    }

    /// Returns status and `error` of the response to a request with these `Authorization` fields.
    pub(crate) fn send(&self, fields: &[&str]) -> (u16, Option<String>) {
        let request = fields.iter().fold(Request::get("/"), |request, field| request.header(AUTHORIZATION, *field));
        self.send_request(request.body(String::new()))
    }

    /// Returns status and `error` of the response to a request.
    pub(crate) fn send_request(&self, request: http::Result<Request<String>>) -> (u16, Option<String>) {
        let (status, challenge) = block_on(status_and_challenge(self.layer.clone(), request.expect("a request")));
        (status, challenge.into_iter().find(|(name, _)| name == "error").map(|(_, code)| code))
    }

    /// Validates a token.
    pub(crate) fn validate(&self, token: TokenBuilder) -> Result<Claims, Rejection> {
        block_on(validator(&self.server, Algorithm::RS256).validate(&token.sign()))
    }

    pub(crate) fn rejection(&self, token: TokenBuilder) -> Rejection {
        self.validate(token).expect_err("a rejection")
    }
}

/// Returns status and challenge of the response to one request; the inner service requires claims.
pub(crate) async fn status_and_challenge(layer: BearerLayer, request: Request<String>) -> (u16, Vec<(String, String)>) {
    let inner = service_fn(|request: Request<String>| async move {
        assert!(request.extensions().get::<Claims>().is_some(), "no claims");
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let response = ServiceBuilder::new().layer(layer).service(inner).oneshot(request).await.expect("a response");
    let status = response.status().as_u16();
    if status == 200 {
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        return (status, Vec::new());
    }
    // Rules 14 and 17: exactly one challenge.
    (status, challenge(response.headers()))
}
