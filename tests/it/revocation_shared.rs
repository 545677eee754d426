//! Lists that share a log, as requests see them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::RETRY_AFTER;
use tower::Layer as _;
use tower_bearer::clock::{Clock as _, Timestamp};
use tower_bearer::keys::KeySet;
use tower_bearer::revocation::{
    LogError, Revocation, RevocationEvent, RevocationEventKind, RevocationKind, RevocationState, Revocations,
    RevokeError,
};
use tower_bearer::testing::{FakeClock, FakeLog, LogFailure, TestIssuer};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Rejection, RejectionKind, Validator};

use crate::fixture::{AUDIENCE, NOW};
use crate::introspection_fixture::{ENDPOINT, active, introspection, reply};
use crate::layer_fixture::{bearer_request, send, subject_service};

/// Replicas of an API, on one clock.
struct Fixture {
    clock: FakeClock,
    server: TestIssuer,
    log: FakeLog,
}

impl Fixture {
    fn new() -> Self {
        let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
        let server = TestIssuer::new().with_clock(clock.clone()).with_algorithms([Algorithm::ES256]);
        Self { log: FakeLog::new(&clock), clock, server }
    }

    fn replica(&self) -> (Validator, Revocations) {
        let list = Revocations::builder().with_clock(self.clock.clone()).shared(self.log.clone());
        let list = list.expect("settings in range");
        let issuer = Issuer::static_keys(self.server.issuer(), KeySet::from_jwks(self.server.jwks()));
        let api = Api::new(AUDIENCE, issuer.with_algorithms([Algorithm::ES256]));
        let validator = Validator::builder(api).with_clock(self.clock.clone()).with_revocations(&list);
        (validator.build().expect("a valid configuration"), list)
    }

    fn token(&self) -> String {
        self.server.token().subject("ann").expires_in(Duration::from_secs(7_200)).sign()
    }
}

async fn outcome(validator: &Validator, token: &str) -> Result<(), Rejection> {
    validator.validate(token).await.map(drop)
}

