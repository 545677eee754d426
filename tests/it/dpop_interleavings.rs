//! A used proof is never accepted again (RFC 9449 §11.1), however requests overlap while the time advances.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request};
use tower_bearer::authenticator::Outcome;
use tower_bearer::clock::{Clock, Monotonic, Sleep, Timestamp};
use tower_bearer::dpop::{
    self, AccessTokenHash, Dpop, Expected, MemoryReplayStore, ProofPolicy, Recording, ReplayStore, VerifiedProof,
};
use tower_bearer::request::{PublicUrl, RequestHead};
use tower_bearer::testing::{FakeClock, ProofKey, TestIssuer};
use tower_bearer::{Algorithm, Api, BearerLayer, Validator};

use crate::dpop_fixture::{Answer, URL, dpop_request};
use crate::fixture::{self, AUDIENCE, NOW, trusted};

/// The time between two proofs that are accepted at the same time, with the default settings.
const SPAN: Duration = Duration::from_secs(120);

/// The length of a period of the store.
const PERIOD: i64 = 30;

/// How long a proof is accepted after its `iat`.
const LIFETIME: i64 = 90;

fn answer(layer: &BearerLayer, request: &Request<String>) -> Answer {
    match layer.try_authenticate(&RequestHead::new(request)) {
        Some(Outcome::Authenticated(_)) => Answer::Accepted,
        Some(Outcome::Rejected(rejected)) => Answer::of(&rejected.to_response()),
        _ => Answer::Other,
    }
}

/// An issuer and a client, with a token that outlives each test.
struct Client {
    server: TestIssuer,
    key: ProofKey,
    token: String,
}

impl Client {
    fn new() -> Self {
        let server = TestIssuer::new().with_clock(Arc::new(fixture::clock())).with_algorithms([Algorithm::EdDSA]);
        let key = ProofKey::new();
        let token = server.token().bound_to(&key).expires_at(at(1_000_000)).sign();
        Self { server, key, token }
    }

    fn layer(&self, dpop: Dpop, clock: impl Clock) -> BearerLayer {
        let api = Api::new(AUDIENCE, trusted(&self.server, Algorithm::EdDSA)).with_dpop(dpop);
        // A small token cache, because a test creates many of them.
        let builder = Validator::builder(api).with_clock(clock).with_token_cache_bytes(64 * 1024);
        BearerLayer::new(builder.build().expect("a valid configuration"))
    }

    fn proof(&self, iat: i64) -> String {
        self.key.proof("GET", URL, &self.token).issued_at(at(iat)).sign()
    }

    /// Returns a proof for a store, without a request.
    fn verified(&self, iat: i64) -> VerifiedProof {
        let url = PublicUrl::parse("https://api.test").expect("a URL");
        let token = AccessTokenHash::new(&self.token);
        let expected = Expected::new(&Method::GET, &url, "/me", token, self.key.thumbprint());
        dpop::verify(&self.proof(iat), &expected, &ProofPolicy::new(), at(iat)).expect("valid")
    }
}

/// Returns the time so many seconds after [`NOW`], which is the start of a period.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(NOW + seconds)
}

/// The point at which a request stalls, and what happens meanwhile.
#[derive(Default)]
struct Stall {
    /// The number of points that the request passes before.
    points: usize,
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

/// Counts the points that a request passes: each time it reads the clock, and before and after it records its proof.
#[derive(Clone, Default)]
struct Points {
    stall: Arc<Mutex<Stall>>,
    passed: Arc<AtomicUsize>,
}

impl Points {
    fn stall_at(&self, points: usize, meanwhile: impl FnOnce() + Send + 'static) {
        *self.stall() = Stall { points, meanwhile: Some(Box::new(meanwhile)) };
    }

    fn pass(&self) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        let meanwhile = {
            let mut stall = self.stall();
            match stall.points.checked_sub(1) {
                Some(points) => {
                    stall.points = points;
                    None
                }
                None => stall.meanwhile.take(),
            }
        };
        // Other requests pass points, too.
        meanwhile.into_iter().for_each(|meanwhile| meanwhile());
    }

