//! The clients and organizations whose tokens an API accepts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use tower_bearer::claims::{ClaimError, ClaimErrorReason, Organization};
use tower_bearer::config::{Organizations, SettingErrorKind};
use tower_bearer::request::RequestHead;
use tower_bearer::testing::{TestIssuer, TokenBuilder};
use tower_bearer::{Api, BearerLayer, Rejection, RejectionKind, Validator};

use crate::stack::{self, AUDIENCE, Body, INVALID_TOKEN, OK, trusted};

fn validator(server: &TestIssuer, change: impl FnOnce(Api) -> Api) -> Validator {
    Validator::new(change(Api::new(AUDIENCE, trusted(server)))).expect("a valid configuration")
}

async fn outcome(validator: &Validator, token: TokenBuilder) -> Result<(), Rejection> {
    validator.validate(&token.sign()).await.map(|_| ())
}

#[tokio::test]
async fn rejects_a_client_that_is_not_configured() {
    let server = TestIssuer::new();
    let validator = validator(&server, |api| api.with_client_ids(["web", "cron"]));
    let from = |client: &str| server.token().claim("client_id", client);
    assert_eq!(outcome(&validator, from("web")).await, Ok(()));
    assert_eq!(outcome(&validator, server.token().without("client_id").claim("azp", "cron")).await, Ok(()));
    let other = outcome(&validator, from("other")).await.unwrap_err();
    assert_eq!(other, Rejection::Claims(ClaimError::Client(ClaimErrorReason::Mismatch)));
    assert_eq!(other.kind(), RejectionKind::Client);
}

/// Amazon Cognito writes `client_id` and `token_use` into access tokens, and no `aud`.
#[tokio::test]
async fn accepts_a_token_without_audience_by_its_client_id() {
    let server = TestIssuer::named("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Nw");
    let cognito =
        || server.token().without("aud").without("azp").claim("client_id", "web").claim("token_use", "access");
    let with = validator(&server, |api| api.with_client_ids(["web"]));
    let claims = with.validate(&cognito().sign()).await.expect("a token of Cognito");
    assert_eq!((claims.client_id(), claims.audience().iter().count()), (Some("web"), 0));
    let rejected = |error| Err(Rejection::UnverifiedClaims(error));
    let missing = ClaimError::Audience(ClaimErrorReason::Missing);
    assert_eq!(outcome(&with, cognito().claim("token_use", "id")).await, rejected(missing.clone()));
    assert_eq!(outcome(&with, cognito().without("token_use")).await, rejected(missing.clone()));
    assert_eq!(
        outcome(&with, cognito().claim("client_id", "other")).await,
        rejected(ClaimError::Client(ClaimErrorReason::Mismatch))
    );
    let without = validator(&server, |api| api);
    assert_eq!(outcome(&without, cognito()).await, rejected(missing));
}

#[tokio::test]
async fn rejects_an_organization_outside_the_configured_set() {
    let server = TestIssuer::new();
    let ids = validator(&server, |api| api.with_organizations(Organizations::from_ids(["org_1", "org_2"])));
    assert_eq!(outcome(&ids, server.token().organization("org_2")).await, Ok(()));
    let rejected = |reason| Err(Rejection::Claims(ClaimError::Organization(reason)));
    assert_eq!(outcome(&ids, server.token().organization("org_3")).await, rejected(ClaimErrorReason::Mismatch));
    assert_eq!(outcome(&ids, server.token()).await, rejected(ClaimErrorReason::Missing));
    let names = validator(&server, |api| api.with_organizations(Organizations::from_names(["acme"])));
    assert_eq!(outcome(&names, server.token().claim("org_name", "ACME")).await, Ok(()));
    assert_eq!(outcome(&names, server.token().claim("org_name", "acme.")).await, rejected(ClaimErrorReason::Mismatch));
    let open = validator(&server, |api| api);
    let claims = open.validate(&server.token().organization("org_9").sign()).await.expect("no policy");
    assert_eq!(claims.organization(), Some("org_9"));
}

