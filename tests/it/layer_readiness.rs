//! Readiness: the layer calls the service that was polled ready, and a rejection frees its permit.

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

use crate::layer_fixture::{TestBody, bearer_request, request, subject_service, validator};

/// Panics if it is called without having been polled ready; a clone starts as not ready.
#[derive(Debug, Default)]
pub(crate) struct RequiresReady {
    ready: bool,
}

impl Clone for RequiresReady {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<TestBody>> for RequiresReady {
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
async fn calls_the_service_that_was_polled_ready() {
    let server = TestIssuer::new();
    let token = server.token().scope("read").sign();
    let mut stack =
        BearerLayer::new(validator(&server)).layer(RequireLayer::scope("read").layer(RequiresReady::default()));
    for _ in 0..2 {
        let response = stack.ready().await.expect("infallible").call(bearer_request(&token)).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        let response = stack.ready().await.expect("infallible").call(request(&[])).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn works_with_concurrency_limit_buffer_and_load_shedding() {
    let server = TestIssuer::new();
    let token = server.token().scope("read").sign();
    let (credential, require) = (BearerLayer::new(validator(&server)), RequireLayer::scope("read"));

    let mut limited = credential.layer(require.layer(ConcurrencyLimit::new(RequiresReady::default(), 1)));
    let mut buffered = credential.layer(require.layer(Buffer::new(RequiresReady::default(), 1)));
    let mut shedding =
        credential.layer(require.layer(LoadShed::new(ConcurrencyLimit::new(RequiresReady::default(), 1))));
    for _ in 0..3 {
        let response =
            limited.ready().await.expect("infallible").call(bearer_request(&token)).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        let response = buffered.ready().await.expect("open").call(bearer_request(&token)).await.expect("open");
        assert_eq!(response.status(), StatusCode::OK);
        let response = shedding.ready().await.expect("open").call(bearer_request(&token)).await.expect("not shed");
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn poll_ready_is_pending_while_the_inner_service_is_pending() {
    let server = TestIssuer::new();
    let limited = ConcurrencyLimit::new(subject_service(), 1);
    let mut busy = limited.clone();
    poll_fn(|context| busy.poll_ready(context)).await.expect("the only permit");
    let mut stack = BearerLayer::new(validator(&server)).layer(limited);
    assert!(timeout(Duration::ZERO, poll_fn(|context| stack.poll_ready(context))).await.is_err());
    drop(busy);
    assert!(timeout(Duration::from_secs(5), poll_fn(|context| stack.poll_ready(context))).await.is_ok());
}

#[tokio::test]
async fn rejected_request_frees_its_inner_permit() {
    let server = TestIssuer::new();
    let limited = ConcurrencyLimit::new(subject_service(), 1);
    let mut rejecting = BearerLayer::new(validator(&server)).layer(limited.clone());
    let response = rejecting.ready().await.expect("infallible").call(request(&[])).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    // The outer service stays alive, like a connection that sends nothing more.
    let mut other = limited.clone();
    assert!(timeout(Duration::ZERO, poll_fn(|context| other.poll_ready(context))).await.is_ok());
    drop(other);

    let token = server.token().scope("read").sign();
    let mut rejecting = BearerLayer::new(validator(&server)).layer(RequireLayer::scope("admin").layer(limited.clone()));
    let response = rejecting.ready().await.expect("infallible").call(bearer_request(&token)).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let mut other = limited;
    assert!(timeout(Duration::ZERO, poll_fn(|context| other.poll_ready(context))).await.is_ok());
}

/// A service whose future must not be moved after the first poll.
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
async fn inner_future_may_be_not_unpin() {
    let server = TestIssuer::new();
    let stack = BearerLayer::new(validator(&server)).layer(RequireLayer::scope("read").layer(Immovable));
    let response = stack.oneshot(bearer_request(&server.token().scope("read").sign())).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
}
