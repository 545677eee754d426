//! What can be wrong with an authorization server.

use std::time::Duration;

use http::StatusCode;

/// A fault that a [`TestIssuer`](crate::testing::TestIssuer) acts out until it is told otherwise.
///
/// It hits every document and the token endpoint alike, in memory and over loopback. Requests are counted all the same.
///
/// ```
/// use tower_bearer::testing::{Outage, TestIssuer};
///
/// let issuer = TestIssuer::new();
/// issuer.outage(Outage::Refuse); // from now on
/// issuer.outage(Outage::None); // over
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// All is well. The default.
    #[default]
    None,
    /// Every answer has this status and an empty body.
    Status(StatusCode),
    /// Every answer is 429 with this `Retry-After`, rounded down to seconds, as Auth0 answers beyond its rate limit.
    RateLimited(Duration),
    /// No answer ever comes; the connection stays open.
    Hang,
    /// Every answer comes this much later by the issuer's clock.
    Delay(Duration),
    /// No connection: [`FetchError::Connect`](crate::fetch::FetchError::Connect) in memory; over loopback the
    /// connection is closed without an answer, since the port stays ours.
    Refuse,
    /// Every answer is 200 with a page of HTML, as captive portals and proxies give.
    Garbage,
    /// The key set is valid and has no keys; everything else works.
    EmptySet,
    /// The key set is followed by a mebibyte of blanks; everything else works.
    Oversized,
}
