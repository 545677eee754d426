//! Fetches: starting them, and processing their results.

use std::mem;
use std::sync::Arc;

use crate::clock::{Moment, Monotonic, Timestamp};
use crate::defaults;
use crate::fetch::{Endpoint, Exchange, ExchangeRules};
use crate::jwks::cause::RefreshCause;
use crate::jwks::driver::Driver;
use crate::jwks::driver_core::{DriverCore, SaveState};
use crate::jwks::error::RefreshError;
use crate::jwks::events::KeyEventKind;
use crate::jwks::freshness::{FreshnessState, Times};
use crate::jwks::operation::{
    CacheMode, Export, Failure, Fetched, KeyReport, KeyRequest, Keys, Operation, Report, Target,
};
use crate::jwks::origin::Origin;
use crate::jwks::refresh::{Change, Condition, Event, FetchOrder, Outcome};
use crate::jwks::shared::Shared;
use crate::jwks::snapshot::Remaining;
use crate::keys::{Changes, PrivateKeys, SkipReason};
use crate::telemetry;

/// The fetch in flight.
#[derive(Clone)]
pub(super) struct InFlight {
    generation: u64,
    cause: RefreshCause,
    started: Moment,
}

/// The result of a successful fetch, before it is published.
pub(super) struct Completed {
    cause: RefreshCause,
    started: Moment,
    fetched: Fetched,
    skipped: usize,
}

