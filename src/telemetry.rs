//! Events: the only file that names `tracing` or `metrics`.
//!
//! One function per event, taking only `&'static str`, numbers and `Duration`: no token, key id, subject or other
//! text of a stranger can reach a log line through here.

/// A token was refused.
pub(crate) fn rejected(kind: &'static str, hint: Option<&'static str>, signature_checked: bool) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "tower_bearer::validation", kind, hint, signature_checked, "token rejected");
    #[cfg(not(feature = "tracing"))]
    let _ = (kind, hint, signature_checked);
}

/// The program asks for claims where nothing provides them.
pub(crate) fn misconfigured(fault: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_bearer::server", fault, "request refused: the server is misconfigured");
    #[cfg(not(feature = "tracing"))]
    let _ = fault;
}
