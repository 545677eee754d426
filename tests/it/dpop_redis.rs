//! Used proofs in Redis, with a server on loopback that a test controls. The numbers are those of the attack cases.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::dpop::{Dpop, ReplayError};
use tower_bearer::stores::{Redis, RedisReplayStore};
use tower_bearer::testing::ProofKey;

use crate::dpop_fixture::{Answer, URL, World, dpop_request, store_failure};
use crate::events::Log;

/// A server that knows `SET … NX PX` and the settings of the memory.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    port: u16,
    mood: Mood,
    /// Empty if the user may not read it.
    policy: Option<&'static str>,
    /// The keys with their lifetimes in milliseconds. None ends: no test waits.
    keys: HashMap<String, u64>,
    sets: usize,
}

/// How the server responds to `SET`.
#[derive(Clone, Copy, Default)]
enum Mood {
    #[default]
    Healthy,
    Full,
    Failing,
    Silent,
    Closing,
}

impl Server {
    async fn start() -> Self {
        let server = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        server.state(|state| state.port = listener.local_addr().expect("an address").port());
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        server
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_mood(&self, mood: Mood) {
        self.state(|state| state.mood = mood);
    }

    fn sets(&self) -> usize {
        self.state(|state| state.sets)
    }

    fn store(&self, api: &str) -> RedisReplayStore {
        let url = format!("redis://127.0.0.1:{}", self.state(|state| state.port));
        RedisReplayStore::new(&Redis::builder(&url).with_timeout(LONGEST).build().expect("a valid URL"), api)
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(command) = read(&mut stream).await {
            let Some(response) = self.state(|state| state.reply(&command)) else { return };
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

impl State {
    /// Returns the response; `None` if the connection is closed.
    fn reply(&mut self, command: &[String]) -> Option<String> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        Some(match (&words[..], self.mood) {
            (["CONFIG", ..], _) => {
                let policy = self.policy.unwrap_or("noeviction");
                if policy.is_empty() {
                    return Some("-NOPERM this user has no permissions\r\n".to_owned());
                }
                format!("*2\r\n$16\r\nmaxmemory-policy\r\n${}\r\n{policy}\r\n", policy.len())
            }
            (["SET", key, "1", "NX", "PX", millis], mood) => {
                self.sets += 1;
                match mood {
                    Mood::Full => "-OOM command not allowed when used memory > 'maxmemory'.\r\n".to_owned(),
                    Mood::Failing => "-ERR unknown\r\n".to_owned(),
                    Mood::Silent => String::new(),
                    Mood::Closing => return None,
                    Mood::Healthy => {
                        let millis = millis.parse().expect("a number");
                        let is_new = self.keys.insert((*key).to_owned(), millis).is_none();
                        (if is_new { "+OK\r\n" } else { "$-1\r\n" }).to_owned()
                    }
                }
            }
            _ => "-ERR unknown command\r\n".to_owned(),
        })
    }
}

/// Reads an array of bulk strings.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream, '*').await? {
        let length = number(stream, '$').await?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8(word).expect("text"));
    }
    Some(words)
}

async fn number(stream: &mut BufReader<TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}

/// So that a busy machine changes no result.
const LONGEST: Duration = Duration::from_secs(10);

/// An API whose used proofs are in the store. The clock of the test does not advance, so no request gives up on the store.
fn world(store: RedisReplayStore) -> World {
    World::new(|api| api.with_dpop(Dpop::new("https://api.test").with_replay_store(store)))
}

async fn send(world: &World, request: Request<String>) -> Response<String> {
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    world.layer.layer(inner).oneshot(request).await.expect("infallible")
}

async fn answer(world: &World, token: &str, proof: &str) -> Answer {
    Answer::of(&send(world, dpop_request(token, proof)).await)
}

/// Returns a token of the world for a client, and a new proof.
fn credentials(world: &World, client: &ProofKey) -> (String, String) {
    let token = world.server.token().bound_to(client).sign();
    let proof = client.proof("GET", URL, &token).sign();
    (token, proof)
}

