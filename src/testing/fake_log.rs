//! `FakeLog`: a log of revocations with faults.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::fetch::within;
use crate::revocation::{LogAppend, LogError, LogFuture, LogPage, LogRead, MemoryLog, RevocationLog};

/// A [`RevocationLog`] in memory with faults, for tests of an application whose processes share revocations. A clone shares it.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::revocation::{Revocation, RevocationState, Revocations};
/// use tower_bearer::testing::{FakeClock, FakeLog, LogFault};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = FakeClock::new();
/// let log = FakeLog::new(&clock);
/// let list = Revocations::builder().with_clock(clock.clone()).shared(log.clone())?;
/// clock.settle().await;
/// assert_eq!(list.status().state(), RevocationState::Current);
///
/// log.set_fault(LogFault::Down);
/// clock.run_for(Duration::from_secs(31)).await;
/// assert_eq!(list.status().state(), RevocationState::Degraded);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FakeLog {
    log: MemoryLog,
    fault: Arc<watch::Sender<LogFault>>,
    malformed: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    appends: Arc<AtomicUsize>,
}

/// What is wrong with a [`FakeLog`], until another fault is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFault {
    /// Nothing. The default.
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
            fault: Arc::new(watch::Sender::new(LogFault::None)),
            malformed: Arc::default(),
            reads: Arc::default(),
            appends: Arc::default(),
        }
    }

    /// Sets or ends a fault.
    pub fn set_fault(&self, fault: LogFault) {
        self.fault.send_replace(fault);
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

    /// Runs a call as long as there is no fault.
    async fn run<T>(mut faults: watch::Receiver<LogFault>, start: impl Fn() -> LogFuture<T>) -> Result<T, LogError> {
        loop {
            let fault = *faults.borrow_and_update();
            match fault {
                LogFault::None => {}
                LogFault::Fails(error) => return Err(error),
                LogFault::Down => return Err(LogError::Unavailable),
                #[expect(clippy::panic, reason = "what the fault is for")]
                LogFault::Panic => panic!("the fault of the log"),
                LogFault::Hang => pending().await,
            }
            let mut changes = faults.clone();
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
        let (log, faults) = (self.log.clone(), self.fault.subscribe());
        Box::pin(Self::run(faults, move || log.append(append.clone())))
    }

    fn read(&self, read: LogRead) -> LogFuture<LogPage> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let (log, faults, malformed) = (self.log.clone(), self.fault.subscribe(), Arc::clone(&self.malformed));
        Box::pin(async move {
            let page = Self::run(faults, || log.read(read.clone())).await?;
            Ok(page.with_malformed(malformed.swap(0, Ordering::SeqCst)))
        })
    }
}

/// Shows no entries.
impl fmt::Debug for FakeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeLog")
            .field("len", &self.len())
            .field("fault", &*self.fault.borrow())
            .finish_non_exhaustive()
    }
}
