//! `MutualTls`: the settings of certificate-bound tokens for an API.

use crate::mutual_tls::header::CertificateHeader;
use crate::mutual_tls::trusted_proxy::TrustedProxy;

/// The settings of certificate-bound tokens (RFC 8705 §3) for an API, for [`Api::with_mutual_tls`](crate::Api::with_mutual_tls).
///
/// A request with a token that is bound to a certificate (`cnf.x5t#S256`) is then accepted if its client has authenticated with this
/// certificate. Tokens that are not bound are still accepted as bearer tokens, unless the API accepts
/// [sender-constrained tokens only](crate::Api::with_sender_constrained_only). A token that is bound to a certificate and to a key
/// (`cnf.jkt`) needs the certificate and a DPoP proof.
///
/// ```
/// use tower_bearer::mutual_tls::{CertificateHeader, MutualTls, TrustedProxy};
/// use tower_bearer::{Api, Issuer};
///
/// let proxy = TrustedProxy::from_networks(["10.0.0.0/8"]);
/// let api = Api::new("https://api.northwind.com", Issuer::oidc("https://id.northwind.com"))
///     .with_mutual_tls(MutualTls::from_header(CertificateHeader::rfc9440(), proxy));
/// # let _ = api;
/// ```
#[derive(Clone, Debug)]
pub struct MutualTls {
    pub(crate) source: Source,
    pub(crate) dpop_scheme: DpopSchemeRule,
}

/// Where the certificate of a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Connection,
    Header { header: CertificateHeader, proxy: TrustedProxy },
}

/// Whether a certificate-bound token without proof may be sent under the scheme `DPoP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DpopSchemeRule {
    Rejected,
    Accepted,
}

impl MutualTls {
    /// Reads the certificate from the extensions of the request, where the server inserts
    /// [`ClientCertificate`](crate::mutual_tls::ClientCertificate) after the TLS handshake. Headers are not read.
    #[must_use]
    pub fn from_connection() -> Self {
        Self { source: Source::Connection, dpop_scheme: DpopSchemeRule::Rejected }
    }

    /// Reads the certificate from a header that a proxy in front of the API sets, if the peer of the request is this proxy. The
    /// certificate of the connection is not read.
    ///
    /// A header that is malformed, or that occurs more than once, is answered with 400, and logged as an error at most once a minute:
    /// the proxy is misconfigured, or does not remove the header of clients. The header is read only for tokens that are bound to a
    /// certificate.
    #[must_use]
    pub fn from_header(header: CertificateHeader, proxy: TrustedProxy) -> Self {
        Self { source: Source::Header { header, proxy }, dpop_scheme: DpopSchemeRule::Rejected }
    }

    /// Accepts a certificate-bound token also under the scheme `DPoP`, without a proof. Auth0 tells clients to send such tokens in this
    /// way. Default: only under the scheme `Bearer` (RFC 8705 §3).
    ///
    /// The token must be bound to a certificate only, and the request must have no header `DPoP`. The certificate is checked as usual.
    #[must_use]
    pub fn with_bound_tokens_under_dpop_scheme(mut self) -> Self {
        self.dpop_scheme = DpopSchemeRule::Accepted;
        self
    }
}
