//! The head of a request: what the application's own policies see of it.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::request::{Host, HostError};

/// Method, target, headers, extensions and host of a request, borrowed; never its body.
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
    /// Looks at a request, and finds its host as [`Host::from_request`] does.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host cannot be told.
    pub fn new<B>(request: &'r Request<B>) -> Result<Self, HostError> {
        let host = Host::from_request(request.uri(), request.headers())?;
        Ok(Self::with_host(request, host))
    }

    /// Looks at a request whose host has been found.
    pub(crate) fn with_host<B>(request: &'r Request<B>, host: Option<Host>) -> Self {
        Self {
            method: request.method(),
            target: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            host,
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'r Method {
        self.method
    }

    /// The request target.
    #[must_use]
    pub fn uri(&self) -> &'r Uri {
        self.target
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'r HeaderMap {
        self.headers
    }

    /// What outer layers know of the request.
    #[must_use]
    pub fn extensions(&self) -> &'r Extensions {
        self.extensions
    }

    /// The host that the client asked for, if the request names one.
    ///
    /// # Security
    ///
    /// A client chooses it, unless the front door pins it.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }
}

/// Shows no header values and no query: they may hold secrets.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.target.path())
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
