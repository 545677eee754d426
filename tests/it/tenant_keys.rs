//! Keys of tenants that outlive a tenant: stored ones, and those whose private keys were published.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tower_bearer::config::{Tenant, TenantEventKind, Tenants};
use tower_bearer::jwks::{FileKeyStore, KeyStore, KeyStoreError, KeyStoreFuture};
use tower_bearer::testing::{Outage, TestIssuer};
use tower_bearer::{Algorithm, Api, Issuer, Rejection, Validator};

use crate::fixture::AUDIENCE;
use crate::tenants_fixture::{Answer, Realms, iss, outcome, outcome_in_time, unknown};

const SECOND: Duration = Duration::from_secs(1);
const RENEWAL: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);
const IDLE: Duration = Duration::from_secs(3661);

/// A store in memory.
#[derive(Clone, Debug, Default)]
struct Records(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Bytes>,
    /// Whether removals fail.
    is_read_only: bool,
    removals: usize,
}

impl Records {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the records")
    }

    fn count(&self) -> usize {
        self.state().records.len()
    }
}

impl KeyStore for Records {
    fn load(&self, name: &str, _: usize) -> KeyStoreFuture<Option<Bytes>> {
        let record = self.state().records.get(name).cloned();
        Box::pin(async move { Ok(record) })
    }

    fn save(&self, name: &str, record: Bytes) -> KeyStoreFuture<()> {
        self.state().records.insert(name.to_owned(), record);
        Box::pin(async { Ok(()) })
    }

    fn remove(&self, name: &str) -> KeyStoreFuture<()> {
        let mut state = self.state();
        state.removals += 1;
        if state.is_read_only {
            return Box::pin(async { Err(KeyStoreError::Timeout) });
        }
        state.records.remove(name);
        Box::pin(async { Ok(()) })
    }
}

/// A realm `a` whose keys are stored.
struct Stored {
    realms: Realms,
    records: Records,
    validator: Validator,
    /// A token of the realm.
    token: String,
}

impl Stored {
    async fn new() -> Self {
        let (realms, records) = (Realms::new(["a", "b"]), Records::default());
        let validator = start(&realms, &records);
        let token = realms.token("a");
        assert_eq!(outcome(&validator, &token).await, Ok(()));
        realms.pass(SECOND).await;
        assert_eq!(records.count(), 1);
        Self { realms, records, validator, token }
    }

    /// Another customer gets the realm `a`, and its server does not respond.
    fn replace_customer(&self) {
        self.realms.create("a");
        self.realms.server("a").set_outage(Outage::NoConnection);
    }

    async fn outcome(&self, validator: &Validator) -> Result<(), Rejection> {
        outcome_in_time(&self.realms, validator.clone(), self.token.clone()).await
    }
}

fn start(realms: &Realms, store: &(impl KeyStore + Clone)) -> Validator {
    realms.builder(realms.api()).with_key_store(store.clone()).build().expect("a valid configuration")
}

fn is_unavailable(outcome: &Result<(), Rejection>) -> bool {
    matches!(outcome, Err(Rejection::KeysUnavailable { .. }))
}

#[tokio::test]
async fn uses_stored_keys_of_a_tenant_that_was_not_removed() {
    let stored = Stored::new().await;
    stored.realms.server("a").set_outage(Outage::NoConnection);
    assert_eq!(stored.outcome(&start(&stored.realms, &stored.records)).await, Ok(()), "after a restart");
    stored.realms.pass(IDLE).await;
    assert_eq!(stored.validator.tenants().counts().proven(), 0, "its keys are closed");
    assert_eq!(stored.records.state().removals, 0);
}

