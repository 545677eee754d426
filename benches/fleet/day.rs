//! What happens on that day.

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tower_bearer::Algorithm;
use tower_bearer::clock::Clock as _;
use tower_bearer::testing::{FakeClock, TestIssuer};

use crate::ledger::{Caller, Ledger};
use crate::network::Network;
use crate::replicas::{Policy, Replica, Token};
use crate::rng::Rng;

pub const DAY: usize = 24 * HOUR;
pub const REPLICAS: usize = 1_000;
/// The new key signs as soon as it is published, which is the hardest kind of rotation.
pub const QUIET_ROTATION: usize = 6 * HOUR;
/// The issuer accepts connections and says nothing.
pub const OUTAGE: Range<usize> = 10 * HOUR..10 * HOUR + 40 * MINUTE;
/// Somebody sends tokens with random key ids.
pub const FLOOD: Range<usize> = 16 * HOUR..16 * HOUR + 10 * MINUTE;
pub const FLOODED_ROTATION: usize = 16 * HOUR + 5 * MINUTE;
pub const MINUTE: usize = 60;
pub const HOUR: usize = 60 * MINUTE;
pub const AUDIENCE: &str = "https://api.northwind.com/";

/// Requests with valid tokens in each second, each at a replica that chance picks.
const CLIENTS: usize = 40;
/// Requests of strangers in each second of the flood.
const STRANGERS: usize = 1_000;
/// Callers get new tokens.
const TOKEN_EVERY: usize = 15 * MINUTE;
const SECOND: Duration = Duration::from_secs(1);

/// Lives through the day.
pub fn live(policy: Policy) -> Ledger {
    // Every task that can run does so in each turn of the clock, however many there are.
    let runtime = tokio::runtime::Builder::new_current_thread().event_interval(1_000_000).build().expect("a runtime");
    runtime.block_on(async {
        let mut fleet = Fleet::start(policy);
        for second in 0..DAY {
            fleet.live(second).await;
        }
        let Fleet { network, ledger, .. } = fleet;
        let mut ledger = ledger.lock().expect("unpoisoned").clone();
        ledger.fetches = network.fetches();
        ledger
    })
}

struct Fleet {
    clock: FakeClock,
    server: TestIssuer,
    network: Network,
    replicas: Vec<Replica>,
    token: Arc<Token>,
    strangers: Vec<Arc<Token>>,
    rng: Rng,
    ledger: Arc<Mutex<Ledger>>,
}

impl Fleet {
    /// All replicas start in the same moment, which is the hardest kind of start.
    fn start(policy: Policy) -> Self {
        let clock = FakeClock::new();
        let server = TestIssuer::auth0("northwind.eu.auth0.com")
            .with_algorithms([Algorithm::RS256])
            .with_clock(Arc::new(clock.clone()));
        let network = Network::new(&clock, server.jwks());
        let replicas = (0..REPLICAS).map(|number| Replica::start(policy, number, &server, &network, &clock)).collect();
        let token = Arc::new(Token::of(&server, server.kid()));
        let ledger = Arc::new(Mutex::new(Ledger::new(DAY)));
        Self { clock, server, network, replicas, token, strangers: Vec::new(), rng: Rng(1), ledger }
    }

    async fn live(&mut self, second: usize) {
        let rotates = second == QUIET_ROTATION || second == FLOODED_ROTATION;
        if rotates {
            self.server.rotate();
            self.network.publish(self.server.jwks());
        }
        if rotates || second.is_multiple_of(TOKEN_EVERY) {
            self.token = Arc::new(Token::of(&self.server, self.server.kid()));
        }
        if second == FLOOD.start {
            self.strangers = (0..97).map(|n| Arc::new(Token::of(&self.server, format!("random-{n}")))).collect();
        }
        self.network.hang(OUTAGE.contains(&second));
        for _ in 0..CLIENTS {
            let number = self.rng.below(REPLICAS);
            self.ask(number, second, Caller::Client, Arc::clone(&self.token));
        }
        for _ in 0..if FLOOD.contains(&second) { STRANGERS } else { 0 } {
            let (number, which) = (self.rng.below(REPLICAS), self.rng.below(self.strangers.len()));
            self.ask(number, second, Caller::Stranger, Arc::clone(&self.strangers[which]));
        }
        self.clock.run_for(SECOND).await;
    }

    /// One request. Most are answered at once; a task waits for the rest.
    fn ask(&self, number: usize, second: usize, caller: Caller, token: Arc<Token>) {
        let mut request = Box::pin(unconstrained(self.replicas[number].ask(token)));
        if let Poll::Ready(answer) = request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.ledger.lock().expect("unpoisoned").note(second, caller, answer, Duration::ZERO);
            return;
        }
        let (clock, ledger, begin) = (self.clock.clone(), Arc::clone(&self.ledger), self.clock.monotonic());
        tokio::spawn(async move {
            let answer = request.await;
            let waited = clock.monotonic().saturating_since(begin);
            ledger.lock().expect("unpoisoned").note(second, caller, answer, waited);
        });
    }
}
