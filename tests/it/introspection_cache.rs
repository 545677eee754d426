//! How long answers are used, how many calls are made, and what happens while the server does not respond. The numbers
//! are those of the list of attacks.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tower_bearer::clock::Timestamp;
use tower_bearer::fetch::FetchError;
use tower_bearer::introspection::IntrospectionError;
use tower_bearer::testing::Reply;
use tower_bearer::{Rejection, Validator};

use crate::fixture::NOW;
use crate::introspection_fixture::{
    INACTIVE, Scripted, TOKEN, active, cause, inactive, introspection, json_reply, kind, reply,
};

const SECOND: Duration = Duration::from_secs(1);

async fn result(validator: &Validator, token: &str) -> Result<(), Rejection> {
    validator.validate(token).await.map(drop)
}

fn down() -> Reply {
    Reply::error(FetchError::Connect)
}

#[tokio::test]
async fn uses_a_positive_answer_for_its_ttl() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    for wait in [0, 10, 13] {
        scripted.clock.run_for(wait * SECOND).await;
        assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Ok(()), 1));
    }
    scripted.clock.run_for(7 * SECOND).await;
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Ok(()), 2));
}

/// Case 41: a revocation takes effect within the ttl.
#[tokio::test]
async fn rejects_a_revoked_token_after_the_ttl() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator_with(introspection().with_ttl(10 * SECOND));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.always(&inactive());
    scripted.clock.run_for(7 * SECOND).await;
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.clock.run_for(3 * SECOND).await;
    assert_eq!(result(&validator, TOKEN).await, Err(INACTIVE));
    assert_eq!(scripted.calls(), 2);
}

/// H2: the negative answer of a call in the background takes effect at once, before the ttl of the positive one has ended.
#[tokio::test]
async fn a_negative_answer_of_a_call_in_the_background_takes_effect_at_once() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.always(&inactive());
    scripted.clock.run_for(24 * SECOND).await;
    assert_eq!(result(&validator, TOKEN).await, Ok(()), "the hit that starts the call does not wait");
    scripted.clock.settle().await;
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Err(INACTIVE), 2));
}

/// A call in the background that fails neither ends the answer early nor extends it.
#[tokio::test]
async fn a_failed_call_in_the_background_leaves_the_answer_to_its_end() {
    for (failure, expected) in [
        (down(), IntrospectionError::Network { error: FetchError::Connect }),
        (Reply::status(StatusCode::INTERNAL_SERVER_ERROR), IntrospectionError::Status { status: 500 }),
        (json_reply("{}"), IntrospectionError::InvalidActive),
    ] {
        let scripted = Scripted::answering(&active(json!({})));
        let validator = scripted.validator();
        assert_eq!(result(&validator, TOKEN).await, Ok(()));
        scripted.always_reply(failure);
        scripted.clock.run_for(24 * SECOND).await;
        assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Ok(()), 1), "{expected}");
        scripted.clock.settle().await;
        assert!(scripted.calls() > 1, "{expected}");
        scripted.clock.run_for(5 * SECOND).await;
        assert_eq!(result(&validator, TOKEN).await, Ok(()), "{expected}");
        scripted.clock.run_for(SECOND).await;
        assert_eq!(cause(result(&validator, TOKEN).await), expected);
        scripted.always(&active(json!({})));
        scripted.clock.run_for(60 * SECOND).await;
        assert_eq!(result(&validator, TOKEN).await, Ok(()), "{expected}");
    }
}

#[tokio::test]
async fn a_token_in_use_never_waits() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    for period in 1..10 {
        scripted.clock.run_for(24 * SECOND).await;
        // The answer would be late, so the request must not wait for it.
        scripted.always_reply(reply(&active(json!({ "sub": period.to_string() }))).with_delay(SECOND));
        assert_eq!(result(&validator, TOKEN).await, Ok(()));
        assert_eq!(result(&validator, TOKEN).await, Ok(()), "one call at a time");
        scripted.clock.run_for(SECOND).await;
        let subject = period.to_string();
        assert_eq!(validator.validate(TOKEN).await.expect("active").subject(), Some(&*subject));
        assert_eq!(scripted.calls(), 1 + period);
    }
}

/// Cases 35 and 36.
#[tokio::test]
async fn an_answer_ends_with_the_token_and_is_not_used_if_the_clock_is_set_back() {
    let scripted = Scripted::answering(&active(json!({ "exp": NOW + 10 })));
    let validator = scripted.validator();
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.clock.run_for(16 * SECOND).await;
    let expired = result(&validator, TOKEN).await.map_err(|error| error.kind().name());
    assert_eq!((expired, scripted.calls()), (Err("expired"), 2));

    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.clock.set_wall(Timestamp::from_secs(NOW - 60));
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Ok(()), 2));
}

