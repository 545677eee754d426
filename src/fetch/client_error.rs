//! `BuildClientError`: the error of building an HTTP client.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error of building the HTTP client of a `ReqwestFetch`. [`source`](Error::source) is the error of `reqwest`.
#[derive(Clone, Debug)]
pub struct BuildClientError {
    pub(super) kind: BuildClientErrorKind,
    pub(super) cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl BuildClientError {
    /// Returns the reason.
    #[must_use]
    pub fn kind(&self) -> BuildClientErrorKind {
        self.kind
    }
}

impl fmt::Display for BuildClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BuildClientErrorKind::NoCertificate => "the PEM text of the certificate authority contains no certificate",
            BuildClientErrorKind::Certificate => "a certificate of the certificate authority cannot be used",
            BuildClientErrorKind::OwnClient => "the application has built the client itself, so its certificates are unknown",
            BuildClientErrorKind::TrustStore => {
                "the system's trust store has no CA certificate; install the package `ca-certificates`, name a PEM file in \
                 SSL_CERT_FILE, or give certificates with `ReqwestFetchBuilder::with_root_certificates`"
            }
        })
    }
}

impl Error for BuildClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause: &(dyn Error + 'static) = self.cause.as_deref()?;
        Some(cause)
    }
}

/// Two errors are equal if they have the same kind and the same source text.
impl PartialEq for BuildClientError {
    fn eq(&self, other: &Self) -> bool {
        let text = |error: &Self| error.cause.as_ref().map(ToString::to_string);
        self.kind == other.kind && text(self) == text(other)
    }
}

impl Eq for BuildClientError {}

/// Why an HTTP client cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildClientErrorKind {
    /// The PEM text of a private certificate authority contains no certificate.
    NoCertificate,
    /// A certificate of a private certificate authority cannot be used.
    Certificate,
    /// The application has built the client itself, so it cannot be built again with other certificates.
    OwnClient,
    /// The system's trust store has no CA certificate: the package `ca-certificates` is missing, as in container images built
    /// from scratch, or `SSL_CERT_FILE` or `SSL_CERT_DIR` contains a wrong path.
    TrustStore,
}
