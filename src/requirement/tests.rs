//! Which claims meet a requirement, and what an unmet requirement contains.

use std::sync::Mutex;

use super::*;
use crate::claims::{ClaimsSettings, ClientClaim};

const NOW: Timestamp = Timestamp::from_secs(1_000);

fn check(requirement: &Requirement, claims: &str) -> Result<(), UnmetRequirement> {
    requirement.check(&Claims::for_tests(claims), NOW)
}

/// The error for a missing scope, with all scopes that are needed.
fn missing_scope(missing: &str, scope: &str) -> Result<(), UnmetRequirement> {
    Err(UnmetRequirement::Scope { missing: Arc::from(missing), scope: Arc::from(scope) })
}

fn missing_permission(missing: &str, scope: &str) -> Result<(), UnmetRequirement> {
    Err(UnmetRequirement::Permission { missing: Arc::from(missing), scope: Arc::from(scope) })
}

fn missing_claim(claim: &str, scope: &str) -> Result<(), UnmetRequirement> {
    Err(UnmetRequirement::Claim { claim: Requirement::claim_path([claim]), scope: Arc::from(scope) })
}

fn missing_claim_at<const N: usize>(path: [&str; N]) -> Result<(), UnmetRequirement> {
    Err(UnmetRequirement::Claim { claim: Requirement::claim_path(path), scope: Arc::from("") })
}

fn insufficient_authentication(acr: Option<&str>, age: Option<u64>, scope: &str) -> Result<(), UnmetRequirement> {
    let (acr_values, max_age) = (acr.map(Arc::from), age.map(Duration::from_secs));
    Err(UnmetRequirement::Authentication { acr_values, max_age, scope: Arc::from(scope) })
}

