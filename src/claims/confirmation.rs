//! `Confirmation`: the keys to which a token is bound, as its claim `cnf` names them (RFC 7800 §3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::Thumbprint;
use crate::request::Scheme;
use crate::request::credential::UsedSchemes;
use crate::token::{self, Claim, Payload, Segment};

/// The keys to which a token is bound: a DPoP key, a certificate, or both.
///
/// Other members of `cnf` are ignored (RFC 7800 §3.1). A token whose `cnf` has neither `jkt` nor `x5t#S256`, for example only `jwk` or
/// `kid`, is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Confirmation {
    jwk: Option<Thumbprint>,
    certificate: Option<CertificateThumbprint>,
}

impl Confirmation {
    /// Returns the thumbprint of the key whose proofs the client must send, `jkt` (RFC 9449 §6.1).
    #[must_use]
    pub const fn jwk_thumbprint(&self) -> Option<Thumbprint> {
        self.jwk
    }

    /// Returns the hash of the certificate with which the client must connect, `x5t#S256` (RFC 8705 §3.1).
    #[must_use]
    pub const fn certificate_thumbprint(&self) -> Option<CertificateThumbprint> {
        self.certificate
    }

    /// Returns both without copying them, for the check of every request.
    pub(crate) const fn keys(&self) -> (Option<&Thumbprint>, Option<&CertificateThumbprint>) {
        (self.jwk.as_ref(), self.certificate.as_ref())
    }

    /// Reads the claim `cnf` of a token; `None` if it is absent, malformed or has no known member.
    pub(crate) fn read(payload: &Payload) -> Option<Self> {
        payload.raw(Claim::Cnf).and_then(Self::parse)
    }

    /// Reads the JSON text of a `cnf` claim; `None` if it is malformed or has no known member. The hash of no bytes is malformed: an
    /// empty certificate is none.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        let [jwk, certificate] = token::json_members(Segment::Payload, json, ["jkt", "x5t#S256"]).ok()?;
        let digest = |member: Option<&str>| match member {
            None => Some(None),
            Some(json) => digest(json).map(Some),
        };
        let (jwk, certificate) = (digest(jwk)?.map(Thumbprint::from), digest(certificate)?.map(CertificateThumbprint));
        let is_certificate = certificate != Some(CertificateThumbprint::OF_NOTHING);
        (is_certificate && (jwk.is_some() || certificate.is_some())).then_some(Self { jwk, certificate })
    }
}

/// Decodes a JSON string of 43 characters of base64url.
fn digest(json: &str) -> Option<[u8; 32]> {
    let text = token::unquote(json)?;
    URL_SAFE_NO_PAD.decode(&*text).ok()?.try_into().ok()
}

/// The key that the client of a request has proven to have. The token is bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SenderConstraint {
    /// A DPoP proof (RFC 9449).
    Dpop {
        /// The thumbprint of the client's key.
        jkt: Thumbprint,
    },
    /// The certificate of the TLS connection (RFC 8705).
    Certificate {
        /// The hash of the client's certificate.
        x5t: CertificateThumbprint,
    },
    /// A DPoP proof and the certificate of the TLS connection.
    Both {
        /// The thumbprint of the client's key.
        jkt: Thumbprint,
        /// The hash of the client's certificate.
        x5t: CertificateThumbprint,
    },
}

/// What a request has proven about the confirmation of its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProvenConfirmation {
    #[default]
    None,
    Dpop,
    /// The certificate, for a token that was sent under this scheme.
    Certificate(Scheme),
    Both,
}

impl ProvenConfirmation {
    /// Returns the keys of a token that are proven.
    pub(super) fn constraint(self, confirmation: impl FnOnce() -> Option<Confirmation>) -> Option<SenderConstraint> {
        if self == Self::None {
            return None;
        }
        let Confirmation { jwk, certificate } = confirmation()?;
        match self {
            Self::None => None,
            Self::Dpop => jwk.map(|jkt| SenderConstraint::Dpop { jkt }),
            Self::Certificate(_) => certificate.map(|x5t| SenderConstraint::Certificate { x5t }),
            Self::Both => jwk.zip(certificate).map(|(jkt, x5t)| SenderConstraint::Both { jkt, x5t }),
        }
    }

