//! The head of a request, which the authenticator and functions of the application receive.

use std::fmt;
use std::sync::OnceLock;

use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

use crate::request::{Host, HostError};

/// The borrowed head of a request: method, target, version, headers and extensions, without the body.
///
/// ```
/// use http::Request;
/// use tower_bearer::request::RequestHead;
///
/// let request = Request::get("/orders").header("host", "acme.api.example:8443").body("text")?;
/// let head = RequestHead::new(&request);
/// assert_eq!(head.host().map(|host| host.as_str()), Some("acme.api.example"));
///
/// let (parts, _body) = request.into_parts();
/// assert_eq!(RequestHead::from_parts(&parts).uri(), "/orders");
///
/// let doubled = Request::get("/").header("host", "a.example").header("host", "b.example").body(())?;
/// assert_eq!(RequestHead::new(&doubled).host(), None);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct RequestHead<'r> {
    method: &'r Method,
    target: &'r Uri,
    version: Version,
    headers: &'r HeaderMap,
    extensions: &'r Extensions,
    /// Read when it is first needed, because most requests do not need it.
    host: OnceLock<Result<Option<Host>, HostError>>,
}

impl<'r> RequestHead<'r> {
    /// Borrows the head of a request.
    #[must_use]
    pub fn new<B>(request: &'r Request<B>) -> Self {
        Self {
            method: request.method(),
            target: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
            host: OnceLock::new(),
        }
    }

    /// Borrows the head of a request that is separated from its body.
    #[must_use]
    pub fn from_parts(parts: &'r Parts) -> Self {
        Self {
            method: &parts.method,
            target: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
            host: OnceLock::new(),
        }
    }

    /// Returns the same head for a request whose host is read from somewhere else.
    pub(crate) fn with_host(&self, host: Host) -> Self {
        Self { host: OnceLock::from(Ok(Some(host))), ..*self }
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

    /// Returns the version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
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

    /// Returns the host that the client requested, if the request names exactly one well-formed host. [`Host::from_request`]
    /// also returns why there is none.
    ///
    /// # Security
    ///
    /// The client chooses the host, unless a proxy in front of the service sets or checks it.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.read_host().ok().flatten()
    }

    /// Returns the host, or why it cannot be determined.
    pub(crate) fn read_host(&self) -> Result<Option<&Host>, HostError> {
        let host = self.host.get_or_init(|| Host::from_request(self.target, self.headers));
        host.as_ref().map(Option::as_ref).map_err(|error| *error)
    }
}

/// Shows no header values and no query, because they may contain secrets.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.target.path())
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}
