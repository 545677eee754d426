//! `Table`: which tenants are known, which one is displaced for another one, and when each is looked up again.
//!
//! It is a pure state machine: the time is an argument, and the caller fetches, calls and locks.

mod limiter;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use self::limiter::Limiter;
use crate::clock::Monotonic;
use crate::defaults;
use crate::jwks::{Jitter, doubled};

/// The tenants of one rule, by `iss`.
///
/// # Security
///
/// Anyone can name a tenant in a token, but only the issuer can sign one. So a tenant is *unproven* until its keys have verified a
/// signature. Unproven tenants have separate room and displace only each other. A proven tenant displaces the one that was not
/// used for the longest time; tenants are added so slowly that one in use is not displaced by a scan.
pub(super) struct Table<T> {
    limits: Limits,
    entries: HashMap<Arc<str>, Entry<T>>,
    limiter: Limiter,
}

/// The limits of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most proven tenants, with those that are idle.
    pub(super) proven: usize,
    /// Most unproven tenants, in addition.
    pub(super) unproven: usize,
    pub(super) new_per_second: u32,
}

/// Something that knows when a request used it last.
pub(super) trait LastUse {
    fn last_use(&self) -> Monotonic;
}

struct Entry<T> {
    state: State<T>,
    added_at: Monotonic,
    /// The time at which the resolver confirmed the tenant last.
    confirmed_at: Monotonic,
    /// The time of the next call of the resolver.
    renew_at: Monotonic,
    failures: u32,
    is_renewing: bool,
}

enum State<T> {
    Unproven(T),
    Proven(T),
    /// A proven tenant without requests. Its keys are not fetched.
    Idle {
        last_use: Monotonic,
    },
}

/// The numbers of tenants by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::validator) struct Counts {
    pub(in crate::validator) proven: usize,
    pub(in crate::validator) unproven: usize,
    pub(in crate::validator) idle: usize,
}

/// A tenant that is no longer in the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone<T> {
    pub(super) tenant: T,
    pub(super) reason: GoneReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoneReason {
    /// Another tenant needed the room.
    Displaced,
    /// The resolver returned other settings.
    Replaced,
    /// No request has used it.
    Idle,
    /// The resolver has failed for too long.
    Expired,
}

/// Too many tenants were added within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyTenants;

impl Limits {
    pub(super) fn new(max: usize, new_per_second: u32) -> Self {
        let share = max.checked_div(defaults::UNPROVEN_TENANT_SHARE).unwrap_or_default();
        let per_second = usize::try_from(new_per_second).unwrap_or(usize::MAX);
        let by_rate = per_second.saturating_mul(defaults::UNPROVEN_TENANT_SECONDS);
        let unproven = share.max(by_rate.min(defaults::MAX_UNPROVEN_TENANTS_BY_RATE)).max(1);
        Self { proven: max, unproven, new_per_second }
    }
}

