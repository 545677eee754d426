//! Tests of kids that an earlier fetch has not found: their own limit, and that they do not delay a new key.

use std::time::Duration;

use proptest::prelude::*;

use crate::jwks::cause::RefreshCause;
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::rotation::{Issuer, TICK};
use crate::jwks::refresh::tests::simulation::{
    DOWN, SECOND, Simulation, failed, fetch, fire, loaded, rounded, time_to_next_attempt,
};
use crate::jwks::refresh::{Change, Condition, Event, Outcome};

/// Returns a machine that has fetched twice for a kid, which is absent since, 20 s ago.
fn with_absent_kid() -> Simulation {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    fire(&mut simulation);
    simulation.finish(loaded(Change::Same));
    simulation.pass(20 * SECOND);
    simulation
}

fn cooldown(simulation: &Simulation) -> u64 {
    rounded(simulation.machine.unknown_kids.cooldown(&RefreshPolicy::new()))
}

#[test]
fn fetches_once_per_longest_cool_down() {
    let mut simulation = with_absent_kid();
    simulation.started.clear();
    let start = simulation.now;
    for _ in 0..1200 {
        simulation.step(Event::AbsentKid);
        simulation.run(SECOND / 10, |_| Some(loaded(Change::Same)));
    }
    let started: Vec<_> =
        simulation.started.iter().map(|(at, cause)| (at.saturating_since(start).as_secs(), *cause)).collect();
    assert_eq!(started, [0, 15, 30, 45, 60, 75, 90, 105, 120].map(|second| (second, RefreshCause::AbsentKid)));
}

#[test]
fn bypasses_caches_and_confirms_the_generation() {
    let mut simulation = with_absent_kid();
    assert_eq!(simulation.machine.confirmed_generation(), 3);
    assert_eq!(fetch(&simulation.step(Event::AbsentKid)), Some(RefreshCause::AbsentKid));
    assert_eq!(simulation.in_flight.map(|order| order.condition), Some(Condition::Always));
    simulation.finish(failed());
    assert_eq!(simulation.machine.confirmed_generation(), 3, "the fetch failed");
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
    simulation.finish(loaded(Change::Same));
    assert_eq!(simulation.machine.confirmed_generation(), 3, "a cache may have answered");
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::AbsentKid));
    simulation.finish(loaded(Change::Same));
    assert_eq!(simulation.machine.confirmed_generation(), 6);
}

#[test]
fn does_not_lengthen_the_cool_down_for_unknown_kids() {
    let mut simulation = with_absent_kid();
    assert_eq!(cooldown(&simulation), 2);
    simulation.step(Event::AbsentKid);
    simulation.finish(loaded(Change::Same));
    assert_eq!(cooldown(&simulation), 2);
    assert_eq!(fetch(&simulation.step(Event::UnknownKid)), Some(RefreshCause::UnknownKid), "no cool-down runs");
}

/// The time without an unknown kid passes while absent kids arrive.
#[test]
fn absent_kids_do_not_keep_the_cool_down_long() {
    let mut simulation = with_absent_kid();
    for _ in 0..60 {
        simulation.step(Event::AbsentKid);
        simulation.run(SECOND, |_| Some(loaded(Change::Same)));
    }
    simulation.step(Event::UnknownKid);
    assert_eq!(cooldown(&simulation), 1);
}

/// A new key that is published during the fetch for an absent kid.
#[test]
fn fetches_again_for_an_unknown_kid_that_joined_the_fetch_for_an_absent_one() {
    let mut simulation = with_absent_kid();
    simulation.step(Event::AbsentKid);
    assert_eq!(simulation.step(Event::UnknownKid), []);
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), Some(RefreshCause::UnknownKid));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);

    let mut found = with_absent_kid();
    found.step(Event::AbsentKid);
    found.step(Event::UnknownKid);
    assert_eq!(fetch(&found.finish(loaded(Change::Changed))), None, "the fetch in flight has found a new key");
}

#[test]
fn an_absent_kid_that_joined_is_looked_for_again() {
    for (first, expected) in [
        (Event::AbsentKid, None),
        (Event::FetchNow(RefreshCause::Reload), None),
        (Event::Timer, Some(RefreshCause::AbsentKid)),
    ] {
        let mut simulation = with_absent_kid();
        if first == Event::Timer {
            simulation.now = simulation.published.expect("loaded").refresh_at;
        }
        assert!(fetch(&simulation.step(first)).is_some());
        assert_eq!(simulation.step(Event::AbsentKid), []);
        // A cache may have answered the scheduled fetch. The others have looked for the kid, but it may have been published
        // since they started.
        assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), expected, "{first:?}");
        let mut causes = Vec::new();
        simulation.run(16 * SECOND, |order| {
            causes.push(order.cause);
            Some(loaded(Change::Same))
        });
        assert_eq!(causes, [RefreshCause::AbsentKid], "{first:?}");
    }
}

