use serde_json::json;

use super::*;
use crate::keys::fixtures::{self, ED25519, P256, P384, P521, RSA, changed, lacking, member, published};

fn skip_reason(json: &str) -> SkipReason {
    skip_reason_with(json, PrivateKeys::Skipped)
}

fn skip_reason_with(json: &str, private: PrivateKeys) -> SkipReason {
    PublishedKey::from_json(json, private).map(drop).map_err(|skipped| skipped.reason).expect_err(json)
}

#[test]
fn accepts_every_supported_type_and_ignores_unknown_members() {
    for jwk in [RSA, P256, P384, P521, ED25519] {
        assert!(published(jwk).kid.is_none());
    }
    let vendors =
        r#"{"x5c":5,"x5t":null,"x5t#S256":[],"x5u":{},"issuer":"https://x/{tenantid}","status":"y","exp":"z","#;
    assert!(published(&RSA.replacen('{', vendors, 1)).algorithm.is_none());
    assert_eq!(published(&changed(ED25519, "alg", "Ed25519")).algorithm, Some(Algorithm::EdDSA));
}

#[test]
fn skips_elements_that_are_not_objects() {
    for json in ["null", "5", "[]", r#""RSA""#, "true"] {
        assert_eq!(skip_reason(json), SkipReason::NotAnObject, "{json}");
    }
}

#[test]
fn skips_keys_with_duplicate_members() {
    for twice in [r#"{"n":"AQAB","#, r#"{"\u006e":"AQAB","#, r#"{"kty":"RSA","#, r#"{"x":1,"x":1,"#] {
        assert_eq!(skip_reason(&RSA.replacen('{', twice, 1)), SkipReason::DuplicateMember, "{twice}");
    }
}

