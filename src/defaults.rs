//! The defaults and limits of configuration, tokens, documents and fetches, each with its reason.

use std::ops::RangeInclusive;
use std::time::Duration;

// ── token ──

/// Longest credential that is parsed. Auth0 tokens with a hundred permissions are below 8 KiB, and common servers limit a
/// whole header block to 8 to 32 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Smallest configurable limit for a token: no real token fits into less.
pub(crate) const MIN_TOKEN_CAP: usize = 256;

/// Largest configurable limit for a token: with more, one request could cost megabytes.
pub(crate) const MAX_TOKEN_CAP: usize = 1024 * 1024;

/// Longest `kid`. Thumbprints have 43 bytes, UUIDs 36. The longest one seen in practice has fewer than 100.
pub(crate) const MAX_KID_BYTES: usize = 256;

/// Deepest nesting of header and payload. Real claims (`act` chains, `realm_access`) have fewer than 10 levels.
pub(crate) const MAX_JSON_DEPTH: usize = 32;

// ── proofs ──

/// Longest proof that is decoded. A proof with an RSA key of 4096 bits has 2.5 KB.
pub(crate) const MAX_PROOF_BYTES: usize = 4 * 1024;

/// Longest `jti` of a proof. A UUID has 36 bytes.
pub(crate) const MAX_PROOF_JTI_BYTES: usize = 256;

/// How long a proof is valid. RFC 9449 §11.1 says "seconds or minutes".
pub(crate) const PROOF_LIFETIME: Duration = Duration::from_secs(60);

/// Largest configurable lifetime of a proof. A longer one gives an attacker with a stolen proof more time.
pub(crate) const MAX_PROOF_LIFETIME: Duration = Duration::from_secs(300);

/// Clock skew that is tolerated between client and server. The clocks of phones are tens of seconds off, those of servers are not.
/// FAPI 2.0 requires at least 10 s, and at most 60 s into the future.
pub(crate) const PROOF_LEEWAY: Duration = Duration::from_secs(30);

/// Largest configurable leeway of a proof: FAPI 2.0 §5.3.2.1.
pub(crate) const MAX_PROOF_LEEWAY: Duration = Duration::from_secs(60);

/// Memory of the detection of replayed proofs: 26,000 requests per second with the default lifetime, more than two cores can verify.
pub(crate) const REPLAY_BYTES: usize = 48 * 1024 * 1024;

/// How long a request waits for a replay store outside of this process. One in the same network responds within milliseconds.
pub(crate) const REPLAY_TIMEOUT: Duration = Duration::from_millis(50);

/// Longest configurable wait. A client has given up by then.
pub(crate) const MAX_REPLAY_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest time between two log lines about a failed replay store.
pub(crate) const REPLAY_FAILURE_LOG_SECONDS: i64 = 60;

/// Shortest configurable memory: one period of the detection then has room for a few hundred proofs.
pub(crate) const MIN_REPLAY_BYTES: usize = 64 * 1024;

// ── stores ──

/// How long a command waits for the response of Redis. In one data center it takes a millisecond.
#[cfg(feature = "redis")]
pub(crate) const REDIS_TIMEOUT: Duration = Duration::from_millis(500);

/// The configurable times for a response.
#[cfg(feature = "redis")]
pub(crate) const REDIS_TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);

/// Longest time to open a connection to Redis, with TLS, login and the check of its settings.
#[cfg(feature = "redis")]
pub(crate) const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two commands that try whether Redis responds again.
#[cfg(feature = "redis")]
pub(crate) const REDIS_PAUSE: Duration = Duration::from_secs(1);

/// Commands that are queued for one connection. More of them wait until there is room.
#[cfg(feature = "redis")]
pub(crate) const REDIS_QUEUED_COMMANDS: usize = 1_024;

/// Most commands that wait for a response at the same time. Each takes a few kilobytes.
#[cfg(feature = "redis")]
pub(crate) const REDIS_MAX_WAITING: usize = 10_000;

/// How much longer than a proof is valid its record in another store lasts, because the clocks of processes differ: as for `exp`.
#[cfg(feature = "redis")]
pub(crate) const REPLAY_CLOCK_SKEW: Duration = Duration::from_secs(5);

// ── revocation ──

/// Most entries of a list of revocations: 278 new ones in each second, if tokens live for an hour. They take 12 MB.
pub(crate) const MAX_REVOCATIONS: usize = 1_000_000;

