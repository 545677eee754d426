//! Certificates in PEM (RFC 7468 §5), percent-encoded (RFC 3986 §2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::claims::CertificateThumbprint;
use crate::mutual_tls::error::CertificateHeaderError;
use crate::mutual_tls::header::{hex_byte, thumbprint};

/// How many certificates a text contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificates {
    One,
    /// The certificate of the client, and those of its issuers.
    Chain,
}

/// Reads the first certificate of a percent-encoded text.
pub(super) fn read(field: &[u8], certificates: Certificates) -> Result<CertificateThumbprint, CertificateHeaderError> {
    let text = percent_decode(field).ok_or(CertificateHeaderError::Encoding)?;
    let text = String::from_utf8(text).map_err(|_| CertificateHeaderError::Pem)?;
    let (first, mut rest) = certificate(&text)?;
    while !rest.is_empty() {
        rest = certificate(rest)?.1;
        if certificates == Certificates::One {
            return Err(CertificateHeaderError::List);
        }
    }
    Ok(first)
}

/// Decodes `%` and two hexadecimal digits. A plus sign stays as it is: it is a digit of base64, and the proxies that this format is for
/// do not encode it.
fn percent_decode(field: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(field.len());
    let mut rest = field;
    loop {
        rest = match rest {
            [] => return Some(decoded),
            [b'%', high, low, rest @ ..] => {
                decoded.push(hex_byte([*high, *low])?);
                rest
            }
            [b'%', ..] => return None,
            [byte, rest @ ..] => {
                decoded.push(*byte);
                rest
            }
        }
    }
}

/// Reads the certificate at the start of a text. Returns its hash and the rest of the text.
fn certificate(text: &str) -> Result<(CertificateThumbprint, &str), CertificateHeaderError> {
    let after = text.strip_prefix(BEGIN).ok_or(CertificateHeaderError::Pem)?;
    let (lines, rest) = after.split_once(END).ok_or(CertificateHeaderError::Pem)?;
    let base64: String = lines.chars().filter(|character| !is_line_break(*character)).collect();
    let der = STANDARD.decode(base64).map_err(|_| CertificateHeaderError::Pem)?;
    Ok((thumbprint(&der)?, rest.trim_start_matches(is_line_break)))
}

fn is_line_break(character: char) -> bool {
    matches!(character, '\r' | '\n')
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
