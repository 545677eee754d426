//! Tests of the breaker: who can stop calls, and how they resume.

use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::keys::Fingerprinter;

const DOWN: Unavailable = Unavailable { cause: IntrospectionError::Timeout, retry_after: Duration::from_secs(1) };
const REFUSED: Unavailable =
    Unavailable { cause: IntrospectionError::CredentialsRefused, retry_after: Duration::from_secs(1) };
const FAULT: Unavailable =
    Unavailable { cause: IntrospectionError::Status { status: 500 }, retry_after: Duration::from_secs(1) };
const LIMITED: Unavailable = Unavailable { cause: RATE_LIMITED, retry_after: Duration::from_secs(7) };
const LONG: Jitter = Jitter(u32::MAX);

/// What is reported if all calls are stopped for this reason.
const fn all(failure: Unavailable) -> Transition {
    Transition::Stopped(Stopped { calls: StoppedCalls::All, cause: failure.cause })
}

/// What is reported if a rate limit stops only the calls about unknown tokens.
const ONLY_UNKNOWN: Transition =
    Transition::Stopped(Stopped { calls: StoppedCalls::UnknownTokens, cause: RATE_LIMITED });

static FINGERPRINTER: LazyLock<Fingerprinter> = LazyLock::new(|| Fingerprinter::new().expect("entropy"));

fn token(number: u64) -> TokenFingerprint {
    FINGERPRINTER.fingerprint(&number.to_be_bytes()).expect("a fingerprint")
}

fn at(millis: u64) -> Monotonic {
    Monotonic::from_origin(Duration::from_millis(millis))
}

fn call(number: u64, started_at: u64) -> ClientCall {
    ClientCall { token: token(number), priority: Priority::Unknown, started_at: at(started_at), is_attempt: false }
}

fn known_call(number: u64, started_at: u64) -> ClientCall {
    ClientCall { priority: Priority::Known, ..call(number, started_at) }
}

/// Records a call about a known token that starts and fails at this time.
fn fail_known(breaker: &mut Breaker, number: u64, failure: Unavailable, millis: u64) -> (Probe, Transition) {
    breaker.record_failure(known_call(number, millis), failure, (at(millis), LONG))
}

fn fail_probe(breaker: &mut Breaker, failure: Unavailable, millis: u64) -> Transition {
    breaker.record_probe(Err(failure), (at(millis), LONG))
}

/// Records a call about a token that starts and fails at this time.
fn fail(breaker: &mut Breaker, number: u64, failure: Unavailable, millis: u64) -> Probe {
    let (probe, transition) = breaker.record_failure(call(number, millis), failure, (at(millis), LONG));
    assert_eq!(transition, Transition::None);
    probe
}

fn gate(breaker: &mut Breaker, number: u64, millis: u64) -> Gate {
    breaker.gate(&token(number), Priority::Unknown, at(millis))
}

fn known_gate(breaker: &mut Breaker, number: u64, millis: u64) -> Gate {
    breaker.gate(&token(number), Priority::Known, at(millis))
}

/// Fails the attempt of a request and the probe beside it.
fn fail_attempt(breaker: &mut Breaker, number: u64, failure: Unavailable, millis: u64) {
    let attempt = ClientCall { is_attempt: true, ..call(number, millis) };
    assert_eq!(breaker.record_failure(attempt, failure, (at(millis), LONG)), (Probe::NotNeeded, Transition::None));
    assert_eq!(breaker.record_probe(Err(failure), (at(millis), LONG)), Transition::None, "reported once");
}

fn answer(breaker: &mut Breaker, millis: u64) -> (Probe, Transition) {
    breaker.record_success(at(millis))
}

/// Returns a breaker that has stopped all calls at this time, after two tokens and a probe were refused.
fn opened(millis: u64) -> Breaker {
    let mut breaker = Breaker::default();
    assert_eq!(fail(&mut breaker, 1, REFUSED, millis), Probe::Start);
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(millis), LONG)), Transition::None);
    let second = breaker.record_failure(call(2, millis), REFUSED, (at(millis), LONG));
    assert_eq!(second, (Probe::NotNeeded, all(REFUSED)));
    assert!(breaker.is_open());
    breaker
}

