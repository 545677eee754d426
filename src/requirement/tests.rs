//! What meets a requirement, and what the refusal names.

use std::sync::Mutex;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000);

fn check(requirement: &Requirement, claims: &str) -> Result<(), UnmetRequirement> {
    requirement.check(&Claims::for_tests(claims), NOW, Duration::from_secs(5))
}

/// A scope is missing, and these are needed.
fn lacks(missing: &str, scope: &str) -> Result<(), UnmetRequirement> {
    Err(UnmetRequirement::Scope { missing: Arc::from(missing), scope: Arc::from(scope) })
}

fn lacks_permission(missing: &str, scope: &str) -> Result<(), UnmetRequirement> {
    Err(UnmetRequirement::Permission { missing: Arc::from(missing), scope: Arc::from(scope) })
}

fn lacks_claim(claim: &str, scope: &str) -> Result<(), UnmetRequirement> {
    Err(UnmetRequirement::Claim { claim: Arc::from(claim), scope: Arc::from(scope) })
}

fn weak(acr: Option<&str>, age: Option<u64>, scope: &str) -> Result<(), UnmetRequirement> {
    let (acr_values, max_age) = (acr.map(Arc::from), age.map(Duration::from_secs));
    Err(UnmetRequirement::Authentication { acr_values, max_age, scope: Arc::from(scope) })
}

