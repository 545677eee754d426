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
mod jitter;
mod operation;
mod policy;
mod race;
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
pub use self::error::{NotReady, RefreshError};
pub use self::events::{KeyEvent, KeyEventKind, MissAction};
pub use self::policy::{PolicyViolation, RefreshPolicy, Start};
pub use self::refresh::RefreshCause;
pub use self::secrets::{SecretSource, SwapError};
pub(crate) use self::shared::Origin;
pub(crate) use self::snapshot::Snapshot;
pub use self::source::KeySource;
pub(crate) use self::source::View;
pub use self::status::{KeyState, KeyStatus};
pub(crate) use self::wait::Miss;
