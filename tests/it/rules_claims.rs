//! Rules 69 to 90: claims.

use std::time::Duration;

use serde_json::{Value, json};
use tower_bearer::claims::{ClaimError, ClaimErrorReason, Profile};
use tower_bearer::config::Organizations;
use tower_bearer::rejection::IssuerError;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::token::{Segment, TokenError};
use tower_bearer::{Algorithm, Api, Rejection, RejectionKind, Requirement};

use crate::fixture::{AUDIENCE, NOW, TestApi, block_on, trusted, validator_for};

/// Validates a token with one more setting of the API.
fn validate_with(test_api: &TestApi, set: impl FnOnce(Api) -> Api, token: TokenBuilder) -> Result<(), Rejection> {
    let api = Api::new(AUDIENCE, trusted(&test_api.server, Algorithm::RS256)).with_leeway(Duration::ZERO);
    block_on(validator_for(set(api)).validate(&token.sign())).map(drop)
}

fn claims(error: ClaimError) -> Result<(), Rejection> {
    Err(Rejection::Claims(error))
}

/// `aud` and `exp` are checked before the signature.
fn early(error: ClaimError) -> Result<(), Rejection> {
    Err(Rejection::UnverifiedClaims(error))
}

#[test]
fn rule_069_rejects_a_payload_that_is_not_one_object() {
    let test_api = TestApi::new();
    let json = Rejection::Token(TokenError::Json { segment: Segment::Payload });
    let positional = format!("[{},{},\"s\",\"{}\",\"{AUDIENCE}\"]", NOW + 60, NOW, test_api.server.issuer());
    for payload in [&*positional, "[]", "null", "1", "\"x\"", "{}{}"] {
        assert_eq!(test_api.rejection(test_api.server.token().raw_payload(payload)), json, "{payload}");
    }
}

#[test]
fn rule_070_rejects_duplicate_claim_names() {
    let test_api = TestApi::new();
    let twice = Rejection::Token(TokenError::DuplicateMember { segment: Segment::Payload });
    for name in ["iss", "aud", "exp", "sub", "scope", "x"] {
        let token = test_api.server.token().scope("read:orders").claim("x", 1).with_duplicate_claim(name, 1);
        assert_eq!(test_api.rejection(token), twice, "{name}");
    }
}

#[test]
fn rule_071_and_089_rejects_an_iss_that_is_not_exactly_configured() {
    let test_api = TestApi::new();
    for iss in [
        "https://issuer.test",
        "https://ISSUER.test/",
        "http://issuer.test/",
        "https://issuer.test:443/",
        "https://issuer.test/%2e",
        "https://issuer.test/\u{200b}",
        "https://i\u{0455}suer.test/",
        "",
    ] {
        let rejection = test_api.rejection(test_api.server.token().issuer(iss));
        assert!(matches!(rejection, Rejection::Issuer(IssuerError::Unknown { .. })), "{iss}: {rejection:?}");
    }
    for iss in [json!(null), json!(1), json!([test_api.server.issuer()]), json!({ "x": test_api.server.issuer() })] {
        let rejection = test_api.rejection(test_api.server.token().claim("iss", &iss));
        assert_eq!(rejection, Rejection::Issuer(IssuerError::Malformed), "{iss}");
    }
    assert_eq!(test_api.rejection(test_api.server.token().without("iss")), Rejection::Issuer(IssuerError::Missing));
    assert!(test_api.validate(test_api.server.token()).is_ok());
}

