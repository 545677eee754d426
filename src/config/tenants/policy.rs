//! `TenantPolicy`: the rules for tenants, and the check of what the resolver returns.

use std::fmt;

use crate::config::domain;
use crate::config::error::{ConfigError, SettingErrorKind, SettingErrors};
use crate::config::issuer::TrustedIssuer;
use crate::config::issuer_keys::IssuerKeys;
use crate::config::issuer_pattern::IssuerPattern;
use crate::config::tenant_setting_error::TenantSettingError;
use crate::config::tenants::claimed::ClaimedIssuer;
use crate::config::tenants::event::TenantEvent;
use crate::config::tenants::{Names, Predicate, Resolver, Tenant, Tenants};
use crate::defaults;
use crate::event_hook::EventHook;
use crate::fetch::Transport;
use crate::request::Host;

/// Valid settings of tenants.
#[derive(Clone, Debug)]
pub(crate) struct TenantPolicy {
    /// The name in logs and metrics.
    pub(crate) label: Box<str>,
    rule: Rule,
    pub(crate) resolver: Resolver,
    pub(crate) max: usize,
    pub(crate) new_per_second: u32,
    pub(crate) addresses: AddressRule,
    pub(crate) binds_hosts: bool,
    pub(crate) event_hook: Option<EventHook<TenantEvent>>,
}

/// To which addresses the client of the keys may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressRule {
    PublicOnly,
    Any,
}

/// Which `iss` values are looked up.
#[derive(Clone)]
enum Rule {
    Pattern(IssuerPattern),
    Predicate(Predicate),
}

/// The valid settings of one tenant.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedTenant {
    pub(crate) issuer: TrustedIssuer,
    pub(crate) host: Option<Host>,
}

/// Why a tenant that the resolver returned cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolvedTenantError {
    Settings(ConfigError),
    /// It does not have the claimed `iss`.
    OtherIssuer,
    /// It has further names, patterns or custom domains.
    SeveralNames,
    Introspection,
    /// It has a malformed request host.
    Host,
    /// Tenants are bound to hosts, and it has none.
    NoHost,
    /// It has a request host, and tenants are not bound to hosts.
    UnusedHost,
}

impl Tenants {
    pub(crate) fn label(&self) -> &str {
        self.names.label()
    }

    /// Resolves the settings, and records every error.
    pub(crate) fn resolve(&self, errors: &mut SettingErrors) -> Option<TenantPolicy> {
        let label = self.names.label();
        let setting = |suffix: &str| format!("tenants {label:?}{suffix}");
        if !defaults::MAX_TENANTS_RANGE.contains(&self.max) {
            errors.push(&setting(" maximum"), SettingErrorKind::Tenants(TenantSettingError::Max));
        }
        if !defaults::NEW_TENANTS_PER_SECOND_RANGE.contains(&self.new_per_second) {
            errors.push(&setting(" per second"), SettingErrorKind::Tenants(TenantSettingError::NewPerSecond));
        }
        let rule = match &self.names {
            Names::Predicate(predicate) => Rule::Predicate(predicate.clone()),
            Names::Pattern(text) => {
                let pattern = IssuerPattern::parse(text);
                let pattern =
                    pattern.map_err(|error| errors.push(&setting(""), SettingErrorKind::IssuerPattern(error))).ok()?;
                domain::check_issuer(&setting(""), &pattern.example(), errors);
                domain::endpoint(&setting(""), &pattern.example(), domain::PlainHttp::OnLoopback, errors)?;
                Rule::Pattern(pattern)
            }
        };
        Some(TenantPolicy {
            label: Box::from(label),
            rule,
            resolver: self.resolver.clone(),
            max: self.max,
            new_per_second: self.new_per_second,
            addresses: self.addresses,
            binds_hosts: self.binds_hosts,
            event_hook: self.event_hook.clone(),
        })
    }
}

impl TenantPolicy {
    /// Returns what the client of the other issuers must be able to do for these tenants; `None` if they have their own.
    pub(crate) fn transport(&self) -> Option<Transport> {
        let is_plain = matches!(&self.rule, Rule::Pattern(pattern) if pattern.as_str().starts_with("http:"));
        let transport = if is_plain { Transport::PlainHttp } else { Transport::Https };
        (self.addresses == AddressRule::Any).then_some(transport)
    }

