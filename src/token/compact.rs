//! Splits and decodes the compact serialization of a JWS (RFC 7515 §7.1).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64_simd::URL_SAFE_NO_PAD;

use crate::token::error::{Segment, TokenError};

/// The three segments of a compact JWS, still encoded. None of them is empty.
#[derive(Clone, Copy)]
pub(crate) struct CompactJws<'t> {
    pub(crate) header: &'t [u8],
    pub(crate) payload: &'t [u8],
    pub(crate) signature: &'t [u8],
    /// Header, dot and payload (RFC 7515 §5.1).
    pub(crate) signing_input: &'t [u8],
}

impl<'t> CompactJws<'t> {
    /// Splits a text at its dots. The work does not grow with the number of dots (CVE-2025-30204).
    pub(crate) fn split(text: &'t [u8]) -> Result<Self, TokenError> {
        let (header, rest) = split_at_dot(text).ok_or(TokenError::NotAJwt)?;
        let (payload, signature) = split_at_dot(rest).ok_or(TokenError::NotAJwt)?;
        if let Some((_, rest)) = split_at_dot(signature) {
            let has_five = rest.splitn(3, |byte| *byte == b'.').count() == 2;
            return Err(if has_five { TokenError::Encrypted } else { TokenError::NotAJwt });
        }
        let end = header.len().saturating_add(1).saturating_add(payload.len());
        let signing_input = text.get(..end).ok_or(TokenError::NotAJwt)?;
        let jws = Self { header, payload, signature, signing_input };
        match jws.segments().into_iter().find(|(_, encoded)| encoded.is_empty()) {
            Some((segment, _)) => Err(TokenError::Empty { segment }),
            None => Ok(jws),
        }
    }

    /// Returns the segments, each with its name.
    pub(crate) fn segments(&self) -> [(Segment, &'t [u8]); 3] {
        [(Segment::Header, self.header), (Segment::Payload, self.payload), (Segment::Signature, self.signature)]
    }
}

/// Returns the first segment of a token, still encoded.
pub(crate) fn header_segment(token: &[u8]) -> &[u8] {
    split_at_dot(token).map_or(&[], |(header, _)| header)
}

/// Returns whether the first segment of a text decodes to a JSON object, so that the text counts as a JWT or an encrypted one, whatever
/// else is wrong with it. Every encoding that some reader accepts is decoded.
pub(crate) fn has_json_header(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b'.').next().unwrap_or_default();
    let body = first.split(|byte| *byte == b'=').next().unwrap_or_default();
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    let body: Vec<u8> = body.iter().map(standard).collect();
    let json = LENIENT.decode(body).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    json.is_some_and(|json| {
        json.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok()
    })
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes a segment and appends its bytes to `to`.
///
/// RFC 7515 §2 and RFC 4648 §3.5: padding and non-zero trailing bits are rejected, so that a token has only one encoding.
pub(crate) fn decode(segment: Segment, encoded: &[u8], to: &mut Vec<u8>) -> Result<(), TokenError> {
    URL_SAFE_NO_PAD.decode_append(encoded, to).map_err(|_| TokenError::Encoding { segment })
}

/// Decodes a segment of UTF-8 text into an allocation of its exact size.
pub(crate) fn decode_text(segment: Segment, encoded: &[u8]) -> Result<String, TokenError> {
    String::from_utf8(decode_bytes(segment, encoded)?).map_err(|_| TokenError::Json { segment })
}

/// Decodes a segment of any bytes.
pub(crate) fn decode_bytes(segment: Segment, encoded: &[u8]) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode_to_vec(encoded).map_err(|_| TokenError::Encoding { segment })
}

/// Checks that a segment is canonical base64url without padding.
pub(crate) fn check_encoding(segment: Segment, encoded: &[u8]) -> Result<(), TokenError> {
    URL_SAFE_NO_PAD.check(encoded).map_err(|_| TokenError::Encoding { segment })
}

/// Splits a text at its first dot.
fn split_at_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (segment, rest) = text.split_at_checked(memchr::memchr(b'.', text)?)?;
    Some((segment, rest.get(1..)?))
}
