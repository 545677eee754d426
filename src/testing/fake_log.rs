//! `FakeLog`: a log of revocations that can fail.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::fetch::within;
use crate::revocation::{LogAppend, LogError, LogFuture, LogPage, LogRead, MemoryLog, RevocationLog};

/// A [`RevocationLog`] in memory that can fail, for tests of an application whose processes share revocations. A clone shares it.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::revocation::{Revocation, RevocationState, Revocations};
/// use tower_bearer::testing::{FakeClock, FakeLog, LogFailure};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = FakeClock::new();
/// let log = FakeLog::new(&clock);
/// let list = Revocations::builder().with_clock(clock.clone()).shared(log.clone())?;
/// clock.settle().await;
/// assert_eq!(list.status().state(), RevocationState::Current);
///
/// log.set_failure(LogFailure::Down);
/// clock.run_for(Duration::from_secs(31)).await;
/// assert_eq!(list.status().state(), RevocationState::Degraded);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FakeLog {
    log: MemoryLog,
    failure: Arc<watch::Sender<LogFailure>>,
    malformed: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    appends: Arc<AtomicUsize>,
}

/// How the calls of a [`FakeLog`] fail, until [`FakeLog::set_failure`] is called again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFailure {
    /// They succeed. The default.
    #[default]
    None,
    /// Every call fails with this error, also a read that waits for an entry.
    Fails(LogError),
    /// Every call fails with [`LogError::Unavailable`], like that of a server that does not run.
    Down,
    /// No call ends, like that over a connection whose other end has lost power.
    Hang,
    /// Every call panics.
    Panic,
}

impl FakeLog {
    /// Creates an empty log.
    #[must_use]
    pub fn new(clock: &(impl Clock + Clone)) -> Self {
        Self {
            log: MemoryLog::with_clock(clock.clone()),
            failure: Arc::new(watch::Sender::new(LogFailure::None)),
            malformed: Arc::default(),
            reads: Arc::default(),
            appends: Arc::default(),
        }
    }

    /// Sets how calls fail from now on.
    pub fn set_failure(&self, failure: LogFailure) {
        self.failure.send_replace(failure);
    }

    /// Drops all entries, like `FLUSHALL`.
    pub fn clear(&self) {
        self.log.drop_last(usize::MAX);
    }

    /// Drops the last entries, like a failover to a Redis replica that has not received them.
    pub fn drop_last(&self, entries: usize) {
        self.log.drop_last(entries);
    }

    /// Adds entries that no reader understands. They are part of the next page.
    pub fn add_malformed(&self, entries: usize) {
        self.malformed.fetch_add(entries, Ordering::SeqCst);
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Returns whether the log has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// Returns the number of reads that were started.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Returns the number of appends that were started.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    /// Runs a call as long as no failure is set.
    async fn run<T>(
        mut failures: watch::Receiver<LogFailure>,
        start: impl Fn() -> LogFuture<T>,
    ) -> Result<T, LogError> {
        loop {
            let failure = *failures.borrow_and_update();
            match failure {
                LogFailure::None => {}
                LogFailure::Fails(error) => return Err(error),
                LogFailure::Down => return Err(LogError::Unavailable),
                #[expect(clippy::panic, reason = "the failure is a panic")]
                LogFailure::Panic => panic!("the failure of the log"),
                LogFailure::Hang => pending().await,
            }
            let mut changes = failures.clone();
            let changed = Box::pin(async move {
                let _end = changes.changed().await;
            });
            if let Some(result) = within(start(), changed).await {
                return result;
            }
        }
    }
}

impl RevocationLog for FakeLog {
    fn append(&self, append: LogAppend) -> LogFuture<()> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        let (log, failures) = (self.log.clone(), self.failure.subscribe());
        Box::pin(Self::run(failures, move || log.append(append.clone())))
    }

    fn read(&self, read: LogRead) -> LogFuture<LogPage> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let (log, failures, malformed) = (self.log.clone(), self.failure.subscribe(), Arc::clone(&self.malformed));
        Box::pin(async move {
            let page = Self::run(failures, || log.read(read.clone())).await?;
            Ok(page.with_malformed(malformed.swap(0, Ordering::SeqCst)))
        })
    }
}

/// Shows no entries.
impl fmt::Debug for FakeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeLog")
            .field("len", &self.len())
            .field("failure", &*self.failure.borrow())
            .finish_non_exhaustive()
    }
}
