//! Revocation: rejects tokens before they expire.
//!
//! A JWT is valid until `exp`. [`Revocations`] is a list of what must be rejected earlier: a token, a session, or all tokens that
//! were issued to a subject, to a client, or by an issuer before a time. A validator that is built with
//! [`with_revocations`](crate::ValidatorBuilder::with_revocations) looks each token up in it, also a token that is in the token
//! cache. Processes share their lists over a [`RevocationLog`]. The guide has [a page](crate::guide::revocation) with the steps for Auth0, Keycloak and Okta.
//!
//! ```
//! use tower_bearer::revocation::{Revocation, Revocations};
//! use tower_bearer::testing::TestIssuer;
//! use tower_bearer::{Api, Issuer, RejectionKind, Validator};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TestIssuer::auth0("northwind.eu.auth0.com");
//! let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"));
//! let revocations = Revocations::in_memory();
//! let validator = Validator::builder(api).with_fetch(server.clone()).with_revocations(&revocations).build()?;
//!
//! let token = server.token().audience("https://api.northwind.com").subject("auth0|ann").sign();
//! assert!(validator.validate(&token).await.is_ok());
//!
//! revocations.revoke(Revocation::subject("https://northwind.eu.auth0.com/", "auth0|ann")).await?;
//! assert_eq!(validator.validate(&token).await.unwrap_err().kind(), RejectionKind::Revoked);
//! # Ok(()) }
//! ```

mod builder;
mod cutoff;
mod digest;
mod entry;
mod error;
mod event;
mod feed;
mod horizon;
mod kind;
mod list;
mod log;
mod lookup;
mod memory_log;
mod queue;
mod replication;
mod set;
mod status;
mod table;
mod tasks;
mod token_digests;
#[cfg(test)]
mod tests;

pub use self::builder::RevocationsBuilder;
pub(crate) use self::digest::IssuerDigest;
pub use self::entry::Revocation;
pub use self::error::{RevocationConfigError, RevocationSettingError, RevocationsNotReadyError, RevokeError};
pub use self::event::{RevocationEvent, RevocationEventKind};
pub use self::kind::RevocationKind;
pub use self::list::Revocations;
pub use self::log::{LogAppend, LogError, LogFuture, LogPage, LogPosition, LogRead, RevocationLog};
pub(crate) use self::lookup::Match;
pub use self::memory_log::MemoryLog;
pub use self::status::{RevocationState, RevocationStatus};
pub(crate) use self::token_digests::TokenDigests;
