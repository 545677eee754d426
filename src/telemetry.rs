//! Events: the only file that names `tracing` or `metrics`.
//!
//! One function per event, taking only `&'static str`, numbers and `Duration`, the issuer as the configuration spells it,
//! what a requirement of the program's names, and the name of a verified claim that does not fit the application's type: no
//! token, key id, subject or other text of a stranger can reach a log line through here.

#![cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(unused_variables, reason = "what is not emitted is not read")
)]

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::clock::Clock;
#[cfg(feature = "metrics")]
use crate::clock::Monotonic;

/// Emits an event of the key source.
macro_rules! jwks_event {
    ($level:ident, $($event:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "tower_bearer::jwks", $($event)+);
    };
}

/// Makes a metric of the key source.
macro_rules! jwks_metric {
    ($kind:ident $name:literal, $issuer:expr $(, $label:literal => $value:expr)*; $act:ident($amount:expr)) => {
        #[cfg(feature = "metrics")]
        metrics::$kind!($name, "issuer" => $issuer.to_owned() $(, $label => $value)*).$act($amount);
    };
}

/// The first keys are there.
pub(crate) fn jwks_initial_load(issuer: &str, usable: usize, skipped: usize) {
    jwks_event!(info, issuer, usable, skipped, "loaded the first keys");
}

/// How a set differs from the one before, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refreshed {
    pub(crate) epoch: u64,
    pub(crate) added: usize,
    pub(crate) removed: usize,
    pub(crate) usable: usize,
    pub(crate) skipped: usize,
}

/// A set came that differs from the one before.
pub(crate) fn jwks_refreshed(issuer: &str, cause: &'static str, set: Refreshed) {
    let Refreshed { epoch, added, removed, usable, skipped } = set;
    jwks_event!(info, issuer, cause, epoch, added, removed, usable, skipped, "the key set changed");
}

/// So many key ids stand for other key material than before: an issuer's mistake, or a restored backup.
pub(crate) fn jwks_key_material_changed(issuer: &str, replaced: usize) {
    jwks_event!(warn, issuer, replaced, "a key id stands for another key");
}

/// A set came that is the same as before.
pub(crate) fn jwks_unchanged(issuer: &str, cause: &'static str) {
    jwks_event!(debug, issuer, cause, "the key set is unchanged");
}

/// The server confirmed the set at hand.
pub(crate) fn jwks_not_modified(issuer: &str, cause: &'static str) {
    jwks_event!(debug, issuer, cause, "the key set is not modified");
}

/// A fetch brought no keys.
pub(crate) fn jwks_refresh_failed(issuer: &str, class: &'static str, consecutive: u32, next_in: Duration) {
    jwks_event!(warn, issuer, class, consecutive, ?next_in, "could not fetch keys");
}

/// Keys are past their period and stay in use for the time that remains.
pub(crate) fn jwks_stale_entered(issuer: &str, remaining: Duration) {
    jwks_event!(warn, issuer, ?remaining, "the keys are stale");
}

/// Stale or expired keys were confirmed or replaced.
pub(crate) fn jwks_stale_recovered(issuer: &str) {
    jwks_event!(info, issuer, "the keys are fresh again");
}

/// Keys are too old and used no more.
pub(crate) fn jwks_expired(issuer: &str) {
    jwks_event!(error, issuer, "the keys expired; requests are refused");
}

/// A token named an unknown key id.
pub(crate) fn jwks_unknown_kid(issuer: &str, action: &'static str) {
    jwks_event!(debug, issuer, action, "unknown key id");
    jwks_metric!(counter "jwks_unknown_kid_total", issuer, "action" => action; increment(1));
}

/// One key of a set was skipped. Where the set is refused for it, the operator needs the reason.
pub(crate) fn jwks_key_skipped(issuer: &str, position: usize, reason: &'static str, set_refused: bool) {
    if set_refused {
        jwks_event!(warn, issuer, position, reason, "skipped a key");
    } else {
        jwks_event!(debug, issuer, position, reason, "skipped a key");
    }
}

