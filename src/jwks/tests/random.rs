//! Any sequence of answers and requests: who gets what is decided by the state of the keys alone.

use proptest::prelude::*;

use crate::fetch::FetchError;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::status::KeyState;
use crate::jwks::tests::kit::{SECOND, Verdict, World, jwks};
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
            let policy = RefreshPolicy::new().with_max_stale(400 * SECOND);
            let world = World::with(policy, Reply::json(jwks(&["a"])));
            for (reply, seconds) in script {
                world.answer(reply);
                world.run(std::time::Duration::from_secs(seconds)).await;
                check(&world).await;
            }
        });
    }
}

async fn check(world: &World) {
    let state = world.source.status().state();
    let is_usable = matches!(state, KeyState::Fresh | KeyState::Aging | KeyState::Stale);
    assert_eq!(world.serves("a"), is_usable, "{state}");
    let (known, unknown) = (world.spawn("a"), world.spawn("zz"));
    world.run(5 * SECOND).await;
    let (known, unknown) = (known.await.expect("no panic"), unknown.await.expect("no panic"));
    if is_usable {
        assert_eq!(known, Verdict::Served, "{state}");
        // Unless the keys expire while it waits: then nobody knows.
        let stays_usable = world.source.status().is_ready();
        assert!(unknown == Verdict::NotFound || !stays_usable && unknown != Verdict::Served, "{state}: {unknown:?}");
    }
    let told_unavailable = |verdict| matches!(verdict, Verdict::Unavailable(wait) if wait >= SECOND);
    if !is_usable && !world.source.status().is_ready() {
        assert!(told_unavailable(known) && told_unavailable(unknown), "{state}: {known:?}, {unknown:?}");
    }
}
