//! `TestServer`: a test issuer on loopback.

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

/// A [`TestIssuer`] that listens on loopback, over plain HTTP/1.1, until it is shut down or dropped.
///
/// | path | |
/// |---|---|
/// | `/.well-known/jwks.json` | the key set |
/// | `/.well-known/openid-configuration`, `/.well-known/oauth-authorization-server` | the discovery document |
/// | `/oauth/token` | tokens for registered clients |
///
/// The token endpoint takes `grant_type=client_credentials`, `client_id`, `client_secret` (or both as HTTP Basic),
/// `audience`, and optionally `scope` and `organization`, as JSON or as a form. Its tokens and its errors have the form
/// of Auth0's: `sub` is `{client_id}@clients`, and `aud` becomes an array with the `/userinfo` URL when `scope` asks
/// for `openid`. A request whose `Host` is one of the issuer's domains is answered under that name.
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

/// On loopback.
impl TestIssuer {
    /// Listens on `127.0.0.1` at a port that is free.
    ///
    /// An issuer from [`TestIssuer::new`] is named by its URL from now on; one with a name of its own keeps it, while
    /// its `jwks_uri` and token endpoint move to the server. Handles made before keep what they say.
    ///
    /// # Errors
    ///
    /// When the port can't be opened.
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

    /// Listens on this address; port 0 means a free one.
    ///
    /// # Errors
    ///
    /// When the port can't be opened.
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
    /// The issuer under its present name, to make tokens and faults with.
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

    /// Where it listens, as a URL with a slash at the end.
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

    /// Where it listens, as an address.
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

    /// Closes the port and every connection, and returns when all its tasks are gone.
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
        // It always ends as cancelled, which is what we want.
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
                connections.spawn(converse(stream, issuer.clone()));
            }
            // Out of file descriptors, or the client has gone: neither ends the server.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn converse(stream: TcpStream, issuer: TestIssuer) {
    let service = service_fn(move |request| {
        let issuer = issuer.clone();
        async move { endpoints::answer(&issuer, request).await }
    });
    // A connection that breaks concerns its client alone, who sees it.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
