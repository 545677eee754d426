//! The resource-server half of OAuth 2.0: a tower layer that verifies bearer access tokens (JWT) and hands their claims to
//! the handler.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use tower_bearer::{Api, BearerLayer, Claims, Issuer, RequireLayer, Validator};
//!
//! # fn main() -> Result<(), tower_bearer::ConfigError> {
//! let tenant = Issuer::auth0("northwind.eu.auth0.com").with_custom_domain("login.northwind.com");
//! let validator = Validator::new(Api::new("https://api.northwind.com", tenant))?;
//! let app: Router = Router::new()
//!     .route("/orders", get(list_orders).route_layer(RequireLayer::scope("read:orders")))
//!     .layer(BearerLayer::new(validator));
//!
//! async fn list_orders(claims: Claims) -> String {
//!     format!("orders of {}", claims.subject().unwrap_or("nobody"))
//! }
//! # Ok(()) }
//! ```
//!
//! # The way of a request
//!
//! The modules stand in the order in which a request passes them; whoever asks where a token was refused walks down this
//! list. Each uses only those above it.
//!
//! 1. [`bearer`], [`host`] and [`request`]: the one credential and the host, out of the request
//! 2. [`token`]: taken apart, believed in nothing
//! 3. [`keys`] and [`jwks`]: the key, and the proof of the signature
//! 4. [`claims`] and [`guard`]: what the token says, judged; what a route asks of it
//! 5. [`config`], [`rejection`] and [`Validator`]: what is trusted, and the verdict
//! 6. [`middleware`] and [`mod@axum`]: the layers, the extractors, and what a client is answered
//!
//! # Features
//!
//! `reqwest` (default) fetches keys over https; `tracing` (default) logs; `axum` (default) brings extractors; `metrics` counts;
//! `testing` brings a test issuer, a token builder, a fake clock and a fake network. Features only add.

#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules stand in the order in which a request passes them, and each uses only those above it.

// Ground: knows nothing of tokens.
mod defaults;
pub mod clock;
pub mod fetch;
mod telemetry;

// 1. Request to credential.
pub mod request;

// 2. Credential to parsed, untrusted token.
pub mod token;

// 3. Token to key to proven signature.
pub mod keys;
pub mod jwks;

// 4. Proven payload to judged claims.
pub mod claims;
pub mod requirement;

// 5. What we trust, and the verdict.
pub mod config;
pub mod rejection;
mod validator;

// 6. Answers to the client.
mod response;
pub mod metadata;

// 7. Servers.
pub mod middleware;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod extract;

// For users' tests.
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

// For the fuzz targets, which alone set this.
#[cfg(fuzzing)]
pub mod fuzzing;

// To read on docs pages.
#[cfg(any(doc, doctest))]
pub mod guide;

pub use crate::claims::{Audience, Claims, NoCustomClaims, Permissions, Scopes};
pub use crate::config::{Api, ConfigError, Issuer};
pub use crate::keys::Secret;
pub use crate::middleware::{BearerLayer, RequireLayer};
pub use crate::rejection::{Rejection, RejectionKind};
pub use crate::requirement::Requirement;
pub use crate::token::Algorithm;
pub use crate::validator::{BuildError, Explanation, Finding, Outcome, Validator, ValidatorBuilder};
