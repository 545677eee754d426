//! G5, G6, G8 and G9 under any schedule: what requests do, what another source suffers, and how far the wall clock is set
//! back, moves no fetch.

use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinHandle;

use crate::clock::{Clock as _, Monotonic, Timestamp};
use crate::defaults;
use crate::fetch::{Endpoint, FetchError};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::shared::Origin;
use crate::jwks::source::KeySource;
use crate::jwks::tests::kit::{Outcome, SECOND, URL, World, jwks};
use crate::testing::{FakeClock, FakeFetch, Reply};

const TICK: Duration = Duration::from_millis(100);

fn seeded() -> RefreshPolicy {
    RefreshPolicy::new().with_jitter_seed(7)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(work)
}

/// What the issuer answers from now on.
fn reply() -> impl Strategy<Value = Reply> {
    (0_usize..5, 0_u64..3500).prop_map(|(kind, millis)| {
        let reply = match kind {
            0 => Reply::error(FetchError::Tls),
            1 => Reply::status(http::StatusCode::INTERNAL_SERVER_ERROR),
            2 => Reply::hang(),
            _ => Reply::json(jwks(&["a"])),
        };
        reply.after(Duration::from_millis(millis))
    })
}

/// Starts a request that tells by how much it waited too long.
fn timed(world: &World, kid: &'static str, cold_wait: Duration) -> JoinHandle<(Outcome, Duration)> {
    let (source, clock) = (world.source.clone(), world.clock.clone());
    tokio::spawn(async move {
        let longest = if source.status().is_ready() { defaults::UNKNOWN_KID_WAIT } else { cold_wait };
        let start = clock.monotonic();
        let verdict = World::request(&source, kid).await;
        (verdict, clock.monotonic().saturating_since(start).saturating_sub(longest))
    })
}

/// When fetches began.
fn begun(world: &World) -> Vec<Monotonic> {
    world.network.requests().iter().map(|request| request.at).collect()
}

/// A cold source whose issuer answers as scripted, and so many requests at each tick.
async fn cold(
    replies: &[Reply],
    cold_wait: Duration,
    arrivals: &[u8],
    kid: &'static str,
) -> (Vec<Monotonic>, Duration) {
    let world = World::with(seeded().with_cold_wait(cold_wait), replies[replies.len() - 1].clone());
    for reply in replies {
        world.network.once(URL, reply.clone());
    }
    let mut requests = Vec::new();
    for arriving in arrivals {
        requests.extend((0..*arriving).map(|_| timed(&world, kid, cold_wait)));
        world.run(TICK).await;
        assert!(world.network.in_flight() <= 1);
    }
    world.run(10 * SECOND).await;
    let mut too_long = Duration::ZERO;
    for request in requests {
        let (verdict, beyond) = request.await.expect("no panic");
        assert_ne!(verdict, if kid == "a" { Outcome::NotFound } else { Outcome::Served });
        too_long = too_long.max(beyond);
    }
    (begun(&world), too_long)
}

/// One request of a script: when it comes, and after how many ticks its client goes away, if it does.
type Arrival = (u8, Option<u8>);

/// Requests for `b`, which is published in between; says when fetches began and what became of the requests that stayed.
async fn dropping(
    script: &[Arrival],
    delays: &[u16],
    published_at: u8,
    drops: bool,
) -> (Vec<Monotonic>, Vec<Option<Outcome>>) {
    let world = World::with(seeded(), Reply::json(jwks(&["a"])));
    world.clock.settle().await;
    let mut requests: Vec<(Arrival, JoinHandle<Outcome>)> = Vec::new();
    for tick in 0..=u8::MAX {
        let kids: &[&str] = if tick < published_at { &["a"] } else { &["a", "b"] };
        let delay = Duration::from_millis(u64::from(delays[world.network.calls() % delays.len()]));
        world.answer(Reply::json(jwks(kids)).after(delay));
        for arrival in script.iter().filter(|(at, _)| *at == tick) {
            requests.push((*arrival, world.spawn("b")));
            // Its first look is its own; it goes away while it waits.
            world.clock.settle().await;
        }
        for ((at, leaves), request) in &requests {
            if drops && leaves.is_some_and(|ticks| at.saturating_add(ticks) == tick) {
                request.abort();
                world.clock.settle().await;
            }
        }
        world.run(TICK).await;
    }
    world.run(300 * SECOND).await;
    let mut verdicts = Vec::new();
    for ((_, leaves), request) in requests {
        let verdict = request.await.ok();
        verdicts.push(verdict.filter(|_| leaves.is_none()));
    }
    (begun(&world), verdicts)
}

