//! `TestNetwork`, and `Fetch` for a test issuer: requests to test issuers without a network.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::clock::Clock;
use crate::fetch::{Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse, FormRequest};
use crate::testing::issuer::TestIssuer;
use crate::testing::respond::{self, INTROSPECT, Reply};

/// Several test issuers behind one [`Fetch`], each at its own URLs.
///
/// A single [`TestIssuer`] implements [`Fetch`] itself. An unknown path at the host of an issuer returns 404. A request to
/// any other host fails with [`FetchError::Connect`].
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
    /// Creates a network of these issuers.
    #[must_use]
    pub fn new<'i>(issuers: impl IntoIterator<Item = &'i TestIssuer>) -> Self {
        Self(issuers.into_iter().cloned().collect())
    }
}

impl Fetch for TestNetwork {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        send(reply(&self.0, &request), request.max_bytes)
    }

    fn post(&self, request: FormRequest) -> FetchFuture {
        send(reply_to_form(&self.0, &request), request.max_bytes)
    }

    /// Returns `true`: no connection is opened.
    fn connects_to_public_addresses_only(&self) -> bool {
        true
    }
}

impl Fetch for TestIssuer {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        send(reply(std::slice::from_ref(self), &request), request.max_bytes)
    }

    fn post(&self, request: FormRequest) -> FetchFuture {
        send(reply_to_form(std::slice::from_ref(self), &request), request.max_bytes)
    }

    /// Returns `true`: no connection is opened.
    fn connects_to_public_addresses_only(&self) -> bool {
        true
    }
}

/// Returns the response, which is determined when the request is made, not at the first poll.
fn send(reply: Option<(Reply, Arc<dyn Clock>)>, max_bytes: usize) -> FetchFuture {
    Box::pin(async move {
        let (reply, clock) = reply.ok_or(FetchError::Connect)?;
        let (parts, body) = reply.arrive(clock).await.ok_or(FetchError::Connect)?.into_parts();
        if body.len() > max_bytes {
            return Err(FetchError::TooLarge);
        }
        Ok(FetchResponse::new(parts.status, parts.headers, body))
    })
}

/// Returns the reply of the issuer at the host of the URL, and its clock. Returns `None` if no issuer has that host.
fn reply(issuers: &[TestIssuer], request: &FetchRequest) -> Option<(Reply, Arc<dyn Clock>)> {
    let url = request.endpoint.as_str();
    let mut host = None;
    for issuer in issuers {
        for endpoint in issuer.endpoints() {
            if let Some(document) = endpoint.document(url) {
                return Some((issuer.shared().answer(&endpoint, document, &request.headers), issuer.clock()));
            }
            if respond::origin(&endpoint.base) == respond::origin(url) {
                host = Some(issuer);
            }
        }
    }
    let not_found = || respond::response(StatusCode::NOT_FOUND, Bytes::new());
    host.map(|issuer| (issuer.shared().unless_outage(not_found), issuer.clock()))
}

/// Returns the reply of the issuer whose introspection endpoint has the URL, and its clock.
fn reply_to_form(issuers: &[TestIssuer], request: &FormRequest) -> Option<(Reply, Arc<dyn Clock>)> {
    let url = request.endpoint.as_str();
    for issuer in issuers {
        let mut urls = issuer.endpoints().into_iter().map(|endpoint| endpoint.url(INTROSPECT));
        if urls.any(|endpoint| endpoint == url) {
            return Some((issuer.introspection_reply(&request.headers, &request.body), issuer.clock()));
        }
    }
    let hosts = |issuer: &&TestIssuer| {
        issuer.endpoints().iter().any(|endpoint| respond::origin(&endpoint.base) == respond::origin(url))
    };
    let issuer = issuers.iter().find(hosts)?;
    let not_found = || respond::response(StatusCode::NOT_FOUND, Bytes::new());
    Some((issuer.shared().unless_outage(not_found), issuer.clock()))
}