    fn stall(&self) -> MutexGuard<'_, Stall> {
        self.stall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Points(..)")
    }
}

#[derive(Clone, Debug)]
struct StallingClock(FakeClock, Points);

impl Clock for StallingClock {
    fn now(&self) -> Timestamp {
        self.1.pass();
        self.0.now()
    }

    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }

    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        self.0.sleep_until(deadline)
    }
}

#[derive(Clone, Debug)]
struct StallingStore(Arc<MemoryReplayStore>, Points);

impl ReplayStore for StallingStore {
    fn record(&self, proof: &VerifiedProof, now: Timestamp) -> Recording {
        self.1.pass();
        let recording = self.0.record(proof, now);
        self.1.pass();
        recording
    }
}

/// When the other requests with the proof come, and how the time advances meanwhile.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    /// When the first request is sent.
    sent_at: i64,
    /// When it continues.
    continued_at: i64,
    /// Whether another request is sent before the time advances.
    is_used_first: bool,
    /// Whether other proofs are recorded meanwhile, so that periods are added and dropped.
    has_traffic: bool,
}

/// The answers to requests with one proof.
#[derive(Debug)]
struct Answers {
    /// To the request that stalls.
    first: Answer,
    /// To another one before the time advances, and to one after it has advanced.
    meanwhile: Vec<Answer>,
    /// To one after all others.
    last: Answer,
}

impl Answers {
    fn count(&self, answer: Answer) -> usize {
        [self.first, self.last].iter().chain(&self.meanwhile).filter(|found| **found == answer).count()
    }
}

/// Returns the answers if the first request stalls after so many points; `None` if it passes fewer.
fn run(
    client: &Client,
    proof: &str,
    traffic: &[(i64, VerifiedProof)],
    stall: usize,
    scenario: Scenario,
) -> Option<Answers> {
    let (clock, points) = (FakeClock::from_wall(at(scenario.sent_at)), Points::default());
    let store = StallingStore(Arc::new(MemoryReplayStore::new(1 << 20, SPAN)), points.clone());
    let dpop = Dpop::new("https://api.test").with_replay_store(store.clone());
    let layer = client.layer(dpop, StallingClock(clock.clone(), points.clone()));
    let request = dpop_request(&client.token, proof);
    let times = scenario.sent_at..=scenario.continued_at;
    let traffic: Vec<_> =
        traffic.iter().filter(|(at, _)| scenario.has_traffic && times.contains(at)).copied().collect();
    let meanwhile: Arc<Mutex<Vec<Answer>>> = Arc::default();
    points.stall_at(stall, {
        let (answers, layer, request) = (Arc::clone(&meanwhile), layer.clone(), request.clone());
        move || {
            let before = scenario.is_used_first.then(|| answer(&layer, &request));
            for (seconds, proof) in traffic {
                clock.set_wall(at(seconds));
                assert!(matches!(store.0.record(&proof, at(seconds)), Recording::Now(Ok(_))), "{seconds}");
            }
            clock.set_wall(at(scenario.continued_at));
            let after = answer(&layer, &request);
            answers.lock().expect("no panic").extend(before.into_iter().chain([after]));
        }
    });
    let first = answer(&layer, &request);
    let meanwhile = meanwhile.lock().expect("no panic").clone();
    let last = answer(&layer, &request);
    (!meanwhile.is_empty()).then_some(Answers { first, meanwhile, last })
}

