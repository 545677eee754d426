//! Who can stop the calls to an introspection endpoint: the server, but no client.

use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::json;
use tokio::task::JoinHandle;
use tower_bearer::clock::{Clock, Monotonic};
use tower_bearer::fetch::{Endpoint, Fetch, FetchError, FetchFuture, FetchRequest, FormRequest};
use tower_bearer::introspection::{
    Introspection, IntrospectionError, IntrospectionEvent, IntrospectionEventKind, IntrospectionRejection, StoppedCalls,
};
use tower_bearer::testing::{FakeClock, FakeFetch, Reply};
use tower_bearer::{Api, Issuer, Rejection, Validator};

use crate::fixture::AUDIENCE;
use crate::introspection_fixture::{
    INACTIVE, ISSUER, Scripted, TOKEN, active, cause, inactive, introspection, kind, reply,
};

const SECOND: Duration = Duration::from_secs(1);

async fn result(validator: &Validator, token: &str) -> Result<(), Rejection> {
    validator.validate(token).await.map(drop)
}

fn start(validator: &Arc<Validator>, token: impl Into<String>) -> JoinHandle<Result<(), Rejection>> {
    let (validator, token) = (Arc::clone(validator), token.into());
    tokio::spawn(async move { result(&validator, &token).await })
}

/// Returns a server that answers about good tokens, and responds to all others with this status.
fn refusing_unknown_tokens(status: StatusCode) -> Scripted {
    let scripted = Scripted::new();
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    scripted.network.always(&kind("bad"), Reply::status(status));
    scripted.network.always(&kind("unknown"), Reply::status(status));
    scripted
}

const STATUSES: [StatusCode; 3] =
    [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR];

/// Some servers respond with an error to a token that they do not know, so to every probe as well.
#[tokio::test]
async fn one_bad_token_costs_others_nothing_at_a_server_that_refuses_unknown_tokens() {
    for status in STATUSES {
        let scripted = refusing_unknown_tokens(status);
        let validator = scripted.validator_by_kind(introspection());
        for minute in 0..50 {
            for _ in 0..10 {
                assert!(result(&validator, "bad-token").await.is_err());
                scripted.clock.settle().await;
            }
            assert_eq!(result(&validator, &format!("good-token-{minute}")).await, Ok(()), "{status}");
            scripted.clock.run_for(60 * SECOND).await;
        }
    }
}

/// A client that sends many bad tokens before the first good one stops all calls. A good token resumes them, and is
/// enough to find out that this server refuses every unknown token.
#[tokio::test]
async fn a_good_token_resumes_calls_at_a_server_that_refuses_unknown_tokens() {
    for status in STATUSES {
        let scripted = refusing_unknown_tokens(status);
        let validator = scripted.validator_by_kind(introspection());
        for number in 0..20 {
            assert!(result(&validator, &format!("bad-token-{number}")).await.is_err());
            scripted.clock.settle().await;
        }
        assert!(result(&validator, "good-token").await.is_err(), "{status}: calls are stopped");
        scripted.clock.run_for(SECOND).await;
        assert_eq!(result(&validator, "good-token").await, Ok(()), "{status}");
        for minute in 0..30 {
            scripted.clock.run_for(60 * SECOND).await;
            for number in 0..20 {
                assert!(result(&validator, &format!("bad-token-{minute}-{number}")).await.is_err());
                scripted.clock.settle().await;
            }
            assert_eq!(result(&validator, &format!("good-token-{minute}")).await, Ok(()), "{status}");
        }
    }
}

/// Bad tokens of clients do not use up the attempts of known tokens.
#[tokio::test]
async fn a_known_token_resumes_calls_whatever_others_send() {
    let scripted = refusing_unknown_tokens(StatusCode::UNAUTHORIZED);
    let validator = scripted.validator_by_kind(introspection());
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    scripted.clock.run_for(60 * SECOND).await;
    for second in 0..120 {
        for number in 0..5 {
            assert!(result(&validator, &format!("bad-token-{second}-{number}")).await.is_err());
            scripted.clock.settle().await;
        }
        scripted.clock.run_for(SECOND).await;
    }
    assert_eq!(result(&validator, "good-token").await, Ok(()));
}

