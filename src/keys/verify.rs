//! `VerifyingKey`: a key that is bound to one algorithm.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

use crate::keys::thumbprint::Thumbprint;
use crate::token::{Algorithm, CertificateHashes};

/// A key that is parsed for exactly one algorithm, so a token cannot choose how its own signature is checked.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    kid: Option<Box<str>>,
    algorithm: Algorithm,
    thumbprint: Thumbprint,
    /// The hashes of its certificate, as published.
    certificate: Option<CertificateHashes>,
    /// The member `issuer` of the JWK.
    issuer: Option<Box<str>>,
    verifier: Verifier,
}

/// The parsed key that checks signatures.
#[derive(Clone)]
pub(super) enum Verifier {
    Public(ParsedPublicKey),
    /// Boxed, since its hash states take more than a thousand bytes.
    Secret(Box<hmac::Key>),
}

impl VerifyingKey {
    pub(super) fn new(kid: Option<Box<str>>, algorithm: Algorithm, thumbprint: Thumbprint, verifier: Verifier) -> Self {
        Self { kid, algorithm, thumbprint, certificate: None, issuer: None, verifier }
    }

    pub(super) fn with_certificate(self, certificate: Option<CertificateHashes>) -> Self {
        Self { certificate, ..self }
    }

    pub(super) fn with_issuer(self, issuer: Option<Box<str>>) -> Self {
        Self { issuer, ..self }
    }

    /// Returns whether `signature` is valid for `message` and this key.
    ///
    /// ECDSA signatures are `R || S` of full length (RFC 7518 §3.4). MACs are compared in full length and in constant time.
    #[must_use]
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
            Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn certificate(&self) -> Option<&CertificateHashes> {
        self.certificate.as_ref()
    }

    /// Returns the member `issuer` of the JWK, or an empty text if it is not a string.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(crate) fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