#[test]
fn rule_073_and_074_rejects_an_aud_without_our_identifier_or_with_non_strings() {
    let test_api = TestApi::new();
    let validate = |aud: Value| test_api.validate(test_api.server.token().claim("aud", aud)).map(drop);
    for good in [json!(AUDIENCE), json!([AUDIENCE]), json!(["x", AUDIENCE])] {
        assert_eq!(validate(good), Ok(()));
    }
    for other in
        [json!("https://api.test"), json!(""), json!(["x"]), json!("https://API.test/"), json!(format!("{AUDIENCE} x"))]
    {
        assert_eq!(validate(other), early(ClaimError::Audience(ClaimErrorReason::Mismatch)));
    }
    for malformed in [
        json!(null),
        json!(1),
        json!({ "x": AUDIENCE }),
        json!([AUDIENCE, 1]),
        json!([null, AUDIENCE]),
        json!([[AUDIENCE]]),
        json!([]),
    ] {
        assert_eq!(
            validate(malformed.clone()),
            early(ClaimError::Audience(ClaimErrorReason::Malformed)),
            "{malformed}"
        );
    }
    let missing = test_api.validate(test_api.server.token().without("aud")).map(drop);
    assert_eq!(missing, early(ClaimError::Audience(ClaimErrorReason::Missing)));
}

#[test]
fn rule_075_to_078_dates_are_numbers_with_nanosecond_precision() {
    let test_api = TestApi::new();
    let validate =
        |claim: &str, json: &str| test_api.validate(test_api.server.token().raw_claim(claim, json)).map(drop);
    for (json, outcome) in [
        (format!("{}", NOW + 1), Ok(())),
        (format!("{NOW}.000000001"), Ok(())),
        (format!("{NOW}"), early(ClaimError::Expired)),
        (format!("{}.999999999", NOW - 1), early(ClaimError::Expired)),
        ("-1".to_owned(), early(ClaimError::Expired)),
        ("1e9".to_owned(), early(ClaimError::Expired)),
        ("253402300799".to_owned(), Ok(())),
    ] {
        assert_eq!(validate("exp", &json), outcome, "{json}");
    }
    let aged = |api: Api| api.with_max_token_age(Duration::from_secs(600));
    let iat = |json: &str| test_api.server.token().raw_claim("iat", json);
    let no_numbers = ["\"1900000000\"", "null", "true", "[1900000000]", "{}"];
    let no_dates = ["1e308", "1e400", "18446744073709551616", "253402300800"];
    for json in no_numbers.into_iter().chain(no_dates) {
        assert_eq!(validate("exp", json), early(ClaimError::Expiry(ClaimErrorReason::Malformed)), "{json}");
        assert_eq!(validate("nbf", json), claims(ClaimError::NotBefore), "{json}");
        assert_eq!(
            validate_with(&test_api, aged, iat(json)),
            claims(ClaimError::IssuedAt(ClaimErrorReason::Malformed)),
            "{json}"
        );
    }
    // Without `max_age` nothing is computed from `iat`: any number is accepted.
    for json in no_numbers {
        assert_eq!(validate("iat", json), claims(ClaimError::IssuedAt(ClaimErrorReason::Malformed)), "{json}");
    }
    for json in no_dates {
        assert_eq!(validate("iat", json), Ok(()), "{json}");
    }
    assert_eq!(validate("nbf", &format!("{NOW}")), Ok(()));
    assert_eq!(validate("nbf", &format!("{NOW}.000000001")), claims(ClaimError::NotYetValid));
    let missing = test_api.validate(test_api.server.token().without("exp")).map(drop);
    assert_eq!(missing, early(ClaimError::Expiry(ClaimErrorReason::Missing)));
}

#[test]
fn rule_079_rejects_a_future_iat_only_with_max_age() {
    let test_api = TestApi::new();
    let future = || test_api.server.token().claim("iat", NOW + 60);
    assert_eq!(validate_with(&test_api, |api| api, future()), Ok(()));
    let aged = |api: Api| api.with_max_token_age(Duration::from_secs(600));
    assert_eq!(validate_with(&test_api, aged, future()), claims(ClaimError::IssuedInFuture));
    assert_eq!(
        validate_with(&test_api, aged, test_api.server.token().claim("iat", NOW - 600)),
        claims(ClaimError::TooOld)
    );
    assert_eq!(validate_with(&test_api, aged, test_api.server.token().claim("iat", NOW - 599)), Ok(()));
}