fn assert_unavailable(outcome: &Result<(), Rejection>) {
    let Err(Rejection::RevocationsUnavailable { retry_after, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(*retry_after, Duration::from_secs(1));
}

/// Case 71.
#[tokio::test]
async fn what_one_replica_revokes_the_other_rejects() {
    let fixture = Fixture::new();
    let (one, list) = fixture.replica();
    let (other, _other_list) = fixture.replica();
    fixture.clock.settle().await;
    let token = fixture.token();
    assert_eq!((outcome(&one, &token).await, outcome(&other, &token).await), (Ok(()), Ok(())));
    list.revoke(Revocation::subject(fixture.server.issuer(), "ann")).await.expect("appended");
    fixture.clock.settle().await;
    let revoked = || Err(Rejection::Revoked { by: RevocationKind::Subject });
    assert_eq!((outcome(&one, &token).await, outcome(&other, &token).await), (revoked(), revoked()));
}

/// Case 66: until the log was read, nothing is accepted, and the response is no challenge.
#[tokio::test]
async fn while_the_log_was_not_read_valid_tokens_get_503() {
    let fixture = Fixture::new();
    fixture.log.set_failure(LogFailure::Down);
    let (validator, list) = fixture.replica();
    fixture.clock.settle().await;
    let token = fixture.token();
    assert_unavailable(&outcome(&validator, &token).await);
    assert!(!validator.is_ready());
    let service = BearerLayer::new(validator.clone()).layer(subject_service());
    let response = send(service, bearer_request(&token)).await;
    assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (503, &"1".parse().expect("a value")));
    assert!(!response.headers().contains_key("www-authenticate"));
    // An invalid token is rejected as such.
    let broken = fixture.server.token().with_broken_signature().sign();
    assert_eq!(outcome(&validator, &broken).await.unwrap_err().kind(), RejectionKind::Signature);
    fixture.log.set_failure(LogFailure::None);
    fixture.clock.run_for(Duration::from_secs(5)).await;
    assert_eq!((outcome(&validator, &token).await, list.status().state()), (Ok(()), RevocationState::Current));
    assert!(validator.is_ready());
}

/// Case 67, also for a token in the token cache.
#[tokio::test]
async fn after_five_minutes_without_the_log_valid_tokens_get_503_and_revoked_ones_stay_revoked() {
    let fixture = Fixture::new();
    let (validator, list) = fixture.replica();
    fixture.clock.settle().await;
    let (token, bob) =
        (fixture.token(), fixture.server.token().subject("bob").expires_in(Duration::from_secs(7_200)).sign());
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    list.revoke(Revocation::subject(fixture.server.issuer(), "bob")).await.expect("appended");
    fixture.log.set_failure(LogFailure::Down);
    fixture.clock.run_for(Duration::from_secs(299)).await;
    assert_eq!(outcome(&validator, &token).await, Ok(()));
    let revoked = Err(Rejection::Revoked { by: RevocationKind::Subject });
    assert_eq!(outcome(&validator, &bob).await, revoked);
    fixture.clock.run_for(Duration::from_secs(2)).await;
    assert_unavailable(&outcome(&validator, &token).await);
    assert!(!validator.is_ready());
    fixture.log.set_failure(LogFailure::None);
    fixture.clock.run_for(Duration::from_secs(5)).await;
    assert_eq!((outcome(&validator, &token).await, outcome(&validator, &bob).await), (Ok(()), revoked));
}

/// The subject of an identity provider that is not the issuer, in another claim.
#[tokio::test]
async fn an_entry_compares_another_claim_than_sub_with_the_subject() {
    let fixture = Fixture::new();
    let ((one, list), (other, _other_list)) = (fixture.replica(), fixture.replica());
    fixture.clock.settle().await;
    let with = |uid: serde_json::Value| fixture.server.token().subject("x").claim("uid", uid).sign();
    let (ann, number) = (with("ann".into()), with(7.into()));
    let issuer = fixture.server.issuer();
    list.revoke(Revocation::subject(issuer, "ann").with_subject_claim("uid")).await.expect("appended");
    fixture.clock.settle().await;
    for validator in [&one, &other] {
        assert_eq!(outcome(validator, &ann).await, Err(Rejection::Revoked { by: RevocationKind::Subject }));
        assert_eq!(outcome(validator, &number).await, Ok(()));
        assert_eq!(outcome(validator, &fixture.token()).await, Ok(()), "sub is not uid");
        assert_eq!(outcome(validator, &with(serde_json::json!(["ann"]))).await, Ok(()));
    }
    list.revoke(Revocation::subject(issuer, "7").with_subject_claim("uid")).await.expect("appended");
    assert_eq!(outcome(&one, &number).await, Err(Rejection::Revoked { by: RevocationKind::Subject }));
    for number in 0..7 {
        let entry = Revocation::subject(issuer, "7").with_subject_claim(&format!("claim{number}"));
        list.revoke(entry).await.expect("appended");
    }
    let ninth = Revocation::subject(issuer, "7").with_subject_claim("ninth");
    assert_eq!(list.revoke(ninth).await, Err(tower_bearer::revocation::RevokeError::SubjectClaims));
}

/// A token that is revoked while its request waits for the server's answer.
#[tokio::test]
async fn a_request_that_waited_is_checked_again() {
    let clock = FakeClock::from_wall(Timestamp::from_secs(NOW));
    let network = tower_bearer::testing::FakeFetch::new(&clock);
    let server = TestIssuer::named("https://id.test").with_clock(clock.clone()).with_algorithms([Algorithm::ES256]);
    let token = server.token().subject("ann").claim("jti", "j1").sign();
    let answer = active(serde_json::json!({ "sub": "ann", "iss": null, "exp": null, "iat": null }));
    network.always(ENDPOINT, reply(&answer).with_delay(Duration::from_secs(1)));
    let list = Revocations::builder().with_clock(clock.clone()).in_memory().expect("settings in range");
    let settings = introspection().with_every_jwt().dangerous_allow_missing_expiry();
    let issuer = Issuer::static_keys(server.issuer(), KeySet::from_jwks(server.jwks()))
        .with_algorithms([Algorithm::ES256])
        .with_introspection(settings);
    let builder = Validator::builder(Api::new(AUDIENCE, issuer)).with_fetch(network).with_clock(clock.clone());
    let validator = builder.with_revocations(&list).build().expect("a valid configuration");
    let waiting = tokio::spawn({
        let (validator, token) = (validator.clone(), token.clone());
        async move { outcome(&validator, &token).await }
    });
    clock.settle().await;
    assert!(!waiting.is_finished());
    list.revoke(Revocation::jwt_id(server.issuer(), "j1")).await.expect("room");
    clock.run_for(Duration::from_secs(2)).await;
    assert_eq!(waiting.await.expect("no panic"), Err(Rejection::Revoked { by: RevocationKind::JwtId }));
    let other = server.token().subject("ann").claim("jti", "j2").sign();
    let accepted = tokio::spawn(async move { outcome(&validator, &other).await });
    clock.run_for(Duration::from_secs(2)).await;
    assert_eq!(accepted.await.expect("no panic"), Ok(()));
}

/// An event of a list, for each change that the log of this process also has.
#[tokio::test]
async fn reports_events_to_the_hook() {
    let fixture = Fixture::new();
    let events: Arc<Mutex<Vec<RevocationEventKind>>> = Arc::default();
    let taken = || std::mem::take(&mut *events.lock().expect("no panic"));
    let hook = {
        let events = Arc::clone(&events);
        move |event: &RevocationEvent| {
            events.lock().expect("no panic").push(event.kind());
            // The hook is called again for the next event.
            std::panic::resume_unwind(Box::new(()));
        }
    };
    let run = |seconds| fixture.clock.run_for(Duration::from_secs(seconds));
    let builder = || Revocations::builder().with_clock(fixture.clock.clone()).with_event_hook(hook.clone());
    let list = builder().with_max_entries(1_000).shared(fixture.log.clone()).expect("settings in range");
    assert_eq!(taken(), [], "nothing was read");
    fixture.clock.settle().await;
    assert_eq!(taken(), [RevocationEventKind::Loaded]);
    fixture.log.set_failure(LogFailure::Down);
    run(29).await;
    assert_eq!(taken(), []);
    run(2).await;
    assert_eq!(taken(), [RevocationEventKind::Degraded]);
    run(300).await;
    assert_eq!(taken(), [RevocationEventKind::Stale]);
    fixture.log.set_failure(LogFailure::None);
    run(5).await;
    assert_eq!(taken(), [RevocationEventKind::Current]);
    let entry = |number: usize| {
        let end = fixture.clock.now().saturating_add(Duration::from_secs(3_600));
        Revocation::jwt_id(fixture.server.issuer(), &number.to_string()).with_end(end)
    };
    list.revoke_all((0..1_000).map(entry)).await.expect("room");
    fixture.clock.settle().await;
    assert_eq!(taken(), []);
    fixture.log.clear();
    run(6).await;
    assert_eq!(taken(), [RevocationEventKind::Regressed]);
    let assert_full = |refused: Result<(), RevokeError>| {
        assert!(matches!(refused, Err(RevokeError::Full { max_entries: 1_000, .. })), "{refused:?}");
        let events = taken();
        assert!(matches!(*events, [RevocationEventKind::Full { max_entries: 1_000, .. }]), "{events:?}");
    };
    assert_full(list.revoke(entry(1_000)).await);
    run(6).await;
    assert_eq!(taken(), [RevocationEventKind::Degraded], "a full list");
    // A list without a log has no state.
    let alone = builder().with_max_entries(1_000).in_memory().expect("settings in range");
    assert_full(alone.revoke_all((0..1_001).map(entry)).await);
}

/// Returns a list over the log, and its events.
fn observed(fixture: &Fixture) -> (Revocations, Arc<Mutex<Vec<RevocationEventKind>>>) {
    let events: Arc<Mutex<Vec<RevocationEventKind>>> = Arc::default();
    let hook = {
        let events = Arc::clone(&events);
        move |event: &RevocationEvent| events.lock().expect("no panic").push(event.kind())
    };
    let builder = Revocations::builder().with_clock(fixture.clock.clone()).with_event_hook(hook);
    (builder.shared(fixture.log.clone()).expect("settings in range"), events)
}

/// The runtime that reads the log ends.
#[test]
fn reports_that_nothing_reads_the_log() {
    let fixture = Fixture::new();
    let (list, events) = observed(&fixture);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(list.ready_within(Duration::from_secs(1))).expect("ready");
    drop(runtime);
    assert_eq!(*events.lock().expect("no panic"), [RevocationEventKind::Loaded, RevocationEventKind::Stopped]);
}

#[tokio::test]
async fn a_list_that_is_dropped_reports_nothing() {
    let fixture = Fixture::new();
    let (list, events) = observed(&fixture);
    list.ready_within(Duration::from_secs(1)).await.expect("ready");
    drop(list);
    fixture.clock.settle().await;
    assert_eq!(*events.lock().expect("no panic"), [RevocationEventKind::Loaded]);
}

/// The list is full, and a read has failed before. Case 72: malformed entries are counted.
#[tokio::test]
async fn metrics_say_why_a_read_failed_and_count_malformed_entries() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let fixture = Fixture::new();
    let (_large, entries) = fixture.replica();
    let builder = Revocations::builder().with_clock(fixture.clock.clone()).with_max_entries(1_000);
    let small = builder.shared(fixture.log.clone()).expect("settings in range");
    fixture.clock.settle().await;
    fixture.log.add_malformed(3);
    fixture.log.set_failure(LogFailure::Down);
    fixture.clock.run_for(Duration::from_secs(1)).await;
    let count = |outcome: &str| {
        let line = format!("revocation_log_total{{operation=\"read\",outcome=\"{outcome}\"}} ");
        let rendered = metrics.render();
        rendered.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or_default()
    };
    let unavailable = count("unavailable");
    assert!(unavailable > 0 && small.status().last_error() == Some(LogError::Unavailable));
    fixture.log.set_failure(LogFailure::None);
    let issuer = fixture.server.issuer();
    entries.revoke_all((0..1_001).map(|number| Revocation::jwt_id(issuer, &number.to_string()))).await.expect("room");
    fixture.clock.run_for(Duration::from_secs(10)).await;
    assert!(count("full") > 0, "{}", metrics.render());
    // The reads of the other list may have failed as well before the log responded.
    assert!(count("unavailable") <= unavailable + 2, "{}", metrics.render());
    assert_eq!(small.status().last_error(), None, "the log responds");
    assert!(metrics.render().contains("revocation_malformed_entries_total 3"), "{}", metrics.render());
}
