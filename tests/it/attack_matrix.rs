//! The attack matrix: attacks against a strict API at a fixed time. This file runs the cases that consist of a token;
//! `vectors_headers` runs those that consist of header fields, and `attack_scenarios` those that need several steps.
//!
//! The cases are not part of the repository. Without them the test prints that it skips them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tower_bearer::claims::Profile;
use tower_bearer::clock::Timestamp;
use tower_bearer::keys::KeySet;
use tower_bearer::testing::FakeClock;
use tower_bearer::{Algorithm, Api, Issuer, Rejection, RejectionKind, Requirement, Secret, Validator};

use crate::{attack_scenarios, vectors};

/// `id status error reason` per line, `#` starts a comment: cases whose outcome differs from the expected one.
const EXCEPTIONS: &str = include_str!("../data/exceptions/attack_matrix.txt");

/// The number of cases of each kind: a token, header fields, or several steps.
pub(crate) const CASES: [usize; 3] = [181, 21, 18];

#[derive(Deserialize)]
struct Matrix {
    config: Config,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Config {
    pub(crate) now: i64,
    leeway_s: u64,
    required_claims: Vec<String>,
    pub(crate) max_token_bytes: usize,
    pub(crate) apis: BTreeMap<String, ApiConfig>,
}

#[derive(Deserialize)]
pub(crate) struct ApiConfig {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    algs: Vec<String>,
    jwks: Option<String>,
    secret_b64u: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    name: String,
    pub(crate) api: String,
    token: Option<String>,
    headers: Option<Value>,
    /// How to build a token that is too large for the file.
    #[serde(rename = "gen")]
    pub(crate) made: Option<Value>,
    expect: Outcome,
    #[serde(default)]
    also: Vec<Outcome>,
    mode: Option<String>,
    route: Option<Route>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
}

#[derive(Deserialize)]
struct Route {
    required_scope: String,
}

impl ApiConfig {
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.algs.iter().map(|name| name.parse().expect("an algorithm")).collect()
    }
}

impl Config {
    /// Returns the strict API of the cases.
    pub(crate) fn api(&self, audience: &str, issuer: Issuer) -> Api {
        Api::new(audience, issuer)
            .with_leeway(Duration::from_secs(self.leeway_s))
            .with_required_claims(&self.required_claims)
            .with_max_token_bytes(self.max_token_bytes)
    }

    fn validator(&self, case: &Case) -> Validator {
        let config = &self.apis[&case.api];
        let issuer = match (&config.jwks, &config.secret_b64u) {
            (Some(file), _) => {
                let keys = vectors::read(&format!("attack-matrix/{file}")).expect("the key set beside the cases");
                Issuer::static_keys(&config.issuer, KeySet::from_jwks(keys))
            }
            (None, Some(secret)) => Issuer::shared_secret(&config.issuer, Secret::from_base64url(secret)),
            (None, None) => panic!("{} has no keys", case.api),
        };
        let profile = if case.mode.as_deref() == Some("rfc9068") { Profile::Rfc9068 } else { Profile::Any };
        let api = self.api(&config.audience, issuer.with_algorithms(config.algorithms())).with_profile(profile);
        let clock = FakeClock::from_wall(Timestamp::from_secs(self.now));
        Validator::builder(api).with_clock(clock).build().expect("a valid configuration")
    }
}

/// Returns the outcomes that differ from the expected ones, by case.
fn exceptions() -> BTreeMap<&'static str, Outcome> {
    let entry = |line: &'static str| {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().expect("id, status, error and reason");
        let (id, status, error, _reason) = (next(), next(), next(), next());
        (id, Outcome { status: status.parse().expect("a status"), error: Some(error.to_owned()) })
    };
    EXCEPTIONS.lines().filter(|line| !line.starts_with('#')).map(entry).collect()
}

#[tokio::test]
async fn every_case_of_the_matrix_returns_the_expected_outcome() {
    let Some(text) = vectors::read("attack-matrix/cases.json") else { return };
    let matrix: Matrix = serde_json::from_slice(&text).expect("the matrix");
    let mut exceptions = exceptions();
    let mut tried = [0; 3];
    let mut wrong = Vec::new();
    for case in &matrix.cases {
        let outcome = match (&case.token, &case.headers) {
            (Some(token), None) => {
                tried[0] += 1;
                outcome(&matrix.config, case, token).await
            }
            (None, Some(_)) => {
                tried[1] += 1;
                continue;
            }
            (None, None) => {
                tried[2] += 1;
                attack_scenarios::run(&matrix.config, case).await
            }
            (Some(_), Some(_)) => panic!("{} is two cases in one", case.id),
        };
        let as_labeled = outcome == case.expect || case.also.contains(&outcome);
        let expected = match exceptions.remove(&*case.id) {
            None => as_labeled,
            Some(exception) => !as_labeled && outcome == exception,
        };
        if !expected {
            wrong.push(format!("{} {}: {outcome:?} instead of {:?}", case.id, case.name, case.expect));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(exceptions.is_empty(), "exceptions without a case: {exceptions:?}");
    assert_eq!(tried, CASES);
    let ids: BTreeSet<&str> = matrix.cases.iter().map(|case| &*case.id).collect();
    assert_eq!(ids.len(), matrix.cases.len(), "ids are unique");
}

async fn outcome(config: &Config, case: &Case, token: &str) -> Outcome {
    let response = |status, error: Option<&str>| Outcome { status, error: error.map(str::to_owned) };
    if tower_bearer::request::BearerToken::parse(token).is_err() {
        return response(400, Some("invalid_request"));
    }
    let outcome = config.validator(case).validate(token).await;
    let outcome = outcome.and_then(|claims| match &case.route {
        None => Ok(()),
        Some(route) => Requirement::scope(&route.required_scope)
            .check(&claims, Timestamp::from_secs(config.now))
            .map_err(Rejection::Requirement),
    });
    match outcome {
        Ok(()) => response(200, None),
        Err(rejection) if rejection.kind() == RejectionKind::InsufficientScope => {
            response(403, Some("insufficient_scope"))
        }
        Err(_) => response(401, Some("invalid_token")),
    }
}