#[test]
fn rule_080_rejects_a_sub_that_is_not_a_string() {
    let test_api = TestApi::new();
    for sub in [json!(1), json!(null), json!(["x"]), json!({})] {
        assert_eq!(test_api.validate(test_api.server.token().claim("sub", sub)).map(drop), claims(ClaimError::Subject));
    }
    let required = |api: Api| api.with_required_claims(["sub"]);
    for token in [test_api.server.token().without("sub"), test_api.server.token().subject("")] {
        let missing = ClaimError::Required { claim: "sub".into(), reason: ClaimErrorReason::Missing };
        assert_eq!(validate_with(&test_api, required, token), claims(missing));
    }
    assert_eq!(validate_with(&test_api, required, test_api.server.token()), Ok(()));
}

/// A denylist of `jti` values would miss a token whose `jti` is of another type.
#[test]
fn rejects_a_jti_of_another_type() {
    let test_api = TestApi::new();
    for jti in [json!(7), json!(null), json!(["x"]), json!({}), json!(true)] {
        assert_eq!(test_api.validate(test_api.server.token().claim("jti", jti)).map(drop), claims(ClaimError::JwtId));
    }
    let claims = test_api.validate(test_api.server.token().claim("jti", "7")).expect("a valid token");
    assert_eq!(claims.jwt_id(), Some("7"));
}

/// Each is an error of the issuer, unrelated to time, trust or audience.
#[test]
fn missing_and_malformed_claims_have_their_own_kinds() {
    let test_api = TestApi::new();
    let kind = |set: fn(Api) -> Api, token: TokenBuilder| {
        validate_with(&test_api, set, token).map_err(|rejection| rejection.kind())
    };
    let plain: fn(Api) -> Api = |api| api;
    let aged: fn(Api) -> Api = |api| api.with_max_token_age(Duration::from_secs(600));
    let strict: fn(Api) -> Api = |api| {
        api.with_required_claims(["sid"])
            .with_client_ids(["web"])
            .with_organizations(Organizations::from_ids(["org_1"]))
    };
    let token = || test_api.server.token();
    let full = || token().without("azp").claim("sid", "s").claim("client_id", "web").claim("org_id", "org_1");
    for claim in ["iss", "aud", "exp"] {
        assert_eq!(kind(plain, token().without(claim)), Err(RejectionKind::MissingClaim), "{claim}");
    }
    assert_eq!(kind(aged, token().without("iat")), Err(RejectionKind::MissingClaim));
    assert_eq!(kind(strict, full().without("sid")), Err(RejectionKind::MissingClaim));
    assert_eq!(kind(strict, full().without("client_id")), Err(RejectionKind::Client));
    assert_eq!(kind(strict, full().without("org_id")), Err(RejectionKind::Organization));
    for claim in ["sid", "client_id", "org_id"] {
        assert_eq!(kind(strict, full().claim(claim, 7)), Err(RejectionKind::MalformedClaim), "{claim}");
        assert_eq!(kind(strict, full().claim(claim, json!(null))), Err(RejectionKind::MalformedClaim), "{claim}");
    }
    for claim in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
        for value in [json!(null), json!({}), json!([7]), json!(false)] {
            assert_eq!(
                kind(plain, token().claim(claim, &value)),
                Err(RejectionKind::MalformedClaim),
                "{claim} {value}"
            );
        }
    }
    for claim in ["exp", "nbf"] {
        for value in [json!("1800000600"), json!(1_800_000_600_000_i64), json!(1_800_000_600_000_000_i64)] {
            assert_eq!(
                kind(plain, token().claim(claim, &value)),
                Err(RejectionKind::MalformedClaim),
                "{claim} {value}"
            );
        }
    }
    assert_eq!(kind(plain, token().claim("exp", NOW)), Err(RejectionKind::Expired));
    assert_eq!(kind(plain, token().claim("nbf", NOW + 1)), Err(RejectionKind::NotYetValid));
    assert_eq!(kind(aged, token().claim("iat", NOW + 60)), Err(RejectionKind::IssuedInFuture));
    assert_eq!(kind(aged, token().claim("iat", NOW - 600)), Err(RejectionKind::TooOld));
    assert_eq!(kind(plain, token().audience("https://other.test/")), Err(RejectionKind::Audience));
    assert_eq!(kind(plain, token().issuer("https://other.test/")), Err(RejectionKind::Issuer));
    assert_eq!(kind(strict, full().claim("client_id", "other")), Err(RejectionKind::Client));
    assert_eq!(kind(strict, full().claim("org_id", "org_2")), Err(RejectionKind::Organization));
    assert_eq!(kind(strict, full()), Ok(()));
    assert_eq!(kind(aged, token()), Ok(()));
}

