//! `Call`: one call whose result any number of tasks wait for.

use tokio::sync::watch;

/// One call, with its result once it has ended. The task that makes the call does not belong to a waiting task, so any of them can be
/// dropped.
pub(crate) struct Call<R> {
    result: watch::Sender<Option<R>>,
}

/// A task that waits for the result of a call.
pub(crate) struct Waiter<R> {
    result: watch::Receiver<Option<R>>,
}

impl<R: Clone> Call<R> {
    pub(crate) fn new() -> Self {
        Self { result: watch::Sender::new(None) }
    }

    /// Adds a task that waits for the result.
    pub(crate) fn join(&self) -> Waiter<R> {
        Waiter { result: self.result.subscribe() }
    }

    /// Sends the result to all tasks that wait for it. Only the first result counts.
    pub(crate) fn finish(&self, result: R) {
        self.result.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(result);
            }
            is_first
        });
    }

    /// Waits until no task waits for the result.
    pub(crate) async fn abandoned(&self) {
        self.result.closed().await;
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.result.receiver_count() == 0
    }
}

impl<R: Clone> Waiter<R> {
    /// Waits for the result. `None` if the call ends without one.
    pub(crate) async fn result(&mut self) -> Option<R> {
        let result = self.result.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}