/// The configurable numbers of entries.
pub(crate) const REVOCATIONS_RANGE: RangeInclusive<usize> = 1_000..=50_000_000;

/// Longest life of a token for which an entry lasts, if no end is set: the default of Auth0.
pub(crate) const MAX_TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The configurable lives of a token: 30 days is the longest that Auth0 allows.
pub(crate) const TOKEN_LIFE_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 86_400);

/// Longest name of a claim that revocations compare with subjects. Each of them is looked up in every token.
pub(crate) const MAX_SUBJECT_CLAIM_BYTES: usize = 64;

/// How long a read of the log waits for an entry. A connection that is dead is noticed after this time and [`LOG_READ_SLACK`].
pub(crate) const LOG_WAIT: Duration = Duration::from_secs(5);

/// Time after the wait in which the log must have responded.
pub(crate) const LOG_READ_SLACK: Duration = Duration::from_secs(3);

/// Most entries of one read. They take some 300 KB while they are read.
pub(crate) const LOG_PAGE: usize = 1_000;

/// Time between two reads of a log that does not wait.
pub(crate) const LOG_POLL: Duration = Duration::from_secs(1);

/// Pause after the first failed read; each further failure doubles it. A server that restarts is followed again within a second.
pub(crate) const LOG_BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest pause after a failed read.
pub(crate) const LOG_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Time after which an append counts as failed. A request for a logout waits for it.
pub(crate) const LOG_APPEND_LIMIT: Duration = Duration::from_secs(2);

/// Shortest time between two appends while they fail, also if there are new entries.
pub(crate) const LOG_APPEND_PAUSE: Duration = Duration::from_secs(1);

/// Pause after the first failed append, at most; each further failure doubles it. Half of it is the shortest pause.
pub(crate) const LOG_APPEND_BACKOFF_MIN: Duration = Duration::from_secs(2);

/// Longest pause after a failed append. Once a read succeeds, the next append follows within [`LOG_APPEND_PAUSE`].
pub(crate) const LOG_APPEND_BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long an entry that the log has stored is kept, to append it again if the log loses it. It is longer than a failover. Time in which
/// no read succeeds does not count.
pub(crate) const LOG_REAPPEND_WINDOW: Duration = Duration::from_secs(300);

/// How often an entry that the log has lost is appended again, at most. A log that loses entries again and again does not grow without
/// a limit.
pub(crate) const LOG_MAX_REAPPENDS: u8 = 3;

/// Most entries that are kept for this. They take some 3 MB.
pub(crate) const MAX_KEPT_REVOCATIONS: usize = 10_000;

/// Most entries of one append.
pub(crate) const LOG_BATCH: usize = 500;

/// Most entries that wait to be appended. They take some 30 MB.
pub(crate) const MAX_PENDING_REVOCATIONS: usize = 100_000;

/// Time without a successful read of the log after which an operator is warned.
pub(crate) const REVOCATIONS_DEGRADED: Duration = Duration::from_secs(30);

/// Time without a successful read of the log after which requests are rejected. It is longer than a failover.
pub(crate) const REVOCATIONS_MAX_STALE: Duration = Duration::from_secs(300);

/// The configurable times. A log in which nothing happens is read every five seconds, so a shorter time has no meaning.
pub(crate) const REVOCATIONS_MAX_STALE_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 3600);

// ── signals ──

/// Longest body of a logout request. A logout token has 1 KB.
pub(crate) const MAX_LOGOUT_BYTES: usize = 32 * 1024;

/// How long a logout token is accepted after its `iat`. Issuers send it at once, and retry within minutes if at all.
pub(crate) const MAX_LOGOUT_TOKEN_AGE: Duration = Duration::from_secs(300);

// ── claims ──

/// Clock skew that is tolerated. Servers run NTP; 5 s covers a machine just before NTP corrects its clock.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);

/// Largest configurable leeway: RFC 7519 §4.1.4 says "no more than a few minutes".
pub(crate) const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// Longest chain of actors (RFC 8693 §4.1). Auth0 ends a delegation after five hops. Only the first actor may be used for
/// access control.
pub(crate) const MAX_ACTORS: usize = 8;

// ── token cache ──