#[tokio::test]
async fn uses_no_stored_keys_of_a_removed_tenant_for_its_successor() {
    for (is_read_only, by_renewal) in [(false, false), (true, false), (false, true), (true, true)] {
        let stored = Stored::new().await;
        stored.records.state().is_read_only = is_read_only;
        stored.realms.set("a", Answer::Unknown);
        if by_renewal {
            stored.realms.pass(RENEWAL).await;
        } else {
            assert!(stored.validator.tenants().remove(&iss("a")));
        }
        assert_eq!(outcome(&stored.validator, &stored.token).await, unknown());
        stored.realms.pass(60 * SECOND).await;
        assert_eq!(stored.records.count(), usize::from(is_read_only));
        stored.replace_customer();
        let result = stored.outcome(&stored.validator).await;
        assert!(is_unavailable(&result), "{is_read_only} {by_renewal}: {result:?}");
        // A process that starts now finds the record only if it could not be removed.
        let restarted = stored.outcome(&start(&stored.realms, &stored.records)).await;
        assert_eq!(is_unavailable(&restarted), !is_read_only, "{restarted:?}");
        // The successor's own keys are stored and used.
        stored.realms.server("a").set_outage(Outage::None);
        stored.realms.pass(30 * SECOND).await;
        let token = stored.realms.token("a");
        assert_eq!(outcome(&stored.validator, &token).await, Ok(()));
        stored.realms.pass(SECOND).await;
        stored.realms.server("a").set_outage(Outage::NoConnection);
        let restarted = start(&stored.realms, &stored.records);
        assert_eq!(outcome_in_time(&stored.realms, restarted, token).await, Ok(()));
    }
}

/// The resolver no longer knows the tenant when it is idle.
#[tokio::test]
async fn removes_the_stored_keys_of_an_idle_tenant() {
    let stored = Stored::new().await;
    stored.realms.pass(IDLE).await;
    stored.realms.set("a", Answer::Unknown);
    assert_eq!(outcome(&stored.validator, &stored.token).await, unknown());
    assert!(stored.realms.events_of("a").ends_with(&[TenantEventKind::Idle, TenantEventKind::Removed]));
    stored.realms.pass(60 * SECOND).await;
    assert_eq!(stored.records.count(), 0);
    stored.replace_customer();
    assert!(is_unavailable(&stored.outcome(&stored.validator).await));
}

/// The tenant was removed while this process did not run. Its record stays, because a client chose the name, and another process may
/// know it. This process does not use it.
#[tokio::test]
async fn an_unknown_name_causes_no_access_to_the_store_and_its_record_is_not_used() {
    let stored = Stored::new().await;
    let restarted = start(&stored.realms, &stored.records);
    stored.realms.set("a", Answer::Unknown);
    assert_eq!(outcome(&restarted, &stored.token).await, unknown());
    for number in 0..100 {
        let token = stored.realms.server("a").token().issuer(&iss(&format!("unknown{number}"))).sign();
        assert_eq!(outcome(&restarted, &token).await, unknown());
    }
    stored.realms.pass(60 * SECOND).await;
    assert_eq!(stored.records.state().removals, 0);
    assert_eq!(stored.records.count(), 1);
    stored.replace_customer();
    let result = stored.outcome(&restarted).await;
    assert!(is_unavailable(&result), "{result:?}");
    assert_eq!(
        stored.outcome(&start(&stored.realms, &stored.records)).await,
        Ok(()),
        "in a process that never saw `None`"
    );
}

/// Too many unknown names: records of tenants that this process did not know are not used, and those of idle ones are.
#[tokio::test]
async fn uses_no_stored_keys_of_new_tenants_after_too_many_unknown_names() {
    let stored = Stored::new().await;
    assert_eq!(outcome(&stored.validator, &stored.realms.token("b")).await, Ok(()));
    let restarted = start(&stored.realms, &stored.records);
    assert_eq!(outcome(&restarted, &stored.token).await, Ok(()));
    stored.realms.pass(IDLE - 60 * SECOND).await;
    // `b` confirms its keys in the other process, so that the record is fresh.
    assert_eq!(outcome(&stored.validator, &stored.realms.token("b")).await, Ok(()));
    assert_eq!(outcome(&stored.validator, &stored.token).await, Ok(()));
    stored.realms.pass(60 * SECOND).await;
    assert_eq!(restarted.tenants().counts().idle(), 1);
    for number in 0..10_001 {
        let token = stored.realms.server("a").token().issuer(&iss(&format!("unknown{number}"))).sign();
        assert_eq!(outcome(&restarted, &token).await, unknown());
    }
    for realm in ["a", "b"] {
        stored.realms.server(realm).set_outage(Outage::NoConnection);
    }
    assert_eq!(stored.outcome(&restarted).await, Ok(()), "idle");
    let result = outcome_in_time(&stored.realms, restarted, stored.realms.token("b")).await;
    assert!(is_unavailable(&result), "{result:?}");
}

