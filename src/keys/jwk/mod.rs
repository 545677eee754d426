//! Parses and checks one JWK (RFC 7517 §4), independently of the other keys of its set.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use crate::defaults;
use crate::keys::error::SkipReason;
use crate::keys::json::Members;
use crate::keys::material::{Curve, Material};
use crate::keys::private::is_private;
use crate::keys::scan::scan_private;
use crate::keys::thumbprint::Thumbprint;
use crate::token::{Algorithm, CertificateHashes};

/// A published public key.
#[derive(Clone)]
pub(super) struct PublishedKey {
    pub(super) kid: Option<Box<str>>,
    /// The `alg` of the key. If it is absent, the configuration of the API decides, never a token.
    pub(super) algorithm: Option<Algorithm>,
    /// The hashes of its certificate, as published; the certificate itself is not read.
    pub(super) certificate: Option<CertificateHashes>,
    /// The member `issuer`, by which Entra ID says which tenant uses the key. Empty if it is not a string.
    pub(super) issuer: Option<Box<str>>,
    pub(super) material: Material,
    /// Whether the JWK also contains the private key.
    pub(super) is_disclosed: bool,
    /// Its position in the set, from 0.
    pub(super) position: usize,
}

/// The treatment of a private key in a published set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrivateKeys {
    /// The key is skipped.
    Skipped,
    /// The public key is used.
    Accepted,
}

/// A JWK that was skipped, with its `kid` if it has one.
pub(super) struct SkippedJwk {
    pub(super) kid: Option<Box<str>>,
    pub(super) reason: SkipReason,
    /// The thumbprint of its public key, if that could be parsed.
    pub(super) thumbprint: Option<Thumbprint>,
    /// The hashes of its certificate, as published.
    pub(super) certificate: Option<CertificateHashes>,
}

impl PublishedKey {
    /// Parses and checks one element of a set.
    pub(super) fn from_json(json: &str, private: PrivateKeys) -> Result<Self, SkippedJwk> {
        let Some(members) = Members::parse(json) else {
            let is_object = json.starts_with('{');
            let reason = match is_object {
                true if !scan_private(json.as_bytes()).is_empty() => SkipReason::Private,
                true => SkipReason::MalformedMember,
                false => SkipReason::NotAnObject,
            };
            return Err(SkippedJwk { kid: None, reason, thumbprint: None, certificate: None });
        };
        // The `kid` is parsed first, so that a token with the `kid` of a skipped key is not an unknown kid.
        let kid = parse_kid(&members);
        let kid_if_valid = kid.as_ref().ok().cloned().flatten();
        Self::from_members(&members, kid, private).map_err(|reason| {
            let material = required_text(&members, "kty").and_then(|key_type| material(&members, &key_type));
            let thumbprint = material.ok().map(|material| material.thumbprint());
            SkippedJwk { kid: kid_if_valid, reason, thumbprint, certificate: certificate(&members) }
        })
    }

    fn from_members(
        members: &Members<'_>,
        kid: Result<Option<Box<str>>, SkipReason>,
        private: PrivateKeys,
    ) -> Result<Self, SkipReason> {
        let key_type = required_text(members, "kty");
        let is_symmetric = key_type.as_deref() == Ok("oct");
        let is_disclosed = is_private(members.iter());
        if is_disclosed && (private == PrivateKeys::Skipped || members.has_duplicate()) {
            return Err(SkipReason::Private);
        }
        if members.has_duplicate() {
            return Err(SkipReason::DuplicateMember);
        }
        if is_symmetric {
            return Err(SkipReason::Symmetric);
        }
        match key_type.and_then(|key_type| Self::public_key(members, &key_type, kid)) {
            Ok(key) => Ok(Self { is_disclosed, ..key }),
            // If several reasons apply, `Private` is reported, because it needs action by the issuer.
            Err(_) if is_disclosed => Err(SkipReason::Private),
            Err(reason) => Err(reason),
        }
    }

    /// Parses the public members. Private members are ignored.
    fn public_key(
        members: &Members<'_>,
        key_type: &str,
        kid: Result<Option<Box<str>>, SkipReason>,
    ) -> Result<Self, SkipReason> {
        if !KEY_TYPES.contains(&key_type) {
            return Err(SkipReason::KeyType);
        }
        if members.has_reserved(None) {
            return Err(SkipReason::ReservedMember);
        }
        let kid = kid?;
        check_use(members)?;
        let algorithm = key_algorithm(text(members, "alg")?.as_deref())?;
        let material = material(members, key_type)?;
        if algorithm.is_some_and(|algorithm| !material.supports(algorithm)) {
            return Err(SkipReason::AlgorithmMismatch);
        }
        let (certificate, issuer) = (certificate(members), issuer(members));
        Ok(Self { kid, algorithm, certificate, issuer, material, is_disclosed: false, position: 0 })
    }