/// Memory of the token cache. It is enough for some thousand tokens, which covers the users of one process within five
/// minutes, and it is less than a connection pool takes.
pub(crate) const TOKEN_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Longest time for which a cache entry is valid, unless an answer of a server may be used for longer in an outage. Clients use one
/// token for many requests within minutes. A change that neither the keys nor the dates of the token show takes effect after this
/// time at the latest.
pub(crate) const TOKEN_CACHE_MAX_AGE: Duration = Duration::from_secs(300);

/// Memory of one cache entry besides its data, as measured with a counting allocator: the fingerprint, and the reference counts and
/// rounding of two allocations. An entry with an answer of a server has two more, and counts this twice.
pub(crate) const TOKEN_CACHE_ENTRY_OVERHEAD_BYTES: usize = 64;

/// Most names of an issuer for which a cache entry stores digests for the list of revocations. Each takes 48 bytes, and an entry about
/// 1 KB, so the cache has room for at most a third fewer tokens.
pub(crate) const MAX_STORED_ISSUER_NAMES: usize = 8;

/// One part in this many of the cache's memory goes to its slots of 16 bytes: one for each 512 bytes of the limit. An entry
/// takes about twice as much, so nearly every set has room for another entry until the limit is reached.
pub(crate) const TOKEN_CACHE_TABLE_SHARE: usize = 32;

/// Largest memory of the slots. They are allocated when the validator is built; entries take memory only when they are
/// stored. The limit keeps a very large cache limit from allocating memory that is never used.
pub(crate) const TOKEN_CACHE_MAX_TABLE_BYTES: usize = 16 * 1024 * 1024;

/// Parsed headers that are cached: one for each signing key of a few issuers, and one more during a rotation.
pub(crate) const MAX_KNOWN_HEADERS: usize = 8;

/// Longest encoded header that is cached. Headers of issuers have about a hundred bytes. To compare a header that embeds
/// certificates costs as much as to parse it.
pub(crate) const MAX_KNOWN_HEADER_BYTES: usize = 512;

/// If the header cache is full, one new header in this many replaces the oldest entry.
pub(crate) const KNOWN_HEADER_TURN: u32 = 64;

// ── introspection ──

/// How long a positive answer is used. Who introspects wants revocations to take effect, and the requests of one page cost one call.
pub(crate) const INTROSPECTION_TTL: Duration = Duration::from_secs(30);

/// Longest configurable use of a positive answer: as long as an entry of the token cache.
pub(crate) const INTROSPECTION_MAX_TTL: Duration = TOKEN_CACHE_MAX_AGE;

/// How long a negative answer is used: for retries with a dead token. It is short, because a replica of the server may not know a new
/// token yet.
pub(crate) const INTROSPECTION_NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// Longest configurable use of a negative answer.
pub(crate) const INTROSPECTION_MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60);

/// Longest configurable time for which an earlier answer is used during an outage.
pub(crate) const INTROSPECTION_MAX_GRACE: Duration = Duration::from_secs(3600);

/// Percentage of the life of an answer after which a request starts the next call in the background.
pub(crate) const INTROSPECTION_REFRESH_PERCENT: u32 = 80;

/// Longest time for one call. A request waits for it.
pub(crate) const INTROSPECTION_TIMEOUT: Duration = Duration::from_secs(3);

/// Shortest configurable timeout of a call.
pub(crate) const INTROSPECTION_MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Longest configurable timeout of a call. Clients seldom wait longer for a response.
pub(crate) const INTROSPECTION_MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// Percentage of the timeout after which a call without a response counts as a timeout for a request that joined it or waited in the
/// queue. The first request of a call starts to wait a moment before the call is sent.
pub(crate) const INTROSPECTION_TIMEOUT_PERCENT: u32 = 90;

/// Most concurrent calls to one server. It bounds the load that random tokens cause there.
pub(crate) const INTROSPECTION_MAX_CALLS: usize = 64;

/// Largest configurable number of concurrent calls.
pub(crate) const INTROSPECTION_LIMIT_OF_CALLS: usize = 10_000;

/// Largest answer. A thousand scopes fit.
pub(crate) const INTROSPECTION_MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Smallest configurable limit for an answer.
pub(crate) const INTROSPECTION_MIN_ANSWER_CAP: usize = 1024;

/// Largest configurable limit for an answer.
pub(crate) const INTROSPECTION_MAX_ANSWER_CAP: usize = 1024 * 1024;

/// Longest `Retry-After` of an introspection endpoint that is honored. Requests wait for it, so it is shorter than for keys.
pub(crate) const INTROSPECTION_RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Longest age of a signed answer. It was made for this call, so only the clocks can differ.
pub(crate) const SIGNED_ANSWER_MAX_AGE: Duration = Duration::from_secs(60);

