//! `Queue`: the entries that the log has not stored yet.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::clock::{Monotonic, Timestamp};
use crate::defaults;
use crate::jwks::{Jitter, doubled};
use crate::revocation::entry::Revocation;
use crate::revocation::log::LogError;

/// The entries in the order of the calls. Each call learns the result of the first attempt to append its entries.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Revocation>,
    /// The calls that wait, each with the number of entries before the end of its own, counted from the first entry ever.
    waiting: VecDeque<(u64, oneshot::Sender<Result<(), LogError>>)>,
    /// The number of entries that have left the queue.
    left: u64,
    failures: u32,
    last_error: Option<LogError>,
    last_attempt: Option<Monotonic>,
    next_attempt: Option<Monotonic>,
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
            return Err(LogError::TooManyPending);
        }
        self.entries.extend(entries);
        let end = self.left.saturating_add(u64::try_from(self.entries.len()).unwrap_or(u64::MAX));
        let (sender, receiver) = oneshot::channel();
        let soonest = self.last_attempt.map_or(now, |last| last.saturating_add(defaults::LOG_APPEND_PAUSE)).max(now);
        match self.last_error.filter(|_| soonest > now) {
            // The log failed a moment ago. The caller does not wait for the next attempt.
            Some(error) => drop(sender.send(Err(error))),
            None => self.waiting.push_back((end, sender)),
        }
        // New entries are a reason to try earlier.
        self.next_attempt = self.next_attempt.map(|next| next.min(soonest));
        Ok(receiver)
    }

    /// Tries again at once, because the log responds.
    pub(super) fn retry_now(&mut self) {
        self.next_attempt = None;
    }

    /// Returns what to do now. Entries that have ended leave the queue.
    pub(super) fn step(&mut self, now: Monotonic, wall: Timestamp) -> Step {
        if self.failures > 0 {
            let oldest = wall.saturating_sub(defaults::MAX_LEEWAY);
            let before = self.entries.len();
            while self.entries.front().is_some_and(|entry| entry.end().is_none_or(|end| end < oldest)) {
                self.entries.pop_front();
            }
            self.count_left(before.saturating_sub(self.entries.len()));
        }
        if self.entries.is_empty() {
            return Step::Idle;
        }
        match self.next_attempt.filter(|next| now < *next) {
            Some(next) => Step::Pause(next),
            None => {
                self.last_attempt = Some(now);
                Step::Append(self.entries.iter().take(defaults::LOG_BATCH).cloned().collect())
            }
        }
    }

    /// Records that the first `count` entries are in the log.
    pub(super) fn record_success(&mut self, count: usize) {
        self.failures = 0;
        self.last_error = None;
        self.next_attempt = None;
        self.entries.drain(..count.min(self.entries.len()));
        self.count_left(count);
    }

    pub(super) fn record_failure(&mut self, error: LogError, now: Monotonic, jitter: Jitter) {
        let pause = doubled(defaults::LOG_APPEND_BACKOFF_MIN, self.failures).min(defaults::LOG_APPEND_BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error);
        self.next_attempt = Some(now.saturating_add(jitter.at_least_half(pause)));
        for (_, sender) in self.waiting.drain(..) {
            let _caller_is_gone = sender.send(Err(error));
        }
    }

    /// Returns whether an attempt has failed since the last one that succeeded.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    fn count_left(&mut self, count: usize) {
        self.left = self.left.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        while self.waiting.front().is_some_and(|(end, _)| *end <= self.left) {
            if let Some((_, sender)) = self.waiting.pop_front() {
                let _caller_is_gone = sender.send(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    const WALL: Timestamp = Timestamp::from_secs(1_000_000);

    fn entry(number: u32, end: u64) -> Revocation {
        let end = WALL.saturating_add(Duration::from_secs(end));
        Revocation::jwt_id("https://issuer.test/", &number.to_string()).with_end(end)
    }

    fn result(receiver: &mut oneshot::Receiver<Result<(), LogError>>) -> Option<Result<(), LogError>> {
        receiver.try_recv().ok()
    }

    #[test]
    fn a_call_returns_once_its_entries_are_in_the_log() {
        let mut queue = Queue::default();
        assert_eq!(queue.step(at(0), WALL), Step::Idle);
        let mut first = queue.push(vec![entry(1, 10), entry(2, 10)], at(0)).expect("room");
        let mut second = queue.push(vec![entry(3, 10)], at(0)).expect("room");
        assert_eq!(queue.step(at(0), WALL), Step::Append(vec![entry(1, 10), entry(2, 10), entry(3, 10)]));
        let mut third = queue.push(vec![entry(4, 10)], at(0)).expect("room");
        queue.record_success(3);
        assert_eq!((result(&mut first), result(&mut second), result(&mut third)), (Some(Ok(())), Some(Ok(())), None));
        assert_eq!(queue.step(at(0), WALL), Step::Append(vec![entry(4, 10)]));
        queue.record_success(1);
        assert_eq!((result(&mut third), queue.len()), (Some(Ok(())), 0));
    }

    #[test]
    fn entries_that_failed_are_appended_again_after_one_to_thirty_seconds() {
        let mut queue = Queue::default();
        let mut call = queue.push(vec![entry(1, 100)], at(0)).expect("room");
        let mut now = at(0);
        for attempt in 0..10 {
            assert_eq!(queue.step(now, WALL), Step::Append(vec![entry(1, 100)]));
            queue.record_failure(LogError::Unavailable, now, Jitter(if attempt == 0 { 0 } else { u32::MAX }));
            let Step::Pause(next) = queue.step(now, WALL) else { panic!("a pause") };
            let pause = next.saturating_since(now);
            assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(30), "{pause:?}");
            now = next;
        }
        assert_eq!(result(&mut call), Some(Err(LogError::Unavailable)));
        queue.retry_now();
        assert!(matches!(queue.step(at(0), WALL), Step::Append(_)), "the log responds");
    }

    #[test]
    fn a_new_entry_is_tried_at_once_but_not_more_often_than_once_a_second() {
        let mut queue = Queue::default();
        let _call = queue.push(vec![entry(1, 100)], at(0)).expect("room");
        assert!(matches!(queue.step(at(0), WALL), Step::Append(_)));
        queue.record_failure(LogError::TimedOut, at(100), Jitter(u32::MAX));
        let mut early = queue.push(vec![entry(2, 100)], at(200)).expect("room");
        assert_eq!(result(&mut early), Some(Err(LogError::TimedOut)), "the caller does not wait");
        assert_eq!(queue.step(at(200), WALL), Step::Pause(at(0).saturating_add(defaults::LOG_APPEND_PAUSE)));
        assert!(matches!(queue.step(at(1_000), WALL), Step::Append(entries) if entries.len() == 2));
        queue.record_failure(LogError::TimedOut, at(1_100), Jitter(u32::MAX));
        let mut late = queue.push(vec![entry(3, 100)], at(2_500)).expect("room");
        assert!(matches!(queue.step(at(2_500), WALL), Step::Append(_)));
        assert_eq!(result(&mut late), None, "it waits for this attempt");
        queue.record_success(3);
        assert_eq!(result(&mut late), Some(Ok(())));
    }

    #[test]
    fn entries_that_have_ended_leave_the_queue_and_a_full_queue_refuses_more() {
        let mut queue = Queue::default();
        let _call = queue.push(vec![entry(1, 10), entry(2, 20)], at(0)).expect("room");
        assert!(matches!(queue.step(at(0), WALL), Step::Append(_)));
        queue.record_failure(LogError::Full, at(0), Jitter(0));
        let later = WALL.saturating_add(Duration::from_secs(10)).saturating_add(defaults::MAX_LEEWAY);
        queue.step(at(0), later);
        assert_eq!(queue.len(), 2);
        queue.step(at(0), later.saturating_add(Duration::from_secs(1)));
        assert_eq!(queue.len(), 1);
        let many = vec![entry(3, 10); defaults::MAX_PENDING_REVOCATIONS];
        assert_eq!(queue.push(many, at(0)).map(drop), Err(LogError::TooManyPending));
        assert_eq!(queue.len(), 1);
    }
}
