//! The metrics and log lines of tenants after real traffic.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::runtime::Builder;
use tower_bearer::config::{Tenant, TenantError};
use tower_bearer::introspection::{ClientAuthentication, Introspection};
use tower_bearer::jwks::{KeyStore, KeyStoreError, KeyStoreFuture};
use tower_bearer::{Algorithm, Issuer};

use crate::events::Log;
use crate::fixture::AUDIENCE;
use crate::tenants_fixture::{Answer, PATTERN, Realms, iss, outcome, unavailable, unknown};

const SECOND: Duration = Duration::from_secs(1);

/// What a test has recorded.
#[derive(Clone)]
struct Recorded {
    metrics: PrometheusHandle,
    log: Log,
}

impl Recorded {
    /// Returns the value of a series, without its label `issuer`.
    fn value(&self, name: &str, labels: &str) -> Option<i64> {
        let labels = labels.replace('=', "=\"").replace(',', "\",");
        let series = format!("{name}{{issuer=\"{PATTERN}\",{labels}\"}} ");
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(&*series))?;
        value.parse().ok()
    }

    /// Returns the numbers of proven, unproven and idle tenants.
    fn tenants(&self) -> [i64; 3] {
        ["proven", "unproven", "idle"].map(|state| self.value("jwt_tenants", &format!("state={state}")).unwrap_or(0))
    }

    fn calls(&self, outcome: &str) -> i64 {
        self.value("jwt_tenant_resolution_total", &format!("outcome={outcome}")).unwrap_or(0)
    }

    fn events(&self, event: &str) -> i64 {
        self.value("jwt_tenant_events_total", &format!("event={event}")).unwrap_or(0)
    }

    /// Returns the lines of the log with this text, from the target on.
    fn lines(&self, text: &str) -> Vec<String> {
        let from_target = |line: &String| line.find("tower_bearer::").map(|at| line[at..].to_owned());
        self.log.lines(text).iter().filter_map(from_target).collect()
    }
}

/// Runs a test and records its metrics and its log.
fn recording<F: Future<Output = ()>>(test: impl FnOnce(Recorded) -> F) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let recorded = Recorded { metrics: recorder.handle(), log: Log::default() };
    let _subscribed = recorded.log.clone().subscribed();
    metrics::with_local_recorder(&recorder, || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test(recorded));
    });
}

#[test]
fn counts_tenants_by_state_until_the_validator_is_dropped() {
    recording(async |recorded| {
        let realms = Realms::new(["a", "b", "c"]);
        let validator = realms.validator();
        assert_eq!(recorded.tenants(), [0, 0, 0]);
        let forged = realms.server("c").token().audience(AUDIENCE).signed_by(&realms.server("a")).sign();
        assert!(outcome(&validator, &forged).await.is_err());
        assert_eq!(recorded.tenants(), [0, 1, 0]);
        for realm in ["a", "b"] {
            for _ in 0..3 {
                assert_eq!(outcome(&validator, &realms.token(realm)).await, Ok(()));
            }
        }
        assert_eq!(recorded.tenants(), [2, 1, 0]);
        // A second validator of the process adds its tenants.
        let other = realms.validator();
        assert_eq!(outcome(&other, &realms.token("a")).await, Ok(()));
        assert_eq!(recorded.tenants(), [3, 1, 0]);
        drop(other);
        realms.clock.settle().await;
        assert_eq!(recorded.tenants(), [2, 1, 0]);
        assert!(validator.tenants().remove(&iss("a")));
        assert_eq!((recorded.tenants(), recorded.events("removed")), ([1, 1, 0], 1));
        realms.pass(3661 * SECOND).await;
        assert_eq!((recorded.tenants(), recorded.events("idle")), ([0, 0, 1], 2));
        assert_eq!(outcome(&validator, &realms.token("b")).await, Ok(()));
        assert_eq!(recorded.tenants(), [1, 0, 0]);
        assert_eq!((recorded.events("added"), recorded.events("proven")), (5, 3));
        drop(validator);
        realms.clock.settle().await;
        assert_eq!(recorded.tenants(), [0, 0, 0]);
        let text = recorded.metrics.render();
        assert!(!text.contains("realms/a") && !text.contains("realms/b"), "tenants create no time series: {text}");
    });
}

