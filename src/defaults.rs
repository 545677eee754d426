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

/// Longest chain of actors. Auth0 ends a delegation after five hops; only the first actor may count in a decision.
pub(crate) const MAX_ACTORS: usize = 8;

// ── memo of verdicts ──

/// Memory for verdicts that are remembered: some thousand tokens, which is the users of one process within five minutes,
/// for less than a connection pool takes.
pub(crate) const TOKEN_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Longest time for which a verdict counts. Clients use one token for many requests within minutes; what changes without
/// trace in keys and dates must show after a time that an operator can wait for.
pub(crate) const TOKEN_CACHE_MAX_AGE: Duration = Duration::from_secs(300);

/// What it takes to keep one verdict, as counted by an allocator: the map's node, its place in two queues and in the timer
/// wheel, and two counts of references.
pub(crate) const TOKEN_CACHE_ENTRY_OVERHEAD_BYTES: usize = 370;

/// The part of the memo's memory, one in so many, for what is found without the map's notes: 256 KiB of 8 MiB, which is
/// two places for each of the 7,000 tokens that fit beside it, so that hardly one has to do without.
pub(crate) const TOKEN_CACHE_TABLE_SHARE: usize = 32;

/// And never more, as this part is taken when the validator is made: who bounds the memo by a number that is never reached
/// does not expect to pay for it.
pub(crate) const TOKEN_CACHE_MAX_TABLE_BYTES: usize = 16 * 1024 * 1024;

/// One use in so many is noted by the map, which then knows well enough what is used most. A prime: clients that take
/// turns each get theirs.
pub(crate) const TOKEN_CACHE_RECORDED_USE: u32 = 61;

/// Headers that are known without being read: one for each key that signs, and one during a rotation, of a few issuers.
pub(crate) const MAX_KNOWN_HEADERS: usize = 8;

/// Longest encoded header that is kept. Issuers write about a hundred octets; one that embeds certificates would have each
/// comparison cost what it saves.
pub(crate) const MAX_KNOWN_HEADER_BYTES: usize = 512;

/// With no room left, one in so many new headers takes the oldest's place.
pub(crate) const KNOWN_HEADER_TURN: u32 = 64;

// ── keys ──

/// Smallest RSA modulus, RFC 7518 §3.3.
pub(crate) const MIN_RSA_BITS: usize = 2048;

/// Largest RSA modulus. Verification cost grows with the square of it: larger keys are a way to burn our time.
pub(crate) const MAX_RSA_BITS: usize = 8192;

/// Secrets, or static keys without `kid`, that are tried for one token: two during a rotation, with room to spare.
pub(crate) const MAX_CANDIDATES: usize = 4;

/// Most keys of one set. Real sets hold 1 to 10; more would let a set burn time at every refresh.
pub(crate) const MAX_KEYS: usize = 100;

/// Most keys that are remembered as found under one denied id, so that an issuer that replaces the key under it at every
/// refresh does not fill the memory: ten sets of the largest size.
pub(crate) const MAX_THUMBPRINTS_PER_DENIED_KID: usize = 1000;

/// Most pairs of an id and a key that a source remembers for revocations by id: ten sets of the largest size. The oldest are
/// evicted first, those of the latest set never.
pub(crate) const MAX_KID_HISTORY: usize = 1000;

/// Most keys that a source remembers as compromised, so that an issuer that publishes new private keys at every refresh does
/// not fill the memory: ten sets of the largest size. The oldest are evicted first, those of the latest set never.
pub(crate) const MAX_COMPROMISED_KEYS: usize = 1000;

/// Most private keys that are looked for in one document, and most public ones: ten sets of the largest size.
pub(crate) const MAX_SCANNED_KEYS: usize = 1000;

/// Most values of one member that stands more than once in a key whose private half is published.
pub(crate) const MAX_SCANNED_VALUES: usize = 4;

/// Deepest nesting at which keys are looked for in a document that is not fit for a key set.
pub(crate) const MAX_SCAN_DEPTH: usize = 64;

/// Deepest nesting of a key set. A set needs 4 levels, and vendors' additions a few more.
pub(crate) const MAX_JWKS_DEPTH: usize = 16;

/// Shortest secret that `dangerous_short_secret` allows: the 128 bits below which guessing is thinkable.
pub(crate) const MIN_SHORT_SECRET_BYTES: usize = 16;

// ── network ──

/// Longest wait for a connection; three times the slowest handshake across an ocean.
#[cfg(feature = "reqwest")]
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Idle connections are dropped before load balancers usually drop them (30 to 60 s).
#[cfg(feature = "reqwest")]
pub(crate) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(25);

