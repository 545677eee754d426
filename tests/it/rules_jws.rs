//! Rules 28 to 51: compact form, header and signature.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tower_bearer::config::SettingErrorKind;
use tower_bearer::keys::{KeyError, KeySet, Secret, SecretError, SkipReason};
use tower_bearer::rejection::KeyNotFoundError;
use tower_bearer::token::{Segment, TokenError, UnverifiedToken};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, Validator};

use crate::fixture::{AUDIENCE, TestApi, block_on, server, setting_errors, trusted, validator, validator_for};

fn parse(token: &str) -> Result<(), TokenError> {
    UnverifiedToken::parse(token).map(drop)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn rule_028_rejects_other_forms_than_the_compact_one() {
    let test_api = TestApi::new();
    let token = test_api.server.token().sign();
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three segments") };
    let flat = json!({ "protected": header, "payload": payload, "signature": signature }).to_string();
    let general = json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] });
    let encoding = |segment| TokenError::Encoding { segment };
    for (other, error) in [
        (flat.clone(), TokenError::NotAJwt),
        (general.to_string(), TokenError::NotAJwt),
        (format!("{flat}.{payload}.{signature}"), encoding(Segment::Header)),
        (format!("{token}\u{200b}"), encoding(Segment::Signature)),
    ] {
        assert_eq!(parse(&other), Err(error), "{other}");
    }
    assert_eq!(parse(&token), Ok(()));
}

#[test]
fn rule_029_rejects_anything_but_three_non_empty_segments() {
    for (token, error) in [
        ("", TokenError::NoToken),
        ("a", TokenError::NotAJwt),
        ("a.b", TokenError::NotAJwt),
        ("a.b.c.d", TokenError::NotAJwt),
        ("a.b.c.d.e", TokenError::Encrypted),
        (".b.c", TokenError::Empty { segment: Segment::Header }),
        ("a..c", TokenError::Empty { segment: Segment::Payload }),
        ("a.b.", TokenError::Empty { segment: Segment::Signature }),
    ] {
        assert_eq!(parse(token), Err(error), "{token}");
    }
}

