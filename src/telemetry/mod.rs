//! Logs, spans and metrics. Only this folder uses `tracing` and `metrics`.
//!
//! There is one function per event. The parameters are `&'static str`, numbers, `Duration`, the issuer as configured, the
//! names in a requirement of the application, and the name of a verified claim that has another type than the application
//! expects. So no token, `kid`, subject or other text from a client reaches a log line, with one exception: the path of a
//! request that shows an error of the program.

#![cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(unused_variables, reason = "without a feature, nothing reads the parameters of its events")
)]

/// Logs an event to the `TARGET` of the file that uses the macro.
macro_rules! event {
    ($level:ident, $($event:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: TARGET, $($event)+);
    };
}

pub(crate) mod custom_domains;
pub(crate) mod revocation;
mod jwks;
mod token_cache;
pub(crate) mod signals;
mod source_label;
pub(crate) mod tenants;
pub(crate) mod introspection;
#[cfg(feature = "redis")]
pub(crate) mod stores;

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

pub(crate) use self::jwks::{
    Refreshed, jwks_closed, jwks_discovery_changed, jwks_discovery_failed, jwks_empty_set, jwks_expired, jwks_fetched,
    jwks_hook_panicked, jwks_initial_load, jwks_key_material_changed, jwks_key_skipped, jwks_key_store,
    jwks_key_store_failed, jwks_keys, jwks_not_modified, jwks_private_key_published,
    jwks_private_key_published_and_used, jwks_refresh_failed, jwks_refreshed, jwks_reload, jwks_stale_entered,
    jwks_stale_recovered, jwks_state, jwks_stored_keys_loaded, jwks_unchanged, jwks_unknown_kid, jwks_waiter_added,
    jwks_waiter_removed,
};
pub(crate) use self::source_label::{SourceLabel, StaleServed};
pub(crate) use self::token_cache::{
    token_cache_evicted, token_cache_freed, token_cache_hit, token_cache_inserted, token_cache_miss,
    token_cache_stale_epoch,
};
use crate::clock::Clock;
#[cfg(feature = "metrics")]
use crate::clock::Monotonic;

