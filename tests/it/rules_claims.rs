//! Rules 69 to 90: the claims.

use std::time::Duration;

use serde_json::{Value, json};
use tower_bearer::claims::{ClaimError, ClaimErrorReason, Profile};
use tower_bearer::config::Organizations;
use tower_bearer::rejection::IssuerError;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::token::{Part, TokenError};
use tower_bearer::{Algorithm, Api, Rejection, RejectionKind, Requirement};

use crate::kit::{AUDIENCE, NOW, Site, block_on, trusted, validator_of};

/// Whether an API with one more setting takes a token.
fn takes(site: &Site, set: impl FnOnce(Api) -> Api, token: TokenBuilder) -> Result<(), Rejection> {
    let api = Api::new(AUDIENCE, trusted(&site.server, Algorithm::RS256)).with_leeway(Duration::ZERO);
    block_on(validator_of(set(api)).validate(&token.sign())).map(drop)
}

fn claims(error: ClaimError) -> Result<(), Rejection> {
    Err(Rejection::Claims(error))
}

/// `aud` and `exp` refuse before the signature is looked at.
fn early(error: ClaimError) -> Result<(), Rejection> {
    Err(Rejection::UnverifiedClaims(error))
}

#[test]
fn rule_069_the_claims_set_is_one_object() {
    let site = Site::new();
    let json = Rejection::Token(TokenError::Json { part: Part::Payload });
    let positional = format!("[{},{},\"s\",\"{}\",\"{AUDIENCE}\"]", NOW + 60, NOW, site.server.issuer());
    for payload in [&*positional, "[]", "null", "1", "\"x\"", "{}{}"] {
        assert_eq!(site.refusal(site.server.token().raw_payload(payload)), json, "{payload}");
    }
}

#[test]
fn rule_070_claim_names_are_unique() {
    let site = Site::new();
    let twice = Rejection::Token(TokenError::DuplicateMember { part: Part::Payload });
    for name in ["iss", "aud", "exp", "sub", "scope", "x"] {
        let token = site.server.token().scope("read:orders").claim("x", 1).with_duplicate_claim(name, 1);
        assert_eq!(site.refusal(token), twice, "{name}");
    }
}

#[test]
fn rule_071_and_089_iss_is_one_string_and_ours_to_the_letter() {
    let site = Site::new();
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
        let refusal = site.refusal(site.server.token().issuer(iss));
        assert!(matches!(refusal, Rejection::Issuer(IssuerError::Unknown { .. })), "{iss}: {refusal:?}");
    }
    for iss in [json!(null), json!(1), json!([site.server.issuer()]), json!({ "x": site.server.issuer() })] {
        let refusal = site.refusal(site.server.token().claim("iss", &iss));
        assert_eq!(refusal, Rejection::Issuer(IssuerError::Malformed), "{iss}");
    }
    assert_eq!(site.refusal(site.server.token().without("iss")), Rejection::Issuer(IssuerError::Missing));
    assert!(site.judge(site.server.token()).is_ok());
}

#[test]
fn rule_073_and_074_aud_holds_our_identifier_and_only_strings() {
    let site = Site::new();
    let judge = |aud: Value| site.judge(site.server.token().claim("aud", aud)).map(drop);
    for good in [json!(AUDIENCE), json!([AUDIENCE]), json!(["x", AUDIENCE])] {
        assert_eq!(judge(good), Ok(()));
    }
    for other in
        [json!("https://api.test"), json!(""), json!(["x"]), json!("https://API.test/"), json!(format!("{AUDIENCE} x"))]
    {
        assert_eq!(judge(other), early(ClaimError::Audience(ClaimErrorReason::Mismatch)));
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
        assert_eq!(judge(malformed.clone()), early(ClaimError::Audience(ClaimErrorReason::Malformed)), "{malformed}");
    }
    let missing = site.judge(site.server.token().without("aud")).map(drop);
    assert_eq!(missing, early(ClaimError::Audience(ClaimErrorReason::Missing)));
}

