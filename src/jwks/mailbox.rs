//! `Mailbox`: commands from requests to the driver.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use crate::jwks::error::RefreshError;

/// Commands from requests to the driver: flags, so that a flood takes no memory and causes at most one wakeup.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) wake: Notify,
    pub(super) unknown_kid_seen: AtomicBool,
    pub(super) absent_kid_seen: AtomicBool,
    pub(super) invalid_signature_seen: AtomicBool,
    /// Shared with a save in progress.
    pub(super) closing: Arc<AtomicBool>,
    pub(super) reloads: Mutex<Vec<Reply>>,
}

/// The sender of the result of a `reload()` call.
pub(super) type Reply = oneshot::Sender<ReloadResult>;

/// The result of a `reload()` call.
pub(super) type ReloadResult = Result<(), RefreshError>;

/// Sends `result` to the callers of `reload()`.
pub(super) fn send_result(replies: impl IntoIterator<Item = Reply>, result: ReloadResult) {
    send_results(replies.into_iter().map(|reply| (reply, result)));
}

/// Sends each caller of `reload()` its result. A caller that has dropped its future is ignored.
pub(super) fn send_results(replies: impl IntoIterator<Item = (Reply, ReloadResult)>) {
    for (reply, result) in replies {
        let _receiver_gone = reply.send(result);
    }
}
