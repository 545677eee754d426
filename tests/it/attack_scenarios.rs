//! The cases of the attack matrix that need several steps: several requests, several APIs, a network, a clock.
//!
//! Each returns the outcome of the request under attack, and checks that the valid counterpart is accepted.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tower_bearer::clock::Timestamp;
use tower_bearer::jwks::KeySource;
use tower_bearer::testing::{FakeClock, FakeFetch, Outage, Reply, TestIssuer, TestNetwork, TokenBuilder};
use tower_bearer::{Algorithm, Api, BearerLayer, Issuer, Secret, Validator, ValidatorBuilder};

use crate::attack_matrix::{ApiConfig, Case, Config, Outcome};
use crate::challenge_parser::challenge;
use crate::stack::{TestResponse, request_with_token, send_through};

pub(crate) async fn run(config: &Config, case: &Case) -> Outcome {
    let stage = Scenario {
        config,
        api: &config.apis[&case.api],
        clock: FakeClock::from_wall(Timestamp::from_secs(config.now)),
    };
    match &*case.id {
        "size-05" => stage.deep_claims(case).await,
        "size-07" => stage.colliding_names().await,
        "www-01" => stage.quotes_in_a_kid().await,
        "www-03" => stage.one_challenge().await,
        "www-05" => stage.errors_look_alike().await,
        "cache-01" => stage.same_kid_at_two_tenants().await,
        "cache-03" => stage.cached_token_at_another_api().await,
        "cache-05" => stage.cached_token_of_a_removed_key().await,
        "cache-07" => stage.one_token_at_two_apis_at_once().await,
        "cache-09" => {
            stage
                .stale_keys_during(&[Outage::Status(StatusCode::INTERNAL_SERVER_ERROR), Outage::Hang, Outage::HtmlPage])
                .await
        }
        "cache-11" => stage.unknown_kid_before_the_refresh().await,
        "cache-13" => stage.stale_keys_during(&[Outage::EmptySet]).await,
        "cache-15" => stage.huge_key_sets().await,
        "cache-17" => stage.a_bad_key_among_good_ones().await,
        "cache-19" => stage.two_keys_under_one_kid().await,
        "cache-21" => stage.discovery_of_another_issuer().await,
        "cache-23" => stage.tags_wrong_at_either_end().await,
        "cache-25" => stage.clock_set_back().await,
        id => panic!("no scenario for {id}"),
    }
}

/// The API of a case, at the time of the matrix.
struct Scenario<'c> {
    config: &'c Config,
    api: &'c ApiConfig,
    clock: FakeClock,
}

const OK: Outcome = Outcome { status: 200, error: None };

/// No keys, so that no token can be validated.
const UNAVAILABLE: Outcome = Outcome { status: 503, error: None };

/// Longer than any request waits, and shorter than the maximum age of a key set.
const A_WHILE: Duration = Duration::from_secs(10);

const HOUR: Duration = Duration::from_secs(3600);

/// Requests and issuers.
impl Scenario<'_> {
    /// Returns a test issuer for the API.
    fn server(&self) -> TestIssuer {
        self.server_of(self.api)
    }

    fn server_of(&self, api: &ApiConfig) -> TestIssuer {
        let server = TestIssuer::named(&api.issuer).with_clock(Arc::new(self.clock.clone()));
        server.with_algorithms(api.algorithms())
    }

    /// Returns a token that is valid for two days.
    fn token(&self, server: &TestIssuer) -> TokenBuilder {
        server.token().audience(&self.api.audience).expires_in(HOUR * 48)
    }

    /// Returns a builder of the API, with keys from its issuer's key set.
    fn builder(&self, server: &TestIssuer) -> ValidatorBuilder {
        let api = self.config.api(&self.api.audience, remote(server, self.api));
        Validator::builder(api).with_clock(self.clock.clone()).with_fetch(server.clone())
    }

    /// Returns the response to a request with this token; the clock advances while the request waits.
    async fn response(&self, validator: &Validator, token: &str) -> TestResponse {
        let layer = BearerLayer::new(validator.clone()).with_realm("orders").with_challenge_scope("read:orders");
        tokio::join!(send_through(layer.with_json_body(), request_with_token(token)), self.clock.run_for(A_WHILE)).0
    }

    async fn send(&self, validator: &Validator, token: TokenBuilder) -> Outcome {
        outcome(&self.response(validator, &token.sign()).await)
    }
}

