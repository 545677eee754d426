//! `ReqwestFetch`: an implementation of `Fetch` with `reqwest` and rustls.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::defaults;
use crate::fetch::address::is_public;
use crate::fetch::lookup::Lookups;
use crate::fetch::{
    BuildClientError, BuildClientErrorKind, Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse, FormRequest,
};

/// Fetches over https with a `reqwest::Client`.
///
/// Host names are resolved by the system's resolver, on a thread of this client. A later attempt joins a lookup that is still
/// running, so a name server that does not respond blocks one thread per host.
///
/// Clones share one client and its connections.
#[derive(Clone, Debug)]
pub struct ReqwestFetch {
    shared: Arc<Shared>,
}

/// What all clones share.
#[derive(Debug)]
struct Shared {
    client: ArcSwap<reqwest::Client>,
    address_filter: Option<AddressFilter>,
    /// How to build the client again; `None` for a client that the application has built.
    recipe: Option<Recipe>,
}

/// The settings of a client that can be built again.
struct Recipe {
    lookups: Lookups,
    /// The private certificate authorities. The lock is held while a client is built and replaced, so that the client always has
    /// the authorities that are stored here.
    roots: Mutex<Vec<reqwest::Certificate>>,
}

/// Returns whether connections to an address are allowed.
type AddressFilter = fn(IpAddr) -> bool;

impl ReqwestFetch {
    /// Builds a client that follows no redirects, uses no proxy from the environment, decodes no `Content-Encoding`, and closes
    /// idle connections before servers usually do.
    ///
    /// # Errors
    ///
    /// Returns [`BuildClientError`] if the system's trust store has no CA certificate.
    pub fn new() -> Result<Self, BuildClientError> {
        Self::builder().build()
    }

    /// Builds a client that trusts no certificate, so it can fetch over plain http only.
    pub(super) fn without_trust_store() -> Result<Self, BuildClientError> {
        let client = client_builder(None, Lookups::system()).tls_certs_only([]).build();
        let client = client.map_err(|error| BuildClientError::new(BuildClientErrorKind::TrustStore, error))?;
        Ok(Self::from_client(client))
    }

    /// Returns a builder with the settings of [`new`](Self::new).
    pub fn builder() -> ReqwestFetchBuilder {
        ReqwestFetchBuilder { roots: Ok(Vec::new()), address_filter: None }
    }

    /// Uses a client that the application has built, for example with a proxy or a client certificate.
    ///
    /// If the client decodes a `Content-Encoding`, the limit for the size of a document applies to the decoded size.
    ///
    /// # Security
    ///
    /// Disable redirects in the client. If it follows one, the response is rejected, but the request has already been sent to
    /// the other server.
    #[must_use]
    pub fn from_client(client: reqwest::Client) -> Self {
        Self::with_parts(client, None, None)
    }

