//! `DomainList`: the custom domains of an issuer, as the application returns them while the validator runs.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::clock::{Clock, Monotonic};
use crate::config::domain;
use crate::config::error::SettingErrors;
use crate::defaults;

/// The function of the application that returns all custom domains.
#[derive(Clone)]
pub(crate) struct DomainSource(Arc<dyn Fn() -> DomainsFuture + Send + Sync>);

/// The future of a [`DomainSource`].
pub(crate) type DomainsFuture = Pin<Box<dyn Future<Output = Result<Vec<String>, SourceError>> + Send>>;

/// The error of the application.
type SourceError = Box<dyn Error + Send + Sync>;

impl DomainSource {
    pub(super) fn new<F>(source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<String>, SourceError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(source())))
    }
}

impl fmt::Debug for DomainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainSource")
    }
}

/// The custom domains of one issuer of one validator. Requests read them without a lock; one task replaces them.
#[derive(Clone, Debug)]
pub(crate) struct DomainList {
    name: Box<str>,
    source: DomainSource,
    current: Arc<ArcSwap<Domains>>,
    /// The clock of the validator, so that old domains are not used even if no task renews them.
    clock: Arc<OnceLock<Arc<dyn Clock>>>,
}

/// What is known about the domains.
#[derive(Debug)]
enum Domains {
    /// The source has not returned them yet, or did so too long ago.
    Unknown,
    Known {
        /// The `iss` of each domain, sorted.
        issuers: Box<[Box<str>]>,
        /// The time at which the source returned them last.
        confirmed_at: Monotonic,
    },
}

/// The result of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// The number of domains.
    pub(crate) domains: usize,
    /// The number of texts that are no domains. They are ignored.
    pub(crate) malformed: usize,
    /// Whether a domain was added or removed.
    pub(crate) is_changed: bool,
}

/// The source returned more domains than are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyDomains;

impl DomainList {
    /// Creates the list of an issuer with this name. No domain is known.
    pub(super) fn new(issuer: &str, source: DomainSource) -> Self {
        let name = Self::name_for(issuer).into_boxed_str();
        Self { name, source, current: Arc::new(ArcSwap::from_pointee(Domains::Unknown)), clock: Arc::default() }
    }

    /// Sets the clock of the validator.
    pub(crate) fn set_clock(&self, clock: Arc<dyn Clock>) {
        let _earlier = self.clock.set(clock);
    }

    /// Returns the name of the list of an issuer.
    pub(super) fn name_for(issuer: &str) -> String {
        format!("a custom domain of {issuer}")
    }

    /// Returns the name of the list in logs and metrics.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the list contains an `iss`; `None` if this is not known.
    pub(super) fn contains(&self, issuer: &str) -> Option<bool> {
        match &**self.current.load() {
            Domains::Known { issuers, confirmed_at } if !self.is_too_old(*confirmed_at) => {
                Some(issuers.binary_search_by(|known| (**known).cmp(issuer)).is_ok())
            }
            Domains::Known { .. } | Domains::Unknown => (!is_issuer_of_a_domain(issuer)).then_some(false),
        }
    }

    /// Returns whether the list may contain this `iss`, now or later.
    pub(super) fn may_contain(issuer: &str) -> bool {
        is_issuer_of_a_domain(issuer)
    }

    /// Calls the source.
    pub(crate) fn call_source(&self) -> DomainsFuture {
        (self.source.0)()
    }

    /// Replaces the domains.
    pub(crate) fn replace(&self, domains: &[String], now: Monotonic) -> Result<Renewed, TooManyDomains> {
        if domains.len() > defaults::MAX_CUSTOM_DOMAINS {
            return Err(TooManyDomains);
        }
        let issuer = |bare: &String| domain::auth0_issuer("", bare, &mut SettingErrors::default());
        let mut issuers: Vec<Box<str>> = domains.iter().filter_map(issuer).map(String::into_boxed_str).collect();
        let malformed = domains.len().saturating_sub(issuers.len());
        issuers.sort_unstable();
        issuers.dedup();
        let is_changed = match &**self.current.load() {
            Domains::Known { issuers: earlier, .. } => **earlier != *issuers,
            Domains::Unknown => true,
        };
        let renewed = Renewed { domains: issuers.len(), malformed, is_changed };
        self.current.store(Arc::new(Domains::Known { issuers: issuers.into_boxed_slice(), confirmed_at: now }));
        Ok(renewed)
    }

    /// Forgets the domains if the source returned them too long ago. Returns whether it has forgotten them now.
    pub(crate) fn expire(&self, now: Monotonic) -> bool {
        let is_too_old = match &**self.current.load() {
            Domains::Known { confirmed_at, .. } => is_too_old_at(*confirmed_at, now),
            Domains::Unknown => false,
        };
        if is_too_old {
            self.current.store(Arc::new(Domains::Unknown));
        }
        is_too_old
    }

