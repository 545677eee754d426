//! `Routes`: finds the trusted issuer of a token by `iss` and the kind of `alg`.
//!
//! This is a lookup among the configured names. It happens before any fetch, and no URL is derived from `iss`. Names that are not known
//! at start are looked up in [`tenants`](crate::validator::tenants).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use crate::config::{HostRules, NameMatch, NameRule, TenantError};
use crate::jwks::KeyWaitError;
use crate::rejection::{IssuerDifference, IssuerError, Rejection};
use crate::request::Host;
use crate::telemetry::Label;
use crate::token::{Algorithm, Claim, Member, Payload};
use crate::validator::tenants::LiveTenant;

/// All trusted `iss` values, with the issuer of each.
pub(super) struct Routes {
    /// Sorted by name and kind of keys. A name occurs at most twice: with public keys and with shared secrets.
    known: Box<[KnownName]>,
    /// The rules for further `iss` values, in the order of the configuration. The label is the name of the rule.
    rules: Box<[(KnownName, NameRule)]>,
}

/// One trusted `iss` value, with one kind of keys.
struct KnownName {
    label: Label,
    /// Whether the issuer has shared secrets.
    is_symmetric: bool,
    /// The index of the issuer in the configuration.
    issuer: usize,
}

/// The trusted `iss` value of a token, and its issuer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'r> {
    /// The `iss` value, as configured, or the name of the rule.
    pub(super) label: &'r Label,
    pub(super) target: Target<'r>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'r> {
    /// An issuer of the configuration.
    Configured {
        /// The rule that accepts the `iss`, if it is not listed.
        rule: Option<&'r NameRule>,
        serial: RouteSerial,
        /// The index of the issuer in the configuration.
        issuer: usize,
    },
    /// A tenant that was looked up.
    Tenant(&'r Arc<LiveTenant>),
}

/// Identifies the route of a token, for a cached token and a waiting request.
///
/// # Security
///
/// Neither a serial nor a tenant is ever that of another issuer, so a cached token cannot be taken for one of another issuer.
#[derive(Clone, Debug)]
pub(super) enum RouteId {
    Configured(RouteSerial),
    Tenant(Arc<LiveTenant>),
}

/// Identifies one trusted `iss` value in the configuration of a validator, with one kind of keys, or one rule for such values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RouteSerial(usize);

#[cfg(test)]
impl RouteId {
    pub(super) fn for_tests(number: usize) -> Self {
        Self::Configured(RouteSerial(number))
    }
}

impl Routes {
    /// Numbers the issuers in order. Each has its names, the rules for further names, and the algorithms of its kind of keys. The
    /// configuration rejects duplicate names of one kind.
    pub(super) fn new<'i>(
        issuers: impl IntoIterator<Item = (&'i [Box<str>], &'i [NameRule], &'i [Algorithm])>,
    ) -> Self {
        let (mut known, mut ruled) = (Vec::new(), Vec::new());
        for (issuer, (names, rules, algorithms)) in issuers.into_iter().enumerate() {
            let is_symmetric = algorithms.iter().any(|algorithm| algorithm.is_symmetric());
            let trusted =
                |name: &str| KnownName { label: Label::new(Cow::Owned(name.to_owned())), is_symmetric, issuer };
            known.extend(names.iter().map(|name| trusted(name)));
            ruled.extend(rules.iter().map(|rule| (trusted(rule.name()), rule.clone())));
        }
        known.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        Self { known: known.into_boxed_slice(), rules: ruled.into_boxed_slice() }
    }

    /// Returns the route with this serial.
    pub(super) fn get(&self, serial: RouteSerial) -> Option<Route<'_>> {
        let (known, rule) = match self.known.get(serial.0) {
            Some(known) => (known, None),
            None => self.rules.get(serial.0.checked_sub(self.known.len())?).map(|(known, rule)| (known, Some(rule)))?,
        };
        Some(Route { label: &known.label, target: Target::Configured { rule, serial, issuer: known.issuer } })
    }

    /// Returns the route of an introspected token: that of its `iss`, if it is a name of the issuer, else that of the first name.
    pub(super) fn of_answer(&self, issuer: usize, first_name: &str, payload: &Payload) -> Option<Route<'_>> {
        let claimed = claimed(payload).ok();
        let route = |name: &str| {
            let index =
                self.named(name).find(|index| self.known.get(*index).is_some_and(|known| known.issuer == issuer))?;
            self.get(RouteSerial(index))
        };
        claimed.and_then(route).or_else(|| route(first_name))
    }

    /// Returns all names of an issuer.
    pub(super) fn of_issuer(&self, issuer: usize) -> impl Iterator<Item = Route<'_>> {
        let serials = (0..self.known.len()).map(RouteSerial);
        serials.filter_map(|serial| self.get(serial)).filter(move |route| route.configured_issuer() == Some(issuer))
    }

    /// Finds the configured issuer that a token claims, without a check of the host.
    pub(super) fn find_ignoring_host(&self, payload: &Payload, algorithm: Algorithm) -> Result<Route<'_>, IssuerError> {
        let claimed = claimed(payload)?;
        self.lookup(claimed, payload, algorithm).map_err(|error| error.unwrap_or_else(|| self.unknown(claimed)))
    }

    /// Finds the configured issuer with a claimed name. Returns the error of a rule, if one is for such names.
    ///
    /// # Security
    ///
    /// If two issuers have this name, the kind of `algorithm` selects one, so that no key is tried for the other kind. If there
    /// is only one, it is returned for both kinds; its list of algorithms then rejects the token.
    pub(super) fn lookup(
        &self,
        claimed: &str,
        payload: &Payload,
        algorithm: Algorithm,
    ) -> Result<Route<'_>, Option<IssuerError>> {
        let named = self.named(claimed);
        let index = named
            .clone()
            .find(|index| self.known.get(*index).is_some_and(|known| known.is_symmetric == algorithm.is_symmetric()));
        let index = index.or(Some(named.start).filter(|_| !named.is_empty()));
        match index.and_then(|index| self.get(RouteSerial(index))) {
            Some(route) => Ok(route),
            None => self.find_by_rule(claimed, payload, algorithm),
        }
    }

    /// Finds the first rule that accepts a claimed issuer, with the kind of keys of the algorithm if there is one.
    fn find_by_rule(
        &self,
        claimed: &str,
        payload: &Payload,
        algorithm: Algorithm,
    ) -> Result<Route<'_>, Option<IssuerError>> {
        let (mut first, mut error) = (None, None);
        for (at, (trusted, rule)) in self.rules.iter().enumerate() {
            match rule.check(claimed, payload) {
                NameMatch::Accepted if trusted.is_symmetric == algorithm.is_symmetric() => {
                    first = Some(at);
                    break;
                }
                NameMatch::Accepted => first = first.or(Some(at)),
                NameMatch::TenantNotAllowed => error = error.or(Some(IssuerError::TenantNotAllowed)),
                NameMatch::TenantMismatch => error = error.or(Some(IssuerError::TenantMismatch)),
                NameMatch::Unavailable => error = error.or(Some(IssuerError::DomainsUnavailable)),
                NameMatch::None => {}
            }
        }
        let serial = first.map(|at| RouteSerial(self.known.len().saturating_add(at)));
        serial.and_then(|serial| self.get(serial)).ok_or(error)
    }

    /// Returns the error for a name that is not known.
    pub(super) fn unknown(&self, claimed: &str) -> IssuerError {
        IssuerError::Unknown { difference: self.names().find_map(|known| difference_between(claimed, known)) }
    }

    /// Returns the trusted `iss` values that are listed.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.listed().filter_map(|group| group.first()).map(|known| known.label.name())
    }

    /// Returns the trusted `iss` values that are listed, and the names of the rules for others.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.groups().filter_map(|group| group.first()).map(|known| known.label.name())
    }

    /// Returns the indexes of the issuers of each trusted `iss` value, one or two, and of each rule.
    pub(super) fn issuers_by_name(&self) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        self.groups().map(|group| group.iter().map(|known| known.issuer))
    }

    /// Returns the indexes of the issuers that a token claims by a listed name, or by a rule.
    pub(super) fn issuers_of(&self, payload: &Payload) -> impl Iterator<Item = usize> {
        let claimed = claimed(payload).unwrap_or_default();
        let named = self.known.get(self.named(claimed)).unwrap_or_default();
        let accepts = move |rule: &NameRule| named.is_empty() && rule.check(claimed, payload) == NameMatch::Accepted;
        let ruled = self.rules.iter().filter(move |(_, rule)| accepts(rule)).map(|(trusted, _)| trusted);
        named.iter().chain(ruled).map(|trusted| trusted.issuer)
    }

    /// Returns whether a token is one of version 1 of Entra ID, from an allowed tenant of an issuer that accepts version 2 only.
    pub(super) fn is_rejected_v1(&self, payload: &Payload) -> bool {
        let is_rejected = |rule: &NameRule, claimed| match rule {
            NameRule::Entra(entra) => entra.is_rejected_v1(claimed),
            NameRule::Pattern(_) | NameRule::Domains(_) => false,
        };
        claimed(payload).is_ok_and(|claimed| self.rules.iter().any(|(_, rule)| is_rejected(rule, claimed)))
    }

    /// Returns the indexes of the issuers with a listed name: none, one or two.
    pub(super) fn issuers_named(&self, name: &str) -> impl Iterator<Item = usize> {
        self.known.get(self.named(name)).unwrap_or_default().iter().map(|known| known.issuer)
    }

    /// Returns the indexes of the issuers that have a name: as a listed one, or as that of a tenant that a rule accepts.
    pub(super) fn issuers_with(&self, name: &str) -> impl Iterator<Item = usize> {
        let listed = self.known.get(self.named(name)).unwrap_or_default();
        let accepts = move |rule: &NameRule| listed.is_empty() && rule.separates_tenants() && rule.accepts_issuer(name);
        let ruled = self.rules.iter().filter(move |(_, rule)| accepts(rule)).map(|(trusted, _)| trusted);
        listed.iter().chain(ruled).map(|trusted| trusted.issuer)
    }

    /// Returns the entries of each listed name.
    fn listed(&self) -> impl Iterator<Item = &[KnownName]> {
        self.known.chunk_by(|one, other| one.label.name() == other.label.name())
    }

    /// Returns the entries of each listed name, and of each rule.
    fn groups(&self) -> impl Iterator<Item = &[KnownName]> {
        self.listed().chain(self.rules.iter().map(|(trusted, _)| slice::from_ref(trusted)))
    }

    /// Returns the range of the entries with a name.
    fn named(&self, name: &str) -> Range<usize> {
        let start = self.known.partition_point(|known| known.label.name() < name);
        let count = self.known.iter().skip(start).take_while(|known| known.label.name() == name).count();
        start..start.saturating_add(count)
    }
}