    fn with_parts(client: reqwest::Client, address_filter: Option<AddressFilter>, recipe: Option<Recipe>) -> Self {
        let shared = Shared { client: ArcSwap::from_pointee(client), address_filter, recipe };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the private certificate authorities by those in `pem`, and reads the system's trust store again. No restart is
    /// needed: all clones use the new certificates from the next fetch on, also the clone in a validator.
    ///
    /// `pem` contains one or more `CERTIFICATE` blocks. Connections that the earlier certificates have verified are not used
    /// again. A fetch in flight is not interrupted. This call reads files, so it blocks the thread for some milliseconds.
    ///
    /// ```no_run
    /// use tower_bearer::fetch::{BuildClientError, ReqwestFetch};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let fetch = ReqwestFetch::builder().with_root_certificates(std::fs::read("/etc/ssl/partners-ca.pem")?).build()?;
    /// // Give a clone to the validator: `Validator::builder(api).with_fetch(fetch.clone())`. When the file has changed:
    /// fetch.replace_root_certificates(std::fs::read("/etc/ssl/partners-ca.pem")?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildClientError`] if `pem` contains no certificate, or one that cannot be used, and if the application has [built the client
    /// itself](Self::from_client). The earlier certificates then stay in use. To remove all of them, call
    /// [`remove_root_certificates`](Self::remove_root_certificates).
    ///
    /// # Security
    ///
    /// As for [`ReqwestFetchBuilder::with_root_certificates`].
    pub fn replace_root_certificates(&self, pem: impl AsRef<[u8]>) -> Result<(), BuildClientError> {
        let replacements = certificates(pem.as_ref())?;
        self.rebuild(|roots| *roots = replacements)
    }

    /// Trusts only the system's trust store from the next fetch on, and reads it again, as
    /// [`replace_root_certificates`](Self::replace_root_certificates) does. An empty PEM text is an error there, since a file may
    /// be empty by accident.
    ///
    /// # Errors
    ///
    /// [`BuildClientError`] if the system's trust store has no CA certificate, and if the application has [built the client
    /// itself](Self::from_client). The earlier certificates then stay in use.
    pub fn remove_root_certificates(&self) -> Result<(), BuildClientError> {
        self.rebuild(Vec::clear)
    }

    /// Reads the system's trust store again, as [`replace_root_certificates`](Self::replace_root_certificates) does, and keeps
    /// the private certificate authorities.
    ///
    /// # Errors
    ///
    /// [`BuildClientError`] if there is no CA certificate at all, and if the application has [built the client
    /// itself](Self::from_client). The earlier certificates then stay in use.
    pub fn reload_trust_store(&self) -> Result<(), BuildClientError> {
        self.rebuild(|_| {})
    }

    fn rebuild(&self, change: impl FnOnce(&mut Vec<reqwest::Certificate>)) -> Result<(), BuildClientError> {
        let own_client = BuildClientError { kind: BuildClientErrorKind::OwnClient, cause: None };
        let Recipe { lookups, roots } = self.shared.recipe.as_ref().ok_or(own_client)?;
        let mut current = roots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = current.clone();
        change(&mut changed);
        let client = build_client(self.shared.address_filter, lookups.clone(), changed.clone())?;
        *current = changed;
        self.shared.client.store(Arc::new(client));
        Ok(())
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipe")
    }
}

/// Builds a [`ReqwestFetch`].
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
    address_filter: Option<AddressFilter>,
}

impl ReqwestFetchBuilder {
    /// Trusts a private certificate authority in addition to the system's trust store.
    ///
    /// `pem` contains one or more `CERTIFICATE` blocks.
    ///
    /// # Security
    ///
    /// Anyone with the private key of such an authority can impersonate every issuer of the validator that uses this client.
    pub fn with_root_certificates(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.roots = self.roots.and_then(|roots| Ok([roots, certificates(pem.as_ref())?].concat()));
        self
    }

    /// Connects to public addresses only. Use this setting if third parties choose the issuers or run the name servers.
    ///
    /// Without this setting, a `jwks_uri` or a DNS name that points to an internal address makes this process send requests to
    /// internal services (SSRF): its own ports, other machines in the network, the metadata service of a cloud. With this
    /// setting, only the public addresses of a name are used. The check is made at each connection, so a later change of the
    /// DNS records (DNS rebinding) does not circumvent it. An IP address in the URL is checked in the same way. If no address
    /// is left, the fetch fails with [`FetchError::AddressNotAllowed`].
    ///
    /// These addresses are not public: loopback, private (RFC 1918, RFC 4193), link-local, shared (RFC 6598), multicast,
    /// reserved, benchmarking and documentation addresses, protocol assignments (RFC 6890), the addresses of a few cloud
    /// services, and IPv6 addresses that embed one of these (mapped, NAT64, 6to4, Teredo).
    ///
    /// # Security
    ///
    /// The check does not cover public addresses that a firewall forwards to internal services. It applies to this client only,
    /// not to [a client of the application](ReqwestFetch::from_client) or another implementation of [`Fetch`]. It does not
    /// apply to a proxy, which resolves names itself.
    pub fn with_public_addresses_only(mut self) -> Self {
        self.address_filter = Some(is_public);
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// Returns [`BuildClientError`] if the PEM text of an authority contains no certificate, or a certificate that cannot be
    /// used. Also returns it if there is no CA certificate, neither in the system's trust store nor in this builder.
    pub fn build(self) -> Result<ReqwestFetch, BuildClientError> {
        self.build_with(Lookups::system())
    }

    fn build_with(self, lookups: Lookups) -> Result<ReqwestFetch, BuildClientError> {
        let roots = self.roots?;
        let client = build_client(self.address_filter, lookups.clone(), roots.clone())?;
        let recipe = Recipe { lookups, roots: Mutex::new(roots) };
        Ok(ReqwestFetch::with_parts(client, self.address_filter, Some(recipe)))
    }
}

impl BuildClientError {
    fn new(kind: BuildClientErrorKind, cause: reqwest::Error) -> Self {
        Self { kind, cause: Some(Arc::new(cause)) }
    }
}

/// Parses one or more certificates.
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
        let FetchRequest { endpoint, headers, max_bytes } = request;
        self.send(|client| client.get(endpoint.as_str()).headers(headers), &[StatusCode::OK], max_bytes)
    }

    fn post(&self, request: FormRequest) -> FetchFuture {
        let FormRequest { endpoint, headers, body, max_bytes } = request;
        let form = |client: &reqwest::Client| client.post(endpoint.as_str()).headers(headers).body(body);
        // RFC 6749 §5.2: the body of a 400 says what is wrong.
        self.send(form, &[StatusCode::OK, StatusCode::BAD_REQUEST], max_bytes)
    }

    fn connects_to_public_addresses_only(&self) -> bool {
        self.shared.address_filter.is_some()
    }
}

