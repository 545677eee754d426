//! `Api`: what one API demands of a token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::{Confirmation, OrganizationRule, Profile, Rules};
use crate::config::error::{SettingErrorKind, SettingErrors, numbered};
use crate::config::hosts::HostRules;
use crate::config::issuer::{Issuer, TrustedIssuer};
use crate::config::organizations::{self, OrganizationOfRequest, Organizations};
use crate::defaults;

/// An API: its audiences, the issuers that it trusts, and its rules for claims.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::{Api, Issuer};
///
/// let api = Api::new("https://api.northwind.com", Issuer::auth0("northwind.eu.auth0.com"))
///     .with_leeway(Duration::from_secs(2))
///     .with_required_claims(["sub"]);
/// # let _ = api;
/// ```
#[derive(Clone, Debug)]
pub struct Api {
    audiences: Vec<String>,
    issuers: Vec<Issuer>,
    leeway: Duration,
    profile: Profile,
    required: Vec<String>,
    max_age: Option<Duration>,
    max_token_bytes: usize,
    confirmation: Confirmation,
    hosts: Vec<(String, String)>,
    issuer_from_host: bool,
    clients: Option<Vec<String>>,
    organizations: Option<Organizations>,
}

impl Api {
    /// An API known to its issuer as `audience` (RFC 7519 §4.1.3, compared exactly).
    #[must_use]
    pub fn new(audience: impl Into<String>, issuer: Issuer) -> Self {
        Self {
            audiences: vec![audience.into()],
            issuers: vec![issuer],
            leeway: defaults::LEEWAY,
            profile: Profile::Any,
            required: Vec::new(),
            max_age: None,
            max_token_bytes: defaults::MAX_TOKEN_BYTES,
            confirmation: Confirmation::Rejected,
            hosts: Vec::new(),
            issuer_from_host: false,
            clients: None,
            organizations: None,
        }
    }

