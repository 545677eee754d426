//! A JWS whose payload may be anything: public test vectors sign "foo" and text from the Lord of the Rings.

use crate::token::{Header, Part, TokenError, decode, split};

/// A parsed JWS whose signature is not verified.
pub(crate) struct Jws<'t> {
    pub(crate) header: Header,
    pub(crate) signing_input: &'t [u8],
    pub(crate) signature: Vec<u8>,
}

/// Parses a token as [`UnverifiedToken::parse`](crate::token::UnverifiedToken::parse) does, except for the claims set.
pub(crate) fn parse(token: &str) -> Result<Jws<'_>, TokenError> {
    let [signing_input, header, payload, signature] = split(token.as_bytes())?;
    let decode_segment = |part, segment| {
        let mut bytes = Vec::new();
        decode(part, segment, &mut bytes).map(|()| bytes)
    };
    let header = decode_segment(Part::Header, header)?;
    let header = Header::parse(std::str::from_utf8(&header).map_err(|_| TokenError::Json { part: Part::Header })?)?;
    decode_segment(Part::Payload, payload)?;
    let signature = decode_segment(Part::Signature, signature)?;
    Ok(Jws { header, signing_input, signature })
}