#[test]
fn starts_a_probe_after_five_failures_in_a_row_and_opens_if_it_fails() {
    let mut breaker = Breaker::default();
    for number in 0..4 {
        assert_eq!(fail(&mut breaker, number, DOWN, number * 10), Probe::NotNeeded);
    }
    assert_eq!(fail(&mut breaker, 4, DOWN, 50), Probe::Start);
    assert_eq!(gate(&mut breaker, 5, 60), Gate::Closed, "until the probe has failed");
    assert_eq!(fail(&mut breaker, 5, DOWN, 61), Probe::NotNeeded, "one probe at a time");
    assert_eq!(breaker.record_probe(Err(DOWN), (at(100), LONG)), all(DOWN));
    assert!(matches!(gate(&mut breaker, 6, 200), Gate::Open(Unavailable { cause: IntrospectionError::Timeout, .. })));
    assert_eq!(gate(&mut breaker, 6, 1_200), Gate::Attempt(Probe::Start));
    assert_eq!(gate(&mut breaker, 7, 1_200), Gate::Wait, "one attempt at a time");
    fail_attempt(&mut breaker, 6, DOWN, 1_300);
    assert!(matches!(gate(&mut breaker, 6, 3_000), Gate::Open(_)), "the pause is doubled");
    assert_eq!(gate(&mut breaker, 6, 3_400), Gate::Attempt(Probe::Start));
    assert_eq!(breaker.record_probe(Ok(()), (at(3_500), LONG)), Transition::Closed);
    assert_eq!(gate(&mut breaker, 7, 3_500), Gate::Closed);
}

/// One outage makes all calls in flight fail at the same time.
#[test]
fn counts_concurrent_failures_once() {
    let mut breaker = Breaker::default();
    for number in 0..64 {
        let (probe, _) = breaker.record_failure(call(number, 0), DOWN, (at(2_000), LONG));
        assert_eq!(probe, Probe::NotNeeded);
    }
    assert_eq!(breaker.failures.count, 1);
}

/// A firewall refuses the texts of one client, and the server answers a probe.
#[test]
fn a_response_to_the_tokens_of_clients_never_opens_it() {
    let mut breaker = Breaker::default();
    let mut probes = 0;
    for number in 0..10_000 {
        if fail(&mut breaker, number, REFUSED, number * 10) == Probe::Start {
            probes += 1;
            assert_eq!(breaker.record_probe(Ok(()), (at(number * 10), LONG)), Transition::None);
        }
        assert_eq!(gate(&mut breaker, number, number * 10), Gate::Closed);
    }
    assert_eq!(probes, 10, "one in ten seconds");
}

/// The server answers 401, 400 or 500 to each token that it does not know.
#[test]
fn one_bad_token_stops_only_the_calls_about_it() {
    for (failure, failures) in [(REFUSED, 1), (FAULT, 5)] {
        let mut breaker = Breaker::default();
        for call in 1..failures {
            assert_eq!(fail(&mut breaker, 1, failure, call), Probe::NotNeeded);
        }
        assert_eq!(fail(&mut breaker, 1, failure, 10), Probe::Start);
        assert_eq!(breaker.record_probe(Err(failure), (at(10), LONG)), Transition::None, "no alarm for one token");
        assert!(!breaker.is_open());
        assert!(matches!(gate(&mut breaker, 1, 20), Gate::Open(_)), "the bad token");
        assert_eq!(gate(&mut breaker, 2, 20), Gate::Closed, "any other token");
        // The other token is good, so calls about all tokens go on. Now it is known that probes are refused.
        assert_eq!(answer(&mut breaker, 20), (Probe::Start, Transition::None));
        assert_eq!(breaker.record_probe(Err(failure), (at(20), LONG)), Transition::None);
        for second in 1..3_000 {
            assert_eq!(fail(&mut breaker, second, failure, second * 1_000), Probe::NotNeeded);
            assert_eq!(gate(&mut breaker, second, second * 1_000), Gate::Closed);
        }
    }
}

#[test]
fn refused_credentials_open_after_two_tokens_and_one_probe() {
    let mut breaker = opened(0);
    for number in [1, 2, 3] {
        assert!(matches!(
            gate(&mut breaker, number, 900),
            Gate::Open(Unavailable { cause: IntrospectionError::CredentialsRefused, .. })
        ));
    }
}

#[test]
fn an_answer_prevents_an_opening_for_a_while() {
    let mut breaker = Breaker::default();
    assert_eq!(answer(&mut breaker, 0), (Probe::NotNeeded, Transition::None));
    for number in 1..100 {
        assert_eq!(fail(&mut breaker, number, REFUSED, number * 100), Probe::NotNeeded);
    }
    assert_eq!(fail(&mut breaker, 100, REFUSED, 10_000), Probe::Start);
    // An answer during the probe.
    assert_eq!(answer(&mut breaker, 10_100), (Probe::NotNeeded, Transition::None));
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(10_200), LONG)), Transition::None);
    assert_eq!(gate(&mut breaker, 101, 10_200), Gate::Closed);
}

