//! Why a document holds no keys, and why one key of it was passed over.

use std::fmt;

/// Why a document could not be read as keys.
///
/// One bad key never makes a set unreadable: it is skipped with a [`SkipReason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyError {
    /// Not one JSON value in UTF-8: truncated, followed by something, or led by a byte order mark.
    Json,
    /// Nested deeper than 16 levels.
    TooDeep,
    /// JSON, but neither an object with an array `keys` nor one key (RFC 7517 §5).
    NotAKeySet,
    /// The member `keys` stands twice, so that two readers could see two different sets.
    DuplicateKeys,
    /// A member outside of the keys has a name that serde_json reserves: it begins with `$serde_json::private::`.
    ReservedMember,
    /// More keys than one set may hold.
    TooManyKeys {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The document's only key may not be used.
    Unusable {
        /// Why.
        reason: SkipReason,
    },
    /// No PEM block was found, or one is damaged (RFC 7468).
    Pem,
    /// A PEM block with a label other than `PUBLIC KEY` and `RSA PUBLIC KEY`.
    PemLabel,
    /// A certificate; this crate builds no trust from certificates, so take the public key out of it.
    Certificate,
    /// A private key, which has no business on a resource server.
    PrivateKey,
    /// Not the DER encoding of a public key (RFC 5280 §4.1.2.7, RFC 8017 §A.1.1).
    Der,
    /// A shared secret; make a [`Secret`](crate::keys::Secret) of it.
    Secret,
    /// A key id can be given only to a set of exactly one key.
    NotOneKey,
    /// The key id is longer than 256 octets.
    KidTooLong,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "the key set is not one JSON document in UTF-8",
            Self::TooDeep => "the key set is nested too deeply",
            Self::NotAKeySet => "the document is neither a JWK set nor a JWK",
            Self::DuplicateKeys => "the key set has the member \"keys\" twice",
            Self::ReservedMember => "the key set has a reserved member name",
            Self::TooManyKeys { count, limit } => {
                return write!(f, "the key set holds {count} keys, more than the {limit} allowed");
            }
            Self::Unusable { reason } => return write!(f, "the key cannot be used: {reason}"),
            Self::Pem => "the text is not well-formed PEM",
            Self::PemLabel => "the PEM block is neither a PUBLIC KEY nor an RSA PUBLIC KEY",
            Self::Certificate => {
                "the PEM block is a certificate; take its public key with `openssl x509 -pubkey -noout`"
            }
            Self::PrivateKey => "the key is a private key; a resource server needs only the public key",
            Self::Der => "the key is not the DER encoding of a public key",
            Self::Secret => "the key is a shared secret, not a public key",
            Self::NotOneKey => "a key id can be given only to a set of one key",
            Self::KidTooLong => "the key id is longer than 256 octets",
        })
    }
}

impl std::error::Error for KeyError {}

impl From<SkipReason> for KeyError {
    fn from(reason: SkipReason) -> Self {
        Self::Unusable { reason }
    }
}

/// Declares each reason once: the variant, its name for logs and metrics, and its sentence.
macro_rules! skip_reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal, $sentence:literal;)+) => {
        /// Why one key was passed over while the rest of its set stays in use (RFC 7517 §5).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum SkipReason { $($(#[$doc])+ $variant,)+ }

        impl SkipReason {
            /// A short fixed name, fit for a metric's label.
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
    /// The array's element is not an object.
    NotAnObject = "not_an_object", "it is not a JSON object";
    /// A member name stands twice (RFC 7517 §4).
    DuplicateMember = "duplicate_member", "a member name stands twice";
    /// A member at any depth has a name that serde_json reserves: it begins with `$serde_json::private::`.
    ReservedMember = "reserved_member", "a member name is reserved";
    /// A member that the key type needs is not there.
    MemberMissing = "member_missing", "a required member is missing";
    /// A member has another JSON type than it should.
    MemberMalformed = "member_malformed", "a member has the wrong JSON type";
    /// `kty` is one that this crate does not verify with.
    KeyType = "unsupported_kty", "its type is not supported";
    /// `crv` is one that this crate does not verify with.
    Curve = "unsupported_crv", "its curve is not supported";
    /// A shared secret (`kty` is `oct`) among public keys.
    Symmetric = "symmetric", "it is a shared secret";
    /// A private key: it is no longer the signer's alone.
    Private = "private", "it is a private key";
    /// A public key whose private half has been published, in this set or in an earlier one of its source.
    Compromised = "compromised", "its private half has been published";
    /// `use` is there and not `sig` (RFC 7517 §4.2).
    Use = "use", "its use is not signatures";
    /// `key_ops` is there without `verify`, or names an operation twice (RFC 7517 §4.3).
    Operations = "key_ops", "its operations do not include verify";
    /// `alg` is none of the signature algorithms that this crate knows.
    Algorithm = "unsupported_alg", "its algorithm is not supported";
    /// `alg` does not fit `kty` and `crv`.
    AlgorithmMismatch = "alg_mismatch", "its algorithm does not fit its type";
    /// The key verifies none of the algorithms that are configured for its issuer.
    AlgorithmNotListed = "alg_not_listed", "it verifies none of the configured algorithms";
    /// `kid` is not a string (RFC 7517 §4.5).
    KidMalformed = "kid_malformed", "its key id is not a string";
    /// `kid` is longer than 256 octets.
    KidTooLong = "kid_too_long", "its key id is too long";
    /// A member is not base64url (RFC 7518 §2).
    Encoding = "encoding", "a member is not base64url";
    /// The modulus has fewer than 2048 or more than 8192 bits (RFC 7518 §3.3).
    RsaSize = "rsa_size", "its modulus does not have 2048 to 8192 bits";
    /// The modulus is even, or led by more than one zero octet.
    RsaModulus = "rsa_modulus", "its modulus is malformed";
    /// The exponent is even, below 3, has more than 33 bits, or is led by a zero octet.
    RsaExponent = "rsa_exponent", "its exponent is unsafe";
    /// The modulus comes from a faulty chip and can be factored (ROCA, CVE-2017-15361).
    RsaFactorable = "rsa_factorable", "its modulus can be factored";
    /// A coordinate has not the full length of its field (RFC 7518 §6.2.1.2, RFC 8037 §2).
    CoordinateLength = "coordinate_length", "a coordinate has the wrong length";
    /// The point is not on the curve.
    NotOnCurve = "not_on_curve", "its point is not on the curve";
    /// The Ed25519 point has small order, so that anybody can forge signatures, or is not in canonical form.
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
