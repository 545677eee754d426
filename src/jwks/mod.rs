//! Where keys come from, and when they are renewed (RFC 7517 §5, RFC 8414, OpenID Connect Discovery 1.0).
//!
//! One [`KeySource`] serves one issuer. A task of its own is the only one that fetches: requests read a snapshot
//! without a lock and never own, carry or cancel a fetch. Keys are renewed before they grow old, whether or not there
//! is traffic; when the issuer cannot be reached they stay in use for [an hour](RefreshPolicy::with_max_stale). A token
//! with an unknown key id brings the next set at once, within a budget that strangers cannot spend for others.
//!
//! What happens in time is decided by a pure state machine, `refresh`; `driver` carries it out.

mod deny_list;
mod discovery;
mod driver;
mod error;
mod events;
mod freshness;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod history;
mod jitter;
mod operation;
mod policy;
mod timeout;
mod redirect;
mod refresh;
mod secrets;
mod shared;
mod snapshot;
mod source;
mod status;
mod wait;

#[cfg(test)]
mod tests;

pub(crate) use self::error::KeysUnavailable;
pub use self::error::{NotReadyError, RefreshError};
pub use self::events::{KeyEvent, KeyEventKind, UnknownKidAction};
pub use self::policy::{InitialFetch, RefreshPolicy, RefreshPolicyError};
pub use self::refresh::RefreshCause;
pub use self::secrets::{ReplaceSecretError, SecretSource};
pub(crate) use self::shared::Origin;
pub(crate) use self::snapshot::Snapshot;
pub use self::source::KeySource;
pub(crate) use self::source::View;
pub use self::status::{KeyState, KeyStatus};
pub(crate) use self::wait::UnknownKid;
