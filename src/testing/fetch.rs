//! `FakeFetch`: an HTTP client with scripted responses.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::clock::{Clock as _, Monotonic};
use crate::fetch::{Endpoint, Fetch, FetchError, FetchFuture, FetchRequest, FetchResponse, FormRequest};
use crate::testing::clock::FakeClock;

/// A [`Fetch`] with scripted responses, for tests with a [`FakeClock`]. Clones share the scripted responses.
///
/// The response for a URL without a scripted response is 404. Every request is recorded.
#[derive(Clone)]
pub struct FakeFetch {
    clock: FakeClock,
    inner: Arc<Mutex<Inner>>,
    in_flight: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Inner {
    once: HashMap<String, VecDeque<Reply>>,
    always: HashMap<String, Reply>,
    seen: Vec<RecordedRequest>,
}

/// A recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The URL.
    pub url: String,
    /// The request headers.
    pub headers: HeaderMap,
    /// The form of a `POST`; `None` for a `GET`.
    pub form: Option<Bytes>,
    /// The time of the request, on the fake clock.
    pub at: Monotonic,
}

/// The scripted outcome of a request: a response, an error, a panic, or no outcome at all.
#[derive(Clone, Debug)]
pub struct Reply {
    delay: Duration,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    Response(FetchResponse),
    Error(FetchError),
    Never,
    Panic,
}

impl Reply {
    /// Returns a response with this status and no body.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        Self::new(Outcome::Response(FetchResponse::new(status, HeaderMap::new(), Bytes::new())))
    }

    /// Returns a response with the status 200 and this body.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(Outcome::Response(FetchResponse::new(StatusCode::OK, HeaderMap::new(), body.into())))
    }

    /// Returns an error instead of a response.
    #[must_use]
    pub fn error(error: FetchError) -> Self {
        Self::new(Outcome::Error(error))
    }

    /// Returns a reply that never completes.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(Outcome::Never)
    }

    /// Returns a reply that panics.
    #[must_use]
    pub fn panic() -> Self {
        Self::new(Outcome::Panic)
    }

    /// Adds a response header. This has no effect if the reply is not a response.
    ///
    /// # Panics
    ///
    /// Panics if the value is not a valid header value.
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented; the test is wrong")]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Outcome::Response(response) = &mut self.outcome {
            response.headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        self
    }

    /// Sets the body. This has no effect if the reply is not a response.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        if let Outcome::Response(response) = &mut self.outcome {
            response.body = body.into();
        }
        self
    }

    /// Delays the reply by this time, on the fake clock.
    #[must_use]
    pub fn with_delay(mut self, span: Duration) -> Self {
        self.delay = span;
        self
    }

    fn new(outcome: Outcome) -> Self {
        Self { delay: Duration::ZERO, outcome }
    }
}

impl FakeFetch {
    /// Creates a client without scripted responses.
    #[must_use]
    pub fn new(clock: &FakeClock) -> Self {
        Self { clock: clock.clone(), inner: Arc::default(), in_flight: Arc::default() }
    }

    /// Sets the reply for every request to `url`. Replies of [`once`](Self::once) have precedence, even if they were queued
    /// later.
    pub fn always(&self, url: &str, reply: Reply) {
        self.inner().always.insert(url.to_owned(), reply);
    }

    /// Queues a reply for one request to `url`, after the replies that are queued already.
    pub fn once(&self, url: &str, reply: Reply) {
        self.inner().once.entry(url.to_owned()).or_default().push_back(reply);
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.inner().seen.len()
    }

    /// Returns the number of requests to `url`.
    #[must_use]
    pub fn calls_to(&self, url: &str) -> usize {
        self.inner().seen.iter().filter(|request| request.url == url).count()
    }

    /// Returns all requests in order.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.inner().seen.clone()
    }

    /// Returns the number of requests that are in flight: neither completed nor dropped.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply_to(&self, endpoint: &Endpoint, headers: HeaderMap, form: Option<Bytes>) -> Reply {
        let mut inner = self.inner();
        let url = endpoint.as_str().to_owned();
        let once = inner.once.get_mut(&url).and_then(VecDeque::pop_front);
        let reply = once.or_else(|| inner.always.get(&url).cloned());
        inner.seen.push(RecordedRequest { url, headers, form, at: self.clock.monotonic() });
        reply.unwrap_or_else(|| Reply::status(StatusCode::NOT_FOUND))
    }
}

impl Fetch for FakeFetch {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        self.send(self.reply_to(&request.endpoint, request.headers, None), request.max_bytes)
    }

    fn post(&self, request: FormRequest) -> FetchFuture {
        self.send(self.reply_to(&request.endpoint, request.headers, Some(request.body)), request.max_bytes)
    }

    /// Returns `true`: no connection is opened.
    fn connects_to_public_addresses_only(&self) -> bool {
        true
    }
}

impl FakeFetch {
    #[expect(clippy::panic, reason = "the test scripted it")]
    fn send(&self, reply: Reply, max_bytes: usize) -> FetchFuture {
        let Reply { delay, outcome } = reply;
        let network = self.clone();
        let in_flight = InFlight::start(&self.in_flight);
        Box::pin(async move {
            let _guard = in_flight;
            if !delay.is_zero() {
                network.clock.sleep_until(network.clock.monotonic().saturating_add(delay)).await;
            }
            match outcome {
                Outcome::Response(response) if response.body.len() > max_bytes => Err(FetchError::TooLarge),
                Outcome::Response(response) => Ok(response),
                Outcome::Error(error) => Err(error),
                Outcome::Never => pending().await,
                Outcome::Panic => panic!("this reply panics"),
            }
        })
    }
}

impl fmt::Debug for FakeFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeFetch").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn start(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use crate::fetch::Endpoint;

    use super::*;

    const URL: &str = "https://a.example/jwks";

    fn request() -> FetchRequest {
        FetchRequest::new(Endpoint::new(URL).expect("url"), 10)
    }

    #[tokio::test]
    async fn returns_once_before_always_and_404_otherwise() {
        let network = FakeFetch::new(&FakeClock::new());
        assert_eq!(network.fetch(request()).await.map(|response| response.status.as_u16()), Ok(404));
        network.always(URL, Reply::json("{}"));
        network.once(URL, Reply::error(FetchError::Tls));
        assert_eq!(network.fetch(request()).await.map(drop), Err(FetchError::Tls));
        assert_eq!(network.fetch(request()).await.map(|response| response.body), Ok(Bytes::from("{}")));
        assert_eq!((network.calls_to(URL), network.calls_to("https://b.example/")), (3, 0));
    }

    #[tokio::test]
    async fn rejects_bodies_above_the_limit() {
        let network = FakeFetch::new(&FakeClock::new());
        network.always(URL, Reply::json("12345678901"));
        assert_eq!(network.fetch(request()).await.map(drop), Err(FetchError::TooLarge));
    }

    #[tokio::test]
    async fn delays_a_reply_on_the_fake_clock() {
        let clock = FakeClock::new();
        let network = FakeFetch::new(&clock);
        network.always(URL, Reply::json("{}").with_delay(Duration::from_secs(2)));
        let reply = tokio::spawn(network.fetch(request()));
        clock.run_for(Duration::from_secs(1)).await;
        assert_eq!((reply.is_finished(), network.in_flight()), (false, 1));
        clock.run_for(Duration::from_secs(1)).await;
        assert_eq!((reply.is_finished(), network.in_flight()), (true, 0));
    }
}
