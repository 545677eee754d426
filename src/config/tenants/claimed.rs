//! `ClaimedIssuer`: the `iss` of a token that is not trusted yet.

use std::sync::Arc;

/// The `iss` of a token whose signature is not verified, for the resolver of [`Tenants`](crate::config::Tenants).
///
/// # Security
///
/// A client can choose it freely, within the pattern or predicate of the tenants. There is nothing of the request: the resolver is
/// called once for all requests that wait for a name, and its result is used for minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedIssuer {
    issuer: Arc<str>,
    captures: Arc<[(Box<str>, Box<str>)]>,
}

impl ClaimedIssuer {
    pub(super) fn new<'c>(issuer: &str, captures: impl Iterator<Item = (&'c str, &'c str)>) -> Self {
        let captures = captures.map(|(name, text)| (Box::from(name), Box::from(text))).collect();
        Self { issuer: Arc::from(issuer), captures }
    }

    /// Returns the `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the text that stands for `{name}` in the `iss`; `None` if the pattern has no such name, or if there is no pattern.
    #[must_use]
    pub fn capture(&self, name: &str) -> Option<&str> {
        self.captures.iter().find(|(known, _)| **known == *name).map(|(_, text)| &**text)
    }

    pub(crate) fn shared_issuer(&self) -> &Arc<str> {
        &self.issuer
    }
}