/// Counts stay far below 2^32.
#[cfg(feature = "metrics")]
fn gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The value of the label `issuer`: a configured `iss` value, or [`NO_ISSUER`].
///
/// The metric keys of its counters are created once, so counting does not allocate if no recorder is installed.
#[derive(Debug)]
pub(crate) struct Label {
    name: Cow<'static, str>,
    #[cfg(feature = "metrics")]
    counter_keys: [OnceLock<(&'static str, metrics::Key)>; REASONS],
}

impl Label {
    pub(crate) const fn new(name: Cow<'static, str>) -> Self {
        Self {
            name,
            #[cfg(feature = "metrics")]
            counter_keys: [const { OnceLock::new() }; REASONS],
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Counts a decision. `reason` is [`ACCEPTED`] or the reason of the rejection.
    #[cfg(feature = "metrics")]
    fn count(&self, reason: &'static str) {
        let key = || {
            let labels = vec![
                metrics::Label::new("issuer", self.name.clone()),
                metrics::Label::from_static_parts("result", result_of(reason)),
                metrics::Label::from_static_parts("reason", reason),
            ];
            metrics::Key::from_parts("jwt_validation_total", labels)
        };
        let count = |key: &metrics::Key| {
            metrics::with_recorder(|recorder| recorder.register_counter(key, &DECISIONS).increment(1));
        };
        let mut slots = self.counter_keys.iter().map(|slot| slot.get_or_init(|| (reason, key())));
        match slots.find(|(known, _)| *known == reason) {
            Some((_, known)) => count(known),
            None => count(&key()),
        }
    }
}

/// One validation from its start to its decision: its span, and its duration if metrics are enabled.
#[must_use]
pub(crate) struct Validation<'v> {
    /// The configured `iss` value that the token has, once it is known.
    issuer: OnceLock<&'v Label>,
    #[cfg(feature = "metrics")]
    waited: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    #[cfg(feature = "metrics")]
    started: Monotonic,
}

impl<'v> Validation<'v> {
    /// Starts a validation whose keys are available.
    pub(crate) fn at_once(clock: &dyn Clock) -> Self {
        Self::start(false, clock)
    }

    /// Starts a validation that waits for keys.
    pub(crate) fn waiting(clock: &dyn Clock) -> Self {
        Self::start(true, clock)
    }

    fn start(waited: bool, clock: &dyn Clock) -> Self {
        Self {
            issuer: OnceLock::new(),
            #[cfg(feature = "metrics")]
            waited,
            #[cfg(feature = "tracing")]
            span: span(waited),
            #[cfg(feature = "metrics")]
            started: clock.monotonic(),
        }
    }

    /// Records which of the configured `iss` values the token has.
    pub(crate) fn record_issuer(&self, issuer: &'v Label) {
        if self.is_observed() {
            let _already_set = self.issuer.set(issuer);
        }
    }

    /// Returns whether the decision is logged or counted.
    fn is_observed(&self) -> bool {
        #[cfg(feature = "tracing")]
        return cfg!(feature = "metrics") || !self.span.is_disabled();
        #[cfg(not(feature = "tracing"))]
        cfg!(feature = "metrics")
    }

    /// Runs `work` inside the span.
    pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        work()
    }

    /// Wraps `work` in a future that polls it inside the span.
    pub(crate) fn instrument<F: Future>(&self, work: F) -> Instrumented<'_, 'v, F> {
        Instrumented { work, validation: self }
    }

    /// Ends the validation of an accepted token.
    pub(crate) fn accepted(self, clock: &dyn Clock) {
        self.end(ACCEPTED, clock);
    }

    /// Ends the validation of a rejected token.
    pub(crate) fn rejected(self, reason: &'static str, clock: &dyn Clock) {
        self.end(reason, clock);
    }

    /// Ends the validation because the decision has to wait for keys. A second validation follows.
    pub(crate) fn postponed(self) {
        #[cfg(feature = "tracing")]
        self.span.record("result", "postponed");
    }

    fn end(&self, reason: &'static str, clock: &dyn Clock) {
        let issuer = self.issuer.get().copied();
        #[cfg(feature = "tracing")]
        if !self.span.is_disabled() {
            let name = issuer.map_or(NO_ISSUER, Label::name);
            self.span.record("issuer", name).record("result", result_of(reason)).record("reason", reason);
        }
        #[cfg(feature = "metrics")]
        {
            let took = clock.monotonic().saturating_since(self.started);
            let durations = match self.waited {
                true => metrics::histogram!("jwt_validation_seconds", "path" => "waited"),
                false => metrics::histogram!("jwt_validation_seconds", "path" => "at_once"),
            };
            durations.record(took.as_secs_f64());
            issuer.unwrap_or(&NO_ISSUER_LABEL).count(reason);
        }
    }
}

pin_project! {
    /// The future of [`Validation::instrument`].
    pub(crate) struct Instrumented<'s, 'v, F> {
        #[pin]
        work: F,
        validation: &'s Validation<'v>,
    }
}

impl<F: Future> Future for Instrumented<'_, '_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let work = this.work;
        this.validation.in_scope(|| work.poll(context))
    }
}

/// Creates the span of a validation, if a subscriber is interested in the level debug. Without one, `debug_span` would write records
/// for the crate `log`, if another crate enables them. They take more instructions than a lookup in the token cache.
#[cfg(feature = "tracing")]
fn span(waited: bool) -> tracing::Span {
    if tracing::Level::DEBUG > tracing::level_filters::LevelFilter::current() {
        return tracing::Span::none();
    }
    tracing::debug_span!(
        target: "tower_bearer::validation",
        "validate",
        path = if waited { "waited" } else { "at_once" },
        issuer = tracing::field::Empty,
        result = tracing::field::Empty,
        reason = tracing::field::Empty,
    )
}

/// The value of `issuer` for a token without a configured issuer.
#[cfg(any(feature = "tracing", feature = "metrics"))]
const NO_ISSUER: &str = "none";

/// The reason of a token that was not rejected.
const ACCEPTED: &str = "none";

#[cfg(any(feature = "tracing", feature = "metrics"))]
fn result_of(reason: &str) -> &'static str {
    if reason == ACCEPTED { "accepted" } else { "rejected" }
}

/// The number of reasons whose metric keys are stored for one issuer. The key of any further reason is created at each use.
#[cfg(feature = "metrics")]
const REASONS: usize = 40;

#[cfg(feature = "metrics")]
static NO_ISSUER_LABEL: Label = Label::new(Cow::Borrowed(NO_ISSUER));

#[cfg(feature = "metrics")]
static DECISIONS: metrics::Metadata<'static> =
    metrics::Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