#[test]
fn rule_030_and_031_rejects_non_canonical_base64url() {
    let header = encode(r#"{"alg":"RS256"}"#);
    assert_eq!(parse(&format!("{header}.e30.AA")), Ok(()));
    for signature in ["A A", "AA\n"] {
        assert_eq!(parse(&format!("{header}.e30.{signature}")), Err(TokenError::WhiteSpace), "{signature}");
    }
    for signature in ["AA==", "AB", "A", "A+", "A/", "é"] {
        let error = TokenError::Encoding { segment: Segment::Signature };
        assert_eq!(parse(&format!("{header}.e30.{signature}")), Err(error), "{signature}");
    }
}

#[test]
fn rule_032_and_049_rejects_header_or_payload_that_is_not_one_utf_8_object() {
    let good = r#"{"alg":"RS256"}"#;
    let bad: [&[u8]; 9] = [
        b"[]",
        b"null",
        b"\"x\"",
        b"{}{}",
        b"{\"alg\":\"RS256\",}",
        b"\xef\xbb\xbf{\"alg\":\"RS256\"}",
        b"{\"alg\":\"RS256\",\"x\":\"\xff\"}",
        b"{\"alg\":\"RS256\",\"x\":\"\\ud800\"}",
        b"{\0\"\0a\0",
    ];
    for bytes in bad {
        let header = parse(&format!("{}.e30.AA", encode(bytes)));
        assert_eq!(header, Err(TokenError::Json { segment: Segment::Header }), "{bytes:?}");
        let payload = parse(&format!("{}.{}.AA", encode(good), encode(bytes)));
        assert_eq!(payload, Err(TokenError::Json { segment: Segment::Payload }), "{bytes:?}");
    }
}

#[test]
fn rule_033_rejects_duplicate_header_names_after_unescaping() {
    let test_api = TestApi::new();
    for header in [
        r#"{"alg":"RS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256","\u0061lg":"RS256"}"#,
        r#"{"alg":"RS256","x":1,"x":1}"#,
    ] {
        let rejection = test_api.rejection(test_api.server.token().raw_header(header));
        assert_eq!(rejection, Rejection::Token(TokenError::DuplicateMember { segment: Segment::Header }), "{header}");
    }
}

#[test]
fn rule_034_rejects_an_alg_that_is_not_listed() {
    let test_api = TestApi::new();
    for algorithm in Algorithm::ALL.iter().copied().filter(|algorithm| *algorithm != Algorithm::RS256) {
        let rejection = test_api.rejection(test_api.server.token().algorithm(algorithm));
        assert_eq!(rejection, Rejection::Algorithm { algorithm });
    }
    assert_eq!(
        test_api.rejection(test_api.server.token().without_header("alg")),
        Rejection::Token(TokenError::MissingAlgorithm)
    );
    for alg in [json!("rs256"), json!("RS256 "), json!(""), json!(1), json!(null), json!(["RS256"])] {
        let rejection = test_api.rejection(test_api.server.token().header("alg", &alg));
        assert_eq!(rejection, Rejection::Token(TokenError::UnknownAlgorithm), "{alg}");
    }
}

#[test]
fn rule_035_rejects_alg_none() {
    let test_api = TestApi::new();
    for none in ["none", "None", "NONE", "nOnE"] {
        assert!(none.parse::<Algorithm>().is_err());
        let signed = test_api.server.token().header("alg", none);
        let unsigned = signed.clone().with_signature([]);
        assert_eq!(test_api.rejection(signed), Rejection::Token(TokenError::UnknownAlgorithm), "{none}");
        assert_eq!(
            test_api.rejection(unsigned),
            Rejection::Token(TokenError::Empty { segment: Segment::Signature }),
            "{none}"
        );
    }
}

#[test]
fn rule_036_key_verifies_only_its_own_algorithm() {
    // One RSA key pair under one `kid` per algorithm; both algorithms are listed.
    let server = server(Algorithm::RS256).with_algorithms([Algorithm::RS256, Algorithm::PS256]);
    let keys = KeySet::from_jwks(server.jwks());
    let issuer = Issuer::static_keys(server.issuer(), keys).with_algorithms([Algorithm::RS256, Algorithm::PS256]);
    let validator = validator_for(Api::new(AUDIENCE, issuer));
    let rs256 = server.kid();
    assert!(block_on(validator.validate(&server.token().sign())).is_ok());
    assert!(block_on(validator.validate(&server.token().algorithm(Algorithm::PS256).sign())).is_ok());
    let crossed = server.token().algorithm(Algorithm::PS256).kid(&rs256).sign();
    let rejection = Rejection::Key(KeyNotFoundError::NotForVerification);
    assert_eq!(block_on(validator.validate(&crossed)).map(drop), Err(rejection));
}

#[test]
fn rule_037_rejects_a_public_key_as_secret() {
    let test_api = TestApi::new();
    let rejection = test_api.rejection(test_api.server.token().hs256_with_public_key());
    assert_eq!(rejection, Rejection::Algorithm { algorithm: Algorithm::HS256 });
    for algorithms in [vec![Algorithm::HS256], vec![Algorithm::RS256, Algorithm::HS256]] {
        let issuer = trusted(&test_api.server, Algorithm::RS256).with_algorithms(algorithms.clone());
        let setting_errors = setting_errors(Api::new(AUDIENCE, issuer));
        assert!(
            setting_errors.contains(&SettingErrorKind::SymmetricWithPublicKeys(Algorithm::HS256)),
            "{algorithms:?}: {setting_errors:?}"
        );
    }
    let pem = test_api.server.public_key_pem();
    let jwk = test_api.server.jwks();
    let mangled =
        [pem.clone(), format!(" {pem}"), format!("x\n{pem}"), pem.replace('\n', "\r\n"), format!("\u{feff}{pem}"), jwk];
    for key_file in mangled {
        assert_eq!(Secret::from_text(&*key_file).map(drop), Err(SecretError::KeyFile), "{key_file}");
    }
}

#[test]
fn rule_038_and_039_rejects_every_crit_header() {
    let test_api = TestApi::new();
    for crit in [json!(["x"]), json!([]), json!(["exp"]), json!("x"), json!(null), json!(["b64"])] {
        let rejection = test_api.rejection(test_api.server.token().header("crit", &crit).header("x", 1));
        assert_eq!(rejection, Rejection::Token(TokenError::CriticalHeader), "{crit}");
    }
    for b64 in [json!(false), json!(true), json!(null)] {
        let rejection = test_api.rejection(test_api.server.token().header("b64", &b64));
        assert_eq!(rejection, Rejection::Token(TokenError::CriticalHeader), "{b64}");
    }
}

/// An attacker's key in the token is never used, and triggers no fetch.
#[tokio::test]
async fn rule_040_ignores_keys_in_the_token() {
    let server = tower_bearer::testing::TestIssuer::new();
    let other_issuer = tower_bearer::testing::TestIssuer::new();
    let jwk = serde_json::from_str::<serde_json::Value>(&other_issuer.jwks()).expect("a set")["keys"][0].clone();
    let network = tower_bearer::testing::TestNetwork::new([&server, &other_issuer]);
    let api = Api::new(AUDIENCE, Issuer::jwks(server.issuer(), server.jwks_uri()));
    let validator = Validator::builder(api).with_fetch(network).build().expect("a valid configuration");
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!(other_issuer.jwks_uri())),
        ("x5u", json!(other_issuer.jwks_uri())),
        ("x5c", json!(["MII="])),
        ("x5t#S256", json!("x")),
        ("jwk", json!("x")),
        ("jku", json!(88)),
    ] {
        let forged = server.token().signed_by(&other_issuer).header(name, &value).sign();
        assert_eq!(validator.validate(&forged).await.map(drop), Err(Rejection::Signature), "{name}");
        let harmless = server.token().header(name, &value).sign();
        assert!(validator.validate(&harmless).await.is_ok(), "{name}");
    }
    assert_eq!((other_issuer.fetches(), other_issuer.discovery_fetches()), (0, 0));
}

