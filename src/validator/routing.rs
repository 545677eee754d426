//! `Routes`: finds the trusted issuer of a token by `iss`.
//!
//! This is a lookup among the configured names. It happens before any fetch, and no URL is derived from `iss`.

use std::borrow::Cow;
use std::fmt;

use crate::config::HostRules;
use crate::rejection::{IssuerDifference, IssuerError};
use crate::request::Host;
use crate::telemetry::Label;
use crate::token::{Claim, Member, Payload};

/// All trusted `iss` values, with the issuer of each.
pub(super) struct Routes {
    /// Sorted by name.
    known: Box<[TrustedIssuer]>,
}

/// One trusted `iss` value.
struct TrustedIssuer {
    label: Label,
    /// The index of the issuer in the configuration.
    issuer: usize,
}

/// The trusted `iss` value of a token, and its issuer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'r> {
    /// The `iss` value, as configured.
    pub(super) label: &'r Label,
    pub(super) serial: RouteSerial,
    /// The index of the issuer in the configuration.
    pub(super) issuer: usize,
}

/// Identifies one trusted `iss` value of a validator.
///
/// # Security
///
/// A serial is never assigned again, so a cached token cannot be taken for one of another issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RouteSerial(usize);

#[cfg(test)]
impl RouteSerial {
    pub(super) fn for_tests(number: usize) -> Self {
        Self(number)
    }
}

impl Routes {
    /// Numbers the issuers in order. The configuration rejects duplicate names.
    pub(super) fn new<'i>(issuers: impl IntoIterator<Item = &'i [Box<str>]>) -> Self {
        let numbered = issuers.into_iter().enumerate();
        let known = |(issuer, names): (usize, &'i [Box<str>])| {
            names.iter().map(move |name| TrustedIssuer { label: Label::new(Cow::Owned(name.to_string())), issuer })
        };
        let mut known: Box<[TrustedIssuer]> = numbered.flat_map(known).collect();
        known.sort_unstable_by(|one, other| one.label.name().cmp(other.label.name()));
        Self { known }
    }

    /// Finds the issuer that a token claims, and checks that the host allows it.
    pub(super) fn find(
        &self,
        payload: &Payload,
        hosts: &HostRules,
        host: Option<&Host>,
    ) -> Result<Route<'_>, IssuerError> {
        let claimed = claimed(payload)?;
        let route = self.find_name(claimed)?;
        if hosts.is_empty() {
            return Ok(route);
        }
        match host.and_then(|host| hosts.issuer_for(host)) {
            None => Err(IssuerError::UnknownHost),
            Some(bound) if bound == route.label.name() => Ok(route),
            Some(_) => Err(IssuerError::NotForHost),
        }
    }

    /// Returns the route with this serial.
    pub(super) fn get(&self, serial: RouteSerial) -> Option<Route<'_>> {
        self.known.get(serial.0).map(|known| Route { label: &known.label, serial, issuer: known.issuer })
    }

    /// Finds the issuer that a token claims, without a check of the host.
    pub(super) fn find_ignoring_host(&self, payload: &Payload) -> Result<Route<'_>, IssuerError> {
        self.find_name(claimed(payload)?)
    }

    /// Returns all trusted `iss` values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|known| known.label.name())
    }

    fn find_name(&self, claimed: &str) -> Result<Route<'_>, IssuerError> {
        let index = self.known.binary_search_by(|known| known.label.name().cmp(claimed));
        index.ok().and_then(|index| self.get(RouteSerial(index))).ok_or_else(|| IssuerError::Unknown {
            difference: self.names().find_map(|known| difference_between(claimed, known)),
        })
    }
}

impl Route<'_> {
    /// Returns whether the issuer is trusted for this host.
    pub(super) fn allows_host(&self, hosts: &HostRules, host: Option<&Host>) -> bool {
        hosts.is_empty() || host.and_then(|host| hosts.issuer_for(host)) == Some(self.label.name())
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn claimed(payload: &Payload) -> Result<&str, IssuerError> {
    match payload.text(Claim::Iss) {
        Member::Absent => Err(IssuerError::Missing),
        Member::Malformed => Err(IssuerError::Malformed),
        Member::Is(issuer) => Ok(issuer),
    }
}

/// Returns how two similar issuers differ, for the operator's log.
fn difference_between(claimed: &str, known: &str) -> Option<IssuerDifference> {
    if claimed.strip_suffix('/').unwrap_or(claimed) == known.strip_suffix('/').unwrap_or(known) {
        Some(if claimed.ends_with('/') { IssuerDifference::ExtraSlash } else { IssuerDifference::MissingSlash })
    } else if claimed.eq_ignore_ascii_case(known) {
        Some(IssuerDifference::Case)
    } else {
        (without_scheme(claimed)? == without_scheme(known)?).then_some(IssuerDifference::Scheme)
    }
}

fn without_scheme(issuer: &str) -> Option<&str> {
    issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        Routes::new([
            &[Box::from("https://a.example/"), Box::from("https://login.a.example/")][..],
            &[Box::from("https://b.example")],
        ])
    }

    fn find(iss: &str) -> Result<usize, IssuerError> {
        let payload = Payload::for_tests(&format!("{{\"iss\":{iss}}}"));
        routes().find(&payload, &HostRules::default(), None).map(|route| route.issuer)
    }

    #[test]
    fn finds_the_issuer_of_every_domain() {
        assert_eq!(find(r#""https://a.example/""#), Ok(0));
        assert_eq!(find(r#""https:\/\/login.a.example\/""#), Ok(0));
        assert_eq!(find(r#""https://b.example""#), Ok(1));
    }

    #[test]
    fn rejects_a_similar_issuer_and_names_the_difference() {
        for (iss, difference) in [
            (r#""https://a.example""#, Some(IssuerDifference::MissingSlash)),
            (r#""https://b.example/""#, Some(IssuerDifference::ExtraSlash)),
            (r#""https://A.example/""#, Some(IssuerDifference::Case)),
            (r#""http://a.example/""#, Some(IssuerDifference::Scheme)),
            (r#""https://a.example//""#, None),
            (r#""https://evil.example/""#, None),
            (r#""""#, None),
        ] {
            assert_eq!(find(iss), Err(IssuerError::Unknown { difference }), "{iss}");
        }
    }

    #[test]
    fn distinguishes_a_missing_issuer_from_a_malformed_one() {
        assert_eq!(find(r#"["https://a.example/"]"#), Err(IssuerError::Malformed));
        let none = routes().find(&Payload::for_tests("{}"), &HostRules::default(), None).map(|route| route.issuer);
        assert_eq!(none, Err(IssuerError::Missing));
    }
}