impl KnownName {
    fn key(&self) -> (&str, bool) {
        (self.label.name(), self.is_symmetric)
    }
}

impl RouteId {
    /// Returns the rejection of a request that has waited for the keys of this route. If a tenant is no longer in use, its keys are not
    /// the reason.
    pub(super) fn error_of_wait(&self, error: KeyWaitError) -> Rejection {
        match self {
            Self::Tenant(tenant) if !tenant.is_trusted() => self.error_of_change(),
            Self::Tenant(_) | Self::Configured(_) => Rejection::from_key_wait(error),
        }
    }

    /// Returns the rejection of a request that has waited, if this is no longer the route of its token.
    pub(super) fn error_of_change(&self) -> Rejection {
        Rejection::Issuer(match self {
            Self::Tenant(tenant) if tenant.is_removed() => IssuerError::UnknownTenant,
            Self::Tenant(_) => TenantError::NotResolved.into(),
            Self::Configured(_) => IssuerError::Unknown { difference: None },
        })
    }

    /// Returns whether this is the same route.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Configured(serial), Self::Configured(other)) => serial == other,
            (Self::Tenant(tenant), Self::Tenant(other)) => Arc::ptr_eq(tenant, other),
            (Self::Configured(_), Self::Tenant(_)) | (Self::Tenant(_), Self::Configured(_)) => false,
        }
    }
}