#[test]
fn skips_keys_with_reserved_member_names_at_any_depth() {
    for member in [
        r#"{"$serde_json::private::RawValue":"1","#,
        r#"{"\u0024serde_json::private::Number":"1","#,
        r#"{"x5c":[{"$serde_json::private::RawValue":"1"}],"#,
    ] {
        let jwk = RSA.replacen('{', member, 1);
        assert_eq!(skip_reason(&jwk), SkipReason::ReservedMember, "{member}");
        assert_eq!(skip_reason(&jwk.replacen('{', r#"{"d":"AQAB","#, 1)), SkipReason::Private, "{member}");
    }
    assert!(published(&RSA.replacen('{', r#"{"x":"$serde_json::private::RawValue","#, 1)).kid.is_none());
}

#[test]
fn skips_unknown_types_and_curves() {
    assert_eq!(skip_reason(&lacking(RSA, "kty")), SkipReason::MissingMember);
    assert_eq!(skip_reason(&changed(RSA, "kty", 1)), SkipReason::MalformedMember);
    for key_type in ["AKP", "rsa", "RSA ", "EC2", ""] {
        assert_eq!(skip_reason(&changed(RSA, "kty", key_type)), SkipReason::KeyType, "{key_type}");
    }
    for curve in ["secp256k1", "p-256", "Ed25519", "P-256 ", ""] {
        assert_eq!(skip_reason(&changed(P256, "crv", curve)), SkipReason::Curve, "{curve}");
    }
    for curve in ["Ed448", "X25519", "X448", "P-256", "ed25519"] {
        assert_eq!(skip_reason(&changed(ED25519, "crv", curve)), SkipReason::Curve, "{curve}");
    }
    assert_eq!(skip_reason(&changed(P256, "crv", 256)), SkipReason::MalformedMember);
}

#[test]
fn skips_secrets_and_private_keys() {
    assert_eq!(skip_reason(r#"{"kty":"oct","k":"AAAA","kid":"1"}"#), SkipReason::Symmetric);
    assert_eq!(skip_reason(r#"{"kty":"oct"}"#), SkipReason::Symmetric);
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        assert_eq!(skip_reason(&changed(RSA, private, "AQAB")), SkipReason::Private, "{private}");
    }
    assert_eq!(skip_reason(&changed(RSA, "oth", json!([{}]))), SkipReason::Private);
    for bytes in [json!([12, 55]), json!([[]]), json!(123)] {
        assert_eq!(skip_reason(&changed(RSA, "d", bytes.clone())), SkipReason::Private, "{bytes}");
    }
    for jwk in [P256, ED25519] {
        assert_eq!(skip_reason(&changed(jwk, "d", "AQAB")), SkipReason::Private, "{jwk}");
    }
    assert_eq!(skip_reason(r#"{"kty":"AKP","priv":"AAAA"}"#), SkipReason::Private);
}

/// Serializers write members that a key does not have as `null` or as empty text.
#[test]
fn accepts_private_members_without_a_value() {
    for jwk in [RSA, P256, ED25519] {
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            for value in [json!(null), json!(""), json!([]), json!(0)] {
                let key = PublishedKey::from_json(&changed(jwk, private, value.clone()), PrivateKeys::Accepted);
                assert!(!key.ok().expect("a good key").is_disclosed, "{private}: {value}");
                published(&changed(jwk, private, value));
            }
        }
    }
    published(&RSA.replacen('{', r#"{"oth": [ ],"#, 1));
}

#[test]
fn skips_only_private_members_of_the_key_type() {
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
        assert_eq!(skip_reason(jwk), reason, "{jwk}");
    }
}

#[test]
fn accepts_the_public_key_of_a_private_key_if_configured() {
    let used = |json: &str| PublishedKey::from_json(json, PrivateKeys::Accepted).ok().expect("a good key");
    for jwk in [RSA, P256, ED25519] {
        let public = used(jwk);
        assert!(!public.is_disclosed);
        let jwk = changed(jwk, "d", "AQAB");
        let key = used(&jwk);
        assert!(key.is_disclosed);
        assert_eq!(key.material.thumbprint(), public.material.thumbprint());
        assert_eq!(skip_reason(&jwk), SkipReason::Private);
    }
    let skip_reason = |json: &str| skip_reason_with(json, PrivateKeys::Accepted);
    // A private key with further defects is still reported as a private key.
    for (member, value) in
        [("use", json!("enc")), ("key_ops", json!(["sign"])), ("alg", json!("none")), ("n", json!("AQAB"))]
    {
        assert_eq!(
            skip_reason(&changed(&changed(RSA, "d", "AQAB"), member, value.clone())),
            SkipReason::Private,
            "{member}"
        );
        assert_ne!(skip_reason(&changed(RSA, member, value)), SkipReason::Private, "{member}");
    }
    assert_eq!(skip_reason(r#"{"kty":"AKP","priv":"AAAA"}"#), SkipReason::Private);
    assert_eq!(skip_reason(r#"{"d":"AAAA"}"#), SkipReason::Private);
    assert_eq!(skip_reason(r#"{"kty":"oct","k":"AAAA"}"#), SkipReason::Symmetric);
    assert_eq!(skip_reason(&changed(RSA, "kid", 7)), SkipReason::MalformedKid);
}

#[test]
fn skips_keys_for_other_uses() {
    for key_use in ["enc", "SIG", "sig ", "", "signature"] {
        assert_eq!(skip_reason(&changed(RSA, "use", key_use)), SkipReason::Use, "{key_use}");
    }
    for malformed in [json!(1), json!(null), json!(["sig"])] {
        assert_eq!(skip_reason(&changed(RSA, "use", malformed)), SkipReason::MalformedMember);
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
        assert_eq!(skip_reason(&changed(RSA, "key_ops", operations)), SkipReason::Operations);
    }
    let both = changed(&changed(RSA, "use", "sig"), "key_ops", json!(["sign", "verify"]));
    assert_eq!(published(&both).algorithm, None);
}

#[test]
fn skips_keys_with_unknown_or_mismatched_algorithms() {
    for algorithm in ["RSA-OAEP", "ES256K", "none", "rs256", "", "A256GCM", "ES521"] {
        assert_eq!(skip_reason(&changed(RSA, "alg", algorithm)), SkipReason::Algorithm, "{algorithm}");
    }
    assert_eq!(skip_reason(&changed(RSA, "alg", 256)), SkipReason::MalformedMember);
    for (jwk, supported) in [
        (RSA, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (P256, &["ES256"]),
        (P384, &["ES384"]),
        (P521, &["ES512"]),
        (ED25519, &["EdDSA"]),
    ] {
        for &algorithm in Algorithm::ALL {
            let jwk = changed(jwk, "alg", algorithm.name());
            if supported.contains(&algorithm.name()) {
                assert_eq!(published(&jwk).algorithm, Some(algorithm));
            } else {
                assert_eq!(skip_reason(&jwk), SkipReason::AlgorithmMismatch, "{jwk}");
            }
        }
    }
}

#[test]
fn checks_type_and_length_of_the_kid_and_returns_it_for_skipped_keys() {
    for malformed in [json!(1), json!(null), json!(["1"]), json!({})] {
        assert_eq!(skip_reason(&changed(RSA, "kid", malformed)), SkipReason::MalformedKid);
    }
    for too_long in ["k".repeat(257), "é".repeat(129)] {
        assert_eq!(skip_reason(&changed(RSA, "kid", too_long)), SkipReason::KidTooLong);
    }
    for kid in ["k".repeat(256), "é".repeat(128), String::new(), "\u{0}/é".to_owned()] {
        assert_eq!(published(&changed(RSA, "kid", kid.as_str())).kid.as_deref(), Some(kid.as_str()));
    }
    let skipped =
        PublishedKey::from_json(r#"{"kty":"RSA","use":"enc","kid":"7"}"#, PrivateKeys::Skipped).err().expect("skipped");
    assert_eq!((skipped.kid.as_deref(), skipped.reason), (Some("7"), SkipReason::Use));
}

#[test]
fn decodes_numbers_as_base64url_with_or_without_padding() {
    let n = member(RSA, "n");
    assert!(published(&changed(RSA, "n", format!("{n}=="))).material.supports(Algorithm::RS256));
    for n in [format!("{n}="), n.replace(['-', '_'], "+"), format!("{n} "), format!("{}B", &n[..341]), "é".to_owned()]
    {
        assert_eq!(skip_reason(&changed(RSA, "n", n.as_str())), SkipReason::Encoding, "{n}");
    }
    assert_eq!(skip_reason(&changed(RSA, "n", "")), SkipReason::RsaModulus);
    assert_eq!(skip_reason(&changed(RSA, "n", 5)), SkipReason::MalformedMember);
    for (jwk, name) in
        [(RSA, "n"), (RSA, "e"), (P256, "x"), (P256, "y"), (P256, "crv"), (ED25519, "x"), (ED25519, "crv")]
    {
        assert_eq!(skip_reason(&lacking(jwk, name)), SkipReason::MissingMember, "{name}");
    }
}

/// RFC 7518 §2 forbids leading zeros in numbers, but some libraries encode a sign byte, or pad to a fixed length.
#[test]
fn removes_leading_zero_bytes_of_rsa_numbers() {
    let longer = |name: &str, zeros: usize| {
        let bytes = fixtures::bytes(RSA, name);
        URL_SAFE_NO_PAD.encode([vec![0; zeros], bytes].concat())
    };
    let key = published(RSA);
    for zeros in [1, 2, 3, 1000] {
        for jwk in [
            changed(RSA, "n", longer("n", zeros)),
            changed(RSA, "e", longer("e", zeros)),
            changed(&changed(RSA, "n", longer("n", zeros)), "e", longer("e", zeros)),
        ] {
            let other = published(&jwk);
            assert_eq!(other.material.thumbprint(), key.material.thumbprint(), "{jwk}");
            let parsed = |key: &PublishedKey| key.material.parsed_for(Algorithm::PS256).expect("supported");
            assert_eq!(format!("{:?}", parsed(&other)), format!("{:?}", parsed(&key)), "{jwk}");
        }
    }
    for (name, value, reason) in [
        // Zero, and a number of the wrong size behind the zeros.
        ("n", "AAAA".to_owned(), SkipReason::RsaModulus),
        ("e", "AAAA".to_owned(), SkipReason::RsaExponent),
        ("e", "AAAB".to_owned(), SkipReason::RsaExponent),
        ("n", URL_SAFE_NO_PAD.encode([&[0; 128][..], &[0xff; 128]].concat()), SkipReason::RsaSize),
        // A zero at the end is part of the number.
        ("n", URL_SAFE_NO_PAD.encode([&[0xff; 256][..], &[0]].concat()), SkipReason::RsaModulus),
    ] {
        assert_eq!(skip_reason(&changed(RSA, name, value.as_str())), reason, "{name}: {value}");
    }
    // Coordinates and points have a fixed length.
    for (jwk, name) in [(P256, "x"), (P256, "y"), (ED25519, "x")] {
        let bytes = fixtures::bytes(jwk, name);
        let longer = URL_SAFE_NO_PAD.encode([&[0], bytes.as_slice()].concat());
        assert_eq!(skip_reason(&changed(jwk, name, longer)), SkipReason::CoordinateLength, "{jwk}");
    }
}
