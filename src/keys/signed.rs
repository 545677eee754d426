//! A token whose signature holds.

use std::fmt;

use crate::keys::thumbprint::Thumbprint;
use crate::keys::verify::VerifyingKey;
use crate::token::{Header, Payload, UnverifiedToken};

/// A token that one of the issuer's keys has signed; its claims are genuine, and not yet judged.
///
/// Only the proof makes one.
#[derive(Clone)]
pub struct SignedToken {
    header: Header,
    payload: Payload,
    thumbprint: Thumbprint,
}

impl SignedToken {
    /// Tries the keys in turn; gives the token back if none has signed it.
    ///
    /// # Errors
    ///
    /// The token itself.
    ///
    /// # Security
    ///
    /// A key that is bound to another algorithm than the header's is never tried, whoever passes it.
    #[expect(clippy::result_large_err, reason = "the token is moved on either way, never boxed on the warm path")]
    pub(crate) fn prove<'t, 'k>(
        token: UnverifiedToken<'t>,
        keys: impl Iterator<Item = &'k VerifyingKey>,
    ) -> Result<Self, UnverifiedToken<'t>> {
        let algorithm = token.header().algorithm();
        let mut fitting = keys.filter(|key| key.algorithm() == algorithm);
        let Some(key) = fitting.find(|key| key.verify(token.signing_input(), token.signature())) else {
            return Err(token);
        };
        let (header, payload) = token.into_parts();
        Ok(Self { header, payload, thumbprint: *key.thumbprint() })
    }

    /// The header that was signed.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The claims that were signed.
    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    #[cfg(test)]
    pub(crate) fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Gives up the parts.
    pub(crate) fn into_parts(self) -> (Header, Payload, Thumbprint) {
        (self.header, self.payload, self.thumbprint)
    }
}

impl fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedToken").field("algorithm", &self.header.algorithm()).finish_non_exhaustive()
    }
}
