//! Events and metrics of the connection to Redis.

#[cfg(feature = "tracing")]
const TARGET: &str = "tower_bearer::stores";

/// The server does not respond. Until it does, this is not logged again.
pub(crate) fn failed(class: &'static str) {
    event!(warn, class, "Redis does not respond");
    count("failed");
}

/// The server responds again.
pub(crate) fn recovered() {
    event!(info, "Redis responds again");
    count("recovered");
}

/// The server drops keys when its memory is full.
pub(crate) fn evicts() {
    event!(error, "Redis is not used, because its maxmemory-policy is not noeviction");
    count("evicts");
}

/// The server does not say whether it drops keys.
pub(crate) fn unknown_policy() {
    event!(warn, "the maxmemory-policy of Redis is unknown; make sure that it is noeviction");
}

/// Counts a change of the state of the server.
fn count(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("redis_total", "outcome" => outcome).increment(1);
}

/// Redis does not say whether a proof was used, and each process uses its own memory. The caller limits the rate.
pub(crate) fn replay_detection_is_local(reason: &'static str) {
    event!(warn, reason, "the replay store failed; each process detects replays alone");
}