#[tokio::test]
async fn case_107_a_used_proof_is_known_and_a_repeated_replay_does_not_reach_redis() {
    let server = Server::start().await;
    let world = world(server.store("orders"));
    let (token, proof) = credentials(&world, &world.client);
    assert_eq!(answer(&world, &token, &proof).await, Answer::Accepted);
    for _ in 0..3 {
        assert_eq!(answer(&world, &token, &proof).await, Answer::InvalidProof);
    }
    assert_eq!(server.sets(), 1);
    let (token, proof) = credentials(&world, &world.client);
    assert_eq!(answer(&world, &token, &proof).await, Answer::Accepted);
    let keys = server.state(|state| state.keys.clone());
    assert_eq!(keys.len(), 2);
    for (key, millis) in keys {
        let id = key.strip_prefix("dpop:orders:").expect("the prefix");
        assert_eq!(id.len(), 22, "{key}");
        // The proof was created now: it is accepted for 60 s and 30 s of leeway. The record lasts 5 s longer.
        assert_eq!(millis, 95_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_108_of_many_concurrent_requests_with_one_proof_one_is_accepted() {
    let server = Server::start().await;
    let replicas = [world(server.store("orders")), world(server.store("orders"))];
    let client = &replicas[0].client;
    let proofs = replicas.each_ref().map(|world| {
        let token = world.server.token().bound_to(client).sign();
        let proof = client.proof("GET", URL, &token).jti("the same").sign();
        (token, proof)
    });
    let mut requests = JoinSet::new();
    for number in 0..50 {
        let (token, proof) = &proofs[number % 2];
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        requests.spawn(replicas[number % 2].layer.layer(inner).oneshot(dpop_request(token, proof)));
    }
    let answers = requests.join_all().await.into_iter().map(|response| Answer::of(&response.expect("infallible")));
    let answers: Vec<Answer> = answers.collect();
    let accepted = answers.iter().filter(|answer| **answer == Answer::Accepted).count();
    assert_eq!(accepted, 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Accepted | Answer::InvalidProof)), "{answers:?}");
}

/// Redis responds to the first request before it responds to the second one, but the second one is continued first.
#[tokio::test]
async fn case_108_a_replay_does_not_overtake_the_first_request() {
    let server = Server::start().await;
    let world = world(server.store("orders"));
    let (token, proof) = credentials(&world, &world.client);
    let mut first = std::pin::pin!(answer(&world, &token, &proof));
    let started =
        std::future::poll_fn(|context| std::task::Poll::Ready(first.as_mut().poll(context).is_pending())).await;
    assert!(started);
    assert_eq!(answer(&world, &token, &proof).await, Answer::InvalidProof);
    assert_eq!(first.await, Answer::Accepted);
    assert_eq!(server.sets(), 2);
}

#[tokio::test]
async fn case_117_a_store_that_fails_rejects_and_works_again_later() {
    let server = Server::start().await;
    let world = world(server.store("orders"));
    for mood in [Mood::Failing, Mood::Closing] {
        server.set_mood(mood);
        let (token, proof) = credentials(&world, &world.client);
        for _ in 0..2 {
            let response = send(&world, dpop_request(&token, &proof)).await;
            assert_eq!(Answer::of(&response), Answer::Unavailable);
            assert_eq!(store_failure(&response), Some((ReplayError::Unavailable, Duration::from_secs(1))));
        }
        server.set_mood(Mood::Healthy);
        // The proof was not used, so it still counts.
        assert_eq!(answer(&world, &token, &proof).await, Answer::Accepted);
        assert_eq!(answer(&world, &token, &proof).await, Answer::InvalidProof);
    }
}

#[tokio::test]
async fn case_117_with_the_fallback_each_process_detects_replays_alone() {
    let server = Server::start().await;
    let replicas = [(); 2].map(|()| world(server.store("orders").with_local_fallback()));
    let client = &replicas[0].client;
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    for mood in [Mood::Failing, Mood::Closing, Mood::Full] {
        server.set_mood(mood);
        for world in &replicas {
            let (token, proof) = credentials(world, client);
            assert_eq!(answer(world, &token, &proof).await, Answer::Accepted);
            assert_eq!(answer(world, &token, &proof).await, Answer::InvalidProof);
            // What was accepted during the failure is known after it.
            server.set_mood(Mood::Healthy);
            assert_eq!(answer(world, &token, &proof).await, Answer::InvalidProof);
            server.set_mood(mood);
        }
    }
    server.set_mood(Mood::Failing);
    let proof = |world: &World| {
        let token = world.server.token().bound_to(client).sign();
        (client.proof("GET", URL, &token).jti("used in each process").sign(), token)
    };
    for world in &replicas {
        let (proof, token) = proof(world);
        assert_eq!(answer(world, &token, &proof).await, Answer::Accepted);
    }
    let lines = log.lines("each process detects replays alone");
    assert_eq!(lines.len(), 2, "one line for each process: {lines:?}");
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
}

/// The store does not respond at all: after 50 ms, the request is rejected, or the fallback decides.
#[tokio::test]
async fn case_117_a_store_that_does_not_respond_delays_a_request_by_the_timeout_only() {
    for (has_fallback, expected) in [(false, Answer::Unavailable), (true, Answer::Accepted)] {
        let server = Server::start().await;
        server.set_mood(Mood::Silent);
        let store = server.store("orders");
        let world = world(if has_fallback { store.with_local_fallback() } else { store });
        let (token, proof) = credentials(&world, &world.client);
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let request = tokio::spawn(world.layer.layer(inner).oneshot(dpop_request(&token, &proof)));
        while server.sets() == 0 {
            tokio::task::yield_now().await;
        }
        world.clock.run_for(Duration::from_millis(49)).await;
        assert!(!request.is_finished());
        world.clock.run_for(Duration::from_millis(1)).await;
        let response = request.await.expect("no panic").expect("infallible");
        assert_eq!(Answer::of(&response), expected);
        let timed_out = (ReplayError::TimedOut, Duration::from_secs(1));
        assert_eq!(store_failure(&response), (!has_fallback).then_some(timed_out));
        if has_fallback {
            assert_eq!(answer(&world, &token, &proof).await, Answer::InvalidProof);
        }
    }
}

/// A client that closes its connection does not end the wait of other requests.
#[tokio::test]
async fn case_117_after_a_timeout_further_requests_do_not_wait() {
    let server = Server::start().await;
    server.set_mood(Mood::Silent);
    let world = world(server.store("orders"));
    let start = || {
        let (token, proof) = credentials(&world, &world.client);
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        tokio::spawn(world.layer.layer(inner).oneshot(dpop_request(&token, &proof)))
    };
    let reaches = async |sets: usize| {
        while server.sets() < sets {
            tokio::task::yield_now().await;
        }
    };
    for sets in [1, 2] {
        let dropped = start();
        reaches(sets).await;
        dropped.abort();
        assert!(dropped.await.is_err_and(|error| error.is_cancelled()));
    }
    let waiting = start();
    reaches(3).await;
    world.clock.run_for(Duration::from_millis(50)).await;
    let timed_out = Some((ReplayError::TimedOut, Duration::from_secs(1)));
    assert_eq!(store_failure(&waiting.await.expect("no panic").expect("infallible")), timed_out);
    // The clock of the test does not advance.
    let (token, proof) = credentials(&world, &world.client);
    assert_eq!(store_failure(&send(&world, dpop_request(&token, &proof)).await), timed_out);
    assert_eq!(server.sets(), 3);
}

#[tokio::test]
async fn case_118_a_full_store_rejects() {
    let server = Server::start().await;
    let world = world(server.store("orders"));
    server.set_mood(Mood::Full);
    let (token, proof) = credentials(&world, &world.client);
    let response = send(&world, dpop_request(&token, &proof)).await;
    assert_eq!(Answer::of(&response), Answer::Unavailable);
    let retry_after = Duration::from_secs(1);
    assert_eq!(store_failure(&response), Some((ReplayError::Full { retry_after }, retry_after)));
    server.set_mood(Mood::Healthy);
    assert_eq!(answer(&world, &token, &proof).await, Answer::Accepted);
}

/// A server that drops keys would forget used proofs.
#[tokio::test]
async fn case_118_a_store_that_drops_keys_is_not_used() {
    let server = Server::start().await;
    server.state(|state| state.policy = Some("allkeys-lru"));
    let world = world(server.store("orders"));
    let (token, proof) = credentials(&world, &world.client);
    assert_eq!(answer(&world, &token, &proof).await, Answer::Unavailable);
    assert_eq!(server.sets(), 0);
}

/// However often a connection is opened.
#[tokio::test]
async fn an_unknown_policy_is_logged_once() {
    let log = Log::default();
    let _subscribed = log.clone().subscribed();
    let server = Server::start().await;
    server.state(|state| state.policy = Some(""));
    server.set_mood(Mood::Closing);
    let world = world(server.store("orders"));
    for count in 1..3 {
        let (token, proof) = credentials(&world, &world.client);
        assert_eq!(answer(&world, &token, &proof).await, Answer::Unavailable);
        assert_eq!(server.sets(), count, "each over its own connection");
    }
    assert_eq!(log.lines("the maxmemory-policy of Redis is unknown").len(), 1);
}

#[tokio::test]
async fn case_121_a_proof_is_accepted_once_in_all_replicas() {
    let server = Server::start().await;
    let (one, other) = (world(server.store("orders")), world(server.store("orders")));
    let proof = |world: &World| {
        let token = world.server.token().bound_to(&one.client).sign();
        (one.client.proof("GET", URL, &token).jti("the same").sign(), token)
    };
    let ((first, token), (second, other_token)) = (proof(&one), proof(&other));
    assert_eq!(answer(&one, &token, &first).await, Answer::Accepted);
    for _ in 0..2 {
        assert_eq!(answer(&other, &other_token, &second).await, Answer::InvalidProof);
    }
    assert_eq!(server.sets(), 3);
}

#[tokio::test]
async fn case_122_apis_with_different_names_do_not_see_the_proofs_of_each_other() {
    let server = Server::start().await;
    let (orders, stock) = (world(server.store("orders")), world(server.store("stock")));
    let proof = |world: &World| {
        let token = world.server.token().bound_to(&orders.client).sign();
        (orders.client.proof("GET", URL, &token).jti("the same").sign(), token)
    };
    for world in [&orders, &stock] {
        let (proof, token) = proof(world);
        assert_eq!(answer(world, &token, &proof).await, Answer::Accepted);
        assert_eq!(answer(world, &token, &proof).await, Answer::InvalidProof);
    }
}
