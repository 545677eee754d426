//! Metrics of the token cache.

/// Counts lookups in the token cache, or evictions.
macro_rules! token_cache_metric {
    ($outcome:literal, $count:expr) => {
        #[cfg(feature = "metrics")]
        metrics::counter!("jwt_token_cache_total", "outcome" => $outcome).increment($count);
    };
}

/// The cache has a valid entry for the token.
pub(crate) fn token_cache_hit() {
    token_cache_metric!("hit", 1);
}

/// The cache has no valid entry for the token, so the token is verified.
pub(crate) fn token_cache_miss() {
    token_cache_metric!("miss", 1);
}

/// The cache has an entry for the token, but its key is no longer in use.
pub(crate) fn token_cache_stale_epoch() {
    token_cache_metric!("stale_epoch", 1);
}

/// Entries were evicted for another one, or had expired.
pub(crate) fn token_cache_evicted(count: usize) {
    if let Ok(_count @ 1..) = u64::try_from(count) {
        token_cache_metric!("evicted", _count);
    }
}

/// An entry was created. It is usually stored. The gauges are totals over all validators of the process.
pub(crate) fn token_cache_inserted(bytes: u32) {
    #[cfg(feature = "metrics")]
    {
        metrics::gauge!("jwt_token_cache_entries").increment(1);
        metrics::gauge!("jwt_token_cache_bytes").increment(bytes);
    }
}

/// The memory of an entry was freed.
pub(crate) fn token_cache_freed(bytes: u32) {
    #[cfg(feature = "metrics")]
    {
        metrics::gauge!("jwt_token_cache_entries").decrement(1);
        metrics::gauge!("jwt_token_cache_bytes").decrement(bytes);
    }
}
