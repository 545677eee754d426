//! Property tests of the guarantees under any sequence of events.

use std::time::Duration;

use proptest::prelude::*;

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::FreshnessState;
use crate::jwks::jitter::{Jitter, Rng, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::simulation::{SECOND, Simulation, failed, loaded};
use crate::jwks::refresh::{Change, Event, Outcome};

/// One step of a test.
#[derive(Clone, Copy, Debug)]
enum Input {
    Pass(u32),
    Fire,
    UnknownKid,
    AbsentKid,
    InvalidSignature,
    Flood(u8),
    Reload,
    Moved,
    Load,
    Confirm,
    Change(Option<u32>),
    Fail(Option<u32>),
    Panic,
    RuntimeEnds,
    Stray,
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => (0_u32..400_000).prop_map(Input::Pass),
        1 => (0_u32..8_000_000).prop_map(Input::Pass),
        8 => Just(Input::Fire),
        4 => Just(Input::UnknownKid),
        4 => Just(Input::AbsentKid),
        2 => Just(Input::InvalidSignature),
        2 => (1_u8..70).prop_map(Input::Flood),
        1 => Just(Input::Reload),
        1 => Just(Input::Moved),
        5 => Just(Input::Load),
        2 => Just(Input::Confirm),
        1 => proptest::option::of(any::<u32>()).prop_map(Input::Change),
        5 => proptest::option::of(0_u32..1000).prop_map(Input::Fail),
        1 => Just(Input::Panic),
        1 => Just(Input::RuntimeEnds),
        1 => Just(Input::Stray),
    ]
}

