use super::*;
use crate::token::UnverifiedToken;

const NOW: i64 = 1_800_000_000;
const HEADER: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

fn rules() -> Rules {
    Rules {
        audiences: Box::from([Box::from("https://api.example/")]),
        leeway: Duration::from_secs(5),
        missing_audience: MissingAudience::Rejected,
        profile: Profile::Any,
        token_types: Box::from([]),
        required: Box::from([]),
        max_age: None,
        confirmation: ConfirmationRule::Rejected,
        id_token_markers: IdTokenMarkers::Rejected,
        clients: ClientRule::default(),
        organizations: OrganizationRule::Any,
    }
}

fn clients(ids: &[&str]) -> ClientRule {
    ClientRule { accepted: ids.iter().map(|id| Box::from(*id)).collect(), ..ClientRule::default() }
}

/// Checks a valid claims set after `change` is applied to it.
fn check_with(rules: &Rules, header: &str, change: &str) -> Result<(), ClaimError> {
    let mut claims =
        format!(r#"{{"iss":"https://as.example/","aud":"https://api.example/","sub":"s","exp":{}}}"#, NOW + 600);
    for (name, value) in raw_members(change) {
        claims = replace(&claims, &name, &value);
    }
    check_json(rules, header, &claims)
}

fn check_json(rules: &Rules, header: &str, claims: &str) -> Result<(), ClaimError> {
    let encode = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
    let token = format!("{}.{}.AA", encode(header), encode(claims));
    let token = UnverifiedToken::parse(&token).expect("well-formed");
    let input = CheckInput {
        source: CheckedSource::Token(token.header()),
        payload: token.payload(),
        issuer: "https://as.example/",
        now: Timestamp::from_secs(NOW),
    };
    rules.check(input)
}

fn check(change: &str) -> Result<(), ClaimError> {
    check_with(&rules(), HEADER, change)
}

/// Returns the members as text, so that numbers keep their spelling. The value `~` removes a member.
fn raw_members(change: &str) -> Vec<(String, String)> {
    change
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn replace(claims: &str, name: &str, value: &str) -> String {
    let members: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
        serde_json::from_str(claims).expect("an object");
    let mut parts: Vec<String> =
        members.iter().filter(|(other, _)| *other != name).map(|(other, raw)| format!("\"{other}\":{raw}")).collect();
    if value != "~" {
        parts.push(format!("\"{name}\":{value}"));
    }
    format!("{{{}}}", parts.join(","))
}

#[test]
fn accepts_a_plain_access_token() {
    assert_eq!(check(""), Ok(()));
}

#[test]
fn iss_must_be_a_string_and_equal_the_issuer() {
    assert_eq!(check("iss=~"), Err(ClaimError::Issuer(ClaimErrorReason::Missing)));
    for value in ["null", "1", "true", r#"["https://as.example/"]"#, r#"{"a":1}"#] {
        assert_eq!(check(&format!("iss={value}")), Err(ClaimError::Issuer(ClaimErrorReason::Malformed)), "{value}");
    }
    for value in [
        "",
        "https://as.example",
        "https://as.example//",
        "https://AS.example/",
        "HTTPS://as.example/",
        "http://as.example/",
        "https://as.example:443/",
        "https://as.example/ ",
        "https://аs.example/",
    ] {
        assert_eq!(check(&format!("iss=\"{value}\"")), Err(ClaimError::Issuer(ClaimErrorReason::Mismatch)), "{value}");
    }
    assert_eq!(check(r#"iss="https:\/\/as.example\/""#), Ok(()));
}

#[test]
fn aud_must_contain_the_audience_of_the_api() {
    assert_eq!(check("aud=~"), Err(ClaimError::Audience(ClaimErrorReason::Missing)));
    for value in [
        "null",
        "1",
        "true",
        "{}",
        "[]",
        r#"["https://api.example/",1]"#,
        r#"[null,"https://api.example/"]"#,
        r#"[["https://api.example/"]]"#,
    ] {
        assert_eq!(check(&format!("aud={value}")), Err(ClaimError::Audience(ClaimErrorReason::Malformed)), "{value}");
    }
    for value in [
        r#""""#,
        r#"[""]"#,
        r#""https://api.example""#,
        r#""https://api.example/ x""#,
        r#""https://api.example/,x""#,
        r#""*""#,
        r#"["https://other.example/"]"#,
    ] {
        assert_eq!(check(&format!("aud={value}")), Err(ClaimError::Audience(ClaimErrorReason::Mismatch)), "{value}");
    }
    for value in [
        r#"["https://api.example/"]"#,
        r#"["https://as.example/userinfo","https://api.example/"]"#,
        r#"["https://api.example/","https://api.example/"]"#,
    ] {
        assert_eq!(check(&format!("aud={value}")), Ok(()), "{value}");
    }
}

#[test]
fn exp_must_be_in_the_future_with_leeway() {
    assert_eq!(check("exp=~"), Err(ClaimError::Expiry(ClaimErrorReason::Missing)));
    for value in
        ["null", "\"1800000600\"", "true", "[1800000600]", "{}", "1e400", "18446744073709551616", "253402300800"]
    {
        assert_eq!(check(&format!("exp={value}")), Err(ClaimError::Expiry(ClaimErrorReason::Malformed)), "{value}");
    }
    for value in ["1799999995", "1799999994.999999999", "0", "-0.0", "-1", "-1e19"] {
        assert_eq!(check(&format!("exp={value}")), Err(ClaimError::Expired), "{value}");
    }
    for value in ["1799999995.000000001", "1799999996", "1800000000", "1.8000006e9", "253402300799"] {
        assert_eq!(check(&format!("exp={value}")), Ok(()), "{value}");
    }
}

#[test]
fn nbf_must_not_be_in_the_future_with_leeway() {
    for value in ["null", "\"0\"", "false", "1e400"] {
        assert_eq!(check(&format!("nbf={value}")), Err(ClaimError::NotBefore), "{value}");
    }
    for value in ["1800000005.000000001", "1800000006", "253402300799"] {
        assert_eq!(check(&format!("nbf={value}")), Err(ClaimError::NotYetValid), "{value}");
    }
    for value in ["1800000005", "1800000000", "1799999999.5", "-5"] {
        assert_eq!(check(&format!("nbf={value}")), Ok(()), "{value}");
    }
}

#[test]
fn iat_is_checked_only_with_a_maximum_age() {
    assert_eq!(check("iat=\"1\""), Err(ClaimError::IssuedAt(ClaimErrorReason::Malformed)));
    assert_eq!(check("iat=null"), Err(ClaimError::IssuedAt(ClaimErrorReason::Malformed)));
    for value in ["0", "1900000000", "1799999999", "1799999999000", "1e400", "-1"] {
        assert_eq!(check(&format!("iat={value}")), Ok(()), "{value}");
    }
    let aged = Rules { max_age: Some(Duration::from_secs(60)), ..rules() };
    let check = |change: &str| check_with(&aged, HEADER, change);
    assert_eq!(check("iat=~"), Err(ClaimError::IssuedAt(ClaimErrorReason::Missing)));
    assert_eq!(check("iat=1800000006"), Err(ClaimError::IssuedInFuture));
    assert_eq!(check("iat=1800000005"), Ok(()));
    assert_eq!(check("iat=1799999935"), Err(ClaimError::TooOld));
    assert_eq!(check("iat=1799999936"), Ok(()));
}

#[test]
fn typ_must_be_accepted_by_the_profile() {
    let with = |profile, typ: &str| {
        let header =
            if typ == "~" { r#"{"alg":"RS256"}"#.to_owned() } else { format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#) };
        check_with(&Rules { profile, ..rules() }, &header, "client_id=\"c\"\niat=1\njti=\"j\"")
    };
    for typ in ["~", "JWT", "jwt", "application/jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(with(Profile::Any, typ), Ok(()), "{typ}");
    }
    for typ in [
        "",
        "JOSE",
        "JOSE+JSON",
        "id+jwt",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "at+jwt;x=1",
        "at+jwt ",
    ] {
        assert_eq!(with(Profile::Any, typ), Err(ClaimError::TokenType), "{typ}");
    }
    for (typ, expected) in [("JWT", Ok(())), ("~", Err(ClaimError::TokenType)), ("at+jwt", Err(ClaimError::TokenType))]
    {
        assert_eq!(with(Profile::Auth0, typ), expected, "{typ}");
    }
    for (typ, expected) in [
        ("at+jwt", Ok(())),
        ("application/AT+JWT", Ok(())),
        ("~", Err(ClaimError::TokenType)),
        ("JWT", Err(ClaimError::TokenType)),
    ] {
        assert_eq!(with(Profile::Rfc9068, typ), expected, "{typ}");
    }
}

#[test]
fn rfc_9068_profile_requires_its_claims() {
    let strict = Rules { profile: Profile::Rfc9068, ..rules() };
    let header = r#"{"alg":"RS256","typ":"at+jwt"}"#;
    let all = "client_id=\"c\"\niat=1\njti=\"j\"";
    assert_eq!(check_with(&strict, header, all), Ok(()));
    for claim in ["sub", "client_id", "iat", "jti"] {
        let outcome = check_with(&strict, header, &format!("{all}\n{claim}=~"));
        assert_eq!(outcome, missing_claim(claim), "{claim}");
    }
}

#[test]
fn rejects_a_missing_configured_claim() {
    let strict = Rules { required: Box::from([Arc::from("sub"), Arc::from("tenant")]), ..rules() };
    let check = |change: &str| check_with(&strict, HEADER, change);
    assert_eq!(check("tenant=7"), Ok(()));
    assert_eq!(check(""), missing_claim("tenant"));
    assert_eq!(check("tenant=7\nsub=\"\""), missing_claim("sub"));
    let malformed = Err(ClaimError::Required { claim: Arc::from("tenant"), reason: ClaimErrorReason::Malformed });
    assert_eq!(check("tenant=null"), malformed);
}

fn missing_claim(claim: &str) -> Result<(), ClaimError> {
    Err(ClaimError::Required { claim: Arc::from(claim), reason: ClaimErrorReason::Missing })
}

#[test]
fn rejects_a_sub_that_is_not_a_string() {
    for value in ["null", "1", "[\"s\"]", "{}"] {
        assert_eq!(check(&format!("sub={value}")), Err(ClaimError::Subject), "{value}");
    }
    assert_eq!(check("sub=~"), Ok(()));
}

#[test]
fn rejects_a_jti_that_is_not_a_string() {
    for value in ["null", "7", "true", "[\"j\"]", "{}"] {
        assert_eq!(check(&format!("jti={value}")), Err(ClaimError::JwtId), "{value}");
    }
    for value in ["\"j\"", "\"7\"", "\"\"", "~"] {
        assert_eq!(check(&format!("jti={value}")), Ok(()), "{value}");
    }
}

#[test]
fn accepts_malformed_claims_that_no_rule_requires() {
    let others = [
        "client_id",
        "azp",
        "sid",
        "org_id",
        "org_name",
        "auth_time",
        "acr",
        "amr",
        "act",
        "nonce",
        "scope",
        "permissions",
    ];
    for claim in others {
        for value in ["null", "false", "[1]"] {
            assert_eq!(check(&format!("{claim}={value}")), Ok(()), "{claim} {value}");
            let requiring = Rules { required: Box::from([Arc::from(claim)]), ..rules() };
            let malformed = Err(ClaimError::Required { claim: Arc::from(claim), reason: ClaimErrorReason::Malformed });
            assert_eq!(check_with(&requiring, HEADER, &format!("{claim}={value}")), malformed, "{claim} {value}");
        }
    }
}

#[test]
fn rejects_tokens_bound_to_a_key_unless_cnf_is_ignored() {
    let ignoring = Rules { confirmation: ConfirmationRule::Ignored, ..rules() };
    for value in [r#"{"jkt":"x"}"#, r#"{"x5t#S256":"x"}"#, r#"{"other":1}"#, "[]", "null", "{}"] {
        assert_eq!(check(&format!("cnf={value}")), Err(ClaimError::Confirmation), "{value}");
        assert_eq!(check_with(&ignoring, HEADER, &format!("cnf={value}")), Ok(()), "{value}");
    }
}

#[test]
fn rejects_id_tokens_by_their_claims() {
    for (marker, change) in [
        ("at_hash", "at_hash=\"x\""),
        ("c_hash", "c_hash=\"x\""),
        ("token_use", "token_use=\"id\""),
        ("typ", "typ=\"ID\""),
    ] {
        assert_eq!(check(change), Err(ClaimError::IdToken { marker }), "{change}");
    }
    for change in ["token_use=\"access\"", "typ=\"Bearer\"", "nonce=\"n\""] {
        assert_eq!(check(change), Ok(()), "{change}");
    }
    let auth0 = Rules { profile: Profile::Auth0, ..rules() };
    assert_eq!(check_with(&auth0, HEADER, "nonce=\"n\""), Err(ClaimError::IdToken { marker: "nonce" }));
}

#[test]
fn check_returns_the_first_failure_and_evaluate_reports_all() {
    let everything_wrong = r#"{"iss":1,"aud":[],"exp":0,"nbf":"x","iat":"x","sub":1,"jti":1,"cnf":1,"at_hash":1}"#;
    assert_eq!(check_json(&rules(), r#"{"alg":"RS256","typ":"x"}"#, everything_wrong), Err(ClaimError::TokenType));
    assert_eq!(check_json(&rules(), HEADER, everything_wrong), Err(ClaimError::Issuer(ClaimErrorReason::Malformed)));
    let token = format!(
        "{}.{}.AA",
        base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, HEADER),
        base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, everything_wrong)
    );
    let token = UnverifiedToken::parse(&token).expect("well-formed");
    let input = CheckInput {
        source: CheckedSource::Token(token.header()),
        payload: token.payload(),
        issuer: "i",
        now: Timestamp::from_secs(NOW),
    };
    let mut failed = Vec::new();
    rules().evaluate(input, &mut |check, outcome| {
        if outcome.is_err() {
            failed.push(check.name);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(failed, ["iss", "aud", "exp", "nbf", "iat", "sub", "jti", "cnf", "ID token"]);
}

#[test]
fn only_aud_and_exp_are_checked_before_the_signature() {
    let cheap: Vec<&str> = CHECKS.iter().filter(|check| check.cheap).map(|check| check.name).collect();
    assert_eq!(cheap, ["aud", "exp"]);
}

#[test]
fn client_must_be_a_configured_one() {
    let rules = Rules { clients: clients(&["web", "cron"]), ..rules() };
    let check = |change: &str| check_with(&rules, HEADER, change);
    assert_eq!(check("client_id=\"cron\""), Ok(()));
    assert_eq!(check("azp=\"web\""), Ok(()));
    assert_eq!(check("client_id=\"web\"\nazp=\"other\""), Ok(()), "client_id has priority over azp");
    assert_eq!(check(""), Err(ClaimError::Client(ClaimErrorReason::Missing)));
    assert_eq!(check("azp=[\"web\"]"), Err(ClaimError::Client(ClaimErrorReason::Malformed)));
    assert_eq!(check("client_id=1\nazp=\"web\""), Err(ClaimError::Client(ClaimErrorReason::Malformed)));
    for other in ["client_id=\"WEB\"", "client_id=\"other\"\nazp=\"web\"", "azp=\"\""] {
        assert_eq!(check(other), Err(ClaimError::Client(ClaimErrorReason::Mismatch)), "{other}");
    }
}

#[test]
fn accepts_a_token_without_aud_only_from_a_configured_client() {
    let cognito = Rules { clients: clients(&["web"]), ..rules() };
    let check = |change: &str| check_with(&cognito, HEADER, change);
    assert_eq!(check("aud=~\nclient_id=\"web\"\ntoken_use=\"access\""), Ok(()));
    let missing = Err(ClaimError::Audience(ClaimErrorReason::Missing));
    for change in [
        "aud=~\nclient_id=\"web\"",
        "aud=~\nclient_id=\"web\"\ntoken_use=\"id\"",
        "aud=~\nclient_id=\"web\"\ntoken_use=[\"access\"]",
        "aud=~\nazp=\"web\"\ntoken_use=\"access\"",
        "aud=~\ntoken_use=\"access\"",
    ] {
        assert_eq!(check(change), missing, "{change}");
    }
    let other = check("aud=~\nclient_id=\"other\"\ntoken_use=\"access\"");
    assert_eq!(other, Err(ClaimError::Client(ClaimErrorReason::Mismatch)));
    let unlisted = check_with(&rules(), HEADER, "aud=~\nclient_id=\"web\"\ntoken_use=\"access\"");
    assert_eq!(unlisted, missing, "without configured clients aud is required");
    let wrong = check("aud=\"https://other.example/\"\nclient_id=\"web\"\ntoken_use=\"access\"");
    assert_eq!(wrong, Err(ClaimError::Audience(ClaimErrorReason::Mismatch)), "an existing aud is checked");
    assert_eq!(
        check("aud=null\nclient_id=\"web\"\ntoken_use=\"access\""),
        Err(ClaimError::Audience(ClaimErrorReason::Malformed))
    );
}

#[test]
fn organization_must_be_a_configured_one() {
    let ids = Rules { organizations: OrganizationRule::Ids(Arc::from([Box::from("org_1")])), ..rules() };
    assert_eq!(check_with(&ids, HEADER, "org_id=\"org_1\""), Ok(()));
    let names =
        Rules { organizations: OrganizationRule::Names(Arc::from([Box::from("Acme"), Box::from("kite")])), ..rules() };
    for name in ["acme", "ACME"] {
        assert_eq!(check_with(&names, HEADER, &format!("org_name=\"{name}\"")), Ok(()), "{name}");
    }
    for (rules, change, reason) in [
        (&ids, "", ClaimErrorReason::Missing),
        (&ids, "org_id=\"\"", ClaimErrorReason::Missing),
        (&ids, "org_name=\"org_1\"", ClaimErrorReason::Missing),
        (&ids, "org_id=[\"org_1\"]", ClaimErrorReason::Malformed),
        (&ids, "org_id=\"ORG_1\"", ClaimErrorReason::Mismatch),
        (&names, "org_id=\"acme\"", ClaimErrorReason::Missing),
        (&names, "org_name=\"acme2\"", ClaimErrorReason::Mismatch),
        // U+212A lower-cases to k, but only ASCII letters are folded.
        (&names, "org_name=\"\u{212a}ite\"", ClaimErrorReason::Mismatch),
    ] {
        assert_eq!(check_with(rules, HEADER, change), Err(ClaimError::Organization(reason)), "{change}");
    }
    assert_eq!(check("org_id=\"org_9\""), Ok(()), "without a policy any organization is accepted");
}
