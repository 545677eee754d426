//! `Location`: the URL of the introspection endpoint, configured or from the discovery document.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Monotonic;
use crate::defaults;
use crate::fetch::{Endpoint, Exchange, Transport};
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
}

#[derive(Clone, Debug)]
struct Found {
    endpoint: Endpoint,
    at: Monotonic,
    /// Whether the endpoint has responded that it does not exist.
    is_gone: bool,
}

impl Locator {
    pub(super) fn new(location: Location, policy: RefreshPolicy) -> Self {
        Self { location, policy: Arc::new(policy), found: Mutex::default() }
    }

    /// Returns the endpoint. Reads the discovery document if it is not known, is a day old, or has moved. If that fails, a known endpoint
    /// stays in use.
    pub(super) async fn endpoint(&self, exchange: Exchange) -> Result<Endpoint, Unavailable> {
        let discovery = match &self.location {
            Location::At(endpoint) => return Ok(endpoint.clone()),
            Location::Discovered(discovery) => discovery,
        };
        let now = exchange.clock.monotonic();
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lifetime = |found: &Found| {
            if found.is_gone { defaults::DISCOVERY_RECHECK_MOVED } else { defaults::DISCOVERY_INTERVAL }
        };
        if let Some(found) = found.as_ref().filter(|found| now < found.at.saturating_add(lifetime(found))) {
            return Ok(found.endpoint.clone());
        }
        let result = jwks::discover_introspection_endpoint(exchange, Arc::clone(&self.policy), discovery).await;
        let endpoint = match (result, found) {
            (Ok(endpoint), _) => endpoint,
            (Err(_), Some(found)) => found.endpoint,
            (Err((error, retry_after)), None) => {
                return Err(Unavailable::new(IntrospectionError::Discovery { error }, retry_after));
            }
        };
        let found = Found { endpoint: endpoint.clone(), at: now, is_gone: false };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(endpoint)
    }

    /// Records that the endpoint does not exist at its URL, so that the document is read again, but not more than once a minute.
    pub(super) fn record_gone(&self) {
        if let Some(found) = &mut *self.found.lock().unwrap_or_else(PoisonError::into_inner) {
            found.is_gone = true;
        }
    }
}
