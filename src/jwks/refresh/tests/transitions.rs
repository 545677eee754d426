//! Tests of each transition of the state machine.

use std::time::Duration;

use crate::clock::Monotonic;
use crate::jwks::cause::RefreshCause;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::FreshnessState;
use crate::jwks::jitter::Sample;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::tests::simulation::{
    DOWN, SECOND, Simulation, failed, fetch, fire, loaded, rounded, time_to_next_attempt,
};
use crate::jwks::refresh::{Action, Activity, Change, Condition, Event, Outcome};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn t1_the_first_use_fetches_once() {
    let mut simulation = Simulation::new();
    assert_eq!(simulation.machine.activity(), Activity::NotStarted);
    assert_eq!(fetch(&simulation.step(Event::Begin)), Some(RefreshCause::Initial));
    assert_eq!(simulation.step(Event::Begin), []);
}

#[test]
fn t2_a_loaded_set_is_fresh_and_its_refresh_is_armed() {
    let mut simulation = Simulation::new();
    simulation.step(Event::Begin);
    let actions = simulation.finish(loaded(Change::Changed));
    assert!(matches!(actions[..], [Action::Publish(_)]), "{actions:?}");
    assert_eq!(simulation.freshness_state(), Some(FreshnessState::Fresh));
    assert_eq!(simulation.machine.activity(), Activity::Idle);
    assert_eq!(simulation.machine.next_attempt(), simulation.published.map(|times| times.refresh_at));
}

#[test]
fn t2_ignores_a_result_of_an_older_generation() {
    let mut simulation = Simulation::new();
    simulation.step(Event::Begin);
    let late = simulation.machine.generation();
    fire(&mut simulation);
    fire(&mut simulation);
    assert!(simulation.machine.generation() > late);
    assert_eq!(simulation.step(Event::Finished { generation: late, outcome: loaded(Change::Changed) }), []);
    assert_eq!(simulation.published, None);
    simulation.finish(loaded(Change::Changed));
    assert_eq!(simulation.step(Event::Finished { generation: late, outcome: failed() }), []);
}

#[test]
fn t3_a_304_confirms() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    assert_eq!(simulation.in_flight.map(|order| order.condition), Some(Condition::IfNoneMatch));
    let actions = simulation.finish(Outcome::NotModified { remaining: None });
    assert!(matches!(actions[..], [Action::Publish(times)] if times.confirmed_at == simulation.now), "{actions:?}");
}

#[test]
fn t4_keeps_the_keys_and_backs_off_after_a_failure() {
    let mut simulation = Simulation::loaded();
    let times = simulation.published;
    fire(&mut simulation);
    let actions = simulation.finish(failed());
    assert!(matches!(actions[..], [Action::NotifyFailed { error: DOWN, consecutive: 1, .. }]), "{actions:?}");
    assert_eq!(simulation.published, times);
    assert!(matches!(simulation.machine.activity(), Activity::Backoff { .. }));
}

#[test]
fn t4_backoff_doubles_to_a_minute_with_equal_jitter() {
    for (sample, expected) in [
        (Sample::default(), [500_u64, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]),
        (Simulation::new().sample, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]),
    ] {
        let mut simulation = Simulation::loaded_with(RefreshPolicy::new().dangerous_unbounded_staleness());
        simulation.sample = sample;
        let mut pauses = Vec::new();
        for _ in expected {
            while simulation.in_flight.is_none() {
                fire(&mut simulation);
            }
            simulation.finish(failed());
            pauses.push(time_to_next_attempt(&simulation));
        }
        for (pause, expected) in pauses.iter().zip(expected) {
            let expected = Duration::from_millis(expected);
            assert!(expected.saturating_sub(*pause) < Duration::from_millis(1) && *pause <= expected, "{pauses:?}");
        }
    }
}

#[test]
fn t4_honors_retry_after_up_to_five_minutes_if_longer_than_the_backoff() {
    for (requested, expected) in [(30, 30), (86_400, 300), (0, 1)] {
        let mut simulation = Simulation::loaded();
        fire(&mut simulation);
        let retry_after = Some(Duration::from_secs(requested));
        simulation.finish(Outcome::Failed { error: DOWN, retry_after });
        assert_eq!(rounded(time_to_next_attempt(&simulation)), expected, "{requested}");
    }
}

#[test]
fn t5_the_refresh_starts_ahead_of_time() {
    let mut simulation = Simulation::loaded();
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Scheduled));
    assert_eq!(simulation.freshness_state(), Some(FreshnessState::Aging));
}

#[test]
fn t6_retries_when_the_backoff_ends() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.finish(failed());
    assert_eq!(simulation.step(Event::Timer), [], "not yet");
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
}