/// Shortest opaque token that is introspected. A shorter one could be guessed.
pub(crate) const MIN_OPAQUE_TOKEN_BYTES: usize = 8;

/// Longest opaque token that is introspected. The longest ones have about 2 KB.
pub(crate) const MAX_OPAQUE_TOKEN_BYTES: usize = 4 * 1024;

/// Most tokens that are known to be inactive. Each takes less than 200 bytes.
pub(crate) const MAX_INACTIVE_TOKENS: u64 = 4_096;

/// Most tokens whose evictions by the application are known one by one.
pub(crate) const MAX_EVICTED_TOKENS: usize = 4_096;

/// How long an eviction is known: longer than a call takes, so no answer from before it is stored later.
pub(crate) const EVICTION_RETENTION: Duration = Duration::from_secs(300);

/// Most signed tokens that are known to be revoked, for the time in which tokens are accepted without an answer. Each takes less than
/// 200 bytes.
pub(crate) const MAX_REVOKED_TOKENS: u64 = 16_384;

/// How long it is known that a signed token is revoked. Most access tokens are valid for a day or less.
pub(crate) const REVOKED_TOKEN_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// How long it is known that a token was inactive: longer than any answer is used, grace included.
pub(crate) const INACTIVE_TOKEN_RETENTION: Duration = Duration::from_secs(3600 + 300);

/// Memory for positive answers about tokens that the API rejects, for example because they are for another API.
pub(crate) const REJECTED_ANSWER_BYTES: u64 = 1024 * 1024;

/// Failures in a row after which a probe decides whether calls stop.
pub(crate) const BREAKER_FAILURES: u32 = 5;

/// Pause after the first failed probe, and the shortest time between two probes that succeed.
pub(crate) const BREAKER_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause between two probes while the server does not answer.
pub(crate) const BREAKER_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Most unknown tokens that are introspected after one pause while it is not known what probes show: enough that a flood of bad tokens
/// does not use up all attempts, and few enough that a server with a wrong secret is not flooded.
pub(crate) const BREAKER_ATTEMPTS: usize = 4;

/// Most tokens that leave the attempts after a pause to others, because their own have failed.
pub(crate) const BREAKER_FAILED_TOKENS: usize = 16;

/// How long after a rate limit unknown tokens are introspected one at a time, so that a flood of them does not cause the next limit at
/// once.
pub(crate) const RATE_LIMIT_RECOVERY: Duration = Duration::from_secs(60);

/// For how long an answer shows that the server works, so that failed calls do not stop others. Requests of one client fail meanwhile
/// without harm to others; an outage is noticed this much later.
pub(crate) const BREAKER_TRUST: Duration = Duration::from_secs(10);

/// How long it is known that a server refuses probes while it answers about tokens. Such a server behaves so until it is replaced.
pub(crate) const PROBE_COMPARISON_LIFETIME: Duration = Duration::from_secs(3600);

// ── keys ──

/// Smallest RSA modulus, RFC 7518 §3.3.
pub(crate) const MIN_RSA_BITS: usize = 2048;

/// Largest RSA modulus. The cost of a verification grows with its square, so larger keys are a denial-of-service risk.
pub(crate) const MAX_RSA_BITS: usize = 8192;

/// Largest RSA modulus of a key that a client chooses. A verification costs four times as much as with 2048 bits.
pub(crate) const MAX_PROOF_RSA_BITS: usize = 4096;

/// Most keys that are tried for one token: those with its `kid`, and secrets or static keys without one. A rotation needs two.
pub(crate) const MAX_CANDIDATES: usize = 4;

/// Most keys in one set. Real sets have 1 to 10 keys. Each key costs time at every refresh.
pub(crate) const MAX_KEYS: usize = 100;

/// Most thumbprints that are stored for one denied `kid`: those of ten sets of the largest size. The limit bounds the memory
/// if an issuer replaces the key of that `kid` at every refresh.
pub(crate) const MAX_THUMBPRINTS_PER_DENIED_KID: usize = 1000;

/// Most pairs of `kid` and key that a source stores, so that a revoked `kid` also revokes earlier keys: those of ten sets of
/// the largest size. The oldest pairs are evicted first, those of the latest set never.
pub(crate) const MAX_KID_HISTORY: usize = 1000;

