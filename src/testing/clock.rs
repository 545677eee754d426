//! `FakeClock`: time that stands still until it is told to pass.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{Clock, Monotonic, Sleep, Timestamp};

/// A [`Clock`] that stands still until it is told to pass; clones show the same time.
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
    /// Up to when timers have fired; behind `monotonic` only while suspended.
    fired: Monotonic,
    /// In order of their deadlines, and of their beginning under one deadline.
    sleepers: BTreeMap<(Monotonic, u64), Waker>,
    next_sleeper: u64,
}

impl FakeClock {
    /// A clock whose wall time is 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::from_secs(START_OF_2026))
    }

    /// A clock whose wall time is `wall`.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        let start = Monotonic::from_origin(Duration::from_secs(1));
        let sleepers = BTreeMap::new();
        let inner = Inner { wall, monotonic: start, fired: start, sleepers, next_sleeper: 0 };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Lets time leap ahead, and wakes in order whoever has slept long enough. What they do then, they do at the time
    /// after the leap; [`run_for`](Self::run_for) lets each see the time that it waited for.
    pub fn advance(&self, span: Duration) {
        let woken = {
            let mut inner = self.inner();
            inner.leap(span);
            inner.fired = inner.monotonic;
            inner.take_due()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Lets time pass as it would by itself: from timer to timer, with [`settle`](Self::settle) after each.
    ///
    /// It needs a current-thread tokio runtime, as `settle` does.
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

    /// Lets every other task run until it waits for something: on a current-thread runtime, whose tasks take turns.
    pub async fn settle(&self) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time leap ahead while timers sleep, as when a machine is suspended: whoever asks for the time sees it, but
    /// nobody is woken before time passes again.
    pub fn suspend(&self, span: Duration) {
        self.inner().leap(span);
    }

    /// Sets the wall time, as a correction by NTP does; intervals don't notice.
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
    fn leap(&mut self, span: Duration) {
        self.wall = self.wall.saturating_add(span);
        self.monotonic = self.monotonic.saturating_add(span);
    }

    fn take_due(&mut self) -> Vec<Waker> {
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
            // The waker may be the last owner of a task that holds other sleepers: drop it without the lock.
            let _waker = self.clock.inner().sleepers.remove(&(self.deadline, number));
        }
    }
}

/// 2026-01-01T00:00:00Z.
const START_OF_2026: i64 = 1_767_225_600;

/// Turns for other tasks; a chain of wake-ups longer than this is not seen in one go.
const TURNS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(clock: &FakeClock, span: Duration) -> Sleep {
        clock.sleep_until(clock.monotonic().saturating_add(span))
    }

    #[tokio::test]
    async fn sleepers_wake_in_order_and_see_their_own_time() {
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
    async fn a_sleeper_that_sleeps_again_is_woken_within_one_run() {
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
    async fn timers_sleep_while_suspended() {
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
    fn the_wall_clock_steps_alone() {
        let clock = FakeClock::at(Timestamp::from_secs(100));
        let before = clock.monotonic();
        clock.set_wall(Timestamp::from_secs(5));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp::from_secs(5), before));
        clock.advance(SECOND);
        assert_eq!(clock.now(), Timestamp::from_secs(6));
    }

    #[test]
    fn dropped_sleepers_leave_nothing_behind() {
        let clock = FakeClock::new();
        let mut sleeper = after(&clock, SECOND);
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleeper.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.inner().sleepers.len(), 1);
        drop(sleeper);
        assert!(clock.inner().sleepers.is_empty());
    }
}
