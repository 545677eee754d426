//! `Queue`: the entries that the log has not stored yet, and those that it has stored last.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::clock::Monotonic;
use crate::defaults;
use crate::jwks::Jitter;
use crate::revocation::entry::Revocation;
use crate::revocation::log::LogError;

/// The entries in the order of the calls. Each call learns the result of the first attempt to append its entries.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Pending>,
    /// The entries that the log has stored last.
    stored: VecDeque<Stored>,
    /// The calls that wait, each with the number of entries up to its last one, counted from the first entry ever.
    waiting: VecDeque<(u64, oneshot::Sender<Result<(), LogError>>)>,
    /// The number of entries that have left the queue.
    left: u64,
    /// By how many bits [`LOG_BATCH`](defaults::LOG_BATCH) is shifted to give the size of the next batch.
    halvings: u32,
    last_attempt: Option<Monotonic>,
    /// The attempts that have failed since the last one that succeeded.
    failing: Option<Failing>,
    /// The latest end of the entries that there was no room for, in seconds since 1970.
    refused_until: u32,
}

#[derive(Debug)]
struct Pending {
    entry: Revocation,
    /// How often the log has stored the entry and lost it.
    losses: u8,
    /// Whether a page contained the entry since the log was read from its start.
    is_read: bool,
}

/// An entry that the log has stored.
#[derive(Debug)]
struct Stored {
    at: Monotonic,
    /// The number of entries that had left the queue then.
    left: u64,
    pending: Pending,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    failures: u32,
    /// The error of the last attempt, and the time at which it failed.
    error: LogError,
    failed_at: Monotonic,
    next_attempt: Monotonic,
}

