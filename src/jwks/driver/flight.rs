//! A fetch from take-off to landing.

use std::mem;
use std::sync::Arc;

use crate::clock::{Moment, Monotonic, Timestamp};
use crate::defaults;
use crate::fetch::Endpoint;
use crate::jwks::driver::{Core, Driver, answer};
use crate::jwks::error::RefreshError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::freshness::{Standing, Times};
use crate::jwks::operation::{Caches, Failure, Fetched, Flaws, Keys, Operation, Question, Report, Target};
use crate::jwks::refresh::{Cause, Change, Condition, Event, Order, Outcome};
use crate::jwks::shared::{Origin, Shared};
use crate::jwks::snapshot::Remaining;
use crate::keys::{Changes, PrivateKeys, SkipReason};
use crate::telemetry;

/// A fetch in flight.
#[derive(Clone)]
pub(super) struct Flight {
    generation: u64,
    cause: Cause,
    started: Monotonic,
}

/// What a fetch brought, until the machine says that it may be used.
pub(super) struct Landed {
    cause: Cause,
    fetched: Fetched,
    skipped: usize,
}

impl Driver<'_> {
    pub(super) fn take_off(&mut self, order: Order, core: &mut Core, now: Monotonic) {
        let Order { generation, cause, condition, deadline } = order;
        if matches!(cause, Cause::Manual | Cause::Moved) {
            core.answered = mem::take(&mut core.waiting);
        }
        let target = match (&core.endpoint, &self.shared.origin) {
            (Some(endpoint), _) | (None, Origin::Jwks { endpoint, .. }) => Target::Keys(endpoint.clone()),
            (None, Origin::Discovery(discovery)) => Target::Behind(discovery.clone()),
        };
        let question = Question {
            target,
            if_none_match: self.shared.published.stored().filter(|_| condition == Condition::IfNoneMatch),
            caches: if cause.is_fresh() { Caches::Bypassed } else { Caches::Welcome },
        };
        let operation = operation(self.shared, core, deadline);
        let flight = Flight { generation, cause, started: now };
        self.keys = Some((flight, Box::pin(operation.keys(question))));
    }

    /// The operation's time is up: dropping it ends the exchange.
    pub(super) fn abort(&mut self, core: &mut Core, now: Monotonic) {
        if let Some((flight, _dropped)) = self.keys.take() {
            flight.count(self.shared, RefreshError::Timeout.name(), now);
            answer(core.answered.drain(..), Err(RefreshError::Timeout));
        }
    }

    pub(super) fn landed(&mut self, flight: &Flight, report: Report) {
        self.keys = None;
        let now = self.shared.clock.monotonic();
        let Report { discovered, flaws, result } = report;
        let answered = {
            let core = &mut *self.shared.core();
            if let Some(endpoint) = discovered {
                core.rediscovery.found(now, core.dice.chance());
                core.endpoint = Some(endpoint);
            }
            mem::take(&mut core.answered)
        };
        let outcome = match &result {
            Ok(fetched) => judge(self.shared, fetched),
            Err(failure) => Outcome::Failed { error: failure.error, retry_after: failure.retry_after },
        };
        flight.count(self.shared, outcome.name(), now);
        let reply = result.as_ref().map(drop).map_err(|failure| failure.error);
        if let Some(flaws) = &flaws {
            self.withdraw_compromised(flaws, reply, now);
        }
        let skipped = flaws.as_ref().map_or(0, |flaws| flaws.skipped.len());
        let landed = result.ok().map(|fetched| Landed { cause: flight.cause, fetched, skipped });
        self.step(Event::Finished { generation: flight.generation, outcome }, landed);
        if let Some(flaws) = flaws {
            self.report(&flaws, outcome);
        }
        // Only now is the set in use, as whoever called `reload()` expects.
        answer(answered.into_iter(), reply);
    }

    /// Stops verifying with keys whose private halves this document holds. An accepted set is without them already; one
    /// that is refused leaves the keys at hand in use, except for these.
    fn withdraw_compromised(&mut self, flaws: &Flaws, result: Result<(), RefreshError>, now: Monotonic) {
        if self.shared.policy.private_keys == PrivateKeys::PublicHalfUsed {
            return;
        }
        let compromised = {
            let core = &mut *self.shared.core();
            let known = Arc::make_mut(&mut core.compromised);
            known.extend(flaws.private_keys());
            if known.len() > defaults::MAX_COMPROMISED_KEYS {
                *known = flaws.private_keys().collect();
            }
            Arc::clone(&core.compromised)
        };
        if result.is_err() && self.shared.published.withdraw(&compromised, now) == Remaining::None {
            self.step(Event::Expire, None);
        }
    }

    /// Reports what is wrong with keys of a set: once, as long as it is the same.
    fn report(&self, flaws: &Flaws, outcome: Outcome) {
        let core = &mut *self.shared.core();
        self.shared.published.set_skipped(Arc::clone(&flaws.skipped));
        let summary = flaws.summary();
        // A private key that is added under the id of its public half, or under none, changes no key in use.
        let is_new = mem::replace(&mut core.told, summary.clone()) != summary;
        if !is_new && !matches!(outcome, Outcome::Loaded { change: Change::Changed, .. }) {
            return;
        }
        let set_refused = matches!(outcome, Outcome::Failed { .. });
        for key in &*flaws.skipped {
            let (position, reason) = (key.position(), key.reason());
            core.untold.push(KeyEventKind::KeySkipped { position, reason, set_refused });
            if reason == SkipReason::Private {
                core.untold.push(KeyEventKind::PrivateKeyPublished { in_use: false });
            }
        }
        for _ in &flaws.disclosed {
            core.untold.push(KeyEventKind::PrivateKeyPublished { in_use: true });
        }
    }

    /// Thinks about where the keys are when they could not be had there.
    pub(super) fn failed(&self, error: RefreshError, core: &mut Core, now: Moment) {
        if error == RefreshError::NoUsableKeys {
            core.untold.push(KeyEventKind::EmptySet);
        }
        let is_gone = matches!(error, RefreshError::Status { status: 404 | 410 });
        if is_gone || self.shared.published.load().standing(now) >= Some(Standing::Stale) {
            core.rediscovery.recheck(now.monotonic);
        }
    }

    /// Starts to read the discovery document again, if it is time; keys are refreshed meanwhile as ever.
    pub(super) fn rediscover(&mut self, now: Monotonic) {
        let core = &mut *self.shared.core();
        let is_due = core.rediscovery.due().is_some_and(|due| now >= due);
        if let (Origin::Discovery(discovery), true, None) = (&self.shared.origin, is_due, &self.discovery) {
            let deadline = now.saturating_add(self.shared.policy.operation_timeout);
            let operation = operation(self.shared, core, deadline);
            self.discovery = Some(Box::pin(operation.discovery(discovery.clone())));
        }
    }

    /// A moved key set is fetched at once; the keys at hand stay in use until the new ones are there.
    pub(super) fn rediscovered(&mut self, result: Result<Endpoint, Failure>) {
        self.discovery = None;
        let now = self.shared.clock.monotonic();
        let mut core = self.shared.core();
        let chance = core.dice.chance();
        match result {
            Err(failure) => {
                core.rediscovery.failed(now, chance);
                core.untold.push(KeyEventKind::DiscoveryFailed { error: failure.error });
            }
            Ok(endpoint) => {
                core.rediscovery.found(now, chance);
                if core.endpoint.replace(endpoint.clone()) != Some(endpoint) {
                    core.untold.push(KeyEventKind::DiscoveryChanged);
                    drop(core);
                    self.step(Event::Demand(Cause::Moved), None);
                }
            }
        }
    }
}