    /// Adds another name of the same API; a token for any of them is for it.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Adds another issuer. Its keys verify its own tokens only.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// Sets how much clock skew is forgiven in `exp`, `nbf` and `iat`: at most 300 s. Default 5 s, enough for clocks
    /// that are kept by NTP.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets which kinds of token are taken, by `typ`. Default [`Profile::Any`], which all common servers meet.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Requires claims beyond `iss`, `aud` and `exp`: present, of their registered type, not empty. Default none.
    #[must_use]
    pub fn with_required_claims<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.required.extend(names.into_iter().map(Into::into));
        self
    }

    /// Requires `iat`, no longer ago than `age`, whatever `exp` says. Default no bound.
    #[must_use]
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets the longest credential that is looked at, in octets: 256 to 1 MiB. Default 16 KiB. The memory of one
    /// validation is bounded by a small multiple of it.
    #[must_use]
    pub fn with_max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Takes only tokens that were issued to one of these clients: `client_id` or, where there is none, `azp`. Default:
    /// those of every client.
    ///
    /// It is also the only way to take tokens without `aud`, as Amazon Cognito issues them: `client_id` must then be one of
    /// these, and `token_use` must be `access`. An `aud` that is there is judged as ever, and [`Profile::Rfc9068`] wants one.
    ///
    /// # Security
    ///
    /// A client id is unique within one issuer only, and of an API with several it counts for each of them. Where that
    /// matters, give each issuer an `Api` and a validator of its own.
    #[must_use]
    pub fn with_client_ids<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.clients.get_or_insert_default().extend(ids.into_iter().map(Into::into));
        self
    }

    /// Takes only tokens of these organizations. Default: those of any, and those without; the handler then finds the
    /// organization on [`Claims`](crate::Claims).
    #[must_use]
    pub fn with_organizations(mut self, organizations: Organizations) -> Self {
        self.organizations = Some(organizations);
        self
    }

    /// Accepts under `host` only tokens of `issuer`, one of the configured `iss` values. Once a host is bound, requests
    /// under any other host are refused.
    ///
    /// # Security
    ///
    /// A client chooses its `Host`: the binding separates brands, and is no boundary unless the front door pins it.
    #[must_use]
    pub fn with_issuer_for_host(mut self, host: impl Into<String>, issuer: impl Into<String>) -> Self {
        self.hosts.push((host.into(), issuer.into()));
        self
    }

    /// Accepts under each issuer's own host only that issuer's tokens: a request for `login.northwind.com` needs
    /// `iss` = `https://login.northwind.com/`, as Auth0's Management API demands under a custom domain.
    ///
    /// # Security
    ///
    /// As for [`Api::with_issuer_for_host`].
    #[must_use]
    pub fn with_issuer_from_host(mut self) -> Self {
        self.issuer_from_host = true;
        self
    }

    /// Takes tokens that are bound to a key (`cnf`) as if they were not.
    ///
    /// # Security
    ///
    /// Whoever steals such a token can then use it; RFC 9449 §7.2 forbids it for DPoP.
    #[must_use]
    pub fn dangerous_ignore_confirmation(mut self) -> Self {
        self.confirmation = Confirmation::Ignored;
        self
    }

    /// Resolves the whole configuration and records every fault.
    pub(crate) fn resolve(&self, errors: &mut SettingErrors) -> Option<Policy> {
        self.check_rules(errors);
        let issuers: Vec<Option<TrustedIssuer>> = self.issuers.iter().map(|issuer| issuer.resolve(errors)).collect();
        let mut known = BTreeSet::new();
        // Those of an issuer with other faults, too: what refers to them would seem wrong, and twins would go unseen.
        for domain in self.issuers.iter().flat_map(Issuer::domains) {
            let setting = format!("issuer {domain:?}");
            if !known.insert(domain) {
                errors.push(&setting, SettingErrorKind::DuplicateIssuer);
            }
        }
        let known: Vec<Box<str>> = known.into_iter().collect();
        let hosts = HostRules::resolve(&self.hosts, self.issuer_from_host, &known, errors);
        let clients = self.clients.as_ref().map(|ids| organizations::listed("client ids", ids, errors));
        let (organizations, organization_of) = match &self.organizations {
            Some(organizations) => organizations.resolve(errors),
            None => (OrganizationRule::Any, None),
        };
        let rules = Rules {
            audiences: self.audiences.iter().map(|audience| Box::from(audience.as_str())).collect(),
            leeway: self.leeway,
            profile: self.profile,
            required: self.required.iter().map(|name| Arc::from(name.as_str())).collect(),
            max_age: self.max_age,
            confirmation: self.confirmation,
            clients: clients.unwrap_or_default(),
            organizations,
        };
        let issuers = issuers.into_iter().collect::<Option<Vec<TrustedIssuer>>>()?;
        Some(Policy { rules, issuers, hosts, organization_of, max_token_bytes: self.max_token_bytes })
    }

    fn check_rules(&self, errors: &mut SettingErrors) {
        for (at, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() {
                errors.push(&numbered("audience", at, self.audiences.len()), SettingErrorKind::Empty);
            } else if audience.chars().any(char::is_control) || audience.trim() != audience {
                errors.push(&format!("audience {audience:?}"), SettingErrorKind::Unprintable);
            }
        }
        if self.required.iter().any(String::is_empty) {
            errors.push("required claims", SettingErrorKind::Empty);
        }
        if self.leeway > defaults::MAX_LEEWAY {
            errors.push("leeway", SettingErrorKind::Leeway);
        }
        if self.max_age == Some(Duration::ZERO) {
            errors.push("max age", SettingErrorKind::MaxAge);
        }
        if !(defaults::MIN_TOKEN_CAP..=defaults::MAX_TOKEN_CAP).contains(&self.max_token_bytes) {
            errors.push("max token bytes", SettingErrorKind::TokenSize);
        }
    }
}

/// A configuration without faults.
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    pub(crate) issuers: Vec<TrustedIssuer>,
    pub(crate) hosts: HostRules,
    /// Which organization a request is about, where that decides.
    pub(crate) organization_of: Option<OrganizationOfRequest>,
    pub(crate) max_token_bytes: usize,
}