impl<'r> Route<'r> {
    /// Returns the trusted `iss` value of a token that has this route.
    pub(super) fn issuer_name<'n>(&self, payload: &'n Payload) -> &'n str
    where
        'r: 'n,
    {
        match self.target {
            Target::Configured { rule: None, .. } => self.label.name(),
            Target::Configured { rule: Some(_), .. } => claimed(payload).unwrap_or_default(),
            Target::Tenant(tenant) => tenant.name(),
        }
    }

    /// Returns what identifies this route.
    pub(super) fn id(&self) -> RouteId {
        match self.target {
            Target::Configured { serial, .. } => RouteId::Configured(serial),
            Target::Tenant(tenant) => RouteId::Tenant(Arc::clone(tenant)),
        }
    }

    /// Returns the index of the issuer in the configuration; `None` for a tenant that was looked up.
    pub(super) fn configured_issuer(&self) -> Option<usize> {
        match self.target {
            Target::Configured { issuer, .. } => Some(issuer),
            Target::Tenant(_) => None,
        }
    }

    /// Returns the tenant, if it was looked up.
    pub(super) fn tenant(&self) -> Option<&'r Arc<LiveTenant>> {
        match self.target {
            Target::Configured { .. } => None,
            Target::Tenant(tenant) => Some(tenant),
        }
    }

    /// Returns whether the `iss` is not listed in the configuration.
    pub(super) fn has_rule(&self) -> bool {
        !matches!(self.target, Target::Configured { rule: None, .. })
    }

    /// Returns whether the `iss` is that of a tenant, whose subjects and sessions are not those of the other names.
    pub(super) fn is_tenant(&self) -> bool {
        match self.target {
            Target::Configured { rule, .. } => rule.is_some_and(NameRule::separates_tenants),
            Target::Tenant(_) => true,
        }
    }

    /// Checks that the issuer of a token is trusted for the host of the request.
    pub(super) fn check_host(
        &self,
        payload: &Payload,
        hosts: &HostRules,
        host: Option<&Host>,
    ) -> Result<(), IssuerError> {
        if let Target::Tenant(tenant) = self.target
            && let Some(own) = tenant.host()
        {
            let host = host.ok_or(IssuerError::UnknownHost)?;
            let is_bound_to_another = hosts.accepts(host, tenant.name()) == Some(false);
            return if host == own && !is_bound_to_another { Ok(()) } else { Err(IssuerError::NotForHost) };
        }
        // The name is read from the token only if hosts are bound.
        if hosts.is_empty() { Ok(()) } else { check_host(self.issuer_name(payload), hosts, host) }
    }

    /// Returns the names under which the tokens of the issuer or tenant are revoked, if a token has this `iss`. `first` is the first
    /// listed name of the issuer.
    pub(super) fn names(&self, payload: &Payload, first: Option<&str>) -> Vec<String> {
        let issuer = self.issuer_name(payload);
        match self.target {
            Target::Configured { rule: Some(rule), .. } => rule.names_of(issuer, first),
            Target::Configured { .. } | Target::Tenant(_) => vec![issuer.to_owned()],
        }
    }

    /// Returns whether the issuer of an accepted token is still trusted for this host.
    pub(super) fn allows_host(&self, payload: &Payload, hosts: &HostRules, host: Option<&Host>) -> bool {
        self.check_host(payload, hosts, host).is_ok()
    }

    /// Returns whether the issuer of an accepted token is still trusted.
    pub(super) fn is_trusted(&self, payload: &Payload) -> bool {
        match self.target {
            Target::Configured { rule, .. } => {
                rule.is_none_or(|rule| rule.still_accepts(self.issuer_name(payload), payload))
            }
            Target::Tenant(tenant) => tenant.is_trusted(),
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.labels()).finish()
    }
}

