//! `X-Forwarded-Client-Cert` of Envoy: `key=value` pairs, separated by semicolons; elements are separated by commas. A value may be in
//! quotes.
//!
//! # Security
//!
//! A client chooses the names in its certificate, which are values of this header, some of them without quotes. So every deviation from
//! the grammar is an error, a second `Hash` is not skipped, and more than one element is never accepted. Quotes in two such names could
//! also turn the `Hash` of the proxy between them into a part of a value. So a value that contains a `Hash` is an error, unless the `Hash`
//! of the proxy is before all names, where Envoy writes it.

use crate::claims::CertificateThumbprint;
use crate::mutual_tls::error::CertificateHeaderError;
use crate::mutual_tls::header::pem::{self, Certificates};
use crate::mutual_tls::header::sha256;

/// Reads the only element. Returns `None` if it has neither `Hash` nor `Cert`.
pub(super) fn read(field: &[u8]) -> Result<Option<CertificateThumbprint>, CertificateHeaderError> {
    let (mut hash, mut certificate) = (None, None);
    // Whether a name of the client is before `Hash` and `Cert`.
    let mut begins_with_name = false;
    let mut rest = field;
    loop {
        let pair = Pair::parse(rest)?;
        let is_valid = if pair.key.eq_ignore_ascii_case(b"hash") {
            hash.replace(sha256(pair.value).map_err(|_| CertificateHeaderError::Xfcc)?).is_none()
        } else if pair.key.eq_ignore_ascii_case(b"cert") {
            certificate.replace(pem::read(pair.value, Certificates::One)?).is_none()
        } else {
            // `By` is a name in the certificate of the proxy.
            begins_with_name |= hash.is_none() && certificate.is_none() && !pair.key.eq_ignore_ascii_case(b"by");
            !(begins_with_name && contains_certificate(pair.value))
        };
        if !is_valid {
            return Err(CertificateHeaderError::Xfcc);
        }
        rest = match pair.rest {
            [] => break,
            [b';', rest @ ..] => rest,
            _ => return Err(CertificateHeaderError::List),
        };
    }
    match (hash, certificate) {
        (Some(hash), Some(certificate)) if hash != certificate => Err(CertificateHeaderError::Contradiction),
        (hash, certificate) => Ok(hash.or(certificate)),
    }
}

/// One pair, and the text after it, which is empty or starts with a separator.
struct Pair<'f> {
    key: &'f [u8],
    /// Without quotes.
    value: &'f [u8],
    rest: &'f [u8],
}

impl<'f> Pair<'f> {
    fn parse(text: &'f [u8]) -> Result<Self, CertificateHeaderError> {
        Self::split(text).ok_or(CertificateHeaderError::Xfcc)
    }

    fn split(text: &'f [u8]) -> Option<Self> {
        let equals = text.iter().position(|byte| *byte == b'=')?;
        let (key, after) = (text.get(..equals)?, text.get(equals..)?.strip_prefix(b"=")?);
        if key.is_empty() || !key.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)) {
            return None;
        }
        let (value, rest) = match after.strip_prefix(b"\"") {
            Some(quoted) => quoted_value(quoted)?,
            None => unquoted_value(after)?,
        };
        matches!(rest, [] | [b';' | b',', ..]).then_some(Self { key, value, rest })
    }
}

/// Returns whether a value would contain `Hash` or `Cert` if it had no quotes.
fn contains_certificate(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| matches!(byte, b';' | b',')).skip(1);
    parts.any(|part| {
        part.get(..5).is_some_and(|key| [b"hash=", b"cert="].iter().any(|name| key.eq_ignore_ascii_case(*name)))
    })
}

/// Returns the value up to the closing quote, and the text after it. A backslash escapes the next byte.
fn quoted_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some((text.get(..end)?, text.get(end..)?.strip_prefix(b"\"")?))
}

/// Returns the value up to a separator, and the text from it on. A quote inside is an error.
fn unquoted_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b';' | b',')).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    (!value.contains(&b'"')).then_some((value, rest))
}