/// Case 40.
#[tokio::test]
async fn introspects_a_dead_token_once_in_the_negative_ttl() {
    let scripted = Scripted::answering(&inactive());
    let validator = scripted.validator();
    for period in 1..=3 {
        for _ in 0..1_000 {
            assert_eq!(result(&validator, TOKEN).await, Err(INACTIVE));
        }
        assert_eq!(scripted.calls(), period);
        scripted.clock.run_for(5 * SECOND).await;
    }
    // At most as long as a positive answer.
    let scripted = Scripted::answering(&inactive());
    let validator = scripted.validator_with(introspection().with_ttl(Duration::ZERO));
    for _ in 1..=3 {
        assert_eq!(result(&validator, TOKEN).await, Err(INACTIVE));
        scripted.clock.settle().await;
    }
    assert_eq!(scripted.calls(), 3 + 1, "and a probe");
}

#[tokio::test]
async fn stores_a_positive_answer_that_the_api_rejects() {
    let scripted = Scripted::answering(&active(json!({ "aud": "https://other.test/" })));
    let validator = scripted.validator();
    let first = result(&validator, TOKEN).await;
    assert!(first.is_err());
    scripted.clock.run_for(29 * SECOND).await;
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (first.clone(), 1));
    scripted.clock.run_for(SECOND).await;
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (first, 2));
    // A date that becomes valid is checked again.
    let scripted = Scripted::answering(&active(json!({ "nbf": NOW + 10 })));
    let validator = scripted.validator();
    assert!(result(&validator, TOKEN).await.is_err());
    scripted.clock.run_for(10 * SECOND).await;
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Ok(()), 1));
}

/// Cases 37 and 38.
#[tokio::test]
async fn all_requests_with_one_token_share_a_call_that_none_of_them_owns() {
    let scripted = Scripted::new();
    scripted.always_reply(reply(&active(json!({}))).with_delay(SECOND));
    let validator = Arc::new(scripted.validator());
    let leader = tokio::spawn({
        let validator = Arc::clone(&validator);
        async move { result(&validator, TOKEN).await }
    });
    scripted.clock.settle().await;
    let followers: Vec<_> = (0..9_999)
        .map(|_| {
            let validator = Arc::clone(&validator);
            tokio::spawn(async move { result(&validator, TOKEN).await })
        })
        .collect();
    scripted.clock.settle().await;
    leader.abort();
    scripted.clock.run_for(SECOND).await;
    for follower in followers {
        assert_eq!(follower.await.expect("no panic"), Ok(()));
    }
    assert_eq!(scripted.calls(), 1);
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Ok(()), 1));
}

/// Cases 39 and M2: random tokens use their own slots, and known ones are not affected.
#[tokio::test]
async fn a_flood_of_random_tokens_leaves_known_ones_alone() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = Arc::new(scripted.validator());
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.always_reply(Reply::hang());
    let flood: Vec<_> = (0..10_100)
        .map(|number| {
            let validator = Arc::clone(&validator);
            tokio::spawn(async move { result(&validator, &format!("random-{number}")).await })
        })
        .collect();
    for _ in 0..10 {
        scripted.clock.settle().await;
    }
    assert_eq!(scripted.network.in_flight(), 48);
    assert_eq!((result(&validator, TOKEN).await, scripted.network.in_flight()), (Ok(()), 48));
    // The answer about the known token has ended, and its call has a slot.
    scripted.clock.set_wall(Timestamp::from_secs(NOW + 31));
    scripted.always(&active(json!({ "sub": "again" })));
    assert_eq!(validator.validate(TOKEN).await.expect("active").subject(), Some("again"));
    let overloaded = flood.iter().filter(|request| request.is_finished()).count();
    assert_eq!(overloaded, 100 + 1, "10,000 wait, and one of them has lost its permit to the known token");
    flood.into_iter().for_each(|request| request.abort());
}

/// Case 42: an outage is no answer. What is known stays in use to its end.
#[tokio::test]
async fn serves_known_tokens_during_an_outage_and_rejects_others_with_503() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.always_reply(down());
    scripted.clock.run_for(20 * SECOND).await;
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    let down = IntrospectionError::Network { error: FetchError::Connect };
    assert_eq!(cause(result(&validator, "another-token").await), down);
    scripted.clock.run_for(10 * SECOND).await;
    assert_eq!(cause(result(&validator, TOKEN).await), down);
    scripted.always(&active(json!({})));
    scripted.clock.run_for(31 * SECOND).await;
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
}

