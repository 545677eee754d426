//! Authorization servers whose tokens the defaults reject: each needs one explicit setting.

use serde_json::json;
use tower_bearer::claims::{ClaimError, ClaimErrorReason, Profile};
use tower_bearer::rejection::{CheckError, IssuerError};
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Algorithm, Api, Rejection, RejectionKind, Requirement, Validator};

use crate::fixture::{AUDIENCE, block_on, server, trusted, validator_for};

/// Returns the result of one token at an API.
fn outcome(api: Api, token: TokenBuilder) -> Result<(), Rejection> {
    block_on(validator_for(api).validate(&token.sign())).map(drop)
}

fn api(server: &TestIssuer) -> Api {
    Api::new(AUDIENCE, trusted(server, Algorithm::RS256))
}

#[test]
fn accepts_id_token_markers_only_by_setting() {
    let server = server(Algorithm::RS256);
    for profile in [Profile::Any, Profile::Auth0] {
        let strict = api(&server).with_profile(profile);
        let lenient = strict.clone().dangerous_accept_id_token_markers();
        for marker in ["at_hash", "c_hash", "nonce"] {
            let token = || server.token().claim(marker, "x");
            let is_marker = marker != "nonce" || profile == Profile::Auth0;
            let expected = if is_marker { Err(Rejection::Claims(ClaimError::IdToken { marker })) } else { Ok(()) };
            assert_eq!(outcome(strict.clone(), token()), expected, "{marker}");
            assert_eq!(outcome(lenient.clone(), token()), Ok(()), "{marker}");
        }
        // These claims say that the token is an ID token.
        for (marker, value) in [("token_use", "id"), ("typ", "ID")] {
            let token = || server.token().claim("at_hash", "x").claim(marker, value);
            let expected = Err(Rejection::Claims(ClaimError::IdToken { marker }));
            assert_eq!(outcome(lenient.clone(), token()), expected, "{marker}");
        }
        // The audience distinguishes an ID token.
        let id_token = server.token().claim("at_hash", "x").audience("the client");
        let audience = Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Mismatch));
        assert_eq!(outcome(lenient, id_token), Err(audience));
    }
}

#[test]
fn accepts_further_token_types_only_by_setting() {
    let server = server(Algorithm::RS256);
    let further = api(&server).with_token_types(["acme+jwt", "application/Other+JWT"]);
    let rejected = Err(Rejection::Claims(ClaimError::TokenType));
    for typ in ["acme+jwt", "ACME+jwt", "application/acme+jwt", "other+jwt", "Application/OTHER+JWT"] {
        assert_eq!(outcome(api(&server), server.token().typ(typ)), rejected, "{typ}");
        assert_eq!(outcome(further.clone(), server.token().typ(typ)), Ok(()), "{typ}");
    }
    for typ in ["acme+jwt2", "acme", "dpop+jwt", "logout+jwt", "text/acme+jwt", "application/application/acme+jwt", ""]
    {
        assert_eq!(outcome(further.clone(), server.token().typ(typ)), rejected, "{typ}");
    }
    for typ in ["JWT", "at+jwt", "application/at+jwt"] {
        assert_eq!(outcome(further.clone(), server.token().typ(typ)), Ok(()), "{typ}");
    }
    assert_eq!(outcome(further, server.token().without_header("typ")), Ok(()));
}

/// Okta writes the client into `cid`, and version 1 tokens of Entra ID write it into `appid`.
#[test]
fn client_claim_replaces_client_id_and_azp() {
    let server = server(Algorithm::RS256);
    let client = |reason| Err(Rejection::Claims(ClaimError::Client(reason)));
    for claim in ["cid", "appid", "client_id", "azp", "a.b/ä"] {
        let api = || api(&server).with_client_ids(["web", "a\"b"]).with_client_claim(claim);
        let token = || server.token().without("azp").without("client_id");
        assert_eq!(outcome(api(), token().claim(claim, "web")), Ok(()), "{claim}");
        assert_eq!(outcome(api(), token().claim(claim, "a\"b")), Ok(()), "{claim}");
        assert_eq!(outcome(api(), token().claim(claim, "other")), client(ClaimErrorReason::Mismatch), "{claim}");
        assert_eq!(outcome(api(), token()), client(ClaimErrorReason::Missing), "{claim}");
        for malformed in [json!(null), json!(7), json!(["web"]), json!({ "web": "web" })] {
            let token = token().claim(claim, malformed.clone());
            assert_eq!(outcome(api(), token), client(ClaimErrorReason::Malformed), "{claim} {malformed}");
        }
        // No other claim replaces it.
        for other in ["cid", "appid", "client_id", "azp"].into_iter().filter(|other| *other != claim) {
            let token = token().claim(other, "web");
            assert_eq!(outcome(api(), token), client(ClaimErrorReason::Missing), "{claim} {other}");
        }
    }
}

