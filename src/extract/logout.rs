//! `LogoutReceiver` as a service of an axum router.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_core::body::Body;
use axum_core::extract::{DefaultBodyLimit, FromRequest as _};
use axum_core::response::IntoResponse as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_service::Service;

use crate::clock::{Clock as _, SystemClock};
use crate::defaults;
use crate::fetch::within;
use crate::signals::LogoutReceiver;

/// Reads at most 32 KiB of the body, and responds with 413 to a longer one. Responds with 408 if it has not arrived after 10 s.
///
/// ```
/// use axum::Router;
/// use tower_bearer::signals::LogoutReceiver;
///
/// fn app(logout: LogoutReceiver) -> Router {
///     Router::new().route_service("/backchannel-logout", logout)
/// }
/// # let _ = app;
/// ```
impl Service<Request<Body>> for LogoutReceiver {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let receiver = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let mut reading = Request::new(body);
            DefaultBodyLimit::max(defaults::MAX_LOGOUT_BYTES).apply(&mut reading);
            let timer = SystemClock.sleep_until(SystemClock.monotonic().saturating_add(BODY_TIMEOUT));
            Ok(match within(Bytes::from_request(reading, &()), timer).await {
                Some(Ok(body)) => receiver.receive(&parts, &body).await.map(Body::from),
                Some(Err(rejection)) => rejection.into_response(),
                None => StatusCode::REQUEST_TIMEOUT.into_response(),
            })
        })
    }
}

/// How long the service waits for the body. A logout token fits into one packet.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
