//! A tower layer that validates OAuth 2.0 access tokens (JWT, RFC 6750) and passes their claims to the handler.
//!
//! To start, read the [quickstart](guide::quickstart). The [guide] has a page for each further task.
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
//! # Which type for what
//!
//! | task | type |
//! |---|---|
//! | describe a trusted issuer: `iss`, keys, algorithms | [`Issuer`] |
//! | look issuers up at run time: realms, pools, customers' identity providers | [`Tenants`](config::Tenants) |
//! | describe the API: audiences, trusted issuers, rules for claims | [`Api`] |
//! | validate the tokens of an `Api` | [`Validator`], [`ValidatorBuilder`] |
//! | protect all routes of a server | [`BearerLayer`] |
//! | protect a server without tower, a WebSocket handshake, a gateway | [`Authenticator`] |
//! | protect one route by scope, permission or claim | [`RequireLayer`], [`Requirement`] |
//! | protect one route by a rule that queries a database | [`AsyncRequireLayer`](middleware::AsyncRequireLayer) |
//! | read the claims in a handler | [`Claims`] |
//! | deserialize claims into your own type | [`Claims<T>`](Claims) with `T: Deserialize` instead of [`NoCustomClaims`] |
//! | verify tokens with HS256, HS384 or HS512 | [`Secret`] |
//! | bind tokens to clients (DPoP, mutual TLS) | [`Dpop`], [`MutualTls`] |
//! | reject tokens before they expire | [`Revocations`](revocation::Revocations) |
//! | receive logout tokens of the issuer | [`LogoutReceiver`](signals::LogoutReceiver) |
//! | accept opaque tokens, or introspect every JWT | [`Introspection`](introspection::Introspection) |
//! | find out why a token is rejected | [`Rejection`], [`RejectionKind`], [`Validator::explain`] |
//! | configure refresh, caching and timeouts of the key set | [`RefreshPolicy`](jwks::RefreshPolicy) |
//! | replace the HTTP client | [`Fetch`](fetch::Fetch) |
//! | serve Protected Resource Metadata (RFC 9728) | [`ProtectedResourceMetadata`](metadata::ProtectedResourceMetadata) |
//!
//! # How a request is processed
//!
//! The modules are listed in the order of their dependencies: a module uses only modules that come before it in the list, and
//! the modules [`clock`] and [`fetch`], which are independent of tokens. The checks of a request run in the order of the list,
//! with one exception: `iss`, `alg`, `aud` and `exp` are checked before the signature, so that a token with a wrong value
//! starts no fetch.
//!
//! 1. [`request`]: extracts the credential and the host from the request
//! 2. [`token`]: parses the token; nothing in it is trusted yet
//! 3. [`keys`] and [`jwks`]: find the key and verify the signature
//! 4. [`claims`], [`requirement`], [`dpop`], [`mutual_tls`], [`revocation`] and [`introspection`]: check the claims, the
//!    requirements of a route, proofs of possession, certificates of clients, whether a token is revoked, and what the server
//!    says about it
//! 5. [`config`], [`rejection`], [`response`], [`metadata`] and [`Validator`]: the configuration, the reasons for a rejection,
//!    the response for each, the metadata of the API, and the validator, which runs all checks. [`signals`] receives messages
//!    of an issuer, and `stores` (feature `redis`) has the state that processes share.
//! 6. [`authenticator`], [`middleware`] and [`extract`]: the decision about a request, the layers and the extractors
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `reqwest` | yes | an HTTP client that fetches keys over https |
//! | `tracing` | yes | logs and spans |
//! | `axum` | yes | extractors for axum |
//! | `jsonwebtoken-12` | yes | conversions from and to the key types of `jsonwebtoken` 12 |
//! | `metrics` | no | metrics through the `metrics` facade |
//! | `redis` | no | a connection to Redis for state that processes share |
//! | `serde` | no | `Serialize` for [`Algorithm`], [`RejectionKind`] and [`Explanation`]; `Deserialize` for the first two |
//! | `testing` | no | a test issuer, a token builder, a fake clock and a fake network |
//!
//! Features are additive: a feature only adds items. If one crate in a build enables a feature, the other crates that use
//! `tower-bearer` are not affected.
//!
//! The crate needs Rust 1.88 or later and a C compiler: see [platforms](guide::howto#platforms-and-rust-versions).

#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules are listed in the order of their dependencies. Each module uses only the modules above it.

// Base: independent of tokens.
mod defaults;
pub mod clock;
mod event_hook;
pub mod fetch;
mod single_flight;
mod telemetry;

// 1. Request to credential.
pub mod request;

// 2. Credential to a parsed token that is not trusted yet.
pub mod token;

// 3. Token to key to verified signature.
pub mod keys;
pub mod jwks;

// 4. Verified payload to checked claims.
pub mod claims;
pub mod requirement;
pub mod dpop;
pub mod mutual_tls;
pub mod revocation;
pub mod introspection;

// 5. Configuration and decision.
pub mod config;
pub mod rejection;
pub mod response;
pub mod metadata;
mod validator;
pub mod signals;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod stores;
#[cfg(feature = "serde")]
mod serialization;

// 6. Decision about a request, layers and extractors.
pub mod authenticator;
pub mod middleware;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod extract;

// For users' tests.
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

// For the fuzz targets; only they set `cfg(fuzzing)`.
#[cfg(fuzzing)]
pub mod fuzzing;

// Documentation only.
#[cfg(any(doc, doctest))]
pub mod guide;

#[doc(inline)]
pub use crate::authenticator::Authenticator;
#[doc(inline)]
pub use crate::claims::{Audience, Claims, NoCustomClaims, Permissions, Scopes};
#[doc(inline)]
pub use crate::config::{Api, ConfigError, Issuer};
#[doc(inline)]
pub use crate::dpop::Dpop;
#[doc(inline)]
pub use crate::keys::Secret;
#[doc(inline)]
pub use crate::middleware::{BearerLayer, RequireLayer};
#[doc(inline)]
pub use crate::mutual_tls::MutualTls;
#[doc(inline)]
pub use crate::rejection::{Rejection, RejectionKind};
#[doc(inline)]
pub use crate::requirement::Requirement;
#[doc(inline)]
pub use crate::token::Algorithm;
#[doc(inline)]
pub use crate::validator::{
    BuildError, CheckOutcome, Explanation, Finding, TenantCounts, TenantList, TrustedIssuer, Validator,
    ValidatorBuilder,
};