impl Flight {
    fn count(&self, shared: &Shared, outcome: &'static str, now: Monotonic) {
        let took = now.saturating_since(self.started);
        telemetry::jwks_fetched(shared.label(), self.cause.name(), outcome, took);
    }
}

impl Landed {
    /// Puts it into use.
    pub(super) fn publish(self, shared: &Shared, times: Times, wall: Timestamp, core: &mut Core) {
        let cause = self.cause;
        let skipped = self.skipped;
        let Fetched { freshness, place, keys } = self.fetched;
        let Keys::New(table) = keys else {
            shared.published.confirm(freshness.stored(place), times, wall);
            return core.untold.push(KeyEventKind::NotModified { cause });
        };
        let is_first = shared.published.load().epoch == 0;
        let old = shared.published.whole();
        let changed = is_first || table.digest() != old.digest();
        let Changes { added, removed, replaced } = table.changes_since(&old);
        shared.published.replace(table, freshness.stored(place), times, wall);
        let snapshot = shared.published.load();
        let (epoch, usable) = (snapshot.epoch, snapshot.table.usable());
        telemetry::jwks_keys(shared.label(), usable, skipped);
        core.untold.push(match is_first {
            true => KeyEventKind::InitialLoad { usable, skipped },
            false => KeyEventKind::Refreshed { cause, changed, epoch, added, removed, usable, skipped },
        });
        if replaced > 0 {
            core.untold.push(KeyEventKind::KeyMaterialChanged { replaced });
        }
    }
}

fn operation(shared: &Shared, core: &mut Core, deadline: Monotonic) -> Operation {
    Operation {
        fetch: Arc::clone(&shared.fetch),
        clock: Arc::clone(&shared.clock),
        policy: Arc::clone(&shared.policy),
        algorithms: Arc::clone(&shared.algorithms),
        compromised: Arc::clone(&core.compromised),
        deadline,
        pause: core.dice.chance().between(defaults::RETRY_PAUSE_MIN, defaults::RETRY_PAUSE_MAX),
        retries: shared.policy.retries,
    }
}

/// Compares a loaded set with the one at hand.
fn judge(shared: &Shared, fetched: &Fetched) -> Outcome {
    let remaining = fetched.freshness.remaining();
    match &fetched.keys {
        Keys::NotModified => Outcome::NotModified { remaining },
        Keys::New(table) => {
            let is_first = shared.published.load().epoch == 0;
            let is_same = !is_first && table.digest() == shared.published.whole().digest();
            Outcome::Loaded { remaining, change: if is_same { Change::Same } else { Change::Changed } }
        }
    }
}
