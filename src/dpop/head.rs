//! `ProofHead`: the header of a proof, with its key (RFC 9449 §4.3, checks 4 to 7).

use std::fmt;

use crate::dpop::error::ProofError;
use crate::dpop::policy::ProofPolicy;
use crate::dpop::proof::UnverifiedProof;
use crate::keys::{EmbeddedKey, Thumbprint};
use crate::token::{self, Algorithm, Segment, TokenType};

/// The checked header of a proof.
///
/// It is a function of the encoded header and of the policy. Equal encoded headers under one policy have equal heads, so a head that
/// was parsed before saves only work.
pub(crate) struct ProofHead {
    encoded: Box<[u8]>,
    key: EmbeddedKey,
}

impl ProofHead {
    /// Parses and checks the header of a proof.
    pub(super) fn parse(proof: &UnverifiedProof<'_>, policy: &ProofPolicy) -> Result<Self, ProofError> {
        let json = proof.header()?;
        let names = ["typ", "alg", "jwk", "crit", "b64"];
        let [typ, algorithm, jwk, crit, b64] = token::json_members(Segment::Header, &json, names)?;
        let text = |member: Option<&str>| member.and_then(token::unquote).map(|text| text.into_owned());
        if TokenType::from_typ(text(typ).as_deref()) != TokenType::Dpop {
            return Err(ProofError::Type);
        }
        let algorithm =
            text(algorithm).and_then(|name| Algorithm::from_name(&name)).ok_or(ProofError::UnknownAlgorithm)?;
        if !policy.accepts(algorithm) {
            return Err(ProofError::AlgorithmNotAccepted { algorithm });
        }
        if crit.is_some() || b64.is_some() {
            return Err(ProofError::CriticalHeader);
        }
        let key = EmbeddedKey::from_jwk(jwk.ok_or(ProofError::MissingKey)?, algorithm).map_err(ProofError::Key)?;
        Ok(Self { encoded: Box::from(proof.encoded_header()), key })
    }

    /// Returns whether this is the head of a proof.
    pub(super) fn is_head_of(&self, proof: &UnverifiedProof<'_>) -> bool {
        *self.encoded == *proof.encoded_header()
    }

    pub(super) fn thumbprint(&self) -> Thumbprint {
        self.key.thumbprint()
    }

    /// Verifies the signature of a proof with this head.
    pub(super) fn verify(&self, proof: &UnverifiedProof<'_>) -> Result<(), ProofError> {
        let signature = proof.signature()?;
        if self.key.verify(proof.signing_input(), &signature) { Ok(()) } else { Err(ProofError::Signature) }
    }
}

impl fmt::Debug for ProofHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofHead(..)")
    }
}
