//! The head of a request, which functions of the application receive.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::request::{Host, HostError};

/// The borrowed head of a request: method, target, headers, extensions and host, without the body.
///
/// ```
/// use http::Request;
/// use tower_bearer::request::RequestHead;
///
/// let request = Request::get("/orders").header("host", "acme.api.example:8443").body(())?;
/// let head = RequestHead::new(&request)?;
/// assert_eq!(head.host().map(|host| host.as_str()), Some("acme.api.example"));
///
/// let doubled = Request::get("/").header("host", "a.example").header("host", "b.example").body(())?;
/// assert!(RequestHead::new(&doubled).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RequestHead<'r> {
    method: &'r Method,
    target: &'r Uri,
    headers: &'r HeaderMap,
    extensions: &'r Extensions,
    host: Option<Host>,
}

impl<'r> RequestHead<'r> {
    /// Borrows the head of a request and determines its host as [`Host::from_request`] does.
    ///
    /// # Errors
    ///
    /// Returns [`HostError`] if the host cannot be determined.
    pub fn new<B>(request: &'r Request<B>) -> Result<Self, HostError> {
        let host = Host::from_request(request.uri(), request.headers())?;
        Ok(Self::with_host(request, host))
    }

    /// Borrows the head of a request whose host is known.
    pub(crate) fn with_host<B>(request: &'r Request<B>, host: Option<Host>) -> Self {
        Self {
            method: request.method(),
            target: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            host,
        }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &'r Method {
        self.method
    }

    /// Returns the request target.
    #[must_use]
    pub fn uri(&self) -> &'r Uri {
        self.target
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &'r HeaderMap {
        self.headers
    }

    /// Returns the extensions, which outer layers may have set.
    #[must_use]
    pub fn extensions(&self) -> &'r Extensions {
        self.extensions
    }

    /// Returns the host that the client requested, if the request names one.
    ///
    /// # Security
    ///
    /// The client chooses the host, unless a proxy in front of the service sets or checks it.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }
}

/// Shows no header values and no query, because they may contain secrets.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.target.path())
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
