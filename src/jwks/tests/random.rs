//! Any sequence of answers and requests: who gets what is decided by the state of the keys alone, and the events tell it.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::fetch::FetchError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Outcome, SECOND, World, jwks};
use crate::testing::Reply;

/// What the issuer answers from now on.
fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        3 => Just(Reply::json(jwks(&["a"]))),
        1 => Just(Reply::json(jwks(&["a", "b"]))),
        1 => Just(Reply::json(r#"{"keys":[]}"#)),
        1 => Just(Reply::json("no")),
        1 => Just(Reply::hang()),
        1 => Just(Reply::panic()),
        1 => Just(Reply::error(FetchError::Closed)),
        1 => Just(Reply::status(http::StatusCode::TOO_MANY_REQUESTS)),
        1 => Just(Reply::json(jwks(&["a"])).after(SECOND)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// G2 and G10: a known key is served, and an unknown one is not found, exactly while the keys are usable.
    #[test]
    fn verdicts_follow_the_state(
        script in proptest::collection::vec((reply(), 0_u64..900), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let call = Arc::clone(&heard);
            let policy = RefreshPolicy::new().with_max_stale(400 * SECOND).with_event_hook(move |event| {
                call.lock().expect("unpoisoned").push(event.kind());
            });
            let mut not_found = 0;
            let world = World::with(policy, Reply::json(jwks(&["a"])));
            for (reply, seconds) in script {
                world.answer(reply);
                world.run(std::time::Duration::from_secs(seconds)).await;
                not_found += check(&world).await;
            }
            drop(world.source);
            world.clock.settle().await;
            make_sense(&heard.lock().expect("unpoisoned"), not_found);
        });
    }
}

/// Makes two requests, and counts those whose key was not found.
async fn check(world: &World) -> u64 {
    let state = world.source.status().state();
    let is_usable = matches!(state, KeyState::Fresh | KeyState::Aging | KeyState::Stale);
    assert_eq!(world.serves("a"), is_usable, "{state}");
    let (known, unknown) = (world.spawn("a"), world.spawn("zz"));
    world.run(5 * SECOND).await;
    let (known, unknown) = (known.await.expect("no panic"), unknown.await.expect("no panic"));
    if is_usable {
        assert_eq!(known, Outcome::Served, "{state}");
        // Unless the keys expire while it waits: then nobody knows.
        let stays_usable = world.source.status().is_ready();
        assert!(unknown == Outcome::NotFound || !stays_usable && unknown != Outcome::Served, "{state}: {unknown:?}");
    }
    let told_unavailable = |verdict| matches!(verdict, Outcome::Unavailable(wait) if wait >= SECOND);
    if !is_usable && !world.source.status().is_ready() {
        assert!(told_unavailable(known) && told_unavailable(unknown), "{state}: {known:?}, {unknown:?}");
    }
    [known, unknown].into_iter().map(|verdict| u64::from(verdict == Outcome::NotFound)).sum()
}

/// Reads the events as somebody would who has nothing else.
fn make_sense(events: &[KeyEventKind], not_found: u64) {
    let (mut epoch, mut failures, mut worn, mut unknown_kids, mut open) = (0, 0, 0, 0, true);
    for event in events {
        assert!(open, "nothing comes after the end: {events:?}");
        match *event {
            KeyEventKind::InitialLoad { .. } => {
                assert_eq!(epoch, 0, "{events:?}");
                (epoch, failures) = (1, 0);
            }
            KeyEventKind::Refreshed { changed, epoch: last_reported, .. } => {
                assert_eq!(last_reported, epoch + u64::from(changed), "{events:?}");
                assert!(epoch > 0, "{events:?}");
                (epoch, failures) = (last_reported, 0);
            }
            KeyEventKind::RefreshFailed { consecutive, .. } => {
                failures += 1;
                assert_eq!(consecutive, failures, "{events:?}");
            }
            KeyEventKind::StaleEntered { .. } => {
                assert_eq!(worn, 0, "{events:?}");
                worn = 1;
            }
            KeyEventKind::Expired => {
                assert_eq!(worn, 1, "{events:?}");
                worn = 2;
            }
            KeyEventKind::StaleRecovered => {
                assert!(worn > 0 && failures == 0, "{events:?}");
                worn = 0;
            }
            KeyEventKind::UnknownKid { requests, .. } => unknown_kids += requests,
            KeyEventKind::EmptySet => assert!(failures > 0, "{events:?}"),
            KeyEventKind::Closed => open = false,
            _ => panic!("{event:?} was not caused: {events:?}"),
        }
    }
    assert_eq!((open, unknown_kids), (false, not_found), "{events:?}");
}