/// A token was rejected, or a valid token does not meet a requirement.
///
/// `late_by` is set with the hint for a token that expired a moment ago, `cause` if keys could not be fetched, `mismatch` if
/// claims do not have the application's type. `mismatch` contains the name of the claim and never a value. `lacks` is set for
/// an unmet requirement: it names what is missing, as configured in the application. `proof` is the part of a proof that is wrong,
/// `near_miss` the part of `htu` that differs, and `off_by` the distance of its `iat`; no part of a proof is logged. `by` is the kind of
/// the revocation that rejects the token. No other event has these fields.
pub(crate) fn rejected(
    kind: &'static str,
    hint: Option<&'static str>,
    [late_by, off_by]: [Option<Duration>; 2],
    [cause, proof, near_miss, by]: [Option<&'static str>; 4],
    mismatch: Option<&dyn Display>,
    lacks: Option<&dyn Display>,
    signature_checked: bool,
) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "tower_bearer::validation",
        kind,
        hint,
        late_by = late_by.map(tracing::field::debug),
        cause,
        proof,
        near_miss,
        off_by = off_by.map(tracing::field::debug),
        by,
        // Formatted with `Debug`, so that special characters in a name are escaped.
        mismatch = mismatch.map(|mismatch| tracing::field::debug(mismatch.to_string())),
        lacks = lacks.map(|lacks| tracing::field::debug(lacks.to_string())),
        signature_checked,
        "token rejected"
    );
}

/// A proof of possession was checked: it is the first use, a replay, invalid, without a current nonce, or the store is unavailable.
/// `took` is the response time of a store outside of this process.
pub(crate) fn proof_checked(outcome: &'static str, took: Option<Duration>) {
    #[cfg(feature = "metrics")]
    metrics::counter!("dpop_proof_total", "outcome" => outcome).increment(1);
    #[cfg(feature = "metrics")]
    took.into_iter().for_each(|took| metrics::histogram!("dpop_replay_store_seconds").record(took.as_secs_f64()));
}

/// The number of proofs that one validator has recorded in memory changed. The gauge is the total over all validators of the process.
pub(crate) fn recorded_proofs(before: usize, now: usize) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("dpop_replay_entries").increment(gauge(now) - gauge(before));
}

/// A response has a nonce for the next request.
pub(crate) fn nonce_issued() {
    #[cfg(feature = "metrics")]
    metrics::counter!("dpop_nonce_issued_total").increment(1);
}

/// Used proofs are recorded in the memory of this process only.
pub(crate) fn replay_detection_is_local() {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_bearer::validation", "replay detection covers this API in this process only");
}

/// The replay store is full, or does not respond. The caller limits the rate.
pub(crate) fn replay_store_failed(reason: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_bearer::validation", reason, "the replay store failed; requests are rejected");
}

/// A valid token has a claim of another type than registered, and no rule requires the claim.
pub(crate) fn claim_ignored(claim: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "tower_bearer::validation", claim, "claim of another type ignored");
}

/// Returns whether rejections are logged. Only then are expensive hints computed.
pub(crate) fn logs_rejections() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "tower_bearer::validation", tracing::Level::DEBUG);
    #[cfg(not(feature = "tracing"))]
    false
}

/// A request was rejected because of its headers, before any token was parsed. `proof` is the part of its proof that is wrong.
pub(crate) fn credential_rejected(kind: &'static str, hint: Option<&'static str>, proof: Option<&'static str>) {
    rejected(kind, hint, [None; 2], [None, proof, None, None], None, None, false);
    #[cfg(feature = "metrics")]
    NO_ISSUER_LABEL.count(kind);
}

/// A valid token, or a request without one, does not meet the requirement of a route.
pub(crate) fn requirement_unmet(
    kind: &'static str,
    hint: Option<&'static str>,
    lacks: Option<&dyn Display>,
    signature_checked: bool,
) {
    rejected(kind, hint, [None; 2], [None; 4], None, lacks, signature_checked);
    #[cfg(feature = "metrics")]
    metrics::counter!("jwt_requirement_unmet_total", "reason" => kind).increment(1);
}

/// A trusted proxy sends a malformed header with the certificate of a client, or the server does not say who the peer of a request is.
pub(crate) fn certificate_header_unusable(reason: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_bearer::server", reason, "request rejected: the server is misconfigured");
}

/// A handler or layer requires claims where no layer provides them. `route` is the method and the escaped path of the request,
/// `type_name` the type that requires the claims.
pub(crate) fn misconfigured(reason: &'static str, route: &str, type_name: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        target: "tower_bearer::server",
        reason,
        route,
        type_name,
        "request rejected: the server is misconfigured"
    );
}
