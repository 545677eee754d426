//! One JWK (RFC 7517 §4), vetted alone: whatever is wrong with it concerns no other key.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use crate::defaults;
use crate::keys::error::SkipReason;
use crate::keys::json::Members;
use crate::keys::material::{Curve, Material};
use crate::token::Algorithm;

/// A public key as it was published.
#[derive(Clone)]
pub(super) struct PublishedKey {
    pub(super) kid: Option<Box<str>>,
    /// The one algorithm that the key is for; if absent, whoever configures the API decides, never a token.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) material: Material,
}

/// A key that was passed over, with its id where it has one.
pub(super) struct Refused {
    pub(super) kid: Option<Box<str>>,
    pub(super) reason: SkipReason,
}

impl PublishedKey {
    /// Vets one element of a set.
    pub(super) fn from_json(json: &str) -> Result<Self, Refused> {
        let Some(members) = Members::of(json) else {
            let is_object = json.starts_with('{');
            let reason = if is_object { SkipReason::MemberMalformed } else { SkipReason::NotAnObject };
            return Err(Refused { kid: None, reason });
        };
        // Read first, so that a token naming a key that was passed over is known to name one.
        let kid = key_id(&members);
        let known = kid.as_ref().ok().cloned().flatten();
        Self::from_members(&members, kid).map_err(|reason| Refused { kid: known, reason })
    }

    fn from_members(members: &Members<'_>, kid: Result<Option<Box<str>>, SkipReason>) -> Result<Self, SkipReason> {
        if members.has_duplicate() {
            return Err(SkipReason::DuplicateMember);
        }
        let key_type = required_text(members, "kty");
        if key_type.as_deref() == Ok("oct") {
            return Err(SkipReason::Symmetric);
        }
        if PRIVATE_MEMBERS.iter().any(|name| members.has(name)) {
            return Err(SkipReason::Private);
        }
        let key_type = key_type?;
        if !KEY_TYPES.contains(&&*key_type) {
            return Err(SkipReason::KeyType);
        }
        let kid = kid?;
        vet_use(members)?;
        let algorithm =
            text(members, "alg")?.map(|name| Algorithm::from_name(&name).ok_or(SkipReason::Algorithm)).transpose()?;
        let material = material(members, &key_type)?;
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return Err(SkipReason::AlgorithmMismatch);
        }
        Ok(Self { kid, algorithm, material })
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

/// RFC 7518 §6.2.2, §6.3.2 and §6.4.1, RFC 8037 §2, and `priv` of the key type `AKP`.
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::fixtures::{ED25519, P256, P384, P521, RSA, changed, lacking, published};

    fn refused(json: &str) -> SkipReason {
        PublishedKey::from_json(json).map(drop).map_err(|refused| refused.reason).expect_err(json)
    }

    fn member(jwk: &str, name: &str) -> String {
        serde_json::from_str::<serde_json::Value>(jwk).expect("a fixture")[name].as_str().expect("text").to_owned()
    }

    #[test]
    fn takes_every_supported_type_and_ignores_what_it_does_not_know() {
        for jwk in [RSA, P256, P384, P521, ED25519] {
            assert!(published(jwk).kid.is_none());
        }
        let vendors =
            r#"{"x5c":5,"x5t":null,"x5t#S256":[],"x5u":{},"issuer":"https://x/{tenantid}","status":"y","exp":"z","#;
        assert!(published(&RSA.replacen('{', vendors, 1)).algorithm.is_none());
        assert_eq!(published(&changed(ED25519, "alg", "Ed25519")).algorithm, Some(Algorithm::EdDSA));
    }

    #[test]
    fn refuses_what_is_not_an_object() {
        for json in ["null", "5", "[]", r#""RSA""#, "true"] {
            assert_eq!(refused(json), SkipReason::NotAnObject, "{json}");
        }
    }

    #[test]
    fn refuses_two_members_of_one_name() {
        for twice in [r#"{"n":"AQAB","#, r#"{"\u006e":"AQAB","#, r#"{"kty":"RSA","#, r#"{"x":1,"x":1,"#] {
            assert_eq!(refused(&RSA.replacen('{', twice, 1)), SkipReason::DuplicateMember, "{twice}");
        }
    }

    #[test]
    fn refuses_unknown_types_and_curves() {
        assert_eq!(refused(&lacking(RSA, "kty")), SkipReason::MemberMissing);
        assert_eq!(refused(&changed(RSA, "kty", 1)), SkipReason::MemberMalformed);
        for key_type in ["AKP", "rsa", "RSA ", "EC2", ""] {
            assert_eq!(refused(&changed(RSA, "kty", key_type)), SkipReason::KeyType, "{key_type}");
        }
        for curve in ["secp256k1", "p-256", "Ed25519", "P-256 ", ""] {
            assert_eq!(refused(&changed(P256, "crv", curve)), SkipReason::Curve, "{curve}");
        }
        for curve in ["Ed448", "X25519", "X448", "P-256", "ed25519"] {
            assert_eq!(refused(&changed(ED25519, "crv", curve)), SkipReason::Curve, "{curve}");
        }
        assert_eq!(refused(&changed(P256, "crv", 256)), SkipReason::MemberMalformed);
    }