/// The issuer publishes a private key: whoever reads the set can sign with it.
pub(crate) fn jwks_private_key_published(issuer: &str) {
    jwks_event!(error, issuer, "the key set holds a private key; it is not used, and the issuer must replace it");
}

/// The same, and the configuration wants its public half used.
pub(crate) fn jwks_private_key_published_and_used(issuer: &str) {
    jwks_event!(error, issuer, "the key set holds a private key, and tokens of whoever has read it are accepted");
}

/// A set without usable keys came.
pub(crate) fn jwks_empty_set(issuer: &str) {
    jwks_event!(error, issuer, "the key set has no usable key");
}

/// The discovery document names another `jwks_uri` than before.
pub(crate) fn jwks_discovery_changed(issuer: &str) {
    jwks_event!(warn, issuer, "the key set has moved");
}

/// The discovery document could not be read again; the last `jwks_uri` stays in use.
pub(crate) fn jwks_discovery_failed(issuer: &str, class: &'static str) {
    jwks_event!(warn, issuer, class, "could not read the discovery document");
}

/// Somebody called `reload()`.
pub(crate) fn jwks_reload(issuer: &str) {
    jwks_event!(info, issuer, "reloading keys on demand");
}

/// The application's hook for events panicked so many times, and was not told again.
pub(crate) fn jwks_hook_panicked(issuer: &str, panics: usize) {
    jwks_event!(error, issuer, panics, "an event hook panicked");
}

/// The source ended.
pub(crate) fn jwks_closed(issuer: &str) {
    jwks_event!(debug, issuer, "the key source is closed");
}

/// A fetch ended, one way or another.
pub(crate) fn jwks_fetched(issuer: &str, cause: &'static str, outcome: &'static str, took: Duration) {
    jwks_metric!(counter "jwks_fetch_total", issuer, "cause" => cause, "outcome" => outcome; increment(1));
    jwks_metric!(histogram "jwks_fetch_seconds", issuer; record(took));
}

/// A set came with this many keys.
pub(crate) fn jwks_keys(issuer: &str, usable: usize, skipped: usize) {
    jwks_event!(debug, issuer, usable, skipped, "keys in use");
    jwks_metric!(gauge "jwks_keys", issuer, "state" => "skipped"; set(gauge(skipped)));
}

/// The source stands here, with this many keys that may be used: 0 empty, 1 fresh, 2 aging, 3 stale, 4 expired, 5 closed.
pub(crate) fn jwks_state(issuer: &str, state: u8, usable: usize, age: Option<Duration>) {
    jwks_metric!(gauge "jwks_state", issuer; set(f64::from(state)));
    jwks_metric!(gauge "jwks_keys", issuer, "state" => "usable"; set(gauge(usable)));
    if let Some(age) = age {
        jwks_metric!(gauge "jwks_age_seconds", issuer; set(age.as_secs_f64()));
    }
}

/// One more request waits for keys. Counted up and down, it is right whoever else counts at the same time: a request on
/// another thread, or another source of the same issuer.
pub(crate) fn jwks_waiter_came(issuer: &str) {
    jwks_metric!(gauge "jwks_waiters", issuer; increment(1));
}

/// A request waits no more.
pub(crate) fn jwks_waiter_left(issuer: &str) {
    jwks_metric!(gauge "jwks_waiters", issuer; decrement(1));
}

/// Counts the requests that were handed stale keys: every one for a while, so the key of the counter is made once.
#[derive(Debug, Default)]
pub(crate) struct StaleServed {
    #[cfg(feature = "metrics")]
    key: OnceLock<metrics::Key>,
}

impl StaleServed {
    pub(crate) fn count(&self, issuer: &str) {
        #[cfg(feature = "metrics")]
        {
            let labels = || vec![metrics::Label::new("issuer", issuer.to_owned())];
            let key = self.key.get_or_init(|| metrics::Key::from_parts("jwks_stale_served_total", labels()));
            metrics::with_recorder(|recorder| recorder.register_counter(key, &DECISIONS).increment(1));
        }
    }
}

