//! Claimed issuer to trusted issuer: a look-up among configured names, never a URL, before any fetch.

use std::borrow::Cow;
use std::fmt;

use crate::config::HostRules;
use crate::rejection::{IssuerError, NearMiss};
use crate::request::Host;
use crate::telemetry::Label;
use crate::token::{Claim, Member, Payload};

/// Every `iss` value that is trusted, and which issuer it belongs to.
pub(super) struct Routes {
    /// Sorted by name.
    known: Box<[Known]>,
}

/// One `iss` value that is trusted.
struct Known {
    label: Label,
    /// The issuer's place in the configuration.
    issuer: usize,
}

/// Where a token leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'r> {
    /// The `iss` value, as configured.
    pub(super) label: &'r Label,
    /// Its place among all `iss` values, for as long as they stay the same.
    pub(super) index: usize,
    /// The issuer's place in the configuration.
    pub(super) issuer: usize,
}

impl Routes {
    /// Numbers the issuers in order; the configuration has made sure that no name stands twice.
    pub(super) fn new<'i>(issuers: impl IntoIterator<Item = &'i [Box<str>]>) -> Self {
        let numbered = issuers.into_iter().enumerate();
        let known = |(issuer, names): (usize, &'i [Box<str>])| {
            names.iter().map(move |name| Known { label: Label::new(Cow::Owned(name.to_string())), issuer })
        };
        let mut known: Box<[Known]> = numbered.flat_map(known).collect();
        known.sort_unstable_by(|one, other| one.label.name().cmp(other.label.name()));
        Self { known }
    }

    /// Finds the issuer that a token claims, where the host allows it.
    pub(super) fn find(
        &self,
        payload: &Payload,
        hosts: &HostRules,
        host: Option<&Host>,
    ) -> Result<Route<'_>, IssuerError> {
        let claimed = claimed(payload)?;
        let route = self.look_up(claimed)?;
        if hosts.is_empty() {
            return Ok(route);
        }
        match host.and_then(|host| hosts.issuer_for(host)) {
            None => Err(IssuerError::UnknownHost),
            Some(bound) if bound == route.label.name() => Ok(route),
            Some(_) => Err(IssuerError::NotForHost),
        }
    }

    /// The route that was found before at this place.
    pub(super) fn at(&self, index: usize) -> Option<Route<'_>> {
        self.known.get(index).map(|known| Route { label: &known.label, index, issuer: known.issuer })
    }

    /// The issuer that a token claims, whatever the host.
    pub(super) fn route_of(&self, payload: &Payload) -> Result<Route<'_>, IssuerError> {
        self.look_up(claimed(payload)?)
    }

    /// Every `iss` value that is trusted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|known| known.label.name())
    }

    fn look_up(&self, claimed: &str) -> Result<Route<'_>, IssuerError> {
        let index = self.known.binary_search_by(|known| known.label.name().cmp(claimed));
        index
            .ok()
            .and_then(|index| self.at(index))
            .ok_or_else(|| IssuerError::Unknown { near: self.names().find_map(|known| near_miss(claimed, known)) })
    }
}

impl Route<'_> {
    /// Says whether the issuer is trusted under this host too.
    pub(super) fn is_open_to(&self, hosts: &HostRules, host: Option<&Host>) -> bool {
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

/// Says how two different issuers resemble each other, for the operator's log.
fn near_miss(claimed: &str, known: &str) -> Option<NearMiss> {
    if claimed.strip_suffix('/').unwrap_or(claimed) == known.strip_suffix('/').unwrap_or(known) {
        Some(if claimed.ends_with('/') { NearMiss::ExtraSlash } else { NearMiss::MissingSlash })
    } else if claimed.eq_ignore_ascii_case(known) {
        Some(NearMiss::Case)
    } else {
        (without_scheme(claimed)? == without_scheme(known)?).then_some(NearMiss::Scheme)
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
    fn every_domain_leads_to_its_issuer() {
        assert_eq!(find(r#""https://a.example/""#), Ok(0));
        assert_eq!(find(r#""https:\/\/login.a.example\/""#), Ok(0));
        assert_eq!(find(r#""https://b.example""#), Ok(1));
    }

    #[test]
    fn a_near_miss_is_refused_and_named() {
        for (iss, near) in [
            (r#""https://a.example""#, Some(NearMiss::MissingSlash)),
            (r#""https://b.example/""#, Some(NearMiss::ExtraSlash)),
            (r#""https://A.example/""#, Some(NearMiss::Case)),
            (r#""http://a.example/""#, Some(NearMiss::Scheme)),
            (r#""https://a.example//""#, None),
            (r#""https://evil.example/""#, None),
            (r#""""#, None),
        ] {
            assert_eq!(find(iss), Err(IssuerError::Unknown { near }), "{iss}");
        }
    }

    #[test]
    fn tells_missing_from_malformed() {
        assert_eq!(find(r#"["https://a.example/"]"#), Err(IssuerError::Malformed));
        let none = routes().find(&Payload::for_tests("{}"), &HostRules::default(), None).map(|route| route.issuer);
        assert_eq!(none, Err(IssuerError::Missing));
    }
}