/// M4 of the design, M1: only an outage allows an earlier answer, and only within the grace period.
#[tokio::test]
async fn uses_the_last_positive_answer_in_the_grace_period_of_an_outage_only() {
    for (failure, is_outage) in [
        (down(), true),
        (Reply::error(FetchError::Closed), true),
        (Reply::hang(), true),
        (Reply::status(StatusCode::SERVICE_UNAVAILABLE), false),
        (Reply::status(StatusCode::TOO_MANY_REQUESTS), false),
        (Reply::error(FetchError::Tls), false),
        (Reply::status(StatusCode::NOT_FOUND), false),
        (Reply::status(StatusCode::UNAUTHORIZED), false),
        (Reply::status(StatusCode::FOUND), false),
        (reply(&json!({ "active": "true" })), false),
        (Reply::json("<html>"), false),
    ] {
        let scripted = Scripted::answering(&active(json!({})));
        let validator = Arc::new(scripted.validator_with(introspection().with_revocation_grace(60 * SECOND)));
        assert_eq!(result(&validator, TOKEN).await, Ok(()));
        scripted.clock.run_for(30 * SECOND).await;
        scripted.always_reply(failure.clone());
        let request = tokio::spawn({
            let validator = Arc::clone(&validator);
            async move { (result(&validator, TOKEN).await.is_ok(), validator.explain(TOKEN).await.is_accepted()) }
        });
        scripted.clock.run_for(10 * SECOND).await;
        assert_eq!(request.await.expect("no panic"), (is_outage, is_outage), "{failure:?}");
        scripted.clock.run_for(60 * SECOND).await;
        let late = tokio::spawn(async move { result(&validator, TOKEN).await });
        scripted.clock.run_for(10 * SECOND).await;
        assert!(late.await.expect("no panic").is_err(), "{failure:?}");
    }
}

/// A server may respond with 5xx for one token, because it is revoked. If other calls fail as well, the server is down.
#[tokio::test]
async fn uses_the_last_positive_answer_after_5xx_only_if_the_server_is_down() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator_with(introspection().with_revocation_grace(60 * SECOND));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.clock.run_for(30 * SECOND).await;
    scripted.always_reply(Reply::status(StatusCode::BAD_GATEWAY));
    let failed = IntrospectionError::Status { status: 502 };
    assert_eq!(cause(result(&validator, TOKEN).await), failed);
    for other in ["other-token-1", "other-token-2", "other-token-3", "other-token-4"] {
        assert_eq!(cause(result(&validator, other).await), failed);
    }
    scripted.clock.settle().await;
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    assert_eq!(cause(result(&validator, "other-token-5").await), failed);
}

/// H1: after a negative answer, no earlier positive one is used.
#[tokio::test]
async fn a_negative_answer_ends_the_grace_period() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator_with(introspection().with_revocation_grace(3_600 * SECOND));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
    scripted.clock.run_for(30 * SECOND).await;
    scripted.always(&inactive());
    assert_eq!(result(&validator, TOKEN).await, Err(INACTIVE));
    scripted.always_reply(down());
    scripted.clock.run_for(6 * SECOND).await;
    assert_eq!(cause(result(&validator, TOKEN).await), IntrospectionError::Network { error: FetchError::Connect });
}

/// H3: a request does not join a call that began before the token was evicted; M4: other calls are not affected.
#[tokio::test]
async fn introspects_an_evicted_token_again() {
    let scripted = Scripted::new();
    let slow = |subject: &str| reply(&active(json!({ "sub": subject }))).with_delay(SECOND);
    scripted.always_reply(slow("before"));
    let validator = Arc::new(scripted.validator());
    let validate = |token: &'static str| {
        let validator = Arc::clone(&validator);
        tokio::spawn(async move { validator.validate(token).await.map(|claims| claims.subject().map(str::to_owned)) })
    };
    let (early, other) = (validate(TOKEN), validate("other-token"));
    scripted.clock.settle().await;
    validator.evict_token(TOKEN);
    // An answer to a call that began at this very time would count as one from before.
    scripted.clock.advance(Duration::from_millis(1));
    scripted.always_reply(slow("after"));
    let (late, joined) = (validate(TOKEN), validate("other-token"));
    scripted.clock.settle().await;
    assert_eq!(scripted.calls(), 3);
    scripted.clock.run_for(SECOND).await;
    for (request, subject) in [(early, "before"), (other, "before"), (joined, "before"), (late, "after")] {
        assert_eq!(request.await.expect("no panic"), Ok(Some(subject.to_owned())));
    }
    // The answer from before the eviction was not stored, that about the other token was.
    assert_eq!(validator.validate(TOKEN).await.expect("active").subject(), Some("after"));
    assert_eq!(validator.validate("other-token").await.expect("active").subject(), Some("before"));
    assert_eq!(scripted.calls(), 3);
    validator.evict_token(TOKEN);
    scripted.clock.advance(Duration::from_millis(1));
    scripted.always(&inactive());
    assert_eq!((result(&validator, TOKEN).await, scripted.calls()), (Err(INACTIVE), 4));
}

