//! Doors into this station for the fuzz targets, each with what must hold for every input.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, DATE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;

use crate::clock::Monotonic;
use crate::fetch::FetchError;
use crate::jwks::discovery::Discovery;
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::{self, Freshness, Phase, Times};
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::{Action, Activity, Cause, Change, Event, Outcome, Refresh};

/// Reads a discovery document; one that is accepted is an object with our issuer and an https `jwks_uri`.
///
/// # Panics
///
/// If it accepts anything else.
pub fn discovery(document: &[u8]) {
    let discovery = Discovery::of(ISSUER).expect("a good issuer");
    let Ok(endpoint) = discovery.read(document, None) else { return };
    // Values that are passed over are no text, number or depth that anybody has to represent.
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(document).expect("an accepted document is an object");
    let text = |name: &str| serde_json::from_str::<String>(members[name].get()).expect("a text");
    assert_eq!(text("issuer"), ISSUER);
    assert_eq!(text("jwks_uri"), endpoint.as_str());
    assert!(endpoint.as_str().to_ascii_lowercase().starts_with("https://"), "{endpoint}");
}

/// Reads lines as the caching headers of an answer; the times that come of them stand in order and within the policy.
///
/// # Panics
///
/// If they do not.
pub fn cache_control(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for (at, line) in lines.split(|octet| *octet == b'\n').take(10).enumerate() {
        let names: [HeaderName; 5] = [CACHE_CONTROL, AGE, RETRY_AFTER, ETAG, DATE];
        if let (Some(name), Ok(value)) = (names.get(at % 5), HeaderValue::from_bytes(line)) {
            headers.append(name, value);
        }
    }
    let policy = RefreshPolicy::new();
    let now = Monotonic::from_origin(Duration::from_secs(1000));
    let remaining = Freshness::from_headers(&headers).remaining();
    let _ = freshness::retry_after(&headers);
    for (jitter, phase) in [(0, Phase::First), (u32::MAX / 2, Phase::Later), (u32::MAX, Phase::First)] {
        let sample = Sample { first: Jitter(jitter), second: Jitter(u32::MAX - jitter) };
        let times = Times::of(remaining, &policy, phase, now, sample);
        assert!(
            now <= times.refresh_at && times.refresh_at <= times.stale_at && times.stale_at <= times.expires_at,
            "{times:?}"
        );
        let longest = policy.longer_max_age.unwrap_or(policy.refresh_every).max(policy.refresh_every);
        assert!(times.stale_at <= now.saturating_add(longest), "{times:?}");
    }
}

/// One thing that happens to the machine.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What: its remainder by eleven.
    pub event: u8,
    /// How many milliseconds have passed before it.
    pub pause: u32,
    /// How the dice fall.
    pub rng: (u32, u32),
    /// A span in seconds, where the event has one.
    pub span: Option<u32>,
}

/// Runs the machine through events: never two fetches at once, and always something in flight or armed until it closes.
///
/// # Panics
///
/// If that does not hold.
pub fn refresh_machine(steps: impl IntoIterator<Item = Step>) {
    let mut machine = Refresh::new(RefreshPolicy::new());
    let mut now = Monotonic::from_origin(Duration::from_secs(1000));
    let mut in_flight: Option<u64> = None;
    for step in steps {
        now = now.saturating_add(Duration::from_millis(u64::from(step.pause)));
        let sample = Sample { first: Jitter(step.rng.0), second: Jitter(step.rng.1) };
        let event = event(step, machine.generation());
        let interrupted = matches!(event, Event::Interrupted(_));
        if interrupted || matches!(event, Event::Finished { .. }) {
            in_flight = None;
        }
        for action in machine.step(event, now, sample) {
            match action {
                Action::Fetch(order) => {
                    assert!(!interrupted, "a fetch is ordered from a task that is gone");
                    assert!(in_flight.is_none(), "two fetches at once after {event:?}");
                    in_flight = Some(order.generation);
                }
                Action::Abort | Action::Close => in_flight = None,
                Action::Publish(times) => {
                    assert!(times.refresh_at <= times.stale_at && times.stale_at <= times.expires_at)
                }
                _ => {}
            }
        }
        match machine.activity() {
            Activity::Asleep | Activity::Closed => assert_eq!(machine.wake_at(), None),
            Activity::Fetching { .. } => assert!(machine.wake_at().is_some()),
            Activity::Idle | Activity::Backoff { .. } => {
                in_flight = None;
                assert!(machine.wake_at() <= machine.next_attempt() && machine.wake_at().is_some());
            }
        }
    }
}

fn event(step: Step, generation: u64) -> Event {
    let span = step.span.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let finished = |outcome| Event::Finished { generation, outcome };
    match step.event % 11 {
        0 => Event::Begin,
        1 => Event::UnknownKid,
        2 => Event::FetchNow(Cause::Manual),
        3 => Event::FetchNow(Cause::Moved),
        4 => finished(Outcome::Loaded { remaining: span, change: Change::Changed }),
        5 => finished(Outcome::Loaded { remaining: span, change: Change::Same }),
        6 => finished(Outcome::NotModified { remaining: span }),
        7 => finished(Outcome::Failed { error: DOWN, retry_after: span }),
        8 => Event::Interrupted(if step.span.is_some() { RefreshError::Interrupted } else { DOWN }),
        9 if step.span == Some(0) => Event::Close,
        9 if step.span == Some(1) => Event::Expire,
        _ => Event::Timer,
    }
}

const ISSUER: &str = "https://as.example/";
const DOWN: RefreshError = RefreshError::Network { error: FetchError::Connect };