fn remote(server: &TestIssuer, api: &ApiConfig) -> Issuer {
    Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms(api.algorithms())
}

fn built(builder: ValidatorBuilder) -> Validator {
    builder.build().expect("a valid configuration")
}

fn source(validator: &Validator) -> &KeySource {
    validator.key_sources().next().expect("keys are fetched").1
}

fn outcome(response: &TestResponse) -> Outcome {
    let has_challenge = response.headers.contains_key(WWW_AUTHENTICATE);
    assert_eq!(has_challenge, response.status / 100 == 4, "{response:?}");
    let parameters = if has_challenge { challenge(&response.headers) } else { Vec::new() };
    let error = parameters.into_iter().find(|(name, _)| name == "error").map(|(_, code)| code);
    Outcome { status: response.status, error }
}

/// Returns the outcome that all of them have in common.
fn common_outcome(outcomes: Vec<Outcome>) -> Outcome {
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
    outcomes.into_iter().next().expect("an outcome")
}

/// Returns the issuer's first key after a change.
fn key(server: &TestIssuer, change: impl FnOnce(&mut Value)) -> Value {
    let mut set: Value = serde_json::from_str(&server.jwks()).expect("a set");
    change(&mut set["keys"][0]);
    set["keys"][0].take()
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Tokens.
impl Scenario<'_> {
    async fn deep_claims(&self, case: &Case) -> Outcome {
        let made = case.made.as_ref().expect("how to make it");
        let depth = usize::try_from(made["depth"].as_u64().expect("a depth")).expect("a size");
        let server = self.server();
        let mut outcomes = Vec::new();
        // Rejected for its length, and where the length is allowed, for its depth.
        for limit in [self.config.max_token_bytes, 1024 * 1024] {
            let api = self.config.api(&self.api.audience, remote(&server, self.api)).with_max_token_bytes(limit);
            let validator = built(Validator::builder(api).with_clock(self.clock.clone()).with_fetch(server.clone()));
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let nested = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
                outcomes.push(self.send(&validator, self.token(&server).raw_claim("deep", &nested(depth))).await);
                let shallow = self.token(&server).raw_claim("deep", &nested(10));
                assert_eq!(self.send(&validator, shallow).await, OK);
            }
        }
        common_outcome(outcomes)
    }

    /// Names with the same hash under `h = 31 h + c`, for any order of pairs.
    async fn colliding_names(&self) -> Outcome {
        const PAIRS: u32 = 8;
        let name = |number: u32| -> String {
            (0..PAIRS).map(|bit| if number >> bit & 1 == 0 { "Aa" } else { "BB" }).collect()
        };
        let server = self.server();
        let validator = built(self.builder(&server));
        let flood = (0..1 << PAIRS).fold(self.token(&server), |token, number| token.claim(&name(number), 0));
        let twice = flood.clone().with_duplicate_claim(&name(200), 0);
        assert_eq!(self.send(&validator, twice).await.status, 401, "all names are compared in full");
        self.send(&validator, flood).await
    }

    async fn quotes_in_a_kid(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let hostile = "a\", realm=\"x\\\r\n";
        let token = self.token(&server).kid(hostile).subject(hostile).claim(hostile, hostile).header(hostile, hostile);
        let response = self.response(&validator, &token.sign()).await;
        let realm: Vec<_> = challenge(&response.headers).into_iter().filter(|(name, _)| name == "realm").collect();
        assert_eq!(realm, [("realm".to_owned(), "orders".to_owned())]);
        assert!(!format!("{response:?}").contains("a\\\""), "{response:?}");
        assert_eq!(self.send(&validator, self.token(&server).subject(hostile)).await, OK);
        outcome(&response)
    }

    /// Returns one token for each kind of error.
    fn invalid_tokens(&self, server: &TestIssuer) -> Vec<TokenBuilder> {
        let token = || self.token(server);
        vec![
            token().with_broken_signature(),
            token().kid("unknown"),
            token().audience("https://wrong.example/"),
            token().expired(),
        ]
    }

    async fn one_challenge(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let mut outcomes = Vec::new();
        for token in self.invalid_tokens(&server) {
            let response = self.response(&validator, &token.sign()).await;
            // The parser rejects a second challenge and a duplicate parameter.
            let names: Vec<String> = challenge(&response.headers).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["realm", "error", "error_description"]);
            outcomes.push(outcome(&response));
        }
        common_outcome(outcomes)
    }

    async fn errors_look_alike(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let mut responses = Vec::new();
        for token in self.invalid_tokens(&server) {
            responses.push(self.response(&validator, &token.sign()).await);
        }
        let shown: Vec<_> =
            responses.iter().map(|response| (response.status, &response.headers, &response.body)).collect();
        assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
        assert!(!responses[0].body.is_empty());
        outcome(&responses[0])
    }
}

