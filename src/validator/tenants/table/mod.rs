//! `Table`: which tenants are known, which one is evicted for another one, and when each is looked up again.
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
use crate::jwks::{Jitter, StoredRecord, doubled};

/// The tenants of one rule, by `iss`.
///
/// # Security
///
/// Anyone can name a tenant in a token, but only the issuer can sign one. So a tenant is *unproven* until its keys have verified a
/// signature. Unproven tenants have separate room and evict only each other. A proven tenant evicts the one that was not
/// used for the longest time; tenants are added so slowly that one in use is not evicted by a scan.
pub(super) struct Table<T> {
    limits: Limits,
    entries: HashMap<Arc<str>, Entry<T>>,
    /// Limits new tenants.
    limiter: Limiter,
    /// Limits idle tenants that are looked up again.
    return_limiter: Limiter,
}

/// The limits of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most proven tenants, with those that are idle.
    pub(super) proven: usize,
    /// Most unproven tenants, in addition.
    pub(super) unproven: usize,
    /// Most tenants that have returned and whose keys have verified no token since. They count as proven.
    pub(super) returned: usize,
    pub(super) new_per_second: u32,
}

/// What the table must know about a tenant.
pub(super) trait TableTenant {
    /// Returns when a request used it last.
    fn last_use(&self) -> Monotonic;

    /// Returns whether the stored record with its name was its own when it was added.
    fn stored_record(&self) -> StoredRecord;
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
    /// An idle tenant that was looked up again, and whose keys have not verified a token since.
    Returned(T, Idle),
    /// A proven tenant without requests. Its keys are not fetched.
    Idle(Idle),
}

