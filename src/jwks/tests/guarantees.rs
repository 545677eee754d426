//! Property tests of G5, G6, G8 and G9: requests, failures of another source and a wall clock that is set back do not
//! change when a source fetches.

use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinHandle;

use crate::clock::{Clock as _, Monotonic, Timestamp};
use crate::defaults;
use crate::fetch::{Endpoint, FetchError};
use crate::jwks::origin::Origin;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::source::KeySource;
use crate::jwks::tests::kit::{Fixture, Outcome, SECOND, URL, jwks};
use crate::testing::{FakeClock, FakeFetch, Reply};

const TICK: Duration = Duration::from_millis(100);

fn seeded() -> RefreshPolicy {
    RefreshPolicy::new().with_jitter_seed(7)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(work)
}

/// The reply of the issuer from now on.
fn reply() -> impl Strategy<Value = Reply> {
    (0_usize..5, 0_u64..3500).prop_map(|(kind, millis)| {
        let reply = match kind {
            0 => Reply::error(FetchError::Tls),
            1 => Reply::status(http::StatusCode::INTERNAL_SERVER_ERROR),
            2 => Reply::hang(),
            _ => Reply::json(jwks(&["a"])),
        };
        reply.with_delay(Duration::from_millis(millis))
    })
}

/// Starts a request that returns by how much it exceeded its longest allowed wait.
fn timed(fixture: &Fixture, kid: &'static str, cold_wait: Duration) -> JoinHandle<(Outcome, Duration)> {
    let (source, clock) = (fixture.source.clone(), fixture.clock.clone());
    tokio::spawn(async move {
        let longest = if source.status().is_ready() { defaults::UNKNOWN_KID_WAIT } else { cold_wait };
        let start = clock.monotonic();
        let outcome = Fixture::request(&source, kid).await;
        (outcome, clock.monotonic().saturating_since(start).saturating_sub(longest))
    })
}

/// Returns when the fetches started.
fn fetch_times(fixture: &Fixture) -> Vec<Monotonic> {
    fixture.network.requests().iter().map(|request| request.at).collect()
}

/// Runs a cold source with scripted replies, and starts `arrivals` requests at each tick.
async fn cold(
    replies: &[Reply],
    cold_wait: Duration,
    arrivals: &[u8],
    kid: &'static str,
) -> (Vec<Monotonic>, Duration) {
    let fixture = Fixture::with(seeded().with_cold_wait(cold_wait), replies[replies.len() - 1].clone());
    for reply in replies {
        fixture.network.once(URL, reply.clone());
    }
    let mut requests = Vec::new();
    for arriving in arrivals {
        requests.extend((0..*arriving).map(|_| timed(&fixture, kid, cold_wait)));
        fixture.run(TICK).await;
        assert!(fixture.network.in_flight() <= 1);
    }
    fixture.run(10 * SECOND).await;
    let mut excess = Duration::ZERO;
    for request in requests {
        let (outcome, excess_wait) = request.await.expect("no panic");
        assert_ne!(outcome, if kid == "a" { Outcome::NotFound } else { Outcome::Served });
        excess = excess.max(excess_wait);
    }
    (fetch_times(&fixture), excess)
}

/// One request of a script: the tick at which it arrives, and the number of ticks after which it is dropped, if it is.
type Arrival = (u8, Option<u8>);

/// Runs requests for the key `b`, which is published at a tick. Returns when the fetches started, and the outcomes of the
/// requests that are not dropped.
async fn run_with_drops(
    script: &[Arrival],
    delays: &[u16],
    published_at: u8,
    drops: bool,
) -> (Vec<Monotonic>, Vec<Option<Outcome>>) {
    let fixture = Fixture::with(seeded(), Reply::json(jwks(&["a"])));
    fixture.clock.settle().await;
    let mut requests: Vec<(Arrival, JoinHandle<Outcome>)> = Vec::new();
    for tick in 0..=u8::MAX {
        let kids: &[&str] = if tick < published_at { &["a"] } else { &["a", "b"] };
        let delay = Duration::from_millis(u64::from(delays[fixture.network.calls() % delays.len()]));
        fixture.answer(Reply::json(jwks(kids)).with_delay(delay));
        for arrival in script.iter().filter(|(at, _)| *at == tick) {
            requests.push((*arrival, fixture.spawn("b")));
            // The first lookup always completes; the request is dropped while it waits.
            fixture.clock.settle().await;
        }
        for ((at, dropped_after), request) in &requests {
            if drops && dropped_after.is_some_and(|ticks| at.saturating_add(ticks) == tick) {
                request.abort();
                fixture.clock.settle().await;
            }
        }
        fixture.run(TICK).await;
    }
    fixture.run(300 * SECOND).await;
    let mut outcomes = Vec::new();
    for ((_, dropped_after), request) in requests {
        let outcome = request.await.ok();
        outcomes.push(outcome.filter(|_| dropped_after.is_none()));
    }
    (fetch_times(&fixture), outcomes)
}

