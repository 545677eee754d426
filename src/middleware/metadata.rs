//! `MetadataService`: serves the metadata document of a protected resource.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::metadata::ProtectedResourceMetadata;

/// Responds to `GET` and `HEAD` with the document of a [`ProtectedResourceMetadata`] (RFC 9728 §3.2), and to other methods with
/// 405. The service does not check the path: the router must pass only requests for [`ProtectedResourceMetadata::path`] to it.
///
/// In axum, `ProtectedResourceMetadata` is a handler itself: `.route(metadata.path(), get(metadata.clone()))`.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower::ServiceExt;
/// use tower_bearer::metadata::ProtectedResourceMetadata;
/// use tower_bearer::middleware::MetadataService;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let metadata = ProtectedResourceMetadata::new("https://api.northwind.com/mcp", ["https://northwind.eu.auth0.com/"])?;
/// // The body type is that of the server.
/// let service = MetadataService::<Full<Bytes>>::new(&metadata);
/// let response = service.oneshot(Request::get(metadata.path()).body(())?).await?;
/// assert_eq!(response.headers()["content-type"], "application/json");
/// # Ok(()) }
/// ```
pub struct MetadataService<B> {
    document: Bytes,
    body: PhantomData<fn() -> B>,
}

impl<B> MetadataService<B> {
    /// Creates a service for this document.
    #[must_use]
    pub fn new(metadata: &ProtectedResourceMetadata) -> Self {
        Self { document: metadata.to_json(), body: PhantomData }
    }
}

impl<ReqB, B: From<Bytes>> Service<Request<ReqB>> for MetadataService<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let response = match *request.method() {
            Method::GET => document(self.document.clone()),
            Method::HEAD => document(Bytes::new()),
            _ => {
                let mut response = Response::new(B::from(Bytes::new()));
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        };
        ready(Ok(response))
    }
}

/// Returns the document as a response that may be cached for an hour. Authorization servers change far less often.
pub(crate) fn document<B: From<Bytes>>(json: Bytes) -> Response<B> {
    let mut response = Response::new(B::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

impl<B> Clone for MetadataService<B> {
    fn clone(&self) -> Self {
        Self { document: self.document.clone(), body: PhantomData }
    }
}

impl<B> fmt::Debug for MetadataService<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataService").finish_non_exhaustive()
    }
}