/// Our own credentials are refused.
#[tokio::test]
async fn refused_credentials_stop_all_calls_after_two_tokens_and_one_probe() {
    let post_refused = Reply::status(StatusCode::BAD_REQUEST).with_body(r#"{"error":"invalid_client"}"#);
    for refused in [Reply::status(StatusCode::UNAUTHORIZED), Reply::status(StatusCode::FORBIDDEN), post_refused] {
        let scripted = Scripted::new();
        scripted.always_reply(refused);
        let validator = Arc::new(scripted.validator());
        for number in 0..100 {
            let answer = result(&validator, &format!("opaque-token-{number}")).await;
            assert_eq!(cause(answer), IntrospectionError::CredentialsRefused);
            scripted.clock.settle().await;
        }
        assert_eq!(scripted.calls(), 3);
        // Nor does each later request cause a call: four tokens, with probes, at the end of each pause.
        for second in 0..60 {
            let answer = result(&validator, &format!("later-token-{second}")).await;
            assert_eq!(cause(answer), IntrospectionError::CredentialsRefused);
            scripted.clock.run_for(SECOND).await;
        }
        assert!((11..=60).contains(&scripted.calls()), "{}", scripted.calls());
        scripted.always(&active(json!({})));
        scripted.clock.run_for(31 * SECOND).await;
        assert_eq!(result(&validator, TOKEN).await, Ok(()));
    }
}

/// With one client, only one token shows that the credentials are refused.
#[tokio::test]
async fn refused_credentials_stop_the_calls_about_a_single_token() {
    let scripted = Scripted::new();
    scripted.always_reply(Reply::status(StatusCode::UNAUTHORIZED));
    let validator = scripted.validator();
    for _ in 0..100 {
        assert_eq!(cause(result(&validator, TOKEN).await), IntrospectionError::CredentialsRefused);
        scripted.clock.settle().await;
    }
    assert_eq!(scripted.calls(), 2);
}

/// The token of one client, or a firewall that refuses it, costs others nothing.
#[tokio::test]
async fn the_token_of_one_client_never_stops_the_calls_for_others() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    for number in 0..50 {
        scripted.network.once(crate::introspection_fixture::ENDPOINT, Reply::status(StatusCode::FORBIDDEN));
        let attack = format!("../../etc/passwd{number}");
        assert_eq!(cause(result(&validator, &attack).await), IntrospectionError::CredentialsRefused);
        scripted.clock.settle().await;
        assert_eq!(result(&validator, &format!("innocent-{number}")).await, Ok(()));
    }
}

#[tokio::test]
async fn a_probe_has_the_prefix_of_the_tokens() {
    let scripted = Scripted::new();
    scripted.always_reply(Reply::status(StatusCode::UNAUTHORIZED));
    let validator = scripted.validator_with(introspection().with_token_prefix("lgc_"));
    assert!(result(&validator, "lgc_token").await.is_err());
    scripted.clock.settle().await;
    let forms: Vec<_> = scripted.network.requests().into_iter().filter_map(|request| request.form).collect();
    let [_, probe] = &*forms else { panic!("a call and a probe: {forms:?}") };
    assert!(probe.starts_with(b"token=lgc_") && probe.len() > 70, "{probe:?}");
}

/// Case 14.
#[tokio::test]
async fn obeys_the_retry_after_of_a_rate_limit_that_a_probe_confirms() {
    let scripted = Scripted::new();
    scripted.always_reply(Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, "7"));
    let validator = scripted.validator();
    for second in 0..7 {
        let Err(Rejection::Introspection(IntrospectionRejection::Unavailable { retry_after, cause, .. })) =
            result(&validator, &format!("opaque-token-{second}")).await
        else {
            panic!("503")
        };
        assert_eq!((retry_after, cause), ((7 - second) * SECOND, IntrospectionError::Status { status: 429 }));
        scripted.clock.run_for(SECOND).await;
    }
    assert_eq!(scripted.calls(), 2);
    scripted.always(&active(json!({})));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
}

