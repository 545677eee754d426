//! Keys that the application revokes by id.

use crate::jwks::error::RefreshError;
use crate::jwks::tests::kit::{Fixture, SECOND, jwk, set_of};
use crate::testing::Reply;

/// Returns a source that has read a set of these keys: pairs of a `kid` and the seed of the key material.
async fn loaded(keys: &[(&str, &str)]) -> Fixture {
    let fixture = Fixture::at_url(set(keys)).await;
    fixture.run(SECOND).await;
    fixture
}

fn set(keys: &[(&str, &str)]) -> Reply {
    let keys: Vec<String> = keys.iter().map(|(kid, of)| jwk(kid, of)).collect();
    Reply::json(set_of(&keys))
}

async fn publish(fixture: &Fixture, keys: &[(&str, &str)]) {
    fixture.answer(set(keys));
    fixture.source.reload().await.expect("accepted");
}

fn served<const N: usize>(fixture: &Fixture, kids: [&str; N]) -> [bool; N] {
    kids.map(|kid| fixture.serves(kid))
}

#[tokio::test]
async fn revokes_a_key_by_the_id_that_it_had_in_an_earlier_set() {
    let fixture = loaded(&[("1", "a"), ("3", "b")]).await;
    publish(&fixture, &[("7", "a"), ("3", "b")]).await;
    assert_eq!(served(&fixture, ["7", "3"]), [true, true]);
    fixture.source.revoke_kid("1");
    assert_eq!(served(&fixture, ["7", "3"]), [false, true]);
    publish(&fixture, &[("8", "a"), ("3", "b")]).await;
    assert_eq!(served(&fixture, ["8", "3"]), [false, true]);
    fixture.source.unrevoke_kid("1");
    assert_eq!(served(&fixture, ["8", "3"]), [true, true]);
}

#[tokio::test]
async fn revokes_an_id_before_the_first_set_with_the_key_under_each_of_its_ids() {
    let fixture = Fixture::new(set(&[("1", "a"), ("2", "a"), ("3", "b")]));
    fixture.source.revoke_kid("1");
    fixture.run(SECOND).await;
    assert!(fixture.source.status().is_ready());
    assert_eq!(served(&fixture, ["1", "2", "3"]), [false, false, true]);
}

#[tokio::test]
async fn revokes_a_new_key_under_a_revoked_id_under_its_other_ids() {
    let fixture = loaded(&[("1", "a"), ("3", "b")]).await;
    fixture.source.revoke_kid("1");
    publish(&fixture, &[("1", "c"), ("2", "c"), ("3", "b")]).await;
    assert_eq!(served(&fixture, ["1", "2", "3"]), [false, false, true]);
}

/// The set has no usable key, or cannot be parsed as a key set, but it contains the key with this `kid`.
#[tokio::test]
async fn revokes_a_key_by_its_kid_in_a_rejected_set() {
    let encryption = set_of(&[jwk("5", "a").replace("sig", "enc")]);
    let many = set_of(&[vec!["1".to_owned(); 100], vec![jwk("5", "a")]].concat());
    let two = format!(r#"{{"keys":[],"keys":[{}]}}"#, jwk("5", "a"));
    for (document, error) in [
        (encryption, RefreshError::NoUsableKeys),
        (many, RefreshError::TooManyKeys),
        (two, RefreshError::InvalidDocument),
    ] {
        for revoked_first in [true, false] {
            let fixture = loaded(&[("7", "a"), ("3", "b")]).await;
            if revoked_first {
                fixture.source.revoke_kid("5");
                assert_eq!(served(&fixture, ["7", "3"]), [true, true]);
            }
            fixture.answer(Reply::json(document.clone()));
            assert_eq!(fixture.source.reload().await, Err(error));
            if !revoked_first {
                assert_eq!(served(&fixture, ["7", "3"]), [true, true]);
                fixture.source.revoke_kid("5");
            }
            assert_eq!(served(&fixture, ["7", "3"]), [false, true], "{error}");
            publish(&fixture, &[("9", "a"), ("3", "b")]).await;
            assert_eq!(served(&fixture, ["9", "3"]), [false, true], "{error}");
        }
    }
}

#[tokio::test]
async fn revokes_current_keys_after_rejected_sets_have_filled_the_history() {
    let fixture = loaded(&[("1", "a"), ("2", "a"), ("3", "b")]).await;
    for round in 0..11 {
        let keys = (0..101).map(|number| jwk(&format!("{round}-{number}"), "c"));
        fixture.answer(Reply::json(set_of(&keys.collect::<Vec<_>>())));
        assert_eq!(fixture.source.reload().await, Err(RefreshError::TooManyKeys));
    }
    fixture.source.revoke_kid("1");
    assert_eq!(served(&fixture, ["1", "2", "3"]), [false, false, true]);
}
