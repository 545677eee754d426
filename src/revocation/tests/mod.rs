//! Lists that share a log, on a clock that the test advances.

mod failures;
mod random;
mod replicas;

use std::time::Duration;

use crate::clock::{Clock as _, Timestamp};
use crate::revocation::{Revocation, RevocationKind, RevocationState, Revocations};
use crate::testing::{FakeClock, FakeLog};

const ISSUER: &str = "https://issuer.test/";

/// A clock and a log, which any number of lists share.
struct Fixture {
    clock: FakeClock,
    log: FakeLog,
}

impl Fixture {
    fn new() -> Self {
        let clock = FakeClock::new();
        let log = FakeLog::new(&clock);
        Self { clock, log }
    }

    fn list(&self) -> Revocations {
        Revocations::builder().with_clock(self.clock.clone()).shared(self.log.clone()).expect("settings in range")
    }

    /// Creates a list that has read the log.
    async fn current_list(&self) -> Revocations {
        let list = self.list();
        self.clock.settle().await;
        assert_eq!(list.status().state(), RevocationState::Current);
        list
    }

    async fn run(&self, seconds: u64) {
        self.clock.run_for(Duration::from_secs(seconds)).await;
    }

    fn in_seconds(&self, seconds: u64) -> Timestamp {
        self.clock.now().saturating_add(Duration::from_secs(seconds))
    }

    /// Returns an entry of a token that expires in an hour.
    fn entry(&self, number: usize) -> Revocation {
        Revocation::jwt_id(ISSUER, &number.to_string()).with_end(self.in_seconds(3_600))
    }
}

/// Returns whether a list rejects the token of an entry.
fn knows(list: &Revocations, number: usize) -> bool {
    let digester = list.shared.digester();
    let digest = digester.combine(digester.issuer(ISSUER), digester.value(&number.to_string()));
    list.shared.set().find(RevocationKind::JwtId, digest).is_some()
}

fn state(list: &Revocations) -> RevocationState {
    list.status().state()
}