/// Without client ids, every client is accepted, and requirements compare the claim.
#[test]
fn client_claim_without_client_ids_applies_to_requirements() {
    let server = server(Algorithm::RS256);
    let validator = Validator::new(api(&server).with_client_claim("cid")).expect("a valid configuration");
    let is_met = |token: TokenBuilder| {
        let claims = block_on(validator.validate(&token.sign())).expect("every client is accepted");
        claims.require(&Requirement::client_ids(["web"])).is_ok()
    };
    let token = || server.token().without("azp").without("client_id");
    assert!(is_met(token().claim("cid", "web")));
    assert!(!is_met(token().claim("cid", "other")));
    assert!(!is_met(token().claim("client_id", "web")), "only the configured claim is compared");
}

#[test]
fn accepts_a_token_without_audience_by_client_and_setting() {
    let server = server(Algorithm::RS256);
    let with_clients = || api(&server).with_client_ids(["https://app.test"]);
    let allowing = || with_clients().dangerous_allow_missing_audience();
    let token = || server.token().without("aud").without("client_id").claim("azp", "https://app.test");
    let missing = || Err(Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Missing)));
    assert_eq!(outcome(api(&server), token()), missing());
    assert_eq!(outcome(with_clients(), token()), missing());
    assert_eq!(outcome(allowing(), token()), Ok(()));
    let client = |reason| Err(Rejection::Claims(ClaimError::Client(reason)));
    assert_eq!(outcome(allowing(), token().claim("azp", "https://evil.test")), client(ClaimErrorReason::Mismatch));
    assert_eq!(outcome(allowing(), token().without("azp")), client(ClaimErrorReason::Missing));
    // A token with `aud` must be for this API.
    let audience = |reason| Err(Rejection::UnverifiedClaims(ClaimError::Audience(reason)));
    assert_eq!(outcome(allowing(), token().audience("https://other.test/")), audience(ClaimErrorReason::Mismatch));
    assert_eq!(outcome(allowing(), token().audience(AUDIENCE)), Ok(()));
    for malformed in [json!(null), json!([]), json!(""), json!([AUDIENCE, 1]), json!({})] {
        let kind = outcome(allowing(), token().claim("aud", malformed.clone())).map_err(|rejection| rejection.kind());
        assert!(matches!(kind, Err(RejectionKind::Audience | RejectionKind::MalformedClaim)), "{malformed}: {kind:?}");
    }
}

#[test]
fn accepts_a_token_without_audience_by_check_and_setting() {
    let server = server(Algorithm::RS256);
    let builder = Validator::builder(api(&server).dangerous_allow_missing_audience());
    let clock =
        tower_bearer::testing::FakeClock::from_wall(tower_bearer::clock::Timestamp::from_secs(crate::fixture::NOW));
    let builder = builder.with_clock(clock).with_check(|claims| match claims.claim::<String>("org_id") {
        Ok(Some(organization)) if organization == "org_northwind" => Ok(()),
        _ => Err(CheckError::new()),
    });
    let validator = builder.build().expect("a valid configuration");
    let token = |organization: &str| server.token().without("aud").claim("org_id", organization).sign();
    assert_eq!(block_on(validator.validate(&token("org_northwind"))).map(drop), Ok(()));
    let rejected = Err(Rejection::Check(CheckError::new()));
    assert_eq!(block_on(validator.validate(&token("org_other"))).map(drop), rejected);
    // Checks of the builder stay with custom claims, and also apply to tokens with `aud`.
    let custom = validator.with_custom_claims::<serde_json::Value>();
    assert_eq!(block_on(custom.validate(&server.token().sign())).map(drop), rejected);
}

/// With `with_client_claim`, the claim also identifies the client of a token without `aud`.
#[test]
fn client_claim_applies_to_tokens_of_cognito() {
    let server = server(Algorithm::RS256);
    let api = || api(&server).with_client_ids(["web"]).with_client_claim("cid");
    let token = || server.token().without("aud").claim("token_use", "access");
    assert_eq!(outcome(api(), token().claim("cid", "web")), Ok(()));
    let missing = Err(Rejection::UnverifiedClaims(ClaimError::Audience(ClaimErrorReason::Missing)));
    assert_eq!(outcome(api(), token().claim("client_id", "web")), missing);
}

/// The `iss` of AD FS begins with `http:`.
#[test]
fn compares_an_http_issuer_exactly() {
    let adfs = "http://adfs.example.com/adfs/services/trust";
    let clock =
        tower_bearer::testing::FakeClock::from_wall(tower_bearer::clock::Timestamp::from_secs(crate::fixture::NOW));
    let server = TestIssuer::named(adfs).with_clock(std::sync::Arc::new(clock));
    let api = || Api::new("urn:orders", trusted(&server, Algorithm::RS256));
    let token = || server.token().audience("urn:orders");
    assert_eq!(outcome(api(), token()), Ok(()));
    let https = token().issuer("https://adfs.example.com/adfs/services/trust");
    let scheme = IssuerError::Unknown { difference: Some(tower_bearer::rejection::IssuerDifference::Scheme) };
    assert_eq!(outcome(api(), https), Err(Rejection::Issuer(scheme)));
}