#[test]
fn rule_075_to_078_dates_are_numbers_read_to_the_nanosecond() {
    let site = Site::new();
    let judge = |claim: &str, json: &str| site.judge(site.server.token().raw_claim(claim, json)).map(drop);
    for (json, outcome) in [
        (format!("{}", NOW + 1), Ok(())),
        (format!("{NOW}.000000001"), Ok(())),
        (format!("{NOW}"), early(ClaimError::Expired)),
        (format!("{}.999999999", NOW - 1), early(ClaimError::Expired)),
        ("-1".to_owned(), early(ClaimError::Expired)),
        ("1e9".to_owned(), early(ClaimError::Expired)),
        ("253402300799".to_owned(), Ok(())),
    ] {
        assert_eq!(judge("exp", &json), outcome, "{json}");
    }
    let aged = |api: Api| api.with_max_age(Duration::from_secs(600));
    let iat = |json: &str| site.server.token().raw_claim("iat", json);
    let no_numbers = ["\"1900000000\"", "null", "true", "[1900000000]", "{}"];
    let no_dates = ["1e308", "1e400", "18446744073709551616", "253402300800"];
    for json in no_numbers.into_iter().chain(no_dates) {
        assert_eq!(judge("exp", json), early(ClaimError::Expiry(ClaimErrorReason::Malformed)), "{json}");
        assert_eq!(judge("nbf", json), claims(ClaimError::NotBefore), "{json}");
        assert_eq!(takes(&site, aged, iat(json)), claims(ClaimError::IssuedAt(ClaimErrorReason::Malformed)), "{json}");
    }
    // Where the age does not count, nothing is computed from `iat`: it has to be a number, and any will do.
    for json in no_numbers {
        assert_eq!(judge("iat", json), claims(ClaimError::IssuedAt(ClaimErrorReason::Malformed)), "{json}");
    }
    for json in no_dates {
        assert_eq!(judge("iat", json), Ok(()), "{json}");
    }
    assert_eq!(judge("nbf", &format!("{NOW}")), Ok(()));
    assert_eq!(judge("nbf", &format!("{NOW}.000000001")), claims(ClaimError::NotYetValid));
    let missing = site.judge(site.server.token().without("exp")).map(drop);
    assert_eq!(missing, early(ClaimError::Expiry(ClaimErrorReason::Missing)));
}

#[test]
fn rule_079_a_future_iat_counts_only_where_the_age_does() {
    let site = Site::new();
    let future = || site.server.token().claim("iat", NOW + 60);
    assert_eq!(takes(&site, |api| api, future()), Ok(()));
    let aged = |api: Api| api.with_max_age(Duration::from_secs(600));
    assert_eq!(takes(&site, aged, future()), claims(ClaimError::IssuedInFuture));
    assert_eq!(takes(&site, aged, site.server.token().claim("iat", NOW - 600)), claims(ClaimError::TooOld));
    assert_eq!(takes(&site, aged, site.server.token().claim("iat", NOW - 599)), Ok(()));
}

#[test]
fn rule_080_sub_is_a_string() {
    let site = Site::new();
    for sub in [json!(1), json!(null), json!(["x"]), json!({})] {
        assert_eq!(site.judge(site.server.token().claim("sub", sub)).map(drop), claims(ClaimError::Subject));
    }
    let required = |api: Api| api.with_required_claims(["sub"]);
    for token in [site.server.token().without("sub"), site.server.token().subject("")] {
        let missing = ClaimError::Required { claim: "sub".into(), reason: ClaimErrorReason::Missing };
        assert_eq!(takes(&site, required, token), claims(missing));
    }
    assert_eq!(takes(&site, required, site.server.token()), Ok(()));
}

/// A denylist of `jti` values would miss a token whose `jti` is of another type.
#[test]
fn rejects_a_jti_of_another_type() {
    let site = Site::new();
    for jti in [json!(7), json!(null), json!(["x"]), json!({}), json!(true)] {
        assert_eq!(site.judge(site.server.token().claim("jti", jti)).map(drop), claims(ClaimError::JwtId));
    }
    let claims = site.judge(site.server.token().claim("jti", "7")).expect("a good token");
    assert_eq!(claims.jwt_id(), Some("7"));
}

/// Each is a fault of the issuer's, and no matter of time, trust or audience.
#[test]
fn missing_and_malformed_claims_have_kinds_of_their_own() {
    let site = Site::new();
    let kind =
        |set: fn(Api) -> Api, token: TokenBuilder| takes(&site, set, token).map_err(|rejection| rejection.kind());
    let plain: fn(Api) -> Api = |api| api;
    let aged: fn(Api) -> Api = |api| api.with_max_age(Duration::from_secs(600));
    let strict: fn(Api) -> Api = |api| {
        api.with_required_claims(["sid"]).with_client_ids(["web"]).with_organizations(Organizations::ids(["org_1"]))
    };
    let token = || site.server.token();
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
fn rule_081_the_profile_of_rfc_9068_wants_its_type_and_claims() {
    let site = Site::new();
    let rfc = |api: Api| api.with_profile(Profile::Rfc9068);
    assert_eq!(takes(&site, rfc, site.server.token().rfc9068()), Ok(()));
    for typ in ["JWT", "at+jwt;x=1", ""] {
        assert_eq!(takes(&site, rfc, site.server.token().rfc9068().typ(typ)), claims(ClaimError::TokenType), "{typ}");
    }
    assert_eq!(takes(&site, rfc, site.server.token().rfc9068().without_header("typ")), claims(ClaimError::TokenType));
    for claim in ["sub", "client_id", "iat", "jti"] {
        let refusal = takes(&site, rfc, site.server.token().rfc9068().without(claim));
        assert_eq!(refusal, claims(ClaimError::Required { claim: claim.into(), reason: ClaimErrorReason::Missing }));
    }
    // Nor does a client of the API's stand in for `aud`, as it does for tokens of Cognito.
    let clients = |api: Api| api.with_client_ids(["test-client"]);
    let token = || site.server.token().claim("client_id", "test-client").claim("token_use", "access").without("aud");
    assert_eq!(takes(&site, clients, token()), Ok(()));
    assert_eq!(takes(&site, |api| rfc(clients(api)), token().rfc9068().claim("aud", AUDIENCE)), Ok(()));
    let refusal = takes(&site, |api| rfc(clients(api)), token().rfc9068());
    assert_eq!(refusal, Err(Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Missing))));
}

