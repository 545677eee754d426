//! Issuers that stand for many tenants with the same keys: Entra ID, and patterns of `iss` values.
//!
//! The numbers are those of the list of attacks in the design.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tower_bearer::config::{EntraCloud, EntraTenants, IssuerPatternError, SettingErrorKind};
use tower_bearer::keys::KeySet;
use tower_bearer::rejection::{IssuerError, KeyNotFoundError};
use tower_bearer::testing::{FakeClock, FakeFetch, Reply, TestIssuer, TokenBuilder};
use tower_bearer::token::TokenError;
use tower_bearer::{Api, Issuer, Rejection, RejectionKind, Validator};

use crate::fixture::{AUDIENCE, setting_errors};

const A: &str = "aaaaaaaa-1111-4222-8333-444444444444";
const B: &str = "bbbbbbbb-1111-4222-8333-444444444444";
const C: &str = "cccccccc-1111-4222-8333-444444444444";
const KEYS_OF_ALL_TENANTS: &str = "https://login.microsoftonline.com/common/discovery/v2.0/keys";

fn v2(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

fn v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

fn token(server: &TestIssuer, tenant: &str) -> TokenBuilder {
    server.token().audience(AUDIENCE).issuer(&v2(tenant)).claim("tid", tenant)
}

/// Returns the keys of the server, each with the member `issuer`.
fn keys_of(server: &TestIssuer, issuer: &serde_json::Value) -> String {
    let mut set: serde_json::Value = serde_json::from_str(&server.jwks()).expect("a key set");
    for key in set["keys"].as_array_mut().expect("the keys") {
        key["issuer"] = issuer.clone();
    }
    set.to_string()
}

fn entra(tenants: EntraTenants, keys: &str) -> Validator {
    let tenants = tenants.with_static_keys(KeySet::from_jwks(keys));
    Validator::new(Api::new(AUDIENCE, Issuer::entra(tenants))).expect("a valid configuration")
}

async fn rejection(validator: &Validator, token: TokenBuilder) -> Rejection {
    validator.validate(&token.sign()).await.map(drop).expect_err("a rejected token")
}

#[tokio::test]
async fn fetches_the_keys_of_all_tenants_once() {
    let server = TestIssuer::new();
    let network = FakeFetch::new(&FakeClock::new());
    network.always(KEYS_OF_ALL_TENANTS, Reply::json(keys_of(&server, &v2("{tenantid}").into())));
    let api = Api::new(AUDIENCE, Issuer::entra(EntraTenants::only([A, B])));
    let validator = Validator::builder(api).with_fetch(network.clone()).build().expect("a valid configuration");
    for tenant in [A, B, A] {
        let claims = validator.validate(&token(&server, tenant).sign()).await.expect("an accepted token");
        assert_eq!(claims.issuer(), v2(tenant));
    }
    let names: Vec<&str> = validator.key_sources().map(|(name, _)| name).collect();
    assert_eq!(names, [v2("{tenantid}")]);
    assert_eq!(validator.key_sources().next().map(|(_, keys)| keys.status().epoch()), Some(1));
}

#[tokio::test]
async fn case_118_rejects_a_tid_that_is_not_the_tenant_in_iss() {
    let server = TestIssuer::new();
    let validator = entra(EntraTenants::only([A, B]).with_v1_tokens(), &server.jwks());
    for wrong in [
        token(&server, A).claim("tid", B),
        token(&server, A).claim("tid", A.to_uppercase()),
        token(&server, A).claim("tid", format!("{A} ")),
        token(&server, A).claim("tid", [A]),
        token(&server, A).claim("tid", 1),
        token(&server, A).claim("tid", ""),
        token(&server, A).without("tid"),
        token(&server, A).issuer(&v1(B)),
    ] {
        assert_eq!(rejection(&validator, wrong).await, Rejection::Issuer(IssuerError::TenantMismatch));
    }
    for tenant in [A, B] {
        assert!(validator.validate(&token(&server, tenant).sign()).await.is_ok());
        assert!(validator.validate(&token(&server, tenant).issuer(&v1(tenant)).sign()).await.is_ok());
    }
}

#[tokio::test]
async fn case_119_rejects_two_claims_tid_and_ignores_another_case() {
    let server = TestIssuer::new();
    let validator = entra(EntraTenants::only([A, B]), &server.jwks());
    let twice = rejection(&validator, token(&server, A).with_duplicate_claim("tid", B)).await;
    assert_eq!(twice.kind(), RejectionKind::MalformedToken);
    assert!(matches!(twice, Rejection::Token(TokenError::DuplicateMember { .. })), "{twice:?}");
    let upper = token(&server, A).without("tid").claim("TID", A);
    assert_eq!(rejection(&validator, upper).await, Rejection::Issuer(IssuerError::TenantMismatch));
    assert!(validator.validate(&token(&server, A).claim("TID", B).sign()).await.is_ok());
}

#[tokio::test]
async fn case_120_rejects_a_key_that_is_published_for_another_tenant() {
    let server = TestIssuer::new();
    let tenants = || EntraTenants::only([A, B]).with_v1_tokens();
    for foreign in [
        serde_json::json!(v2(B)),
        serde_json::json!(v2("common")),
        serde_json::json!(v1(A)),
        serde_json::json!(format!("{}/", v2(A))),
        serde_json::json!(format!("https://login.microsoftonline.us/{A}/v2.0")),
        serde_json::json!(""),
        serde_json::json!(null),
        serde_json::json!([v2(A)]),
    ] {
        let validator = entra(tenants(), &keys_of(&server, &foreign));
        for token in [token(&server, A), token(&server, A).issuer(&v1(A)), token(&server, A).without_kid()] {
            let rejected = rejection(&validator, token).await;
            assert_eq!(rejected, Rejection::Key(KeyNotFoundError::OtherTenant), "{foreign}");
        }
    }
    for own in [v2(A), v2("{tenantid}")] {
        let validator = entra(tenants(), &keys_of(&server, &own.clone().into()));
        for token in [token(&server, A), token(&server, A).issuer(&v1(A)), token(&server, A).without_kid()] {
            assert!(validator.validate(&token.sign()).await.is_ok(), "{own}");
        }
    }
    // Other issuers do not use the member.
    let keys = KeySet::from_jwks(keys_of(&server, &v2(B).into()));
    let api = Api::new(AUDIENCE, Issuer::static_keys(v2(A), keys));
    let validator = Validator::new(api).expect("a valid configuration");
    assert!(validator.validate(&token(&server, A).sign()).await.is_ok());
}

/// The epoch changes also if only the member `issuer` does.
#[tokio::test]
async fn rejects_a_cached_token_whose_key_is_now_published_for_another_tenant() {
    let server = TestIssuer::new();
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    network.always(KEYS_OF_ALL_TENANTS, Reply::json(keys_of(&server, &v2("{tenantid}").into())));
    let api = Api::new(AUDIENCE, Issuer::entra(EntraTenants::only([A, B])));
    let builder = Validator::builder(api).with_fetch(network.clone()).with_clock(clock.clone());
    let validator = builder.build().expect("a valid configuration");
    let server = server.with_clock(clock);
    let (a, b) = (token(&server, A).sign(), token(&server, B).sign());
    let claims = validator.validate(&a).await.expect("an accepted token");
    assert!(validator.validate(&a).await.is_ok() && validator.validate(&b).await.is_ok());
    network.always(KEYS_OF_ALL_TENANTS, Reply::json(keys_of(&server, &v2(B).into())));
    for (_, keys) in validator.key_sources() {
        keys.reload().await.expect("new keys");
    }
    let other = Rejection::Key(KeyNotFoundError::OtherTenant);
    assert_eq!(validator.validate(&a).await.map(drop), Err(other.clone()));
    assert_eq!(validator.still_valid(&claims), Err(other));
    assert!(validator.validate(&b).await.is_ok());
}

#[tokio::test]
async fn case_121_common_is_no_tenant() {
    let server = TestIssuer::new();
    let validator = entra(EntraTenants::dangerous_any(), &server.jwks());
    assert!(validator.validate(&token(&server, C).sign()).await.is_ok());
    for tenant in ["common", "organizations", "consumers", "{tenantid}", "contoso.com", "", &A.to_uppercase()] {
        let rejected = rejection(&validator, token(&server, tenant)).await;
        assert_eq!(rejected, Rejection::Issuer(IssuerError::Unknown { difference: None }), "{tenant}");
    }
    for tenant in ["common", "organizations", "consumers", "contoso.com", "", " ", &format!("{A}/")] {
        let api = Api::new(AUDIENCE, Issuer::entra(EntraTenants::only([A, tenant])));
        assert_eq!(setting_errors(api), [SettingErrorKind::EntraTenant], "{tenant}");
    }
    let none: [&str; 0] = [];
    assert_eq!(setting_errors(Api::new(AUDIENCE, Issuer::entra(EntraTenants::only(none)))), [SettingErrorKind::Empty]);
}

#[tokio::test]
async fn case_122_rejects_a_tenant_that_is_not_allowed() {
    let server = TestIssuer::new();
    let validator = entra(EntraTenants::only([A.to_uppercase()]), &server.jwks());
    assert!(validator.validate(&token(&server, A).sign()).await.is_ok());
    let not_allowed = Rejection::Issuer(IssuerError::TenantNotAllowed);
    assert_eq!(rejection(&validator, token(&server, B)).await, not_allowed);
    let other_claim = token(&server, B).claim("tid", A);
    assert_eq!(rejection(&validator, other_claim).await, Rejection::Issuer(IssuerError::TenantMismatch));
    // The signature of another server does not matter: the name is checked first.
    assert_eq!(rejection(&validator, token(&TestIssuer::new(), B)).await, not_allowed);
    assert_eq!(rejection(&validator, token(&TestIssuer::new(), A)).await.kind(), RejectionKind::KeyNotFound);
}

#[tokio::test]
async fn a_tenant_that_the_application_removes_is_rejected_at_once() {
    let customers = Arc::new(Mutex::new(BTreeSet::from([A.to_owned(), B.to_owned()])));
    let known = Arc::clone(&customers);
    let tenants = EntraTenants::matching(move |tenant| known.lock().expect("the customers").contains(tenant));
    let server = TestIssuer::new();
    let validator = entra(tenants, &server.jwks());
    let (a, b) = (token(&server, A).sign(), token(&server, B).sign());
    let claims = validator.validate(&a).await.expect("an accepted token");
    assert!(validator.validate(&b).await.is_ok());
    assert_eq!(validator.still_valid(&claims), Ok(()));
    customers.lock().expect("the customers").remove(A);
    let not_allowed = Err(Rejection::Issuer(IssuerError::TenantNotAllowed));
    assert_eq!(validator.validate(&a).await.map(drop), not_allowed);
    assert_eq!(validator.still_valid(&claims), not_allowed);
    assert!(validator.validate(&b).await.is_ok());
    customers.lock().expect("the customers").insert(A.to_owned());
    assert!(validator.validate(&a).await.is_ok());
}

#[tokio::test]
async fn tokens_of_version_1_and_of_other_clouds_need_a_setting() {
    let server = TestIssuer::new();
    let unknown = Rejection::Issuer(IssuerError::Unknown { difference: None });
    let version_1 = || token(&server, A).issuer(&v1(A));
    assert_eq!(rejection(&entra(EntraTenants::only([A]), &server.jwks()), version_1()).await, unknown);
    let us = entra(EntraTenants::only([A]).with_cloud(EntraCloud::UsGovernment).with_v1_tokens(), &server.jwks());
    assert_eq!(rejection(&us, token(&server, A)).await, unknown);
    let us_token = token(&server, A).issuer(&format!("https://login.microsoftonline.us/{A}/v2.0"));
    assert!(us.validate(&us_token.sign()).await.is_ok());
    assert!(us.validate(&version_1().sign()).await.is_ok());
    let network = FakeFetch::new(&FakeClock::new());
    let us_keys = "https://login.microsoftonline.us/common/discovery/v2.0/keys";
    network.always(us_keys, Reply::json(server.jwks()));
    network.always("http://127.0.0.1:1/keys", Reply::json(server.jwks()));
    for tenants in [
        EntraTenants::only([A]).with_cloud(EntraCloud::UsGovernment),
        EntraTenants::only([A]).with_cloud(EntraCloud::UsGovernment).with_jwks_uri("http://127.0.0.1:1/keys"),
    ] {
        let builder = Validator::builder(Api::new(AUDIENCE, Issuer::entra(tenants))).with_fetch(network.clone());
        let us_token = token(&server, A).issuer(&format!("https://login.microsoftonline.us/{A}/v2.0")).sign();
        assert!(builder.build().expect("a valid configuration").validate(&us_token).await.is_ok());
    }
}

#[tokio::test]
async fn a_listed_issuer_has_precedence_over_every_rule() {
    let (all, own) = (TestIssuer::new(), TestIssuer::new());
    let tenants = EntraTenants::only([A, B]).with_static_keys(KeySet::from_jwks(all.jwks()));
    let listed = Issuer::static_keys(v2(A), KeySet::from_jwks(own.jwks()));
    let api = Api::new(AUDIENCE, Issuer::entra(tenants)).with_issuer(listed);
    let validator = Validator::new(api).expect("a valid configuration");
    assert!(validator.validate(&token(&own, A).sign()).await.is_ok());
    assert!(validator.validate(&token(&all, B).sign()).await.is_ok());
    for wrong in [token(&all, A), token(&own, B)] {
        assert_eq!(rejection(&validator, wrong).await.kind(), RejectionKind::KeyNotFound);
    }
}

fn pattern_issuer(server: &TestIssuer) -> Issuer {
    let issuer = Issuer::static_keys("https://id.example.com", KeySet::from_jwks(server.jwks()));
    issuer.with_issuer_pattern("https://id.example.com/t/{tenant}")
}

/// Cases 108 and 109: the whole list of names is in the unit tests of the pattern.
#[tokio::test]
async fn case_108_accepts_the_issuers_that_match_a_pattern_and_no_others() {
    let server = TestIssuer::new();
    let validator = Validator::new(Api::new(AUDIENCE, pattern_issuer(&server))).expect("a valid configuration");
    for issuer in ["https://id.example.com", "https://id.example.com/t/a", "https://id.example.com/t/b-2"] {
        let token = server.token().audience(AUDIENCE).issuer(issuer).sign();
        for _ in 0..2 {
            assert_eq!(validator.validate(&token).await.expect(issuer).issuer(), issuer);
        }
    }
    for issuer in ["https://id.example.com.evil/t/a", "https://id.example.com/t/../a", "https://id.example.com/t/"] {
        let rejected = rejection(&validator, server.token().audience(AUDIENCE).issuer(issuer)).await;
        assert_eq!(rejected, Rejection::Issuer(IssuerError::Unknown { difference: None }), "{issuer}");
    }
    let unsigned = TestIssuer::new().token().audience(AUDIENCE).issuer("https://id.example.com/t/a").without_kid();
    assert_eq!(rejection(&validator, unsigned).await, Rejection::Signature);
}

#[test]
fn errors_of_names_are_reported_together() {
    let server = TestIssuer::new();
    let issuer = pattern_issuer(&server)
        .with_issuer_pattern("https://{host}/")
        .with_issuer_pattern("https://id.example.com/")
        .with_issuer_pattern("http://id.example.com/{a}")
        .with_issuer_pattern("https://id.example.com/{a}/.well-known/openid-configuration")
        .with_issuer_pattern("https://id.example.com/t/{tenant}");
    let errors = setting_errors(Api::new(AUDIENCE, issuer.clone()));
    assert!(errors.contains(&SettingErrorKind::IssuerPattern(IssuerPatternError::Host)), "{errors:?}");
    assert!(errors.contains(&SettingErrorKind::IssuerPattern(IssuerPatternError::NoCapture)), "{errors:?}");
    assert!(errors.iter().any(|error| matches!(error, SettingErrorKind::Url(_))), "{errors:?}");
    assert!(errors.iter().any(|error| matches!(error, SettingErrorKind::DiscoveryUrl { .. })), "{errors:?}");
    assert!(errors.contains(&SettingErrorKind::DuplicateIssuer), "{errors:?}");
    assert_eq!(errors.len(), 5, "{errors:?}");
    for beside in [
        Issuer::entra(EntraTenants::only([A])).with_alias("https://id.example.com"),
        Issuer::entra(EntraTenants::only([A])).with_issuer_pattern("https://id.example.com/{a}"),
    ] {
        assert_eq!(setting_errors(Api::new(AUDIENCE, beside)), [SettingErrorKind::NamesBesideEntra]);
    }
    let twice = Api::new(AUDIENCE, Issuer::entra(EntraTenants::only([A])));
    let twice = twice.with_issuer(Issuer::entra(EntraTenants::only([B])));
    assert_eq!(setting_errors(twice), [SettingErrorKind::DuplicateIssuer]);
}

#[tokio::test]
async fn a_host_can_be_bound_to_an_issuer_of_a_rule() {
    let server = TestIssuer::new();
    let token = |issuer: &str| server.token().audience(AUDIENCE).issuer(issuer).sign();
    let (a, b) = (token("https://id.example.com/t/a"), token("https://id.example.com/t/b"));
    let api = Api::new(AUDIENCE, pattern_issuer(&server));
    let bound = api.clone().with_issuer_for_host("a.example.com", "https://id.example.com/t/a");
    let validator = Validator::new(bound).expect("a valid configuration");
    let not_for_host = Err(Rejection::Issuer(IssuerError::NotForHost));
    for _ in 0..2 {
        assert_eq!(validator.validate_for_host(&a, "a.example.com").await.map(drop), Ok(()));
        assert_eq!(validator.validate_for_host(&b, "a.example.com").await.map(drop), not_for_host);
        let elsewhere = validator.validate_for_host(&a, "b.example.com").await.map(drop);
        assert_eq!(elsewhere, Err(Rejection::Issuer(IssuerError::UnknownHost)));
    }
    let unknown = api.with_issuer_for_host("a.example.com", "https://id.example.com/x/a");
    assert_eq!(setting_errors(unknown), [SettingErrorKind::UnknownIssuer]);
}

#[tokio::test]
async fn from_host_binds_each_issuer_of_a_pattern_to_its_own_host() {
    let server = TestIssuer::new();
    let issuer = Issuer::static_keys("https://id.example.com", KeySet::from_jwks(server.jwks()))
        .with_issuer_pattern("https://{tenant}.example.com/");
    let validator = Validator::new(Api::new(AUDIENCE, issuer).with_issuer_from_host()).expect("a valid configuration");
    let a = server.token().audience(AUDIENCE).issuer("https://a.example.com/").sign();
    for _ in 0..2 {
        assert_eq!(validator.validate_for_host(&a, "a.example.com").await.map(drop), Ok(()));
        for (host, error) in [
            ("b.example.com", IssuerError::UnknownHost),
            ("a.example.com.evil", IssuerError::UnknownHost),
            ("id.example.com", IssuerError::NotForHost),
        ] {
            let rejected = validator.validate_for_host(&a, host).await.map(drop);
            assert_eq!(rejected, Err(Rejection::Issuer(error)), "{host}");
        }
    }
    // Without a listed issuer, no host is bound at build, and still every request needs one.
    let tenants = EntraTenants::only([A]).with_static_keys(KeySet::from_jwks(server.jwks()));
    let api = Api::new(AUDIENCE, Issuer::entra(tenants)).with_issuer_from_host();
    let validator = Validator::new(api).expect("a valid configuration");
    let token = crate::many_tenants::token(&server, A).sign();
    let unknown_host = Err(Rejection::Issuer(IssuerError::UnknownHost));
    assert_eq!(validator.validate(&token).await.map(drop), unknown_host);
    assert_eq!(validator.validate_for_host(&token, "api.example.com").await.map(drop), unknown_host);
}

#[tokio::test]
async fn explain_names_the_rules_and_the_reason() {
    let server = TestIssuer::new();
    let validator = entra(EntraTenants::only([A]), &server.jwks());
    let explanation = validator.explain(&token(&server, B).sign()).await;
    let finding = explanation.findings().iter().find(|finding| finding.check() == "iss").expect("the finding");
    assert_eq!(finding.rejection(), Some(&Rejection::Issuer(IssuerError::TenantNotAllowed)));
    assert_eq!(finding.expected(), Some(&*v2("{tenantid}")));
    assert!(validator.explain(&token(&server, A).sign()).await.is_accepted());
    let keys = keys_of(&server, &v2(B).into());
    let explanation = entra(EntraTenants::only([A]), &keys).explain(&token(&server, A).sign()).await;
    let failed = explanation.findings().iter().find_map(|finding| finding.rejection());
    assert_eq!(failed, Some(&Rejection::Key(KeyNotFoundError::OtherTenant)));
    assert!(entra(EntraTenants::only([A]), &keys).is_ready());
}