impl ReqwestFetch {
    /// Sends a request, and reads the body of a response with one of the statuses `with_body`.
    fn send(
        &self,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
        with_body: &'static [StatusCode],
        max_bytes: usize,
    ) -> FetchFuture {
        let (client, address_filter) = (self.shared.client.load_full(), self.shared.address_filter);
        let built = request(&client).build();
        Box::pin(async move {
            let request = built.map_err(|error| classify(&error))?;
            let requested = request.url().clone();
            // The resolver checks names only.
            if let (Some(address_filter), Some(address)) = (address_filter, ip_literal(&requested))
                && !address_filter(address)
            {
                return Err(FetchError::AddressNotAllowed);
            }
            let response = client.execute(request).await.map_err(|error| classify(&error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            if *response.url() != requested {
                // A client of the application has followed a redirect. Return the redirect instead of the response of the other
                // URL.
                return Ok(FetchResponse::new(StatusCode::FOUND, headers, Bytes::new()));
            }
            // Other bodies are not read, whatever their length. Status and `Retry-After` are enough.
            let body = if with_body.contains(&status) { read(response, max_bytes).await? } else { Bytes::new() };
            Ok(FetchResponse::new(status, headers, body))
        })
    }
}

/// Resolves names with the system's resolver and returns the addresses that are allowed.
struct Resolver {
    lookups: Lookups,
    address_filter: Option<AddressFilter>,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (lookups, address_filter) = (self.lookups.clone(), self.address_filter);
        Box::pin(async move {
            let found = lookups.addresses(name.as_str()).await?;
            let is_allowed =
                |address: &SocketAddr| address_filter.is_none_or(|address_filter| address_filter(address.ip()));
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(is_allowed).collect();
            if allowed.is_empty() {
                return Err(Box::from(NoAllowedAddressError));
            }
            let allowed: reqwest::dns::Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

/// A name has addresses, but none of them is allowed.
#[derive(Debug)]
struct NoAllowedAddressError;

impl fmt::Display for NoAllowedAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FetchError::AddressNotAllowed.fmt(f)
    }
}

impl Error for NoAllowedAddressError {}

/// Returns the IP address if the host of a URL is one. `url` is normalized, so every notation is recognized.
fn ip_literal(url: &reqwest::Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Builds a client that trusts the system's CA certificates and `roots`.
fn build_client(
    address_filter: Option<AddressFilter>,
    lookups: Lookups,
    roots: Vec<reqwest::Certificate>,
) -> Result<reqwest::Client, BuildClientError> {
    let builder = client_builder(address_filter, lookups);
    // With other root certificates, an empty trust store of the system is no error.
    let (builder, kind) = match roots.is_empty() {
        true => (builder, BuildClientErrorKind::TrustStore),
        false => (builder.tls_certs_merge(roots), BuildClientErrorKind::Certificate),
    };
    builder.build().map_err(|error| BuildClientError::new(kind, error))
}

fn client_builder(address_filter: Option<AddressFilter>, lookups: Lookups) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(Resolver { lookups, address_filter })
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(defaults::CONNECT_TIMEOUT)
        .pool_idle_timeout(defaults::POOL_IDLE_TIMEOUT)
        // Introspection sends several requests at the same time.
        .pool_max_idle_per_host(defaults::POOL_MAX_IDLE)
        .retry(reqwest::retry::never())
        .referer(false)
        // The application may have enabled these features of `reqwest` for its own clients.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
}

/// Reads the body up to `max_bytes`. A longer body is dropped with its connection.
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

/// Classifies errors by what can be done about them. Only `Closed` and `Connect` are retried.
fn classify(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::Timeout
    } else if error.is_connect() {
        if has_cause::<NoAllowedAddressError>(error, |_| true) {
            FetchError::AddressNotAllowed
        } else if has_cause(error, is_handshake) {
            FetchError::Tls
        } else {
            FetchError::Connect
        }
    } else if error.is_request() {
        // The connection was open, and it closed before a response started.
        FetchError::Closed
    } else {
        FetchError::Other
    }
}

fn has_cause<E: Error + 'static>(error: &reqwest::Error, predicate: fn(&E) -> bool) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.downcast_ref::<E>().is_some_and(predicate) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// Returns whether an I/O error is a failed TLS handshake: its kind is `InvalidData` or `UnexpectedEof`. Errors of the
/// connection have other kinds (refused, unreachable, reset), and name resolution has neither of these two.
///
/// Also checks an error that this error wraps, since `source` skips the inner error.
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
    use crate::fetch::lookup::tests::ScriptedResolver;

    use super::*;

    // Self-signed, P-256, made for this test.
    const ROOT: &str = include_str!("../../tests/data/tls/root.pem");

    #[test]
    fn accepts_root_certificates_in_pem_and_returns_the_reason_otherwise() {
        use BuildClientErrorKind::{Certificate, NoCertificate};

        assert!(ReqwestFetch::builder().with_root_certificates(ROOT).build().is_ok());
        assert!(ReqwestFetch::builder().with_root_certificates(format!("{ROOT}\n{ROOT}")).build().is_ok());
        let broken = ROOT.replacen("MII", "MIJ", 1);
        for (pem, kind) in [
            ("", NoCertificate),
            ("no pem", NoCertificate),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", Certificate),
            (&broken, Certificate),
        ] {
            let alone = ReqwestFetch::builder().with_root_certificates(pem).build().map(drop).expect_err(pem);
            assert_eq!((alone.kind(), alone.source().is_some()), (kind, kind == Certificate), "{pem:?}");
            for builder in [
                ReqwestFetch::builder().with_root_certificates(ROOT).with_root_certificates(pem),
                ReqwestFetch::builder().with_root_certificates(pem).with_root_certificates(ROOT),
            ] {
                assert_eq!(builder.build().map(drop), Err(alone.clone()), "{pem:?}");
            }
        }
    }

    #[test]
    fn keeps_the_root_certificates_if_they_cannot_be_replaced() {
        use BuildClientErrorKind::{Certificate, NoCertificate, OwnClient};

        let fetch = ReqwestFetch::builder().with_root_certificates(ROOT).build().expect("a client");
        let in_use = fetch.shared.client.load_full();
        for (pem, kind) in
            [("", NoCertificate), ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", Certificate)]
        {
            assert_eq!(fetch.replace_root_certificates(pem).map_err(|error| error.kind()), Err(kind));
        }
        assert!(Arc::ptr_eq(&in_use, &fetch.shared.client.load_full()));
        let clone = fetch.clone();
        assert_eq!(fetch.replace_root_certificates(ROOT), Ok(()));
        assert!(!Arc::ptr_eq(&in_use, &clone.shared.client.load_full()), "a clone uses the new client");

        let own = ReqwestFetch::from_client(reqwest::Client::new());
        for result in [own.replace_root_certificates(ROOT), own.remove_root_certificates(), own.reload_trust_store()] {
            assert_eq!(result.map_err(|error| error.kind()), Err(OwnClient));
        }
    }

    /// A server on loopback that counts its connections.
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

    async fn get(address_filter: Option<AddressFilter>, host: &str, port: u16) -> Result<Bytes, FetchError> {
        let builder = ReqwestFetchBuilder { address_filter, ..ReqwestFetch::builder() };
        let endpoint = Endpoint::dangerous_allow_http(&format!("http://{host}:{port}/")).expect("a URL");
        let response = builder.build().expect("a client").fetch(FetchRequest::new(endpoint, 100)).await;
        response.map(|response| response.body)
    }

    /// Spellings of loopback. Names are resolved, numbers are not.
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
    async fn rejects_addresses_that_the_filter_excludes() {
        let (port, accepted) = server().await;
        for host in LOOPBACK.into_iter().chain(["[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]) {
            assert_eq!(get(Some(is_public), host, port).await, Err(FetchError::AddressNotAllowed), "{host}");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 0, "no connection was opened");
        for (number, host) in LOOPBACK.into_iter().enumerate() {
            assert_eq!(get(None, host, port).await.as_deref(), Ok(&b"{}"[..]), "{host}");
            assert_eq!(accepted.load(Ordering::SeqCst), number + 1);
        }
    }

    #[tokio::test]
    async fn connects_to_addresses_that_the_filter_allows() {
        let (port, accepted) = server().await;
        // If a name has addresses of both families, one family is left.
        for host in ["localhost", "127.0.0.1", "127.1"] {
            assert_eq!(get(Some(|address| address.is_ipv4()), host, port).await.as_deref(), Ok(&b"{}"[..]), "{host}");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 3);
        assert_eq!(get(Some(|address| address.is_ipv6()), "127.0.0.1", port).await, Err(FetchError::AddressNotAllowed));
        // A name without any address is `Connect`, not `AddressNotAllowed`.
        assert_eq!(get(Some(is_public), "no-such-name.invalid", port).await, Err(FetchError::Connect));
        assert_eq!(accepted.load(Ordering::SeqCst), 3);
    }

    /// DNS rebinding: a name whose address changes after a fetch.
    #[tokio::test]
    async fn checks_the_addresses_of_each_connection() {
        let (port, accepted) = server().await;
        let names = ScriptedResolver::new();
        let builder = ReqwestFetchBuilder {
            address_filter: Some(|address| address == std::net::Ipv4Addr::LOCALHOST),
            ..ReqwestFetch::builder()
        };
        let client = builder.build_with(names.lookups.clone()).expect("a client");
        let endpoint = Endpoint::dangerous_allow_http(&format!("http://rebound.test:{port}/")).expect("a URL");
        let (allowed, other) = (SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 0, 0, 9], 0)));
        let body = || Ok(Bytes::from_static(b"{}"));
        for (addresses, expected) in
            [(vec![allowed], body()), (vec![other], Err(FetchError::AddressNotAllowed)), (vec![other, allowed], body())]
        {
            names.respond(Ok(addresses.clone()));
            let response = client.fetch(FetchRequest::new(endpoint.clone(), 100)).await;
            assert_eq!(response.map(|response| response.body), expected, "{addresses:?}");
        }
        assert_eq!((names.started(), accepted.load(Ordering::SeqCst)), (3, 2));
    }

    #[tokio::test]
    async fn attempts_share_one_lookup_while_the_name_server_does_not_respond() {
        let (port, accepted) = server().await;
        let names = ScriptedResolver::new();
        let client = ReqwestFetch::builder().build_with(names.lookups.clone()).expect("a client");
        let endpoint = Endpoint::dangerous_allow_http(&format!("http://silent.test:{port}/")).expect("a URL");
        let attempt = || tokio::spawn(client.fetch(FetchRequest::new(endpoint.clone(), 100)));
        for _ in 0..10 {
            let cancelled = attempt();
            tokio::task::yield_now().await;
            cancelled.abort();
            assert!(cancelled.await.expect_err("no address yet").is_cancelled());
        }
        let last = attempt();
        tokio::task::yield_now().await;
        names.respond(Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]));
        let response = last.await.expect("no panic");
        assert_eq!(response.map(|response| response.body).as_deref(), Ok(&b"{}"[..]));
        assert_eq!((names.started(), accepted.load(Ordering::SeqCst)), (1, 1));
    }
}
