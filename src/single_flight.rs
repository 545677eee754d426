//! `Call`: one call whose result any number of tasks wait for.

use tokio::sync::watch;

/// One call, with its result once it has ended. The task that makes the call does not belong to a waiting task, so any of them can be
/// dropped.
pub(crate) struct Call<R> {
    result: watch::Sender<Option<R>>,
}

impl<R: Clone> Call<R> {
    pub(crate) fn new() -> Self {
        Self { result: watch::Sender::new(None) }
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

    /// Waits for the result.
    pub(crate) async fn result(&self) -> Option<R> {
        let mut receiver = self.result.subscribe();
        let result = receiver.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}
