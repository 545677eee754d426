//! `KeyError` and `SkipReason`: why a document is rejected, and why one of its keys is skipped.

use std::fmt;

/// Why a document could not be parsed as keys.
///
/// An unusable key in a set is not an error: it is skipped with a [`SkipReason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyError {
    /// The document is not one JSON value in UTF-8. For example, it is truncated or followed by other text.
    Json,
    /// The document is nested deeper than 16 levels.
    TooDeep,
    /// The document is JSON, but neither an object with an array `keys` (RFC 7517 §5) nor a single key.
    NotAKeySet,
    /// There are two members `keys`, so two parsers could read two different sets.
    DuplicateKeys,
    /// A member outside of the keys has a name that serde_json reserves: it begins with `$serde_json::private::`.
    ReservedMember,
    /// The document has more keys than the limit for one set.
    TooManyKeys {
        /// The number of keys in the document.
        count: usize,
        /// The largest allowed number.
        limit: usize,
    },
    /// The only key of the document is unusable.
    Unusable {
        /// The reason.
        reason: SkipReason,
    },
    /// No PEM block was found, or one is damaged (RFC 7468).
    Pem,
    /// A PEM block has another label than `PUBLIC KEY` and `RSA PUBLIC KEY`.
    PemLabel,
    /// The PEM block is a certificate. This crate does not use certificates; extract the public key from it.
    Certificate,
    /// The key is a private key. A resource server must not have it.
    PrivateKey,
    /// The content of a PEM block is not the DER encoding of a public key (RFC 5280 §4.1.2.7, RFC 8017 §A.1.1).
    Der,
    /// The key is a shared secret. Create a [`Secret`](crate::keys::Secret) from it instead.
    Secret,
    /// The set does not have exactly one key, so no `kid` can be set.
    NotOneKey,
    /// The `kid` is longer than 256 bytes.
    KidTooLong,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "the key set is not one JSON document in UTF-8",
            Self::TooDeep => "the key set is nested too deeply",
            Self::NotAKeySet => "the document is neither a JWK set nor a JWK",
            Self::DuplicateKeys => "the key set has two members \"keys\"",
            Self::ReservedMember => "the key set has a reserved member name",
            Self::TooManyKeys { count, limit } => {
                return write!(f, "the key set has {count} keys, more than the {limit} allowed");
            }
            Self::Unusable { reason } => return write!(f, "the key cannot be used: {reason}"),
            Self::Pem => "the text is not well-formed PEM",
            Self::PemLabel => "the PEM block is neither a PUBLIC KEY nor an RSA PUBLIC KEY",
            Self::Certificate => {
                "the PEM block is a certificate; extract its public key with `openssl x509 -pubkey -noout`"
            }
            Self::PrivateKey => "the key is a private key; a resource server needs only the public key",
            Self::Der => "the key is not the DER encoding of a public key",
            Self::Secret => "the key is a shared secret, not a public key",
            Self::NotOneKey => "a kid can be set only for a set of exactly one key",
            Self::KidTooLong => "the kid is longer than 256 bytes",
        })
    }
}

impl std::error::Error for KeyError {}

impl From<SkipReason> for KeyError {
    fn from(reason: SkipReason) -> Self {
        Self::Unusable { reason }
    }
}

/// Declares each reason once: the variant, its name for logs and metrics, and its `Display` text.
macro_rules! skip_reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal, $sentence:literal;)+) => {
        /// Why one key of a set was skipped. The other keys of the set are still used (RFC 7517 §5).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum SkipReason { $($(#[$doc])+ $variant,)+ }

        impl SkipReason {
            /// Returns a stable snake_case name for logs and metric labels.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl fmt::Display for SkipReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $sentence,)+ })
            }
        }
    };
}

skip_reasons! {
    /// The element of the array is not an object.
    NotAnObject = "not_an_object", "it is not a JSON object";
    /// Two members have the same name (RFC 7517 §4).
    DuplicateMember = "duplicate_member", "two members have the same name";
    /// A member at any depth has a name that serde_json reserves: it begins with `$serde_json::private::`.
    ReservedMember = "reserved_member", "a member name is reserved";
    /// A member that the key type requires is missing.
    MissingMember = "missing_member", "a required member is missing";
    /// A member has the wrong JSON type.
    MalformedMember = "malformed_member", "a member has the wrong JSON type";
    /// `kty` is not supported by this crate.
    KeyType = "unsupported_kty", "its type is not supported";
    /// `crv` is not supported by this crate.
    Curve = "unsupported_crv", "its curve is not supported";
    /// The key is a shared secret (`kty` is `oct`) among public keys.
    Symmetric = "symmetric", "it is a shared secret";
    /// The key is a private key. Since it is published, everyone can sign with it.
    Private = "private", "it is a private key";
    /// The private key of this public key has been published, in this set or in an earlier set of the same source.
    Compromised = "compromised", "its private key has been published";
    /// `use` is present and not `sig` (RFC 7517 §4.2).
    Use = "use", "its use is not signatures";
    /// `key_ops` is present without `verify`, or contains an operation twice (RFC 7517 §4.3).
    Operations = "key_ops", "its operations do not include verify";
    /// `alg` is not a signature algorithm that this crate supports.
    Algorithm = "unsupported_alg", "its algorithm is not supported";
    /// `alg` does not match `kty` and `crv`.
    AlgorithmMismatch = "alg_mismatch", "its algorithm does not match its type";
    /// The key verifies none of the algorithms that are configured for its issuer.
    AlgorithmNotListed = "alg_not_listed", "it verifies none of the configured algorithms";
    /// `kid` is not a string (RFC 7517 §4.5).
    MalformedKid = "malformed_kid", "its kid is not a string";
    /// `kid` is longer than 256 bytes.
    KidTooLong = "kid_too_long", "its kid is too long";
    /// A member is not base64url (RFC 7518 §2).
    Encoding = "encoding", "a member is not base64url";
    /// The modulus has fewer than 2048 or more than 8192 bits (RFC 7518 §3.3).
    RsaSize = "rsa_size", "its modulus does not have 2048 to 8192 bits";
    /// The modulus is even or zero.
    RsaModulus = "rsa_modulus", "its modulus is malformed";
    /// The exponent is even, below 3, or has more than 33 bits.
    RsaExponent = "rsa_exponent", "its exponent is unsafe";
    /// The modulus was generated by a faulty chip and can be factored (ROCA, CVE-2017-15361).
    RsaFactorable = "rsa_factorable", "its modulus can be factored";
    /// A coordinate does not have the full length of its field (RFC 7518 §6.2.1.2, RFC 8037 §2).
    CoordinateLength = "coordinate_length", "a coordinate has the wrong length";
    /// The point is not on the curve.
    NotOnCurve = "not_on_curve", "its point is not on the curve";
    /// The Ed25519 point has small order, so that anyone can forge signatures, or is not in canonical form.
    WeakPoint = "weak_point", "its point is weak";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_sentences_without_a_full_stop() {
        for error in [
            KeyError::Json,
            KeyError::TooManyKeys { count: 101, limit: 100 },
            KeyError::Unusable { reason: SkipReason::RsaSize },
            KeyError::Certificate,
            KeyError::PrivateKey,
        ] {
            let text = error.to_string();
            assert!(text.starts_with(char::is_lowercase) && !text.ends_with('.'), "{text}");
        }
        assert_eq!(
            KeyError::from(SkipReason::RsaSize).to_string(),
            "the key cannot be used: its modulus does not have 2048 to 8192 bits"
        );
        assert_eq!(SkipReason::KeyType.name(), "unsupported_kty");
    }
}