/// Counts stay far below 2^32.
#[cfg(feature = "metrics")]
fn gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A name under which verdicts are told: a configured `iss` value, or [`NO_ISSUER`].
///
/// The keys of its counters are made once: with a key at hand, counting allocates nothing where nobody listens.
#[derive(Debug)]
pub(crate) struct Label {
    name: Cow<'static, str>,
    #[cfg(feature = "metrics")]
    verdicts: [OnceLock<(&'static str, metrics::Key)>; REASONS],
}

impl Label {
    pub(crate) const fn new(name: Cow<'static, str>) -> Self {
        Self {
            name,
            #[cfg(feature = "metrics")]
            verdicts: [const { OnceLock::new() }; REASONS],
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Counts a verdict; `reason` is [`ACCEPTED`] or why not.
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
        let mut slots = self.verdicts.iter().map(|slot| slot.get_or_init(|| (reason, key())));
        match slots.find(|(known, _)| *known == reason) {
            Some((_, known)) => count(known),
            None => count(&key()),
        }
    }
}

/// One validation from its start to its verdict: a span around it, and its time where metrics are on.
#[must_use]
pub(crate) struct Validation<'v> {
    /// The configured `iss` value that the token claims, once that is known.
    issuer: OnceLock<&'v Label>,
    #[cfg(feature = "metrics")]
    waited: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    #[cfg(feature = "metrics")]
    started: Monotonic,
}

impl<'v> Validation<'v> {
    /// Starts one that has its keys at hand.
    pub(crate) fn at_once(clock: &dyn Clock) -> Self {
        Self::start(false, clock)
    }

    /// Starts one that waits for keys.
    pub(crate) fn waiting(clock: &dyn Clock) -> Self {
        Self::start(true, clock)
    }

    fn start(waited: bool, clock: &dyn Clock) -> Self {
        Self {
            issuer: OnceLock::new(),
            #[cfg(feature = "metrics")]
            waited,
            #[cfg(feature = "tracing")]
            span: tracing::debug_span!(
                target: "tower_bearer::validation",
                "validate",
                path = if waited { "waited" } else { "at_once" },
                issuer = tracing::field::Empty,
                result = tracing::field::Empty,
                reason = tracing::field::Empty,
            ),
            #[cfg(feature = "metrics")]
            started: clock.monotonic(),
        }
    }

    /// Notes which of the configured `iss` values the token claims.
    pub(crate) fn claims_issuer(&self, issuer: &'v Label) {
        if self.is_told() {
            let _known_already = self.issuer.set(issuer);
        }
    }

    /// Says whether anybody hears of the verdict.
    fn is_told(&self) -> bool {
        #[cfg(feature = "tracing")]
        return cfg!(feature = "metrics") || !self.span.is_disabled();
        #[cfg(not(feature = "tracing"))]
        cfg!(feature = "metrics")
    }

    /// Runs `work` inside the span.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        work()
    }

    /// Runs `work` inside the span, whenever it is polled.
    pub(crate) fn during<F: Future>(&self, work: F) -> During<'_, 'v, F> {
        During { work, validation: self }
    }

    /// The token is good.
    pub(crate) fn accepted(self, clock: &dyn Clock) {
        self.end(ACCEPTED, clock);
    }

    /// The token is refused.
    pub(crate) fn rejected(self, reason: &'static str, clock: &dyn Clock) {
        self.end(reason, clock);
    }

    /// The verdict has to wait for keys; another validation goes on.
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
            let times = match self.waited {
                true => metrics::histogram!("jwt_validation_seconds", "path" => "waited"),
                false => metrics::histogram!("jwt_validation_seconds", "path" => "at_once"),
            };
            times.record(took.as_secs_f64());
            issuer.unwrap_or(&NO_ISSUER_LABEL).count(reason);
        }
    }
}

pin_project! {
    /// The future of [`Validation::during`].
    pub(crate) struct During<'s, 'v, F> {
        #[pin]
        work: F,
        validation: &'s Validation<'v>,
    }
}

impl<F: Future> Future for During<'_, '_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let work = this.work;
        this.validation.within(|| work.poll(context))
    }
}

/// The name where a token names no configured issuer.
#[cfg(any(feature = "tracing", feature = "metrics"))]
const NO_ISSUER: &str = "none";

/// The reason of what was not refused.
const ACCEPTED: &str = "none";

