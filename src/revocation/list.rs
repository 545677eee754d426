//! `Revocations`: the list that validators read and the application writes.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Moment, Timestamp};
use crate::defaults;
use crate::event_hook::EventHook;
use crate::revocation::cutoff::Cutoff;
use crate::revocation::digest::{Digester, IssuerDigest, ValueSum};
use crate::revocation::entry::Revocation;
use crate::revocation::error::RevokeError;
use crate::revocation::event::{RevocationEvent, RevocationEventKind, notify};
use crate::revocation::kind::RevocationKind;
use crate::revocation::log::LogError;
use crate::revocation::replication::Replication;
use crate::revocation::set::{Record, Set};
use crate::revocation::status::RevocationStatus;
use crate::telemetry;

/// A list of tokens, sessions, subjects, clients and issuers whose tokens are rejected before they expire.
///
/// A clone is cheap and shares the list. Any number of validators can use one list; see
/// [`with_revocations`](crate::ValidatorBuilder::with_revocations). Processes [share](Self::shared) their entries over a log. Without one,
/// the list is [in the memory](Self::in_memory) of this process: a restart empties it, and other processes do not know of it.
///
/// Requests read the list without a lock. It contains digests and no names. Entries are exact, not a filter with false hits.
///
/// # Security
///
/// An entry is never dropped before its [end](Revocation::with_end), also if the list is full: then an insertion fails. It stays also
/// if the log loses it.
#[derive(Clone)]
pub struct Revocations {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    /// The bits of the kinds that have entries, and [`UNAVAILABLE`], so that a request reads nothing else if there are none.
    flags: AtomicU8,
    set: ArcSwap<Set>,
    /// The claims that entries compare with subjects, except `sub`.
    subject_claims: ArcSwap<Vec<Box<str>>>,
    digester: Digester,
    writer: Mutex<Writer>,
    /// The longest leeway of the validators that use the list, in seconds.
    leeway: AtomicU64,
    /// The warnings that were logged. Each is logged once.
    warned: AtomicU8,
    max_entries: usize,
    max_token_life: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) replication: Option<Replication>,
    event_hook: Option<EventHook<RevocationEvent>>,
}

/// The settings of a list.
pub(super) struct Settings {
    pub(super) max_entries: usize,
    pub(super) max_token_life: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) replication: Option<Replication>,
    pub(super) event_hook: Option<EventHook<RevocationEvent>>,
}

/// The state of which only an insertion needs to know.
struct Writer {
    cutoff: Cutoff,
    /// The issuers whose tokens a validator of this process accepts.
    trusted: HashSet<IssuerDigest>,
    /// Whether a validator accepts further issuers by a rule.
    has_rules: bool,
}

/// Who adds an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This process.
    Local,
    /// The log.
    Log,
}

