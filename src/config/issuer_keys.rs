//! `IssuerKeys`: the keys of an issuer, bound to its algorithms.

use crate::config::error::{SettingErrorKind, SettingErrors, numbered};
use crate::jwks::{Origin, ReplaceSecretError, SecretSource};
use crate::keys::{self, KeyError, KeySet, KeyTable, Secret, SecretError, SkippedKey};
use crate::token::Algorithm;

/// The origin of an issuer's keys.
#[derive(Clone, Debug)]
pub(crate) enum IssuerKeys {
    /// Keys that are fetched and refreshed.
    Remote {
        origin: Origin,
        /// The keys that are used until the first fetch has succeeded.
        initial_keys: Option<KeyTable>,
    },
    /// Static public keys or secrets.
    Static(KeyTable),
    /// Secrets that the application can replace.
    SecretSource(SecretSource),
}

/// Binds the initial keys. They are checked like fetched keys: a key whose private key is in the same set is not used.
pub(super) fn bind_initial(
    setting: &str,
    set: &Result<KeySet, KeyError>,
    algorithms: &[Algorithm],
    errors: &mut SettingErrors,
) -> Option<KeyTable> {
    let set = set.as_ref().map_err(|error| errors.push(setting, SettingErrorKind::Keys(*error))).ok()?;
    let set = set.clone().without_compromised(|thumbprint| set.private_thumbprints().contains(thumbprint));
    let table = set.bind(algorithms, keys::KeyOrigin::Remote);
    if table.usable() == 0 {
        let skipped = set.skipped().next().map(SkippedKey::reason);
        errors.push(setting, SettingErrorKind::NoUsableKey { skipped });
    }
    Some(table)
}

pub(super) fn bind_static(
    setting: &str,
    set: &Result<KeySet, KeyError>,
    algorithms: &[Algorithm],
    errors: &mut SettingErrors,
) -> Option<IssuerKeys> {
    let set = set.as_ref().map_err(|error| errors.push(setting, SettingErrorKind::Keys(*error))).ok()?;
    let table = set.bind(algorithms, keys::KeyOrigin::Static);
    if table.usable() == 0 {
        let skipped = set.skipped().next().map(SkippedKey::reason);
        errors.push(setting, SettingErrorKind::NoUsableKey { skipped });
    }
    if table.exceeds_candidate_limit() {
        errors.push(setting, SettingErrorKind::TooManyKeys);
    }
    Some(IssuerKeys::Static(table))
}

pub(super) fn bind_secrets(
    setting: &str,
    secrets: &[Result<Secret, SecretError>],
    algorithms: &[Algorithm],
    errors: &mut SettingErrors,
) -> Option<IssuerKeys> {
    let mut keys = Vec::new();
    for (at, secret) in secrets.iter().enumerate() {
        let one = numbered(setting, at, secrets.len());
        for algorithm in algorithms.iter().filter(|algorithm| algorithm.is_symmetric()) {
            match secret.as_ref().map_err(SecretError::clone).and_then(|secret| secret.bind(*algorithm)) {
                Ok(key) => keys.push(key),
                Err(error) => errors.push(&one, SettingErrorKind::Secret(error)),
            }
        }
    }
    let table = KeyTable::from_secrets(keys);
    if table.exceeds_candidate_limit() {
        errors.push(setting, SettingErrorKind::TooManyKeys);
    }
    Some(IssuerKeys::Static(table))
}

pub(super) fn bind_source(
    setting: &str,
    source: &SecretSource,
    algorithms: &[Algorithm],
    errors: &mut SettingErrors,
) -> Option<IssuerKeys> {
    match source.serve(algorithms) {
        Ok(()) => {}
        Err(ReplaceSecretError::Secret(error)) => errors.push(setting, SettingErrorKind::Secret(error)),
        Err(ReplaceSecretError::TooMany) => errors.push(setting, SettingErrorKind::TooManyKeys),
        Err(ReplaceSecretError::None) => errors.push(setting, SettingErrorKind::Empty),
    }
    Some(IssuerKeys::SecretSource(source.clone()))
}
