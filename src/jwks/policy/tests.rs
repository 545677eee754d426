use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn violations(policy: &RefreshPolicy) -> Vec<RefreshPolicyError> {
    policy.errors()
}

#[test]
fn accepts_the_defaults_and_their_variants() {
    for policy in [
        RefreshPolicy::default(),
        RefreshPolicy::new().with_strict_freshness(),
        RefreshPolicy::new().dangerous_unbounded_staleness(),
        RefreshPolicy::new().dangerous_accept_empty_set(),
        RefreshPolicy::new().dangerous_accept_private_keys(),
        RefreshPolicy::new().with_max_refresh_interval(3600 * SECOND),
        RefreshPolicy::new().with_refresh_interval(60 * SECOND),
        RefreshPolicy::new().with_max_stale(300 * SECOND),
        RefreshPolicy::new().with_same_origin_redirects(),
        RefreshPolicy::new().with_jwks_hosts(["keys.example"]),
        RefreshPolicy::new().with_retries(0),
        RefreshPolicy::new().with_cold_wait(Duration::ZERO).with_unknown_kid_wait(Duration::ZERO),
    ] {
        assert_eq!(policy.errors(), [], "{policy:?}");
    }
}

#[test]
fn rejects_each_number_out_of_range() {
    let new = RefreshPolicy::new;
    for (policy, expected) in [
        (new().with_refresh_interval(59 * SECOND), RefreshPolicyError::RefreshTooOften),
        (new().with_min_refresh_interval(59 * SECOND), RefreshPolicyError::MinRefreshInterval),
        (new().with_min_refresh_interval(301 * SECOND), RefreshPolicyError::MinRefreshInterval),
        (new().with_max_stale(299 * SECOND), RefreshPolicyError::StaleBeforeRefresh),
        (new().with_max_refresh_interval(299 * SECOND), RefreshPolicyError::MaxRefreshInterval),
        (new().with_max_refresh_interval(3601 * SECOND), RefreshPolicyError::MaxRefreshInterval),
        (new().with_refresh_ahead_percent(49), RefreshPolicyError::AheadPercent),
        (new().with_refresh_ahead_percent(96), RefreshPolicyError::AheadPercent),
        (new().with_jitter_percent(51), RefreshPolicyError::JitterPercent),
        (new().with_attempt_timeout(Duration::ZERO), RefreshPolicyError::AttemptTimeout),
        (new().with_attempt_timeout(6 * SECOND), RefreshPolicyError::AttemptTimeout),
        (new().with_retries(2), RefreshPolicyError::TooManyRetries),
        (new().with_unknown_kid_wait(6 * SECOND), RefreshPolicyError::UnknownKidWait),
        (new().with_backoff_min(Duration::ZERO), RefreshPolicyError::Backoff),
        (new().with_backoff_max(SECOND / 2), RefreshPolicyError::Backoff),
        (new().with_backoff_max_unavailable(SECOND / 2), RefreshPolicyError::Backoff),
        (new().with_unknown_kid_cooldown_min(Duration::ZERO), RefreshPolicyError::UnknownKidCooldown),
        (new().with_unknown_kid_cooldown_min(16 * SECOND), RefreshPolicyError::UnknownKidCooldown),
        (new().with_unknown_kid_cooldown_max(301 * SECOND), RefreshPolicyError::UnknownKidCooldown),
        (new().with_unknown_kid_quiet(14 * SECOND), RefreshPolicyError::UnknownKidCooldown),
        (new().with_max_document_bytes(1023), RefreshPolicyError::MaxDocumentBytes),
        (new().with_max_keys(0), RefreshPolicyError::NothingAllowed),
        (new().with_max_waiters(0), RefreshPolicyError::NothingAllowed),
        (new().with_jwks_hosts([""; 0]), RefreshPolicyError::NothingAllowed),
        (new().with_discovery_interval(299 * SECOND), RefreshPolicyError::DiscoveryTooOften),
    ] {
        assert_eq!(violations(&policy), [expected], "{policy:?}");
    }
}

#[test]
fn returns_all_violations_at_once() {
    let policy = RefreshPolicy::new().with_refresh_interval(SECOND).with_retries(9).with_max_keys(0);
    assert_eq!(
        violations(&policy),
        [
            RefreshPolicyError::RefreshTooOften,
            RefreshPolicyError::TooManyRetries,
            RefreshPolicyError::UnknownKidCooldown,
            RefreshPolicyError::NothingAllowed,
        ]
    );
}

#[test]
fn accepts_intervals_below_the_minimum_only_without_interval_limits() {
    let policy = RefreshPolicy::new()
        .without_interval_limits()
        .with_refresh_interval(SECOND)
        .with_unknown_kid_cooldown_max(SECOND);
    assert_eq!(policy.errors(), []);
    assert!(!policy.with_refresh_interval(Duration::ZERO).errors().is_empty(), "nor may a test poll without a pause");
}

#[test]
fn headers_are_sensitive() {
    let policy =
        RefreshPolicy::new().with_header(HeaderName::from_static("x-api-key"), HeaderValue::from_static("hunter2"));
    assert!(!format!("{policy:?}").contains("hunter2"));
}