// ── jwks ──

/// Time between two polls of a key set. It is also how long a removed key is still accepted; with an `ETag` a poll
/// costs about 300 octets.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// The shortest period that a server may ask for, or a policy name: it bounds the load on the server. With jitter, and
/// ahead of its end, that is a poll in 40 to 51 seconds. The first refresh comes at random from here on, so that replicas
/// that started together do not come back together.
pub(crate) const REFRESH_FLOOR: Duration = Duration::from_secs(60);

/// Part of the floor that lies between two scheduled fetches at least, whatever the jitter: never three of them in a minute.
pub(crate) const LEAST_GAP_PERCENT: u8 = 51;

/// Part of the period after which the refresh starts: the last fifth is room for retries before keys turn stale.
pub(crate) const REFRESH_AHEAD_PERCENT: u8 = 80;

/// Spread of every period, so that replicas that started together drift apart.
pub(crate) const JITTER_PERCENT: u8 = 10;

/// How long keys are used after the issuer last confirmed them. It outlasts an ordinary outage of an issuer, and no
/// revoked key outlives it.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(3600);

/// Longest single exchange: far above any healthy answer, and short enough for a second one within the operation.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest operation, retry included: what a cold caller is made to wait at most.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Second attempts within one operation: one heals an idle connection that the server has closed.
pub(crate) const RETRIES: u8 = 1;

/// Time that must be left for a second attempt; less would only fail once more.
pub(crate) const RETRY_NEEDS: Duration = Duration::from_millis(1500);

/// Shortest pause before a second attempt.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause before a second attempt.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_millis(150);

/// Longest wait of a request for the first keys: as long as the operation that brings them.
pub(crate) const COLD_WAIT: Duration = Duration::from_secs(5);

/// Longest wait of a request for a key id that is not known yet; a client's own limit is seldom shorter.
pub(crate) const UNKNOWN_KID_WAIT: Duration = Duration::from_secs(2);

/// Redirects that one attempt follows where any are followed: one to a tidier path, and one more.
pub(crate) const MAX_REDIRECTS: usize = 2;

/// Pause after the first failure.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest pause between failures while keys are at hand.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Longest pause between failures while no request can be answered: the service is down and must recover fast.
pub(crate) const BACKOFF_MAX_UNAVAILABLE: Duration = Duration::from_secs(15);

/// Longest `Retry-After` that is obeyed.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Pause between two fetches for unknown key ids, while they prove fruitful.
pub(crate) const UNKNOWN_KID_COOLDOWN_MIN: Duration = Duration::from_secs(1);

/// Longest such pause: a stranger's random key ids cost at most eight fetches a minute, and while the issuer answers, a new
/// key is unknown for no longer than this and one fetch.
pub(crate) const UNKNOWN_KID_COOLDOWN_MAX: Duration = Duration::from_secs(15);

/// Time without a miss after which that pause starts from its minimum again.
pub(crate) const UNKNOWN_KID_QUIET: Duration = Duration::from_secs(60);

/// Time between two events that tell an application's hook of unknown key ids: soon enough for an alert, and a flood calls
/// it no more often than a clock does.
pub(crate) const UNKNOWN_KID_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Largest key set or discovery document. A hundred RSA-4096 keys with certificates stay below.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Bodies above this are parsed on a thread for blocking work; smaller ones take less than a millisecond.
pub(crate) const PARSE_INLINE_BYTES: usize = 64 * 1024;

/// Most requests that wait at once; each costs at most 1 KiB beside the request itself, however long its token is.
pub(crate) const MAX_WAITERS: usize = 10_000;

/// Time between two readings of a discovery document: a moved key set is a rare, announced event.
pub(crate) const DISCOVERY_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Pause after the first failed rediscovery; nothing waits for it, since the last `jwks_uri` stays in use.
pub(crate) const DISCOVERY_BACKOFF_MIN: Duration = Duration::from_secs(60);

/// Longest pause between failed rediscoveries.
pub(crate) const DISCOVERY_BACKOFF_MAX: Duration = Duration::from_secs(3600);

/// When a known key set is gone, the discovery document is read before its time, but not more often than this.
pub(crate) const DISCOVERY_RECHECK: Duration = Duration::from_secs(300);

/// A timer this late, or a wall clock that counted this much more than the monotonic one, means that the process or the
/// machine slept; the next request then wakes the driver.
pub(crate) const TIMER_SLACK: Duration = Duration::from_secs(1);

/// Shortest `Retry-After` that a client is told.
pub(crate) const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
