//! The tests of the OpenID conformance suite (FAPI 2.0) about DPoP and mutual TLS at a resource server, by the attack cases that check the same.

use crate::dpop_cases;

/// The name of a test or of a step of it, and the numbers of the cases.
const TESTS: &[(&str, &[u8])] = &[
    ("fapi2-security-profile-final-dpop-negative-tests: more than one DPoP header", &[13]),
    ("fapi2-security-profile-final-dpop-negative-tests: not well-formed", &[26, 27, 28]),
    ("fapi2-security-profile-final-dpop-negative-tests: typ missing or invalid", &[35]),
    ("fapi2-security-profile-final-dpop-negative-tests: alg missing or none", &[39]),
    ("fapi2-security-profile-final-dpop-negative-tests: RS256", &[41]),
    ("fapi2-security-profile-final-dpop-negative-tests: jwk missing", &[45]),
    ("fapi2-security-profile-final-dpop-negative-tests: private key in jwk", &[46]),
    ("fapi2-security-profile-final-dpop-negative-tests: jti missing", &[115]),
    ("fapi2-security-profile-final-dpop-negative-tests: htm missing or invalid", &[70]),
    ("fapi2-security-profile-final-dpop-negative-tests: htu missing or invalid", &[72, 81]),
    ("fapi2-security-profile-final-dpop-negative-tests: htu with query or fragment succeeds", &[75]),
    ("fapi2-security-profile-final-dpop-negative-tests: htu in upper case and with the default port succeeds", &[74]),
    ("fapi2-security-profile-final-dpop-negative-tests: iat missing, an hour ahead or ago", &[94, 95]),
    ("fapi2-security-profile-final-dpop-negative-tests: ath missing or invalid", &[68]),
    ("fapi2-security-profile-final-dpop-negative-tests: invalid signature", &[58]),
    ("fapi2-security-profile-final-dpop-negative-tests: another key", &[57]),
    ("fapi2-security-profile-final-dpop-negative-tests: jti used before", &[107, 109]),
    ("fapi2-security-profile-final-dpop-negative-tests: extra claims succeed", &[33]),
    ("fapi2-security-profile-final-dpop-negative-tests: no proof", &[11]),
    ("fapi2-security-profile-final-dpop-negative-tests: bearer scheme", &[1, 2]),
    ("fapi2-security-profile-final-check-dpop-proof-nbf-exp", &[96]),
    ("fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-after-succeeds", &[93]),
    ("fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-before-succeeds", &[93]),
    ("fapi2-security-profile-final-access-token-type-header-case-sensitivity", &[5]),
    ("fapi2-security-profile-final-client-test-happy-path", &[99, 101, 104]),
    ("fapi2-security-profile-final-client-test-happy-path-no-dpop-nonce", &[5, 107]),
    ("fapi2-security-profile-final-ensure-holder-of-key-required", &[124, 125]),
    ("fapi1-advanced-final-ensure-mtls-holder-of-key-required", &[124, 125]),
    ("sep-1932-server-validate-proof", &[26, 35, 39, 45, 58, 68, 70, 72, 94]),
    ("sep-1932-server-iat-window", &[93, 95]),
    ("sep-1932-server-reject-401", &[11, 58, 72]),
    ("sep-1932-server-nonce", &[99, 101]),
    ("sep-1932-server-audience-validation", &[72, 138]),
    ("sep-1932-asymmetric-alg-only", &[39, 40]),
];

#[test]
fn every_test_of_the_suite_has_a_case() {
    for (name, cases) in TESTS {
        for case in *cases {
            assert!(dpop_cases::is_checked(*case), "{name}: case {case}");
        }
    }
}
