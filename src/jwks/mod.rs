//! Key sources: fetching, caching and refreshing an issuer's keys (RFC 7517 §5, RFC 8414, OpenID Connect Discovery 1.0).
//!
//! One [`KeySource`] serves one issuer. One background task per source does all fetching: requests read a lock-free snapshot
//! and never start, own or cancel a fetch. The task refreshes keys before they are stale, with or without traffic. While the
//! issuer is unreachable, the keys stay in use for [an hour](RefreshPolicy::with_max_stale). A token with an unknown `kid`
//! triggers an immediate fetch. These fetches have their own rate limit, so that a flood of random `kid`s delays neither
//! scheduled refreshes nor known keys.
//!
//! `refresh` is a pure state machine that decides when to fetch; `driver` executes its actions.

mod absent_kids;
mod after_fetch;
mod blocked_keys;
mod cause;
mod deny_list;
mod discovery;
mod driver;
mod driver_core;
mod driver_status;
mod error;
mod events;
mod freshness;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod history;
mod jitter;
mod key_epoch;
mod key_ring;
mod key_store;
mod key_store_error;
mod mailbox;
mod operation;
mod origin;
mod policy;
mod refresh;
mod replaced_keys;
mod secrets;
mod shared;
mod snapshot;
mod source;
mod status;
mod wait;

#[cfg(test)]
mod tests;

pub(crate) use self::after_fetch::AfterFetch;
pub(crate) use self::blocked_keys::{BlockedKeys, TrimResult};
pub use self::cause::RefreshCause;
pub(crate) use self::discovery::Discovery;
pub(crate) use self::error::KeysUnavailable;
pub use self::error::{NotReadyError, RefreshError};
pub use self::events::{KeyEvent, KeyEventKind, UnknownKidAction};
pub(crate) use self::jitter::{Jitter, Rng, doubled};
pub(crate) use self::key_epoch::{KeyEpoch, RingSerial};
pub(crate) use self::key_ring::{KeyRing, KeyWaitError, WantedKey};
pub(crate) use self::key_store::TenantRecords;
pub use self::key_store::{FileKeyStore, KeyStore, KeyStoreFuture};
pub use self::key_store_error::{KeyStoreError, KeyStoreOperation};
pub(crate) use self::operation::discover_introspection_endpoint;
pub(crate) use self::origin::Origin;
pub use self::policy::{InitialFetch, RefreshPolicy, RefreshPolicyError};
pub use self::secrets::{ReplaceSecretError, SecretSource};
pub(crate) use self::shared::{Imports, StoredRecord, TenantImports};
pub use self::source::KeySource;
pub use self::status::{KeyState, KeyStatus};
