//! Tests of keys whose private keys an issuer publishes.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use http::header::{ETAG, IF_NONE_MATCH};

use crate::jwks::error::RefreshError;
use crate::jwks::events::KeyEventKind as Kind;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Fixture, HOUR, MINUTE, Outcome, SECOND, jwk, jwks, set_of};
use crate::keys::SkipReason;
use crate::testing::Reply;

fn private(kid: &str) -> String {
    jwk(kid, kid).replace('}', r#","d":"AAAA"}"#)
}

type Events = Arc<Mutex<Vec<Kind>>>;

fn policy() -> (RefreshPolicy, Events) {
    let events = Events::default();
    let received = Arc::clone(&events);
    let policy = RefreshPolicy::new().with_jitter_percent(0).with_event_hook(move |event| {
        received.lock().expect("unpoisoned").push(event.kind());
    });
    (policy, events)
}

/// Returns the names of the events since the last call, without those that every failed fetch emits.
fn names(events: &Events) -> Vec<&'static str> {
    let events = std::mem::take(&mut *events.lock().expect("unpoisoned"));
    events.iter().map(|kind| kind.name()).filter(|name| !matches!(*name, "refresh_failed" | "empty_set")).collect()
}

fn is_unavailable(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Unavailable(_))
}

#[tokio::test]
async fn reports_a_private_key_in_a_rejected_first_set() {
    let (policy, events) = policy();
    let fixture = Fixture::with(policy, Reply::json(set_of(&[private("a")])));
    assert!(is_unavailable(Fixture::request(&fixture.source, "a").await));
    fixture.run(MINUTE).await;
    assert_eq!(fixture.source.status().last_error(), Some(RefreshError::NoUsableKeys));
    let reported: Vec<Kind> = events.lock().expect("unpoisoned").drain(..).collect();
    let [Kind::RefreshFailed { .. }, Kind::EmptySet, skipped, published, later @ ..] = &reported[..] else {
        panic!("{reported:?}");
    };
    assert_eq!(*skipped, Kind::KeySkipped { position: 0, reason: SkipReason::Private, set_rejected: true });
    assert_eq!(*published, Kind::PrivateKeyPublished { in_use: false });
    // Reported once, although every retry receives it again.
    assert!(later.len() > 4 && later.iter().all(|kind| matches!(kind, Kind::RefreshFailed { .. } | Kind::EmptySet)));
}

#[tokio::test]
async fn withdraws_a_compromised_key_at_once_from_a_rejected_set() {
    let (policy, events) = policy();
    let fixture = Fixture::loaded_with(policy, &["a"]).await;
    assert_eq!((fixture.request_now("a").await, names(&events)), (Outcome::Served, vec!["initial_load"]));

    fixture.answer(Reply::json(set_of(&[private("a")])));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::NoUsableKeys));
    assert!(!fixture.serves("a"));
    for kid in ["a", "zz"] {
        assert!(is_unavailable(fixture.request_now(kid).await), "{kid}");
    }
    let status = fixture.source.status();
    assert_eq!((status.state(), status.usable_keys(), status.is_ready()), (KeyState::Expired, 0, false));
    assert_eq!(names(&events), ["reload", "expired", "key_skipped", "private_key_published"]);

    // The same key without its private members stays compromised.
    fixture.publish(&["a"]);
    fixture.run(MINUTE).await;
    assert!(is_unavailable(fixture.request_now("a").await));
    assert_eq!(names(&events), ["key_skipped"]);

    fixture.publish(&["a", "b"]);
    fixture.run(15 * SECOND).await;
    assert!(!fixture.serves("a") && fixture.serves("b"));
    assert_eq!(names(&events), ["refreshed", "stale_recovered", "key_skipped"]);
}

/// If the policy accepts an empty set, the set without the key is in use: the request has an unknown `kid`.
#[tokio::test]
async fn uses_an_empty_set_if_the_policy_accepts_one() {
    let (policy, events) = policy();
    let fixture = Fixture::loaded_with(policy.dangerous_accept_empty_set(), &["a"]).await;
    fixture.answer(Reply::json(set_of(&[private("a")])));
    fixture.source.reload().await.expect("accepted");
    assert_eq!(names(&events), ["initial_load", "reload", "refreshed", "key_skipped", "private_key_published"]);
    assert_eq!(fixture.request_now("a").await, Outcome::NotFound);
}

/// The other keys stay in use while the set is rejected, and a 304 does not restore the compromised key.
#[tokio::test]
async fn withdraws_a_compromised_key_and_keeps_the_others() {
    let etag = |kids: &[&str], etag: &'static str| Reply::json(jwks(kids)).with_header(ETAG, etag);
    let fixture = Fixture::at_url(etag(&["a", "b"], "\"1\"")).await;
    fixture.answer(Reply::json(set_of(&[private("a")])));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::NoUsableKeys));
    assert!(!fixture.serves("a") && fixture.serves("b"));
    assert_eq!((fixture.epoch(), fixture.source.status().state()), (2, KeyState::Fresh));
    fixture.answer(Reply::status(StatusCode::NOT_MODIFIED));
    fixture.run(MINUTE).await;
    let requests = fixture.network.requests();
    assert!(requests.len() > 2 && requests.iter().all(|request| !request.headers.contains_key(IF_NONE_MATCH)));
    fixture.answer(etag(&["a", "b"], "\"1\""));
    fixture.run(2 * MINUTE).await;
    assert!(!fixture.serves("a") && fixture.serves("b"));
    assert_eq!(fixture.source.status().consecutive_failures(), 0);
}