/// The follow-up fetch for an unknown kid looks for the absent one, too.
#[test]
fn an_absent_kid_that_joined_needs_no_fetch_after_that_for_an_unknown_kid() {
    let mut simulation = with_absent_kid();
    simulation.step(Event::UnknownKid);
    simulation.step(Event::AbsentKid);
    simulation.finish(loaded(Change::Same));
    let mut causes = Vec::new();
    simulation.run(30 * SECOND, |order| {
        causes.push(order.cause);
        Some(loaded(Change::Same))
    });
    assert_eq!(causes, [RefreshCause::UnknownKid]);
}

#[test]
fn schedules_a_follow_up_at_the_end_of_the_longest_cool_down() {
    let mut simulation = with_absent_kid();
    simulation.step(Event::AbsentKid);
    simulation.finish(loaded(Change::Same));
    assert!(!simulation.machine.has_absent_kid_follow_up(), "its own fetch started after it arrived");
    simulation.pass(SECOND);
    assert_eq!(simulation.step(Event::AbsentKid), []);
    assert!(simulation.machine.has_absent_kid_follow_up() && !simulation.machine.has_follow_up_fetch());
    assert_eq!(time_to_next_attempt(&simulation), 14 * SECOND);
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::AbsentKid));
    simulation.finish(loaded(Change::Same));
    assert!(!simulation.machine.has_absent_kid_follow_up());
}

#[test]
fn looks_for_an_absent_kid_again_after_a_failed_fetch() {
    let mut simulation = with_absent_kid();
    simulation.step(Event::AbsentKid);
    simulation.finish(failed());
    assert_eq!(simulation.step(Event::AbsentKid), [], "the backoff applies");
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
    assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None);
    assert_eq!(rounded(time_to_next_attempt(&simulation)), 14);
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::AbsentKid));
}

/// The server rejects requests that bypass caches, and clients send no more tokens.
#[test]
fn looks_for_an_absent_kid_at_most_twice_if_each_fetch_for_it_fails() {
    for joins in [false, true] {
        let mut simulation = with_absent_kid();
        simulation.started.clear();
        simulation.step(Event::AbsentKid);
        if joins {
            simulation.step(Event::AbsentKid);
        }
        simulation.run(200 * SECOND, |order| {
            Some(if order.cause == RefreshCause::AbsentKid { failed() } else { loaded(Change::Same) })
        });
        let absent = simulation.started.iter().filter(|(_, cause)| *cause == RefreshCause::AbsentKid).count();
        assert_eq!(absent, 2, "{:?}", simulation.started);
    }
}

#[test]
fn retry_after_for_an_absent_kid_does_not_delay_the_refresh() {
    let mut simulation = with_absent_kid();
    let refresh_at = simulation.published.expect("loaded").refresh_at;
    simulation.step(Event::AbsentKid);
    simulation.finish(Outcome::Failed { error: DOWN, retry_after: Some(300 * SECOND) });
    assert!(simulation.machine.next_attempt() <= Some(refresh_at), "{:?}", simulation.machine);
}

/// Returns the number of fetches for kids in the busiest minute.
fn busiest_minute_for_kids(simulation: &Simulation) -> usize {
    simulation.busiest_minute(|cause| matches!(cause, RefreshCause::UnknownKid | RefreshCause::AbsentKid))
}

/// G1: a flood of random kids beside absent kids causes at most 8 fetches a minute, together with those for absent kids.
#[test]
fn limits_fetches_in_a_flood_beside_absent_kids() {
    for jitter in [0, u32::MAX / 2, u32::MAX] {
        for quiet in 0..20 {
            let mut simulation = Simulation::loaded();
            simulation.sample.second = Jitter(jitter);
            for tick in 0..3600 {
                simulation.step(Event::AbsentKid);
                if (600 + quiet * 10..1800).contains(&tick) {
                    simulation.step(Event::UnknownKid);
                }
                simulation.run(TICK, |_| Some(loaded(Change::Same)));
            }
            let busiest = busiest_minute_for_kids(&simulation);
            assert!((7..=8).contains(&busiest), "{busiest} with {jitter}: {:?}", simulation.started);
        }
    }
}

