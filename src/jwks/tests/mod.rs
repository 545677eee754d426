//! Tests of the key source as a whole: driver task, waiting requests, a fake clock and a network with scripted replies.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails the test")]

mod absent_kids;
mod cold;
mod compromised;
#[cfg(all(feature = "tracing", feature = "metrics"))]
mod events;
mod guarantees;
mod hooks;
mod hostile;
pub(in crate::jwks) mod kit;
mod lifecycle;
mod stored;
mod unknown_kids;
mod origins;
mod random;
mod redirects;
mod refreshes;
mod reload;
mod replaced_keys;
mod revocation;
mod wire;
