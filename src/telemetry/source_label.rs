//! `SourceLabel`: the label of the metrics of a key source.

use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::sync::OnceLock;

/// The label `issuer` of the metrics of a key source.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only metrics have labels"))]
pub(crate) enum SourceLabel {
    /// The source is the only one with this name.
    Own(Arc<str>),
    /// The sources of many tenants have this name, so that tenants do not create time series. A gauge has no single value for them.
    Shared(Arc<str>),
}

impl SourceLabel {
    #[cfg(feature = "metrics")]
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Own(name) | Self::Shared(name) => name,
        }
    }

    #[cfg(feature = "metrics")]
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}

/// Counts the uses of stale keys. During an outage every request uses them, so the metric key is created once.
#[derive(Debug, Default)]
pub(crate) struct StaleServed {
    #[cfg(feature = "metrics")]
    key: OnceLock<metrics::Key>,
}

impl StaleServed {
    pub(crate) fn count(&self, source: &SourceLabel) {
        #[cfg(feature = "metrics")]
        {
            let labels = || vec![metrics::Label::new("issuer", source.name().to_owned())];
            let key = self.key.get_or_init(|| metrics::Key::from_parts("jwks_stale_served_total", labels()));
            metrics::with_recorder(|recorder| {
                recorder.register_counter(key, &crate::telemetry::DECISIONS).increment(1)
            });
        }
    }
}
