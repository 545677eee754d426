//! The test issuers as a network in memory.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::clock::Clock;
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
    let max_bytes = request.max_bytes;
    Box::pin(async move {
        let (reply, clock) = reply.ok_or(FetchError::Connect)?;
        let (parts, body) = reply.arrive(clock).await.ok_or(FetchError::Connect)?.into_parts();
        if body.len() > max_bytes {
            return Err(FetchError::TooLarge);
        }
        Ok(FetchResponse::new(parts.status, parts.headers, body))
    })
}

/// What the host of the URL says, and the clock on which it says it; `None` without such a host.
fn reply(issuers: &[TestIssuer], request: &FetchRequest) -> Option<(Reply, Arc<dyn Clock>)> {
    let url = request.endpoint.as_str();
    let mut host = None;
    for issuer in issuers {
        for face in issuer.faces() {
            if let Some(document) = face.document(url) {
                return Some((issuer.tenant().answer(&face, document, &request.headers), issuer.clock()));
            }
            if respond::origin(&face.base) == respond::origin(url) {
                host = Some(issuer);
            }
        }
    }
    let not_found = || respond::response(StatusCode::NOT_FOUND, Bytes::new());
    host.map(|issuer| (issuer.tenant().unless_out(not_found), issuer.clock()))
}
