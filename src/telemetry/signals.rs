//! Events and metrics of received signals.

#[cfg(feature = "tracing")]
const TARGET: &str = "tower_bearer::signals";

/// Counts a logout request.
macro_rules! logout {
    ($outcome:literal) => {
        #[cfg(feature = "metrics")]
        metrics::counter!("signal_total", "protocol" => "backchannel_logout", "outcome" => $outcome).increment(1);
    };
}

/// A logout token has revoked tokens.
pub(crate) fn logout_accepted() {
    event!(info, "logout token accepted");
    logout!("accepted");
}

/// A logout token names what is revoked already.
pub(crate) fn logout_repeated() {
    event!(debug, "logout token changes nothing");
    logout!("repeated");
}

/// A logout request is invalid.
pub(crate) fn logout_rejected(reason: &'static str) {
    event!(debug, reason, "logout token rejected");
    logout!("rejected");
}

/// A logout request cannot be processed now.
pub(crate) fn logout_unavailable(cause: &'static str) {
    event!(warn, cause, "logout token cannot be processed");
    logout!("unavailable");
}