/// A flood of unknown tokens causes a rate limit, which a probe meets as well. Calls about known tokens go on, and their
/// answers do not resume those about unknown tokens before the time that the server has named.
#[tokio::test]
async fn a_rate_limit_of_unknown_tokens_ends_at_its_time_and_costs_known_tokens_nothing() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    let limited = Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, "50");
    for name in ["flood", "unknown"] {
        scripted.network.always(&kind(name), limited.clone());
    }
    let validator = scripted.validator_by_kind(introspection().with_ttl(10 * SECOND));
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    assert!(result(&validator, "flood-token").await.is_err());
    scripted.clock.settle().await;
    scripted.network.always(&kind("flood"), reply(&inactive()));
    let unknown_calls = || scripted.network.calls_to(&kind("flood")) + scripted.network.calls_to(&kind("unknown"));
    for second in 0..50 {
        assert_eq!(result(&validator, "good-token").await, Ok(()), "{second}");
        let Err(Rejection::Introspection(IntrospectionRejection::Unavailable { retry_after, cause, .. })) =
            result(&validator, &format!("flood-token-{second}")).await
        else {
            panic!("503")
        };
        assert_eq!((retry_after, cause), ((50 - second) * SECOND, IntrospectionError::Status { status: 429 }));
        scripted.clock.run_for(SECOND).await;
    }
    assert_eq!((unknown_calls(), scripted.network.calls_to(&kind("good"))), (2, 7));
    scripted.network.always(&kind("unknown"), reply(&inactive()));
    assert_eq!(result(&validator, "flood-token-50").await, Err(INACTIVE), "the time has passed");
}

/// A server that limits the calls of each client to ten in a second, whatever they are about.
#[derive(Debug)]
struct LimitedPerClient {
    network: FakeFetch,
    clock: FakeClock,
    calls: Mutex<Vec<Monotonic>>,
}

impl Fetch for LimitedPerClient {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        self.network.fetch(request)
    }

    fn post(&self, mut request: FormRequest) -> FetchFuture {
        let now = self.clock.monotonic();
        let mut calls = self.calls.lock().expect("no panic");
        calls.retain(|at| now < at.saturating_add(SECOND));
        calls.push(now);
        let is_good = request.body.starts_with(b"token=good-");
        let name = if calls.len() > 10 {
            "limited"
        } else if is_good {
            "good"
        } else {
            "unknown"
        };
        request.endpoint = Endpoint::new(&kind(name)).expect("a URL");
        self.network.post(request)
    }
}

/// The calls about known tokens during the flood get 429 as well: before and after it is confirmed.
#[tokio::test]
async fn a_flood_of_unknown_tokens_costs_known_ones_nothing_at_a_server_that_limits_each_client() {
    let scripted = Scripted::new();
    let delay = SECOND / 10;
    scripted.network.always(&kind("good"), reply(&active(json!({}))).with_delay(delay));
    scripted.network.always(&kind("unknown"), reply(&inactive()).with_delay(delay));
    let limited = Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, "50");
    scripted.network.always(&kind("limited"), limited.with_delay(delay));
    let (network, clock) = (scripted.network.clone(), scripted.clock.clone());
    let fetch = LimitedPerClient { network, clock, calls: Mutex::default() };
    let api = Api::new(AUDIENCE, Issuer::opaque(ISSUER, introspection().with_ttl(10 * SECOND)));
    let builder = Validator::builder(api).with_fetch(fetch).with_clock(scripted.clock.clone());
    let validator = Arc::new(builder.build().expect("a valid configuration"));
    let requests = |range: Range<usize>| range.map(|number| start(&validator, format!("good-token-{number}")));
    let are_accepted = async |requests: Vec<JoinHandle<Result<(), Rejection>>>| {
        let mut accepted = 0;
        for request in requests {
            accepted += usize::from(request.await.expect("no panic").is_ok());
        }
        accepted
    };
    let known: Vec<_> = requests(0..4).collect();
    scripted.clock.run_for(11 * SECOND).await;
    assert_eq!(are_accepted(known).await, 4);

    let flood = |second| (0..12).map(move |number| (second, number));
    let send = |(second, number)| start(&validator, format!("flood-token-{second}-{number}"));
    let mut unknown: Vec<_> = flood(0).map(send).collect();
    scripted.clock.run_for(delay / 2).await;
    let mut known: Vec<_> = requests(0..2).collect();
    scripted.clock.run_for(delay).await;
    known.extend(requests(2..4));
    scripted.clock.run_for(SECOND).await;
    assert_eq!(are_accepted(known).await, 0, "the server limits them as well");
    assert_eq!(scripted.network.calls_to(&kind("limited")), 2 + 2 + 1 + 2, "with a probe");
    for second in 1..48 {
        unknown.extend(flood(second).map(send));
        let known: Vec<_> = requests(0..4).collect();
        scripted.clock.run_for(SECOND).await;
        assert_eq!(are_accepted(known).await, 4, "{second}");
    }
    assert!(unknown.iter().all(JoinHandle::is_finished));
    assert_eq!(scripted.network.calls_to(&kind("unknown")), 10);
    scripted.clock.run_for(3 * SECOND).await;
    assert_eq!(result_in(&scripted, &validator, "flood-token").await, Err(INACTIVE), "the time has passed");
}