/// Most compromised keys that a source stores: those of ten sets of the largest size. The limit bounds the memory if an issuer
/// publishes new private keys at every refresh. The oldest keys are evicted first, those of the latest set never.
pub(crate) const MAX_COMPROMISED_KEYS: usize = 1000;

/// Most compromised keys of tenants that are not in use, for all of them. They take some 60 bytes each.
pub(crate) const MAX_UNUSED_COMPROMISED_KEYS: usize = 10_000;

/// Most private keys that the scan of one document returns, and most public keys: those of ten sets of the largest size.
pub(crate) const MAX_SCANNED_KEYS: usize = 1000;

/// Most values that the scan reads of a member that is present more than once in one key. Each combination of values has its
/// own thumbprint.
pub(crate) const MAX_SCANNED_VALUES: usize = 4;

/// Deepest nesting at which the scan of a document finds keys. The document need not be a key set.
pub(crate) const MAX_SCAN_DEPTH: usize = 64;

/// Deepest nesting of a key set. A set needs 4 levels, and vendors' additions a few more.
pub(crate) const MAX_JWKS_DEPTH: usize = 16;

/// Shortest secret that `dangerous_short_secret` allows: with fewer than 128 bits, guessing is feasible.
pub(crate) const MIN_SHORT_SECRET_BYTES: usize = 16;

// ── network ──

/// Longest time to open a connection: three times the slowest handshake across an ocean.
#[cfg(feature = "reqwest")]
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time after which an idle connection is closed: before load balancers usually close it (30 to 60 s).
#[cfg(feature = "reqwest")]
pub(crate) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(25);

/// Most idle connections to one host. Keys need one. An introspection endpoint that answers within 10 ms serves 800 tokens a second
/// over this many.
#[cfg(feature = "reqwest")]
pub(crate) const POOL_MAX_IDLE: usize = 8;

// ── jwks ──

/// Time between two scheduled fetches of a key set. A key that the issuer has removed is accepted for up to this time. With
/// an `ETag`, a fetch costs about 300 bytes.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// Shortest refresh interval that a `Cache-Control` header or a policy can set. It bounds the load on the issuer. A refresh
/// starts before the end of the interval and with jitter, so this is one fetch every 40 to 51 seconds. The first refresh comes
/// at a random time from this interval on, so that replicas that start together do not refresh together.
pub(crate) const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// Shortest time between two scheduled fetches, in percent of the shortest interval, whatever the jitter: there are never
/// three scheduled fetches within a minute.
pub(crate) const LEAST_GAP_PERCENT: u8 = 51;

/// Percentage of the interval after which the refresh starts. The last fifth leaves time for retries before keys are stale.
pub(crate) const REFRESH_AHEAD_PERCENT: u8 = 80;

/// Jitter of every interval, in percent, so that replicas that start together do not stay synchronized.
pub(crate) const JITTER_PERCENT: u8 = 10;

/// How long keys are used after the issuer last confirmed them. It is longer than an ordinary outage of an issuer, and it is
/// the longest time for which a revoked key is accepted.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(3600);

/// Timeout of one attempt: far longer than any healthy response takes, and short enough for a second attempt within the
/// operation.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of one operation, retries included: the longest time that a request waits for the first keys.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Retries within one operation: one is enough if the server has closed an idle connection.
pub(crate) const RETRIES: u8 = 1;

/// Time that must be left for a retry. With less, the retry would time out as well.
pub(crate) const RETRY_NEEDS: Duration = Duration::from_millis(1500);

/// Shortest pause before a retry.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause before a retry.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_millis(150);

/// Longest time that a request waits for the first keys: the timeout of the operation that fetches them.
pub(crate) const COLD_WAIT: Duration = Duration::from_secs(5);

/// Longest time that a request waits for an unknown kid. The timeout of a client is seldom shorter.
pub(crate) const UNKNOWN_KID_WAIT: Duration = Duration::from_secs(2);

/// Most redirects that one attempt follows, if redirects are allowed: one to a normalized path, and one more.
pub(crate) const MAX_REDIRECTS: usize = 2;

/// Backoff after the first failure.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest backoff while there are usable keys.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Longest backoff while there are no usable keys: every request is rejected, so recovery must be fast.
pub(crate) const BACKOFF_MAX_UNAVAILABLE: Duration = Duration::from_secs(15);

