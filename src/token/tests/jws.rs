//! A JWS whose payload need not be a claims set: public vectors sign "foo" and the Lord of the Rings.

use crate::token::{Header, Part, TokenError, decode, split};

/// What is left to verify.
pub(crate) struct Jws<'t> {
    pub(crate) header: Header,
    pub(crate) signing_input: &'t [u8],
    pub(crate) signature: Vec<u8>,
}

/// Takes a token apart as [`UnverifiedToken::parse`](crate::token::UnverifiedToken::parse) does, but for the claims set.
pub(crate) fn take_apart(token: &str) -> Result<Jws<'_>, TokenError> {
    let [signing_input, header, payload, signature] = split(token.as_bytes())?;
    let octets = |part, segment| {
        let mut octets = Vec::new();
        decode(part, segment, &mut octets).map(|()| octets)
    };
    let header = octets(Part::Header, header)?;
    let header = Header::parse(std::str::from_utf8(&header).map_err(|_| TokenError::Json { part: Part::Header })?)?;
    octets(Part::Payload, payload)?;
    let signature = octets(Part::Signature, signature)?;
    Ok(Jws { header, signing_input, signature })
}
