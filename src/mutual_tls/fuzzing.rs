//! Entry point for the fuzz target of certificate headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mutual_tls::certificate::ClientCertificate;
use crate::mutual_tls::header::CertificateHeader;

/// Reads a header in every format. A certificate that is read is the one of an independent, simpler reading.
///
/// # Panics
///
/// If it is another one.
pub fn certificate_header(field: &[u8]) {
    let read = |header: &CertificateHeader| header.format.read(field).ok().flatten();
    let text = String::from_utf8_lossy(field);
    let text = text.trim();
    let of_base64 = |base64: &str| ClientCertificate::from_der(&STANDARD.decode(base64).expect("base64")).thumbprint();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if let Some(found) = read(&CertificateHeader::rfc9440()) {
        assert_eq!(found, of_base64(text[1..].strip_suffix(':').expect("a colon")));
    }
    if let Some(found) = read(&CertificateHeader::der("x")) {
        assert_eq!(found, of_base64(text));
    }
    if let Some(found) = read(&CertificateHeader::sha256("x")) {
        assert_eq!(hex(found.as_bytes()), text.to_ascii_lowercase());
    }
    let pem = read(&CertificateHeader::pem("x"));
    if pem.is_some() {
        assert_eq!(pem, read(&CertificateHeader::pem_chain("x")));
    }
    if let Some(found) = read(&CertificateHeader::xfcc()) {
        let is_in_hash = text.to_ascii_lowercase().contains(&hex(found.as_bytes()));
        let is_in_certificate = text.to_ascii_lowercase().contains("cert=");
        assert!(is_in_hash || is_in_certificate, "{text}");
    }
}