/// The server stops to answer: what was found out about probes does not hide it.
#[test]
fn a_server_whose_probes_mislead_can_still_open_it() {
    let mut breaker = opened(0);
    assert_eq!(answer(&mut breaker, 100), (Probe::Start, Transition::Closed));
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(100), LONG)), Transition::None);
    // No response at all.
    let mut silent = breaker.misled();
    (0..4).for_each(|call| assert_eq!(fail(&mut silent, call, DOWN, 20_000 + call), Probe::NotNeeded));
    assert_eq!(fail(&mut silent, 4, DOWN, 20_004), Probe::Start);
    assert_eq!(silent.record_probe(Err(DOWN), (at(20_005), LONG)), all(DOWN));
    assert!(silent.is_open());
    // Credentials are refused for tokens that were active before.
    let known = |number| ClientCall { priority: Priority::Known, ..call(number, 20_000) };
    let (_, one) = breaker.record_failure(known(1), REFUSED, (at(20_000), LONG));
    assert_eq!((one, breaker.is_open()), (Transition::None, false));
    // A token that anyone can send shows nothing.
    assert_eq!((fail(&mut breaker, 9, REFUSED, 20_000), breaker.is_open()), (Probe::NotNeeded, false));
    let (_, two) = breaker.record_failure(known(2), REFUSED, (at(20_001), LONG));
    assert_eq!((two, breaker.is_open()), (all(REFUSED), true));
}

impl Breaker {
    /// Returns another breaker that knows the same about probes.
    fn misled(&self) -> Self {
        let (value, compared_at) = (self.probe.value, self.probe.compared_at);
        let probe = ProbeState { value, compared_at, ..ProbeState::default() };
        Self { probe, ..Self::default() }
    }
}

/// Unknown tokens, which anyone can send, do not use up the attempts of known ones.
#[test]
fn known_tokens_have_pauses_of_their_own() {
    let mut breaker = opened(0);
    for attempt in 0..5 {
        let now = 1_000 + attempt * 30_000;
        assert_eq!(gate(&mut breaker, 100 + attempt, now), Gate::Attempt(Probe::Start));
        fail_attempt(&mut breaker, 100 + attempt, REFUSED, now);
        assert!(matches!(gate(&mut breaker, 100, now), Gate::Open(_)));
    }
    let now = 1_000 + 4 * 30_000;
    assert_eq!(known_gate(&mut breaker, 1, now), Gate::Attempt(Probe::NotNeeded));
    assert_eq!(known_gate(&mut breaker, 2, now), Gate::Wait);
    assert_eq!(answer(&mut breaker, now), (Probe::Start, Transition::Closed));
    assert_eq!(gate(&mut breaker, 100, now), Gate::Closed);
}

#[test]
fn the_attempt_of_a_request_or_the_probe_beside_it_resumes_calls() {
    let mut breaker = opened(0);
    assert_eq!(gate(&mut breaker, 3, 1_000), Gate::Attempt(Probe::Start));
    // The text of this request is refused by a firewall, and the server works.
    let attempt = ClientCall { is_attempt: true, ..call(3, 1_000) };
    assert_eq!(breaker.record_failure(attempt, REFUSED, (at(1_100), LONG)), (Probe::NotNeeded, Transition::None));
    assert_eq!(gate(&mut breaker, 4, 1_100), Gate::Wait);
    assert_eq!(breaker.record_probe(Ok(()), (at(1_200), LONG)), Transition::Closed);

    // The server refuses every probe.
    let mut breaker = opened(0);
    assert_eq!(gate(&mut breaker, 3, 1_000), Gate::Attempt(Probe::Start));
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(1_100), LONG)), Transition::None);
    assert_eq!(gate(&mut breaker, 4, 1_100), Gate::Wait);
    assert_eq!(answer(&mut breaker, 1_200), (Probe::Start, Transition::Closed));
}

#[test]
fn the_next_request_makes_an_attempt_that_was_abandoned() {
    let mut breaker = opened(0);
    assert_eq!(known_gate(&mut breaker, 3, 1_000), Gate::Attempt(Probe::NotNeeded));
    breaker.record_abandoned_attempt(Priority::Known);
    assert_eq!(known_gate(&mut breaker, 4, 1_000), Gate::Attempt(Probe::NotNeeded));
}

