//! Verifies the signature of a token with the keys of its issuer.

use std::num::NonZeroU64;

use crate::config::{EntraRule, TenantId};
use crate::jwks::KeyEpoch;
use crate::keys::{Found, KeyTable, SignedToken, VerifyingKey};
use crate::rejection::{KeyNotFoundError, Rejection};
use crate::token::{Claim, Header, Payload, UnverifiedToken};
use crate::validator::IssuerState;

/// A token whose signature is valid, and the epoch of the keys that verified it.
pub(super) struct VerifiedToken {
    pub(super) token: SignedToken,
    pub(super) epoch: KeyEpoch,
}

/// The epoch of the keys that do not verify a token; `None` if they do not include its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedEpoch(pub(super) Option<NonZeroU64>);

/// The tenant of a token of Entra ID.
#[derive(Clone, Copy)]
struct Tenant<'s> {
    entra: &'s EntraRule,
    /// `None` if `iss` is not that of a tenant; then no key is used.
    id: Option<TenantId>,
}

impl IssuerState {
    /// Verifies the signature with the current keys. Returns the epoch of these keys if no keys are usable, or if another key set may
    /// have the key.
    pub(super) fn verify_now(
        &self,
        token: UnverifiedToken<'_>,
    ) -> Result<Result<VerifiedToken, Rejection>, FailedEpoch> {
        let has_kid = token.header().key_id().kid.is_some();
        let verify = |keys: &KeyTable, epoch: KeyEpoch| (self.verify(token, keys, epoch), epoch);
        match self.keys.with_usable_keys(verify) {
            None => Err(FailedEpoch(None)),
            Some((Err(Rejection::Key(KeyNotFoundError::Unknown { .. })), _)) if self.keys.may_fetch() => {
                Err(FailedEpoch(None))
            }
            Some((Err(rejection), epoch))
                if may_need_replaced_key(&rejection, has_kid) && self.keys.may_be_replaced() =>
            {
                Err(FailedEpoch(NonZeroU64::new(epoch.number)))
            }
            Some((verified, _)) => Ok(verified),
        }
    }

    /// Verifies the signature with the keys that match the token's `kid` and algorithm.
    pub(super) fn verify(
        &self,
        token: UnverifiedToken<'_>,
        keys: &KeyTable,
        epoch: KeyEpoch,
    ) -> Result<VerifiedToken, Rejection> {
        let candidates = self.candidates(keys, token.header(), token.payload())?;
        match SignedToken::verify(token, candidates) {
            Ok(token) => Ok(VerifiedToken { token, epoch }),
            Err(_) => Err(Rejection::Signature),
        }
    }

    /// Returns the keys that match the `kid` and algorithm of a header and belong to the tenant of the token.
    pub(super) fn candidates<'k>(
        &'k self,
        keys: &'k KeyTable,
        header: &Header,
        payload: &Payload,
    ) -> Result<impl Iterator<Item = &'k VerifyingKey> + use<'k>, Rejection> {
        let tenant = self.tenant(payload);
        let is_of_tenant = move |key: &&VerifyingKey| tenant.is_none_or(|tenant| tenant.owns(key));
        match keys.find(header.key_id(), header.algorithm()) {
            Found::Keys(candidates) if tenant.is_some() && !candidates.clone().any(|key| is_of_tenant(&key)) => {
                Err(Rejection::Key(KeyNotFoundError::OtherTenant))
            }
            Found::Keys(candidates) => Ok(candidates.filter(is_of_tenant)),
            Found::NotForVerification => Err(Rejection::Key(KeyNotFoundError::NotForVerification)),
            Found::Ambiguous => Err(Rejection::Key(KeyNotFoundError::Ambiguous)),
            Found::Unknown => Err(Rejection::Key(KeyNotFoundError::Unknown { age: self.keys.age() })),
        }
    }

    /// Returns the tenant of a token, if the issuer stands for the tenants of Entra ID.
    fn tenant(&self, payload: &Payload) -> Option<Tenant<'_>> {
        let entra = self.entra.as_ref()?;
        Some(Tenant { entra, id: payload.text(Claim::Iss).ok().and_then(|issuer| entra.tenant_of(issuer)) })
    }
}

impl Tenant<'_> {
    /// Returns whether a key is published for this tenant, or for all.
    fn owns(&self, key: &VerifyingKey) -> bool {
        self.id.as_ref().is_some_and(|id| self.entra.allows_key(key.issuer(), id))
    }
}

/// Returns whether the issuer may have replaced the key of a rejected token and kept its `kid`, if it has one. A key that is
/// published with the token's `kid` for another algorithm or use is the right key, so no fetch is due.
fn may_need_replaced_key(rejection: &Rejection, has_kid: bool) -> bool {
    match rejection {
        Rejection::Signature => true,
        Rejection::Key(KeyNotFoundError::NotForVerification | KeyNotFoundError::Ambiguous) => !has_kid,
        _ => false,
    }
}