#[test]
fn rule_081_rfc_9068_profile_requires_its_type_and_claims() {
    let test_api = TestApi::new();
    let rfc = |api: Api| api.with_profile(Profile::Rfc9068);
    assert_eq!(validate_with(&test_api, rfc, test_api.server.token().rfc9068()), Ok(()));
    for typ in ["JWT", "at+jwt;x=1", ""] {
        assert_eq!(
            validate_with(&test_api, rfc, test_api.server.token().rfc9068().typ(typ)),
            claims(ClaimError::TokenType),
            "{typ}"
        );
    }
    assert_eq!(
        validate_with(&test_api, rfc, test_api.server.token().rfc9068().without_header("typ")),
        claims(ClaimError::TokenType)
    );
    for claim in ["sub", "client_id", "iat", "jti"] {
        let rejection = validate_with(&test_api, rfc, test_api.server.token().rfc9068().without(claim));
        assert_eq!(rejection, claims(ClaimError::Required { claim: claim.into(), reason: ClaimErrorReason::Missing }));
    }
    // A client of the API does not replace `aud` either, as it does for tokens of Cognito.
    let clients = |api: Api| api.with_client_ids(["test-client"]);
    let token =
        || test_api.server.token().claim("client_id", "test-client").claim("token_use", "access").without("aud");
    assert_eq!(validate_with(&test_api, clients, token()), Ok(()));
    assert_eq!(validate_with(&test_api, |api| rfc(clients(api)), token().rfc9068().claim("aud", AUDIENCE)), Ok(()));
    let rejection = validate_with(&test_api, |api| rfc(clients(api)), token().rfc9068());
    assert_eq!(rejection, Err(Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Missing))));
}

#[test]
fn rule_082_to_084_and_130_rejects_other_types_of_tokens() {
    let test_api = TestApi::new();
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "APPLICATION/JWT"] {
        assert!(test_api.validate(test_api.server.token().typ(typ)).is_ok(), "{typ}");
    }
    for typ in [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "id+jwt",
        "JOSE",
        "application/x",
        "",
    ] {
        assert_eq!(
            test_api.validate(test_api.server.token().typ(typ)).map(drop),
            claims(ClaimError::TokenType),
            "{typ}"
        );
    }
    for (claim, value) in [("at_hash", "x"), ("c_hash", "x"), ("token_use", "id"), ("typ", "ID")] {
        let rejection = test_api.validate(test_api.server.token().claim(claim, value)).map(drop);
        assert_eq!(rejection, claims(ClaimError::IdToken { marker: claim }));
    }
}

#[test]
fn rule_085_rejects_a_sender_constrained_token() {
    let test_api = TestApi::new();
    for cnf in
        [json!({ "jkt": "x" }), json!({ "x5t#S256": "x" }), json!({}), json!(null), json!([]), json!({ "new": 1 })]
    {
        assert_eq!(
            test_api.validate(test_api.server.token().claim("cnf", cnf)).map(drop),
            claims(ClaimError::Confirmation)
        );
    }
}

