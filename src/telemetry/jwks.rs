//! The events of key sources.

use std::time::Duration;

use crate::telemetry::SourceLabel;
#[cfg(feature = "metrics")]
use crate::telemetry::gauge;

#[cfg(feature = "tracing")]
const TARGET: &str = "tower_bearer::jwks";

/// Updates a metric of the key source.
macro_rules! jwks_metric {
    ($kind:ident $name:literal, $source:expr $(, $label:literal => $value:expr)*; $act:ident($amount:expr)) => {
        #[cfg(feature = "metrics")]
        metrics::$kind!($name, "issuer" => $source.name().to_owned() $(, $label => $value)*).$act($amount);
    };
}

/// The key source has fetched its first key set.
pub(crate) fn jwks_initial_load(issuer: &str, usable: usize, skipped: usize) {
    event!(info, issuer, usable, skipped, "loaded the first keys");
}

/// How a key set differs from the previous one, and how many keys it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refreshed {
    pub(crate) epoch: u64,
    pub(crate) added: usize,
    pub(crate) removed: usize,
    pub(crate) usable: usize,
    pub(crate) skipped: usize,
}

/// A fetch returned a key set that differs from the previous one.
pub(crate) fn jwks_refreshed(issuer: &str, cause: &'static str, set: Refreshed) {
    let Refreshed { epoch, added, removed, usable, skipped } = set;
    event!(info, issuer, cause, epoch, added, removed, usable, skipped, "the key set changed");
}

/// Under `replaced` kids the issuer publishes other keys than before: a mistake of the issuer, or a restored backup.
pub(crate) fn jwks_key_material_changed(issuer: &str, replaced: usize) {
    event!(warn, issuer, replaced, "a kid identifies another key than before");
}

/// A fetch returned a key set that is equal to the previous one.
pub(crate) fn jwks_unchanged(issuer: &str, cause: &'static str) {
    event!(debug, issuer, cause, "the key set is unchanged");
}

/// The issuer confirmed the current key set (304).
pub(crate) fn jwks_not_modified(issuer: &str, cause: &'static str) {
    event!(debug, issuer, cause, "the key set is not modified");
}

/// A fetch failed.
pub(crate) fn jwks_refresh_failed(issuer: &str, class: &'static str, consecutive: u32, next_in: Duration) {
    event!(warn, issuer, class, consecutive, ?next_in, "could not fetch keys");
}

/// The keys are stale. They stay in use for `remaining`.
pub(crate) fn jwks_stale_entered(issuer: &str, remaining: Duration) {
    event!(warn, issuer, ?remaining, "the keys are stale");
}

/// A fetch confirmed or replaced stale or expired keys.
pub(crate) fn jwks_stale_recovered(issuer: &str) {
    event!(info, issuer, "the keys are fresh again");
}

/// The keys have expired and are no longer used.
pub(crate) fn jwks_expired(issuer: &str) {
    event!(error, issuer, "the keys expired; requests are rejected");
}

/// A token has an unknown kid.
pub(crate) fn jwks_unknown_kid(issuer: &str, source: &SourceLabel, action: &'static str) {
    event!(debug, issuer, action, "unknown kid");
    jwks_metric!(counter "jwks_unknown_kid_total", source, "action" => action; increment(1));
}

/// One key of a set was skipped. If the whole set is rejected, for whatever reason, the level is warn.
pub(crate) fn jwks_key_skipped(issuer: &str, position: usize, reason: &'static str, set_rejected: bool) {
    if set_rejected {
        event!(warn, issuer, position, reason, "skipped a key");
    } else {
        event!(debug, issuer, position, reason, "skipped a key");
    }
}

/// The issuer publishes a private key. Anyone who reads the set can sign with it.
pub(crate) fn jwks_private_key_published(issuer: &str) {
    event!(error, issuer, "the key set contains a private key; it is not used, and the issuer must replace it");
}

