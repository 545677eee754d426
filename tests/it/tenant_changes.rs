//! Tenants that change or leave while requests use them: what stays rejected, and what stays available.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tower::Layer as _;
use tower_bearer::clock::Timestamp;
use tower_bearer::config::{Tenant, TenantError, TenantEventKind, Tenants};
use tower_bearer::dpop::{Dpop, ProofUse, Recording, ReplayStore, VerifiedProof};
use tower_bearer::testing::ProofKey;
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Rejection, TenantList};

use crate::dpop_fixture::{URL, dpop_request};
use crate::fixture::AUDIENCE;
use crate::layer_fixture::{TestBody, send, subject_service};
use crate::tenants_fixture::{Answer, Realms, iss, not_matching, outcome, unavailable, unknown};

const RENEWAL: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(3661);

/// The application revokes a key, and the tenant is displaced, becomes idle, gets other settings, or is removed. The issuer still
/// publishes the key.
#[tokio::test]
async fn rejects_a_revoked_key_after_the_tenant_has_left_and_returned() {
    let ends = [TenantEventKind::Displaced, TenantEventKind::Idle, TenantEventKind::Replaced, TenantEventKind::Removed];
    for end in ends {
        let realms = Realms::new(["a", "b"]);
        let api = Api::for_tenants(AUDIENCE, realms.tenants().with_max_tenants(1));
        let validator = realms.build(api);
        let token = realms.token("a");
        assert_eq!(outcome(&validator, &token).await, Ok(()));
        let kid = realms.server("a").kid();
        let keys = || validator.tenants().key_source(&iss("a")).expect("a tenant in use");
        keys().revoke_kid(&kid);
        assert!(matches!(outcome(&validator, &token).await, Err(Rejection::Key(_))));
        match end {
            TenantEventKind::Displaced => assert_eq!(outcome(&validator, &realms.token("b")).await, Ok(())),
            TenantEventKind::Idle => realms.pass(IDLE).await,
            TenantEventKind::Replaced => {
                let jwks_uri = realms.server("a").jwks_uri();
                let moved = move |issuer: &str| -> Tenant {
                    Issuer::jwks(issuer, jwks_uri.clone()).with_algorithms([Algorithm::ES256]).into()
                };
                realms.set("a", Answer::Return(Arc::new(moved)));
                realms.pass(RENEWAL).await;
            }
            _ => assert!(validator.tenants().remove(&iss("a"))),
        }
        assert!(realms.events_of("a").contains(&end), "{:?}", realms.events_of("a"));
        let rejected = outcome(&validator, &token).await;
        assert!(matches!(rejected, Err(Rejection::Key(_))), "{end:?}: {rejected:?}");
        keys().unrevoke_kid(&kid);
        assert_eq!(outcome(&validator, &token).await, Ok(()), "{end:?}");
    }
}

#[tokio::test]
async fn removes_a_tenant_that_the_predicate_no_longer_allows() {
    let realms = Realms::new(["a"]);
    let is_customer = Arc::new(AtomicBool::new(true));
    let allowed = is_customer.clone();
    let tenants = Tenants::allowed_by(move |_| allowed.load(Ordering::Relaxed)).resolved_by(|claimed| async move {
        Ok(Some(Issuer::oidc(claimed.issuer()).with_algorithms([Algorithm::ES256])))
    });
    let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
    let token = realms.token("a");
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    realms.pass(RENEWAL).await;
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    is_customer.store(false, Ordering::Relaxed);
    realms.pass(RENEWAL).await;
    assert_eq!(validator.tenants().issuers().len(), 0);
    assert_eq!(outcome(&validator, &token).await, not_matching());
}

/// A replay store that removes a tenant before it answers.
#[derive(Clone, Debug, Default)]
struct RemovingStore(Arc<OnceLock<TenantList>>);

impl ReplayStore for RemovingStore {
    fn record(&self, _: &VerifiedProof, _: Timestamp) -> Recording {
        let list = Arc::clone(&self.0);
        Recording::Later(Box::pin(async move {
            list.get().into_iter().for_each(|list| assert!(list.remove(&iss("a"))));
            Ok(ProofUse::First)
        }))
    }
}

#[tokio::test]
async fn rejects_a_request_whose_tenant_is_removed_while_it_waits_for_the_replay_store() {
    let realms = Realms::new(["a"]);
    let store = RemovingStore::default();
    let dpop = Dpop::new("https://api.test").with_replay_store(store.clone());
    let validator = realms.build(realms.api().with_dpop(dpop));
    let client = ProofKey::new().with_clock(realms.clock.clone());
    let token = realms.server("a").token().audience(AUDIENCE).subject("a").bound_to(&client).sign();
    let service = BearerLayer::new(validator.clone()).layer(subject_service());
    let request = || dpop_request(&token, &client.proof("GET", URL, &token).sign()).map(|_| TestBody::default());
    assert_eq!(send(service.clone(), request()).await.status(), 200);
    store.0.set(validator.tenants()).expect("the first time");
    let response = send(service, request()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.extensions().get::<Rejection>().cloned().map_or(Ok(()), Err), unknown());
}

#[tokio::test]
async fn requests_for_one_tenant_leave_room_for_those_of_others() {
    let realms = Realms::new(["a", "b"]);
    realms.set("a", Answer::Hang);
    let validator = realms.validator();
    let token = realms.token("a");
    let request = || {
        let (validator, token) = (validator.clone(), token.clone());
        tokio::spawn(async move { outcome(&validator, &token).await })
    };
    let waiting: Vec<_> = (0..2_000).map(|_| request()).collect();
    realms.clock.settle().await;
    let rejected = waiting.iter().filter(|request| request.is_finished()).count();
    assert!((700..800).contains(&rejected), "{rejected}");
    assert_eq!(outcome(&validator, &realms.token("b")).await, Ok(()));
    realms.pass(Duration::from_secs(2)).await;
    let (mut timed_out, mut too_many) = (0, 0);
    for request in waiting {
        let outcome = request.await.expect("no panic");
        timed_out += usize::from(outcome == unavailable(TenantError::Timeout));
        too_many += usize::from(outcome == unavailable(TenantError::TooManyCalls));
    }
    assert_eq!((timed_out + too_many, too_many), (2_000, rejected));
}

/// More tenants than may be added in a second return after a night, and change their settings.
#[tokio::test]
async fn known_tenants_are_not_limited_as_new_ones() {
    let names: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    let realms = Realms::new(names.iter().map(String::as_str));
    let validator = realms.validator();
    for (number, name) in names.iter().enumerate() {
        if number == 10 {
            realms.pass(Duration::from_secs(1)).await;
        }
        assert_eq!(outcome(&validator, &realms.token(name)).await, Ok(()));
    }
    realms.pass(IDLE).await;
    assert_eq!(validator.tenants().counts().idle(), 12);
    for name in &names {
        assert_eq!(outcome(&validator, &realms.token(name)).await, Ok(()), "{name}");
    }
    assert_eq!(validator.tenants().counts().proven(), 12);
}
