//! Keys and signatures (RFC 7515 §5.2, RFC 7517, RFC 7518, RFC 7638, RFC 8037).
//!
//! This module is pure and immutable: it uses no clock, no network and no log. From a document to a verified signature:
//!
//! 1. A document is parsed into a [`KeySet`]. Each key is checked separately; an unusable key is skipped with a reason.
//! 2. The set is bound to the algorithms of an API: every key is parsed once for each algorithm that it may verify.
//! 3. The `kid` and `alg` of a token select at most four candidate keys of its issuer.
//! 4. The first candidate that verifies the signature yields a [`SignedToken`].
//!
//! A shared [`Secret`] starts at step 2. No key verifies an algorithm that it is not bound to, so a token cannot choose how
//! its own signature is checked (RFC 8725 §3.1).

mod curve;
mod der;
mod ed25519;
mod embedded;
mod error;
mod export;
#[cfg(feature = "jsonwebtoken-12")]
mod interop;
mod json;
mod jwk;
mod mac;
mod material;
mod pem;
mod private;
mod rsa;
mod scan;
mod secret;
mod set;
mod signed;
mod table;
mod fingerprint;
mod thumbprint;
mod verify;

pub(crate) use self::der::is_certificate;
pub(crate) use self::embedded::{EmbeddedJwk, EmbeddedKey};
pub use self::error::{KeyError, SkipReason};
pub(crate) use self::export::public_jwks;
pub(crate) use self::fingerprint::{Fingerprinter, TokenFingerprint, random_token};
#[cfg(feature = "jsonwebtoken-12")]
#[cfg_attr(docsrs, doc(cfg(feature = "jsonwebtoken-12")))]
pub use self::interop::UnsupportedAlgorithmError;
pub(crate) use self::json::without_byte_order_mark;
pub(crate) use self::jwk::PrivateKeys;
pub(crate) use self::mac::{Mac, is_equal};
pub use self::secret::{Secret, SecretError};
pub(crate) use self::set::RejectedKeys;
pub use self::set::{KeySet, SkippedKey};
pub use self::signed::SignedToken;
pub(crate) use self::table::{Changes, Found, KeyOrigin, KeyTable, NamedKey};
pub use self::thumbprint::{Thumbprint, ThumbprintError};
pub(crate) use self::thumbprint::{digest_name, sha256};
pub(crate) use self::verify::VerifyingKey;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