/// Case 14. A client could provoke a rate limit for its token.
#[test]
fn a_rate_limit_that_a_probe_confirms_opens_until_the_time_that_the_server_names() {
    let mut breaker = Breaker::default();
    answer(&mut breaker, 0);
    assert_eq!(fail(&mut breaker, 1, LIMITED, 10), Probe::Start);
    assert_eq!(breaker.record_probe(Ok(()), (at(20), LONG)), Transition::None);
    assert_eq!(gate(&mut breaker, 1, 20), Gate::Closed, "only this token is limited");
    assert!(!breaker.is_limited(at(20)));
    assert_eq!(fail(&mut breaker, 1, LIMITED, 30), Probe::NotNeeded, "one probe a second");

    assert_eq!(fail(&mut breaker, 1, LIMITED, 2_000), Probe::Start);
    assert_eq!(breaker.record_probe(Err(LIMITED), (at(2_000), LONG)), ONLY_UNKNOWN);
    for number in [1, 2] {
        assert_eq!(gate(&mut breaker, number, 2_000), Gate::Open(LIMITED));
        assert!(matches!(gate(&mut breaker, number, 8_999), Gate::Open(_)));
    }
    assert_eq!(gate(&mut breaker, 2, 9_000), Gate::Attempt(Probe::Start));
    assert_eq!(answer(&mut breaker, 9_000), (Probe::NotNeeded, Transition::Closed));
    assert!(breaker.is_limited(at(68_999)) && !breaker.is_limited(at(69_000)), "a minute after the limit");
}

const NOTHING: (Probe, Transition) = (Probe::NotNeeded, Transition::None);

/// Returns a breaker whose calls about unknown tokens are stopped by a rate limit from 0 s to 7 s.
fn limited() -> Breaker {
    let mut breaker = Breaker::default();
    assert_eq!(fail(&mut breaker, 1, LIMITED, 0), Probe::Start);
    assert_eq!(breaker.record_probe(Err(LIMITED), (at(0), LONG)), ONLY_UNKNOWN);
    breaker
}

/// A flood of unknown tokens that causes a rate limit costs known tokens nothing, and gains nothing by their answers.
#[test]
fn a_rate_limit_that_no_known_token_has_met_stops_only_the_calls_about_unknown_tokens() {
    let mut breaker = limited();
    for millis in [0, 3_000, 6_999] {
        assert_eq!(known_gate(&mut breaker, 2, millis), Gate::Closed);
        assert_eq!(answer(&mut breaker, millis), (Probe::NotNeeded, Transition::None), "of a known token");
        assert!(matches!(gate(&mut breaker, 3, millis), Gate::Open(_)), "{millis}");
        assert_eq!(fail(&mut breaker, 4, LIMITED, millis), Probe::NotNeeded, "a call that was in flight");
    }
    assert_eq!(gate(&mut breaker, 3, 7_000), Gate::Attempt(Probe::Start));
    // The limit still holds.
    fail_attempt(&mut breaker, 3, LIMITED, 7_000);
    assert_eq!(known_gate(&mut breaker, 2, 7_000), Gate::Closed);
    assert!(matches!(gate(&mut breaker, 4, 13_999), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 4, 14_000), Gate::Attempt(Probe::Start));
    assert_eq!(answer(&mut breaker, 14_000), (Probe::NotNeeded, Transition::Closed));
    assert_eq!(gate(&mut breaker, 5, 14_000), Gate::Closed);
}

/// The known tokens whose calls were in flight have met the limit because of the flood.
#[test]
fn known_tokens_whose_calls_began_before_the_rate_limit_do_not_count() {
    let mut breaker = Breaker::default();
    assert_eq!(fail(&mut breaker, 1, LIMITED, 0), Probe::Start);
    assert_eq!(fail_known(&mut breaker, 2, LIMITED, 1), NOTHING, "before the probe has failed");
    assert_eq!(fail_probe(&mut breaker, LIMITED, 2), ONLY_UNKNOWN);
    for (number, started_at) in [(3, 0), (4, 2)] {
        let failed = breaker.record_failure(known_call(number, started_at), LIMITED, (at(1_500), LONG));
        assert_eq!(failed, NOTHING);
        assert_eq!(known_gate(&mut breaker, number, 1_500), Gate::Closed);
    }
    // An answer does not make them count.
    assert_eq!(answer(&mut breaker, 1_600), NOTHING);
    assert_eq!(breaker.record_failure(known_call(5, 2), LIMITED, (at(11_600), LONG)), NOTHING);
    assert_eq!(breaker.failures.tokens, Tokens::None);
}

