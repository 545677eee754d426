//! `Waiters`: the requests that wait for answers about tokens. Their number is limited.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::defaults;
use crate::introspection::call::Priority;

/// The permits of waiting requests.
///
/// # Security
///
/// Any client can send unknown tokens. If all permits are in use, a request with a known token gets the permit of one with
/// an unknown token, which is rejected. So no number of unknown tokens rejects a known one, and the sum stays limited.
pub(super) struct Waiters {
    max: usize,
    in_use: Mutex<InUse>,
    /// One displacement for each request with an unknown token that has lost its permit.
    displacements: Semaphore,
}

/// The permits in use, by kind of token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct InUse {
    known: usize,
    unknown: usize,
}

/// The permit of one waiting request.
pub(super) struct WaiterPermit<'w> {
    waiters: &'w Waiters,
    priority: Priority,
    is_displaced: bool,
}

impl Default for Waiters {
    fn default() -> Self {
        Self::new(defaults::MAX_WAITERS)
    }
}

impl Waiters {
    fn new(max: usize) -> Self {
        Self { max, in_use: Mutex::default(), displacements: Semaphore::new(0) }
    }

    /// Returns a permit, or `None` if all are in use.
    pub(super) fn try_acquire(&self, priority: Priority) -> Option<WaiterPermit<'_>> {
        let mut in_use = self.lock();
        let is_full = in_use.known.saturating_add(in_use.unknown) >= self.max;
        match (priority, is_full) {
            (Priority::Unknown, true) => return None,
            (Priority::Unknown, false) => in_use.unknown = in_use.unknown.saturating_add(1),
            (Priority::Known | Priority::Genuine, false) => in_use.known = in_use.known.saturating_add(1),
            (Priority::Known | Priority::Genuine, true) => {
                in_use.unknown = in_use.unknown.checked_sub(1)?;
                in_use.known = in_use.known.saturating_add(1);
                self.displacements.add_permits(1);
            }
        }
        Some(WaiterPermit { waiters: self, priority, is_displaced: false })
    }

    fn lock(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaiterPermit<'_> {
    /// Waits until a request with a known token has got this permit. Never ends for a known token.
    pub(super) async fn displaced(&mut self) {
        if self.priority != Priority::Unknown {
            return std::future::pending().await;
        }
        // The semaphore is never closed.
        if let Ok(displacement) = self.waiters.displacements.acquire().await {
            displacement.forget();
            self.is_displaced = true;
        }
    }
}

impl Drop for WaiterPermit<'_> {
    fn drop(&mut self) {
        if self.is_displaced {
            return;
        }
        let mut in_use = self.waiters.lock();
        if self.priority != Priority::Unknown {
            in_use.known = in_use.known.saturating_sub(1);
        } else if let Some(left) = in_use.unknown.checked_sub(1) {
            in_use.unknown = left;
        } else if let Ok(displacement) = self.waiters.displacements.try_acquire() {
            // Each remaining request was to lose its permit, and this one has ended by itself.
            displacement.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn is_displaced(displaced: Pin<&mut impl Future<Output = ()>>) -> bool {
        displaced.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn limits_all_requests_and_lets_known_tokens_displace_unknown_ones() {
        let waiters = Waiters::new(2);
        let (mut first, mut second) = (
            waiters.try_acquire(Priority::Unknown).expect("free"),
            waiters.try_acquire(Priority::Unknown).expect("free"),
        );
        assert!(waiters.try_acquire(Priority::Unknown).is_none());
        {
            let (mut first, mut second) = (pin!(first.displaced()), pin!(second.displaced()));
            assert!(!is_displaced(first.as_mut()) && !is_displaced(second.as_mut()));
            let known = waiters.try_acquire(Priority::Known).expect("the permit of an unknown token");
            assert_eq!([first.as_mut(), second.as_mut()].map(is_displaced).iter().filter(|lost| **lost).count(), 1);
            assert_eq!(*waiters.lock(), InUse { known: 1, unknown: 1 });
            drop(known);
        }
        drop((first, second));
        assert_eq!(*waiters.lock(), InUse::default());
    }

    #[test]
    fn known_tokens_do_not_displace_each_other() {
        let waiters = Waiters::new(2);
        let mut permits: Vec<_> = (0..2).map(|_| waiters.try_acquire(Priority::Genuine).expect("free")).collect();
        assert!(waiters.try_acquire(Priority::Known).is_none() && waiters.try_acquire(Priority::Unknown).is_none());
        assert!(!is_displaced(pin!(permits[0].displaced()).as_mut()));
        drop(permits.pop());
        assert!(waiters.try_acquire(Priority::Known).is_some());
    }

    /// A request may end by itself after it has lost its permit, before it is polled again.
    #[test]
    fn a_displacement_ends_with_the_requests_that_it_is_for() {
        let waiters = Waiters::new(1);
        let unknown = waiters.try_acquire(Priority::Unknown).expect("free");
        let known = waiters.try_acquire(Priority::Known).expect("displaced");
        drop(unknown);
        assert_eq!((*waiters.lock(), waiters.displacements.available_permits()), (InUse { known: 1, unknown: 0 }, 0));
        drop(known);
        let mut next = waiters.try_acquire(Priority::Unknown).expect("free");
        assert!(!is_displaced(pin!(next.displaced()).as_mut()));
        drop(next);
        assert_eq!(*waiters.lock(), InUse::default());
    }
}
