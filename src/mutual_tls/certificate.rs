//! `ClientCertificate`: the certificate of a client, by its hash.

use crate::claims::CertificateThumbprint;
use crate::keys;

/// The certificate with which the client of a connection has authenticated, by its hash (RFC 8705 §3.1).
///
/// A server that terminates TLS itself creates it once for each connection, and inserts it into the extensions of each request of this
/// connection. With [`MutualTls::from_connection`](crate::MutualTls::from_connection), the certificate of a token is compared with it.
///
/// ```
/// use http::Request;
/// use tower_bearer::mutual_tls::ClientCertificate;
///
/// # let peer_certificates: Option<&[Vec<u8>]> = None;
/// // rustls: `connection.peer_certificates()`; the first certificate is that of the client.
/// let certificate = peer_certificates.and_then(|chain| chain.first()).map(|der| ClientCertificate::from_der(der));
///
/// let mut request = Request::get("/orders").body(())?;
/// if let Some(certificate) = certificate {
///     request.extensions_mut().insert(certificate);
/// }
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate(CertificateThumbprint);

impl ClientCertificate {
    /// Creates the value from the DER encoding of the certificate. Empty bytes are no certificate: no token is bound to them.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Self {
        Self(CertificateThumbprint::from(keys::sha256(der)))
    }

    /// Returns the hash, which `x5t#S256` of a token contains.
    #[must_use]
    pub const fn thumbprint(&self) -> CertificateThumbprint {
        self.0
    }
}
