//! The bindings of hosts to issuers.

use std::collections::BTreeMap;

use crate::config::domain;
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::request::Host;

/// The accepted `iss` for each bound host of an API. If empty, every issuer is accepted for every host.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostRules {
    bindings: BTreeMap<Box<str>, Box<str>>,
}

impl HostRules {
    /// Resolves the explicit bindings, and binds each issuer's own host if `from_issuers` is set.
    pub(super) fn resolve(
        explicit: &[(String, String)],
        from_issuers: bool,
        issuers: &[Box<str>],
        errors: &mut SettingErrors,
    ) -> Self {
        let mut rules = Self::default();
        for (host, issuer) in explicit {
            let setting = format!("issuer for host {host:?}");
            if !issuers.iter().any(|known| **known == **issuer) {
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
        self.bindings.is_empty()
    }

    /// Returns the bound hosts.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.bindings.keys().map(|host| &**host)
    }

    /// Returns the `iss` that is accepted for `host`.
    pub(crate) fn issuer_for(&self, host: &Host) -> Option<&str> {
        self.bindings.get(host.as_str()).map(|issuer| &**issuer)
    }

    fn bind(&mut self, host: &str, issuer: &str, errors: &mut SettingErrors) {
        let previous = self.bindings.insert(Box::from(host), Box::from(issuer));
        if let Some(previous) = previous.filter(|previous| **previous != *issuer) {
            errors
                .push(&format!("host {host:?}, issuers {previous:?} and {issuer:?}"), SettingErrorKind::DuplicateHost);
        }
    }
}