#[test]
fn t15_a_reload_ignores_cool_down_and_backoff() {
    let mut simulation = Simulation::loaded();
    simulation.step(Event::UnknownKid);
    simulation.finish(loaded(Change::Same));
    assert_eq!(fetch(&simulation.step(Event::FetchNow(RefreshCause::Reload))), Some(RefreshCause::Reload));
    simulation.finish(failed());
    assert_eq!(fetch(&simulation.step(Event::FetchNow(RefreshCause::Reload))), Some(RefreshCause::Reload));
}

#[test]
fn t15_a_reload_fetches_after_the_fetch_in_flight() {
    for outcome in [loaded(Change::Same), failed()] {
        let mut simulation = Simulation::loaded();
        fire(&mut simulation);
        assert_eq!(simulation.step(Event::FetchNow(RefreshCause::Reload)), []);
        assert_eq!(simulation.step(Event::FetchNow(RefreshCause::Reload)), []);
        assert_eq!(fetch(&simulation.finish(outcome)), Some(RefreshCause::Reload));
        assert_eq!(fetch(&simulation.finish(loaded(Change::Same))), None, "both share one fetch");
    }
}

#[test]
fn t17_notifies_once_of_stale_and_expired_each() {
    let mut simulation = Simulation::loaded();
    let mut actions = Vec::new();
    for _ in 0..5000 {
        simulation.pass(SECOND);
        if simulation.in_flight.is_some() {
            simulation.finish(failed());
        }
        actions.extend(simulation.step(Event::Timer).into_iter().filter(|action| {
            matches!(action, Action::NotifyStale { .. } | Action::NotifyExpired | Action::NotifyRecovered)
        }));
    }
    assert!(matches!(actions[..], [Action::NotifyStale { .. }, Action::NotifyExpired]), "{actions:?}");
    assert_eq!(simulation.freshness_state(), Some(FreshnessState::Expired));
    simulation.run(MINUTE, |_| Some(loaded(Change::Same)));
    assert_eq!(simulation.freshness_state(), Some(FreshnessState::Fresh));
}

#[test]
fn t17_notifies_of_expiry_on_time_with_a_fetch_in_flight() {
    let mut simulation = Simulation::loaded_with(RefreshPolicy::new().with_strict_freshness());
    let expires_at = simulation.published.expect("loaded").expires_at;
    simulation.now = Monotonic::from_origin(expires_at.since_origin().saturating_sub(SECOND));
    assert_eq!(fetch(&simulation.step(Event::Timer)), Some(RefreshCause::Scheduled));
    assert_eq!(simulation.machine.wake_at(), Some(expires_at));
    assert_eq!(fire(&mut simulation), [Action::NotifyExpired]);
    let actions = simulation.finish(loaded(Change::Same));
    assert!(actions.contains(&Action::NotifyRecovered), "{actions:?}");
}

#[test]
fn t18_backoff_is_short_without_usable_keys() {
    let mut simulation = Simulation::new();
    simulation.step(Event::Begin);
    for _ in 0..20 {
        simulation.finish(failed());
        assert!(time_to_next_attempt(&simulation) <= 15 * SECOND);
        fire(&mut simulation);
    }
}

#[test]
fn t18_expiry_shortens_a_backoff_but_not_a_retry_after() {
    for (retry_after, expected) in [(None, 15), (Some(300 * SECOND), 299)] {
        let mut simulation = Simulation::loaded();
        let expires_at = simulation.published.expect("loaded").expires_at;
        simulation.machine.failures = 10;
        simulation.now = Monotonic::from_origin(expires_at.since_origin().saturating_sub(SECOND));
        simulation.step(Event::Timer);
        simulation.finish(Outcome::Failed { error: DOWN, retry_after });
        assert!(time_to_next_attempt(&simulation) >= 59 * SECOND);
        simulation.now = expires_at;
        assert_eq!(simulation.step(Event::Timer), [Action::NotifyExpired]);
        assert_eq!(rounded(time_to_next_attempt(&simulation)), expected);
    }
}

#[test]
fn expires_the_set_at_once_and_retries_early() {
    let mut simulation = Simulation::loaded();
    simulation.machine.failures = 10;
    fire(&mut simulation);
    assert_eq!(simulation.step(Event::Expire), [Action::NotifyExpired]);
    assert_eq!(simulation.machine.unusable_from(), Some(simulation.now));
    assert_eq!(simulation.step(Event::Expire), [], "it has expired already");
    simulation.finish(failed());
    assert!(time_to_next_attempt(&simulation) <= 15 * SECOND);
    fire(&mut simulation);
    let actions = simulation.finish(loaded(Change::Changed));
    assert!(actions.contains(&Action::NotifyRecovered), "{actions:?}");
    assert!(simulation.machine.unusable_from() > Some(simulation.now));

    let mut cold = Simulation::new();
    cold.step(Event::Begin);
    assert_eq!(cold.step(Event::Expire), [], "there is no set yet");
}

