//! Events and metrics of the list of revocations.

/// Logs an event of the list.
macro_rules! event {
    ($level:ident, $($event:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "tower_bearer::revocation", $($event)+);
    };
}

/// The list has no room for an entry.
pub(crate) fn full(max_entries: usize) {
    event!(error, max_entries, "the list of revocations is full; an entry was not added");
}

/// No validator of this process trusts the issuer of an entry.
pub(crate) fn untrusted_issuer() {
    event!(warn, "revoked tokens of an issuer that no validator of this process trusts");
}

/// An entry names tokens by a claim that tokens of the same issuer do not have.
pub(crate) fn claim_missing(claim: &'static str) {
    event!(warn, claim, "a token has no claim by which its issuer's tokens are revoked");
}

/// A token is valid for longer than the entries of the list last by default.
pub(crate) fn long_token_life() {
    #[cfg(feature = "metrics")]
    metrics::counter!("revocation_long_token_total").increment(1);
}

/// The first such token.
pub(crate) fn warn_of_long_token_life() {
    event!(warn, "a token lives longer than revocations last");
}

/// The number of entries of a kind.
pub(crate) fn entries(kind: &'static str, entries: usize) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("revocation_entries", "kind" => kind).set(super::gauge(entries));
}

/// A token was rejected because of an entry of a kind.
pub(crate) fn revoked(by: &'static str) {
    // Counts with a label that is known at compile time, which needs no allocation.
    #[cfg(feature = "metrics")]
    macro_rules! count {
        ($($kind:literal),+) => {
            match by {
                $($kind => metrics::counter!("revoked_total", "by" => $kind).increment(1),)+
                _ => {}
            }
        };
    }
    #[cfg(feature = "metrics")]
    count!("jti", "sid", "sub", "client", "issuer");
}
