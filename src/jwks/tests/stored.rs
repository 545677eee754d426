//! Tests of initial keys and of stored keys: at start, at expiry, and when the store fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ETAG, IF_NONE_MATCH};

use crate::clock::{Clock as _, Timestamp};
use crate::fetch::{Endpoint, FetchError};
use crate::jwks::events::KeyEventKind;
use crate::jwks::key_store::{KeyStore, KeyStoreFuture, Record, RecordName, StoredKeys};
use crate::jwks::key_store_error::{KeyStoreError, KeyStoreOperation};
use crate::jwks::origin::Origin;
use crate::jwks::policy::{InitialFetch, RefreshPolicy};
use crate::jwks::shared::Imports;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{
    Fixture, HOUR, ISSUER, MINUTE, ONE_REFRESH, Outcome, SECOND, URL, has, jwk, jwks, set_of, table,
};
use crate::testing::Reply;
use crate::token::Algorithm;

/// What a store does when it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Behaviour {
    Works,
    /// Works after the response of the first fetch has arrived.
    WorksLate,
    Fails(KeyStoreError),
    Hangs,
    Panics,
}

/// A store in memory.
#[derive(Clone, Debug)]
struct FakeStore(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    records: BTreeMap<String, Bytes>,
    load: Behaviour,
    save: Behaviour,
    saves: usize,
}

impl FakeStore {
    fn new() -> Self {
        let inner = Inner { records: BTreeMap::new(), load: Behaviour::Works, save: Behaviour::Works, saves: 0 };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// A store with the key `a`, which the issuer confirmed at this time.
    fn with_record(confirmed_at: Timestamp) -> Self {
        let record = Record { jwks_uri: URL.into(), confirmed_at, document: jwks(&["a"]).into() };
        Self::with_bytes(record.to_bytes(&origin()).expect("a record"))
    }

    fn with_bytes(record: impl Into<Bytes>) -> Self {
        let store = Self::new();
        store.inner().records.insert(RecordName::of_origin(&origin()).as_str().to_owned(), record.into());
        store
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("unpoisoned")
    }

    fn record(&self) -> StoredKeys {
        let record = self.inner().records.get(RecordName::of_origin(&origin()).as_str()).cloned().expect("a record");
        StoredKeys::read(&record, &origin(), &RefreshPolicy::new(), &[Algorithm::ES256]).expect("a good record")
    }

    fn imports(&self) -> Imports {
        Imports { key_store: Some(Arc::new(self.clone())), ..Imports::default() }
    }
}

impl KeyStore for FakeStore {
    fn load(&self, name: &str, _: usize) -> KeyStoreFuture<Option<Bytes>> {
        let inner = self.inner();
        let record = inner.records.get(name).cloned();
        match inner.load.clone() {
            Behaviour::Works => Box::pin(std::future::ready(Ok(record))),
            Behaviour::WorksLate => Box::pin(async {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                Ok(record)
            }),
            Behaviour::Fails(error) => Box::pin(std::future::ready(Err(error))),
            Behaviour::Hangs => Box::pin(std::future::pending()),
            Behaviour::Panics => Box::pin(async { panic!("as scripted") }),
        }
    }