#[test]
fn t19_a_panic_of_the_task_is_a_failure() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.in_flight = None;
    simulation.step(Event::Interrupted(RefreshError::Panic));
    assert_eq!(simulation.machine.failures(), 1);
    assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
    simulation.finish(loaded(Change::Same));
    assert_eq!(simulation.step(Event::Interrupted(RefreshError::Panic)), [], "no fetch was in flight");
}

/// Found by fuzzing: the fetch was ordered from a task that had ended, and the machine waited for it until its deadline.
#[test]
fn t19_starts_no_fetch_in_an_ending_task() {
    for error in [RefreshError::Panic, RefreshError::Interrupted] {
        let mut simulation = Simulation::loaded();
        fire(&mut simulation);
        assert_eq!(simulation.step(Event::FetchNow(RefreshCause::Reload)), []);
        simulation.in_flight = None;
        assert_eq!(fetch(&simulation.step(Event::Interrupted(error))), None, "{error:?}");
        assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
        let actions = simulation.finish(loaded(Change::Same));
        assert_eq!(fetch(&actions), Some(RefreshCause::Reload), "the requested reload still follows");
    }
}

#[test]
fn t19_the_end_of_a_runtime_counts_as_no_failure() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.in_flight = None;
    assert_eq!(simulation.step(Event::Interrupted(RefreshError::Interrupted)), []);
    assert_eq!(simulation.machine.failures(), 0);
    assert_eq!(fetch(&simulation.step(Event::Timer)), Some(RefreshCause::Retry));
}

/// G1: each request has its own runtime, which ends before the response.
#[test]
fn t19_backs_off_when_runtimes_keep_ending() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.started.clear();
    for _ in 0..600 {
        if simulation.in_flight.take().is_some() {
            simulation.step(Event::Interrupted(RefreshError::Interrupted));
        }
        simulation.step(Event::Timer);
        simulation.pass(SECOND / 10);
    }
    assert!((5..=8).contains(&simulation.started.len()), "{:?}", simulation.started);
}

#[test]
fn t20_closing_ends_everything() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    assert_eq!(simulation.step(Event::Close), [Action::Close]);
    for event in [
        Event::Begin,
        Event::Timer,
        Event::UnknownKid,
        Event::AbsentKid,
        Event::InvalidSignature,
        Event::FetchNow(RefreshCause::Reload),
        Event::Close,
    ] {
        assert_eq!(simulation.step(event), [], "{event:?}");
    }
}

#[test]
fn t21_the_deadline_of_the_operation_aborts_it() {
    let mut simulation = Simulation::new();
    simulation.step(Event::Begin);
    assert_eq!(time_to_next_attempt(&simulation), 5 * SECOND);
    let actions = fire(&mut simulation);
    assert!(
        matches!(actions[..], [Action::Abort, Action::NotifyFailed { error: RefreshError::Timeout, .. }]),
        "{actions:?}"
    );
}

#[test]
fn after_an_unexpected_304_the_next_request_is_unconditional() {
    let mut simulation = Simulation::loaded();
    fire(&mut simulation);
    simulation.finish(Outcome::Failed { error: RefreshError::UnexpectedNotModified, retry_after: None });
    fire(&mut simulation);
    assert_eq!(simulation.in_flight.map(|order| order.condition), Some(Condition::Always));
}

/// A server or proxy may fail because of `If-None-Match`, so the retry is sent without it.
#[test]
fn retries_without_if_none_match_after_an_error_response() {
    let status = RefreshError::Status { status: 412 };
    for (error, condition) in [
        (status, Condition::Always),
        (RefreshError::Redirect, Condition::Always),
        (DOWN, Condition::IfNoneMatch),
        (RefreshError::Timeout, Condition::IfNoneMatch),
    ] {
        let mut simulation = Simulation::loaded();
        fire(&mut simulation);
        simulation.finish(Outcome::Failed { error, retry_after: None });
        assert_eq!(fetch(&fire(&mut simulation)), Some(RefreshCause::Retry));
        assert_eq!(simulation.in_flight.map(|order| order.condition), Some(condition), "{error}");
    }
}

#[test]
fn a_moved_set_is_fetched_at_once() {
    let mut simulation = Simulation::loaded();
    assert_eq!(fetch(&simulation.step(Event::FetchNow(RefreshCause::Moved))), Some(RefreshCause::Moved));
    assert_eq!(simulation.in_flight.map(|order| order.condition), Some(Condition::Always));
}