impl Revocations {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { max_entries, max_token_life, clock, replication, event_hook } = settings;
        let writer = Writer { cutoff: Cutoff::new(Moment::now(&*clock)), trusted: HashSet::new(), has_rules: false };
        let is_available = replication.as_ref().is_none_or(Replication::is_available);
        let shared = Shared {
            flags: AtomicU8::new(if is_available { 0 } else { UNAVAILABLE }),
            set: ArcSwap::from_pointee(Set::empty()),
            subject_claims: ArcSwap::default(),
            digester: Digester::new(),
            writer: Mutex::new(writer),
            leeway: AtomicU64::new(defaults::LEEWAY.as_secs()),
            warned: AtomicU8::new(0),
            max_entries,
            max_token_life,
            clock,
            replication,
            event_hook,
        };
        let list = Self { shared: Arc::new(shared) };
        list.ensure_running();
        list
    }

    /// Adds an entry. Requests that start after the call has returned are rejected; so are tokens in the token cache.
    ///
    /// An entry that is present is extended: to the later end, and to the later time of issue. If no validator of this process
    /// trusts the issuer of the entry, the entry is added and a warning is logged, because the name may have a typo.
    ///
    /// If processes share the list, the call returns once the log has stored the entry. Other processes reject the tokens a moment later.
    ///
    /// # Errors
    ///
    /// Returns [`RevokeError::Full`] if the list has no room, and logs it at level error. Returns [`RevokeError::NotAppended`] if the log
    /// did not store the entry: this process rejects the tokens, and the entry is appended again and again until its end.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), RevokeError> {
        self.revoke_all([revocation]).await
    }

    /// Adds several entries, as [`revoke`](Self::revoke) does for one. This takes far less time than one call for each.
    ///
    /// # Errors
    ///
    /// Returns [`RevokeError::Full`] if the list has no room for all of them. Those that fit are added to this list, and none is appended
    /// to the log. Returns [`RevokeError::NotAppended`] as [`revoke`](Self::revoke) does.
    pub async fn revoke_all(&self, revocations: impl IntoIterator<Item = Revocation>) -> Result<(), RevokeError> {
        let revocations = self.shared.resolved(revocations);
        self.shared.add(&revocations, Origin::Local)?;
        self.append(revocations).await.map_err(|error| RevokeError::NotAppended { error })
    }

    /// Returns the number of entries, their memory, and the state of the log.
    #[must_use]
    pub fn status(&self) -> RevocationStatus {
        let shared = &*self.shared;
        let log = shared.replication.as_ref().map(|replication| replication.status(shared.clock.monotonic()));
        RevocationStatus::new(&shared.set.load(), shared.max_entries, log)
    }

    /// Returns the longest life of a token.
    pub(crate) fn max_token_life(&self) -> Duration {
        self.shared.max_token_life
    }

    /// Adds what a signal of an issuer names. Appends it only if it changes the list, or if the queue had no room for it before. Returns
    /// whether it changes the list.
    ///
    /// # Errors
    ///
    /// If the log does not store it, it is appended again until its end; only if that is not possible, the call fails.
    pub(crate) async fn add_signal(&self, revocations: Vec<Revocation>) -> Result<bool, RevokeError> {
        let revocations = self.shared.resolved(revocations);
        let is_new = self.shared.add(&revocations, Origin::Local)?;
        let cutoff = self.shared.cutoff();
        let has_refused = |replication: &Replication| replication.shared.queue().has_refused(cutoff);
        // An entry of this list may be one that the queue had no room for.
        if !is_new && !self.shared.replication.as_ref().is_some_and(has_refused) {
            return Ok(false);
        }
        match self.append(revocations).await {
            Err(error @ LogError::TooManyPending) => Err(RevokeError::NotAppended { error }),
            Ok(()) | Err(_) => Ok(is_new),
        }
    }

    /// Records a validator that uses the list: the names of each of its issuers, whether rules accept further names, and its
    /// leeway. Returns the digests of the names.
    pub(crate) fn register<'i>(
        &self,
        issuers: impl Iterator<Item = &'i [Box<str>]>,
        has_rules: bool,
        leeway: Duration,
    ) -> Box<[Box<[IssuerDigest]>]> {
        let shared = &*self.shared;
        shared.leeway.fetch_max(leeway.as_secs(), Ordering::Relaxed);
        let digests = |names: &'i [Box<str>]| names.iter().map(|name| shared.digester.issuer(name)).collect();
        let digests: Box<[Box<[IssuerDigest]>]> = issuers.map(digests).collect();
        let mut writer = shared.writer();
        writer.trusted.extend(digests.iter().flatten());
        writer.has_rules |= has_rules;
        drop(writer);
        self.ensure_running();
        digests
    }

    /// Returns the digest of the name of an issuer.
    pub(crate) fn issuer(&self, name: &str) -> IssuerDigest {
        self.shared.digester.issuer(name)
    }

    /// Returns whether no token is revoked, and the log is read.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.flags.load(Ordering::Acquire) == 0
    }
}

