//! What several files need: a validator that trusts one test server, and a runtime to ask it in.

use std::future::Future;
use std::time::Duration;

use tower_bearer::clock::Timestamp;
use tower_bearer::keys::KeySet;
use tower_bearer::testing::{FakeClock, TestIssuer};
use tower_bearer::{Algorithm, Api, Issuer, Secret, Validator};

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
        Issuer::shared_secret(server.issuer(), Secret::utf8(server.secret()))
    } else {
        Issuer::with_static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
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
