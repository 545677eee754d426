//! `RevocationsBuilder`: the settings of a list.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::defaults;
use crate::event_hook::EventHook;
use crate::revocation::error::{RevocationConfigError, RevocationSettingError};
use crate::revocation::event::RevocationEvent;
use crate::revocation::list::{Revocations, Settings};
use crate::revocation::log::RevocationLog;
use crate::revocation::replication::{LogRules, Replication};

/// Builds [`Revocations`] with other settings than the defaults.
#[derive(Clone, Debug)]
pub struct RevocationsBuilder {
    max_entries: usize,
    max_token_life: Duration,
    clock: Arc<dyn Clock>,
    rules: LogRules,
    event_hook: Option<EventHook<RevocationEvent>>,
}

impl Revocations {
    /// Creates an empty list in the memory of this process, with the default settings.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::builder().build(None)
    }

    /// Creates a list that processes share over a log, with the default settings. It reads the log to its end, and then follows it.
    ///
    /// Until the log was read for the first time, and if no read has succeeded for five minutes, requests are rejected with 503.
    ///
    /// ```
    /// use tower_bearer::revocation::{MemoryLog, Revocation, Revocations};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let log = MemoryLog::new();
    /// let (one, other) = (Revocations::shared(log.clone()), Revocations::shared(log));
    /// one.ready_within(std::time::Duration::from_secs(5)).await?;
    /// one.revoke(Revocation::subject("https://northwind.eu.auth0.com/", "auth0|ann")).await?;
    /// while other.status().total_entries() == 0 {
    ///     tokio::task::yield_now().await;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn shared(log: impl RevocationLog) -> Self {
        Self::builder().build(Some(Arc::new(log)))
    }

    /// Returns a builder, to set another size, token life or clock.
    #[must_use]
    pub fn builder() -> RevocationsBuilder {
        RevocationsBuilder {
            max_entries: defaults::MAX_REVOCATIONS,
            max_token_life: defaults::MAX_TOKEN_LIFE,
            clock: Arc::new(SystemClock),
            rules: LogRules { max_stale: defaults::REVOCATIONS_MAX_STALE, accepts_stale: false, accepts_unread: false },
            event_hook: None,
        }
    }
}

impl RevocationsBuilder {
    /// Sets the largest number of entries, from 1,000 to 50,000,000. Default: 1,000,000, which take 12 MB, or 16 MB if all of them
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

    /// Sets the time without a successful read of the log after which requests are rejected with 503, from 10 s to 24 h. Default: 5 min,
    /// because a list that does not know what was revoked an hour ago is none. Has no effect without a log.
    #[must_use]
    pub fn with_max_stale(mut self, limit: Duration) -> Self {
        self.rules.max_stale = limit;
        self
    }

    /// Accepts requests after [`with_max_stale`](Self::with_max_stale), by the entries that are known. Default: they are rejected with 503.
    ///
    /// # Security
    ///
    /// While the log cannot be read, tokens are accepted that another process has revoked.
    #[must_use]
    pub fn dangerous_serve_stale_revocations(mut self) -> Self {
        self.rules.accepts_stale = true;
        self
    }

    /// Accepts requests before the log was read for the first time. Default: they are rejected with 503.
    ///
    /// # Security
    ///
    /// A process that starts while the log cannot be read accepts every token that is revoked.
    #[must_use]
    pub fn dangerous_start_without_revocations(mut self) -> Self {
        self.rules.accepts_unread = true;
        self
    }

    /// Calls `hook` with each [`RevocationEvent`], for alerts. The same events are also logged. Default: none.
    ///
    /// The hook must not block: the task that reads the log, or the caller of [`revoke`](Revocations::revoke), waits for it. No lock is
    /// held during the call. A hook that panics is called again for the next event.
    ///
    /// ```
    /// use tower_bearer::revocation::{MemoryLog, RevocationEventKind, Revocations};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Revocations::builder().with_event_hook(|event| match event.kind() {
    ///     RevocationEventKind::Stale => eprintln!("requests are rejected with 503"),
    ///     RevocationEventKind::Full { max_entries, .. } => eprintln!("there is no room for more than {max_entries}"),
    ///     _ => {}
    /// });
    /// let revocations = builder.shared(MemoryLog::new())?;
    /// # let _ = revocations;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_event_hook(mut self, hook: impl Fn(&RevocationEvent) + Send + Sync + 'static) -> Self {
        self.event_hook = Some(EventHook::new(hook));
        self
    }

    /// Creates an empty list in the memory of this process.
    ///
    /// # Errors
    ///
    /// Returns [`RevocationConfigError`] with every setting that is out of range.
    pub fn in_memory(self) -> Result<Revocations, RevocationConfigError> {
        self.check()?;
        Ok(self.build(None))
    }

    /// Creates a list that processes share over a log. It reads the log to its end, and then follows it.
    ///
    /// # Errors
    ///
    /// Returns [`RevocationConfigError`] with every setting that is out of range.
    pub fn shared(self, log: impl RevocationLog) -> Result<Revocations, RevocationConfigError> {
        self.check()?;
        Ok(self.build(Some(Arc::new(log))))
    }

    fn check(&self) -> Result<(), RevocationConfigError> {
        let settings = [
            (defaults::REVOCATIONS_RANGE.contains(&self.max_entries), RevocationSettingError::MaxEntries),
            (defaults::TOKEN_LIFE_RANGE.contains(&self.max_token_life), RevocationSettingError::MaxTokenLife),
            (defaults::REVOCATIONS_MAX_STALE_RANGE.contains(&self.rules.max_stale), RevocationSettingError::MaxStale),
        ];
        let errors: Vec<_> = settings.into_iter().filter(|(is_valid, _)| !is_valid).map(|(_, error)| error).collect();
        if errors.is_empty() { Ok(()) } else { Err(RevocationConfigError { errors }) }
    }

    fn build(self, log: Option<Arc<dyn RevocationLog>>) -> Revocations {
        let Self { max_entries, max_token_life, clock, rules, event_hook } = self;
        let replication = log.map(|log| Replication::new(log, rules, event_hook.clone()));
        Revocations::new(Settings { max_entries, max_token_life, clock, replication, event_hook })
    }
}
