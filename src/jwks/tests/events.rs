//! Tests of the log lines and metrics of a key source, and of what they must not contain.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::fetch::FetchError;
use crate::jwks::error::RefreshError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::tests::kit::{
    Fixture, HOUR, MINUTE, Outcome, SECOND, URL, jwk, jwks, register_second_subscriber, set_of,
};
use crate::testing::Reply;

/// The captured log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("unpoisoned").clone()).expect("UTF-8")
    }

    /// Returns the number of lines that contain `words`.
    fn lines(&self, words: &str) -> usize {
        self.text().lines().filter(|line| line.contains(words)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn capture_log() -> (Log, impl Drop) {
    register_second_subscriber();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false);
    (log, subscriber.with_max_level(tracing::Level::TRACE).finish().set_default())
}

#[tokio::test]
async fn logs_every_event_of_a_key_set() {
    let (log, _guard) = capture_log();
    let private = jwk("secret-kid", "c").replace('}', r#","d":"AAAA"}"#);
    let fixture = Fixture::new(Reply::json(set_of(&[jwk("a", "a"), private])));
    fixture.clock.settle().await;
    for words in ["loaded the first keys", "the key set contains a private key", "skipped a key"] {
        assert_eq!(log.lines(words), 1, "{words}\n{}", log.text());
    }

    fixture.answer(Reply::json(set_of(&[jwk("a", "b"), jwk("secret-kid", "d")])));
    fixture.source.reload().await.expect("reloaded");
    for words in ["reloading keys on demand", "the key set changed", "a kid identifies another key than before"] {
        assert_eq!(log.lines(words), 1, "{words}\n{}", log.text());
    }
    assert_eq!(log.lines("added=2 removed=1 usable=2 skipped=0"), 1, "{}", log.text());

    assert_eq!(Fixture::request(&fixture.source, "strange-kid").await, Outcome::NotFound);
    assert_eq!(log.lines("action=\"fetched\""), 1, "{}", log.text());

    fixture.answer(Reply::error(FetchError::Connect));
    fixture.run(HOUR + MINUTE).await;
    for words in ["the keys are stale", "the keys expired"] {
        assert_eq!(log.lines(words), 1, "{words}\n{}", log.text());
    }
    assert!(log.lines("could not fetch keys") > 10);
    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    assert_eq!(log.lines("the keys are fresh again"), 1);
    fixture.answer(Reply::json(r#"{"keys":[]}"#));
    fixture.source.reload().await.expect_err("an empty set");
    assert_eq!(log.lines("the key set has no usable key"), 1);
    let clock = fixture.clock.clone();
    drop(fixture);
    clock.settle().await;
    assert_eq!(log.lines("the key source is closed"), 1);

    assert!(log.text().lines().all(|line| line.contains(&format!("issuer=\"{URL}\""))), "{}", log.text());
    for secret in ["secret-kid", "strange-kid", "AAAA"] {
        assert!(!log.text().contains(secret), "{secret} was logged");
    }
}

/// The log has a line for each event, and one for the panics of the hook.
#[tokio::test]
async fn logs_the_panics_of_a_hook() {
    let (log, _guard) = capture_log();
    let policy = RefreshPolicy::new().with_event_hook(|event| {
        assert_ne!(event.kind().name(), "key_skipped", "scripted: a hook panics");
    });
    let fixture = Fixture::with(policy, Reply::json(set_of(&[jwk("a", "a"), "7".to_owned(), "8".to_owned()])));
    fixture.clock.settle().await;
    assert!(fixture.serves("a"));
    assert_eq!((log.lines("loaded the first keys"), log.lines("skipped a key")), (1, 2), "{}", log.text());
    let panic_line = format!("ERROR tower_bearer::jwks: an event hook panicked issuer=\"{URL}\" panics=2");
    assert_eq!(log.lines(&panic_line), 1, "{}", log.text());
}

/// The private key may have the `kid` of its public key or none. It can sign tokens in both cases.
#[tokio::test]
async fn logs_a_private_key_with_any_id() {
    for kid in [r#""kid":"a","#, ""] {
        let (log, _guard) = capture_log();
        let fixture = Fixture::loaded(&["a", "b"]).await;
        let private = jwk("a", "a").replace(r#""kid":"a","#, kid).replace('}', r#","d":"AAAA"}"#);
        fixture.answer(Reply::json(set_of(&[jwk("a", "a"), private, jwk("b", "b")])));
        fixture.run(HOUR).await;
        assert_eq!(log.lines("the key set contains a private key"), 1, "{}", log.text());
        assert_eq!(
            log.lines(r#"skipped a key issuer="https://login.example/jwks" position=0 reason="compromised""#),
            1
        );
        assert!(!fixture.serves("a") && fixture.serves("b"));
        assert_eq!(fixture.epoch(), 2);
    }
}

/// A rejected set is logged once with the reason for each of its keys, at a level that is on by default.
#[tokio::test]
async fn logs_the_reason_for_each_skipped_key_of_a_rejected_set() {
    let (log, _guard) = capture_log();
    let keys = [
        jwk("a", "a").replace("ES256", "ES999"),
        jwk("b", "b").replace(r#""use":"sig""#, r#""use":"enc""#),
        jwk("c", "c").replace(r#""x":"F"#, r#""x":"*"#),
        jwk("d", "d").replace(r#""kid":"d""#, r#""kid":4"#),
        jwk("e", "e").replace('}', r#","d":"AAAA"}"#),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#.to_owned(),
    ];
    let fixture = Fixture::new(Reply::json(set_of(&keys)));
    fixture.run(HOUR).await;
    let reasons = ["unsupported_alg", "use", "encoding", "malformed_kid", "private", "rsa_size", "alg_not_listed"];
    for (position, reason) in reasons.into_iter().enumerate() {
        let line =
            format!("WARN tower_bearer::jwks: skipped a key issuer=\"{URL}\" position={position} reason=\"{reason}\"");
        assert_eq!(log.lines(&line), 1, "{line}\n{}", log.text());
    }
    assert_eq!(log.lines("ERROR tower_bearer::jwks: the key set contains a private key; it is not used"), 1);

    // In a set with a usable key, the same skipped keys are logged at debug level.
    fixture.answer(Reply::json(set_of(&[&jwk("a", "a"), &keys[1]])));
    fixture.run(MINUTE).await;
    let line = format!("DEBUG tower_bearer::jwks: skipped a key issuer=\"{URL}\" position=1 reason=\"use\"");
    assert_eq!((log.lines(&line), fixture.serves("a")), (1, true), "{}", log.text());
}

/// The event occurs once for each set, whether or not the key is used, and the log never contains the private key.
#[tokio::test]
async fn logs_a_private_key_whose_public_half_is_used() {
    let (log, _guard) = capture_log();
    let private = jwk("a", "a").replace('}', r#","d":"c2lnbnMtYW55dGhpbmc"}"#);
    let events = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&events);
    let policy = RefreshPolicy::new().with_event_hook(move |event| {
        if let KeyEventKind::PrivateKeyPublished { in_use } = event.kind() {
            received.lock().expect("unpoisoned").push(in_use);
        }
    });
    let fixture = Fixture::with(
        policy.clone().dangerous_accept_private_keys(),
        Reply::json(set_of(&[private.clone(), jwk("b", "b")])),
    );
    fixture.run(HOUR).await;
    assert!(fixture.serves("a") && fixture.serves("b"));
    let disclosed = "ERROR tower_bearer::jwks: the key set contains a private key, which is used; anyone who read it can sign \
         tokens";
    assert_eq!((log.lines(disclosed), log.lines("skipped a key")), (1, 0), "{}", log.text());

    // The keys in use stay the same, but a newly published private key is an event.
    fixture.publish(&["a", "b"]);
    fixture.run(HOUR).await;
    assert_eq!((log.lines(disclosed), fixture.epoch()), (1, 1));
    fixture.answer(Reply::json(set_of(&[private.clone(), jwk("b", "b")])));
    fixture.run(HOUR).await;
    assert_eq!((log.lines(disclosed), fixture.epoch()), (2, 1));
    assert!(!log.text().contains("c2lnbnM"), "{}", log.text());

    let default = Fixture::with(policy, Reply::json(set_of(&[private, jwk("b", "b")])));
    default.clock.settle().await;
    assert!(!default.serves("a") && default.serves("b"));
    assert_eq!(*events.lock().expect("unpoisoned"), [true, true, false]);
    assert_eq!(
        (log.lines(disclosed), log.lines("the key set contains a private key; it is not used")),
        (2, 1),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn logs_an_unchanged_set_at_debug_level_only() {
    let (log, _guard) = capture_log();
    let fixture = Fixture::new(Reply::json(set_of(&[jwk("a", "a"), "7".to_owned()])));
    fixture.run(HOUR).await;
    assert!(log.lines("the key set is unchanged") > 10);
    assert_eq!(log.lines("skipped a key"), 1, "once per set, not per poll");
    assert_eq!(log.lines(" INFO ") + log.lines(" WARN ") + log.lines(" ERROR "), 1, "{}", log.text());
}

#[tokio::test]
async fn logs_a_moved_key_set() {
    let (log, _guard) = capture_log();
    let fixture = Fixture::discovered(RefreshPolicy::new()).await;
    fixture.remove_keys().await;
    let words = "could not fetch the discovery document issuer=\"https://login.example\" class=\"http_5xx\"";
    assert_eq!((log.lines(words), log.lines("the discovery document has a new jwks_uri")), (1, 0), "{}", log.text());
    fixture.move_keys().await;
    assert_eq!((log.lines(words), log.lines("the discovery document has a new jwks_uri")), (1, 1), "{}", log.text());
}

/// Every metric by name and labels: the count of a counter, or the bits of a gauge's value.
#[derive(Default)]
struct Metrics(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Metrics {
    fn at(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().expect("unpoisoned").entry(name).or_default())
    }

    fn count(&self, name: &str) -> u64 {
        self.0.lock().expect("unpoisoned").get(name).map_or(0, |metric| metric.load(Ordering::SeqCst))
    }

    /// Returns the value of a gauge of this issuer.
    fn gauge(&self, name: &str, labels: &str) -> f64 {
        f64::from_bits(self.count(&format!("{name}{{issuer={URL}{labels}}}")))
    }

    /// Returns the state and the number of usable keys.
    fn state(&self) -> (f64, f64) {
        (self.gauge("jwks_state", ""), self.gauge("jwks_keys", ",state=usable"))
    }
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.at(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.at(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let _named = self.at(key);
        Histogram::noop()
    }
}

#[test]
fn metrics_have_fixed_names_and_bounded_labels() {
    let metrics = Metrics::default();
    metrics::with_local_recorder(&metrics, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let fixture = Fixture::new(Reply::json(jwks(&["a"])).with_delay(SECOND));
            let cold = fixture.spawn("a");
            fixture.run(SECOND).await;
            assert_eq!(cold.await.expect("no panic"), Outcome::Served);
            let unknown = fixture.spawn("strange-kid");
            fixture.run(SECOND).await;
            assert_eq!(unknown.await.expect("no panic"), Outcome::NotFound);
            fixture.answer(Reply::error(FetchError::Tls));
            fixture.run(10 * MINUTE).await;
            assert!(fixture.serves("a"));
        });
    });
    let names: BTreeSet<String> = metrics.0.into_inner().expect("unpoisoned").into_keys().collect();
    let issuer = format!("issuer={URL}");
    for expected in [
        format!("jwks_fetch_total{{{issuer},cause=initial,outcome=changed}}"),
        format!("jwks_fetch_total{{{issuer},cause=unknown_kid,outcome=unchanged}}"),
        format!("jwks_fetch_total{{{issuer},cause=retry,outcome=tls}}"),
        format!("jwks_fetch_seconds{{{issuer}}}"),
        format!("jwks_keys{{{issuer},state=usable}}"),
        format!("jwks_keys{{{issuer},state=skipped}}"),
        format!("jwks_age_seconds{{{issuer}}}"),
        format!("jwks_state{{{issuer}}}"),
        format!("jwks_unknown_kid_total{{{issuer},action=fetched}}"),
        format!("jwks_waiters{{{issuer}}}"),
        format!("jwks_stale_served_total{{{issuer}}}"),
    ] {
        assert!(names.contains(&expected), "{expected} is not among {names:#?}");
    }
    assert!(!names.iter().any(|name| name.contains("strange-kid")));
}

#[test]
fn metrics_match_the_state_of_the_source() {
    let metrics = Metrics::default();
    metrics::with_local_recorder(&metrics, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(check_metrics(&metrics));
    });
}

/// A recorder that panics at every fetch once it is broken.
#[derive(Default)]
struct Broken {
    is_broken: AtomicBool,
    metrics: Metrics,
}

impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        assert!(key.name() != "jwks_fetch_total" || !self.is_broken.load(Ordering::SeqCst), "scripted");
        self.metrics.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.metrics.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.metrics.register_histogram(key, metadata)
    }
}

#[test]
fn a_recorder_that_panics_keeps_no_compromised_key_in_use_and_no_reload_from_its_result() {
    let private = jwk("x", "a").replacen('{', r#"{"d":"AQAB","#, 1);
    let accepted = set_of(&[private.clone(), jwk("b", "b")]);
    for (document, expected) in [(accepted, Ok(())), (set_of(&[private]), Err(RefreshError::NoUsableKeys))] {
        let recorder = Broken::default();
        metrics::with_local_recorder(&recorder, || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            runtime.block_on(async {
                let fixture = Fixture::loaded(&["a", "b"]).await;
                recorder.is_broken.store(true, Ordering::SeqCst);
                fixture.answer(Reply::json(document));
                assert_eq!(fixture.source.reload().await, expected);
                assert!(!fixture.serves("a") && fixture.serves("b"));
            });
        });
    }
}

#[test]
fn counts_the_waiters_of_two_sources_of_one_issuer_together() {
    let metrics = Metrics::default();
    let waiters = || metrics.gauge("jwks_waiters", "");
    metrics::with_local_recorder(&metrics, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let (one, other) = (Fixture::new(Reply::hang()), Fixture::new(Reply::hang()));
            let _requests = [one.spawn("a"), one.spawn("b"), other.spawn("a")];
            one.clock.settle().await;
            assert_eq!(waiters(), 3.0);
            one.source.close();
            one.clock.settle().await;
            assert_eq!(waiters(), 1.0);
            other.source.close();
            other.clock.settle().await;
            assert_eq!(waiters(), 0.0);
        });
    });
}

async fn check_metrics(metrics: &Metrics) {
    let waiters = || metrics.gauge("jwks_waiters", "");
    let unknown_kids = |action| metrics.count(&format!("jwks_unknown_kid_total{{issuer={URL},action={action}}}"));
    let fixture = Fixture::new(Reply::json(jwks(&["a", "b"])).with_delay(SECOND));
    let cold = fixture.spawn("a");
    fixture.clock.settle().await;
    assert_eq!((metrics.state(), waiters()), ((0.0, 0.0), 1.0));
    fixture.run(SECOND).await;
    assert_eq!(cold.await.expect("no panic"), Outcome::Served);
    assert_eq!((metrics.state(), waiters()), ((1.0, 2.0), 0.0));

    fixture.source.revoke_kid("a");
    fixture.clock.settle().await;
    assert_eq!(metrics.state(), (1.0, 1.0));
    fixture.source.unrevoke_kid("a");
    fixture.clock.settle().await;
    assert_eq!(metrics.state(), (1.0, 2.0));

    fixture.answer(Reply::json(jwks(&["a", "b"])).with_delay(SECOND / 2));
    fixture.run(2 * SECOND).await;
    let (first, second) = (fixture.spawn("x"), fixture.spawn("y"));
    fixture.clock.settle().await;
    assert_eq!(waiters(), 2.0);
    let late = fixture.spawn("z");
    fixture.run(SECOND / 2).await;
    for request in [first, second, late] {
        assert_eq!(request.await.expect("no panic"), Outcome::NotFound);
    }
    assert_eq!(waiters(), 0.0);
    assert_eq!(["fetched", "joined", "cooldown", "backoff"].map(unknown_kids), [2, 1, 0, 0]);
    assert_eq!(fixture.request_now("w").await, Outcome::NotFound);
    assert_eq!(["fetched", "joined", "cooldown", "backoff"].map(unknown_kids), [2, 1, 1, 0]);
    assert_eq!(fixture.request_now("x").await, Outcome::NotFound);
    assert_eq!(["cooldown", "absent"].map(unknown_kids), [1, 1]);

    fixture.run(MINUTE).await;
    fixture.answer(Reply::error(FetchError::Tls));
    fixture.run(10 * MINUTE).await;
    assert_eq!(metrics.state(), (3.0, 2.0));
    let age = metrics.gauge("jwks_age_seconds", "");
    assert!((480.0..=660.0).contains(&age), "{age}");
    assert_eq!(fixture.request_now("x").await, Outcome::NotFound);
    assert_eq!(["fetched", "joined", "cooldown", "backoff"].map(unknown_kids), [2, 1, 1, 1]);
    fixture.run(HOUR).await;
    assert_eq!(metrics.state(), (4.0, 0.0));
    fixture.publish(&["a"]);
    fixture.run(15 * SECOND).await;
    assert_eq!(metrics.state(), (1.0, 1.0));
    fixture.run(MINUTE).await;
    fixture.answer(Reply::json(jwks(&["a"])).with_delay(3 * SECOND));
    let before = ["fetched", "joined", "unavailable"].map(unknown_kids);
    let request = fixture.spawn("v");
    fixture.run(2 * SECOND).await;
    assert_eq!(request.await.expect("no panic"), Outcome::NotFound);
    assert_eq!(unknown_kids("timed_out"), 1);
    assert_eq!(["fetched", "joined", "unavailable"].map(unknown_kids), before);
    fixture.run(2 * SECOND).await;
    fixture.source.close();
    assert_eq!(metrics.state(), (5.0, 0.0));
    fixture.clock.settle().await;
    assert_eq!(metrics.state(), (5.0, 0.0));
}
