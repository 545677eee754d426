//! A pool of RSA keys for test issuers.
//!
//! It takes a tenth of a second to generate an RSA key, which is too long for every test. The pool starts with a few embedded
//! keys and generates more when it is empty. It reuses a key after its issuer is dropped. Two issuers never share a key at
//! the same time. A thread, and so a test, never gets the same key twice: the test can still trust the key set of an issuer
//! that it has dropped, so a token of another issuer with the same key would be accepted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use aws_lc_rs::rsa::{KeyPair, KeySize};

/// A key pair that returns to the pool when it is dropped.
pub(super) struct PooledKey(Option<PoolEntry>);

/// A key pair in the pool, with the threads that have used it.
struct PoolEntry {
    pair: KeyPair,
    used_by: Vec<ThreadId>,
}

impl PooledKey {
    /// Takes a key pair that is not in use from the pool, or generates one.
    #[expect(clippy::expect_used, reason = "generating an RSA key fails only without memory or entropy")]
    pub(super) fn acquire() -> Self {
        let thread = thread::current().id();
        let ready = pool().acquire(thread);
        let generate = || PoolEntry::new(KeyPair::generate(KeySize::Rsa2048).expect("memory and entropy suffice"));
        let mut key = ready.unwrap_or_else(generate);
        key.used_by.push(thread);
        Self(Some(key))
    }

    /// Returns the key pair.
    #[expect(clippy::expect_used, reason = "only `drop` removes the pair")]
    pub(super) fn pair(&self) -> &KeyPair {
        &self.0.as_ref().expect("the pair is present until the drop").pair
    }
}

impl Drop for PooledKey {
    fn drop(&mut self) {
        if let Some(key) = self.0.take() {
            pool().returned.push_back(key);
        }
    }
}

impl fmt::Debug for PooledKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledKey(..)")
    }
}

impl PoolEntry {
    fn new(pair: KeyPair) -> Self {
        Self { pair, used_by: Vec::new() }
    }
}

struct Pool {
    unused: Vec<PoolEntry>,
    returned: VecDeque<PoolEntry>,
}

impl Pool {
    fn acquire(&mut self, thread: ThreadId) -> Option<PoolEntry> {
        self.unused.pop().or_else(|| {
            // The last returned keys are not reused yet: if an issuer moves between threads, another thread can still trust its
            // key set.
            let reusable = self.returned.len().saturating_sub(REUSE_DISTANCE);
            let at = self.returned.iter().take(reusable).position(|key| !key.used_by.contains(&thread))?;
            self.returned.remove(at)
        })
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    static POOL: OnceLock<Mutex<Pool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let unused = EMBEDDED.iter().filter_map(|pkcs8| KeyPair::from_pkcs8(pkcs8).ok()).map(PoolEntry::new).collect();
        Mutex::new(Pool { unused, returned: VecDeque::new() })
    });
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many keys must have been returned after a key before it is reused.
const REUSE_DISTANCE: usize = 4;

/// Generated for this file with `openssl genpkey`. They are public and protect nothing.
const EMBEDDED: [&[u8]; 4] = [
    include_bytes!("keys/rsa-1.p8"),
    include_bytes!("keys/rsa-2.p8"),
    include_bytes!("keys/rsa-3.p8"),
    include_bytes!("keys/rsa-4.p8"),
];

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair as _;

    use super::*;

    fn public(key: &KeyPair) -> Vec<u8> {
        key.public_key().as_ref().to_vec()
    }

    #[test]
    fn parses_every_embedded_key() {
        for pkcs8 in EMBEDDED {
            KeyPair::from_pkcs8(pkcs8).expect("a key pair");
        }
    }

    #[test]
    fn two_acquired_keys_differ() {
        let (first, second) = (PooledKey::acquire(), PooledKey::acquire());
        assert_ne!(public(first.pair()), public(second.pair()));
    }

    #[test]
    fn does_not_reuse_a_key_too_early() {
        let key = || PoolEntry::new(KeyPair::from_pkcs8(EMBEDDED[0]).expect("a key pair"));
        let mut pool = Pool { unused: vec![key()], returned: VecDeque::new() };
        let thread = thread::current().id();
        assert!(pool.acquire(thread).is_some());
        pool.returned.extend((0..REUSE_DISTANCE).map(|_| key()));
        assert!(pool.acquire(thread).is_none());
        pool.returned.push_back(key());
        assert!(pool.acquire(thread).is_some());
    }

    #[test]
    fn never_returns_a_key_to_the_same_thread_twice() {
        let key = |used_by| PoolEntry { pair: KeyPair::from_pkcs8(EMBEDDED[0]).expect("a key pair"), used_by };
        let this_thread = thread::current().id();
        let other = thread::spawn(|| thread::current().id()).join().expect("an id");
        let mut pool = Pool { unused: Vec::new(), returned: (0..REUSE_DISTANCE).map(|_| key(Vec::new())).collect() };
        pool.returned.push_front(key(vec![this_thread]));
        assert!(pool.acquire(this_thread).is_none());
        assert!(pool.acquire(other).is_some());
    }
}
