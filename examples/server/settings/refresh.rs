//! `[jwks]`: the settings of [`RefreshPolicy`], under the same names.

use std::time::Duration;

use tower_bearer::jwks::{InitialFetch, RefreshPolicy};

use super::section::Section;

/// Returns the policy. The library checks whether its values fit together.
pub(super) fn policy(mut section: Section) -> RefreshPolicy {
    for (former, name) in FORMER_NAMES {
        section.alias(former, name);
    }
    let mut policy = RefreshPolicy::new();
    for (name, set) in DURATIONS {
        policy = section.duration(name).into_iter().fold(policy, set);
    }
    for (name, set) in NUMBERS {
        policy = section.take(name).into_iter().fold(policy, set);
    }
    for (name, set) in SMALL_NUMBERS {
        policy = section.take(name).into_iter().fold(policy, set);
    }
    policy = section.take::<Vec<String>>("jwks_hosts").into_iter().fold(policy, RefreshPolicy::with_jwks_hosts);
    if section.take("same_origin_redirects") == Some(true) {
        policy = policy.with_same_origin_redirects();
    }
    policy = initial_fetch(&mut section).into_iter().fold(policy, RefreshPolicy::with_initial_fetch);
    section.end();
    policy
}

fn initial_fetch(section: &mut Section) -> Option<InitialFetch> {
    match section.take::<String>("initial_fetch")?.as_str() {
        // `warm` is the former name.
        "eager" | "warm" => Some(InitialFetch::Eager),
        "lazy" => Some(InitialFetch::Lazy),
        _ => {
            section.error("initial_fetch", "is not \"eager\" or \"lazy\"");
            None
        }
    }
}

/// Former and current names of settings.
pub(crate) const FORMER_NAMES: [(&str, &str); 9] = [
    ("refresh_every", "refresh_interval"),
    ("refresh_floor", "min_refresh_interval"),
    ("longer_max_age", "max_refresh_interval"),
    ("discovery_every", "discovery_interval"),
    ("start", "initial_fetch"),
    ("miss_wait", "unknown_kid_wait"),
    ("miss_cooldown_min", "unknown_kid_cooldown_min"),
    ("miss_cooldown_max", "unknown_kid_cooldown_max"),
    ("miss_quiet", "unknown_kid_quiet"),
];

type Set<T> = fn(RefreshPolicy, T) -> RefreshPolicy;

const DURATIONS: [(&str, Set<Duration>); 16] = [
    ("refresh_interval", RefreshPolicy::with_refresh_interval),
    ("min_refresh_interval", RefreshPolicy::with_min_refresh_interval),
    ("max_refresh_interval", RefreshPolicy::with_max_refresh_interval),
    ("max_stale", RefreshPolicy::with_max_stale),
    ("attempt_timeout", RefreshPolicy::with_attempt_timeout),
    ("operation_timeout", RefreshPolicy::with_operation_timeout),
    ("cold_wait", RefreshPolicy::with_cold_wait),
    ("unknown_kid_wait", RefreshPolicy::with_unknown_kid_wait),
    ("backoff_min", RefreshPolicy::with_backoff_min),
    ("backoff_max", RefreshPolicy::with_backoff_max),
    ("backoff_max_unavailable", RefreshPolicy::with_backoff_max_unavailable),
    ("retry_after_max", RefreshPolicy::with_retry_after_max),
    ("unknown_kid_cooldown_min", RefreshPolicy::with_unknown_kid_cooldown_min),
    ("unknown_kid_cooldown_max", RefreshPolicy::with_unknown_kid_cooldown_max),
    ("unknown_kid_quiet", RefreshPolicy::with_unknown_kid_quiet),
    ("discovery_interval", RefreshPolicy::with_discovery_interval),
];

const NUMBERS: [(&str, Set<usize>); 3] = [
    ("max_document_bytes", RefreshPolicy::with_max_document_bytes),
    ("max_keys", RefreshPolicy::with_max_keys),
    ("max_waiters", RefreshPolicy::with_max_waiters),
];

const SMALL_NUMBERS: [(&str, Set<u8>); 3] = [
    ("refresh_ahead_percent", RefreshPolicy::with_refresh_ahead_percent),
    ("jitter_percent", RefreshPolicy::with_jitter_percent),
    ("retries", RefreshPolicy::with_retries),
];