async fn result_in(scripted: &Scripted, validator: &Arc<Validator>, token: &str) -> Result<(), Rejection> {
    let request = start(validator, token);
    scripted.clock.run_for(SECOND).await;
    request.await.expect("no panic")
}

#[tokio::test]
async fn reports_which_calls_are_stopped() {
    let scripted = Scripted::new();
    let events = Arc::new(Mutex::new(Vec::new()));
    let hook = {
        let events = Arc::clone(&events);
        move |event: &IntrospectionEvent| events.lock().expect("no panic").push(event.kind())
    };
    let taken = || mem::take(&mut *events.lock().expect("no panic"));
    let stopped = |events: &[IntrospectionEventKind]| match events {
        [IntrospectionEventKind::Stopped { calls, cause, .. }] => Some((*calls, *cause)),
        _ => None,
    };
    let limited = |seconds: &str| Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, seconds);
    let cause = IntrospectionError::Status { status: 429 };
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    let settings = introspection().with_ttl(SECOND).with_event_hook(hook);
    let validator = Arc::new(scripted.validator_by_kind(settings));
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    scripted.network.always(&kind("unknown"), limited("60"));
    scripted.network.always(&kind("bad"), limited("60"));
    assert!(result(&validator, "bad-token").await.is_err());
    scripted.clock.settle().await;
    assert_eq!(stopped(&taken()), Some((StoppedCalls::UnknownTokens, cause)));
    scripted.clock.run_for(11 * SECOND).await;
    for name in ["good", "unknown"] {
        scripted.network.always(&kind(name), limited("7"));
    }
    assert!(result(&validator, "good-token").await.is_err());
    scripted.clock.settle().await;
    assert_eq!(stopped(&taken()), Some((StoppedCalls::All, cause)));
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    scripted.clock.run_for(7 * SECOND).await;
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    assert_eq!(stopped(&taken()), Some((StoppedCalls::UnknownTokens, cause)));
    scripted.clock.run_for(60 * SECOND).await;
    scripted.network.always(&kind("bad"), reply(&inactive()));
    assert_eq!(result(&validator, "bad-token").await, Err(INACTIVE));
    assert_eq!(taken(), [IntrospectionEventKind::Resumed]);
}

#[tokio::test]
async fn the_rate_limit_of_one_token_costs_others_nothing() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    scripted.network.always(&kind("unknown"), reply(&inactive()));
    let limited = Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, "60");
    scripted.network.always(&kind("limited"), limited);
    let validator = scripted.validator_by_kind(introspection());
    for number in 0..20 {
        let limited = cause(result(&validator, "limited-token").await);
        assert_eq!(limited, IntrospectionError::Status { status: 429 });
        scripted.clock.settle().await;
        assert_eq!(result(&validator, &format!("good-token-{number}")).await, Ok(()));
    }
}

/// What a request decided before it waited for a slot may not be true any more.
#[tokio::test]
async fn queued_requests_are_not_sent_after_calls_have_stopped() {
    let scripted = Scripted::new();
    scripted.always_reply(Reply::status(StatusCode::UNAUTHORIZED).with_delay(SECOND));
    let validator = Arc::new(scripted.validator_with(introspection().with_max_calls(2).with_timeout(10 * SECOND)));
    let requests: Vec<_> = (0..8).map(|number| start(&validator, format!("opaque-token-{number}"))).collect();
    scripted.clock.run_for(5 * SECOND).await;
    for request in requests {
        assert!(request.is_finished());
        assert_eq!(cause(request.await.expect("no panic")), IntrospectionError::CredentialsRefused);
    }
    assert!(scripted.calls() <= 4, "{}", scripted.calls());
}