#[tokio::test]
async fn the_application_removes_the_stored_keys_of_a_tenant_that_the_process_does_not_know() {
    let stored = Stored::new().await;
    let validator = start(&stored.realms, &stored.records);
    assert!(!validator.tenants().remove(&iss("a")), "this process does not know it");
    stored.realms.pass(SECOND).await;
    assert_eq!(stored.records.count(), 0);
    assert!(!validator.tenants().remove("https://other.test/"), "no name of a tenant");
    stored.realms.pass(SECOND).await;
    assert_eq!(stored.records.state().removals, 1);
}

/// The application changes its list first, as the guide says, so the predicate no longer allows the name when `remove` is called.
#[tokio::test]
async fn removes_the_stored_keys_of_a_tenant_that_the_predicate_no_longer_allows() {
    let realms = Realms::new(["a"]);
    let (records, allowed) = (Records::default(), Arc::new(Mutex::new(true)));
    let is_allowed = Arc::clone(&allowed);
    let tenants = Tenants::allowed_by(move |issuer| issuer == iss("a") && *is_allowed.lock().expect("the list"));
    let tenants = tenants.resolved_by(|claimed| async move {
        Ok(Some(Issuer::oidc(claimed.issuer()).with_algorithms([Algorithm::ES256])))
    });
    let builder = realms.builder(Api::for_tenants(AUDIENCE, tenants)).with_key_store(records.clone());
    let (validator, token) = (builder.build().expect("a valid configuration"), realms.token("a"));
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    realms.pass(SECOND).await;
    assert_eq!(records.count(), 1);
    records.state().is_read_only = true;
    *allowed.lock().expect("the list") = false;
    assert!(validator.tenants().remove(&iss("a")));
    realms.pass(SECOND).await;
    assert_eq!(records.state().removals, 1);
    // Another customer gets the name.
    realms.create("a");
    realms.server("a").set_outage(Outage::NoConnection);
    *allowed.lock().expect("the list") = true;
    let result = outcome_in_time(&realms, validator, token).await;
    assert!(is_unavailable(&result), "{result:?}");
}

/// A store in which a removal does not end.
#[derive(Clone, Debug, Default)]
struct Hanging(Records);

impl KeyStore for Hanging {
    fn load(&self, name: &str, limit: usize) -> KeyStoreFuture<Option<Bytes>> {
        self.0.load(name, limit)
    }

    fn save(&self, name: &str, record: Bytes) -> KeyStoreFuture<()> {
        self.0.save(name, record)
    }

