//! `Location`: the URL of the introspection endpoint, configured or from the discovery document.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Monotonic;
use crate::defaults;
use crate::fetch::{Endpoint, Exchange, Transport, within};
use crate::introspection::error::{IntrospectionError, Unavailable};
use crate::jwks::{self, Discovery, RefreshPolicy};

/// Where the endpoint of an issuer is.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    At(Endpoint),
    Discovered(Discovery),
}

impl Location {
    /// Returns whether the first request needs TLS.
    pub(crate) fn transport(&self) -> Transport {
        let endpoint = match self {
            Self::At(endpoint) => endpoint,
            Self::Discovered(discovery) => discovery.openid(),
        };
        if endpoint.is_https() { Transport::Https } else { Transport::PlainHttp }
    }
}

/// Finds the endpoint. A discovered one is stored.
#[derive(Debug)]
pub(super) struct Locator {
    location: Location,
    policy: Arc<RefreshPolicy>,
    found: Mutex<Option<Found>>,
    /// Only one call at a time reads the document.
    reading: tokio::sync::Mutex<LastReading>,
    /// How often a call has read the document.
    readings: AtomicU64,
}

#[derive(Clone, Debug)]
struct Found {
    endpoint: Endpoint,
    at: Monotonic,
    /// Whether the endpoint has responded that it does not exist.
    is_gone: bool,
}

/// Why the last reading failed, if it did.
type LastReading = Option<Unavailable>;

impl Locator {
    pub(super) fn new(location: Location, policy: RefreshPolicy) -> Self {
        Self {
            location,
            policy: Arc::new(policy),
            found: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            readings: AtomicU64::new(0),
        }
    }

    /// Returns the endpoint. Reads the discovery document if it is not known, is a day old, or has moved. All calls
    /// share the reading and its failure. If it fails or takes half of the time of this call, a known endpoint stays in
    /// use.
    pub(super) async fn endpoint(&self, exchange: Exchange) -> Result<Endpoint, Unavailable> {
        let discovery = match &self.location {
            Location::At(endpoint) => return Ok(endpoint.clone()),
            Location::Discovered(discovery) => discovery,
        };
        let now = exchange.clock.monotonic();
        let readings = self.readings.load(Ordering::Relaxed);
        let known = match self.found() {
            Some(found) if found.is_fresh(now) => return Ok(found.endpoint),
            found => found.map(|found| found.endpoint),
        };
        let Some(known) = known else {
            let mut last = self.reading.lock().await;
            if let Some(found) = self.found() {
                return Ok(found.endpoint);
            }
            if let Some(failure) = last.filter(|_| self.readings.load(Ordering::Relaxed) != readings) {
                return Err(failure);
            }
            let result = jwks::discover_introspection_endpoint(exchange, Arc::clone(&self.policy), discovery).await;
            let result = result
                .map_err(|(error, retry_after)| Unavailable::new(IntrospectionError::Discovery { error }, retry_after));
            *last = result.as_ref().err().copied();
            self.readings.fetch_add(1, Ordering::Relaxed);
            return result.inspect(|endpoint| self.record(endpoint.clone(), now));
        };
        let Ok(_reading) = self.reading.try_lock() else { return Ok(known) };
        if let Some(found) = self.found().filter(|found| found.is_fresh(now)) {
            return Ok(found.endpoint);
        }
        let half = exchange.deadline.saturating_since(now).mul_f32(0.5);
        let exchange = Exchange { deadline: now.saturating_add(half), ..exchange };
        let timer = exchange.clock.sleep_until(exchange.deadline);
        let reading = jwks::discover_introspection_endpoint(exchange, Arc::clone(&self.policy), discovery);
        let endpoint = within(reading, timer).await.and_then(Result::ok).unwrap_or(known);
        self.record(endpoint.clone(), now);
        Ok(endpoint)
    }

    /// Records that the endpoint does not exist at its URL, so that the document is read again, but not more than once
    /// a minute.
    pub(super) fn record_gone(&self) {
        if let Some(found) = &mut *self.found.lock().unwrap_or_else(PoisonError::into_inner) {
            found.is_gone = true;
        }
    }

    fn record(&self, endpoint: Endpoint, at: Monotonic) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Found { endpoint, at, is_gone: false });
    }

    fn found(&self) -> Option<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Found {
    fn is_fresh(&self, now: Monotonic) -> bool {
        let lifetime = if self.is_gone { defaults::DISCOVERY_RECHECK_MOVED } else { defaults::DISCOVERY_INTERVAL };
        now < self.at.saturating_add(lifetime)
    }
}