#[test]
fn scopes_and_permissions_are_met_only_by_their_own_claim() {
    let scope = Requirement::scope("write");
    assert_eq!(check(&scope, r#"{"scope":"read write"}"#), Ok(()));
    assert_eq!(check(&scope, r#"{"permissions":["write"],"scope":"writer"}"#), missing_scope("write", "write"));
    let permission = Requirement::permission("write");
    assert_eq!(check(&permission, r#"{"permissions":["write"]}"#), Ok(()));
    assert_eq!(check(&permission, r#"{"scope":"write"}"#), missing_permission("write", ""));
}

#[test]
fn error_contains_every_needed_scope_once() {
    let both = Requirement::all_of([
        Requirement::scope("a"),
        Requirement::permission("p"),
        Requirement::scope("b"),
        Requirement::scope("a"),
    ]);
    assert_eq!(check(&both, r#"{"scope":"b a","permissions":["p"]}"#), Ok(()));
    assert_eq!(check(&both, r#"{"scope":"a","permissions":["p"]}"#), missing_scope("b", "a b"));
    assert_eq!(check(&both, "{}"), missing_scope("a", "a b"));
    assert_eq!(check(&both, r#"{"scope":"a b"}"#), missing_permission("p", "a b"));
}

#[test]
fn any_of_reports_the_alternative_that_is_met_or_the_first_nameable_one() {
    let either = Requirement::any_of([Requirement::scope("a"), Requirement::scope("admin")]);
    for claims in [r#"{"scope":"a"}"#, r#"{"scope":"admin"}"#] {
        assert_eq!(check(&either, claims), Ok(()), "{claims}");
    }
    assert_eq!(check(&either, r#"{"scope":"x"}"#), missing_scope("a", "a"));
    let and_more = Requirement::all_of([either, Requirement::scope("b")]);
    assert_eq!(check(&and_more, r#"{"scope":"a"}"#), missing_scope("b", "a b"));
    assert_eq!(check(&and_more, r#"{"scope":"admin"}"#), missing_scope("b", "admin b"));
    assert_eq!(check(&and_more, r#"{"scope":"b"}"#), missing_scope("a", "a b"));
    assert_eq!(check(&and_more, r#"{"scope":"admin b"}"#), Ok(()));
    assert_eq!(and_more.challenge_scope().as_ref(), "a b");
    // A challenge cannot name a permission or a client.
    let client = || Requirement::client_ids(["cron"]);
    let either = Requirement::any_of([Requirement::permission("p"), client(), Requirement::scope("a")]);
    assert_eq!(check(&either, "{}"), missing_scope("a", "a"));
    assert_eq!(
        check(&Requirement::any_of([Requirement::permission("p"), client()]), "{}"),
        missing_permission("p", "")
    );
    // A token with the permission does not need the scope.
    let write = || Requirement::scope_or_permission("write");
    let both = Requirement::all_of([write(), Requirement::any_of([write(), client()]), Requirement::scope("b")]);
    assert_eq!(check(&both, r#"{"permissions":["write"],"scope":"b"}"#), Ok(()));
    assert_eq!(check(&both, r#"{"permissions":["write"]}"#), missing_scope("b", "b"));
    assert_eq!(check(&both, r#"{"scope":"write"}"#), missing_scope("b", "write b"));
    assert_eq!(check(&both, r#"{"scope":"b"}"#), missing_scope("write", "write b"));
}

#[test]
fn acr_must_be_one_of_the_values() {
    let strong = Requirement::acr_values(["gold", "silver"]);
    assert_eq!(check(&strong, r#"{"acr":"silver"}"#), Ok(()));
    for claims in ["{}", r#"{"acr":"bronze"}"#, r#"{"acr":["gold"]}"#, r#"{"acr":"gold silver"}"#] {
        assert_eq!(check(&strong, claims), insufficient_authentication(Some("gold silver"), None, ""), "{claims}");
    }
}

#[test]
fn rejects_an_authentication_older_than_the_maximum_age_with_leeway() {
    let recent = Requirement::max_authentication_age(Duration::from_secs(60));
    for claims in [r#"{"auth_time":936}"#, r#"{"auth_time":1005}"#] {
        assert_eq!(check(&recent, claims), Ok(()), "{claims}");
    }
    for claims in ["{}", r#"{"auth_time":935}"#, r#"{"auth_time":1006}"#, r#"{"auth_time":"936"}"#] {
        assert_eq!(check(&recent, claims), insufficient_authentication(None, Some(60), ""), "{claims}");
    }
}

#[test]
fn error_contains_every_requirement_for_the_authentication() {
    let age = |seconds| Requirement::max_authentication_age(Duration::from_secs(seconds));
    let gold = || Requirement::acr_values(["gold"]);
    let expected = |acr, age| insufficient_authentication(acr, age, "");
    let both = Requirement::all_of([gold(), Requirement::scope("read"), Requirement::all_of([age(60), age(30)])]);
    assert_eq!(check(&both, r#"{"acr":"gold","auth_time":995,"scope":"read"}"#), Ok(()));
    for claims in [r#"{"acr":"gold","scope":"read"}"#, r#"{"auth_time":995,"scope":"read"}"#] {
        assert_eq!(check(&both, claims), expected(Some("gold"), Some(30)), "{claims}");
    }
    assert_eq!(check(&both, r#"{"acr":"gold","auth_time":995}"#), missing_scope("read", "read"));
    // Of alternatives, only the first that is not met is reported.
    let silver = Requirement::all_of([Requirement::acr_values(["silver"]), age(60)]);
    let either = Requirement::any_of([silver, gold()]);
    assert_eq!(check(&either, "{}"), expected(Some("silver"), Some(60)));
    assert_eq!(check(&either, r#"{"acr":"gold"}"#), Ok(()));
    assert_eq!(check(&Requirement::any_of([gold(), age(60)]), "{}"), expected(Some("gold"), None));
    let and_more = Requirement::all_of([either, age(30)]);
    assert_eq!(check(&and_more, "{}"), expected(Some("silver"), Some(30)));
    assert_eq!(
        check(&and_more, r#"{"acr":"gold"}"#),
        expected(Some("gold"), Some(30)),
        "the alternative that is met stays required"
    );
}

#[test]
fn error_for_an_insufficient_authentication_contains_missing_scopes() {
    let both =
        Requirement::all_of([Requirement::scope("read"), Requirement::scope("pay"), Requirement::acr_values(["gold"])]);
    assert_eq!(check(&both, r#"{"scope":"read pay","acr":"gold"}"#), Ok(()));
    assert_eq!(
        check(&both, r#"{"scope":"read","acr":"silver"}"#),
        insufficient_authentication(Some("gold"), None, "read pay")
    );
    assert_eq!(
        check(&both, r#"{"scope":"read pay","acr":"silver"}"#),
        insufficient_authentication(Some("gold"), None, "")
    );
    assert_eq!(check(&both, r#"{"scope":"read","acr":"gold"}"#), missing_scope("pay", "read pay"));
}

#[test]
fn combinations_nest() {
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
        assert_eq!(check(&requirement, claims), missing_scope("a", "a"), "{claims}");
    }
    assert_eq!(check(&requirement, r#"{"scope":"b","org_id":"org_1"}"#), missing_claim("tier", "b"));
}

#[test]
fn rejects_names_that_are_not_a_scope_token() {
    for name in ["", "two words", "a\"b", "a\\b", "ä", "a\r\nb"] {
        assert_eq!(Requirement::try_scope(name), Err(RequirementSyntaxError::Scope), "{name:?}");
    }
    assert_eq!(Requirement::try_scope("read:orders"), Ok(Requirement::scope("read:orders")));
}

#[test]
fn rejects_invalid_names_from_outside_the_program() {
    use RequirementSyntaxError as Error;
    let path = || Requirement::claim_path(["user", "tier"]);
    for (created, error) in [
        (Requirement::try_permission(""), Error::EmptyName),
        (Requirement::try_scope_or_permission("two words"), Error::Scope),
        (Requirement::try_claim_equals("", 1), Error::EmptyName),
        (Requirement::try_claim_contains("", "x"), Error::EmptyName),
        (path().try_any_of::<&str>([]), Error::ClaimValues),
        (Requirement::try_client_ids([]), Error::ClientIds),
        (Requirement::try_client_ids(["web", ""]), Error::ClientIds),
        (Requirement::try_organization(""), Error::EmptyName),
        (Requirement::try_organization_name(""), Error::EmptyName),
        (Requirement::try_acr_values([]), Error::AcrValues),
        (Requirement::try_acr_values(["gold silver"]), Error::AcrValues),
        (Requirement::try_all_of([]), Error::Combination),
        (Requirement::try_any_of([]), Error::Combination),
    ] {
        assert_eq!(created, Err(error), "{error}");
    }
    for path in [&[][..], &["a", ""]] {
        assert_eq!(Requirement::try_claim_path(path.iter().copied()), Err(Error::ClaimPath), "{path:?}");
    }
    assert_eq!(Error::Combination.to_string(), "a combination needs at least one requirement");
}

#[test]
fn accepts_valid_names_from_outside_the_program() {
    let path = || Requirement::claim_path(["user", "tier"]);
    let read = || vec![Requirement::scope("read")];
    for (created, expected) in [
        (Requirement::try_permission("two words"), Requirement::permission("two words")),
        (Requirement::try_scope_or_permission("read"), Requirement::scope_or_permission("read")),
        (Requirement::try_claim_equals("tier", 1), Requirement::claim_equals("tier", 1)),
        (Requirement::try_claim_contains("roles", "x"), Requirement::claim_contains("roles", "x")),
        (path().try_any_of(["gold"]), path().any_of(["gold"])),
        (Requirement::try_client_ids(["web", "app"]), Requirement::client_ids(["web", "app"])),
        (Requirement::try_organization("org_1"), Requirement::organization("org_1")),
        (Requirement::try_organization_name("acme"), Requirement::organization_name("acme")),
        (Requirement::try_acr_values(["gold", "silver"]), Requirement::acr_values(["gold", "silver"])),
        (Requirement::try_all_of(read()), Requirement::all_of(read())),
        (Requirement::try_any_of(read()), Requirement::any_of(read())),
    ] {
        assert_eq!(created, Ok(expected));
    }
    assert_eq!(Requirement::try_claim_path(["user", "tier"]), Ok(path()));
}

#[test]
fn a_name_with_slashes_differs_from_a_path() {
    let unmet = |requirement: Requirement| match check(&requirement, "{}") {
        Err(UnmetRequirement::Claim { claim, .. }) => claim,
        other => panic!("{other:?}"),
    };
    let (name, path) =
        (unmet(Requirement::claim_equals("/a/b", 1)), unmet(Requirement::claim_path(["a", "b"]).equals(1)));
    assert_ne!(name, path);
    assert_eq!((name.to_string().as_str(), path.to_string().as_str()), ("/~1a~1b", "/a/b"));
    assert_eq!((name.names().collect::<Vec<_>>(), path.names().collect::<Vec<_>>()), (vec!["/a/b"], vec!["a", "b"]));
    let roles = unmet(Requirement::claim_contains("https://a.test/roles", "clerk"));
    assert_eq!(roles.to_string(), "https://a.test/roles");
    assert_eq!(roles, unmet(Requirement::claim_path(["https://a.test/roles"]).contains("clerk")));
}

#[test]
fn client_is_read_from_the_claim_of_the_api() {
    let shop = Requirement::client_ids(["shop"]);
    let settings = ClaimsSettings { client_claim: ClientClaim(Some("cid".into())), ..ClaimsSettings::default() };
    let check = |claims| shop.check(&Claims::for_tests_with(claims, settings.clone()), NOW);
    assert_eq!(check(r#"{"cid":"sho\u0070"}"#), Ok(()));
    for claims in [r#"{"client_id":"shop","azp":"shop"}"#, r#"{"cid":"web"}"#, r#"{"cid":["shop"]}"#] {
        assert_eq!(check(claims), missing_claim("cid", ""), "{claims}");
    }
}

fn missing_claim_only(claim: &str) -> Result<(), UnmetRequirement> {
    missing_claim(claim, "")
}

#[test]
fn scope_or_permission_is_met_by_either() {
    let either = Requirement::scope_or_permission("write");
    assert_eq!(check(&either, r#"{"scope":"write"}"#), Ok(()));
    assert_eq!(check(&either, r#"{"permissions":["write"]}"#), Ok(()));
    assert_eq!(check(&either, r#"{"scope":"read","permissions":["read"]}"#), missing_scope("write", "write"));
}

#[test]
fn claim_equals_compares_type_and_value() {
    let name = "https://northwind.com/~dept.\u{e4} \\\"x\"";
    let department = Requirement::claim_equals(name, "sales");
    let claims = |value: &str| format!("{{{}:{value}}}", serde_json::json!(name));
    assert_eq!(check(&department, &claims(r#""s\u0061les""#)), Ok(()));
    for wrong in [r#""Sales""#, r#"["sales"]"#, "null", "1", r#"{"sales":"sales"}"#] {
        assert_eq!(check(&department, &claims(wrong)), missing_claim_only(name), "{wrong}");
    }
    assert_eq!(check(&department, "{}"), missing_claim_only(name));
    assert_eq!(check(&Requirement::claim_equals("level", 3), r#"{"level":3}"#), Ok(()));
    for wrong in [r#"{"level":"3"}"#, r#"{"level":3.0}"#, r#"{"level":3e0}"#, r#"{"level":-3}"#, r#"{"level":true}"#] {
        assert_eq!(check(&Requirement::claim_equals("level", 3), wrong), missing_claim_only("level"), "{wrong}");
    }
    assert_eq!(check(&Requirement::claim_equals("level", u64::MAX), r#"{"level":18446744073709551615}"#), Ok(()));
    assert_eq!(check(&Requirement::claim_equals("vip", true), r#"{"vip":true}"#), Ok(()));
    assert_eq!(check(&Requirement::claim_equals("vip", true), r#"{"vip":"true"}"#), missing_claim_only("vip"));
    assert_eq!(check(&Requirement::claim_equals("azp", "app"), r#"{"azp":"app"}"#), Ok(()), "registered claims too");
}

#[test]
fn claim_contains_compares_whole_values() {
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
        assert_eq!(check(&clerk, claims), missing_claim_only("roles"), "{claims}");
    }
    assert_eq!(check(&Requirement::claim_contains("roles", ""), r#"{"roles":"a  b"}"#), missing_claim_only("roles"));
}

#[test]
fn claim_path_leads_to_a_nested_claim() {
    let clerk = Requirement::claim_path(["resource_access", "orders.api", "roles"]).contains("clerk");
    for claims in [
        r#"{"resource_access":{"account":{"roles":[]},"orders.api":{"x":1,"roles":["admin","clerk"]}}}"#,
        r#"{"resource_access":{"orders\u002eapi":{"r\u006fles":"clerk"}}}"#,
    ] {
        assert_eq!(check(&clerk, claims), Ok(()), "{claims}");
    }
    for claims in [
        "{}",
        r#"{"resource_access":{"orders.api":{"roles":["clerks"]}}}"#,
        // A name with dots is not split, and names are not joined.
        r#"{"resource_access":{"orders":{"api":{"roles":["clerk"]}}}}"#,
        r#"{"resource_access.orders.api.roles":["clerk"]}"#,
        r#"{"resource_access":{"orders.api.roles":["clerk"]}}"#,
        // Only objects have members, and only one member of a name.
        r#"{"resource_access":[{"orders.api":{"roles":["clerk"]}}]}"#,
        r#"{"resource_access":"{\"orders.api\":{\"roles\":[\"clerk\"]}}"}"#,
        r#"{"resource_access":{"orders.api":{"roles":["guest"],"roles":["clerk"]}}}"#,
        r#"{"resource_access":{"orders.api":{"roles":["clerk"]},"orders.api":{"roles":["clerk"]}}}"#,
        r#"{"resource_access":{"orders.api":{"roles":{"clerk":"clerk"}}}}"#,
        r#"{"resource_access":{"orders.api":["clerk"]}}"#,
        r#"{"resource_access":null}"#,
    ] {
        assert_eq!(check(&clerk, claims), missing_claim_at(["resource_access", "orders.api", "roles"]), "{claims}");
    }
    let level = Requirement::claim_path(["user", "level"]).equals(3);
    assert_eq!(check(&level, r#"{"user":{"level":3}}"#), Ok(()));
    assert_eq!(check(&level, r#"{"user":{"level":"3"}}"#), missing_claim_at(["user", "level"]));
    // Registered claims too; the names in the text of the error are escaped as in a JSON Pointer.
    let actor = Requirement::claim_path(["act", "sub"]).equals("agent");
    assert_eq!(check(&actor, r#"{"act":{"sub":"agent"}}"#), Ok(()));
    assert_eq!(check(&actor, r#"{"act":{"sub":"other"}}"#), missing_claim_at(["act", "sub"]));
    let escaped = Requirement::claim_path(["https://a.example/~x", "y"]).equals("z");
    assert_eq!(check(&escaped, r#"{"https://a.example/~x":{"y":"z"}}"#), Ok(()));
    assert_eq!(check(&escaped, "{}"), missing_claim_at(["https://a.example/~x", "y"]));
    let text = check(&escaped, "{}").expect_err("not met").to_string();
    assert!(text.starts_with("the claim /https:~1~1a.example~1~0x/y is missing"), "{text}");
    // A path of one name is that claim.
    assert_eq!(Requirement::claim_path(["tier"]).equals("gold"), Requirement::claim_equals("tier", "gold"));
    assert_eq!(check(&Requirement::claim_path(["tier"]).equals("gold"), "{}"), missing_claim_only("tier"));
}

#[test]
fn claim_any_of_compares_the_claim_or_its_elements_with_each_value() {
    let senior = Requirement::claim_path(["user", "level"]).any_of(["lead", "head of sales"]);
    for value in [r#""lead""#, r#""head of sales""#, r#"["clerk","lead"]"#, r#"[1,"l\u0065ad"]"#] {
        assert_eq!(check(&senior, &format!(r#"{{"user":{{"level":{value}}}}}"#)), Ok(()), "{value}");
    }
    // A string is not split into words.
    for value in
        [r#""lead clerk""#, r#""leads""#, r#"["lead clerk"]"#, "[]", r#"[["lead"]]"#, r#"{"lead":"lead"}"#, "null"]
    {
        let claims = format!(r#"{{"user":{{"level":{value}}}}}"#);
        assert_eq!(check(&senior, &claims), missing_claim_at(["user", "level"]), "{value}");
    }
    let numbers = Requirement::claim_path(["level"]).any_of([3, 4]);
    assert_eq!(check(&numbers, r#"{"level":4}"#), Ok(()));
    assert_eq!(check(&numbers, r#"{"level":[4]}"#), Ok(()));
    assert_eq!(check(&numbers, r#"{"level":"4"}"#), missing_claim_only("level"));
}

#[test]
fn predicate_reads_the_claims() {
    let adult = Requirement::predicate("adult", |claims| {
        claims.claim::<u8>("age").is_ok_and(|age| age.is_some_and(|age| age >= 18))
    });
    let unmet = |scope: &str| Err(UnmetRequirement::Predicate { name: Arc::from("adult"), scope: Arc::from(scope) });
    assert_eq!(check(&adult, r#"{"age":18}"#), Ok(()));
    for claims in [r#"{"age":17}"#, "{}", r#"{"age":"18"}"#] {
        assert_eq!(check(&adult, claims), unmet(""), "{claims}");
    }
    let both = Requirement::all_of([Requirement::scope("read"), adult.clone()]);
    assert_eq!(check(&both, r#"{"scope":"read","age":18}"#), Ok(()));
    assert_eq!(check(&both, r#"{"scope":"read"}"#), unmet("read"));
    let either = Requirement::any_of([adult.clone(), Requirement::scope("admin")]);
    assert_eq!(check(&either, r#"{"age":18}"#), Ok(()));
    assert_eq!(check(&either, r#"{"scope":"admin"}"#), Ok(()));
    assert_eq!(check(&either, "{}"), missing_scope("admin", "admin"));
    assert_eq!(adult, adult.clone());
    assert_ne!(adult, Requirement::predicate("adult", |_| true));
    assert_ne!(Requirement::static_predicate("adult", |_| true), adult);
    const ANYBODY: Requirement = Requirement::static_predicate("anybody", |_| true);
    assert_eq!(check(&ANYBODY, "{}"), Ok(()));
    assert_eq!(ANYBODY, ANYBODY.clone());
}

#[test]
fn implied_scopes_meet_every_requirement_for_a_scope() {
    let implied_scopes = crate::claims::ImpliedScopes::new([("admin", "read"), ("admin", "write")]);
    let implied = ClaimsSettings { implied_scopes, ..ClaimsSettings::default() };
    let check = |requirement: &Requirement, claims: &str| {
        requirement.check(&Claims::for_tests_with(claims, implied.clone()), NOW)
    };
    let read = || Requirement::scope("read");
    let pay = || Requirement::scope("pay");
    let gold = || Requirement::acr_values(["gold"]);
    for requirement in [
        read(),
        Requirement::scope_or_permission("write"),
        Requirement::all_of([read(), Requirement::scope("write"), Requirement::scope("admin")]),
        Requirement::any_of([pay(), read()]),
    ] {
        assert_eq!(check(&requirement, r#"{"scope":"admin"}"#), Ok(()), "{requirement}");
        let unmet = check(&requirement, r#"{"scope":"profile"}"#).expect_err("no scope");
        assert!(matches!(unmet, UnmetRequirement::Scope { .. }), "{requirement}: {unmet:?}");
    }
    // The challenge names the scopes of the requirement, and those of the alternative that the token meets.
    let both = Requirement::all_of([Requirement::any_of([pay(), read()]), Requirement::scope("ship")]);
    assert_eq!(check(&both, r#"{"scope":"admin"}"#), missing_scope("ship", "read ship"));
    assert_eq!(check(&both, "{}"), missing_scope("pay", "pay ship"));
    // A step-up challenge names scopes only if the token does not grant them.
    let strong = Requirement::all_of([read(), gold()]);
    assert_eq!(check(&strong, r#"{"scope":"admin"}"#), insufficient_authentication(Some("gold"), None, ""));
    assert_eq!(check(&strong, "{}"), insufficient_authentication(Some("gold"), None, "read"));
    // Only scopes are implied.
    assert_eq!(check(&Requirement::permission("read"), r#"{"scope":"admin"}"#), missing_permission("read", ""));
    assert_eq!(check(&read(), r#"{"permissions":["admin"]}"#), missing_scope("read", "read"));
    assert_eq!(
        check(&Requirement::claim_contains("scope", "read"), r#"{"scope":"admin"}"#),
        missing_claim_only("scope")
    );
}

#[test]
fn display_names_every_part_and_groups_combinations() {
    let (read, write) = (|| Requirement::scope("read"), || Requirement::scope_or_permission("write"));
    for (requirement, text) in [
        (read(), "scope read"),
        (Requirement::permission("p"), "permission p"),
        (write(), "scope or permission write"),
        (Requirement::claim_equals("tier", "gold"), r#"claim tier is "gold""#),
        (Requirement::claim_contains("roles", "clerk"), r#"claim roles contains "clerk""#),
        (Requirement::claim_path(["user", "level"]).any_of([3, 4]), "claim /user/level is or contains one of 3, 4"),
        (Requirement::client_ids(["web", "cron"]), "client web or cron"),
        (Requirement::organization("org_1"), "organization org_1"),
        (Requirement::organization_name("acme"), "organization named acme"),
        (Requirement::acr_values(["gold", "silver"]), "acr gold or silver"),
        (Requirement::max_authentication_age(Duration::from_secs(300)), "authentication within the last 300s"),
        (Requirement::predicate("age of at least 18", |_| true), "age of at least 18"),
        (Requirement::all_of([read(), Requirement::permission("p")]), "scope read and permission p"),
        (Requirement::any_of([read(), Requirement::permission("p")]), "scope read or permission p"),
        (Requirement::all_of([write()]), "scope or permission write"),
        (
            Requirement::all_of([read(), Requirement::any_of([Requirement::scope("a"), write()]), write()]),
            "scope read and (scope a or (scope or permission write)) and (scope or permission write)",
        ),
    ] {
        assert_eq!(requirement.to_string(), text);
        assert_eq!(format!("{requirement:?}"), text);
    }
}

#[test]
fn scopes_returns_each_scope_once_in_order() {
    let (read, write) = (Requirement::scope("read"), Requirement::scope_or_permission("write"));
    let requirement = Requirement::all_of([
        Requirement::permission("p"),
        Requirement::any_of([read.clone(), Requirement::all_of([write, Requirement::scope("a")])]),
        read,
    ]);
    assert_eq!(requirement.scopes().collect::<Vec<_>>(), ["read", "write", "a"]);
    assert_eq!(Requirement::permission("p").scopes().count(), 0);
}

#[test]
fn alternatives_are_all_ways_to_meet_a_requirement() {
    let texts = |requirement: &Requirement| -> Vec<String> {
        requirement.alternatives().map(|alternative| alternative.to_string()).collect()
    };
    let scope = Requirement::scope;
    assert_eq!(texts(&scope("a")), ["scope a"]);
    assert_eq!(texts(&Requirement::scope_or_permission("w")), ["scope w", "permission w"]);
    assert_eq!(
        texts(&Requirement::all_of([scope("a"), Requirement::organization("o")])),
        ["scope a and organization o"]
    );
    let requirement = Requirement::all_of([
        Requirement::any_of([scope("a"), Requirement::all_of([scope("b"), Requirement::permission("p")])]),
        Requirement::scope_or_permission("w"),
        scope("a"),
    ]);
    assert_eq!(
        texts(&requirement),
        [
            "scope a and scope w and scope a",
            "scope a and permission w and scope a",
            "scope b and permission p and scope w and scope a",
            "scope b and permission p and permission w and scope a",
        ]
    );
    let last = requirement.alternatives().last().expect("four alternatives");
    assert_eq!(last.scopes().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(last.permissions().collect::<Vec<_>>(), ["p", "w"]);
}

/// The number of alternatives is larger than a `usize`.
#[test]
fn alternatives_are_created_one_by_one() {
    let pairs = (0..100).map(|_| Requirement::scope_or_permission("w"));
    let requirement = Requirement::all_of(pairs);
    let second = requirement.alternatives().nth(1).expect("many alternatives");
    assert_eq!((second.scopes().count(), second.permissions().count()), (1, 1));
    assert!(second.to_string().ends_with("scope w and permission w"));
}

#[test]
fn client_must_be_one_of_the_ids() {
    let clients = Requirement::client_ids(["web", "cron"]);
    assert_eq!(check(&clients, r#"{"client_id":"cron"}"#), Ok(()));
    assert_eq!(check(&clients, r#"{"azp":"web"}"#), Ok(()));
    for claims in ["{}", r#"{"client_id":"other","azp":"web"}"#, r#"{"client_id":"we"}"#, r#"{"azp":["web"]}"#] {
        assert_eq!(check(&clients, claims), missing_claim_only("client_id"), "{claims}");
    }
}

#[test]
fn rejects_a_claim_of_another_type_without_fallback_to_another_claim() {
    let client = Requirement::client_ids(["web"]);
    for value in ["7", "null", "[\"web\"]"] {
        let claims = format!("{{\"client_id\":{value},\"azp\":\"web\"}}");
        assert_eq!(check(&client, &claims), missing_claim_only("client_id"), "{value}");
        assert_eq!(Claims::for_tests(&claims).client_id(), None, "{value}");
    }
    assert_eq!(check(&client, r#"{"azp":"web"}"#), Ok(()));
    for value in ["7", "null", "{\"read\":true}"] {
        let claims = format!("{{\"scope\":{value},\"scp\":[\"read\"]}}");
        assert_eq!(check(&Requirement::scope("read"), &claims), missing_scope("read", "read"), "{value}");
    }
    assert_eq!(check(&Requirement::scope("read"), r#"{"scp":["read"]}"#), Ok(()));
    for value in ["7", "null", "[\"org_1\"]"] {
        let claims = format!("{{\"org_id\":{value},\"org_name\":{value},\"acr\":{value}}}");
        assert_eq!(check(&Requirement::organization("org_1"), &claims), missing_claim_only("org_id"), "{value}");
        assert_eq!(check(&Requirement::organization_name("org_1"), &claims), missing_claim_only("org_name"), "{value}");
        assert_eq!(
            check(&Requirement::acr_values(["org_1"]), &claims),
            insufficient_authentication(Some("org_1"), None, ""),
            "{value}"
        );
    }
}

#[test]
fn organization_is_compared_by_id_or_by_name_in_lower_case() {
    let id = Requirement::organization("org_1");
    assert_eq!(check(&id, r#"{"org_id":"org_1"}"#), Ok(()));
    assert_eq!(check(&id, r#"{"org_id":"ORG_1"}"#), missing_claim_only("org_id"));
    assert_eq!(check(&id, r#"{"org_name":"org_1"}"#), missing_claim_only("org_id"));
    let name = Requirement::organization_name("Acme");
    assert_eq!(check(&name, r#"{"org_name":"aCME"}"#), Ok(()));
    assert_eq!(check(&name, r#"{"org_name":"acme2"}"#), missing_claim_only("org_name"));
}

#[test]
fn error_for_a_missing_claim_contains_every_scope() {
    let both = Requirement::all_of([Requirement::organization("org_1"), Requirement::scope("read")]);
    let unmet = check(&both, r#"{"scope":"read"}"#).expect_err("no organization");
    assert_eq!(Err(unmet.clone()), missing_claim("org_id", "read"));
    assert_eq!(unmet.scope(), Some("read"));
}

#[test]
fn constant_and_runtime_constructors_create_equal_requirements() {
    const READ: Requirement = Requirement::static_scope("read");
    const PARTS: &[Requirement] = &[READ, Requirement::static_permission("p")];
    const BOTH: Requirement = Requirement::static_all_of(PARTS);
    assert_eq!(READ, Requirement::scope("read"));
    assert_eq!(check(&BOTH, r#"{"scope":"read","permissions":["p"]}"#), Ok(()));
    assert_eq!(check(&BOTH, r#"{"scope":"read"}"#), missing_permission("p", "read"));
    const EITHER: Requirement = Requirement::static_any_of(PARTS);
    assert_eq!(check(&EITHER, r#"{"permissions":["p"]}"#), Ok(()));
    const EQUALS: Requirement = Requirement::static_claim_equals("level", ClaimValue::number(3));
    assert_eq!(EQUALS, Requirement::claim_equals("level", 3_u64));
    const VALUES: &[ClaimValue] = &[ClaimValue::text("x"), ClaimValue::text("y")];
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
        (
            const { Requirement::static_claim_path_equals(&["a", "b"], ClaimValue::text("x")) },
            Requirement::claim_path(["a", "b"]).equals("x"),
        ),
        (
            const { Requirement::static_claim_path_contains(&["a", "b"], ClaimValue::number(3)) },
            Requirement::claim_path(["a", "b"]).contains(3),
        ),
        (
            const { Requirement::static_claim_path_any_of(&["a", "b"], VALUES) },
            Requirement::claim_path(["a", "b"]).any_of(["x", "y"]),
        ),
    ] {
        assert_eq!(constant, value);
        assert_eq!(format!("{constant:?}"), format!("{value:?}"));
    }
    assert_ne!(Requirement::static_acr_values(&["gold"]), Requirement::acr_values(["gold", "silver"]));
}

#[test]
fn panics_for_invalid_names_and_empty_lists() {
    const FLAGS: &[ClaimValue] = &[ClaimValue::flag(true)];
    let faulty: [fn() -> Requirement; 28] = [
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
        || Requirement::claim_path([]).equals(1),
        || Requirement::claim_path(["a", ""]).contains("x"),
        || Requirement::claim_path(["a"]).any_of::<&str>([]),
        || Requirement::predicate("", |_| true),
        || Requirement::static_claim_path_equals(&[], ClaimValue::flag(true)),
        || Requirement::static_claim_path_contains(&["a", ""], ClaimValue::flag(true)),
        || Requirement::static_claim_path_any_of(&[""], FLAGS),
        || Requirement::static_claim_path_any_of(&["a"], &[]),
        || Requirement::static_predicate("", |_| true),
        || Requirement::scope_or_permission(""),
    ];
    for (at, make) in faulty.into_iter().enumerate() {
        assert!(std::panic::catch_unwind(make).is_err(), "{at}");
    }
}

#[test]
fn panic_message_names_the_caller() {
    let messages: Arc<Mutex<Vec<String>>> = Arc::default();
    let (sink, us, before) = (Arc::clone(&messages), std::thread::current().id(), Arc::new(std::panic::take_hook()));
    let others = Arc::clone(&before);
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() != us {
            return others(info);
        }
        let file = info.location().map(|place| place.file().replace('\\', "/"));
        let text = info.payload().downcast_ref::<String>().cloned().unwrap_or_default();
        sink.lock().expect("no panic").push(format!("{}: {text}", file.unwrap_or_default()));
    }));
    let made: [fn(); 12] = [
        || drop(Requirement::scope("a b")),
        || drop(Requirement::acr_values(["a b"])),
        || drop(Requirement::client_ids(["web", ""])),
        || drop(Requirement::organization("")),
        || drop(crate::RequireLayer::any_scope(["a", "a b"])),
        || drop(Requirement::all_of([])),
        || drop(Requirement::any_of([])),
        || drop(crate::RequireLayer::any_scope([])),
        || drop(crate::RequireLayer::all_scopes([])),
        || drop(Requirement::claim_path(["a", ""])),
        || drop(Requirement::claim_path(["a"]).any_of::<&str>([])),
        || drop(Requirement::predicate("", |_| true)),
    ];
    let failed = made.map(|make| std::panic::catch_unwind(make).is_err());
    std::panic::set_hook(Box::new(move |info| before(info)));
    assert_eq!(failed, [true; 12]);
    let place = "src/requirement/tests.rs: ";
    let scope = format!("{place}\"a b\": {}", RequirementSyntaxError::Scope);
    let empty = format!("{place}[]: {}", RequirementSyntaxError::Combination);
    let expected = [
        scope.clone(),
        format!("{place}[\"a b\"]: {}", RequirementSyntaxError::AcrValues),
        format!("{place}[\"web\", \"\"]: {}", RequirementSyntaxError::ClientIds),
        format!("{place}\"\": {}", RequirementSyntaxError::EmptyName),
        scope,
        empty.clone(),
        empty.clone(),
        empty.clone(),
        empty,
        format!("{place}[\"a\", \"\"]: {}", RequirementSyntaxError::ClaimPath),
        format!("{place}[]: {}", RequirementSyntaxError::ClaimValues),
        format!("{place}{}", RequirementSyntaxError::EmptyName),
    ];
    assert_eq!(*messages.lock().expect("no panic"), expected);
}

#[test]
fn require_checks_claims_in_code() {
    let claims = Claims::for_tests(r#"{"scope":"read"}"#);
    assert_eq!(claims.require(&Requirement::scope("read")), Ok(()));
    let error = claims.require(&Requirement::scope("write")).expect_err("no such scope");
    assert_eq!(error.claims().scopes().iter().collect::<Vec<_>>(), ["read"]);
    assert_eq!(error.to_string(), "the token lacks the scope write");
    assert_ne!(Err(error.clone()), claims.require(&Requirement::scope("admin")));
    assert_eq!(error.unmet().cloned().map_or(Ok(()), Err), missing_scope("write", "write"));
}

#[test]
fn display_contains_names_and_no_values() {
    for (requirement, expected) in [
        (Requirement::scope("write"), "the token lacks the scope write"),
        (Requirement::permission("p"), "the token lacks the permission p"),
        (Requirement::claim_equals("tier", "gold"), "the claim tier is missing or does not have the required value"),
        (Requirement::organization("org_1"), "the claim org_id is missing or does not have the required value"),
        (Requirement::acr_values(["gold"]), "the authentication is too weak or too old"),
        (
            Requirement::claim_path(["user", "tier"]).equals("gold"),
            "the claim /user/tier is missing or does not have the required value",
        ),
        (Requirement::predicate("gold customer", |_| false), "the token does not meet the requirement gold customer"),
    ] {
        let unmet = check(&requirement, r#"{"tier":"silver"}"#).expect_err("not met");
        assert_eq!(unmet.to_string(), expected);
    }
}
