//! `Notifier`: sends events to the log and to the event hook. Both run foreign code, so no lock is held during the calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::event_hook::EventHook;
use crate::jwks::events::{KeyEvent, KeyEventKind, UnknownKidAction};
use crate::telemetry::{self, SourceLabel};

/// Sends the events of one source.
#[derive(Debug)]
pub(in crate::jwks) struct Notifier {
    issuer: Arc<str>,
    source_label: SourceLabel,
    hook: Option<EventHook<KeyEvent>>,
    unknown_kids: UnknownKidCounts,
    closed_notified: AtomicBool,
}

/// Unknown kids that have not been reported to the hook, counted by their action, so that a flood takes no memory.
#[derive(Debug, Default)]
struct UnknownKidCounts {
    counts: [AtomicU64; UnknownKidAction::ALL.len()],
    is_new: AtomicBool,
}

impl Notifier {
    pub(in crate::jwks) fn new(issuer: &str, source_label: SourceLabel, hook: Option<EventHook<KeyEvent>>) -> Self {
        Self {
            issuer: Arc::from(issuer),
            source_label,
            hook,
            unknown_kids: UnknownKidCounts::default(),
            closed_notified: AtomicBool::new(false),
        }
    }

    /// Sends events. All of them go to the hook first, so that a tracing subscriber that panics withholds none from it.
    pub(in crate::jwks) fn notify(&self, events: Vec<KeyEventKind>) {
        let mut panics = 0;
        if let Some(hook) = &self.hook {
            let events = events.iter().map(|kind| KeyEvent::new(&self.issuer, *kind));
            panics = events.filter(|event| !hook.call(event)).count();
        }
        for kind in events {
            kind.log(&self.issuer);
        }
        if panics > 0 {
            telemetry::jwks_hook_panicked(&self.issuer, panics);
        }
    }

    /// Sends the `closed` event, at most once.
    pub(in crate::jwks) fn notify_closed(&self) {
        if !self.closed_notified.swap(true, Ordering::AcqRel) {
            let mut events = self.take_unknown_kids();
            events.push(KeyEventKind::Closed);
            self.notify(events);
        }
    }

    /// Counts a request with an unknown kid. Returns whether the driver must be woken to report it to the hook.
    pub(in crate::jwks) fn count_unknown_kid(&self, action: UnknownKidAction) -> bool {
        telemetry::jwks_unknown_kid(&self.issuer, &self.source_label, action.name());
        self.hook.is_some() && self.unknown_kids.add(action)
    }

    pub(in crate::jwks) fn has_unknown_kids(&self) -> bool {
        self.unknown_kids.is_new.load(Ordering::Acquire)
    }

    /// Returns the unreported counts as events, and resets them.
    pub(in crate::jwks) fn take_unknown_kids(&self) -> Vec<KeyEventKind> {
        self.unknown_kids.is_new.store(false, Ordering::SeqCst);
        let counted = UnknownKidAction::ALL.into_iter().zip(&self.unknown_kids.counts);
        let counts = counted.map(|(action, count)| (action, count.swap(0, Ordering::SeqCst)));
        counts
            .filter(|(_, requests)| *requests > 0)
            .map(|(action, requests)| KeyEventKind::UnknownKid { action, requests })
            .collect()
    }
}

impl UnknownKidCounts {
    /// Increments the count before it sets the flag, so that a concurrent [`Notifier::take_unknown_kids`] leaves no count
    /// without the flag. Returns whether the flag was not set before.
    fn add(&self, action: UnknownKidAction) -> bool {
        for (known, count) in UnknownKidAction::ALL.into_iter().zip(&self.counts) {
            if known == action {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        !self.is_new.swap(true, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The driver is not woken for each request of a flood, but once until it takes the counts.
    #[test]
    fn wakes_the_driver_once_per_flood() {
        let label = || SourceLabel::Own(Arc::from("https://id.example/"));
        let notifier = Notifier::new("https://id.example/", label(), Some(EventHook::new(|_| {})));
        for _ in 0..3 {
            let woken = (0..100).filter(|_| notifier.count_unknown_kid(UnknownKidAction::Cooldown)).count();
            assert_eq!(woken, 1);
            let counted = KeyEventKind::UnknownKid { action: UnknownKidAction::Cooldown, requests: 100 };
            assert_eq!((notifier.take_unknown_kids(), notifier.has_unknown_kids()), (vec![counted], false));
        }
        let without_hook = Notifier::new("https://id.example/", label(), None);
        assert!(!without_hook.count_unknown_kid(UnknownKidAction::Cooldown), "no hook is set");
    }
}
