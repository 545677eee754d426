//! `CertificateError`: why a request does not prove that its client has the certificate of the token.

use std::fmt;

/// The reason why a request does not prove that its client has the certificate of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateError {
    /// The API has no source of certificates.
    NotConfigured,
    /// The client has authenticated without a certificate, or the request does not say so.
    Missing,
    /// The request has the certificate in a header, but its peer is not a trusted proxy. The header was not read.
    UntrustedPeer,
    /// The request has the certificate in a header, but the address of its peer is unknown. The header was not read.
    UnknownPeer,
    /// The client has authenticated with another certificate.
    Mismatch,
    /// The header of the proxy is malformed: the proxy is misconfigured, or a client can set the header (RFC 9440 §4).
    Header(CertificateHeaderError),
}

/// The reason why the header of a proxy contains no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateHeaderError {
    /// The request has the header more than once (RFC 9440 §2.2).
    Multiple,
    /// The header contains more than one certificate.
    List,
    /// The header is longer than 64 KiB. It was not read.
    TooLong,
    /// The header is not encoded in its format: base64, percent-encoding or hexadecimal digits.
    Encoding,
    /// The header is not one certificate in PEM (RFC 7468 §5), without text around it.
    Pem,
    /// The header is not the DER encoding of a certificate (RFC 5280 §4.1).
    Der,
    /// The header is not a valid element of `X-Forwarded-Client-Cert`.
    Xfcc,
    /// `Hash` and `Cert` of `X-Forwarded-Client-Cert` belong to different certificates.
    Contradiction,
}

impl CertificateError {
    /// Returns the reason for the log, if the server or a trusted proxy is misconfigured: the server does not insert the address of the
    /// peer, or the header of a trusted proxy is malformed.
    pub(crate) const fn misconfiguration(self) -> Option<&'static str> {
        match self {
            Self::Header(error) => Some(error.text()),
            Self::UnknownPeer => {
                Some("the address of the peer is unknown, so the header with the client certificate is not read")
            }
            Self::NotConfigured | Self::Missing | Self::UntrustedPeer | Self::Mismatch => None,
        }
    }
}

impl CertificateHeaderError {
    /// Returns the text of the error, for the log as well.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Multiple => "the request has more than one header with a client certificate",
            Self::List => "the header with the client certificate contains more than one certificate",
            Self::TooLong => "the header with the client certificate is longer than 64 KiB",
            Self::Encoding => "the header with the client certificate is not encoded in the configured format",
            Self::Pem => "the header with the client certificate is not one certificate in PEM",
            Self::Der => "the header with the client certificate is not a certificate in DER",
            Self::Xfcc => "the header with the client certificate is not a valid X-Forwarded-Client-Cert",
            Self::Contradiction => "Hash and Cert of X-Forwarded-Client-Cert belong to different certificates",
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConfigured => "the token is bound to a certificate, and the API has no source of certificates",
            Self::Missing => "the token is bound to a certificate, and the client has authenticated without one",
            Self::UntrustedPeer => "the token is bound to a certificate, and its header is not from a trusted proxy",
            Self::UnknownPeer => "the token is bound to a certificate, and the peer that sent its header is unknown",
            Self::Mismatch => "the token is bound to another certificate than that of the client",
            Self::Header(error) => error.text(),
        })
    }
}

impl fmt::Display for CertificateHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for CertificateError {}
impl std::error::Error for CertificateHeaderError {}