#[tokio::test]
async fn queued_requests_with_one_token_make_one_call() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("slow"), reply(&active(json!({}))).with_delay(SECOND));
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    let validator = Arc::new(scripted.validator_by_kind(introspection().with_max_calls(2)));
    let slow = start(&validator, "slow-token");
    scripted.clock.settle().await;
    let requests: Vec<_> = (0..100).map(|_| start(&validator, "good-token")).collect();
    scripted.clock.settle().await;
    assert_eq!(scripted.network.calls(), 1);
    scripted.clock.run_for(2 * SECOND).await;
    for request in requests.into_iter().chain([slow]) {
        assert_eq!(request.await.expect("no panic"), Ok(()));
    }
    assert_eq!(scripted.network.calls(), 2);
}

/// Returns two validators that share their calls, but not the token cache. The first one knows `good-token`, whose answer has ended.
async fn sharing(
    scripted: &Scripted,
    introspection: Introspection,
) -> (Arc<Validator>, Arc<Validator<serde_json::Value>>) {
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    let validator = scripted.validator_by_kind(introspection);
    let other = Arc::new(validator.clone().with_custom_claims::<serde_json::Value>());
    let validator = Arc::new(validator);
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    scripted.clock.run_for(31 * SECOND).await;
    (validator, other)
}

/// Lets so many calls about unknown tokens fail, and a probe, that all calls are stopped.
async fn fail_calls(scripted: &Scripted, validator: &Validator) {
    for name in ["bad", "unknown"] {
        scripted.network.always(&kind(name), Reply::error(FetchError::Connect));
    }
    for number in 0..5 {
        assert!(result(validator, &format!("bad-token-{number}")).await.is_err());
        scripted.clock.settle().await;
    }
}

/// The call about a token is queued as unknown by a validator that does not know the token. A request for which it is known
/// leaves the queue with it.
#[tokio::test]
async fn a_known_token_does_not_wait_in_the_queue_of_unknown_ones() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("slow"), Reply::hang());
    let (validator, other) = sharing(&scripted, introspection().with_max_calls(2)).await;
    let flood: Vec<_> = (0..100).map(|number| start(&validator, format!("slow-token-{number}"))).collect();
    scripted.clock.settle().await;
    let unknown = {
        let other = Arc::clone(&other);
        tokio::spawn(async move { other.validate("good-token").await.map(drop) })
    };
    scripted.clock.settle().await;
    assert_eq!(scripted.network.calls_to(&kind("good")), 1, "in the queue");
    let known = start(&validator, "good-token");
    scripted.clock.settle().await;
    assert_eq!(scripted.network.calls_to(&kind("good")), 2);
    assert_eq!((known.await.expect("no panic"), unknown.await.expect("no panic")), (Ok(()), Ok(())));
    assert!(!flood.iter().any(JoinHandle::is_finished));
    flood.into_iter().for_each(|request| request.abort());
}

/// The same while calls are stopped: the attempt of unknown tokens is left to others.
#[tokio::test]
async fn a_known_token_does_not_wait_for_the_attempt_of_an_unknown_one() {
    let scripted = Scripted::new();
    let (validator, other) = sharing(&scripted, introspection().with_max_calls(2)).await;
    fail_calls(&scripted, &validator).await;
    assert_eq!(scripted.network.calls(), 1 + 5 + 1, "and a probe");
    scripted.clock.run_for(2 * SECOND).await;
    scripted.network.always(&kind("bad"), Reply::hang());
    let attempt = start(&validator, "bad-token-5");
    scripted.clock.settle().await;
    let unknown = {
        let other = Arc::clone(&other);
        tokio::spawn(async move { other.validate("good-token").await.map(drop) })
    };
    scripted.clock.settle().await;
    assert_eq!(scripted.network.calls_to(&kind("good")), 1, "it waits for the end of the attempt");
    let known = start(&validator, "good-token");
    scripted.clock.settle().await;
    assert!(known.is_finished() && unknown.is_finished() && !attempt.is_finished());
    assert_eq!((known.await.expect("no panic"), unknown.await.expect("no panic")), (Ok(()), Ok(())));
    attempt.abort();
}

