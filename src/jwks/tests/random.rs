//! Property test with random replies and requests: outcomes depend on the state of the keys alone, and events match them.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::fetch::FetchError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{Fixture, Outcome, SECOND, jwks};
use crate::testing::Reply;

/// The reply of the issuer from now on.
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
        1 => Just(Reply::json(jwks(&["a"])).with_delay(SECOND)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// G2 and G10: a known key is served, and an unknown one is not found, exactly while the keys are usable.
    #[test]
    fn outcomes_match_the_state(
        script in proptest::collection::vec((reply(), 0_u64..900), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let events = Arc::new(Mutex::new(Vec::new()));
            let received = Arc::clone(&events);
            let policy = RefreshPolicy::new().with_max_stale(400 * SECOND).with_event_hook(move |event| {
                received.lock().expect("unpoisoned").push(event.kind());
            });
            let mut not_found = 0;
            let fixture = Fixture::with(policy, Reply::json(jwks(&["a"])));
            for (reply, seconds) in script {
                fixture.answer(reply);
                fixture.run(std::time::Duration::from_secs(seconds)).await;
                not_found += check(&fixture).await;
            }
            drop(fixture.source);
            fixture.clock.settle().await;
            check_events(&events.lock().expect("unpoisoned"), not_found);
        });
    }
}

/// Sends two requests, and returns the number of those whose key was not found.
async fn check(fixture: &Fixture) -> u64 {
    let state = fixture.source.status().state();
    let is_usable = matches!(state, KeyState::Fresh | KeyState::Aging | KeyState::Stale);
    assert_eq!(fixture.serves("a"), is_usable, "{state}");
    let (known, unknown) = (fixture.spawn("a"), fixture.spawn("zz"));
    fixture.run(5 * SECOND).await;
    let (known, unknown) = (known.await.expect("no panic"), unknown.await.expect("no panic"));
    if is_usable {
        assert_eq!(known, Outcome::Served, "{state}");
        // Unless the keys expire while it waits: then they are unavailable.
        let stays_usable = fixture.source.status().is_ready();
        assert!(unknown == Outcome::NotFound || !stays_usable && unknown != Outcome::Served, "{state}: {unknown:?}");
    }
    let is_unavailable = |outcome| matches!(outcome, Outcome::Unavailable(wait) if wait >= SECOND);
    if !is_usable && !fixture.source.status().is_ready() {
        assert!(is_unavailable(known) && is_unavailable(unknown), "{state}: {known:?}, {unknown:?}");
    }
    [known, unknown].into_iter().map(|outcome| u64::from(outcome == Outcome::NotFound)).sum()
}

/// Checks that the sequence of events is consistent.
fn check_events(events: &[KeyEventKind], not_found: u64) {
    let (mut epoch, mut failures, mut staleness, mut unknown_kids, mut open) = (0, 0, 0, 0, true);
    for event in events {
        assert!(open, "no event after the end: {events:?}");
        match *event {
            KeyEventKind::InitialLoad { .. } => {
                assert_eq!(epoch, 0, "{events:?}");
                (epoch, failures) = (1, 0);
            }
            KeyEventKind::Refreshed { changed, epoch: reported, .. } => {
                assert_eq!(reported, epoch + u64::from(changed), "{events:?}");
                assert!(epoch > 0, "{events:?}");
                (epoch, failures) = (reported, 0);
            }
            KeyEventKind::RefreshFailed { consecutive, .. } => {
                failures += 1;
                assert_eq!(consecutive, failures, "{events:?}");
            }
            KeyEventKind::StaleEntered { .. } => {
                assert_eq!(staleness, 0, "{events:?}");
                staleness = 1;
            }
            KeyEventKind::Expired => {
                assert_eq!(staleness, 1, "{events:?}");
                staleness = 2;
            }
            KeyEventKind::StaleRecovered => {
                assert!(staleness > 0 && failures == 0, "{events:?}");
                staleness = 0;
            }
            KeyEventKind::UnknownKid { requests, .. } => unknown_kids += requests,
            KeyEventKind::EmptySet => assert!(failures > 0, "{events:?}"),
            KeyEventKind::Closed => open = false,
            _ => panic!("{event:?} is not expected here: {events:?}"),
        }
    }
    assert_eq!((open, unknown_kids), (false, not_found), "{events:?}");
}
