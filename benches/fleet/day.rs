//! The events of the simulated day.

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tower_bearer::Algorithm;
use tower_bearer::clock::Clock as _;
use tower_bearer::testing::{FakeClock, TestIssuer};

use crate::network::Network;
use crate::observations::{Caller, Observations};
use crate::replicas::{Policy, Replica, Token};
use crate::rng::Rng;

pub const DAY: usize = 24 * HOUR;
pub const REPLICAS: usize = 1_000;
/// The new key signs as soon as it is published, which is the hardest kind of rotation.
pub const QUIET_ROTATION: usize = 6 * HOUR;
/// The issuer accepts connections and does not respond.
pub const OUTAGE: Range<usize> = 10 * HOUR..10 * HOUR + 40 * MINUTE;
/// Old clients keep sending tokens of keys that the issuer has removed.
pub const AMBIENT: Range<usize> = 13 * HOUR..14 * HOUR;
pub const AMBIENT_ROTATION: usize = 13 * HOUR + 30 * MINUTE;
/// A client sends tokens with random key ids.
pub const FLOOD: Range<usize> = 16 * HOUR..16 * HOUR + 10 * MINUTE;
pub const FLOODED_ROTATION: usize = 16 * HOUR + 5 * MINUTE;
pub const MINUTE: usize = 60;
pub const HOUR: usize = 60 * MINUTE;
pub const AUDIENCE: &str = "https://api.northwind.com/";

/// Requests with valid tokens in each second, each to a random replica.
const CLIENTS: usize = 40;
/// Requests with removed key ids in each second, so that each replica gets one every five seconds.
const AMBIENT_REQUESTS: usize = 200;
/// The number of removed key ids.
const REMOVED_KEYS: usize = 20;
/// Requests with random key ids in each second of the flood, each with another one.
const FLOOD_REQUESTS: usize = 1_000;
/// The period after which clients get new tokens.
const TOKEN_EVERY: usize = 15 * MINUTE;
const SECOND: Duration = Duration::from_secs(1);

/// Simulates the day.
pub fn simulate(policy: Policy) -> Observations {
    // All ready tasks run at each step of the clock, regardless of their number.
    let runtime = tokio::runtime::Builder::new_current_thread().event_interval(1_000_000).build().expect("a runtime");
    runtime.block_on(async {
        let mut fleet = Fleet::start(policy);
        for second in 0..DAY {
            fleet.simulate(second).await;
        }
        let Fleet { network, observations, .. } = fleet;
        let mut observations = observations.lock().expect("unpoisoned").clone();
        observations.fetches = network.fetches();
        observations
    })
}

struct Fleet {
    clock: FakeClock,
    server: TestIssuer,
    network: Network,
    replicas: Vec<Replica>,
    token: Arc<Token>,
    removed_keys: Vec<Arc<Token>>,
    rng: Rng,
    observations: Arc<Mutex<Observations>>,
}

impl Fleet {
    /// Starts all replicas at the same time, which is the hardest kind of start.
    fn start(policy: Policy) -> Self {
        let clock = FakeClock::new();
        let server = TestIssuer::auth0("northwind.eu.auth0.com")
            .with_algorithms([Algorithm::RS256])
            .with_clock(Arc::new(clock.clone()));
        let network = Network::new(&clock, server.jwks());
        let replicas = (0..REPLICAS).map(|number| Replica::start(policy, number, &server, &network, &clock)).collect();
        let token = Arc::new(Token::new(&server));
        let observations = Arc::new(Mutex::new(Observations::new(DAY)));
        Self { clock, server, network, replicas, token, removed_keys: Vec::new(), rng: Rng(1), observations }
    }

    async fn simulate(&mut self, second: usize) {
        let rotates = [QUIET_ROTATION, AMBIENT_ROTATION, FLOODED_ROTATION].contains(&second);
        if rotates {
            self.server.rotate();
            self.network.publish(self.server.jwks());
        }
        if rotates || second.is_multiple_of(TOKEN_EVERY) {
            self.token = Arc::new(Token::new(&self.server));
        }
        if second == AMBIENT.start {
            let removed = |n| Arc::new(self.token.with_kid(format!("removed-{n}")));
            self.removed_keys = (0..REMOVED_KEYS).map(removed).collect();
        }
        self.network.hang(OUTAGE.contains(&second));
        for _ in 0..CLIENTS {
            let number = self.rng.below(REPLICAS);
            self.send(number, second, Caller::Client, Arc::clone(&self.token));
        }
        for _ in 0..if AMBIENT.contains(&second) { AMBIENT_REQUESTS } else { 0 } {
            let (number, which) = (self.rng.below(REPLICAS), self.rng.below(REMOVED_KEYS));
            self.send(number, second, Caller::RemovedKey, Arc::clone(&self.removed_keys[which]));
        }
        for request in 0..if FLOOD.contains(&second) { FLOOD_REQUESTS } else { 0 } {
            let number = self.rng.below(REPLICAS);
            let token = self.token.with_kid(format!("random-{second}-{request}"));
            self.send(number, second, Caller::RandomKid, Arc::new(token));
        }
        self.clock.run_for(SECOND).await;
    }

    /// Sends one request. Most complete at the first poll; a task waits for the others.
    fn send(&self, number: usize, second: usize, caller: Caller, token: Arc<Token>) {
        let mut request = Box::pin(unconstrained(self.replicas[number].validate(token)));
        if let Poll::Ready(outcome) = request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.observations.lock().expect("unpoisoned").record(second, caller, outcome, Duration::ZERO);
            return;
        }
        let (clock, observations, begin) = (self.clock.clone(), Arc::clone(&self.observations), self.clock.monotonic());
        tokio::spawn(async move {
            let outcome = request.await;
            let waited = clock.monotonic().saturating_since(begin);
            observations.lock().expect("unpoisoned").record(second, caller, outcome, waited);
        });
    }
}
