//! The check of the organization of a token.

use std::sync::Arc;

use crate::claims::error::ClaimErrorReason;
use crate::token::{Claim, Member, Payload};

/// An organization, identified by its id or its name.
///
/// # Security
///
/// Ids are never reused. Names can change and be reused, and are unique only within one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Organization(Key);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(Box<str>),
    Name(Box<str>),
}

impl Organization {
    /// Creates an organization by its `org_id`, which is compared exactly.
    #[must_use]
    pub fn from_id(id: &str) -> Self {
        Self(Key::Id(Box::from(id)))
    }

    /// Creates an organization by its `org_name`, which is compared in lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self(Key::Name(Box::from(name)))
    }

    /// Returns the claim that identifies it, and the expected value.
    pub(crate) fn expected(&self) -> (Claim, &str) {
        match &self.0 {
            Key::Id(id) => (Claim::OrgId, id),
            Key::Name(name) => (Claim::OrgName, name),
        }
    }

    /// Checks that the token is for this organization.
    pub(crate) fn evaluate(&self, payload: &Payload) -> Result<(), ClaimErrorReason> {
        match &self.0 {
            Key::Id(id) => check_claim(payload, Claim::OrgId, |organization| organization == &**id),
            Key::Name(name) => check_claim(payload, Claim::OrgName, |organization| same_name(organization, name)),
        }
    }
}

/// The organizations whose tokens are accepted, independent of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum OrganizationRule {
    /// Any organization, or none.
    #[default]
    Any,
    /// The organizations with these `org_id`s.
    Ids(Arc<[Box<str>]>),
    /// The organizations with these `org_name`s, compared in lower case.
    Names(Arc<[Box<str>]>),
}

impl OrganizationRule {
    /// Returns the claim that identifies the organization and its accepted values; `None` if any is accepted.
    pub(crate) fn expected(&self) -> Option<(Claim, String)> {
        match self {
            Self::Any => None,
            Self::Ids(ids) => Some((Claim::OrgId, ids.join(" or "))),
            Self::Names(names) => Some((Claim::OrgName, names.join(" or "))),
        }
    }

    pub(super) fn evaluate(&self, payload: &Payload) -> Result<(), ClaimErrorReason> {
        match self {
            Self::Any => Ok(()),
            Self::Ids(ids) => check_claim(payload, Claim::OrgId, |id| ids.iter().any(|accepted| **accepted == *id)),
            Self::Names(names) => {
                check_claim(payload, Claim::OrgName, |name| names.iter().any(|accepted| same_name(name, accepted)))
            }
        }
    }
}

fn check_claim(payload: &Payload, claim: Claim, matches: impl Fn(&str) -> bool) -> Result<(), ClaimErrorReason> {
    match payload.text(claim) {
        Member::Absent | Member::Is("") => Err(ClaimErrorReason::Missing),
        Member::Malformed => Err(ClaimErrorReason::Malformed),
        Member::Is(text) if matches(text) => Ok(()),
        Member::Is(_) => Err(ClaimErrorReason::Mismatch),
    }
}

/// Auth0 stores names in lower case. Only ASCII letters are folded, so that no other letter equals one of them.
fn same_name(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}