#[test]
fn rule_082_to_084_and_130_other_kinds_of_tokens_are_no_access_tokens() {
    let site = Site::new();
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "APPLICATION/JWT"] {
        assert!(site.judge(site.server.token().typ(typ)).is_ok(), "{typ}");
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
        assert_eq!(site.judge(site.server.token().typ(typ)).map(drop), claims(ClaimError::TokenType), "{typ}");
    }
    for (claim, value) in [("at_hash", "x"), ("c_hash", "x"), ("token_use", "id"), ("typ", "ID")] {
        let refusal = site.judge(site.server.token().claim(claim, value)).map(drop);
        assert_eq!(refusal, claims(ClaimError::IdToken { marker: claim }));
    }
}

#[test]
fn rule_085_a_bound_token_is_refused() {
    let site = Site::new();
    for cnf in
        [json!({ "jkt": "x" }), json!({ "x5t#S256": "x" }), json!({}), json!(null), json!([]), json!({ "new": 1 })]
    {
        assert_eq!(site.judge(site.server.token().claim("cnf", cnf)).map(drop), claims(ClaimError::Confirmation));
    }
}

fn meets(site: &Site, requirement: &Requirement, token: TokenBuilder) -> bool {
    let claims = site.judge(token).expect("a good token");
    requirement.check(&claims, tower_bearer::clock::Timestamp::from_secs(NOW), Duration::ZERO).is_ok()
}

#[test]
fn rule_086_and_116_scopes_are_whole_words_with_case() {
    let site = Site::new();
    let required = Requirement::scope("read:orders");
    for scope in [json!("read:orders"), json!("x read:orders y"), json!(["read:orders", "x"])] {
        assert!(meets(&site, &required, site.server.token().claim("scope", &scope)), "{scope}");
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
        assert!(!meets(&site, &required, site.server.token().claim("scope", &scope)), "{scope}");
    }
    assert!(!meets(&site, &required, site.server.token().permissions(["read:orders"])));
}

#[test]
fn rule_087_acr_and_auth_time_count_where_they_are_asked_for() {
    let site = Site::new();
    let strong = Requirement::acr_values(["high"]);
    assert!(meets(&site, &strong, site.server.token().claim("acr", "high")));
    assert!(
        !meets(&site, &strong, site.server.token())
            && !meets(&site, &strong, site.server.token().claim("acr", ["high"]))
    );
    let recent = Requirement::max_authentication_age(Duration::from_secs(60));
    assert!(meets(&site, &recent, site.server.token().claim("auth_time", NOW - 10)));
    for auth_time in [json!(NOW - 61), json!(NOW.to_string()), json!(null)] {
        assert!(!meets(&site, &recent, site.server.token().claim("auth_time", &auth_time)), "{auth_time}");
    }
}

#[test]
fn rule_088_line_breaks_in_a_token_reach_no_text_of_ours() {
    let site = Site::new();
    let forged = "x\r\nSet-Cookie: a=b";
    for token in [
        site.server.token().kid(forged),
        site.server.token().issuer(forged),
        site.server.token().typ(forged),
        site.server.token().audience(forged),
    ] {
        let refusal = site.refusal(token);
        assert!(!format!("{refusal} {refusal:?}").contains("Set-Cookie"), "{refusal:?}");
    }
}

/// A stranger's `iss` leads nowhere, and every check that needs no key comes before the fetch (CVE-2026-32301).
#[tokio::test]
async fn rule_090_unverified_claims_choose_among_configured_issuers_only() {
    let (server, stranger) = (TestIssuer::new(), TestIssuer::named("https://stranger.test/"));
    let network = tower_bearer::testing::TestNetwork::new([&server, &stranger]);
    let policy = tower_bearer::jwks::RefreshPolicy::new().with_initial_fetch(tower_bearer::jwks::InitialFetch::Lazy);
    let api = Api::new(AUDIENCE, tower_bearer::Issuer::oidc(server.issuer()));
    let builder = tower_bearer::Validator::builder(api).with_fetch(network).with_refresh_policy(policy);
    let validator = builder.build().expect("a good configuration");
    for token in [
        stranger.token(),
        server.token().issuer("https://stranger.test/"),
        server.token().audience("https://other.test/"),
        server.token().expired(),
        server.token().algorithm(Algorithm::ES256),
        server.token().unsigned(),
    ] {
        assert!(validator.validate(&token.sign()).await.is_err());
    }
    let all = [&server, &stranger].map(|issuer| issuer.fetches() + issuer.discovery_fetches());
    assert_eq!(all, [0, 0]);
    assert!(validator.validate(&server.token().sign()).await.is_ok());
    assert_eq!(stranger.fetches() + stranger.discovery_fetches(), 0);
}
