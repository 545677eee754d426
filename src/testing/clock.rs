//! `FakeClock`: a clock that the test advances.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{Clock, Monotonic, Sleep, Timestamp};

/// A [`Clock`] that the test advances. Clones share the same time.
///
/// ```
/// use std::time::Duration;
/// use tower_bearer::clock::Clock as _;
/// use tower_bearer::testing::FakeClock;
///
/// # tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(async {
/// let clock = FakeClock::new();
/// let in_a_minute = clock.monotonic().saturating_add(Duration::from_secs(60));
/// let sleeper = tokio::spawn(clock.sleep_until(in_a_minute));
/// clock.run_for(Duration::from_secs(59)).await;
/// assert!(!sleeper.is_finished());
/// clock.run_for(Duration::from_secs(1)).await;
/// assert!(sleeper.is_finished());
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct FakeClock {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    wall: Timestamp,
    monotonic: Monotonic,
    /// The time up to which timers have fired. It is before `monotonic` only after `suspend`.
    fired: Monotonic,
    /// Ordered by deadline, then by the order in which they were first polled.
    sleepers: BTreeMap<(Monotonic, u64), Waker>,
    next_sleeper: u64,
}

impl FakeClock {
    /// Creates a clock with the wall time 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::from_wall(Timestamp::from_secs(START_OF_2026))
    }

    /// Creates a clock with the wall time `wall`.
    #[must_use]
    pub fn from_wall(wall: Timestamp) -> Self {
        let start = Monotonic::from_origin(Duration::from_secs(1));
        let sleepers = BTreeMap::new();
        let inner = Inner { wall, monotonic: start, fired: start, sleepers, next_sleeper: 0 };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Advances the time in one step and wakes the tasks whose deadline has passed, in order. These tasks see the time after
    /// the step. With [`run_for`](Self::run_for), each task sees the time of its deadline.
    pub fn advance(&self, span: Duration) {
        let woken = {
            let mut inner = self.inner();
            inner.advance(span);
            inner.fired = inner.monotonic;
            inner.remove_due()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Advances the time from timer to timer, and calls [`settle`](Self::settle) after each.
    ///
    /// Like `settle`, this requires a current-thread tokio runtime.
    pub async fn run_for(&self, span: Duration) {
        let end = self.inner().monotonic.saturating_add(span);
        self.settle().await;
        loop {
            let now = self.inner().monotonic;
            let next = self.inner().sleepers.first_key_value().map(|((deadline, _), _)| *deadline);
            match next.filter(|next| *next <= end) {
                Some(next) => self.advance(next.saturating_since(now)),
                None => break self.advance(end.saturating_since(now)),
            }
            self.settle().await;
        }
    }

    /// Yields until every other task is waiting. This requires a current-thread tokio runtime.
    pub async fn settle(&self) {
        for _ in 0..SETTLE_YIELDS {
            tokio::task::yield_now().await;
        }
    }

    /// Advances the time without firing timers, like a machine that is suspended. The clock returns the new time, but tasks
    /// are woken only when the time is advanced again.
    pub fn suspend(&self, span: Duration) {
        self.inner().advance(span);
    }

    /// Sets the wall time, like a correction by NTP. The monotonic time does not change.
    pub fn set_wall(&self, wall: Timestamp) {
        self.inner().wall = wall;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.inner().wall
    }

    fn monotonic(&self) -> Monotonic {
        self.inner().monotonic
    }

    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        Box::pin(Sleeper { clock: self.clone(), deadline, number: None })
    }
}

impl Inner {
    fn advance(&mut self, span: Duration) {
        self.wall = self.wall.saturating_add(span);
        self.monotonic = self.monotonic.saturating_add(span);
    }

    fn remove_due(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(sleeper) = self.sleepers.first_entry() {
            if sleeper.key().0 > self.fired {
                break;
            }
            woken.push(sleeper.remove());
        }
        woken
    }
}

struct Sleeper {
    clock: FakeClock,
    deadline: Monotonic,
    number: Option<u64>,
}

impl Future for Sleeper {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut inner = clock.inner();
        if self.deadline <= inner.fired {
            return Poll::Ready(());
        }
        let number = self.number.unwrap_or(inner.next_sleeper);
        if self.number.is_none() {
            inner.next_sleeper = number.wrapping_add(1);
            self.number = Some(number);
        }
        inner.sleepers.insert((self.deadline, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The waker can be the last owner of a task that contains other sleepers, so it is dropped after the lock is released.
            let _waker = self.clock.inner().sleepers.remove(&(self.deadline, number));
        }
    }
}

/// 2026-01-01T00:00:00Z.
const START_OF_2026: i64 = 1_767_225_600;

/// How often `settle` yields. A longer chain of wake-ups does not complete within one call.
const SETTLE_YIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(clock: &FakeClock, span: Duration) -> Sleep {
        clock.sleep_until(clock.monotonic().saturating_add(span))
    }

    #[tokio::test]
    async fn run_for_wakes_tasks_in_order_at_their_own_deadline() {
        let clock = FakeClock::new();
        let start = clock.monotonic();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for seconds in [3_u32, 1, 2, 9] {
            let (sleep, clock, seen) = (after(&clock, SECOND * seconds), clock.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                sleep.await;
                let at = clock.monotonic().saturating_since(start);
                seen.lock().expect("unpoisoned").push((seconds, at.as_secs()));
            });
        }
        clock.run_for(5 * SECOND).await;
        assert_eq!(*seen.lock().expect("unpoisoned"), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(clock.monotonic().saturating_since(start), 5 * SECOND);
    }

    #[tokio::test]
    async fn run_for_wakes_a_task_that_sleeps_twice() {
        let clock = FakeClock::new();
        let twice = tokio::spawn({
            let clock = clock.clone();
            async move {
                after(&clock, SECOND).await;
                after(&clock, SECOND).await;
            }
        });
        clock.run_for(2 * SECOND).await;
        assert!(twice.is_finished());
    }

    #[tokio::test]
    async fn suspend_does_not_fire_timers() {
        let clock = FakeClock::new();
        let sleeper = tokio::spawn(after(&clock, SECOND));
        clock.settle().await;
        clock.suspend(10 * SECOND);
        clock.settle().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::ZERO);
        clock.settle().await;
        assert!(sleeper.is_finished());
    }

    #[test]
    fn set_wall_does_not_change_the_monotonic_time() {
        let clock = FakeClock::from_wall(Timestamp::from_secs(100));
        let before = clock.monotonic();
        clock.set_wall(Timestamp::from_secs(5));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp::from_secs(5), before));
        clock.advance(SECOND);
        assert_eq!(clock.now(), Timestamp::from_secs(6));
    }

    #[test]
    fn removes_dropped_sleepers() {
        let clock = FakeClock::new();
        let mut sleeper = after(&clock, SECOND);
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleeper.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.inner().sleepers.len(), 1);
        drop(sleeper);
        assert!(clock.inner().sleepers.is_empty());
    }
}