#[cfg(any(feature = "tracing", feature = "metrics"))]
fn result_of(reason: &str) -> &'static str {
    if reason == ACCEPTED { "accepted" } else { "rejected" }
}

/// More than there are kinds of rejection.
#[cfg(feature = "metrics")]
const REASONS: usize = 24;

#[cfg(feature = "metrics")]
static NO_ISSUER_LABEL: Label = Label::new(Cow::Borrowed(NO_ISSUER));

#[cfg(feature = "metrics")]
static DECISIONS: metrics::Metadata<'static> =
    metrics::Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

/// Counts one use of the verified-token memo.
macro_rules! token_cache_metric {
    ($outcome:literal) => {
        #[cfg(feature = "metrics")]
        metrics::counter!("jwt_token_cache_total", "outcome" => $outcome).increment(1);
    };
}

/// A token had been verified before, and still counts.
pub(crate) fn token_cache_hit() {
    token_cache_metric!("hit");
}

/// A token is to be verified.
pub(crate) fn token_cache_miss() {
    token_cache_metric!("miss");
}

/// A token had been verified before, with a key that is in use no more.
pub(crate) fn token_cache_stale_epoch() {
    token_cache_metric!("stale_epoch");
}

/// A verdict had to make room, or was too old.
pub(crate) fn token_cache_evicted() {
    token_cache_metric!("evicted");
}

/// One more verdict is in memory; the gauges are over all validators of the process.
pub(crate) fn token_cache_grew(bytes: u32) {
    #[cfg(feature = "metrics")]
    {
        metrics::gauge!("jwt_token_cache_entries").increment(1);
        metrics::gauge!("jwt_token_cache_bytes").increment(bytes);
    }
}

/// A verdict has left memory.
pub(crate) fn token_cache_shrank(bytes: u32) {
    #[cfg(feature = "metrics")]
    {
        metrics::gauge!("jwt_token_cache_entries").decrement(1);
        metrics::gauge!("jwt_token_cache_bytes").decrement(bytes);
    }
}

/// A token was refused, or a good one does not suffice.
///
/// `late_by` goes with the hint of a token that has expired a moment ago, `cause` with keys that could not be had,
/// `mismatch` with claims that are not of the application's type: it names the claim, and never a value. `lacks` goes with a
/// requirement: it names in the program's own words what is missing. No other line has them.
pub(crate) fn rejected(
    kind: &'static str,
    hint: Option<&'static str>,
    late_by: Option<Duration>,
    cause: Option<&'static str>,
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
        // Shown as quoted texts, whatever characters a name has.
        mismatch = mismatch.map(|mismatch| tracing::field::debug(mismatch.to_string())),
        lacks = lacks.map(|lacks| tracing::field::debug(lacks.to_string())),
        signature_checked,
        "token rejected"
    );
}

/// A good token has a claim of another type than registered, which nothing asks for.
pub(crate) fn claim_ignored(claim: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "tower_bearer::validation", claim, "claim of another type ignored");
}

/// Says whether anybody reads of refusals, so that hints that cost something are looked for.
pub(crate) fn rejections_are_read() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "tower_bearer::validation", tracing::Level::DEBUG);
    #[cfg(not(feature = "tracing"))]
    false
}

/// A request was refused for its headers, before any token was looked at.
pub(crate) fn credential_rejected(kind: &'static str, hint: Option<&'static str>) {
    rejected(kind, hint, None, None, None, None, false);
    #[cfg(feature = "metrics")]
    NO_ISSUER_LABEL.count(kind);
}

/// A good token, or a request without one, does not meet what a route asks.
pub(crate) fn requirement_unmet(
    kind: &'static str,
    hint: Option<&'static str>,
    lacks: Option<&dyn Display>,
    signature_checked: bool,
) {
    rejected(kind, hint, None, None, None, lacks, signature_checked);
    #[cfg(feature = "metrics")]
    metrics::counter!("jwt_requirement_unmet_total", "reason" => kind).increment(1);
}

/// The program asks for claims where nothing provides them.
pub(crate) fn misconfigured(fault: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_bearer::server", fault, "request refused: the server is misconfigured");
}
