//! The backend over `reqwest` with rustls.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::defaults;
use crate::fetch::address::is_public;
use crate::fetch::lookup::Lookups;
use crate::fetch::{
    BuildClientError, BuildClientErrorKind, Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse,
};

/// Fetches over https with a `reqwest::Client`.
///
/// A host name is looked up by the system's resolver, on a thread of this client. A later attempt joins a lookup that is in
/// flight, so that a name server that does not answer costs one thread per host.
#[derive(Clone, Debug)]
pub struct ReqwestFetch {
    client: reqwest::Client,
    reach: Option<Reach>,
}

/// Says of an address whether it may be connected to.
type Reach = fn(IpAddr) -> bool;

impl ReqwestFetch {
    /// Builds a client that follows no redirects, uses no proxy from the environment, decodes no content coding, and
    /// lets idle connections go before servers usually do.
    ///
    /// # Errors
    ///
    /// [`BuildClientError`] if the system's trust store has no CA certificate.
    pub fn new() -> Result<Self, BuildClientError> {
        Self::builder().build()
    }

    /// A client that trusts no certificate, and so fetches over plain http only.
    pub(super) fn without_trust_store() -> Result<Self, BuildClientError> {
        let reach = None;
        let client = client_builder(reach, Lookups::system()).tls_certs_only([]).build();
        let client = client.map_err(|error| BuildClientError::new(BuildClientErrorKind::TrustStore, error))?;
        Ok(Self { client, reach })
    }

    /// Starts from the same client, and takes what is to be different.
    pub fn builder() -> ReqwestFetchBuilder {
        ReqwestFetchBuilder { roots: Ok(Vec::new()), reach: None }
    }

    /// The same as [`new`](Self::new), trusting besides the system's roots those of a private certificate authority; see
    /// [`ReqwestFetchBuilder::with_root_certificates`].
    ///
    /// ```no_run
    /// use tower_bearer::fetch::ReqwestFetch;
    /// use tower_bearer::{Api, Issuer, Validator};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let fetch = ReqwestFetch::with_root_certificates(std::fs::read("/etc/ssl/company-ca.pem")?)?;
    /// let api = Api::new("https://api.northwind.com", Issuer::oidc("https://id.northwind.internal"));
    /// let validator = Validator::builder(api).with_fetch(fetch).build()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildClientError`] if `pem` holds no certificate or one that cannot be used.
    ///
    /// # Security
    ///
    /// Whoever holds the key of such an authority can stand in for every issuer of the validator that uses this.
    pub fn with_root_certificates(pem: impl AsRef<[u8]>) -> Result<Self, BuildClientError> {
        Self::builder().with_root_certificates(pem).build()
    }

    /// Takes a client of your own: a proxy, a client certificate.
    ///
    /// If it decodes content codings, the limit of a document's size counts what comes out.
    ///
    /// # Security
    ///
    /// Turn redirects off in it: one that it follows is refused here, but only after the other server was asked.
    #[must_use]
    pub fn with_client(client: reqwest::Client) -> Self {
        Self { client, reach: None }
    }
}

/// What a [`ReqwestFetch`] is built from.
///
/// ```no_run
/// use tower_bearer::fetch::ReqwestFetch;
///
/// let fetch = ReqwestFetch::builder()
///     .with_root_certificates(std::fs::read("/etc/ssl/partners-ca.pem")?)
///     .with_public_addresses_only()
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ReqwestFetchBuilder {
    roots: Result<Vec<reqwest::Certificate>, BuildClientError>,
    reach: Option<Reach>,
}

impl ReqwestFetchBuilder {
    /// Trusts besides the system's roots those of a private certificate authority: one or several PEM blocks of
    /// `CERTIFICATE`.
    ///
    /// # Security
    ///
    /// Whoever holds the key of such an authority can stand in for every issuer of the validator that uses this.
    pub fn with_root_certificates(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.roots = self.roots.and_then(|roots| Ok([roots, certificates(pem.as_ref())?].concat()));
        self
    }