fn policy() -> impl Strategy<Value = RefreshPolicy> {
    prop_oneof![
        Just(RefreshPolicy::new()),
        Just(RefreshPolicy::new().with_strict_freshness()),
        Just(RefreshPolicy::new().dangerous_unbounded_staleness()),
        Just(RefreshPolicy::new().with_refresh_interval(60 * SECOND).with_max_stale(60 * SECOND)),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    (any::<u32>(), any::<u32>()).prop_map(|(first, second)| Sample { first: Jitter(first), second: Jitter(second) })
}

fn finish(simulation: &mut Simulation, outcome: Outcome) {
    if simulation.in_flight.is_some() {
        simulation.finish(outcome);
    }
}

fn perform(simulation: &mut Simulation, input: Input) {
    match input {
        Input::Pass(millis) => simulation.pass(Duration::from_millis(u64::from(millis))),
        Input::Fire => {
            simulation.now = simulation.now.max(simulation.machine.wake_at().unwrap_or(simulation.now));
            simulation.step(Event::Timer);
        }
        Input::UnknownKid => drop(simulation.step(Event::UnknownKid)),
        Input::AbsentKid => drop(simulation.step(Event::AbsentKid)),
        Input::InvalidSignature => drop(simulation.step(Event::InvalidSignature)),
        Input::Flood(seconds) => {
            for _ in 0..seconds {
                simulation.step(Event::UnknownKid);
                simulation.step(Event::AbsentKid);
                simulation.step(Event::InvalidSignature);
                simulation.run(SECOND, |_| Some(loaded(Change::Same)));
            }
        }
        Input::Reload => drop(simulation.step(Event::FetchNow(RefreshCause::Reload))),
        Input::Moved => drop(simulation.step(Event::FetchNow(RefreshCause::Moved))),
        Input::Load => finish(simulation, loaded(Change::Same)),
        Input::Confirm => finish(simulation, Outcome::NotModified { remaining: Some(Duration::ZERO) }),
        Input::Change(seconds) => {
            let remaining = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
            finish(simulation, Outcome::Loaded { remaining, change: Change::Changed });
        }
        Input::Fail(seconds) => {
            let retry_after = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
            finish(simulation, Outcome::Failed { error: RefreshError::InvalidDocument, retry_after });
        }
        Input::Panic | Input::RuntimeEnds => {
            simulation.in_flight = None;
            let is_panic = matches!(input, Input::Panic);
            let error = if is_panic { RefreshError::Panic } else { RefreshError::Interrupted };
            simulation.step(Event::Interrupted(error));
        }
        Input::Stray => {
            let generation = simulation.machine.generation().saturating_sub(1);
            simulation.step(Event::Finished { generation, outcome: loaded(Change::Changed) });
        }
    }
}

proptest! {
    /// G1, G2, G7, G10 and the order of the published times. [`Simulation::step`] asserts after every step that either a
    /// fetch is in flight or a timer is armed, and that only a confirmation changes the times of the keys.
    #[test]
    fn has_a_timer_or_a_fetch_in_flight_after_any_events(
        policy in policy(),
        inputs in proptest::collection::vec((input(), sample()), 1..120),
    ) {
        let mut simulation = Simulation::with(policy);
        simulation.step(Event::Begin);
        for (input, sample) in inputs {
            simulation.sample = sample;
            let published = simulation.published;
            perform(&mut simulation, input);
            // G2 and G10: whether the keys are usable depends on their own times alone.
            if let Some(times) = simulation.published {
                let usable = simulation.now < times.expires_at;
                prop_assert_eq!(simulation.freshness_state() < Some(FreshnessState::Expired), usable);
            }
            prop_assert!(simulation.published.is_some() || published.is_none(), "keys were lost");
        }
        // G1: the limits, with or without a change of the set.
        prop_assert!(simulation.busiest_minute(|cause| cause == RefreshCause::Scheduled) <= 2);
        let is_for_kid = |cause| matches!(cause, RefreshCause::UnknownKid | RefreshCause::AbsentKid);
        prop_assert!(simulation.busiest_minute(is_for_kid) <= 8, "{:?}", simulation.started);
        prop_assert!(simulation.busiest_minute(|cause| cause == RefreshCause::AbsentKid) <= 4, "{:?}", simulation.started);
        prop_assert!(simulation.busiest_minute(|cause| cause == RefreshCause::InvalidSignature) <= 1);
        // G7: after any sequence, a healthy issuer leads to fresh keys within the longest pause.
        simulation.run(310 * SECOND, |_| Some(loaded(Change::Same)));
        prop_assert!(simulation.freshness_state() < Some(FreshnessState::Stale), "{:?}", simulation.machine);
    }

    /// G1: a failing issuer gets at most 8 fetches in the first minute (12 without usable keys), then 2 (8) a minute.
    #[test]
    fn limits_fetches_from_a_failing_issuer(samples in proptest::collection::vec(sample(), 400), has_keys in any::<bool>()) {
        let mut simulation = if has_keys { Simulation::loaded() } else { Simulation::new() };
        simulation.step(Event::Begin);
        let mut samples = samples.into_iter().cycle();
        if has_keys {
            simulation.now = simulation.machine.wake_at().expect("armed");
            simulation.step(Event::Timer);
        }
        let start = simulation.now;
        simulation.started.retain(|(at, _)| *at >= start);
        for _ in 0..600 {
            simulation.sample = samples.next().expect("a cycle");
            simulation.step(Event::UnknownKid);
            simulation.run(SECOND, |_| Some(failed()));
        }
        let (first, later) = if has_keys { (8, 2) } else { (12, 8) };
        let fetches = |from: u64, to: u64| {
            let age = |at: Monotonic| at.saturating_since(start);
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            simulation.started.iter().filter(|(at, _)| age(*at) >= from && age(*at) < to).count()
        };
        prop_assert!(fetches(0, 60) <= first, "{}", fetches(0, 60));
        for minute in 1..10 {
            prop_assert!(fetches(minute * 60, minute * 60 + 60) <= later, "{:?}", simulation.started);
        }
    }

    /// G1: something on the path rejects each fetch that bypasses caches, and a cache answers the retries.
    #[test]
    fn limits_fetches_if_those_that_bypass_caches_fail(
        samples in proptest::collection::vec(sample(), 100),
        events in proptest::collection::vec(0_u8..4, 1..20),
    ) {
        let mut simulation = Simulation::loaded();
        let (start, before) = (simulation.now, simulation.started.len());
        for (tick, event) in events.iter().cycle().take(2400).enumerate() {
            simulation.sample = samples[tick % samples.len()];
            match event {
                0 => drop(simulation.step(Event::UnknownKid)),
                1 => drop(simulation.step(Event::AbsentKid)),
                2 => drop(simulation.step(Event::InvalidSignature)),
                _ => {}
            }
            simulation.run(SECOND / 4, |order| {
                Some(if order.cause.is_triggered_by_token() { failed() } else { loaded(Change::Same) })
            });
        }
        let by_token = simulation.started[before..].iter().filter(|(_, cause)| *cause != RefreshCause::Scheduled);
        let times: Vec<_> = by_token.map(|(at, _)| at.saturating_since(start)).collect();
        let busiest = |from: Duration| {
            let later = times.iter().filter(|at| **at >= from);
            later.map(|at| times.iter().filter(|other| **other >= *at && **other < *at + 59 * SECOND).count()).max()
        };
        prop_assert!(busiest(Duration::ZERO) <= Some(8), "{times:?}");
        prop_assert!(busiest(60 * SECOND) <= Some(2), "{times:?}");
    }

    /// G1: a flood of unknown kids causes at most 8 fetches a minute, also if the set changes meanwhile.
    #[test]
    fn limits_fetches_in_a_flood(samples in proptest::collection::vec(sample(), 100), change_at in 0_usize..600) {
        let mut simulation = Simulation::loaded();
        let changes_before = simulation.changes.len();
        for tick in 0..600 {
            simulation.sample = samples[tick % samples.len()];
            simulation.step(Event::UnknownKid);
            simulation.run(Duration::from_millis(100), |_| {
                let change = if tick >= change_at { Change::Changed } else { Change::Same };
                Some(loaded(change))
            });
            if simulation.changes.len() > changes_before {
                break;
            }
        }
        for tick in 0..600 {
            simulation.sample = samples[tick % samples.len()];
            simulation.step(Event::UnknownKid);
            simulation.run(Duration::from_millis(100), |_| Some(loaded(Change::Same)));
        }
        prop_assert!(simulation.busiest_minute(|cause| cause == RefreshCause::UnknownKid) <= 8);
    }
}

/// Fetches start at 0, 1, 3, 7, 15, 30 and 45 s, or up to a tenth earlier.
#[test]
fn makes_seven_fetches_a_minute_in_a_flood() {
    let mut simulation = Simulation::loaded();
    for _ in 0..590 {
        simulation.step(Event::UnknownKid);
        simulation.run(Duration::from_millis(100), |_| Some(loaded(Change::Same)));
    }
    assert_eq!(simulation.busiest_minute(|cause| cause == RefreshCause::UnknownKid), 7, "{:?}", simulation.started);
}

/// G3: during a flood a fetch starts at least once in the longest cool-down.
#[test]
fn fetches_within_the_longest_cool_down_in_a_flood() {
    let mut simulation = Simulation::loaded();
    for second in 0..600 {
        let before = simulation.started.len();
        for _ in 0..15 {
            simulation.step(Event::UnknownKid);
            simulation.run(SECOND, |_| Some(loaded(Change::Same)));
        }
        assert!(simulation.started.len() > before, "no fetch in 15 s after {second} rounds");
    }
}

/// F55: replicas that start together do not refresh together, neither the first time nor later. The limit is 3 fetches a
/// second; over ten seconds they make at most 2 a second, and by chance a few more within a single second.
#[test]
fn spreads_the_fetches_of_100_replicas() {
    const SECONDS: usize = 3000;
    for seed in 0..10 {
        let mut rng = Rng::from_seed(seed);
        let mut starts = vec![0; SECONDS + 1];
        for _ in 0..100 {
            let mut simulation = Simulation::new();
            simulation.sample = rng.sample();
            simulation.step(Event::Begin);
            let start = simulation.now;
            for _ in 0..12 {
                simulation.sample = rng.sample();
                simulation.run(250 * SECOND, |_| Some(loaded(Change::Same)));
            }
            for (at, _) in simulation.started.iter().skip(1) {
                let second = at.saturating_since(start).as_secs();
                starts[usize::try_from(second).expect("an hour at most")] += 1;
            }
        }
        let busiest = |span: usize| starts.windows(span).map(|span| span.iter().sum::<u32>()).max();
        assert!(busiest(10) <= Some(20), "{:?} fetches in ten seconds, seed {seed}", busiest(10));
        assert!(busiest(1) <= Some(6), "{:?} fetches in one second, seed {seed}", busiest(1));
        // They do refresh: about twelve times each.
        assert!((1100..=1500).contains(&starts.iter().sum::<u32>()), "{starts:?}");
    }
}

/// F55: a flood of unknown kids on all replicas at once does not synchronize them.
#[test]
fn spreads_the_fetches_of_100_replicas_in_a_flood() {
    let mut rng = Rng::from_seed(1);
    let mut starts: Vec<u64> = Vec::new();
    for _ in 0..100 {
        let mut simulation = Simulation::loaded();
        let start = simulation.now;
        for _ in 0..600 {
            simulation.sample = rng.sample();
            simulation.step(Event::UnknownKid);
            simulation.run(SECOND, |_| Some(loaded(Change::Same)));
        }
        let unknown_kids = simulation.started.iter().filter(|(_, cause)| *cause == RefreshCause::UnknownKid);
        starts.extend(unknown_kids.map(|(at, _)| at.saturating_since(start).as_secs()));
    }
    let busiest =
        |span: std::ops::Range<u64>| span.map(|second| starts.iter().filter(|at| **at == second).count()).max();
    assert_eq!(busiest(0..2), Some(200), "the first unknown kid starts a fetch and a follow-up on each replica");
    assert!(
        busiest(300..600) <= Some(30),
        "{:?} fetches in a second, after {:?} once",
        busiest(300..600),
        busiest(0..60)
    );
}
