//! Whether a verdict that is remembered still counts.

use crate::claims::Claims;
use crate::host::Host;
use crate::rejection::Rejection;
use crate::telemetry::{self, Validation};
use crate::validator::circumstances::Circumstances;
use crate::validator::memo::{Memo, Remembered, Search};
use crate::validator::routing::Route;
use crate::validator::verdict::Verdict;
use crate::validator::{Core, Trusted, Validator};

/// What a remembered verdict is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is as good as a new one.
    Counts,
    /// It says nothing about this request.
    Unknown,
    /// Its time is over.
    Ended,
    /// The key that proved it is in use no more.
    KeyGone,
}

impl<C: Send + Sync + 'static> Validator<C> {
    /// Notes that the keys have to be asked about a token; only once for one that has to wait for them.
    pub(super) fn note_miss(&self) {
        if self.memo.is_some() {
            telemetry::token_cache_miss();
        }
    }

    /// Starts to look for what is remembered of a token.
    pub(super) fn search<'m, 't>(&'m self, token: &'t [u8]) -> Option<Search<'m, 't, C>> {
        self.memo.as_ref().map(|memo| memo.search(token))
    }

    /// The claims of a token that was verified before, if that still counts.
    pub(super) fn recall<'s>(
        &'s self,
        found: &Remembered<C>,
        host: Option<&Host>,
        validation: &Validation<'s>,
    ) -> Option<Claims<C>> {
        let verdict = found.verdict()?;
        let route = self.core.routes.at(verdict.place())?;
        validation.claims_issuer(route.label);
        let standing = self.core.standing(verdict, route, host);
        match standing {
            Standing::Counts => telemetry::token_cache_hit(),
            Standing::Unknown => {}
            Standing::Ended => found.forget(),
            Standing::KeyGone => {
                found.forget();
                telemetry::token_cache_stale_epoch();
            }
        }
        (standing == Standing::Counts).then(|| verdict.claims().clone())
    }

    /// Asks of a token that was verified before what is never remembered.
    pub(super) fn readmit(&self, claims: Claims<C>, circumstances: &Circumstances) -> Result<Claims<C>, Rejection> {
        self.core.fits(claims.payload(), circumstances)?;
        self.application.check(claims)
    }
}

impl Core {
    /// Asks everything again that can have changed since a token was verified.
    fn standing<C: 'static>(&self, verdict: &Verdict<C>, route: Route<'_>, host: Option<&Host>) -> Standing {
        if !verdict.is_timely(self.clock.now(), self.clock.monotonic()) {
            return Standing::Ended;
        }
        let Some(issuer) = self.issuers.get(route.issuer) else { return Standing::Ended };
        match issuer.keys.at_hand(|keys, epoch| verdict.is_proven_by(keys, epoch)) {
            Some(true) if route.is_open_to(&self.hosts, host) => Standing::Counts,
            Some(false) => Standing::KeyGone,
            // Keys that cannot be used now may be used again.
            Some(true) | None => Standing::Unknown,
        }
    }

    /// A memo for one reading of the claims; none where no issuer has public keys.
    pub(super) fn memo<C: Send + Sync + 'static>(&self) -> Option<Memo<C>> {
        let is_public = |issuer: &Trusted| issuer.algorithms.iter().any(|algorithm| !algorithm.is_symmetric());
        if self.issuers.iter().any(is_public) { Memo::new(self.memo_bytes) } else { None }
    }
}