/// Longest `Retry-After` of an issuer that is honored.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Shortest cool-down between two fetches for unknown kids. It applies while these fetches find new keys.
pub(crate) const UNKNOWN_KID_COOLDOWN_MIN: Duration = Duration::from_secs(1);

/// Longest cool-down. Random unknown kids of an attacker cause at most eight fetches a minute. While the issuer responds, a
/// new key is unknown for at most this time plus one fetch.
pub(crate) const UNKNOWN_KID_COOLDOWN_MAX: Duration = Duration::from_secs(15);

/// Time without an unknown kid after which the cool-down is reset to its minimum.
pub(crate) const UNKNOWN_KID_QUIET: Duration = Duration::from_secs(60);

/// Most unknown kids that a source remembers, so that a client that keeps sending one does not delay a new key. With fewer than
/// 400 bytes each, they take at most 400 KiB. Old clients of one issuer use a few old keys.
pub(crate) const MAX_ABSENT_KIDS: u64 = 1024;

/// Time without a token after which such a kid is forgotten. After one minute, each token of a client that sends one every two
/// minutes would count as new and start a cool-down, so a few such clients would delay a new key. A longer memory costs nothing:
/// a remembered kid delays its own key by at most one cool-down, however long it is remembered.
pub(crate) const ABSENT_KID_IDLE: Duration = Duration::from_secs(600);

/// Shortest time between two fetches for signatures that no key verifies, which everyone can send. A restarted issuer with
/// another key for the same `kid` is served again at once, and an attacker can delay this by at most one such interval.
pub(crate) const INVALID_SIGNATURE_INTERVAL: Duration = Duration::from_secs(60);

/// Shortest time between two calls of the event hook for unknown kids. It is short enough for an alert, and a flood of
/// unknown kids does not call the hook more often.
pub(crate) const UNKNOWN_KID_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Largest key set or discovery document. A hundred RSA-4096 keys with certificates are below it.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Bodies larger than this are parsed on a blocking thread. Smaller ones are parsed in less than a millisecond.
pub(crate) const PARSE_INLINE_BYTES: usize = 64 * 1024;

/// Most requests that wait at the same time. Each costs at most 1 KiB besides the request, whatever the length of its token.
pub(crate) const MAX_WAITERS: usize = 10_000;

/// Time after which a key store that does not respond counts as failed. A local file takes a few milliseconds.
pub(crate) const KEY_STORE_TIMEOUT: Duration = Duration::from_millis(500);

/// Time after which a save that has not ended is dropped if another one is due. Long enough for a slow file system, so that it
/// does not overwrite the record of a later one.
pub(crate) const KEY_STORE_SAVE_LIMIT: Duration = Duration::from_secs(60);

/// What a stored key set may be longer than the largest document: issuer, URL, and the names of its members.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 16 * 1024;

/// Time between two fetches of a discovery document. A new `jwks_uri` is rare and announced.
pub(crate) const DISCOVERY_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Backoff after the first failed fetch of a known discovery document. No request waits for it, since the last `jwks_uri`
/// stays in use. Half of it is the shortest pause.
pub(crate) const DISCOVERY_BACKOFF_MIN: Duration = Duration::from_secs(120);

/// Longest backoff between such fetches.
pub(crate) const DISCOVERY_BACKOFF_MAX: Duration = Duration::from_secs(3600);

/// If no fetch of the key set succeeds, the discovery document is fetched early, but not more often than this.
pub(crate) const DISCOVERY_RECHECK: Duration = Duration::from_secs(300);

/// If the server says that the key set is no longer at its URL, the discovery document is fetched at once, but not more often
/// than this: valid tokens are rejected until the new URL is known.
pub(crate) const DISCOVERY_RECHECK_MOVED: Duration = Duration::from_secs(60);

/// If a timer is this late, or the wall clock has advanced this much more than the monotonic clock, then the process or the
/// machine was suspended. The next request then wakes the driver.
pub(crate) const TIMER_SLACK: Duration = Duration::from_secs(1);

/// Shortest `Retry-After` that is sent to a client.
pub(crate) const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// Time between two calls of the source of custom domains. A removed domain is accepted for up to this time, as a removed key is.
pub(crate) const CUSTOM_DOMAINS_INTERVAL: Duration = Duration::from_secs(300);

