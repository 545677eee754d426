//! Events of the custom domains that the application returns.

/// The source returned the custom domains of an issuer.
pub(crate) fn renewed(issuer: &str, domains: usize, malformed: usize, is_changed: bool) {
    #[cfg(feature = "tracing")]
    if is_changed {
        tracing::info!(target: "tower_bearer::validation", issuer, domains, malformed, "the custom domains changed");
    }
}

/// A call of the source ended. `class` says how it failed.
pub(crate) fn called(issuer: &str, class: Option<&'static str>) {
    #[cfg(feature = "tracing")]
    if let Some(class) = class {
        tracing::warn!(target: "tower_bearer::validation", issuer, class, "could not renew the custom domains");
    }
    #[cfg(feature = "metrics")]
    {
        let outcome = class.unwrap_or("ok");
        metrics::counter!("jwt_custom_domains_total", "issuer" => issuer.to_owned(), "outcome" => outcome).increment(1);
    }
}

/// The source failed for too long, so the custom domains are no longer trusted.
pub(crate) fn expired(issuer: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_bearer::validation", issuer, "the custom domains expired; requests are rejected");
}