    /// Returns whether the key may verify this algorithm.
    pub(super) fn verifies(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.supports(algorithm)
    }
}

/// Parses `kid`: a string (RFC 7517 §4.5) of at most 256 bytes.
fn parse_kid(members: &Members<'_>) -> Result<Option<Box<str>>, SkipReason> {
    let kid = text(members, "kid").map_err(|_| SkipReason::MalformedKid)?;
    match kid {
        Some(kid) if kid.len() > defaults::MAX_KID_BYTES => Err(SkipReason::KidTooLong),
        kid => Ok(kid.map(String::into_boxed_str)),
    }
}

/// Returns the `alg` of a key (RFC 7517 §4.4).
pub(super) fn key_algorithm(name: Option<&str>) -> Result<Option<Algorithm>, SkipReason> {
    name.map(|name| Algorithm::from_name(name).ok_or(SkipReason::Algorithm)).transpose()
}

fn check_use(members: &Members<'_>) -> Result<(), SkipReason> {
    check_usage(text(members, "use")?.as_deref(), raw(members, "key_ops")?)
}

/// Checks that `use` and the JSON text of `key_ops` both allow the verification of signatures (RFC 7517 §4.2, §4.3).
pub(super) fn check_usage(usage: Option<&str>, operations: Option<&str>) -> Result<(), SkipReason> {
    if usage.is_some_and(|usage| usage != "sig") {
        return Err(SkipReason::Use);
    }
    let Some(operations) = operations else { return Ok(()) };
    let mut operations: Vec<String> = serde_json::from_str(operations).map_err(|_| SkipReason::Operations)?;
    let count = operations.len();
    operations.sort_unstable();
    operations.dedup();
    if operations.len() != count || !operations.iter().any(|operation| operation == "verify") {
        return Err(SkipReason::Operations);
    }
    Ok(())
}

fn material(members: &Members<'_>, key_type: &str) -> Result<Material, SkipReason> {
    match key_type {
        "RSA" => Material::rsa(&bytes(members, "n")?, &bytes(members, "e")?),
        "EC" => {
            let curve = Curve::from_name(&required_text(members, "crv")?).ok_or(SkipReason::Curve)?;
            Material::ec(curve, &bytes(members, "x")?, &bytes(members, "y")?)
        }
        "OKP" if required_text(members, "crv")? == "Ed25519" => Material::ed25519(&bytes(members, "x")?),
        "OKP" => Err(SkipReason::Curve),
        _ => Err(SkipReason::KeyType),
    }
}

fn raw<'j>(members: &Members<'j>, name: &str) -> Result<Option<&'j str>, SkipReason> {
    members.unique(name).map_err(|_| SkipReason::DuplicateMember)
}

fn text(members: &Members<'_>, name: &str) -> Result<Option<String>, SkipReason> {
    match raw(members, name)? {
        None => Ok(None),
        Some(json) => serde_json::from_str(json).map(Some).map_err(|_| SkipReason::MalformedMember),
    }
}

/// Returns the hashes of the certificate. A malformed one does not affect the key: no token can have the same.
fn certificate(members: &Members<'_>) -> Option<CertificateHashes> {
    let hash = |name| {
        let text = text(members, name).ok().flatten();
        text.filter(|text| CertificateHashes::is_hash(text)).map(String::into_boxed_str)
    };
    CertificateHashes::new(hash("x5t#S256"), hash("x5t"))
}

fn issuer(members: &Members<'_>) -> Option<Box<str>> {
    text(members, "issuer").map(|issuer| issuer.map(String::into_boxed_str)).unwrap_or_else(|_| Some(Box::default()))
}

fn required_text(members: &Members<'_>, name: &str) -> Result<String, SkipReason> {
    text(members, name)?.ok_or(SkipReason::MissingMember)
}

fn bytes(members: &Members<'_>, name: &str) -> Result<Vec<u8>, SkipReason> {
    let text = required_text(members, name)?;
    // RFC 7518 §2 forbids padding, but some issuers publish it.
    let base64url = if text.ends_with('=') { URL_SAFE } else { URL_SAFE_NO_PAD };
    base64url.decode(text).map_err(|_| SkipReason::Encoding)
}

const KEY_TYPES: [&str; 3] = ["RSA", "EC", "OKP"];

#[cfg(test)]
mod tests;
