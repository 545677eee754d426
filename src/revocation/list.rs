//! `Revocations`: the list that validators read and the application writes.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::claims::{self, ClientRule};
use crate::clock::{Clock, Moment, Timestamp};
use crate::defaults;
use crate::revocation::cutoff::Cutoff;
use crate::revocation::digest::{Digester, IssuerDigest};
use crate::revocation::entry::Revocation;
use crate::revocation::error::RevokeError;
use crate::revocation::kind::RevocationKind;
use crate::revocation::set::{Record, Set};
use crate::revocation::status::RevocationStatus;
use crate::telemetry;
use crate::token::{Claim, Member, Payload, unquote};

/// A list of tokens, sessions, subjects, clients and issuers whose tokens are rejected before they expire.
///
/// A clone is cheap and shares the list. Any number of validators can use one list; see
/// [`with_revocations`](crate::ValidatorBuilder::with_revocations). The list is in the memory of this process: a restart empties it,
/// and other replicas do not know of it. Load what must survive a restart with [`revoke_all`](Self::revoke_all) at start.
///
/// Requests read the list without a lock. It contains digests and no names. Entries are exact, not a filter with false hits.
///
/// # Security
///
/// An entry is never dropped before its [end](Revocation::with_end), also if the list is full: then an insertion fails.
#[derive(Clone)]
pub struct Revocations {
    shared: Arc<Shared>,
}

struct Shared {
    /// The bits of the kinds that have entries, so that a request reads nothing else if there are none.
    kinds: AtomicU8,
    set: ArcSwap<Set>,
    digester: Digester,
    writer: Mutex<Writer>,
    /// The longest leeway of the validators that use the list, in seconds.
    leeway: AtomicU64,
    /// The warnings that were logged. Each is logged once.
    warned: AtomicU8,
    max_entries: usize,
    max_token_life: Duration,
    clock: Arc<dyn Clock>,
}

/// The state of which only an insertion needs to know.
struct Writer {
    cutoff: Cutoff,
    /// The issuers whose tokens a validator of this process accepts.
    trusted: HashSet<IssuerDigest>,
    /// Whether a validator accepts further issuers by a rule.
    has_rules: bool,
}

/// Why a token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// An entry of this kind names the token.
    Revoked(RevocationKind),
    /// An entry of this kind concerns the issuer, and the claim with the name is not a string.
    Malformed(RevocationKind),
}

