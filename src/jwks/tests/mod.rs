//! The source as a whole: a driver task, requests that wait, a clock that stands still, a network that was told what to
//! answer.

#![expect(clippy::arithmetic_side_effects, reason = "tests count and add freely; an overflow fails them")]

mod cold;
mod compromised;
#[cfg(all(feature = "tracing", feature = "metrics"))]
mod events;
mod guarantees;
mod hooks;
mod hostile;
pub(in crate::jwks) mod kit;
mod lifecycle;
mod unknown_kids;
mod origins;
mod random;
mod redirects;
mod refreshes;
mod revocation;
mod wire;