    #[test]
    fn refuses_secrets_and_private_keys() {
        assert_eq!(refused(r#"{"kty":"oct","k":"AAAA","kid":"1"}"#), SkipReason::Symmetric);
        assert_eq!(refused(r#"{"kty":"oct"}"#), SkipReason::Symmetric);
        for jwk in [RSA, P256, ED25519] {
            for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                for value in [json!("AQAB"), json!(null), json!("")] {
                    assert_eq!(refused(&changed(jwk, private, value)), SkipReason::Private, "{private}");
                }
            }
        }
        assert_eq!(refused(r#"{"kty":"AKP","priv":"AAAA"}"#), SkipReason::Private);
    }

    #[test]
    fn refuses_keys_for_other_purposes() {
        for usage in ["enc", "SIG", "sig ", "", "signature"] {
            assert_eq!(refused(&changed(RSA, "use", usage)), SkipReason::Use, "{usage}");
        }
        for malformed in [json!(1), json!(null), json!(["sig"])] {
            assert_eq!(refused(&changed(RSA, "use", malformed)), SkipReason::MemberMalformed);
        }
        for operations in [
            json!([]),
            json!(["encrypt"]),
            json!(["sign"]),
            json!(["VERIFY"]),
            json!(["verify", "verify"]),
            json!(["verify", 1]),
            json!("verify"),
            json!(null),
            json!({"verify": true}),
        ] {
            assert_eq!(refused(&changed(RSA, "key_ops", operations)), SkipReason::Operations);
        }
        let both = changed(&changed(RSA, "use", "sig"), "key_ops", json!(["sign", "verify"]));
        assert_eq!(published(&both).algorithm, None);
    }

    #[test]
    fn refuses_algorithms_that_it_does_not_know_or_that_do_not_fit() {
        for algorithm in ["RSA-OAEP", "ES256K", "none", "rs256", "", "A256GCM", "ES521"] {
            assert_eq!(refused(&changed(RSA, "alg", algorithm)), SkipReason::Algorithm, "{algorithm}");
        }
        assert_eq!(refused(&changed(RSA, "alg", 256)), SkipReason::MemberMalformed);
        for (jwk, fitting) in [
            (RSA, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
            (P256, &["ES256"]),
            (P384, &["ES384"]),
            (P521, &["ES512"]),
            (ED25519, &["EdDSA"]),
        ] {
            for algorithm in Algorithm::ALL {
                let jwk = changed(jwk, "alg", algorithm.name());
                if fitting.contains(&algorithm.name()) {
                    assert_eq!(published(&jwk).algorithm, Some(algorithm));
                } else {
                    assert_eq!(refused(&jwk), SkipReason::AlgorithmMismatch, "{jwk}");
                }
            }
        }
    }

    #[test]
    fn bounds_and_types_the_key_id_and_keeps_that_of_a_refused_key() {
        for malformed in [json!(1), json!(null), json!(["1"]), json!({})] {
            assert_eq!(refused(&changed(RSA, "kid", malformed)), SkipReason::KidMalformed);
        }
        assert_eq!(refused(&changed(RSA, "kid", "k".repeat(257))), SkipReason::KidTooLong);
        for kid in ["k".repeat(256), String::new(), "\u{0}/é".to_owned()] {
            assert_eq!(published(&changed(RSA, "kid", kid.as_str())).kid.as_deref(), Some(kid.as_str()));
        }
        let refused = PublishedKey::from_json(r#"{"kty":"RSA","use":"enc","kid":"7"}"#).err().expect("refused");
        assert_eq!((refused.kid.as_deref(), refused.reason), (Some("7"), SkipReason::Use));
    }

    #[test]
    fn reads_numbers_as_base64url_with_or_without_padding() {
        let n = member(RSA, "n");
        assert!(published(&changed(RSA, "n", format!("{n}=="))).material.fits(Algorithm::RS256));
        for n in
            [format!("{n}="), n.replace(['-', '_'], "+"), format!("{n} "), format!("{}B", &n[..341]), "é".to_owned()]
        {
            assert_eq!(refused(&changed(RSA, "n", n.as_str())), SkipReason::Encoding, "{n}");
        }
        assert_eq!(refused(&changed(RSA, "n", "")), SkipReason::RsaModulus);
        assert_eq!(refused(&changed(RSA, "n", 5)), SkipReason::MemberMalformed);
        for (jwk, name) in
            [(RSA, "n"), (RSA, "e"), (P256, "x"), (P256, "y"), (P256, "crv"), (ED25519, "x"), (ED25519, "crv")]
        {
            assert_eq!(refused(&lacking(jwk, name)), SkipReason::MemberMissing, "{name}");
        }
    }
}