/// Caches, key sets, clocks.
impl Scenario<'_> {
    async fn same_kid_at_two_tenants(&self) -> Outcome {
        let other = &self.config.apis["b"];
        let (a, b) = (self.server(), self.server_of(other));
        for server in [&a, &b] {
            server.publish(set(&[key(server, |key| key["kid"] = "rs1".into())]));
        }
        let network = TestNetwork::new([&a, &b]);
        let validator =
            |api: Api| built(Validator::builder(api).with_clock(self.clock.clone()).with_fetch(network.clone()));
        let own = validator(self.config.api(&self.api.audience, remote(&a, self.api)));
        let others = validator(self.config.api(&other.audience, remote(&b, other)));
        let of_both = self.config.api(&self.api.audience, remote(&a, self.api)).with_issuer(remote(&b, other));
        let both = validator(of_both);
        // The keys of the other tenant are loaded first.
        assert_eq!(self.send(&others, b.token().audience(&other.audience).kid("rs1")).await, OK);
        assert_eq!(self.send(&both, self.token(&b).kid("rs1")).await, OK);
        let mut outcomes = Vec::new();
        for validator in [own, both] {
            outcomes.push(self.send(&validator, self.token(&a).kid("rs1").signed_by(&b)).await);
            assert_eq!(self.send(&validator, self.token(&a).kid("rs1")).await, OK);
            outcomes.push(self.send(&validator, self.token(&a).kid("rs1").signed_by(&b)).await);
        }
        common_outcome(outcomes)
    }

    /// Returns a second API of the same issuer, with the keys of the first.
    fn second(&self, server: &TestIssuer, first: &Validator) -> Validator {
        let api = self.config.api("https://second.example/", remote(server, self.api));
        built(Validator::builder(api).with_clock(self.clock.clone()).with_keys_of(first))
    }

    async fn cached_token_at_another_api(&self) -> Outcome {
        let server = self.server();
        let first = built(self.builder(&server));
        let second = self.second(&server, &first);
        let token = self.token(&server);
        for _ in 0..2 {
            assert_eq!(self.send(&first, token.clone()).await, OK);
        }
        assert_eq!(self.send(&second, token.clone().audience("https://second.example/")).await, OK);
        self.send(&second, token).await
    }

    async fn cached_token_of_a_removed_key(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let token = self.token(&server).sign();
        for _ in 0..2 {
            assert_eq!(outcome(&self.response(&validator, &token).await), OK);
        }
        server.replace_keys();
        source(&validator).reload().await.expect("the server answers");
        let gone = outcome(&self.response(&validator, &token).await);
        assert_eq!(self.send(&validator, self.token(&server)).await, OK, "and the new key verifies");
        gone
    }

    async fn one_token_at_two_apis_at_once(&self) -> Outcome {
        let mut outcomes = Vec::new();
        for ours_first in [true, false] {
            let server = self.server();
            server.set_outage(Outage::Delay(Duration::from_secs(1)));
            let first = built(self.builder(&server));
            let second = self.second(&server, &first);
            let token = self.token(&server).sign();
            // In the first round both wait for the same keys; in the second the keys are loaded.
            for _ in 0..2 {
                let (good, bad) = if ours_first {
                    tokio::join!(self.response(&first, &token), self.response(&second, &token))
                } else {
                    let (bad, good) = tokio::join!(self.response(&second, &token), self.response(&first, &token));
                    (good, bad)
                };
                assert_eq!(outcome(&good), OK);
                outcomes.push(outcome(&bad));
            }
            assert_eq!(server.fetches(), 1);
        }
        common_outcome(outcomes)
    }

    /// Stale keys are used during an outage, but not after `max_stale`.
    async fn stale_keys_during(&self, outages: &[Outage]) -> Outcome {
        let mut outcomes = Vec::new();
        for outage in outages {
            let server = self.server();
            let validator = built(self.builder(&server));
            let token = self.token(&server);
            assert_eq!(self.send(&validator, token.clone()).await, OK);
            server.set_outage(*outage);
            self.clock.run_for(HOUR / 2).await;
            outcomes.push(self.send(&validator, token.clone()).await);
            assert!(source(&validator).status().last_error().is_some(), "{outage:?} is reported");
            self.clock.run_for(HOUR).await;
            assert_eq!(self.send(&validator, token.clone()).await, UNAVAILABLE, "{outage:?}");
            server.set_outage(Outage::None);
            self.clock.run_for(Duration::from_secs(60)).await;
            assert_eq!(self.send(&validator, token).await, OK);
        }
        common_outcome(outcomes)
    }

    async fn unknown_kid_before_the_refresh(&self) -> Outcome {
        let server = self.server().with_cache_control(HeaderValue::from_static("max-age=300"));
        let validator = built(self.builder(&server));
        assert_eq!(self.send(&validator, self.token(&server)).await, OK);
        let before = server.fetches();
        server.rotate();
        let outcome = self.send(&validator, self.token(&server)).await;
        assert_eq!(server.fetches() - before, 1, "one additional fetch");
        outcome
    }

    /// An oversized key set adds no key and removes none. Without loaded keys, no token can be validated.
    /// `jwks_sockets` tests bodies over real sockets.
    async fn huge_key_sets(&self) -> Outcome {
        const HUGE: usize = 100 * 1024 * 1024;
        let (server, attacker) = (self.server(), self.server());
        let blown_up = |text: String| [text.into_bytes(), vec![b' '; HUGE]].concat();
        let compressed = Reply::json(b"\x1f\x8b\x08\x00".to_vec()).with_header(CONTENT_ENCODING, "gzip");
        let mut outcomes = Vec::new();
        for reply in [Reply::json(blown_up(attacker.jwks())), Reply::hang(), compressed] {
            let network = FakeFetch::new(&self.clock);
            let validator = || built(self.builder(&server).with_fetch(network.clone()));
            network.always(&server.jwks_uri(), reply.clone());
            assert_eq!(self.send(&validator(), self.token(&attacker)).await, UNAVAILABLE);
            network.always(&server.jwks_uri(), Reply::json(server.jwks()));
            let warm = validator();
            assert_eq!(self.send(&warm, self.token(&server)).await, OK);
            network.always(&server.jwks_uri(), reply);
            outcomes.push(self.send(&warm, self.token(&attacker)).await);
            assert_eq!(self.send(&warm, self.token(&server)).await, OK);
        }
        common_outcome(outcomes)
    }

    async fn a_bad_key_among_good_ones(&self) -> Outcome {
        let server = self.server();
        let good = key(&server, |_| ());
        let mut outcomes = Vec::new();
        for bad in [key(&server, |key| key["kid"] = 5.into()), json!({ "kty": "RSA", "x5c": "MII=" }), Value::Null] {
            for keys in [[good.clone(), bad.clone()], [bad, good.clone()]] {
                server.publish(set(&keys));
                outcomes.push(self.send(&built(self.builder(&server)), self.token(&server)).await);
            }
        }
        common_outcome(outcomes)
    }

    async fn two_keys_under_one_kid(&self) -> Outcome {
        let (rsa, ec) = (self.server(), self.server().with_algorithms([Algorithm::ES256]));
        let [first, second] = [&ec, &rsa].map(|server| key(server, |key| key["kid"] = "same".into()));
        let mut outcomes = Vec::new();
        for keys in [[first.clone(), second.clone()], [second, first]] {
            rsa.publish(set(&keys));
            let validator = built(self.builder(&rsa));
            outcomes.push(self.send(&validator, self.token(&rsa).kid("same")).await);
            let foreign = self.token(&rsa).kid("same").signed_by(&self.server());
            assert_eq!(self.send(&validator, foreign).await.status, 401);
        }
        common_outcome(outcomes)
    }

    /// A discovery document of another issuer leads to no other keys, neither at start, without keys, nor later.
    async fn discovery_of_another_issuer(&self) -> Outcome {
        let (server, attacker) = (self.server(), self.server());
        let document =
            |issuer: &str, keys: &str| Reply::json(json!({ "issuer": issuer, "jwks_uri": keys }).to_string());
        let theirs = document("https://evil.example/", "https://evil.example/jwks");
        let network = FakeFetch::new(&self.clock);
        network.always(&server.jwks_uri(), Reply::json(server.jwks()).with_header(CACHE_CONTROL, "max-age=300"));
        network.always("https://evil.example/jwks", Reply::json(attacker.jwks()));
        let validator = || {
            let issuer = Issuer::oidc(server.issuer()).with_algorithms(self.api.algorithms());
            let builder = Validator::builder(self.config.api(&self.api.audience, issuer));
            built(builder.with_clock(self.clock.clone()).with_fetch(network.clone()))
        };
        network.always(&server.discovery_uri(), theirs.clone());
        assert_eq!(self.send(&validator(), self.token(&attacker)).await, UNAVAILABLE);
        network.always(&server.discovery_uri(), document(server.issuer(), &server.jwks_uri()));
        let warm = validator();
        assert_eq!(self.send(&warm, self.token(&server)).await, OK);
        network.always(&server.discovery_uri(), theirs);
        let before = network.calls_to(&server.discovery_uri());
        self.clock.run_for(HOUR * 27).await;
        assert!(network.calls_to(&server.discovery_uri()) > before, "the document was read again");
        assert_eq!(network.calls_to("https://evil.example/jwks"), 0);
        assert_eq!(self.send(&warm, self.token(&server)).await, OK);
        self.send(&warm, self.token(&attacker)).await
    }

    /// The response is the same for both. `aws-lc-rs` compares tags in constant time; no test measures that.
    async fn tags_wrong_at_either_end(&self) -> Outcome {
        let api = &self.config.apis["hs"];
        let server = self.server_of(api);
        let issuer = Issuer::shared_secret(server.issuer(), Secret::from_text(server.secret()));
        let builder = Validator::builder(self.config.api(&api.audience, issuer.with_algorithms(api.algorithms())));
        let validator = built(builder.with_clock(self.clock.clone()));
        let token = server.token().audience(&api.audience);
        let signed = token.clone().sign();
        let (_, tag) = signed.rsplit_once('.').expect("three segments");
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).expect("base64url");
        assert_eq!(self.send(&validator, token.clone().with_signature(tag.clone())).await, OK);
        let mut outcomes = Vec::new();
        for at in [0, 31] {
            let mut wrong = tag.clone();
            wrong[at] ^= 1;
            outcomes.push(self.send(&validator, token.clone().with_signature(wrong)).await);
        }
        common_outcome(outcomes)
    }

    /// A token is rejected before its `nbf`, by validators that were built before and after the clock went back, and
    /// accepted again once the clock is right.
    async fn clock_set_back(&self) -> Outcome {
        let server = self.server();
        let now = Timestamp::from_secs(self.config.now);
        let token = self.token(&server).not_before(now);
        let before = built(self.builder(&server));
        assert_eq!(self.send(&before, token.clone()).await, OK);
        let mut outcomes = Vec::new();
        for wall in [i64::MIN, -1, 0, self.config.now - 365 * 86_400] {
            self.clock.set_wall(Timestamp::from_secs(wall));
            let then = built(self.builder(&server));
            for validator in [&before, &then] {
                outcomes.push(self.send(validator, token.clone()).await);
            }
            self.clock.set_wall(now);
            for validator in [&before, &then] {
                assert_eq!(self.send(validator, token.clone()).await, OK);
            }
        }
        common_outcome(outcomes)
    }
}
