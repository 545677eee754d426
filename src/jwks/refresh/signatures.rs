//! The rate limit of fetches after a signature that no known key verifies. Everyone can send such a token, so these fetches
//! have their own limit.

use crate::clock::Monotonic;
use crate::defaults;
use crate::jwks::jitter::{self, Jitter};
use crate::jwks::policy::RefreshPolicy;
use crate::jwks::refresh::requests::PendingRequests;

/// Limits the rate of fetches for invalid signatures to one per [`defaults::INVALID_SIGNATURE_INTERVAL`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InvalidSignatureLimiter {
    last_fetch: Option<Monotonic>,
    /// The part by which the current interval is lengthened at random, so that processes do not fetch together.
    jitter: Jitter,
    /// No follow-up fetch is ever scheduled.
    pub(super) pending: PendingRequests,
}

impl InvalidSignatureLimiter {
    /// Returns the time from which an invalid signature may start a fetch.
    pub(super) fn fetch_from(&self, policy: &RefreshPolicy) -> Monotonic {
        let interval = defaults::INVALID_SIGNATURE_INTERVAL;
        let longest = jitter::percent(interval, 100_u8.saturating_add(policy.jitter_percent));
        let interval = self.jitter.between(interval, longest);
        self.last_fetch.map_or(Monotonic::default(), |last| last.saturating_add(interval))
    }

    /// Records the start of a fetch for invalid signatures.
    pub(super) fn record_fetch(&mut self, now: Monotonic, jitter: Jitter) {
        self.last_fetch = Some(now);
        self.jitter = jitter;
    }
}
