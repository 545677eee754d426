//! Tenants that change or leave while requests use them: what stays rejected, and what stays available.

use std::sync::Arc;
use std::time::Duration;

use tower_bearer::config::{Tenant, TenantEventKind};
use tower_bearer::{Algorithm, Issuer, Rejection};

use crate::tenants_fixture::{Answer, Realms, iss, outcome};

const RENEWAL: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(3661);

/// The application revokes a key, and the tenant is displaced, becomes idle, gets other settings, or is removed. The issuer still
/// publishes the key.
#[tokio::test]
async fn rejects_a_revoked_key_after_the_tenant_has_left_and_returned() {
    let ends = [TenantEventKind::Displaced, TenantEventKind::Idle, TenantEventKind::Replaced, TenantEventKind::Removed];
    for end in ends {
        let realms = Realms::new(["a", "b"]);
        let api = tower_bearer::Api::for_tenants(crate::fixture::AUDIENCE, realms.tenants().with_max_tenants(1));
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
