//! Ends a connection when its token ends. The guide explains this function, which also serves WebSockets and server-sent events.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tower_bearer::{Claims, Validator};

/// How long a connection may last after the token or its key was revoked.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Runs `connection` until it ends, and returns `None` if the token ends before.
pub(crate) async fn while_valid<T>(
    validator: &Validator,
    claims: &Claims,
    connection: impl Future<Output = T>,
) -> Option<T> {
    let mut connection = pin!(connection);
    loop {
        let left = claims.expires_at().saturating_since(validator.clock().now());
        if left.is_zero() || validator.still_valid(claims).is_err() {
            return None;
        }
        let pause = tokio::time::sleep(left.min(CHECK_INTERVAL));
        tokio::select! {
            output = &mut connection => return Some(output),
            () = pause => {}
        }
    }
}
