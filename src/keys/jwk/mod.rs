//! One JWK (RFC 7517 §4), vetted alone: whatever is wrong with it concerns no other key.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use crate::defaults;
use crate::keys::error::SkipReason;
use crate::keys::json::Members;
use crate::keys::material::{Curve, Material};
use crate::keys::scan::scan;
use crate::keys::thumbprint::Thumbprint;
use crate::token::Algorithm;

/// A public key as it was published.
#[derive(Clone)]
pub(super) struct PublishedKey {
    pub(super) kid: Option<Box<str>>,
    /// The one algorithm that the key is for; if absent, whoever configures the API decides, never a token.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) material: Material,
    /// The private half was published with it.
    pub(super) is_disclosed: bool,
    /// Where it stands in its set, from 0.
    pub(super) position: usize,
}

/// What becomes of a private key in a published set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrivateKeys {
    Skipped,
    PublicHalfUsed,
}

/// A key that was passed over, with its id where it has one.
pub(super) struct Refused {
    pub(super) kid: Option<Box<str>>,
    pub(super) reason: SkipReason,
    /// That of its public half, if that could be read.
    pub(super) thumbprint: Option<Thumbprint>,
}

impl PublishedKey {
    /// Vets one element of a set.
    pub(super) fn from_json(json: &str, private: PrivateKeys) -> Result<Self, Refused> {
        let Some(members) = Members::of(json) else {
            let is_object = json.starts_with('{');
            let reason = match is_object {
                true if scan(json.as_bytes()).iter().any(|key| key.is_private) => SkipReason::Private,
                true => SkipReason::MemberMalformed,
                false => SkipReason::NotAnObject,
            };
            return Err(Refused { kid: None, reason, thumbprint: None });
        };
        // Read first, so that a token naming a key that was passed over is known to name one.
        let kid = key_id(&members);
        let known = kid.as_ref().ok().cloned().flatten();
        Self::from_members(&members, kid, private).map_err(|reason| {
            let material = required_text(&members, "kty").and_then(|key_type| material(&members, &key_type));
            Refused { kid: known, reason, thumbprint: material.ok().map(|material| material.thumbprint()) }
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
        match key_type.and_then(|key_type| Self::public_half(members, &key_type, kid)) {
            Ok(key) => Ok(Self { is_disclosed, ..key }),
            // Whatever else is wrong with it: this is what has to be told.
            Err(_) if is_disclosed => Err(SkipReason::Private),
            Err(reason) => Err(reason),
        }
    }

    /// Reads what verifies; members that sign are not looked at.
    fn public_half(
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
        vet_use(members)?;
        let algorithm =
            text(members, "alg")?.map(|name| Algorithm::from_name(&name).ok_or(SkipReason::Algorithm)).transpose()?;
        let material = material(members, key_type)?;
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return Err(SkipReason::AlgorithmMismatch);
        }
        Ok(Self { kid, algorithm, material, is_disclosed: false, position: 0 })
    }

    /// Says whether the key may verify this algorithm.
    pub(super) fn verifies(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.fits(algorithm)
    }
}

/// Returns whether the members, with their JSON texts, are those of a private key: whether one that is private for the key
/// type has a value. Some serializers write members that a key does not have as `null` or `""`.
///
/// With several members `kty`, each of them counts.
pub(super) fn is_private<'m>(members: impl Iterator<Item = (&'m str, &'m str)> + Clone) -> bool {
    let mut key_types =
        members.clone().filter(|(name, _)| *name == "kty").map(|(_, json)| private_members(json)).peekable();
    let private: Vec<&str> = match key_types.peek() {
        Some(_) => key_types.flatten().copied().collect(),
        None => OTHER_PRIVATE_MEMBERS.to_vec(),
    };
    members.into_iter().any(|(name, json)| private.contains(&name) && has_value(name, json))
}

/// The private members of a key type, given as JSON text: RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2, and `AKP`. A shared
/// secret has none.
fn private_members(key_type: &str) -> &'static [&'static str] {
    match serde_json::from_str::<String>(key_type).as_deref() {
        Ok("RSA") => &["d", "p", "q", "dp", "dq", "qi", "oth"],
        Ok("EC" | "OKP") => &["d"],
        Ok("AKP") => &["priv"],
        Ok("oct") => &[],
        _ => OTHER_PRIVATE_MEMBERS,
    }
}

/// Returns whether a private member has a value: a string, or for `oth` an array, that is not empty.
fn has_value(name: &str, json: &str) -> bool {
    match name {
        "oth" => json.strip_prefix('[').is_some_and(|elements| !elements.trim_start().starts_with(']')),
        _ => json.starts_with('"') && json != "\"\"",
    }
}

/// RFC 7517 §4.5: a string, here of at most 256 octets.
fn key_id(members: &Members<'_>) -> Result<Option<Box<str>>, SkipReason> {
    let kid = text(members, "kid").map_err(|_| SkipReason::KidMalformed)?;
    match kid {
        Some(kid) if kid.len() > defaults::MAX_KID_BYTES => Err(SkipReason::KidTooLong),
        kid => Ok(kid.map(String::into_boxed_str)),
    }
}

/// RFC 7517 §4.2 and §4.3: a key says what it is for, and both ways of saying it must agree.
fn vet_use(members: &Members<'_>) -> Result<(), SkipReason> {
    if text(members, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(SkipReason::Use);
    }
    let Some(operations) = raw(members, "key_ops")? else { return Ok(()) };
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
        "RSA" => Material::rsa(&octets(members, "n")?, &octets(members, "e")?),
        "EC" => {
            let curve = Curve::from_name(&required_text(members, "crv")?).ok_or(SkipReason::Curve)?;
            Material::ec(curve, &octets(members, "x")?, &octets(members, "y")?)
        }
        "OKP" if required_text(members, "crv")? == "Ed25519" => Material::ed25519(&octets(members, "x")?),
        "OKP" => Err(SkipReason::Curve),
        _ => Err(SkipReason::KeyType),
    }
}

fn raw<'j>(members: &Members<'j>, name: &str) -> Result<Option<&'j str>, SkipReason> {
    members.only(name).map_err(|_| SkipReason::DuplicateMember)
}

fn text(members: &Members<'_>, name: &str) -> Result<Option<String>, SkipReason> {
    match raw(members, name)? {
        None => Ok(None),
        Some(json) => serde_json::from_str(json).map(Some).map_err(|_| SkipReason::MemberMalformed),
    }
}

fn required_text(members: &Members<'_>, name: &str) -> Result<String, SkipReason> {
    text(members, name)?.ok_or(SkipReason::MemberMissing)
}

fn octets(members: &Members<'_>, name: &str) -> Result<Vec<u8>, SkipReason> {
    let text = required_text(members, name)?;
    // RFC 7518 §2 wants no padding, yet it is met in the field.
    let base64url = if text.ends_with('=') { URL_SAFE } else { URL_SAFE_NO_PAD };
    base64url.decode(text).map_err(|_| SkipReason::Encoding)
}

const KEY_TYPES: [&str; 3] = ["RSA", "EC", "OKP"];

/// The names that hold private keys in the known key types; others have public members with names like `p` and `k`.
const OTHER_PRIVATE_MEMBERS: &[&str] = &["d", "priv"];

#[cfg(test)]
mod tests;