fn meets(test_api: &TestApi, requirement: &Requirement, token: TokenBuilder) -> bool {
    let claims = test_api.validate(token).expect("a valid token");
    requirement.check(&claims, tower_bearer::clock::Timestamp::from_secs(NOW)).is_ok()
}

#[test]
fn rule_086_and_116_scopes_match_as_whole_case_sensitive_words() {
    let test_api = TestApi::new();
    let required = Requirement::scope("read:orders");
    for scope in [json!("read:orders"), json!("x read:orders y"), json!(["read:orders", "x"])] {
        assert!(meets(&test_api, &required, test_api.server.token().claim("scope", &scope)), "{scope}");
    }
    for scope in [
        json!("read:orders2"),
        json!("READ:ORDERS"),
        json!("read:orders,x"),
        json!("read"),
        json!(""),
        json!(1),
        json!(null),
        json!({ "read:orders": true }),
    ] {
        assert!(!meets(&test_api, &required, test_api.server.token().claim("scope", &scope)), "{scope}");
    }
    assert!(!meets(&test_api, &required, test_api.server.token().permissions(["read:orders"])));
}

#[test]
fn rule_087_acr_and_auth_time_are_checked_only_if_required() {
    let test_api = TestApi::new();
    let strong = Requirement::acr_values(["high"]);
    assert!(meets(&test_api, &strong, test_api.server.token().claim("acr", "high")));
    assert!(
        !meets(&test_api, &strong, test_api.server.token())
            && !meets(&test_api, &strong, test_api.server.token().claim("acr", ["high"]))
    );
    let recent = Requirement::max_authentication_age(Duration::from_secs(60));
    assert!(meets(&test_api, &recent, test_api.server.token().claim("auth_time", NOW - 10)));
    for auth_time in [json!(NOW - 61), json!(NOW.to_string()), json!(null)] {
        assert!(!meets(&test_api, &recent, test_api.server.token().claim("auth_time", &auth_time)), "{auth_time}");
    }
}

#[test]
fn rule_088_texts_contain_no_line_breaks_of_a_token() {
    let test_api = TestApi::new();
    let forged = "x\r\nSet-Cookie: a=b";
    for token in [
        test_api.server.token().kid(forged),
        test_api.server.token().issuer(forged),
        test_api.server.token().typ(forged),
        test_api.server.token().audience(forged),
    ] {
        let rejection = test_api.rejection(token);
        assert!(!format!("{rejection} {rejection:?}").contains("Set-Cookie"), "{rejection:?}");
    }
}

/// An unknown `iss` triggers no fetch, and every check that needs no key runs before the fetch (CVE-2026-32301).
#[tokio::test]
async fn rule_090_unverified_claims_select_only_configured_issuers() {
    let (server, other_issuer) = (TestIssuer::new(), TestIssuer::named("https://other.test/"));
    let network = tower_bearer::testing::TestNetwork::new([&server, &other_issuer]);
    let policy = tower_bearer::jwks::RefreshPolicy::new().with_initial_fetch(tower_bearer::jwks::InitialFetch::Lazy);
    let api = Api::new(AUDIENCE, tower_bearer::Issuer::oidc(server.issuer()));
    let builder = tower_bearer::Validator::builder(api).with_fetch(network).with_refresh_policy(policy);
    let validator = builder.build().expect("a valid configuration");
    for token in [
        other_issuer.token(),
        server.token().issuer("https://other.test/"),
        server.token().audience("https://other.test/"),
        server.token().expired(),
        server.token().algorithm(Algorithm::ES256),
        server.token().unsigned(),
    ] {
        assert!(validator.validate(&token.sign()).await.is_err());
    }
    let all = [&server, &other_issuer].map(|issuer| issuer.fetches() + issuer.discovery_fetches());
    assert_eq!(all, [0, 0]);
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    assert_eq!(other_issuer.fetches() + other_issuer.discovery_fetches(), 0);
}