/// Time after which a call of that source counts as failed. It is a query of a database.
pub(crate) const CUSTOM_DOMAINS_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after the first failed call; each further failure doubles it.
pub(crate) const CUSTOM_DOMAINS_BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest pause after a failed call.
pub(crate) const CUSTOM_DOMAINS_BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Time for which custom domains stay in use while the calls fail, as long as keys do.
pub(crate) const CUSTOM_DOMAINS_MAX_STALE: Duration = Duration::from_secs(3600);

/// Most custom domains of one tenant. They take some 100 bytes each.
pub(crate) const MAX_CUSTOM_DOMAINS: usize = 10_000;

/// Most tenants that are known at a time. An API with a realm for each customer has hundreds.
pub(crate) const MAX_TENANTS: usize = 1_000;

/// The configurable numbers of tenants. 100,000 take 1 GB, and 9 GB if each has had a token with an unknown `kid`.
pub(crate) const MAX_TENANTS_RANGE: RangeInclusive<usize> = 1..=100_000;

/// One tenant for this many may be one whose keys have not verified a token yet. With the other defaults, it is evicted after 12 s,
/// and its keys are fetched within 5 s.
pub(crate) const UNPROVEN_TENANT_SHARE: usize = 8;

/// If that share is small, so many seconds pass before other new tenants evict one. Its keys are fetched within 5 s.
pub(crate) const UNPROVEN_TENANT_SECONDS: usize = 6;

/// Most tenants whose keys have not verified a token yet, if their share is smaller. They take 0.6 MB, and at most 6 MB.
pub(crate) const MAX_UNPROVEN_TENANTS_BY_RATE: usize = 64;

/// Tenants that are added in one second. A client that names many tenants cannot cause more requests to their servers.
pub(crate) const NEW_TENANTS_PER_SECOND: u32 = 10;

/// So many times more idle tenants than new ones may be added in one second: their servers are known, but anyone can name them.
pub(crate) const RETURNING_TENANT_FACTOR: u32 = 10;

/// Time after which a tenant is idle again if it was looked up for a token, and its keys have verified none.
pub(crate) const RETURNED_TENANT_LIMIT: Duration = Duration::from_secs(300);

/// The configurable numbers of tenants that are added in one second.
pub(crate) const NEW_TENANTS_PER_SECOND_RANGE: RangeInclusive<u32> = 1..=1_000;

/// Longest `iss` that is passed to the predicate of tenants. Real ones have fewer than 150 bytes.
pub(crate) const MAX_TENANT_ISSUER_BYTES: usize = 512;

/// Time after which a call of the resolver of tenants counts as failed. It is a query of a database.
pub(crate) const TENANT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most calls of the resolver for unknown tenants, and for known ones, that are in flight. A connection pool has fewer.
pub(crate) const MAX_TENANT_CALLS: usize = 32;

/// About how many requests wait for one call of the resolver, so that one tenant does not use up [`MAX_WAITERS`].
pub(crate) const MAX_TENANT_CALL_WAITERS: usize = MAX_WAITERS / 8;

/// Time between two calls of the resolver for a tenant in use. A removed tenant is accepted for up to this time, as a removed key is.
pub(crate) const TENANT_RENEWAL: Duration = Duration::from_secs(300);

/// Time for which a tenant stays in use while the resolver fails, as long as keys do.
pub(crate) const TENANT_MAX_STALE: Duration = Duration::from_secs(3600);

/// Time for which it is remembered that an `iss` is not that of a tenant.
pub(crate) const UNKNOWN_TENANT_TTL: Duration = Duration::from_secs(60);

/// Time after which the resolver is called again for an unknown tenant for which it failed.
pub(crate) const FAILED_TENANT_TTL: Duration = Duration::from_secs(1);

/// Most unknown `iss` values that are remembered. They take some 100 bytes each.
pub(crate) const MAX_UNKNOWN_TENANTS: u64 = 10_000;

/// Most names of removed tenants that are remembered, so that their stored keys are not used, and as many of unknown ones. A hash of each
/// takes some 20 bytes.
pub(crate) const MAX_REMOVED_TENANTS: usize = 10_000;

/// Time after which the keys of a tenant without requests are no longer fetched. They would expire by then, if nobody fetched them.
pub(crate) const TENANT_IDLE: Duration = Duration::from_secs(3600);

/// Time after which a tenant without requests is forgotten.
pub(crate) const TENANT_FORGOTTEN: Duration = Duration::from_secs(86_400);

/// Longest time between two checks for idle tenants.
pub(crate) const TENANT_CHECK_INTERVAL: Duration = Duration::from_secs(60);
