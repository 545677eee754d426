//! `BuildClientError`: why an HTTP client cannot be built.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why the HTTP client of a `ReqwestFetch` cannot be built; [`source`](Error::source) is the client's own error.
#[derive(Clone, Debug)]
pub struct BuildClientError {
    pub(super) kind: BuildClientErrorKind,
    pub(super) cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl BuildClientError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> BuildClientErrorKind {
        self.kind
    }
}

impl fmt::Display for BuildClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BuildClientErrorKind::NoCertificate => "the PEM text of the certificate authority holds no certificate",
            BuildClientErrorKind::Certificate => "a certificate of the certificate authority cannot be used",
            BuildClientErrorKind::TrustStore => {
                "the system's trust store has no CA certificate; install the package `ca-certificates`, name a PEM file in \
                 SSL_CERT_FILE, or give certificates with `ReqwestFetch::with_root_certificates`"
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

/// Errors are equal if they say the same.
impl PartialEq for BuildClientError {
    fn eq(&self, other: &Self) -> bool {
        let text = |error: &Self| error.cause.as_ref().map(ToString::to_string);
        self.kind == other.kind && text(self) == text(other)
    }
}

impl Eq for BuildClientError {}

/// What keeps an HTTP client from being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildClientErrorKind {
    /// The PEM text of a private certificate authority holds no certificate.
    NoCertificate,
    /// A certificate of a private certificate authority cannot be used.
    Certificate,
    /// The system's trust store has no CA certificate: the package `ca-certificates` is missing, as in
    /// images built from scratch, or `SSL_CERT_FILE` or `SSL_CERT_DIR` name a wrong path.
    TrustStore,
}
