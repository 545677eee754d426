//! The cases of the attack matrix that have to be played: several requests, several APIs, a network, a clock.
//!
//! Each gives the answer to the request that the case is about, and makes sure of its accepted twin on the way.

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
use crate::gate::{Answer, through, with_token};

pub(crate) async fn play(config: &Config, case: &Case) -> Outcome {
    let stage = Stage { config, api: &config.apis[&case.api], clock: FakeClock::at(Timestamp::from_secs(config.now)) };
    match &*case.id {
        "size-05" => stage.deep_claims(case).await,
        "size-07" => stage.colliding_names().await,
        "www-01" => stage.quotes_in_a_kid().await,
        "www-03" => stage.one_challenge().await,
        "www-05" => stage.faults_look_alike().await,
        "cache-01" => stage.same_kid_at_two_tenants().await,
        "cache-03" => stage.a_remembered_token_at_another_api().await,
        "cache-05" => stage.a_remembered_token_whose_key_is_gone().await,
        "cache-07" => stage.one_token_at_two_apis_at_once().await,
        "cache-09" => {
            stage
                .keys_outlive(&[Outage::Status(StatusCode::INTERNAL_SERVER_ERROR), Outage::Hang, Outage::Garbage])
                .await
        }
        "cache-11" => stage.a_new_key_before_its_time().await,
        "cache-13" => stage.keys_outlive(&[Outage::EmptySet]).await,
        "cache-15" => stage.huge_key_sets().await,
        "cache-17" => stage.a_bad_key_among_good_ones().await,
        "cache-19" => stage.two_keys_under_one_kid().await,
        "cache-21" => stage.discovery_of_another_issuer().await,
        "cache-23" => stage.tags_wrong_at_either_end().await,
        "cache-25" => stage.clocks_that_go_back().await,
        id => panic!("nobody plays {id}"),
    }
}

/// The API of a case, at the matrix's time.
struct Stage<'c> {
    config: &'c Config,
    api: &'c ApiConfig,
    clock: FakeClock,
}

const OK: Outcome = Outcome { status: 200, error: None };

/// No keys, so that no token can be judged.
const UNAVAILABLE: Outcome = Outcome { status: 503, error: None };

/// Longer than any request waits, and shorter than any key set is trusted.
const A_WHILE: Duration = Duration::from_secs(10);

const HOUR: Duration = Duration::from_secs(3600);

/// Requests, and who answers them.
impl Stage<'_> {
    /// A server of the API's issuer.
    fn server(&self) -> TestIssuer {
        self.server_of(self.api)
    }

    fn server_of(&self, api: &ApiConfig) -> TestIssuer {
        let server = TestIssuer::named(&api.issuer).with_clock(Arc::new(self.clock.clone()));
        server.with_algorithms(api.algorithms())
    }

    /// A token that is good here for two days.
    fn token(&self, server: &TestIssuer) -> TokenBuilder {
        server.token().audience(&self.api.audience).expires_in(HOUR * 48)
    }

    /// The API itself, with keys from its issuer's key set.
    fn builder(&self, server: &TestIssuer) -> ValidatorBuilder {
        let api = self.config.api(&self.api.audience, remote(server, self.api));
        Validator::builder(api).with_clock(self.clock.clone()).with_fetch(server.clone())
    }

    /// What a request with this token is answered; time passes as long as it waits.
    async fn answer(&self, validator: &Validator, token: &str) -> Answer {
        let layer = BearerLayer::new(validator.clone()).with_realm("orders").with_challenge_scope("read:orders");
        tokio::join!(through(layer.with_json_body(), with_token(token)), self.clock.run_for(A_WHILE)).0
    }

    async fn ask(&self, validator: &Validator, token: TokenBuilder) -> Outcome {
        outcome(&self.answer(validator, &token.sign()).await)
    }
}

fn remote(server: &TestIssuer, api: &ApiConfig) -> Issuer {
    Issuer::jwks(server.issuer(), server.jwks_uri()).with_algorithms(api.algorithms())
}

fn built(builder: ValidatorBuilder) -> Validator {
    builder.build().expect("a good configuration")
}

fn source(validator: &Validator) -> &KeySource {
    validator.key_sources().next().expect("keys are fetched").1
}

