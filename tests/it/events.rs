//! What the log and the metrics say of a validation, and what they never say.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tower_bearer::testing::TestIssuer;
use tower_bearer::{Api, Issuer, Validator};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

const AUDIENCE: &str = "https://api.test/";
const ISSUER: &str = "https://northwind.eu.auth0.com/";

/// Validates a good token, one for another audience, and one of an unknown issuer.
async fn validate_three() -> Vec<String> {
    let server = TestIssuer::auth0("northwind.eu.auth0.com");
    let api = Api::new(AUDIENCE, Issuer::auth0("northwind.eu.auth0.com"));
    let validator = Validator::builder(api).with_fetch(server.clone()).build().expect("a good configuration");
    let stranger = TestIssuer::auth0("elsewhere.eu.auth0.com");
    let tokens = vec![
        server.token().subject("ann|secret-subject").sign(),
        server.token().audience("https://other.test/").sign(),
        stranger.token().sign(),
    ];
    for token in &tokens {
        let _verdict = validator.validate(token).await;
    }
    tokens
}

#[tokio::test]
async fn a_span_tells_the_verdict_and_nothing_of_the_token() {
    let log = Log::default();
    let written = log.clone();
    let _subscribed = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || written.clone())
        .set_default();
    let tokens = validate_three().await;
    let log = log.text();
    for expected in [
        format!(r#"validate{{path="waited" issuer="{ISSUER}" result="accepted" reason="none"}}"#),
        format!(r#"validate{{path="at_once" issuer="{ISSUER}" result="rejected" reason="audience"}}"#),
        r#"validate{path="at_once" issuer="none" result="rejected" reason="issuer"}"#.to_owned(),
        format!(r#"loaded the first keys issuer="{ISSUER}""#),
    ] {
        assert!(log.contains(&expected), "{expected} in\n{log}");
    }
    let parts = tokens.iter().flat_map(|token| token.split('.'));
    for secret in parts.chain(["secret-subject", "elsewhere.eu"]) {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_scrape_counts_verdicts_by_issuer_and_reason() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    validate_three().await;
    let text = scrape.render();
    for expected in [
        format!(r#"jwt_validation_total{{issuer="{ISSUER}",result="accepted",reason="none"}} 1"#),
        format!(r#"jwt_validation_total{{issuer="{ISSUER}",result="rejected",reason="audience"}} 1"#),
        r#"jwt_validation_total{issuer="none",result="rejected",reason="issuer"} 1"#.to_owned(),
        r#"jwt_validation_seconds_count{path="waited"} 1"#.to_owned(),
        r#"jwt_validation_seconds_count{path="at_once"} 2"#.to_owned(),
        format!(r#"jwks_fetch_total{{issuer="{ISSUER}",cause="initial",outcome="changed"}} 1"#),
        format!(r#"jwks_keys{{issuer="{ISSUER}",state="usable"}} 1"#),
    ] {
        assert!(text.contains(&expected), "{expected} in\n{text}");
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
