//! The events of introspection.

use std::time::Duration;

#[cfg(feature = "tracing")]
const TARGET: &str = "tower_bearer::introspection";

/// Counts a call in flight until it is dropped.
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "the label of the metric"))]
pub(crate) struct InFlight<'i>(&'i str);

impl<'i> InFlight<'i> {
    pub(crate) fn start(issuer: &'i str) -> Self {
        #[cfg(feature = "metrics")]
        metrics::gauge!("introspection_in_flight", "issuer" => issuer.to_owned()).increment(1);
        Self(issuer)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!("introspection_in_flight", "issuer" => self.0.to_owned()).decrement(1);
    }
}

/// A call to the server ended: the token is active or inactive, our credentials were refused, or there is no answer.
pub(crate) fn call_ended(issuer: &str, outcome: &'static str, took: Duration) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("introspection_total", "issuer" => issuer.to_owned(), "outcome" => outcome).increment(1);
        metrics::histogram!("introspection_seconds", "issuer" => issuer.to_owned()).record(took.as_secs_f64());
    }
}

/// A call gave no answer.
pub(crate) fn call_failed(issuer: &str, class: &'static str) {
    event!(debug, issuer, class, "could not introspect a token");
}

/// The server refused the credentials of this API. Logged once until the server accepts them.
pub(crate) fn credentials_refused(issuer: &str) {
    event!(error, issuer, "the introspection endpoint refuses the credentials of this API");
}

/// Calls are stopped, because the server does not answer.
pub(crate) fn stopped(issuer: &str, calls: &'static str, class: &'static str) {
    event!(warn, issuer, calls, class, "the introspection endpoint does not answer; calls are stopped");
}

/// The server answers again.
pub(crate) fn resumed(issuer: &str) {
    event!(info, issuer, "the introspection endpoint answers again");
}

/// The answer of the server contradicts the claims of a signed token.
pub(crate) fn contradicted(issuer: &str, claim: &'static str) {
    event!(error, issuer, claim, "an answer about a token contradicts the token");
}

/// The event hook of the application panicked.
pub(crate) fn hook_panicked(issuer: &str) {
    event!(error, issuer, "an event hook panicked");
}