impl Driver<'_> {
    pub(super) fn start_fetch(&mut self, order: FetchOrder, core: &mut DriverCore, now: Moment) {
        let FetchOrder { generation, cause, condition, deadline } = order;
        if matches!(cause, RefreshCause::Reload | RefreshCause::Moved) {
            core.in_flight_replies = mem::take(&mut core.queued_replies);
        }
        let target = match (&core.endpoint, &self.shared.origin) {
            (Some(endpoint), _) | (None, Origin::Jwks { endpoint, .. }) => Target::Keys(endpoint.clone()),
            (None, Origin::Discovery(discovery)) => Target::Discovery(discovery.clone()),
        };
        let key_request = KeyRequest {
            target,
            if_none_match: self.shared.published.stored().filter(|_| condition == Condition::IfNoneMatch),
            cache_mode: if cause.bypasses_caches() { CacheMode::NoCache } else { CacheMode::Default },
        };
        let operation = operation(self.shared, core, deadline);
        let in_flight = InFlight { generation, cause, started: now };
        self.keys = Some((in_flight, Box::pin(operation.keys(key_request))));
    }

    /// Aborts the fetch in flight at its deadline. Dropping the future ends the exchange.
    pub(super) fn abort(&mut self, core: &mut DriverCore, now: Monotonic) {
        self.failed_during_load = None;
        if let Some((in_flight, _dropped)) = self.keys.take() {
            in_flight.record_metrics(self.shared, RefreshError::Timeout.name(), now);
            let replies = mem::take(&mut core.in_flight_replies);
            core.complete_replies(replies, Err(RefreshError::Timeout));
        }
    }

    pub(super) fn finish_fetch(&mut self, in_flight: &InFlight, report: Report) {
        self.keys = None;
        let now = self.shared.clock.monotonic();
        let Report { discovered, mut key_report, result } = report;
        let reload_result = result.as_ref().map(drop).map_err(|failure| failure.error);
        {
            let core = &mut *self.shared.core();
            if let Some(endpoint) = discovered {
                core.rediscovery.found(now, core.rng.jitter());
                core.endpoint = Some(endpoint);
            }
            let replies = mem::take(&mut core.in_flight_replies);
            core.complete_replies(replies, reload_result);
        }
        let outcome = match &result {
            Ok(fetched) => evaluate(self.shared, fetched, in_flight.generation),
            Err(failure) => Outcome::Failed { error: failure.error, retry_after: failure.retry_after },
        };
        if let Some(key_report) = &mut key_report {
            self.shared.published.record_rejected(mem::take(&mut key_report.rejected));
            self.remove_compromised(key_report, reload_result, now);
        }
        let skipped = key_report.as_ref().map_or(0, |key_report| key_report.skipped.len());
        let completed = result.ok().map(|fetched| Completed {
            cause: in_flight.cause,
            started: in_flight.started,
            fetched,
            skipped,
        });
        self.step(Event::Finished { generation: in_flight.generation, outcome }, completed);
        if let Some(key_report) = key_report {
            self.report(&key_report, outcome);
        }
        // At the end: a recorder that panics must not leave a compromised key in use.
        in_flight.record_metrics(self.shared, outcome.name(), now);
    }

    /// Stops using keys whose private keys this document contains. An accepted key set has been filtered already. If the key
    /// set is rejected, the current keys stay in use except for these.
    fn remove_compromised(&mut self, key_report: &KeyReport, result: Result<(), RefreshError>, now: Monotonic) {
        if self.shared.policy.private_keys == PrivateKeys::Accepted {
            return;
        }
        let compromised = self.shared.blocked.record_compromised(key_report.compromised());
        if result.is_err() {
            self.remove_compromised_from_store();
            if self.shared.published.remove_compromised(&compromised, now) == Remaining::None {
                self.step(Event::Expire, None);
            }
        }
    }

    /// Reports the skipped and disclosed keys of a set: once per list, and again when the same list comes with a rejected set.
    fn report(&self, key_report: &KeyReport, outcome: Outcome) {
        let core = &mut *self.shared.core();
        self.shared.published.set_skipped(Arc::clone(&key_report.skipped));
        let set_rejected = matches!(outcome, Outcome::Failed { .. });
        let report = (key_report.summary(), set_rejected);
        // The lists are compared because a private key that is published with the `kid` of its public key, or with none, does
        // not change the key table.
        let is_new = mem::replace(&mut core.reported_skips, report.clone()) != report;
        if !is_new && !matches!(outcome, Outcome::Loaded { change: Change::Changed | Change::ChangedWithoutKid, .. }) {
            return;
        }
        for key in &*key_report.skipped {
            let (position, reason) = (key.position(), key.reason());
            core.pending_events.push(KeyEventKind::KeySkipped { position, reason, set_rejected });
            if reason == SkipReason::Private {
                core.pending_events.push(KeyEventKind::PrivateKeyPublished { in_use: false });
            }
        }
        for _ in &key_report.disclosed {
            core.pending_events.push(KeyEventKind::PrivateKeyPublished { in_use: true });
        }
    }

    /// Records a failed fetch. Reads the discovery document again soon if the keys may have moved. Repeats a save that has
    /// failed: a fetch that succeeds saves in any case.
    pub(super) fn record_failure(&self, error: RefreshError, core: &mut DriverCore, now: Moment) {
        if error == RefreshError::NoUsableKeys {
            core.pending_events.push(KeyEventKind::EmptySet);
        }
        if core.save_state == SaveState::Started && self.save.is_none() {
            core.save_state = SaveState::Due;
        }
        if matches!(error, RefreshError::Status { status: 404 | 410 }) {
            core.rediscovery.recheck_moved(now.monotonic);
        } else if self.shared.published.load().freshness_state(now) >= Some(FreshnessState::Stale) {
            core.rediscovery.recheck(now.monotonic);
        }
    }

    /// Starts to read the discovery document again if that is due. Key refreshes continue meanwhile.
    pub(super) fn start_due_rediscovery(&mut self, now: Monotonic) {
        let core = &mut *self.shared.core();
        let is_due = core.rediscovery.due().is_some_and(|due| now >= due);
        if let (Origin::Discovery(discovery), true, None) = (&self.shared.origin, is_due, &self.discovery) {
            let deadline = now.saturating_add(self.shared.policy.operation_timeout);
            let operation = operation(self.shared, core, deadline);
            self.discovery = Some(Box::pin(operation.discovery(discovery.clone())));
        }
    }

    /// Processes a discovery document that was read again. If `jwks_uri` has changed, fetches from the new one at once; the
    /// current keys stay in use until the new ones are loaded.
    pub(super) fn finish_rediscovery(&mut self, result: Result<Endpoint, Failure>) {
        self.discovery = None;
        let now = self.shared.clock.monotonic();
        let mut core = self.shared.core();
        let jitter = core.rng.jitter();
        match result {
            Err(failure) => {
                core.rediscovery.failed(now, jitter);
                core.pending_events.push(KeyEventKind::DiscoveryFailed { error: failure.error });
            }
            Ok(endpoint) => {
                core.rediscovery.found(now, jitter);
                if core.endpoint.replace(endpoint.clone()) != Some(endpoint) {
                    core.pending_events.push(KeyEventKind::DiscoveryChanged);
                    drop(core);
                    self.step(Event::FetchNow(RefreshCause::Moved), None);
                }
            }
        }
    }
}