    /// Returns the scheme under which the token was sent.
    pub(super) const fn used_schemes(self) -> UsedSchemes {
        match self {
            Self::None | Self::Certificate(Scheme::Bearer) => UsedSchemes::Bearer,
            Self::Dpop | Self::Certificate(Scheme::Dpop) | Self::Both => UsedSchemes::Dpop,
        }
    }
}

/// The SHA-256 hash of a certificate in DER (RFC 8705 §3.1). `Debug` does not show its value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateThumbprint([u8; 32]);

impl CertificateThumbprint {
    /// The hash of no bytes. A proxy that hashes the certificate of a connection without one sends it.
    pub(crate) const OF_NOTHING: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Returns the 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns base64url without padding, as `x5t#S256` has it: 43 characters.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl From<[u8; 32]> for CertificateThumbprint {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Debug for CertificateThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateThumbprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    fn members(json: &str) -> Option<(bool, bool)> {
        Confirmation::parse(json).map(|cnf| (cnf.jwk_thumbprint().is_some(), cnf.certificate_thumbprint().is_some()))
    }

    #[test]
    fn reads_both_thumbprints_and_ignores_members_beside_them() {
        assert_eq!(members(&format!(r#"{{"jkt":"{HASH}"}}"#)), Some((true, false)));
        assert_eq!(members(&format!(r#"{{"x5t#S256":"{HASH}"}}"#)), Some((false, true)));
        assert_eq!(members(&format!(r#"{{"jkt":"{HASH}","x5t\u0023S256":"{HASH}"}}"#)), Some((true, true)));
        assert_eq!(
            members(&format!(r#"{{"kc-jkt-type":1,"jkt":"{HASH}","jwk":{{}},"kid":"k"}}"#)),
            Some((true, false))
        );
        let cnf = Confirmation::parse(&format!(r#"{{"jkt":"{HASH}","x5t#S256":"{HASH}"}}"#)).expect("two hashes");
        assert_eq!(cnf.jwk_thumbprint(), HASH.parse().ok());
        assert_eq!(cnf.certificate_thumbprint().map(|hash| hash.to_base64url()).as_deref(), Some(HASH));
        assert_eq!(format!("{cnf:?}").matches("(..)").count(), 2);
    }

    #[test]
    fn rejects_a_claim_without_a_known_member() {
        for json in
            ["{}", "[]", "null", "7", "\"jkt\"", r#"{"jwk":{}}"#, r#"{"kid":"k"}"#, r#"{"jwe":"e"}"#, r#"{"jku":"u"}"#]
        {
            assert_eq!(Confirmation::parse(json), None, "{json}");
        }
    }

    #[test]
    fn rejects_the_hash_of_an_empty_certificate() {
        let nothing = CertificateThumbprint::OF_NOTHING;
        assert_eq!(nothing.as_bytes(), &crate::keys::sha256(b""));
        let nothing = nothing.to_base64url();
        assert_eq!(Confirmation::parse(&format!(r#"{{"x5t#S256":"{nothing}"}}"#)), None);
        assert_eq!(Confirmation::parse(&format!(r#"{{"jkt":"{HASH}","x5t#S256":"{nothing}"}}"#)), None);
        assert_eq!(members(&format!(r#"{{"jkt":"{nothing}"}}"#)), Some((true, false)));
    }

    #[test]
    fn rejects_a_member_that_is_not_a_canonical_hash() {
        let hex = "d1970e08e459358cbe0d6a6aab7d236722461d33747761e0941577ba282e0382";
        for value in [
            "7".to_owned(),
            "null".to_owned(),
            format!("[\"{HASH}\"]"),
            "\"\"".to_owned(),
            format!("\"{}\"", &HASH[1..]),
            format!("\"{HASH}=\""),
            format!("\"{HASH}A\""),
            format!("\"{}J\"", &HASH[..42]),
            format!("\"{}\"", HASH.replace('-', "+")),
            format!("\"{hex}\""),
        ] {
            assert_eq!(Confirmation::parse(&format!(r#"{{"jkt":{value}}}"#)), None, "{value}");
            assert_eq!(Confirmation::parse(&format!(r#"{{"x5t#S256":{value}}}"#)), None, "{value}");
            assert_eq!(Confirmation::parse(&format!(r#"{{"jkt":"{HASH}","x5t#S256":{value}}}"#)), None, "{value}");
        }
        assert_eq!(Confirmation::parse(&format!(r#"{{"jkt":"{HASH}","jkt":"{HASH}"}}"#)), None);
    }
}
