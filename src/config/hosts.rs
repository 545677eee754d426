//! Which host of an API goes with which `iss`.

use std::collections::BTreeMap;

use crate::config::domain;
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::request::Host;

/// For every host under which an API is reached, the one `iss` that is accepted there. Empty: any host, any issuer.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostRules {
    bound: BTreeMap<Box<str>, Box<str>>,
}

impl HostRules {
    /// Resolves explicit bindings, and the identity map over the issuers' own hosts where it is asked for.
    pub(super) fn resolve(
        explicit: &[(String, String)],
        identity: bool,
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
        for issuer in issuers.iter().filter(|_| identity) {
            let setting = format!("issuer from host, issuer {issuer:?}");
            match domain::host_of(issuer).and_then(|host| Host::parse(&host).ok()) {
                Some(host) => rules.bind(host.as_str(), issuer, errors),
                None => errors.push(&setting, SettingErrorKind::NoHost),
            }
        }
        rules
    }

    /// Says whether hosts matter at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// The hosts under which anything is accepted.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.bound.keys().map(|host| &**host)
    }

    /// The one `iss` that is accepted under `host`.
    pub(crate) fn issuer_for(&self, host: &Host) -> Option<&str> {
        self.bound.get(host.as_str()).map(|issuer| &**issuer)
    }

    fn bind(&mut self, host: &str, issuer: &str, errors: &mut SettingErrors) {
        let before = self.bound.insert(Box::from(host), Box::from(issuer));
        if let Some(before) = before.filter(|before| **before != *issuer) {
            errors.push(&format!("host {host:?}, issuers {before:?} and {issuer:?}"), SettingErrorKind::DuplicateHost);
        }
    }
}
