//! The limit for the fetches for unknown and absent kids together, whatever the order in which a client sends such kids.

use crate::clock::Monotonic;
use crate::jwks::policy::RefreshPolicy;

/// Limits the fetches for kids to eight within four longest cool-downs: by default, within a minute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KidFetches {
    /// The starts of the last eight, newest first.
    starts: [Option<Monotonic>; 8],
}

impl KidFetches {
    /// Records the start of a fetch.
    pub(super) fn record(&mut self, now: Monotonic) {
        self.starts.rotate_right(1);
        let [newest, ..] = &mut self.starts;
        *newest = Some(now);
    }

    /// Returns the time from which a fetch may start earlier than the longest cool-down after the one before. After it, one
    /// fetch per longest cool-down must remain possible, so that the key of any kid is found in that time.
    pub(super) fn early_from(&self, policy: &RefreshPolicy) -> Monotonic {
        let [_, _, _, _, older @ ..] = self.starts;
        let free_at = |(start, cooldowns): (Option<Monotonic>, u32)| {
            Some(start?.saturating_add(policy.unknown_kid_cooldown_max.saturating_mul(cooldowns)))
        };
        older.into_iter().zip(1..).filter_map(free_at).max().unwrap_or_default()
    }
}