/// G1: the worst mix of one absent kid and random kids. After a quiet minute, an attacker sends `ramp` random kids as soon as
/// each starts a fetch; then one after each fetch for the absent kid.
#[test]
fn limits_fetches_in_any_mix_of_absent_and_random_kids() {
    let mut largest = 0;
    for (ramp, absent_first) in (0..6).flat_map(|ramp| [(ramp, false), (ramp, true)]) {
        for jitter in [0, u32::MAX] {
            let mut simulation = Simulation::loaded();
            simulation.sample.second = Jitter(jitter);
            for _attack in 0..6 {
                let mut left = ramp;
                let mut sends_absent = absent_first;
                for _ in 0..1800 {
                    if sends_absent && fetch(&simulation.step(Event::AbsentKid)).is_some() {
                        simulation.finish(loaded(Change::Same));
                        left += 1;
                    }
                    if left > 0 && simulation.now >= simulation.machine.unknown_kid_fetch_from() {
                        simulation.step(Event::UnknownKid);
                        left -= 1;
                    }
                    sends_absent |= left == 0;
                    simulation.run(TICK, |_| Some(loaded(Change::Same)));
                }
                simulation.run(61 * SECOND, |_| Some(loaded(Change::Same)));
            }
            largest = largest.max(busiest_minute_for_kids(&simulation));
        }
    }
    assert_eq!(largest, 8);
}

proptest! {
    /// G1, for any sequence of tokens.
    #[test]
    fn limits_fetches_for_all_kids_together(
        tokens in proptest::collection::vec((0_u64..20_000, any::<bool>(), any::<(u32, u32)>()), 1..400),
    ) {
        let mut simulation = Simulation::loaded();
        for (pause, is_absent, (first, second)) in tokens {
            simulation.sample = Sample { first: Jitter(first), second: Jitter(second) };
            simulation.step(if is_absent { Event::AbsentKid } else { Event::UnknownKid });
            // Most tokens come right after another one.
            let pause = pause.saturating_sub(10_000);
            simulation.run(Duration::from_millis(pause), |_| Some(loaded(Change::Same)));
        }
        prop_assert!(busiest_minute_for_kids(&simulation) <= 8, "{:?}", simulation.started);
    }

    /// The first request with a new key waits for at most two fetches, whenever absent kids arrive: the one in flight, which
    /// may have started before the publication, and its own.
    #[test]
    fn a_new_key_is_usable_after_its_own_fetch_beside_absent_kids(
        delay in 1_u16..900,
        ambient in proptest::collection::vec(any::<bool>(), 1..80),
        quiet in 0_usize..2000,
    ) {
        let mut issuer = Issuer::new(vec![delay]);
        let send_ambient = |issuer: &mut Issuer, tick: usize| {
            if ambient[tick % ambient.len()] {
                issuer.send(Event::AbsentKid);
            }
        };
        for tick in 0..quiet {
            send_ambient(&mut issuer, tick);
            issuer.tick();
        }
        issuer.is_published = true;
        issuer.send(Event::UnknownKid);
        for tick in 0..=2 * usize::from(delay) / 100 {
            issuer.tick();
            send_ambient(&mut issuer, quiet + tick);
        }
        prop_assert!(issuer.is_known, "{:?}", issuer.simulation.started);
    }

    /// G3 for a key whose kid was found absent before it was published, with or without a flood of unknown kids: an attacker
    /// may have sent its kid.
    #[test]
    fn the_key_of_an_absent_kid_is_usable_within_the_cool_down_and_an_operation(
        delays in proptest::collection::vec(0_u16..4900, 1..8),
        attack in proptest::collection::vec(any::<bool>(), 1..40),
        flood in proptest::collection::vec(any::<bool>(), 1..40),
        has_flood in any::<bool>(),
        samples in proptest::collection::vec(any::<(u32, u32)>(), 1..40),
        published_at in 0_usize..4000,
        needed_after in 0_usize..50,
        attack_continues in any::<bool>(),
    ) {
        let mut issuer = Issuer::new(delays);
        let needed_at = published_at + needed_after;
        for tick in 0..needed_at + 210 {
            let (first, second) = samples[tick % samples.len()];
            issuer.simulation.sample = Sample { first: Jitter(first), second: Jitter(second) };
            issuer.is_published |= tick >= published_at;
            let goes_on = tick < needed_at || attack_continues;
            if !issuer.is_known && (tick == needed_at || goes_on && attack[tick % attack.len()]) {
                issuer.send(Event::AbsentKid);
            }
            if has_flood && goes_on && flood[tick % flood.len()] {
                issuer.send(Event::UnknownKid);
            }
            issuer.tick();
        }
        prop_assert!(issuer.is_known, "{:?}", issuer.simulation.machine);
    }
}
