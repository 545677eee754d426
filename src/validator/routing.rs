//! `Routes`: finds the trusted issuer of a token by `iss` and the kind of `alg`.
//!
//! This is a lookup among the configured names. It happens before any fetch, and no URL is derived from `iss`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::config::HostRules;
use crate::rejection::{IssuerDifference, IssuerError};
use crate::request::Host;
use crate::telemetry::Label;
use crate::token::{Algorithm, Claim, Member, Payload};

/// All trusted `iss` values, with the issuer of each.
pub(super) struct Routes {
    /// Sorted by name and kind of keys. A name occurs at most twice: with public keys and with shared secrets.
    known: Box<[TrustedIssuer]>,
}

/// One trusted `iss` value, with one kind of keys.
struct TrustedIssuer {
    label: Label,
    /// Whether the issuer has shared secrets.
    is_symmetric: bool,
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

/// Identifies one trusted `iss` value of a validator, with one kind of keys.
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
    /// Numbers the issuers in order. Each has its names and the algorithms of its kind of keys. The configuration rejects
    /// duplicate names of one kind.
    pub(super) fn new<'i>(issuers: impl IntoIterator<Item = (&'i [Box<str>], &'i [Algorithm])>) -> Self {
        let numbered = issuers.into_iter().enumerate();
        let known = |(issuer, (names, algorithms)): (usize, (&'i [Box<str>], &'i [Algorithm]))| {
            let is_symmetric = algorithms.iter().any(|algorithm| algorithm.is_symmetric());
            let label = |name: &str| Label::new(Cow::Owned(name.to_owned()));
            names.iter().map(move |name| TrustedIssuer { label: label(name), is_symmetric, issuer })
        };
        let mut known: Box<[TrustedIssuer]> = numbered.flat_map(known).collect();
        known.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        Self { known }
    }

    /// Finds the issuer that a token claims, and checks that the host allows it.
    pub(super) fn find(
        &self,
        payload: &Payload,
        algorithm: Algorithm,
        hosts: &HostRules,
        host: Option<&Host>,
    ) -> Result<Route<'_>, IssuerError> {
        let route = self.find_ignoring_host(payload, algorithm)?;
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
    ///
    /// # Security
    ///
    /// If two issuers have this name, the kind of `algorithm` selects one, so that no key is tried for the other kind. If there
    /// is only one, it is returned for both kinds; its list of algorithms then rejects the token.
    pub(super) fn find_ignoring_host(&self, payload: &Payload, algorithm: Algorithm) -> Result<Route<'_>, IssuerError> {
        let claimed = claimed(payload)?;
        let named = self.named(claimed);
        let index = named
            .clone()
            .find(|index| self.known.get(*index).is_some_and(|known| known.is_symmetric == algorithm.is_symmetric()));
        let index = index.or(Some(named.start).filter(|_| !named.is_empty()));
        index.and_then(|index| self.get(RouteSerial(index))).ok_or_else(|| IssuerError::Unknown {
            difference: self.names().find_map(|known| difference_between(claimed, known)),
        })
    }

    /// Returns all trusted `iss` values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.groups().filter_map(|group| group.first()).map(|known| known.label.name())
    }

    /// Returns the indexes of the issuers of each trusted `iss` value: one or two.
    pub(super) fn issuers_by_name(&self) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        self.groups().map(|group| group.iter().map(|known| known.issuer))
    }

    /// Returns the indexes of the issuers that a token claims: none, one or two.
    pub(super) fn issuers_of(&self, payload: &Payload) -> impl Iterator<Item = usize> {
        let named = claimed(payload).map(|claimed| self.named(claimed)).unwrap_or_default();
        self.known.get(named).unwrap_or_default().iter().map(|known| known.issuer)
    }

    /// Returns the entries of each name.
    fn groups(&self) -> impl Iterator<Item = &[TrustedIssuer]> {
        self.known.chunk_by(|one, other| one.label.name() == other.label.name())
    }

    /// Returns the range of the entries with a name.
    fn named(&self, name: &str) -> Range<usize> {
        let start = self.known.partition_point(|known| known.label.name() < name);
        let count = self.known.iter().skip(start).take_while(|known| known.label.name() == name).count();
        start..start.saturating_add(count)
    }
}

impl TrustedIssuer {
    fn key(&self) -> (&str, bool) {
        (self.label.name(), self.is_symmetric)
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
        let (public, secret) = (&[Algorithm::RS256, Algorithm::ES256][..], &[Algorithm::HS256][..]);
        Routes::new([
            (&[Box::from("https://a.example/"), Box::from("https://login.a.example/")][..], public),
            (&[Box::from("https://b.example")], public),
            (&[Box::from("https://secret.example"), Box::from("https://a.example/")], secret),
        ])
    }

    fn find(iss: &str) -> Result<usize, IssuerError> {
        find_with(iss, Algorithm::RS256)
    }

    fn find_with(iss: &str, algorithm: Algorithm) -> Result<usize, IssuerError> {
        let payload = Payload::for_tests(&format!("{{\"iss\":{iss}}}"));
        routes().find(&payload, algorithm, &HostRules::default(), None).map(|route| route.issuer)
    }

    #[test]
    fn the_kind_of_the_algorithm_selects_one_of_two_issuers() {
        for (iss, algorithm, issuer) in [
            (r#""https://a.example/""#, Algorithm::RS256, 0),
            (r#""https://a.example/""#, Algorithm::PS512, 0),
            (r#""https://a.example/""#, Algorithm::HS256, 2),
            (r#""https://a.example/""#, Algorithm::HS512, 2),
            // Only one issuer has this name.
            (r#""https://login.a.example/""#, Algorithm::HS256, 0),
            (r#""https://b.example""#, Algorithm::HS256, 1),
            (r#""https://secret.example""#, Algorithm::RS256, 2),
        ] {
            assert_eq!(find_with(iss, algorithm), Ok(issuer), "{iss} {algorithm}");
        }
    }

    #[test]
    fn returns_each_name_once() {
        let routes = routes();
        let names = ["https://a.example/", "https://b.example", "https://login.a.example/", "https://secret.example"];
        assert_eq!(routes.names().collect::<Vec<_>>(), names);
        assert_eq!(
            routes.issuers_by_name().map(|issuers| issuers.collect()).collect::<Vec<Vec<_>>>(),
            [vec![0, 2], vec![1], vec![0], vec![2]]
        );
        let of = |json: &str| routes.issuers_of(&Payload::for_tests(json)).collect::<Vec<_>>();
        assert_eq!(of(r#"{"iss":"https://a.example/"}"#), [0, 2]);
        assert_eq!(of(r#"{"iss":"https://c.example/"}"#), [0; 0]);
        assert_eq!(of(r#"{"iss":"zzz"}"#), [0; 0]);
        assert_eq!(of("{}"), [0; 0]);
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
        let payload = Payload::for_tests("{}");
        let none = routes().find(&payload, Algorithm::RS256, &HostRules::default(), None).map(|route| route.issuer);
        assert_eq!(none, Err(IssuerError::Missing));
    }
}
