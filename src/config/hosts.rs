//! The bindings of hosts to issuers.

use std::collections::BTreeMap;

use crate::config::domain;
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::request::Host;

/// The accepted `iss` for each bound host of an API. If empty, every issuer is accepted for every host.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostRules {
    bindings: BTreeMap<Box<str>, Box<str>>,
    /// Whether a host that is not bound is bound to each `iss` with this host.
    own_hosts: bool,
}

impl HostRules {
    /// Resolves the explicit bindings, and binds each issuer's own host if `from_issuers` is set. `accepts` returns whether an
    /// issuer that is not listed may be accepted by a rule.
    pub(super) fn resolve(
        explicit: &[(String, String)],
        from_issuers: bool,
        issuers: &[Box<str>],
        accepts: impl Fn(&str) -> bool,
        errors: &mut SettingErrors,
    ) -> Self {
        let mut rules = Self { bindings: BTreeMap::new(), own_hosts: from_issuers };
        for (host, issuer) in explicit {
            let setting = format!("issuer for host {host:?}");
            if !issuers.iter().any(|known| **known == **issuer) && !accepts(issuer) {
                errors.push(&format!("{setting}, issuer {issuer:?}"), SettingErrorKind::UnknownIssuer);
            }
            match Host::parse(host) {
                Ok(host) => rules.bind(host.as_str(), issuer, errors),
                Err(_) => errors.push(&setting, SettingErrorKind::Host),
            }
        }
        for issuer in issuers.iter().filter(|_| from_issuers) {
            let setting = format!("issuer from host, issuer {issuer:?}");
            match domain::issuer_host(issuer).and_then(|host| Host::parse(&host).ok()) {
                Some(host) => rules.bind(host.as_str(), issuer, errors),
                None => errors.push(&setting, SettingErrorKind::NoHost),
            }
        }
        rules
    }

    /// Returns whether no host is bound.
    pub(crate) fn is_empty(&self) -> bool {
        self.bindings.is_empty() && !self.own_hosts
    }

    /// Returns the bound hosts.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.bindings.keys().map(|host| &**host)
    }

    /// Returns the `iss` that is accepted for `host`.
    pub(crate) fn issuer_for(&self, host: &Host) -> Option<&str> {
        self.bindings.get(host.as_str()).map(|issuer| &**issuer)
    }

    /// Returns whether `issuer` is accepted for `host`; `None` if the host is not bound.
    pub(crate) fn accepts(&self, host: &Host, issuer: &str) -> Option<bool> {
        match self.issuer_for(host) {
            Some(bound) => Some(bound == issuer),
            None => (self.own_hosts && is_host_of(host, issuer)).then_some(true),
        }
    }

    fn bind(&mut self, host: &str, issuer: &str, errors: &mut SettingErrors) {
        let previous = self.bindings.insert(Box::from(host), Box::from(issuer));
        if let Some(previous) = previous.filter(|previous| **previous != *issuer) {
            errors
                .push(&format!("host {host:?}, issuers {previous:?} and {issuer:?}"), SettingErrorKind::DuplicateHost);
        }
    }
}

/// Returns whether `host` is the host in an issuer.
fn is_host_of(host: &Host, issuer: &str) -> bool {
    domain::issuer_host(issuer).and_then(|own| Host::parse(&own).ok()).is_some_and(|own| own.as_str() == host.as_str())
}