/// Explains a token and returns the hints.
fn hints(api: Api, token: TokenBuilder) -> Vec<String> {
    let explanation = block_on(validator_for(api).explain(&token.sign()));
    explanation.hints().map(ToOwned::to_owned).collect()
}

#[test]
fn hint_names_microsoft_graph() {
    let tenant = "11111111-2222-3333-4444-555555555555";
    let clock =
        tower_bearer::testing::FakeClock::from_wall(tower_bearer::clock::Timestamp::from_secs(crate::fixture::NOW));
    let server = TestIssuer::named(&format!("https://login.microsoftonline.com/{tenant}/v2.0"));
    let server = server.with_clock(std::sync::Arc::new(clock));
    let api = || Api::new("api://orders", trusted(&server, Algorithm::RS256));
    let expected =
        "a token for Microsoft Graph: the client must request a scope of this API, such as api://<id>/.default";
    for audience in [
        "00000003-0000-0000-c000-000000000000",
        "https://graph.microsoft.com",
        "https://graph.microsoft.com/",
        "https://graph.microsoft.us",
        "https://microsoftgraph.chinacloudapi.cn",
    ] {
        let token = || server.token().audience(audience);
        assert_eq!(hints(api(), token()), [expected], "{audience}");
        // Graph's tokens have the issuer of version 1.
        let version_1 = token().issuer(&format!("https://sts.windows.net/{tenant}/"));
        assert_eq!(hints(api(), version_1).first().map(String::as_str), Some(expected), "{audience}");
        // An API that lists this audience gets tokens that it cannot verify.
        let graph = Api::new(audience, trusted(&server, Algorithm::RS256));
        assert_eq!(hints(graph.clone(), token().with_broken_signature()), [expected], "{audience}");
        assert_eq!(hints(graph, token()), [""; 0]);
    }
    let other = server.token().audience("https://graph.microsoft.com.evil.test");
    assert!(!hints(api(), other).contains(&expected.to_owned()));
}

#[test]
fn hint_for_a_missing_audience_leads_to_the_client_ids_and_the_recipe() {
    let server = server(Algorithm::RS256);
    let token = || server.token().without("aud");
    let expected = "no aud: configure the server to write it; if it cannot, set with_client_ids and see the recipe for tokens without aud";
    assert_eq!(hints(api(&server), token()), [expected]);
    let with_clients = api(&server).with_client_ids(["web"]);
    // A token of Clerk has no `token_use`, so the hint for tokens of Cognito would be of no use.
    let expected = "no aud: with_client_ids alone accepts only tokens with token_use (Cognito): see the recipe for tokens without aud";
    assert_eq!(hints(with_clients.clone(), token()).first().map(String::as_str), Some(expected));
    let of_cognito = token().claim("token_use", "access").claim("client_id", "other");
    let expected = "no aud: without it, token_use must be access and client_id one of the API's clients";
    assert!(!hints(with_clients.clone(), of_cognito).contains(&expected.to_owned()), "the client is wrong, not aud");
    let of_another_use = token().claim("token_use", "refresh");
    assert_eq!(hints(with_clients, of_another_use).first().map(String::as_str), Some(expected));
    let recipes = std::fs::read_to_string(crate::stack::repository().join("src/guide/recipes.md")).expect("the guide");
    assert!(recipes.contains("\n## Clerk, WorkOS: tokens without `aud`\n"), "the recipe of the hint");
    assert_eq!(hints(api(&server).with_profile(Profile::Rfc9068), token().rfc9068()), [""; 0]);
}

#[test]
fn explain_names_the_further_types_and_the_claim_of_the_client() {
    let server = server(Algorithm::RS256);
    let api = api(&server).with_token_types(["acme+jwt"]).with_client_ids(["web"]).with_client_claim("cid");
    let token = server.token().typ("other+jwt").claim("cid", "cron").claim("client_id", "web").sign();
    let explanation = block_on(validator_for(api).explain(&token));
    let finding = |check: &str| {
        let finding = explanation.findings().iter().find(|finding| finding.check() == check).expect("a finding");
        (finding.expected().map(ToOwned::to_owned), finding.found().map(ToOwned::to_owned))
    };
    assert_eq!(finding("typ"), (Some("no typ, JWT or at+jwt or acme+jwt".to_owned()), Some("other+jwt".to_owned())));
    assert_eq!(finding("client"), (Some("cid web".to_owned()), Some("\"cron\"".to_owned())));
}