    /// Connects to public addresses only, for issuers that others choose, or name servers that others run.
    ///
    /// Without it, a `jwks_uri` or a name that its owner points inwards makes this process ask whatever it can reach: its
    /// own ports, the machines around it, a cloud's metadata service. With it, of the addresses that a name has, only public
    /// ones are connected to. They are judged at each connection, so that it does not help to change them later (DNS
    /// rebinding); an address that stands in the URL itself is judged just so. If none is left there is no connection, and
    /// the fetch is a [`FetchError::AddressRefused`].
    ///
    /// Not public are loopback, private (RFC 1918, RFC 4193), link-local, shared (RFC 6598), multicast, reserved,
    /// benchmarking and documentation addresses, those of the protocols themselves (RFC 6890), the few at which clouds
    /// answer their machines, and IPv6 addresses that carry one of these (mapped, NAT64, 6to4, Teredo).
    ///
    /// # Security
    ///
    /// It says nothing about public addresses that a firewall leads inwards. It is a matter of this client alone: one of
    /// [your own](ReqwestFetch::with_client) and any other [`Fetch`] connect to what they like, and so does a proxy, which
    /// looks names up by itself.
    pub fn with_public_addresses_only(mut self) -> Self {
        self.reach = Some(is_public);
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// [`BuildClientError`] if the PEM of an authority holds no certificate or one that cannot be used, or if there is no CA
    /// certificate at all, neither in the system's trust store nor here.
    pub fn build(self) -> Result<ReqwestFetch, BuildClientError> {
        self.build_with(Lookups::system())
    }

    fn build_with(self, lookups: Lookups) -> Result<ReqwestFetch, BuildClientError> {
        let builder = client_builder(self.reach, lookups);
        let roots = self.roots?;
        // With roots of its own a client needs none of the system's.
        let (builder, kind) = match roots.is_empty() {
            true => (builder, BuildClientErrorKind::TrustStore),
            false => (builder.tls_certs_merge(roots), BuildClientErrorKind::Certificate),
        };
        let client = builder.build().map_err(|error| BuildClientError::new(kind, error))?;
        Ok(ReqwestFetch { client, reach: self.reach })
    }
}

impl BuildClientError {
    fn new(kind: BuildClientErrorKind, cause: reqwest::Error) -> Self {
        Self { kind, cause: Some(Arc::new(cause)) }
    }
}

/// Reads at least one certificate.
fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, BuildClientError> {
    match reqwest::Certificate::from_pem_bundle(pem) {
        Ok(found) if found.is_empty() => {
            Err(BuildClientError { kind: BuildClientErrorKind::NoCertificate, cause: None })
        }
        Ok(found) => Ok(found),
        Err(error) => Err(BuildClientError::new(BuildClientErrorKind::Certificate, error)),
    }
}

impl Fetch for ReqwestFetch {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        let Self { client, reach } = self.clone();
        Box::pin(async move {
            let built = client.get(request.endpoint.as_str()).headers(request.headers).build();
            let get = built.map_err(|error| classify(&error))?;
            let asked = get.url().clone();
            // Only names are looked up.
            if let (Some(reach), Some(address)) = (reach, literal(&asked))
                && !reach(address)
            {
                return Err(FetchError::AddressRefused);
            }
            let response = client.execute(get).await.map_err(|error| classify(&error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            if *response.url() != asked {
                // The client has followed a redirect: hand it over as the redirect that it was.
                return Ok(FetchResponse::new(StatusCode::FOUND, headers, Bytes::new()));
            }
            // An error page is not read: however long or slow it is, its status and `Retry-After` count.
            let body = if status == StatusCode::OK { read(response, request.max_bytes).await? } else { Bytes::new() };
            Ok(FetchResponse::new(status, headers, body))
        })
    }
}

/// Looks names up as the system does, and keeps the addresses that may be connected to.
struct Resolver {
    lookups: Lookups,
    reach: Option<Reach>,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (lookups, reach) = (self.lookups.clone(), self.reach);
        Box::pin(async move {
            let found = lookups.addresses(name.as_str()).await?;
            let is_allowed = |address: &SocketAddr| reach.is_none_or(|reach| reach(address.ip()));
            let kept: Vec<SocketAddr> = found.iter().copied().filter(is_allowed).collect();
            if kept.is_empty() {
                return Err(Box::from(Unreachable));
            }
            let kept: reqwest::dns::Addrs = Box::new(kept.into_iter());
            Ok(kept)
        })
    }
}

/// A name has addresses, and none of them may be connected to.
#[derive(Debug)]
struct Unreachable;

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FetchError::AddressRefused.fmt(f)
    }
}

impl Error for Unreachable {}

