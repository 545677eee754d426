//! Organizations: for which of them a token must be.

use std::sync::Arc;

use crate::claims::error::ClaimErrorReason;
use crate::token::{Claim, Member, Payload};

/// One organization, by its id or its name.
///
/// # Security
///
/// Ids are never given again. Names can change, be given again, and are unique within one tenant only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Organization(Key);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(Box<str>),
    Name(Box<str>),
}

impl Organization {
    /// The organization of this `org_id`, compared exactly.
    #[must_use]
    pub fn id(id: &str) -> Self {
        Self(Key::Id(Box::from(id)))
    }

    /// The organization of this `org_name`, compared in lower case.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self(Key::Name(Box::from(name)))
    }

    /// The claim that tells it, and its value there.
    pub(crate) fn expected(&self) -> (Claim, &str) {
        match &self.0 {
            Key::Id(id) => (Claim::OrgId, id),
            Key::Name(name) => (Claim::OrgName, name),
        }
    }

    /// Says whether the token is for this organization.
    pub(crate) fn evaluate(&self, payload: &Payload) -> Result<(), ClaimErrorReason> {
        match &self.0 {
            Key::Id(id) => is_one_of(payload, Claim::OrgId, |organization| organization == &**id),
            Key::Name(name) => is_one_of(payload, Claim::OrgName, |organization| same_name(organization, name)),
        }
    }
}

/// For which organizations tokens are taken, whatever the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum OrganizationRule {
    /// For any, and for none.
    #[default]
    Any,
    /// By `org_id`.
    Ids(Arc<[Box<str>]>),
    /// By `org_name`, in lower case.
    Names(Arc<[Box<str>]>),
}

impl OrganizationRule {
    /// The claim that tells it, and the values that are taken; `None` where any is.
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
            Self::Ids(ids) => is_one_of(payload, Claim::OrgId, |id| ids.iter().any(|ours| **ours == *id)),
            Self::Names(names) => {
                is_one_of(payload, Claim::OrgName, |name| names.iter().any(|ours| same_name(name, ours)))
            }
        }
    }
}

fn is_one_of(payload: &Payload, claim: Claim, holds: impl Fn(&str) -> bool) -> Result<(), ClaimErrorReason> {
    match payload.text(claim) {
        Member::Absent | Member::Is("") => Err(ClaimErrorReason::Missing),
        Member::Malformed => Err(ClaimErrorReason::Malformed),
        Member::Is(text) if holds(text) => Ok(()),
        Member::Is(_) => Err(ClaimErrorReason::Mismatch),
    }
}

/// Auth0 keeps names in lower case; only ASCII letters have one, so that no other letter is folded onto them.
fn same_name(name: &str, ours: &str) -> bool {
    name.eq_ignore_ascii_case(ours)
}
