//! `ProofBody`: the claims of a proof (RFC 9449 §4.2).

use std::borrow::Cow;

use crate::claims;
use crate::clock::Timestamp;
use crate::defaults;
use crate::dpop::error::{ProofClaim, ProofError};
use crate::token::{self, Segment};

/// The claims of a proof, each of its type.
pub(super) struct ProofBody<'j> {
    pub(super) jti: Cow<'j, str>,
    pub(super) method: Cow<'j, str>,
    pub(super) url: Cow<'j, str>,
    pub(super) issued_at: Timestamp,
    /// The text of `ath`.
    pub(super) token_hash: Cow<'j, str>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) not_before: Option<Timestamp>,
    /// The JSON text of `nonce`.
    pub(super) nonce: Option<&'j str>,
}

impl<'j> ProofBody<'j> {
    /// Parses the claims (check 3). Other claims are ignored.
    pub(super) fn parse(json: &'j str) -> Result<Self, ProofError> {
        let names = ["jti", "htm", "htu", "iat", "ath", "exp", "nbf", "nonce"];
        let [jti, htm, htu, iat, ath, exp, nbf, nonce] = token::json_members(Segment::Payload, json, names)?;
        let jti = text(ProofClaim::Jti, jti)?;
        if jti.is_empty() || jti.len() > defaults::MAX_PROOF_JTI_BYTES {
            return Err(ProofError::MalformedClaim(ProofClaim::Jti));
        }
        Ok(Self {
            jti,
            method: text(ProofClaim::Htm, htm)?,
            url: text(ProofClaim::Htu, htu)?,
            issued_at: date(ProofClaim::Iat, iat)?.ok_or(ProofError::MissingClaim(ProofClaim::Iat))?,
            token_hash: text(ProofClaim::Ath, ath)?,
            expires_at: date(ProofClaim::Exp, exp)?,
            not_before: date(ProofClaim::Nbf, nbf)?,
            nonce,
        })
    }
}

fn text<'j>(claim: ProofClaim, json: Option<&'j str>) -> Result<Cow<'j, str>, ProofError> {
    token::unquote(json.ok_or(ProofError::MissingClaim(claim))?).ok_or(ProofError::MalformedClaim(claim))
}

/// Parses a NumericDate from 1970 to 9999 (RFC 7519 §2).
fn date(claim: ProofClaim, json: Option<&str>) -> Result<Option<Timestamp>, ProofError> {
    let Some(json) = json else { return Ok(None) };
    let date = claims::numeric_date(json).filter(|date| *date >= Timestamp::UNIX_EPOCH);
    date.map(Some).ok_or(ProofError::MalformedClaim(claim))
}
