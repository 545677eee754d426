//! The network between the replicas and the issuer.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use tower_bearer::clock::{Clock as _, Monotonic};
use tower_bearer::fetch::{Fetch, FetchFuture, FetchRequest, FetchResponse};
use tower_bearer::testing::FakeClock;

use crate::day::DAY;
use crate::rng::Rng;

/// Responds within 40 to 160 ms, supports ETags, and counts requests.
#[derive(Clone, Debug)]
pub struct Network {
    clock: FakeClock,
    start: Monotonic,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    version: u32,
    key_set: Bytes,
    etag: HeaderValue,
    hangs: bool,
    fetches: Vec<u32>,
    rng: Rng,
}

impl Network {
    pub fn new(clock: &FakeClock, key_set: String) -> Self {
        let etag = HeaderValue::from_static("\"v0\"");
        let (key_set, fetches) = (Bytes::from(key_set), vec![0; DAY]);
        let inner = Inner { version: 0, key_set, etag, hangs: false, fetches, rng: Rng(2) };
        Self { clock: clock.clone(), start: clock.monotonic(), inner: Arc::new(Mutex::new(inner)) }
    }

    pub fn publish(&self, key_set: String) {
        let mut inner = self.inner.lock().expect("unpoisoned");
        inner.version += 1;
        inner.etag = HeaderValue::from_str(&format!("\"v{}\"", inner.version)).expect("a header");
        inner.key_set = Bytes::from(key_set);
    }

    pub fn hang(&self, hangs: bool) {
        self.inner.lock().expect("unpoisoned").hangs = hangs;
    }

    pub fn fetches(&self) -> Vec<u32> {
        self.inner.lock().expect("unpoisoned").fetches.clone()
    }
}

impl Fetch for Network {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        let now = self.clock.monotonic();
        let mut inner = self.inner.lock().expect("unpoisoned");
        let second = usize::try_from(now.saturating_since(self.start).as_secs()).expect("a day");
        if let Some(count) = inner.fetches.get_mut(second) {
            *count += 1;
        }
        if inner.hangs {
            return Box::pin(pending());
        }
        let latency = Duration::from_millis(40 + u64::try_from(inner.rng.below(120)).expect("small"));
        let arrival = self.clock.sleep_until(now.saturating_add(latency));
        let is_current = request.headers.get(IF_NONE_MATCH) == Some(&inner.etag);
        let (status, body) =
            if is_current { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, inner.key_set.clone()) };
        let response = FetchResponse::new(status, HeaderMap::from_iter([(ETAG, inner.etag.clone())]), body);
        Box::pin(async move {
            arrival.await;
            Ok(response)
        })
    }
}
