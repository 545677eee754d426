//! Entry points for the fuzz targets, each with its invariants.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, DATE, ETAG, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;

use crate::clock::Monotonic;
use crate::fetch::FetchError;
use crate::fetch::retry_after;
use crate::jwks::cause::RefreshCause;
use crate::jwks::discovery::{Discovery, DocumentMember};
use crate::jwks::error::RefreshError;
use crate::jwks::freshness::{Freshness, Phase, Times};
use crate::jwks::jitter::{Jitter, Sample};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::{Action, Activity, Change, Event, Outcome, Refresh};
use crate::keys;

/// Parses a discovery document. An accepted one is an object with the expected issuer and an https `jwks_uri`.
///
/// # Panics
///
/// If anything else is accepted.
pub fn discovery(document: &[u8]) {
    let discovery = Discovery::new(ISSUER).expect("a valid issuer");
    let Ok(endpoint) = discovery.read(document, DocumentMember::JwksUri, None) else { return };
    let document = keys::without_byte_order_mark(document);
    // Skipped values stay raw: their strings, numbers and depth need no representation.
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(document).expect("an accepted document is an object");
    let text = |name: &str| serde_json::from_str::<String>(members[name].get()).expect("a string");
    assert_eq!(text("issuer"), ISSUER);
    assert_eq!(text("jwks_uri"), endpoint.as_str());
    assert!(endpoint.as_str().to_ascii_lowercase().starts_with("https://"), "{endpoint}");
}

/// Parses lines as the caching headers of a response. The resulting times are in order and within the policy.
///
/// # Panics
///
/// If they are not.
pub fn cache_control(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for (at, line) in lines.split(|byte| *byte == b'\n').take(10).enumerate() {
        let names: [HeaderName; 5] = [CACHE_CONTROL, AGE, RETRY_AFTER, ETAG, DATE];
        if let (Some(name), Ok(value)) = (names.get(at % 5), HeaderValue::from_bytes(line)) {
            headers.append(name, value);
        }
    }
    let policy = RefreshPolicy::new();
    let now = Monotonic::from_origin(Duration::from_secs(1000));
    let remaining = Freshness::from_headers(&headers).remaining();
    let _ = retry_after(&headers);
    for (jitter, phase) in [(0, Phase::First), (u32::MAX / 2, Phase::Later), (u32::MAX, Phase::First)] {
        let sample = Sample { first: Jitter(jitter), second: Jitter(u32::MAX - jitter) };
        let times = Times::new(remaining, &policy, phase, now, sample);
        assert!(
            now <= times.refresh_at && times.refresh_at <= times.stale_at && times.stale_at <= times.expires_at,
            "{times:?}"
        );
        let longest = policy.max_refresh_interval.unwrap_or(policy.refresh_interval).max(policy.refresh_interval);
        assert!(times.stale_at <= now.saturating_add(longest), "{times:?}");
    }
}

/// One event of the state machine, with the time before it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The event; its remainder by thirteen selects the kind.
    pub event: u8,
    /// Milliseconds that pass before the event.
    pub pause: u32,
    /// The random numbers of the step.
    pub sample: (u32, u32),
    /// A duration in seconds, for the events that have one.
    pub span: Option<u32>,
}

/// Runs the state machine through events. There are never two fetches at once, and until it closes either a fetch is in
/// flight or a timer is armed.
///
/// # Panics
///
/// If an invariant is violated.
pub fn refresh_machine(steps: impl IntoIterator<Item = Step>) {
    let mut machine = Refresh::new(RefreshPolicy::new());
    let mut now = Monotonic::from_origin(Duration::from_secs(1000));
    let mut in_flight: Option<u64> = None;
    for step in steps {
        now = now.saturating_add(Duration::from_millis(u64::from(step.pause)));
        let sample = Sample { first: Jitter(step.sample.0), second: Jitter(step.sample.1) };
        let event = event(step, machine.generation());
        let interrupted = matches!(event, Event::Interrupted(_));
        if interrupted || matches!(event, Event::Finished { .. }) {
            in_flight = None;
        }
        for action in machine.step(event, now, sample) {
            match action {
                Action::Fetch(order) => {
                    assert!(!interrupted, "a fetch is ordered from a task that has ended");
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
            Activity::NotStarted | Activity::Closed => assert_eq!(machine.wake_at(), None),
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
    match step.event % 13 {
        0 => Event::Begin,
        1 => Event::UnknownKid,
        2 => Event::FetchNow(RefreshCause::Reload),
        3 => Event::FetchNow(RefreshCause::Moved),
        4 => finished(Outcome::Loaded { remaining: span, change: Change::Changed }),
        5 => finished(Outcome::Loaded { remaining: span, change: Change::Same }),
        6 => finished(Outcome::NotModified { remaining: span }),
        7 => finished(Outcome::Failed { error: DOWN, retry_after: span }),
        10 => Event::AbsentKid,
        11 => Event::InvalidSignature,
        8 => Event::Interrupted(if step.span.is_some() { RefreshError::Interrupted } else { DOWN }),
        9 if step.span == Some(0) => Event::Close,
        9 if step.span == Some(1) => Event::Expire,
        _ => Event::Timer,
    }
}

const ISSUER: &str = "https://as.example/";
const DOWN: RefreshError = RefreshError::Network { error: FetchError::Connect };
