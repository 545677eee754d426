//! RSA keys for test issuers, lent out and taken back.
//!
//! Making one takes a tenth of a second, too long for every test. The pool starts with a few that were made before,
//! makes more when they run out, and lends a key again after its issuer is gone. No two living issuers share one, and no
//! thread, which is what a test runs on, gets one twice, for it may trust the key set of an issuer that it has dropped:
//! otherwise a token of a stranger would be genuine, and the test for it would prove nothing.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use aws_lc_rs::rsa::{KeyPair, KeySize};

/// A key pair that goes back to the pool when dropped.
pub(super) struct LentKey(Option<Pooled>);

/// A key pair, and who has had it.
struct Pooled {
    pair: KeyPair,
    borrowers: Vec<ThreadId>,
}

impl LentKey {
    /// Borrows a key pair that nobody else has.
    #[expect(clippy::expect_used, reason = "generating an RSA key fails only without memory or entropy")]
    pub(super) fn take() -> Self {
        let borrower = thread::current().id();
        let ready = pool().take(borrower);
        let generate = || Pooled::new(KeyPair::generate(KeySize::Rsa2048).expect("memory and entropy suffice"));
        let mut key = ready.unwrap_or_else(generate);
        key.borrowers.push(borrower);
        Self(Some(key))
    }

    /// The key pair.
    #[expect(clippy::expect_used, reason = "only `drop` takes the pair out")]
    pub(super) fn pair(&self) -> &KeyPair {
        &self.0.as_ref().expect("the pair is there until the drop").pair
    }
}

impl Drop for LentKey {
    fn drop(&mut self) {
        if let Some(key) = self.0.take() {
            pool().returned.push_back(key);
        }
    }
}

impl fmt::Debug for LentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LentKey(..)")
    }
}

impl Pooled {
    fn new(pair: KeyPair) -> Self {
        Self { pair, borrowers: Vec::new() }
    }
}

struct Pool {
    unused: Vec<Pooled>,
    returned: VecDeque<Pooled>,
}

impl Pool {
    fn take(&mut self, borrower: ThreadId) -> Option<Pooled> {
        self.unused.pop().or_else(|| {
            // The last ones rest: where issuers move between threads, their key sets may be trusted a little longer, too.
            let rested = self.returned.len().saturating_sub(RESTING);
            let at = self.returned.iter().take(rested).position(|key| !key.borrowers.contains(&borrower))?;
            self.returned.remove(at)
        })
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    static POOL: OnceLock<Mutex<Pool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let unused = EMBEDDED.iter().filter_map(|pkcs8| KeyPair::from_pkcs8(pkcs8).ok()).map(Pooled::new).collect();
        Mutex::new(Pool { unused, returned: VecDeque::new() })
    });
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many keys rest in the pool before one is lent again.
const RESTING: usize = 4;

/// Made for this file with `openssl genpkey` and published with it: they protect nothing.
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
    fn every_embedded_key_is_readable() {
        for pkcs8 in EMBEDDED {
            KeyPair::from_pkcs8(pkcs8).expect("a key pair");
        }
    }

    #[test]
    fn no_two_borrowers_share_a_key() {
        let (first, second) = (LentKey::take(), LentKey::take());
        assert_ne!(public(first.pair()), public(second.pair()));
    }

    #[test]
    fn a_key_rests_before_it_is_lent_again() {
        let key = || Pooled::new(KeyPair::from_pkcs8(EMBEDDED[0]).expect("a key pair"));
        let mut pool = Pool { unused: vec![key()], returned: VecDeque::new() };
        let borrower = thread::current().id();
        assert!(pool.take(borrower).is_some());
        pool.returned.extend((0..RESTING).map(|_| key()));
        assert!(pool.take(borrower).is_none());
        pool.returned.push_back(key());
        assert!(pool.take(borrower).is_some());
    }

    #[test]
    fn nobody_gets_a_key_twice() {
        let key = |borrowers| Pooled { pair: KeyPair::from_pkcs8(EMBEDDED[0]).expect("a key pair"), borrowers };
        let me = thread::current().id();
        let other = thread::spawn(|| thread::current().id()).join().expect("an id");
        let mut pool = Pool { unused: Vec::new(), returned: (0..RESTING).map(|_| key(Vec::new())).collect() };
        pool.returned.push_front(key(vec![me]));
        assert!(pool.take(me).is_none());
        assert!(pool.take(other).is_some());
    }
}
