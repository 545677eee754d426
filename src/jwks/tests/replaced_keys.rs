//! Tests of T14: an issuer that replaces a key and keeps its kid.

use std::sync::Arc;
use std::time::Duration;

use http::header::CACHE_CONTROL;
use tokio::task::JoinHandle;

use crate::fetch::FetchError;
use crate::jwks::error::{KeysUnavailable, RefreshError};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::source::View;
use crate::jwks::tests::kit::{Fixture, SECOND, URL, jwk, set_of, table};
use crate::testing::Reply;
use crate::token::{Algorithm, KeyId};

/// Returns a set with the kid `1` and this key material.
fn one(material: &str) -> String {
    set_of(&[jwk("1", material)])
}

/// Sends a token with this `kid` that the key `a` does not verify. Returns whether another key was found.
fn spawn(fixture: &Fixture, kid: Option<&'static str>) -> JoinHandle<bool> {
    let source = fixture.source.clone();
    tokio::spawn(async move {
        let View::Usable(snapshot) = source.snapshot() else { panic!("no keys") };
        let (old, epoch) = (Arc::clone(&snapshot), snapshot.epoch);
        drop(snapshot);
        if !source.may_be_replaced() {
            return false;
        }
        let is_replaced = move |new: &_| {
            crate::keys::KeyTable::has_other_candidate(new, &old.table, KeyId::from(kid), Algorithm::ES256)
        };
        source.replaced_keys(epoch, is_replaced).await.expect("keys are usable").is_some()
    })
}

async fn outcome(fixture: &Fixture, kid: Option<&'static str>) -> bool {
    let request = spawn(fixture, kid);
    fixture.clock.settle().await;
    assert!(request.is_finished(), "the request waits");
    request.await.expect("no panic")
}

#[tokio::test]
async fn finds_a_replaced_key_with_one_fetch() {
    for kid in [Some("1"), None] {
        let fixture = Fixture::at_url(Reply::json(one("a"))).await;
        fixture.answer(Reply::json(one("b")).with_delay(SECOND));
        let requests: Vec<_> = (0..100).map(|_| spawn(&fixture, kid)).collect();
        fixture.run(SECOND).await;
        for request in requests {
            assert!(request.await.expect("no panic"), "{kid:?}");
        }
        assert_eq!((fixture.network.calls(), fixture.epoch()), (2, 2));
    }
}

#[tokio::test]
async fn forged_tokens_cause_one_fetch_a_minute_and_wait_for_it_only() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    for second in 0..240 {
        let requests: Vec<_> = (0..100).map(|_| spawn(&fixture, Some("1"))).collect();
        fixture.clock.settle().await;
        assert!(requests.iter().all(JoinHandle::is_finished), "at {second} s");
        assert!(!requests.into_iter().next().expect("one").await.expect("no panic"));
        fixture.run(SECOND).await;
    }
    assert!((4..=5).contains(&(fixture.network.calls() - 1)), "{}", fixture.network.calls());
}

/// The set changes, but not the key that the token needs: the token is not verified again.
#[tokio::test]
async fn another_new_key_is_no_replacement() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    fixture.answer(Reply::json(set_of(&[jwk("1", "a"), jwk("2", "b")])));
    assert!(!outcome(&fixture, Some("1")).await);
    assert_eq!(fixture.epoch(), 2);
}

/// The key is replaced again within the same minute. A later token starts the next fetch, before the scheduled one.
#[tokio::test]
async fn a_second_replacement_waits_for_the_budget() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    fixture.answer(Reply::json(one("b")));
    assert!(outcome(&fixture, Some("1")).await);
    fixture.answer(Reply::json(one("c")));
    assert!(!outcome(&fixture, Some("1")).await);
    assert_eq!(fixture.network.calls(), 2);
    fixture.run(66 * SECOND).await;
    assert_eq!(fixture.network.calls(), 2, "no follow-up is scheduled");
    assert!(outcome(&fixture, Some("1")).await);
    let requests = fixture.network.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[2].headers.contains_key(CACHE_CONTROL), "not the scheduled refresh");
}