fn outcome(answer: &Answer) -> Outcome {
    let has_challenge = answer.headers.contains_key(WWW_AUTHENTICATE);
    assert_eq!(has_challenge, answer.status / 100 == 4, "{answer:?}");
    let parameters = if has_challenge { challenge(&answer.headers) } else { Vec::new() };
    let error = parameters.into_iter().find(|(name, _)| name == "error").map(|(_, code)| code);
    Outcome { status: answer.status, error }
}

/// The one outcome of all of them.
fn same(outcomes: Vec<Outcome>) -> Outcome {
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{outcomes:?}");
    outcomes.into_iter().next().expect("an outcome")
}

/// The server's first key, changed.
fn key(server: &TestIssuer, change: impl FnOnce(&mut Value)) -> Value {
    let mut set: Value = serde_json::from_str(&server.jwks()).expect("a set");
    change(&mut set["keys"][0]);
    set["keys"][0].take()
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Tokens.
impl Stage<'_> {
    async fn deep_claims(&self, case: &Case) -> Outcome {
        let made = case.made.as_ref().expect("how to make it");
        let depth = usize::try_from(made["depth"].as_u64().expect("a depth")).expect("a size");
        let server = self.server();
        let mut outcomes = Vec::new();
        // Refused for its length, and where that is allowed, for its depth.
        for limit in [self.config.max_token_bytes, 1024 * 1024] {
            let api = self.config.api(&self.api.audience, remote(&server, self.api)).with_max_token_bytes(limit);
            let validator = built(Validator::builder(api).with_clock(self.clock.clone()).with_fetch(server.clone()));
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let nested = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
                outcomes.push(self.ask(&validator, self.token(&server).raw_claim("deep", &nested(depth))).await);
                let shallow = self.token(&server).raw_claim("deep", &nested(10));
                assert_eq!(self.ask(&validator, shallow).await, OK);
            }
        }
        same(outcomes)
    }

    /// Names with one hash under `h = 31 h + c`, in any order of pairs.
    async fn colliding_names(&self) -> Outcome {
        const PAIRS: u32 = 8;
        let name = |number: u32| -> String {
            (0..PAIRS).map(|bit| if number >> bit & 1 == 0 { "Aa" } else { "BB" }).collect()
        };
        let server = self.server();
        let validator = built(self.builder(&server));
        let flood = (0..1 << PAIRS).fold(self.token(&server), |token, number| token.claim(&name(number), 0));
        let twice = flood.clone().with_duplicate_claim(&name(200), 0);
        assert_eq!(self.ask(&validator, twice).await.status, 401, "each name is told from every other");
        self.ask(&validator, flood).await
    }

    async fn quotes_in_a_kid(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let hostile = "a\", realm=\"x\\\r\n";
        let token = self.token(&server).kid(hostile).subject(hostile).claim(hostile, hostile).header(hostile, hostile);
        let answer = self.answer(&validator, &token.sign()).await;
        let realm: Vec<_> = challenge(&answer.headers).into_iter().filter(|(name, _)| name == "realm").collect();
        assert_eq!(realm, [("realm".to_owned(), "orders".to_owned())]);
        assert!(!format!("{answer:?}").contains("a\\\""), "{answer:?}");
        assert_eq!(self.ask(&validator, self.token(&server).subject(hostile)).await, OK);
        outcome(&answer)
    }

    /// One of each kind of fault.
    fn faulty(&self, server: &TestIssuer) -> Vec<TokenBuilder> {
        let token = || self.token(server);
        vec![
            token().with_broken_signature(),
            token().kid("nobody"),
            token().audience("https://wrong.example/"),
            token().expired(),
        ]
    }

    async fn one_challenge(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let mut outcomes = Vec::new();
        for token in self.faulty(&server) {
            let answer = self.answer(&validator, &token.sign()).await;
            // The reader refuses a second challenge, and a parameter that stands twice.
            let names: Vec<String> = challenge(&answer.headers).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["realm", "error", "error_description"]);
            outcomes.push(outcome(&answer));
        }
        same(outcomes)
    }

    async fn faults_look_alike(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let mut answers = Vec::new();
        for token in self.faulty(&server) {
            answers.push(self.answer(&validator, &token.sign()).await);
        }
        let shown: Vec<_> = answers.iter().map(|answer| (answer.status, &answer.headers, &answer.body)).collect();
        assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
        assert!(!answers[0].body.is_empty());
        outcome(&answers[0])
    }
}

