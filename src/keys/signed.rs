//! `SignedToken`: a token with a valid signature.

use std::fmt;

use crate::keys::thumbprint::Thumbprint;
use crate::keys::verify::VerifyingKey;
use crate::token::{Header, Payload, UnverifiedToken};

/// A token with a valid signature of one of the issuer's keys. Its claims are authentic but not checked yet.
///
/// The only way to create one is to verify a signature.
#[derive(Clone)]
pub struct SignedToken {
    header: Header,
    payload: Payload,
    thumbprint: Thumbprint,
}

impl SignedToken {
    /// Verifies the signature with each key in order, until one succeeds.
    ///
    /// # Errors
    ///
    /// The unchanged token, if the signature is not valid for any of the keys.
    ///
    /// # Security
    ///
    /// A key that is bound to another algorithm than the one in the header is never used.
    #[expect(clippy::result_large_err, reason = "the token is moved on either way, never boxed on the warm path")]
    pub(crate) fn verify<'t, 'k>(
        token: UnverifiedToken<'t>,
        keys: impl Iterator<Item = &'k VerifyingKey>,
    ) -> Result<Self, UnverifiedToken<'t>> {
        let algorithm = token.header().algorithm();
        let mut candidates = keys.filter(|key| key.algorithm() == algorithm);
        let Some(key) = candidates.find(|key| key.verify(token.signing_input(), token.signature())) else {
            return Err(token);
        };
        let (header, payload) = token.into_parts();
        Ok(Self { header, payload, thumbprint: *key.thumbprint() })
    }

    /// Returns the signed header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the signed claims.
    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    #[cfg(test)]
    pub(crate) fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Returns the parts.
    pub(crate) fn into_parts(self) -> (Header, Payload, Thumbprint) {
        (self.header, self.payload, self.thumbprint)
    }
}

impl fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedToken").field("algorithm", &self.header.algorithm()).finish_non_exhaustive()
    }
}
