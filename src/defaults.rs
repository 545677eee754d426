//! Every default of the crate with its reason; no other file holds such a number.

use std::time::Duration;

// ── token ──

/// Longest credential that is looked at. Auth0 tokens with a hundred permissions stay under 8 KiB, and common
/// servers cap a whole header block at 8 to 32 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Range of the cap itself: below, no real token fits; above, one request could cost megabytes.
pub(crate) const MIN_TOKEN_CAP: usize = 256;

/// See [`MIN_TOKEN_CAP`].
pub(crate) const MAX_TOKEN_CAP: usize = 1024 * 1024;

/// Longest key id. Thumbprints have 43 octets, UUIDs 36; the longest seen in the field is under 100.
pub(crate) const MAX_KID_BYTES: usize = 256;

/// Deepest nesting of header and payload. Real claims (`act` chains, `realm_access`) stay under 10.
pub(crate) const MAX_JSON_DEPTH: usize = 32;

// ── claims ──

/// Clock skew that is forgiven. Servers run NTP; 5 s covers a machine just before its correction.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);

/// Largest leeway that may be set: RFC 7519 §4.1.4 says "no more than a few minutes".
pub(crate) const MAX_LEEWAY: Duration = Duration::from_secs(300);

// ── keys ──

/// Smallest RSA modulus, RFC 7518 §3.3.
pub(crate) const MIN_RSA_BITS: usize = 2048;

/// Largest RSA modulus. Verification cost grows with the square of it: larger keys are a way to burn our time.
pub(crate) const MAX_RSA_BITS: usize = 8192;

/// Secrets, or static keys without `kid`, that are tried for one token: two during a rotation, with room to spare.
pub(crate) const MAX_CANDIDATES: usize = 4;

/// Most keys of one set. Real sets hold 1 to 10; more would let a set burn time at every refresh.
pub(crate) const MAX_KEYS: usize = 100;

/// Deepest nesting of a key set. A set needs 4 levels, and vendors' additions a few more.
pub(crate) const MAX_JWKS_DEPTH: usize = 16;

/// Shortest secret that `dangerous_short_secret` allows: the 128 bits below which guessing is thinkable.
pub(crate) const MIN_SHORT_SECRET_BYTES: usize = 16;

// ── network ──

/// Longest wait for a connection; three times the slowest handshake across an ocean.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Idle connections are dropped before load balancers usually drop them (30 to 60 s).
pub(crate) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(25);