    fn remove(&self, _: &str) -> KeyStoreFuture<()> {
        self.0.state().removals += 1;
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn removes_the_stored_keys_of_one_tenant_at_a_time() {
    let realms = Realms::new(["a", "b"]);
    let store = Hanging::default();
    let validator = start(&realms, &store);
    for realm in ["a", "b"] {
        assert_eq!(outcome(&validator, &realms.token(realm)).await, Ok(()));
        assert!(validator.tenants().remove(&iss(realm)));
    }
    realms.pass(59 * SECOND).await;
    assert_eq!(store.0.state().removals, 1);
    realms.pass(2 * SECOND).await;
    assert_eq!(store.0.state().removals, 2, "the first one is dropped after a minute");
}

/// The runtime of the first request has ended.
#[test]
fn a_removal_without_a_runtime_is_made_by_the_next_one() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let stored = runtime().block_on(Stored::new());
    assert!(stored.validator.tenants().remove(&iss("a")));
    assert_eq!(stored.records.count(), 1);
    runtime().block_on(async {
        assert_eq!(outcome(&stored.validator, &stored.realms.token("b")).await, Ok(()));
        stored.realms.pass(SECOND).await;
    });
    assert_eq!(stored.records.state().removals, 1);
    assert_eq!(stored.records.count(), 1, "only that of `b` is left");
}

/// A source that is not closed yet could save the keys again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_the_keys_of_a_tenant_before_it_removes_the_stored_ones() {
    let (realms, records) = (Realms::new(["a"]), Records::default());
    let before = Arc::new(Mutex::new(None));
    let (store, seen) = (records.clone(), Arc::clone(&before));
    let tenants = realms.tenants().with_event_hook(move |event| {
        if event.kind() == TenantEventKind::Removed {
            std::thread::sleep(Duration::from_millis(100));
            *seen.lock().expect("the number") = Some(store.state().removals);
        }
    });
    let builder = realms.builder(Api::for_tenants(AUDIENCE, tenants)).with_key_store(records.clone());
    let validator = builder.build().expect("a valid configuration");
    assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()));
    assert!(validator.tenants().remove(&iss("a")));
    let until = std::time::Instant::now() + 10 * SECOND;
    while records.state().removals == 0 && std::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(records.state().removals, 1);
    assert_eq!(*before.lock().expect("the number"), Some(0));
}