/// What the task that appends does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for an entry.
    Idle,
    /// Wait until this time, or for an entry.
    Pause(Monotonic),
    /// Append these entries.
    Append(Vec<Revocation>),
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds entries, and returns a receiver of the result of the next attempt.
    pub(super) fn push(
        &mut self,
        entries: Vec<Revocation>,
        now: Monotonic,
    ) -> Result<oneshot::Receiver<Result<(), LogError>>, LogError> {
        if self.entries.len().saturating_add(entries.len()) > defaults::MAX_PENDING_REVOCATIONS {
            self.refused_until = entries.iter().map(Revocation::last_second).fold(self.refused_until, u32::max);
            return Err(LogError::TooManyPending);
        }
        self.entries.extend(entries.into_iter().map(|entry| Pending { entry, losses: 0, is_read: false }));
        let end = self.left.saturating_add(u64::try_from(self.entries.len()).unwrap_or(u64::MAX));
        let (sender, receiver) = oneshot::channel();
        let soonest = self.last_attempt.map_or(now, |last| last.saturating_add(defaults::LOG_APPEND_PAUSE)).max(now);
        match &mut self.failing {
            // The log failed a moment ago. The caller does not wait for the next attempt.
            Some(failing) if soonest > now => drop(sender.send(Err(failing.error))),
            Some(_) | None => self.waiting.push_back((end, sender)),
        }
        // New entries are a reason to try earlier.
        self.retry_at(soonest);
        Ok(receiver)
    }

    /// Returns whether there was no room for an entry that has not ended before `cutoff`.
    pub(super) fn has_refused(&self, cutoff: u32) -> bool {
        self.refused_until >= cutoff && self.refused_until > 0
    }

    /// Tries again soon, because the log responds. Not at once: the entries that were read may be those of an append that was too slow.
    pub(super) fn retry_soon(&mut self) {
        if let Some(failing) = self.failing {
            self.retry_at(failing.failed_at.saturating_add(defaults::LOG_APPEND_PAUSE));
        }
    }

    /// Makes the next attempt no later than at this time.
    fn retry_at(&mut self, latest: Monotonic) {
        if let Some(failing) = &mut self.failing {
            failing.next_attempt = failing.next_attempt.min(latest);
        }
    }

    /// Returns what to do now. Entries that ended before `cutoff`, in seconds since 1970, leave the queue.
    pub(super) fn step(&mut self, now: Monotonic, cutoff: u32) -> Step {
        if let Some(Failing { error, .. }) = self.failing {
            let before = self.entries.len();
            while self.entries.front().is_some_and(|pending| pending.entry.last_second() < cutoff) {
                self.entries.pop_front();
            }
            self.count_left(before.saturating_sub(self.entries.len()), Err(error));
        }
        if self.entries.is_empty() {
            return Step::Idle;
        }
        match self.failing {
            Some(Failing { next_attempt, .. }) if now < next_attempt => Step::Pause(next_attempt),
            Some(_) | None => {
                self.last_attempt = Some(now);
                Step::Append(self.entries.iter().take(self.batch()).map(|pending| pending.entry.clone()).collect())
            }
        }
    }

    /// Records that the first `count` entries are in the log.
    pub(super) fn record_success(&mut self, count: usize, now: Monotonic) {
        self.halvings = self.halvings.saturating_sub(1);
        self.failing = None;
        self.count_left(count, Ok(()));
        let appended = self.entries.drain(..count.min(self.entries.len()));
        let kept = appended.filter(|pending| pending.losses < defaults::LOG_MAX_REAPPENDS);
        self.stored.extend(kept.map(|pending| Stored { at: now, left: self.left, pending }));
        while self.stored.len() > defaults::MAX_KEPT_REVOCATIONS {
            self.stored.pop_front();
        }
    }

    /// Forgets which entries were read, because the log is read from its start again.
    pub(super) fn restart_reading(&mut self) {
        self.pending_and_stored().for_each(|pending| pending.is_read = false);
    }

    /// Records entries that were read from the log.
    pub(super) fn record_entries(&mut self, read: &[Revocation]) {
        let mut unread = self.pending_and_stored().filter(|pending| !pending.is_read).peekable();
        if read.is_empty() || unread.peek().is_none() {
            return;
        }
        let mut found: HashMap<_, Vec<&Revocation>> = HashMap::new();
        for entry in read {
            found.entry(entry.name()).or_default().push(entry);
        }
        for pending in unread {
            let same = found.get(&pending.entry.name());
            pending.is_read = same.is_some_and(|same| same.iter().any(|entry| entry.covers(&pending.entry)));
        }
    }

    /// Returns the number of entries that have left the queue so far.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Records that a read reached the end of the log, before which `left` entries had [left](Self::left) the queue. What the log has
    /// stored before the read and no read has found is lost: a database can lose it in a failover without a sign. It is appended again,
    /// unless it has ended before `cutoff`. Returns whether there is such an entry.
    pub(super) fn record_end(&mut self, left: u64, now: Monotonic, cutoff: u32) -> bool {
        let is_old = |stored: &Stored| stored.at.saturating_add(defaults::LOG_REAPPEND_WINDOW) <= now;
        while self.stored.front().is_some_and(|stored| stored.pending.is_read && is_old(stored)) {
            self.stored.pop_front();
        }
        let is_lost = |stored: &Stored| !stored.pending.is_read && stored.left <= left;
        if !self.stored.iter().any(is_lost) {
            return false;
        }
        let before = self.entries.len();
        for mut stored in std::mem::take(&mut self.stored) {
            if !is_lost(&stored) || self.entries.len() >= defaults::MAX_PENDING_REVOCATIONS {
                self.stored.push_back(stored);
            } else if stored.pending.entry.last_second() >= cutoff {
                stored.pending.losses = stored.pending.losses.saturating_add(1);
                self.entries.push_back(stored.pending);
            }
        }
        self.entries.len() > before
    }

    /// Records that an append failed. The next batch is half as long: a log that is slow stores it in time, and one that refuses an entry
    /// stores the others. The log may have stored all or some of them.
    pub(super) fn record_failure(&mut self, error: LogError, now: Monotonic, jitter: Jitter) {
        if error == LogError::Refused && self.batch() == 1 && !self.entries.is_empty() {
            // It must not block those after it. No call waits once a batch has failed, so the order has no meaning.
            self.entries.rotate_left(1);
        }
        self.halvings = self.halvings.saturating_add(1).min(defaults::LOG_BATCH.ilog2());
        let failures = self.failing.map_or(0, |failing| failing.failures);
        let pause = jitter.backoff(defaults::LOG_APPEND_BACKOFF_MIN, defaults::LOG_APPEND_BACKOFF_MAX, failures);
        let (failures, next_attempt) = (failures.saturating_add(1), now.saturating_add(pause));
        self.failing = Some(Failing { failures, error, failed_at: now, next_attempt });
        for (_, sender) in self.waiting.drain(..) {
            let _caller_is_gone = sender.send(Err(error));
        }
    }

    /// Returns whether an attempt has failed since the last one that succeeded.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    fn pending_and_stored(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.entries.iter_mut().chain(self.stored.iter_mut().map(|stored| &mut stored.pending))
    }

    fn batch(&self) -> usize {
        defaults::LOG_BATCH.checked_shr(self.halvings).unwrap_or_default()
    }

    fn count_left(&mut self, count: usize, result: Result<(), LogError>) {
        self.left = self.left.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        while self.waiting.front().is_some_and(|(end, _)| *end <= self.left) {
            if let Some((_, sender)) = self.waiting.pop_front() {
                let _caller_is_gone = sender.send(result);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    const CUTOFF: u32 = 1_000_000;

    fn entry(number: u32, end: u32) -> Revocation {
        let end = Timestamp::from_secs(i64::from(CUTOFF.saturating_add(end)));
        Revocation::jwt_id("https://issuer.test/", &number.to_string()).with_end(end)
    }

    fn result(receiver: &mut oneshot::Receiver<Result<(), LogError>>) -> Option<Result<(), LogError>> {
        receiver.try_recv().ok()
    }

    #[test]
    fn a_call_returns_once_its_entries_are_in_the_log() {
        let mut queue = Queue::default();
        assert_eq!(queue.step(at(0), CUTOFF), Step::Idle);
        let mut first = queue.push(vec![entry(1, 10), entry(2, 10)], at(0)).expect("room");
        let mut second = queue.push(vec![entry(3, 10)], at(0)).expect("room");
        assert_eq!(queue.step(at(0), CUTOFF), Step::Append(vec![entry(1, 10), entry(2, 10), entry(3, 10)]));
        let mut third = queue.push(vec![entry(4, 10)], at(0)).expect("room");
        queue.record_success(3, at(0));
        assert_eq!((result(&mut first), result(&mut second), result(&mut third)), (Some(Ok(())), Some(Ok(())), None));
        assert_eq!(queue.step(at(0), CUTOFF), Step::Append(vec![entry(4, 10)]));
        queue.record_success(1, at(0));
        assert_eq!((result(&mut third), queue.len()), (Some(Ok(())), 0));
    }

    #[test]
    fn entries_that_failed_are_appended_again_after_one_to_thirty_seconds() {
        let mut queue = Queue::default();
        let mut call = queue.push(vec![entry(1, 100)], at(0)).expect("room");
        let mut now = at(0);
        for attempt in 0..10 {
            assert_eq!(queue.step(now, CUTOFF), Step::Append(vec![entry(1, 100)]));
            queue.record_failure(LogError::Unavailable, now, Jitter(if attempt == 0 { 0 } else { u32::MAX }));
            let Step::Pause(next) = queue.step(now, CUTOFF) else { panic!("a pause") };
            let pause = next.saturating_since(now);
            assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(30), "{pause:?}");
            now = next;
        }
        assert_eq!(result(&mut call), Some(Err(LogError::Unavailable)));
    }

    #[test]
    fn entries_are_appended_again_one_second_after_a_failure_if_the_log_responds() {
        let mut queue = Queue::default();
        let _call = queue.push(vec![entry(1, 100)], at(0)).expect("room");
        for attempt in 0..10 {
            let started = at(attempt * 3_000);
            assert!(matches!(queue.step(started, CUTOFF), Step::Append(_)), "{attempt}");
            let failed = started.saturating_add(defaults::LOG_APPEND_LIMIT);
            queue.record_failure(LogError::TimedOut, failed, Jitter(u32::MAX));
            queue.retry_soon();
            assert_eq!(queue.step(failed, CUTOFF), Step::Pause(at((attempt + 1) * 3_000)));
        }
    }

    #[test]
    fn a_batch_is_half_as_long_after_a_failure_and_twice_as_long_after_a_success() {
        let mut queue = Queue::default();
        let _call = queue.push(vec![entry(1, 100); 2_000], at(0)).expect("room");
        let mut now = 0;
        let mut append = |queue: &mut Queue, error: Option<LogError>| {
            now += 60_000;
            let Step::Append(entries) = queue.step(at(now), CUTOFF) else { panic!("a batch") };
            match error {
                Some(error) => queue.record_failure(error, at(now), Jitter(0)),
                None => queue.record_success(entries.len(), at(0)),
            }
            entries.len()
        };
        let failed: Vec<_> = (0..10).map(|_| append(&mut queue, Some(LogError::TimedOut))).collect();
        assert_eq!(failed, [500, 250, 125, 62, 31, 15, 7, 3, 1, 1]);
        let stored: Vec<_> = (0..10).map(|_| append(&mut queue, None)).collect();
        assert_eq!(stored, [1, 3, 7, 15, 31, 62, 125, 250, 500, 500]);
    }

    #[test]
    fn an_entry_that_is_refused_permanently_does_not_block_the_others() {
        let mut queue = Queue::default();
        let _call = queue.push((0..1_000).map(|number| entry(number, 100)).collect(), at(0)).expect("room");
        for attempt in 1..50 {
            let Step::Append(entries) = queue.step(at(attempt * 60_000), CUTOFF) else { panic!("a batch") };
            if entries.contains(&entry(0, 100)) {
                queue.record_failure(LogError::Refused, at(attempt * 60_000), Jitter(0));
            } else {
                queue.record_success(entries.len(), at(0));
            }
        }
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_call_whose_entries_end_in_the_queue_is_not_told_that_they_are_stored() {
        let mut queue = Queue::default();
        let _call = queue.push(vec![entry(1, 10)], at(0)).expect("room");
        queue.step(at(0), CUTOFF);
        queue.record_failure(LogError::Full, at(0), Jitter(0));
        let mut call = queue.push(vec![entry(2, 20)], at(5_000)).expect("room");
        assert_eq!(queue.step(at(5_000), CUTOFF + 21), Step::Idle);
        assert_eq!(result(&mut call), Some(Err(LogError::Full)));
    }

    #[test]
    fn a_new_entry_is_tried_at_once_but_not_more_often_than_once_a_second() {
        let mut queue = Queue::default();
        let _call = queue.push(vec![entry(1, 100)], at(0)).expect("room");
        assert!(matches!(queue.step(at(0), CUTOFF), Step::Append(_)));
        queue.record_failure(LogError::TimedOut, at(100), Jitter(u32::MAX));
        let mut early = queue.push(vec![entry(2, 100)], at(200)).expect("room");
        assert_eq!(result(&mut early), Some(Err(LogError::TimedOut)), "the caller does not wait");
        assert_eq!(queue.step(at(200), CUTOFF), Step::Pause(at(0).saturating_add(defaults::LOG_APPEND_PAUSE)));
        assert!(matches!(queue.step(at(1_000), CUTOFF), Step::Append(entries) if entries.len() == 2));
        queue.record_failure(LogError::TimedOut, at(1_100), Jitter(u32::MAX));
        let mut late = queue.push(vec![entry(3, 100)], at(2_500)).expect("room");
        assert!(matches!(queue.step(at(2_500), CUTOFF), Step::Append(_)));
        assert_eq!(result(&mut late), None, "it waits for this attempt");
        queue.record_success(3, at(0));
        assert_eq!(result(&mut late), Some(Ok(())));
    }

    #[test]
    fn entries_that_have_ended_leave_the_queue_and_a_full_queue_refuses_more() {
        let mut queue = Queue::default();
        let _call = queue.push(vec![entry(1, 10), entry(2, 20)], at(0)).expect("room");
        assert!(matches!(queue.step(at(0), CUTOFF), Step::Append(_)));
        queue.record_failure(LogError::Full, at(0), Jitter(0));
        queue.step(at(0), CUTOFF + 10);
        assert_eq!(queue.len(), 2);
        queue.step(at(0), CUTOFF + 11);
        assert_eq!(queue.len(), 1);
        assert!(!queue.has_refused(0));
        let many = vec![entry(3, 10); defaults::MAX_PENDING_REVOCATIONS];
        assert_eq!(queue.push(many, at(0)).map(drop), Err(LogError::TooManyPending));
        assert_eq!(queue.len(), 1);
        assert!(queue.has_refused(CUTOFF + 10) && !queue.has_refused(CUTOFF + 11));
    }

    /// Appends one entry, which the log stores.
    fn store(queue: &mut Queue, number: u32, now: u64) {
        let _call = queue.push(vec![entry(number, 100)], at(now)).expect("room");
        assert_eq!(queue.step(at(now), CUTOFF), Step::Append(vec![entry(number, 100)]));
        queue.record_success(1, at(now));
    }

    /// Records a read of the whole log, and returns what is appended again.
    fn reload(queue: &mut Queue, found: &[Revocation], now: u64) -> Vec<Revocation> {
        queue.restart_reading();
        read(queue, found, now)
    }

    fn read(queue: &mut Queue, found: &[Revocation], now: u64) -> Vec<Revocation> {
        let left = queue.left();
        queue.record_entries(found);
        let is_lost = queue.record_end(left, at(now), CUTOFF);
        match queue.step(at(now), CUTOFF) {
            Step::Append(entries) if is_lost => entries,
            step => {
                assert_eq!((step, is_lost), (Step::Idle, false));
                Vec::new()
            }
        }
    }

    const WINDOW: u64 = 300_000;

    #[test]
    fn entries_of_the_minutes_before_the_last_read_are_appended_again_if_the_log_loses_them() {
        assert_eq!(u128::from(WINDOW), defaults::LOG_REAPPEND_WINDOW.as_millis());
        let mut queue = Queue::default();
        assert_eq!(reload(&mut queue, &[], 0), [], "nothing was appended");
        store(&mut queue, 1, 0);
        store(&mut queue, 2, 1);
        assert_eq!(read(&mut queue, &[entry(1, 100), entry(2, 100)], WINDOW), []);
        assert_eq!(reload(&mut queue, &[], 4 * WINDOW), [entry(2, 100)], "1 is too old; no read has succeeded since");
        // A call waits for its own entry only.
        let mut call = queue.push(vec![entry(3, 100)], at(4 * WINDOW)).expect("room");
        queue.record_success(1, at(4 * WINDOW));
        assert_eq!(result(&mut call), None);
        assert_eq!(queue.step(at(4 * WINDOW), CUTOFF), Step::Append(vec![entry(3, 100)]));
        queue.record_success(1, at(4 * WINDOW));
        assert_eq!(result(&mut call), Some(Ok(())));
        assert_eq!(reload(&mut queue, &[entry(2, 100)], 4 * WINDOW), [entry(3, 100)], "the log has the other one");
    }

    #[test]
    fn an_entry_is_appended_again_at_most_three_times() {
        let mut queue = Queue::default();
        store(&mut queue, 1, 0);
        for _ in 0..3 {
            assert_eq!(reload(&mut queue, &[], 1), [entry(1, 100)]);
            queue.record_success(1, at(1));
        }
        assert_eq!(reload(&mut queue, &[], 1), []);
    }

    /// A failover to a server that lacks only an entry that nobody has read yet.
    #[test]
    fn an_entry_that_is_not_read_back_is_appended_again() {
        let mut queue = Queue::default();
        store(&mut queue, 1, 0);
        assert_eq!(read(&mut queue, &[entry(2, 100)], 1), [entry(1, 100)]);
        queue.record_success(1, at(1));
        assert_eq!(read(&mut queue, &[entry(1, 99)], 1), [entry(1, 100)], "one that ends earlier is another one");
        queue.record_success(1, at(1));
        assert_eq!(read(&mut queue, &[entry(1, 101)], 1), []);
        assert_eq!(read(&mut queue, &[], 1), []);
        // It has ended, and was dropped from the log.
        queue.restart_reading();
        assert!(!queue.record_end(queue.left(), at(1), CUTOFF + 101));
    }

    #[test]
    fn an_entry_is_not_missed_by_a_read_that_started_before_the_log_had_stored_it() {
        let mut queue = Queue::default();
        let left = queue.left();
        store(&mut queue, 1, 0);
        assert!(!queue.record_end(left, at(0), CUTOFF));
        // A read may find it before the task that appends learns that it is stored.
        let _call = queue.push(vec![entry(2, 100)], at(0)).expect("room");
        assert!(matches!(queue.step(at(0), CUTOFF), Step::Append(_)));
        queue.record_entries(&[entry(1, 100), entry(2, 100)]);
        queue.record_success(1, at(0));
        assert_eq!(read(&mut queue, &[], 0), []);
    }

    #[test]
    fn the_entries_that_are_kept_are_limited() {
        let mut queue = Queue::default();
        for number in 0..3 {
            let many = vec![entry(number, 100); defaults::MAX_KEPT_REVOCATIONS / 2];
            let count = many.len();
            let _call = queue.push(many, at(0)).expect("room");
            queue.record_success(count, at(0));
        }
        assert!(queue.record_end(queue.left(), at(0), CUTOFF) && queue.len() == defaults::MAX_KEPT_REVOCATIONS);
        assert_eq!(queue.entries.front().map(|pending| pending.entry.clone()), Some(entry(1, 100)), "the newest");
    }
}
