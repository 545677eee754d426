//! What the log and the metrics tell, and what they never tell.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::fetch::FetchError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::tests::kit::{HOUR, MINUTE, Outcome, SECOND, URL, World, jwk, jwks, set_of};
use crate::testing::Reply;

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("unpoisoned").clone()).expect("UTF-8")
    }

    /// Counts the lines with these words.
    fn lines(&self, words: &str) -> usize {
        self.text().lines().filter(|line| line.contains(words)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(octets);
        Ok(octets.len())
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

fn listen() -> (Log, impl Drop) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false);
    (log, subscriber.with_max_level(tracing::Level::TRACE).finish().set_default())
}

#[tokio::test]
async fn the_log_tells_the_life_of_a_key_set() {
    let (log, _listening) = listen();
    let private = jwk("secret-kid", "c").replace('}', r#","d":"AAAA"}"#);
    let world = World::new(Reply::json(set_of(&[jwk("a", "a"), private])));
    world.clock.settle().await;
    for words in ["loaded the first keys", "the key set contains a private key", "skipped a key"] {
        assert_eq!(log.lines(words), 1, "{words}\n{}", log.text());
    }

    world.answer(Reply::json(set_of(&[jwk("a", "b"), jwk("secret-kid", "d")])));
    world.source.reload().await.expect("reloaded");
    for words in ["reloading keys on demand", "the key set changed", "a kid identifies another key than before"] {
        assert_eq!(log.lines(words), 1, "{words}\n{}", log.text());
    }
    assert_eq!(log.lines("added=2 removed=1 usable=2 skipped=0"), 1, "{}", log.text());

    assert_eq!(World::request(&world.source, "strange-kid").await, Outcome::NotFound);
    assert_eq!(log.lines("action=\"fetched\""), 1, "{}", log.text());

    world.answer(Reply::error(FetchError::Connect));
    world.run(HOUR + MINUTE).await;
    for words in ["the keys are stale", "the keys expired"] {
        assert_eq!(log.lines(words), 1, "{words}\n{}", log.text());
    }
    assert!(log.lines("could not fetch keys") > 10);
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    assert_eq!(log.lines("the keys are fresh again"), 1);
    world.answer(Reply::json(r#"{"keys":[]}"#));
    world.source.reload().await.expect_err("an empty set");
    assert_eq!(log.lines("the key set has no usable key"), 1);
    let clock = world.clock.clone();
    drop(world);
    clock.settle().await;
    assert_eq!(log.lines("the key source is closed"), 1);

    assert!(log.text().lines().all(|line| line.contains(&format!("issuer=\"{URL}\""))), "{}", log.text());
    for secret in ["secret-kid", "strange-kid", "AAAA"] {
        assert!(!log.text().contains(secret), "{secret} was logged");
    }
}

/// The log and the hook hear the same: a line for each event, and what the hook did of it.
#[tokio::test]
async fn the_log_tells_of_a_hook_that_panics() {
    let (log, _listening) = listen();
    let policy = RefreshPolicy::new().with_event_hook(|event| {
        assert_ne!(event.kind().name(), "key_skipped", "as scripted: a hook panics");
    });
    let world = World::with(policy, Reply::json(set_of(&[jwk("a", "a"), "7".to_owned(), "8".to_owned()])));
    world.clock.settle().await;
    assert!(world.serves("a"));
    assert_eq!((log.lines("loaded the first keys"), log.lines("skipped a key")), (1, 2), "{}", log.text());
    let last_reported = format!("ERROR tower_bearer::jwks: an event hook panicked issuer=\"{URL}\" panics=2");
    assert_eq!(log.lines(&last_reported), 1, "{}", log.text());
}

/// Under the id of its public half, or under none: whoever reads the set can sign.
#[tokio::test]
async fn reports_a_private_key_whatever_its_id() {
    for kid in [r#""kid":"a","#, ""] {
        let (log, _listening) = listen();
        let world = World::loaded(&["a", "b"]).await;
        let private = jwk("a", "a").replace(r#""kid":"a","#, kid).replace('}', r#","d":"AAAA"}"#);
        world.answer(Reply::json(set_of(&[jwk("a", "a"), private, jwk("b", "b")])));
        world.run(HOUR).await;
        assert_eq!(log.lines("the key set contains a private key"), 1, "{}", log.text());
        assert_eq!(
            log.lines(r#"skipped a key issuer="https://login.example/jwks" position=0 reason="compromised""#),
            1
        );
        assert!(!world.serves("a") && world.serves("b"));
        assert_eq!(world.epoch(), 2);
    }
}

/// A refused set is logged with the reason for each of its keys, once, and at a level that is on by default.
#[tokio::test]
async fn logs_why_each_key_of_a_refused_set_is_skipped() {
    let (log, _listening) = listen();
    let keys = [
        jwk("a", "a").replace("ES256", "ES999"),
        jwk("b", "b").replace(r#""use":"sig""#, r#""use":"enc""#),
        jwk("c", "c").replace(r#""x":"F"#, r#""x":"*"#),
        jwk("d", "d").replace(r#""kid":"d""#, r#""kid":4"#),
        jwk("e", "e").replace('}', r#","d":"AAAA"}"#),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#.to_owned(),
    ];
    let world = World::new(Reply::json(set_of(&keys)));
    world.run(HOUR).await;
    let reasons = ["unsupported_alg", "use", "encoding", "kid_malformed", "private", "rsa_size", "alg_not_listed"];
    for (position, reason) in reasons.into_iter().enumerate() {
        let line =
            format!("WARN tower_bearer::jwks: skipped a key issuer=\"{URL}\" position={position} reason=\"{reason}\"");
        assert_eq!(log.lines(&line), 1, "{line}\n{}", log.text());
    }
    assert_eq!(log.lines("ERROR tower_bearer::jwks: the key set contains a private key; it is not used"), 1);

    // The same flaws beside a usable key are logged for those who look for them.
    world.answer(Reply::json(set_of(&[&jwk("a", "a"), &keys[1]])));
    world.run(MINUTE).await;
    let line = format!("DEBUG tower_bearer::jwks: skipped a key issuer=\"{URL}\" position=1 reason=\"use\"");
    assert_eq!((log.lines(&line), world.serves("a")), (1, true), "{}", log.text());
}

/// Told once for each set, used or not, and never shown.
#[tokio::test]
async fn a_private_key_is_told_of_though_its_public_half_is_used() {
    let (log, _listening) = listen();
    let private = jwk("a", "a").replace('}', r#","d":"c2lnbnMtYW55dGhpbmc"}"#);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let call = Arc::clone(&heard);
    let policy = RefreshPolicy::new().with_event_hook(move |event| {
        if let KeyEventKind::PrivateKeyPublished { in_use } = event.kind() {
            call.lock().expect("unpoisoned").push(in_use);
        }
    });
    let world = World::with(
        policy.clone().dangerous_accept_private_keys(),
        Reply::json(set_of(&[private.clone(), jwk("b", "b")])),
    );
    world.run(HOUR).await;
    assert!(world.serves("a") && world.serves("b"));
    let last_reported = "ERROR tower_bearer::jwks: the key set contains a private key, which is used; anyone who read it can sign \
         tokens";
    assert_eq!((log.lines(last_reported), log.lines("skipped a key")), (1, 0), "{}", log.text());

    // The keys in use stay the same, and what is published of them is news.
    world.publish(&["a", "b"]);
    world.run(HOUR).await;
    assert_eq!((log.lines(last_reported), world.epoch()), (1, 1));
    world.answer(Reply::json(set_of(&[private.clone(), jwk("b", "b")])));
    world.run(HOUR).await;
    assert_eq!((log.lines(last_reported), world.epoch()), (2, 1));
    assert!(!log.text().contains("c2lnbnM"), "{}", log.text());

    let default = World::with(policy, Reply::json(set_of(&[private, jwk("b", "b")])));
    default.clock.settle().await;
    assert!(!default.serves("a") && default.serves("b"));
    assert_eq!(*heard.lock().expect("unpoisoned"), [true, true, false]);
    assert_eq!(
        (log.lines(last_reported), log.lines("the key set contains a private key; it is not used")),
        (2, 1),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn an_unchanged_set_is_no_news() {
    let (log, _listening) = listen();
    let world = World::new(Reply::json(set_of(&[jwk("a", "a"), "7".to_owned()])));
    world.run(HOUR).await;
    assert!(log.lines("the key set is unchanged") > 10);
    assert_eq!(log.lines("skipped a key"), 1, "once per set, not per poll");
    assert_eq!(log.lines(" INFO ") + log.lines(" WARN ") + log.lines(" ERROR "), 1, "{}", log.text());
}

#[tokio::test]
async fn the_log_tells_where_the_keys_have_gone() {
    let (log, _listening) = listen();
    let world = World::discovered(RefreshPolicy::new()).await;
    world.lose_keys().await;
    let words = "could not fetch the discovery document issuer=\"https://login.example\" class=\"http_5xx\"";
    assert_eq!((log.lines(words), log.lines("the discovery document has a new jwks_uri")), (1, 0), "{}", log.text());
    world.move_keys().await;
    assert_eq!((log.lines(words), log.lines("the discovery document has a new jwks_uri")), (1, 1), "{}", log.text());
}

/// Every metric by its name and labels: a count, or the bits of what a gauge shows.
#[derive(Default)]
struct Meters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Meters {
    fn at(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().expect("unpoisoned").entry(name).or_default())
    }

    fn count(&self, name: &str) -> u64 {
        self.0.lock().expect("unpoisoned").get(name).map_or(0, |meter| meter.load(Ordering::SeqCst))
    }

    /// What a gauge of this issuer's shows.
    fn gauge(&self, name: &str, labels: &str) -> f64 {
        f64::from_bits(self.count(&format!("{name}{{issuer={URL}{labels}}}")))
    }

    /// The state, and the number of usable keys.
    fn state(&self) -> (f64, f64) {
        (self.gauge("jwks_state", ""), self.gauge("jwks_keys", ",state=usable"))
    }
}

impl Recorder for Meters {
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
fn the_metrics_have_fixed_names_and_bounded_labels() {
    let meters = Meters::default();
    metrics::with_local_recorder(&meters, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let world = World::new(Reply::json(jwks(&["a"])).after(SECOND));
            let cold = world.spawn("a");
            world.run(SECOND).await;
            assert_eq!(cold.await.expect("no panic"), Outcome::Served);
            let miss = world.spawn("strange-kid");
            world.run(SECOND).await;
            assert_eq!(miss.await.expect("no panic"), Outcome::NotFound);
            world.answer(Reply::error(FetchError::Tls));
            world.run(10 * MINUTE).await;
            assert!(world.serves("a"));
        });
    });
    let names: BTreeSet<String> = meters.0.into_inner().expect("unpoisoned").into_keys().collect();
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
fn the_meters_follow_the_source() {
    let meters = Meters::default();
    metrics::with_local_recorder(&meters, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(live(&meters));
    });
}

#[test]
fn those_who_wait_for_two_sources_of_one_issuer_add_up() {
    let meters = Meters::default();
    let waiters = || meters.gauge("jwks_waiters", "");
    metrics::with_local_recorder(&meters, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let (one, other) = (World::new(Reply::hang()), World::new(Reply::hang()));
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

async fn live(meters: &Meters) {
    let waiters = || meters.gauge("jwks_waiters", "");
    let unknown_kids = |action| meters.count(&format!("jwks_unknown_kid_total{{issuer={URL},action={action}}}"));
    let world = World::new(Reply::json(jwks(&["a", "b"])).after(SECOND));
    let cold = world.spawn("a");
    world.clock.settle().await;
    assert_eq!((meters.state(), waiters()), ((0.0, 0.0), 1.0));
    world.run(SECOND).await;
    assert_eq!(cold.await.expect("no panic"), Outcome::Served);
    assert_eq!((meters.state(), waiters()), ((1.0, 2.0), 0.0));

    world.source.revoke_kid("a");
    world.clock.settle().await;
    assert_eq!(meters.state(), (1.0, 1.0));
    world.source.unrevoke_kid("a");
    world.clock.settle().await;
    assert_eq!(meters.state(), (1.0, 2.0));

    world.answer(Reply::json(jwks(&["a", "b"])).after(SECOND / 2));
    world.run(2 * SECOND).await;
    let (first, second) = (world.spawn("x"), world.spawn("y"));
    world.clock.settle().await;
    assert_eq!(waiters(), 2.0);
    let late = world.spawn("z");
    world.run(SECOND / 2).await;
    for request in [first, second, late] {
        assert_eq!(request.await.expect("no panic"), Outcome::NotFound);
    }
    assert_eq!(waiters(), 0.0);
    assert_eq!(["fetched", "joined", "cooldown", "backoff"].map(unknown_kids), [2, 1, 0, 0]);
    assert_eq!(world.ask("x").await, Outcome::NotFound);
    assert_eq!(["fetched", "joined", "cooldown", "backoff"].map(unknown_kids), [2, 1, 1, 0]);

    world.run(MINUTE).await;
    world.answer(Reply::error(FetchError::Tls));
    world.run(10 * MINUTE).await;
    assert_eq!(meters.state(), (3.0, 2.0));
    let age = meters.gauge("jwks_age_seconds", "");
    assert!((480.0..=660.0).contains(&age), "{age}");
    assert_eq!(world.ask("x").await, Outcome::NotFound);
    assert_eq!(["fetched", "joined", "cooldown", "backoff"].map(unknown_kids), [2, 1, 1, 1]);
    world.run(HOUR).await;
    assert_eq!(meters.state(), (4.0, 0.0));
    world.publish(&["a"]);
    world.run(15 * SECOND).await;
    assert_eq!(meters.state(), (1.0, 1.0));
    world.source.close();
    assert_eq!(meters.state(), (5.0, 0.0));
    world.clock.settle().await;
    assert_eq!(meters.state(), (5.0, 0.0));
}
