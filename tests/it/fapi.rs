//! The tests of the OpenID conformance suite (FAPI 2.0) and of MCP about DPoP and mutual TLS at a resource server, by the tests here
//! that check the same.

use http::Request;
use http::header::AUTHORIZATION;

use crate::dpop_cases;
use crate::dpop_fixture::{Answer, URL, World};
use crate::stack;

/// What checks a step of a test of the suite.
enum Check {
    /// An attack case of DPoP, by its number and name.
    Case(u8, &'static str),
    /// The attack cases of this number.
    Number(u8),
    /// A test of this folder, by its file and name.
    Test(&'static str, &'static str),
}
use Check::{Case, Number, Test};

const NEGATIVE: &str = "fapi2-security-profile-final-dpop-negative-tests";

/// The name of a test, the step, and what checks the same here.
const STEPS: &[(&str, &str, &[Check])] = &[
    (NEGATIVE, "name of the field in upper case succeeds", &[Test("fapi", "the_name_of_the_field_has_no_case")]),
    (NEGATIVE, "more than one proof", &[Case(13, "two proofs"), Case(14, "two proofs in one field")]),
    (
        NEGATIVE,
        "not a well-formed JWT",
        &[Case(26, "two segments"), Case(27, "padding"), Case(28, "header is no JSON")],
    ),
    (NEGATIVE, "no typ", &[Case(35, "no typ")]),
    (NEGATIVE, "no alg", &[Case(39, "no alg")]),
    (NEGATIVE, "no jwk", &[Case(45, "no jwk")]),
    (NEGATIVE, "no jti", &[Case(115, "no jti")]),
    (NEGATIVE, "no htm", &[Case(70, "no htm")]),
    (NEGATIVE, "no htu", &[Case(81, "no htu")]),
    (NEGATIVE, "no iat", &[Case(94, "no iat")]),
    (NEGATIVE, "no ath", &[Case(68, "no ath")]),
    (NEGATIVE, "another typ", &[Case(35, "typ JWT"), Case(35, "typ dpop+jwt+x")]),
    (NEGATIVE, "RS256", &[Case(41, "RS256, which is not listed")]),
    (NEGATIVE, "alg none", &[Case(39, "alg none")]),
    (NEGATIVE, "invalid signature", &[Case(58, "signature by another key"), Case(58, "one bit changed")]),
    (NEGATIVE, "private key in jwk", &[Case(46, "jwk with d"), Case(46, "jwk with p")]),
    (NEGATIVE, "another htm", &[Case(70, "POST on GET")]),
    (NEGATIVE, "htu with query and fragment succeeds", &[Case(75, "query and fragment")]),
    (NEGATIVE, "htu without the query of the request succeeds", &[Case(75, "query of the request")]),
    (NEGATIVE, "another htu", &[Case(72, "another host"), Case(72, "another path")]),
    (NEGATIVE, "iat in an hour", &[Case(95, "an hour ahead")]),
    (NEGATIVE, "iat an hour ago", &[Case(95, "an hour ago")]),
    (
        NEGATIVE,
        "iat an hour off, with a nonce, succeeds",
        &[Test("dpop_nonces", "a_wrong_clock_of_the_client_does_no_harm")],
    ),
    (
        NEGATIVE,
        "jti used before",
        &[
            Test("dpop_replay", "case_107_rejects_a_proof_that_was_used"),
            Test("dpop_replay", "cases_109_and_110_a_jti_belongs_to_one_key"),
        ],
    ),
    (NEGATIVE, "another ath", &[Case(69, "ath of another token for the same key")]),
    (NEGATIVE, "signed with another key", &[Case(57, "good proof by another key")]),
    (NEGATIVE, "extra members succeed", &[Case(33, "unknown header member and claim")]),
    (
        NEGATIVE,
        "htu with scheme and host in upper case succeeds",
        &[Case(74, "scheme in upper case"), Case(74, "host in upper case")],
    ),
    (NEGATIVE, "htu with the default port succeeds", &[Case(74, "default port")]),
    (NEGATIVE, "no proof", &[Case(11, "no proof")]),
    (NEGATIVE, "no proof, bearer scheme", &[Case(1, "bound token as a bearer token")]),
    (NEGATIVE, "a good proof at the end succeeds", &[Case(0, "valid")]),
    (
        "fapi2-security-profile-final-check-dpop-proof-nbf-exp",
        "nbf now and exp in five minutes succeed",
        &[Case(96, "nbf now and exp in five minutes")],
    ),
    (
        "fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-before-succeeds",
        "iat ten seconds ago succeeds",
        &[Case(93, "ten seconds ago")],
    ),
    (
        "fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-after-succeeds",
        "iat in ten seconds succeeds",
        &[Case(93, "ten seconds ahead")],
    ),
    (
        "fapi2-security-profile-final-access-token-type-header-case-sensitivity",
        "scheme in any case succeeds",
        &[Case(5, "dpop"), Case(5, "DPOP"), Case(5, "dPoP")],
    ),
    (
        "fapi2-security-profile-final-happy-flow",
        "a good proof succeeds, a token in the query does not",
        &[Case(0, "valid"), Case(15, "token in the query only")],
    ),
    (
        "fapi2-security-profile-final-ensure-holder-of-key-required",
        "a bound token without a proof",
        &[Case(11, "no proof"), Case(1, "bound token as a bearer token"), Number(124), Number(125)],
    ),
    (
        "fapi1-advanced-final-ensure-mtls-holder-of-key-required",
        "a certificate-bound token without the certificate",
        &[Number(124), Number(125)],
    ),
    (
        "fapi2-security-profile-final-client-test-happy-path",
        "a client gets a nonce and uses it",
        &[
            Test("dpop_nonces", "case_99_accepts_the_nonces_of_three_periods"),
            Test("dpop_nonces", "case_101_the_challenge_for_a_nonce_is_alone"),
            Test("dpop_nonces", "case_104_responses_carry_the_next_nonce_if_the_last_one_is_about_to_expire"),
        ],
    ),
    ("fapi2-security-profile-final-client-test-happy-path-no-dpop-nonce", "no nonce is required", &[Case(0, "valid")]),
    (
        "fapi2-security-profile-final-client-test-rs-dpop-auth-scheme-case-insensitivity",
        "challenges name the scheme",
        &[Test("dpop_answers", "the_challenge_of_the_used_scheme_has_the_error_and_is_first")],
    ),
    (
        "sep-1932-server-validate-proof",
        "each check of a proof",
        &[
            Case(26, "two segments"),
            Case(35, "no typ"),
            Case(39, "no alg"),
            Case(45, "no jwk"),
            Case(58, "signature by another key"),
            Case(68, "no ath"),
            Case(70, "POST on GET"),
            Case(72, "another path"),
            Case(94, "no iat"),
        ],
    ),
    ("sep-1932-server-iat-window", "at most five minutes", &[Case(93, "the oldest iat"), Case(95, "an hour ahead")]),
    ("sep-1932-server-reject-401", "401 with a challenge of DPoP", &[Case(11, "no proof"), Case(72, "another host")]),
    (
        "sep-1932-server-nonce",
        "a nonce by a challenge",
        &[
            Test("dpop_nonces", "case_99_accepts_the_nonces_of_three_periods"),
            Test("dpop_nonces", "case_101_the_challenge_for_a_nonce_is_alone"),
        ],
    ),
    (
        "sep-1932-server-audience-validation",
        "proof for another server",
        &[Case(72, "another host"), Case(138, "proof for the token endpoint")],
    ),
    (
        "sep-1932-asymmetric-alg-only",
        "no HMAC and no alg none",
        &[
            Case(39, "alg none"),
            Case(40, "HS256 with an oct key"),
            Case(40, "HS256 with the public key as a point"),
            Case(40, "HS256 with the public key as DER"),
            Case(40, "HS256 with the public key as PEM"),
            Case(40, "HS256 with the text of jwk"),
            Test("dpop_cases", "case_40_an_hmac_is_no_proof_also_if_its_algorithm_is_listed"),
        ],
    ),
];

#[test]
fn every_step_of_the_suite_is_checked_here() {
    for (name, step, checks) in STEPS {
        assert!(!checks.is_empty(), "{name}: {step}");
        for check in *checks {
            let exists = match check {
                Case(number, case) => dpop_cases::has_case(*number, case),
                Number(number) => dpop_cases::is_checked(*number),
                Test(file, test) => stack::has_test(file, test),
            };
            assert!(exists, "{name}: {step}");
        }
    }
}

#[test]
fn the_name_of_the_field_has_no_case() {
    let world = World::new(|api| api);
    let token = world.token().sign();
    for name in ["DPOP", "dpop", "DPoP", "dPOP"] {
        let proof = world.client.proof("GET", URL, &token).sign();
        let request = Request::get("/me").header(AUTHORIZATION, format!("DPoP {token}")).header(name, proof);
        assert_eq!(world.answer(request.body(String::new()).expect("a request")), Answer::Accepted, "{name}");
    }
}