/// The only key in use is replaced at the moment at which it is withdrawn: there is no time without keys.
#[tokio::test]
async fn expires_no_set_where_an_accepted_one_replaces_the_only_key() {
    let (policy, events) = policy();
    let fixture = Fixture::loaded_with(policy, &["a"]).await;
    fixture.answer(Reply::json(set_of(&[private("a"), jwk("b", "b")])));
    fixture.source.reload().await.expect("accepted");
    assert!(!fixture.serves("a") && fixture.serves("b"));
    assert_eq!((fixture.epoch(), fixture.source.status().state()), (2, KeyState::Fresh));
    assert_eq!(names(&events), ["initial_load", "reload", "refreshed", "key_skipped", "private_key_published"]);
}

#[tokio::test]
async fn rejects_a_compromised_key_after_an_accepted_set_disclosed_it() {
    let fixture = Fixture::loaded(&["a", "b"]).await;
    fixture.answer(Reply::json(set_of(&[private("a"), jwk("b", "b")])));
    fixture.source.reload().await.expect("reloaded");
    assert!(!fixture.serves("a") && fixture.serves("b"));
    fixture.answer(Reply::json(set_of(&[jwk("again", "a"), jwk("b", "b")])));
    fixture.run(HOUR).await;
    assert!(!fixture.serves("again") && fixture.serves("b"));
    assert_eq!(fixture.request_now("again").await, Outcome::NotFound);
}

