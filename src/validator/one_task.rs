//! `OneTask`: a background task of a validator, of which at most one runs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::fetch::within;

/// Starts a task, and starts it again if its runtime has ended. The task is dropped with this value.
#[derive(Debug)]
pub(super) struct OneTask {
    is_running: Arc<AtomicBool>,
    /// Dropped with the validator.
    owner: watch::Sender<()>,
}

impl OneTask {
    pub(super) fn new() -> Self {
        Self { is_running: Arc::default(), owner: watch::Sender::new(()) }
    }

    /// Starts a task if none runs and a tokio runtime is current.
    pub(super) fn ensure_running<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce() -> F) {
        if self.is_running.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_running.swap(true, Ordering::SeqCst) {
            // Created before the task is spawned: a runtime that is shutting down drops the task without polling it.
            let running = Running(Arc::clone(&self.is_running));
            let (task, mut owner) = (task(), self.owner.subscribe());
            drop(runtime.spawn(async move {
                let _running = running;
                let ended = async {
                    // Nothing is sent, so this waits until the sender is dropped.
                    let _closed = owner.changed().await;
                };
                within(task, ended).await;
            }));
        }
    }
}

/// Allows another task at the end of this one.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    use super::*;

    /// Counts the tasks that run.
    struct Counted(Arc<AtomicUsize>);

    impl Counted {
        fn new(count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(count))
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn runs_one_task_until_its_runtime_or_its_owner_ends() {
        let (task, count) = (OneTask::new(), Arc::new(AtomicUsize::new(0)));
        let start = |task: &OneTask| {
            task.ensure_running(|| {
                let counted = Counted::new(&count);
                async move {
                    let _counted = counted;
                    std::future::pending::<()>().await;
                }
            });
        };
        let running = || count.load(Ordering::SeqCst);
        start(&task);
        assert_eq!(running(), 0, "there is no runtime");
        let first = Builder::new_current_thread().build().expect("a runtime");
        first.block_on(async { (0..3).for_each(|_| start(&task)) });
        assert_eq!(running(), 1);
        drop(first);
        assert_eq!(running(), 0);
        Builder::new_current_thread().build().expect("a runtime").block_on(async {
            start(&task);
            yield_now().await;
            assert_eq!(running(), 1);
            drop(task);
            yield_now().await;
            assert_eq!(running(), 0);
        });
    }
}