/// The attempt of an unknown token fails at the moment at which a request joins for which the token is known.
#[tokio::test]
async fn a_known_token_does_not_fail_with_the_attempt_of_an_unknown_one() {
    let scripted = Scripted::new();
    let (validator, other) = sharing(&scripted, introspection()).await;
    fail_calls(&scripted, &validator).await;
    scripted.clock.run_for(2 * SECOND).await;
    for name in ["bad", "unknown"] {
        scripted.network.always(&kind(name), Reply::error(FetchError::Connect).with_delay(SECOND));
    }
    let attempt = start(&validator, "bad-token-5");
    scripted.clock.settle().await;
    let unknown = tokio::spawn(async move { other.validate("good-token").await.map(drop) });
    scripted.clock.settle().await;
    assert_eq!(scripted.network.calls_to(&kind("good")), 1, "it waits for the end of the attempt");
    scripted.clock.advance(SECOND);
    let known = start(&validator, "good-token");
    scripted.clock.settle().await;
    assert!(attempt.await.expect("no panic").is_err());
    assert_eq!((known.await.expect("no panic"), unknown.await.expect("no panic")), (Ok(()), Ok(())));
}

/// A client that does not wait causes no call.
#[tokio::test]
async fn a_queued_call_ends_with_the_last_request_that_waits_for_it() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("slow"), reply(&active(json!({}))).with_delay(SECOND));
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    let validator = Arc::new(scripted.validator_by_kind(introspection().with_max_calls(2)));
    let slow = start(&validator, "slow-token");
    scripted.clock.settle().await;
    let (one, two) = (start(&validator, "good-token"), start(&validator, "good-token-2"));
    scripted.clock.settle().await;
    one.abort();
    scripted.clock.run_for(2 * SECOND).await;
    assert_eq!((slow.await.expect("no panic"), two.await.expect("no panic")), (Ok(()), Ok(())));
    assert_eq!(scripted.network.calls(), 2);
    assert_eq!(result(&validator, "good-token").await, Ok(()));
}

/// Requests that wait for a call about an unknown token, or for the end of an attempt, leave room for known ones.
#[tokio::test]
async fn requests_with_one_unknown_token_do_not_reject_known_ones() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    scripted.network.always(&kind("slow"), Reply::hang());
    let validator = Arc::new(scripted.validator_by_kind(introspection()));
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    let flood: Vec<_> = (0..10_001).map(|_| start(&validator, "slow-token")).collect();
    for _ in 0..10 {
        scripted.clock.settle().await;
    }
    assert_eq!(flood.iter().filter(|request| request.is_finished()).count(), 1, "10,000 wait");
    scripted.clock.set_wall(tower_bearer::clock::Timestamp::from_secs(crate::fixture::NOW + 31));
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    assert_eq!(scripted.network.calls_to(&kind("good")), 2);
    assert_eq!(flood.iter().filter(|request| request.is_finished()).count(), 2, "one has lost its permit");
    flood.into_iter().for_each(|request| request.abort());
}

/// The error of an earlier call is not that of a request that was never sent.
#[tokio::test]
async fn a_request_that_waits_in_vain_for_a_slot_is_not_blamed_on_the_server() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("wrong"), Reply::json("<html>"));
    scripted.network.always(&kind("slow"), Reply::hang());
    let validator = Arc::new(scripted.validator_by_kind(introspection().with_max_calls(2)));
    assert_eq!(cause(result(&validator, "wrong-token").await), IntrospectionError::ContentType);
    let requests: Vec<_> = (0..3).map(|number| start(&validator, format!("slow-token-{number}"))).collect();
    scripted.clock.run_for(3 * SECOND).await;
    let mut causes = Vec::new();
    for request in requests {
        causes.push(cause(request.await.expect("no panic")));
    }
    assert_eq!((causes[0], causes[2]), (IntrospectionError::Timeout, IntrospectionError::Overloaded));
}