#[test]
fn rule_041_kid_is_only_compared() {
    let test_api = TestApi::new();
    for kid in
        ["../../etc/passwd", "' OR '1'='1", "http://127.0.0.1/", "*", "", "\0", &test_api.server.kid().to_uppercase()]
    {
        assert_eq!(
            test_api.rejection(test_api.server.token().kid(kid)),
            Rejection::Key(KeyNotFoundError::Unknown { age: None }),
            "{kid}"
        );
    }
    for kid in [json!(1), json!(null), json!(["k"]), json!({ "kid": "k" })] {
        assert_eq!(
            test_api.rejection(test_api.server.token().header("kid", &kid)),
            Rejection::Token(TokenError::MalformedKid)
        );
    }
}

/// Wycheproof has the keys with weak exponents; see `json_web_key`.
#[test]
fn rule_042_rejects_rsa_keys_outside_2048_to_8192_bits_or_with_an_unsafe_exponent() {
    let key = |bits: usize, e: &str| {
        let n = [vec![0xc5], vec![0xff; bits / 8 - 1]].concat();
        KeySet::from_jwks(json!({ "kty": "RSA", "n": encode(n), "e": e }).to_string()).map(|set| set.len())
    };
    assert_eq!((key(2048, "AQAB"), key(8192, "Aw")), (Ok(1), Ok(1)));
    for bits in [512, 1024, 2040, 8200, 16384] {
        assert_eq!(key(bits, "AQAB"), Err(KeyError::Unusable { reason: SkipReason::RsaSize }), "{bits}");
    }
    for e in ["AQ", "Ag", "AQAA", "AA", "_____________w"] {
        assert_eq!(key(2048, e), Err(KeyError::Unusable { reason: SkipReason::RsaExponent }), "{e}");
    }
}