impl Revocations {
    pub(super) fn new(max_entries: usize, max_token_life: Duration, clock: Arc<dyn Clock>) -> Self {
        let writer = Writer { cutoff: Cutoff::new(Moment::now(&*clock)), trusted: HashSet::new(), has_rules: false };
        let shared = Shared {
            kinds: AtomicU8::new(0),
            set: ArcSwap::from_pointee(Set::empty()),
            digester: Digester::new(),
            writer: Mutex::new(writer),
            leeway: AtomicU64::new(defaults::LEEWAY.as_secs()),
            warned: AtomicU8::new(0),
            max_entries,
            max_token_life,
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds an entry. Requests that start after the call has returned are rejected; so are tokens in the token cache.
    ///
    /// An entry that is present is extended: to the later end, and to the later time of issue. If no validator of this process
    /// trusts the issuer of the entry, the entry is added and a warning is logged, because the name may have a typo.
    ///
    /// # Errors
    ///
    /// Returns [`RevokeError::Full`] if the list has no room, and logs it at level error.
    #[expect(clippy::unused_async, reason = "a list that replicas share waits for its log")]
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), RevokeError> {
        self.add(&[revocation]).map(drop)
    }

    /// Adds several entries, as [`revoke`](Self::revoke) does for one. This takes far less time than one call for each.
    ///
    /// # Errors
    ///
    /// Returns [`RevokeError::Full`] if the list has no room for all of them. Those that fit are added.
    #[expect(clippy::unused_async, reason = "a list that replicas share waits for its log")]
    pub async fn revoke_all(&self, revocations: impl IntoIterator<Item = Revocation>) -> Result<(), RevokeError> {
        self.add(&revocations.into_iter().collect::<Vec<_>>()).map(drop)
    }

    /// Returns the number of entries and their memory.
    #[must_use]
    pub fn status(&self) -> RevocationStatus {
        RevocationStatus::new(&self.shared.set.load(), self.shared.max_entries)
    }

    /// Returns the longest life of a token.
    pub(crate) fn max_token_life(&self) -> Duration {
        self.shared.max_token_life
    }

    /// Adds entries. Returns whether this has changed the list.
    pub(crate) fn add(&self, revocations: &[Revocation]) -> Result<bool, RevokeError> {
        let shared = &*self.shared;
        let now = Moment::now(&*shared.clock);
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::with_capacity(revocations.len());
        let mut is_untrusted = false;
        for revocation in revocations {
            let issuer = shared.digester.issuer(&revocation.issuer);
            is_untrusted |= !writer.has_rules && !writer.trusted.is_empty() && !writer.trusted.contains(&issuer);
            records.push(shared.record(revocation, issuer, now.wall));
        }
        if is_untrusted {
            telemetry::revocation::untrusted_issuer();
        }
        let set = shared.set.load();
        records.retain(|record| !set.covers(record));
        if records.is_empty() {
            return Ok(false);
        }
        // An entry counts until its end and the leeway of the validator.
        let cutoff = seconds(writer.cutoff.at(now).saturating_sub(defaults::MAX_LEEWAY));
        let (set, outcome) = set.with(records, cutoff, shared.max_entries);
        let kinds = set.kinds();
        for kind in RevocationKind::ALL {
            telemetry::revocation::entries(kind.name(), set.len(*kind));
        }
        // The set before its bits, so that a request that sees the bits finds the entries.
        shared.set.store(Arc::new(set));
        shared.kinds.store(kinds, Ordering::Release);
        drop(writer);
        outcome.map(|()| true).map_err(|_| {
            telemetry::revocation::full(shared.max_entries);
            RevokeError::Full { max_entries: shared.max_entries }
        })
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
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.trusted.extend(digests.iter().flatten());
        writer.has_rules |= has_rules;
        digests
    }

    /// Returns the digest of the name of an issuer.
    pub(crate) fn issuer(&self, name: &str) -> IssuerDigest {
        self.shared.digester.issuer(name)
    }

    /// Returns whether the list has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.kinds.load(Ordering::Acquire) == 0
    }

    /// Looks a token up whose issuer has these names. `now` is the time less the leeway.
    pub(crate) fn check(
        &self,
        issuers: impl Iterator<Item = IssuerDigest>,
        payload: &Payload,
        clients: &ClientRule,
        now: Timestamp,
    ) -> Result<(), Match> {
        let lookup = Lookup { shared: &self.shared, set: &self.shared.set.load(), payload, now };
        let kinds = self.shared.kinds.load(Ordering::Acquire);
        for issuer in issuers {
            for kind in RevocationKind::ALL.iter().filter(|kind| kinds & kind.bit() != 0) {
                lookup.check(*kind, issuer, clients)?;
            }
        }
        Ok(())
    }

    /// Counts a token that is valid for longer than entries last by default.
    pub(crate) fn check_life(&self, payload: &Payload, now: Timestamp) {
        let shared = &*self.shared;
        let longest = now.saturating_add(shared.max_token_life);
        if claims::date(payload, Claim::Exp).ok().is_some_and(|exp| exp > longest) {
            telemetry::revocation::long_token_life();
            shared.warn_once(LONG_LIFE, telemetry::revocation::warn_of_long_token_life);
        }
    }
}

/// One look-up of one token.
struct Lookup<'l> {
    shared: &'l Shared,
    set: &'l Set,
    payload: &'l Payload,
    now: Timestamp,
}

