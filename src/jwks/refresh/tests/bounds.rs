//! The guarantees, under any sequence of events.

use std::time::Duration;

use proptest::prelude::*;

use crate::clock::Monotonic;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::FreshnessState;
use crate::jwks::jitter::{Jitter, Rng, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::simulation::{SECOND, Simulation, failed, loaded};
use crate::jwks::refresh::{Cause, Change, Event, Outcome};

/// What a test lets happen.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Pass(u32),
    Fire,
    UnknownKid,
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

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0_u32..400_000).prop_map(Deed::Pass),
        1 => (0_u32..8_000_000).prop_map(Deed::Pass),
        8 => Just(Deed::Fire),
        4 => Just(Deed::UnknownKid),
        2 => (1_u8..70).prop_map(Deed::Flood),
        1 => Just(Deed::Reload),
        1 => Just(Deed::Moved),
        5 => Just(Deed::Load),
        2 => Just(Deed::Confirm),
        1 => proptest::option::of(any::<u32>()).prop_map(Deed::Change),
        5 => proptest::option::of(0_u32..1000).prop_map(Deed::Fail),
        1 => Just(Deed::Panic),
        1 => Just(Deed::RuntimeEnds),
        1 => Just(Deed::Stray),
    ]
}

fn policy() -> impl Strategy<Value = RefreshPolicy> {
    prop_oneof![
        Just(RefreshPolicy::new()),
        Just(RefreshPolicy::new().strict_freshness()),
        Just(RefreshPolicy::new().dangerous_unbounded_staleness()),
        Just(RefreshPolicy::new().with_refresh_every(60 * SECOND).with_max_stale(60 * SECOND)),
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

fn perform(simulation: &mut Simulation, deed: Deed) {
    match deed {
        Deed::Pass(millis) => simulation.pass(Duration::from_millis(u64::from(millis))),
        Deed::Fire => {
            simulation.now = simulation.now.max(simulation.machine.wake_at().unwrap_or(simulation.now));
            simulation.step(Event::Timer);
        }
        Deed::UnknownKid => drop(simulation.step(Event::UnknownKid)),
        Deed::Flood(seconds) => {
            for _ in 0..seconds {
                simulation.step(Event::UnknownKid);
                simulation.run(SECOND, |_| Some(loaded(Change::Same)));
            }
        }
        Deed::Reload => drop(simulation.step(Event::FetchNow(Cause::Manual))),
        Deed::Moved => drop(simulation.step(Event::FetchNow(Cause::Moved))),
        Deed::Load => finish(simulation, loaded(Change::Same)),
        Deed::Confirm => finish(simulation, Outcome::NotModified { remaining: Some(Duration::ZERO) }),
        Deed::Change(seconds) => {
            let remaining = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
            finish(simulation, Outcome::Loaded { remaining, change: Change::Changed });
        }
        Deed::Fail(seconds) => {
            let retry_after = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
            finish(simulation, Outcome::Failed { error: RefreshError::InvalidDocument, retry_after });
        }
        Deed::Panic | Deed::RuntimeEnds => {
            simulation.in_flight = None;
            let is_panic = matches!(deed, Deed::Panic);
            let error = if is_panic { RefreshError::Panic } else { RefreshError::Interrupted };
            simulation.step(Event::Interrupted(error));
        }
        Deed::Stray => {
            let generation = simulation.machine.generation().saturating_sub(1);
            simulation.step(Event::Finished { generation, outcome: loaded(Change::Changed) });
        }
    }
}

proptest! {
    /// G1, G2, G7, G10 and the order of all that is published; [`Simulation::step`] asserts after every step that
    /// exactly one of a fetch and a timer is there, and that nothing but a confirmation moves the times of the keys.
    #[test]
    fn timer_always_armed_prop(
        policy in policy(),
        deeds in proptest::collection::vec((deed(), sample()), 1..120),
    ) {
        let mut simulation = Simulation::with(policy);
        simulation.step(Event::Begin);
        for (deed, sample) in deeds {
            simulation.sample = sample;
            let published = simulation.published;
            perform(&mut simulation, deed);
            // G2 and G10: the machine's judgement of the keys is that of their own times, and nothing else.
            if let Some(times) = simulation.published {
                let usable = simulation.now < times.expires_at;
                prop_assert_eq!(simulation.freshness_state() < Some(FreshnessState::Expired), usable);
            }
            prop_assert!(simulation.published.is_some() || published.is_none(), "keys were lost");
        }
        // G1: a window without a change of the set, and one with some.
        prop_assert!(simulation.busiest_minute(|cause| cause == Cause::Scheduled) <= 2);
        let at_most = if simulation.changes.is_empty() { 8 } else { 12 };
        prop_assert!(simulation.busiest_minute(|cause| cause == Cause::UnknownKid) <= at_most, "{:?}", simulation.begun);
        // G7: whatever has happened, a healthy issuer brings fresh keys within the longest pause.
        simulation.run(310 * SECOND, |_| Some(loaded(Change::Same)));
        prop_assert!(simulation.freshness_state() < Some(FreshnessState::Stale), "{:?}", simulation.machine);
    }

    /// G1: an issuer that fails is asked 8 times in the first minute (12 while nothing can be served), then 2 (8) times.
    #[test]
    fn a_failing_issuer_is_asked_seldom(rolls in proptest::collection::vec(sample(), 400), has_keys in any::<bool>()) {
        let mut simulation = if has_keys { Simulation::loaded() } else { Simulation::new() };
        simulation.step(Event::Begin);
        let mut rolls = rolls.into_iter().cycle();
        if has_keys {
            simulation.now = simulation.machine.wake_at().expect("armed");
            simulation.step(Event::Timer);
        }
        let start = simulation.now;
        simulation.begun.retain(|(at, _)| *at >= start);
        for _ in 0..600 {
            simulation.sample = rolls.next().expect("a cycle");
            simulation.step(Event::UnknownKid);
            simulation.run(SECOND, |_| Some(failed()));
        }
        let (first, later) = if has_keys { (8, 2) } else { (12, 8) };
        let asked = |from: u64, to: u64| {
            let age = |at: Monotonic| at.saturating_since(start);
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            simulation.begun.iter().filter(|(at, _)| age(*at) >= from && age(*at) < to).count()
        };
        prop_assert!(asked(0, 60) <= first, "{}", asked(0, 60));
        for minute in 1..10 {
            prop_assert!(asked(minute * 60, minute * 60 + 60) <= later, "{:?}", simulation.begun);
        }
    }

    /// G1: a flood of unknown key ids from rest costs 8 fetches a minute, 12 if the set changes once meanwhile.
    #[test]
    fn a_flood_is_answered_seldom(rolls in proptest::collection::vec(sample(), 100), change_at in 0_usize..600) {
        let mut simulation = Simulation::loaded();
        let changes_before = simulation.changes.len();
        for tick in 0..600 {
            simulation.sample = rolls[tick % rolls.len()];
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
            simulation.sample = rolls[tick % rolls.len()];
            simulation.step(Event::UnknownKid);
            simulation.run(Duration::from_millis(100), |_| Some(loaded(Change::Same)));
        }
        prop_assert!(simulation.busiest_minute(|cause| cause == Cause::UnknownKid) <= 12);
    }
}

/// At 0, 1, 3, 7, 15, 30 and 45 s, or up to a tenth earlier.
#[test]
fn a_flood_from_rest_costs_seven_fetches_in_a_minute() {
    let mut simulation = Simulation::loaded();
    for _ in 0..590 {
        simulation.step(Event::UnknownKid);
        simulation.run(Duration::from_millis(100), |_| Some(loaded(Change::Same)));
    }
    assert_eq!(simulation.busiest_minute(|cause| cause == Cause::UnknownKid), 7, "{:?}", simulation.begun);
}

/// G3: whatever the flood, a new key is there within the longest cool-down.
#[test]
fn a_flood_does_not_delay_a_new_key() {
    let mut simulation = Simulation::loaded();
    for second in 0..600 {
        let before = simulation.begun.len();
        for _ in 0..15 {
            simulation.step(Event::UnknownKid);
            simulation.run(SECOND, |_| Some(loaded(Change::Same)));
        }
        assert!(simulation.begun.len() > before, "no fetch in 15 s after {second} rounds");
    }
}

/// F55: replicas that start together do not come back together, the first time or any later one. The row allows them 3
/// fetches a second; they make 2 at most over ten seconds, and by chance a few more within a single one.
#[test]
fn replicas_100_jitter() {
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
            for (at, _) in simulation.begun.iter().skip(1) {
                let second = at.saturating_since(start).as_secs();
                starts[usize::try_from(second).expect("an hour at most")] += 1;
            }
        }
        let busiest = |span: usize| starts.windows(span).map(|span| span.iter().sum::<u32>()).max();
        assert!(busiest(10) <= Some(20), "{:?} fetches in ten seconds, seed {seed}", busiest(10));
        assert!(busiest(1) <= Some(6), "{:?} fetches in one second, seed {seed}", busiest(1));
        // They do come back: each has its twelve or so refreshes.
        assert!((1100..=1500).contains(&starts.iter().sum::<u32>()), "{starts:?}");
    }
}

/// F55: nor do strangers that flood all replicas at once keep them in step.
#[test]
fn replicas_100_drift_apart_in_a_flood() {
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
        let unknown_kids = simulation.begun.iter().filter(|(_, cause)| *cause == Cause::UnknownKid);
        starts.extend(unknown_kids.map(|(at, _)| at.saturating_since(start).as_secs()));
    }
    let busiest =
        |span: std::ops::Range<u64>| span.map(|second| starts.iter().filter(|at| **at == second).count()).max();
    assert_eq!(busiest(0..2), Some(200), "the first stranger finds all of them at rest, and is owed one more");
    assert!(
        busiest(300..600) <= Some(30),
        "{:?} fetches in a second, after {:?} once",
        busiest(300..600),
        busiest(0..60)
    );
}
