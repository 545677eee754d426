//! `MutualTlsRules`: the valid settings of certificate-bound tokens, as the validator uses them.

use http::{HeaderName, HeaderValue};

use crate::claims::CertificateThumbprint;
use crate::mutual_tls::certificate::ClientCertificate;
use crate::mutual_tls::error::{CertificateError, CertificateHeaderError};
use crate::mutual_tls::header::CertificateFormat;
use crate::mutual_tls::settings::DpopSchemeRule;
use crate::mutual_tls::trusted_proxy::TrustedProxy;
use crate::request::RequestHead;

/// The valid settings of certificate-bound tokens.
#[derive(Clone, Debug)]
pub(crate) struct MutualTlsRules {
    pub(crate) source: CertificateRule,
    pub(crate) dpop_scheme: DpopSchemeRule,
}

/// Where the certificate of a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum CertificateRule {
    Connection,
    Header { name: HeaderName, format: CertificateFormat, proxy: TrustedProxy },
}

/// The certificate of a request. That of a header is not read yet, because most tokens are not bound to a certificate.
#[derive(Clone, Debug, Default)]
pub(crate) enum RequestCertificate {
    #[default]
    None,
    Connection(ClientCertificate),
    /// The only field of a trusted peer. Boxed, because most requests have none.
    Header(Box<HeaderValue>),
    /// The request has the header, but not the certificate of its client.
    Unusable(CertificateError),
}

impl MutualTlsRules {
    /// Returns the certificate of a request, without reading a header.
    pub(crate) fn find(&self, request: &RequestHead<'_>) -> RequestCertificate {
        match &self.source {
            CertificateRule::Connection => {
                request.extensions().get().copied().map_or(RequestCertificate::None, RequestCertificate::Connection)
            }
            CertificateRule::Header { name, proxy, .. } => {
                let mut fields = request.headers().get_all(name).iter();
                let Some(field) = fields.next() else { return RequestCertificate::None };
                match (proxy.check(request), fields.next()) {
                    (Ok(()), None) => RequestCertificate::Header(Box::new(field.clone())),
                    (Ok(()), Some(_)) => {
                        RequestCertificate::Unusable(CertificateError::Header(CertificateHeaderError::Multiple))
                    }
                    (Err(error), _) => RequestCertificate::Unusable(error),
                }
            }
        }
    }

    /// Returns the headers that may contain personal data or a secret.
    pub(crate) fn sensitive_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let (name, proxy) = match &self.source {
            CertificateRule::Connection => (None, None),
            CertificateRule::Header { name, proxy, .. } => (Some(name), Some(proxy)),
        };
        name.into_iter().chain(proxy.and_then(TrustedProxy::secret_header))
    }

    /// Checks that the client of a request has the certificate to which a token is bound.
    pub(crate) fn check(
        &self,
        bound: &CertificateThumbprint,
        certificate: &RequestCertificate,
    ) -> Result<(), CertificateError> {
        let found = self.read(certificate)?.ok_or(CertificateError::Missing)?;
        if found == *bound { Ok(()) } else { Err(CertificateError::Mismatch) }
    }

    /// Returns the hash of the certificate of a request; `None` if the client has none.
    pub(crate) fn read(
        &self,
        certificate: &RequestCertificate,
    ) -> Result<Option<CertificateThumbprint>, CertificateError> {
        match (&self.source, certificate) {
            (_, RequestCertificate::Connection(certificate)) => Ok(Some(certificate.thumbprint())),
            (_, RequestCertificate::Unusable(error)) => Err(*error),
            (CertificateRule::Header { format, .. }, RequestCertificate::Header(field)) => {
                let found = format.read(field.as_bytes()).map_err(CertificateError::Header)?;
                Ok(found.filter(|found| *found != CertificateThumbprint::OF_NOTHING))
            }
            (_, RequestCertificate::None) | (CertificateRule::Connection, RequestCertificate::Header(_)) => Ok(None),
        }
    }
}
