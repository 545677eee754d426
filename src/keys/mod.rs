//! Token to key to proven signature (RFC 7515 §5.2, 7517, 7518, 7638, 8037).
//!
//! Everything here is pure and immutable: no clock, no network, no log.

mod der;
mod ed25519;
mod error;
mod interop;
mod json;
mod jwk;
mod material;
mod pem;
mod rsa;
mod secret;
mod set;
mod signed;
mod table;
mod thumbprint;
mod verify;

pub use self::error::{KeyError, SkipReason};
pub use self::interop::NoCounterpart;
pub use self::secret::{Secret, SecretError};
pub use self::set::{KeySet, SkippedKey};
pub use self::signed::SignedToken;
pub(crate) use self::table::{Candidates, Found, KeyOrigin, KeyTable};
pub(crate) use self::thumbprint::Thumbprint;
pub(crate) use self::verify::VerifyingKey;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
