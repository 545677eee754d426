//! Opaque tokens and a list of revocations: what the list names is rejected although the server answers that the token is active.

use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tower_bearer::revocation::{Revocation, RevocationKind, Revocations};
use tower_bearer::{Api, Issuer, Rejection, Validator};

use crate::fixture::{AUDIENCE, NOW, block_on};
use crate::introspection_fixture::{ISSUER, Scripted, TOKEN, active, introspection};

/// Returns a list, and a validator with it whose server always gives this answer.
fn with_list(answer: &Value) -> (Scripted, Revocations, Validator) {
    let scripted = Scripted::answering(answer);
    let list = Revocations::builder().with_clock(scripted.clock.clone()).in_memory().expect("settings in range");
    let builder = Validator::builder(Api::new(AUDIENCE, Issuer::opaque(ISSUER, introspection())));
    let builder = builder.with_fetch(scripted.network.clone()).with_clock(scripted.clock.clone());
    let validator = builder.with_revocations(&list).build().expect("a valid configuration");
    (scripted, list, validator)
}

/// Returns one entry of each kind that names the token of the answer, and one of the same kind that names another.
fn entries() -> [(Revocation, Revocation, RevocationKind); 5] {
    let other_issuer = "https://other.test";
    [
        (Revocation::jwt_id(ISSUER, "j1"), Revocation::jwt_id(ISSUER, "j2"), RevocationKind::JwtId),
        (Revocation::session(ISSUER, "s1"), Revocation::session(ISSUER, "s2"), RevocationKind::Session),
        (Revocation::subject(ISSUER, "ann"), Revocation::subject(ISSUER, "bob"), RevocationKind::Subject),
        (Revocation::client(ISSUER, "shop"), Revocation::client(ISSUER, "web"), RevocationKind::Client),
        (Revocation::issuer(ISSUER), Revocation::issuer(other_issuer), RevocationKind::Issuer),
    ]
}

fn named() -> Value {
    active(json!({ "jti": "j1", "sid": "s1", "iat": NOW - 60 }))
}

#[tokio::test]
async fn rejects_a_new_opaque_token_by_each_kind_of_entry() {
    for (names_it, names_another, kind) in entries() {
        let (_scripted, list, validator) = with_list(&named());
        list.revoke(names_it).await.expect("in this process");
        assert_eq!(validator.validate(TOKEN).await.map(drop), Err(Rejection::Revoked { by: kind }));
        let (_scripted, list, validator) = with_list(&named());
        list.revoke(names_another).await.expect("in this process");
        assert_eq!(validator.validate(TOKEN).await.map(drop), Ok(()), "{kind}");
    }
}

#[tokio::test]
async fn rejects_a_cached_opaque_token_and_its_claims_by_each_kind_of_entry() {
    for (names_it, names_another, kind) in entries() {
        let (scripted, list, validator) = with_list(&named());
        let claims = validator.validate(TOKEN).await.expect("an active token");
        list.revoke(names_another).await.expect("in this process");
        assert_eq!(validator.validate(TOKEN).await.map(drop), Ok(()), "{kind}");
        assert_eq!(validator.still_valid(&claims), Ok(()), "{kind}");
        list.revoke(names_it).await.expect("in this process");
        let revoked = Err(Rejection::Revoked { by: kind });
        assert_eq!(validator.validate(TOKEN).await.map(drop), revoked);
        assert_eq!(validator.still_valid(&claims), revoked);
        assert_eq!(scripted.calls(), 1, "the answer is cached");
    }
}

/// Entries of a subject or client concern what was issued up to their time, and the answer may not say when that was.
#[tokio::test]
async fn compares_the_time_of_issue_of_the_answer() {
    let at = tower_bearer::clock::Timestamp::from_secs(NOW - 30);
    for (iat, is_accepted) in [(json!(NOW - 30), false), (json!(NOW - 29), true), (Value::Null, false)] {
        for (entry, kind) in [
            (Revocation::subject(ISSUER, "ann"), RevocationKind::Subject),
            (Revocation::client(ISSUER, "shop"), RevocationKind::Client),
        ] {
            let (_scripted, list, validator) = with_list(&active(json!({ "iat": iat })));
            list.revoke(entry.with_issued_before(at)).await.expect("in this process");
            let expected = if is_accepted { Ok(()) } else { Err(Rejection::Revoked { by: kind }) };
            assert_eq!(validator.validate(TOKEN).await.map(drop), expected, "{iat} {kind}");
        }
    }
}

/// Custom claims that call the validator when they are dropped.
#[derive(Deserialize)]
struct EvictsAnother {}

static VALIDATOR: OnceLock<Validator<EvictsAnother>> = OnceLock::new();

impl Drop for EvictsAnother {
    fn drop(&mut self) {
        if let Some(validator) = VALIDATOR.get() {
            validator.evict_token("opaque-another-token");
        }
    }
}

/// Claims are dropped when an entry is replaced, evicted, or not stored, and no lock of the client is held then.
#[test]
fn claims_may_evict_a_token_when_they_are_dropped() {
    let (ended, has_ended) = mpsc::channel();
    thread::spawn(move || {
        block_on(async {
            let scripted = Scripted::answering(&active(json!({})));
            let validator = VALIDATOR.get_or_init(|| scripted.validator().with_custom_claims());
            assert!(validator.validate(TOKEN).await.is_ok());
            // The second answer replaces the entry, in the background.
            scripted.clock.run_for(Duration::from_secs(24)).await;
            assert!(validator.validate(TOKEN).await.is_ok());
            scripted.clock.settle().await;
            assert_eq!(scripted.calls(), 2);
            validator.evict_token(TOKEN);
            assert!(validator.validate(TOKEN).await.is_ok());
            assert_eq!(scripted.calls(), 3);
        });
        ended.send(()).expect("a receiver");
    });
    assert_eq!(has_ended.recv_timeout(Duration::from_secs(60)), Ok(()), "a deadlock or a panic");
}