/// Runs two sources with one HTTP client; the second one gets failures and unknown kids if `is_disturbed`.
async fn side_by_side(script: &[(Reply, u8)], is_disturbed: bool) -> (Vec<Monotonic>, Vec<bool>) {
    const OTHER: &str = "https://other.example/jwks";
    let clock = FakeClock::new();
    let network = FakeFetch::new(&clock);
    network.always(URL, Reply::json(jwks(&["a"])).with_delay(SECOND));
    network.always(OTHER, Reply::json(jwks(&["a"])));
    let [one, other] = [URL, OTHER].map(|url| -> KeySource {
        let origin = Origin::jwks(url, Endpoint::new(url).expect("url"));
        Fixture::source(origin, seeded().with_max_waiters(4), &network, &clock)
    });
    let mut served = Vec::new();
    for (reply, seconds) in script {
        if is_disturbed {
            network.always(OTHER, reply.clone());
            for source in std::iter::repeat_n(&other, 6) {
                let source = source.clone();
                drop(tokio::spawn(async move { Fixture::request(&source, "zz").await }));
            }
            let source = other.clone();
            drop(tokio::spawn(async move { source.reload().await }));
        }
        let source = one.clone();
        let request = tokio::spawn(async move { Fixture::request(&source, "a").await == Outcome::Served });
        clock.run_for(SECOND * u32::from(*seconds)).await;
        served.push(request.is_finished());
    }
    let requests = network.requests();
    (requests.iter().filter(|request| request.url == URL).map(|request| request.at).collect(), served)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// G5: the number of requests to a cold source does not change its fetches, and no request waits longer than
    /// `cold_wait`, even if it needs a second fetch for its kid.
    #[test]
    fn cold_requests_share_the_scheduled_fetches(
        replies in proptest::collection::vec(reply(), 1..6),
        cold_wait in 1000_u64..=5000,
        arrivals in proptest::collection::vec(0_u8..4, 1..80),
    ) {
        let cold_wait = Duration::from_millis(cold_wait);
        let none = vec![0; arrivals.len()];
        let (without_requests, _) = run(cold(&replies, cold_wait, &none, "a"));
        let (with_requests, excess) = run(cold(&replies, cold_wait, &arrivals, "a"));
        prop_assert_eq!((without_requests, Duration::ZERO), (with_requests, excess));
        let (_, excess) = run(cold(&replies, cold_wait, &arrivals, "zz"));
        prop_assert_eq!(excess, Duration::ZERO);
    }

    /// G6: a dropped request changes neither a fetch nor the outcome of another request.
    #[test]
    fn dropped_requests_change_no_fetch_and_no_outcome(
        script in proptest::collection::vec((0_u8..200, proptest::option::of(0_u8..40)), 1..30),
        delays in proptest::collection::vec(0_u16..2900, 1..6),
        published_at in 0_u8..200,
    ) {
        let without_drops = run(run_with_drops(&script, &delays, published_at, false));
        let with_drops = run(run_with_drops(&script, &delays, published_at, true));
        prop_assert_eq!(without_drops, with_drops);
    }

    /// G9: a wall clock that is set back at any time changes neither fetches nor states.
    #[test]
    fn a_wall_clock_set_back_changes_no_fetch_and_no_state(
        script in proptest::collection::vec((reply(), 1_u8..120, 0_u64..1_000_000_000), 1..12),
    ) {
        let fetches_and_states = |is_right: bool| run(async {
            let fixture = Fixture::with(seeded().with_max_stale(400 * SECOND), Reply::json(jwks(&["a"])));
            let mut states = Vec::new();
            for (reply, seconds, wall) in &script {
                if !is_right {
                    fixture.clock.set_wall(fixture.clock.now().saturating_sub(Duration::from_secs(*wall)));
                }
                fixture.answer(reply.clone());
                fixture.run(SECOND * u32::from(*seconds)).await;
                states.push((fixture.source.status(), fixture.serves("a")));
            }
            (fetch_times(&fixture), states)
        });
        prop_assert_eq!(fetches_and_states(true), fetches_and_states(false));
    }

    /// G9: a set is never used longer than the monotonic clock alone allows.
    #[test]
    fn no_wall_clock_extends_the_use_of_a_set(
        script in proptest::collection::vec((1_u8..120, 0_i64..5_000_000_000), 1..12),
    ) {
        let max_stale = 400 * SECOND;
        run(async {
            let fixture = Fixture::loaded_with(seeded().with_max_stale(max_stale), &["a"]).await;
            fixture.answer(Reply::error(FetchError::Tls));
            let confirmed_at = fixture.clock.monotonic();
            for (seconds, wall) in script {
                fixture.clock.set_wall(Timestamp::from_secs(wall));
                fixture.run(SECOND * u32::from(seconds)).await;
                let age = fixture.clock.monotonic().saturating_since(confirmed_at);
                assert!(age < max_stale || !fixture.serves("a"), "{age:?}");
                assert!(fixture.source.status().age() >= Some(age));
            }
        });
    }

    /// G8: failures and unknown kids of one source do not change the fetches of another with the same HTTP client.
    #[test]
    fn failures_of_one_source_do_not_affect_another(
        script in proptest::collection::vec((reply(), 1_u8..90), 1..12),
    ) {
        prop_assert_eq!(run(side_by_side(&script, false)), run(side_by_side(&script, true)));
    }
}
