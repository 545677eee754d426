//! Events and metrics of the list of revocations and of its log.

use std::time::Duration;

#[cfg(feature = "tracing")]
const TARGET: &str = "tower_bearer::revocation";

/// The list has no room for an entry.
pub(crate) fn full(max_entries: usize) {
    event!(error, max_entries, "the list of revocations is full; an entry was not added");
}

/// No validator of this process trusts the issuer of an entry.
pub(crate) fn untrusted_issuer() {
    event!(warn, "revoked tokens of an issuer that no validator of this process trusts");
}

/// An entry names tokens by a claim that tokens of the same issuer do not have.
pub(crate) fn claim_missing(claim: &'static str) {
    event!(warn, claim, "a token has no claim by which its issuer's tokens are revoked");
}

/// A token is valid for longer than the entries of the list last by default.
pub(crate) fn long_token_life() {
    #[cfg(feature = "metrics")]
    metrics::counter!("revocation_long_token_total").increment(1);
}

/// The first such token.
pub(crate) fn warn_of_long_token_life() {
    event!(warn, "a token lives longer than revocations last");
}

/// An entry of this process has a time of issue in the future, which is taken for five minutes from now.
pub(crate) fn time_in_future() {
    event!(warn, "a revocation has a time in the future; it concerns tokens up to five minutes from now");
}

/// An entry of the log concerns tokens that are issued in the future: the clock of this process is slow, or the entry is wrong.
pub(crate) fn entry_from_future() {
    event!(warn, "an entry of the log has a time in the future; compare the clocks of the processes");
}

/// The log was read to its end for the first time, or for the first time after a stop.
pub(crate) fn loaded() {
    event!(info, "loaded the revocations");
}

/// A read succeeded after a time without one.
pub(crate) fn current() {
    event!(info, "the revocations are current again");
}

/// No read has succeeded for a while, or the list is full.
pub(crate) fn degraded() {
    event!(warn, "the revocations are not current; the entries that are known count");
}

/// No read has succeeded for too long.
pub(crate) fn stale() {
    event!(
        error,
        "the log of revocations was not read for too long; requests are rejected unless the configuration accepts them"
    );
}

/// Nothing reads the log any more, because its runtime has ended.
pub(crate) fn stopped() {
    event!(warn, "the log of revocations is no longer read");
}

/// The log no longer has what was read before.
pub(crate) fn regressed() {
    event!(warn, "the log of revocations has lost entries; it is read again, and no entry of this process is dropped");
    #[cfg(feature = "metrics")]
    metrics::counter!("revocation_log_regressed_total").increment(1);
}

/// The event hook of the application panicked.
pub(crate) fn hook_panicked() {
    event!(error, "an event hook of revocations panicked");
}

/// A read returned entries.
pub(crate) fn log_read() {
    log_call("read", "ok");
}

/// A read failed.
pub(crate) fn log_read_failed(class: &'static str, consecutive: u32) {
    event!(warn, class, consecutive, "could not read the log of revocations");
    log_call("read", class);
}

/// An append ended. `class` says how it failed, `pending` how many entries wait.
pub(crate) fn appended(class: Option<&'static str>, pending: usize) {
    if let Some(class) = class {
        event!(
            error,
            class,
            pending,
            "could not append to the log of revocations; other processes do not know the entries yet"
        );
    }
    log_call("append", class.unwrap_or("ok"));
    #[cfg(feature = "metrics")]
    metrics::gauge!("revocation_pending_entries").set(super::gauge(pending));
}

/// Entries of the log could not be read.
pub(crate) fn malformed_entries(entries: usize) {
    event!(warn, entries, "skipped malformed entries of the log of revocations");
    #[cfg(feature = "metrics")]
    metrics::counter!("revocation_malformed_entries_total").increment(u64::try_from(entries).unwrap_or(u64::MAX));
}

/// The time since the last read that succeeded, and the number of the state.
pub(crate) fn lag(lag: Duration, state: u8) {
    #[cfg(feature = "metrics")]
    {
        metrics::gauge!("revocation_lag_seconds").set(lag.as_secs_f64());
        metrics::gauge!("revocation_state").set(f64::from(state));
    }
}

fn log_call(operation: &'static str, outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("revocation_log_total", "operation" => operation, "outcome" => outcome).increment(1);
}

/// The number of entries of a kind.
pub(crate) fn entries(kind: &'static str, entries: usize) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("revocation_entries", "kind" => kind).set(super::gauge(entries));
}

/// A token was rejected because of an entry of a kind.
pub(crate) fn revoked(by: &'static str) {
    // Counts with a label that is known at compile time, which needs no allocation.
    #[cfg(feature = "metrics")]
    macro_rules! count {
        ($($kind:literal),+) => {
            match by {
                $($kind => metrics::counter!("revoked_total", "by" => $kind).increment(1),)+
                _ => {}
            }
        };
    }
    #[cfg(feature = "metrics")]
    count!("jti", "sid", "sub", "client", "issuer");
}
