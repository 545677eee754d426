//! The backend over `reqwest` with rustls.

use std::error::Error as _;
use std::io;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::defaults;
use crate::fetch::{Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse};

/// Fetches over https with a `reqwest::Client`.
#[derive(Clone, Debug)]
pub struct ReqwestFetch {
    client: reqwest::Client,
}

impl ReqwestFetch {
    /// Builds a client that follows no redirects, uses no proxy from the environment, decodes no content coding, and
    /// lets idle connections go before servers usually do.
    ///
    /// # Errors
    ///
    /// [`FetchError::Tls`] if the system's trust store cannot be read.
    pub fn new() -> Result<Self, FetchError> {
        Self::built(builder())
    }

    /// The same, trusting besides the system's roots those of a private certificate authority: one or several PEM blocks
    /// of `CERTIFICATE`.
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
    /// [`FetchError::Tls`] if `pem` holds no certificate or one that cannot be read, or if the system's trust store cannot
    /// be read.
    ///
    /// # Security
    ///
    /// Whoever holds the key of such an authority can stand in for every issuer of the validator that uses this.
    pub fn with_root_certificates(pem: impl AsRef<[u8]>) -> Result<Self, FetchError> {
        let roots = reqwest::Certificate::from_pem_bundle(pem.as_ref()).map_err(|_| FetchError::Tls)?;
        if roots.is_empty() {
            return Err(FetchError::Tls);
        }
        Self::built(builder().tls_certs_merge(roots))
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
        Self { client }
    }

    fn built(builder: reqwest::ClientBuilder) -> Result<Self, FetchError> {
        builder.build().map(|client| Self { client }).map_err(|_| FetchError::Tls)
    }
}

impl Fetch for ReqwestFetch {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        let client = self.client.clone();
        Box::pin(async move {
            let built = client.get(request.endpoint.as_str()).headers(request.headers).build();
            let get = built.map_err(|error| classify(&error))?;
            let asked = get.url().clone();
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

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
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
        if is_tls(error) { FetchError::Tls } else { FetchError::Connect }
    } else if error.is_request() {
        // The connection stood, the request went out or would have, and no response began.
        FetchError::Closed
    } else {
        FetchError::Other
    }
}

/// A handshake that fails surfaces as an I/O error of invalid data, or of an early end; what fails below it has kinds of
/// its own (refused, unreachable, reset), and name resolution has none of these two.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.downcast_ref::<io::Error>().is_some_and(is_handshake) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// Looks into an I/O error that wraps another: `source` would step over the inner one.
fn is_handshake(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) || inner.is_some_and(is_handshake)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Self-signed, P-256, of nobody.
    const ROOT: &str = include_str!("../../tests/data/tls/root.pem");

    #[test]
    fn takes_roots_in_pem_and_refuses_what_holds_none() {
        assert!(ReqwestFetch::with_root_certificates(ROOT).is_ok());
        assert!(ReqwestFetch::with_root_certificates(format!("{ROOT}\n{ROOT}")).is_ok());
        let broken = ROOT.replacen("MII", "MIJ", 1);
        for pem in ["", "no pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &broken] {
            assert_eq!(ReqwestFetch::with_root_certificates(pem).map(|_| ()), Err(FetchError::Tls), "{pem:?}");
        }
    }
}