/// Caches, key sets, clocks.
impl Stage<'_> {
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
        // The other tenant's keys are there before ours.
        assert_eq!(self.ask(&others, b.token().audience(&other.audience).kid("rs1")).await, OK);
        assert_eq!(self.ask(&both, self.token(&b).kid("rs1")).await, OK);
        let mut outcomes = Vec::new();
        for validator in [own, both] {
            outcomes.push(self.ask(&validator, self.token(&a).kid("rs1").signed_by(&b)).await);
            assert_eq!(self.ask(&validator, self.token(&a).kid("rs1")).await, OK);
            outcomes.push(self.ask(&validator, self.token(&a).kid("rs1").signed_by(&b)).await);
        }
        same(outcomes)
    }

    /// A second API of the same issuer, with the keys of the first.
    fn second(&self, server: &TestIssuer, first: &Validator) -> Validator {
        let api = self.config.api("https://second.example/", remote(server, self.api));
        built(Validator::builder(api).with_clock(self.clock.clone()).with_keys_of(first))
    }

    async fn a_remembered_token_at_another_api(&self) -> Outcome {
        let server = self.server();
        let first = built(self.builder(&server));
        let second = self.second(&server, &first);
        let token = self.token(&server);
        for _ in 0..2 {
            assert_eq!(self.ask(&first, token.clone()).await, OK);
        }
        assert_eq!(self.ask(&second, token.clone().audience("https://second.example/")).await, OK);
        self.ask(&second, token).await
    }

    async fn a_remembered_token_whose_key_is_gone(&self) -> Outcome {
        let server = self.server();
        let validator = built(self.builder(&server));
        let token = self.token(&server).sign();
        for _ in 0..2 {
            assert_eq!(outcome(&self.answer(&validator, &token).await), OK);
        }
        server.replace_keys();
        source(&validator).reload().await.expect("the server answers");
        let gone = outcome(&self.answer(&validator, &token).await);
        assert_eq!(self.ask(&validator, self.token(&server)).await, OK, "and the new key verifies");
        gone
    }

    async fn one_token_at_two_apis_at_once(&self) -> Outcome {
        let mut outcomes = Vec::new();
        for ours_first in [true, false] {
            let server = self.server();
            server.outage(Outage::Delay(Duration::from_secs(1)));
            let first = built(self.builder(&server));
            let second = self.second(&server, &first);
            let token = self.token(&server).sign();
            // Both wait for the same keys; then both are there.
            for _ in 0..2 {
                let (good, bad) = if ours_first {
                    tokio::join!(self.answer(&first, &token), self.answer(&second, &token))
                } else {
                    let (bad, good) = tokio::join!(self.answer(&second, &token), self.answer(&first, &token));
                    (good, bad)
                };
                assert_eq!(outcome(&good), OK);
                outcomes.push(outcome(&bad));
            }
            assert_eq!(server.fetches(), 1);
        }
        same(outcomes)
    }

    /// Known keys serve through an outage, and not beyond their bound.
    async fn keys_outlive(&self, outages: &[Outage]) -> Outcome {
        let mut outcomes = Vec::new();
        for outage in outages {
            let server = self.server();
            let validator = built(self.builder(&server));
            let token = self.token(&server);
            assert_eq!(self.ask(&validator, token.clone()).await, OK);
            server.outage(*outage);
            self.clock.run_for(HOUR / 2).await;
            outcomes.push(self.ask(&validator, token.clone()).await);
            assert!(source(&validator).status().last_error().is_some(), "{outage:?} is told");
            self.clock.run_for(HOUR).await;
            assert_eq!(self.ask(&validator, token.clone()).await, UNAVAILABLE, "{outage:?}");
            server.outage(Outage::None);
            self.clock.run_for(Duration::from_secs(60)).await;
            assert_eq!(self.ask(&validator, token).await, OK);
        }
        same(outcomes)
    }

    async fn a_new_key_before_its_time(&self) -> Outcome {
        let server = self.server().with_cache_control(HeaderValue::from_static("max-age=300"));
        let validator = built(self.builder(&server));
        assert_eq!(self.ask(&validator, self.token(&server)).await, OK);
        let before = server.fetches();
        server.rotate();
        let outcome = self.ask(&validator, self.token(&server)).await;
        assert_eq!(server.fetches() - before, 1, "one fetch out of turn");
        outcome
    }

    /// A set that goes on for too long brings no key, and takes none away. Where there is none yet, no token can be
    /// judged; bodies of a real socket have their tests in `jwks_sockets`.
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
            assert_eq!(self.ask(&validator(), self.token(&attacker)).await, UNAVAILABLE);
            network.always(&server.jwks_uri(), Reply::json(server.jwks()));
            let warm = validator();
            assert_eq!(self.ask(&warm, self.token(&server)).await, OK);
            network.always(&server.jwks_uri(), reply);
            outcomes.push(self.ask(&warm, self.token(&attacker)).await);
            assert_eq!(self.ask(&warm, self.token(&server)).await, OK);
        }
        same(outcomes)
    }

    async fn a_bad_key_among_good_ones(&self) -> Outcome {
        let server = self.server();
        let good = key(&server, |_| ());
        let mut outcomes = Vec::new();
        for bad in [key(&server, |key| key["kid"] = 5.into()), json!({ "kty": "RSA", "x5c": "MII=" }), Value::Null] {
            for keys in [[good.clone(), bad.clone()], [bad, good.clone()]] {
                server.publish(set(&keys));
                outcomes.push(self.ask(&built(self.builder(&server)), self.token(&server)).await);
            }
        }
        same(outcomes)
    }

    async fn two_keys_under_one_kid(&self) -> Outcome {
        let (rsa, ec) = (self.server(), self.server().with_algorithms([Algorithm::ES256]));
        let [first, second] = [&ec, &rsa].map(|server| key(server, |key| key["kid"] = "same".into()));
        let mut outcomes = Vec::new();
        for keys in [[first.clone(), second.clone()], [second, first]] {
            rsa.publish(set(&keys));
            let validator = built(self.builder(&rsa));
            outcomes.push(self.ask(&validator, self.token(&rsa).kid("same")).await);
            let stranger = self.token(&rsa).kid("same").signed_by(&self.server());
            assert_eq!(self.ask(&validator, stranger).await.status, 401);
        }
        same(outcomes)
    }

    /// Neither at start, when there are no keys and no token can be judged, nor later does it lead to other keys.
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
        assert_eq!(self.ask(&validator(), self.token(&attacker)).await, UNAVAILABLE);
        network.always(&server.discovery_uri(), document(server.issuer(), &server.jwks_uri()));
        let warm = validator();
        assert_eq!(self.ask(&warm, self.token(&server)).await, OK);
        network.always(&server.discovery_uri(), theirs);
        let before = network.calls_to(&server.discovery_uri());
        self.clock.run_for(HOUR * 27).await;
        assert!(network.calls_to(&server.discovery_uri()) > before, "the document was read again");
        assert_eq!(network.calls_to("https://evil.example/jwks"), 0);
        assert_eq!(self.ask(&warm, self.token(&server)).await, OK);
        self.ask(&warm, self.token(&attacker)).await
    }

    /// The same answer, and nothing is decided octet by octet: tags are compared by `aws-lc-rs`, in constant time. No test
    /// measures that.
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
        assert_eq!(self.ask(&validator, token.clone().with_signature(tag.clone())).await, OK);
        let mut outcomes = Vec::new();
        for at in [0, 31] {
            let mut wrong = tag.clone();
            wrong[at] ^= 1;
            outcomes.push(self.ask(&validator, token.clone().with_signature(wrong)).await);
        }
        same(outcomes)
    }

    /// Before a token's beginning it is refused, by validators of before and of then; time that comes back heals all.
    async fn clocks_that_go_back(&self) -> Outcome {
        let server = self.server();
        let now = Timestamp::from_secs(self.config.now);
        let token = self.token(&server).not_before(now);
        let before = built(self.builder(&server));
        assert_eq!(self.ask(&before, token.clone()).await, OK);
        let mut outcomes = Vec::new();
        for wall in [i64::MIN, -1, 0, self.config.now - 365 * 86_400] {
            self.clock.set_wall(Timestamp::from_secs(wall));
            let then = built(self.builder(&server));
            for validator in [&before, &then] {
                outcomes.push(self.ask(validator, token.clone()).await);
            }
            self.clock.set_wall(now);
            for validator in [&before, &then] {
                assert_eq!(self.ask(validator, token.clone()).await, OK);
            }
        }
        same(outcomes)
    }
}
