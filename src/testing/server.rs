//! `TestServer`: an HTTP server on loopback for a test issuer.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::testing::endpoints;
use crate::testing::issuer::TestIssuer;

/// An HTTP/1.1 server on loopback for a [`TestIssuer`]. It runs until it is shut down or dropped.
///
/// | path | |
/// |---|---|
/// | `/.well-known/jwks.json` | the key set |
/// | `/.well-known/openid-configuration`, `/.well-known/oauth-authorization-server` | the discovery document |
/// | `/oauth/token` | tokens for registered clients |
/// | `/oauth/introspect` | introspection of opaque tokens and JWTs |
///
/// The token endpoint accepts JSON or a form with `grant_type=client_credentials`, `client_id`, `client_secret` (or both as
/// HTTP Basic), `audience`, and optionally `scope` and `organization`. Its tokens and errors have the format of Auth0: `sub` is
/// `{client_id}@clients`, and if `scope` contains `openid`, `aud` is an array with the `/userinfo` URL. If the `Host` of a
/// request is one of the issuer's domains, the documents and tokens in the response have the `iss` of this domain.
///
/// ```
/// use tower_bearer::testing::TestIssuer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = TestIssuer::new().serve().await?;
/// let issuer = server.issuer();
/// assert_eq!(issuer.issuer(), server.url()); // http://127.0.0.1:{port}/
/// assert!(issuer.jwks_uri().starts_with(server.url()));
/// server.shutdown().await;
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the server stops when it is dropped"]
pub struct TestServer {
    issuer: TestIssuer,
    url: String,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    connections: Connections,
}

/// Serving on loopback.
impl TestIssuer {
    /// Starts a server on `127.0.0.1` at a free port.
    ///
    /// The `iss` of an issuer from [`TestIssuer::new`] becomes the URL of the server. An issuer that was created with a given
    /// `iss` keeps it, and only its `jwks_uri` and token endpoint become URLs of the server. Existing clones of the issuer do
    /// not change.
    ///
    /// # Errors
    ///
    /// Returns an error if the port cannot be opened.
    ///
    /// ```
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let server = TestIssuer::auth0("northwind.eu.auth0.com").serve().await?;
    /// assert_eq!(server.issuer().issuer(), "https://northwind.eu.auth0.com/");
    /// assert!(server.issuer().jwks_uri().starts_with("http://127.0.0.1:"));
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn serve(self) -> io::Result<TestServer> {
        self.serve_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts a server on this address. Port 0 means a free port.
    ///
    /// # Errors
    ///
    /// Returns an error if the port cannot be opened.
    ///
    /// ```
    /// use std::net::{Ipv6Addr, SocketAddr};
    /// use tower_bearer::testing::TestIssuer;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let first = TestIssuer::new().serve().await?;
    /// let taken = TestIssuer::new().serve_on(first.address()).await;
    /// assert!(taken.is_err());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn serve_on(self, address: SocketAddr) -> io::Result<TestServer> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}/");
        let issuer = self.served_at(&url);
        let connections = Connections::default();
        let accepting = tokio::spawn(accept(listener, issuer.clone(), connections.clone()));
        Ok(TestServer { issuer, url, address, accepting, connections })
    }
}

impl TestServer {
    /// Returns the issuer with the URLs of this server, to create tokens and simulate outages.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let server = tower_bearer::testing::TestIssuer::new().serve().await?;
    /// let token = server.issuer().token().sign();
    /// server.issuer().rotate();
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn issuer(&self) -> &TestIssuer {
        &self.issuer
    }

    /// Returns the URL of the server, with a trailing slash.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let server = tower_bearer::testing::TestIssuer::new().serve().await?;
    /// assert_eq!(server.url(), format!("http://{}/", server.address()));
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the address of the server.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let server = tower_bearer::testing::TestIssuer::new().serve().await?;
    /// assert!(server.address().ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and every connection, and waits until all tasks of the server have ended.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let server = tower_bearer::testing::TestIssuer::new().serve().await?;
    /// let address = server.address();
    /// server.shutdown().await;
    /// assert!(tokio::net::TcpStream::connect(address).await.is_err());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn shutdown(mut self) {
        self.accepting.abort();
        // The result is always the cancellation.
        drop((&mut self.accepting).await);
        let mut connections = mem::take(&mut *self.connections.lock());
        connections.shutdown().await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.connections.lock().abort_all();
    }
}

/// The tasks of the open connections.
#[derive(Clone, Debug, Default)]
struct Connections(Arc<Mutex<JoinSet<()>>>);

impl Connections {
    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, issuer: TestIssuer, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let mut connections = connections.lock();
                while connections.try_join_next().is_some() {}
                connections.spawn(serve_connection(stream, issuer.clone()));
            }
            // No file descriptors left, or the client has disconnected. The server continues in both cases.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn serve_connection(stream: TcpStream, issuer: TestIssuer) {
    let service = service_fn(move |request| {
        let issuer = issuer.clone();
        async move { endpoints::answer(&issuer, request).await }
    });
    // An error of a connection is visible to its client, and the test needs no more.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
