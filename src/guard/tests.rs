//! What meets a requirement, and what the refusal names.

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000);

fn check(requirement: &Requirement, claims: &str) -> Result<(), Unmet> {
    requirement.check(&Claims::for_tests(claims), NOW, Duration::from_secs(5))
}

fn lacks(scope: &str) -> Result<(), Unmet> {
    Err(Unmet::Scope { scope: Arc::from(scope) })
}

#[test]
fn scopes_and_permissions_are_met_by_their_own_claim() {
    let scope = Requirement::scope("write");
    assert_eq!(check(&scope, r#"{"scope":"read write"}"#), Ok(()));
    assert_eq!(check(&scope, r#"{"permissions":["write"],"scope":"writer"}"#), lacks("write"));
    let permission = Requirement::permission("write");
    assert_eq!(check(&permission, r#"{"permissions":["write"]}"#), Ok(()));
    assert_eq!(check(&permission, r#"{"scope":"write"}"#), lacks(""));
}

#[test]
fn combinators_name_every_scope_once() {
    let either = Requirement::any_of([Requirement::scope("a"), Requirement::permission("p")]);
    let both = Requirement::all_of([either, Requirement::scope("b"), Requirement::scope("a")]);
    assert_eq!(check(&both, r#"{"scope":"b a"}"#), Ok(()));
    assert_eq!(check(&both, r#"{"scope":"b","permissions":["p"]}"#), lacks("a b"));
    assert_eq!(check(&both, r#"{"scope":"a"}"#), lacks("a b"));
    assert_eq!(check(&Requirement::all_of([]), "{}"), Ok(()));
    assert_eq!(check(&Requirement::any_of([]), "{}"), lacks(""));
}

#[test]
fn acr_is_one_of_the_values() {
    let strong = Requirement::acr_values(["gold", "silver"]);
    assert_eq!(check(&strong, r#"{"acr":"silver"}"#), Ok(()));
    let unmet = Err(Unmet::Authentication { acr_values: Some(Arc::from("gold silver")), max_age: None });
    for claims in ["{}", r#"{"acr":"bronze"}"#, r#"{"acr":["gold"]}"#, r#"{"acr":"gold silver"}"#] {
        assert_eq!(check(&strong, claims), unmet, "{claims}");
    }
}

#[test]
fn the_age_of_the_authentication_is_bounded_with_leeway() {
    let recent = Requirement::max_authentication_age(Duration::from_secs(60));
    for claims in [r#"{"auth_time":936}"#, r#"{"auth_time":1005}"#] {
        assert_eq!(check(&recent, claims), Ok(()), "{claims}");
    }
    let unmet = Err(Unmet::Authentication { acr_values: None, max_age: Some(Duration::from_secs(60)) });
    for claims in ["{}", r#"{"auth_time":935}"#, r#"{"auth_time":1006}"#, r#"{"auth_time":"936"}"#] {
        assert_eq!(check(&recent, claims), unmet, "{claims}");
    }
}

#[test]
fn a_name_that_no_challenge_can_carry_is_refused() {
    for name in ["", "two words", "a\"b", "a\\b", "ä", "a\r\nb"] {
        assert_eq!(Requirement::try_scope(name), Err(RequirementError::Scope), "{name:?}");
    }
    assert_eq!(Requirement::try_scope("read:orders"), Ok(Requirement::scope("read:orders")));
}

fn other(claim: &str) -> Result<(), Unmet> {
    Err(Unmet::Claim { claim: Arc::from(claim), scope: Arc::from("") })
}

#[test]
fn a_scope_or_a_permission_of_one_name_will_do() {
    let either = Requirement::scope_or_permission("write");
    assert_eq!(check(&either, r#"{"scope":"write"}"#), Ok(()));
    assert_eq!(check(&either, r#"{"permissions":["write"]}"#), Ok(()));
    assert_eq!(check(&either, r#"{"scope":"read","permissions":["read"]}"#), lacks("write"));
}

#[test]
fn a_claim_equals_a_value_of_its_own_type() {
    let name = "https://northwind.com/~dept.\u{e4} \\\"x\"";
    let department = Requirement::claim_equals(name, "sales");
    let claims = |value: &str| format!("{{{}:{value}}}", serde_json::json!(name));
    assert_eq!(check(&department, &claims(r#""s\u0061les""#)), Ok(()));
    for wrong in [r#""Sales""#, r#"["sales"]"#, "null", "1", r#"{"sales":"sales"}"#] {
        assert_eq!(check(&department, &claims(wrong)), other(name), "{wrong}");
    }
    assert_eq!(check(&department, "{}"), other(name));
    assert_eq!(check(&Requirement::claim_equals("level", 3), r#"{"level":3}"#), Ok(()));
    assert_eq!(check(&Requirement::claim_equals("level", 3), r#"{"level":"3"}"#), other("level"));
    assert_eq!(check(&Requirement::claim_equals("vip", true), r#"{"vip":true}"#), Ok(()));
    assert_eq!(check(&Requirement::claim_equals("vip", true), r#"{"vip":"true"}"#), other("vip"));
    assert_eq!(check(&Requirement::claim_equals("azp", "app"), r#"{"azp":"app"}"#), Ok(()), "registered claims too");
}

#[test]
fn a_claim_contains_a_whole_value() {
    let clerk = Requirement::claim_contains("roles", "clerk");
    for claims in [r#"{"roles":["admin","clerk"]}"#, r#"{"roles":"admin clerk"}"#, r#"{"roles":["x",1,"clerk"]}"#] {
        assert_eq!(check(&clerk, claims), Ok(()), "{claims}");
    }
    for claims in [
        "{}",
        r#"{"roles":"clerks"}"#,
        r#"{"roles":["clerks"]}"#,
        r#"{"roles":{"clerk":true}}"#,
        r#"{"roles":[["clerk"]]}"#,
    ] {
        assert_eq!(check(&clerk, claims), other("roles"), "{claims}");
    }
    assert_eq!(check(&Requirement::claim_contains("roles", ""), r#"{"roles":"a  b"}"#), other("roles"));
}

#[test]
fn a_client_is_one_of_those_named() {
    let clients = Requirement::client_ids(["web", "cron"]);
    assert_eq!(check(&clients, r#"{"client_id":"cron"}"#), Ok(()));
    assert_eq!(check(&clients, r#"{"azp":"web"}"#), Ok(()));
    for claims in ["{}", r#"{"client_id":"other","azp":"web"}"#, r#"{"client_id":"we"}"#, r#"{"azp":["web"]}"#] {
        assert_eq!(check(&clients, claims), other("client_id"), "{claims}");
    }
}

#[test]
fn an_organization_has_its_id_or_its_name_in_lower_case() {
    let id = Requirement::organization("org_1");
    assert_eq!(check(&id, r#"{"org_id":"org_1"}"#), Ok(()));
    assert_eq!(check(&id, r#"{"org_id":"ORG_1"}"#), other("org_id"));
    assert_eq!(check(&id, r#"{"org_name":"org_1"}"#), other("org_id"));
    let name = Requirement::organization_name("Acme");
    assert_eq!(check(&name, r#"{"org_name":"aCME"}"#), Ok(()));
    assert_eq!(check(&name, r#"{"org_name":"acme2"}"#), other("org_name"));
}

#[test]
fn whatever_lacks_the_challenge_names_every_scope() {
    let both = Requirement::all_of([Requirement::organization("org_1"), Requirement::scope("read")]);
    let unmet = check(&both, r#"{"scope":"read"}"#).expect_err("no organization");
    assert_eq!(unmet, Unmet::Claim { claim: Arc::from("org_id"), scope: Arc::from("read") });
    assert_eq!(unmet.scope(), Some("read"));
}

#[test]
fn constants_and_values_are_the_same_requirement() {
    const READ: Requirement = Requirement::static_scope("read");
    const PARTS: &[Requirement] = &[READ, Requirement::static_permission("p")];
    const BOTH: Requirement = Requirement::static_all_of(PARTS);
    assert_eq!(READ, Requirement::scope("read"));
    assert_eq!(check(&BOTH, r#"{"scope":"read","permissions":["p"]}"#), Ok(()));
    assert_eq!(check(&BOTH, r#"{"scope":"read"}"#), lacks("read"));
    const EITHER: Requirement = Requirement::static_any_of(PARTS);
    assert_eq!(check(&EITHER, r#"{"permissions":["p"]}"#), Ok(()));
}

#[test]
fn claims_are_asked_in_code() {
    let claims = Claims::for_tests(r#"{"scope":"read"}"#);
    assert_eq!(claims.require(&Requirement::scope("read")), Ok(()));
    assert_eq!(claims.require(&Requirement::scope("write")), lacks("write"));
}
