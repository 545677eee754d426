//! The resource-server half of OAuth 2.0.

#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules stand in the order in which a request passes them, and each uses only those above it.

// Ground: knows nothing of tokens.
pub mod clock;
mod defaults;
pub mod fetch;
mod telemetry;

// 2. Credential to parsed, untrusted token.
pub mod token;

// 3. Token to key to proven signature.
// pub mod keys;

pub use crate::token::Algorithm;

// For users' tests.
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