impl Lookup<'_> {
    fn check(&self, kind: RevocationKind, issuer: IssuerDigest, clients: &ClientRule) -> Result<(), Match> {
        let is_rejected = match kind {
            RevocationKind::JwtId => self.is_named(kind, issuer, &self.payload.text(Claim::Jti))?,
            RevocationKind::Session => self.is_named(kind, issuer, &self.payload.text(Claim::Sid))?,
            RevocationKind::Subject => match self.payload.text(Claim::Sub) {
                Member::Is(subject) => self.is_issued_before(kind, self.shared.digester.value(issuer, subject)),
                Member::Absent | Member::Malformed => false,
            },
            RevocationKind::Client => match clients.claim.raw(self.payload).map(unquote) {
                Some(Some(client)) => self.is_issued_before(kind, self.shared.digester.value(issuer, &client)),
                Some(None) if self.is_concerned(kind, issuer) => return Err(Match::Malformed(kind)),
                Some(None) | None => false,
            },
            RevocationKind::Issuer => self.is_issued_before(kind, self.shared.concerned(kind, issuer)),
        };
        if is_rejected { Err(Match::Revoked(kind)) } else { Ok(()) }
    }

    /// Returns whether an entry names the value of a claim.
    fn is_named(&self, kind: RevocationKind, issuer: IssuerDigest, claim: &Member<&str>) -> Result<bool, Match> {
        match claim {
            Member::Is(value) => {
                let entry = self.set.find(kind, self.shared.digester.value(issuer, value));
                Ok(entry.is_some_and(|entry| self.counts(entry.ends_at)))
            }
            Member::Malformed if self.is_concerned(kind, issuer) => Err(Match::Malformed(kind)),
            Member::Absent if !self.shared.has_warned(kind.bit()) && self.is_concerned(kind, issuer) => {
                self.shared.warn_once(kind.bit(), || telemetry::revocation::claim_missing(kind.name()));
                Ok(false)
            }
            Member::Absent | Member::Malformed => Ok(false),
        }
    }

    /// Returns whether the token was issued in or before the second of the entry. A token without `iat` may have been.
    fn is_issued_before(&self, kind: RevocationKind, digest: u64) -> bool {
        let Some(entry) = self.set.find_issued_before(kind, digest) else { return false };
        let next_second = Timestamp::from_secs(i64::from(entry.before).saturating_add(1));
        let issued_at = claims::date(self.payload, Claim::Iat).ok();
        self.counts(entry.ends_at) && issued_at.is_none_or(|issued_at| issued_at < next_second)
    }

    fn is_concerned(&self, kind: RevocationKind, issuer: IssuerDigest) -> bool {
        let entry = self.set.find_concerned(self.shared.concerned(kind, issuer));
        entry.is_some_and(|entry| self.counts(entry.ends_at))
    }

    fn counts(&self, ends_at: u32) -> bool {
        self.now < Timestamp::from_secs(i64::from(ends_at))
    }
}

impl Shared {
    fn record(&self, revocation: &Revocation, issuer: IssuerDigest, now: Timestamp) -> Record {
        let kind = revocation.kind;
        let concerned = self.concerned(kind, issuer);
        let digest = match kind {
            RevocationKind::Issuer => concerned,
            _ => self.digester.value(issuer, &revocation.value),
        };
        let leeway = Duration::from_secs(self.leeway.load(Ordering::Relaxed));
        let before = revocation.issued_before.unwrap_or_else(|| now.saturating_add(leeway));
        let end = revocation.end.unwrap_or_else(|| now.saturating_add(self.max_token_life));
        Record {
            kind,
            digest,
            concerned,
            // Rounded up to the next second.
            ends_at: seconds(end.saturating_add(Duration::from_nanos(999_999_999))),
            before: seconds(before.min(now.saturating_add(defaults::MAX_LEEWAY))),
        }
    }

    /// Returns the digest of an issuer together with a kind.
    fn concerned(&self, kind: RevocationKind, issuer: IssuerDigest) -> u64 {
        self.digester.number(issuer, kind.bit())
    }

    fn has_warned(&self, bit: u8) -> bool {
        self.warned.load(Ordering::Relaxed) & bit != 0
    }

    fn warn_once(&self, bit: u8, warn: impl FnOnce()) {
        if !self.has_warned(bit) && self.warned.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            warn();
        }
    }
}

/// Returns whole seconds since 1970, rounded down, at most those of the year 2106.
fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_secs().max(0)).unwrap_or(u32::MAX)
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// The bit of the warning of a long token life. Those of missing claims are the bits of the kinds.
const LONG_LIFE: u8 = 1 << 7;