/// What is known about a tenant that is, or was, idle.
#[derive(Clone, Copy)]
struct Idle {
    /// When its keys verified a token last.
    last_use: Monotonic,
    stored_record: StoredRecord,
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
pub(super) struct Evicted<T> {
    pub(super) tenant: T,
    pub(super) reason: EvictionReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EvictionReason {
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
        // They return faster than new ones are added, and have as much time to fetch their keys.
        let returning = usize::try_from(defaults::RETURNING_TENANT_FACTOR).unwrap_or(usize::MAX);
        let returned = by_rate.saturating_mul(returning).max(unproven);
        Self { proven: max, unproven, returned, new_per_second }
    }
}

impl<T: TableTenant> Table<T> {
    pub(super) fn new(limits: Limits) -> Self {
        let returns = limits.new_per_second.saturating_mul(defaults::RETURNING_TENANT_FACTOR);
        Self {
            limits,
            entries: HashMap::new(),
            limiter: Limiter::new(limits.new_per_second),
            return_limiter: Limiter::new(returns),
        }
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
                State::Proven(_) | State::Returned(..) => &mut counts.proven,
                State::Idle(_) => &mut counts.idle,
            };
            *count = count.saturating_add(1);
        }
        counts
    }

    /// Returns whether the stored record is that of the tenant with this name; `None` if it is not known.
    pub(super) fn stored_record(&self, name: &str) -> Option<StoredRecord> {
        match &self.entries.get(name)?.state {
            State::Unproven(tenant) | State::Proven(tenant) | State::Returned(tenant, _) => {
                Some(tenant.stored_record())
            }
            State::Idle(idle) => Some(idle.stored_record),
        }
    }

    /// Counts one tenant that is about to be added, unless it is in use. More idle tenants than new ones may be added in one second.
    pub(super) fn admit(&mut self, name: &str, now: Monotonic) -> Result<(), TooManyTenants> {
        let limiter = match self.entries.get(name).map(|entry| &entry.state) {
            None => &mut self.limiter,
            Some(State::Idle(_)) => &mut self.return_limiter,
            Some(_) => return Ok(()),
        };
        if limiter.admits(now) { Ok(()) } else { Err(TooManyTenants) }
    }

    /// Adds a tenant that the resolver has returned, or replaces the one with this name. Returns the tenants that are evicted.
    pub(super) fn add(&mut self, name: Arc<str>, tenant: T, now: Monotonic, jitter: Jitter) -> Vec<Evicted<T>> {
        let (state, replaced) = match self.entries.remove(&name).map(|earlier| earlier.state) {
            None => (State::Unproven(tenant), None),
            Some(State::Unproven(earlier)) => (State::Unproven(tenant), Some(earlier)),
            Some(State::Proven(earlier)) => (State::Proven(tenant), Some(earlier)),
            Some(State::Returned(earlier, idle)) => (State::Returned(tenant, idle), Some(earlier)),
            Some(State::Idle(idle)) => (State::Returned(tenant, idle), None),
        };
        let mut evicted: Vec<_> =
            replaced.into_iter().map(|tenant| Evicted { tenant, reason: EvictionReason::Replaced }).collect();
        match state {
            State::Unproven(_) if self.counts().unproven >= self.limits.unproven => {
                evicted.extend(self.evict(|state| matches!(state, State::Unproven(_)), |entry| entry.added_at));
            }
            State::Returned(..) => evicted.extend(self.evict_returned()),
            _ => {}
        }
        let entry = Entry {
            state,
            added_at: now,
            confirmed_at: now,
            renew_at: next_renewal(now, jitter),
            failures: 0,
            is_renewing: false,
        };
        self.entries.insert(name, entry);
        evicted
    }

    /// Records that the keys of a tenant have verified a token. Returns `None` if it is not unproven, else the tenants that are evicted.
    pub(super) fn prove(&mut self, name: &str, is_same: impl Fn(&T) -> bool) -> Option<Vec<Evicted<T>>> {
        match &self.entries.get(name)?.state {
            State::Unproven(tenant) if is_same(tenant) => {}
            State::Returned(tenant, _) if is_same(tenant) => {
                self.mark_proven(name);
                return None;
            }
            _ => return None,
        }
        let Counts { proven, idle, .. } = self.counts();
        let mut evicted = Vec::new();
        if proven.saturating_add(idle) >= self.limits.proven {
            let is_proven = |state: &State<T>| !matches!(state, State::Unproven(_));
            evicted.extend(self.evict(is_proven, |entry| entry.state.last_use()));
        }
        self.mark_proven(name);
        Some(evicted)
    }

    fn mark_proven(&mut self, name: &str) {
        if let Some((name, mut entry)) = self.entries.remove_entry(name) {
            entry.state = match entry.state {
                State::Unproven(tenant) | State::Returned(tenant, _) => State::Proven(tenant),
                state => state,
            };
            self.entries.insert(name, entry);
        }
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
    pub(super) fn sweep(&mut self, now: Monotonic) -> Vec<Evicted<T>> {
        let is_over = |since: Monotonic, limit: Duration| now.saturating_since(since) >= limit;
        let mut evicted = Vec::new();
        self.entries.retain(|_, entry| {
            let idle = entry.state.to_idle();
            let is_unused = match entry.state {
                State::Returned(..) => is_over(entry.added_at, defaults::RETURNED_TENANT_LIMIT),
                _ => is_over(idle.last_use, defaults::TENANT_IDLE),
            };
            let reason = if is_over(entry.confirmed_at, defaults::TENANT_MAX_STALE) {
                EvictionReason::Expired
            } else if is_unused {
                EvictionReason::Idle
            } else {
                return true;
            };
            let is_retained = match entry.state {
                State::Unproven(_) => false,
                State::Proven(_) => true,
                State::Returned(..) | State::Idle(_) => !is_over(idle.last_use, defaults::TENANT_FORGOTTEN),
            };
            evicted.extend(entry.make_idle(idle).map(|tenant| Evicted { tenant, reason }));
            is_retained
        });
        evicted
    }

    /// Returns the time of the next call of the resolver.
    pub(super) fn next_renewal(&self) -> Option<Monotonic> {
        self.entries.values().filter(|entry| entry.is_renewable()).map(|entry| entry.renew_at).min()
    }

    /// Removes the entry with the lowest key among those in a state.
    fn evict(
        &mut self,
        is_candidate: impl Fn(&State<T>) -> bool,
        key: impl Fn(&Entry<T>) -> Monotonic,
    ) -> Option<Evicted<T>> {
        let candidates = self.entries.iter().filter(|(_, entry)| is_candidate(&entry.state));
        let name = Arc::clone(candidates.min_by_key(|(_, entry)| key(entry))?.0);
        let tenant = self.entries.remove(&name)?.state.into_tenant()?;
        Some(Evicted { tenant, reason: EvictionReason::Displaced })
    }

    /// Makes room for one that has returned: the oldest other one is idle again if there are too many.
    fn evict_returned(&mut self) -> Option<Evicted<T>> {
        let returned = self.entries.values_mut().filter(|entry| matches!(entry.state, State::Returned(..)));
        let returned: Vec<_> = returned.collect();
        if returned.len() < self.limits.returned {
            return None;
        }
        let oldest = returned.into_iter().min_by_key(|entry| entry.added_at)?;
        let idle = oldest.state.to_idle();
        oldest.make_idle(idle).map(|tenant| Evicted { tenant, reason: EvictionReason::Displaced })
    }

    /// Returns the entry of a tenant whose renewal has ended, unless it is evicted or replaced.
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

    /// Ends the use of a tenant, and returns it.
    fn make_idle(&mut self, idle: Idle) -> Option<T> {
        let tenant = mem::replace(&mut self.state, State::Idle(idle)).into_tenant()?;
        self.is_renewing = false;
        Some(tenant)
    }
}

impl<T> State<T> {
    fn tenant(&self) -> Option<&T> {
        match self {
            Self::Unproven(tenant) | Self::Proven(tenant) | Self::Returned(tenant, _) => Some(tenant),
            Self::Idle(_) => None,
        }
    }

    fn into_tenant(self) -> Option<T> {
        match self {
            Self::Unproven(tenant) | Self::Proven(tenant) | Self::Returned(tenant, _) => Some(tenant),
            Self::Idle(_) => None,
        }
    }
}

impl<T: TableTenant> State<T> {
    /// Returns what is known about the tenant when it is idle.
    fn to_idle(&self) -> Idle {
        match self {
            Self::Unproven(tenant) | Self::Proven(tenant) => {
                Idle { last_use: tenant.last_use(), stored_record: tenant.stored_record() }
            }
            Self::Returned(_, idle) | Self::Idle(idle) => *idle,
        }
    }

    fn last_use(&self) -> Monotonic {
        self.to_idle().last_use
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
