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
/// A client sends tokens with random key ids.
pub const FLOOD: Range<usize> = 16 * HOUR..16 * HOUR + 10 * MINUTE;
pub const FLOODED_ROTATION: usize = 16 * HOUR + 5 * MINUTE;
pub const MINUTE: usize = 60;
pub const HOUR: usize = 60 * MINUTE;
pub const AUDIENCE: &str = "https://api.northwind.com/";

/// Requests with valid tokens in each second, each to a random replica.
const CLIENTS: usize = 40;
/// Requests with random key ids in each second of the flood.
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
    random_kids: Vec<Arc<Token>>,
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
        let token = Arc::new(Token::new(&server, server.kid()));
        let observations = Arc::new(Mutex::new(Observations::new(DAY)));
        Self { clock, server, network, replicas, token, random_kids: Vec::new(), rng: Rng(1), observations }
    }

    async fn simulate(&mut self, second: usize) {
        let rotates = second == QUIET_ROTATION || second == FLOODED_ROTATION;
        if rotates {
            self.server.rotate();
            self.network.publish(self.server.jwks());
        }
        if rotates || second.is_multiple_of(TOKEN_EVERY) {
            self.token = Arc::new(Token::new(&self.server, self.server.kid()));
        }
        if second == FLOOD.start {
            self.random_kids = (0..97).map(|n| Arc::new(Token::new(&self.server, format!("random-{n}")))).collect();
        }
        self.network.hang(OUTAGE.contains(&second));
        for _ in 0..CLIENTS {
            let number = self.rng.below(REPLICAS);
            self.send(number, second, Caller::Client, Arc::clone(&self.token));
        }
        for _ in 0..if FLOOD.contains(&second) { FLOOD_REQUESTS } else { 0 } {
            let (number, which) = (self.rng.below(REPLICAS), self.rng.below(self.random_kids.len()));
            self.send(number, second, Caller::RandomKid, Arc::clone(&self.random_kids[which]));
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
