//! What several files need: a validator that trusts one test server, and a runtime to ask it in.

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

/// The audience of the testing kit's tokens.
pub(crate) const AUDIENCE: &str = "https://api.test/";

/// A time at which a server with a [`FakeClock`] lives.
pub(crate) const NOW: i64 = 1_800_000_000;

/// Runs a future to its end, on a runtime of its own.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A server that signs with one algorithm, at [`NOW`].
pub(crate) fn server(algorithm: Algorithm) -> TestIssuer {
    let clock = FakeClock::at(Timestamp::from_secs(NOW));
    TestIssuer::new().with_clock(std::sync::Arc::new(clock)).with_algorithms([algorithm])
}

/// What an API trusts that has this server's keys at hand.
pub(crate) fn trusted(server: &TestIssuer, algorithm: Algorithm) -> Issuer {
    let issuer = if algorithm.is_symmetric() {
        Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()))
    } else {
        Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
    };
    issuer.with_algorithms([algorithm])
}

/// A validator that never waits and never fetches, at [`NOW`].
pub(crate) fn validator(server: &TestIssuer, algorithm: Algorithm) -> Validator {
    validator_of(Api::new(AUDIENCE, trusted(server, algorithm)).with_leeway(Duration::ZERO))
}

/// A validator of an API, at [`NOW`].
pub(crate) fn validator_of(api: Api) -> Validator {
    let clock = FakeClock::at(Timestamp::from_secs(NOW));
    Validator::builder(api).with_clock(clock).build().expect("a good configuration")
}

/// What is wrong with the configuration of an API.
pub(crate) fn problems(api: Api) -> Vec<SettingErrorKind> {
    let errors = Validator::new(api).err().map(|error| error.errors().to_vec()).unwrap_or_default();
    errors.into_iter().map(|reason| reason.kind().clone()).collect()
}

/// One API behind the layer, with the server that it trusts.
pub(crate) struct Site {
    pub(crate) server: TestIssuer,
    pub(crate) layer: BearerLayer,
}

/// 401 with a challenge that names no error.
pub(crate) const BARE: (u16, Option<String>) = (401, None);

impl Site {
    pub(crate) fn new() -> Self {
        let server = server(Algorithm::RS256);
        let layer = BearerLayer::new(validator(&server, Algorithm::RS256));
        Self { server, layer }
    }

    /// Status and error of the answer to a request with these `Authorization` fields.
    pub(crate) fn send(&self, fields: &[&str]) -> (u16, Option<String>) {
        let request = fields.iter().fold(Request::get("/"), |request, field| request.header(AUTHORIZATION, *field));
        self.ask(request.body(String::new()))
    }

    pub(crate) fn ask(&self, request: http::Result<Request<String>>) -> (u16, Option<String>) {
        let (status, challenge) = block_on(answer(self.layer.clone(), request.expect("a request")));
        (status, challenge.into_iter().find(|(name, _)| name == "error").map(|(_, code)| code))
    }

    /// The verdict over a token.
    pub(crate) fn judge(&self, token: TokenBuilder) -> Result<Claims, Rejection> {
        block_on(validator(&self.server, Algorithm::RS256).validate(&token.sign()))
    }

    pub(crate) fn refusal(&self, token: TokenBuilder) -> Rejection {
        self.judge(token).expect_err("a refusal")
    }
}

/// Status and challenge of the answer to one request; the inner service insists on claims.
pub(crate) async fn answer(layer: BearerLayer, request: Request<String>) -> (u16, Vec<(String, String)>) {
    let inner = service_fn(|request: Request<String>| async move {
        assert!(request.extensions().get::<Claims>().is_some(), "no claims");
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let response = ServiceBuilder::new().layer(layer).service(inner).oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    if status == 200 {
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        return (status, Vec::new());
    }
    // Rules 14 and 17: one challenge, and only one.
    (status, challenge(response.headers()))
}