#[test]
fn scopes_and_permissions_are_met_by_their_own_claim() {
    let scope = Requirement::scope("write");
    assert_eq!(check(&scope, r#"{"scope":"read write"}"#), Ok(()));
    assert_eq!(check(&scope, r#"{"permissions":["write"],"scope":"writer"}"#), lacks("write", "write"));
    let permission = Requirement::permission("write");
    assert_eq!(check(&permission, r#"{"permissions":["write"]}"#), Ok(()));
    assert_eq!(check(&permission, r#"{"scope":"write"}"#), lacks_permission("write", ""));
}

#[test]
fn a_refusal_names_every_scope_that_is_needed_once() {
    let both = Requirement::all_of([
        Requirement::scope("a"),
        Requirement::permission("p"),
        Requirement::scope("b"),
        Requirement::scope("a"),
    ]);
    assert_eq!(check(&both, r#"{"scope":"b a","permissions":["p"]}"#), Ok(()));
    assert_eq!(check(&both, r#"{"scope":"a","permissions":["p"]}"#), lacks("b", "a b"));
    assert_eq!(check(&both, "{}"), lacks("a", "a b"));
    assert_eq!(check(&both, r#"{"scope":"a b"}"#), lacks_permission("p", "a b"));
}

#[test]
fn of_alternatives_the_one_that_is_met_is_named_or_the_first_that_can_be() {
    let either = Requirement::any_of([Requirement::scope("a"), Requirement::scope("admin")]);
    for claims in [r#"{"scope":"a"}"#, r#"{"scope":"admin"}"#] {
        assert_eq!(check(&either, claims), Ok(()), "{claims}");
    }
    assert_eq!(check(&either, r#"{"scope":"x"}"#), lacks("a", "a"));
    let and_more = Requirement::all_of([either, Requirement::scope("b")]);
    assert_eq!(check(&and_more, r#"{"scope":"a"}"#), lacks("b", "a b"));
    assert_eq!(check(&and_more, r#"{"scope":"admin"}"#), lacks("b", "admin b"));
    assert_eq!(check(&and_more, r#"{"scope":"b"}"#), lacks("a", "a b"));
    assert_eq!(check(&and_more, r#"{"scope":"admin b"}"#), Ok(()));
    assert_eq!(and_more.scope_names().as_ref(), "a b");
    // A challenge cannot ask for a permission or a client.
    let client = || Requirement::client_ids(["cron"]);
    let either = Requirement::any_of([Requirement::permission("p"), client(), Requirement::scope("a")]);
    assert_eq!(check(&either, "{}"), lacks("a", "a"));
    assert_eq!(check(&Requirement::any_of([Requirement::permission("p"), client()]), "{}"), lacks_permission("p", ""));
    // Whoever has the permission needs no scope for it.
    let write = || Requirement::scope_or_permission("write");
    let both = Requirement::all_of([write(), Requirement::any_of([write(), client()]), Requirement::scope("b")]);
    assert_eq!(check(&both, r#"{"permissions":["write"],"scope":"b"}"#), Ok(()));
    assert_eq!(check(&both, r#"{"permissions":["write"]}"#), lacks("b", "b"));
    assert_eq!(check(&both, r#"{"scope":"write"}"#), lacks("b", "write b"));
    assert_eq!(check(&both, r#"{"scope":"b"}"#), lacks("write", "write b"));
}

#[test]
fn acr_is_one_of_the_values() {
    let strong = Requirement::acr_values(["gold", "silver"]);
    assert_eq!(check(&strong, r#"{"acr":"silver"}"#), Ok(()));
    for claims in ["{}", r#"{"acr":"bronze"}"#, r#"{"acr":["gold"]}"#, r#"{"acr":"gold silver"}"#] {
        assert_eq!(check(&strong, claims), weak(Some("gold silver"), None, ""), "{claims}");
    }
}

#[test]
fn the_age_of_the_authentication_is_bounded_with_leeway() {
    let recent = Requirement::max_authentication_age(Duration::from_secs(60));
    for claims in [r#"{"auth_time":936}"#, r#"{"auth_time":1005}"#] {
        assert_eq!(check(&recent, claims), Ok(()), "{claims}");
    }
    for claims in ["{}", r#"{"auth_time":935}"#, r#"{"auth_time":1006}"#, r#"{"auth_time":"936"}"#] {
        assert_eq!(check(&recent, claims), weak(None, Some(60), ""), "{claims}");
    }
}

#[test]
fn a_client_that_has_to_authenticate_again_is_told_all_that_is_asked_of_it() {
    let age = |seconds| Requirement::max_authentication_age(Duration::from_secs(seconds));
    let gold = || Requirement::acr_values(["gold"]);
    let asked = |acr, age| weak(acr, age, "");
    let both = Requirement::all_of([gold(), Requirement::scope("read"), Requirement::all_of([age(60), age(30)])]);
    assert_eq!(check(&both, r#"{"acr":"gold","auth_time":995,"scope":"read"}"#), Ok(()));
    for claims in [r#"{"acr":"gold","scope":"read"}"#, r#"{"auth_time":995,"scope":"read"}"#] {
        assert_eq!(check(&both, claims), asked(Some("gold"), Some(30)), "{claims}");
    }
    assert_eq!(check(&both, r#"{"acr":"gold","auth_time":995}"#), lacks("read", "read"));
    // Of alternatives, the first that is not met is told, and nothing of the others.
    let silver = Requirement::all_of([Requirement::acr_values(["silver"]), age(60)]);
    let either = Requirement::any_of([silver, gold()]);
    assert_eq!(check(&either, "{}"), asked(Some("silver"), Some(60)));
    assert_eq!(check(&either, r#"{"acr":"gold"}"#), Ok(()));
    assert_eq!(check(&Requirement::any_of([gold(), age(60)]), "{}"), asked(Some("gold"), None));
    let and_more = Requirement::all_of([either, age(30)]);
    assert_eq!(check(&and_more, "{}"), asked(Some("silver"), Some(30)));
    assert_eq!(check(&and_more, r#"{"acr":"gold"}"#), asked(Some("gold"), Some(30)), "what is met is to stay");
}

#[test]
fn where_the_authentication_does_not_do_and_a_scope_lacks_one_challenge_says_both() {
    let both =
        Requirement::all_of([Requirement::scope("read"), Requirement::scope("pay"), Requirement::acr_values(["gold"])]);
    assert_eq!(check(&both, r#"{"scope":"read pay","acr":"gold"}"#), Ok(()));
    assert_eq!(check(&both, r#"{"scope":"read","acr":"silver"}"#), weak(Some("gold"), None, "read pay"));
    assert_eq!(check(&both, r#"{"scope":"read pay","acr":"silver"}"#), weak(Some("gold"), None, ""));
    assert_eq!(check(&both, r#"{"scope":"read","acr":"gold"}"#), lacks("pay", "read pay"));
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
        assert_eq!(check(&requirement, claims), lacks("a", "a"), "{claims}");
    }
    assert_eq!(check(&requirement, r#"{"scope":"b","org_id":"org_1"}"#), lacks_claim("tier", "b"));
}

#[test]
fn a_name_that_no_challenge_can_carry_is_refused() {
    for name in ["", "two words", "a\"b", "a\\b", "ä", "a\r\nb"] {
        assert_eq!(Requirement::try_scope(name), Err(ScopeSyntaxError::Scope), "{name:?}");
    }
    assert_eq!(Requirement::try_scope("read:orders"), Ok(Requirement::scope("read:orders")));
}

#[test]
fn refuses_a_combination_of_no_requirements_when_it_is_built() {
    assert_eq!(Requirement::try_all_of([]), Err(ScopeSyntaxError::Empty));
    assert_eq!(Requirement::try_any_of([]), Err(ScopeSyntaxError::Empty));
    let read = || vec![Requirement::scope("read")];
    assert_eq!(Requirement::try_all_of(read()), Ok(Requirement::all_of(read())));
    assert_eq!(Requirement::try_any_of(read()), Ok(Requirement::any_of(read())));
    assert_eq!(ScopeSyntaxError::Empty.to_string(), "a combination has at least one requirement");
}

fn other(claim: &str) -> Result<(), UnmetRequirement> {
    lacks_claim(claim, "")
}

#[test]
fn a_scope_or_a_permission_of_one_name_will_do() {
    let either = Requirement::scope_or_permission("write");
    assert_eq!(check(&either, r#"{"scope":"write"}"#), Ok(()));
    assert_eq!(check(&either, r#"{"permissions":["write"]}"#), Ok(()));
    assert_eq!(check(&either, r#"{"scope":"read","permissions":["read"]}"#), lacks("write", "write"));
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
    for wrong in [r#"{"level":"3"}"#, r#"{"level":3.0}"#, r#"{"level":3e0}"#, r#"{"level":-3}"#, r#"{"level":true}"#] {
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
fn a_claim_of_another_type_is_unmet_and_no_other_claim_takes_its_place() {
    let client = Requirement::client_ids(["web"]);
    for value in ["7", "null", "[\"web\"]"] {
        let claims = format!("{{\"client_id\":{value},\"azp\":\"web\"}}");
        assert_eq!(check(&client, &claims), other("client_id"), "{value}");
        assert_eq!(Claims::for_tests(&claims).client_id(), None, "{value}");
    }
    assert_eq!(check(&client, r#"{"azp":"web"}"#), Ok(()));
    for value in ["7", "null", "{\"read\":true}"] {
        let claims = format!("{{\"scope\":{value},\"scp\":[\"read\"]}}");
        assert_eq!(check(&Requirement::scope("read"), &claims), lacks("read", "read"), "{value}");
    }
    assert_eq!(check(&Requirement::scope("read"), r#"{"scp":["read"]}"#), Ok(()));
    for value in ["7", "null", "[\"org_1\"]"] {
        let claims = format!("{{\"org_id\":{value},\"org_name\":{value},\"acr\":{value}}}");
        assert_eq!(check(&Requirement::organization("org_1"), &claims), other("org_id"), "{value}");
        assert_eq!(check(&Requirement::organization_name("org_1"), &claims), other("org_name"), "{value}");
        assert_eq!(check(&Requirement::acr_values(["org_1"]), &claims), weak(Some("org_1"), None, ""), "{value}");
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
    assert_eq!(Err(unmet.clone()), lacks_claim("org_id", "read"));
    assert_eq!(unmet.scope(), Some("read"));
}

#[test]
fn constants_and_values_are_the_same_requirement() {
    const READ: Requirement = Requirement::static_scope("read");
    const PARTS: &[Requirement] = &[READ, Requirement::static_permission("p")];
    const BOTH: Requirement = Requirement::static_all_of(PARTS);
    assert_eq!(READ, Requirement::scope("read"));
    assert_eq!(check(&BOTH, r#"{"scope":"read","permissions":["p"]}"#), Ok(()));
    assert_eq!(check(&BOTH, r#"{"scope":"read"}"#), lacks_permission("p", "read"));
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
    let faulty: [fn() -> Requirement; 18] = [
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
        || Requirement::all_of([]),
        || Requirement::any_of([]),
        || Requirement::static_all_of(&[]),
        || Requirement::static_any_of(&[]),
    ];
    for (at, make) in faulty.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(make).is_err(), "{at}");
    }
}

#[test]
fn a_bad_name_is_told_with_the_place_in_the_program() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let (sink, us, before) = (Arc::clone(&told), std::thread::current().id(), Arc::new(std::panic::take_hook()));
    let others = Arc::clone(&before);
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() != us {
            return others(info);
        }
        let file = info.location().map(|place| place.file().replace('\\', "/"));
        let text = info.payload().downcast_ref::<String>().cloned().unwrap_or_default();
        sink.lock().expect("no panic").push(format!("{}: {text}", file.unwrap_or_default()));
    }));
    let made: [fn(); 9] = [
        || drop(Requirement::scope("a b")),
        || drop(Requirement::acr_values(["a b"])),
        || drop(Requirement::client_ids(["web", ""])),
        || drop(Requirement::organization("")),
        || drop(crate::RequireLayer::any_scope(["a", "a b"])),
        || drop(Requirement::all_of([])),
        || drop(Requirement::any_of([])),
        || drop(crate::RequireLayer::any_scope([])),
        || drop(crate::RequireLayer::all_scopes([])),
    ];
    let failed = made.map(|make| std::panic::catch_unwind(make).is_err());
    std::panic::set_hook(Box::new(move |info| before(info)));
    assert_eq!(failed, [true; 9]);
    let place = "src/requirement/tests.rs: ";
    let scope = format!("{place}\"a b\": {NOT_A_SCOPE}");
    let empty = format!("{place}{NO_REQUIREMENTS}");
    let expected = [
        scope.clone(),
        format!("{place}[\"a b\"]: {NOT_ACR_VALUES}"),
        format!("{place}[\"web\", \"\"]: of no client at all there is no token"),
        place.to_owned(),
        scope,
        empty.clone(),
        empty.clone(),
        empty.clone(),
        empty,
    ];
    assert_eq!(*told.lock().expect("no panic"), expected);
}

#[test]
fn claims_are_asked_in_code() {
    let claims = Claims::for_tests(r#"{"scope":"read"}"#);
    assert_eq!(claims.require(&Requirement::scope("read")), Ok(()));
    let insufficient = claims.require(&Requirement::scope("write")).expect_err("no such scope");
    assert_eq!(insufficient.claims().scopes().iter().collect::<Vec<_>>(), [Box::from("read")]);
    assert_eq!(insufficient.to_string(), "the token lacks the scope write");
    assert_ne!(Err(insufficient.clone()), claims.require(&Requirement::scope("admin")));
    assert_eq!(Err(insufficient.unmet().clone()), lacks("write", "write"));
    assert_eq!(Err(UnmetRequirement::from(insufficient)), lacks("write", "write"));
}

#[test]
fn what_is_unmet_is_said_by_its_name_and_never_by_a_value() {
    for (requirement, said) in [
        (Requirement::scope("write"), "the token lacks the scope write"),
        (Requirement::permission("p"), "the token lacks the permission p"),
        (Requirement::claim_equals("tier", "gold"), "the claim tier is missing or has another value than is asked for"),
        (Requirement::organization("org_1"), "the claim org_id is missing or has another value than is asked for"),
        (Requirement::acr_values(["gold"]), "the authentication was too weak or too long ago"),
    ] {
        let unmet = check(&requirement, r#"{"tier":"silver"}"#).expect_err("nothing of it");
        assert_eq!(unmet.to_string(), said);
    }
}
