//! Work of other modules after each fetch of keys.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

/// Work that a key source does after its fetches, successful or not, also while no requests arrive.
pub(crate) trait AfterFetch: Send + Sync {
    /// Does one portion of the work, which must be short: other tasks run between the portions. After a fetch, `portion` is 0 first and
    /// increases until this returns [`ControlFlow::Break`]. A fetch that ends before does not start the work again.
    fn run_portion(&self, portion: usize) -> ControlFlow<()>;
}

/// The work after each fetch of one key source. It lasts until its owner is dropped.
#[derive(Default)]
pub(super) struct AfterFetchList(Mutex<Vec<Weak<dyn AfterFetch>>>);

impl AfterFetchList {
    /// Adds work, and removes what is over, so that the list is not longer than the number of owners.
    pub(super) fn add(&self, work: Weak<dyn AfterFetch>) {
        let mut list = self.lock();
        list.retain(|work| work.strong_count() > 0);
        list.push(work);
    }

    /// Does all work, and lets other tasks run between the portions.
    pub(super) fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let list = self.lock().clone();
        async move {
            for work in list {
                let mut portion = 0_usize;
                while run_portion(&work, portion).is_continue() {
                    portion = portion.saturating_add(1);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn AfterFetch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does one portion, unless the owner was dropped meanwhile.
fn run_portion(work: &Weak<dyn AfterFetch>, portion: usize) -> ControlFlow<()> {
    work.upgrade().map_or(ControlFlow::Break(()), |work| work.run_portion(portion))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Counts its portions, of which each fetch has three.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl AfterFetch for Counter {
        fn run_portion(&self, portion: usize) -> ControlFlow<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if portion == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    fn add(list: &AfterFetchList, counter: &Arc<Counter>) {
        let counter: Arc<dyn AfterFetch> = Arc::<Counter>::clone(counter);
        list.add(Arc::downgrade(&counter));
    }

    #[test]
    fn yields_between_portions_and_ends_with_the_owner() {
        let list = AfterFetchList::default();
        let [first, second] = [(); 2].map(|()| Arc::new(Counter::default()));
        add(&list, &first);
        add(&list, &second);
        let counts = || [&first, &second].map(|counter| counter.0.load(Ordering::Relaxed));
        let mut run = pin!(list.run());
        let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut polls = Vec::new();
        while poll() == Poll::Pending {
            polls.push(counts());
        }
        assert_eq!((polls, counts()), (vec![[1, 0], [2, 0], [3, 1], [3, 2]], [3, 3]));
    }

    #[test]
    fn stops_between_two_portions_if_the_owner_is_dropped() {
        let list = AfterFetchList::default();
        let counter = Arc::new(Counter::default());
        add(&list, &counter);
        let mut run = pin!(list.run());
        let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!((poll(), counter.0.load(Ordering::Relaxed)), (Poll::Pending, 1));
        drop(counter);
        assert_eq!(poll(), Poll::Ready(()));
    }

    /// As for `with_custom_claims` in each request.
    #[test]
    fn contains_only_work_whose_owner_exists() {
        let list = AfterFetchList::default();
        let counter = Arc::new(Counter::default());
        add(&list, &counter);
        for _ in 0..1_000 {
            add(&list, &Arc::new(Counter::default()));
        }
        // The last one is over as well, and remains until the next one is added.
        assert_eq!(list.lock().len(), 2);
    }
}