impl Shared {
    /// Adds entries, all of which have an end. Returns whether this has changed the list.
    pub(super) fn add(&self, revocations: &[Revocation], origin: Origin) -> Result<bool, RevokeError> {
        let now = Moment::now(&*self.clock);
        let mut writer = self.writer();
        let claims = self.add_subject_claims(revocations, origin)?;
        let is_compared = |entry: &&Revocation| entry.subject_claim.as_ref().is_none_or(|claim| claims.contains(claim));
        let mut records = Vec::with_capacity(revocations.len());
        let (mut is_untrusted, mut is_ahead) = (false, false);
        for revocation in revocations.iter().filter(is_compared) {
            let issuer = self.digester.issuer(&revocation.issuer);
            is_untrusted |= !writer.has_rules && !writer.trusted.is_empty() && !writer.trusted.contains(&issuer);
            is_ahead |= revocation.issued_before.is_some_and(|before| before > latest_before(now.wall));
            records.push(self.record(revocation, issuer));
        }
        if origin == Origin::Local && is_untrusted {
            telemetry::revocation::untrusted_issuer();
        }
        if origin == Origin::Log && is_ahead {
            telemetry::revocation::entry_from_future();
        }
        let malformed = revocations.len().saturating_sub(records.len());
        if malformed > 0 {
            telemetry::revocation::malformed_entries(malformed);
        }
        let set = self.set.load();
        records.retain(|record| !set.covers(record));
        if records.is_empty() {
            return Ok(false);
        }
        let cutoff = writer.cutoff(now);
        let (set, outcome) = set.with(records, cutoff, self.max_entries);
        let kinds = set.kinds();
        for kind in RevocationKind::ALL {
            telemetry::revocation::entries(kind.name(), set.len(*kind));
        }
        // The set before its bits, so that a request that sees the bits finds the entries.
        self.set.store(Arc::new(set));
        self.flags.fetch_or(kinds, Ordering::Release);
        self.flags.fetch_and(kinds | UNAVAILABLE | HAS_SUBJECT_CLAIMS, Ordering::Release);
        drop(writer);
        if let Some(replication) = &self.replication {
            replication.shared.record_full(outcome.is_err());
        }
        outcome.map(|()| true).map_err(|_| {
            notify(self.event_hook.as_ref(), RevocationEventKind::Full { max_entries: self.max_entries });
            RevokeError::Full { max_entries: self.max_entries }
        })
    }

    /// Adds the claims that entries name, and returns all claims. The writer is locked.
    ///
    /// A claim that does not fit is an error of this process. If the log contains it, it is left out: its entry must not stop those
    /// after it.
    fn add_subject_claims(&self, revocations: &[Revocation], origin: Origin) -> Result<Vec<Box<str>>, RevokeError> {
        let known = self.subject_claims.load();
        let mut claims = Vec::clone(&known);
        for claim in revocations.iter().filter_map(|revocation| revocation.subject_claim.as_ref()) {
            if claims.contains(claim) {
                continue;
            }
            if claims.len() < MAX_SUBJECT_CLAIMS && claim.len() <= defaults::MAX_SUBJECT_CLAIM_BYTES {
                claims.push(claim.clone());
            } else if origin == Origin::Local {
                return Err(RevokeError::SubjectClaims);
            }
        }
        if claims.len() > known.len() {
            self.subject_claims.store(Arc::new(claims.clone()));
            self.flags.fetch_or(HAS_SUBJECT_CLAIMS, Ordering::Release);
        }
        Ok(claims)
    }

    /// Returns the second before which an entry must have ended to be dropped.
    pub(super) fn cutoff(&self) -> u32 {
        self.writer().cutoff(Moment::now(&*self.clock))
    }

    /// Returns how often the wall clock was set back so far that entries may have been dropped too early.
    pub(super) fn steps_back(&self) -> u32 {
        let mut writer = self.writer();
        writer.cutoff(Moment::now(&*self.clock));
        writer.cutoff.steps_back()
    }

    /// Returns the latest second in which an entry that is written now ends, unless its end is set.
    pub(super) fn latest_end(&self) -> u32 {
        seconds(Some(self.clock.now().saturating_add(self.max_token_life)))
    }

