//! Token to key to proven signature (RFC 7515 §5.2, 7517, 7518, 7638, 8037).
//!
//! Everything here is pure and immutable: no clock, no network, no log. The way of a key:
//!
//! 1. A document becomes a [`KeySet`]; each of its keys is vetted alone, and what is unfit is skipped with a reason.
//! 2. An API's algorithms bind the set: every key is parsed once for each algorithm that it may verify.
//! 3. A token's `kid` and `alg` find the keys to try, at most four, among that one issuer's.
//! 4. The first of them that verifies makes a [`SignedToken`].
//!
//! A shared [`Secret`] enters at step 2. No key verifies an algorithm that it was not bound to, so no token can choose
//! how its own signature is checked (RFC 8725 §3.1).

mod der;
mod ed25519;
mod error;
mod interop;
mod json;
mod jwk;
mod material;
mod pem;
mod rsa;
mod scan;
mod secret;
mod set;
mod signed;
mod table;
mod fingerprint;
mod thumbprint;
mod verify;

pub use self::error::{KeyError, SkipReason};
pub(crate) use self::fingerprint::{Fingerprinter, TokenFingerprint};
pub use self::interop::UnsupportedAlgorithmError;
pub(crate) use self::jwk::PrivateKeys;
pub use self::secret::{Secret, SecretError};
pub(crate) use self::set::RefusedKeys;
pub use self::set::{KeySet, SkippedKey};
pub use self::signed::SignedToken;
pub(crate) use self::table::{Changes, Found, KeyOrigin, KeyTable, NamedKey};
pub use self::thumbprint::{Thumbprint, ThumbprintError};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
