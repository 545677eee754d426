//! `ClaimsSource`: what proved that claims are genuine.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::keys::Thumbprint;
use crate::token::Header;

/// What proved that the claims are genuine.
///
/// ```
/// use tower_bearer::Claims;
/// use tower_bearer::claims::ClaimsSource;
///
/// fn describe(claims: &Claims) -> String {
///     match claims.source() {
///         ClaimsSource::Signature(header) => format!("signed with {}", header.algorithm()),
///         _ => "not signed".to_owned(),
///     }
/// }
/// # assert_eq!(describe(&tower_bearer::testing::claims().build()), "signed with RS256");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsSource<'c> {
    /// A key of the issuer verified the signature of the token, which has this header.
    Signature(&'c Header),
    /// The authorization server said that the token is active, and has these claims (RFC 7662).
    Introspection,
}

/// The source of claims, with the data that a later check of the source needs.
pub(super) enum Source {
    Signature {
        header: Header,
        /// The key that verified the signature; `None` for claims that a test created.
        key: Option<Thumbprint>,
    },
    Introspection {
        /// The issuer of the endpoint.
        issuer: Arc<str>,
        /// The end of the claims if they have no `exp`.
        valid_until: Timestamp,
    },
}

impl Source {
    pub(super) fn public(&self) -> ClaimsSource<'_> {
        match self {
            Self::Signature { header, .. } => ClaimsSource::Signature(header),
            Self::Introspection { .. } => ClaimsSource::Introspection,
        }
    }
}