/// `wycheproof_primitives` has the vectors of rules 43 and 44; this test checks the lengths.
#[test]
fn rule_043_to_046_rejects_signatures_of_another_length() {
    for &algorithm in Algorithm::ALL {
        let server = server(algorithm);
        let validator = validator(&server, algorithm);
        for length in [1, 31, 33, 63, 65, 70, 72, 96, 132, 255, 257, 512] {
            let forged = server.token().with_signature(vec![0; length]).sign();
            assert_eq!(
                block_on(validator.validate(&forged)).map(drop),
                Err(Rejection::Signature),
                "{algorithm} {length}"
            );
        }
        assert!(block_on(validator.validate(&server.token().sign())).is_ok());
    }
}

#[test]
fn rule_045_rejects_secrets_shorter_than_the_hash() {
    for (algorithm, bytes) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
        let build = |length: usize| {
            let issuer = Issuer::shared_secret("https://hs.test/", Secret::new(vec![7; length]));
            setting_errors(Api::new(AUDIENCE, issuer.with_algorithms([algorithm])))
        };
        assert_eq!(build(bytes), []);
        for length in [1, bytes - 1] {
            let error = SecretError::TooShort { algorithm, length, needed: bytes };
            assert_eq!(build(length), [SettingErrorKind::Secret(error)]);
        }
    }
    assert_eq!(Secret::from_text("").map(drop), Err(SecretError::Empty));
}

#[test]
fn rule_046_okp_keys_are_ed25519_and_ed25519_means_eddsa() {
    let okp = |crv: &str| json!({ "kty": "OKP", "crv": crv, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    assert_eq!(KeySet::from_jwks(okp("Ed25519").to_string()).map(|set| set.len()), Ok(1));
    for curve in ["X25519", "Ed448", "X448", "P-256"] {
        let rejection = KeySet::from_jwks(okp(curve).to_string()).map(drop);
        assert_eq!(rejection, Err(KeyError::Unusable { reason: SkipReason::Curve }), "{curve}");
    }
    let server = server(Algorithm::EdDSA);
    let named = server.token().header("alg", "Ed25519").sign();
    assert!(block_on(validator(&server, Algorithm::EdDSA).validate(&named)).is_ok());
}

#[test]
fn rule_047_and_048_rejects_encrypted_and_nested_tokens() {
    let test_api = TestApi::new();
    assert_eq!(test_api.rejection(test_api.server.token().encrypted()), Rejection::Token(TokenError::Encrypted));
    for cty in ["JWT", "jwt", "application/JWT"] {
        assert_eq!(
            test_api.rejection(test_api.server.token().header("cty", cty)),
            Rejection::Token(TokenError::Nested)
        );
    }
    assert!(test_api.validate(test_api.server.token().header("cty", "json")).is_ok());
}

#[test]
fn rule_050_rejects_json_over_the_depth_limit() {
    let test_api = TestApi::new();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(test_api.validate(test_api.server.token().raw_claim("x", &nested(31))).is_ok());
    let too_deep = Rejection::Token(TokenError::TooDeep { segment: Segment::Payload });
    assert_eq!(test_api.rejection(test_api.server.token().raw_claim("x", &nested(32))), too_deep);
}

#[test]
fn rule_051_ignores_headers_of_jwe() {
    let test_api = TestApi::new();
    assert!(
        test_api
            .validate(test_api.server.token().header("zip", "DEF").header("p2c", u32::MAX).header("enc", "A256GCM"))
            .is_ok()
    );
    // The type of these headers is ignored as well: a JWS ignores unknown names (RFC 7515 §4).
    assert!(test_api.validate(test_api.server.token().header("zip", [1]).header("p2c", "x").header("enc", 88)).is_ok());
    for alg in ["RSA1_5", "PBES2-HS256+A128KW", "dir", "RSA-OAEP"] {
        let rejection = test_api.rejection(test_api.server.token().header("alg", alg).header("p2c", u32::MAX));
        assert_eq!(rejection, Rejection::Token(TokenError::UnknownAlgorithm), "{alg}");
    }
}