/// The limit concerns all tokens, and the flood is over.
#[test]
fn a_rate_limit_that_outlasts_the_flood_stops_all_calls_until_the_time_that_the_server_names() {
    let mut breaker = limited();
    assert_eq!(fail_known(&mut breaker, 1, LIMITED, 10), NOTHING, "one probe a second");
    assert_eq!(answer(&mut breaker, 20), NOTHING, "of a known token");
    assert_eq!(fail_known(&mut breaker, 1, LIMITED, 1_000), NOTHING, "the server has just answered");
    assert_eq!(fail_known(&mut breaker, 1, LIMITED, 10_020), (Probe::Start, Transition::None));
    let mut answered = limited();
    assert_eq!(fail_known(&mut answered, 1, LIMITED, 1_000), (Probe::Start, Transition::None));
    assert_eq!(answered.record_probe(Ok(()), (at(1_001), LONG)), Transition::None, "the limit is of one token");
    assert_eq!(known_gate(&mut answered, 1, 1_001), Gate::Closed);
    assert!(matches!(gate(&mut answered, 3, 6_999), Gate::Open(_)), "the time that the server has named");

    let mut breaker = limited();
    assert_eq!(fail_known(&mut breaker, 1, LIMITED, 1_000), (Probe::Start, Transition::None));
    assert_eq!(known_gate(&mut breaker, 2, 1_000), Gate::Closed, "until the probe has failed");
    assert_eq!(fail_probe(&mut breaker, LIMITED, 1_000), all(LIMITED));
    assert!(matches!(known_gate(&mut breaker, 2, 7_999), Gate::Open(_)));
    assert!(matches!(gate(&mut breaker, 3, 6_999), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 3, 7_000), Gate::Attempt(Probe::Start));
    fail_attempt(&mut breaker, 3, LIMITED, 7_000);
    assert_eq!(known_gate(&mut breaker, 2, 8_000), Gate::Attempt(Probe::NotNeeded));
    // The limit still holds for unknown tokens only.
    assert_eq!(answer(&mut breaker, 8_100), (Probe::NotNeeded, ONLY_UNKNOWN));
    assert_eq!(known_gate(&mut breaker, 4, 8_100), Gate::Closed);
    assert!(matches!(gate(&mut breaker, 5, 13_999), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 5, 14_000), Gate::Attempt(Probe::Start));
    assert_eq!(answer(&mut breaker, 14_000), (Probe::NotNeeded, Transition::Closed));
}

/// A known token that meets a limit first may not be the reason for it.
#[test]
fn a_rate_limit_that_a_known_token_meets_first_stops_the_calls_about_unknown_tokens_first() {
    let mut breaker = Breaker::default();
    assert_eq!(fail_known(&mut breaker, 1, LIMITED, 0), (Probe::Start, Transition::None));
    assert_eq!(fail_probe(&mut breaker, LIMITED, 0), ONLY_UNKNOWN);
    assert_eq!(known_gate(&mut breaker, 1, 0), Gate::Closed);
    assert!(matches!(gate(&mut breaker, 2, 0), Gate::Open(_)));
}

/// The server fails while a rate limit stops the calls about unknown tokens.
#[test]
fn an_outage_during_a_rate_limit_stops_all_calls() {
    let mut breaker = limited();
    for millis in 1_001..1_005 {
        assert_eq!(fail_known(&mut breaker, 2, DOWN, millis), NOTHING);
    }
    assert_eq!(fail_known(&mut breaker, 2, DOWN, 1_005), (Probe::Start, Transition::None));
    let mut works = limited();
    for millis in 1_001..1_006 {
        fail_known(&mut works, 2, DOWN, millis);
    }
    assert_eq!(fail_probe(&mut works, LIMITED, 1_006), Transition::None, "someone responds");
    assert_eq!(known_gate(&mut works, 2, 1_006), Gate::Closed);
    assert_eq!(fail_probe(&mut breaker, DOWN, 1_006), all(DOWN));
    assert!(matches!(known_gate(&mut breaker, 2, 1_006), Gate::Open(_)));
    // The outage is over, and the limit is not.
    assert_eq!(known_gate(&mut breaker, 2, 2_006), Gate::Attempt(Probe::NotNeeded));
    assert_eq!(answer(&mut breaker, 2_006), (Probe::NotNeeded, ONLY_UNKNOWN));
    let limited_for = |seconds| Unavailable::new(RATE_LIMITED, Some(Duration::from_secs(seconds)));
    assert_eq!(gate(&mut breaker, 3, 2_000), Gate::Open(limited_for(5)));
}

