//! Fixtures of the DPoP tests: an API with DPoP, its issuer, two clients, and the answers of the attack cases.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{DPOP, Dpop, ReplayError};
use tower_bearer::fetch::Fetch;
use tower_bearer::mutual_tls::ClientCertificate;
use tower_bearer::rejection::PossessionError;
use tower_bearer::testing::{FakeClock, ProofKey, TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, BearerLayer, Claims, Issuer, Rejection, Validator, ValidatorBuilder};

use crate::challenge_parser::{self, Challenge};
use crate::fixture::{self, AUDIENCE, NOW, block_on, trusted};

pub(crate) const URL: &str = "https://api.test/me";

/// An API with DPoP at [`NOW`], its issuer, and two clients.
pub(crate) struct World {
    pub(crate) server: TestIssuer,
    pub(crate) client: ProofKey,
    pub(crate) other: ProofKey,
    pub(crate) clock: FakeClock,
    pub(crate) validator: Validator,
    pub(crate) layer: BearerLayer,
}

impl World {
    /// Creates an API with the public URL `https://api.test`, which `change` may replace.
    pub(crate) fn new(change: impl FnOnce(Api) -> Api) -> Self {
        Self::with_audience(AUDIENCE, change)
    }

    pub(crate) fn with_audience(audience: &str, change: impl FnOnce(Api) -> Api) -> Self {
        Self::without_dpop(audience, |api| change(api.with_dpop(Dpop::new("https://api.test"))))
    }

    /// Creates an API without DPoP, unless `change` adds it.
    pub(crate) fn without_dpop(audience: &str, change: impl FnOnce(Api) -> Api) -> Self {
        let (server, clock) = server_and_clock();
        let api = Api::new(audience, trusted(&server, Algorithm::EdDSA));
        Self::from_parts(server, clock, Validator::builder(change(api)))
    }

    /// Creates an API with DPoP that fetches the keys of its issuer with the result of `fetch`.
    pub(crate) fn with_fetched_keys<F: Fetch>(fetch: impl FnOnce(&TestIssuer, &FakeClock) -> F) -> Self {
        let (server, clock) = server_and_clock();
        let issuer = Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms([Algorithm::EdDSA]);
        let api = Api::new(AUDIENCE, issuer).with_dpop(Dpop::new("https://api.test"));
        let builder = Validator::builder(api).with_fetch(fetch(&server, &clock));
        Self::from_parts(server, clock, builder)
    }

    fn from_parts(server: TestIssuer, clock: FakeClock, builder: ValidatorBuilder) -> Self {
        let validator = builder.with_clock(clock.clone()).build().expect("a valid configuration");
        let client = || ProofKey::new().with_clock(clock.clone());
        let (client, other) = (client(), client());
        Self { server, client, other, layer: BearerLayer::new(validator.clone()), validator, clock }
    }

    /// Starts a token that is bound to the client's key.
    pub(crate) fn token(&self) -> TokenBuilder {
        self.server.token().bound_to(&self.client)
    }

    /// Returns a token, and a request with it and a valid proof.
    pub(crate) fn request(&self, token: &str) -> Request<String> {
        dpop_request(token, &self.client.proof("GET", URL, token).sign())
    }

    pub(crate) fn send(&self, request: Request<String>) -> Response<String> {
        block_on(self.send_async(request))
    }

    pub(crate) async fn send_async(&self, request: Request<String>) -> Response<String> {
        send_through(&self.layer, request).await
    }

    pub(crate) fn answer(&self, request: Request<String>) -> Answer {
        Answer::of(&self.send(request))
    }
}

/// Sends a request through a layer to a handler that requires claims.
pub(crate) async fn send_through(layer: &BearerLayer, request: Request<String>) -> Response<String> {
    let inner = service_fn(|request: Request<String>| async move {
        assert!(request.extensions().get::<Claims>().is_some(), "no claims");
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    layer.layer(inner).oneshot(request).await.expect("infallible")
}

fn server_and_clock() -> (TestIssuer, FakeClock) {
    let clock = fixture::clock();
    let server = TestIssuer::new().with_clock(Arc::new(clock.clone())).with_algorithms([Algorithm::EdDSA]);
    (server, clock)
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

/// Returns `GET /me` with a token and a proof.
pub(crate) fn dpop_request(token: &str, proof: &str) -> Request<String> {
    let request = Request::get("/me").header(AUTHORIZATION, format!("DPoP {token}")).header(DPOP, proof);
    request.body(String::new()).expect("a request")
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the SHA-256 hash of a text in base64url, which is also the thumbprint of a certificate with these bytes.
pub(crate) fn hash(text: &str) -> String {
    ClientCertificate::from_der(text.as_bytes()).thumbprint().to_base64url()
}

pub(crate) fn decode_base64url(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    /// 401 `DPoP error="invalid_dpop_proof"`.
    InvalidProof,
    /// 401 `DPoP error="invalid_token"`.
    InvalidToken,
    /// 401 `Bearer error="invalid_token"`.
    InvalidTokenBearer,
    /// 401 `DPoP error="use_dpop_nonce"`.
    UseNonce,
    /// 400 with `error="invalid_request"`.
    InvalidRequest,
    /// 401 without an error.
    Bare,
    /// 503 with `Retry-After`.
    Unavailable,
    Other,
}

/// Returns why the replay store could not say whether the proof was used, and when the client may retry.
pub(crate) fn store_failure<B>(response: &Response<B>) -> Option<(ReplayError, Duration)> {
    match response.extensions().get() {
        Some(Rejection::Possession(PossessionError::ReplayStore { error, retry_after, .. })) => {
            Some((*error, *retry_after))
        }
        _ => None,
    }
}

impl Answer {
    pub(crate) fn of<B>(response: &Response<B>) -> Self {
        let challenges = challenge_parser::challenges(response.headers());
        let with_error: Vec<(&str, &str)> =
            challenges.iter().filter_map(|one| Some((one.scheme.as_str(), one.parameter("error")?))).collect();
        match (response.status().as_u16(), &with_error[..]) {
            (200, []) => Self::Accepted,
            (503, []) if response.headers().contains_key("retry-after") => Self::Unavailable,
            (401, []) if !challenges.is_empty() => Self::Bare,
            (401, [("DPoP", "invalid_dpop_proof")]) => Self::InvalidProof,
            (401, [("DPoP", "invalid_token")]) => Self::InvalidToken,
            (401, [("Bearer", "invalid_token")]) => Self::InvalidTokenBearer,
            (401, [("DPoP", "use_dpop_nonce")]) => Self::UseNonce,
            (400, errors) if errors.iter().all(|(_, error)| *error == "invalid_request") && !errors.is_empty() => {
                Self::InvalidRequest
            }
            _ => Self::Other,
        }
    }
}

/// Returns the challenges of a response of an API with DPoP: each challenge of the scheme `DPoP` lists the algorithms.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let challenges = challenge_parser::challenges(headers);
    for challenge in challenges.iter().filter(|challenge| challenge.scheme == "DPoP") {
        assert!(challenge.parameter("algs").is_some(), "{challenges:?}");
    }
    challenges
}
