//! `RevocationLog`: an ordered log by which processes learn what the others have revoked.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::revocation::entry::Revocation;

/// An ordered log of revocations, which processes share.
///
/// Each process reads the whole log at start, and then follows it. [`MemoryLog`](crate::revocation::MemoryLog) is a log in the memory of
/// one process; with the feature `redis`, `stores::RedisLog` is one in Redis. Other databases with an ordered log are suitable, too:
/// a table with an increasing number, a topic of Kafka with one partition, a stream of NATS.
///
/// The calls have time limits: 2 s for [`append`](Self::append), and 3 s more than [`wait`](LogRead::wait) for [`read`](Self::read).
/// A future that takes longer is dropped.
///
/// # Security
///
/// Anyone who can write to the log can have tokens rejected. An entry never makes an invalid token valid. Anyone who can remove entries
/// hides them from processes that have not read them.
pub trait RevocationLog: fmt::Debug + Send + Sync + 'static {
    /// Appends entries. The future completes once the log has stored all of them. After a failure, they are appended again, so an
    /// entry may be in the log twice. A log that stores whole seconds rounds the end of an entry up.
    fn append(&self, append: LogAppend) -> LogFuture<()>;

    /// Reads entries after a position, in the order of the log. A read that succeeds says that the list knows all entries of the log up to
    /// now, so a read from a server that is known to get no more entries must fail. A process also reads the entries that it has appended:
    /// those that it does not find in the log are appended again, at most three times.
    fn read(&self, read: LogRead) -> LogFuture<LogPage>;
}

/// The future of the methods of [`RevocationLog`].
pub type LogFuture<T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send>>;

/// What to append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogAppend {
    /// The entries. Each has an [`end`](Revocation::end), and all but tokens and sessions an
    /// [`issued_before`](Revocation::issued_before).
    pub entries: Vec<Revocation>,
    /// All entries up to this position have ended. The log may drop those before it. It must not drop the entry at this position,
    /// which processes may have read last.
    pub obsolete: Option<LogPosition>,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRead {
    /// The position of the last entry that was read, or `None` to read from the start.
    pub after: Option<LogPosition>,
    /// The largest number of entries.
    pub limit: usize,
    /// How long to wait for an entry if there is none. A log that cannot wait returns at once, and is read again after a second.
    pub wait: Duration,
}

/// The position of an entry in a log: text that only the log understands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogPosition(Box<str>);

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// They are part of the list also if the page is a [regression](Extent::Regressed) or a failure.
    pub(crate) entries: Vec<Revocation>,
    pub(super) malformed: usize,
    pub(super) position: Option<LogPosition>,
    pub(super) extent: Extent,
    /// Why the read failed after the entries were read. The next read starts at the same position.
    pub(crate) failure: Option<LogError>,
}

/// How much of the log a page covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Up to the end of the log.
    Complete,
    /// More entries follow.
    Partial,
    /// Nothing: the log no longer has the position.
    Regressed,
}

/// Why a call of a log failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogError {
    /// The log does not respond.
    Unavailable,
    /// The log did not respond in time.
    TimedOut,
    /// The log has no room.
    Full,
    /// The log refuses the call, for example because a permission is missing.
    Refused,
    /// The log may drop entries that have not ended, so it is not used.
    Evicts,
    /// Too many entries wait to be appended. This one will not be.
    TooManyPending,
    /// The [`RevocationLog`] implementation panicked.
    Panic,
}

impl LogAppend {
    /// Creates a call that appends entries, for wrappers and tests of a log. No entry is obsolete.
    #[must_use]
    pub fn new(entries: Vec<Revocation>) -> Self {
        Self { entries, obsolete: None }
    }
}

impl LogRead {
    /// Creates a call that reads at most `limit` entries from the start and does not wait, for wrappers and tests of a log.
    ///
    /// ```
    /// use tower_bearer::clock::Timestamp;
    /// use tower_bearer::revocation::{LogAppend, LogRead, MemoryLog, Revocation, RevocationLog};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_bearer::revocation::LogError> {
    /// let log = MemoryLog::new();
    /// let entry = Revocation::session("https://login.example.com/", "s1");
    /// let entry = entry.with_end(Timestamp::from_secs(4_102_444_800));
    /// log.append(LogAppend::new(vec![entry.clone()])).await?;
    /// let page = log.read(LogRead::new(10)).await?;
    /// assert_eq!(page.entries(), [entry]);
    /// assert!(page.position().is_some());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { after: None, limit, wait: Duration::ZERO }
    }
}

impl LogPosition {
    /// Creates a position from the log's own text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Box::from(text))
    }

    /// Returns the log's own text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LogPage {
    /// Creates a page up to the end of the log, with the position of its last entry, or `None` if it has none.
    #[must_use]
    pub fn complete(entries: Vec<Revocation>, position: Option<LogPosition>) -> Self {
        Self { entries, malformed: 0, position, extent: Extent::Complete, failure: None }
    }

    /// Creates a page that more entries follow, with the position of its last entry.
    #[must_use]
    pub fn partial(entries: Vec<Revocation>, position: LogPosition) -> Self {
        Self { entries, malformed: 0, position: Some(position), extent: Extent::Partial, failure: None }
    }

    /// Creates a page that says that the log no longer has the position of the read: it was emptied, it was replaced by an older state,
    /// or entries after the position were dropped. The log is then read from the start.
    #[must_use]
    pub fn regressed() -> Self {
        Self { entries: Vec::new(), malformed: 0, position: None, extent: Extent::Regressed, failure: None }
    }

    /// Returns the entries.
    #[must_use]
    pub fn entries(&self) -> &[Revocation] {
        &self.entries
    }

    /// Returns the position of the last entry, which the next read passes as [`after`](LogRead::after).
    #[must_use]
    pub fn position(&self) -> Option<&LogPosition> {
        self.position.as_ref()
    }

    /// Returns whether the log had nothing after the position.
    pub(crate) fn is_idle(&self) -> bool {
        self.extent == Extent::Complete && self.entries.is_empty() && self.malformed == 0
    }

    /// Sets how many entries were skipped because they could not be read. They are counted and logged.
    #[must_use]
    pub fn with_malformed(mut self, entries: usize) -> Self {
        self.malformed = entries;
        self
    }
}

impl<L: RevocationLog + ?Sized> RevocationLog for Arc<L> {
    fn append(&self, append: LogAppend) -> LogFuture<()> {
        (**self).append(append)
    }

    fn read(&self, read: LogRead) -> LogFuture<LogPage> {
        (**self).read(read)
    }
}

impl LogError {
    /// Returns the fixed snake_case name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Evicts => "evicts",
            Self::TooManyPending => "too_many_pending",
            Self::Panic => "panic",
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the log of revocations does not respond",
            Self::TimedOut => "the log of revocations did not respond in time",
            Self::Full => "the log of revocations is full",
            Self::Refused => "the log of revocations refuses the call",
            Self::Evicts => "the log of revocations may drop entries that have not ended",
            Self::TooManyPending => "too many revocations wait to be appended to the log",
            Self::Panic => "the `RevocationLog` implementation panicked",
        })
    }
}

impl std::error::Error for LogError {}
