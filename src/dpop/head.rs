//! `ProofHead`: the header of a proof, with its key (RFC 9449 §4.3, checks 4 to 7).

use std::fmt;
use std::mem::size_of;

use crate::dpop::error::ProofError;
use crate::dpop::policy::ProofPolicy;
use crate::dpop::proof::UnverifiedProof;
use crate::keys::{EmbeddedJwk, EmbeddedKey, Thumbprint};
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
    /// Most memory of a head with a key on a curve, in bytes. Its encoded form has at most about 400 bytes, with a `kid`.
    pub(crate) const CURVE_FOOTPRINT: usize = size_of::<Self>() + 512 + EmbeddedKey::CURVE_FOOTPRINT;

    /// Parses and checks the header of a proof, whose key must be `expected`. Of another key, only the point of an EC key is checked, which
    /// decides between two errors: the checks of an RSA key would take as long as a verification.
    pub(super) fn parse(
        proof: &UnverifiedProof<'_>,
        policy: &ProofPolicy,
        expected: &Thumbprint,
    ) -> Result<Self, ProofError> {
        let json = proof.header()?;
        let names = ["typ", "alg", "jwk", "crit", "b64"];
        let [typ, algorithm, jwk, crit, b64] = token::json_members(Segment::Header, &json, names)?;
        if TokenType::from_typ(typ.and_then(token::unquote).as_deref()) != TokenType::Dpop {
            return Err(ProofError::Type);
        }
        let algorithm = algorithm.and_then(token::unquote).and_then(|name| Algorithm::from_name(&name));
        let algorithm = algorithm.ok_or(ProofError::UnknownAlgorithm)?;
        if !policy.accepts(algorithm) {
            return Err(ProofError::AlgorithmNotAccepted { algorithm });
        }
        if crit.is_some() || b64.is_some() {
            return Err(ProofError::CriticalHeader);
        }
        let jwk = EmbeddedJwk::parse(jwk.ok_or(ProofError::MissingKey)?, algorithm).map_err(ProofError::Key)?;
        if jwk.thumbprint() != *expected {
            jwk.check_point().map_err(ProofError::Key)?;
            return Err(ProofError::OtherKey);
        }
        let key = jwk.into_key().map_err(ProofError::Key)?;
        Ok(Self { encoded: Box::from(proof.encoded_header()), key })
    }

    /// Returns whether this is the head of a proof.
    pub(super) fn is_head_of(&self, proof: &UnverifiedProof<'_>) -> bool {
        *self.encoded == *proof.encoded_header()
    }

    /// Returns its memory in bytes.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>().saturating_add(self.encoded.len()).saturating_add(self.key.footprint())
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
