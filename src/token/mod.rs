//! Parses a credential into an unverified token (RFC 7515 §3.1, RFC 7519 §7.2).
//!
//! This module does not verify signatures. It ensures that every parser reads a token in the same way.

mod algorithm;
mod compact;
mod error;
mod header;
mod json_members;
mod json_text;
mod key_id;
mod object;
mod payload;
mod reserved;
mod scanner;
mod token_type;

use std::fmt;

pub use self::algorithm::{Algorithm, UnknownAlgorithmError};
pub(crate) use self::compact::{
    CompactJws, check_encoding, decode, decode_bytes, decode_text, has_json_header, header_segment,
};
pub use self::error::{Segment, TokenError};
pub use self::header::Header;
pub(crate) use self::json_members::json_members;
pub(crate) use self::json_text::unquote;
pub(crate) use self::key_id::{CertificateHashes, CertificateMatch, KeyId};
pub(crate) use self::object::{elements, member};
pub(crate) use self::payload::{Claim, Member, Payload};
pub(crate) use self::reserved::{has_reserved_member, is_reserved};
pub(crate) use self::token_type::{TokenType, bare_media_type, is_media_type, is_type_of_other_protocol};

/// A parsed compact JWS. Nothing in it is verified.
///
/// ```
/// use tower_bearer::token::{TokenError, UnverifiedToken};
/// use tower_bearer::Algorithm;
///
/// // {"alg":"HS256"} . {"sub":"me"} . a signature that is not checked
/// let token = UnverifiedToken::parse("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.AAAA")?;
/// assert_eq!(token.header().algorithm(), Algorithm::HS256);
/// assert_eq!(UnverifiedToken::parse("opaque").unwrap_err(), TokenError::NotAJwt);
/// # Ok::<(), TokenError>(())
/// ```
#[derive(Clone)]
pub struct UnverifiedToken<'t> {
    header: Header,
    payload: Payload,
    /// The header's JSON text, unless the header was known, followed by the signature. Both are needed only while the token
    /// is validated.
    decoded: Vec<u8>,
    signature_at: usize,
    signing_input: &'t [u8],
}

impl<'t> UnverifiedToken<'t> {
    /// Parses a token: three non-empty segments of canonical base64url. Header and payload are each one JSON object with
    /// unique names, at most 32 levels deep, and without the member names that serde_json reserves.
    ///
    /// The caller limits the length. Time and memory are linear in it.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        Self::parse_with_known_header(token.as_bytes(), |_| None)
    }

    /// Parses arbitrary bytes. `known` may return the header that an encoded header was parsed into before.
    ///
    /// A token that parses consists of base64url and two dots, so that it also matches the grammar of RFC 6750 §2.1.
    pub(crate) fn parse_with_known_header(
        token: &'t [u8],
        known: impl FnOnce(&[u8]) -> Option<Header>,
    ) -> Result<Self, TokenError> {
        Self::decode(token, known).map_err(|error| match token {
            [] => TokenError::NoToken,
            _ if has_white_space(token) => TokenError::WhiteSpace,
            _ => error,
        })
    }

    fn decode(token: &'t [u8], known: impl FnOnce(&[u8]) -> Option<Header>) -> Result<Self, TokenError> {
        let CompactJws { header, payload, signature, signing_input } = CompactJws::split(token)?;
        let mut decoded = Vec::with_capacity(header.len().saturating_add(signature.len()));
        let header = match known(header) {
            Some(header) => header,
            None => {
                decode(Segment::Header, header, &mut decoded)?;
                let json = str::from_utf8(&decoded).map_err(|_| TokenError::Json { segment: Segment::Header })?;
                Header::parse(json)?
            }
        };
        let payload = Payload::parse(decode_text(Segment::Payload, payload)?)?;
        let signature_at = decoded.len();
        decode(Segment::Signature, signature, &mut decoded)?;
        Ok(Self { header, payload, decoded, signature_at, signing_input })
    }

    /// Returns the header. It is not verified.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the signed bytes: header, dot and payload in their encoded form (RFC 7515 §5.1).
    pub(crate) fn signing_input(&self) -> &'t [u8] {
        self.signing_input
    }

    /// Returns the decoded signature.
    pub(crate) fn signature(&self) -> &[u8] {
        self.decoded.get(self.signature_at..).unwrap_or_default()
    }

    /// Returns the unverified claims. They may be used to reject the token and to select a configured issuer, never to
    /// accept the token.
    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Returns header and payload, for use after the signature is verified.
    pub(crate) fn into_parts(self) -> (Header, Payload) {
        (self.header, self.payload)
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken").field("algorithm", &self.header.algorithm()).finish_non_exhaustive()
    }
}

/// Called only for a token that is rejected, to give a more specific reason.
fn has_white_space(text: &[u8]) -> bool {
    memchr::memchr3(b' ', b'\t', b'\n', text).or_else(|| memchr::memchr(b'\r', text)).is_some()
}

#[cfg(test)]
pub(crate) mod tests;