/// The address that stands in a URL in place of a name, in whatever notation: the URL is in its normal form.
fn literal(url: &reqwest::Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn client_builder(reach: Option<Reach>, lookups: Lookups) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(Resolver { lookups, reach })
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(defaults::CONNECT_TIMEOUT)
        .pool_idle_timeout(defaults::POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(1)
        .retry(reqwest::retry::never())
        .referer(false)
        // An application may turn these features on for clients of its own.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
}

/// Reads the body while counting, so that a longer one is dropped with its connection.
async fn read(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, FetchError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        if body.len().saturating_add(chunk.len()) > max_bytes {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Sorts errors by what can be done about them: only a connection that closed or could not be made is tried again.
fn classify(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::Timeout
    } else if error.is_connect() {
        if has_cause::<Unreachable>(error, |_| true) {
            FetchError::AddressRefused
        } else if has_cause(error, is_handshake) {
            FetchError::Tls
        } else {
            FetchError::Connect
        }
    } else if error.is_request() {
        // The connection stood, the request went out or would have, and no response began.
        FetchError::Closed
    } else {
        FetchError::Other
    }
}

fn has_cause<E: Error + 'static>(error: &reqwest::Error, is_it: fn(&E) -> bool) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.downcast_ref::<E>().is_some_and(is_it) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// A handshake that fails surfaces as an I/O error of invalid data, or of an early end; what fails below it has kinds of
/// its own (refused, unreachable, reset), and name resolution has none of these two.
///
/// Looks into an error that wraps another: `source` would step over the inner one.
fn is_handshake(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) || inner.is_some_and(is_handshake)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use crate::fetch::Endpoint;
    use crate::fetch::lookup::tests::SilentServer;

    use super::*;

    // Self-signed, P-256, of nobody.
    const ROOT: &str = include_str!("../../tests/data/tls/root.pem");

    #[test]
    fn takes_roots_in_pem_and_says_what_is_wrong_with_others() {
        use BuildClientErrorKind::{Certificate, NoCertificate};

        assert!(ReqwestFetch::with_root_certificates(ROOT).is_ok());
        assert!(ReqwestFetch::with_root_certificates(format!("{ROOT}\n{ROOT}")).is_ok());
        let broken = ROOT.replacen("MII", "MIJ", 1);
        for (pem, kind) in [
            ("", NoCertificate),
            ("no pem", NoCertificate),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", Certificate),
            (&broken, Certificate),
        ] {
            let alone = ReqwestFetch::with_root_certificates(pem).map(drop).expect_err(pem);
            assert_eq!((alone.kind(), alone.source().is_some()), (kind, kind == Certificate), "{pem:?}");
            for builder in [
                ReqwestFetch::builder().with_root_certificates(ROOT).with_root_certificates(pem),
                ReqwestFetch::builder().with_root_certificates(pem).with_root_certificates(ROOT),
            ] {
                assert_eq!(builder.build().map(drop), Err(alone.clone()), "{pem:?}");
            }
        }
    }

    /// A server on loopback that counts who comes.
    async fn server() -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let _read = stream.read(&mut [0; 1024]).await;
                let _written = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
            }
        });
        (port, accepted)
    }

    async fn get(reach: Option<Reach>, host: &str, port: u16) -> Result<Bytes, FetchError> {
        let builder = ReqwestFetchBuilder { reach, ..ReqwestFetch::builder() };
        let endpoint = Endpoint::dangerous_allow_http(&format!("http://{host}:{port}/")).expect("a URL");
        let response = builder.build().expect("a client").fetch(FetchRequest::new(endpoint, 100)).await;
        response.map(|response| response.body)
    }

    /// However loopback is written: names are looked up, numbers are not.
    const LOOPBACK: [&str; 9] = [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "0.0.0.0",
    ];

    #[tokio::test]
    async fn connects_to_no_address_out_of_reach() {
        let (port, accepted) = server().await;
        for host in LOOPBACK.into_iter().chain(["[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]) {
            assert_eq!(get(Some(is_public), host, port).await, Err(FetchError::AddressRefused), "{host}");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 0, "nobody came");
        for (number, host) in LOOPBACK.into_iter().enumerate() {
            assert_eq!(get(None, host, port).await.as_deref(), Ok(&b"{}"[..]), "{host}");
            assert_eq!(accepted.load(Ordering::SeqCst), number + 1);
        }
    }

    #[tokio::test]
    async fn connects_to_the_addresses_within_reach() {
        let (port, accepted) = server().await;
        // Where a name has addresses of both kinds, one kind is left.
        for host in ["localhost", "127.0.0.1", "127.1"] {
            assert_eq!(get(Some(|address| address.is_ipv4()), host, port).await.as_deref(), Ok(&b"{}"[..]), "{host}");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 3);
        assert_eq!(get(Some(|address| address.is_ipv6()), "127.0.0.1", port).await, Err(FetchError::AddressRefused));
        // What has no address at all is not refused, but not there.
        assert_eq!(get(Some(is_public), "no-such-name.invalid", port).await, Err(FetchError::Connect));
        assert_eq!(accepted.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn attempts_without_an_answer_of_the_name_server_share_one_lookup() {
        let (port, accepted) = server().await;
        let names = SilentServer::new();
        let client = ReqwestFetch::builder().build_with(names.lookups.clone()).expect("a client");
        let endpoint = Endpoint::dangerous_allow_http(&format!("http://silent.test:{port}/")).expect("a URL");
        let attempt = || tokio::spawn(client.fetch(FetchRequest::new(endpoint.clone(), 100)));
        for _ in 0..10 {
            let given_up = attempt();
            tokio::task::yield_now().await;
            given_up.abort();
            assert!(given_up.await.expect_err("no address yet").is_cancelled());
        }
        let last = attempt();
        tokio::task::yield_now().await;
        names.answer(Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]));
        let response = last.await.expect("no panic");
        assert_eq!(response.map(|response| response.body).as_deref(), Ok(&b"{}"[..]));
        assert_eq!((names.begun(), accepted.load(Ordering::SeqCst)), (1, 1));
    }
}