#[tokio::test]
async fn all_other_checks_run_before_the_organization_check() {
    let server = TestIssuer::new();
    let ids = validator(&server, |api| api.with_organizations(Organizations::from_ids(["org_1"])));
    let foreign = server.token().organization("org_3");
    let broken = outcome(&ids, foreign.clone().with_broken_signature()).await;
    assert_eq!(broken, Err(Rejection::Signature));
    let marked = outcome(&ids, foreign.claim("at_hash", "x")).await;
    assert_eq!(marked, Err(Rejection::Claims(ClaimError::IdToken { marker: "at_hash" })));
}

#[tokio::test]
async fn organization_of_the_request_is_checked_on_every_call() {
    let server = TestIssuer::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let by_subdomain = Organizations::from_request(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        let (name, _) = request.host()?.as_str().split_once(".api.test")?;
        Some(Organization::from_name(name))
    });
    let validator = validator(&server, |api| api.with_organizations(by_subdomain));
    let token = server.token().claim("org_name", "acme").sign();
    let request =
        |host: &str| stack::bearer_request(&token).header("host", host).body(Body::default()).expect("a request");
    for (host, status) in [("acme.api.test", OK), ("globex.api.test", 401), ("api.test", 401), ("Acme.API.test:1", OK)]
    {
        let response = stack::send_through(BearerLayer::new(validator.clone()), request(host)).await;
        assert_eq!(response.status, status, "{host}");
        assert_eq!(response.challenge() == INVALID_TOKEN, status == 401, "{host}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 4, "the result is not cached");
    let malformed =
        Request::get("/").header("authorization", format!("Bearer {token},")).header("host", "acme.api.test");
    let malformed = malformed.body(Body::default()).expect("a request");
    assert_eq!(stack::send_through(BearerLayer::new(validator.clone()), malformed).await.status, 400);
    assert_eq!(calls.load(Ordering::Relaxed), 4, "a malformed credential is rejected before");
    let doubled = stack::bearer_request(&token).header("host", "acme.api.test").header("host", "acme.api.test");
    let doubled = doubled.body(Body::default()).expect("a request");
    assert_eq!(stack::send_through(BearerLayer::new(validator.clone()), doubled).await.status, 400);

    let mismatch = Err(Rejection::Claims(ClaimError::Organization(ClaimErrorReason::Mismatch)));
    assert!(validator.validate_for_host(&token, "acme.api.test").await.is_ok());
    assert_eq!(validator.validate_for_host(&token, "globex.api.test").await.map(|_| ()), mismatch);
    assert_eq!(validator.validate(&token).await.map(|_| ()), mismatch, "a call without a request has no organization");
}

#[tokio::test]
async fn direct_calls_pass_the_request_for_the_organization_check() {
    let server = TestIssuer::new();
    let by_path = Organizations::from_request(|request| {
        request.uri().path().strip_prefix("/organizations/").map(Organization::from_id)
    });
    let validator = validator(&server, |api| api.with_organizations(by_path));
    let token = server.token().organization("org_1").sign();
    for (path, accepted) in [("/organizations/org_1", true), ("/organizations/org_2", false), ("/", false)] {
        let request = Request::get(path).body(()).expect("a request");
        let head = RequestHead::new(&request);
        assert_eq!(validator.validate_request(&token, &head).await.is_ok(), accepted, "{path}");
    }
}

#[test]
fn rejects_an_empty_client_or_organization_list() {
    let server = TestIssuer::new();
    let errors = |api: Api| {
        let error = Validator::new(api).expect_err("an error");
        error.errors().iter().map(|reason| (reason.setting().to_owned(), reason.kind().clone())).collect::<Vec<_>>()
    };
    let api = || Api::new(AUDIENCE, trusted(&server));
    for (api, setting) in [
        (api().with_client_ids([""; 0]), "client ids"),
        (api().with_client_ids([""]), "client ids"),
        (api().with_organizations(Organizations::from_ids([""; 0])), "organization ids"),
        (api().with_organizations(Organizations::from_names(["acme", ""])), "organization names"),
    ] {
        assert_eq!(errors(api), [(setting.to_owned(), SettingErrorKind::Empty)]);
    }
}