impl InFlight {
    fn record_metrics(&self, shared: &Shared, outcome: &'static str, now: Monotonic) {
        let took = now.saturating_since(self.started.monotonic);
        telemetry::jwks_fetched(&shared.source_label, self.cause.name(), outcome, took);
    }
}

impl Completed {
    /// Returns the wall time at which the issuer confirmed the set. A suspension during the fetch is subtracted: the response
    /// may have arrived before it.
    fn confirmed_wall(&self, now: Moment) -> Timestamp {
        let by_wall = now.wall.saturating_since(self.started.wall);
        let suspended = by_wall.saturating_sub(now.monotonic.saturating_since(self.started.monotonic));
        now.wall.saturating_sub(suspended)
    }

    /// Publishes the key set.
    pub(super) fn publish(self, shared: &Shared, times: Times, now: Moment, core: &mut DriverCore) {
        let wall = self.confirmed_wall(now);
        let cause = self.cause;
        let skipped = self.skipped;
        let Fetched { freshness, endpoint, keys } = self.fetched;
        core.save_state = SaveState::Due;
        let Keys::New { table, document } = keys else {
            shared.published.confirm(freshness.stored(endpoint), times, wall);
            return core.pending_events.push(KeyEventKind::NotModified { cause });
        };
        core.document = document;
        let is_first = shared.published.load().epoch == 0;
        let old = shared.published.published_table();
        let changed = is_first || table.digest() != old.digest();
        let Changes { added, removed, replaced } = table.changes_since(&old);
        shared.absent_kids.forget_published(&table);
        shared.published.replace(table, freshness.stored(endpoint), times, wall);
        let snapshot = shared.published.load();
        let (epoch, usable) = (snapshot.epoch, snapshot.table.usable());
        telemetry::jwks_keys(shared.label(), &shared.source_label, usable, skipped);
        core.pending_events.push(match is_first {
            true => KeyEventKind::InitialLoad { usable, skipped },
            false => KeyEventKind::Refreshed { cause, changed, epoch, added, removed, usable, skipped },
        });
        if replaced > 0 {
            core.pending_events.push(KeyEventKind::KeyMaterialChanged { replaced });
        }
    }
}

fn operation(shared: &Shared, core: &mut DriverCore, deadline: Monotonic) -> Operation {
    let policy = &shared.policy;
    let exchange = Exchange {
        fetch: Arc::clone(&shared.fetch),
        clock: Arc::clone(&shared.clock),
        rules: ExchangeRules::document(policy.redirects),
        max_bytes: policy.max_document_bytes,
        attempt_timeout: policy.attempt_timeout,
        deadline,
        retries: policy.retries,
        pause: core.rng.jitter().between(defaults::RETRY_PAUSE_MIN, defaults::RETRY_PAUSE_MAX),
    };
    Operation {
        exchange,
        policy: Arc::clone(policy),
        algorithms: Arc::clone(&shared.algorithms),
        compromised: shared.blocked.compromised(),
        export: if shared.key_store.is_some() { Export::Always } else { Export::Never },
    }
}

/// Compares the key set that a fetch has loaded with the current one.
fn evaluate(shared: &Shared, fetched: &Fetched, generation: u64) -> Outcome {
    let remaining = fetched.freshness.remaining();
    match &fetched.keys {
        Keys::NotModified => Outcome::NotModified { remaining },
        Keys::New { table, .. } => {
            let is_first = shared.published.load().epoch == 0;
            let is_same = !is_first && table.digest() == shared.published.published_table().digest();
            let change = match is_same {
                true => Change::Same,
                false if shared.absent_kids.has_missing(generation, table) => Change::ChangedWithoutKid,
                false => Change::Changed,
            };
            Outcome::Loaded { remaining, change }
        }
    }
}