/// The tokens of one client may be the reason of error responses.
#[test]
fn error_responses_during_a_rate_limit_stop_all_calls_only_with_a_second_token_and_a_probe() {
    let mut breaker = limited();
    for millis in 1_001..1_100 {
        assert_eq!(fail_known(&mut breaker, 2, FAULT, millis), NOTHING);
        assert_eq!(known_gate(&mut breaker, 2, millis), Gate::Closed);
    }
    assert_eq!(fail_known(&mut breaker, 3, FAULT, 1_100), (Probe::Start, Transition::None));
    for (result, transition) in [
        (Ok(()), Transition::None),
        // A random text is limited, and the known tokens are not.
        (Err(LIMITED), Transition::None),
        (Err(FAULT), all(FAULT)),
    ] {
        let mut breaker = limited();
        for millis in 1_001..1_007 {
            fail_known(&mut breaker, millis % 2, FAULT, millis);
        }
        assert!(breaker.probe.is_in_flight);
        assert_eq!(breaker.record_probe(result, (at(1_010), LONG)), transition);
        assert_eq!(breaker.is_open(), result == Err(FAULT));
        assert!(matches!(gate(&mut breaker, 3, 6_999), Gate::Open(_)));
    }
}

/// What has stopped all calls during a rate limit does not remain the reason after a known token has resumed them.
#[test]
fn the_rate_limit_is_the_reason_again_after_known_tokens_have_answers() {
    let mut breaker = limited();
    assert_eq!(fail_known(&mut breaker, 1, REFUSED, 1_001), NOTHING);
    assert_eq!(fail_known(&mut breaker, 2, REFUSED, 1_002), (Probe::Start, Transition::None));
    assert_eq!(fail_probe(&mut breaker, REFUSED, 1_003), all(REFUSED));
    assert_eq!(breaker.cause(&token(3), Priority::Unknown), Some(REFUSED.cause));
    assert_eq!(answer(&mut breaker, 2_003), (Probe::NotNeeded, ONLY_UNKNOWN));
    assert_eq!(breaker.cause(&token(3), Priority::Unknown), Some(RATE_LIMITED));
    assert_eq!(breaker.cause(&token(3), Priority::Known), None);
}

#[test]
fn the_pause_is_at_most_thirty_seconds() {
    let mut breaker = failing(0);
    let mut now = 0;
    for number in 0..10 {
        now += 30_000;
        assert_eq!(gate(&mut breaker, number, now), Gate::Attempt(Probe::Start));
        fail_attempt(&mut breaker, number, REFUSED, now);
    }
    assert!(matches!(gate(&mut breaker, 10, now + 29_999), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 10, now + 30_000), Gate::Attempt(Probe::Start));
    // The last token is not the only one that makes attempts, and it is not left out for long.
    let mut breaker = failing(0);
    assert_eq!(gate(&mut breaker, 3, 1_000), Gate::Attempt(Probe::Start));
    fail_attempt(&mut breaker, 3, REFUSED, 1_000);
    assert!(matches!(gate(&mut breaker, 3, 3_999), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 3, 4_000), Gate::Attempt(Probe::Start));
}

/// Returns a breaker that has stopped all calls at this time, to a server that answered a probe before.
fn failing(millis: u64) -> Breaker {
    let mut breaker = opened(millis);
    breaker.probe.value = ProbeValue::Failure;
    assert!(breaker.is_failing());
    breaker
}

/// The token of one client may cause a 5xx because it is revoked, and a random text because it is unknown.
#[test]
fn error_responses_show_an_outage_only_if_the_server_answers_probes() {
    let fail_all = |breaker: &mut Breaker, since: u64| {
        let known = |millis| ClientCall { priority: Priority::Known, ..call(1, millis) };
        for millis in since..since + 5 {
            let (probe, _) = breaker.record_failure(known(millis), FAULT, (at(millis), LONG));
            if probe == Probe::Start {
                breaker.record_probe(Err(FAULT), (at(millis), LONG));
            }
        }
        breaker.record_failure(call(9, since + 5), FAULT, (at(since + 5), LONG));
        let other = ClientCall { priority: Priority::Known, ..call(2, since + 6) };
        breaker.record_failure(other, FAULT, (at(since + 6), LONG));
        breaker.is_open()
    };
    // Nothing is known about probes.
    let mut breaker = Breaker::default();
    assert!(fail_all(&mut breaker, 0) && !breaker.is_failing());
    // The server refuses probes.
    let mut breaker = Breaker::new(true);
    assert_eq!(answer(&mut breaker, 0), (Probe::Start, Transition::None), "before anything fails");
    assert_eq!(breaker.record_probe(Err(FAULT), (at(0), LONG)), Transition::None);
    assert_eq!(answer(&mut breaker, 3_599_999), (Probe::NotNeeded, Transition::None), "once an hour");
    assert!(fail_all(&mut breaker.misled(), 3_700_000 - 200_000) && !breaker.misled().is_failing());
    assert!(fail_all(&mut breaker, 8_000_000) && !breaker.is_failing(), "nor when that is long ago");
    // The server answers probes.
    let mut breaker = Breaker::new(true);
    assert_eq!(answer(&mut breaker, 0), (Probe::Start, Transition::None));
    assert_eq!(breaker.record_probe(Ok(()), (at(0), LONG)), Transition::None);
    assert!(fail_all(&mut breaker, 8_000_000) && breaker.is_failing());
    assert_eq!(answer(&mut breaker, 8_001_000), (Probe::Start, Transition::Closed));
    assert!(!breaker.is_failing());
}

