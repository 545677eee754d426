use serde_json::json;

use super::*;
use crate::keys::fixtures::{ED25519, P256, P384, P521, RSA, changed, lacking, published};

fn refused(json: &str) -> SkipReason {
    refused_with(json, PrivateKeys::Skipped)
}

fn refused_with(json: &str, private: PrivateKeys) -> SkipReason {
    PublishedKey::from_json(json, private).map(drop).map_err(|refused| refused.reason).expect_err(json)
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
fn refuses_reserved_member_names_at_any_depth() {
    for member in [
        r#"{"$serde_json::private::RawValue":"1","#,
        r#"{"\u0024serde_json::private::Number":"1","#,
        r#"{"x5c":[{"$serde_json::private::RawValue":"1"}],"#,
    ] {
        let jwk = RSA.replacen('{', member, 1);
        assert_eq!(refused(&jwk), SkipReason::ReservedMember, "{member}");
        assert_eq!(refused(&jwk.replacen('{', r#"{"d":"AQAB","#, 1)), SkipReason::Private, "{member}");
    }
    assert!(published(&RSA.replacen('{', r#"{"x":"$serde_json::private::RawValue","#, 1)).kid.is_none());
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
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        assert_eq!(refused(&changed(RSA, private, "AQAB")), SkipReason::Private, "{private}");
    }
    assert_eq!(refused(&changed(RSA, "oth", json!([{}]))), SkipReason::Private);
    for jwk in [P256, ED25519] {
        assert_eq!(refused(&changed(jwk, "d", "AQAB")), SkipReason::Private, "{jwk}");
    }
    assert_eq!(refused(r#"{"kty":"AKP","priv":"AAAA"}"#), SkipReason::Private);
}

/// Serializers write members that a key does not have as `null` or as empty text.
#[test]
fn accepts_private_members_without_a_value() {
    for jwk in [RSA, P256, ED25519] {
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            for value in [json!(null), json!(""), json!([]), json!(0)] {
                let key = PublishedKey::from_json(&changed(jwk, private, value.clone()), PrivateKeys::PublicHalfUsed);
                assert!(!key.ok().expect("a good key").is_disclosed, "{private}: {value}");
                published(&changed(jwk, private, value));
            }
        }
    }
    published(&RSA.replacen('{', r#"{"oth": [ ],"#, 1));
}

#[test]
fn private_members_are_those_of_the_key_type() {
    for member in ["p", "q", "dp", "dq", "qi", "k", "priv"] {
        published(&changed(P256, member, "AQAB"));
        published(&changed(ED25519, member, "AQAB"));
    }
    for (jwk, reason) in [
        (r#"{"kty":"DSA","p":"AA","q":"AA","g":"AA","y":"AA"}"#, SkipReason::KeyType),
        (r#"{"kty":"LMS","k":"AA"}"#, SkipReason::KeyType),
        (r#"{"kty":"AKP","pub":"AA","d":"AA"}"#, SkipReason::KeyType),
        (r#"{"kty":"LMS","priv":"AA"}"#, SkipReason::Private),
        (r#"{"kty":"DSA","d":"AA"}"#, SkipReason::Private),
        (r#"{"d":"AA"}"#, SkipReason::Private),
        (r#"{"kty":7,"d":"AA"}"#, SkipReason::Private),
        (r#"{"kty":"oct","d":"AA","k":"AA"}"#, SkipReason::Symmetric),
        (r#"{"kty":"oct","kty":"oct","k":"AA","d":"AA"}"#, SkipReason::DuplicateMember),
        (r#"{"kty":"oct","kty":"EC","d":"AA"}"#, SkipReason::Private),
        (r#"{"kty":"oct","kty":"EC","k":"AA"}"#, SkipReason::DuplicateMember),
        (r#"{"kty":"RSA","d":"","d":"AA"}"#, SkipReason::Private),
    ] {
        assert_eq!(refused(jwk), reason, "{jwk}");
    }
}

#[test]
fn takes_the_public_half_of_a_private_key_on_request() {
    let used = |json: &str| PublishedKey::from_json(json, PrivateKeys::PublicHalfUsed).ok().expect("a good key");
    for jwk in [RSA, P256, ED25519] {
        let public = used(jwk);
        assert!(!public.is_disclosed);
        let jwk = changed(jwk, "d", "AQAB");
        let key = used(&jwk);
        assert!(key.is_disclosed);
        assert_eq!(key.material.thumbprint(), public.material.thumbprint());
        assert_eq!(refused(&jwk), SkipReason::Private);
    }
    let refused = |json: &str| refused_with(json, PrivateKeys::PublicHalfUsed);
    // What is more wrong with a private key takes nothing off its being one.
    for (member, value) in
        [("use", json!("enc")), ("key_ops", json!(["sign"])), ("alg", json!("none")), ("n", json!("AQAB"))]
    {
        assert_eq!(
            refused(&changed(&changed(RSA, "d", "AQAB"), member, value.clone())),
            SkipReason::Private,
            "{member}"
        );
        assert_ne!(refused(&changed(RSA, member, value)), SkipReason::Private, "{member}");
    }
    assert_eq!(refused(r#"{"kty":"AKP","priv":"AAAA"}"#), SkipReason::Private);
    assert_eq!(refused(r#"{"d":"AAAA"}"#), SkipReason::Private);
    assert_eq!(refused(r#"{"kty":"oct","k":"AAAA"}"#), SkipReason::Symmetric);
    assert_eq!(refused(&changed(RSA, "kid", 7)), SkipReason::KidMalformed);
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
    for too_long in ["k".repeat(257), "é".repeat(129)] {
        assert_eq!(refused(&changed(RSA, "kid", too_long)), SkipReason::KidTooLong);
    }
    for kid in ["k".repeat(256), "é".repeat(128), String::new(), "\u{0}/é".to_owned()] {
        assert_eq!(published(&changed(RSA, "kid", kid.as_str())).kid.as_deref(), Some(kid.as_str()));
    }
    let refused =
        PublishedKey::from_json(r#"{"kty":"RSA","use":"enc","kid":"7"}"#, PrivateKeys::Skipped).err().expect("refused");
    assert_eq!((refused.kid.as_deref(), refused.reason), (Some("7"), SkipReason::Use));
}

#[test]
fn reads_numbers_as_base64url_with_or_without_padding() {
    let n = member(RSA, "n");
    assert!(published(&changed(RSA, "n", format!("{n}=="))).material.fits(Algorithm::RS256));
    for n in [format!("{n}="), n.replace(['-', '_'], "+"), format!("{n} "), format!("{}B", &n[..341]), "é".to_owned()]
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