/// Two sources with one backend; the second of them suffers, if `suffers`.
async fn side_by_side(script: &[(Reply, u8)], suffers: bool) -> (Vec<Monotonic>, Vec<bool>) {
    const OTHER: &str = "https://other.example/jwks";
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    network.always(URL, Reply::json(jwks(&["a"])).after(SECOND));
    network.always(OTHER, Reply::json(jwks(&["a"])));
    let [one, other] = [URL, OTHER].map(|url| -> KeySource {
        let origin = Origin::jwks(url, Endpoint::new(url).expect("url"));
        World::source(origin, seeded().with_max_waiters(4), &network, &clock)
    });
    let mut served = Vec::new();
    for (reply, seconds) in script {
        if suffers {
            network.always(OTHER, reply.clone());
            for source in std::iter::repeat_n(&other, 6) {
                let source = source.clone();
                drop(tokio::spawn(async move { World::request(&source, "zz").await }));
            }
            let source = other.clone();
            drop(tokio::spawn(async move { source.reload().await }));
        }
        let source = one.clone();
        let request = tokio::spawn(async move { World::request(&source, "a").await == Outcome::Served });
        clock.run_for(SECOND * u32::from(*seconds)).await;
        served.push(request.is_finished());
    }
    let requests = network.requests();
    (requests.iter().filter(|request| request.url == URL).map(|request| request.at).collect(), served)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// G5: however many requests come while a source is cold, it fetches as if none had, and none waits longer than
    /// `cold_wait`, even where it needs a second fetch for its key id.
    #[test]
    fn cold_requests_share_what_is_fetched_anyway(
        replies in proptest::collection::vec(reply(), 1..6),
        cold_wait in 1000_u64..=5000,
        arrivals in proptest::collection::vec(0_u8..4, 1..80),
    ) {
        let cold_wait = Duration::from_millis(cold_wait);
        let nobody = vec![0; arrivals.len()];
        let (alone, _) = run(cold(&replies, cold_wait, &nobody, "a"));
        let (crowded, too_long) = run(cold(&replies, cold_wait, &arrivals, "a"));
        prop_assert_eq!((alone, Duration::ZERO), (crowded, too_long));
        let (_, too_long) = run(cold(&replies, cold_wait, &arrivals, "zz"));
        prop_assert_eq!(too_long, Duration::ZERO);
    }

    /// G6: which clients go away, and when, changes no fetch and no answer of the others.
    #[test]
    fn clients_that_go_away_change_nothing(
        script in proptest::collection::vec((0_u8..200, proptest::option::of(0_u8..40)), 1..30),
        delays in proptest::collection::vec(0_u16..2900, 1..6),
        published_at in 0_u8..200,
    ) {
        let stayed = run(dropping(&script, &delays, published_at, false));
        let left = run(dropping(&script, &delays, published_at, true));
        prop_assert_eq!(stayed, left);
    }

    /// G9: the wall clock may be set back at any time.
    #[test]
    fn a_wall_clock_that_is_set_back_decides_nothing(
        script in proptest::collection::vec((reply(), 1_u8..120, 0_u64..1_000_000_000), 1..12),
    ) {
        let last_reported = |is_right: bool| run(async {
            let world = World::with(seeded().with_max_stale(400 * SECOND), Reply::json(jwks(&["a"])));
            let mut states = Vec::new();
            for (reply, seconds, wall) in &script {
                if !is_right {
                    world.clock.set_wall(world.clock.now().saturating_sub(Duration::from_secs(*wall)));
                }
                world.answer(reply.clone());
                world.run(SECOND * u32::from(*seconds)).await;
                states.push((world.source.status(), world.serves("a")));
            }
            (begun(&world), states)
        });
        prop_assert_eq!(last_reported(true), last_reported(false));
    }

    /// G9: whatever the wall clock says, a set is used no longer than by the monotonic clock alone.
    #[test]
    fn no_wall_clock_lengthens_the_use_of_a_set(
        script in proptest::collection::vec((1_u8..120, 0_i64..5_000_000_000), 1..12),
    ) {
        let max_stale = 400 * SECOND;
        run(async {
            let world = World::loaded_with(seeded().with_max_stale(max_stale), &["a"]).await;
            world.answer(Reply::error(FetchError::Tls));
            let confirmed_at = world.clock.monotonic();
            for (seconds, wall) in script {
                world.clock.set_wall(Timestamp::from_secs(wall));
                world.run(SECOND * u32::from(seconds)).await;
                let age = world.clock.monotonic().saturating_since(confirmed_at);
                assert!(age < max_stale || !world.serves("a"), "{age:?}");
                assert!(world.source.status().age() >= Some(age));
            }
        });
    }

    /// G8: what one source suffers, and what strangers do to it, moves no fetch of another with the same backend.
    #[test]
    fn a_source_that_suffers_takes_nothing_from_another(
        script in proptest::collection::vec((reply(), 1_u8..90), 1..12),
    ) {
        prop_assert_eq!(run(side_by_side(&script, false)), run(side_by_side(&script, true)));
    }
}
