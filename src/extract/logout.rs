//! `LogoutReceiver` as a service of an axum router.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use axum_core::extract::{DefaultBodyLimit, FromRequest as _};
use axum_core::response::IntoResponse as _;
use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use crate::defaults;
use crate::signals::LogoutReceiver;

/// Reads at most 32 KiB of the body, and responds with 413 to a longer one.
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
            Ok(match Bytes::from_request(reading, &()).await {
                Ok(body) => receiver.receive(&parts, &body).await.map(Body::from),
                Err(rejection) => rejection.into_response(),
            })
        })
    }
}