/// The response of the fetch discloses the only key. Without keys, the rejection is not about the token.
#[tokio::test]
async fn returns_an_error_if_the_keys_expire_during_the_wait() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    let private = jwk("1", "a").replacen('{', r#"{"d":"AQAB","#, 1);
    fixture.answer(Reply::json(set_of(&[private])).with_delay(SECOND));
    let source = fixture.source.clone();
    let request = tokio::spawn(async move { source.replaced_keys(1, |_| true).await.map(|newer| newer.is_some()) });
    fixture.run(SECOND).await;
    let result = request.await.expect("no panic");
    assert!(matches!(result, Err(KeysUnavailable { cause: Some(RefreshError::NoUsableKeys), .. })), "{result:?}");
}

/// A scheduled fetch, which a cache may have answered, is in flight: the request's own fetch follows it.
#[tokio::test]
async fn finds_a_replaced_key_after_the_fetch_in_flight() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    fixture.network.once(URL, Reply::json(one("a")).with_delay(SECOND));
    fixture.answer(Reply::json(one("b")));
    while fixture.network.in_flight() == 0 {
        fixture.run(SECOND / 2).await;
    }
    let request = spawn(&fixture, Some("1"));
    fixture.run(SECOND).await;
    assert!(request.await.expect("no panic"));
    assert_eq!(fixture.network.calls(), 3);
}

#[tokio::test]
async fn waits_at_most_unknown_kid_wait_and_keeps_the_fetch() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    fixture.answer(Reply::json(one("b")).with_delay(Duration::from_millis(2500)));
    let request = spawn(&fixture, Some("1"));
    fixture.run(Duration::from_millis(1999)).await;
    assert!(!request.is_finished());
    fixture.run(Duration::from_millis(1)).await;
    assert!(!request.await.expect("no panic"));
    fixture.run(SECOND).await;
    assert_eq!(fixture.epoch(), 2);
}

#[tokio::test]
async fn does_not_wait_while_the_issuer_is_down() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    fixture.answer(Reply::error(FetchError::Connect));
    let request = spawn(&fixture, Some("1"));
    fixture.run(SECOND).await;
    assert!(!request.await.expect("no panic"));
    let calls = fixture.network.calls();
    assert!(!outcome(&fixture, Some("1")).await, "in the backoff");
    assert_eq!(fixture.network.calls(), calls);
    assert!(fixture.serves("1"));
}

#[tokio::test]
async fn does_not_wait_above_max_waiters() {
    let fixture = Fixture::with(RefreshPolicy::new().with_max_waiters(1), Reply::json(one("a")));
    fixture.clock.settle().await;
    fixture.answer(Reply::json(one("b")).with_delay(SECOND));
    let requests: Vec<_> = (0..3).map(|_| spawn(&fixture, Some("1"))).collect();
    fixture.clock.settle().await;
    assert_eq!(requests.iter().filter(|request| request.is_finished()).count(), 2);
    fixture.run(SECOND).await;
    assert_eq!(fixture.epoch(), 2);
}

#[test]
fn a_candidate_is_other_if_its_key_is() {
    let [old, same, replaced, added] = [one("a"), one("a"), one("b"), set_of(&[jwk("1", "a"), jwk("2", "b")])];
    let is_other =
        |new: &str, kid: Option<&str>| table(new).has_other_candidate(&table(&old), KeyId::from(kid), Algorithm::ES256);
    assert!(!is_other(&same, Some("1")) && is_other(&replaced, Some("1")) && !is_other(&added, Some("1")));
    assert!(!is_other(&same, None) && is_other(&replaced, None) && is_other(&added, None));
    // The kid is unknown now, which is another reason to reject the token.
    assert!(is_other(&set_of(&[jwk("2", "b")]), Some("1")) && !is_other(&set_of(&[jwk("2", "a")]), None));
}

/// A forged token every minute delays the replacement by at most one interval, with its jitter.
#[tokio::test]
async fn an_attacker_delays_a_replaced_key_by_at_most_one_interval() {
    let fixture = Fixture::at_url(Reply::json(one("a"))).await;
    assert!(!outcome(&fixture, Some("1")).await, "a forged token spends the fetch of this minute");
    fixture.answer(Reply::json(one("b")));
    let mut seconds = 0;
    while !outcome(&fixture, Some("1")).await {
        seconds += 1;
        fixture.run(SECOND).await;
    }
    assert!((60..=66).contains(&seconds), "{seconds}");
}
