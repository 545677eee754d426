//! The log lines and metrics of DPoP.

use std::time::Duration;

use http::Request;
use http::header::AUTHORIZATION;
use tower_bearer::authenticator::{Authenticator, Outcome};
use tower_bearer::clock::Timestamp;
use tower_bearer::dpop::{DPOP, Dpop, Nonces, ProofUse, Recording, ReplayError, ReplayStore, VerifiedProof};
use tower_bearer::keys::Secret;
use tower_bearer::request::RequestHead;
use tower_bearer::testing::ProofBuilder;
use tower_bearer::{Rejection, Requirement};

use crate::dpop_fixture::{Answer, URL, World, dpop_request};
use crate::events::{Log, shows_lines};
use crate::fixture::{NOW, block_on};

fn with_nonces() -> World {
    let secret = Secret::new(vec![1; 32]).expect("a secret");
    World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_nonces(Nonces::shared(secret))))
}

/// A store that never has room.
#[derive(Debug)]
struct FullStore;

impl ReplayStore for FullStore {
    fn record(&self, _: &VerifiedProof, _: Timestamp) -> Recording {
        Recording::Now(Err(ReplayError::Full { retry_after: Duration::from_secs(7) }))
    }
}

#[test]
fn a_failed_store_is_logged_at_most_once_a_minute() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let world = World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_replay_store(FullStore)));
    let token = world.token().sign();
    let count = || log.lines("the replay store failed; requests are rejected").len();
    // The last step sets the clock back.
    for (second, expected) in [(0, 1), (1, 1), (59, 1), (60, 2), (119, 2), (120, 3), (100, 4)] {
        world.clock.set_wall(Timestamp::from_secs(NOW + second));
        for _ in 0..3 {
            assert_eq!(world.answer(world.request(&token)), Answer::Unavailable);
        }
        assert_eq!(count(), expected, "{second}");
    }
    let lines = log.lines("the replay store failed");
    assert!(lines.iter().all(|line| line.contains("ERROR") && line.contains(r#"reason="full""#)), "{lines:?}");
}

#[test]
fn the_gauge_of_recorded_proofs_is_the_total_over_all_validators() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let [one, other] = [(); 2].map(|()| World::new(|api| api));
    for (world, count) in [(&one, 3), (&other, 2)] {
        let token = world.token().sign();
        (0..count).for_each(|_| assert_eq!(world.answer(world.request(&token)), Answer::Accepted));
    }
    shows_lines(&scrape, &["dpop_replay_entries 5", r#"dpop_proof_total{outcome="first"} 5"#]);
    drop(one);
    shows_lines(&scrape, &["dpop_replay_entries 2"]);
}

/// The log has a fixed word for the part of `htu` that differs, and how far `iat` is from now. It has no part of the proof.
#[test]
fn the_log_says_in_what_a_proof_differs() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let world = World::new(|api| api);
    let with_path = World::new(|api| api.with_dpop(Dpop::new("https://api.test/svc1")));
    let at = |seconds| Timestamp::from_secs(NOW + seconds);
    let mut expected = Vec::new();
    let mut send = |world: &World, target: &str, change: &dyn Fn(ProofBuilder) -> ProofBuilder, fields: &str| {
        let token = world.token().sign();
        let mut request = dpop_request(&token, &change(world.client.proof("GET", URL, &token)).sign());
        *request.uri_mut() = target.parse().expect("a target");
        assert_eq!(world.answer(request), Answer::InvalidProof, "{fields}");
        expected.push(fields.to_owned());
    };
    for (world, target, htu, near_miss) in [
        (&world, "/me", "http://api.test/me", Some("scheme")),
        (&world, "/me", "https://api.test:8443/me", Some("port")),
        (&world, "/me", "https://hidden.test/me", Some("host")),
        (&world, "/me", "https://api.test/me/", Some("trailing_slash")),
        (&world, "/me", "https://api.test/ME", Some("case")),
        (&world, "/me", "https://api.test/hidden/me", Some("extra_prefix")),
        (&with_path, "/me", "https://api.test/me", Some("missing_prefix")),
        (&world, "/a%2Fb", "https://api.test/a/b", Some("encoding")),
        (&world, "/me", "https://api.test/hidden", None),
        (&world, "/me", "https://hidden.test/hidden", None),
    ] {
        let near_miss = near_miss.map(|word| format!(r#" near_miss="{word}""#)).unwrap_or_default();
        send(world, target, &|proof| proof.claim("htu", htu), &format!(r#"proof="htu"{near_miss} signature_checked"#));
    }
    for (seconds, off_by) in [(-91, "91s"), (-3_600, "3600s"), (31, "31s"), (7_200, "7200s")] {
        let fields = format!(r#"proof="iat" off_by={off_by} signature_checked"#);
        send(&world, "/me", &|proof| proof.issued_at(at(seconds)), &fields);
    }
    send(&world, "/me", &|proof| proof.claim("htm", "HIDDEN"), r#"proof="htm" signature_checked"#);
    for (proof, word) in [("x", "form"), ("a.b,c.d", "multiple"), (&*"x".repeat(4_097), "too_long")] {
        let request = dpop_request(&world.token().sign(), proof);
        assert_eq!(world.answer(request), Answer::InvalidProof, "{word}");
        expected.push(format!(r#"kind="proof" proof="{word}" signature_checked=false"#));
    }
    let lines = log.lines("token rejected");
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, fields) in lines.iter().zip(expected) {
        assert!(line.contains(&fields), "{fields} in {line}");
    }
    assert!(!log.text().to_lowercase().contains("hidden"), "{}", log.text());
}

/// A store outside of the process, without the record of any proof.
#[derive(Debug)]
struct RemoteStore;

impl ReplayStore for RemoteStore {
    fn record(&self, _: &VerifiedProof, _: Timestamp) -> Recording {
        Recording::Later(Box::pin(std::future::ready(Ok(ProofUse::First))))
    }
}

/// Sends requests to an API with new metrics, and returns their answers and the lines of the metrics about proofs.
fn counted(world: &World, requests: Vec<Request<String>>) -> (Vec<Answer>, Vec<String>) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let answers =
        metrics::with_local_recorder(&recorder, || requests.into_iter().map(|request| world.answer(request)).collect());
    let text = scrape.render();
    let names = ["dpop_proof_total{", "dpop_replay_store_seconds_count "];
    let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).map(str::to_owned);
    (answers, lines.collect())
}

#[test]
fn each_checked_proof_counts_once_with_its_outcome() {
    let world = World::new(|api| api);
    let token = world.token().sign();
    let proof = |change: &str| world.client.proof("GET", URL, &token).claim("htm", change).sign();
    let two = || {
        let mut request = dpop_request(&token, &proof("GET"));
        request.headers_mut().append(DPOP, proof("GET").parse().expect("a header"));
        request
    };
    let without = || {
        let mut request = world.request(&token);
        request.headers_mut().remove(DPOP);
        request
    };
    for request in [
        dpop_request(&token, "x"),
        dpop_request(&token, &"x".repeat(4_097)),
        two(),
        without(),
        dpop_request(&token, &proof("PUT")),
        dpop_request("not-a-JWT", "x"),
    ] {
        let invalid = (vec![Answer::InvalidProof], vec![r#"dpop_proof_total{outcome="invalid"} 1"#.to_owned()]);
        assert_eq!(counted(&world, vec![request.clone()]), invalid, "{:?}", request.headers().get_all(DPOP));
    }
    let used = world.request(&token);
    let lines = [r#"dpop_proof_total{outcome="first"} 1"#, r#"dpop_proof_total{outcome="replayed"} 1"#];
    let (answers, mut found) = counted(&world, vec![used.clone(), used]);
    found.sort();
    assert_eq!((answers, found), (vec![Answer::Accepted, Answer::InvalidProof], lines.map(str::to_owned).to_vec()));
    // Neither a bearer token nor a request whose token is invalid has a proof that was checked.
    let bearer = Request::get("/me").header(AUTHORIZATION, format!("Bearer {}", world.server.token().sign()));
    let bearer = bearer.header(DPOP, "x").body(String::new()).expect("a request");
    assert_eq!(counted(&world, vec![bearer]), (vec![Answer::Accepted], Vec::new()));
    let expired = world.token().expired().sign();
    assert_eq!(counted(&world, vec![world.request(&expired)]), (vec![Answer::InvalidToken], Vec::new()));
}

#[test]
fn a_missing_nonce_and_the_responses_of_a_store_are_counted() {
    let one = |line: &str| vec![line.to_owned()];
    let world = with_nonces();
    let request = world.request(&world.token().sign());
    let counted_nonce = (vec![Answer::UseNonce], one(r#"dpop_proof_total{outcome="nonce"} 1"#));
    assert_eq!(counted(&world, vec![request]), counted_nonce);
    let with_store = |store: Dpop| World::new(|api| api.with_dpop(store));
    let world = with_store(Dpop::new("https://api.test").with_replay_store(FullStore));
    let request = world.request(&world.token().sign());
    let unavailable = (vec![Answer::Unavailable], one(r#"dpop_proof_total{outcome="unavailable"} 1"#));
    assert_eq!(counted(&world, vec![request]), unavailable);
    let world = with_store(Dpop::new("https://api.test").with_replay_store(RemoteStore));
    let token = world.token().sign();
    let (answers, mut lines) = counted(&world, vec![world.request(&token), world.request(&token)]);
    lines.sort();
    assert_eq!(answers, [Answer::Accepted; 2]);
    assert_eq!(lines, [r#"dpop_proof_total{outcome="first"} 2"#, "dpop_replay_store_seconds_count 2"]);
}

/// Sends a request and returns how many nonces the metric has counted, and how many responses had one.
#[test]
fn each_response_with_a_nonce_counts_once() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let counted = || {
        let text = scrape.render();
        let line = text.lines().find_map(|line| line.strip_prefix("dpop_nonce_issued_total "));
        line.map_or(0, |count| count.parse::<usize>().expect("a count"))
    };
    let world = with_nonces();
    let token = world.token().sign();
    let with_fields = |fields: &[&str]| {
        let request = fields.iter().fold(Request::get("/me"), |request, field| request.header(AUTHORIZATION, *field));
        request.body(String::new()).expect("a request")
    };
    let proof = |nonce: &str| dpop_request(&token, &world.client.proof("GET", URL, &token).nonce(nonce).sign());
    let nonce = world.send(world.request(&token)).headers()["dpop-nonce"].to_str().expect("ASCII").to_owned();
    let unbound = world.server.token().sign();
    let mut expected = 1;
    for (request, status, has_nonce) in [
        (with_fields(&[]), 401, true),
        (world.request(&token), 401, true),
        (with_fields(&["DPoP"]), 400, false),
        (with_fields(&[&format!("Bearer {unbound}")]), 200, false),
        (proof(&nonce), 200, false),
    ] {
        let response = world.send(request);
        assert_eq!((response.status().as_u16(), response.headers().contains_key("dpop-nonce")), (status, has_nonce));
        expected += usize::from(has_nonce);
        assert_eq!(counted(), expected, "{status}");
    }
    // The nonce is about to expire.
    world.clock.advance(Duration::from_secs(60));
    assert!(world.send(proof(&nonce)).headers().contains_key("dpop-nonce"));
    assert_eq!(counted(), expected + 1);

    // Without a layer.
    let authenticator: &Authenticator = &world.layer;
    let authenticate = |request: &Request<String>| block_on(authenticator.authenticate(&RequestHead::new(request)));
    let Outcome::Authenticated(user) = authenticate(&proof(&nonce)) else { panic!("authenticated") };
    assert_eq!((user.response_headers().contains_key("dpop-nonce"), counted()), (true, expected + 2));
    let rejected = user.require(&Requirement::scope("pay")).expect_err("no scope");
    assert!(rejected.to_response().headers().contains_key("dpop-nonce"));
    assert_eq!(counted(), expected + 2, "the nonce of the same request");
    let Outcome::Rejected(rejected) = authenticate(&world.request(&token)) else { panic!("rejected") };
    assert!(rejected.to_response().headers().contains_key("dpop-nonce"));
    assert_eq!(counted(), expected + 3);
    let request = with_fields(&[]);
    let rejected = authenticator.reject(&RequestHead::new(&request), Rejection::NoCredential);
    assert!(rejected.to_response().headers().contains_key("dpop-nonce"));
    assert_eq!(counted(), expected + 4);
}