/// A comparison needs no error response to a probe before: one to a bad token is enough.
#[test]
fn the_first_answer_after_a_refused_token_shows_what_probes_are_worth() {
    let mut breaker = Breaker::default();
    assert_eq!(answer(&mut breaker, 0), (Probe::NotNeeded, Transition::None));
    assert_eq!(fail(&mut breaker, 1, REFUSED, 10), Probe::NotNeeded, "the server has just answered");
    assert_eq!(answer(&mut breaker, 20), (Probe::Start, Transition::None));
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(20), LONG)), Transition::None);
    for number in 1..100 {
        assert_eq!(fail(&mut breaker, number, REFUSED, 20_000 * number), Probe::NotNeeded);
        assert_eq!(gate(&mut breaker, number, 20_000 * number), Gate::Closed);
    }
    assert_eq!(answer(&mut breaker, 2_000_000), (Probe::NotNeeded, Transition::None), "once an hour");
    assert_eq!(fail(&mut breaker, 1, REFUSED, 3_600_020), Probe::Start, "probes are worth something again");
}

/// A rate limit of a comparison concerns no client.
#[test]
fn a_comparison_alone_never_stops_calls() {
    for failure in [LIMITED, FAULT, DOWN] {
        let mut breaker = Breaker::new(true);
        assert_eq!(answer(&mut breaker, 0), (Probe::Start, Transition::None));
        assert_eq!(breaker.record_probe(Err(failure), (at(20_000), LONG)), Transition::None);
        assert_eq!(gate(&mut breaker, 1, 20_000), Gate::Closed);
    }
    let mut breaker = Breaker::new(true);
    assert_eq!(answer(&mut breaker, 0), (Probe::Start, Transition::None));
    assert_eq!(fail(&mut breaker, 1, LIMITED, 10), Probe::NotNeeded);
    assert_eq!(breaker.record_probe(Err(LIMITED), (at(20), LONG)), ONLY_UNKNOWN);
}

/// A client with bad tokens does not use up the attempts of others.
#[test]
fn a_token_whose_attempt_has_failed_leaves_the_next_attempts_to_others() {
    let known = |number, millis| ClientCall { priority: Priority::Known, is_attempt: true, ..call(number, millis) };
    let mut breaker = opened(0);
    let mut now = 1_000;
    for number in [1, 2] {
        assert_eq!(known_gate(&mut breaker, number, now), Gate::Attempt(Probe::NotNeeded));
        breaker.record_failure(known(number, now), REFUSED, (at(now), LONG));
        now += 2_000 * number;
    }
    for number in [1, 2] {
        assert!(matches!(known_gate(&mut breaker, number, now), Gate::Open(_)));
        assert!(breaker.rejects(&token(number), Priority::Known, at(now)).is_some());
    }
    assert_eq!(known_gate(&mut breaker, 3, now), Gate::Attempt(Probe::NotNeeded));
    // Nothing but the server causes an outage.
    let mut breaker = opened(0);
    assert_eq!(known_gate(&mut breaker, 1, 1_000), Gate::Attempt(Probe::NotNeeded));
    breaker.record_failure(known(1, 1_000), DOWN, (at(1_000), LONG));
    assert_eq!(known_gate(&mut breaker, 1, 3_000), Gate::Attempt(Probe::NotNeeded));
}

#[test]
fn the_tokens_that_leave_attempts_to_others_are_limited() {
    let mut breaker = failing(0);
    for number in 0..100 {
        let now = 1_000 + number * 60_000;
        assert_eq!(gate(&mut breaker, number, now), Gate::Attempt(Probe::Start));
        fail_attempt(&mut breaker, number, REFUSED, now);
    }
    assert_eq!(gate(&mut breaker, 0, 99 * 60_000 + 31_000), Gate::Attempt(Probe::Start));
}