    /// Returns whether an `iss` may be that of a tenant.
    pub(crate) fn allows(&self, issuer: &str) -> bool {
        match &self.rule {
            Rule::Pattern(pattern) => pattern.matches(issuer),
            Rule::Predicate(is_allowed) => is_plausible(issuer) && is_allowed(issuer),
        }
    }

    /// Returns whether an `iss` may be that of a tenant now, or was earlier, when a predicate allowed other names.
    pub(crate) fn may_have_allowed(&self, issuer: &str) -> bool {
        match &self.rule {
            Rule::Pattern(pattern) => pattern.matches(issuer),
            Rule::Predicate(_) => is_plausible(issuer),
        }
    }

    /// Returns the argument of the resolver for an `iss`, if it may be that of a tenant.
    pub(crate) fn claimed(&self, issuer: &str) -> Option<ClaimedIssuer> {
        match &self.rule {
            Rule::Pattern(pattern) => Some(ClaimedIssuer::new(issuer, pattern.captures(issuer)?.into_iter())),
            Rule::Predicate(_) => self.allows(issuer).then(|| ClaimedIssuer::new(issuer, [].into_iter())),
        }
    }

    /// Checks the settings of a tenant that the resolver returned for a claimed `iss`.
    pub(crate) fn check(
        &self,
        claimed: &ClaimedIssuer,
        tenant: &Tenant,
    ) -> Result<ResolvedTenant, ResolvedTenantError> {
        let mut errors = SettingErrors::default();
        let issuer = tenant.issuer.resolve(&mut errors);
        let mut issuer = errors.or(issuer).map_err(ResolvedTenantError::Settings)?;
        if !issuer.domains.iter().any(|name| **name == *claimed.issuer()) {
            return Err(ResolvedTenantError::OtherIssuer);
        }
        if issuer.domains.len() > 1 || !issuer.rules.is_empty() {
            return Err(ResolvedTenantError::SeveralNames);
        }
        if issuer.introspection.is_some() {
            return Err(ResolvedTenantError::Introspection);
        }
        if let IssuerKeys::Remote { origin, .. } = &mut issuer.keys {
            origin.require_issuer_host();
        }
        let host = match (&tenant.host, self.binds_hosts) {
            (None, false) => None,
            (None, true) => return Err(ResolvedTenantError::NoHost),
            (Some(_), false) => return Err(ResolvedTenantError::UnusedHost),
            (Some(host), true) => Some(Host::parse(host).map_err(|_| ResolvedTenantError::Host)?),
        };
        Ok(ResolvedTenant { issuer, host })
    }
}

impl ResolvedTenant {
    /// Returns whether a tenant with these settings needs no other keys than one with `other`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let has_same_keys = match (&self.issuer.keys, &other.issuer.keys) {
            (IssuerKeys::Remote { origin, .. }, IssuerKeys::Remote { origin: others, .. }) => origin == others,
            (IssuerKeys::Static(keys), IssuerKeys::Static(others)) => keys.digest() == others.digest(),
            (IssuerKeys::SecretSource(secrets), IssuerKeys::SecretSource(others)) => secrets.is_same(others),
            _ => false,
        };
        has_same_keys && self.issuer.algorithms == other.issuer.algorithms && self.host == other.host
    }
}

/// Returns whether a text may be passed to a predicate.
fn is_plausible(issuer: &str) -> bool {
    !issuer.is_empty() && issuer.len() <= defaults::MAX_TENANT_ISSUER_BYTES && !domain::is_unprintable(issuer)
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => pattern.as_str().fmt(f),
            Self::Predicate(_) => f.write_str("predicate"),
        }
    }
}

impl fmt::Display for ResolvedTenantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::OtherIssuer => f.write_str("the issuer does not have the claimed iss"),
            Self::SeveralNames => f.write_str(
                "the issuer has further names, patterns or custom domains, which is not supported for tenants; return one with the \
                 claimed iss only, and another one for each other name",
            ),
            Self::Introspection => f.write_str(
                "introspection is not supported for tenants; return the issuer without it, or configure it at start with \
                 `Api::with_issuer`",
            ),
            Self::Host => f.write_str("the request host is not a host"),
            Self::NoHost => f.write_str("the tenant has no request host, which `with_request_hosts` requires"),
            Self::UnusedHost => f.write_str("the tenant has a request host, which needs `with_request_hosts`"),
        }
    }
}
