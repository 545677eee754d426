//! `MemoryLog`: a log in the memory of one process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::fetch::within;
use crate::revocation::entry::Revocation;
use crate::revocation::log::{LogAppend, LogError, LogFuture, LogPage, LogPosition, LogRead, RevocationLog};

/// A [`RevocationLog`] in the memory of one process. A clone shares it.
///
/// Several lists in one process can share it, and a process without a database can run the same code as one with it. Its entries are
/// lost at the end of the process.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    entries: Mutex<Entries>,
    /// Changes at each append.
    appended: watch::Sender<()>,
    clock: Arc<dyn Clock>,
}

/// The entries with their numbers, which increase and are never used twice.
#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<(u64, Revocation)>,
    last_number: u64,
}

impl MemoryLog {
    /// Creates an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// Creates an empty log with a clock, by which reads wait for entries.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        let (entries, appended) = (Mutex::default(), watch::Sender::new(()));
        Self { shared: Arc::new(Shared { entries, appended, clock: Arc::new(clock) }) }
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.with(|entries| entries.kept.len())
    }

    /// Returns whether the log has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops entries from the end, as if an older state had replaced the log. Lists that have read them keep them.
    pub fn drop_last(&self, count: usize) {
        self.shared.with(|entries| entries.kept.truncate(entries.kept.len().saturating_sub(count)));
    }
}

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        change(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entries {
    fn append(&mut self, append: LogAppend) -> Result<(), LogError> {
        if self.kept.len().saturating_add(append.entries.len()) > MAX_ENTRIES {
            return Err(LogError::Full);
        }
        for entry in append.entries {
            self.last_number = self.last_number.saturating_add(1);
            self.kept.push_back((self.last_number, entry));
        }
        // The entry at the position stays, so that a reader that has read it can continue.
        let obsolete = append.obsolete.as_ref().and_then(number).unwrap_or_default();
        while self.kept.len() > 1 && self.kept.front().is_some_and(|(number, _)| *number < obsolete) {
            self.kept.pop_front();
        }
        Ok(())
    }

    fn page(&self, read: &LogRead) -> LogPage {
        let start = match &read.after {
            None => 0,
            Some(position) => {
                let found =
                    number(position).and_then(|number| self.kept.binary_search_by_key(&number, |entry| entry.0).ok());
                match found {
                    Some(at) => at.saturating_add(1),
                    None => return LogPage::regressed(),
                }
            }
        };
        let end = start.saturating_add(read.limit).min(self.kept.len());
        let position = self.kept.get(end.saturating_sub(1)).filter(|_| end > start);
        let position = position.map(|(number, _)| LogPosition::new(&number.to_string()));
        let entries = self.kept.range(start..end).map(|(_, entry)| entry.clone()).collect();
        match position {
            Some(position) if end < self.kept.len() => LogPage::partial(entries, position),
            position => LogPage::complete(entries, position),
        }
    }
}

impl RevocationLog for MemoryLog {
    fn append(&self, append: LogAppend) -> LogFuture<()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.with(|entries| entries.append(append))?;
            shared.appended.send_replace(());
            Ok(())
        })
    }

    fn read(&self, read: LogRead) -> LogFuture<LogPage> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut appended = shared.appended.subscribe();
            let deadline = shared.clock.monotonic().saturating_add(read.wait);
            loop {
                let page = shared.with(|entries| entries.page(&read));
                if !page.is_idle() || read.wait.is_zero() {
                    return Ok(page);
                }
                if within(appended.changed(), shared.clock.sleep_until(deadline)).await.is_none() {
                    return Ok(page);
                }
            }
        })
    }
}

fn number(position: &LogPosition) -> Option<u64> {
    position.as_str().parse().ok()
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows no entries.
impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The names of a million entries take some 200 MB.
const MAX_ENTRIES: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn revocation(number: usize) -> Revocation {
        Revocation::jwt_id("https://issuer.test/", &number.to_string())
    }

    fn append(entries: &mut Entries, numbers: std::ops::Range<usize>, obsolete: Option<u64>) {
        let obsolete = obsolete.map(|number| LogPosition::new(&number.to_string()));
        let append = LogAppend { entries: numbers.map(revocation).collect(), obsolete };
        entries.append(append).expect("room");
    }

    fn read(entries: &Entries, after: Option<u64>, limit: usize) -> LogPage {
        let after = after.map(|number| LogPosition::new(&number.to_string()));
        entries.page(&LogRead { after, limit, wait: Duration::ZERO })
    }

    #[test]
    fn reads_in_pages_after_a_position() {
        let mut entries = Entries::default();
        assert_eq!(read(&entries, None, 2), LogPage::complete(Vec::new(), None));
        append(&mut entries, 0..3, None);
        let position = |number: u64| LogPosition::new(&number.to_string());
        assert_eq!(read(&entries, None, 2), LogPage::partial(vec![revocation(0), revocation(1)], position(2)));
        assert_eq!(read(&entries, Some(2), 2), LogPage::complete(vec![revocation(2)], Some(position(3))));
        assert_eq!(read(&entries, Some(3), 2), LogPage::complete(Vec::new(), None));
        assert_eq!(read(&entries, Some(4), 2), LogPage::regressed());
    }

    #[test]
    fn drops_what_is_obsolete_and_keeps_the_entry_at_the_position() {
        let mut entries = Entries::default();
        append(&mut entries, 0..5, None);
        append(&mut entries, 5..6, Some(3));
        assert_eq!(entries.kept.len(), 4);
        assert_eq!(read(&entries, Some(3), 9).entries.len(), 3);
        assert_eq!(read(&entries, Some(1), 9), LogPage::regressed(), "entries after it were dropped");
        append(&mut entries, 6..7, Some(100));
        assert_eq!(entries.kept.len(), 1, "the last entry stays");
    }

    #[test]
    fn an_older_copy_has_not_the_position_of_what_it_lacks() {
        let mut entries = Entries::default();
        append(&mut entries, 0..5, None);
        entries.kept.truncate(3);
        append(&mut entries, 7..9, None);
        assert_eq!(read(&entries, Some(5), 9), LogPage::regressed());
        assert_eq!(read(&entries, Some(3), 9).entries, [revocation(7), revocation(8)]);
    }
}
