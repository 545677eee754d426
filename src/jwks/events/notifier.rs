//! Who tells: the log and the hook of the application, both foreign code, so that no lock is held meanwhile.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::jwks::events::{KeyEvent, KeyEventKind, UnknownKidAction};
use crate::telemetry;

/// What an application wants to be called with.
#[derive(Clone)]
pub(crate) struct EventHook(Arc<dyn Fn(&KeyEvent) + Send + Sync>);

/// Tells what happens to one source.
#[derive(Debug)]
pub(in crate::jwks) struct Notifier {
    issuer: Arc<str>,
    hook: Option<EventHook>,
    unknown_kids: UnknownKidCounts,
    closed_notified: AtomicBool,
}

/// Misses that the hook has not heard of, counted by their action, so that a flood costs no memory.
#[derive(Debug, Default)]
struct UnknownKidCounts {
    counts: [AtomicU64; UnknownKidAction::ALL.len()],
    is_new: AtomicBool,
}

impl EventHook {
    pub(in crate::jwks) fn new(hook: impl Fn(&KeyEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Calls it, and says whether it came back. What a panic leaves behind, only the hook sees.
    fn call(&self, event: &KeyEvent) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.0)(event))).is_ok()
    }
}

impl Notifier {
    pub(in crate::jwks) fn new(issuer: &str, hook: Option<EventHook>) -> Self {
        Self {
            issuer: Arc::from(issuer),
            hook,
            unknown_kids: UnknownKidCounts::default(),
            closed_notified: AtomicBool::new(false),
        }
    }

    /// Tells what has happened. The hook hears it first, all of it: a subscriber that panics takes nothing away from it.
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

    /// Tells that the source has ended: once, whoever notices it.
    pub(in crate::jwks) fn notify_closed(&self) {
        if !self.closed_notified.swap(true, Ordering::AcqRel) {
            let mut events = self.take_unknown_kids();
            events.push(KeyEventKind::Closed);
            self.notify(events);
        }
    }

    /// A request came to an end with its miss. Says whether the driver does not yet know that the hook is to hear of any.
    pub(in crate::jwks) fn unknown_kid_seen(&self, action: UnknownKidAction) -> bool {
        telemetry::jwks_unknown_kid(&self.issuer, action.name());
        self.hook.is_some() && self.unknown_kids.add(action)
    }

    pub(in crate::jwks) fn has_unknown_kids(&self) -> bool {
        self.unknown_kids.is_new.load(Ordering::Acquire)
    }

    /// Takes the misses that the hook has not heard of.
    pub(in crate::jwks) fn take_unknown_kids(&self) -> Vec<KeyEventKind> {
        self.unknown_kids.is_new.store(false, Ordering::SeqCst);
        let counted = UnknownKidAction::ALL.into_iter().zip(&self.unknown_kids.counts);
        let last_reported = counted.map(|(action, count)| (action, count.swap(0, Ordering::SeqCst)));
        last_reported
            .filter(|(_, requests)| *requests > 0)
            .map(|(action, requests)| KeyEventKind::UnknownKid { action, requests })
            .collect()
    }
}

impl UnknownKidCounts {
    /// Counts first and says so after: whoever takes the counts in between leaves none behind untold.
    fn add(&self, action: UnknownKidAction) -> bool {
        for (known, count) in UnknownKidAction::ALL.into_iter().zip(&self.counts) {
            if known == action {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        !self.is_new.swap(true, Ordering::SeqCst)
    }
}

/// A closure has no equality; its clones are the same allocation.
impl PartialEq for EventHook {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for EventHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHook")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The driver need not wake for each request of a flood: it is woken once, until it has taken what was counted.
    #[test]
    fn a_flood_wakes_the_driver_once() {
        let notifier = Notifier::new("https://id.example/", Some(EventHook::new(|_| {})));
        for _ in 0..3 {
            let woken = (0..100).filter(|_| notifier.unknown_kid_seen(UnknownKidAction::Cooldown)).count();
            assert_eq!(woken, 1);
            let counted = KeyEventKind::UnknownKid { action: UnknownKidAction::Cooldown, requests: 100 };
            assert_eq!((notifier.take_unknown_kids(), notifier.has_unknown_kids()), (vec![counted], false));
        }
        let deaf = Notifier::new("https://id.example/", None);
        assert!(!deaf.unknown_kid_seen(UnknownKidAction::Cooldown), "nobody wants to hear of it");
    }
}