/// A flood of unknown tokens that has caused a rate limit does not cause the next one at once.
#[tokio::test]
async fn introspects_unknown_tokens_one_at_a_time_after_a_rate_limit() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    scripted.network.always(&kind("unknown"), reply(&inactive()));
    let validator = Arc::new(scripted.validator_by_kind(introspection()));
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    let limited = Reply::status(StatusCode::TOO_MANY_REQUESTS).with_header(RETRY_AFTER, "7");
    scripted.network.once(&kind("good"), limited.clone());
    scripted.network.once(&kind("unknown"), limited);
    assert!(result(&validator, "good-token-2").await.is_err());
    scripted.clock.run_for(31 * SECOND).await;
    assert_eq!(result(&validator, "good-token-3").await, Ok(()), "calls are resumed");
    scripted.network.always(&kind("slow"), reply(&inactive()).with_delay(SECOND));
    let flood: Vec<_> = (0..10).map(|number| start(&validator, format!("slow-token-{number}"))).collect();
    scripted.clock.settle().await;
    assert_eq!(scripted.network.in_flight(), 1);
    assert_eq!(result(&validator, "good-token").await, Ok(()), "a known token does not wait");
    scripted.clock.run_for(2_500 * SECOND / 1_000).await;
    assert_eq!((scripted.network.in_flight(), scripted.network.calls_to(&kind("slow"))), (1, 3));
    scripted.clock.run_for(60 * SECOND).await;
    let ended = flood.iter().filter(|request| request.is_finished()).count();
    assert_eq!(ended, 10);
    let later: Vec<_> = (10..20).map(|number| start(&validator, format!("slow-token-{number}"))).collect();
    scripted.clock.settle().await;
    assert_eq!(scripted.network.in_flight(), 10, "a minute later");
    later.into_iter().for_each(|request| request.abort());
}

/// The client of a revoked token cannot make a server that works look as if it were down.
#[tokio::test]
async fn a_revoked_token_gets_no_grace_at_a_server_that_responds_with_5xx_to_unknown_tokens() {
    let scripted = refusing_unknown_tokens(StatusCode::INTERNAL_SERVER_ERROR);
    let validator = scripted.validator_by_kind(introspection().with_revocation_grace(3_600 * SECOND));
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    scripted.clock.run_for(60 * SECOND).await;
    scripted.network.always(&kind("good"), Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    for round in 0..100 {
        for number in 0..3 {
            assert!(result(&validator, &format!("bad-token-{round}-{number}")).await.is_err());
            scripted.clock.settle().await;
        }
        let failed = cause(result(&validator, "good-token").await);
        assert_eq!(failed, IntrospectionError::Status { status: 500 }, "{round}");
        scripted.clock.run_for(SECOND / 4).await;
    }
}

/// A call that was in the queue until just before the timeout says nothing about the server.
#[tokio::test]
async fn a_call_that_is_sent_late_is_no_outage() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("good"), reply(&active(json!({}))));
    scripted.network.always(&kind("slow"), reply(&active(json!({}))).with_delay(1_450 * SECOND / 1_000));
    scripted.network.always(&kind("unknown"), reply(&inactive()));
    let settings = introspection().with_revocation_grace(60 * SECOND).with_max_calls(2);
    let validator = Arc::new(scripted.validator_by_kind(settings));
    for token in ["good-token", "slow-token-1", "slow-token-2", "slow-token-3"] {
        let request = start(&validator, token);
        scripted.clock.run_for(3 * SECOND).await;
        assert_eq!(request.await.expect("no panic"), Ok(()), "{token}");
    }
    scripted.clock.run_for(31 * SECOND).await;
    scripted.network.always(&kind("good"), reply(&inactive()).with_delay(SECOND));
    let slow: Vec<_> = (1..=3).map(|number| start(&validator, format!("slow-token-{number}"))).collect();
    scripted.clock.settle().await;
    let revoked = start(&validator, "good-token");
    scripted.clock.run_for(3 * SECOND).await;
    assert_eq!(cause(revoked.await.expect("no panic")), IntrospectionError::Overloaded);
    for request in slow {
        assert_eq!(request.await.expect("no panic"), Ok(()));
    }
}

#[tokio::test]
async fn an_outage_stops_all_calls_at_a_server_that_refuses_unknown_tokens() {
    let scripted = refusing_unknown_tokens(StatusCode::UNAUTHORIZED);
    let validator = scripted.validator_by_kind(introspection());
    assert_eq!(result(&validator, "good-token").await, Ok(()));
    scripted.clock.run_for(60 * SECOND).await;
    for name in ["good", "bad", "unknown"] {
        scripted.network.always(&kind(name), Reply::error(FetchError::Connect));
    }
    for number in 0..100 {
        assert!(result(&validator, &format!("good-token-{number}")).await.is_err());
        scripted.clock.settle().await;
    }
    assert_eq!(scripted.network.calls(), 1 + 5 + 1);
}
