//! The resource-server half of OAuth 2.0.

#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules stand in the order in which a request passes them, and each uses only those above it.

// Ground: knows nothing of tokens.
pub mod clock;
mod defaults;
pub mod fetch;
mod telemetry;

// 1. Request to credential.
pub mod bearer;
pub mod host;

// 2. Credential to parsed, untrusted token.
pub mod token;

// 3. Token to key to proven signature.
pub mod keys;

// 4. Proven payload to judged claims.
pub mod claims;
pub mod guard;

// 5. What we trust, and the verdict.
pub mod config;
pub mod rejection;
mod validator;

// 6. Answers to the client.
mod challenge;

// 7. Servers.
pub mod middleware;

#[cfg(feature = "axum")]
pub mod axum;

pub use crate::claims::{Audience, Claims, NoCustomClaims, Permissions, Scopes};
pub use crate::config::{Api, ConfigError, Issuer};
pub use crate::guard::Requirement;
pub use crate::keys::Secret;
pub use crate::middleware::{BearerLayer, RequireLayer};
pub use crate::rejection::{Rejection, RejectionKind};
pub use crate::token::Algorithm;
pub use crate::validator::{Validator, ValidatorBuilder};