/// The issuer publishes a private key, and the configuration allows its use.
pub(crate) fn jwks_private_key_published_and_used(issuer: &str) {
    event!(error, issuer, "the key set contains a private key, which is used; anyone who read it can sign tokens");
}

/// A fetch returned a key set without usable keys.
pub(crate) fn jwks_empty_set(issuer: &str) {
    event!(error, issuer, "the key set has no usable key");
}

/// The discovery document has another `jwks_uri` than before.
pub(crate) fn jwks_discovery_changed(issuer: &str) {
    event!(warn, issuer, "the discovery document has a new jwks_uri");
}

/// The discovery document could not be fetched again. The last `jwks_uri` stays in use.
pub(crate) fn jwks_discovery_failed(issuer: &str, class: &'static str) {
    event!(warn, issuer, class, "could not fetch the discovery document");
}

/// Stored keys are used until the first fetch has succeeded.
pub(crate) fn jwks_stored_keys_loaded(issuer: &str, usable: usize, age: Duration) {
    event!(info, issuer, usable, ?age, "loaded keys from the key store");
}

/// The key store failed, or its keys are not used.
pub(crate) fn jwks_key_store_failed(issuer: &str, operation: &'static str, class: &'static str) {
    event!(warn, issuer, operation, class, "the key store failed");
}

/// The key store was used.
pub(crate) fn jwks_key_store(source: &SourceLabel, operation: &'static str, outcome: &'static str) {
    jwks_metric!(counter "jwks_key_store_total", source, "operation" => operation, "outcome" => outcome; increment(1));
}

/// The application called `reload()`.
pub(crate) fn jwks_reload(issuer: &str) {
    event!(info, issuer, "reloading keys on demand");
}

/// The application's event hook panicked `panics` times. The events are not repeated.
pub(crate) fn jwks_hook_panicked(issuer: &str, panics: usize) {
    event!(error, issuer, panics, "an event hook panicked");
}

/// The key source was closed.
pub(crate) fn jwks_closed(issuer: &str) {
    event!(debug, issuer, "the key source is closed");
}

/// A fetch ended, with or without success.
pub(crate) fn jwks_fetched(source: &SourceLabel, cause: &'static str, outcome: &'static str, took: Duration) {
    jwks_metric!(counter "jwks_fetch_total", source, "cause" => cause, "outcome" => outcome; increment(1));
    jwks_metric!(histogram "jwks_fetch_seconds", source; record(took));
}

/// A fetch returned a key set with this many keys.
pub(crate) fn jwks_keys(issuer: &str, source: &SourceLabel, usable: usize, skipped: usize) {
    event!(debug, issuer, usable, skipped, "keys in use");
    #[cfg(feature = "metrics")]
    if source.is_own() {
        jwks_metric!(gauge "jwks_keys", source, "state" => "skipped"; set(gauge(skipped)));
    }
}

/// The state of the key source and the number of usable keys. The states: 0 empty, 1 fresh, 2 aging, 3 stale, 4 expired, 5 closed.
pub(crate) fn jwks_state(source: &SourceLabel, state: u8, usable: usize, age: Option<Duration>) {
    #[cfg(feature = "metrics")]
    if source.is_own() {
        jwks_metric!(gauge "jwks_state", source; set(f64::from(state)));
        jwks_metric!(gauge "jwks_keys", source, "state" => "usable"; set(gauge(usable)));
        if let Some(age) = age {
            jwks_metric!(gauge "jwks_age_seconds", source; set(age.as_secs_f64()));
        }
    }
}

/// One more request waits for keys. The gauge is incremented and decremented, so it stays correct if other threads or other
/// key sources of the same issuer update it at the same time.
pub(crate) fn jwks_waiter_added(source: &SourceLabel) {
    jwks_metric!(gauge "jwks_waiters", source; increment(1));
}

/// A request no longer waits for keys.
pub(crate) fn jwks_waiter_removed(source: &SourceLabel) {
    jwks_metric!(gauge "jwks_waiters", source; decrement(1));
}
