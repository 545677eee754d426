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
fn a_client_that_has_to_authenticate_again_is_told_all_that_is_asked_of_it() {
    let age = |seconds| Requirement::max_authentication_age(Duration::from_secs(seconds));
    let gold = || Requirement::acr_values(["gold"]);
    let asked = |acr: Option<&str>, age: Option<u64>| {
        Err(Unmet::Authentication { acr_values: acr.map(Arc::from), max_age: age.map(Duration::from_secs) })
    };
    let both = Requirement::all_of([gold(), Requirement::scope("read"), Requirement::all_of([age(60), age(30)])]);
    assert_eq!(check(&both, r#"{"acr":"gold","auth_time":995,"scope":"read"}"#), Ok(()));
    for claims in [r#"{"acr":"gold","scope":"read"}"#, r#"{"auth_time":995,"scope":"read"}"#] {
        assert_eq!(check(&both, claims), asked(Some("gold"), Some(30)), "{claims}");
    }
    assert_eq!(check(&both, r#"{"acr":"gold","auth_time":995}"#), lacks("read"));
    // Of alternatives, the first that is not met is told, and nothing of the others.
    let silver = Requirement::all_of([Requirement::acr_values(["silver"]), age(60)]);
    let either = Requirement::any_of([silver, gold()]);
    assert_eq!(check(&either, "{}"), asked(Some("silver"), Some(60)));
    assert_eq!(check(&either, r#"{"acr":"gold"}"#), Ok(()));
    assert_eq!(check(&Requirement::any_of([gold(), age(60)]), "{}"), asked(Some("gold"), None));
    assert_eq!(check(&Requirement::all_of([either, age(30)]), "{}"), asked(Some("silver"), Some(30)));
}

#[test]
fn combinators_nest() {
    let requirement = Requirement::any_of([
        Requirement::all_of([
            Requirement::any_of([Requirement::scope("a"), Requirement::scope("b")]),
            Requirement::claim_equals("tier", "gold"),
        ]),
        Requirement::all_of([Requirement::organization("org_1"), Requirement::permission("p")]),
    ]);
    for claims in [r#"{"scope":"b","tier":"gold"}"#, r#"{"org_id":"org_1","permissions":["p"]}"#] {
        assert_eq!(check(&requirement, claims), Ok(()), "{claims}");
    }
    for claims in [r#"{"tier":"gold"}"#, r#"{"tier":"gold","permissions":["p"]}"#, r#"{"org_id":"org_1"}"#] {
        assert_eq!(check(&requirement, claims), lacks("a b"), "{claims}");
    }
    let unmet = Err(Unmet::Claim { claim: Arc::from("tier"), scope: Arc::from("a b") });
    assert_eq!(check(&requirement, r#"{"scope":"a","org_id":"org_1"}"#), unmet);
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
    for wrong in [r#"{"level":"3"}"#, r#"{"level":3.0}"#, r#"{"level":-3}"#, r#"{"level":true}"#] {
        assert_eq!(check(&Requirement::claim_equals("level", 3), wrong), other("level"), "{wrong}");
    }
    assert_eq!(check(&Requirement::claim_equals("level", u64::MAX), r#"{"level":18446744073709551615}"#), Ok(()));
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
    const EQUALS: Requirement = Requirement::static_claim_equals("level", ClaimValue::number(3));
    assert_eq!(EQUALS, Requirement::claim_equals("level", 3_u64));
    const CONTAINS: Requirement = Requirement::static_claim_contains("flags", ClaimValue::flag(true));
    assert_eq!(CONTAINS, Requirement::claim_contains("flags", true));
    for (constant, value) in [
        (const { Requirement::static_scope_or_permission("write") }, Requirement::scope_or_permission("write")),
        (
            const { Requirement::static_claim_equals("tier", ClaimValue::text("gold")) },
            Requirement::claim_equals("tier", String::from("gold")),
        ),
        (const { Requirement::static_client_ids(&["web", "cron"]) }, Requirement::client_ids(["web", "cron"])),
        (const { Requirement::static_organization("org_1") }, Requirement::organization("org_1")),
        (const { Requirement::static_organization_name("acme") }, Requirement::organization_name("acme")),
        (const { Requirement::static_acr_values(&["gold", "silver"]) }, Requirement::acr_values(["gold", "silver"])),
    ] {
        assert_eq!(constant, value);
        assert_eq!(format!("{constant:?}"), format!("{value:?}"));
    }
    assert_ne!(Requirement::static_acr_values(&["gold"]), Requirement::acr_values(["gold", "silver"]));
}

#[test]
fn a_name_that_asks_for_nothing_is_the_programs_fault() {
    let faulty: [fn() -> Requirement; 14] = [
        || Requirement::scope("a b"),
        || Requirement::permission(""),
        || Requirement::scope_or_permission("a b"),
        || Requirement::claim_equals("", "x"),
        || Requirement::client_ids([]),
        || Requirement::client_ids(["web", ""]),
        || Requirement::organization(""),
        || Requirement::acr_values([]),
        || Requirement::acr_values(["gold silver"]),
        || Requirement::static_scope_or_permission(""),
        || Requirement::static_claim_contains("", ClaimValue::flag(true)),
        || Requirement::static_client_ids(&[]),
        || Requirement::static_client_ids(&["web", ""]),
        || Requirement::static_acr_values(&["gold silver"]),
    ];
    for (at, make) in faulty.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(make).is_err(), "{at}");
    }
}

#[test]
fn claims_are_asked_in_code() {
    let claims = Claims::for_tests(r#"{"scope":"read"}"#);
    assert_eq!(claims.require(&Requirement::scope("read")), Ok(()));
    assert_eq!(claims.require(&Requirement::scope("write")), lacks("write"));
}
