//! A JWS whose payload may be anything: public test vectors sign "foo" and text from the Lord of the Rings.

use crate::token::{CompactJws, Header, Segment, TokenError, decode};

/// A parsed JWS whose signature is not verified.
pub(crate) struct Jws<'t> {
    pub(crate) header: Header,
    pub(crate) signing_input: &'t [u8],
    pub(crate) signature: Vec<u8>,
}

/// Parses a token as [`UnverifiedToken::parse`](crate::token::UnverifiedToken::parse) does, except for the claims set.
pub(crate) fn parse(token: &str) -> Result<Jws<'_>, TokenError> {
    let CompactJws { header, payload, signature, signing_input } = CompactJws::split(token.as_bytes())?;
    let decode_segment = |segment, encoded| {
        let mut bytes = Vec::new();
        decode(segment, encoded, &mut bytes).map(|()| bytes)
    };
    let header = decode_segment(Segment::Header, header)?;
    let header =
        Header::parse(std::str::from_utf8(&header).map_err(|_| TokenError::Json { segment: Segment::Header })?)?;
    decode_segment(Segment::Payload, payload)?;
    let signature = decode_segment(Segment::Signature, signature)?;
    Ok(Jws { header, signing_input, signature })
}