#[test]
fn counts_the_calls_of_the_resolver_by_outcome_and_logs_failures_once_a_minute() {
    recording(async |recorded| {
        let realms = Realms::new(["a", "b"]);
        let validator = realms.validator();
        let token = realms.token("a");
        let wrong = |_: &str| Tenant::from(Issuer::oidc(iss("b")).with_algorithms([Algorithm::ES256]));
        for (answer, expected) in [
            (Answer::Fail, TenantError::Resolver),
            (Answer::Panic, TenantError::Panic),
            (Answer::Return(Arc::new(wrong)), TenantError::Misconfigured),
        ] {
            realms.set("a", answer);
            for _ in 0..3 {
                assert_eq!(outcome(&validator, &token).await, unavailable(expected));
            }
            assert_eq!(recorded.calls(expected.name()), 1, "{expected}");
            realms.pass(SECOND).await;
        }
        realms.set("a", Answer::Unknown);
        for _ in 0..3 {
            assert_eq!(outcome(&validator, &token).await, unknown());
        }
        assert_eq!((recorded.calls("unknown"), recorded.calls("known")), (1, 0));
        assert_eq!(outcome(&validator, &realms.token("b")).await, Ok(()));
        assert_eq!(recorded.calls("known"), 1);
        realms.pass(300 * SECOND).await;
        assert_eq!(recorded.calls("known"), 2, "renewed");
        realms.set("b", Answer::Fail);
        realms.pass(300 * SECOND).await;
        assert!(recorded.events("renewal_failed") > 1);
        assert_eq!(recorded.calls("resolver"), 1 + recorded.events("renewal_failed"));
        let failures = recorded.lines("could not look a tenant up");
        let first =
            format!("tower_bearer::validation: could not look a tenant up tenants=\"{PATTERN}\" class=\"resolver\"");
        assert_eq!(failures[0], first);
        assert!(failures.len() <= 11, "once a minute: {failures:?}");
        let misconfigured = recorded.lines("the resolver returned an issuer that cannot be used");
        assert_eq!(misconfigured.len(), 1);
        assert!(misconfigured[0].ends_with("reason=the issuer does not have the claimed iss"), "{misconfigured:?}");
        let changes = recorded.lines("a tenant changed");
        let added = format!(
            "tower_bearer::validation: a tenant changed tenants=\"{PATTERN}\" issuer=\"{}\" event=\"added\"",
            iss("b")
        );
        assert_eq!(changes[0], added);
        assert!(recorded.lines("the database does not respond").is_empty(), "errors of the application are not logged");
    });
}

#[test]
fn logs_what_to_do_about_an_issuer_that_cannot_be_used() {
    let oidc = |issuer: &str| Issuer::oidc(issuer).with_algorithms([Algorithm::ES256]);
    let introspection = || {
        let authentication = ClientAuthentication::basic("api", "secret");
        Introspection::at("https://id.test/introspect", authentication)
    };
    let several = "the issuer has further names, patterns or custom domains, which is not supported for tenants; return one with the \
                   claimed iss only, and another one for each other name";
    let unsupported = "introspection is not supported for tenants; return the issuer without it, or configure it at start with \
                 `Api::with_issuer`";
    type Wrong = Arc<dyn Fn(&str) -> Tenant + Send + Sync>;
    let cases: [(Wrong, &str); 4] = [
        (Arc::new(move |issuer| oidc(issuer).with_alias(iss("b")).into()), several),
        (Arc::new(move |issuer| oidc(issuer).with_issuer_pattern("https://id.test/{x}").into()), several),
        (Arc::new(move |issuer| oidc(issuer).with_introspection(introspection()).into()), unsupported),
        (
            Arc::new(move |issuer| Tenant::new(oidc(issuer)).with_request_host("a.test")),
            "the tenant has a request host, which needs `with_request_hosts`",
        ),
    ];
    for (wrong, expected) in cases {
        recording(async |recorded| {
            let realms = Realms::new(["a"]);
            realms.set("a", Answer::Return(Arc::clone(&wrong)));
            let validator = realms.validator();
            let misconfigured = unavailable(TenantError::Misconfigured);
            assert_eq!(outcome(&validator, &realms.token("a")).await, misconfigured);
            let lines = recorded.lines("the resolver returned an issuer that cannot be used");
            assert!(lines.len() == 1 && lines[0].ends_with(&format!("reason={expected}")), "{lines:?}");
        });
    }
}

/// A store that is always empty, and from which nothing can be removed.
#[derive(Debug)]
struct ReadOnly;

impl KeyStore for ReadOnly {
    fn load(&self, _: &str, _: usize) -> KeyStoreFuture<Option<bytes::Bytes>> {
        Box::pin(async { Ok(None) })
    }

    fn save(&self, _: &str, _: bytes::Bytes) -> KeyStoreFuture<()> {
        Box::pin(async { Ok(()) })
    }

    fn remove(&self, _: &str) -> KeyStoreFuture<()> {
        Box::pin(async { Err(KeyStoreError::OtherOwner) })
    }
}

#[test]
fn counts_the_removals_of_stored_keys_and_logs_failures() {
    recording(async |recorded| {
        let realms = Realms::new(["a", "b"]);
        let builder = realms.builder(realms.api()).with_key_store(ReadOnly);
        let validator = builder.build().expect("a valid configuration");
        let removals =
            |outcome: &str| recorded.value("jwks_key_store_total", &format!("operation=remove,outcome={outcome}"));
        realms.set("b", Answer::Unknown);
        assert_eq!(outcome(&validator, &realms.token("b")).await, unknown());
        assert_eq!(outcome(&validator, &realms.token("a")).await, Ok(()));
        realms.pass(SECOND).await;
        assert_eq!((removals("other_owner"), recorded.lines("the key store failed").len()), (None, 0));
        assert!(validator.tenants().remove(&iss("a")));
        realms.pass(SECOND).await;
        assert_eq!(removals("other_owner"), Some(1));
        let line = format!(
            "tower_bearer::jwks: the key store failed issuer=\"{}\" operation=\"remove\" class=\"other_owner\"",
            iss("a")
        );
        assert_eq!(recorded.lines("the key store failed"), [line]);
    });
}
