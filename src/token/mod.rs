//! Credential to parsed, untrusted token (RFC 7515 §3.1, RFC 7519 §7.2).
//!
//! Nothing here says that a token is genuine; it says that there is one way to read it.

mod algorithm;
mod error;
mod header;
mod object;
mod payload;
mod reserved;
mod scanner;

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use base64_simd::URL_SAFE_NO_PAD;

pub use self::algorithm::{Algorithm, UnknownAlgorithm};
pub use self::error::{Part, TokenError};
pub use self::header::Header;
pub(crate) use self::header::is_media_type;
pub(crate) use self::object::elements;
pub(crate) use self::payload::{Claim, Member, Payload};
pub(crate) use self::reserved::{has_reserved_member, is_reserved};

/// A compact JWS that has been taken apart and believed in nothing.
///
/// ```
/// use tower_bearer::token::{TokenError, UnverifiedToken};
/// use tower_bearer::Algorithm;
///
/// // {"alg":"HS256"} . {"sub":"me"} . a signature that nobody has checked
/// let token = UnverifiedToken::parse("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.AAAA")?;
/// assert_eq!(token.header().algorithm(), Algorithm::HS256);
/// assert_eq!(UnverifiedToken::parse("opaque").unwrap_err(), TokenError::NotAJwt);
/// # Ok::<(), TokenError>(())
/// ```
#[derive(Clone)]
pub struct UnverifiedToken<'t> {
    header: Header,
    payload: Payload,
    /// The header's JSON text, unless it was known, and after it the signature: what is needed no longer than the token
    /// itself.
    decoded: Vec<u8>,
    signature_at: usize,
    signing_input: &'t [u8],
}

impl<'t> UnverifiedToken<'t> {
    /// Takes a token apart: three non-empty segments of canonical base64url, header and payload each one JSON object
    /// with unique names, at most 32 levels deep, and without the member names that serde_json reserves.
    ///
    /// The caller bounds the length; work and memory are linear in it.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        Self::parse_knowing(token.as_bytes(), |_| None)
    }

    /// The same for octets of any kind, where `known` may give what an encoded header was read as before.
    ///
    /// What can be taken apart is base64url and two dots, so it is in the grammar of RFC 6750 §2.1, too.
    pub(crate) fn parse_knowing(
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
        let [signing_input, header, payload, signature] = split(token)?;
        let mut decoded = Vec::with_capacity(header.len().saturating_add(signature.len()));
        let header = match known(header) {
            Some(header) => header,
            None => {
                decode(Part::Header, header, &mut decoded)?;
                let json = str::from_utf8(&decoded).map_err(|_| TokenError::Json { part: Part::Header })?;
                Header::parse(json)?
            }
        };
        let payload = Payload::parse(decode_payload(payload)?)?;
        let signature_at = decoded.len();
        decode(Part::Signature, signature, &mut decoded)?;
        Ok(Self { header, payload, decoded, signature_at, signing_input })
    }

    /// The header as the sender wrote it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The octets that were signed: header, dot, payload, in their encoded form (RFC 7515 §5.1).
    pub(crate) fn signing_input(&self) -> &'t [u8] {
        self.signing_input
    }

    /// The decoded signature.
    pub(crate) fn signature(&self) -> &[u8] {
        self.decoded.get(self.signature_at..).unwrap_or_default()
    }

    /// The unproven claims: good for refusing and for choosing among configured issuers, never for admitting.
    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Gives up the parts once the signature holds.
    pub(crate) fn into_parts(self) -> (Header, Payload) {
        (self.header, self.payload)
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken").field("algorithm", &self.header.algorithm()).finish_non_exhaustive()
    }
}

/// A part of a text, as octet offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    /// Never zero, which makes room for `None`: some claims are there, most are not.
    end: NonZeroU32,
}

impl Span {
    /// `None` for what is longer than any token, and for nothing at all.
    fn new(place: Range<usize>) -> Option<Self> {
        Some(Self { start: u32::try_from(place.start).ok()?, end: NonZeroU32::new(u32::try_from(place.end).ok()?)? })
    }

    fn of(self, whole: &str) -> Option<&str> {
        let range: Range<usize> = usize::try_from(self.start).ok()?..usize::try_from(self.end.get()).ok()?;
        whole.get(range)
    }
}

/// The first segment of a token, as it stands there.
pub(crate) fn header_segment(token: &[u8]) -> &[u8] {
    cut(token).map_or(&[], |(header, _)| header)
}

/// Splits at the dots into the signing input and the three segments, never into more pieces than are looked at
/// (CVE-2025-30204).
fn split(token: &[u8]) -> Result<[&[u8]; 4], TokenError> {
    let (header, rest) = cut(token).ok_or(TokenError::NotAJwt)?;
    let (payload, signature) = cut(rest).ok_or(TokenError::NotAJwt)?;
    if let Some((_, rest)) = cut(signature) {
        let has_five = rest.splitn(3, |octet| *octet == b'.').count() == 2;
        return Err(if has_five { TokenError::Encrypted } else { TokenError::NotAJwt });
    }
    for (part, segment) in [(Part::Header, header), (Part::Payload, payload), (Part::Signature, signature)] {
        if segment.is_empty() {
            return Err(TokenError::Empty { part });
        }
    }
    let end = header.len().saturating_add(1).saturating_add(payload.len());
    let signing_input = token.get(..end).ok_or(TokenError::NotAJwt)?;
    Ok([signing_input, header, payload, signature])
}

/// Only of a text that is refused anyhow, and which can be long.
fn has_white_space(text: &[u8]) -> bool {
    memchr::memchr3(b' ', b'\t', b'\n', text).or_else(|| memchr::memchr(b'\r', text)).is_some()
}

/// What stands before the first dot, and after it.
fn cut(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (segment, rest) = text.split_at_checked(memchr::memchr(b'.', text)?)?;
    Some((segment, rest.get(1..)?))
}

/// Appends the octets of a segment.
///
/// RFC 7515 §2 and RFC 4648 §3.5: no padding, and no bits that decode to nothing, so one token has one spelling.
fn decode(part: Part, segment: &[u8], to: &mut Vec<u8>) -> Result<(), TokenError> {
    URL_SAFE_NO_PAD.decode_append(segment, to).map_err(|_| TokenError::Encoding { part })
}

/// Decodes the one segment that outlives the token, into memory of exactly its size.
fn decode_payload(segment: &[u8]) -> Result<String, TokenError> {
    let part = Part::Payload;
    let octets = URL_SAFE_NO_PAD.decode_to_vec(segment).map_err(|_| TokenError::Encoding { part })?;
    String::from_utf8(octets).map_err(|_| TokenError::Json { part })
}

/// Reads a JSON string's text; `None` for any other JSON value.
pub(crate) fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = inside_quotes(raw)?;
    read(raw, memchr::memchr(b'\\', inner.as_bytes()).is_some())
}

/// The same where it is known whether the string can have escapes.
fn read(raw: &str, may_have_escapes: bool) -> Option<Cow<'_, str>> {
    let inner = inside_quotes(raw)?;
    if may_have_escapes { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// A JSON string without its quotes, escapes as they are; `None` for any other value.
fn inside_quotes(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
pub(crate) mod tests;
