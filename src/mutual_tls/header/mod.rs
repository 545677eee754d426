//! `CertificateHeader`: the header in which a proxy sends the certificate of a client, and its format.

mod pem;
mod xfcc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::pem::Certificates;
use crate::claims::CertificateThumbprint;
use crate::keys;
use crate::mutual_tls::certificate::ClientCertificate;
use crate::mutual_tls::error::CertificateHeaderError;

/// The header in which a proxy sends the certificate of a client, and its format.
///
/// | proxy | value |
/// |---|---|
/// | any that implements RFC 9440; HAProxy and Caddy by configuration | [`rfc9440`](Self::rfc9440) |
/// | Envoy, Istio | [`xfcc`](Self::xfcc) |
/// | nginx, with `$ssl_client_escaped_cert` | [`pem("X-Client-Cert")`](Self::pem) |
/// | AWS Application Load Balancer, mode verify | [`pem("X-Amzn-Mtls-Clientcert-Leaf")`](Self::pem) |
/// | AWS Application Load Balancer, mode passthrough | [`pem_chain("X-Amzn-Mtls-Clientcert")`](Self::pem_chain) |
/// | Traefik | [`der("X-Forwarded-Tls-Client-Cert")`](Self::der) |
/// | Cloudflare | [`der("Cf-Client-Cert-Der-Base64")`](Self::der) |
/// | AWS CloudFront | [`sha256("CloudFront-Viewer-Cert-Sha256")`](Self::sha256) |
/// | HAProxy, with `%[ssl_c_der,sha2(256),hex]` | [`sha256("X-Client-Cert-Sha256")`](Self::sha256) |
///
/// A header that is absent or empty means that the client has no certificate. The name of a header is not case-sensitive; a name that
/// is not a valid header name is a configuration error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateHeader {
    pub(crate) name: String,
    pub(crate) format: CertificateFormat,
}

/// How a header encodes a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFormat {
    ByteSequence,
    Xfcc,
    Pem(Certificates),
    Der,
    Sha256,
}

impl CertificateHeader {
    /// The header `Client-Cert` of RFC 9440: base64 of the DER encoding between colons. `::` means that the client has no certificate.
    #[must_use]
    pub fn rfc9440() -> Self {
        Self { name: "client-cert".to_owned(), format: CertificateFormat::ByteSequence }
    }

    /// The header `X-Forwarded-Client-Cert` of Envoy, with `Hash`, `Cert`, or both.
    ///
    /// The header must have exactly one element, so Envoy must be configured with `SANITIZE_SET`. In a list, it would be unclear which
    /// element belongs to the client: a client chooses the names in its certificate, which Envoy writes into the header without
    /// quotes.
    #[must_use]
    pub fn xfcc() -> Self {
        Self { name: "x-forwarded-client-cert".to_owned(), format: CertificateFormat::Xfcc }
    }

    /// A header with one certificate in PEM, percent-encoded (RFC 3986 §2.1). A plus sign stays as it is.
    #[must_use]
    pub fn pem(name: impl Into<String>) -> Self {
        Self { name: name.into(), format: CertificateFormat::Pem(Certificates::One) }
    }

    /// A header with certificates in PEM, percent-encoded, of which the first is that of the client.
    #[must_use]
    pub fn pem_chain(name: impl Into<String>) -> Self {
        Self { name: name.into(), format: CertificateFormat::Pem(Certificates::Chain) }
    }

    /// A header with base64 of the DER encoding. A list of certificates, separated by commas, is rejected: configure the proxy to send
    /// only that of the client.
    #[must_use]
    pub fn der(name: impl Into<String>) -> Self {
        Self { name: name.into(), format: CertificateFormat::Der }
    }

    /// A header with the SHA-256 hash of the DER encoding, as 64 hexadecimal digits.
    #[must_use]
    pub fn sha256(name: impl Into<String>) -> Self {
        Self { name: name.into(), format: CertificateFormat::Sha256 }
    }

    /// Sets another name of the header.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl CertificateFormat {
    /// Reads the value of a header. Returns `None` if the client has no certificate.
    pub(super) fn read(self, field: &[u8]) -> Result<Option<CertificateThumbprint>, CertificateHeaderError> {
        if field.len() > MAX_FIELD_BYTES {
            return Err(CertificateHeaderError::TooLong);
        }
        // RFC 9110 §5.5: white space around a field value is not part of it.
        let field = field.trim_ascii();
        if field.is_empty() {
            return Ok(None);
        }
        match self {
            Self::ByteSequence => byte_sequence(field),
            Self::Xfcc => xfcc::read(field),
            Self::Pem(certificates) => pem::read(field, certificates).map(Some),
            Self::Der => base64_der(field).map(Some),
            Self::Sha256 => sha256(field).map(Some),
        }
    }
}

/// RFC 9440 §2.1, RFC 8941 §3.3.5: base64 between colons.
fn byte_sequence(field: &[u8]) -> Result<Option<CertificateThumbprint>, CertificateHeaderError> {
    let content = field.strip_prefix(b":").and_then(|field| field.strip_suffix(b":"));
    match content {
        Some(b"") => Ok(None),
        Some(base64) => base64_der(base64).map(Some),
        None => Err(CertificateHeaderError::Encoding),
    }
}

fn base64_der(base64: &[u8]) -> Result<CertificateThumbprint, CertificateHeaderError> {
    if base64.contains(&b',') {
        return Err(CertificateHeaderError::List);
    }
    // Canonical only: with padding, and without bits after the end.
    let der = STANDARD.decode(base64).map_err(|_| CertificateHeaderError::Encoding)?;
    thumbprint(&der)
}

/// Returns the hash of a certificate.
fn thumbprint(der: &[u8]) -> Result<CertificateThumbprint, CertificateHeaderError> {
    if !keys::is_certificate(der) {
        return Err(CertificateHeaderError::Der);
    }
    Ok(ClientCertificate::from_der(der).thumbprint())
}

/// Reads 64 hexadecimal digits.
fn sha256(digits: &[u8]) -> Result<CertificateThumbprint, CertificateHeaderError> {
    if digits.contains(&b',') {
        return Err(CertificateHeaderError::List);
    }
    let (pairs, []) = digits.as_chunks() else { return Err(CertificateHeaderError::Encoding) };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|pair| hex_byte(*pair)).collect();
    let digest: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    digest.map(CertificateThumbprint::from).ok_or(CertificateHeaderError::Encoding)
}

/// Returns the byte of two hexadecimal digits.
fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// A chain of four certificates with RSA keys, percent-encoded, has about 10 KB.
const MAX_FIELD_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
