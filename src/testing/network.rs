//! The test issuers as a network in memory.

use bytes::Bytes;
use http::StatusCode;

use crate::fetch::{Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse};
use crate::testing::issuer::TestIssuer;
use crate::testing::respond::{self, Reply};

/// Several test issuers behind one [`Fetch`], each at its own URLs.
///
/// A single [`TestIssuer`] is a [`Fetch`] by itself. A path that nobody publishes gets 404 at a host that exists here,
/// and [`FetchError::Connect`] elsewhere.
///
/// ```
/// use std::sync::Arc;
/// use tower_bearer::fetch::Fetch;
/// use tower_bearer::testing::{TestIssuer, TestNetwork};
///
/// let ours = TestIssuer::new();
/// let theirs = TestIssuer::auth0("northwind.eu.auth0.com");
/// let network: Arc<dyn Fetch> = Arc::new(TestNetwork::new([&ours, &theirs]));
/// ```
#[derive(Clone, Debug)]
pub struct TestNetwork(Vec<TestIssuer>);

impl TestNetwork {
    /// A network of these issuers.
    #[must_use]
    pub fn new<'i>(issuers: impl IntoIterator<Item = &'i TestIssuer>) -> Self {
        Self(issuers.into_iter().cloned().collect())
    }
}

impl Fetch for TestNetwork {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        fetch(&self.0, &request)
    }
}

impl Fetch for TestIssuer {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        fetch(std::slice::from_ref(self), &request)
    }
}

fn fetch(issuers: &[TestIssuer], request: &FetchRequest) -> FetchFuture {
    // The outage is the one of this moment, not of the first poll.
    let reply = reply(issuers, request);
    let clock = issuers.first().map(TestIssuer::clock);
    let max_bytes = request.max_bytes;
    Box::pin(async move {
        let response = match reply {
            Reply::Never => std::future::pending().await,
            Reply::Refused => return Err(FetchError::Connect),
            Reply::At(wait, response) => {
                if let Some(clock) = clock.filter(|_| !wait.is_zero()) {
                    clock.sleep_until(clock.monotonic().saturating_add(wait)).await;
                }
                response
            }
        };
        let (parts, body) = response.into_parts();
        if body.len() > max_bytes {
            return Err(FetchError::TooLarge);
        }
        Ok(FetchResponse::new(parts.status, parts.headers, body))
    })
}

fn reply(issuers: &[TestIssuer], request: &FetchRequest) -> Reply {
    let url = request.endpoint.as_str();
    let mut known_host = None;
    for issuer in issuers {
        for face in issuer.faces() {
            if let Some(document) = face.document(url) {
                return issuer.tenant().answer(&face, document, &request.headers);
            }
            if respond::origin(&face.base) == respond::origin(url) {
                known_host = Some(issuer);
            }
        }
    }
    known_host.map_or(Reply::Refused, |issuer| {
        issuer.tenant().unless_out(|| respond::response(StatusCode::NOT_FOUND, Bytes::new()))
    })
}