/// The server may refuse every unknown token, so that no probe resumes calls.
#[test]
fn several_unknown_tokens_make_an_attempt_while_it_is_not_known_what_probes_show() {
    let mut breaker = opened(0);
    for number in 11..15 {
        let is_first = number == 11;
        let probe = if is_first { Probe::Start } else { Probe::NotNeeded };
        assert_eq!(gate(&mut breaker, number, 1_000), Gate::Attempt(probe));
        assert_eq!(gate(&mut breaker, 20, 1_000), Gate::Wait, "one at a time");
        let attempt = ClientCall { is_attempt: true, ..call(number, 1_000) };
        let failed = breaker.record_failure(attempt, REFUSED, (at(1_000), LONG));
        assert_eq!(failed, (Probe::NotNeeded, Transition::None));
        if is_first {
            assert_eq!(breaker.record_probe(Err(REFUSED), (at(1_000), LONG)), Transition::None);
        }
        assert!(matches!(gate(&mut breaker, number, 1_000), Gate::Open(_)));
    }
    assert!(matches!(gate(&mut breaker, 20, 2_999), Gate::Open(_)), "four after each pause");
    assert_eq!(gate(&mut breaker, 20, 3_000), Gate::Attempt(Probe::Start));
    // The server answers probes, so the one beside the attempt is enough.
    let mut breaker = failing(0);
    assert_eq!(gate(&mut breaker, 11, 1_000), Gate::Attempt(Probe::Start));
    fail_attempt(&mut breaker, 11, REFUSED, 1_000);
    assert!(matches!(gate(&mut breaker, 12, 1_000), Gate::Open(_)));
    // So is one attempt for the only token whose calls are stopped.
    let mut breaker = Breaker::default();
    assert_eq!(fail(&mut breaker, 1, REFUSED, 0), Probe::Start);
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(0), LONG)), Transition::None);
    assert_eq!(gate(&mut breaker, 1, 1_000), Gate::Attempt(Probe::Start));
    fail_attempt(&mut breaker, 1, REFUSED, 1_000);
    assert!(matches!(gate(&mut breaker, 1, 2_999), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 1, 3_000), Gate::Attempt(Probe::Start));
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(3_000), LONG)), Transition::None);
    let attempt = ClientCall { is_attempt: true, ..call(1, 3_000) };
    breaker.record_failure(attempt, REFUSED, (at(3_000), LONG));
    assert!(matches!(gate(&mut breaker, 1, 6_999), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 1, 7_000), Gate::Attempt(Probe::Start));
}

/// The jitter makes the pause shorter than the time between two probes.
#[test]
fn a_probe_is_beside_the_first_attempt_after_each_pause() {
    let mut breaker = Breaker::default();
    assert_eq!(fail(&mut breaker, 1, REFUSED, 0), Probe::Start);
    assert_eq!(breaker.record_probe(Err(REFUSED), (at(0), Jitter(0))), Transition::None);
    assert!(matches!(gate(&mut breaker, 1, 499), Gate::Open(_)));
    assert_eq!(gate(&mut breaker, 1, 500), Gate::Attempt(Probe::Start));
}

/// The last part of an attempt does not shorten the pause that the server has named to the other.
#[test]
fn the_longest_time_that_the_server_names_counts() {
    for (first, second) in [(LIMITED, FAULT), (FAULT, LIMITED)] {
        let mut breaker = opened(0);
        assert_eq!(gate(&mut breaker, 3, 1_000), Gate::Attempt(Probe::Start));
        let attempt = ClientCall { is_attempt: true, ..call(3, 1_000) };
        breaker.record_failure(attempt, first, (at(1_000), LONG));
        breaker.record_probe(Err(second), (at(1_000), LONG));
        assert!(matches!(gate(&mut breaker, 4, 7_999), Gate::Open(_)), "{first:?}");
        assert_eq!(gate(&mut breaker, 4, 8_000), Gate::Attempt(Probe::Start));
    }
}

/// A runtime has ended during a probe, which says nothing about the server.
#[test]
fn an_abandoned_probe_changes_nothing() {
    let mut breaker = Breaker::default();
    assert_eq!(fail(&mut breaker, 1, REFUSED, 0), Probe::Start);
    breaker.record_abandoned_probe();
    assert_eq!(gate(&mut breaker, 1, 10), Gate::Closed);
    assert_eq!(fail(&mut breaker, 1, REFUSED, 20), Probe::Start);
    // Nor does it stop an attempt.
    let mut breaker = opened(0);
    assert_eq!(gate(&mut breaker, 3, 1_000), Gate::Attempt(Probe::Start));
    breaker.record_abandoned_attempt(Priority::Unknown);
    breaker.record_abandoned_probe();
    assert_eq!(gate(&mut breaker, 4, 1_000), Gate::Attempt(Probe::Start));
}