impl<T: LastUse> Table<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, entries: HashMap::new(), limiter: Limiter::new(limits.new_per_second) }
    }

    /// Returns the tenant of an `iss`, unless it is idle.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.entries.get(name)?.state.tenant()
    }

    /// Returns the names of all tenants that are not idle.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.iter().filter(|(_, entry)| entry.state.tenant().is_some()).map(|(name, _)| name)
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.entries.values() {
            let count = match entry.state {
                State::Unproven(_) => &mut counts.unproven,
                State::Proven(_) => &mut counts.proven,
                State::Idle { .. } => &mut counts.idle,
            };
            *count = count.saturating_add(1);
        }
        counts
    }

    /// Counts one tenant that is about to be added, unless it is known: then it has a place already, also if it is idle.
    pub(super) fn admit(&mut self, name: &str, now: Monotonic) -> Result<(), TooManyTenants> {
        if self.entries.contains_key(name) || self.limiter.admits(now) { Ok(()) } else { Err(TooManyTenants) }
    }

    /// Adds a tenant that the resolver has returned, or replaces the one with this name. Returns the tenants that are gone.
    pub(super) fn add(&mut self, name: Arc<str>, tenant: T, now: Monotonic, jitter: Jitter) -> Vec<Gone<T>> {
        let earlier = self.entries.remove(&name);
        let is_proven = matches!(earlier, Some(Entry { state: State::Proven(_) | State::Idle { .. }, .. }));
        let mut gone = Vec::new();
        if let Some(tenant) = earlier.and_then(|earlier| earlier.state.into_tenant()) {
            gone.push(Gone { tenant, reason: GoneReason::Replaced });
        }
        if !is_proven && self.counts().unproven >= self.limits.unproven {
            gone.extend(self.displace(|state| matches!(state, State::Unproven(_)), |entry| entry.added_at));
        }
        let state = if is_proven { State::Proven(tenant) } else { State::Unproven(tenant) };
        let entry = Entry {
            state,
            added_at: now,
            confirmed_at: now,
            renew_at: next_renewal(now, jitter),
            failures: 0,
            is_renewing: false,
        };
        self.entries.insert(name, entry);
        gone
    }

    /// Records that the keys of a tenant have verified a token. Returns `None` if it is not unproven, else the tenants that are gone.
    pub(super) fn prove(&mut self, name: &str, is_same: impl Fn(&T) -> bool) -> Option<Vec<Gone<T>>> {
        let entry = self.entries.get(name)?;
        match &entry.state {
            State::Unproven(tenant) if is_same(tenant) => {}
            _ => return None,
        }
        let Counts { proven, idle, .. } = self.counts();
        let mut gone = Vec::new();
        if proven.saturating_add(idle) >= self.limits.proven {
            let is_proven = |state: &State<T>| !matches!(state, State::Unproven(_));
            gone.extend(self.displace(is_proven, |entry| entry.state.last_use()));
        }
        if let Some((name, mut entry)) = self.entries.remove_entry(name) {
            entry.state = match entry.state {
                State::Unproven(tenant) => State::Proven(tenant),
                state => state,
            };
            self.entries.insert(name, entry);
        }
        Some(gone)
    }

    /// Removes a tenant. Returns `None` if it is not known, and `Some(None)` if it is idle.
    pub(super) fn remove(&mut self, name: &str) -> Option<Option<T>> {
        self.entries.remove(name).map(|entry| entry.state.into_tenant())
    }

    /// Returns the tenants for which the resolver is to be called now, so that at most `most` calls are in flight. Those that wait for
    /// the longest time are first.
    pub(super) fn start_renewals(&mut self, now: Monotonic, most: usize) -> Vec<Arc<str>> {
        let in_flight = self.entries.values().filter(|entry| entry.is_renewing).count();
        let is_due = |entry: &Entry<T>| entry.is_renewable() && entry.renew_at <= now;
        let mut due: Vec<_> = self.entries.iter_mut().filter(|(_, entry)| is_due(entry)).collect();
        due.sort_unstable_by_key(|(_, entry)| entry.renew_at);
        let started = due.into_iter().take(most.saturating_sub(in_flight)).map(|(name, entry)| {
            entry.is_renewing = true;
            Arc::clone(name)
        });
        started.collect()
    }

    /// Records that the resolver has returned the same tenant again.
    pub(super) fn confirm(&mut self, name: &str, is_same: impl Fn(&T) -> bool, now: Monotonic, jitter: Jitter) {
        if let Some(entry) = self.renewed(name, is_same) {
            entry.confirmed_at = now;
            entry.failures = 0;
            entry.renew_at = next_renewal(now, jitter);
        }
    }

    /// Records that the resolver has failed for a known tenant. Returns whether the tenant is still known.
    pub(super) fn fail(&mut self, name: &str, is_same: impl Fn(&T) -> bool, now: Monotonic) -> bool {
        let Some(entry) = self.renewed(name, is_same) else { return false };
        let pause = doubled(defaults::CUSTOM_DOMAINS_BACKOFF_MIN, entry.failures);
        entry.renew_at = now.saturating_add(pause.min(defaults::CUSTOM_DOMAINS_BACKOFF_MAX));
        entry.failures = entry.failures.saturating_add(1);
        true
    }

    /// Returns whether a tenant is the same as before its renewal.
    pub(super) fn is_current(&self, name: &str, is_same: impl Fn(&T) -> bool) -> bool {
        self.get(name).is_some_and(is_same)
    }

    /// Removes what was not used, and what was not confirmed, for too long.
    pub(super) fn sweep(&mut self, now: Monotonic) -> Vec<Gone<T>> {
        let is_over = |since: Monotonic, limit: Duration| now.saturating_since(since) >= limit;
        let mut gone = Vec::new();
        self.entries.retain(|_, entry| {
            let last_use = entry.state.last_use();
            let reason = if is_over(entry.confirmed_at, defaults::TENANT_MAX_STALE) {
                GoneReason::Expired
            } else if is_over(last_use, defaults::TENANT_IDLE) {
                GoneReason::Idle
            } else {
                return true;
            };
            let is_retained = match entry.state {
                State::Unproven(_) => false,
                State::Proven(_) => true,
                State::Idle { .. } => !is_over(last_use, defaults::TENANT_FORGOTTEN),
            };
            if let Some(tenant) = mem::replace(&mut entry.state, State::Idle { last_use }).into_tenant() {
                gone.push(Gone { tenant, reason });
                entry.is_renewing = false;
            }
            is_retained
        });
        gone
    }

    /// Returns the time of the next call of the resolver.
    pub(super) fn next_renewal(&self) -> Option<Monotonic> {
        self.entries.values().filter(|entry| entry.is_renewable()).map(|entry| entry.renew_at).min()
    }

    /// Removes the entry with the lowest key among those in a state.
    fn displace(
        &mut self,
        is_candidate: impl Fn(&State<T>) -> bool,
        key: impl Fn(&Entry<T>) -> Monotonic,
    ) -> Option<Gone<T>> {
        let candidates = self.entries.iter().filter(|(_, entry)| is_candidate(&entry.state));
        let name = Arc::clone(candidates.min_by_key(|(_, entry)| key(entry))?.0);
        let tenant = self.entries.remove(&name)?.state.into_tenant()?;
        Some(Gone { tenant, reason: GoneReason::Displaced })
    }

    /// Returns the entry of a tenant whose renewal has ended, unless it is gone or replaced.
    fn renewed(&mut self, name: &str, is_same: impl Fn(&T) -> bool) -> Option<&mut Entry<T>> {
        let entry = self.entries.get_mut(name)?;
        if !entry.state.tenant().is_some_and(is_same) {
            return None;
        }
        entry.is_renewing = false;
        Some(entry)
    }
}

impl<T> Entry<T> {
    fn is_renewable(&self) -> bool {
        !self.is_renewing && self.state.tenant().is_some()
    }
}

impl<T> State<T> {
    fn tenant(&self) -> Option<&T> {
        match self {
            Self::Unproven(tenant) | Self::Proven(tenant) => Some(tenant),
            Self::Idle { .. } => None,
        }
    }

    fn into_tenant(self) -> Option<T> {
        match self {
            Self::Unproven(tenant) | Self::Proven(tenant) => Some(tenant),
            Self::Idle { .. } => None,
        }
    }
}

impl<T: LastUse> State<T> {
    fn last_use(&self) -> Monotonic {
        match self {
            Self::Unproven(tenant) | Self::Proven(tenant) => tenant.last_use(),
            Self::Idle { last_use } => *last_use,
        }
    }
}

/// Returns the time of the next call of the resolver after a success. It is random, so that tenants that were added together are not
/// looked up together for ever.
fn next_renewal(now: Monotonic, jitter: Jitter) -> Monotonic {
    now.saturating_add(defaults::TENANT_RENEWAL.saturating_sub(jitter.at_least_half(RENEWAL_SPREAD)))
}

/// A renewal comes early by half of this time up to all of it.
const RENEWAL_SPREAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