/// Checks that an issuer is bound to the host of the request, if hosts are bound.
pub(super) fn check_host(name: &str, hosts: &HostRules, host: Option<&Host>) -> Result<(), IssuerError> {
    if hosts.is_empty() {
        return Ok(());
    }
    match host.and_then(|host| hosts.accepts(host, name)) {
        None => Err(IssuerError::UnknownHost),
        Some(true) => Ok(()),
        Some(false) => Err(IssuerError::NotForHost),
    }
}

/// Returns the `iss` of a token.
pub(super) fn claimed(payload: &Payload) -> Result<&str, IssuerError> {
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
            (&[Box::from("https://a.example/"), Box::from("https://login.a.example/")][..], &[][..], public),
            (&[Box::from("https://b.example")], &[], public),
            (&[Box::from("https://secret.example"), Box::from("https://a.example/")], &[], secret),
        ])
    }

    fn find(iss: &str) -> Result<usize, IssuerError> {
        find_with(iss, Algorithm::RS256)
    }

    fn find_with(iss: &str, algorithm: Algorithm) -> Result<usize, IssuerError> {
        let payload = Payload::for_tests(&format!("{{\"iss\":{iss}}}"));
        routes().find_ignoring_host(&payload, algorithm).map(|route| route.configured_issuer().expect("configured"))
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
        let none = routes().find_ignoring_host(&payload, Algorithm::RS256).map(drop);
        assert_eq!(none, Err(IssuerError::Missing));
    }
}