    /// Sets whether requests are rejected because the log is not read.
    pub(super) fn set_available(&self, is_available: bool) {
        if is_available {
            self.flags.fetch_and(!UNAVAILABLE, Ordering::Release);
        } else {
            self.flags.fetch_or(UNAVAILABLE, Ordering::Release);
        }
    }

    pub(super) fn flags(&self) -> u8 {
        self.flags.load(Ordering::Acquire)
    }

    pub(super) fn set(&self) -> arc_swap::Guard<Arc<Set>> {
        self.set.load()
    }

    pub(super) fn subject_claims(&self) -> arc_swap::Guard<Arc<Vec<Box<str>>>> {
        self.subject_claims.load()
    }

    pub(super) fn digester(&self) -> &Digester {
        &self.digester
    }

    /// Sets the end, and the time of issue for the kinds that have one.
    fn resolved(&self, revocations: impl IntoIterator<Item = Revocation>) -> Vec<Revocation> {
        let now = self.clock.now();
        let leeway = Duration::from_secs(self.leeway.load(Ordering::Relaxed));
        let resolve = |revocation: Revocation| {
            let before = revocation.issued_before.unwrap_or_else(|| now.saturating_add(leeway));
            if before > latest_before(now) {
                telemetry::revocation::time_in_future();
            }
            let end = revocation.end.unwrap_or_else(|| now.saturating_add(self.max_token_life));
            let issued_before = revocation.kind.has_time().then(|| before.min(latest_before(now)));
            Revocation { issued_before, end: Some(end), ..revocation }
        };
        revocations.into_iter().map(resolve).collect()
    }

    fn record(&self, revocation: &Revocation, issuer: IssuerDigest) -> Record {
        let kind = revocation.kind;
        let concerned = self.concerned(kind, issuer);
        let digest = match kind {
            RevocationKind::Issuer => concerned,
            _ => {
                let claim = revocation.subject_claim.as_deref();
                let issuer = claim.map_or(issuer, |claim| self.digester.within(issuer, claim));
                self.digester.combine(issuer, self.digester.value(&revocation.value))
            }
        };
        Record { kind, digest, concerned, ends_at: revocation.last_second(), before: seconds(revocation.issued_before) }
    }

    /// Returns the digest of an issuer together with a kind.
    pub(super) fn concerned(&self, kind: RevocationKind, issuer: IssuerDigest) -> u64 {
        self.digester.combine(issuer, self.kind(kind))
    }

    fn kind(&self, kind: RevocationKind) -> ValueSum {
        self.digester.number(kind.bit())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_warned(&self, bit: u8) -> bool {
        self.warned.load(Ordering::Relaxed) & bit != 0
    }

    pub(super) fn warn_once(&self, bit: u8, warn: impl FnOnce()) {
        if !self.has_warned(bit) && self.warned.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            warn();
        }
    }
}

impl Writer {
    fn cutoff(&mut self, now: Moment) -> u32 {
        // An entry counts until its end and the leeway of the validator.
        seconds(Some(self.cutoff.at(now).saturating_sub(defaults::MAX_LEEWAY)))
    }
}

/// Returns the latest time of issue that an entry of this process has: a clock may be slow, but nothing revokes the tokens of tomorrow.
fn latest_before(now: Timestamp) -> Timestamp {
    now.saturating_add(defaults::MAX_LEEWAY)
}

/// Returns whole seconds since 1970, rounded down, at most those of the year 2106; 0 if there is no time.
fn seconds(time: Option<Timestamp>) -> u32 {
    u32::try_from(time.map_or(0, Timestamp::as_secs).max(0)).unwrap_or(u32::MAX)
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// The bit of [`Shared::flags`] that says that requests are rejected because the log is not read. The others are those of the kinds.
pub(super) const UNAVAILABLE: u8 = 1 << 7;

/// The bit of [`Shared::flags`] that says that entries compare other claims than `sub` with subjects.
pub(super) const HAS_SUBJECT_CLAIMS: u8 = 1 << 6;

/// Each of them is looked up in every token.
const MAX_SUBJECT_CLAIMS: usize = 8;