/// The resolver returns another source of keys for the name, whose server does not respond.
#[tokio::test]
async fn uses_no_stored_keys_of_another_source_of_the_same_tenant() {
    let jwks = |url: &str| {
        let url = format!("https://id.test/realms/a/{url}");
        let tenant = move |issuer: &str| -> Tenant {
            Issuer::jwks(issuer, url.clone()).with_algorithms([Algorithm::ES256]).into()
        };
        Answer::Return(Arc::new(tenant))
    };
    let own = ".well-known/jwks.json";
    for (earlier, later, is_same) in [
        (Answer::Known, jwks(own), false),
        (jwks(own), Answer::Known, false),
        (jwks(own), jwks("other"), false),
        (jwks(own), jwks(own), true),
        (Answer::Known, Answer::Known, true),
    ] {
        let (realms, records) = (Realms::new(["a"]), Records::default());
        realms.set("a", earlier);
        let (validator, token) = (start(&realms, &records), realms.token("a"));
        assert_eq!(outcome(&validator, &token).await, Ok(()));
        realms.pass(SECOND).await;
        assert_eq!(records.count(), 1);
        realms.server("a").set_outage(Outage::NoConnection);
        realms.set("a", later);
        let restarted = outcome_in_time(&realms, start(&realms, &records), token.clone()).await;
        assert_eq!((restarted.is_ok(), is_unavailable(&restarted)), (is_same, !is_same), "{restarted:?}");
        // In this process, the tenant is replaced.
        realms.pass(RENEWAL).await;
        let replaced = outcome_in_time(&realms, validator, token).await;
        assert_eq!((replaced.is_ok(), is_unavailable(&replaced)), (is_same, !is_same), "{replaced:?}");
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _may_be_missing = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_directory_has_no_file_of_a_removed_tenant() {
    let folder = Folder(std::env::temp_dir().join(format!("tower-bearer-tenants-{}", std::process::id())));
    let files = || std::fs::read_dir(&folder.0).expect("the directory").count();
    let wait_for = async |count: usize| {
        let until = std::time::Instant::now() + 10 * SECOND;
        while files() != count && std::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(files(), count);
    };
    let realms = Realms::new(["a", "b"]);
    let validator = start(&realms, &FileKeyStore::new(&folder.0).expect("a directory"));
    for (realm, count) in [("a", 1), ("b", 2)] {
        assert_eq!(outcome(&validator, &realms.token(realm)).await, Ok(()));
        wait_for(count).await;
    }
    realms.set("a", Answer::Unknown);
    assert!(validator.tenants().remove(&iss("a")));
    wait_for(1).await;
    assert_eq!(outcome(&validator, &realms.token("b")).await, Ok(()));
}

/// The initial keys of the tenant are all compromised: that is an outage, not an empty key set.
#[tokio::test]
async fn initial_keys_that_are_all_compromised_are_not_used() {
    let realms = Realms::new(["a"]);
    let (server, token) = (realms.server("a"), realms.token("a"));
    let (public, jwks_uri) = (server.jwks(), server.jwks_uri());
    server.publish(public.replacen(r#""kty""#, r#""d":"AQAB","kty""#, 1));
    let validator = realms.validator();
    assert!(outcome_in_time(&realms, validator.clone(), token.clone()).await.is_err());
    assert!(validator.tenants().remove(&iss("a")));
    server.set_outage(Outage::NoConnection);
    let keys = tower_bearer::keys::KeySet::from_jwks(public);
    let with_keys = move |issuer: &str| -> Tenant {
        let issuer = Issuer::jwks(issuer, jwks_uri.clone()).with_algorithms([Algorithm::ES256]);
        issuer.with_initial_keys(keys.clone()).into()
    };
    realms.set("a", Answer::Return(Arc::new(with_keys)));
    let result = outcome_in_time(&realms, validator, token.clone()).await;
    assert!(is_unavailable(&result), "{result:?}");
    assert_eq!(outcome(&realms.validator(), &token).await, Ok(()), "another process has not seen the private key");
}

/// The issuer publishes a private key once. The tenant is displaced, becomes idle, gets other settings, or is removed.
#[tokio::test]
async fn rejects_a_compromised_key_after_the_tenant_has_left_and_returned() {
    let ends = [TenantEventKind::Displaced, TenantEventKind::Idle, TenantEventKind::Replaced, TenantEventKind::Removed];
    for end in ends {
        let realms = Realms::new(["a", "b"]);
        let server = realms.server("a");
        let compromised = server.jwks();
        let old = realms.token("a");
        let renewed = TestIssuer::named(&iss("a")).with_algorithms([Algorithm::ES256]).with_clock(realms.clock.clone());
        let both = |first: &str| first.replacen("]}", &format!(",{}", &renewed.jwks()[9..]), 1);
        let new = renewed.token().audience(AUDIENCE).expires_in(48 * HOUR).sign();
        server.publish(both(&compromised.replacen(r#""kty""#, r#""d":"AQAB","kty""#, 1)));
        let tenants = realms.tenants().with_max_tenants(1);
        let validator = realms.build(Api::for_tenants(AUDIENCE, tenants));
        assert_eq!(outcome(&validator, &new).await, Ok(()));
        assert!(matches!(outcome(&validator, &old).await, Err(Rejection::Key(_))));
        // From now on the document has the public part only.
        server.publish(both(&compromised));
        match end {
            TenantEventKind::Displaced => assert_eq!(outcome(&validator, &realms.token("b")).await, Ok(())),
            TenantEventKind::Idle => realms.pass(IDLE).await,
            TenantEventKind::Replaced => {
                let jwks_uri = server.jwks_uri();
                let keys = tower_bearer::keys::KeySet::from_jwks(both(&compromised));
                let moved = move |issuer: &str| -> Tenant {
                    let issuer = Issuer::jwks(issuer, jwks_uri.clone()).with_algorithms([Algorithm::ES256]);
                    issuer.with_initial_keys(keys.clone()).into()
                };
                realms.set("a", Answer::Return(Arc::new(moved)));
                realms.pass(RENEWAL).await;
            }
            _ => assert!(validator.tenants().remove(&iss("a"))),
        }
        assert!(realms.events_of("a").contains(&end), "{:?}", realms.events_of("a"));
        for _ in 0..2 {
            let rejected = outcome(&validator, &old).await;
            assert!(matches!(rejected, Err(Rejection::Key(_))), "{end:?}: {rejected:?}");
            assert_eq!(outcome(&validator, &new).await, Ok(()), "{end:?}");
        }
        // Another process has not seen the private key.
        assert_eq!(outcome(&realms.validator(), &old).await, Ok(()));
    }
}
