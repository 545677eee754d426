//! `Api`: the configuration of one API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::{ConfirmationRule, OrganizationRule, Profile, Rules};
use crate::config::dpop;
use crate::config::error::{SettingErrorKind, SettingErrors, numbered};
use crate::config::hosts::HostRules;
use crate::config::issuer::{Issuer, TrustedIssuer};
use crate::config::organizations::{self, OrganizationOfRequest, Organizations};
use crate::defaults;
use crate::dpop::{Dpop, DpopRules, ProofPolicy};

/// The configuration of an API: its audiences, the issuers that it trusts, and its rules for claims.
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
    confirmation: ConfirmationRule,
    hosts: Vec<(String, String)>,
    issuer_from_host: bool,
    clients: Option<Vec<String>>,
    organizations: Option<Organizations>,
    dpop: Option<Dpop>,
    sender_constraint: SenderConstraintRule,
}

impl Api {
    /// Creates an API with one audience and one trusted issuer.
    ///
    /// A token is accepted only if its `aud` contains the audience. The two are compared exactly, character by character (RFC
    /// 7519 §4.1.3).
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
            confirmation: ConfirmationRule::Rejected,
            hosts: Vec::new(),
            issuer_from_host: false,
            clients: None,
            organizations: None,
            dpop: None,
            sender_constraint: SenderConstraintRule::Allowed,
        }
    }

    /// Adds another audience of the same API. A token is accepted if its `aud` contains at least one of the audiences.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Adds another trusted issuer. The keys of an issuer verify only tokens whose `iss` belongs to this issuer.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// Sets the tolerated clock skew for `exp`, `nbf` and `iat`. Default: 5 s, which is enough for clocks that NTP
    /// synchronizes. Maximum: 300 s.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets which values of the header member `typ` are accepted. Default: [`Profile::Any`], which fits all common
    /// authorization servers.
    #[must_use]
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Requires claims in addition to `iss`, `aud` and `exp`, which every token needs. Default: none.
    ///
    /// A required claim must be present and not empty: an empty string, array or object counts as missing. A claim that this
    /// crate knows must have its registered type, such as a string for `sub`. Any other claim must not be null.
    #[must_use]
    pub fn with_required_claims<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.required.extend(names.into_iter().map(Into::into));
        self
    }

    /// Rejects tokens that were issued more than `age` ago, even if `exp` is in the future. Tokens without `iat` are then
    /// rejected as well. Default: no limit.
    #[must_use]
    pub fn with_max_token_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets the maximum length of a token in bytes, from 256 to 1 MiB. Default: 16 KiB, twice the length of an Auth0 token with
    /// a hundred permissions.
    ///
    /// A longer token is rejected before it is parsed. The memory that one validation allocates is at most a small multiple of
    /// this length.
    #[must_use]
    pub fn with_max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Accepts only tokens that were issued to one of these clients: `client_id`, or `azp` if there is no `client_id`.
    /// Default: the tokens of every client are accepted.
    ///
    /// Tokens without `aud`, such as those of Amazon Cognito, are accepted only if this list is set. Such a token must have a
    /// `client_id` of the list, and its `token_use` must be `access`. The `aud` of any other token is checked as usual. With
    /// [`Profile::Rfc9068`], every token needs `aud`.
    ///
    /// # Security
    ///
    /// A client id is unique only within one issuer. An API with several issuers accepts the same id from each of them. If that
    /// is a risk, use a separate `Api` and validator for each issuer.
    #[must_use]
    pub fn with_client_ids<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.clients.get_or_insert_default().extend(ids.into_iter().map(Into::into));
        self
    }

    /// Accepts only tokens of these organizations.
    ///
    /// Default: tokens of any organization, and tokens without one, are accepted. A handler that serves the data of an
    /// organization must then check [`Claims::organization`](crate::Claims::organization) itself.
    #[must_use]
    pub fn with_organizations(mut self, organizations: Organizations) -> Self {
        self.organizations = Some(organizations);
        self
    }

    /// Binds `host` to `issuer`: for requests to this host, only tokens with this `iss` are accepted. `issuer` must be an `iss`
    /// value of a configured issuer.
    ///
    /// If at least one host is bound, requests to all other hosts are rejected. Default: no host is bound, and every issuer is
    /// accepted for every host.
    ///
    /// # Security
    ///
    /// The client chooses the `Host` header. The binding prevents that a token of one brand is used by mistake at the host of
    /// another brand. It does not stop an attacker, unless a proxy in front of the service sets or checks the host.
    #[must_use]
    pub fn with_issuer_for_host(mut self, host: impl Into<String>, issuer: impl Into<String>) -> Self {
        self.hosts.push((host.into(), issuer.into()));
        self
    }

    /// Binds the host of each configured `iss` to this `iss`: for requests to this host, only tokens with this `iss` are
    /// accepted. Use it for an API that is served at the hosts of its issuers.
    ///
    /// For example, a request to `login.northwind.com` must then have a token with the `iss` `https://login.northwind.com/`.
    /// Requests to all other hosts are rejected. Auth0's Management API has the same rule for custom domains.
    ///
    /// # Security
    ///
    /// As for [`Api::with_issuer_for_host`].
    #[must_use]
    pub fn with_issuer_from_host(mut self) -> Self {
        self.issuer_from_host = true;
        self
    }

    /// Accepts tokens that are bound to a key, with a proof of possession in each request (DPoP, RFC 9449). Default: such tokens are
    /// rejected, because the URL under which clients reach the API is needed to check a proof.
    ///
    /// Bearer tokens are still accepted. A token that is bound to a key is never accepted without its proof.
    #[must_use]
    pub fn with_dpop(mut self, dpop: Dpop) -> Self {
        self.dpop = Some(dpop);
        self
    }

    /// Rejects bearer tokens: each request must prove that its client has the key to which the token is bound. Default: bearer tokens
    /// are accepted as well; [`Requirement::sender_constrained`](crate::Requirement::sender_constrained) rejects them for one route.
    #[must_use]
    pub fn with_sender_constrained_only(mut self) -> Self {
        self.sender_constraint = SenderConstraintRule::Required;
        self
    }

    /// Accepts tokens that are bound to a key (`cnf`) without proof of possession.
    ///
    /// # Security
    ///
    /// An attacker who steals such a token can use it. RFC 9449 §7.2 forbids APIs to accept a DPoP-bound token without its
    /// proof.
    #[must_use]
    pub fn dangerous_ignore_confirmation(mut self) -> Self {
        self.confirmation = ConfirmationRule::Ignored;
        self
    }

    /// Returns what the API accepts as a proof, if it uses DPoP.
    pub(crate) fn proof_policy(&self) -> Option<&ProofPolicy> {
        self.dpop.as_ref().map(|dpop| &dpop.policy)
    }

    /// Returns whether bearer tokens are accepted.
    pub(crate) fn sender_constraint_rule(&self) -> SenderConstraintRule {
        self.sender_constraint
    }

    /// Resolves the whole configuration and records every error.
    pub(crate) fn resolve(&self, errors: &mut SettingErrors) -> Option<Policy> {
        self.check_rules(errors);
        let issuers: Vec<Option<TrustedIssuer>> = self.issuers.iter().map(|issuer| issuer.resolve(errors)).collect();
        let mut known = BTreeSet::new();
        // Also the domains of an issuer with other errors: otherwise host bindings to it would be reported, and duplicates not.
        for domain in self.issuers.iter().flat_map(Issuer::domains) {
            let setting = format!("issuer {domain:?}");
            if !known.insert(domain) {
                errors.push(&setting, SettingErrorKind::DuplicateIssuer);
            }
        }
        let known: Vec<Box<str>> = known.into_iter().collect();
        let hosts = HostRules::resolve(&self.hosts, self.issuer_from_host, &known, errors);
        let clients = self.clients.as_ref().map(|ids| organizations::non_empty_list("client ids", ids, errors));
        let (organizations, organization_of) = match &self.organizations {
            Some(organizations) => organizations.resolve(errors),
            None => (OrganizationRule::Any, None),
        };
        let dpop = self.resolve_dpop(errors);
        let rules = Rules {
            audiences: self.audiences.iter().map(|audience| Box::from(audience.as_str())).collect(),
            leeway: self.leeway,
            profile: self.profile,
            required: self.required.iter().map(|name| Arc::from(name.as_str())).collect(),
            max_age: self.max_age,
            confirmation: if self.dpop.is_some() { ConfirmationRule::Proven } else { self.confirmation },
            clients: clients.unwrap_or_default(),
            organizations,
        };
        let issuers = issuers.into_iter().collect::<Option<Vec<TrustedIssuer>>>()?;
        let possession = PossessionRules { dpop: dpop?, sender_constraint: self.sender_constraint };
        Some(Policy { rules, issuers, hosts, organization_of, possession, max_token_bytes: self.max_token_bytes })
    }

    /// Returns `None` if a setting has an error.
    fn resolve_dpop(&self, errors: &mut SettingErrors) -> Option<Option<DpopRules>> {
        let Some(dpop) = &self.dpop else {
            if self.sender_constraint == SenderConstraintRule::Required {
                errors.push("sender-constrained only", SettingErrorKind::NoSenderConstraint);
            }
            return Some(None);
        };
        if self.confirmation == ConfirmationRule::Ignored {
            errors.push("dangerous_ignore_confirmation", SettingErrorKind::IgnoredConfirmation);
        }
        let audience = self.audiences.first().map(String::as_str).unwrap_or_default();
        dpop::resolve(dpop, audience, errors).map(Some)
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

/// A valid configuration.
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    pub(crate) issuers: Vec<TrustedIssuer>,
    pub(crate) hosts: HostRules,
    /// The function that returns the organization of a request, if the policy depends on it.
    pub(crate) organization_of: Option<OrganizationOfRequest>,
    pub(crate) possession: PossessionRules,
    pub(crate) max_token_bytes: usize,
}

/// How requests prove that their client has the key of the token.
#[derive(Clone, Debug)]
pub(crate) struct PossessionRules {
    pub(crate) dpop: Option<DpopRules>,
    pub(crate) sender_constraint: SenderConstraintRule,
}

/// Whether a token must be bound to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SenderConstraintRule {
    /// Bearer tokens are accepted.
    Allowed,
    Required,
}
