//! The metrics of the calls to introspection endpoints.

use std::time::Duration;

use http::StatusCode;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tower_bearer::dpop::Dpop;
use tower_bearer::fetch::FetchError;
use tower_bearer::request::RequestHead;
use tower_bearer::testing::{ProofKey, Reply};
use tower_bearer::{Api, Issuer, Validator};

use crate::dpop_fixture::{URL, dpop_request};
use crate::fixture::{AUDIENCE, block_on};
use crate::introspection_fixture::{ISSUER, Scripted, TOKEN, active, inactive, introspection, json_reply, reply};

const OUTCOMES: [&str; 4] = ["active", "inactive", "unavailable", "refused"];

/// Returns the value of a series, or zero if it does not exist.
fn value(metrics: &PrometheusHandle, name: &str, labels: &str) -> usize {
    let series = format!("{name}{{issuer=\"{ISSUER}\"{labels}}} ");
    let text = metrics.render();
    text.lines().find_map(|line| line.strip_prefix(&*series)).map_or(0, |value| value.parse().expect("a number"))
}

fn cached_bytes(metrics: &PrometheusHandle) -> usize {
    let text = metrics.render();
    let value = text.lines().find_map(|line| line.strip_prefix("jwt_token_cache_bytes "));
    value.expect("a gauge").parse().expect("a number")
}

/// Returns the numbers of calls by outcome.
fn calls(metrics: &PrometheusHandle) -> [usize; 4] {
    OUTCOMES.map(|outcome| value(metrics, "introspection_total", &format!(",outcome=\"{outcome}\"")))
}

#[test]
fn counts_the_calls_by_outcome() {
    for (response, outcome) in [
        (reply(&active(json!({}))), "active"),
        // What the rules of the API refuse is still an answer.
        (reply(&active(json!({ "aud": "https://other.test/" }))), "active"),
        (reply(&inactive()), "inactive"),
        (Reply::status(StatusCode::BAD_REQUEST).with_body(r#"{"error":"unsupported_token_type"}"#), "inactive"),
        (Reply::error(FetchError::Connect), "unavailable"),
        (Reply::status(StatusCode::INTERNAL_SERVER_ERROR), "unavailable"),
        (json_reply("{}"), "unavailable"),
        (Reply::status(StatusCode::UNAUTHORIZED), "refused"),
        (Reply::status(StatusCode::FORBIDDEN), "refused"),
    ] {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            block_on(async {
                let scripted = Scripted::new();
                scripted.always_reply(response);
                let validator = scripted.validator();
                assert_eq!(calls(&metrics), [0; 4]);
                drop(validator.validate(TOKEN).await);
                // Calls with a random text have the same outcome, and count as well.
                scripted.clock.settle().await;
                let expected = OUTCOMES.map(|name| if name == outcome { scripted.calls() } else { 0 });
                assert_eq!(calls(&metrics), expected, "{outcome}");
                assert!(scripted.calls() > 0);
                assert_eq!(value(&metrics, "introspection_seconds_count", ""), scripted.calls(), "{outcome}");
            });
        });
    }
}

#[test]
fn counts_the_calls_in_flight() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        block_on(async {
            let scripted = Scripted::new();
            scripted.always_reply(reply(&active(json!({}))).with_delay(Duration::from_secs(1)));
            let validator = scripted.validator();
            let requests: Vec<_> = [TOKEN, "opaque-token-2", "opaque-token-2"]
                .map(|token| {
                    let validator = validator.clone();
                    tokio::spawn(async move { validator.validate(token).await.map(drop) })
                })
                .into();
            scripted.clock.settle().await;
            assert_eq!(value(&metrics, "introspection_in_flight", ""), 2, "one call for each token");
            scripted.clock.run_for(Duration::from_secs(10)).await;
            for request in requests {
                assert_eq!(request.await.expect("no panic"), Ok(()));
            }
            assert_eq!(value(&metrics, "introspection_in_flight", ""), 0);
            assert_eq!(value(&metrics, "introspection_seconds_count", ""), scripted.calls());
            // An answer that is used again is no call.
            let before = calls(&metrics);
            assert_eq!(validator.validate(TOKEN).await.map(drop), Ok(()));
            assert_eq!(calls(&metrics), before);
        });
    });
}

/// The entry is stored before the first proof is checked, and then refers to its parsed key.
#[test]
fn cached_bytes_of_an_opaque_token_include_the_key_of_its_proofs() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let scripted = Scripted::new();
        let key = ProofKey::new().with_clock(scripted.clock.clone());
        let validator = || {
            let api = Api::new(AUDIENCE, Issuer::opaque(ISSUER, introspection()));
            scripted.validator_of(api.with_dpop(Dpop::new("https://api.test")))
        };
        let accepts = |validator: &Validator, proof: &str| {
            let request = dpop_request(TOKEN, proof);
            block_on(validator.validate_request(TOKEN, &RequestHead::new(&request))).is_ok()
        };
        scripted.always(&active(json!({})));
        let bearer = validator();
        assert!(block_on(bearer.validate(TOKEN)).is_ok());
        let without_key = cached_bytes(&metrics);
        drop(bearer);
        assert_eq!(cached_bytes(&metrics), 0);
        scripted.always(&active(json!({ "cnf": { "jkt": key.jkt() }, "token_type": "DPoP" })));
        let bound = validator();
        let other = ProofKey::new().with_clock(scripted.clock.clone());
        assert!(!accepts(&bound, &other.proof("GET", URL, TOKEN).sign()));
        for _ in 0..2 {
            assert!(accepts(&bound, &key.proof("GET", URL, TOKEN).sign()));
        }
        assert_eq!(scripted.calls(), 2, "one for each validator");
        let with_key = cached_bytes(&metrics);
        assert!(with_key > without_key + 1_024, "{with_key} bytes, without a key {without_key}");
    });
}
