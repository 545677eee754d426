//! Readiness: the service that was polled ready is the one that is called, and a refusal keeps no place.

use std::convert::Infallible;
use std::future::{Future, Ready, poll_fn, ready};
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::time::timeout;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::load_shed::LoadShed;
use tower::{Layer, Service, ServiceExt};
use tower_bearer::testing::TestIssuer;
use tower_bearer::{BearerLayer, RequireLayer};

use crate::probe::{TestBody, bearing, request, shows_subject, validator};

/// Panics when it is called without having been polled ready; its clones have not been.
#[derive(Debug, Default)]
pub(crate) struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<TestBody>> for Strict {
    type Response = Response<TestBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<TestBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<TestBody>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been polled ready");
        ready(Ok(Response::new(TestBody::default())))
    }
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_called() {
    let server = TestIssuer::new();
    let token = server.token().scope("read").sign();
    let mut stack = BearerLayer::new(validator(&server)).layer(RequireLayer::scope("read").layer(Strict::default()));
    for _ in 0..2 {
        let response = stack.ready().await.expect("infallible").call(bearing(&token)).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        let response = stack.ready().await.expect("infallible").call(request(&[])).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn works_over_a_concurrency_limit_a_buffer_and_load_shedding() {
    let server = TestIssuer::new();
    let token = server.token().scope("read").sign();
    let (credential, require) = (BearerLayer::new(validator(&server)), RequireLayer::scope("read"));

    let mut limited = credential.layer(require.layer(ConcurrencyLimit::new(Strict::default(), 1)));
    let mut buffered = credential.layer(require.layer(Buffer::new(Strict::default(), 1)));
    let mut shedding = credential.layer(require.layer(LoadShed::new(ConcurrencyLimit::new(Strict::default(), 1))));
    for _ in 0..3 {
        let response = limited.ready().await.expect("infallible").call(bearing(&token)).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        let response = buffered.ready().await.expect("open").call(bearing(&token)).await.expect("open");
        assert_eq!(response.status(), StatusCode::OK);
        let response = shedding.ready().await.expect("open").call(bearing(&token)).await.expect("not shed");
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn an_inner_service_that_is_not_ready_holds_the_stack_back() {
    let server = TestIssuer::new();
    let limited = ConcurrencyLimit::new(shows_subject(), 1);
    let mut busy = limited.clone();
    poll_fn(|context| busy.poll_ready(context)).await.expect("the only place");
    let mut stack = BearerLayer::new(validator(&server)).layer(limited);
    assert!(timeout(Duration::ZERO, poll_fn(|context| stack.poll_ready(context))).await.is_err());
    drop(busy);
    assert!(timeout(Duration::from_secs(5), poll_fn(|context| stack.poll_ready(context))).await.is_ok());
}

#[tokio::test]
async fn a_refused_request_keeps_no_place_at_the_inner_service() {
    let server = TestIssuer::new();
    let limited = ConcurrencyLimit::new(shows_subject(), 1);
    let mut refusing = BearerLayer::new(validator(&server)).layer(limited.clone());
    let response = refusing.ready().await.expect("infallible").call(request(&[])).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    // The refusing service lives on, as a connection does that sends nothing more.
    let mut other = limited.clone();
    assert!(timeout(Duration::ZERO, poll_fn(|context| other.poll_ready(context))).await.is_ok());
    drop(other);

    let token = server.token().scope("read").sign();
    let mut refusing = BearerLayer::new(validator(&server)).layer(RequireLayer::scope("admin").layer(limited.clone()));
    let response = refusing.ready().await.expect("infallible").call(bearing(&token)).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let mut other = limited;
    assert!(timeout(Duration::ZERO, poll_fn(|context| other.poll_ready(context))).await.is_ok());
}

/// A service whose future must not be moved once it is polled.
#[derive(Clone, Copy, Debug)]
struct Immovable;

struct ImmovableFuture(PhantomPinned);

impl Future for ImmovableFuture {
    type Output = Result<Response<TestBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(TestBody::default())))
    }
}

impl Service<Request<TestBody>> for Immovable {
    type Response = Response<TestBody>;
    type Error = Infallible;
    type Future = ImmovableFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<TestBody>) -> Self::Future {
        ImmovableFuture(PhantomPinned)
    }
}

#[tokio::test]
async fn a_future_that_is_not_unpin_is_driven() {
    let server = TestIssuer::new();
    let stack = BearerLayer::new(validator(&server)).layer(RequireLayer::scope("read").layer(Immovable));
    let response = stack.oneshot(bearing(&server.token().scope("read").sign())).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
}