    fn save(&self, name: &str, record: Bytes) -> KeyStoreFuture<()> {
        let mut inner = self.inner();
        inner.saves += 1;
        match inner.save.clone() {
            Behaviour::Works | Behaviour::WorksLate => {
                inner.records.insert(name.to_owned(), record);
                Box::pin(std::future::ready(Ok(())))
            }
            Behaviour::Fails(error) => Box::pin(std::future::ready(Err(error))),
            Behaviour::Hangs => Box::pin(std::future::pending()),
            Behaviour::Panics => Box::pin(async { panic!("as scripted") }),
        }
    }
}

fn origin() -> Origin {
    Origin::jwks(URL, Endpoint::new(URL).expect("url"))
}

fn down() -> Reply {
    Reply::error(FetchError::Connect)
}

type Events = Arc<Mutex<Vec<KeyEventKind>>>;

/// A policy that records the events of the store.
fn recording() -> (RefreshPolicy, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let policy = RefreshPolicy::new().with_event_hook(move |event| {
        if matches!(event.kind(), KeyEventKind::KeyStoreFailed { .. } | KeyEventKind::StoredKeysLoaded { .. }) {
            sink.lock().expect("unpoisoned").push(event.kind());
        }
    });
    (policy, events)
}

fn take(events: &Events) -> Vec<KeyEventKind> {
    std::mem::take(&mut events.lock().expect("unpoisoned"))
}

fn failed(operation: KeyStoreOperation, error: KeyStoreError) -> KeyEventKind {
    KeyEventKind::KeyStoreFailed { operation, error }
}

/// The time of a fake clock that has just started.
fn start() -> Timestamp {
    crate::testing::FakeClock::new().now()
}

fn ago(span: Duration) -> Timestamp {
    start().saturating_sub(span)
}

#[tokio::test]
async fn serves_the_stored_keys_after_a_restart_while_the_issuer_is_down() {
    let store = FakeStore::new();
    let first = Fixture::importing(RefreshPolicy::new(), Reply::json(jwks(&["a", "b"])), store.imports());
    first.clock.settle().await;
    assert_eq!(first.request_now("a").await, Outcome::Served);
    drop(first);
    for reply in [down(), Reply::status(StatusCode::BAD_GATEWAY), Reply::hang()] {
        let second = Fixture::importing(RefreshPolicy::new(), reply.clone(), store.imports());
        assert_eq!(second.request_now("a").await, Outcome::Served, "{reply:?}");
        assert_eq!(second.source.status().state(), KeyState::Stale, "{reply:?}");
        second.publish(&["b"]);
        second.run(10 * SECOND).await;
        assert!(second.serves("b") && !second.serves("a"), "{reply:?}: the fetched set replaces the stored one");
        assert_eq!(second.source.status().state(), KeyState::Fresh);
        store.inner().records = FakeStore::with_record(start()).inner().records.clone();
    }
    let without = Fixture::with(RefreshPolicy::new().with_retries(0), down());
    assert!(matches!(without.request_now("a").await, Outcome::Unavailable(_)));
}

/// Requests that wait for the first keys get the stored ones although the fetch has failed before the load ends. A store that
/// does not respond delays them by its timeout, and no more.
#[tokio::test]
async fn waits_for_the_load_before_a_failed_first_fetch_counts() {
    let store = FakeStore::with_record(start());
    store.inner().load = Behaviour::Hangs;
    let fixture = Fixture::importing(RefreshPolicy::new().with_retries(0), down(), store.imports());
    let request = fixture.spawn("a");
    fixture.run(Duration::from_millis(499)).await;
    assert!(!request.is_finished());
    assert_eq!(fixture.source.status().consecutive_failures(), 0);
    fixture.run(Duration::from_millis(1)).await;
    assert_eq!(request.await.expect("no panic"), Outcome::Unavailable(SECOND));
    assert_eq!(fixture.source.status().consecutive_failures(), 1);
    // A fetch that succeeds does not wait for the load.
    let fixture = Fixture::importing(RefreshPolicy::new(), Reply::json(jwks(&["b"])), store.imports());
    assert_eq!(fixture.request_now("b").await, Outcome::Served);
}

#[tokio::test]
async fn a_store_that_fails_costs_no_request() {
    let (load, save) = (KeyStoreOperation::Load, KeyStoreOperation::Save);
    let full = KeyStoreError::Io { kind: std::io::ErrorKind::StorageFull };
    for (behaviour, error) in [
        (Behaviour::Fails(full), full),
        (Behaviour::Hangs, KeyStoreError::Timeout),
        (Behaviour::Panics, KeyStoreError::Panic),
    ] {
        let (policy, events) = recording();
        let store = FakeStore::with_record(start());
        (store.inner().load, store.inner().save) = (behaviour.clone(), behaviour.clone());
        let fixture = Fixture::importing(policy, Reply::json(jwks(&["b"])).with_delay(SECOND), store.imports());
        let request = fixture.spawn("b");
        fixture.run(SECOND).await;
        assert_eq!(request.await.expect("no panic"), Outcome::Served, "{behaviour:?}");
        fixture.run(SECOND).await;
        assert_eq!(take(&events), [failed(load, error), failed(save, error)], "{behaviour:?}");
        assert_eq!(fixture.source.status().consecutive_failures(), 0);
        // The next fetch saves again, also if the save before has not ended within a minute.
        fixture.run(ONE_REFRESH).await;
        assert_eq!((store.inner().saves, take(&events)), (2, vec![failed(save, error)]), "{behaviour:?}");
        assert_eq!(fixture.request_now("b").await, Outcome::Served);
    }
}

#[tokio::test]
async fn ignores_records_that_are_damaged_or_of_another_source() {
    let good = FakeStore::with_record(start()).inner().records[RecordName::of_origin(&origin()).as_str()].clone();
    let text = String::from_utf8(good.to_vec()).expect("JSON");
    for (record, error) in [
        (String::new(), KeyStoreError::InvalidRecord),
        (text.replace("\"version\":1", "\"version\":2"), KeyStoreError::InvalidRecord),
        (text.replace("login.example/jwks", "login.example/other"), KeyStoreError::OtherSource),
        (text.replace("ES256", "ES384"), KeyStoreError::NoUsableKeys),
        (" ".repeat(256 * 1024 + 16 * 1024 + 1), KeyStoreError::TooLarge),
    ] {
        let (policy, events) = recording();
        let store = FakeStore::with_bytes(record);
        let fixture = Fixture::importing(policy.with_retries(0), down(), store.imports());
        assert!(matches!(fixture.request_now("a").await, Outcome::Unavailable(_)), "{error}");
        assert_eq!(take(&events), [failed(KeyStoreOperation::Load, error)]);
        fixture.publish(&["a"]);
        fixture.run(2 * SECOND).await;
        assert!(fixture.serves("a"), "{error}");
        assert_eq!(store.record().table.usable(), 1, "the next save replaces it");
    }
    let (policy, events) = recording();
    let fixture = Fixture::importing(policy.with_retries(0), down(), FakeStore::with_bytes(good).imports());
    assert_eq!(fixture.request_now("a").await, Outcome::Served);
    assert_eq!(take(&events), [KeyEventKind::StoredKeysLoaded { usable: 1, age: Duration::ZERO }]);
}

#[tokio::test]
async fn stored_keys_expire_an_hour_after_the_issuer_confirmed_them() {
    let store = FakeStore::with_record(ago(50 * MINUTE));
    let fixture = Fixture::importing(RefreshPolicy::new(), down(), store.imports());
    fixture.clock.settle().await;
    assert_eq!(fixture.source.status().age(), Some(50 * MINUTE));
    fixture.run(10 * MINUTE - SECOND).await;
    assert!(fixture.serves("a"));
    fixture.run(SECOND).await;
    assert!(!fixture.serves("a"));
    assert_eq!(fixture.source.status().state(), KeyState::Expired);
    // A failed refresh or a restart does not extend it.
    let confirmed_at = store.record().record.confirmed_at;
    assert_eq!((store.inner().saves, confirmed_at), (0, ago(50 * MINUTE)));
    for (confirmed_at, error) in [
        (ago(HOUR), KeyStoreError::TooOld),
        (Timestamp::UNIX_EPOCH, KeyStoreError::TooOld),
        (Timestamp::from_secs(i64::MIN), KeyStoreError::TooOld),
        (start().saturating_add(SECOND), KeyStoreError::FromFuture),
        (Timestamp::from_secs(i64::MAX), KeyStoreError::FromFuture),
    ] {
        let (policy, events) = recording();
        let store = FakeStore::with_record(confirmed_at);
        let fixture = Fixture::importing(policy.with_retries(0), down(), store.imports());
        assert!(matches!(fixture.request_now("a").await, Outcome::Unavailable(_)), "{confirmed_at:?}");
        assert_eq!(take(&events), [failed(KeyStoreOperation::Load, error)], "{confirmed_at:?}");
    }
}

#[tokio::test]
async fn stored_keys_do_not_become_younger_when_the_wall_clock_is_set_back() {
    let store = FakeStore::with_record(ago(50 * MINUTE));
    let fixture = Fixture::importing(RefreshPolicy::new(), down(), store.imports());
    fixture.clock.settle().await;
    for wall in [Timestamp::UNIX_EPOCH, ago(50 * MINUTE)] {
        fixture.clock.set_wall(wall);
        assert_eq!(fixture.source.status().age(), Some(50 * MINUTE), "{wall:?}");
    }
    fixture.run(10 * MINUTE).await;
    assert!(!fixture.serves("a"));
}

/// The issuer's answer replaces the stored keys: a 304 could only confirm what the store contains.
#[tokio::test]
async fn the_first_fetch_is_unconditional_and_replaces_the_stored_keys() {
    let store = FakeStore::with_record(ago(MINUTE));
    let reply = Reply::json(jwks(&["b"])).with_header(ETAG, "\"v1\"").with_delay(SECOND);
    let fixture = Fixture::importing(RefreshPolicy::new(), reply, store.imports());
    assert_eq!(fixture.request_now("a").await, Outcome::Served);
    fixture.run(SECOND).await;
    assert!(fixture.serves("b") && !fixture.serves("a"));
    assert!(!fixture.network.requests()[0].headers.contains_key(IF_NONE_MATCH));
    let saved = store.record();
    assert!(has(&saved.table, "b") && !has(&saved.table, "a"));
    assert_eq!(saved.record.confirmed_at.as_secs(), start().saturating_add(SECOND).as_secs());
    // A 304 confirms the set, and the stored one as well.
    fixture.answer(Reply::status(StatusCode::NOT_MODIFIED));
    fixture.run(ONE_REFRESH).await;
    let confirmed = store.record();
    assert_eq!((store.inner().saves, &confirmed.record.document), (2, &saved.record.document));
    assert!(confirmed.record.confirmed_at > saved.record.confirmed_at.saturating_add(MINUTE));
}

/// A key whose private key the issuer publishes is removed from the store, also if the set is rejected as a whole.
#[tokio::test]
async fn removes_compromised_keys_from_the_store() {
    let store = FakeStore::new();
    let fixture = Fixture::importing(RefreshPolicy::new(), Reply::json(jwks(&["a", "b"])), store.imports());
    fixture.clock.settle().await;
    assert_eq!(store.record().table.usable(), 2);
    let private = jwk("x", "a").replacen('{', r#"{"d":"AQAB","#, 1);
    for (document, result) in
        [(set_of(std::slice::from_ref(&private)), false), (set_of(&[private, jwk("b", "b")]), true)]
    {
        fixture.answer(Reply::json(document));
        assert_eq!(fixture.source.reload().await.is_ok(), result);
        fixture.clock.settle().await;
        assert!(fixture.serves("b") && !fixture.serves("a"));
        let stored = store.record();
        assert!(has(&stored.table, "b") && !has(&stored.table, "a") && !has(&stored.table, "x"));
        assert!(!stored.record.document.contains("\"d\""));
    }
}

/// Returns a set that is rejected as a whole, with the private key of the key `a`.
fn compromised() -> Reply {
    Reply::json(set_of(&[jwk("x", "a").replacen('{', r#"{"d":"AQAB","#, 1)]))
}

/// A save is repeated after the next fetch, and not before.
#[tokio::test]
async fn removes_compromised_keys_from_the_store_although_a_save_failed() {
    let store = FakeStore::new();
    let fixture = Fixture::importing(RefreshPolicy::new(), Reply::json(jwks(&["a", "b"])), store.imports());
    fixture.clock.settle().await;
    let saved = || (store.record().table.usable(), store.inner().saves);
    assert_eq!(saved(), (2, 1));
    store.inner().save = Behaviour::Fails(KeyStoreError::Timeout);
    fixture.answer(compromised());
    assert!(fixture.source.reload().await.is_err());
    fixture.clock.settle().await;
    assert_eq!(saved(), (2, 2));
    store.inner().save = Behaviour::Works;
    fixture.clock.settle().await;
    assert_eq!(store.inner().saves, 2, "no fetch has ended since");
    fixture.run(SECOND).await;
    let stored = store.record();
    assert!(has(&stored.table, "b") && !has(&stored.table, "a"));
    fixture.run(MINUTE).await;
    assert_eq!(store.inner().saves, 3, "failed fetches save nothing else");
}

/// A record that could not be loaded may have the compromised key.
#[tokio::test]
async fn replaces_a_record_that_was_not_loaded_if_a_key_is_compromised() {
    for (reply, saves) in [(compromised(), 1), (down(), 0)] {
        let store = FakeStore::with_record(start());
        store.inner().load = Behaviour::Fails(KeyStoreError::Timeout);
        let fixture = Fixture::importing(RefreshPolicy::new(), reply, store.imports());
        fixture.run(MINUTE).await;
        assert_eq!(store.inner().saves, saves);
        store.inner().load = Behaviour::Works;
        let restarted = Fixture::importing(RefreshPolicy::new(), down(), store.imports());
        restarted.run(SECOND).await;
        assert_eq!(restarted.serves("a"), saves == 0);
    }
}

/// A record with a compromised key that is loaded after the key has become known, by a later task.
#[test]
fn removes_compromised_keys_from_a_record_that_is_loaded_later() {
    let store = FakeStore::new();
    let fixture = Fixture::importing(RefreshPolicy::new(), compromised(), store.imports());
    let run = |span: Duration| {
        in_runtime(async {
            let _started = fixture.source.status();
            fixture.run(span).await;
        })
    };
    run(SECOND);
    assert!(!store.inner().records.is_empty(), "an empty set");
    let record = Record { jwks_uri: URL.into(), confirmed_at: start(), document: jwks(&["a", "b"]).into() };
    store
        .inner()
        .records
        .insert(RecordName::of_origin(&origin()).as_str().to_owned(), record.to_bytes(&origin()).expect("a record"));
    fixture.answer(down());
    run(SECOND);
    assert!(fixture.serves("b") && !fixture.serves("a"));
    assert!(!has(&store.record().table, "a") && has(&store.record().table, "b"));
}

/// The wall clock is set back between two tasks. The record does not become younger.
#[test]
fn a_second_load_takes_the_age_from_the_monotonic_clock_too() {
    let store = FakeStore::with_record(start());
    store.inner().load = Behaviour::Fails(KeyStoreError::Timeout);
    let fixture = Fixture::importing(RefreshPolicy::new(), down(), store.imports());
    let run = |span: Duration| {
        in_runtime(async {
            let _started = fixture.source.status();
            fixture.run(span).await;
        })
    };
    run(50 * MINUTE);
    store.inner().load = Behaviour::Works;
    fixture.clock.set_wall(start());
    run(SECOND);
    assert_eq!(fixture.source.status().age(), Some(50 * MINUTE + SECOND));
    run(10 * MINUTE - 2 * SECOND);
    assert!(fixture.serves("a"));
    run(SECOND);
    assert!(!fixture.serves("a"));
}

/// Runs a future in a runtime that ends with it.
fn in_runtime(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future);
}

fn initial(kids: &[&str]) -> Imports {
    Imports { initial_keys: Some(table(&jwks(kids))), ..Imports::default() }
}

#[tokio::test]
async fn serves_initial_keys_at_once_until_they_are_replaced_or_expire() {
    let fixture = Fixture::importing(RefreshPolicy::new(), down(), initial(&["a"]));
    assert!(fixture.serves("a"), "before the first fetch");
    assert_eq!(fixture.source.status().state(), KeyState::Stale);
    fixture.run(HOUR - SECOND).await;
    assert!(fixture.serves("a"));
    fixture.run(SECOND).await;
    assert!(!fixture.serves("a"));
    assert_eq!(fixture.source.status().state(), KeyState::Expired);
    fixture.publish(&["b"]);
    fixture.run(15 * SECOND).await;
    assert!(fixture.serves("b") && !fixture.serves("a"));

    let fixture = Fixture::importing(RefreshPolicy::new(), Reply::json(jwks(&["b"])), initial(&["a"]));
    fixture.clock.settle().await;
    assert!(fixture.serves("b") && !fixture.serves("a"));
    // An unknown kid waits for the first fetch.
    let slow = Reply::json(jwks(&["b"])).with_delay(SECOND);
    let fixture = Fixture::importing(RefreshPolicy::new(), slow, initial(&["a"]));
    let request = fixture.spawn("b");
    fixture.run(SECOND).await;
    assert_eq!(request.await.expect("no panic"), Outcome::Served);
}

/// Requests without keys wait for the load before a failed fetch counts. A compromised key stops verifying before.
#[tokio::test]
async fn withdraws_a_compromised_initial_key_during_the_load() {
    let store = FakeStore::new();
    store.inner().load = Behaviour::Hangs;
    let imports = Imports { key_store: store.imports().key_store, ..initial(&["a", "b"]) };
    let fixture = Fixture::importing(RefreshPolicy::new(), compromised(), imports);
    fixture.clock.settle().await;
    assert!(!fixture.serves("a") && fixture.serves("b"));
}

/// No key is in use that the document could withdraw, so the requests wait for the stored keys.
#[tokio::test]
async fn waits_for_stored_keys_although_a_document_with_a_private_key_was_rejected() {
    let record = Record { jwks_uri: URL.into(), confirmed_at: start(), document: jwks(&["a", "b"]).into() };
    let store = FakeStore::with_bytes(record.to_bytes(&origin()).expect("a record"));
    store.inner().load = Behaviour::WorksLate;
    let fixture = Fixture::importing(RefreshPolicy::new().with_retries(0), compromised(), store.imports());
    let [one, other] = ["a", "b"].map(|kid| fixture.spawn(kid));
    fixture.clock.settle().await;
    assert!(one.is_finished() && other.is_finished());
    assert_eq!(one.await.expect("no panic"), Outcome::NotFound, "its private key is public");
    assert_eq!(other.await.expect("no panic"), Outcome::Served);
}

/// A start with imported keys is the end of an incident only if a fetch has failed.
#[tokio::test]
async fn reports_fresh_keys_after_imported_ones_only_if_a_fetch_has_failed() {
    let stored = || FakeStore::with_record(start()).imports();
    for (imports, first) in [(stored(), Some("stored_keys_loaded")), (initial(&["a"]), None)] {
        for is_down in [false, true] {
            let names = Arc::new(Mutex::new(Vec::new()));
            let sink = Arc::clone(&names);
            let policy = RefreshPolicy::new()
                .with_retries(0)
                .with_event_hook(move |event| sink.lock().expect("unpoisoned").push(event.kind().name()));
            let fixture =
                Fixture::importing(policy, if is_down { down() } else { Reply::json(jwks(&["a"])) }, imports.clone());
            fixture.clock.settle().await;
            fixture.publish(&["a"]);
            fixture.run(2 * SECOND).await;
            let mut expected: Vec<_> = first.into_iter().collect();
            expected.extend(is_down.then_some("refresh_failed"));
            expected.push("refreshed");
            expected.extend(is_down.then_some("stale_recovered"));
            assert_eq!(*names.lock().expect("unpoisoned"), expected);
        }
    }
}

/// Revocations apply to keys that are loaded later.
#[tokio::test]
async fn revokes_keys_before_they_are_loaded() {
    for is_by_kid in [true, false] {
        let confirmed_at = start();
        let record = Record { jwks_uri: URL.into(), confirmed_at, document: jwks(&["a", "b"]).into() };
        let store = FakeStore::with_bytes(record.to_bytes(&origin()).expect("a record"));
        let fixture = Fixture::importing(RefreshPolicy::new(), down(), store.imports());
        if is_by_kid {
            fixture.source.revoke_kid("a");
        } else {
            let (_, thumbprint) = table(&jwks(&["a"])).named_keys().remove(0);
            fixture.source.revoke_key(thumbprint);
        }
        fixture.clock.settle().await;
        assert!(!fixture.serves("a") && fixture.serves("b"), "{is_by_kid}");
    }
}

#[test]
fn initial_keys_need_no_runtime_and_no_fetch() {
    let policy = RefreshPolicy::new().with_initial_fetch(InitialFetch::Lazy);
    let fixture = Fixture::importing(policy, down(), initial(&["a"]));
    assert!(fixture.serves("a") && !fixture.serves("b"));
    assert_eq!(fixture.network.calls(), 0);
}

#[tokio::test]
async fn stored_keys_have_precedence_over_initial_keys() {
    for (confirmed_at, served) in [(ago(MINUTE), "a"), (ago(2 * HOUR), "b")] {
        let imports =
            Imports { initial_keys: Some(table(&jwks(&["b"]))), ..FakeStore::with_record(confirmed_at).imports() };
        let fixture = Fixture::importing(RefreshPolicy::new(), down(), imports);
        assert!(fixture.serves("b"), "until the load has ended");
        fixture.clock.settle().await;
        assert_eq!(["a", "b"].map(|kid| fixture.serves(kid)), ["a", "b"].map(|kid| kid == served));
    }
}

#[tokio::test]
async fn strict_freshness_uses_neither_initial_nor_stored_keys() {
    let imports = Imports { initial_keys: Some(table(&jwks(&["a"]))), ..FakeStore::with_record(start()).imports() };
    let (policy, events) = recording();
    let fixture = Fixture::importing(policy.with_strict_freshness().with_retries(0), down(), imports);
    assert!(matches!(fixture.request_now("a").await, Outcome::Unavailable(_)));
    assert_eq!(take(&events), []);
}

/// Keys of a discovered URL are stored with that URL.
#[tokio::test]
async fn stores_the_url_that_discovery_has_found() {
    let origin = || Origin::discovery(ISSUER).expect("issuer");
    let store = FakeStore::new();
    let script = |network: &crate::testing::FakeFetch| {
        let document = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{URL}"}}"#);
        network.always("https://login.example/.well-known/openid-configuration", Reply::json(document));
        network.always(URL, Reply::json(jwks(&["a"])));
    };
    let fixture = Fixture::importing_at(origin(), RefreshPolicy::new(), script, store.imports());
    fixture.clock.settle().await;
    assert!(fixture.serves("a"));
    let restarted =
        |policy: RefreshPolicy| Fixture::importing_at(origin(), policy.with_retries(0), |_| {}, store.imports());
    assert_eq!(restarted(RefreshPolicy::new()).request_now("a").await, Outcome::Served);
    let elsewhere = restarted(RefreshPolicy::new().with_jwks_hosts(["keys.example"]));
    assert!(matches!(elsewhere.request_now("a").await, Outcome::Unavailable(_)), "that host is not allowed now");
}

/// The policy accepts a disclosed key, but a record has no mark for it: a stricter policy would use the key after a restart.
#[tokio::test]
async fn does_not_store_a_disclosed_key_that_the_policy_accepts() {
    let store = FakeStore::new();
    let policy = RefreshPolicy::new().dangerous_accept_private_keys();
    let private = jwk("a", "a").replacen('{', r#"{"d":"AQAB","#, 1);
    let fixture = Fixture::importing(policy, Reply::json(set_of(&[private, jwk("b", "b")])), store.imports());
    fixture.clock.settle().await;
    assert!(fixture.serves("a") && fixture.serves("b"));
    let stored = store.record();
    assert!(has(&stored.table, "b") && !has(&stored.table, "a"));
}
