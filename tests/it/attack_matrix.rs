//! The attack matrix: tokens and header fields that an attacker would try, against a strict API at a fixed time.
//!
//! The cases stand outside the repository; without them the test says that it skipped them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tower_bearer::claims::Profile;
use tower_bearer::clock::Timestamp;
use tower_bearer::keys::KeySet;
use tower_bearer::testing::FakeClock;
use tower_bearer::{Algorithm, Api, Issuer, Rejection, RejectionKind, Requirement, Secret, Validator};

use crate::vectors;

/// Cases where the rules of this crate are stricter than the case's own expectation, each with the reason.
const STRICTER: &[(&str, &str)] = &[("size-03", "claims nest at most 32 levels, the case has 64")];

/// The cases that are a token alone; header fields stand in `vectors_headers`, and what has to be made or played in the
/// tests of the rules.
const TOKENS: usize = 181;

#[derive(Deserialize)]
struct Matrix {
    config: Config,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Config {
    now: i64,
    leeway_s: u64,
    required_claims: Vec<String>,
    max_token_bytes: usize,
    apis: BTreeMap<String, ApiConfig>,
}

#[derive(Deserialize)]
struct ApiConfig {
    issuer: String,
    audience: String,
    algs: Vec<String>,
    jwks: Option<String>,
    secret_b64u: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    name: String,
    api: String,
    token: Option<String>,
    expect: Outcome,
    #[serde(default)]
    also: Vec<Outcome>,
    mode: Option<String>,
    route: Option<Route>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Outcome {
    status: u16,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Route {
    required_scope: String,
}

impl Config {
    fn validator(&self, case: &Case) -> Validator {
        let config = &self.apis[&case.api];
        let algorithms: Vec<Algorithm> = config.algs.iter().map(|name| name.parse().expect("an algorithm")).collect();
        let issuer = match (&config.jwks, &config.secret_b64u) {
            (Some(file), _) => {
                let keys = vectors::read(&format!("attack-matrix/{file}")).expect("the key set beside the cases");
                Issuer::with_static_keys(&config.issuer, KeySet::from_jwks(keys))
            }
            (None, Some(secret)) => Issuer::shared_secret(&config.issuer, Secret::base64url(secret)),
            (None, None) => panic!("{} has no keys", case.api),
        };
        let profile = if case.mode.as_deref() == Some("rfc9068") { Profile::Rfc9068 } else { Profile::Any };
        let api = Api::new(&config.audience, issuer.with_algorithms(algorithms))
            .with_leeway(Duration::from_secs(self.leeway_s))
            .with_required_claims(&self.required_claims)
            .with_max_token_bytes(self.max_token_bytes)
            .with_profile(profile);
        Validator::builder(api).with_clock(self.clock()).build().expect("a good configuration")
    }

    fn clock(&self) -> FakeClock {
        FakeClock::at(Timestamp::from_secs(self.now))
    }
}

#[tokio::test]
async fn every_token_of_the_matrix_gets_its_answer() {
    let Some(text) = vectors::read("attack-matrix/cases.json") else { return };
    let matrix: Matrix = serde_json::from_slice(&text).expect("the matrix");
    let (mut tried, mut met) = (0, 0);
    let mut wrong = Vec::new();
    for case in &matrix.cases {
        let Some(token) = &case.token else { continue };
        let outcome = outcome(&matrix.config, case, token).await;
        let as_labelled = outcome == case.expect || case.also.contains(&outcome);
        let stricter = STRICTER.iter().any(|(id, _)| *id == case.id);
        let expected = if stricter { outcome.status == 401 && !as_labelled } else { as_labelled };
        met += usize::from(stricter);
        if !expected {
            wrong.push(format!("{} {}: {outcome:?} instead of {:?}", case.id, case.name, case.expect));
        }
        tried += 1;
    }
    assert_eq!((tried, met), (TOKENS, STRICTER.len()), "tokens, and exceptions that name one");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

async fn outcome(config: &Config, case: &Case, token: &str) -> Outcome {
    let answer = |status, error: Option<&str>| Outcome { status, error: error.map(str::to_owned) };
    if tower_bearer::bearer::BearerToken::parse(token).is_err() {
        return answer(400, Some("invalid_request"));
    }
    let verdict = config.validator(case).validate(token).await;
    let verdict = verdict.and_then(|claims| match &case.route {
        None => Ok(()),
        Some(route) => Requirement::scope(&route.required_scope)
            .check(&claims, Timestamp::from_secs(config.now), Duration::ZERO)
            .map_err(Rejection::Requirement),
    });
    match verdict {
        Ok(()) => answer(200, None),
        Err(rejection) if rejection.kind() == RejectionKind::InsufficientScope => {
            answer(403, Some("insufficient_scope"))
        }
        Err(_) => answer(401, Some("invalid_token")),
    }
}