/// A request is suspended at each point at which it reads the clock or calls the store, while others use its proof, the proof expires,
/// and its period is dropped and forgotten.
#[test]
fn a_proof_is_accepted_once_whenever_a_request_stalls() {
    let client = Client::new();
    // A proof for each period: more of them than the store knows after they were dropped.
    let traffic: Vec<_> = (0..300).map(|number| number * PERIOD).map(|at| (at, client.verified(at))).collect();
    let (mut accepted, mut unavailable, mut stalls) = ([0; 2], 0, 0);
    for (iat, sent_at) in [(0, 0), (29, 0), (0, 90)] {
        let proof = client.proof(iat);
        for advance in [0, 61, 91, 121, 299 * PERIOD] {
            for [is_used_first, has_traffic] in [[false, false], [false, true], [true, false], [true, true]] {
                let scenario = Scenario { sent_at, continued_at: sent_at + advance, is_used_first, has_traffic };
                let mut stall = 0;
                while let Some(answers) = run(&client, &proof, &traffic, stall, scenario) {
                    let what = || format!("{iat} {stall} {scenario:?}: {answers:?}");
                    assert_eq!(answers.count(Answer::Other), 0, "{}", what());
                    let is_valid = scenario.continued_at <= iat + LIFETIME;
                    match answers.count(Answer::Accepted) {
                        count @ (0 | 1) if !is_valid || count == 1 => accepted[count] += 1,
                        _ => panic!("{}", what()),
                    }
                    let count = answers.count(Answer::Unavailable);
                    assert!(count == 0 || !is_valid, "{}", what());
                    unavailable += count;
                    stall += 1;
                }
                stalls = stall.max(stalls);
            }
        }
    }
    // The request reads the clock before, during and after its checks, and calls the store.
    assert!(
        accepted[0] > 20 && accepted[1] > 100 && unavailable > 0 && stalls >= 5,
        "{accepted:?} {unavailable} {stalls}"
    );
}

/// Each proof is sent by several threads, at first at the same time, then again and again until it has expired. One of the threads
/// advances the time while the others send requests.
#[test]
fn several_threads_accept_each_proof_once_while_the_time_advances() {
    const THREADS: usize = 8;
    const STEP: i64 = 10;
    const ROUNDS: i64 = 120;
    struct Sent {
        iat: i64,
        request: Request<String>,
        accepted: AtomicUsize,
    }
    let client = Client::new();
    let clock = FakeClock::from_wall(at(0));
    let layer = client.layer(Dpop::new("https://api.test"), clock.clone());
    // The proofs that are new in each round. Some are from the past, and some from the future, so that they are in other periods.
    let new_proofs = |round: i64| {
        [0, 15, -45].map(|difference| {
            let iat = round * STEP + difference;
            Sent { iat, request: dpop_request(&client.token, &client.proof(iat)), accepted: AtomicUsize::new(0) }
        })
    };
    let proofs: Vec<[Sent; 3]> = (0..ROUNDS).map(new_proofs).collect();
    let (start, sent, unexpected) = (Barrier::new(THREADS), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let send = |round: i64| {
        for proof in usize::try_from(round).ok().into_iter().flat_map(|round| &proofs[round]) {
            sent.fetch_add(1, Ordering::Relaxed);
            match answer(&layer, &proof.request) {
                Answer::Accepted => drop(proof.accepted.fetch_add(1, Ordering::Relaxed)),
                Answer::InvalidProof => {}
                // The proof expired, and its period was dropped, while the request was checked.
                Answer::Unavailable if clock.now() > at(proof.iat + LIFETIME) => {}
                other => unexpected.lock().expect("no panic").push((proof.iat, clock.now(), other)),
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (send, start, clock) = (&send, &start, &clock);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    start.wait();
                    send(round);
                    if thread == 0 {
                        clock.advance(Duration::from_secs(STEP.unsigned_abs()));
                    }
                    // Each thread sends other proofs of earlier rounds, which are valid, about to expire, or expired.
                    let ages = [1, 2, 4, 7, 9, 10, 13].into_iter().cycle().skip(thread).take(2);
                    ages.for_each(|age| send(round - age));
                }
            });
        }
    });
    assert_eq!(unexpected.into_inner().expect("no panic"), []);
    for proof in proofs.iter().flatten() {
        assert_eq!(proof.accepted.load(Ordering::Relaxed), 1, "{}", proof.iat);
    }
    assert!(sent.into_inner() > 8_000);
}