    /// Returns whether the domains are known.
    pub(crate) fn is_known(&self) -> bool {
        matches!(&**self.current.load(), Domains::Known { confirmed_at, .. } if !self.is_too_old(*confirmed_at))
    }

    fn is_too_old(&self, confirmed_at: Monotonic) -> bool {
        self.clock.get().is_some_and(|clock| is_too_old_at(confirmed_at, clock.monotonic()))
    }
}

fn is_too_old_at(confirmed_at: Monotonic, now: Monotonic) -> bool {
    now.saturating_since(confirmed_at) >= defaults::CUSTOM_DOMAINS_MAX_STALE
}

/// Returns whether an `iss` has the form of that of a domain.
fn is_issuer_of_a_domain(issuer: &str) -> bool {
    domain::auth0_issuer("", issuer, &mut SettingErrors::default()).is_some_and(|normal| normal == issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> DomainList {
        DomainList::new("https://northwind.eu.auth0.com/", DomainSource::new(|| async { Ok(Vec::new()) }))
    }

    fn replace(list: &DomainList, domains: &[&str]) -> Result<Renewed, TooManyDomains> {
        let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
        list.replace(&domains, Monotonic::default())
    }

    #[test]
    fn accepts_exactly_the_issuers_of_the_domains() {
        let list = list();
        let domains = ["login.northwind.com", "https://LOGIN.fabrikam.com/", "a b", "", "login.northwind.com"];
        let renewed = replace(&list, &domains);
        assert_eq!(renewed, Ok(Renewed { domains: 2, malformed: 2, is_changed: true }));
        let accepted = ["https://login.northwind.com/", "https://login.fabrikam.com/"];
        for issuer in accepted {
            assert_eq!(list.contains(issuer), Some(true), "{issuer}");
        }
        for issuer in [
            "https://login.northwind.com",
            "https://login.northwind.com//",
            "http://login.northwind.com/",
            "https://LOGIN.fabrikam.com/",
            "https://login.northwind.com.evil.com/",
            "login.northwind.com",
            "",
        ] {
            assert_eq!(list.contains(issuer), Some(false), "{issuer}");
        }
        let same = ["login.fabrikam.com", "login.northwind.com"];
        assert_eq!(replace(&list, &same), Ok(Renewed { domains: 2, malformed: 0, is_changed: false }));
        assert_eq!(replace(&list, &[]), Ok(Renewed { domains: 0, malformed: 0, is_changed: true }));
        assert_eq!(list.contains("https://login.northwind.com/"), Some(false));
    }

    #[test]
    fn only_names_of_domains_are_unavailable_before_the_list_is_known() {
        let list = list();
        assert_eq!(list.contains("https://login.northwind.com/"), None);
        let no_domains = ["https://login.northwind.com/path/", "https://localhost/", "urn:northwind", ""];
        for issuer in no_domains {
            assert_eq!(list.contains(issuer), Some(false), "{issuer}");
        }
    }

    #[test]
    fn rejects_too_many_domains_and_retains_the_earlier_ones() {
        let list = list();
        assert!(replace(&list, &["login.northwind.com"]).is_ok());
        let many = vec!["login.fabrikam.com".to_owned(); defaults::MAX_CUSTOM_DOMAINS + 1];
        assert_eq!(list.replace(&many, Monotonic::default()), Err(TooManyDomains));
        assert_eq!(list.contains("https://login.northwind.com/"), Some(true));
        assert!(list.replace(&many[1..], Monotonic::default()).is_ok());
    }

    #[test]
    fn expires_at_the_end_of_its_life() {
        let list = list();
        assert!(replace(&list, &["login.northwind.com"]).is_ok());
        let end = Monotonic::default().saturating_add(defaults::CUSTOM_DOMAINS_MAX_STALE);
        let before = Monotonic::default()
            .saturating_add(defaults::CUSTOM_DOMAINS_MAX_STALE - std::time::Duration::from_nanos(1));
        assert!(!list.expire(before) && list.is_known());
        assert!(list.expire(end) && !list.is_known());
        assert!(!list.expire(end), "once");
        assert_eq!(list.contains("https://login.northwind.com/"), None);
    }

    /// The task that calls the source may have ended with its runtime.
    #[test]
    fn old_domains_are_not_used_if_no_task_expires_them() {
        let list = list();
        let clock = crate::testing::FakeClock::new();
        list.set_clock(Arc::new(clock.clone()));
        let domains = ["login.northwind.com".to_owned()];
        assert!(list.replace(&domains, crate::clock::Clock::monotonic(&clock)).is_ok());
        clock.advance(defaults::CUSTOM_DOMAINS_MAX_STALE - std::time::Duration::from_secs(1));
        assert_eq!(list.contains("https://login.northwind.com/"), Some(true));
        clock.advance(std::time::Duration::from_secs(1));
        assert!(!list.is_known());
        assert_eq!(list.contains("https://login.northwind.com/"), None);
    }
}