/// An issuer may publish more private keys than the source stores: a key of the current set is not evicted.
#[tokio::test]
async fn rejects_a_compromised_key_while_it_is_in_the_set() {
    let mut new = 0..;
    let mut others = || -> Vec<String> {
        let points = new.by_ref().take(98).map(|number| format!("{number:A<43}"));
        points.map(|x| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","d":"AA"}}"#)).collect()
    };
    let (policy, _) = policy();
    let fixture = Fixture::loaded_with(policy, &["a", "b"]).await;
    fixture.answer(Reply::json(set_of(&[private("a"), jwk("b", "b")])));
    fixture.source.reload().await.expect("accepted");
    for round in 0..12 {
        let keys = [others(), vec![jwk("a", "a"), jwk("b", "b")]].concat();
        fixture.answer(Reply::json(set_of(&keys)));
        fixture.source.reload().await.expect("accepted");
        assert!(!fixture.serves("a") && fixture.serves("b"), "{round}");
    }
    // Once it has been absent from more sets than are stored, it is evicted.
    for _ in 0..11 {
        fixture.answer(Reply::json(set_of(&[others(), vec![jwk("b", "b")]].concat())));
        fixture.source.reload().await.expect("accepted");
    }
    fixture.publish(&["a", "b"]);
    fixture.source.reload().await.expect("accepted");
    assert!(fixture.serves("a"));
}

/// A document that is not a key set, or has too many keys, still discloses the private key.
#[tokio::test]
async fn withdraws_a_compromised_key_from_an_invalid_document() {
    let many = set_of(&[vec!["1".to_owned(); 100], vec![private("a")]].concat());
    for (document, error) in [(private("a"), RefreshError::InvalidDocument), (many, RefreshError::TooManyKeys)] {
        let (policy, events) = policy();
        let fixture = Fixture::loaded_with(policy, &["a", "b"]).await;
        fixture.answer(Reply::json(document));
        assert_eq!(fixture.source.reload().await, Err(error));
        assert!(!fixture.serves("a") && fixture.serves("b"), "{error}");
        assert_eq!(names(&events), ["initial_load", "reload", "key_skipped", "private_key_published"], "{error}");
    }
}

/// Other parsers may read a key that this crate cannot parse.
#[tokio::test]
async fn stops_verifying_though_the_key_or_the_document_is_malformed() {
    let key = private("a");
    let with = |members: &str| key.replacen('{', &format!("{{{members},"), 1);
    for (set, name) in [
        (set_of(&[with(r#""kty":"RSA""#)]), "two types"),
        (set_of(&[with(r#""x":"AA""#)]), "two values of x"),
        (set_of(&[with(r#""\ud800":1"#)]), "an invalid escape"),
        (set_of(&[key.replace(r#""kid":"a""#, r#""kid":7"#)]), "an id that is no text"),
        (format!(r#"{{"keys":[],"keys":[{key}]}}"#), "two members keys"),
        (format!(r#"{{"$serde_json::private::X":1,"keys":[{key}]}}"#), "a reserved name"),
        (format!(r#"{{"x":{}{},"keys":[{key}]}}"#, "[".repeat(20), "]".repeat(20)), "too deep"),
        (format!("[{key}]"), "an array"),
        (format!(r#"{{"keys":[{key}"#), "cut off"),
    ] {
        let (policy, events) = policy();
        let fixture = Fixture::loaded_with(policy, &["a", "b"]).await;
        fixture.answer(Reply::json(set));
        fixture.source.reload().await.expect_err(name);
        assert!(!fixture.serves("a") && fixture.serves("b"), "{name}");
        assert_eq!(names(&events), ["initial_load", "reload", "key_skipped", "private_key_published"], "{name}");
    }
}

#[tokio::test]
async fn stops_verifying_where_an_accepted_set_has_a_malformed_private_key() {
    for members in [r#""kty":"RSA""#, r#""x":"AA""#, r#""\ud800":1"#] {
        let (policy, events) = policy();
        let fixture = Fixture::loaded_with(policy, &["a", "b"]).await;
        let key = private("a").replacen('{', &format!("{{{members},"), 1);
        fixture.answer(Reply::json(set_of(&[jwk("a", "a"), key, jwk("b", "b")])));
        fixture.source.reload().await.expect("accepted");
        assert!(!fixture.serves("a") && fixture.serves("b"), "{members}");
        let expected = ["initial_load", "reload", "refreshed", "key_skipped", "key_skipped", "private_key_published"];
        assert_eq!(names(&events), expected, "{members}");
    }
}

/// If the policy accepts private keys, a rejected set does not remove a key either.
#[tokio::test]
async fn keeps_a_disclosed_key_if_the_policy_accepts_private_keys() {
    let (policy, events) = policy();
    let fixture = Fixture::loaded_with(policy.dangerous_accept_private_keys(), &["a"]).await;
    fixture.answer(Reply::json(set_of(&[private("a")])));
    fixture.source.reload().await.expect("reloaded");
    assert_eq!(
        (fixture.serves("a"), names(&events)),
        (true, vec!["initial_load", "reload", "refreshed", "private_key_published"])
    );
    fixture.answer(Reply::json(set_of(&[private("a").replace("sig", "enc")])));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::NoUsableKeys));
    assert_eq!((fixture.serves("a"), names(&events)), (true, vec!["reload", "key_skipped", "private_key_published"]));
}

/// The skipped keys of an accepted set change nothing. The same ones later explain why a set is rejected.
#[tokio::test]
async fn reports_the_same_skipped_keys_again_when_the_set_is_rejected() {
    let (policy, events) = policy();
    let encryption = jwk("w", "c").replace("sig", "enc");
    let fixture = Fixture::with(policy, Reply::json(set_of(&[encryption.clone(), jwk("b", "b")])));
    fixture.clock.settle().await;
    assert_eq!(names(&events), ["initial_load", "key_skipped"]);
    fixture.answer(Reply::json(set_of(std::slice::from_ref(&encryption))));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::NoUsableKeys));
    let reported = events.lock().expect("unpoisoned").drain(..).find(|kind| kind.name() == "key_skipped");
    assert_eq!(reported, Some(Kind::KeySkipped { position: 0, reason: SkipReason::Use, set_rejected: true }));
    assert_eq!(fixture.source.reload().await, Err(RefreshError::NoUsableKeys));
    assert_eq!(names(&events), ["reload"]);
    fixture.answer(Reply::json(set_of(&[encryption, jwk("b", "b")])));
    fixture.source.reload().await.expect("accepted");
    assert_eq!(names(&events), ["reload", "refreshed", "key_skipped"]);
}

/// Members that serializers write without a value take no key out of use, nor does the `p` of another key type.
#[tokio::test]
async fn finds_no_private_key_in_members_without_a_value() {
    let other = r#"{"kty":"DSA","kid":"x","p":"AA","q":"AA","g":"AA","y":"AA"}"#.to_owned();
    for member in [r#","d":null}"#, r#","d":""}"#, r#","oth":null}"#, r#","p":null,"q":null}"#] {
        let (policy, events) = policy();
        let fixture = Fixture::loaded_with(policy, &["a", "b"]).await;
        let keys = [jwk("a", "a").replace('}', member), jwk("b", "b").replace('}', member), other.clone()];
        fixture.answer(Reply::json(set_of(&keys)));
        fixture.source.reload().await.expect("accepted");
        assert!(fixture.serves("a") && fixture.serves("b"), "{member}");
        assert_eq!(names(&events), ["initial_load", "reload", "refreshed", "key_skipped"], "{member}");
    }
}

/// A change in the order of the keys is not a new report.
#[tokio::test]
async fn reports_a_private_key_once_in_any_order() {
    let (policy, events) = policy();
    let fixture = Fixture::with(policy, Reply::json(set_of(&[private("a"), jwk("b", "b"), "7".to_owned()])));
    fixture.clock.settle().await;
    assert_eq!(names(&events), ["initial_load", "key_skipped", "private_key_published", "key_skipped"]);
    fixture.answer(Reply::json(set_of(&["7".to_owned(), jwk("b", "b"), private("a")])));
    fixture.source.reload().await.expect("reloaded");
    assert_eq!(names(&events), ["reload", "refreshed"]);
}
