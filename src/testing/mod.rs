//! A test issuer, a token builder, a fake clock and a fake network for the tests of an application.
//!
//! [`TestIssuer`] is an in-memory authorization server. It publishes its keys through [`Fetch`](crate::fetch::Fetch) without
//! a network, or over loopback. Its [`TokenBuilder`] creates valid tokens, and tokens that are invalid in exactly one way:
//!
//! ```
//! use tower_bearer::testing::TestIssuer;
//!
//! let issuer = TestIssuer::auth0("northwind.eu.auth0.com");
//! let good = issuer.token().audience("https://api.northwind.com").scope("read:orders").sign();
//! let expired = issuer.token().audience("https://api.northwind.com").expired().sign();
//! assert_ne!(good, expired);
//! ```
//!
//! [`FakeClock`] is a clock that the test controls. [`FakeFetch`] is an HTTP client with scripted responses:
//!
//! ```
//! use std::time::Duration;
//!
//! use http::StatusCode;
//! use tower_bearer::clock::Clock as _;
//! use tower_bearer::testing::{FakeClock, FakeFetch, Reply};
//!
//! let clock = FakeClock::new();
//! let before = clock.monotonic();
//! clock.advance(Duration::from_secs(3600)); // an hour passes at once
//! assert_eq!(clock.monotonic().saturating_since(before), Duration::from_secs(3600));
//!
//! let network = FakeFetch::new(&clock);
//! network.always("https://login.example.com/jwks", Reply::json(r#"{"keys":[]}"#));
//! network.once("https://login.example.com/jwks", Reply::status(StatusCode::BAD_GATEWAY)); // has precedence over `always`
//! assert_eq!(network.calls(), 0);
//! ```
//!
//! [`FakeLog`] is a log of [revocations](crate::revocation) that can fail.
//!
//! # Security
//!
//! Some private keys of test issuers are published in the source of this crate. Never trust a test issuer outside of tests.

mod claims;
mod clients;
mod clock;
mod control;
mod endpoints;
mod fake_log;
mod fetch;
mod form;
mod introspection;
mod issued;
mod issuer;
mod members;
mod network;
mod outage;
mod policy;
mod proof;
mod registry;
mod respond;
mod rsa_pool;
mod server;
mod shared;
mod signer;
mod token;
mod token_header;

pub use self::claims::{ClaimsBuilder, claims};
pub use self::clock::FakeClock;
pub use self::fake_log::{FakeLog, LogFailure};
pub use self::fetch::{FakeFetch, RecordedRequest, Reply};
pub use self::issuer::TestIssuer;
pub use self::network::TestNetwork;
pub use self::outage::Outage;
pub use self::proof::{ProofBuilder, ProofKey};
pub use self::server::TestServer;
pub use self::token::TokenBuilder;

#[cfg(test)]
mod tests;
