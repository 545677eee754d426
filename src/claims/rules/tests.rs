use super::*;
use crate::token::UnverifiedToken;

const NOW: i64 = 1_800_000_000;
const HEADER: &str = r#"{"alg":"RS256","typ":"JWT"}"#;

fn rules() -> Rules {
    Rules {
        audiences: Box::from([Box::from("https://api.example/")]),
        leeway: Duration::from_secs(5),
        profile: Profile::Any,
        required: Box::from([]),
        max_age: None,
        confirmation: Confirmation::Refused,
        clients: Box::from([]),
        organizations: OrganizationRule::Any,
    }
}

/// A claims set that holds, with `change` put over it; `null` in `change` takes a member away.
fn judge_with(rules: &Rules, header: &str, change: &str) -> Result<(), ClaimError> {
    let mut claims =
        format!(r#"{{"iss":"https://as.example/","aud":"https://api.example/","sub":"s","exp":{}}}"#, NOW + 600);
    for (name, value) in raw_members(change) {
        claims = replace(&claims, &name, &value);
    }
    judge_text(rules, header, &claims)
}

fn judge_text(rules: &Rules, header: &str, claims: &str) -> Result<(), ClaimError> {
    let encode = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
    let token = format!("{}.{}.AA", encode(header), encode(claims));
    let token = UnverifiedToken::parse(&token).expect("well-formed");
    let input = CheckInput {
        header: token.header(),
        payload: token.payload(),
        issuer: "https://as.example/",
        now: Timestamp::from_secs(NOW),
    };
    rules.hold(input)
}

fn evaluate(change: &str) -> Result<(), ClaimError> {
    judge_with(&rules(), HEADER, change)
}

/// Members as text, so that numbers keep their spelling; `~` as value means "take it away".
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
fn a_plain_access_token_holds() {
    assert_eq!(evaluate(""), Ok(()));
}

#[test]
fn iss_is_one_string_and_the_very_issuer() {
    assert_eq!(evaluate("iss=~"), Err(ClaimError::Issuer(ClaimErrorReason::Missing)));
    for value in ["null", "1", "true", r#"["https://as.example/"]"#, r#"{"a":1}"#] {
        assert_eq!(evaluate(&format!("iss={value}")), Err(ClaimError::Issuer(ClaimErrorReason::Malformed)), "{value}");
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
        assert_eq!(
            evaluate(&format!("iss=\"{value}\"")),
            Err(ClaimError::Issuer(ClaimErrorReason::Mismatch)),
            "{value}"
        );
    }
    assert_eq!(evaluate(r#"iss="https:\/\/as.example\/""#), Ok(()));
}

#[test]
fn aud_is_a_string_or_an_array_that_holds_ours() {
    assert_eq!(evaluate("aud=~"), Err(ClaimError::Audience(ClaimErrorReason::Missing)));
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
        assert_eq!(
            evaluate(&format!("aud={value}")),
            Err(ClaimError::Audience(ClaimErrorReason::Malformed)),
            "{value}"
        );
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
        assert_eq!(evaluate(&format!("aud={value}")), Err(ClaimError::Audience(ClaimErrorReason::Mismatch)), "{value}");
    }
    for value in [
        r#"["https://api.example/"]"#,
        r#"["https://as.example/userinfo","https://api.example/"]"#,
        r#"["https://api.example/","https://api.example/"]"#,
    ] {
        assert_eq!(evaluate(&format!("aud={value}")), Ok(()), "{value}");
    }
}

#[test]
fn exp_is_a_number_after_now_with_the_leeway() {
    assert_eq!(evaluate("exp=~"), Err(ClaimError::Expiry(ClaimErrorReason::Missing)));
    for value in
        ["null", "\"1800000600\"", "true", "[1800000600]", "{}", "1e400", "18446744073709551616", "253402300800"]
    {
        assert_eq!(evaluate(&format!("exp={value}")), Err(ClaimError::Expiry(ClaimErrorReason::Malformed)), "{value}");
    }
    for value in ["1799999995", "1799999994.999999999", "0", "-0.0", "-1", "-1e19"] {
        assert_eq!(evaluate(&format!("exp={value}")), Err(ClaimError::Expired), "{value}");
    }
    for value in ["1799999995.000000001", "1799999996", "1800000000", "1.8000006e9", "253402300799"] {
        assert_eq!(evaluate(&format!("exp={value}")), Ok(()), "{value}");
    }
}

#[test]
fn nbf_is_a_number_not_after_now_with_the_leeway() {
    for value in ["null", "\"0\"", "false", "1e400"] {
        assert_eq!(evaluate(&format!("nbf={value}")), Err(ClaimError::NotBefore), "{value}");
    }
    for value in ["1800000005.000000001", "1800000006", "253402300799"] {
        assert_eq!(evaluate(&format!("nbf={value}")), Err(ClaimError::NotYetValid), "{value}");
    }
    for value in ["1800000005", "1800000000", "1799999999.5", "-5"] {
        assert_eq!(evaluate(&format!("nbf={value}")), Ok(()), "{value}");
    }
}

#[test]
fn iat_counts_only_where_the_age_does() {
    assert_eq!(evaluate("iat=\"1\""), Err(ClaimError::IssuedAt(ClaimErrorReason::Malformed)));
    assert_eq!(evaluate("iat=null"), Err(ClaimError::IssuedAt(ClaimErrorReason::Malformed)));
    for value in ["0", "1900000000", "1799999999", "1799999999000", "1e400", "-1"] {
        assert_eq!(evaluate(&format!("iat={value}")), Ok(()), "{value}");
    }
    let aged = Rules { max_age: Some(Duration::from_secs(60)), ..rules() };
    let evaluate = |change: &str| judge_with(&aged, HEADER, change);
    assert_eq!(evaluate("iat=~"), Err(ClaimError::IssuedAt(ClaimErrorReason::Missing)));
    assert_eq!(evaluate("iat=1800000006"), Err(ClaimError::IssuedInFuture));
    assert_eq!(evaluate("iat=1800000005"), Ok(()));
    assert_eq!(evaluate("iat=1799999935"), Err(ClaimError::TooOld));
    assert_eq!(evaluate("iat=1799999936"), Ok(()));
}

#[test]
fn typ_is_the_profiles() {
    let with = |profile, typ: &str| {
        let header =
            if typ == "~" { r#"{"alg":"RS256"}"#.to_owned() } else { format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#) };
        judge_with(&Rules { profile, ..rules() }, &header, "client_id=\"c\"\niat=1\njti=\"j\"")
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
    for (typ, verdict) in [("JWT", Ok(())), ("~", Err(ClaimError::TokenType)), ("at+jwt", Err(ClaimError::TokenType))] {
        assert_eq!(with(Profile::Auth0, typ), verdict, "{typ}");
    }
    for (typ, verdict) in [
        ("at+jwt", Ok(())),
        ("application/AT+JWT", Ok(())),
        ("~", Err(ClaimError::TokenType)),
        ("JWT", Err(ClaimError::TokenType)),
    ] {
        assert_eq!(with(Profile::Rfc9068, typ), verdict, "{typ}");
    }
}

#[test]
fn rfc_9068_requires_its_claims() {
    let strict = Rules { profile: Profile::Rfc9068, ..rules() };
    let header = r#"{"alg":"RS256","typ":"at+jwt"}"#;
    let all = "client_id=\"c\"\niat=1\njti=\"j\"";
    assert_eq!(judge_with(&strict, header, all), Ok(()));
    for claim in ["sub", "client_id", "iat", "jti"] {
        let verdict = judge_with(&strict, header, &format!("{all}\n{claim}=~"));
        assert_eq!(verdict, lacks(claim), "{claim}");
    }
}

#[test]
fn configured_claims_are_required() {
    let strict = Rules { required: Box::from([Arc::from("sub"), Arc::from("tenant")]), ..rules() };
    let evaluate = |change: &str| judge_with(&strict, HEADER, change);
    assert_eq!(evaluate("tenant=7"), Ok(()));
    assert_eq!(evaluate(""), lacks("tenant"));
    assert_eq!(evaluate("tenant=7\nsub=\"\""), lacks("sub"));
    let malformed = Err(ClaimError::Required { claim: Arc::from("tenant"), reason: ClaimErrorReason::Malformed });
    assert_eq!(evaluate("tenant=null"), malformed);
}

fn lacks(claim: &str) -> Result<(), ClaimError> {
    Err(ClaimError::Required { claim: Arc::from(claim), reason: ClaimErrorReason::Missing })
}

#[test]
fn sub_is_a_string() {
    for value in ["null", "1", "[\"s\"]", "{}"] {
        assert_eq!(evaluate(&format!("sub={value}")), Err(ClaimError::Subject), "{value}");
    }
    assert_eq!(evaluate("sub=~"), Ok(()));
}

#[test]
fn rejects_a_jti_that_is_no_string() {
    for value in ["null", "7", "true", "[\"j\"]", "{}"] {
        assert_eq!(evaluate(&format!("jti={value}")), Err(ClaimError::JwtId), "{value}");
    }
    for value in ["\"j\"", "\"7\"", "\"\"", "~"] {
        assert_eq!(evaluate(&format!("jti={value}")), Ok(()), "{value}");
    }
}

#[test]
fn accepts_other_claims_of_another_type_where_nothing_asks_for_them() {
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
            assert_eq!(evaluate(&format!("{claim}={value}")), Ok(()), "{claim} {value}");
            let asking = Rules { required: Box::from([Arc::from(claim)]), ..rules() };
            let malformed = Err(ClaimError::Required { claim: Arc::from(claim), reason: ClaimErrorReason::Malformed });
            assert_eq!(judge_with(&asking, HEADER, &format!("{claim}={value}")), malformed, "{claim} {value}");
        }
    }
}

#[test]
fn bound_tokens_are_refused_unless_told_otherwise() {
    let ignoring = Rules { confirmation: Confirmation::Ignored, ..rules() };
    for value in [r#"{"jkt":"x"}"#, r#"{"x5t#S256":"x"}"#, r#"{"other":1}"#, "[]", "null", "{}"] {
        assert_eq!(evaluate(&format!("cnf={value}")), Err(ClaimError::Confirmation), "{value}");
        assert_eq!(judge_with(&ignoring, HEADER, &format!("cnf={value}")), Ok(()), "{value}");
    }
}

#[test]
fn id_tokens_are_refused_by_their_marks() {
    for (marker, change) in [
        ("at_hash", "at_hash=\"x\""),
        ("c_hash", "c_hash=\"x\""),
        ("token_use", "token_use=\"id\""),
        ("typ", "typ=\"ID\""),
    ] {
        assert_eq!(evaluate(change), Err(ClaimError::IdToken { marker }), "{change}");
    }
    for change in ["token_use=\"access\"", "typ=\"Bearer\"", "nonce=\"n\""] {
        assert_eq!(evaluate(change), Ok(()), "{change}");
    }
    let auth0 = Rules { profile: Profile::Auth0, ..rules() };
    assert_eq!(judge_with(&auth0, HEADER, "nonce=\"n\""), Err(ClaimError::IdToken { marker: "nonce" }));
}

#[test]
fn the_first_failure_wins_and_a_sink_can_collect_them_all() {
    let everything_wrong = r#"{"iss":1,"aud":[],"exp":0,"nbf":"x","iat":"x","sub":1,"jti":1,"cnf":1,"at_hash":1}"#;
    assert_eq!(judge_text(&rules(), r#"{"alg":"RS256","typ":"x"}"#, everything_wrong), Err(ClaimError::TokenType));
    assert_eq!(judge_text(&rules(), HEADER, everything_wrong), Err(ClaimError::Issuer(ClaimErrorReason::Malformed)));
    let token = format!(
        "{}.{}.AA",
        base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, HEADER),
        base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, everything_wrong)
    );
    let token = UnverifiedToken::parse(&token).expect("well-formed");
    let input =
        CheckInput { header: token.header(), payload: token.payload(), issuer: "i", now: Timestamp::from_secs(NOW) };
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
fn only_aud_and_exp_refuse_before_the_signature() {
    let cheap: Vec<&str> = CHECKS.iter().filter(|check| check.cheap).map(|check| check.name).collect();
    assert_eq!(cheap, ["aud", "exp"]);
}

#[test]
fn a_client_is_one_of_those_configured() {
    let rules = Rules { clients: Box::from([Box::from("web"), Box::from("cron")]), ..rules() };
    let evaluate = |change: &str| judge_with(&rules, HEADER, change);
    assert_eq!(evaluate("client_id=\"cron\""), Ok(()));
    assert_eq!(evaluate("azp=\"web\""), Ok(()));
    assert_eq!(evaluate("client_id=\"web\"\nazp=\"other\""), Ok(()), "client_id goes before azp");
    assert_eq!(evaluate(""), Err(ClaimError::Client(ClaimErrorReason::Missing)));
    assert_eq!(evaluate("azp=[\"web\"]"), Err(ClaimError::Client(ClaimErrorReason::Malformed)));
    assert_eq!(evaluate("client_id=1\nazp=\"web\""), Err(ClaimError::Client(ClaimErrorReason::Malformed)));
    for other in ["client_id=\"WEB\"", "client_id=\"other\"\nazp=\"web\"", "azp=\"\""] {
        assert_eq!(evaluate(other), Err(ClaimError::Client(ClaimErrorReason::Mismatch)), "{other}");
    }
}

#[test]
fn a_token_without_audience_needs_a_configured_client_and_its_use() {
    let cognito = Rules { clients: Box::from([Box::from("web")]), ..rules() };
    let evaluate = |change: &str| judge_with(&cognito, HEADER, change);
    assert_eq!(evaluate("aud=~\nclient_id=\"web\"\ntoken_use=\"access\""), Ok(()));
    let missing = Err(ClaimError::Audience(ClaimErrorReason::Missing));
    for change in [
        "aud=~\nclient_id=\"web\"",
        "aud=~\nclient_id=\"web\"\ntoken_use=\"id\"",
        "aud=~\nclient_id=\"web\"\ntoken_use=[\"access\"]",
        "aud=~\nazp=\"web\"\ntoken_use=\"access\"",
        "aud=~\ntoken_use=\"access\"",
    ] {
        assert_eq!(evaluate(change), missing, "{change}");
    }
    let other = evaluate("aud=~\nclient_id=\"other\"\ntoken_use=\"access\"");
    assert_eq!(other, Err(ClaimError::Client(ClaimErrorReason::Mismatch)));
    let unlisted = judge_with(&rules(), HEADER, "aud=~\nclient_id=\"web\"\ntoken_use=\"access\"");
    assert_eq!(unlisted, missing, "without configured clients there is no way around aud");
    let wrong = evaluate("aud=\"https://other.example/\"\nclient_id=\"web\"\ntoken_use=\"access\"");
    assert_eq!(wrong, Err(ClaimError::Audience(ClaimErrorReason::Mismatch)), "an aud that is there counts");
    assert_eq!(
        evaluate("aud=null\nclient_id=\"web\"\ntoken_use=\"access\""),
        Err(ClaimError::Audience(ClaimErrorReason::Malformed))
    );
}

#[test]
fn an_organization_is_one_of_those_configured() {
    let ids = Rules { organizations: OrganizationRule::Ids(Arc::from([Box::from("org_1")])), ..rules() };
    assert_eq!(judge_with(&ids, HEADER, "org_id=\"org_1\""), Ok(()));
    let names =
        Rules { organizations: OrganizationRule::Names(Arc::from([Box::from("Acme"), Box::from("kite")])), ..rules() };
    for name in ["acme", "ACME"] {
        assert_eq!(judge_with(&names, HEADER, &format!("org_name=\"{name}\"")), Ok(()), "{name}");
    }
    for (rules, change, reason) in [
        (&ids, "", ClaimErrorReason::Missing),
        (&ids, "org_id=\"\"", ClaimErrorReason::Missing),
        (&ids, "org_name=\"org_1\"", ClaimErrorReason::Missing),
        (&ids, "org_id=[\"org_1\"]", ClaimErrorReason::Malformed),
        (&ids, "org_id=\"ORG_1\"", ClaimErrorReason::Mismatch),
        (&names, "org_id=\"acme\"", ClaimErrorReason::Missing),
        (&names, "org_name=\"acme2\"", ClaimErrorReason::Mismatch),
        // U+212A lower-cases to k; only ASCII letters are folded.
        (&names, "org_name=\"\u{212a}ite\"", ClaimErrorReason::Mismatch),
    ] {
        assert_eq!(judge_with(rules, HEADER, change), Err(ClaimError::Organization(reason)), "{change}");
    }
    assert_eq!(evaluate("org_id=\"org_9\""), Ok(()), "without a policy the accessor tells of it");
}