/// A call that was in the queue at the eviction was sent after it, so its answer counts.
#[tokio::test]
async fn stores_the_answer_to_a_call_that_is_sent_after_an_eviction() {
    let scripted = Scripted::new();
    scripted.network.always(&kind("slow"), reply(&active(json!({}))).with_delay(SECOND));
    scripted.network.always(&kind("dead"), reply(&inactive()));
    let validator = Arc::new(scripted.validator_by_kind(introspection().with_max_calls(2)));
    let validate = |token: &'static str| {
        let validator = Arc::clone(&validator);
        tokio::spawn(async move { result(&validator, token).await })
    };
    let slow = validate("slow-token");
    scripted.clock.settle().await;
    let dead = validate("dead-token");
    scripted.clock.settle().await;
    validator.evict_token("dead-token");
    scripted.clock.run_for(2 * SECOND).await;
    assert_eq!((slow.await.expect("no panic"), dead.await.expect("no panic")), (Ok(()), Err(INACTIVE)));
    assert_eq!((result(&validator, "dead-token").await, scripted.network.calls_to(&kind("dead"))), (Err(INACTIVE), 1));
}

/// Validators of one API with other types of claims share the client, but not the token cache.
#[tokio::test]
async fn an_answer_that_the_api_rejects_ends_the_use_of_earlier_ones_everywhere() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    let other = validator.clone().with_custom_claims::<serde_json::Value>();
    assert_eq!(other.validate(TOKEN).await.map(drop), Ok(()));
    scripted.always(&active(json!({ "aud": "https://other.test/" })));
    scripted.clock.run_for(SECOND).await;
    assert!(result(&validator, TOKEN).await.is_err());
    assert!(other.validate(TOKEN).await.is_err());
}

/// The request that would check a newer answer has ended.
#[tokio::test]
async fn an_answer_that_no_request_has_checked_ends_the_grace_period_of_an_earlier_one() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = Arc::new(scripted.validator_with(introspection().with_revocation_grace(3_600 * SECOND)));
    let validate = || {
        let validator = Arc::clone(&validator);
        tokio::spawn(async move { result(&validator, TOKEN).await })
    };
    assert_eq!(validate().await.expect("no panic"), Ok(()));
    scripted.clock.run_for(30 * SECOND).await;
    scripted.always_reply(reply(&active(json!({ "aud": "https://other.test/" }))).with_delay(SECOND));
    let request = validate();
    scripted.clock.settle().await;
    request.abort();
    scripted.clock.run_for(SECOND).await;
    scripted.always_reply(down());
    assert_eq!(cause(validate().await.expect("no panic")), IntrospectionError::Network { error: FetchError::Connect });
}

/// Case 43.
#[tokio::test]
async fn a_panic_of_the_http_client_is_no_answer() {
    let scripted = Scripted::new();
    scripted.always_reply(Reply::panic());
    let validator = scripted.validator();
    assert_eq!(cause(result(&validator, TOKEN).await), IntrospectionError::Panic);
    scripted.always(&active(json!({})));
    assert_eq!(result(&validator, TOKEN).await, Ok(()));
}

#[tokio::test]
async fn repeats_a_call_only_if_the_connection_was_closed_before_a_response() {
    for (first, calls) in [
        (Reply::error(FetchError::Closed), 2),
        (Reply::error(FetchError::Connect), 1),
        (Reply::error(FetchError::Timeout), 1),
        (Reply::status(StatusCode::BAD_GATEWAY), 1),
    ] {
        let scripted = Scripted::answering(&active(json!({})));
        scripted.network.once(crate::introspection_fixture::ENDPOINT, first);
        let validator = scripted.validator();
        assert_eq!(result(&validator, TOKEN).await.is_ok(), calls == 2);
        assert_eq!(scripted.calls(), calls);
    }
}

#[test]
fn a_validator_outside_of_a_runtime_gives_no_answer() {
    let scripted = Scripted::answering(&active(json!({})));
    let validator = scripted.validator();
    let mut future = Box::pin(validator.validate(TOKEN));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(result) = future.as_mut().poll(&mut context) else {
        panic!("no wait without a runtime")
    };
    assert_eq!(cause(result), IntrospectionError::NoRuntime);
}
