//! `Waiters`: the requests that wait for answers about tokens. Their number is limited.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::defaults;
use crate::introspection::call::Priority;

/// The places of waiting requests.
///
/// # Security
///
/// Anyone can send unknown tokens. If all places are taken, a request with a known token takes the place of one with an
/// unknown token, which is rejected. So no number of unknown tokens rejects a known one, and the sum stays limited.
pub(super) struct Waiters {
    places: usize,
    taken: Mutex<Taken>,
    /// One permit for each request with an unknown token that has lost its place.
    displacements: Semaphore,
}

/// The places that are taken, by kind of token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    known: usize,
    unknown: usize,
}

/// The place of one waiting request.
pub(super) struct Place<'w> {
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
    fn new(places: usize) -> Self {
        Self { places, taken: Mutex::default(), displacements: Semaphore::new(0) }
    }

    /// Takes a place. Returns `None` if all are taken.
    pub(super) fn enter(&self, priority: Priority) -> Option<Place<'_>> {
        let mut taken = self.lock();
        let is_full = taken.known.saturating_add(taken.unknown) >= self.places;
        match (priority, is_full) {
            (Priority::Unknown, true) => return None,
            (Priority::Unknown, false) => taken.unknown = taken.unknown.saturating_add(1),
            (Priority::Known | Priority::Genuine, false) => taken.known = taken.known.saturating_add(1),
            (Priority::Known | Priority::Genuine, true) => {
                taken.unknown = taken.unknown.checked_sub(1)?;
                taken.known = taken.known.saturating_add(1);
                self.displacements.add_permits(1);
            }
        }
        Some(Place { waiters: self, priority, is_displaced: false })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Waits until a request with a known token has taken this place. Never ends for a known token.
    pub(super) async fn displaced(&mut self) {
        if self.priority != Priority::Unknown {
            return std::future::pending().await;
        }
        // The semaphore is never closed.
        if let Ok(permit) = self.waiters.displacements.acquire().await {
            permit.forget();
            self.is_displaced = true;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_displaced {
            return;
        }
        let mut taken = self.waiters.lock();
        if self.priority != Priority::Unknown {
            taken.known = taken.known.saturating_sub(1);
        } else if let Some(left) = taken.unknown.checked_sub(1) {
            taken.unknown = left;
        } else if let Ok(permit) = self.waiters.displacements.try_acquire() {
            // Each remaining request was to lose its place, and this one has left by itself.
            permit.forget();
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
        let (mut first, mut second) =
            (waiters.enter(Priority::Unknown).expect("free"), waiters.enter(Priority::Unknown).expect("free"));
        assert!(waiters.enter(Priority::Unknown).is_none());
        {
            let (mut first, mut second) = (pin!(first.displaced()), pin!(second.displaced()));
            assert!(!is_displaced(first.as_mut()) && !is_displaced(second.as_mut()));
            let known = waiters.enter(Priority::Known).expect("the place of an unknown token");
            assert_eq!([first.as_mut(), second.as_mut()].map(is_displaced).iter().filter(|lost| **lost).count(), 1);
            assert_eq!(*waiters.lock(), Taken { known: 1, unknown: 1 });
            drop(known);
        }
        drop((first, second));
        assert_eq!(*waiters.lock(), Taken::default());
    }

    #[test]
    fn known_tokens_do_not_displace_each_other() {
        let waiters = Waiters::new(2);
        let mut places: Vec<_> = (0..2).map(|_| waiters.enter(Priority::Genuine).expect("free")).collect();
        assert!(waiters.enter(Priority::Known).is_none() && waiters.enter(Priority::Unknown).is_none());
        assert!(!is_displaced(pin!(places[0].displaced()).as_mut()));
        drop(places.pop());
        assert!(waiters.enter(Priority::Known).is_some());
    }

    /// A request may leave by itself after its place was given away, before it is polled again.
    #[test]
    fn a_displacement_ends_with_the_requests_that_it_is_for() {
        let waiters = Waiters::new(1);
        let unknown = waiters.enter(Priority::Unknown).expect("free");
        let known = waiters.enter(Priority::Known).expect("displaced");
        drop(unknown);
        assert_eq!((*waiters.lock(), waiters.displacements.available_permits()), (Taken { known: 1, unknown: 0 }, 0));
        drop(known);
        let mut next = waiters.enter(Priority::Unknown).expect("free");
        assert!(!is_displaced(pin!(next.displaced()).as_mut()));
        drop(next);
        assert_eq!(*waiters.lock(), Taken::default());
    }
}
