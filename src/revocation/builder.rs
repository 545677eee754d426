//! `RevocationsBuilder`: the settings of a list.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::defaults;
use crate::revocation::error::RevocationSettingError;
use crate::revocation::list::Revocations;

/// Builds [`Revocations`] with other settings than the defaults.
#[derive(Clone, Debug)]
pub struct RevocationsBuilder {
    max_entries: usize,
    max_token_life: Duration,
    clock: Arc<dyn Clock>,
}

impl Revocations {
    /// Creates an empty list in the memory of this process, with the default settings.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(defaults::MAX_REVOCATIONS, defaults::MAX_TOKEN_LIFE, Arc::new(SystemClock))
    }

    /// Returns a builder, to set another size, token life or clock.
    #[must_use]
    pub fn builder() -> RevocationsBuilder {
        RevocationsBuilder {
            max_entries: defaults::MAX_REVOCATIONS,
            max_token_life: defaults::MAX_TOKEN_LIFE,
            clock: Arc::new(SystemClock),
        }
    }
}

impl RevocationsBuilder {
    /// Sets the largest number of entries, from 1,000 to 50,000,000. Default: 1,000,000, which take 13 MB, or 17 MB if all of them
    /// have a time before which tokens are rejected. Memory is allocated for entries that exist.
    #[must_use]
    pub fn with_max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets the longest time from issue to `exp` that tokens of the trusted issuers have, from 1 min to 30 d. Default: 24 h, the
    /// default of Auth0. It is the end of entries without [their own](crate::revocation::Revocation::with_end).
    ///
    /// # Security
    ///
    /// A token that lives longer is accepted again after this time. Such a token is counted and logged when it is validated.
    #[must_use]
    pub fn with_max_token_life(mut self, life: Duration) -> Self {
        self.max_token_life = life;
        self
    }

    /// Sets the clock. Default: the system clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Creates an empty list in the memory of this process.
    ///
    /// # Errors
    ///
    /// Returns [`RevocationSettingError`] for the first setting that is out of range.
    pub fn in_memory(self) -> Result<Revocations, RevocationSettingError> {
        if !defaults::REVOCATIONS_RANGE.contains(&self.max_entries) {
            return Err(RevocationSettingError::MaxEntries);
        }
        if !defaults::TOKEN_LIFE_RANGE.contains(&self.max_token_life) {
            return Err(RevocationSettingError::MaxTokenLife);
        }
        Ok(Revocations::new(self.max_entries, self.max_token_life, self.clock))
    }
}
