//! `UnverifiedProof`: the text of a proof, whose form is checked (RFC 9449 §4.3, checks 1 and 2).

use std::fmt;

use crate::defaults;
use crate::dpop::error::ProofError;
use crate::token::{self, CompactJws, Segment, TokenError};

/// A proof with three segments of canonical base64url. Nothing in it is verified.
#[derive(Clone, Copy)]
pub(crate) struct UnverifiedProof<'p>(CompactJws<'p>);

/// The lengths of the first two segments of a proof whose form is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProofSegments {
    header: usize,
    payload: usize,
}

impl<'p> UnverifiedProof<'p> {
    /// Checks the length and the form of a proof, before any JSON is parsed.
    pub(crate) fn parse(text: &'p [u8]) -> Result<Self, ProofError> {
        if text.len() > defaults::MAX_PROOF_BYTES {
            return Err(ProofError::TooLong { length: text.len() });
        }
        // A list of proofs, which a proxy made of two fields (RFC 9110 §5.3).
        if memchr::memchr(b',', text).is_some() {
            return Err(ProofError::Multiple);
        }
        let jws = CompactJws::split(text).map_err(ProofError::Form)?;
        for (segment, encoded) in jws.segments() {
            token::check_encoding(segment, encoded).map_err(ProofError::Form)?;
        }
        Ok(Self(jws))
    }

    /// Returns the lengths of its segments, for [`from_checked`](Self::from_checked).
    pub(crate) fn segments(&self) -> ProofSegments {
        ProofSegments { header: self.0.header.len(), payload: self.0.payload.len() }
    }

    /// Splits the text of a proof whose form [`parse`](Self::parse) has checked, without checking it again. `text` must be that text, and
    /// `segments` must be its segments. Of another text, only the length is checked: `None` if it is too short.
    pub(crate) fn from_checked(text: &'p [u8], segments: ProofSegments) -> Option<Self> {
        let (header, rest) = text.split_at_checked(segments.header)?;
        let (payload, rest) = rest.split_first()?.1.split_at_checked(segments.payload)?;
        let signature = rest.split_first()?.1;
        let end = segments.header.saturating_add(1).saturating_add(segments.payload);
        Some(Self(CompactJws { header, payload, signature, signing_input: text.get(..end)? }))
    }

    /// Returns the header, still encoded.
    pub(super) fn encoded_header(&self) -> &'p [u8] {
        self.0.header
    }

    /// Returns the header as JSON text.
    pub(super) fn header(&self) -> Result<String, ProofError> {
        token::decode_text(Segment::Header, self.0.header).map_err(ProofError::Form)
    }

    /// Returns the claims as JSON text.
    pub(super) fn claims(&self) -> Result<String, ProofError> {
        token::decode_text(Segment::Payload, self.0.payload).map_err(ProofError::Form)
    }

    /// Returns a claim as JSON text, for an explanation.
    pub(crate) fn claim(&self, name: &str) -> Option<String> {
        let json = self.claims().ok()?;
        let [claim] = token::json_members(Segment::Payload, &json, [name]).ok()?;
        claim.map(str::to_owned)
    }

    pub(super) fn signing_input(&self) -> &'p [u8] {
        self.0.signing_input
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, ProofError> {
        token::decode_bytes(Segment::Signature, self.0.signature).map_err(ProofError::Form)
    }
}

impl fmt::Debug for UnverifiedProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedProof(..)")
    }
}

impl From<TokenError> for ProofError {
    fn from(error: TokenError) -> Self {
        Self::Form(error)
    }
}
